"""Shows the saved lists of this host for the verb `list status`, as a screen and as JSON; no service has to run.

Rules:
- What came out of the last poll only a running service knows: it is asked, and left out if none answers in time.
- Other facts that only a service knows are left out (a breaker that only alarms): `status` shows them.
- Of a fleet's receipts only those are read that the service has not read as they are now.
- Keys of the JSON are added, never renamed; dates are UTC, null for none.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from resolver.cli import screen as screens
from resolver.cli import screen_list
from resolver.cli.list_lookup import ListUnreadable, every_state, releases
from resolver.config.config import Config
from resolver.config.values import utc_text
from resolver.control import client, requests, status
from resolver.feed import facts, fleet_receipts
from resolver.feed.facts import ListFacts
from resolver.feed.places import Places
from resolver.feed.state import Record

_LOOK_S: Final = 2.0
"""Timeout for a service to answer, in seconds."""


def screen(config: Config, path: Path, now: float, *, colour: bool = False) -> str:
    """Return the screen of all lists, advice last; `path` is the configuration's."""
    found = tuple(_found(config, now))
    rows = [row for one in found for row in screen_list.rows(one, now)]
    lines = [line for one in found for line in screen_list.advice(one, now, str(path))]
    return screens.screen(rows, screens.in_order(lines), colour=colour)


def as_json(config: Config, now: float) -> str:
    """Return all lists as one JSON array."""
    return json.dumps([_as_json(one) for one in _found(config, now)], indent=2)


def _found(config: Config, now: float) -> Iterator[ListFacts]:
    released = releases(config)
    receipts = Places(config.state.directory).receipts
    polled = _polled(config)
    states = list(every_state(config))
    reports = _reports(config, {one.id: state.in_force for one, state in states if state.in_force is not None})
    for one, state in states:
        found = facts.with_releases(facts.of_state(one, state, now), released)
        try:
            found = facts.with_files(found, one, state, receipts)
        except OSError as error:
            raise ListUnreadable(
                f"the receipts below {config.state.directory} cannot be read: {error.strerror}"
            ) from None
        found = facts.with_reports(found, reports.get(one.id))
        yield facts.with_feed(found, polled[one.id]) if one.id in polled else found


def _polled(config: Config) -> dict[str, ListFacts]:
    """Return the facts of a running service by list; none if no service answers."""
    if not config.control.socket:
        return {}
    try:
        reply = client.call(config.control, requests.Status(), timeout_s=_LOOK_S)
        shown = status.of_json(reply.health).lists if isinstance(reply, requests.StatusReply) else ()
    except (client.Unreachable, status.NotStatus):
        return {}
    return {one.list_id: one for one in shown}


def _reports(config: Config, records: Mapping[str, Record]) -> Mapping[str, fleet_receipts.Reports]:
    """Return by list which hosts of the fleet have reported its record in force; none if this host collects no
    receipts."""
    fleet = config.fleet
    if not fleet.nodes:
        return {}
    collector = fleet_receipts.Collector(Path(fleet.receipts), Path(fleet.nodes))
    collector.load(Places(config.state.directory).collected)
    try:
        return collector.reports(records)
    except OSError as error:
        raise ListUnreadable(f"the fleet's receipts cannot be read: {error.strerror}") from None


def _as_json(one: ListFacts) -> dict[str, Any]:
    return {
        "list": one.list_id,
        "serial": one.serial if one.has_list else None,
        "in_force_since": _date(one.in_force_since),
        "issued": _date(one.issued),
        "expires": _date(one.expires),
        "hard_limit": _date(one.hard_limit_at),
        "entries": one.entries,
        "exceptions": one.exceptions,
        "withdrawn": one.withdrawn,
        "refused": one.refused,
        "held": {"serial": one.held_serial, "reasons": list(one.held_for)} if one.held else None,
        "quarantined": one.quarantined,
        "fleet": _fleet(one),
        "feed": {
            "last_poll": _date(one.polled_at),
            "last_good": _date(one.last_success),
            "failed": one.failed or None,
            "failing_since": _date(one.failing_since),
            "next_poll": _date(one.next_poll_at),
        }
        if one.polled_at
        else None,
        "lifted": one.lifted,
        "set_aside": one.set_aside,
        "set_aside_approved": one.set_aside_approved,
        "suspended": one.suspended,
        "decisions": [
            {"action": each.action, "serial": each.serial, "signed": list(each.signed), "missing": each.missing}
            for each in one.decisions
        ],
        "standing": [
            {
                "number": each.number,
                "growth_to": each.growth_to,
                "refused_to": each.refused_to,
                "until": _date(each.until),
                "signed": list(each.signed),
                "missing": each.missing,
            }
            for each in one.standing
        ],
        "deadline": _date(one.due_by),
        "deadline_serial": one.due_serial or None,
        "taken_out": one.taken_out or None,
        "rolled_back": {
            "at": _date(one.rolled_back),
            "by": one.rolled_back_by,
            "alarm_at": _date(one.rollback_alarm_at),
        }
        if one.rolled_back
        else None,
        "receipt": _date(one.receipt_at),
        "receipts_due": one.receipts_due,
        "receipts_due_since": _date(one.receipts_due_since),
        "releases": [
            {
                "number": each.number,
                "serial": each.serial,
                "line": each.line,
                "until": _date(each.until),
                "confirmed_by": each.confirmed_by or None,
                "alarm_at": _date(each.alarm_at),
            }
            for each in one.releases
        ],
        "certificates": [{"key": each.key, "path": each.path, "ends": _date(each.end)} for each in one.certificates],
    }


def _fleet(one: ListFacts) -> dict[str, object] | None:
    if one.fleet_since is None:
        return None
    return {
        "nodes": one.fleet_hosts,
        "reported": len(one.fleet_since),
        "since": {name: _date(at) for name, at in one.fleet_since.items()},
        "missing": list(one.fleet_missing),
    }


def _date(seconds: int | None) -> str | None:
    return utc_text(seconds) if seconds else None
