"""Shows what waits for a person: lists that are held, lines set aside, a rollback to confirm.

Rules:
- Everything is read from the disk, as for `list status`; no service has to run.
- Shown are counts, reasons, serials and line numbers, never a name.
- What is to be signed follows from the state: nobody types a digest.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from resolver.cli.list_lookup import state_of
from resolver.cli.screen import command, entries, span
from resolver.config.config import Config
from resolver.config.values import many
from resolver.feed import approve, standing
from resolver.feed.actions import Action
from resolver.feed.decisions import decisions, subject
from resolver.feed.facts import DecisionFacts, ListFacts, StandingFacts, of_state
from resolver.feed.guard import Hold
from resolver.feed.state import Record, State

MAX_LINES = 20
"""This many line numbers of a reason are shown to a person; JSON has all that are kept."""


class NothingWaits(Exception):
    """There is nothing to decide of that kind; says why."""


def statement(config: Config, list_id: str, action: str, now: float) -> bytes:
    """Return the bytes to sign; NothingWaits if there is nothing to decide, ListUnreadable if the list cannot be
    read."""
    _, state = state_of(config, list_id)
    try:
        about = subject(state, Action(action))
    except approve.Refused as refused:
        raise NothingWaits(str(refused)) from None
    return approve.statement(Action(action), list_id, about, approve.expiries(now)[0])


def standing_statement(
    config: Config, list_id: str, *, growth_to: int, refused_to: int, until: int, now: float
) -> bytes:
    """Return the bytes to sign for a standing approval; NothingWaits if none may have these terms, ListUnreadable."""
    _, state = state_of(config, list_id)
    try:
        about = standing.terms(
            standing.kept(state, now), growth_to=growth_to, refused_to=refused_to, until=until, now=now
        )
    except approve.Refused as refused:
        raise NothingWaits(str(refused)) from None
    return standing.statement(list_id, about, approve.expiries(now)[0])


def as_json(config: Config, list_id: str, now: float) -> str:
    """Return what waits as JSON."""
    one, state = state_of(config, list_id)
    held = state.held
    found = {
        "list": list_id,
        "in_force": _record(state.in_force) if state.in_force else None,
        "held": {**_record(held.record), "reasons": list(held.reasons), "since": held.since} if held else None,
        "suspended": of_state(one, state, now).suspended,
        "decisions": [
            {
                "action": each.action.value,
                "serial": each.about.serial,
                "digest": each.about.digest,
                "signed": list(each.signed),
                "missing": each.missing,
            }
            for each in decisions(state, now)
        ],
        "standing": [msgspec.to_builtins(each) for each in of_state(one, state, now).standing],
    }
    return json.dumps(found, indent=2)


def _record(record: Record) -> dict[str, object]:
    return {
        "serial": record.serial,
        "digest": record.digest,
        "entries": record.entries,
        "exceptions": record.exceptions,
        "withdrawn": record.withdrawn,
        "refused": dict(record.refused),
        "refused_lines": {reason: list(lines) for reason, lines in record.refused_lines.items()},
        "set_aside": dict(record.set_aside),
        "set_aside_lines": {reason: list(lines) for reason, lines in record.set_aside_lines.items()},
        "set_aside_approved": record.approved,
    }


def screen(config: Config, list_id: str, now: float, path: Path) -> str:
    """Return what waits as a person reads it; `path` is the configuration's."""
    one, state = state_of(config, list_id)
    return "\n".join(_screen(of_state(one, state, now), state, now, str(path)))


