"""Writes DNS messages and reads those that strangers send, with the standard library alone (RFC 1035 4, RFC 6891).

Rules:
- A name is a tuple of labels, octets as they came, without the root's; names are compared by `lower`.
- `read` reads a message to its end or raises Malformed, whatever the octets are: no other error, no endless pointer.
- Its work has a bound: MAX_STEPS labels and MAX_RECORDS records a message.
- Names within the data of the types of RFC 3597 4 are written out, since the data stand alone afterwards.
"""

import ipaddress
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

Name = tuple[bytes, ...]
"""The labels of a name, most specific first; the root is ()."""

MAX_RECORDS: Final = 4096
MAX_STEPS: Final = 32_768
_MAX_LABEL, _MAX_NAME = 63, 255

IN: Final = 1
CHAOS: Final = 3
ANY_CLASS: Final = 255

TYPES: Final = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "HINFO": 13, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "DNAME": 39,
    "OPT": 41, "DS": 43, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "SVCB": 64, "HTTPS": 65, "IXFR": 251, "AXFR": 252,
    "ANY": 255, "TYPE65280": 65280,
}  # fmt: skip
A, NS, CNAME, SOA = (TYPES[one] for one in ["A", "NS", "CNAME", "SOA"])
HINFO, MX, TXT, AAAA = (TYPES[one] for one in ["HINFO", "MX", "TXT", "AAAA"])
SRV, DNAME, OPT, DS, RRSIG, NSEC = (TYPES[one] for one in ["SRV", "DNAME", "OPT", "DS", "RRSIG", "NSEC"])
DNSKEY, SVCB, HTTPS, IXFR, AXFR, ANY = (TYPES[one] for one in ["DNSKEY", "SVCB", "HTTPS", "IXFR", "AXFR", "ANY"])
NXNAME: Final = 128
"""RFC 9824: a name that does not exist, in the bitmap of its NSEC."""

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
RCODES: Final = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 9: "NOTAUTH"}

QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
DO: Final = 0x8000
EDE: Final = 15
"""RFC 8914: the option that says why."""
PAYLOAD: Final = 1232

_NAMES_BEFORE: Final = {NS: 0, CNAME: 0, DNAME: 0, 12: 0, MX: 2, SRV: 6}
"""Types whose data end with a name, and how many octets stand before it."""


class Malformed(ValueError):
    """Raised for octets that are not a DNS message, or a name that cannot be one."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record; names in `data` are written out."""

    name: Name
    kind: int
    rdclass: int
    ttl: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was read to its end; `rcode` has the upper bits of its OPT record."""

    id: int
    flags: int
    rcode: int
    question: tuple[tuple[Name, int, int], ...]
    answer: tuple[Record, ...]
    authority: tuple[Record, ...]
    additional: tuple[Record, ...]
    options: tuple[tuple[int, bytes], ...]
    payload: int | None
    """The OPT record's size; None without one."""
    do: bool

    @property
    def records(self) -> tuple[Record, ...]:
        """All records but OPT."""
        return self.answer + self.authority + self.additional


def name_of(text: str) -> Name:
    """Return the labels of a name in ASCII without escapes; Malformed if it cannot be a domain name."""
    body = text.removesuffix(".")
    try:
        labels = tuple(body.encode("ascii").split(b".")) if body else ()
    except UnicodeEncodeError:
        raise Malformed("an internationalized name is written as xn--") from None
    if any(not 0 < len(one) <= _MAX_LABEL for one in labels) or len(wire_of(labels)) > _MAX_NAME:
        raise Malformed("not a domain name")
    if any(octet <= 0x20 or octet >= 0x7F or octet == 0x5C for one in labels for octet in one):
        raise Malformed("not a domain name")
    return labels


def text_of(name: Name) -> str:
    """Return a name as text with its final dot; octets that are no letters are escaped (RFC 1035 5.1)."""
    return "".join(f"{_escaped(one)}." for one in name) or "."


def _escaped(label: bytes) -> str:
    return "".join(chr(one) if one in _PLAIN else f"\\{one:03}" for one in label)


_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_*")


def lower(name: Name) -> Name:
    """Return the name as names are compared: ASCII letters small."""
    return tuple(one.lower() for one in name)


def below(name: Name, parent: Name) -> bool:
    """Return whether the name is `parent` or below it; both as `lower` returns them."""
    return len(name) >= len(parent) and name[len(name) - len(parent) :] == parent


def wire_of(name: Name) -> bytes:
    """Return the octets of a name, uncompressed."""
    return b"".join(bytes([len(one)]) + one for one in name) + b"\0"


def query(
    name: Name,
    kind: int,
    *,
    rdclass: int = IN,
    flags: int = RD,
    edns: bool = True,
    do: bool = False,
    options: Iterable[tuple[int, bytes]] = (),
    authority: bytes = b"",
) -> bytes:
    """Return a query with an id drawn at random; `authority` is one record in octets, as IXFR has its SOA."""
    head = secrets.token_bytes(2) + flags.to_bytes(2, "big") + b"\0\1\0\0"
    head += (1 if authority else 0).to_bytes(2, "big") + (1 if edns else 0).to_bytes(2, "big")
    body = wire_of(name) + kind.to_bytes(2, "big") + rdclass.to_bytes(2, "big") + authority
    return head + body + (opt(do=do, options=options) if edns else b"")


def opt(*, do: bool = False, rcode: int = 0, options: Iterable[tuple[int, bytes]] = ()) -> bytes:
    """Return the octets of an OPT record (RFC 6891 6.1.2)."""
    data = b"".join(code.to_bytes(2, "big") + len(one).to_bytes(2, "big") + one for code, one in options)
    flags = (rcode >> 4 << 24) | (DO if do else 0)
    return b"\0\0\x29" + PAYLOAD.to_bytes(2, "big") + flags.to_bytes(4, "big") + len(data).to_bytes(2, "big") + data


