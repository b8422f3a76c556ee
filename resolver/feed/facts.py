"""The facts of one list, from its state, its source and what was released: the same with a running service or without.

Rules:
- What is only on the disk (receipts that wait, certificates) is read where it is asked for, and nowhere kept.
"""

from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from resolver.cli.screen_list import CertificateHealth, DecisionHealth, ListHealth, ReleaseHealth
from resolver.config.config import List
from resolver.feed import approve, certificates, decisions, outbox, receipt, state
from resolver.feed.release import CONFIRM_S, Release
from resolver.feed.state import State


def of_state(one: List, found: State, now: float) -> ListHealth:
    """What a list's state tells at `now` (unix seconds)."""
    record, held, waits = found.in_force, found.held, approve.unconfirmed(found)
    expiry = int(state.hard_limit_at(record, one.limit)) if record else 0
    ended = record is not None and one.expire == "lift" and now >= expiry
    return ListHealth(
        list_id=one.id,
        enforced=record is not None,
        lifted=record is not None and (record.withdrawn or ended),
        serial=record.serial if record else 0,
        entries=record.entries if record else 0,
        issued=record.issued if record else 0,
        in_force_since=record.since if record else 0,
        expiry=expiry,
        last_success=0,
        poll_s=float(one.source.poll),
        failures={},
        held_serial=held.record.serial if held else 0,
        held_for=held.reasons if held else (),
        selftest_passed=False,
        live=False,
        withdrawn=record is not None and record.withdrawn,
        expire=one.expire or "keep",
        held_since=held.since if held else 0,
        decisions=tuple(_decisions(one.id, found, now)),
        refused=_some(record.refused) if record else {},
        set_aside=_some(record.set_aside) if record else {},
        set_aside_approved=record is not None and record.approved,
        suspended=found.suspended and record is not None and not record.withdrawn,
        due_at=state.due_by(found, None, one.deadline),
        rolled_back=waits.at if waits else 0,
        rolled_back_by=waits.principal if waits else "",
        rollback_alarm_at=waits.at + approve.CONFIRM_S if waits else 0,
    )


def with_releases(health: ListHealth, releases: Iterable[Release]) -> ListHealth:
    """The same with the names released that the list blocks, the first to end first."""
    found = [
        ReleaseHealth(
            number=each.number,
            serial=about.serial,
            line=about.line,
            at=each.at,
            until=each.until,
            alarm_at=0 if each.key else each.at + CONFIRM_S,
            confirmed_by=each.signer,
        )
        for each in releases
        for about in each.covered
        if about.list == health.list_id
    ]
    return replace(health, releases=tuple(sorted(found, key=lambda one: (one.until, one.number))))


def with_files(health: ListHealth, one: List, found: State, receipts: Path) -> ListHealth:
    """The same with what the folder of receipts and the source's certificates tell; OSError where the former cannot be
    read."""
    due, record = outbox.due(receipts, one.id), found.in_force
    return replace(
        health,
        receipt_at=outbox.written_at(receipts, receipt.name_of(one.id, record)) if record else 0,
        receipts_due=due.statements,
        receipts_due_since=due.since,
        certificates=tuple(
            CertificateHealth(key=end.key, path=end.path, end=end.at) for end in certificates.ends(one.source)
        ),
    )


def _decisions(list_id: str, found: State, now: float) -> Iterable[DecisionHealth]:
    for each in decisions.decisions(found, now):
        yield DecisionHealth(
            action=each.action.value,
            serial=each.about.serial,
            command=each.action.command(list_id, each.about.serial),
            signed=each.signed,
            missing=each.missing,
        )


def _some(counts: dict[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in counts.items() if count}
