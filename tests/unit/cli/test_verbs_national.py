"""The verbs of `national`: five hosts, one authority and an auditor, by files alone."""

import json
import shutil
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from resolver.cli import main, verbs_national
from resolver.count.national import forms, join, roster
from resolver.count.report.days import DayFacts, Place
from resolver.count.report.report import Facts
from resolver.evidence.month import whole
from resolver.feed import seal
from resolver.signed import statement
from tests.unit.evidence import april
from tests.unit.evidence.conftest import host, written

__all__ = ["host", "written"]

APRIL = whole("2025-04")
BEFORE, OPEN, CLOSED = APRIL.begin - 86400, APRIL.end + 86400, APRIL.end + 20 * 86400


class Country:
    """An authority with its keys, and hosts: the first has a ledger, the others give their figures in a file."""

    def __init__(self, folder: Path, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        self.key, self.public = folder / "authority.pem", folder / "authority.pub"
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.public.write_bytes(statement.pem_of(statement.public_of(key)))
        self.hosts = [host]
        for number in range(1, 5):
            (folder / f"host{number}/state").mkdir(parents=True)
            april.configured(folder / f"host{number}")
            seal.host_key(folder / f"host{number}/state", make=True)
            self.hosts.append(folder / f"host{number}")
        self.joins, self.mailbox = folder / "joins", folder / "mailbox"
        self.joins.mkdir()
        self.mailbox.mkdir()
        self.roster = folder / "roster.json"

    def run(self, now: float, *words: object) -> int | str | None:
        self.monkeypatch.setattr(verbs_national, "time", SimpleNamespace(time=lambda: now))
        try:
            return main.main(["national", *map(str, words)])
        except SystemExit as left:
            return left.code

    def join(self, number: int, *words: object, now: float = BEFORE) -> int | str | None:
        out, config = self.joins / f"{number}.json", self.hosts[number] / "resolver.toml"
        return self.run(now, "join", "--name", f"Net {number}", "--out", out, "--config", config, *words)

    def sign(self, *words: object, now: float = BEFORE, out: Path | None = None) -> int | str | None:
        return self.run(now, "roster", "--key", self.key, "--out", out or self.roster, self.joins, *words)

    def begin(self) -> None:
        for number in range(5):
            assert self.join(number) == 0
        assert self.sign("--name", "Example Police", "--month", "2025-04", "--list", "demo") == 0

    def digest(self, of: Path | None = None) -> str:
        return forms.read((of or self.roster).read_bytes(), roster.Roster).digest

    def submit(self, number: int, *words: object, now: float = OPEN, roster: Path | None = None) -> int | str | None:
        figures = self.folder / "figures.json"
        figures.write_text('{"demo": 100}')
        source = ("--figures", figures) if number else ()
        task = ("--roster", roster or self.roster, "--authority", self.public, "--digest", self.digest(roster))
        out, config = self.mailbox / f"{number}.json", self.hosts[number] / "resolver.toml"
        return self.run(now, "submit", *task, *source, "--out", out, "--config", config, *words)

    def sum(self, *words: object, now: float = OPEN, roster: Path | None = None) -> int | str | None:
        task = ("--roster", roster or self.roster, "--authority", self.public)
        return self.run(now, "sum", *task, self.mailbox, *words)


    def show(self, *words: object, number: int = 0, roster: Path | None = None) -> int | str | None:
        task = ("--roster", roster or self.roster, "--authority", self.public)
        return self.run(BEFORE, "show", *task, "--config", self.hosts[number] / "resolver.toml", *words)


@pytest.fixture
def country(tmp_path: Path, host: Path, monkeypatch: pytest.MonkeyPatch) -> Country:
    folder = tmp_path / "country"
    folder.mkdir()
    return Country(folder, host, monkeypatch)


def kept_of(folder: Path) -> list[dict[str, int]]:
    found = sorted((folder / "state/national").glob("20*.json"))
    return [one for path in found for one in json.loads(path.read_text())["figures"]]


def test_from_joins_to_a_sum_and_to_an_auditor(country: Country, capsys: pytest.CaptureFixture[str]) -> None:
    country.begin()
    digest = capsys.readouterr().out.split("digest ")[1][:64]
    assert country.show("--outside") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1:2] == [f"digest {digest}"]
    assert sorted(one.split("  ")[1] for one in said[2:]) == [f"Net {number}" for number in range(5)]
    assert [country.submit(number) for number in range(5)] == [0] * 5
    assert "noise that hides 480 attempts with epsilon 1 if 1 or more do not collude" in capsys.readouterr().out
    out, metrics = country.folder / "sum.json", country.folder / "national.prom"
    assert country.sum("--out", out, "--metrics", metrics) == 0
    figures = [one for folder in country.hosts for one in kept_of(folder)]
    total = sum(one["figure"] + one["noise"] for one in figures)
    assert json.loads(out.read_text())["sums"] == [{"list": "demo", "attempts": total}]
    assert [one["figure"] for one in figures][1:] == [100] * 4
    assert f'blocklist_national_attempts{{month="2025-04",list="demo"}} {total}' in metrics.read_text().splitlines()
    assert metrics.stat().st_mode & 0o777 == 0o644
    assert not list(country.folder.glob(".national.prom*"))
    capsys.readouterr()
    assert country.sum("--out", "-") == 0
    assert capsys.readouterr().out == out.read_text()

    bundle, config = country.folder / "may.json", country.hosts[0] / "resolver.toml"
    assert main.main(["evidence", "--month", "2025-05", "--out", str(bundle), "--config", str(config)]) == 0
    opened = country.folder / "opening.json"
    words = ("--month", "2025-04", "--list", "demo", "--out", opened, "--config", config)
    assert country.run(OPEN, "open", *words) == 0
    assert opened.stat().st_mode & 0o777 == 0o600
    task = ("--roster", country.roster, "--authority", country.public)
    pem = country.folder / "host.pem"
    pem.write_bytes(april.host_key(country.hosts[0]))
    capsys.readouterr()
    assert country.run(OPEN, "verify", opened, *task, "--evidence", bundle, "--host-key", pem) == 0
    said = capsys.readouterr().out
    assert "within 19,200 either way, as the roster has it" in said
    assert f"committed to {figures[0]['figure']:,} attempts of list demo in 2025-04" in said
    (submitted,) = json.loads(json.loads(bundle.read_text())["statement"])["national"]
    assert [set(one) for one in submitted["figures"]] == [{"list", "commitment"}]
    assert country.run(OPEN, "verify", opened, *task, "--evidence", bundle, "--host-key", country.public) == 3


