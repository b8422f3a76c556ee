"""The life of one list in this process: polled, held or put in force, proved, decided about; the last good list stays.

    step       how the list comes here: `update_compile`, `update_zone` or `update_image`
    journal    what is written of it: state, floor, audit log
    activation what the service enforces of it (`enforced`), and the steps that change it
    prover     the proof on the service's own sockets, and the receipt
    breaker    what new entries block
    failures, alarms

Rules:
- On any failure the last good list stays, and the next poll tries again what failed.
- Decisions of persons and polls never run at once: one step at a time for each list.
- A list that was overtaken by a suspension is made again at once.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from resolver.config import config
from resolver.feed import approve, audit_details, state
from resolver.feed.activate import Activation, Host
from resolver.feed.alarms import Alarms
from resolver.feed.audit import Event
from resolver.feed.breaker import Breaker
from resolver.feed.coming import Coming, Overtaken, Shown, Step
from resolver.feed.enforced import Enforced, Nothing
from resolver.feed.failures import Failures
from resolver.feed.journal import Journal
from resolver.feed.processes import UpdateFailed
from resolver.feed.proof import Prover
from resolver.feed.reasons import Reason
from resolver.feed.state import Floor, Record, State
from resolver.feed.store import Store

_log: Final = logging.getLogger("resolver.feed")


class ListUpdate:
    """One list. last_success: when a poll was last good, in unix seconds; 0 if none was since the start."""

    def __init__(
        self, one: config.List, store: Store, host: Host, step: Callable[[Activation, Shown], Step]
    ) -> None:
        self.list = one
        self.last_success = 0
        self.journal = Journal(one.id, store, host.audit, host.now)
        self.activation = Activation(one, self.journal, host)
        self.prover = Prover(self.activation)
        self.breaker = Breaker()
        self.failures = Failures(one.id, self._kept, host.now)
        self.shown = Shown()
        self.one_at_a_time = asyncio.Lock()
        self._alarms = Alarms(one.id)
        self.step = step(self.activation, self.shown)
        self._now = host.now
        self._started = 0.0

    # What is known.

    @property
    def state(self) -> State:
        """Where the list stands, as it is written."""
        return self.journal.state

    @property
    def floor(self) -> Floor | None:
        """The list below which nothing is accepted."""
        return self.journal.floor

    @property
    def store(self) -> Store:
        """The files of the list."""
        return self.journal.store

    @property
    def enforced(self) -> Enforced:
        """What the service enforces."""
        return self.activation.enforced

    @property
    def due_by(self) -> int:
        """When the newest list, if it is not in force, has to be by law (unix seconds); 0 if none waits."""
        return state.due_by(self.state, self.shown.newest, self.list.deadline)

    def hard_limit_at(self, record: Record) -> float:
        """Return when the right of `record` to be in force ends, in unix seconds."""
        return self.activation.hard_limit_at(record)

    def _kept(self) -> str:
        record = self.state.in_force
        if record is None or isinstance(self.enforced, Nothing):
            return "no list is in force"
        return f"serial {record.serial} stays"

    # At a start.

    def recover(self) -> None:
        """Put in force the last good list that a stop or a crash at any step has left; may raise OSError."""
        journal = self.journal
        journal.store.prepare()
        if not journal.read():
            self.failures.count(Reason.STATE_UNREADABLE)
        found = state.at_start(journal.state, journal.floor)
        if found != journal.state:
            journal.write(found)
            if found.in_force is not None:
                journal.log(Event.RECOVERED, found.in_force)
        try:
            self.activation.correct()
        except UpdateFailed as failed:
            self.failures.count(failed.reason)
        journal.clean()
        self._started = self._now()
        self.prover.recover()
        self.step.recover()

    # From its source.

    async def poll(self) -> None:
        """Update once; whatever happens, a list stays in force, and its dates are looked at."""
        async with self.one_at_a_time:
            with self.failures.poll():
                await self._updated()
                self.last_success = int(self._now())
            with self.failures.counted():
                self.look_at_dates()

    async def _updated(self) -> None:
        """Update, and again if entries were suspended meanwhile."""
        while True:
            try:
                return await self.update()
            except Overtaken:
                continue

    async def update(self) -> None:
        """Fetch what is due, and put it in force or hold it; UpdateFailed if a step refuses it."""
        if state.clock_behind(self.floor, self._now()):
            raise UpdateFailed(Reason.CLOCK_BEHIND)
        await self.step.update(self._take)

    async def _take(self, coming: Coming) -> None:
        if coming.reasons:
            await asyncio.to_thread(self._hold, coming)
        else:
            await self.activate(coming)

    def _hold(self, coming: Coming) -> None:
        journal, record = self.journal, coming.record
        with journal.changing:
            coming.check(journal.state)
            journal.log(Event.HELD, record, audit_details.held(coming.reasons, record.issued))
            journal.write(state.hold(journal.state, record, coming.reasons, int(self._now())))
        journal.clean()
        _log.warning("list %s: serial %d is held: %s", self.list.id, record.serial, " ".join(coming.reasons))

    async def activate(self, coming: Coming) -> None:
        """Put in force a list that has come, and prove it; UpdateFailed, OSError or Overtaken if that fails."""
        await self.activation.activate(coming)
        await self.prover.prove()

    async def prove(self) -> None:
        """Prove what came in force otherwise than by a poll: at a start, after a rollback, or in a second attempt."""
        if self.prover.is_due() and not self.one_at_a_time.locked():
            async with self.one_at_a_time:
                with self.failures.counted():
                    await self.prover.prove()

    # What persons decide: each step under `one_at_a_time`, see `decide`.

    def note(self, event: Event, record: Record, detail: str, new: State) -> None:
        """Write down who decided what about `record`, and the state that follows; may raise OSError."""
        self.journal.log(event, record, detail)
        self.journal.write(new)

    async def accept_held(self) -> None:
        """Put in force the list that is held, if any; UpdateFailed if that fails, approve.Refused if entries are
        suspended meanwhile, since then it is no longer held."""
        held = self.state.held
        if held is None:
            return
        coming = Coming(record=held.record, made_in=self.state)
        self.journal.log(Event.ACCEPTED_HELD, held.record)
        try:
            await self.activate(coming)
        except Overtaken:
            raise approve.Refused(
                "entries were suspended meanwhile: the list is compiled again and has to be decided again"
            ) from None

    async def go_back(self) -> None:
        """Take out the list in force for good and enforce the previous one, if there is one."""
        self.activation.go_back("taken out")

    def approve_set_aside(self) -> None:
        """Enforce the lines set aside of the list in force."""
        record = self.state.in_force
        if record is not None:
            self.activation.apply(replace(self.state, in_force=replace(record, approved=True)))

    def resume(self, new: State) -> None:
        """Enforce the entries that the breaker took out again, in the state `new`."""
        if new.in_force is not None:
            self.journal.log(Event.RESUMED, new.in_force)
            self.activation.apply(replace(new, suspended=False))

    # What time and the breaker change.

    def look_at_dates(self) -> None:
        """Enforce, lift or take out the list if its dates, or what failed before, say so; may raise UpdateFailed."""
        self.look_at_clocks()
        self.activation.correct()

    def look_at_clocks(self) -> None:
        """Log each time limit that has run out, once."""
        now, due, record = self._now(), self.due_by, self.state.in_force
        run_out = {
            "nothing good came from its source for longer than alarm_age": (
                now - max(self.last_success, self._started) > self.list.alarm_age
            ),
            "its source's metadata is no longer fresh": 0 < self.shown.fresh_until < now,
            "a newer list is not in force though its deadline is over": 0 < due < now,
        }
        if record is not None and not record.withdrawn:
            kept = "lifted" if self.activation.is_lifted(record) else "stays in force"
            past = f"serial {record.serial} is past its hard limit and {kept}"
            run_out[past] = now >= self.hard_limit_at(record)
        waits = approve.unconfirmed(self.state)
        if waits is not None:
            unconfirmed = f"nobody has confirmed the rollback to serial {waits.serial}"
            run_out[unconfirmed] = now >= waits.at + approve.CONFIRM_S
        self._alarms.look(run_out)

    def surged(self, *, counted: bool = True) -> None:
        """Alarm because new entries block too many; while the list soaks in, take them out if so configured.

        counted: it is known how many prefixes were seen at all; if not, nothing is taken out.
        """
        record, guard = self.state.in_force, self.list.guard
        if record is None or self.state.suspended:
            return
        # Between writing down and swap, what surged is the list before.
        soaks = self._now() < record.since + guard.soak and self.activation.has_taken(record)
        soaks = soaks and not approve.resumed(self.state)
        suspends = counted and soaks and guard.breaker == "suspend-new"
        done = "they are suspended until somebody resumes them" if suspends else "they stay in force"
        _log.warning("list %s: new entries of serial %d block unusually many: %s", self.list.id, record.serial, done)
        if suspends:
            with self.failures.counted():
                self.suspend()

    def suspend(self) -> None:
        """Take out the entries that are new in the list in force; may raise OSError, UpdateFailed."""
        self.activation.suspend()