def octets_of(record: Record) -> bytes:
    """Return the octets of a record, uncompressed."""
    head = wire_of(record.name) + record.kind.to_bytes(2, "big") + record.rdclass.to_bytes(2, "big")
    return head + record.ttl.to_bytes(4, "big") + len(record.data).to_bytes(2, "big") + record.data


def target_of(record: Record) -> Name:
    """Return the name that is all the data of a CNAME, as names are compared."""
    return lower(_Reader(record.data).name())


def txt(text: bytes) -> bytes:
    """Return the data of a TXT record of one string."""
    return bytes([len(text)]) + text


def svcb(priority: int, target: Name, params: Iterable[tuple[int, bytes]] = ()) -> bytes:
    """Return the data of an SVCB or HTTPS record (RFC 9460 2.2)."""
    said = b"".join(key.to_bytes(2, "big") + len(one).to_bytes(2, "big") + one for key, one in params)
    return priority.to_bytes(2, "big") + wire_of(target) + said


def svcb_of(data: bytes) -> tuple[int, Name, dict[int, bytes]]:
    """Return priority, target and parameters of an SVCB record's data; Malformed if it is none (RFC 9460 2.2)."""
    reader = _Reader(data)
    priority, target = reader.number(2), reader.name()
    params = {}
    while reader.at < len(data):
        key = reader.number(2)
        params[key] = reader.take(reader.number(2))
    return priority, target, params


def address(text: str) -> bytes:
    """Return the octets of an address."""
    return ipaddress.ip_address(text).packed


class _Reader:
    """Walks a message once; every method raises Malformed at the end of the octets."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.at = 0
        self._steps = 0

    def take(self, count: int) -> bytes:
        found = self.octets[self.at : self.at + count]
        if len(found) != count:
            raise Malformed("it ends too early")
        self.at += count
        return found

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def name(self) -> Name:
        """Read a name; a pointer must lead back, so that there are no loops (RFC 1035 4.1.4)."""
        labels: list[bytes] = []
        size, least, after = 1, self.at, -1
        while True:
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise Malformed("it has too many labels")
            length = self.number(1)
            if length == 0:
                break
            if length >= 0xC0:
                target = (length & 0x3F) << 8 | self.number(1)
                after = self.at if after < 0 else after
                if target >= least:
                    raise Malformed("a pointer does not lead back")
                least = self.at = target
                continue
            if length > _MAX_LABEL:
                raise Malformed("a label of an unknown kind")
            size += length + 1
            if size > _MAX_NAME:
                raise Malformed("a name is too long")
            labels.append(self.take(length))
        if after >= 0:
            self.at = after
        return tuple(labels)

    def record(self) -> Record:
        name, kind, rdclass, ttl, size = self.name(), self.number(2), self.number(2), self.number(4), self.number(2)
        start, end = self.at, self.at + size
        if end > len(self.octets):
            raise Malformed("a record ends too early")
        data = self._data(kind, size)
        if self.at > end:
            raise Malformed("a name in a record is longer than the record")
        # Octets behind the name of a record that ends with it are kept: nothing of what came is overlooked.
        data += self.octets[self.at : end]
        self.at = end
        return Record(name, kind, rdclass, ttl, self.octets[start:end] if kind == OPT else data)

    def _data(self, kind: int, size: int) -> bytes:
        before = _NAMES_BEFORE.get(kind)
        if kind == SOA:
            return wire_of(self.name()) + wire_of(self.name()) + self.take(20)
        if before is not None:
            return self.take(before) + wire_of(self.name())
        return self.take(size)


def read(octets: bytes) -> Message:
    """Return the message; Malformed if the octets are none, or go on behind it."""
    reader = _Reader(octets)
    number, flags = reader.number(2), reader.number(2)
    counts = [reader.number(2) for _ in range(4)]
    if counts[0] > 1 or sum(counts) > MAX_RECORDS:
        raise Malformed("it has too many records")
    question = tuple((reader.name(), reader.number(2), reader.number(2)) for _ in range(counts[0]))
    answer, authority, additional = (tuple(reader.record() for _ in range(one)) for one in counts[1:])
    if reader.at != len(octets):
        raise Malformed("octets stand behind it")
    found = [one for one in additional if one.kind == OPT]
    if len(found) > 1:
        raise Malformed("it has two OPT records")
    edns = found[0] if found else None
    return Message(
        id=number,
        flags=flags,
        rcode=(flags & 15) | ((edns.ttl >> 24) << 4 if edns else 0),
        question=question,
        answer=answer,
        authority=authority,
        additional=tuple(one for one in additional if one.kind != OPT),
        options=tuple(_options(edns.data)) if edns else (),
        payload=edns.rdclass if edns else None,
        do=bool(edns and edns.ttl & DO),
    )


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    reader = _Reader(data)
    while reader.at < len(data):
        yield reader.number(2), reader.take(reader.number(2))


def is_reply(octets: bytes, asked: bytes) -> bool:
    """Return whether the octets are a reply to a query: its id, QR, and its question in any case of letters.

    A reply without a question is one too: servers send FORMERR so.
    """
    if len(octets) < 12 or octets[:2] != asked[:2] or not octets[2] & 0x80:
        return False
    try:
        sent = _question(asked)
        return octets[4:6] == b"\0\0" or _question(octets) == sent
    except Malformed:
        return False


def _question(octets: bytes) -> tuple[Name, int, int]:
    reader = _Reader(octets)
    reader.at = 12
    return lower(reader.name()), reader.number(2), reader.number(2)
