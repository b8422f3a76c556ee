"""The verb `list status`: what is written of each list on this host, as a screen and as JSON; no service need run.

Rules:
- What only a running service knows (its feed, the breaker that only alarms, the self-test) is left out: see `status`.
- Keys of the JSON are added to, never renamed; dates are UTC, null where there is none.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from resolver.cli import screen as screens
from resolver.cli import screen_list
from resolver.cli.list_lookup import ListUnreadable, every_status, releases
from resolver.cli.screen_list import ListHealth
from resolver.config.config import Config
from resolver.config.values import utc_text
from resolver.feed import facts, fleet_receipts, poll
from resolver.feed.places import Places


def screen(config: Config, path: Path, now: float, *, colour: bool = False) -> str:
    """Every list as a person reads it, and what to do next; `path` is the configuration's."""
    found = [health for _, health, _ in _found(config, now)]
    rows = [row for one in found for row in screen_list.rows(one, now)]
    lines = [line for one in found for line in screen_list.advice(one, now, str(path))]
    return screens.screen(rows, screens.in_order(lines), colour=colour)


def as_json(config: Config, now: float) -> str:
    """Every list as one JSON array."""
    return json.dumps([_facts(*each) for each in _found(config, now)], indent=2)


def _found(config: Config, now: float) -> Iterator[tuple[poll.Status, ListHealth, fleet_receipts.Reports | None]]:
    released = releases(config)
    receipts = Places(config.state.directory).receipts
    for one, status in zip(config.lists, every_status(config), strict=True):
        health = facts.with_releases(facts.of_state(one, status.state, now), released)
        try:
            health = facts.with_files(health, one, status.state, receipts)
        except OSError as error:
            raise ListUnreadable(
                f"the receipts below {config.state.directory} cannot be read: {error.strerror}"
            ) from None
        reports = _reports(config, status)
        if reports is not None:
            health = replace(health, fleet_hosts=reports.nodes, fleet_missing=reports.missing)
        yield status, health, reports


def _reports(config: Config, one: poll.Status) -> fleet_receipts.Reports | None:
    """Who of a fleet has reported the list in force; None where this host collects no receipts, or has no list."""
    fleet = config.fleet
    if not fleet.nodes or one.in_force is None:
        return None
    try:
        return fleet_receipts.Collector(Path(fleet.receipts), Path(fleet.nodes)).reports(one.list_id, one.in_force)
    except OSError as error:
        raise ListUnreadable(f"the fleet's receipts cannot be read: {error.strerror}") from None


def _facts(one: poll.Status, health: ListHealth, reports: fleet_receipts.Reports | None) -> dict[str, Any]:
    record = one.in_force
    return {
        "list": one.list_id,
        "serial": record.serial if record else None,
        "in_force_since": _date(health.in_force_since),
        "issued": _date(health.issued),
        "expires": _date(record.expires) if record else None,
        "hard_limit": _date(health.expiry),
        "entries": health.entries,
        "withdrawn": health.withdrawn,
        "refused": dict(record.refused) if record else {},
        "held": {"serial": one.held.serial, "reasons": list(one.held_for)} if one.held else None,
        "quarantined": one.quarantined,
        "fleet": _reported(reports),
        "lifted": health.lifted,
        "set_aside": health.set_aside,
        "set_aside_approved": health.set_aside_approved,
        "suspended": health.suspended,
        "decisions": [
            {"action": each.action, "serial": each.serial, "signed": list(each.signed), "missing": each.missing}
            for each in health.decisions
        ],
        "deadline": _date(health.due_at),
        "rolled_back": {
            "at": _date(health.rolled_back),
            "by": health.rolled_back_by,
            "alarm_at": _date(health.rollback_alarm_at),
        }
        if health.rolled_back
        else None,
        "receipt": _date(health.receipt_at),
        "receipts_due": health.receipts_due,
        "receipts_due_since": _date(health.receipts_due_since),
        "releases": [
            {
                "number": each.number,
                "serial": each.serial,
                "line": each.line,
                "until": _date(each.until),
                "confirmed_by": each.confirmed_by or None,
                "alarm_at": _date(each.alarm_at),
            }
            for each in health.releases
        ],
        "certificates": [{"key": each.key, "path": each.path, "ends": _date(each.end)} for each in health.certificates],
    }


def _reported(found: fleet_receipts.Reports | None) -> dict[str, object] | None:
    if found is None:
        return None
    return {
        "nodes": found.nodes,
        "reported": len(found.since),
        "since": {name: _date(at) for name, at in found.since.items()},
        "missing": list(found.missing),
    }


def _date(seconds: int | None) -> str | None:
    return utc_text(seconds) if seconds else None
