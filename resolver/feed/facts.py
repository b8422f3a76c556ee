"""The facts of one list: what metrics, the control socket, screens and JSON know of it, with a running service or not.

Rules:
- A fact is computed here, once; whatever shows it reads a field.
- `of_state` starts from what is written. `with_live` adds what only a running service knows; `with_releases`,
  `with_reports` and `with_files` add what lies elsewhere on the disk. Each is read on demand and kept nowhere.
- Fields are keys of `status --json`, and so public names; those in NOT_IN_STATUS are not.
- Facts hold counts, serials, line numbers and persons, never a listed name.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from resolver.config.config import List
from resolver.feed import approve, certificates, decisions, outbox, receipt, standing, state
from resolver.feed.enforced import Lifted, Nothing
from resolver.feed.fleet_receipts import Reports
from resolver.feed.release import CONFIRM_S, Release
from resolver.feed.state import State
from resolver.feed.update import ListUpdate


class _Facts(Struct, frozen=True, kw_only=True):
    """Facts at one moment; times in unix seconds, 0 for none."""


class DecisionFacts(_Facts, frozen=True):
    """One decision that is pending.

    command: the words after `list` that hand over a signature. signed: who has signed. missing: how many signatures.
    """

    action: str
    serial: int
    command: str
    signed: tuple[str, ...]
    missing: int


class StandingFacts(_Facts, frozen=True):
    """A standing approval, or one that lacks signatures.

    allows: in words. options: those of `list standing` that mean it. signed: who has signed. missing: how many
    signatures.
    """

    number: int
    growth_to: int
    refused_to: int
    until: int
    allows: str
    options: str
    signed: tuple[str, ...]
    missing: int


class ReleaseFacts(_Facts, frozen=True):
    """One name that is released. alarm_at: when it is alarmed unless it is confirmed; 0 once `confirmed_by` has."""

    number: int
    serial: int
    line: int | None
    at: int
    until: int
    alarm_at: int
    confirmed_by: str = ""


class CertificateFacts(_Facts, frozen=True):
    """When the first certificate in a file of the list's source ends; key: `certificate` or `ca`."""

    key: str
    path: str
    end: int


class ListFacts(_Facts, frozen=True, rename={"has_list": "enforced", "hard_limit_at": "expiry", "due_by": "due_at"}):
    """One list.

    has_list: it is in force or lifted. exceptions: how many of the entries are exceptions. expire: what follows the
    hard limit, `keep` or `lift`. due_by, due_serial: the deadline of the oldest list whose names are not in force.
    taken_out: the serial that a person has taken out, until another list is in force. refused, set_aside: lines of the
    list in force; newest_*: of the newest one, which may be held. rolled_back: when a rollback was carried out that is
    not confirmed yet.

    Only a running service knows, and `live` says that it does: last_success, selftest_passed, failures (since the
    start), failing (since the last good poll), failing_since, failed (why the last poll failed, with its detail; "" if
    it was good), polled_at, next_poll_at, fresh_until, passed_over (how many other files of a drop folder do not count,
    in words), and that the breaker is open.
    suspended_entries: entries of the list in force that do not block, because they are set aside. forwarded: the list
    is not in force, and names that only it would block are forwarded. fleet_since: when
    each host that has reported put the list in force; None without a fleet.
    """

    list_id: str
    has_list: bool
    lifted: bool
    serial: int
    entries: int
    issued: int
    in_force_since: int
    hard_limit_at: int
    last_success: int
    poll_s: float
    failures: dict[str, int]
    held_serial: int
    held_for: tuple[str, ...]
    selftest_passed: bool
    live: bool = True
    withdrawn: bool = False
    expire: str = "keep"
    held_since: int = 0
    decisions: tuple[DecisionFacts, ...] = ()
    refused: dict[str, int] = {}
    set_aside: dict[str, int] = {}
    set_aside_approved: bool = False
    suspended: bool = False
    suspended_entries: int = 0
    breaker_open: bool = False
    due_by: int = 0
    failing_since: int = 0
    failing: dict[str, int] = {}
    failed: str = ""
    passed_over: str = ""
    polled_at: int = 0
    next_poll_at: int = 0
    fresh_until: int = 0
    receipt_at: int = 0
    receipts_due: int = 0
    receipts_due_since: int = 0
    rolled_back: int = 0
    rolled_back_by: str = ""
    rollback_alarm_at: int = 0
    releases: tuple[ReleaseFacts, ...] = ()
    certificates: tuple[CertificateFacts, ...] = ()
    fleet_hosts: int = 0
    fleet_missing: tuple[str, ...] = ()
    forwarded: bool = False
    due_serial: int = 0
    taken_out: int = 0
    standing: tuple[StandingFacts, ...] = ()
    exceptions: int = 0
    held_exceptions: int = 0
    expires: int | None = None
    quarantined: int = 0
    newest_refused: dict[str, int] = {}
    newest_set_aside: dict[str, int] = {}
    fleet_since: dict[str, int] | None = None

    @property
    def enforced(self) -> bool:
        """Whether the list judges queries now."""
        return self.has_list and not self.lifted

    @property
    def held(self) -> bool:
        """Whether a list is held."""
        return bool(self.held_for)

    @property
    def unconfirmed(self) -> dict[str, tuple[int, ...]]:
        """Return when each decision that one person alone has taken must be confirmed, by action."""
        return {
            "rollback": (self.rollback_alarm_at,) if self.rolled_back else (),
            "release": tuple(one.alarm_at for one in self.releases if not one.confirmed_by),
        }


NOT_IN_STATUS: Final = ("expires", "quarantined", "newest_refused", "newest_set_aside", "fleet_since")
"""Facts that metrics or `list status --json` show and `status --json` does not."""