def test_the_figure_of_a_ledger_is_that_of_its_month(country: Country) -> None:
    country.begin()
    assert country.submit(0) == 0
    days = [1000 + 10 * day for day in range(1, 31) if day != april.QUIET.day]
    assert kept_of(country.hosts[0])[0]["figure"] == sum(days)


def test_the_figure_of_a_fleet_is_that_of_its_prometheus(
    country: Country, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def of_fleet(ask: object, first: date, last: date) -> Facts:
        assert (first, last) == (date(2025, 4, 1), date(2025, 4, 30))
        return {Place(region, "demo"): {first: a_day(7)} for region in ("north", "south")}

    monkeypatch.setattr("resolver.count.report.report.of_fleet", of_fleet)
    country.begin()
    out, config = country.folder / "fleet.json", country.hosts[1] / "resolver.toml"
    task = ("--roster", country.roster, "--authority", country.public, "--digest", country.digest())
    words = ("submit", *task, "--prometheus", "http://192.0.2.1:9090", "--out", out, "--config", config)
    assert country.run(OPEN, *words) == 0
    assert [one["figure"] for one in kept_of(country.hosts[1])] == [14]


def a_day(attempts: int) -> DayFacts:
    return DayFacts(
        attempts=attempts,
        queries=None,
        answers=None,
        enforced=1.0,
        entries=None,
        serial=None,
        subscribers=0,
        definitions=frozenset(),
    )


def test_a_second_submission_is_the_first_and_another_roster_is_refused(
    country: Country, capsys: pytest.CaptureFixture[str]
) -> None:
    country.begin()
    assert country.submit(1) == 0
    once = (country.mailbox / "1.json").read_bytes()
    assert country.submit(1, now=CLOSED) == 0
    assert (country.mailbox / "1.json").read_bytes() == once
    assert ", made before, octet for octet, SHA-256 " in capsys.readouterr().out
    other = country.folder / "other.json"
    words = ("--name", "Example Police", "--month", "2025-04", "--list", "demo", "--closes-after", "10d")
    assert country.sign(*words, out=other) == 0
    assert country.submit(1, roster=other) == 3
    assert "has been submitted already, with another roster" in capsys.readouterr().err


def test_who_is_missing_and_the_correction(country: Country, capsys: pytest.CaptureFixture[str]) -> None:
    country.begin()
    assert [country.submit(number) for number in range(4)] == [0] * 4
    (country.mailbox / "odd.json").write_text("{}")
    assert country.sum() == 3
    skipped, missing = capsys.readouterr().err.splitlines()
    assert "odd.json: skipped: not as it was signed" in skipped
    assert "missing: Net 4 (1 of 5)" in missing
    assert country.submit(4, now=CLOSED) == 3
    assert "wait for its correction" in capsys.readouterr().err
    second = country.folder / "second.json"
    assert country.sign("--corrects", country.roster, now=OPEN, out=second) == 3
    assert "before the first round closed" in capsys.readouterr().err
    assert country.join(4, "--renew", now=CLOSED) == 0
    assert country.sign("--corrects", country.roster, now=CLOSED, out=second) == 0
    words = ("--corrects", country.roster)
    assert country.submit(4, now=CLOSED, roster=second) == 3
    assert "give the roster that it corrects" in capsys.readouterr().err
    assert [country.submit(number, *words, now=CLOSED, roster=second) for number in range(5)] == [0] * 5
    assert country.sum(now=CLOSED, roster=second) == 0
    assert "2025-04, round 2: 5 operators, noise with a standard deviation of" in capsys.readouterr().out
    (country.joins / "4.json").unlink()
    assert country.sign("--corrects", country.roster, now=CLOSED, out=second) == 3
    assert "other operators than the first round" in capsys.readouterr().err


def test_exact_figures_need_consent(country: Country, capsys: pytest.CaptureFixture[str]) -> None:
    country.begin()
    assert country.sign("--name", "Example Police", "--month", "2025-04", "--list", "demo", "--exact") == 0
    assert country.submit(1) == 3
    assert "below --least-scale 480" in capsys.readouterr().err
    assert [country.submit(number, "--least-scale", 0) for number in range(5)] == [0] * 5
    assert country.sum() == 0
    figure = kept_of(country.hosts[0])[0]["figure"]
    assert f"demo: {figure + 400:,} attempts" in capsys.readouterr().out


def test_a_join_keeps_its_key_until_it_is_renewed(country: Country) -> None:
    assert country.join(1) == 0
    first = (country.joins / "1.json").read_bytes()
    assert country.join(1) == 0
    assert (country.joins / "1.json").read_bytes() == first
    assert country.join(1, "--renew") == 0
    assert (country.joins / "1.json").read_bytes() != first


def test_errors_are_a_line_with_the_file(country: Country, capsys: pytest.CaptureFixture[str]) -> None:
    country.begin()
    task = ("--roster", country.roster, "--authority", country.public)
    cases: list[tuple[int, str, tuple[object, ...]]] = [
        (2, "needs --month, --list and --name", ("roster", "--key", country.key, "--out", "x", country.joins)),
        (
            2,
            "not a roster: ",
            (
                *("roster", "--key", country.key, "--out", "x", country.joins),
                *("--name", "A", "--list", "demo", "--month", "April"),
            ),
        ),
        (
            2,
            "--corrects: month, lists and noise are those",
            ("roster", "--key", country.key, "--out", "x", country.joins, "--corrects", country.roster, "--exact"),
        ),
        (
            3,
            f"{country.public}: not a private key",
            ("roster", "--key", country.public, "--out", "x", country.joins, "--corrects", country.roster),
        ),
        (2, "--authority: ", ("sum", "--roster", country.roster, "--authority", country.roster, country.mailbox)),
        (2, "no file that ends in .json", ("sum", *task, country.mailbox)),
        (2, "absent.json: No such file", ("sum", "--roster", "/absent.json", "--authority", country.public, "/x")),
    ]
    capsys.readouterr()
    for status, said, words in cases:
        assert country.run(BEFORE, *words) == status, said
        error = capsys.readouterr().err
        assert said in error
        assert len(error.splitlines()) == 1


def test_show_finds_this_host_with_both_of_its_keys(country: Country, capsys: pytest.CaptureFixture[str]) -> None:
    country.begin()
    capsys.readouterr()
    assert country.show(number=2) == 0
    own = "this host is Net 2; both keys are its own, and its newest of that time"
    assert capsys.readouterr().out.splitlines()[-1] == own
    assert country.join(2, "--renew", now=BEFORE + 1) == 0
    assert country.show(number=2) == 0
    assert country.sign("--name", "Example Police", "--month", "2025-04", "--list", "demo", now=BEFORE + 2) == 0
    assert country.show(number=2) == 0
    (country.hosts[2] / "state/national/agreement.json").unlink()
    assert country.show(number=2) == 3
    assert "names for Net 2 an X25519 key that this host does not have" in capsys.readouterr().err
    extra = country.folder / "host5"
    (extra / "state").mkdir(parents=True)
    april.configured(extra)
    seal.host_key(extra / "state", make=True)
    country.hosts.append(extra)
    assert country.show(number=5) == 3
    assert "this host's Ed25519 key is not in the roster" in capsys.readouterr().err


def test_a_roster_of_swapped_keys_is_refused_by_each_verb(country: Country, capsys: pytest.CaptureFixture[str]) -> None:
    """The authority puts X25519 keys of its own beside a victim: with them it would read the victim's figure."""
    country.begin()
    key = forms.private_of(country.key.read_bytes())
    whole = roster.read(country.roster.read_bytes(), statement.public_of(key)).form
    mine = [join.public_of(X25519PrivateKey.generate()).hex() for _ in whole.operators]
    swapped = tuple(
        msgspec.structs.replace(one, agreement=one.agreement if one.name == "Net 1" else agreement)
        for one, agreement in zip(whole.operators, mine, strict=True)
    )
    evil = country.folder / "swapped.json"
    evil.write_bytes(forms.sign(msgspec.structs.replace(whole, operators=swapped), key))
    capsys.readouterr()
    tries = (
        lambda: country.show(number=1, roster=evil),
        lambda: country.show("--outside", number=1, roster=evil),
        lambda: country.submit(1, roster=evil),
        lambda: country.sum(roster=evil),
    )
    (country.mailbox / "any.json").write_text("{}")
    for one in tries:
        assert one() == 3
        assert "has not signed this name and X25519 key as its join" in capsys.readouterr().err
    assert not (country.mailbox / "1.json").exists()


def test_a_roster_with_a_replaced_key_of_this_host_is_refused(
    country: Country, capsys: pytest.CaptureFixture[str]
) -> None:
    country.begin()
    replaced = (country.joins / "2.json").read_bytes()
    assert country.join(2, "--renew", now=BEFORE + 1) == 0
    (country.joins / "2.json").write_bytes(replaced)
    words = ("--name", "Example Police", "--month", "2025-04", "--list", "demo")
    assert country.sign(*words, now=BEFORE + 2) == 0
    for verb in (country.show, country.submit):
        assert verb(number=2) == 3
        assert "that was not this host's newest when the roster was signed" in capsys.readouterr().err


def test_submit_needs_the_digest_that_was_compared(country: Country, capsys: pytest.CaptureFixture[str]) -> None:
    country.begin()
    task = ("--roster", country.roster, "--authority", country.public)
    words = ("submit", *task, "--out", country.mailbox / "1.json", "--config", country.hosts[1] / "resolver.toml")
    assert country.run(OPEN, *words) == 2
    assert "required: --digest" in capsys.readouterr().err
    for short in (country.digest()[:16], country.digest().upper(), "", "é" * 64):
        assert country.run(OPEN, *words, "--digest", short) == 2
        assert "expected the whole digest as `national show` prints it: 64" in capsys.readouterr().err
    assert country.run(OPEN, *words, "--digest", "0" * 64) == 3
    assert "do not submit to it before it is the one that the other operators have" in capsys.readouterr().err
    assert country.submit(1, "--least-operators", 6) == 3
    assert "below --least-operators 6" in capsys.readouterr().err
    assert not list(country.mailbox.iterdir())


def test_a_month_that_has_begun_gets_no_roster(country: Country, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        assert country.join(number) == 0
    words = ("--name", "Example Police", "--month", "2025-04", "--list", "demo")
    assert country.sign(*words, now=APRIL.begin) == 3
    assert "a roster is fixed before its month" in capsys.readouterr().err
    shutil.copy(country.joins / "1.json", country.joins / "again.json")
    (country.joins / "2.json").unlink()
    assert country.sign(*words) == 3
    assert "this one 4 operators" in capsys.readouterr().err
