"""A real Prometheus scrapes three resolvers in two regions: alerts fire and clear, its report is that of their ledgers.

Rules:
- Scrape configuration, rules and alerts are those of deploy/prometheus. Of the first only targets and intervals are
  others; HURRY has what is shortened in the other two.
- One resolver is killed in the middle, one loses its authority, one its upstream.
- A report is of days that are over. Here that is the time of the test: the midnights that the report asks Prometheus
  for are its beginning and its end, and the clock of the report is that of the day after.
"""

import json
import re
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from resolver.cli import main, verbs_report
from resolver.count.report.days import DAY, DAY_S, midnight
from resolver.count.report.prometheus import AFTER_S, Server
from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.processes import REAL, Site, asked, hang_up, honest, wait_for
from tests.journeys.running import HOST, PAGE_V4, Service, stop
from tests.unit.count import spring

DEPLOY = spring.DEPLOY / "prometheus"
BATCH: Final = 10
PATIENCE_S: Final = 90.0
POLL_S: Final = 5
HURRY: Final = (
    (r"\bfor: \w+", "for: 1s"),
    (r"\binterval: \w+", "interval: 1s"),
    (r"\[(1h|30m|15m)\]", "[15s]"),
)
"""What is rewritten in alerts.yml and rules.yml, that nobody waits for hours."""

REGIONS: Final = ("north", "north", "south")
LISTED: Final = "listed.test"
NOT_WRITTEN: Final = 3
"""Blocked queries just before the kill: a beat's worth, which may be lost."""


Told = dict[str, tuple[int, ...]]
"""Of each region attempts and blocked queries."""


@dataclass
class Resolver:
    """One of the three: its site, its process, and how many blocked queries and attempts it has answered."""

    site: Site
    service: Service
    queries: int = 0
    attempts: int = 0

    @property
    def instance(self) -> str:
        return f"{HOST}:{self.site.ports[2]}"


class Prometheus:
    """Asks a Prometheus that runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **words: object) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(words)}", timeout=30) as reply:
            told = json.load(reply)
        assert told["status"] == "success", told
        return told["data"]

    def values(self, query: str, label: str = "instance", **words: object) -> dict[str, float]:
        """The values of an expression by a label."""
        found = self.get("query", query=query, **words)["result"]
        return {one["metric"].get(label, ""): float(one["value"][1]) for one in found}

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire: name, instance."""
        return {(name, instance) for name, instance, state in self.alerts() if state == "firing"}

    def alerts(self) -> set[tuple[str, str, str]]:
        """The alerts whose condition holds: name, instance, and the state, pending or firing."""
        return {
            (one["labels"]["alertname"].removeprefix("Blocklist"), one["labels"].get("instance", ""), one["state"])
            for one in self.get("alerts")["alerts"]
        }


