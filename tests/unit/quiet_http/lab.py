"""A gate in a test's own loop, what it hands on, and clients of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from resolver.quiet_http.bounds import Bounds
from resolver.quiet_http.connection import Response
from resolver.quiet_http.gate import Gate, listening
from tests.unit.query.parts import until
from tests.unit.wire import exchange

PLAIN = Bounds(connections=50, per_client=50, head_s=30, age_s=30, burst=1000)
HEAD = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
REPLY = b"the response"


class Answering(asyncio.Protocol):
    """Answers one request as its `Lab` is told to."""

    def __init__(self, lab: "Lab") -> None:
        self.lab = lab

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.lab.heads.append(data)
        self.lab.work()
        self.lab.held.append(self)
        if not self.lab.holds:
            self.lab.release()

    def respond(self) -> None:
        self.transport.write(self.lab.reply)
        self.transport.close()


class Lab:
    """A gate, and what was handed on: each whole head, and the requests that wait while `holds`."""

    def __init__(self, bounds: Bounds, exempt: Callable[[bytes], bool]) -> None:
        self.heads: list[bytes] = []
        self.held: list[Answering] = []
        self.holds = False
        self.reply = REPLY
        self.work: Callable[[], None] = lambda: None
        self.gate = Gate(self._hand_on, bounds, exempt)

    def _hand_on(self, head: bytes, response: Response) -> None:
        one = Answering(self)
        response.set_protocol(one)
        one.connection_made(response)
        one.data_received(head)

    def release(self) -> None:
        while self.held:
            self.held.pop().respond()

    async def until_held(self, count: int) -> None:
        await until(lambda: len(self.held) >= count)

    @property
    def address(self) -> tuple[str, int]:
        return self.gate.addresses[0]


@asynccontextmanager
async def opened(bounds: Bounds = PLAIN, exempt: Callable[[bytes], bool] = lambda client: False) -> AsyncIterator[Lab]:
    lab = Lab(bounds, exempt)
    lab.gate.listen(listening(("127.0.0.1", 0)))
    yield lab
    await lab.gate.close(1)


async def connected(lab: Lab, client: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*lab.address, local_addr=(client, 0))


async def asked(lab: Lab, client: str = "127.0.0.1") -> bytes:
    """What a request from this address gets until the other side ends."""
    return await exchange(lab.address, HEAD, source=client)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the other side ends or resets."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65536):
            received += chunk
    return received
