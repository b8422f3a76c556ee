#!/usr/bin/env python3
"""Writes a made-up January to June 2020 as OpenMetrics, for demonstrations and tests: nothing in it was ever counted.

    python3 deploy/prometheus/replay.py replay.om

writes only the text. With promtool and prometheus (Debian: `prometheus`)

    python3 deploy/prometheus/replay.py --fill DATA-FOLDER
    prometheus --storage.tsdb.path=DATA-FOLDER --storage.tsdb.retention.time=30y --query.lookback-delta=1h …

fills a Prometheus, including the series that rules.yml records, so that the dashboards of deploy/grafana have data:
choose January to June 2020 there. Numbers are a quarter of an hour apart and recorded ones an hour, which is why the
lookback is needed.

Every family's HELP says SYNTHETIC, and the regions are places of stories. In one of them attempts rise ten-fold at the
end of March, in another they double in the middle of April, and in the smallest they are four times as many a week
before that; all are back to normal in May. The last week also has numbers of lists and service: polls that failed, a
list that was held, entries in wide use that waited for persons, an upstream that was down. Alerts stand there as
Prometheus would have written them; dates of made-up lockdowns and national totals as node_exporter would.
"""

import argparse
import json
import re
import subprocess
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

FIRST = date(2020, 1, 1)
LAST = date(2020, 6, 30)
WEEK_FIRST = date(2020, 6, 24)
"""From here to the end there are numbers of lists and service too."""

BEAT_S = 900
FINE_S = 120
"""Distance between the values of live counters, in seconds; the dashboards draw rates over five minutes."""

HOUR_S = 3600
LAG_S = 5 * 86400
"""So long before a moment the days end that its baseline is made of, at the least."""

DAY_S = 86400
BATCH = 10
LIST = "made-up"
ENTRIES = 9000
WAITING = 4
"""Entries of the last list that wait for persons, because they were in wide use."""

SERIAL = 412
"""The serial on the first day; a new one follows every Monday morning."""

MONDAY = date(2020, 1, 6)
UPSTREAMS = ("192.0.2.53:53", "192.0.2.54:53")
WEEK = (1.0, 0.98, 1.01, 0.99, 1.06, 1.2, 1.15)
"""Monday to Sunday, as shares of a usual day."""

RULES = Path(__file__).parent / "rules.yml"
ALERTS = Path(__file__).parent / "alerts.yml"


@dataclass(frozen=True)
class Region:
    """A region: attempts and answers of a usual day, and a surge that rises from its first day to `height` at its peak
    and falls until its last day."""

    name: str
    usual: int
    answers: int
    subscribers: int
    height: float
    first: date
    peak: date
    last: date

    def factor(self, day: date) -> float:
        """Return a day's attempts as a multiple of a usual day's."""
        if not self.first <= day <= self.last:
            return 1.0
        edge = self.first if day <= self.peak else self.last
        return 1 + (self.height - 1) * (1 - abs((day - self.peak) / (self.peak - edge)))

    def attempts(self, day: date) -> int:
        """Return the attempts of a day, in whole batches."""
        return round(self.usual * WEEK[day.weekday()] * self.factor(day) / BATCH) * BATCH

    def queries(self, day: date) -> int:
        """Return the blocked queries of a day: three for each attempt."""
        return self.attempts(day) * 3

    def views(self, day: date) -> int:
        """Return the warning pages shown on a day: one for five attempts."""
        return self.attempts(day) // 5 // BATCH * BATCH

    def capped(self, day: date) -> int:
        """Return the attempts of a day above the cap of a client and hour: one in a hundred."""
        return self.attempts(day) // 100 // BATCH * BATCH

    def prefixes(self, day: date) -> int:
        """Return the client prefixes of a day: two for five attempts."""
        return self.attempts(day) * 2 // 5 // BATCH * BATCH

    def new_entries(self, day: date) -> int:
        """Return the attempts of a day for entries that are new in their serial: one in fifty."""
        return self.attempts(day) // 50 // BATCH * BATCH

    def bounded(self, day: date) -> int:
        """Return the attempts of a day with at most three for each prefix: four in five."""
        return self.attempts(day) * 4 // 5 // BATCH * BATCH


