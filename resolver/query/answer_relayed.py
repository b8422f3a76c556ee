"""Lets the loop's relay (engine.loop_relay) ask upstreams for what the batches of edges miss.

Rules:
- What the relay may ask, and how that is counted, is as for the threads of the engine (forward_relay).
- What it hands over goes on here by the steps of `Answer`, as if nobody had asked yet but the server that it names.
- In one turn of the event loop a bounded number of answers and of queries that were handed over is taken.
"""

import asyncio
from array import array
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

from resolver.core import codes
from resolver.core.edge_batch import EdgeBatch, framed
from resolver.core.lane import Tables
from resolver.core.store import NOTHING
from resolver.query.answer import Answer
from resolver.query.transport import Reply, Transport

PROPERTIES: Final = array("i", [part for one in Transport for part in (one.least, one.most, one.keepalive_ds)])
"""Of each transport, in its order: what core.lane.Seat wants to know."""
DUE_A_TURN: Final = 64
SLACK_S: Final = 0.005

_TRANSPORTS: Final = tuple(Transport)

Came = Callable[[Iterable[tuple[int, Reply | Awaitable[Reply]]]], None]
"""Takes answers, each with the number of its connection."""


class LoopRelay(Protocol):
    """The relay of the event loop (engine.loop_relay)."""

    @property
    def descriptor(self) -> int:
        """Return the file descriptor that is readable while `receive` has something to do."""

    def take(self, batch: EdgeBatch, connection: int) -> Sequence[int]:
        """Forward what a batch has missed; return the seats that are left."""

    def receive(self, tables: Tables) -> list[tuple[int, bytes]]:
        """Return answers that have come: connection and frame."""

    def wait_ms(self) -> int:
        """Return after how many milliseconds something is due, -1 if nothing will be."""

    def due(self, most: int) -> list[tuple[int, int, bytes, bytes, int, tuple[int, int, bytes]]]:
        """Return queries that are handed over."""

    def close(self) -> None:
        """Close its sockets."""


class Threads(Protocol):
    """What wants to hear of queries that are handed over (engine.engine, forward_relay)."""

    taking: Callable[[], None]
    late: Callable[[bytes, int, int, bytes], None]


class RelayedAnswers:
    """The loop's relay at work. came: is called with what has come; set by who reads the connections."""

    def __init__(self, answer: Answer, relay: LoopRelay, threads: Threads) -> None:
        self.came: Came = _nowhere
        self._answer = answer
        self._relay = relay
        self._threads = threads
        self._reads = False
        self._timer: asyncio.Handle | None = None
        self._is_soon = False
        self._at = 0.0

    def take(self, batch: EdgeBatch, connection: int) -> Sequence[int]:
        """Ask upstreams for what the batch in the lane has missed; return the seats that are left to the caller."""
        left = self._relay.take(batch, connection)
        if len(left) < batch.left:
            if not self._reads:
                self._reads = True
                asyncio.get_running_loop().add_reader(self._relay.descriptor, self._receive)
            self._look()
        return left

    def close(self) -> None:
        """Ask nobody any more; what has not come by now never comes."""
        if self._timer is not None:
            self._timer.cancel()
        if self._reads:
            asyncio.get_running_loop().remove_reader(self._relay.descriptor)
            self._reads = False
        self._relay.close()

    def _receive(self) -> None:
        self.came(self._relay.receive(self._answer.tables))
        self._look()

    def _look(self) -> None:
        """See to it that `_due` is called when something is due, at most SLACK_S late."""
        if self._is_soon:
            return
        wait_ms = self._relay.wait_ms()
        if wait_ms < 0:
            return
        loop = asyncio.get_running_loop()
        at = loop.time() + wait_ms / 1000
        if self._timer is not None:
            if wait_ms and at > self._at - SLACK_S:
                return
            self._timer.cancel()
        self._is_soon, self._at = wait_ms == 0, at
        self._timer = loop.call_soon(self._due) if self._is_soon else loop.call_later(wait_ms / 1000, self._due)

    def _due(self) -> None:
        """Go on with what the relay hands over now."""
        self._timer, self._is_soon = None, False
        handed_over = self._relay.due(DUE_A_TURN)
        if handed_over:
            self._threads.taking()
        for connection, number, packet, client, transport, handed in handed_over:
            if packet:
                over, written = _TRANSPORTS[transport], partial(framed, number=number)
                reply = self._answer.resume(
                    packet, client, over, codes.OUTCOME_FORWARD, NOTHING, handed, written=written
                )
                self.came([(connection, reply)])
            else:
                # After the tasks that begin to wait for it now.
                asyncio.get_running_loop().call_soon(self._threads.late, client, *handed)
        self._look()


def _nowhere(_: Iterable[tuple[int, Reply | Awaitable[Reply]]]) -> None:
    """Do nothing; used while nobody reads connections."""
