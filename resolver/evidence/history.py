"""Derives the course of a list from the lines of the audit log: times in force, holds, decisions, releases.

Rules:
- Pure: the same lines after the same state give the same result, when a bundle is made and when it is verified.
- A list is in force from the line that puts it in force to the line that ends it. The log does not know whether the
  process ran all the time: minutes of enforcement show that.
- A deadline counts from the oldest list that waits, however many newer ones replace that while they wait too
  (`state.is_met`). It is judged once: when a list that meets it comes into force, or when it passes before.
- A bundle of release 0.1 is verified by the rule of then, "each": each list is judged by its own deadline, when it
  comes into force, when the deadline passes while it waits, or when a newer list replaces it.
- A log line of an earlier release does not hold the date of issue of its list; then the list's receipt gives it.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec.structs import replace

from resolver.evidence.bundle import (
    Course,
    Deadline,
    DeadlineRule,
    Failed,
    Hold,
    Released,
    Signature,
    Span,
    Standing,
    Suspension,
    Unmet,
)
from resolver.feed import audit_details, state
from resolver.feed.audit import Entry, Event

Identity = tuple[int, str]

CHECKS: Final = {
    "sockets": "answers on its sockets",
    "selftest": "the saved image",
    "synthetic name": "the synthetic name",
    "digests": "digests of the list",
    "unlisted names": "names that are not listed",
}
"""Names of the self-test's checks in the audit log, and their names in a bundle."""


