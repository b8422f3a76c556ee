"""Resolvers on loopback that the doctor's tests probe: one that enforces, with faults, and one that sends any octets.

`Enforcing` has the probe zone behind it and does what a resolver has to do; each fault is one that a product has.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from resolver.doctor import serve, wire
from resolver.doctor.ask import Asker, Endpoint
from resolver.doctor.probes import Examination
from resolver.doctor.wire import Message, Name, Record
from resolver.doctor.zone import Answer, Zone
from tests.journeys.running import free_ports

HOST = "127.0.0.1"
ENTRY = wire.name_of("listed.doctor.test")
PAGE4, PAGE6 = wire.address("192.0.2.1"), wire.address("2001:db8::1")
POLICY = wire.name_of("rpz.policy.test")
DESIGNATION = wire.name_of("_dns.resolver.arpa")
EDE_FORGED = (wire.EDE, b"\0\4")

Say = Callable[[bytes, bool], bytes | None]
"""What is sent back to these octets; whether they came by TCP."""


@contextmanager
def saying(say: Say) -> Iterator[Endpoint]:
    """A server on UDP and TCP at one port of loopback that sends back what `say` returns."""
    with socket.socket(type=socket.SOCK_STREAM) as streams, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        (port,) = free_ports(1)
        streams.bind((HOST, port))
        datagrams.bind((HOST, port))
        streams.listen()
        threads = [
            threading.Thread(target=one, args=(sock, say))
            for one, sock in ((_datagrams, datagrams), (_streams, streams))
        ]
        for one in threads:
            one.start()
        try:
            yield Endpoint(HOST, port)
        finally:
            with socket.socket(type=socket.SOCK_DGRAM) as end:
                end.sendto(b"", (HOST, port))
            streams.shutdown(socket.SHUT_RDWR)
            for one in threads:
                one.join()


def _datagrams(sock: socket.socket, say: Say) -> None:
    while True:
        octets, peer = sock.recvfrom(65_535)
        if not octets:
            return
        reply = say(octets, False)
        if reply is not None:
            sock.sendto(reply, peer)


def _streams(sock: socket.socket, say: Say) -> None:
    while True:
        try:
            one, _ = sock.accept()
        except OSError:
            return
        # The other side may leave early, as a client with a deadline does.
        with contextlib.suppress(OSError), one, one.makefile("rb") as stream:
            octets = stream.read(int.from_bytes(stream.read(2), "big"))
            reply = say(octets, True) if octets else None
            if reply is not None:
                one.sendall(len(reply).to_bytes(2, "big") + reply)


class Enforcing:
    """Answers as a resolver that enforces the entry, but for its faults."""

    def __init__(self, *faults: str, entry: Name = ENTRY) -> None:
        self.faults = set(faults)
        self.zone = Zone(entry)
        self.seen: set[tuple[Name, int]] = set()
        self.ttl = 60
        self.designated: list[Record] = []
        self.beside: list[Record] = []

    def __call__(self, octets: bytes, over_tcp: bool) -> bytes | None:
        query = wire.read(octets)
        name, kind, rdclass = query.question[0]
        plain = wire.lower(name)
        if rdclass != wire.IN:
            told = [Record(name, wire.TXT, wire.CHAOS, 0, wire.txt(b"9.9"))] if "version" in self.faults else []
            return made(query, Answer(wire.NOERROR if told else wire.REFUSED, answer=told))
        if wire.below(plain, POLICY):
            return made(query, self._of_policy(name, kind))
        if not query.flags & wire.RD and "rd0" not in self.faults:
            return made(query, Answer(wire.REFUSED))
        if plain == DESIGNATION:
            return made(query, Answer(answer=self.designated, additional=self.beside))
        if not self.zone.has(name):
            return made(query, Answer(wire.SERVFAIL))
        real = self.zone.answer(name, kind, do=query.do)
        kept, self.seen = (plain, kind) in self.seen, self.seen | {(plain, kind)}
        if self._passes(query, plain, kind, over_tcp=over_tcp, kept=kept):
            return made(query, real)
        if self._is_listed(plain, real):
            return made(query, self._blocked(name, kind), [] if "no-ede" in self.faults else [EDE_FORGED])
        if "additional" not in self.faults:
            real.additional = []
        if "strips" in self.faults:
            real.answer = [one for one in real.answer if one.kind != wire.RRSIG]
        return made(query, real)

    def _passes(self, query: Message, name: Name, kind: int, *, over_tcp: bool, kept: bool) -> bool:
        listed = wire.below(name, self.zone.entry)
        passing = {
            "aaaa": listed and kind == wire.AAAA,
            "other-types": listed and kind not in (wire.A, wire.AAAA),
            "child": listed and name != self.zone.entry,
            "case": query.question[0][0] != name and listed,
            "aliases": not listed,
            "warm": not listed and kept,
            "do": query.do and b"plain" not in name,
            "cd": bool(query.flags & wire.CD),
            "rd0": not query.flags & wire.RD,
            "tcp": over_tcp,
            "no-edns": query.payload is None,
            "everything": True,
        }
        return any(passing.get(one, False) for one in self.faults)

    def _is_listed(self, name: Name, real: Answer) -> bool:
        if "too-wide" in self.faults and wire.below(name, self.zone.apex) and name[0] != b"good":
            return True
        owners = [wire.lower(one.name) for one in real.answer]
        targets = b"".join(one.data for one in real.answer if one.kind not in (wire.RRSIG, wire.MX))
        below = any(wire.below(one, self.zone.entry) for one in (name, *owners))
        return below or wire.wire_of(self.zone.entry) in targets

    def _blocked(self, name: Name, kind: int) -> Answer:
        if "counts-down" in self.faults:
            self.ttl = max(self.ttl - 1, 1)
        page4 = wire.address("192.0.2.77") if "other-page" in self.faults else PAGE4
        data = {wire.A: page4, wire.AAAA: PAGE6}.get(kind)
        ttl = 86_400 if "long-ttl" in self.faults else self.ttl
        found = Answer(answer=[Record(name, kind, wire.IN, ttl, data)] if data else [])
        soa = Record(name, wire.SOA, wire.IN, ttl, b"\0\0" + bytes(16) + ttl.to_bytes(4, "big"))
        if not data:
            found.authority = [soa]
        if "soa" in self.faults:
            found.additional = [Record(POLICY, wire.SOA, wire.IN, ttl, soa.data)]
        return found

    def _of_policy(self, name: Name, kind: int) -> Answer:
        soa = Record(POLICY, wire.SOA, wire.IN, 60, b"\0\0" + bytes(20))
        if kind in (wire.AXFR, wire.IXFR) and "transfer" in self.faults:
            return Answer(answer=[soa, Record((b"x", *POLICY), wire.A, wire.IN, 60, PAGE4), soa])
        return Answer(answer=[soa]) if kind == wire.SOA and "readable" in self.faults else Answer(wire.REFUSED)


def made(query: Message, said: Answer, options: list[tuple[int, bytes]] | None = None) -> bytes:
    """The octets of a reply."""
    edns = wire.opt(do=query.do, options=options or []) if query.payload is not None else b""
    sections = (said.answer, said.authority, said.additional)
    counts = [1, *map(len, sections)]
    counts[3] += bool(edns)
    flags = wire.QR | wire.RA | query.flags & wire.RD | said.rcode
    name, kind, rdclass = query.question[0]
    asked = wire.wire_of(name) + kind.to_bytes(2, "big") + rdclass.to_bytes(2, "big")
    head = query.id.to_bytes(2, "big") + flags.to_bytes(2, "big") + b"".join(one.to_bytes(2, "big") for one in counts)
    return head + asked + b"".join(wire.octets_of(one) for section in sections for one in section) + edns


def responder(zone: Zone) -> Say:
    """The probe zone's own responder."""
    return lambda octets, over_tcp: serve.respond(zone, octets, over_udp=not over_tcp)


def examination(place: Endpoint, **more: object) -> Examination:
    """An examination that waits for nothing."""
    nobody = Endpoint(HOST, 1)
    asker = Asker(place, dot=nobody, doh=nobody, wait_s=2.0)
    return Examination(asker=asker, entry=ENTRY, pause=lambda seconds: None, **more)  # type: ignore[arg-type]  # as given
