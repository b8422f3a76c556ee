"""The primary of the exported zones: SOA, AXFR, IXFR and NOTIFY with TSIG, over UDP, TCP and TLS.

Rules:
- Only a listed address is heard: over UDP others get no answer, over TCP their connection is closed before an octet is
  read. Then the query must be signed with a key of that very zone (RFC 8945). Over TLS the client has a certificate.
- Answered are SOA, AXFR and IXFR of a zone at its name; all else is REFUSED, and no name is ever looked up.
- Over UDP nothing larger than an SOA is sent: IXFR gets the SOA alone, and the secondary comes by TCP (RFC 1995 2).
- A secondary has a bounded number of connections and of whole transfers, and each connection its times.
- NOTIFY goes to each address of `notify` with a new serial, again until it is confirmed or a newer one replaces it
  (RFC 1996 3.6). It is signed with the key that this address has asked with last; until it has asked, or if it answers
  that this is not its key, with one key of the zone after the other.
- No log line holds a name or an address: what was refused is counted.
"""

import asyncio
import ipaddress
import logging
import secrets
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
from dns.rdtypes.ANY.TSIG import TSIG

from resolver.feed.names.export_zone import TYPE_AXFR, TYPE_IXFR, TYPE_SOA, Zone

MOST_CONNECTIONS: Final = 64
MOST_OF_AN_ADDRESS: Final = 8
MOST_WHOLE: Final = 6
"""Whole transfers of a zone that an address gets within WHOLE_S; one that has lost its copy needs one."""
WHOLE_S: Final = 60.0
IDLE_S: Final = 30.0
SEND_S: Final = 60.0
TRANSFER_S: Final = 900.0
"""A transfer that takes longer ends: while it lasts, the version that it began with stays in memory."""
HANDSHAKE_S: Final = 10.0
MAX_QUERY_OCTETS: Final = 4096
NOTIFY_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
_HEADER_OCTETS: Final = 12
_NOT_ITS_KEY: Final = (dns.rcode.REFUSED, dns.rcode.NOTAUTH)
"""What a secondary answers to a NOTIFY with a key that it does not take (RFC 8945 5.2)."""
_FUDGE_S: Final = 300
_NOT_VERIFIED: Final = (
    dns.tsig.BadTime,
    dns.tsig.BadSignature,
    dns.tsig.BadKey,
    dns.tsig.BadAlgorithm,
    dns.tsig.PeerError,
    dns.message.UnknownTSIGKey,
)

_log: Final = logging.getLogger("resolver.export")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Served:
    """A zone with those who may transfer it, and which serial each address has transferred."""

    def __init__(
        self, zone: Zone, keys: Sequence[dns.tsig.Key], secondaries: Iterable[str], notify: Iterable[tuple[str, int]]
    ) -> None:
        self.zone = zone
        self.keys = {key.name: key for key in keys}
        self.notify = tuple(notify)
        self.has: dict[str, int] = {}
        self.key_of: dict[str, dns.tsig.Key] = {}
        self._secondaries = tuple(map(ipaddress.ip_network, secondaries))
        self._whole: dict[str, list[float]] = {}

    def keys_for(self, address: str) -> list[dns.tsig.Key]:
        """Return the keys of the zone, first the one that this address has asked with last."""
        last = self.key_of.get(address)
        return [*([] if last is None else [last]), *(one for one in self.keys.values() if one != last)]

    def allows(self, address: str) -> bool:
        """Return whether this address may ask for the zone."""
        return _is_in(address, self._secondaries)

    def gives_whole(self, address: str, now: float) -> bool:
        """Return whether an address gets a whole transfer now, and count it. now: of a monotonic clock."""
        recent = [at for at in self._whole.get(address, ()) if now - at < WHOLE_S]
        if len(recent) < MOST_WHOLE:
            recent.append(now)
            self._whole[address] = recent
            return True
        return False

    def behind(self) -> int:
        """Return how many addresses of `notify` have not transferred this serial."""
        return sum(self.has.get(host) != self.zone.serial for host, _ in self.notify)


def _is_in(address: str, networks: Iterable[Network]) -> bool:
    one = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(one, ipaddress.IPv6Address) and one.ipv4_mapped:
        one = one.ipv4_mapped
    return any(one in network for network in networks)


