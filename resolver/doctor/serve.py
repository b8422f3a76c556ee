"""Serves the probe zone over UDP and TCP, for the resolver that is probed: `doctor --serve-zone`.

Rules:
- Names outside the zone are REFUSED; a reply over UDP has at most 1232 octets. A query gets one reply or none.
- Bounds: RATE replies a second over UDP (the rest is dropped: an address can be forged), CONNECTIONS connections of
  IDLE_S seconds, each with at most QUERIES queries.
- Nothing is logged: neither who asked nor what.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Any, Final, cast

from resolver.doctor import wire
from resolver.doctor.wire import Malformed, Message, Record
from resolver.doctor.zone import Answer, Zone

RATE: Final = 500
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
        self._second, self._count = -1, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self._clock = asyncio.get_running_loop().time

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        second = int(self._clock())
        self._second, self._count = second, self._count + 1 if second == self._second else 1
        if self._count > RATE:
            return
        reply = respond(self._zone, data, over_udp=True)
        if reply is not None:
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