class _Walk:
    """Walks through the log lines of one list, and collects its course."""

    def __init__(
        self, standing: Standing, deadline_s: int, issued: Mapping[Identity, int], deadlines: DeadlineRule
    ) -> None:
        self._force = standing.force
        self._lifted = standing.lifted
        self._hold = standing.hold
        self._suspension = standing.suspension
        self._releases = {one.number: one for one in standing.releases}
        self._unmet = standing.unmet
        self._from_oldest = deadlines == "oldest"
        self._deadline_s = deadline_s
        self._issued = issued
        self._spans: list[Span] = []
        self._holds: list[Hold] = []
        self._deadlines: list[Deadline] = []
        self._decisions: list[Signature] = []
        self._failed: list[Failed] = []
        self._suspensions: list[Suspension] = []
        self._ended: list[Released] = []
        self._keys_replaced = 0

    def take(self, entry: Entry) -> None:
        match entry.event:
            case Event.IN_FORCE | Event.WITHDRAWN:
                self._put_in_force(entry)
            case Event.GONE_BACK | Event.RECOVERED:
                self._stands_again(entry)
            case Event.LIFTED if self._force is not None:
                self._lifted = self._force
                self._end_force(entry.at, "lifted at its hard limit")
            case Event.QUARANTINED:
                self._quarantine(entry)
            case Event.HELD:
                self._hold_back(entry)
            case Event.ACCEPTED_HELD if self._hold is not None:
                self._hold = replace(self._hold, released=entry.at)
            case Event.APPROVED | Event.ROLLBACK_CONFIRMED:
                self._decide(entry)
            case Event.SUSPENDED:
                self._suspension = self._suspension or Suspension(serial=entry.serial, at=entry.at)
            case Event.RESUMED:
                self._end_suspension(entry.at)
            case Event.FLOOR_RESET:
                self._keys_replaced += 1
                self._end_unmet(entry.at)
            case Event.RELEASED_NAME | Event.RELEASE_CONFIRMED | Event.RELEASE_ENDED:
                self._release(entry)

    def close(self, end: int) -> tuple[Course, Standing]:
        """Return the course up to a moment, and the state of the list then."""
        hold, unmet = self._hold, self._unmet
        if unmet is not None and not unmet.judged:
            over = bool(self._deadline_s) and unmet.issued + self._deadline_s < end
            self._judge(unmet.serial, unmet.digest, unmet.issued, 0, "missed" if over else "waiting")
            unmet = replace(unmet, judged=over)
        if not self._from_oldest and hold is not None and not hold.judged and hold.issued:
            due = hold.issued + self._deadline_s
            over = bool(self._deadline_s) and due < end
            self._judge(hold.serial, hold.digest, hold.issued, 0, "missed" if over else "waiting")
            hold = replace(hold, judged=over)
        course = Course(
            spans=(*self._spans, *filter(None, [self._force])),
            deadlines=tuple(self._deadlines),
            holds=(*self._holds, *filter(None, [hold])),
            decisions=tuple(self._decisions),
            failed=tuple(self._failed),
            suspensions=(*self._suspensions, *filter(None, [self._suspension])),
            releases=(*self._ended, *self._releases.values()),
            keys_replaced=self._keys_replaced,
        )
        standing = Standing(
            force=self._force,
            lifted=self._lifted,
            hold=hold,
            suspension=self._suspension,
            releases=tuple(self._releases.values()),
            unmet=unmet,
        )
        return course, standing

    # Lists in force.

    def _put_in_force(self, entry: Entry) -> None:
        withdrawn = entry.event is Event.WITHDRAWN
        identity, at = (entry.serial, entry.digest), entry.at
        force = self._force
        if force is not None and (force.serial, force.digest, force.withdrawn) == (*identity, withdrawn):
            self._force = replace(force, renewed=force.renewed + 1)
            return
        issued, hold = self._issued_of(entry), self._hold
        waited = hold is not None and (hold.serial, hold.digest) == identity
        if hold is not None:
            self._end_hold(at, "put in force" if waited else f"superseded by serial {entry.serial}", judge=not waited)
        self._end_force(at, f"{'withdrawn' if withdrawn else 'superseded'} by serial {entry.serial}")
        self._force = Span(serial=entry.serial, digest=entry.digest, issued=issued, since=at, withdrawn=withdrawn)
        lifted, self._lifted = self._lifted, None
        again = lifted is not None and (lifted.serial, lifted.digest) == identity
        met = self._meet(entry.serial, issued)
        reported = met.judged if met is not None else waited and hold is not None and hold.judged
        if not again and not reported:
            counted = met.issued if met is not None else issued
            known = bool(counted and self._deadline_s)
            outcome = ("met" if at <= counted + self._deadline_s else "missed") if known else "not said"
            self._judge(*identity, issued, at, outcome, counted)

    def _meet(self, serial: int, issued: int) -> Unmet | None:
        """Return the list of which nothing is owed any more, now that this one is in force; None if there is none."""
        unmet = self._unmet
        if unmet is None or not state.is_met(unmet.serial, unmet.issued, by_serial=serial, by_issued=issued):
            return None
        self._unmet = None
        return unmet

    def _end_unmet(self, at: int) -> None:
        """End what is owed by keys that are replaced."""
        unmet, self._unmet = self._unmet, None
        if unmet is not None and not unmet.judged and self._deadline_s:
            late = unmet.issued + self._deadline_s < at
            self._judge(unmet.serial, unmet.digest, unmet.issued, 0, "missed" if late else "superseded")

    def _stands_again(self, entry: Entry) -> None:
        force = self._force
        if force is None or (force.serial, force.digest) != (entry.serial, entry.digest):
            self._end_force(entry.at, f"superseded by serial {entry.serial}")
            self._force = Span(serial=entry.serial, digest=entry.digest, issued=self._issued_of(entry), since=entry.at)

    def _end_force(self, at: int, how: str) -> None:
        if self._force is not None:
            self._spans.append(replace(self._force, until=at, ended=how))
            self._force = None

    def _quarantine(self, entry: Entry) -> None:
        if entry.detail in CHECKS:
            self._failed.append(Failed(serial=entry.serial, at=entry.at, check=entry.detail))
        why = f"its self-test failed: {CHECKS[entry.detail]}" if entry.detail in CHECKS else entry.detail
        if self._force is not None and (self._force.serial, self._force.digest) == (entry.serial, entry.digest):
            self._end_force(entry.at, f"taken out: {why}" if entry.detail in CHECKS else "taken out")
            self._end_suspension(entry.at)
        if self._hold is not None and (self._hold.serial, self._hold.digest) == (entry.serial, entry.digest):
            self._end_hold(entry.at, f"quarantined: {why}", judge=True)

    # Decisions of persons.

    def _hold_back(self, entry: Entry) -> None:
        hold = self._hold
        if hold is not None and (hold.serial, hold.digest) == (entry.serial, entry.digest):
            return
        if hold is not None:
            self._end_hold(entry.at, f"superseded by serial {entry.serial}", judge=True)
        self._hold = Hold(
            serial=entry.serial,
            digest=entry.digest,
            issued=self._issued_of(entry),
            at=entry.at,
            reasons=audit_details.reasons_of(entry.detail),
        )
        if self._from_oldest and self._unmet is None:
            counted = state.counts_from(self._hold.issued, entry.at)
            self._unmet = Unmet(serial=entry.serial, digest=entry.digest, issued=counted)

    def _end_hold(self, at: int, how: str, *, judge: bool) -> None:
        hold = self._hold
        if hold is None:
            return
        self._holds.append(replace(hold, until=at, ended=how))
        self._hold = None
        if judge and not self._from_oldest and not hold.judged and hold.issued and self._deadline_s:
            late = hold.issued + self._deadline_s < at
            self._judge(hold.serial, hold.digest, hold.issued, 0, "missed" if late else "superseded")

    def _decide(self, entry: Entry) -> None:
        said = audit_details.approved_of(entry.detail)
        if said is None:
            return
        one = Signature(
            action=said.action, serial=entry.serial, principal=said.principal, key=said.key, uid=said.uid, at=entry.at
        )
        self._decisions.append(one)
        if said.action == "approve" and self._hold is not None and self._hold.serial == entry.serial:
            self._hold = replace(self._hold, signatures=(*self._hold.signatures, one))

    def _end_suspension(self, at: int) -> None:
        if self._suspension is not None:
            self._suspensions.append(replace(self._suspension, until=at))
            self._suspension = None

    def _release(self, entry: Entry) -> None:
        about = audit_details.release_of(entry.detail)
        if about is None:
            return
        if entry.event is Event.RELEASED_NAME:
            until, uid = audit_details.released_of(about.said) or (0, 0)
            self._releases[about.number] = Released(
                number=about.number,
                serial=entry.serial,
                line_known=about.line is not None,
                at=entry.at,
                until=until,
                uid=uid,
            )
            return
        one = self._releases.get(about.number)
        if one is None:
            return
        if entry.event is Event.RELEASE_ENDED:
            self._ended.append(replace(one, ended=entry.at))
            del self._releases[about.number]
        elif (signed := audit_details.confirmed_of(about.said)) is not None:
            self._releases[about.number] = replace(one, confirmed=entry.at, principal=signed[0], key=signed[1])

    def _judge(
        self, serial: int, digest: str, issued: int, in_force: int, outcome: str, counted: int | None = None
    ) -> None:
        """Judge a list; counted: from when its deadline counts, left out if that is its issue."""
        since = issued if counted is None else counted
        said = {"serial": serial, "digest": digest, "issued": issued, "due": since and since + self._deadline_s}
        self._deadlines.append(Deadline(**said, in_force=in_force, outcome=outcome))  # type: ignore[arg-type]  # one of its words

    def _issued_of(self, entry: Entry) -> int:
        return audit_details.issued_of(entry.detail) or self._issued.get((entry.serial, entry.digest), 0)


def course(
    list_id: str,
    standing: Standing,
    entries: Iterable[Entry],
    *,
    end: int,
    deadline_s: int,
    issued: Mapping[tuple[str, int, str], int],
    deadlines: DeadlineRule,
) -> tuple[Course, Standing]:
    """Return the course of a list from the state `standing` up to `end`, and its state then.

    deadline_s: 0 if unknown. issued: dates of issue from receipts, by list, serial and digest. deadlines: the rule by
    which they are judged.
    """
    of_list = {(serial, digest): at for (one, serial, digest), at in issued.items() if one == list_id}
    walk = _Walk(standing, deadline_s, of_list, deadlines)
    for entry in entries:
        if entry.list == list_id:
            walk.take(entry)
    return walk.close(end)