REGIONS = (
    Region("Ruritania-made-up", 3000, 40_000_000, 400_000, 10, date(2020, 3, 9), date(2020, 3, 30), date(2020, 5, 11)),
    Region("Erewhon-made-up", 8000, 90_000_000, 900_000, 2, date(2020, 3, 16), date(2020, 4, 14), date(2020, 5, 19)),
    Region("Laputa-made-up", 2000, 15_000_000, 150_000, 4, date(2020, 3, 12), date(2020, 4, 6), date(2020, 5, 18)),
)
RURITANIA, EREWHON, LAPUTA = REGIONS

Value = Callable[[Region, int], int | float]
"""Takes a region and a moment, returns the value of a series then."""

Row = tuple[str, str, str, Value]
"""Metric, kind, labels in addition to those of the instance, value."""


def midnight(day: date) -> int:
    """Return the beginning of a day, in unix seconds."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def days() -> Iterator[date]:
    """Yield every made-up day."""
    for number in range((LAST - FIRST).days + 1):
        yield FIRST + timedelta(days=number)


def totals(of_day: list[int]) -> Iterator[tuple[int, int]]:
    """Return (moment, total) on each beat, from the first midnight to the one after the last day, in whole batches."""
    total, begin = 0, midnight(FIRST)
    yield begin, 0
    for number, count in enumerate(of_day):
        for beat in range(1, DAY_S // BEAT_S + 1):
            so_far = count if beat * BEAT_S == DAY_S else count * beat * BEAT_S // DAY_S // BATCH * BATCH
            yield begin + number * DAY_S + beat * BEAT_S, total + so_far
        total += count


def in_force_since(at: int) -> int:
    """Return when the list in force at a moment came into force: Monday, 06:00."""
    first = midnight(MONDAY) + 6 * HOUR_S
    return midnight(FIRST) if at < first else at - (at - first) % (7 * DAY_S)


def serial(at: int) -> int:
    """Return the serial in force at a moment."""
    return SERIAL + max(0, (at - midnight(MONDAY) - 6 * HOUR_S) // (7 * DAY_S) + 1)


def between(at: int, day: date, first: float, last: float) -> bool:
    """Return whether a moment is within these hours of a day."""
    return midnight(day) + first * HOUR_S <= at < midnight(day) + last * HOUR_S


def failed(at: int) -> bool:
    """Return whether polls of Ruritania fail at a moment."""
    return between(at, date(2020, 6, 27), 10, 13)


def held(at: int) -> bool:
    """Return whether a newer list is held at a moment."""
    return between(at, date(2020, 6, 29), 2, 6)


def in_wide_use(at: int) -> bool:
    """Return whether entries of the list in force wait for persons, because they were in wide use."""
    return between(at, date(2020, 6, 29), 6, 11)


def down(at: int) -> bool:
    """Return whether the first upstream is down at a moment."""
    return between(at, date(2020, 6, 28), 18, 19.5)


def grown(during: Callable[[int], bool], each: int) -> Callable[[int], int]:
    """Return a total of the last week that grows by `each` on every beat of some hours."""
    course: dict[int, int] = {}
    total = 0
    for at in range(midnight(WEEK_FIRST), midnight(LAST + timedelta(days=1)) + 1, BEAT_S):
        total += each if during(at) else 0
        course[at] = total
    return course.__getitem__


def steady(day: float) -> Value:
    """Return a total of the last week that grows evenly every day, in the larger region by more."""
    return lambda region, at: (at - midnight(WEEK_FIRST)) * int(day * region.answers / RURITANIA.answers) // DAY_S


def always(value: float) -> Value:
    """Return a level that never changes."""
    return lambda region, at: value


def whole() -> Iterator[Row]:
    """Yield the series of all days, with a value on each beat."""
    of_list = f'list="{LIST}"'
    counted: tuple[tuple[str, str, Callable[[Region, date], int]], ...] = (
        ("blocked_attempts", of_list, Region.attempts),
        ("blocked_queries", of_list, Region.queries),
        ("attempts_capped", of_list, Region.capped),
        ("blocked_prefixes", of_list, Region.prefixes),
        ("attempts_new_entries", of_list, Region.new_entries),
        ("blocked_attempts_bounded", of_list, Region.bounded),
        ("page_views", "", Region.views),
        ("page_help", 'kind="worried"', lambda region, day: region.views(day) // 50 // BATCH * BATCH),
        ("answers", 'rcode="NOERROR"', lambda region, _: region.answers * 4 // 5),
        ("answers", 'rcode="NXDOMAIN"', lambda region, _: region.answers - region.answers * 4 // 5),
        ("rehearsal_answers", "", lambda region, _: BATCH),
    )
    for name, label, read in counted:
        courses = {one.name: dict(totals([read(one, day) for day in days()])) for one in REGIONS}
        yield name, "counter", label, lambda region, at, courses=courses: courses[region.name][at]  # type: ignore[misc]  # the loop's own
    yield "attempts_saturated", "gauge", of_list, always(0)
    yield "lookups_refused", "counter", of_list, always(0)
    yield "attempts_bounded_saturated", "counter", of_list, always(0)
    yield "list_entries", "gauge", of_list, always(ENTRIES)
    yield "list_serial", "gauge", of_list, lambda region, at: serial(at)
    yield "list_enforced", "gauge", of_list, always(1)
    yield "enforcing", "gauge", "", always(1)
    yield "subscribers_covered", "gauge", "", lambda region, at: region.subscribers
    yield "publish_timestamp_seconds", "gauge", "", lambda region, at: at


def lists() -> Iterator[Row]:
    """Yield the series of lists in the last week."""
    of_list = f'list="{LIST}"'
    polls = grown(failed, 1)
    limit = 14 * DAY_S
    yield "list_in_force_timestamp_seconds", "gauge", of_list, lambda region, at: in_force_since(at)
    yield "list_expiry_timestamp_seconds", "gauge", of_list, lambda region, at: in_force_since(at) + limit
    yield "list_receipt_timestamp_seconds", "gauge", of_list, lambda region, at: in_force_since(at) + 5
    yield (
        "feed_last_success_timestamp_seconds",
        "gauge",
        of_list,
        lambda region, at: midnight(date(2020, 6, 27)) + 10 * HOUR_S if region is RURITANIA and failed(at) else at - 60,
    )
    for reason in ("unreachable", "tampered"):
        told = f'{of_list},reason="{reason}"'
        yield (
            "feed_failures",
            "counter",
            told,
            lambda region, at, reason=reason: (  # type: ignore[misc]  # the loop's own
                polls(at) if region is RURITANIA and reason == "unreachable" else 0
            ),
        )
    for metric, reason, count in (
        ("feed_entries_refused", "url", 5),
        ("feed_entries_refused", "malformed", 2),
        ("list_set_aside", "protected", 3),
    ):
        yield metric, "gauge", f'{of_list},reason="{reason}"', always(count)
    in_use = f'{of_list},reason="in_use"'
    yield "list_set_aside", "gauge", in_use, lambda region, at: WAITING * int(in_wide_use(at))
    yield "list_held", "gauge", of_list, lambda region, at: int(held(at))
    yield (
        "list_deadline_timestamp_seconds",
        "gauge",
        of_list,
        lambda region, at: midnight(date(2020, 6, 30)) + 2 * HOUR_S if held(at) else 0,
    )
    yield "breaker_open", "gauge", of_list, always(0)
    yield "list_forwarded", "gauge", of_list, always(0)
    yield "list_taken_out", "gauge", of_list, always(0)
    yield "list_poll_seconds", "gauge", of_list, always(900)
    yield "feed_fresh_until_timestamp_seconds", "gauge", of_list, lambda region, at: at - at % HOUR_S + 2 * DAY_S
    released, confirmed = midnight(date(2020, 6, 26)), midnight(date(2020, 6, 26)) + 20 * HOUR_S
    of_release = f'{of_list},action="release"'
    yield "decisions_unconfirmed", "gauge", of_release, lambda region, at: int(released <= at < confirmed)
    yield (
        "decision_confirmation_due_timestamp_seconds",
        "gauge",
        of_release,
        lambda region, at: released + DAY_S if released <= at < confirmed else 0,
    )
    yield "receipts_undelivered", "gauge", of_list, lambda region, at: int(failed(at))
    yield "fleet_nodes_missing", "gauge", of_list, lambda region, at: int(in_wide_use(at))
    yield "list_exported", "gauge", of_list, lambda region, at: int(failed(at))
    yield "export_in_step", "gauge", of_list, lambda region, at: 1 - int(failed(at))
    yield "export_secondaries_behind", "gauge", "", lambda region, at: int(failed(at))
    yield "list_suspended_entries", "gauge", of_list, lambda region, at: WAITING * int(in_wide_use(at))
    yield "selftest_success", "gauge", of_list, always(1)
    yield (
        "list_release_expiry_timestamp_seconds",
        "gauge",
        of_list,
        lambda region, at: midnight(date(2020, 7, 3)) if at >= midnight(date(2020, 6, 26)) else 0,
    )
    yield "certificate_expiry_timestamp_seconds", "gauge", 'use="feed"', always(midnight(date(2020, 9, 1)))


def service() -> Iterator[Row]:
    """Yield the series of the service in the last week."""
    first, second = (f'upstream="{one}"' for one in UPSTREAMS)
    for kind, day in (("positive", 30e6), ("negative", 4e6), ("miss", 6e6)):
        yield "cache_answers", "counter", f'kind="{kind}"', steady(day)
    for kind, day in (("new", 1e5), ("good", 5e6), ("bad", 2e4)):
        yield "cookies", "counter", f'kind="{kind}"', steady(day)
    yield "cache_bytes", "gauge", "", always(48 * 1024 * 1024)
    unanswered = grown(down, 200)
    yield "failed_answers", "counter", 'reason="upstream"', lambda region, at: unanswered(at)
    yield "failed_answers", "counter", 'reason="overload"', always(0)
    yield "upstream_up", "gauge", first, lambda region, at: 1 - int(down(at))
    yield "upstream_up", "gauge", second, always(1)
    yield "upstream_answering", "gauge", "", always(1)
    timeouts = grown(down, 500)
    yield "upstream_failures", "counter", f'{first},reason="timeout"', lambda region, at: timeouts(at)
    yield "upstream_failures", "counter", f'{second},reason="timeout"', always(0)
    for upstream in (first, second):
        for quantile, seconds in (("0.5", 0.004), ("0.9", 0.018), ("0.99", 0.09)):
            yield "upstream_latency_seconds", "summary", f'{upstream},quantile="{quantile}"', always(seconds)
    yield "queries_in_flight", "gauge", "", lambda region, at: 40 if down(at) else 0
    for thread in ("0", "1"):
        yield "engine_busy_ratio", "gauge", f'thread="{thread}"', lambda region, at: 0.1 + at // HOUR_S % 24 / 100
    yield "process_cpu_seconds", "counter", "", steady(17280)
    yield "connections", "gauge", 'transport="tcp"', lambda region, at: 120 + at // HOUR_S % 24
    yield "edges_connected", "gauge", "", always(2)
    yield "edge_refused", "counter", 'reason="handshake"', steady(4e4)
    yield "certificate_expiry_timestamp_seconds", "gauge", 'use="edge"', always(midnight(date(2020, 8, 1)))
    yield "config_reload_success", "gauge", "", always(1)
    yield "listen_missing", "gauge", "", always(0)


BUCKETS = {"0.005": 0.6, "0.025": 0.9, "0.1": 0.99, "1.0": 0.999, "+Inf": 1.0}
"""Share of the exchanges with upstreams up to each bound of time."""

EXCHANGES = 6e6
LIVE = (
    ("queries", 'transport="udp"', steady(39e6)),
    ("queries", 'transport="tcp"', steady(1e6)),
    ("packets_dropped", 'reason="rate_limit"', steady(2e4)),
    ("packets_dropped", 'reason="short"', steady(200)),
    ("edge_handshakes", "", steady(2e6)),
)


LOCKDOWNS = (
    (RURITANIA, "schools close", date(2020, 3, 16)),
    (EREWHON, "schools close", date(2020, 3, 23)),
    (RURITANIA, "schools open", date(2020, 5, 4)),
)


def beside(out: TextIO) -> None:
    """Write what does not come from a resolver: dates of events, and the national total, one month after another."""
    end = midnight(LAST + timedelta(days=1))
    name = "blocklist_event_timestamp_seconds"
    out.write(f"# HELP {name} SYNTHETIC: made up, nothing happened.\n# TYPE {name} gauge\n")
    for region, event, day in LOCKDOWNS:
        labels = f'event="{event}",region="{region.name}"'
        out.writelines(f"{name}{{{labels}}} {midnight(day)} {at}\n" for at in range(midnight(FIRST), end + 1, HOUR_S))
    name = "blocklist_national_attempts"
    out.write(f"# HELP {name} SYNTHETIC: made up, nothing was counted.\n# TYPE {name} gauge\n")
    for month in range(FIRST.month, LAST.month):
        total = 3 * sum(region.attempts(day) for region in REGIONS for day in days() if day.month == month)
        since, until = (midnight(date(FIRST.year, month + more, 3)) for more in (1, 2))
        labels = f'list="{LIST}",month="{FIRST.year}-{month:02}"'
        out.writelines(f"{name}{{{labels}}} {total} {at}\n" for at in range(since, min(until, end + 1), HOUR_S))


def write(out: TextIO) -> None:
    """Write all series as OpenMetrics."""
    begin, week, end = midnight(FIRST), midnight(WEEK_FIRST), midnight(LAST + timedelta(days=1))
    _families(out, whole(), range(begin, end + 1, BEAT_S))
    _families(out, (*lists(), *service()), range(week, end + 1, BEAT_S))
    _families(out, ((name, "counter", label, value) for name, label, value in LIVE), range(week, end + 1, FINE_S))
    head(out, "upstream_exchange_seconds", "histogram")
    count = steady(EXCHANGES)
    for region, instance in _instances():
        for at in range(week, end + 1, BEAT_S):
            total = int(count(region, at))
            for bound, share in BUCKETS.items():
                number = int(total * share)
                out.write(
                    f'blocklist_resolver_upstream_exchange_seconds_bucket{{le="{bound}",{instance}}} {number} {at}\n'
                )
            out.write(f"blocklist_resolver_upstream_exchange_seconds_count{{{instance}}} {total} {at}\n")
            out.write(f"blocklist_resolver_upstream_exchange_seconds_sum{{{instance}}} {total // 100} {at}\n")
    head(out, "build_info", "gauge")
    for region, instance in _instances():
        label = f'version="0",engine="replay",definition="v2",region="{region.name}",{instance}'
        for at in range(begin, end + 1, BEAT_S):
            out.write(f"blocklist_resolver_build_info{{{label}}} 1 {at}\n")
    beside(out)
    out.write("# EOF\n")


def _families(out: TextIO, rows: Iterable[Row], moments: range) -> None:
    headed = ""
    for name, kind, label, value in rows:
        if name != headed:
            head(out, name, kind)
            headed = name
        suffix = "_total" if kind == "counter" else ""
        for region, instance in _instances():
            series = f"blocklist_resolver_{name}{suffix}{{{label}{',' if label else ''}{instance}}}"
            out.writelines(f"{series} {value(region, at)} {at}\n" for at in moments)


def _instances() -> Iterator[tuple[Region, str]]:
    for number, region in enumerate(REGIONS, 1):
        yield region, f'instance="synthetic-{number}",job="synthetic"'


def head(out: TextIO, name: str, kind: str) -> None:
    out.write(f"# HELP blocklist_resolver_{name} SYNTHETIC: made up for demonstrations, nothing was counted.\n")
    out.write(f"# TYPE blocklist_resolver_{name} {kind}\n")


@contextmanager
def serving(data: Path, prometheus: str = "prometheus") -> Iterator[str]:
    """Yield the URL of a Prometheus on loopback that serves `data` and scrapes nothing; RuntimeError if it does not
    start."""
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as config:
        # An evaluation now would write what is absent now.
        words = {"global": {"evaluation_interval": "1d"}, "rule_files": [str(RULES), str(ALERTS)]}
        json.dump(words, config)
        config.flush()
        process = subprocess.Popen(
            [
                prometheus,
                f"--config.file={config.name}",
                f"--storage.tsdb.path={data}",
                "--storage.tsdb.retention.time=30y",
                "--query.lookback-delta=1h",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield address(process)
        finally:
            process.terminate()
            process.communicate()


def address(process: "subprocess.Popen[str]") -> str:
    """Return the URL of a Prometheus once it answers."""
    address = ""
    for line in process.stderr or ():
        found = re.search(r'Listening on.*address"?[=:]"?([\d.]+:\d+)', line)
        address = found[1] if found else address
        if address and "Server is ready" in line:
            return f"http://{address}"
    raise RuntimeError("prometheus did not start")


@dataclass(frozen=True)
class Made:
    """What is made up: who writes it, and the moments between which rules and alerts are evaluated, so far apart.

    baseline: whether there are the eight weeks that a baseline needs.
    """

    write: Callable[[TextIO], None] = write
    begin: int = midnight(FIRST)
    end: int = midnight(LAST + timedelta(days=1))
    step: int = HOUR_S
    baseline: bool = True


SPRING = Made()

Turn = tuple[dict[str, str], int, int]
"""Rules, name to expression, and the first and last moment that they are recorded for."""


def fill(data: Path, prometheus: str = "prometheus", promtool: str = "promtool", made: Made = SPRING) -> None:
    """Make the blocks of a Prometheus in `data`: what is made up, the series that rules.yml records, and the alerts.

    A rule sees the series of another rule only after a start, so this takes a turn for each level of rules.
    """
    with tempfile.TemporaryDirectory() as folder:
        series = Path(folder, "replay.om")
        # The text is read once for each block, so there are as few blocks as possible.
        into = [promtool, "tsdb", "create-blocks-from", "--max-block-duration=4380h", "openmetrics", series, data]
        with series.open("w") as out:
            made.write(out)
        subprocess.run(into, check=True, stdout=subprocess.DEVNULL)
        turns: list[Turn] | None = None
        while turns is None or turns:
            with serving(data, prometheus) as url, series.open("w") as out:
                turns = _stacked(url, made) if turns is None else turns
                _record(out, url, turns.pop(0), made.step)
            subprocess.run(into, check=True, stdout=subprocess.DEVNULL)
        with serving(data, prometheus) as url, series.open("w") as out:
            _fire(out, url, made)
        subprocess.run(into, check=True, stdout=subprocess.DEVNULL)


def _stacked(url: str, made: Made) -> list[Turn]:
    """Return the rules of rules.yml as Prometheus has read them, in turns.

    First the rules that need no other, then those that need these, and so on. Those of the baseline need each other,
    but only what was recorded five days before: they take turns of five days, after eight weeks without a baseline.
    """
    groups = _asked(url, "rules", {})["groups"]
    left = {rule["name"]: rule["query"] for group in groups for rule in group["rules"] if rule["type"] == "recording"}
    turns: list[Turn] = []
    while left:
        ready = [name for name, query in left.items() if not any(other in query for other in left)]
        if ready:
            turns.append(({name: left.pop(name) for name in ready}, made.begin, made.end))
            continue
        start, until = made.begin, made.begin + 56 * DAY_S
        while made.baseline and start <= made.end:
            turns += [({name: left[name]}, start, min(until, made.end)) for name in left]
            start, until = until + made.step, until + LAG_S
        left = {}
    return turns


def _record(out: TextIO, url: str, turn: Turn, step: int) -> None:
    """Write the results of a turn's rules as OpenMetrics."""
    rules, begin, end = turn
    for name, query in rules.items():
        out.write(f"# HELP {name} SYNTHETIC: recorded from made-up numbers.\n# TYPE {name} gauge\n")
        words = {"query": query, "start": begin, "end": end, "step": step}
        # Two results whose metric differs are one series once it is recorded.
        courses: dict[str, list[tuple[int, str]]] = {}
        for one in _asked(url, "query_range", words)["result"]:
            courses.setdefault(_labels(one["metric"]), []).extend(one["values"])
        for labels, values in courses.items():
            out.writelines(f"{name}{{{labels}}} {value} {at}\n" for at, value in sorted(values))
    out.write("# EOF\n")


