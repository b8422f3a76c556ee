"""Serves the probe zone over UDP and TCP, for the resolver that is probed: `doctor --serve-zone`.

Rules:
- Names outside the zone are REFUSED; a reply over UDP has at most 1232 octets. A query gets one reply or none.
- An address over UDP can be forged, and a reply may have 20 times the octets of its query. So the clients of a prefix
  (/24, /56) get WHOLE replies a second that are longer than their queries; then TC=1 without data, no longer than the
  query, which sends a resolver to TCP. All get RATE replies a second; the rest is dropped.
- TCP: CONNECTIONS connections of IDLE_S seconds, each with at most QUERIES queries.
- Nothing is logged: neither who asked nor what.
"""

import asyncio
import contextlib
import ipaddress
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, cast

from resolver.doctor import wire
from resolver.doctor.wire import Malformed, Message, Record
from resolver.doctor.zone import Answer, Zone

RATE: Final = 500
WHOLE: Final = 25
CONNECTIONS: Final = 64
QUERIES: Final = 256
IDLE_S: Final = 10.0
_LEAST, _MOST_TCP = 512, 65_535


def respond(zone: Zone, octets: bytes, *, over_udp: bool) -> bytes | None:
    """Return the reply to a query; None to what is no query."""
    if len(octets) < 12 or octets[2] & 0x80:
        return None
    try:
        query = wire.read(octets)
    except Malformed:
        return octets[:2] + _flags(octets[2], wire.FORMERR) + bytes(8)
    said = _said(zone, query)
    return _written(query, said, octets[2], _room(query) if over_udp else _MOST_TCP)


def cut(octets: bytes) -> bytes:
    """Return TC=1 without data in answer to a query that is read: no longer than the query."""
    query = wire.read(octets)
    made = _message(query, _flags(octets[2], wire.NOERROR, wire.TC), ([], [], []))
    # A name that the query has compressed is longer here: then the header alone.
    return made if len(made) <= len(octets) else made[:4] + bytes(8)


class Limit:
    """Counts the replies of one second, all and those of each prefix. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = -1
        self._count = 0
        self._whole: Counter[str] = Counter()

    def takes(self) -> bool:
        """Return whether one more reply is given in this second, and count it."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._count = second, 0
            self._whole.clear()
        self._count += 1
        return self._count <= RATE

    def gives_whole(self, host: str) -> bool:
        """Return whether an address gets one more whole reply in this second, and count it."""
        prefix = _prefix(host)
        self._whole[prefix] += 1
        return self._whole[prefix] <= WHOLE


def _prefix(host: str) -> str:
    address = ipaddress.ip_address(host.partition("%")[0])
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 56), strict=False))


def _said(zone: Zone, query: Message) -> Answer:
    if query.flags & 0x7800 or len(query.question) != 1:
        return Answer(wire.NOTIMP if query.flags & 0x7800 else wire.FORMERR)
    name, kind, rdclass = query.question[0]
    if rdclass != wire.IN or kind in (wire.AXFR, wire.IXFR) or not zone.has(name):
        return Answer(wire.REFUSED)
    return zone.answer(name, kind, do=query.do)


def _flags(first: int, rcode: int, more: int = 0) -> bytes:
    """Return the flags of a reply: opcode and RD of the query's first octet of them."""
    return ((first << 8 & 0x7900) | wire.QR | more | rcode).to_bytes(2, "big")


def _room(query: Message) -> int:
    return min(max(query.payload or _LEAST, _LEAST), wire.PAYLOAD)


def _written(query: Message, said: Answer, first: int, room: int) -> bytes:
    """Return the octets of a reply: ADDITIONAL goes first if there is no room, then all with TC=1."""
    owned = wire.AA if said.rcode != wire.REFUSED else 0
    for sections, flags in (
        ((said.answer, said.authority, said.additional), owned),
        ((said.answer, said.authority, []), owned),
    ):
        made = _message(query, _flags(first, said.rcode, flags), sections)
        if len(made) <= room:
            return made
    return _message(query, _flags(first, said.rcode, owned | wire.TC), ([], [], []))


def _message(query: Message, flags: bytes, sections: tuple[list[Record], list[Record], list[Record]]) -> bytes:
    edns = wire.opt(do=query.do) if query.payload is not None else b""
    counts = [len(query.question), *map(len, sections)]
    counts[3] += bool(edns)
    head = query.id.to_bytes(2, "big") + flags + b"".join(one.to_bytes(2, "big") for one in counts)
    asked = b"".join(
        wire.wire_of(name) + kind.to_bytes(2, "big") + rdclass.to_bytes(2, "big")
        for name, kind, rdclass in query.question
    )
    return head + asked + b"".join(wire.octets_of(one) for section in sections for one in section) + edns


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self._limit = Limit(asyncio.get_running_loop().time)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        if not self._limit.takes():
            return
        reply = respond(self._zone, data, over_udp=True)
        if reply is None:
            return
        if len(reply) > len(data) and not self._limit.gives_whole(addr[0]):
            reply = cut(data)
        self._transport.sendto(reply, addr)


class _Streams:
    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._open = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            with contextlib.suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
                if self._open <= CONNECTIONS:
                    await self._converse(reader, writer)
        finally:
            self._open -= 1
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(QUERIES):
            async with asyncio.timeout(IDLE_S):
                octets = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                reply = respond(self._zone, octets, over_udp=False)
                if reply is None:
                    return
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await writer.drain()


async def serve(zone: Zone, host: str, port: int, started: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; call `started` when both sockets are bound. OSError if they cannot be."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, ended.set)
    datagrams, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(zone), local_addr=(host, port))
    try:
        streams = await asyncio.start_server(_Streams(zone).take, host, port, backlog=CONNECTIONS)
        try:
            started()
            await ended.wait()
        finally:
            streams.close()  # It does not wait for connections: the end of the loop ends them.
    finally:
        datagrams.close()
