#!/usr/bin/env python3
"""`make demo`: a made-up spring of 2020 goes the whole way of a count, and ends in a national figure.

    make demo                                      # writes build/spring and opens the report in a browser
    python deploy/spring/demonstrate.py --folder FOLDER --no-browser

Six made-up operators in three made-up regions; deploy/prometheus/replay.py has the numbers, and none was ever counted.
Each operator has a ledger with every day of January to June, and a report as HTML. If Debian's `prometheus` is
installed, one is filled with the same days, and the report on the country is made from it, as an operator of several
resolvers makes it. Then the operators submit March and April to a national sum: the authority adds files that say
nothing alone, and prints one figure a month, beside the true one, which nobody in the protocol has.
"""

import argparse
import os
import secrets
import shutil
import sys
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

sys.path.insert(0, str(Path(__file__).parents[1] / "prometheus"))

import replay

from resolver.cli import made_up
from resolver.cli.main import main as resolver
from resolver.config.values import many
from resolver.count import definition
from resolver.count.national import figures, join, kept, roster, submit, total
from resolver.count.report import report
from resolver.feed.places import Places
from resolver.signed import statement

MONTHS: Final = ("2020-03", "2020-04")
MARK: Final = "MADE-UP"
"""The file that says whose folder it is: only such a folder is removed."""

DAY_S: Final = 86400
SPAN: Final = ("--from", f"{replay.FIRST}", "--to", f"{replay.LAST}")
FARTHEST: Final = 8
"""Standard deviations by which a sum with noise may differ from the true one."""
CONFIG: Final = """\
[page]
addresses = ["192.0.2.1"]
listen = []
[state]
directory = "{folder}"
[[list]]
id = "{list}"
demonstration = true
source = {{ kind = "tuf", url = "file://{folder}", root = "{folder}/root.json" }}
"""
NOISE: Final = roster.Noise(unit=480, scale=480, honest=3)


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator, and its share of a region's attempts."""

    name: str
    region: replay.Region
    share: float

    def days(self) -> Iterator[made_up.Day]:
        """Yield what it counted each day."""
        for day in replay.days():
            attempts = round(self.region.attempts(day) * self.share)
            queries, answers = round(self.region.queries(day) * self.share), round(self.region.answers * self.share)
            yield made_up.Day(day=day, attempts=attempts, queries=queries, answers=answers)

    def attempts(self, month: str) -> int:
        """Return the attempts of a month."""
        return sum(one.attempts for one in self.days() if f"{one.day:%Y-%m}" == month)


def operators() -> tuple[Operator, ...]:
    """Return the made-up operators: two in each region, a large one and a small one."""
    return tuple(
        Operator(f"{region.name.partition('-')[0]} {name}, made up", region, share)
        for region in replay.REGIONS
        for name, share in (("Telecom", 0.6), ("Cable", 0.3), ("Mobile", 0.1))
    )


def ledger(folder: Path, one: Operator) -> str:
    """Write an operator's ledger and configuration; return what it holds, in words."""
    home = home_of(folder, one)
    home.mkdir(mode=0o700)
    (home / "resolver.toml").write_text(CONFIG.format(folder=home, list=replay.LIST))
    who = made_up.Operator(
        region=one.region.name,
        subscribers=round(one.region.subscribers * one.share),
        list_id=replay.LIST,
        serial=replay.SERIAL,
        entries=replay.ENTRIES,
    )
    written = list(one.days())
    made_up.write(Places(home).ledger, who, written)
    return f"{one.name}: {many(len(written), 'day')}, {sum(day.attempts for day in written):,} attempts"


def home_of(folder: Path, one: Operator) -> Path:
    """Return the folder of an operator's resolver."""
    return folder / one.name.partition(",")[0].replace(" ", "-").lower()


def reported(folder: Path, one: Operator) -> Path:
    """Make an operator's report on the spring, as `report` does; return the HTML file."""
    home = home_of(folder, one)
    out = home / "report.html"
    _typed("report", "--config", home / "resolver.toml", *SPAN, "--format", "html", "--out", out)
    return out