def _fire(out: TextIO, url: str, made: Made) -> None:
    """Write the alerts that fire as Prometheus does: after their condition has held for the time that they wait."""
    out.write("# HELP ALERTS SYNTHETIC: evaluated over made-up numbers.\n# TYPE ALERTS gauge\n")
    groups = _asked(url, "rules", {"type": "alert"})["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        words = {"query": rule["query"], "start": made.begin, "end": made.end, "step": made.step}
        for one in _asked(url, "query_range", words)["result"]:
            labels = _labels(one["metric"] | rule["labels"] | {"alertname": rule["name"], "alertstate": "firing"})
            since = before = -made.step
            for at, _ in one["values"]:
                since = at if at - before > made.step else since
                before = at
                if at - since >= rule["duration"]:
                    out.write(f"ALERTS{{{labels}}} 1 {at}\n")
    out.write("# EOF\n")


def _labels(metric: dict[str, str]) -> str:
    return ",".join(f'{label}="{value}"' for label, value in sorted(metric.items()) if label != "__name__")


def _asked(url: str, path: str, words: dict[str, object]) -> Any:
    """Query the API of Prometheus and return its data."""
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{urllib.parse.urlencode(words)}") as reply:  # noqa: S310 - http, as `serving` says
        return json.load(reply)["data"]


def main() -> None:
    """Write the file, or fill the folder, that the command line names."""
    parser = argparse.ArgumentParser(description="A made-up January to June 2020, as OpenMetrics or in a Prometheus.")
    into = parser.add_mutually_exclusive_group(required=True)
    into.add_argument("out", type=Path, nargs="?", metavar="OUT.om")
    into.add_argument("--fill", type=Path, metavar="DATA-FOLDER")
    words = parser.parse_args()
    if words.fill:
        fill(words.fill)
        return
    with words.out.open("w") as out:
        write(out)


if __name__ == "__main__":
    main()