class Signed:
    """A query that has verified, and what its answers are signed with."""

    def __init__(self, message: Any, key: dns.tsig.Key) -> None:
        self.message = message
        self._key = key
        self._mac = message.mac
        self._context: Any = None

    def sign(self, wire: bytes, *, multi: bool = False) -> bytes:
        """Return an answer with its TSIG record (RFC 8945 5.3); multi: of several messages."""
        now, key = int(time.time()), self._key
        sign: Any = dns.tsig.sign
        record, self._context = sign(wire, key, _tsig(key, self.message.id), now, self._mac, self._context, multi)
        return _with_record(wire, key.name, record.to_wire())


def _tsig(key: dns.tsig.Key, query_id: int, mac: bytes = b"", error: int = 0) -> Any:
    record: Any = TSIG
    return record(
        dns.rdataclass.ANY, dns.rdatatype.TSIG, key.algorithm, int(time.time()), _FUDGE_S, mac, query_id, error, b""
    )


def _with_record(wire: bytes, owner: dns.name.Name, data: bytes) -> bytes:
    """Append a TSIG record to a message."""
    (count,) = struct.unpack_from("!H", wire, 10)
    head = struct.pack("!HHIH", dns.rdatatype.TSIG, dns.rdataclass.ANY, 0, len(data))
    return b"".join((wire[:10], struct.pack("!H", count + 1), wire[12:], owner.to_digestable(), head, data))


def brief(query: bytes, rcode: int) -> bytes:
    """Return an unsigned answer of a header, a response code and the question; b"" for what is no query."""
    if len(query) < _HEADER_OCTETS or query[2] & 0x80:
        return b""
    question = _question_of(query)
    return query[:2] + bytes([0x80 | query[2] & 0x79, rcode, 0, bool(question)]) + bytes(6) + question


def _question_of(query: bytes) -> bytes:
    """Return the octets of the one question of a query; b"" if it has another number, or a compressed name."""
    at = _HEADER_OCTETS
    if query[4:6] != b"\0\1":
        return b""
    while at < len(query) and 0 < query[at] < 64:
        at += query[at] + 1
    end = at + 5
    return query[_HEADER_OCTETS:end] if end <= len(query) and query[at] == 0 else b""


