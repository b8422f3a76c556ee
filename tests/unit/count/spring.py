"""The made-up spring of deploy/prometheus/replay.py for the tests of the report: as ledgers, and as a report."""

import importlib.util
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

from resolver.count.ledger import Beat, Ledger, ListBeat, Total
from resolver.count.metrics import Series
from resolver.count.report import report
from resolver.count.report.days import DAY, DayFacts, Days, Place, from_ledger
from resolver.count.report.figures import Report

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
RURITANIA, EREWHON = (Place(region.name, replay.LIST) for region in replay.REGIONS)
NOW = float(replay.midnight(date(2020, 7, 2)))


def write(ledger: Ledger, region: Any, changed: Mapping[date, Mapping[str, Any]] = MappingProxyType({})) -> None:
    """The days of a region as one beat each; `changed` of a day: counts, `skip`, `enforced_s`, `entries`…"""
    totals = dict.fromkeys(("blocked_attempts_total", "blocked_queries_total", "answers_total"), 0)
    labels = {"answers_total": ("NOERROR",)}
    for day in replay.days():
        said = changed.get(day, {})
        grown = (region.attempts(day), region.queries(day), region.answers)
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
    """The facts of both regions, each from a ledger of its own in `folder`."""
    found: dict[Place, Days] = {}
    for number, region in enumerate(replay.REGIONS):
        ledger = Ledger(folder / f"{number}.sqlite", NOW)
        write(ledger, region)
        found |= from_ledger(ledger, FIRST, LAST)
    return found


def facts() -> dict[Place, Days]:
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
            )
            for day in replay.days()
        }
        for region in replay.REGIONS
    }


def told(found: dict[Place, Days] | None = None, **wanted: Any) -> Report:
    """A report of all of it, by region."""
    options = {"source": "a made-up spring", "now": NOW, "by_region": True} | wanted
    return report.made(facts() if found is None else found, FIRST, LAST, **options)
