"""Makes response policy zones of rules, keeps their versions, and writes them as transfers (RFC 5936, RFC 1995).

Rules:
- A zone has no duplicate and no record but SOA and NS at its apex: resolvers refuse the one, or answer nothing with the
  other. Names are lower-case; what does not fit below the zone's name (255 octets) is left out and counted.
- `name` and `*.name` carry the same local data. In the form for Knot Resolver 6 a wildcard leads to the page by CNAME,
  since it takes no other; it takes no exception either, and these are left out and counted.
- A serial only grows (RFC 1982), and moves only if a record does: the time in seconds, or one more than the last.
- The history is bounded, by versions and by records; a secondary that is behind it gets the whole zone.
- Every message has the question, so that owners can point to the zone's name in it (RFC 1035 4.1.4).
"""

import ipaddress
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple

from resolver.feed.names.export_rules import PASS, Rule, spoiled

TTL_S: Final = 60
REFRESH_S: Final = 60
RETRY_S: Final = 30
EXPIRE_S: Final = 14 * 86400
"""A resolver whose zone has expired blocks nothing: as long as the usual hard limit of a list."""

MOST_VERSIONS: Final = 1000
LEAST_KEPT_RECORDS: Final = 100_000
MESSAGE_OCTETS: Final = 16_000
MAX_NAME_OCTETS: Final = 255

TYPE_A: Final = 1
TYPE_NS: Final = 2
TYPE_CNAME: Final = 5
TYPE_SOA: Final = 6
TYPE_AAAA: Final = 28
TYPE_IXFR: Final = 251
TYPE_AXFR: Final = 252
_WILDCARD: Final = b"\x01*"
_POINTER: Final = b"\xc0\x0c"
_NOBODY: Final = b"\x09localhost\x00"
_HALF: Final = 2**31
_RESPONSE: Final = 0x8400
"""QR and AA."""

Data = tuple[bytes, ...]
"""The records of one owner, each from its type on."""


class Answer(NamedTuple):
    """What a list answers: "page", "nodata" or "nxdomain", and the page's addresses."""

    kind: str
    addresses: tuple[str, ...] = ()


Records = Sequence[tuple[bytes, Data]]


class Change(NamedTuple):
    """What led from one serial to the next: records that went, and that came."""

    before: int
    after: int
    gone: Records
    come: Records

    @property
    def size(self) -> int:
        """The number of owners that changed."""
        return len(self.gone) + len(self.come)


