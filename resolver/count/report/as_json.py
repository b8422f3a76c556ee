"""Writes a report as JSON; report.schema.json in this folder describes it (JSON Schema 2020-12)."""

import json
from typing import Any, Final

from resolver.count import definition
from resolver.count.report.baseline import Surge
from resolver.count.report.figures import Day, Gap, Month, PlaceFigures, Report
from resolver.count.report.rise import Mean, Rise

FORMAT: Final = 1


def as_json(report: Report) -> str:
    """Return the whole report; an unknown number is null."""
    said = {
        "format": FORMAT,
        "first": report.first.isoformat(),
        "last": report.last.isoformat(),
        "made": report.made.isoformat(),
        "source": report.source,
        "definition": {
            "version": definition.VERSION,
            "attempts_are": definition.IN_PRINT,
            "attempt": definition.ATTEMPT,
            "blocked_query": definition.BLOCKED_QUERY,
            "complete": definition.COMPLETE,
        },
        "caveat": definition.CAVEAT,
        "noise": report.noise or None,
        "so_far": report.so_far or None,
        "places": [_place(place) for place in report.places],
    }
    return json.dumps(said, indent=1) + "\n"


def _place(place: PlaceFigures) -> dict[str, Any]:
    return {
        "region": place.place.region,
        "list": place.place.list_id,
        "months": [_month(month) for month in place.months],
        "surges": [_surge(one, place.rises.get(one.first)) for one in place.surges],
        "days": [_day(one) for one in place.days],
    }


def _month(month: Month) -> dict[str, Any]:
    return {
        "month": month.name,
        "first": month.first.isoformat(),
        "last": month.last.isoformat(),
        "attempts": month.attempts,
        "blocked_queries": month.queries,
        "blocked_per_100000": month.per_100k,
        "ratio": month.ratio,
        "peak": None
        if month.peak is None
        else {
            "day": month.peak.day.isoformat(),
            "ratio": month.peak.figure.ratio,
            "attempts": month.peak.facts.attempts,
        },
        "enforced_minutes": month.enforced_minutes,
        "gaps": [_gap(gap) for gap in month.gaps],
        "not_comparable": list(month.not_comparable),
    }


def _gap(gap: Gap) -> dict[str, str]:
    return {"first": gap.first.isoformat(), "last": gap.last.isoformat(), "why": gap.why}


def _surge(one: Surge, made_of: Rise | None) -> dict[str, Any]:
    return {
        "first": one.first.isoformat(),
        "peak": one.peak.day.isoformat(),
        "ratio": one.peak.ratio,
        "back_to_normal": one.back.isoformat() if one.back else None,
        "definition_changed": one.cut.isoformat() if one.cut else None,
        "made_of": None if made_of is None else _rise(made_of),
    }


def _rise(one: Rise) -> dict[str, Any]:
    return {
        "rise": one.attempts,
        "new_entries": one.new_entries,
        "more_prefixes": one.more_prefixes,
        "more_of_each": one.more_of_each,
        "before": _mean(one.before),
        "within": _mean(one.within),
        "days": one.days,
        "days_full": one.full,
    }


def _mean(one: Mean) -> dict[str, float]:
    return {
        "attempts": one.attempts,
        "attempts_new_entries": one.new_entries,
        "prefixes": one.prefixes,
        "attempts_capped": one.capped,
    }


def _day(one: Day) -> dict[str, Any]:
    facts, figure = one.facts, one.figure
    return {
        "day": one.day.isoformat(),
        "attempts": facts.attempts,
        "blocked_queries": facts.queries,
        "answers": facts.answers,
        "blocked_per_100000": one.per_100k,
        "baseline": figure.base,
        "ratio": figure.ratio,
        "surge": figure.surge,
        "enforced_share": round(facts.enforced, 4),
        "enforced_minutes": one.enforced_minutes,
        "serial": facts.serial,
        "entries": facts.entries,
        "subscribers": facts.subscribers or None,
        "definitions": sorted(facts.definitions),
        "gap": facts.gap or None,
        "prefixes": facts.parts.prefixes,
        "attempts_new_entries": facts.parts.new_entries,
        "attempts_capped": facts.parts.capped,
    }
