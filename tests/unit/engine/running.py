"""An engine with real tables and threads, and what stands where query.answer stands: it does what a name says.

Rules:
- `listed.test` is listed: only the threads answer it. Every other name is left to the loop.
- Of what is left, a name that begins with `later` is answered once `release` is called, `never` gets silence, `huge`
  more octets than a datagram has; all others are answered at once. An answer is the query, its QR bit set.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.message
import dns.rcode
import msgspec

from resolver.config import for_core
from resolver.config.config import Listen
from resolver.config.values import Endpoint, prefixes
from resolver.core import admit, codes, crash_shape
from resolver.core.lane import Tables
from resolver.engine.engine import Engine, Handed
from resolver.query.transport import Transport
from tests.unit.query.parts import KEY, PAGE_V4, config, generation, tables_of
from tests.unit.query.senders import quiet

LOOPBACK, LOOPBACK_V6 = Endpoint("127.0.0.1", 0), Endpoint("::1", 0)
LISTED = "listed.test"


def in_force(number: int = 1, lines: Sequence[str] = (LISTED,), proxies: Sequence[str] = ()) -> Tables:
    """A list of these lines, for all clients on loopback; `proxies` are load balancers."""
    listen = Listen(allow=prefixes("127.0.0.0/8", "::1/128", "192.0.2.0/24"), proxy_from=prefixes(*proxies))
    allowed = msgspec.structs.replace(config(), listen=listen)
    return tables_of(generation(number, [lines]), for_core.access(allowed, bytearray(admit.BUCKET_OCTETS * 64), KEY))


def query(name: str, number: int = 1, qtype: str = "A") -> bytes:
    """The octets of a query."""
    return dns.message.make_query(name, qtype, id=number, use_edns=False).to_wire()


def is_blocked(answer: bytes) -> bool:
    """Whether it is the page's address that came."""
    message = dns.message.from_wire(answer)
    return message.rcode() == dns.rcode.NOERROR and [str(one[0]) for one in message.answer] == [PAGE_V4]


@dataclass
class Left:
    """What was left to the loop, as query.answer gets it."""

    seen: list[tuple[bytes, bytes, Transport, int, int]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def resume(
        self, packet: bytes, client: bytes, transport: Transport, outcome: int, found: int, handed: Handed
    ) -> bytes | Awaitable[bytes | None] | None:
        self.seen.append((packet, client, transport, outcome, found))
        answer = packet[:2] + bytes([packet[2] | 0x80]) + packet[3:]
        if b"never" in packet:
            return None
        if b"huge" in packet:
            return answer + bytes(70_000)
        return self._later(answer) if b"later" in packet else answer

    async def _later(self, answer: bytes) -> bytes:
        await self.gate.wait()
        return answer

    def release(self) -> None:
        self.gate.set()


@dataclass
class Side:
    """A running engine, what was left to the loop, why what was dropped there, and a client's socket."""

    engine: Engine
    left: Left
    dropped: list[str]
    client: socket.socket

    async def reply(self) -> bytes:
        """The next reply."""
        async with asyncio.timeout(10):
            return await asyncio.get_running_loop().sock_recv(self.client, 70_000)

    async def asked(self, packet: bytes) -> bytes:
        """The reply to a packet."""
        self.client.send(packet)
        return await self.reply()

    def counted(self, metric: str, label: str) -> int:
        """A counter, summed over the threads."""
        return sum(int(one[codes.counter(metric, label)]) for one in self.engine.counters)


def made(tables: Tables | None = None, threads: int = 2) -> tuple[Engine, Left, list[str]]:
    """An engine that is not open yet, what is left of it, and what is dropped."""
    left, dropped = Left(), list[str]()
    engine = Engine(
        left.resume,
        dropped.append,
        in_force() if tables is None else tables,
        threads,
        shape=lambda: crash_shape.Shape(memoryview(bytearray(64)).cast("q")),
    )
    return engine, left, dropped


@asynccontextmanager
async def running(
    endpoint: Endpoint = LOOPBACK,
    asked: str = "",
    *,
    tables: Tables | None = None,
    threads: int = 2,
    given: Sequence[socket.socket] = (),
    before: Sequence[bytes] = (),
) -> AsyncIterator[Side]:
    """An engine that listens; `asked` is the address that the client asks, where it is not the one that is listened on.

    before: what the client sends before the threads start: one batch of one thread.
    """
    async with quiet():
        engine, left, dropped = made(tables, threads)
        engine.open([endpoint], given)
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as client:
            client.connect((asked or engine.addresses[0].host, engine.addresses[0].port))
            for packet in before:
                client.send(packet)
            engine.start()
            yield Side(engine, left, dropped, client)
        left.release()
        engine.close()
        await engine.drained()