class Primary:
    """The zones, and the sockets at which they are transferred.

    refused, whole, differences: how many queries or connections were refused, and transfers given, by kind.
    """

    def __init__(self, served: Mapping[str, Served]) -> None:
        self.served = served
        self._by_name = {dns.name.from_text(name): one for name, one in served.items()}
        self._open: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._notices: dict[tuple[str, str, int], asyncio.Task[None]] = {}
        self._sockets: list[socket.socket] = []
        self.refused = 0
        self.whole = 0
        self.differences = 0

    # The sockets.

    def listen(
        self, plain: Sequence[tuple[str, int]], over_tls: Sequence[tuple[str, int]], context: ssl.SSLContext | None
    ) -> None:
        """Listen on these addresses; OSError if that fails. context: for `over_tls`."""
        loop = asyncio.get_running_loop()
        for address in plain:
            datagrams = _bound(address, socket.SOCK_DGRAM)
            self._sockets.append(datagrams)
            loop.add_reader(datagrams, self._datagram, datagrams)
            self._accept_on(_bound(address, socket.SOCK_STREAM), None)
        for address in over_tls:
            self._accept_on(_bound(address, socket.SOCK_STREAM), context)

    def _accept_on(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        listening.listen(MOST_CONNECTIONS)
        self._sockets.append(listening)
        self._start(self._accept(listening, context))

    def _start(self, work: Any) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Close the sockets and end what runs."""
        for one in self._sockets:
            if one.type == socket.SOCK_DGRAM:
                asyncio.get_running_loop().remove_reader(one)
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in self._sockets:
            one.close()

    async def _accept(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, address = await loop.sock_accept(listening)
            except OSError:
                await asyncio.sleep(1.0)  # No files are left, or the client has gone: the next one may come.
                continue
            host = address[0]
            known = any(one.allows(host) for one in self.served.values())
            if not known or self._open[host] >= MOST_OF_AN_ADDRESS or self._open.total() >= MOST_CONNECTIONS:
                self.refused += 1
                client.close()
                continue
            self._open[host] += 1
            self._start(self._connection(client, host, context)).add_done_callback(partial(self._end, host))

    def _end(self, host: str, _task: object) -> None:
        self._open[host] -= 1
        if self._open[host] <= 0:
            del self._open[host]

    async def _connection(self, client: socket.socket, host: str, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        try:
            transport, protocol = await loop.connect_accepted_socket(
                lambda: asyncio.StreamReaderProtocol(reader),
                client,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_S if context else None,
            )
        except (OSError, ssl.SSLError, TimeoutError):
            self.refused += 1
            client.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            while True:
                async with asyncio.timeout(IDLE_S):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    if size > MAX_QUERY_OCTETS:
                        break
                    query = await reader.readexactly(size)
                async with asyncio.timeout(TRANSFER_S):
                    for one in self.answers(query, host, stream=True):
                        writer.write(len(one).to_bytes(2, "big") + one)
                        async with asyncio.timeout(SEND_S):
                            await writer.drain()
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError, TimeoutError):
            pass  # The secondary has left, or is too slow: it comes again.
        finally:
            transport.abort() if transport.get_write_buffer_size() else writer.close()

    def _datagram(self, datagrams: socket.socket) -> None:
        for _ in range(64):
            try:
                query, address = datagrams.recvfrom(MAX_QUERY_OCTETS)
            except OSError:
                return
            if not any(one.allows(address[0]) for one in self.served.values()):
                self.refused += 1
                continue
            for one in self.answers(query, address[0], stream=False):
                with suppress(OSError):
                    datagrams.sendto(one, address)

    # Queries.

    def answers(self, query: bytes, host: str, *, stream: bool) -> Iterable[bytes]:
        """Return the messages that answer a query of a listed address; none for what is no query."""
        try:
            message: Any = dns.message.from_wire(query, keyring=self._key_for, ignore_trailing=False)
        except _NOT_VERIFIED:
            return self._no(query, dns.rcode.NOTAUTH)
        except (dns.exception.DNSException, ValueError, NotImplementedError):
            return self._no(query, dns.rcode.FORMERR)
        if message.flags & dns.flags.QR:
            return ()
        if message.opcode() != dns.opcode.QUERY:
            return self._no(query, dns.rcode.NOTIMP)
        if not message.had_tsig or len(message.question) != 1:
            return self._no(query, dns.rcode.REFUSED)
        question = message.question[0]
        served, key = self._by_name.get(question.name), message.keyring
        if served is None or question.rdclass != dns.rdataclass.IN or served.keys.get(key.name) != key:
            return self._no(query, dns.rcode.REFUSED)
        if not served.allows(host) or question.rdtype not in (TYPE_SOA, TYPE_AXFR, TYPE_IXFR):
            return self._no(query, dns.rcode.REFUSED)
        if any(host == one for one, _ in served.notify):
            served.key_of[host] = key
        return self._transfer(Signed(message, key), served, host, int(question.rdtype), stream=stream)

    def _key_for(self, message: Any, name: dns.name.Name) -> dns.tsig.Key | None:
        served = self._by_name.get(message.question[0].name) if message.question else None
        return served.keys.get(name) if served is not None else None

    def _no(self, query: bytes, rcode: int) -> Iterable[bytes]:
        self.refused += 1
        return [one] if (one := brief(query, rcode)) else []

    def _transfer(self, asked: Signed, served: Served, host: str, kind: int, *, stream: bool) -> Iterable[bytes]:
        zone = served.zone
        if not zone.loaded:
            return self._signed_no(asked, zone, kind, dns.rcode.SERVFAIL)
        if kind == TYPE_SOA or (kind == TYPE_IXFR and not stream):
            return self._one(asked, zone, kind)
        if kind == TYPE_AXFR and not stream:
            return self._signed_no(asked, zone, kind, dns.rcode.REFUSED)
        records, changes = None, None
        if kind == TYPE_IXFR:
            has = _serial_in(asked.message)
            changes = None if has is None else zone.changes_since(has)
            if changes == []:
                served.has[host] = zone.serial
                return self._one(asked, zone, kind)
            if changes and not zone.is_smaller(changes):
                records = zone.difference(changes)
                self.differences += 1
        if records is None:
            # One that has followed until now, and gets the whole zone because that is smaller, is no flood.
            if not changes and not served.gives_whole(host, time.monotonic()):
                return self._signed_no(asked, zone, kind, dns.rcode.REFUSED)
            records = zone.whole()
            self.whole += 1
        return self._signed(asked, served, host, zone.messages(asked.message.id, kind, records), zone.serial)

    def _one(self, asked: Signed, zone: Zone, kind: int) -> Iterable[bytes]:
        return [asked.sign(one) for one in zone.messages(asked.message.id, kind, [zone.soa()])]

    def _signed(
        self, asked: Signed, served: Served, host: str, messages: Iterable[bytes], serial: int
    ) -> Iterable[bytes]:
        for one in messages:
            yield asked.sign(one, multi=True)
        served.has[host] = serial

    def _signed_no(self, asked: Signed, zone: Zone, kind: int, rcode: int) -> Iterable[bytes]:
        self.refused += 1
        head = struct.pack("!HHHHHH", asked.message.id, 0x8000 | rcode, 1, 0, 0, 0)
        return [asked.sign(head + zone.name + struct.pack("!HH", kind, 1))]

    # NOTIFY.

    def notify(self, name: str) -> None:
        """Send the zone's secondaries a NOTIFY of its serial, in place of an earlier one."""
        served = self.served[name]
        for host, port in served.notify:
            old = self._notices.pop((name, host, port), None)
            if old is not None:
                old.cancel()
            self._notices[name, host, port] = self._start(self._tell(served, host, port))

    async def confirmed(self) -> None:
        """Wait until every NOTIFY is confirmed or given up."""
        await asyncio.gather(*self._notices.values(), return_exceptions=True)

    async def _tell(self, served: Served, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        keys = served.keys_for(host)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.setblocking(False)
            for turn in range(max(len(NOTIFY_PAUSES_S), len(keys))):
                pause = NOTIFY_PAUSES_S[min(turn, len(NOTIFY_PAUSES_S) - 1)]
                packet, query_id = notice(served.zone, keys[turn % len(keys)])
                try:
                    await loop.sock_connect(one, (host, port))
                    await loop.sock_sendall(one, packet)
                    async with asyncio.timeout(pause):
                        said = await _confirmation(one, query_id)
                except TimeoutError:
                    continue
                except OSError:
                    await asyncio.sleep(pause)  # It does not listen now.
                    continue
                if len(keys) == 1 or said[3] & 15 not in _NOT_ITS_KEY:
                    return


async def _confirmation(one: socket.socket, query_id: bytes) -> bytes:
    """Return the response to a NOTIFY, once it comes."""
    while True:
        said = await asyncio.get_running_loop().sock_recv(one, MAX_QUERY_OCTETS)
        if said[:2] == query_id and len(said) >= _HEADER_OCTETS and said[2] & 0xF8 == 0xA0:
            return said


def notice(zone: Zone, key: dns.tsig.Key) -> tuple[bytes, bytes]:
    """Return a signed NOTIFY with the zone's SOA, and its id (RFC 1996 3.7)."""
    number = secrets.randbits(16)
    head = struct.pack("!HHHHHH", number, 0x2400, 1, 1, 0, 0)
    wire = head + zone.name + struct.pack("!HH", TYPE_SOA, 1) + zone.soa()
    sign: Any = dns.tsig.sign
    record, _ = sign(wire, key, _tsig(key, number), int(time.time()), b"", None, False)
    return _with_record(wire, key.name, record.to_wire()), number.to_bytes(2, "big")


def _serial_in(message: Any) -> int | None:
    """Return the serial that the client of an IXFR has; None if it states none."""
    for one in message.authority:
        if one.rdtype == dns.rdatatype.SOA:
            return int(one[0].serial)
    return None


def _bound(address: tuple[str, int], kind: socket.SocketKind) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, kind)
    try:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if one.family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


def context_of(certificate: str, key: str, ca: str) -> ssl.SSLContext:
    """Return the context of a server that requires the client's certificate (RFC 9103 9.3.2); OSError, ssl.SSLError."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.minimum_version = ssl.TLSVersion.TLSv1_3
    found.verify_mode = ssl.CERT_REQUIRED
    found.load_cert_chain(certificate, key)
    found.load_verify_locations(ca)
    found.set_alpn_protocols(["dot"])
    return found
