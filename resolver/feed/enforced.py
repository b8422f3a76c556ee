"""What one list enforces in this process: put in force, proved, taken back, lifted, and recovered at a start.

Rules:
- Everything that must outlive a crash is on the disk before the swap: image, floor, state, in this order.
- A failure is counted by its reason and logged once, in one line without a name.
- A list past its deadline is kept with an alarm or lifted, as configured; a list that was withdrawn is
  lifted.
- What a person decides and what a poll finds never run into each other: one step at a time for each list.
"""

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from msgspec.structs import replace

from resolver.config import config
from resolver.feed import activate, approve, audit_details, state
from resolver.feed.audit import Audit, Event
from resolver.feed.outbox import Outbox
from resolver.feed.processes import UpdateFailed
from resolver.feed.reasons import Reason
from resolver.feed.receipt import Tested
from resolver.feed.seal import Keys
from resolver.feed.state import Floor, Record, State
from resolver.feed.store import StateUnreadable, Store

_log: Final = logging.getLogger("resolver.feed")


class EnforcedList:
    """One list and what of it is in force. `now` returns unix seconds."""

    def __init__(
        self,
        one: config.List,
        store: Store,
        keys: Keys,
        audit: Audit,
        hooks: activate.Hooks,
        outbox: Outbox,
        *,
        now: Callable[[], float],
        resolvers: tuple[str, ...] = (),
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.list = one
        self.outbox = outbox
        self.store = store
        self.state = State()
        self.floor: Floor | None = None
        self.failures: dict[str, int] = {}
        self.last_success = 0
        # Since when (unix seconds) no poll has been good, and by which reasons they failed; 0 where the last one was.
        self.failing_since = 0
        self.failing: dict[str, int] = {}
        self.fresh_until = 0
        self.selftest_passed = False
        # The generation enforced: that of a record, 0 where the list is lifted, None where there is no list.
        self.enforced: int | None = None
        # The upstreams (ADDRESS:PORT): whoever looks for the source's host asks them, never ourselves.
        self.resolvers = resolvers
        self._keys = keys
        self._audit = audit
        self._hooks = hooks
        self._now = now
        self._random = random
        self.one_at_a_time = asyncio.Lock()
        # The image enforced (a view of u64) and what its self-test found; None where the list has no say.
        self.view: memoryview | None = None
        self.tested: Tested | None = None
        # Held by whoever replaces the state in another thread than the loop's, or without the lock above.
        self._changing = threading.RLock()
        self._alarmed = 0
        self._alarmed_rollback = 0
        self._identity: tuple[int, str] | None = None
        # Whether the service may enforce something else than the state says, since neither could be changed.
        self._apart = False

    # At start.

    def recover(self) -> None:
        """Put in force the last good list that a stop or a crash at any step has left; may raise OSError."""
        self.store.prepare()
        found, self.floor = self._read()
        self.state = state.at_start(found, self.floor)
        if self.state != found:
            self.store.write_state(self.state)
            if self.state.in_force is not None:
                self._say(Event.RECOVERED, self.state.in_force)
        try:
            self._enforce()
        except UpdateFailed as failed:
            self._failed(failed.reason)
        self.store.clean(self.state, self.floor)

    def _read(self) -> tuple[State, Floor | None]:
        damaged = False
        try:
            found = self.store.read_state()
        except StateUnreadable:
            found, damaged = State(), True
        try:
            floor = self.store.read_floor()
        except StateUnreadable:
            floor, damaged = (Floor(record=found.in_force) if found.in_force else None), True
        if damaged:
            self._failed(Reason.STATE_UNREADABLE)
        return found, floor

    # What persons decide: each step under `one_at_a_time`, see `decide`.

    def note(self, event: Event, record: Record, detail: str, new: State) -> None:
        """Write down who decided what about `record`, and the state that follows; may raise OSError."""
        self._say(event, record, detail)
        self._write(new)

    async def release_held(self) -> None:
        """Put in force the list that is held; UpdateFailed where it fails, nothing where none is held."""
        held = self.state.held
        if held is not None:
            self._say(Event.RELEASED, held.record)
            await self.activate(held.record)

    async def go_back(self) -> None:
        """Take out the list in force for good and enforce the previous one, if there is one."""
        self._go_back("taken out")

    def approve_set_aside(self) -> None:
        """Have the lines set aside of the list in force count."""
        record = self.state.in_force
        if record is not None:
            self._again(replace(self.state, in_force=replace(record, approved=True)))

    def resume(self, new: State) -> None:
        """Have the entries that the breaker took out count again, in the state `new`."""
        if new.in_force is not None:
            self._say(Event.RESUMED, new.in_force)
            self._again(replace(new, suspended=False))

    def _again(self, new: State) -> None:
        """Enforce the same image as `new` says."""
        if new.in_force is not None:
            view = self._tested(new.in_force)
            self._write(new)
            self._swap(view)

    def made_here(self, record: Record) -> bool:
        return record.digest_key == self._keys.digest_id and record.demonstration is self.list.demonstration

    # What is in force.

    async def activate(self, record: Record) -> None:
        view = None
        if not record.withdrawn:
            view = await asyncio.to_thread(self._tested, record)
        await asyncio.to_thread(self._write_down, record)
        self._swap(view)
        await asyncio.to_thread(self.store.clean, self.state, self.floor)

    def take_in(self, record: Record, *, suspended: bool) -> None:
        """Put in force, before anything is served, the first list, whose image is in the store."""
        view = self._tested(record)
        self.state = replace(self.state, suspended=suspended)
        self._write_down(record)
        self._swap(view)

    def _tested(self, record: Record) -> memoryview:
        """The image of `record` once it has passed the self-test; a list that fails it is quarantined."""
        folder, one = self.store.folder, self.list
        try:
            view = activate.load(folder, record, self._keys, list_id=one.id, demonstration=one.demonstration)
        except activate.ImageUnusable:
            raise UpdateFailed(Reason.IMAGE_UNUSABLE) from None
        try:
            self.tested = activate.self_test(view, self._hooks.judge, self._random)
        except activate.SelfTestFailed as failed:
            self.selftest_passed = False
            if self.state.in_force is None or self.state.in_force.identity != record.identity:
                with self._changing:
                    self._say(Event.QUARANTINED, record, str(failed))
                    self._write(state.quarantine(self.state, record))
            raise UpdateFailed(Reason.SELFTEST) from None
        self.selftest_passed = True
        return view

    def _write_down(self, record: Record) -> None:
        current = self.state.in_force
        renewal = current is not None and current.identity == record.identity and bool(current.since)
        record = replace(record, since=current.since if current and renewal else int(self._now()))
        if self.floor is not None and self.floor.record.targets_keys != record.targets_keys:
            self._say(Event.FLOOR_RESET, record, "targets keys replaced")
        self._say(Event.WITHDRAWN if record.withdrawn else Event.IN_FORCE, record, audit_details.issued(record.issued))
        self._raise_floor(Floor(record=record))
        with self._changing:
            self._write(self._with(record))

    def _with(self, record: Record) -> State:
        """The state in which `record` is in force."""
        return state.put_in_force(self.state, record)

    def _swap(self, view: memoryview | None) -> None:
        """Have the service enforce the list in force as its dates allow; one it cannot take is taken out."""
        record = self.state.in_force
        if record is None:
            return
        if view is None or self._lifted(record):
            self._lift(record)
            return
        self._apart = True
        if not self._put_in_force(view, record):
            if not self.enforces(record):
                self._go_back("swap")
            raise UpdateFailed(Reason.SWAP)
        self.enforced, self._identity, self._apart = record.generation, record.identity, False

    def enforces(self, record: Record) -> bool:
        """Whether this very list has its say now, be it with other dates or without its new entries: of that nothing
        is taken out because a change fails, and what failed is tried again."""
        return bool(self.enforced) and self._identity == record.identity

    def _put_in_force(self, view: memoryview, record: Record) -> bool:
        """Have the service enforce an image as the state says; whether it could."""
        try:
            self._hooks.put_in_force(self.list.id, view, record, suspended=self.state.suspended)
        except Exception as error:  # noqa: BLE001 - whatever the service could not do, a list that it can comes back
            _log.debug("list %s: swap: %s", self.list.id, type(error).__name__)
            return False
        return True

    def _go_back(self, why: str) -> None:
        record = self.state.in_force
        if record is None:
            return
        self._say(Event.QUARANTINED, record, why)
        with self._changing:
            self._write(state.go_back(self.state))
        self.enforced = None
        back = self.state.in_force
        self._apart = back is not None
        try:
            if back is not None:
                self._say(Event.GONE_BACK, back)
                self._enforce()
        except UpdateFailed:
            self._apart = False  # of what cannot be used nothing is better another time
            raise
        finally:
            if self.enforced is None:
                self._hooks.take_out(self.list.id)

    def look_at_dates(self) -> None:
        """Enforce, lift or put back the list in force where its dates, or what failed before, say otherwise."""
        record = self.state.in_force
        waits = approve.unconfirmed(self.state)
        if waits and self._now() >= waits.at + approve.CONFIRM_S and self._alarmed_rollback != waits.at:
            self._alarmed_rollback = waits.at
            _log.warning("list %s: nobody has confirmed the rollback to serial %d", self.list.id, waits.serial)
        if record is None:
            if self._apart:
                self._hooks.take_out(self.list.id)
                self.enforced, self._apart = None, False
            return
        late = not record.withdrawn and self._now() >= self.deadline(record)
        if late and self._alarmed != record.generation:
            self._alarmed = record.generation
            kept = "lifted" if self._lifted(record) else "stays in force"
            _log.warning("list %s: serial %d is past its hard limit and %s", self.list.id, record.serial, kept)
        if self._apart or (record.withdrawn or self._lifted(record)) is not (self.enforced == 0):
            self._enforce()

    def _enforce(self) -> None:
        """Bring about what the state says, from the saved image."""
        record = self.state.in_force
        if record is None:
            return
        if record.withdrawn or self._lifted(record):
            self._lift(record)
            return
        try:
            view = self._tested(record)
        except UpdateFailed as failed:
            if failed.reason is Reason.SELFTEST:
                self._go_back("selftest")
            raise
        self._swap(view)

    def _lift(self, record: Record) -> None:
        if self.enforced != 0 or self._apart:
            if not record.withdrawn:
                self._say(Event.LIFTED, record, "hard limit")
            self._apart = True
            self._hooks.lift(self.list.id)
            self.enforced, self._apart = 0, False

    def deadline(self, record: Record) -> float:
        """When the right of `record` to be in force ends, in unix seconds."""
        return state.deadline(record, self.list.limit)

    def _lifted(self, record: Record) -> bool:
        return self.list.expire == "lift" and self._now() >= self.deadline(record)

    # What is told.

    def _write(self, new: State) -> None:
        new = approve.kept(new, self._now())
        try:
            self.store.write_state(new)
        except OSError:
            # The file may have its name all the same: then this is what a start goes on from.
            with suppress(OSError, StateUnreadable):
                if self.store.read_state() == new:
                    self.state, self._apart = new, True
            raise
        self.state = new

    def _raise_floor(self, floor: Floor) -> None:
        try:
            self.store.write_floor(floor)
        except OSError:
            with suppress(OSError, StateUnreadable):
                self.floor = self.store.read_floor()
            raise
        self.floor = floor

    def _say(self, event: Event, record: Record, detail: str = "") -> None:
        one = self.list.id
        self._audit.append(event, self._now(), list_id=one, serial=record.serial, digest=record.digest, detail=detail)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Turn what ends a step into one count and one line; only a cancellation goes on."""
        try:
            yield
        except UpdateFailed as failed:
            self._failed(failed.reason)
        except OSError:
            self._failed(Reason.STATE_NOT_WRITTEN)
        except Exception as error:  # noqa: BLE001 - the text may hold anything: its kind is all that is told
            _log.debug("list %s: %s", self.list.id, type(error).__name__)
            self._failed(Reason.INTERNAL)

    def _failed(self, reason: Reason) -> None:
        self.failures[reason.value] = self.failures.get(reason.value, 0) + 1
        kept = self.state.in_force
        stays = (
            f"serial {kept.serial} stays" if kept is not None and self.enforced is not None else "no list is in force"
        )
        _log.warning("list %s: update failed: %s; %s", self.list.id, reason.value, stays)