def of_state(one: List, found: State, now: float) -> ListFacts:
    """Return what a list's state says at `now` (unix seconds)."""
    record, held, rollback = found.in_force, found.held, approve.unconfirmed(found)
    newest, unmet, out = held.record if held else record, state.oldest_unmet(found), state.taken_out(found)
    waiting = 0 if record is None or record.approved else sum(record.set_aside.values())
    return ListFacts(
        list_id=one.id,
        has_list=record is not None,
        lifted=record is not None and state.is_lifted(record, one.limit, one.expire, now),
        serial=record.serial if record else 0,
        entries=record.entries if record else 0,
        issued=record.issued if record else 0,
        in_force_since=record.since if record else 0,
        hard_limit_at=int(state.hard_limit_at(record, one.limit)) if record else 0,
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
        refused=record.refused if record else {},
        set_aside=record.set_aside if record else {},
        set_aside_approved=record is not None and record.approved,
        suspended=waiting > 0,
        suspended_entries=waiting,
        due_by=state.due_by(found, None, one.deadline),
        due_serial=unmet.serial if unmet else 0,
        taken_out=out[0] if out else 0,
        standing=tuple(_standing(found, now)),
        rolled_back=rollback.at if rollback else 0,
        rolled_back_by=rollback.principal if rollback else "",
        rollback_alarm_at=rollback.at + approve.CONFIRM_S if rollback else 0,
        expires=record.expires if record else None,
        forwarded=record is None and state.forwards_without(found, one.without_list),
        quarantined=len(found.quarantined),
        exceptions=record.exceptions if record else 0,
        held_exceptions=held.record.exceptions if held else 0,
        newest_refused=newest.refused if newest else {},
        newest_set_aside=newest.set_aside if newest else {},
    )


def with_live(facts: ListFacts, update: ListUpdate) -> ListFacts:
    """Add what only the running service knows of the list."""
    return replace(
        facts,
        live=True,
        has_list=not isinstance(update.enforced, Nothing),
        lifted=isinstance(update.enforced, Lifted),
        forwarded=isinstance(update.enforced, Nothing) and update.forwards_without,
        last_success=update.last_success,
        failures=_plain(update.failures.counts),
        selftest_passed=update.prover.passed,
        breaker_open=update.breaker.open,
        due_by=update.due_by,
        due_serial=update.unmet.serial if update.unmet else 0,
        failing_since=update.failures.since,
        failing=_plain(update.failures.recent),
        newest_refused=update.failures.refused or facts.newest_refused,
        failed="; ".join(dict.fromkeys(update.failures.last)),
        polled_at=update.failures.polled_at,
        next_poll_at=int(update.failures.polled_at + facts.poll_s) if update.failures.polled_at else 0,
        fresh_until=update.shown.fresh_until,
        passed_over=update.shown.passed_over,
        receipt_at=update.prover.receipt_at,
    )


def with_feed(facts: ListFacts, live: ListFacts) -> ListFacts:
    """Add what the running service says of its polls, as `live` has it."""
    return replace(
        facts,
        last_success=live.last_success,
        failures=live.failures,
        selftest_passed=live.selftest_passed,
        failing_since=live.failing_since,
        failing=live.failing,
        failed=live.failed,
        polled_at=live.polled_at,
        next_poll_at=live.next_poll_at,
        fresh_until=live.fresh_until,
    )


def with_releases(facts: ListFacts, releases: Iterable[Release]) -> ListFacts:
    """Add the released names that the list would block, in the order in which they end."""
    found = [
        ReleaseFacts(
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
        if about.list == facts.list_id
    ]
    return replace(facts, releases=tuple(sorted(found, key=lambda one: (one.until, one.number))))


def with_reports(facts: ListFacts, reports: Reports | None) -> ListFacts:
    """Add which hosts of a fleet have reported the list in force; None: this host collects no receipts."""
    if reports is None:
        return facts
    return replace(
        facts, fleet_hosts=reports.nodes, fleet_missing=reports.missing, fleet_since=dict(reports.since)
    )


def with_files(facts: ListFacts, one: List, found: State, receipts: Path) -> ListFacts:
    """Add what the folder of receipts and the source's certificates say; OSError if the folder cannot be read."""
    due, record = outbox.due(receipts, one.id), found.in_force
    return replace(
        facts,
        receipt_at=outbox.written_at(receipts, receipt.name_of(one.id, record)) if record else 0,
        receipts_due=due.statements,
        receipts_due_since=due.since,
        certificates=tuple(
            CertificateFacts(key=end.key, path=end.path, end=end.at) for end in certificates.ends(one.source)
        ),
    )


def _standing(found: State, now: float) -> Iterable[StandingFacts]:
    kept = standing.kept(found, now)
    for one in (*filter(None, [kept.standing]), *kept.proposed):
        yield StandingFacts(
            number=one.terms.number,
            growth_to=one.terms.growth_to,
            refused_to=one.terms.refused_to,
            until=one.terms.until,
            allows=standing.words(one.terms),
            options=standing.options(one.terms),
            signed=tuple(each.principal for each in one.signatures),
            missing=standing.missing(one),
        )


def _decisions(list_id: str, found: State, now: float) -> Iterable[DecisionFacts]:
    for each in decisions.decisions(found, now):
        yield DecisionFacts(
            action=each.action.value,
            serial=each.about.serial,
            command=each.action.command(list_id, each.about.serial),
            signed=each.signed,
            missing=each.missing,
        )


def _plain(counts: Mapping[str, int]) -> dict[str, int]:
    return {str(reason): count for reason, count in counts.items()}
