"""What the loop's relay has got is given, what is due goes on in its time, and nothing happens after the end."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import dns.message
import pytest

from resolver.core import codes
from resolver.core.edge_batch import EdgeBatch
from resolver.core.lane import Tables
from resolver.query import edge_frames
from resolver.query.answer_edge import EdgeAnswers
from resolver.query.answer_relayed import DUE_A_TURN, RelayedAnswers
from resolver.query.transport import Reply
from tests.unit.query.parts import CLIENT, House, addresses, query, says, tables, until

pytestmark = pytest.mark.loops

FREE = query("free.test").to_wire()
KEY = bytes(16)
Handed = tuple[int, int, bytes, bytes, int, tuple[int, int, bytes]]


@dataclass
class Relay:
    """A relay that takes all but the first seat of a batch; `give` lets answers come, `hand_over` queries be due."""

    batches: list[tuple[int, int]] = field(default_factory=list)
    came: list[tuple[int, bytes]] = field(default_factory=list)
    handed: list[Handed] = field(default_factory=list)
    due_at: float | None = None
    asked_for: int = 0
    tables: Tables | None = None
    closed: bool = False

    def __post_init__(self) -> None:
        self.descriptor, self._bell = os.pipe()

    def take(self, batch: EdgeBatch, connection: int) -> list[int]:
        self.batches.append((connection, batch.left))
        return [0]

    def give(self, *came: tuple[int, bytes]) -> None:
        self.came += came
        os.write(self._bell, b".")

    def receive(self, tables: Tables) -> list[tuple[int, bytes]]:
        os.read(self.descriptor, 1)
        self.tables = tables
        came, self.came = self.came, []
        return came

    def hand_over(self, in_s: float, *handed: Handed) -> None:
        self.handed += handed
        self.due_at = time.monotonic() + in_s

    def wait_ms(self) -> int:
        return -1 if self.due_at is None else max(0, int((self.due_at - time.monotonic()) * 1000))

    def due(self, most: int) -> list[Handed]:
        assert self.due_at is not None
        if time.monotonic() + 0.002 < self.due_at:
            return []
        self.asked_for += 1
        found, self.handed = self.handed[:most], self.handed[most:]
        self.due_at = self.due_at if self.handed else None
        return found

    def close(self) -> None:
        self.closed = True
        os.close(self.descriptor)
        os.close(self._bell)


@dataclass
class Threads:
    """What is said to the threads' side."""

    said: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.taking: Callable[[], None] = lambda: self.said.append("taking")
        self.late: Callable[[bytes, int, int, bytes], None] = lambda *late: self.said.append(late)


class Side:
    """A house whose edges' batches go to a relay, and what came of them."""

    def __init__(self) -> None:
        self.house = House(says(["free.test. 60 A 192.0.2.44"]), tables(1, (("listed.test",),)), seats=4)
        self.relay, self.threads = Relay(), Threads()
        self.relayed = RelayedAnswers(self.house.answer, self.relay, self.threads)
        self.relayed.came = self._came
        self.answers = EdgeAnswers(self.house.answer, self.house.lane, 4, self.relayed)
        self.came: list[tuple[int, Reply | Awaitable[Reply]]] = []
        self.tasks: list[asyncio.Future[Reply]] = []

    def _came(self, came: Iterable[tuple[int, Reply | Awaitable[Reply]]]) -> None:
        self.came += came

    def ask(self, count: int, connection: int = 5) -> tuple[int, int]:
        """Ask so many times; return how many wait here, and how many there."""
        asked = b"".join(edge_frames.query(at, codes.DOT, CLIENT, FREE) for at in range(count))
        taken = self.answers(asked, count, connection)
        self.tasks += [asyncio.ensure_future(one) for one in taken.waiting]
        assert (taken.queries, taken.octets) == (count, b"")
        return len(taken.waiting), taken.relayed


def handed(number: int, packet: bytes = FREE, connection: int = 5) -> Handed:
    """What is handed over of a query that server 0 did not answer, of its late answer if the packet is empty."""
    return connection, number, packet, CLIENT if packet else KEY, codes.DOT, (0, 30, b"" if packet else b"late")


@pytest.mark.asyncio
async def test_a_batch_goes_to_the_relay_and_what_it_leaves_is_asked_here() -> None:
    side = Side()
    try:
        assert side.ask(3) == (1, 2)
        assert side.relay.batches == [(5, 3)]
        side.relay.give((5, b"one"), (5, b"two"))
        await until(lambda: len(side.came) == 2)
        assert side.came == [(5, b"one"), (5, b"two")]
        assert side.relay.tables is side.house.answer.tables
    finally:
        side.relayed.close()
    assert side.relay.closed


@pytest.mark.asyncio
async def test_what_is_due_is_asked_here_in_its_time_and_its_late_answer_goes_to_who_waits() -> None:
    side = Side()
    try:
        side.house.upstream.hold()
        began = time.monotonic()
        side.relay.hand_over(0.05, handed(7), handed(8, b""))
        side.ask(2)
        await until(lambda: len(side.threads.said) == 2)
        assert time.monotonic() - began >= 0.045
        assert side.threads.said == ["taking", (KEY, 0, 30, b"late")]
        [(connection, reply)] = side.came
        assert connection == 5
        assert isinstance(reply, Awaitable)
        side.house.upstream.release()
        frame = await reply
        [(_, body)] = edge_frames.take(bytearray(frame or b""))
        one = edge_frames.as_answer(body)
        assert (one.number, addresses(dns.message.from_wire(one.message))) == (7, ["192.0.2.44"])
    finally:
        side.relayed.close()


@pytest.mark.asyncio
async def test_what_is_due_at_once_does_not_wait_for_what_is_due_later_and_comes_in_parts() -> None:
    side = Side()
    try:
        side.relay.hand_over(60.0)
        side.ask(2)
        many = 2 * DUE_A_TURN + 1
        side.relay.hand_over(0.0, *(handed(number) for number in range(many)))
        side.relay.give((5, b"one"))
        await until(lambda: len(side.came) == many + 1)
        assert side.relay.asked_for == 3
        await asyncio.gather(*(reply for _, reply in side.came if isinstance(reply, Awaitable)))
    finally:
        side.relayed.close()


@pytest.mark.asyncio
async def test_what_is_due_sooner_than_what_was_due_before_does_not_wait_for_that() -> None:
    side = Side()
    try:
        side.relay.hand_over(60.0)
        side.ask(2)
        side.relay.hand_over(0.05, handed(1))
        began = time.monotonic()
        side.ask(2)
        await until(lambda: len(side.came) == 1)
        assert time.monotonic() - began < 30.0
        await asyncio.gather(*(reply for _, reply in side.came if isinstance(reply, Awaitable)))
    finally:
        side.relayed.close()


@pytest.mark.asyncio
async def test_after_the_end_nothing_is_called() -> None:
    side = Side()
    side.relay.hand_over(0.02, handed(1))
    side.ask(2)
    side.relayed.close()
    await asyncio.sleep(0.05)  # Longer than until it would be due.
    assert (side.came, side.relay.asked_for) == ([], 0)
