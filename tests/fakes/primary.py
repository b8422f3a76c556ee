"""A scripted primary of one zone: it answers SOA, AXFR and IXFR over TCP, signed, and sends what a test tells it to."""

import itertools
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import dns.tsig

ZONE = "rpz.example."
SECRET = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I="
KEY = dns.tsig.Key(dns.name.from_text("feed.example."), SECRET, "hmac-sha256")
OTHER = dns.tsig.Key(dns.name.from_text("feed.example."), "b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3Q=", "hmac-sha256")

Record = tuple[str, str, str]
"""Owner relative to the zone, type, data."""


def key_file(folder: Path, name: str = "feed.example", secret: str = SECRET, algorithm: str = "hmac-sha256") -> Path:
    """A key file as tsig-keygen writes it."""
    path = folder / f"{name}.key"
    path.write_text(f'key "{name}" {{\n\talgorithm {algorithm};\n\tsecret "{secret}";\n}};\n')
    return path


def soa(serial: int) -> Record:
    """The zone's SOA."""
    return "@", "SOA", f"ns.example. mail.example. {serial} 3600 600 86400 60"


def message(records: Sequence[Record], query_id: int = 0, question: str = "", zone: str = ZONE) -> dns.message.Message:
    """An answer with these records, each in a set of its own, so that their order and number stay."""
    made = dns.message.Message(id=query_id)
    made.flags = 0x8400
    origin = dns.name.from_text(zone)
    if question:
        made.question.append(dns.rrset.RRset(origin, 1, dns.rdatatype.from_text(question)))
    for owner, kind, data in records:
        made.answer.append(dns.rrset.from_text(dns.name.from_text(owner, origin), 60, "IN", kind, data))
    return made


def signed(
    query: dns.message.Message,
    batches: Sequence[Sequence[Record]],
    *,
    key: dns.tsig.Key = KEY,
    every: int = 1,
    last: bool = True,
) -> Iterator[bytes]:
    """A transfer's messages, the first, each `every`-th and (where `last`) the last one signed."""
    context, kind = None, dns.rdatatype.to_text(query.question[0].rdtype)
    for number, records in enumerate(batches):
        one = message(records, query.id, kind if number == 0 else "")
        if number % every == 0 or (last and number == len(batches) - 1):
            one.use_tsig(key)
            one.request_mac = query.mac or b""
            yield one.to_wire(max_size=65535, multi=True, tsig_ctx=context)
            context = one.tsig_ctx
        else:
            wire = one.to_wire(max_size=65535)
            context.update(wire)
            yield wire


def cut(records: Sequence[Record], size: int) -> list[list[Record]]:
    """Records in messages of `size` each."""
    return [list(records[at : at + size]) for at in range(0, len(records), size)]


Script = Callable[[dns.message.Message], Iterator[bytes]]


@dataclass
class Primary:
    """What it serves: its serial, its records between the two SOA; `script` answers AXFR instead of them, `difference`
    IXFR. It knows the zones it has served since `publish` was called first, and has no difference to any other."""

    serial: int = 1
    records: list[Record] = field(default_factory=list)
    key: dns.tsig.Key = field(default_factory=lambda: KEY)
    script: Script | None = None
    difference: Script | None = None
    before: list[tuple[int, list[Record]]] = field(default_factory=list)
    rcode: int = dns.rcode.NOERROR
    sign_soa: bool = True
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """Where it is, as a configuration names it."""
        return f"dns://127.0.0.1:{self.port}/{ZONE.rstrip('.')}"

    def whole(self, size: int = 100) -> list[list[Record]]:
        """The zone in messages of `size` records."""
        return cut([soa(self.serial), *self.records, soa(self.serial)], size)

    def publish(self, serial: int, records: Sequence[Record]) -> None:
        """Serve these records under a new serial, and know what has changed."""
        self.before.append((self.serial, self.records))
        self.serial, self.records = serial, list(records)

    def changes(self, since: int, size: int = 100) -> list[list[Record]]:
        """What has changed since a serial, a difference for each serial; the whole zone where that is not known."""
        if since == self.serial:
            return [[soa(since)]]
        steps = [*self.before, (self.serial, self.records)]
        at = next((number for number, (serial, _) in enumerate(steps) if serial == since), None)
        if at is None:
            return self.whole(size)
        sent = [soa(self.serial)]
        for (old, gone), (new, come) in itertools.pairwise(steps[at:]):
            sent += [soa(old), *(one for one in gone if one not in come)]
            sent += [soa(new), *(one for one in come if one not in gone)]
        return cut([*sent, soa(self.serial)], size)

    def answer(self, wire: bytes) -> Iterator[bytes]:
        """The messages that answer a query."""
        query = dns.message.from_wire(wire, keyring={self.key.name: self.key, KEY.name: KEY})
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        self.asked.append(kind)
        if kind == "SOA" or self.rcode:
            one = message([] if self.rcode else [soa(self.serial)], query.id, kind)
            one.set_rcode(self.rcode)
            if self.sign_soa:
                one.use_tsig(self.key)
                one.request_mac = query.mac or b""
            yield one.to_wire()
        elif kind == "IXFR":
            since = query.authority[0][0].serial
            yield from self.difference(query) if self.difference else signed(query, self.changes(since), key=self.key)
        else:
            yield from self.script(query) if self.script else signed(query, self.whole(), key=self.key)

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                one, _ = listening.accept()
            except OSError:
                return
            with one, one.makefile("rb") as stream:
                one.settimeout(10)
                try:
                    while size := stream.read(2):
                        for sent in self.answer(stream.read(int.from_bytes(size, "big"))):
                            one.sendall(len(sent).to_bytes(2, "big") + sent if sent else b"")
                            if not sent:
                                break
                        else:
                            continue
                        break
                except (OSError, dns.exception.DNSException):
                    continue

    @contextmanager
    def serving(self) -> Iterator["Primary"]:
        """Serve on loopback until the end of the block; a script's empty message ends the connection."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = listening.getsockname()[1]
            thread = threading.Thread(target=self._serve, args=(listening,))
            thread.start()
            try:
                yield self
            finally:
                listening.shutdown(socket.SHUT_RDWR)
                thread.join(20)
