"""Judges replies: what blocked answers look like, and what a reply is measured by it.

Rules:
- LEAKS only if data of the listed name (`zone.MARKS`) are in a record of the reply, in whatever section.
- ENFORCED only if the reply is what blocked answers look like: as the operator said, or as the resolver's own answers
  to A and AAAA were.
- OVER_BLOCKS only if an open name got what blocked answers look like.
- WEAK: no data of the listed name, but less than there should be. Everything else is UNKNOWN, with the reason.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from resolver.doctor import wire, zone
from resolver.doctor.wire import Message, Record


class Verdict(StrEnum):
    """What a probe found; sorted by what is read first."""

    LEAKS = "leaks"
    OVER_BLOCKS = "over-blocks"
    WEAK = "weak"
    UNKNOWN = "unknown"
    ENFORCED = "enforced"


ORDER: Final = list(Verdict)
"""The worst first."""

_FOLLOWED: Final = {wire.CNAME, wire.DNAME, wire.RRSIG}
"""Records that only lead to the name that is blocked."""


@dataclass(frozen=True, slots=True)
class Found:
    """A verdict, and what came, in our own words: no name is in them."""

    verdict: Verdict
    said: str


class NotUnderstood(ValueError):
    """Raised for an expectation that is none."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What blocked answers look like."""

    rcode: int = wire.NOERROR
    v4: frozenset[bytes] = frozenset()
    v6: frozenset[bytes] = frozenset()
    learnt: bool = False
    """The resolver's own answers to A and AAAA; else the operator said so."""

    def __str__(self) -> str:
        if self.rcode != wire.NOERROR:
            return wire.RCODES[self.rcode]
        pages = [str(ipaddress.ip_address(one)) for one in (*sorted(self.v4), *sorted(self.v6))]
        return " ".join(pages) or "NODATA"

    def of(self, kind: int) -> frozenset[bytes]:
        """Return the addresses that a blocked answer to this type has; none for other types than A and AAAA."""
        return {wire.A: self.v4, wire.AAAA: self.v6}.get(kind, frozenset())


_WORDS: Final = {"nxdomain": wire.NXDOMAIN, "refused": wire.REFUSED, "nodata": wire.NOERROR}


def expected_of(words: Iterable[str]) -> Expected:
    """Return what the operator said: addresses, or one of nxdomain, nodata, refused; NotUnderstood for all else."""
    said = list(words)
    if len(said) == 1 and said[0].lower() in _WORDS:
        return Expected(_WORDS[said[0].lower()])
    try:
        packed = [wire.address(one) for one in said]
    except ValueError:
        raise NotUnderstood("expected addresses, or one of nxdomain, nodata, refused") from None
    if set(packed) & {zone.LISTED_V4, zone.LISTED_V6, zone.OPEN_V4, zone.OPEN_V6}:
        raise NotUnderstood("an address of the probe zone itself cannot be the page's")
    v4, v6 = (frozenset(one for one in packed if len(one) == size) for size in (4, 16))
    return Expected(v4=v4, v6=v6)


def learnt(a: Message, aaaa: Message | None) -> Expected | None:
    """Return what the resolver's answers to A and AAAA of the entry show; None if A's is not that of a block.

    An AAAA that leaks shows nothing: then none is expected.
    """
    if leak_in(a):
        return None
    if a.rcode in (wire.NXDOMAIN, wire.REFUSED):
        return Expected(a.rcode, learnt=True)
    if a.rcode != wire.NOERROR:
        return None
    v4 = frozenset(one.data for one in a.answer if one.kind == wire.A)
    v6 = frozenset(one.data for one in aaaa.answer if one.kind == wire.AAAA) if aaaa else frozenset()
    if aaaa is not None and leak_in(aaaa):
        v6 = frozenset()
    return Expected(v4=v4, v6=v6, learnt=True)


def leak_in(reply: Message) -> str:
    """Return where data of the listed name are, and of which type; empty if nowhere."""
    for place in ("answer", "authority", "additional"):
        for one in getattr(reply, place):
            if _is_marked(one):
                return f"{_type(one.kind)} of the listed name in {place.upper()}"
    return ""


def _is_marked(one: Record) -> bool:
    if one.kind == wire.AAAA:
        # DNS64 makes an address of the listed IPv4 one, whatever the length of its prefix (RFC 6052 2.2).
        return one.data in zone.MARKS or zone.LISTED_V4 in one.data or zone.LISTED_V4 in one.data[:8] + one.data[9:]
    if one.kind == wire.A:
        return one.data in zone.MARKS
    return one.kind != wire.RRSIG and any(mark in one.data for mark in zone.MARKS)


def _type(kind: int) -> str:
    return next((text for text, number in wire.TYPES.items() if number == kind), f"TYPE{kind}")


