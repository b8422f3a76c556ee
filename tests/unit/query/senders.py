"""What the two sides that accept are tested with: queries of four kinds, and an answer that does as it is told.

Rules:
- A query is 12 octets and its kind: b"now" is echoed at once, b"later" once `release` names its id or all,
  b"never" gets silence, b"large" gets as many octets as a stream takes.
- `quiet` fails where the loop was told of an exception, or where sockets stay open.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from resolver.query.transport import Answering, Taken, Taking, Transport, framed
from tests.unit.query.parts import open_sockets, until

LARGE = 65535


def asks(number: int, kind: bytes = b"now") -> bytes:
    """A query of this kind; its id is its number."""
    return number.to_bytes(2, "big") + bytes(10) + kind


class Answers:
    """Answers, and remembers what it saw: (query, client, transport)."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bytes, Transport]] = []
        self._gates: dict[int, asyncio.Event] = {}
        self._open = False

    def __call__(self, packet: bytes, client: bytes, transport: Transport) -> bytes | Awaitable[bytes | None] | None:
        self.seen.append((packet, client, transport))
        kind = packet[12:]
        if kind == b"never":
            return None
        if kind == b"large":
            return packet[:2] + bytes(LARGE - 2)
        if kind.startswith(b"later"):
            return self._later(packet)
        return packet

    def release(self, *numbers: int) -> None:
        """Answer these that wait for later; without numbers, all and every one to come."""
        self._open = self._open or not numbers
        for number in numbers or list(self._gates):
            self._gates.setdefault(number, asyncio.Event()).set()

    async def _later(self, packet: bytes) -> bytes | None:
        number = int.from_bytes(packet[:2], "big")
        if not self._open:
            await self._gates.setdefault(number, asyncio.Event()).wait()
        return None if packet.endswith(b"later never") else packet


def together(answering: Answering) -> Taking:
    """What a connection asks, where each query is answered by itself: the slow twin of answer_frames."""

    def take(octets: bytes, client: bytes, most: int) -> Taken:
        at, count, answers, waiting = 0, 0, b"", []
        while count < most and len(octets) - at >= 2:
            size = int.from_bytes(octets[at : at + 2], "big")
            if size < 12:
                return Taken(at, count, answers, waiting, True)
            if len(octets) - at - 2 < size:
                break
            reply = answering(octets[at + 2 : at + 2 + size], client, Transport.TCP)
            at, count = at + 2 + size, count + 1
            if isinstance(reply, bytes):
                answers += framed(reply)
            elif reply is not None:
                waiting.append(reply)
        return Taken(at, count, answers, waiting, False)

    return take


@asynccontextmanager
async def quiet() -> AsyncIterator[None]:
    """Fails where the loop had something to report, or sockets are left."""
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    before = open_sockets()
    yield
    await until(lambda: open_sockets() <= before)
    assert said == []