def _screen(one: ListFacts, state: State, now: float, path: str) -> Iterator[str]:
    record, held = state.in_force, state.held
    if held is not None:
        growth = ""
        if record is not None and not held.record.withdrawn:
            growth = f", {held.record.entries - record.entries:+d} against serial {record.serial} in force"
        what = _what(held.record, held.reasons) + growth
        yield f"{one.list_id}: serial {held.record.serial} is held ({', '.join(held.reasons)}); it {what}"
        yield f"  held for {span(now - held.since)}{_deadline(one, now)}"
        yield from _lines("refused", held.record.refused, held.record.refused_lines)
        yield from _lines("set aside", held.record.set_aside, held.record.set_aside_lines)
    if record is not None and record.set_aside:
        blocks = "and block: they were approved" if record.approved else "and do not block"
        yield f"{one.list_id}: lines of serial {record.serial} in force are set aside {blocks}"
        yield from _lines("set aside", record.set_aside, record.set_aside_lines)
    for each in one.decisions:
        yield from _to_do(one, each, now, path)
    for approval in one.standing:
        yield from _standing(one, approval, path)
    if not one.decisions:
        yield f"{one.list_id}: nothing waits for a person"
    if record is not None and not one.rolled_back:
        with suppress(approve.Refused):
            back = approve.subject(state, Action.ROLLBACK).serial
            yield f"{one.list_id}: to go back from serial {record.serial} to {back}, for good; to sign:"
            yield f"  {command(f'list held {one.list_id} --statement rollback', path)}"


def _standing(one: ListFacts, each: StandingFacts, path: str) -> Iterator[str]:
    """Show a standing approval, or one that lacks a signature, and how to sign it or to take it back."""
    about = f"{one.list_id}: standing approval {each.number}: {each.allows}"
    if each.missing:
        yield f"{about}: signed by {', '.join(each.signed)}; {missing(each.missing)}; to sign:"
        words = f"list standing {one.list_id} {each.options}"
        file = f"{one.list_id}-standing-{each.number}"
        yield f"  {command(f'{words} --statement', path)} > {file}"
        yield f"  ssh-keygen -Y sign -n {approve.NAMESPACE} -f YOUR_KEY {file}"
        yield f"  {command(f'{words} --signature {file}.sig', path)}"
        return
    yield f"{about}, by {' and '.join(each.signed)}; to take it back, one signature; to sign:"
    yield f"  {command(f'list held {one.list_id} --statement revoke', path)}"


def _what(record: Record, reasons: tuple[str, ...]) -> str:
    """Return what a list that is held is."""
    if Hold.EMPTIED in reasons:
        return "is a zone without any entry: approved, it ends the list, and nothing is blocked by it"
    if record.withdrawn:
        return "is a withdrawal: approved, nothing is blocked by the list"
    return f"has {entries(record.entries, record.exceptions)}"


def _deadline(one: ListFacts, now: float) -> str:
    due = one.due_by
    if not due:
        return ""
    return f"; LATE for {span(now - due)}" if due < now else f"; due in {span(due - now)}"


def _lines(what: str, counts: dict[str, int], lines: dict[str, tuple[int, ...]]) -> Iterator[str]:
    for reason, count in sorted(counts.items()):
        numbers = lines.get(reason, ())
        if count:
            more = ", ..." if count > len(numbers[:MAX_LINES]) else ""
            yield f"  {what}: {reason} {count}: line {', '.join(map(str, numbers[:MAX_LINES]))}{more}"


def _to_do(one: ListFacts, each: DecisionFacts, now: float, path: str) -> Iterator[str]:
    if each.action == Action.ROLLBACK:
        left = one.rollback_alarm_at - now
        alarm = f"alarm in {span(left)}" if left > 0 else f"ALARM for {span(-left)}"
        by = f"was signed by {one.rolled_back_by}; {alarm}"
        yield f"{one.list_id}: the rollback to serial {each.serial} {by}; confirm it:"
    else:
        signed = f"signed by {', '.join(each.signed)}; " if each.signed else ""
        yield f"{one.list_id}: {each.action} serial {each.serial}: {signed}{missing(each.missing)}; to sign:"
    file = f"{one.list_id}-{each.action}-{each.serial}"
    yield f"  {command(f'list held {one.list_id} --statement {each.action}', path)} > {file}"
    yield f"  ssh-keygen -Y sign -n {approve.NAMESPACE} -f YOUR_KEY {file}"
    yield f"  {command(f'list {each.command} --signature {file}.sig', path)}"


def missing(count: int) -> str:
    """Return how many signatures are missing, in words."""
    if count == 0:
        return "all signatures are there: hand one over again to carry it out"
    return f"{many(count, 'more signature')} needed, of another person each"