def blocked(reply: Message, kind: int, expected: Expected) -> str:
    """Return the reason why the reply is not what blocked answers look like; empty if it is."""
    if reply.rcode != expected.rcode:
        return f"{_rcode(reply.rcode)}, not as blocked answers look"
    data = [one for one in reply.answer if one.kind not in _FOLLOWED]
    pages = expected.of(kind)
    if not pages:
        return f"{_type(data[0].kind)} that is not as blocked answers look" if data else ""
    if not data:
        return "no data, not the page's address"
    if any(one.kind != kind or one.data not in pages for one in data):
        return f"{_type(data[0].kind)} that is not the page's"
    return ""


def _rcode(number: int) -> str:
    return wire.RCODES.get(number, f"response code {number}")


def judge_blocked(reply: Message, kind: int, expected: Expected | None) -> Found:
    """Judge a reply to a question that must be blocked."""
    leak = leak_in(reply)
    if leak:
        return Found(Verdict.LEAKS, leak)
    if expected is None:
        return Found(Verdict.UNKNOWN, "what blocked answers look like is not known: --expect says it")
    reason = blocked(reply, kind, expected)
    return Found(Verdict.UNKNOWN, reason) if reason else Found(Verdict.ENFORCED, _look(reply, kind, expected))


def _look(reply: Message, kind: int, expected: Expected) -> str:
    if reply.rcode != wire.NOERROR:
        return _rcode(reply.rcode)
    return "the page's address" if expected.of(kind) else "NODATA"


def judge_any(reply: Message, expected: Expected | None) -> Found:
    """Judge a reply to ANY: the page, nothing, or a refusal to answer it at all (RFC 8482)."""
    leak = leak_in(reply)
    if leak:
        return Found(Verdict.LEAKS, leak)
    data = [one for one in reply.answer if one.kind not in _FOLLOWED]
    if reply.rcode in (wire.NOTIMP, wire.REFUSED):
        return Found(Verdict.ENFORCED, f"{_rcode(reply.rcode)}: ANY is not answered")
    if reply.rcode == wire.NOERROR and data and all(one.kind == wire.HINFO for one in data):
        return Found(Verdict.ENFORCED, "HINFO alone (RFC 8482)")
    if expected is None:
        return Found(Verdict.UNKNOWN, "what blocked answers look like is not known: --expect says it")
    if reply.rcode == expected.rcode and all(one.data in expected.of(one.kind) for one in data):
        return Found(Verdict.ENFORCED, "the page's addresses" if data else "no data")
    return Found(Verdict.UNKNOWN, f"{_rcode(reply.rcode)}, not as blocked answers look")


def judge_not_recursed(reply: Message, kind: int, expected: Expected | None) -> Found:
    """Judge a reply to a query without RD: blocked, or refused."""
    if not leak_in(reply) and reply.rcode == wire.REFUSED:
        return Found(Verdict.ENFORCED, "REFUSED")
    return judge_blocked(reply, kind, expected)


def judge_led_to(reply: Message, kind: int, expected: Expected | None) -> Found:
    """Judge a record that leads to the listed name: naming it gives no data, but shows a client the way."""
    found = judge_blocked(reply, kind, expected)
    if found.verdict is Verdict.UNKNOWN and any(one.kind == kind for one in reply.answer):
        return Found(Verdict.WEAK, "the target is named, none of its data")
    return found


def judge_hidden(reply: Message, kind: int) -> Found:
    """Judge an answer that may come as it is, without data of the listed name."""
    leak = leak_in(reply)
    if leak:
        return Found(Verdict.LEAKS, leak)
    if any(one.kind == kind for one in reply.answer):
        return Found(Verdict.ENFORCED, "named, and none of its data")
    return Found(Verdict.UNKNOWN, f"{_rcode(reply.rcode)} without data")


def judge_open(reply: Message, kind: int, expected: Expected | None) -> Found:
    """Judge a reply to a question for an open name."""
    leak = leak_in(reply)
    if leak:
        return Found(Verdict.LEAKS, leak)
    marks = (zone.OPEN_V4, zone.OPEN_V6, zone.OPEN_TEXT)
    if any(one.kind == kind and any(mark in one.data for mark in marks) for one in reply.answer):
        return Found(Verdict.ENFORCED, "they come as they are")
    if expected is not None and _is_telling(kind, expected) and not blocked(reply, kind, expected):
        return Found(Verdict.OVER_BLOCKS, f"an open name is answered as a blocked one ({_type(kind)})")
    return Found(Verdict.UNKNOWN, f"{_rcode(reply.rcode)} without its data ({_type(kind)})")


def _is_telling(kind: int, expected: Expected) -> bool:
    """Return whether a block differs from no data: many resolvers leave AAAA or HTTPS out of every answer."""
    if expected.v4 or expected.v6:
        return bool(expected.of(kind))
    return expected.rcode != wire.NOERROR or kind == wire.A


def worst(found: Iterable[Found]) -> Found:
    """Return the first of those with the worst verdict; UNKNOWN of nothing."""
    return min(found, key=lambda one: ORDER.index(one.verdict), default=Found(Verdict.UNKNOWN, "nothing was asked"))