def wire_of(name: str) -> bytes:
    """Return a name of letters in wire format, with the root's octet; b"\\0" for the root."""
    labels = [label.encode("ascii").lower() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def record_of(kind: int, data: bytes) -> bytes:
    """Return a record from its type on, of class IN."""
    return struct.pack("!HHIH", kind, 1, TTL_S, len(data)) + data


_NODATA: Final[Data] = (record_of(TYPE_CNAME, b"\x01*\x00"),)
_NXDOMAIN: Final[Data] = (record_of(TYPE_CNAME, b"\x00"),)
_PASSTHRU: Final[Data] = (record_of(TYPE_CNAME, b"\x0crpz-passthru\x00"),)


def page_of(addresses: Iterable[str]) -> Data:
    """Return A and AAAA records; NODATA without an address."""
    every = map(ipaddress.ip_address, addresses)
    found = {record_of(TYPE_A if one.version == 4 else TYPE_AAAA, one.packed) for one in every}
    return tuple(sorted(found)) or _NODATA


def records_of(
    found: Mapping[bytes, Rule], answers: Sequence[Answer], *, profile: str, page: str, room: int
) -> tuple[dict[bytes, Data], int]:
    """Return the records of each owner, relative to the zone, and how many owners were left out.

    answers: of the lists that the rules name. page: a name that leads to the page, for the profile "knot6". room: how
    many octets an owner may have.
    """
    pages = [_NODATA if one.kind == "nodata" else page_of(one.addresses) for one in answers]
    alias = (record_of(TYPE_CNAME, wire_of(page)),)
    wild = [alias if profile == "knot6" and one is not _NODATA else one for one in pages]
    denied = spoiled(found) if any(one.kind == "nxdomain" for one in answers) else frozenset()
    records: dict[bytes, Data] = {}
    left_out = 0
    for name, rule in found.items():
        whole = rule.own == rule.below != PASS and name not in denied
        for owner, index, forms in ((name, rule.own, pages), (_WILDCARD + name, rule.below, wild)):
            if index != PASS:
                nothing = _NXDOMAIN if whole else _NODATA
                data = nothing if answers[index].kind == "nxdomain" else forms[index]
            elif rule.covered:
                data = _PASSTHRU
            else:
                continue
            if len(owner) > room or (data is _PASSTHRU and profile == "knot6"):
                left_out += 1
            else:
                records[owner] = data
    return records, left_out


def newer(serial: int, than: int) -> bool:
    """Return whether a serial comes after another (RFC 1982 3.2)."""
    return serial != than and (serial - than) % 2**32 < _HALF


class Zone:
    """One zone, its serial and its history. name: in wire format with the root's octet."""

    def __init__(self, name: bytes, serial: int = 0) -> None:
        self.name = name
        self.serial = serial
        self.loaded = False
        self.records: dict[bytes, Data] = {}
        self.history: deque[Change] = deque()
        self._kept = 0

    @property
    def room(self) -> int:
        """The number of octets that an owner may have below the zone's name, without its root."""
        return MAX_NAME_OCTETS - len(self.name)

    def compared(self, records: dict[bytes, Data]) -> tuple[Records, Records]:
        """Return which records go and which come if these are given out; of a zone that is not loaded, none."""
        if not self.loaded:
            return (), ()
        before = self.records
        gone = [(owner, data) for owner, data in before.items() if records.get(owner) != data]
        come = [(owner, data) for owner, data in records.items() if before.get(owner) != data]
        return gone, come

    def publish(self, records: dict[bytes, Data], now: int, changed: tuple[Records, Records] | None = None) -> bool:
        """Give out these records; return whether the serial has moved. now: unix seconds. changed: of `compared`.

        With `changed` it takes no time: it is what the thread that answers has to do.
        """
        gone, come = self.compared(records) if changed is None else changed
        if self.loaded and not gone and not come:
            return False
        after = self.next_serial(now)
        if self.loaded:
            self._remember(Change(self.serial, after, gone, come), len(records))
        self.records, self.serial, self.loaded = records, after, True
        return True

    def resume(self, records: dict[bytes, Data]) -> None:
        """Go on with the records that had this serial before a restart; without a history."""
        self.records, self.loaded = records, True

    def next_serial(self, now: int) -> int:
        """Return the serial of the next records. now: unix seconds."""
        if not self.serial:
            return now % 2**32 or 1
        now %= 2**32
        return now if newer(now, self.serial) else (self.serial + 1) % 2**32 or 1

    def _remember(self, change: Change, records: int) -> None:
        self.history.append(change)
        self._kept += change.size
        most = max(records, LEAST_KEPT_RECORDS)
        while self.history and (len(self.history) > MOST_VERSIONS or self._kept > most):
            self._kept -= self.history.popleft().size

    def changes_since(self, serial: int) -> list[Change] | None:
        """Return the changes from a serial to the current one; None if the history does not have them."""
        if serial == self.serial:
            return []
        found: list[Change] = []
        for one in reversed(self.history):
            found.append(one)
            if one.before == serial:
                break
        else:
            return None
        return found[::-1]

    def is_smaller(self, changes: Iterable[Change]) -> bool:
        """Return whether the whole zone has fewer records than these changes."""
        return sum(one.size for one in changes) > len(self.records)

    def soa(self, serial: int | None = None) -> bytes:
        """Return the SOA record with its owner, as a message with the question has it."""
        said = self.serial if serial is None else serial
        numbers = struct.pack("!IIIII", said, REFRESH_S, RETRY_S, EXPIRE_S, TTL_S)
        return _POINTER + record_of(TYPE_SOA, _NOBODY + _NOBODY + numbers)

    def whole(self) -> Iterable[bytes]:
        """Return the records of a whole transfer, as the zone is now: it may be replaced while they are sent."""
        soa, apex = self.soa(), _POINTER + record_of(TYPE_NS, _NOBODY)
        return chain((soa, apex), _written(self.records.items()), (soa,))

    def difference(self, changes: Iterable[Change]) -> Iterable[bytes]:
        """Return the records of an incremental transfer to the zone as it is now (RFC 1995 4)."""
        soa = self.soa()
        return chain((soa,), (record for one in changes for record in self._sequence(one)), (soa,))

    def _sequence(self, one: Change) -> Iterable[bytes]:
        gone, come = _written(one.gone), _written(one.come)
        return chain((self.soa(one.before),), gone, (self.soa(one.after),), come)

    def messages(self, query_id: int, kind: int, records: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the messages of a transfer, unsigned."""
        question = self.name + struct.pack("!HH", kind, 1)
        body, count = bytearray(), 0
        for one in records:
            if count and len(body) + len(one) > MESSAGE_OCTETS:
                yield _header(query_id, count) + question + body
                body, count = bytearray(), 0
            body += one
            count += 1
        if count:
            yield _header(query_id, count) + question + body


def _header(query_id: int, answers: int) -> bytes:
    return struct.pack("!HHHHHH", query_id, _RESPONSE, 1, answers, 0, 0)


def _written(items: Iterable[tuple[bytes, Data]]) -> Iterator[bytes]:
    for owner, data in items:
        for one in data:
            yield owner + _POINTER + one
