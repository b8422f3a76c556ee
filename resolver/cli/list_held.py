"""What waits for a person: lists that are held, lines set aside, entries suspended, a rollback to confirm.

Rules:
- All of it is read from the disk, as `list status` is; no service need run.
- Counts, reasons, serials and line numbers are told, never a name.
- What is to be signed follows from the state: nobody types a digest.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from resolver.cli.list_lookup import status_of
from resolver.cli.screen import command, span
from resolver.config.config import Config
from resolver.feed import approve, poll, state
from resolver.feed.actions import Action
from resolver.feed.decisions import Decision, decisions
from resolver.feed.state import Record

MAX_LINES = 20
"""So many line numbers of a reason are shown to a person; JSON has all that are kept."""


class NothingWaits(Exception):
    """There is nothing to decide of that kind; says why."""


def statement(config: Config, list_id: str, action: str, now: float) -> bytes:
    """The bytes to sign; NothingWaits where there is nothing to decide, lists.ListUnreadable where nothing is known."""
    one = status_of(config, list_id)
    try:
        about = approve.subject(one.state, Action(action))
    except approve.Refused as refused:
        raise NothingWaits(str(refused)) from None
    return approve.statement(Action(action), list_id, about, approve.expiries(now)[0])


def as_json(config: Config, list_id: str, now: float) -> str:
    """What waits, as JSON."""
    one = status_of(config, list_id)
    held = one.state.held
    told = {
        "list": list_id,
        "in_force": _counts(one.in_force) if one.in_force else None,
        "held": {**_counts(held.record), "reasons": list(held.reasons), "since": held.since} if held else None,
        "suspended": one.state.suspended,
        "decisions": [
            {
                "action": each.action.value,
                "serial": each.about.serial,
                "digest": each.about.digest,
                "signed": list(each.signed),
                "missing": each.missing,
            }
            for each in decisions(one.state, now)
        ],
    }
    return json.dumps(told, indent=2)


def _counts(record: Record) -> dict[str, object]:
    return {
        "serial": record.serial,
        "digest": record.digest,
        "entries": record.entries,
        "withdrawn": record.withdrawn,
        "refused": dict(record.refused),
        "refused_lines": {reason: list(lines) for reason, lines in record.refused_lines.items()},
        "set_aside": dict(record.set_aside),
        "set_aside_lines": {reason: list(lines) for reason, lines in record.set_aside_lines.items()},
        "set_aside_approved": record.approved,
    }


def screen(config: Config, list_id: str, now: float, path: Path) -> str:
    """What waits, as a person reads it; `path` is the configuration's."""
    one = status_of(config, list_id)
    deadline = next(each.deadline for each in config.lists if each.id == list_id)
    return "\n".join(_screen(one, now, deadline, str(path)))


def _screen(one: poll.Status, now: float, deadline: float, path: str) -> Iterator[str]:
    record, held = one.in_force, one.state.held
    if held is not None:
        was = record.entries if record else 0
        growth = f", {held.record.entries - was:+d} against serial {record.serial} in force" if record else ""
        what = "is a withdrawal" if held.record.withdrawn else f"has {held.record.entries} entries{growth}"
        yield f"{one.list_id}: serial {held.record.serial} is held ({', '.join(held.reasons)}); it {what}"
        yield f"  held for {span(now - held.since)}{_law(one, now, deadline)}"
        yield from _lines("refused", held.record.refused, held.record.refused_lines)
        yield from _lines("set aside", held.record.set_aside, held.record.set_aside_lines)
    if record is not None and record.set_aside:
        counts = "and counts: it was approved" if record.approved else "and does not count"
        yield f"{one.list_id}: of serial {record.serial} in force some is set aside {counts}"
        yield from _lines("set aside", record.set_aside, record.set_aside_lines)
    if one.state.suspended and record is not None and not record.withdrawn:
        yield f"{one.list_id}: the entries new in serial {record.serial} are suspended by the breaker"
    found = list(decisions(one.state, now))
    for each in found:
        yield from _to_do(one, each, now, path)
    if not found:
        yield f"{one.list_id}: nothing waits for a person"
    if record is not None and approve.unconfirmed(one.state) is None:
        with suppress(approve.Refused):
            back = approve.subject(one.state, Action.ROLLBACK).serial
            yield f"{one.list_id}: to go back from serial {record.serial} to {back}, for good; to sign:"
            yield f"  {command(f'list held {one.list_id} --statement rollback', path)}"


def _law(one: poll.Status, now: float, deadline: float) -> str:
    due = state.due_by(one.state, None, deadline)
    if not due:
        return ""
    return f"; by law LATE for {span(now - due)}" if due < now else f"; by law due in {span(due - now)}"


def _lines(what: str, counts: dict[str, int], lines: dict[str, tuple[int, ...]]) -> Iterator[str]:
    for reason, count in sorted(counts.items()):
        numbers = lines.get(reason, ())
        if count:
            more = ", ..." if count > len(numbers[:MAX_LINES]) else ""
            yield f"  {what}: {reason} {count}: line {', '.join(map(str, numbers[:MAX_LINES]))}{more}"


def _to_do(one: poll.Status, each: Decision, now: float, path: str) -> Iterator[str]:
    list_id, waits = one.list_id, approve.unconfirmed(one.state)
    if each.action is Action.ROLLBACK and waits is not None:
        left = waits.at + approve.CONFIRM_S - now
        alarm = f"alarm in {span(left)}" if left > 0 else f"ALARM for {span(-left)}"
        by = f"was signed by {waits.principal}; {alarm}"
        yield f"{list_id}: the rollback to serial {each.about.serial} {by}; confirm it:"
    else:
        signed = f"signed by {', '.join(each.signed)}; " if each.signed else ""
        yield f"{list_id}: {each.action.value} serial {each.about.serial}: {signed}{missing(each.missing)}; to sign:"
    decided = each.action.command(list_id, each.about.serial)
    file = f"{list_id}-{each.action.value}-{each.about.serial}"
    yield f"  {command(f'list held {list_id} --statement {each.action.value}', path)} > {file}"
    yield f"  ssh-keygen -Y sign -n {approve.NAMESPACE} -f YOUR_KEY {file}"
    yield f"  {command(f'list {decided} --signature {file}.sig', path)}"


def missing(count: int) -> str:
    """How many signatures are missing, in words."""
    if count == 0:
        return "all signatures are there: hand one over again to have it carried out"
    return f"{count} more signature{'s' * (count != 1)} needed, of another person each"
