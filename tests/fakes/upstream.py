"""A scripted upstream on loopback: UDP and TCP on one port, honest unless told otherwise.

Rules:
- What it answers comes from a function from query to reply; `records` makes one from a table.
- How it answers is a script: one tuple of ways an exchange, sent one after the other. `(WRONG_ID, HONEST)` is
  a forged reply that the honest one follows. Once the script is used up each exchange is answered as
  `otherwise` says.
- A probe for health (a random name below .example) is answered as `otherwise` says, and noted in `probes` alone: when
  the next one comes depends on the clock.
- `hold()` keeps replies back until `release()`. `loss` is the share of datagrams lost, each way; `delay_s` is how long
  each reply takes; `hold_streams` answers nothing by TCP, and `refuse_streams()` closes its port; `away()` closes both
  ports until `back()`.
- `serve` runs it on the loop of an asynchronous test, `in_thread` beside a whole process.
"""

import asyncio
import random
import re
import struct
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from enum import Enum, auto
from socket import SO_LINGER, SOL_SOCKET

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from tests.fakes.threads import in_own_thread

HOST = "127.0.0.1"
HUGE_OCTETS = 65_000
LARGE_OCTETS = 1_700
PORT_TAKEN_S = 75
_PORTS_TRIED = 50
_PROBE = re.compile(r"[a-z2-7]{26}\.example\.", re.ASCII)

Answer = Callable[[dns.message.Message], dns.message.Message]


class Way(Enum):
    """One way to answer a query."""

    HONEST = auto()
    WRONG_ID = auto()
    WRONG_QUESTION = auto()
    WRONG_PORT = auto()
    TRUNCATED = auto()  # TC=1 and no record over UDP, honest over TCP
    SILENT = auto()
    GARBAGE = auto()
    HALF = auto()
    TRAILING = auto()
    MALFORMED = auto()
    POINTER_LOOP = auto()
    HUGE = auto()
    SERVFAIL = auto()
    REFUSED = auto()
    NOTIMP = auto()
    FORMERR = auto()
    NO_EDNS = auto()  # NOTIMP to a query with OPT, honest to one without
    HEADER_ONLY = auto()  # FORMERR, no question
    OPT_ONLY = auto()  # FORMERR, an OPT and no question, to a query with OPT; honest to one without
    REFUSED_OPT_ONLY = auto()  # REFUSED, an OPT and no question
    LARGE = auto()  # more than our payload size, though it fits a datagram
    LOWER_CASE = auto()  # the question in lower case, over UDP
    SPELLED_OUT = auto()  # no compression: each owner in full
    GUESS = auto()  # a wrong id over UDP, nothing over TCP
    RESET = auto()  # half a reply by TCP, then a reset; nothing over UDP


Ways = tuple[Way, ...]
Peer = tuple[str, int]


def records(table: Mapping[tuple[str, str], Sequence[str]], *, ttl: int = 300) -> Answer:
    """Answers from `{(name, type): [rdata, ...]}`: else NXDOMAIN, or NODATA where it knows the name."""
    known = {(dns.name.from_text(name), dns.rdatatype.from_text(kind)): rdata for (name, kind), rdata in table.items()}
    names = {name for name, _ in known}

    def answer(query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query, recursion_available=True)
        name, kind = query.question[0].name, query.question[0].rdtype
        rdata = known.get((name, kind))
        if rdata:
            reply.answer.append(dns.rrset.from_text_list(name, ttl, "IN", kind, rdata))
        elif name not in names:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        if not rdata:
            soa = "ns.example. nobody.example. 1 3600 1200 604800 60"
            reply.authority.append(dns.rrset.from_text(dns.name.root, ttl, "IN", "SOA", soa))
        return reply

    return answer


