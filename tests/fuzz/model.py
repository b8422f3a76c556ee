"""What a client may be told, written a second time, in plain words: the lists, the names in a message, the limits.

Rules:
- Nothing here calls core: a fault in core is not one here.
- A message is read as a careful client would read it: every record counts, and ends where it says.
- A name is the tuple of its labels, folded, the first label first.
"""

import functools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Name = tuple[bytes, ...]

A, CNAME, AAAA, DNAME, OPT, DS, RRSIG, DNSKEY, SVCB, HTTPS = 1, 5, 28, 39, 41, 43, 46, 48, 64, 65
TARGETS = {CNAME: 0, DNAME: 0, SVCB: 2, HTTPS: 2}
"""Where the target begins in the data of a record of this type."""


class Unreadable(Exception):
    """The octets are no message."""


class Record(NamedTuple):
    """One record; section: 0 ANSWER, 1 AUTHORITY, 2 ADDITIONAL. start: where its data begins in the message."""

    section: int
    owner: Name
    kind: int
    klass: int
    ttl: int
    start: int
    data: bytes


def name_at(octets: bytes, at: int) -> tuple[Name, int]:
    """The name that stands at an offset, and the offset after it."""
    labels: list[bytes] = []
    after, length = 0, 1
    while True:
        if at >= len(octets):
            raise Unreadable("a name without end")
        size = octets[at]
        if size >= 0xC0:
            if at + 2 > len(octets):
                raise Unreadable("half a pointer")
            place = (size & 63) << 8 | octets[at + 1]
            if place >= at:
                raise Unreadable("a pointer that does not point back")
            after = after or at + 2
            at = place
        elif size >= 64:
            raise Unreadable("a label of another type")
        elif size == 0:
            return tuple(labels), after or at + 1
        else:
            length += 1 + size
            if length > 255 or at + 1 + size > len(octets):
                raise Unreadable("a name too long")
            labels.append(octets[at + 1 : at + 1 + size].lower())
            at += 1 + size


def records(octets: bytes) -> list[Record]:
    """All records; they must end where the message does."""
    found, at = [], 12
    if len(octets) < 12:
        raise Unreadable("no header")
    questions, *counts = struct.unpack_from("!4H", octets, 4)
    for _ in range(questions):
        at = name_at(octets, at)[1] + 4
    for section, count in enumerate(counts):
        for _ in range(count):
            owner, at = name_at(octets, at)
            if at + 10 > len(octets):
                raise Unreadable("half a record")
            kind, klass, ttl, size = struct.unpack_from("!HHIH", octets, at)
            at += 10
            if at + size > len(octets):
                raise Unreadable("data beyond the end")
            found.append(Record(section, owner, kind, klass, ttl, at, octets[at : at + size]))
            at += size
    if at != len(octets):
        raise Unreadable("octets after the end")
    return found


def target_of(octets: bytes, record: Record) -> Name | None:
    """The name to which a record leads, None for a record that leads nowhere."""
    if record.kind not in TARGETS:
        return None
    return name_at(octets, record.start + TARGETS[record.kind])[0]


def led_to(octets: bytes, found: list[Record]) -> Iterator[Name]:
    """The names that an answer gives a client for an address: what a list may have to say something about."""
    for record in found:
        leads = record.kind in TARGETS or record.kind in (A, AAAA)
        if leads if record.section == 1 else record.section == 0 and not is_proof(record):
            yield record.owner
        if record.section == 2 and record.kind != OPT:
            yield record.owner
        target = target_of(octets, record) if record.section < 2 else None
        if target is not None:
            yield target


def is_proof(record: Record) -> bool:
    """Whether a record is DS or DNSKEY, or the signature of one, which a validator needs above names that pass."""
    kind = int.from_bytes(record.data[:2]) if record.kind == RRSIG else record.kind
    return kind in (DS, DNSKEY)


def is_port(labels: Name) -> bool:
    """Whether a name begins with _port._https (RFC 9460 9.1); a port is one to five digits here."""
    digits = labels[0][1:]
    return labels[1:2] == (b"_https",) and labels[0][:1] == b"_" and digits.isdigit() and len(digits) <= 5


@dataclass(frozen=True)
class List:
    """The lines of a list as `tests.unit.query.parts` takes them, and the client that it spares."""

    lines: Sequence[str]
    spared: bytes = b""

    @functools.cached_property
    def entries(self) -> dict[Name, str]:
        """For each name that has a line, the first letter of the line."""
        return {tuple(label.encode() for label in line.lstrip("=!").split(".")): line[0] for line in self.lines}

    def blocks(self, name: Name, kind: int) -> bool:
        """Whether this list blocks a name for a question of this type: the most specific line that covers it says."""
        lines = self.entries
        for depth in range(len(name), 0, -1):
            entry = name[len(name) - depth :]
            own = depth == len(name) or (depth == len(name) - 2 and is_port(name))
            mark = lines.get(entry)
            if mark == "!":
                return False
            if own if mark == "=" else mark is not None:
                below = any(len(one) > depth and one[-depth:] == entry and lines[one] == "!" for one in lines)
                return not (kind in (DS, DNSKEY) and (mark == "=" or below))
        return False


def is_blocked(lists: Sequence[List], name: Name, client: bytes, kind: int) -> bool:
    """Whether any list that applies to the client blocks the name."""
    return any(one.spared != client and one.blocks(name, kind) for one in lists)


def limit_of(packet: bytes, stream: bool) -> int:
    """The largest answer that a well-formed query takes."""
    if stream:
        return 65535
    payloads = [record.klass for record in records(packet) if record.kind == OPT]
    return min(1232, max([512, *payloads]))


def is_answer_to(octets: bytes, sent: bytes) -> bool:
    """Whether a reply has the id and the question of what was sent, or is an error without a question."""
    if len(octets) < 12 or octets[:2] != sent[:2] or octets[2] & 0xF8 != 0x80:
        return False
    if octets[4:6] == b"\0\0":
        return octets[3] & 15 != 0
    name, end = name_at(sent, 12)
    try:
        found, after = name_at(octets, 12)
    except Unreadable:
        return False
    return octets[4:6] == b"\0\1" and (found, octets[after : after + 4]) == (name, sent[end : end + 4])


def cookie_in(found: list[Record]) -> bytes | None:
    """The first COOKIE option of a message's OPT (RFC 7873), None without one."""
    for one in found:
        at = 0
        while one.kind == OPT and at + 4 <= len(one.data):
            size = int.from_bytes(one.data[at + 2 : at + 4])
            if one.data[at : at + 2] == b"\0\x0a":
                return one.data[at + 4 : at + 4 + size]
            at += 4 + size
    return None
