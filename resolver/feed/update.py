"""Runs one list in this process: polls it, holds it or puts it in force, proves it, and carries out decisions.

    step       fetches the list and makes a candidate of it: `update_compile`, `update_zone` or `update_image`
    journal    writes state, floor and audit log
    activation keeps what the service enforces (`enforced`), and changes it
    prover     asks the service's own sockets, and writes the receipt
    breaker    watches how much new entries block, and only says so
    early      decides when a list that is dated a little ahead is tried again
    failures   counts and logs failed polls
    alarms     log each time limit that has run out, once

Rules:
- On any failure the last good list stays, and the next poll retries.
- Decisions and polls of a list never run at the same time.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace as replace_of
from typing import Final

from msgspec.structs import replace

from resolver.config import config
from resolver.feed import approve, audit_details, processes, standing, state
from resolver.feed.activate import Activation, Host
from resolver.feed.alarms import Alarms
from resolver.feed.audit import Event
from resolver.feed.breaker import Breaker
from resolver.feed.candidate import FEED, Candidate, Shown, Step
from resolver.feed.details import Detail, no_step
from resolver.feed.early import Early
from resolver.feed.enforced import Enforced, Nothing
from resolver.feed.failures import Failures
from resolver.feed.journal import Journal
from resolver.feed.processes import UpdateFailed
from resolver.feed.proof import Prover
from resolver.feed.reasons import Reason
from resolver.feed.state import Floor, Record, Standing, State, Unmet
from resolver.feed.store import StateUnreadable, Store

_log: Final = logging.getLogger("resolver.feed")


class ListUpdate:
    """One list. last_success: when a poll last succeeded, also before this start (unix seconds); 0 if none ever has."""

    def __init__(
        self, one: config.List, store: Store, host: Host, step: Callable[[Activation, Shown], Step]
    ) -> None:
        self.last_success = 0
        self.journal = Journal(one.id, store, host.audit, host.now)
        self.activation = Activation(one, self.journal, host)
        self.prover = Prover(self.activation)
        self.breaker = Breaker()
        self.failures = Failures(one, lambda: self.kept, host.now)
        self.shown = Shown()
        self.one_at_a_time = asyncio.Lock()
        self.early = Early()
        self._alarms = Alarms(one.id)
        self._make_step = step
        self.step = step(self.activation, self.shown)
        self._now = host.now
        self._started = 0.0

    # What is read.

    @property
    def list(self) -> config.List:
        """Return the list as it is configured now."""
        return self.activation.list

    @property
    def state(self) -> State:
        """Return the state, as it is saved."""
        return self.journal.state

    @property
    def floor(self) -> Floor | None:
        """Return the floor: the list below whose serial nothing is accepted."""
        return self.journal.floor

    @property
    def store(self) -> Store:
        """Return the files of the list."""
        return self.journal.store

    @property
    def enforced(self) -> Enforced:
        """Return what the service enforces."""
        return self.activation.enforced

    @property
    def due_by(self) -> int:
        """Return the deadline of the oldest list whose names are not in force, in unix seconds; 0 if there is none."""
        return state.due_by(self.state, self.shown.newest, self.list.deadline)

    @property
    def unmet(self) -> Unmet | None:
        """Return the list from which the deadline counts, if any."""
        return state.oldest_unmet(self.state, self.shown.newest)

    @property
    def forwards_without(self) -> bool:
        """Return whether names that no list blocks are forwarded while this list is not in force."""
        return state.forwards_without(self.state, self.list.without_list)

    def hard_limit_at(self, record: Record) -> float:
        """Return when the right of `record` to be in force ends, in unix seconds."""
        return self.activation.hard_limit_at(record)

    @property
    def kept(self) -> str:
        """Return what stays in force if an update fails, as words."""
        record = self.state.in_force
        if record is None or isinstance(self.enforced, Nothing):
            return "no list is in force"
        return f"serial {record.serial} stays"

    # When the configuration changes.

    def configure(self, one: config.List, step: Callable[[Activation, Shown], Step], *, copies: bool) -> None:
        """Go on with other settings of the same list; with another source, by steps of its kind. May raise OSError.

        A poll that runs goes on with what it has read: the caller that changes the source ends it first.
        """
        before, self.activation.list = self.list, one
        if one.source != before.source or step is not self._make_step:
            self.store.copies = copies
            self._make_step = step
            self.shown.newest, self.shown.fresh_until = None, 0
            self.step = step(self.activation, self.shown)
            self.step.recover()

    async def prepare(self, one: config.List) -> None:
        """Before `configure` and `recover` with these settings: read and test the image that they will enforce, in a
        thread. What cannot be read, these two report.
        """
        record = self.state.in_force
        if isinstance(self.enforced, Nothing):
            # Not configured until now: the files say more than what this process has known.
            try:
                record = await asyncio.to_thread(self._saved)
            except (OSError, StateUnreadable):
                return
        if record is None or self.activation.has_taken(record):
            return
        if not state.is_lifted(record, one.limit, one.expire, self._now()):
            await self.activation.prepare(record)

    def _saved(self) -> Record | None:
        return state.at_start(self.store.read_state(), self.store.read_floor()).in_force

    def leave(self) -> None:
        """Enforce nothing of this list any more: it is no longer configured. What is written stays."""
        self.activation.enforced = Nothing()

    # At a start.

    def preview(self, *, beside: bool) -> None:
        """Enforce the saved list as `recover` will, and write nothing; beside: as of `recover`.

        OSError, StateUnreadable, ImageUnusable or SelfTestFailed if it cannot be enforced as it is saved.
        """
        journal, store = self.journal, self.journal.store
        found = state.at_start(store.read_state(), store.read_floor())
        joined = beside and store.is_new()
        journal.state = replace(found, suspended=False, joined=int(self._now()) if joined else found.joined)
        if found.in_force is not None:
            self.activation.preview(found.in_force)
        if self.list.source.kind == "image":
            self.step.recover()

    def recover(self, *, beside: bool = False) -> None:
        """Put the last good list in force again, after a stop or a crash at any step; may raise OSError.

        beside: another list was in force on this host once; a list that is new here then joins it.
        """
        journal = self.journal
        journal.store.prepare()
        new = journal.store.is_new()
        if not journal.read():
            self.failures.count(Reason.STATE_UNREADABLE)
        try:
            self._resume()
            if new:
                self._begin(joined=int(self._now()) if beside else 0)
        except OSError:
            self.failures.count(Reason.STATE_NOT_WRITTEN)
            journal.state = replace(journal.state, suspended=False)
        found = state.at_start(journal.state, journal.floor)
        try:
            if found != journal.state:
                journal.write(found)
                if found.in_force is not None:
                    journal.log(Event.RECOVERED, found.in_force)
        except OSError:
            # A full disk: the next start finds the same again. What the state names is enforced all the same.
            self.failures.count(Reason.STATE_NOT_WRITTEN)
            journal.state = found
        try:
            self.activation.correct()
        except OSError:
            self.failures.count(Reason.STATE_NOT_WRITTEN)
        except UpdateFailed as failed:
            self.failures.count(failed.reason)
        journal.clean()
        self._started = self._now()
        self.last_success = journal.store.read_last_success(self._started)
        self.prover.recover()
        self.step.recover()

    def _begin(self, *, joined: int) -> None:
        """Write down, once, whether this list joins others: a later start could not know."""
        with self.failures.counted():
            self.journal.begin(replace(self.state, joined=joined))

    def _resume(self) -> None:
        """Enforce the entries that an earlier version suspended: what clients ask no longer takes any out."""
        journal, record = self.journal, self.journal.state.in_force
        if journal.state.suspended:
            journal.write(replace(journal.state, suspended=False))
            if record is not None and not record.withdrawn:
                journal.log(Event.RESUMED, record, "no entries are suspended any more")
                said = "list %s: the entries that were suspended block again; if that is a mistake: list rollback %s"
                _log.warning(said, self.list.id, self.list.id)

    # From its source.

    async def poll(self, step: Callable[[Detail], None] = no_step) -> None:
        """Update once, and look at the dates of the list in force. Count a failure; the last good list stays.

        step: called with each step, and with what it has found.
        """
        async with self.one_at_a_time:
            self.shown.step = step
            with self.failures.poll():
                if await self._updated():
                    await self._succeeded()
            self.shown.step = no_step
            with self.failures.counted():
                await self.look_at_dates()

    async def _succeeded(self) -> None:
        self.last_success = int(self._now())
        # The poll was good all the same, and the next one writes again.
        with suppress(OSError):
            await asyncio.to_thread(self.store.write_last_success, self.last_success)

    async def _updated(self) -> bool:
        """Update; return False if the list is dated a little ahead, and is tried again then."""
        self.early.begin(self._now())
        try:
            await self.update()
        except UpdateFailed as failed:
            now = self._now()
            if not self.early.waits(failed.due_at, now):
                raise
            said = "list %s: it is dated %d s ahead of this host's clock, and is tried again then"
            _log.info(said, self.list.id, max(1, round(failed.due_at - now)))
            return False
        return True

    async def update(self) -> None:
        """Fetch what is due, and put it in force or hold it; UpdateFailed if a step refuses it."""
        now, floor = self._now(), self.floor
        if floor is not None and state.clock_behind(floor, now):
            raise processes.too_early(floor.record.issued, now)
        await self.step.update(self._take)

    async def _take(self, candidate: Candidate) -> None:
        covered = standing.covers(self.state, candidate.record, candidate.reasons, self._now())
        if not candidate.reasons:
            await self.activate(candidate)
        elif covered is None:
            await asyncio.to_thread(self._hold, candidate)
        else:
            by = await asyncio.to_thread(self._accept, candidate, covered)
            await self.activate(replace_of(candidate, by=by))

    def _accept(self, candidate: Candidate, covered: Standing) -> str:
        """Log that a list which the guard holds is accepted by a standing approval; return who has given that."""
        journal, record, by = self.journal, candidate.record, standing.persons(covered)
        journal.log(Event.HELD, record, audit_details.held(candidate.reasons, record.issued))
        journal.log(Event.ACCEPTED_HELD, record, audit_details.standing(covered.terms.number), by)
        return by

    def _hold(self, candidate: Candidate) -> None:
        journal, record = self.journal, candidate.record
        with journal.changing:
            journal.log(Event.HELD, record, audit_details.held(candidate.reasons, record.issued))
            journal.write(state.hold(journal.state, record, candidate.reasons, int(self._now())))
        journal.clean()
        _log.warning("list %s: serial %d is held: %s", self.list.id, record.serial, " ".join(candidate.reasons))

    async def activate(self, candidate: Candidate) -> None:
        """Put a candidate in force, and prove it; UpdateFailed or OSError if that fails."""
        await self.activation.activate(candidate)
        await self.prover.prove()

    async def prove(self) -> None:
        """Prove what no poll has proved: a list in force since a start or a rollback, or whose answers were late."""
        if self.prover.is_due() and not self.one_at_a_time.locked():
            async with self.one_at_a_time:
                with self.failures.counted():
                    await self.prover.prove()

    # What persons decide: each step under `one_at_a_time`, see `decide`.

    def note(self, event: Event, record: Record, detail: str, new: State) -> None:
        """Log a decision about `record`, and write the state that follows; may raise OSError."""
        self.journal.log(event, record, detail, by="")
        self.journal.write(new)

    async def accept_held(self, by: str = FEED, detail: str = "") -> None:
        """Put in force the list that is held, if any; UpdateFailed if that fails. by: who has decided it."""
        held = self.state.held
        if held is not None:
            self.journal.log(Event.ACCEPTED_HELD, held.record, detail, by)
            await self.activate(Candidate(record=held.record, by=by))

    async def accept_covered(self) -> None:
        """Put in force the list that is held, if the standing approval covers it; UpdateFailed if that fails."""
        held = self.state.held
        if held is None:
            return
        covered = standing.covers(self.state, held.record, held.reasons, self._now())
        if covered is not None:
            await self.accept_held(standing.persons(covered), audit_details.standing(covered.terms.number))

    def revoke_standing(self) -> None:
        """End the standing approval; may raise OSError."""
        self.journal.write(standing.revoke(self.state))

    async def go_back(self, by: str = FEED) -> None:
        """Quarantine the list in force and enforce the previous one, if there is one. by: who has decided it."""
        await self.activation.prepare(self.state.previous)
        self.activation.go_back("taken out", by)

    async def approve_set_aside(self) -> None:
        """Enforce the lines set aside of the list in force."""
        record = self.state.in_force
        if record is not None:
            here = self.list.source.kind == "image"
            await self.activation.prepare(record)
            self.activation.apply(replace(self.state, in_force=replace(record, approved=True, approved_here=here)))

    # What time and the breaker change.

    async def look_at_dates(self) -> None:
        """Enforce, lift or take out the list if a date or an earlier failure requires it; may raise UpdateFailed."""
        self.look_at_clocks()
        record = self.state.in_force
        if record is not None and not self.activation.agrees() and not self.activation.is_lifted(record):
            await self.activation.prepare(record)
        self.activation.correct()

    def look_at_clocks(self) -> None:
        """Log each time limit that has run out, once."""
        now, due, record = self._now(), self.due_by, self.state.in_force
        run_out = {
            "no poll of its source has succeeded for longer than alarm_age": (
                now - (self.last_success or self._started) > self.list.alarm_age
            ),
            "its source's metadata is no longer fresh": 0 < self.shown.fresh_until < now,
            "a newer list is not in force though its deadline is over": 0 < due < now,
        }
        if record is not None and not record.withdrawn:
            kept = "lifted" if self.activation.is_lifted(record) else "stays in force"
            past = f"serial {record.serial} is past its hard limit and {kept}"
            run_out[past] = now >= self.hard_limit_at(record)
        forwarded = "it is not in force, and names that only it blocks are forwarded; see: blocklist-resolver status"
        run_out[forwarded] = isinstance(self.enforced, Nothing) and self.forwards_without
        waits = approve.unconfirmed(self.state)
        if waits is not None:
            unconfirmed = f"nobody has confirmed the rollback to serial {waits.serial}"
            run_out[unconfirmed] = now >= waits.at + approve.CONFIRM_S
        self._alarms.look(run_out)

    def surged(self) -> None:
        """Raise the alarm because new entries block unusually much; whatever clients ask, they stay in force.

        After `soak` the entries of a serial are new no more.
        """
        record = self.state.in_force
        if record is None:
            return
        if self._now() >= record.since + self.list.guard.soak:
            self.breaker.open = False
        else:
            said = "list %s: new entries of serial %d block unusually many, and stay in force; if it is a mistake: "
            _log.warning(said + "list rollback", self.list.id, record.serial)