def of_prometheus(folder: Path) -> Path | None:
    """Fill a Prometheus and make the country's report from it; return the HTML file, None if none is installed."""
    prometheus, promtool = shutil.which("prometheus"), shutil.which("promtool")
    if not (prometheus and promtool):
        _line("Prometheus", "not installed (Debian: `apt-get install prometheus`): no report on the country")
        return None
    replay.fill(folder / "prometheus", prometheus, promtool)
    out = folder / "country.html"
    with replay.serving(folder / "prometheus", prometheus) as url:
        _typed("report", "--prometheus", url, *SPAN, "--by", "region", "--format", "html", "--out", out)
    _line("Prometheus", f"filled: {folder / 'prometheus'}")
    return out


def national(folder: Path, everybody: tuple[Operator, ...], month: str) -> tuple[int, int, float]:
    """Have everybody submit a month and the authority add; return its sum, the true one, and how far they differ in
    standard deviations of the noise.

    The clock is that of the story: the roster is signed a week before the month, the submissions a day after it.
    """
    begins = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    authority = Ed25519PrivateKey.generate()
    keys = {one.name: Ed25519PrivateKey.generate() for one in everybody}
    joins = []
    signed = (begins - timedelta(days=7)).timestamp()
    for one in everybody:
        with kept.alone(Places(home_of(folder, one)).national) as mine:
            agreement = mine.newest_key() or mine.new_key(signed)
            joins.append(join.read(join.make(one.name, agreement, keys[one.name], signed)))
    task = roster.Roster(
        authority="Authority, made up",
        month=month,
        round=1,
        corrects="",
        definition=definition.VERSION,
        lists=(replay.LIST,),
        signed=int(signed),
        closes=int((begins + timedelta(days=45)).timestamp()),
        noise=NOISE,
        operators=roster.operators_of(joins),
    )
    fixed = roster.read(roster.make(task, authority), statement.public_of(authority))
    accepted = submit.Accepted(digest=fixed.digest, scale=NOISE.scale, honest=NOISE.honest)
    after = fixed.form.opens + DAY_S
    files = []
    for one in everybody:

        def counted(wanted: roster.Roster, one: Operator = one) -> dict[str, int]:
            days = report.of_ledger(Places(home_of(folder, one)).ledger, *figures.span_of(wanted), after)
            return figures.of_days(days, wanted)

        with kept.alone(Places(home_of(folder, one)).national) as mine:
            done = submit.submit(
                fixed, None, mine, keys[one.name], counted, now=after, octets=secrets.token_bytes, accepted=accepted
            )
        file = folder / f"{month}-{home_of(folder, one).name}.json"
        file.write_bytes(done.data)
        files.append((file.name, done.data))
    found = total.add(fixed, files, after)
    (folder / f"{month}-national.json").write_bytes(total.as_json(found))
    true = sum(one.attempts(month) for one in everybody)
    came = found.sums[replay.LIST]
    return came, true, abs(came - true) / roster.deviation(NOISE, len(everybody))


def _typed(*words: str | Path) -> None:
    """Carry out a command line of blocklist-resolver, which must succeed."""
    status = resolver([str(word) for word in words])
    if status:
        raise SystemExit(status)


def _line(what: str, said: str) -> None:
    print(f"  {what:<14}{said}", flush=True)


def main() -> int:
    """Run the demonstration; return 0, or 1 if a figure is not what was made up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("build/spring"))
    parser.add_argument("--no-browser", action="store_true")
    typed = parser.parse_args()
    folder = typed.folder.absolute()
    if folder.exists():
        if not (folder / MARK).is_file():
            parser.error(f"--folder: {folder} exists, and is none that a demonstration has made")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).write_text("All figures in this folder are made up.\n")
    print("A made-up spring of 2020: nothing in it was ever counted.\n")
    everybody = operators()
    reports = []
    for one in everybody:
        _line("ledger", ledger(folder, one))
        reports.append(reported(folder, one))
    country = of_prometheus(folder)
    right = True
    for month in MONTHS:
        came, true, off = national(folder, everybody, month)
        right = right and off <= FARTHEST
        _line("national sum", f"{month}: {came:,} attempts, of {many(len(everybody), 'operator')}")
        _line("", f"made up were {true:,}: noise of {off:.1f} standard deviations between them")
    shown = country or reports[0]
    print(f"\nThe report: {shown}")
    if not typed.no_browser and sys.stdout.isatty() and {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        webbrowser.open(shown.as_uri())
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