@contextmanager
def scraping(
    program: str, folder: Path, targets: list[str], hurry: Sequence[tuple[str, str]] = HURRY, each: str = "500ms"
) -> Iterator[Prometheus]:
    """A Prometheus with the configuration of deploy/prometheus, hurried; it scrapes and evaluates so often."""
    words = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    words["global"] |= {"scrape_interval": each, "scrape_timeout": each, "evaluation_interval": each}
    words["scrape_configs"][0]["static_configs"][0]["targets"] = targets
    hurried = 0
    for name in words["rule_files"]:
        text = (DEPLOY / name).read_text()
        for old, new in hurry:
            text, count = re.subn(old, new, text)
            hurried += bool(count)
        (folder / name).write_text(text)
    assert hurried == len(hurry)
    config = folder / "prometheus.yml"
    config.write_text(json.dumps(words))
    process = subprocess.Popen(
        [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Prometheus(spring.replay.address(process))
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def three(folder: Path, upstreams: list[Upstream]) -> Iterator[list[Resolver]]:
    """Three resolvers in two regions, the last of them without a list yet."""
    with ExitStack() as held:
        found = []
        for number, (region, upstream) in enumerate(zip(REGIONS, upstreams, strict=True)):
            below = folder / f"resolver-{number}"
            below.mkdir()
            site = Site(below, [upstream.address], {"count": {"region": region, "batch": BATCH}})
            site.lists[0]["source"]["poll"] = f"{POLL_S}s"
            if number < 2:
                site.publish([LISTED])
            found.append(Resolver(site, site.launch()))
            held.callback(lambda one=found[-1]: stop(one.service.process))
        for number, one in enumerate(found):
            one.service.until("/readyz" if number < 2 else "/healthz", seconds=PATIENCE_S)
        yield found


def load(one: Resolver, first: int, clients: int) -> None:
    """Blocked, cached and forwarded queries by so many clients, beginning with the one of this number."""
    for number in range(first, first + clients):
        source = f"127.0.1.{number}"
        for qtype, said in (("A", f"{PAGE_V4} EDE 4"), ("AAAA", "2001:db8::1 EDE 4")):
            assert asked(one.site.dns, LISTED, qtype, source=source) == said
        one.queries += 2
        one.attempts += 1
        assert asked(one.site.dns, "kept.test", source=source) == REAL
        assert asked(one.site.dns, f"once-{number}.test", source=source) == REAL


def failed_polls(one: Resolver) -> float:
    """Polls for which the authority was not there."""
    found = re.search(
        r'feed_failures_total{list="demo",reason="unreachable"} (\S+)', one.service.get("/metrics")[1].decode()
    )
    return float(found[1]) if found else 0


def settled(prometheus: Prometheus, resolvers: list[Resolver]) -> None:
    """Wait until two beats have passed since now, and Prometheus has scraped the second."""
    since = time.time()

    def shown() -> bool:
        beats = prometheus.values("blocklist_resolver_publish_timestamp_seconds")
        return all(beats.get(one.instance, 0) >= since + 2 for one in resolvers)

    wait_for(shown, "two beats in Prometheus", PATIENCE_S)


def never_fell(prometheus: Prometheus, resolvers: list[Resolver]) -> None:
    """Every total on the beat that was scraped goes up only, also where its process was killed."""
    names = "blocklist_resolver_(blocked_attempts|blocked_queries|answers|cache_answers)_total"
    found = prometheus.get("query", query=f'{{__name__=~"{names}"}}[30m]')["result"]
    assert {one["metric"]["instance"] for one in found} == {one.instance for one in resolvers}
    for one in found:
        course = [float(value) for _, value in one["values"]]
        assert course == sorted(course), one["metric"]


@contextmanager
def over(monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> Iterator[tuple[date, date]]:
    """The day of these moments (two, where midnight is between them) is over, and they are its midnights."""
    days = [datetime.fromtimestamp(moment, UTC).date() for moment in (first, last)]
    begin, end = midnight(days[0]), midnight(days[1] + DAY)
    moments = {at + AFTER_S: first if at == begin else last for at in range(begin, end + 1, DAY_S)}
    ask = Server.ask

    def at_its_bounds(server: Server, query: str, start: int, end: int) -> Any:
        return [
            {**one, "values": [[asked_for, value] for _, value in one["values"]]}
            for asked_for, moment in moments.items()
            if start <= asked_for <= end
            for one in ask(server, query, moment, moment)
        ]

    with monkeypatch.context() as patched:
        patched.setattr(Server, "ask", at_its_bounds)
        patched.setattr(verbs_report.time, "time", lambda: end + 2 * AFTER_S)
        yield days[0], days[1]


def reported(capsys: pytest.CaptureFixture[str], site: Site, days: tuple[date, date], *more: str) -> Told:
    """What `report` says of these days."""
    words = ["report", "--config", str(site.config), "--from", str(days[0]), "--to", str(days[1]), "--by", "region"]
    assert main.main([*words, "--format", "json", *more]) == 0
    found = {}
    for one in json.loads(capsys.readouterr().out)["places"]:
        counts = [(month["attempts"] or 0, month["blocked_queries"] or 0) for month in one["months"]]
        found[one["region"]] = tuple(map(sum, zip(*counts, strict=True)))
    return found


@pytest.mark.timeout(300)
def test_alerts_fire_and_clear_and_the_report_of_the_fleet_is_that_of_the_ledgers(
    program: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    figures: dict[str, str],
) -> None:
    started = time.monotonic()
    with ExitStack() as held:
        path = program("prometheus")
        upstreams = [held.enter_context(in_thread(honest)) for _ in REGIONS]
        resolvers = held.enter_context(three(tmp_path, upstreams))
        starved, killed, cut_off = resolvers
        prometheus = held.enter_context(scraping(path, tmp_path, [one.instance for one in resolvers]))

        def fires(*alerts: tuple[str, Resolver]) -> None:
            wanted = {(name, one.instance) for name, one in alerts}
            wait_for(lambda: wanted <= prometheus.firing(), f"{wanted}", PATIENCE_S)

        def clears() -> None:
            with suppress(AssertionError):
                wait_for(lambda: not prometheus.firing(), "nothing to fire", PATIENCE_S)
            assert prometheus.firing() == set()

        # A resolver that has never had a list.
        fires(("NotEnforcing", cut_off))
        cut_off.site.publish([LISTED])
        hang_up(cut_off.service)
        cut_off.service.until("/readyz", seconds=PATIENCE_S)
        clears()
        first = int(time.time())
        totals = prometheus.values("blocklist_resolver_blocked_queries_total", time=first)
        assert totals == dict.fromkeys((one.instance for one in resolvers), 0)
        for number, one in enumerate(resolvers):
            load(one, 1, 17 + number)
        settled(prometheus, resolvers)

        # Three things go wrong at once.
        metadata = starved.site.authority.folder / "metadata"
        metadata.rename(metadata.with_name("away"))
        load(killed, 200, NOT_WRITTEN)
        killed.service.process.send_signal(signal.SIGKILL)
        killed.service.process.wait()
        upstreams[2].away()
        for number in range(12):
            asked(cut_off.site.dns, f"lost-{number}.test")
        for number in range(1, 5):
            hang_up(starved.service)
            wait_for(lambda number=number: failed_polls(starved) >= number, f"{number} polls to fail")
        fires(
            ("ListStale", starved),
            ("FeedFailing", starved),
            ("MetricsMissing", killed),
            ("UpstreamDown", cut_off),
            ("UpstreamsDown", cut_off),
        )

        # And all is well again.
        metadata.with_name("away").rename(metadata)
        killed.service = killed.site.launch()
        upstreams[2].back()
        killed.service.until("/readyz", seconds=PATIENCE_S)
        clears()
        for number, one in enumerate(resolvers):
            load(one, 50, 23 - number)
        settled(prometheus, resolvers)
        last = int(time.time())
        never_fell(prometheus, resolvers)
        health = {
            rule["name"]: rule.get("lastError")
            for group in prometheus.get("rules")["groups"]
            for rule in group["rules"]
            if rule["health"] != "ok"
        }
        assert health == {}

        with over(monkeypatch, first, last) as days:
            of_fleet = reported(capsys, starved.site, days, "--prometheus", prometheus.url)
            of_ledgers = [reported(capsys, one.site, days) for one in resolvers]
        attempts = {region: float(told[0]) for region, told in of_fleet.items()}
        if days[0].month == days[1].month:
            month = "region_list:blocklist_resolver_blocked_attempts:month_to_date"
            wait_for(lambda: prometheus.values(month, "region") == attempts, f"the month to date to be {attempts}")

    assert set(of_fleet) == set(REGIONS)
    for region, told in of_fleet.items():
        own = [one for one, where in zip(resolvers, REGIONS, strict=True) if where == region]
        # What was published is the same in both; what happened is more by a rest below two batches for each series.
        assert told == tuple(map(sum, zip(*(one[region] for one in of_ledgers if region in one), strict=True)))
        lost = NOT_WRITTEN * 2 if killed in own else 0
        happened = sum(one.attempts for one in own), sum(one.queries for one in own)
        for published, all_of_them in zip(told, happened, strict=True):
            assert all_of_them - lost - 2 * BATCH * len(own) < published <= all_of_them
    figures["three resolvers in a real Prometheus"] = "\n".join(
        [
            f"{time.monotonic() - started:.0f} s, {sum(one.queries for one in resolvers)} blocked queries",
            *(f"{region}: attempts, blocked queries {told}" for region, told in of_fleet.items()),
        ]
    )
