"""The probe zone: a listed name with real data, and every way to reach them; RFC 1034 4.3.2 answers from it.

Rules:
- Every datum of the listed name is marked: LISTED_V4, LISTED_V6 or LISTED_TEXT is in it. What is not listed has
  OPEN_V4, OPEN_V6 or OPEN_TEXT. All are documentation addresses (RFC 5737, RFC 3849), to which nobody listens.
- The zone is signed (algorithm 13) as it is asked, with keys that its name makes: they are no secret, and a DS record
  of them belongs into no parent zone. A denial is compact (RFC 9824). `plain` below the entry is an unsigned zone.
- `*` in a name of TREE makes as many names as wanted, so that the first question for one finds nothing kept.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from resolver.doctor import ecdsa, wire
from resolver.doctor.wire import Name, Record

LISTED_V4: Final = wire.address("203.0.113.66")
LISTED_V6: Final = wire.address("2001:db8:bad::66")
LISTED_TEXT: Final = b"data-of-the-listed-name"
OPEN_V4: Final = wire.address("198.51.100.22")
OPEN_V6: Final = wire.address("2001:db8:600d::22")
OPEN_TEXT: Final = b"data-of-an-open-name"
MARKS: Final = (LISTED_V4, LISTED_V6, LISTED_TEXT)
"""What nothing but the data of the listed name holds."""

TTL: Final = 300
LONG_TTL: Final = 604_800
SIGNED_FOR_S: Final = 14 * 86_400
_AGAIN_S: Final = 86_400
_MOST_SIGNATURES: Final = 4096
_MOST_STEPS: Final = 8
_ALPN, _V4_HINT, _V6_HINT = 1, 4, 6

Types = dict[int, tuple[bytes, ...]]
"""Type to the data of its records."""


@dataclass(slots=True)
class Answer:
    """What the zone says to a question: the sections of the reply."""

    rcode: int = wire.NOERROR
    answer: list[Record] = field(default_factory=list)
    authority: list[Record] = field(default_factory=list)
    additional: list[Record] = field(default_factory=list)


def _service(target: Name, v4: bytes, v6: bytes) -> bytes:
    return wire.svcb(1, target, ((_ALPN, b"\2h2"), (_V4_HINT, v4), (_V6_HINT, v6)))


def tree(entry: Name, addresses: Iterable[str]) -> dict[Name, Types]:
    """Return every name of the zone with its records; `addresses` are those of its name server."""
    zone = entry[1:]
    server, mail = (b"ns", *zone), (b"mail", *entry)
    good, beside = (b"good", *zone), (entry[0] + b"x", *zone)
    soa = wire.wire_of(server) + wire.wire_of((b"nobody", *zone)) + _numbers(1, 3600, 600, 86_400, 60)
    own = [wire.address(one) for one in addresses]
    apex: Types = {wire.SOA: (soa,), wire.NS: (wire.wire_of(server),)}
    listed: Types = {wire.A: (LISTED_V4,), wire.AAAA: (LISTED_V6,), wire.TXT: (wire.txt(LISTED_TEXT),)}
    listed[wire.HTTPS] = listed[wire.SVCB] = (_service((), LISTED_V4, LISTED_V6),)
    open_: Types = {wire.A: (OPEN_V4,), wire.AAAA: (OPEN_V6,), wire.TXT: (wire.txt(OPEN_TEXT),)}
    open_[wire.HTTPS] = (_service((), OPEN_V4, OPEN_V6),)
    exchange: Types = {wire.MX: (b"\0\x0a" + wire.wire_of(mail),)}
    # An exchange that stands in the data of the entry itself holds the mark as a label: its address is not in reach.
    marked: Types = {wire.MX: (b"\0\x0a" + wire.wire_of((LISTED_TEXT, *entry)),)}
    marked[wire.TYPES["TYPE65280"]] = (LISTED_TEXT,)
    found: dict[Name, Types] = {
        zone: {**apex, **open_},
        server: {kind: tuple(one for one in own if len(one) == size) for kind, size in ((wire.A, 4), (wire.AAAA, 16))},
        good: {**open_, wire.MX: (b"\0\x0a" + wire.wire_of(good),)},
        beside: open_,
        (b"*", b"wild", *zone): open_,
        (b"_8443", b"_https", *good): {wire.HTTPS: open_[wire.HTTPS]},
        (b"*", b"fine", *zone): {wire.CNAME: (wire.wire_of(good),)},
        entry: {**listed, **marked},
        (b"*", *entry): listed,
        (b"_8443", b"_https", *entry): {wire.HTTPS: listed[wire.HTTPS]},
        (b"long", *entry): listed,
        (b"plain", *entry): {**apex, **listed},
        (b"*", b"alias", *zone): {wire.CNAME: (wire.wire_of(entry),)},
        (b"*", b"longer", *zone): {wire.CNAME: (wire.wire_of((b"there", b"alias", *zone)),)},
        (b"branch", *zone): {wire.DNAME: (wire.wire_of(entry),)},
        (b"*", b"post", *zone): exchange,
    }
    for word, data in (("mode", wire.svcb(0, entry)), ("service", _service(entry, LISTED_V4, LISTED_V6))):
        found[(b"*", word.encode(), *zone)] = {wire.HTTPS: (data,), wire.SVCB: (data,)}
    return {name: {kind: data for kind, data in types.items() if data} for name, types in found.items()}


def _numbers(*numbers: int) -> bytes:
    return b"".join(one.to_bytes(4, "big") for one in numbers)


class Zone:
    """Answers questions from the tree of one entry, and signs what it says."""

    def __init__(self, entry: Name, addresses: Iterable[str] = (), clock: Callable[[], float] = time.time) -> None:
        self.entry = wire.lower(entry)
        self.apex = self.entry[1:]
        self._cuts = (self.apex, (b"plain", *self.entry))
        self._tree = tree(self.entry, addresses)
        self._known = {name[at:] for name in self._tree for at in range(len(name) - len(self.apex) + 1)}
        self._clock = clock
        self._key = ecdsa.key_of(f"blocklist-resolver doctor {wire.text_of(self.apex)}")
        self.dnskey = b"\1\1\3\x0d" + ecdsa.public_of(self._key)
        self._tree[self.apex][wire.DNSKEY] = (self.dnskey,)
        self._signed: dict[tuple[Name, int, tuple[bytes, ...], int], tuple[float, bytes]] = {}

    def has(self, name: Name) -> bool:
        """Return whether the name is in the zone."""
        return wire.below(wire.lower(name), self.apex)

    def answer(self, name: Name, kind: int, *, do: bool) -> Answer:
        """Return the answer to a question for a name of the zone; `do`: with signatures."""
        found, asked = Answer(), name
        for _ in range(_MOST_STEPS):
            following = self._step(asked, kind, found, do=do)
            if following is None or not self.has(following):
                break
            asked = following
        self._glue(found, do=do)
        return found

    def _step(self, name: Name, kind: int, found: Answer, *, do: bool) -> Name | None:
        """Add what one name has; return the name that an alias leads to, None at the end."""
        plain = wire.lower(name)
        cut = self._cut_of(plain, kind)
        for at in range(1, len(plain) - len(cut) + 1):
            branch = self._tree.get(plain[at:], {}).get(wire.DNAME)
            if branch:
                return self._substituted(name, at, branch, found, do=do)
        types = self._types_of(plain, cut)
        if types is None:
            self._deny(name, (), found, cut, do=do)
            found.rcode = wire.NXDOMAIN if not do or cut != self.apex else wire.NOERROR
            return None
        if plain in self._cuts and cut != plain:
            types = {wire.NS: types[wire.NS]}  # The parent's side of a delegation without DS.
        if wire.CNAME in types and kind not in (wire.CNAME, wire.ANY):
            self._add(found.answer, name, wire.CNAME, types[wire.CNAME], cut, do=do)
            return _labels(types[wire.CNAME][0])
        kinds = list(types) if kind == wire.ANY else [one for one in (kind,) if one in types]
        for one in kinds:
            self._add(found.answer, name, one, types[one], cut, do=do)
        if not kinds:
            self._deny(name, types, found, cut, do=do)
        return None

    def _cut_of(self, name: Name, kind: int) -> Name:
        """Return the apex of the zone that a question belongs to: DS belongs to the parent (RFC 4035 3.1.4.1)."""
        above = [one for one in self._cuts if wire.below(name, one) and not (kind == wire.DS and name == one)]
        return max(above or [self.apex], key=len)

    def _types_of(self, name: Name, cut: Name) -> Types | None:
        """Return the records of a name, those of a wildcard (RFC 4592), or None for a name that does not exist."""
        if name in self._known:
            return self._tree.get(name, {})
        for at in range(1, len(name) - len(cut) + 1):
            if name[at:] in self._known:
                return self._tree.get((b"*", *name[at:]))
        return None

    def _substituted(self, name: Name, at: int, branch: tuple[bytes, ...], found: Answer, *, do: bool) -> Name | None:
        """Add a DNAME record and the CNAME that it makes (RFC 6672 3.1); None if the name would be too long."""
        self._add(found.answer, name[at:], wire.DNAME, branch, self.apex, do=do)
        target = name[:at] + _labels(branch[0])
        if len(wire.wire_of(target)) > 255:
            return None
        found.answer.append(Record(name, wire.CNAME, wire.IN, TTL, wire.wire_of(target)))
        return target

    def _deny(self, name: Name, types: Iterable[int], found: Answer, cut: Name, *, do: bool) -> None:
        self._add(found.authority, cut, wire.SOA, self._tree[cut][wire.SOA], cut, do=do)
        following = (b"\0", *name)
        if do and cut == self.apex and len(wire.wire_of(following)) <= 255:
            kinds = [*types, wire.RRSIG, wire.NSEC, *([] if types or self._is_there(name) else [wire.NXNAME])]
            data = wire.wire_of(wire.lower(following)) + _bitmap(kinds)
            self._add(found.authority, name, wire.NSEC, (data,), cut, do=do)

    def _is_there(self, name: Name) -> bool:
        return self._types_of(wire.lower(name), self.apex) is not None

    def _glue(self, found: Answer, *, do: bool) -> None:
        """Add the addresses of the names that the answer leads to (RFC 1034 4.3.2 6, RFC 9460 4.1)."""
        for target in dict.fromkeys(_targets(found.answer)):
            if not self.has(target):
                continue
            cut = self._cut_of(target, wire.A)
            types = self._types_of(target, cut) or {}
            for kind in (wire.A, wire.AAAA):
                if kind in types and not any(one.name == target and one.kind == kind for one in found.answer):
                    self._add(found.additional, target, kind, types[kind], cut, do=do)

    def _add(
        self, section: list[Record], name: Name, kind: int, data: tuple[bytes, ...], cut: Name, *, do: bool
    ) -> None:
        ttl = LONG_TTL if wire.lower(name) == (b"long", *self.entry) else TTL
        section.extend(Record(name, kind, wire.IN, ttl, one) for one in data)
        if do and cut == self.apex:
            section.append(Record(name, wire.RRSIG, wire.IN, ttl, self._signature(wire.lower(name), kind, data, ttl)))

    def _signature(self, name: Name, kind: int, data: tuple[bytes, ...], ttl: int) -> bytes:
        """Return the data of the RRSIG record of these records (RFC 4034 3.1.8.1); made once a day."""
        now, made = self._clock(), self._signed.get((name, kind, data, ttl))
        if made and made[0] > now:
            return made[1]
        if len(self._signed) >= _MOST_SIGNATURES:
            self._signed.clear()
        head = kind.to_bytes(2, "big") + bytes([13, len(name)])
        head += _numbers(ttl, int(now) + SIGNED_FOR_S, int(now) - 3600)
        head += _tag(self.dnskey).to_bytes(2, "big") + wire.wire_of(self.apex)
        records = sorted(data)
        body = b"".join(wire.octets_of(Record(name, kind, wire.IN, ttl, one)) for one in records)
        signature = head + ecdsa.sign(self._key, head + body)
        self._signed[(name, kind, data, ttl)] = (now + _AGAIN_S, signature)
        return signature


def _labels(octets: bytes) -> Name:
    """Return the name that stands alone in these octets."""
    found, at = [], 0
    while octets[at]:
        found.append(octets[at + 1 : at + 1 + octets[at]])
        at += 1 + octets[at]
    return tuple(found)


_TARGET_AT: Final = {wire.MX: 2, wire.NS: 0, wire.SVCB: 2, wire.HTTPS: 2}


def _targets(records: Iterable[Record]) -> Iterator[Name]:
    for one in records:
        if one.kind in _TARGET_AT and (target := _labels(one.data[_TARGET_AT[one.kind] :])):
            yield target


def _bitmap(kinds: Iterable[int]) -> bytes:
    """Return the types of an NSEC record (RFC 4034 4.1.2)."""
    windows: dict[int, bytearray] = {}
    for one in sorted(set(kinds)):
        bits = windows.setdefault(one >> 8, bytearray(32))
        bits[(one & 0xFF) >> 3] |= 0x80 >> (one & 7)
    return b"".join(
        bytes([window, len(kept)]) + kept for window, bits in windows.items() if (kept := bytes(bits).rstrip(b"\0"))
    )


def _tag(dnskey: bytes) -> int:
    """Return the key tag (RFC 4034 appendix B)."""
    total = sum(one if at & 1 else one << 8 for at, one in enumerate(dnskey))
    return (total + (total >> 16 & 0xFFFF)) & 0xFFFF
