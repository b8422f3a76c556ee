"""What one list enforces, proved on the service's own sockets, and receipted; and what the breaker takes out.

Rules:
- Whatever came in force is unproved until every socket has answered as the list answers; a receipt comes after that.
- A wrong answer to a list that has just come in force takes it back at once, and quarantines it. One that a start has
  recovered, that was gone back to or only renewed is not taken out for it: nothing better is left.
- An answer that does not come in time takes nothing back: it is asked for again.
- What a start recovers has its receipt from before, unless a crash came between.
- Suspended entries stay suspended until a person resumes them: it is written before it is done. A list that was made
  before that, and knows nothing of it, is made anew.
"""

import asyncio
import logging
from typing import Final

from msgspec.structs import replace

from resolver.feed import approve, receipt, state
from resolver.feed.audit import Event
from resolver.feed.enforced import EnforcedList
from resolver.feed.processes import UpdateFailed
from resolver.feed.reasons import Reason
from resolver.feed.receipt import Proof
from resolver.feed.state import Record

PAUSE_S: Final = 5.0
"""Between two attempts at a proof that did not come in time."""

_log: Final = logging.getLogger("resolver.feed")


class Overtaken(Exception):
    """The breaker has suspended entries while a list was on its way that does not know of it."""


class ProvedList(EnforcedList):
    """One list and what of it is in force, held against what the sockets say."""

    _overtaken = False
    unproved = False
    receipt_at = 0
    breaker_open = False
    # When the list known to be newest was issued, and what it is; None where none is known.
    newest: tuple[int, tuple[int, str]] | None = None
    _started = 0.0
    _told: frozenset[str] = frozenset()
    _recovered = False
    _was_wrong = False
    _next_proof = 0.0

    def recover(self) -> None:
        """As of EnforcedList; the sockets are not open yet, so that it is proved later."""
        super().recover()
        self._started = self._now()
        self._recovered = True
        record = self.state.in_force
        if record is not None:
            self.receipt_at = self.outbox.written_at(receipt.name_of(self.list.id, record))

    async def release_held(self) -> None:
        """As of EnforcedList; approve.Refused where entries are suspended meanwhile, since then nothing is held."""
        self._overtaken = False
        try:
            await super().release_held()
        except Overtaken:
            raise approve.Refused(
                "entries were suspended meanwhile: the list is compiled anew, and decided anew"
            ) from None

    async def activate(self, record: Record) -> None:
        self._recovered = False
        self._was_wrong = False
        fresh = not self.enforces(record)
        await super().activate(record)
        await self._prove(fresh=fresh)

    async def prove(self) -> None:
        """Prove what came in force and is not proved yet, where it is its turn."""
        if self.unproved and self._now() >= self._next_proof and not self.one_at_a_time.locked():
            async with self.one_at_a_time:
                with self.counted():
                    await self._prove(fresh=False)

    async def _prove(self, *, fresh: bool) -> None:
        record, view = self.state.in_force, self.view
        if record is None:
            self.unproved = False
            return
        proof = None
        if view is not None:
            proof = await self._hooks.prove(self.list.id, view)
            if proof.wrong:
                self._answered_wrongly(fresh=fresh)
            if not proof.passed:
                self._is_silent(record, proof)
                return
            self.selftest_passed = not self._was_wrong
        self.unproved = False
        if not (self._recovered and self.outbox.has(receipt.name_of(self.list.id, record))):
            await asyncio.to_thread(self._issue, record, proof)
            self.outbox.wake()
        self._recovered = False

    def _answered_wrongly(self, *, fresh: bool) -> None:
        self.unproved = False
        self._was_wrong = True
        if fresh:
            self._go_back("sockets")
        self.selftest_passed = False
        raise UpdateFailed(Reason.SELFTEST)

    def _is_silent(self, record: Record, proof: Proof) -> None:
        if self.selftest_passed:
            said = "list %s: serial %d is not proved yet: %d of %d questions to our sockets had no answer in time"
            _log.warning(said, self.list.id, record.serial, proof.silent, proof.questions)
        self.selftest_passed = False
        self._next_proof = self._now() + PAUSE_S

    def _issue(self, record: Record, proof: Proof | None) -> None:
        """Write the receipt; it is delivered when it can be."""
        said = receipt.receipt(
            record,
            list_id=self.list.id,
            host=self.outbox.host,
            at=self._now(),
            suspended=self.state.suspended,
            head=self._audit.head(),
            tested=self.tested if proof is not None else None,
            proof=proof,
        )
        self.outbox.put(receipt.name_of(self.list.id, record), self.list.id, said)
        self.receipt_at = int(self._now())

    # Clocks.

    @property
    def due_at(self) -> int:
        """When the newest list, where it is not in force, had to be (unix seconds); 0 where nothing waits."""
        return state.due_at(self.state, self.newest, self.list.deadline)

    def look_at_clocks(self) -> None:
        """Log once each clock that has run out, and again after it was set back."""
        now, due = self._now(), self.due_at
        run_out = {
            "nothing good came from its source for longer than alarm_age": (
                now - max(self.last_success, self._started) > self.list.alarm_age
            ),
            "its source's metadata is no longer fresh": 0 < self.fresh_until < now,
            "a newer list is not in force though its deadline is over": 0 < due < now,
        }
        said = frozenset(text for text, is_so in run_out.items() if is_so)
        for text in sorted(said - self._told):
            _log.warning("list %s: %s", self.list.id, text)
        self._told = said

    # What changes what is in force.

    def surged(self, *, counted: bool = True) -> None:
        """New entries block too many: take them out while the list soaks in, if so configured, else alarm only.

        counted: whether it is known how many prefixes were seen at all; without that nothing is taken out.
        """
        record, guard = self.state.in_force, self.list.guard
        if record is None or self.state.suspended:
            return
        # Between writing down and swap what surged is the list before.
        soaks = self._now() < record.since + guard.soak and self.enforced == record.generation
        soaks = soaks and not approve.resumed(self.state)
        suspends = counted and soaks and guard.breaker == "suspend-new"
        done = "they are suspended until somebody resumes them" if suspends else "they stay in force"
        _log.warning("list %s: new entries of serial %d block unusually many: %s", self.list.id, record.serial, done)
        if suspends:
            with self.counted():
                self.suspend()

    def suspend(self) -> None:
        """Take the entries out that are new in the list in force, and write it down first; where the service cannot,
        they stay, as the state then says. May raise OSError, UpdateFailed."""
        record, view, before = self.state.in_force, self.view, self.state
        if record is None or view is None or before.suspended or self.enforced != record.generation:
            return
        with self._changing:
            self._say(Event.SUSPENDED, record)
            self._write(state.suspend(before, self.floor))
            self._overtaken = self._apart = True
            if not self._put_in_force(view, record):
                self._say(Event.RESUMED, record, "could not be suspended")
                self._write(replace(self.state, suspended=False))
                self._apart = False
                raise UpdateFailed(Reason.SWAP)
        self.unproved, self._apart = True, False

    def _write_down(self, record: Record) -> None:
        with self._changing:
            self._not_overtaken(record)
            super()._write_down(record)

    def _not_overtaken(self, record: Record) -> None:
        """Overtaken where entries were suspended while `record` was made: in it they would count again."""
        if self._overtaken and not record.withdrawn:
            raise Overtaken

    def _swap(self, view: memoryview | None) -> None:
        super()._swap(view)
        if self.enforced:
            self.view, self.unproved, self._next_proof = view, True, 0.0

    def _lift(self, record: Record) -> None:
        if self.enforced != 0:
            self.view, self.unproved = None, True
        super()._lift(record)

    def _go_back(self, why: str) -> None:
        self.view = None
        super()._go_back(why)