class Upstream:
    """The running upstream: its port, what to do next, and what it has seen."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.otherwise: Ways = (Way.HONEST,)
        self.script: deque[Ways] = deque()
        self.port = 0
        self.exchanges: Counter[str] = Counter()
        self.queries: list[dns.message.Message] = []
        self.probes: list[str] = []
        self.sources: list[int] = []
        self.loss = 0.0
        self.delay_s = 0.0
        self.hold_streams = False
        self._random = random.Random(3)
        self._open = asyncio.Event()
        self._open.set()
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[None]] = set()
        self._sleeping: set[asyncio.Task[None]] = set()
        self._streams: set[asyncio.StreamWriter] = set()
        self._udp: asyncio.DatagramTransport | None = None
        self._elsewhere: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """Where it answers, as a configuration names it."""
        return f"{HOST}:{self.port}"

    def hold(self) -> None:
        """Keep every reply back from now on; from any thread."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def release(self) -> None:
        """Send what was kept back, and hold no more; from any thread."""
        self._loop.call_soon_threadsafe(self._open.set)

    def away(self) -> None:
        """Close the ports; from any thread but the loop's."""
        asyncio.run_coroutine_threadsafe(self.stop(), self._loop).result(10)

    def back(self) -> None:
        """Open the same ports again; from any thread but the loop's."""
        asyncio.run_coroutine_threadsafe(self.start(), self._loop).result(PORT_TAKEN_S + 10)

    def refuse_streams(self) -> None:
        """Listen no more for TCP; from any thread."""
        assert self._tcp
        self._loop.call_soon_threadsafe(self._tcp.close)

    async def start(self) -> None:
        """Take a port that is free for both transports, or the one that it had."""
        for _ in range(_PORTS_TRIED):
            udp = await self._endpoint_again() if self.port else await self._endpoint(self._on_datagram)
            port = udp.get_extra_info("sockname")[1]
            try:
                self._tcp = await asyncio.start_server(self._on_connection, HOST, port)
            except OSError:
                udp.close()
                continue
            self._udp, self.port = udp, port
            self._elsewhere = await self._endpoint(lambda data, peer: None)
            return
        raise OSError("no port is free for both transports")

    async def _endpoint_again(self) -> asyncio.DatagramTransport:
        """Open the port that it had. A socket of another service may have drawn it meanwhile, and keeps it a minute."""
        until = self._loop.time() + PORT_TAKEN_S
        while True:
            try:
                return await self._endpoint(self._on_datagram, self.port)
            except OSError:
                if self._loop.time() > until:
                    raise
            await asyncio.sleep(0.2)

    @property
    def connections(self) -> int:
        """The number of open TCP connections."""
        return len(self._streams)

    async def stop(self) -> None:
        """Close what is open and end what still waits."""
        if not (self._udp and self._elsewhere and self._tcp):
            return
        tcp, self._tcp = self._tcp, None
        self._udp.close()
        self._elsewhere.close()
        tcp.close()
        self._open.set()
        for writer in self._streams:
            writer.close()
        for task in self._sleeping:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await tcp.wait_closed()

    async def _endpoint(self, on_datagram: Callable[[bytes, Peer], None], port: int = 0) -> asyncio.DatagramTransport:
        protocol = type("Datagrams", (asyncio.DatagramProtocol,), {})()
        protocol.datagram_received = on_datagram
        transport, _ = await self._loop.create_datagram_endpoint(lambda: protocol, local_addr=(HOST, port))
        return transport

    def _on_datagram(self, data: bytes, peer: Peer) -> None:
        if self._is_lost():
            return
        task = self._loop.create_task(self._by_udp(data, peer))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _is_lost(self) -> bool:
        return self.loss > 0 and self._random.random() < self.loss

    async def _wait(self) -> None:
        await self._open.wait()
        if self.delay_s:
            task = asyncio.current_task()
            assert task
            self._sleeping.add(task)
            try:
                await asyncio.sleep(self.delay_s)
            finally:
                self._sleeping.discard(task)

    def _next(self, data: bytes, transport: str, peer: Peer) -> tuple[dns.message.Message, Ways]:
        query = dns.message.from_wire(data)
        if _PROBE.fullmatch(query.question[0].name.to_text()):
            self.probes.append(query.question[0].name.to_text())
            return query, self.otherwise
        self.exchanges[transport] += 1
        self.queries.append(query)
        self.sources.append(peer[1])
        return query, self.script.popleft() if self.script else self.otherwise

    async def _by_udp(self, data: bytes, peer: Peer) -> None:
        assert self._udp
        assert self._elsewhere
        query, ways = self._next(data, "udp", peer)
        await self._wait()
        for way in ways:
            wire = _made(query, self.answer(query), way, stream=False)
            socket = self._elsewhere if way is Way.WRONG_PORT else self._udp
            if wire and not socket.is_closing() and not self._is_lost():
                socket.sendto(wire, peer)

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._running.add(task)
        self._streams.add(writer)
        try:
            while await self._by_tcp(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The other side has what it wanted.
        finally:
            self._running.discard(task)
            self._streams.discard(writer)
            writer.close()

    async def _by_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one query of a stream; False where the connection ends with it."""
        size = int.from_bytes(await reader.readexactly(2), "big")
        query, ways = self._next(await reader.readexactly(size), "tcp", writer.get_extra_info("peername"))
        await self._wait()
        if self.hold_streams:
            await reader.read()
            return False
        for way in ways:
            wire = _made(query, self.answer(query), way, stream=True)
            if way is Way.RESET:
                writer.write(len(wire).to_bytes(2, "big") + wire[: len(wire) // 2])
                await writer.drain()
                writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                return False
            if way is Way.HALF:
                writer.write((2 * len(wire)).to_bytes(2, "big") + wire)
                await writer.drain()
                return False
            if wire:
                writer.write(len(wire).to_bytes(2, "big") + wire)
        await writer.drain()
        return True


_RCODES = {
    Way.SERVFAIL: dns.rcode.SERVFAIL,
    Way.REFUSED: dns.rcode.REFUSED,
    Way.NOTIMP: dns.rcode.NOTIMP,
    Way.FORMERR: dns.rcode.FORMERR,
}


def _made(query: dns.message.Message, reply: dns.message.Message, way: Way, *, stream: bool) -> bytes:
    """The bytes of a reply that goes this way; none for silence."""
    if way is Way.SILENT or (way in (Way.WRONG_PORT, Way.GUESS) and stream) or (way is Way.RESET and not stream):
        return b""
    if way is Way.TRUNCATED and not stream:
        reply.flags |= dns.flags.TC
        _empty(reply)
    if way in _RCODES or (way is Way.NO_EDNS and query.edns >= 0):
        _empty(reply)
        reply.set_rcode(_RCODES.get(way, dns.rcode.NOTIMP))
    if way is Way.NO_EDNS:
        reply.use_edns(False)
    if way is Way.WRONG_QUESTION:
        question = reply.question[0]
        name = dns.name.from_text("elsewhere.example")
        reply.question[0] = dns.rrset.RRset(name, question.rdclass, question.rdtype)
    if way in (Way.HUGE, Way.LARGE):
        _fill(reply, HUGE_OCTETS if way is Way.HUGE else LARGE_OCTETS)
    wire = _spelled_out(reply) if way is Way.SPELLED_OUT else reply.to_wire(max_size=65_535)
    size = len(reply.question[0].name.to_wire())
    if way is Way.LOWER_CASE and not stream:
        return wire[:12] + wire[12 : 12 + size].lower() + wire[12 + size :]
    return _damaged(wire, size, way, has_opt=query.edns >= 0)


def _empty(reply: dns.message.Message) -> None:
    for section in (reply.answer, reply.authority, reply.additional):
        section.clear()


def _spelled_out(reply: dns.message.Message) -> bytes:
    """The reply's question and ANSWER without compression."""
    wire = reply.question[0].name.to_wire() + struct.pack("!HH", reply.question[0].rdtype, 1)
    count = 0
    for rrset in reply.answer:
        for rdata in rrset:
            data = rdata.to_wire()
            wire += rrset.name.to_wire() + struct.pack("!HHIH", rrset.rdtype, 1, rrset.ttl, len(data)) + data
            count += 1
    return struct.pack("!HHHHHH", reply.id, reply.flags, 1, count, 0, 0) + wire


def _damaged(wire: bytes, name_octets: int, way: Way, *, has_opt: bool) -> bytes:
    if way in (Way.WRONG_ID, Way.GUESS):
        return bytes([wire[0] ^ 0x55]) + wire[1:]
    if way is Way.GARBAGE:
        return wire[:2] + bytes((number * 37 + 129) & 255 for number in range(200))
    if way is Way.HALF:
        return wire[: len(wire) // 2]
    if way is Way.REFUSED_OPT_ONLY or (way is Way.OPT_ONLY and has_opt):
        rcode = 5 if way is Way.REFUSED_OPT_ONLY else 1
        return wire[:3] + bytes([wire[3] & 0xF0 | rcode]) + bytes(7) + b"\1\0\0\x29\x04\xd0" + bytes(6)
    if way is Way.HEADER_ONLY:
        return wire[:3] + bytes([wire[3] & 0xF0 | 1]) + bytes(8)
    if way is Way.TRAILING:
        return wire + b"\xff" * 7
    if way is Way.MALFORMED:
        # One more address, of two octets, where a reply without OPT ends.
        end = 12 + name_octets + 4
        record = b"\xc0\x0c" + bytes([0, 1, 0, 1, 0, 0, 1, 44, 0, 2, 255, 255])
        return wire[:4] + bytes([0, 1, 0, 1, 0, 0, 0, 0]) + wire[12:end] + record
    if way is Way.POINTER_LOOP:
        end = 12 + name_octets + 4
        loop = (0xC000 | end).to_bytes(2, "big")
        header = wire[:4] + bytes([0, 1, 0, 1, 0, 0, 0, 0])
        return header + wire[12:end] + loop + bytes([0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 198, 51, 100, 9])
    return wire


def _fill(reply: dns.message.Message, octets: int) -> None:
    """Add records that nobody asked for until the reply has about so many octets."""
    reply.use_edns(False)
    name = reply.question[0].name
    room = octets - len(reply.to_wire(max_size=65_535))
    texts = [f'"{number:05d}{"x" * 240}"' for number in range(room // 260)]
    reply.additional.append(dns.rrset.from_text_list(name, 300, "IN", "TXT", texts))


@asynccontextmanager
async def serve(answer: Answer) -> AsyncIterator[Upstream]:
    """An upstream on the running loop."""
    upstream = Upstream(answer)
    await upstream.start()
    try:
        yield upstream
    finally:
        await upstream.stop()


@contextmanager
def in_thread(answer: Answer) -> Iterator[Upstream]:
    """An upstream on a loop of its own in a thread of its own."""
    with in_own_thread(serve(answer)) as upstream:
        yield upstream
