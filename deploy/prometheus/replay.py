#!/usr/bin/env python3
"""Writes a made-up January to June 2020 as OpenMetrics, for demonstrations and tests: nothing in it was ever counted.

    python3 deploy/prometheus/replay.py replay.om
    promtool tsdb create-blocks-from openmetrics --max-block-duration=720h replay.om DATA-FOLDER
    prometheus --storage.tsdb.path=DATA-FOLDER --storage.tsdb.retention.time=30y …

Every family's HELP says SYNTHETIC and the regions are places of stories. In one of them attempts rise ten-fold at the
end of March, in the other they double in the middle of April; both are back to normal in May.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TextIO

FIRST = date(2020, 1, 1)
LAST = date(2020, 6, 30)
BEAT_S = 900
DAY_S = 86400
BATCH = 10
LIST = "made-up"
ENTRIES = 9000
SERIAL = 412
WEEK = (1.0, 0.98, 1.01, 0.99, 1.06, 1.2, 1.15)
"""Monday to Sunday, as shares of a usual day."""


@dataclass(frozen=True)
class Region:
    """A place, how many attempts a usual day has, how many answers, and how its surge goes: from its first day it rises
    to `height` at its peak and falls until its last."""

    name: str
    usual: int
    answers: int
    subscribers: int
    height: float
    first: date
    peak: date
    last: date

    def factor(self, day: date) -> float:
        """How many times a usual day a day is."""
        if not self.first <= day <= self.last:
            return 1.0
        edge = self.first if day <= self.peak else self.last
        return 1 + (self.height - 1) * (1 - abs((day - self.peak) / (self.peak - edge)))

    def attempts(self, day: date) -> int:
        """Attempts of a day: whole batches."""
        return round(self.usual * WEEK[day.weekday()] * self.factor(day) / BATCH) * BATCH

    def queries(self, day: date) -> int:
        """Blocked queries of a day: three for each attempt."""
        return self.attempts(day) * 3


REGIONS = (
    Region("Ruritania-made-up", 3000, 40_000_000, 400_000, 10, date(2020, 3, 9), date(2020, 3, 30), date(2020, 5, 11)),
    Region("Erewhon-made-up", 8000, 90_000_000, 900_000, 2, date(2020, 3, 16), date(2020, 4, 14), date(2020, 5, 19)),
)


def midnight(day: date) -> int:
    """The beginning of a day in unix seconds."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def days() -> Iterator[date]:
    """Every day that is made up."""
    for number in range((LAST - FIRST).days + 1):
        yield FIRST + timedelta(days=number)


def totals(of_day: list[int]) -> Iterator[tuple[int, int]]:
    """(moment, total) on each beat, from the first midnight to the one after the last day, in whole batches."""
    total, begin = 0, midnight(FIRST)
    yield begin, 0
    for number, count in enumerate(of_day):
        for beat in range(1, DAY_S // BEAT_S + 1):
            so_far = count if beat * BEAT_S == DAY_S else count * beat * BEAT_S // DAY_S // BATCH * BATCH
            yield begin + number * DAY_S + beat * BEAT_S, total + so_far
        total += count


def write(out: TextIO) -> None:
    """The whole, as OpenMetrics."""
    counters = (
        ("blocked_attempts", f'list="{LIST}"', Region.attempts),
        ("blocked_queries", f'list="{LIST}"', Region.queries),
        ("answers", 'rcode="NOERROR"', lambda region, _: region.answers),
    )
    for name, label, read in counters:
        _head(out, name, "counter")
        for region, instance in _instances():
            for at, total in totals([read(region, day) for day in days()]):
                out.write(f"blocklist_resolver_{name}_total{{{label},{instance}}} {total} {at}\n")
    gauges = (
        ("list_entries", f'list="{LIST}",', lambda _: ENTRIES),
        ("subscribers_covered", "", lambda region: region.subscribers),
        ("enforcing", "", lambda _: 1),
        ("publish_timestamp_seconds", "", None),
    )
    for name, label, value in gauges:
        _head(out, name, "gauge")
        for region, instance in _instances():
            for at in _beats():
                out.write(f"blocklist_resolver_{name}{{{label}{instance}}} {value(region) if value else at} {at}\n")
    _head(out, "build_info", "gauge")
    for region, instance in _instances():
        label = f'version="0",engine="replay",definition="v1",region="{region.name}",{instance}'
        for at in _beats():
            out.write(f"blocklist_resolver_build_info{{{label}}} 1 {at}\n")
    out.write("# EOF\n")


def _beats() -> range:
    return range(midnight(FIRST), midnight(LAST + timedelta(days=1)) + 1, BEAT_S)


def _instances() -> Iterator[tuple[Region, str]]:
    for number, region in enumerate(REGIONS, 1):
        yield region, f'instance="synthetic-{number}",job="synthetic"'


def _head(out: TextIO, name: str, kind: str) -> None:
    out.write(f"# HELP blocklist_resolver_{name} SYNTHETIC: made up for demonstrations, nothing was counted.\n")
    out.write(f"# TYPE blocklist_resolver_{name} {kind}\n")


def main() -> None:
    """Writes the file that the command line names."""
    parser = argparse.ArgumentParser(description="A made-up January to June 2020, as OpenMetrics.")
    parser.add_argument("out", type=Path, metavar="OUT.om")
    with parser.parse_args().out.open("w") as out:
        write(out)


if __name__ == "__main__":
    main()
