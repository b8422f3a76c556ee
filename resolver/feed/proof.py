"""Proves on the service's own sockets that a list is enforced, and writes the receipt.

Rules:
- A list in force is unproved until every socket has answered as the list answers; then the receipt is written.
- A wrong answer for a list that has just come in force takes it out at once, and quarantines it. A list that was
  recovered at a start, renewed or returned to stays: nothing better is left.
- An answer that does not come in time changes nothing: the sockets are asked again.
- Answers do not count if the list was replaced while the sockets were asked: the new value has its own
  proof.
- A list that a start recovers has its receipt already, unless a crash came before that was written.
"""

import asyncio
import logging
from typing import Final

from resolver.feed import enforced, receipt
from resolver.feed.activate import Activation
from resolver.feed.enforced import InForce, Lifted, Nothing, Stage
from resolver.feed.processes import UpdateFailed
from resolver.feed.reasons import Reason
from resolver.feed.receipt import Proof
from resolver.feed.state import Record

PAUSE_S: Final = 5.0
"""Pause before the sockets are asked again, in seconds."""

_log: Final = logging.getLogger("resolver.feed")


class Prover:
    """Proves one list. receipt_at: when its last receipt was written, in unix seconds; 0 if none was."""

    def __init__(self, activation: Activation) -> None:
        self.receipt_at = 0
        self._activation = activation
        self._host = activation.host
        self._list_id = activation.list.id

    @property
    def passed(self) -> bool:
        """True if the list that was tested last has passed, and the sockets have answered in time."""
        now = self._activation.enforced
        silent = isinstance(now, InForce) and now.proof is Stage.SILENT
        return self._activation.passed and not silent

    def recover(self) -> None:
        """Look whether the list that a start has recovered has its receipt. It is proved once the sockets are open."""
        activation, record = self._activation, self._activation.journal.state.in_force
        if record is not None:
            self.receipt_at = self._host.outbox.written_at(receipt.name_of(self._list_id, record))
            if self.receipt_at and not isinstance(activation.enforced, Nothing):
                activation.enforced = enforced.keep_receipt(activation.enforced)

    def is_due(self) -> bool:
        """Return whether a proof is due now."""
        return enforced.waits(self._activation.enforced, self._host.now())

    async def prove(self) -> None:
        """Ask the sockets, and write the receipt if all answers are right.

        Raise UpdateFailed if an answer is wrong, OSError if a file cannot be written.
        """
        activation, proof = self._activation, None
        asked, record = activation.enforced, activation.journal.state.in_force
        if isinstance(asked, Nothing) or record is None or asked.number != record.generation or not self.is_due():
            return
        if isinstance(asked, InForce):
            proof = await self._host.hooks.prove(self._list_id, asked.view)
            if activation.enforced is not asked:
                return
            if proof.wrong:
                await self._answered_wrongly(asked)
            if not proof.passed:
                self._is_silent(asked, record, proof)
                return
        activation.enforced = enforced.prove(asked)
        if not asked.receipted:
            await asyncio.to_thread(self._issue, record, asked, proof)
            self._host.outbox.wake()

    async def _answered_wrongly(self, asked: InForce) -> None:
        activation = self._activation
        activation.enforced = enforced.answer_wrongly(asked)
        try:
            if asked.proof is Stage.FRESH:
                await activation.prepare(activation.journal.state.previous)
                activation.go_back("sockets")
        finally:
            activation.passed = False
        raise UpdateFailed(Reason.SELFTEST)

    def _is_silent(self, asked: InForce, record: Record, proof: Proof) -> None:
        if asked.proof is not Stage.SILENT:
            said = "list %s: serial %d is not proved yet: %d of %d questions to our own sockets had no answer in time"
            _log.warning(said, self._list_id, record.serial, proof.silent, proof.questions)
        self._activation.enforced = enforced.ask_again(asked, self._host.now() + PAUSE_S)

    def _issue(self, record: Record, asked: Lifted | InForce, proof: Proof | None) -> None:
        """Write the receipt; the outbox delivers it."""
        in_force = asked if isinstance(asked, InForce) else None
        said = receipt.receipt(
            record,
            list_id=self._list_id,
            host=self._host.outbox.host,
            at=self._host.now(),
            head=self._host.audit.head(),
            tested=in_force.tested if in_force else None,
            proof=proof,
        )
        self._host.outbox.put(receipt.name_of(self._list_id, record), self._list_id, said)
        self.receipt_at = int(self._host.now())
