"""The made-up spring of deploy/prometheus/replay.py for the tests of the report: as ledgers, and as a report."""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

from resolver.count.ledger import Beat, Draw, Ledger, ListBeat, Total
from resolver.count.metrics import BOUNDED, CAPPED, NEW_ENTRIES, PREFIXES, Series
from resolver.count.report import report
from resolver.count.report.days import DAY, DayFacts, Days, Parts, Place, from_ledger
from resolver.count.report.figures import Report
from resolver.count.report.noise import Noise

DEPLOY = Path(__file__).parents[3] / "deploy"
BEAT_S = 86400


def _replay() -> Any:
    spec = importlib.util.spec_from_file_location("replay_of_spring", DEPLOY / "prometheus" / "replay.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


replay = _replay()
FIRST, LAST = replay.FIRST, replay.LAST
REGIONS = (replay.RURITANIA, replay.EREWHON)
"""Two regions are enough for the report: what it says of them is written out in many tests."""

RURITANIA, EREWHON = (Place(region.name, replay.LIST) for region in REGIONS)
NOW = float(replay.midnight(date(2020, 7, 2)))


def write(
    ledger: Ledger,
    region: Any,
    changed: Mapping[date, Mapping[str, Any]] = MappingProxyType({}),
    parts: Mapping[str, str] = MappingProxyType({BOUNDED: "attempts"}),
) -> None:
    """The days of a region as one beat each; `changed` of a day: counts, `skip`, `enforced_s`, `entries`…

    parts: what an attempt is counted in too, metric to method of the region.
    """
    metrics = ("blocked_attempts_total", "blocked_queries_total", "answers_total", *parts)
    totals = dict.fromkeys(metrics, 0)
    labels = {"answers_total": ("NOERROR",)}
    for day in replay.days():
        said = changed.get(day, {})
        of_parts = (getattr(region, name)(day) for name in parts.values())
        grown = (region.attempts(day), region.queries(day), region.answers, *of_parts)
        if said.get("skip"):
            continue
        for metric, count in zip(totals, grown, strict=True):
            totals[metric] += said.get(metric, count)
        ledger.write(
            Beat(
                at=replay.midnight(day + DAY),
                every_s=BEAT_S,
                region=region.name,
                subscribers=said.get("subscribers", region.subscribers),
                totals={
                    Series(metric, labels.get(metric, (replay.LIST,))): Total(total, 0)
                    for metric, total in totals.items()
                },
                lists=(
                    ListBeat(
                        list_id=replay.LIST,
                        serial=replay.serial(replay.midnight(day + DAY)),
                        entries=said.get("entries", replay.ENTRIES),
                        enforced_s=said.get("enforced_s", BEAT_S),
                    ),
                ),
            )
        )


def ledgers(folder: Path) -> dict[Place, Days]:
    """The facts of the two regions, each from a ledger of its own in `folder`."""
    return _ledgers(folder, REGIONS)


def whole(folder: Path) -> dict[Place, Days]:
    """The facts of all regions as replay.py gives them to Prometheus, each from a ledger of its own in `folder`."""
    parts = {BOUNDED: "bounded", PREFIXES: "prefixes", NEW_ENTRIES: "new_entries", CAPPED: "capped"}
    return _ledgers(folder, replay.REGIONS, parts=parts)


def _ledgers(folder: Path, regions: Sequence[Any], **options: Any) -> dict[Place, Days]:
    found: dict[Place, Days] = {}
    for number, region in enumerate(regions):
        ledger = Ledger(folder / f"{number}.sqlite", NOW)
        write(ledger, region, **options)
        found |= from_ledger(ledger, FIRST, LAST)
    return found


def facts(regions: Sequence[Any] = REGIONS) -> dict[Place, Days]:
    """The same facts without a ledger, for tests of what comes after it."""
    return {
        Place(region.name, replay.LIST): {
            day: DayFacts(
                attempts=region.attempts(day),
                queries=region.queries(day),
                answers=region.answers,
                enforced=1.0,
                entries=replay.ENTRIES,
                serial=replay.serial(replay.midnight(day + DAY)),
                subscribers=region.subscribers,
                definitions=frozenset({"v2"}),
                parts=Parts(bounded=region.attempts(day), capped=0, full=0),
            )
            for day in replay.days()
        }
        for region in regions
    }


class Books:
    """The figures with noise that a ledger would keep."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str | int, ...], Draw] = {}

    def draw(self, wanted: Sequence[Draw], check: Callable[[Sequence[Draw]], None]) -> dict[tuple[str | int, ...], int]:
        new = [one for one in wanted if one.key not in self.kept]
        check([*self.kept.values(), *new])
        self.kept |= {one.key: one for one in new}
        return {one.key: self.kept[one.key].figure for one in wanted}

    def draws(self) -> list[Draw]:
        return list(self.kept.values())


def noise(key: int = 1, **wanted: Any) -> Noise:
    """Noise by a key of the test, in batches of 10, kept in books of its own."""
    options: dict[str, Any] = {"host": "a host", "books": Books(), "now": NOW, "batch": 10} | wanted
    return Noise(key=bytes([key]) * 32, **options)


def told(found: dict[Place, Days] | None = None, **wanted: Any) -> Report:
    """A report of all of it, by region; noise=True: with noise of its own."""
    if wanted.get("noise") is True:
        wanted["noise"] = noise()
    options = {"source": "a made-up spring", "now": NOW, "by_region": True} | wanted
    return report.made(facts() if found is None else found, FIRST, LAST, **options)
