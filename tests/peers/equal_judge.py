"""Whether two answers to one question say the same, and the reasons for which they may not.

Rules:
- Same are: the question as it was sent; rcode; AA, TC, RD, RA, AD and CD; each section's records as a set; the extended
  errors with their texts; that there is an OPT, and DO in it. Letters of names may be of either case.
- TTLs may differ by the time that has passed: Unbound's shrink between the two answers, and grow again where it learned
  the record anew for another question.
- Where both are truncated, what came by TCP is compared instead.
- A difference is explained by the first of REASONS that holds for the question and both answers, or it is a fault.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.peers.equal_client import Answer
from tests.peers.equal_zones import BROKEN, Question

# Unbound has been asked whether it is there some seconds before the first question, and kept that SOA.
SLACK_S = 10.0
BOGUS: Final = ((6, ""),)
WORDS: Final = ("question", "rcode", "edns", "dnssec_ok", "errors")
SECTIONS: Final = ("answer", "authority", "additional")
FLAGS: Final = dns.flags.AA | dns.flags.TC | dns.flags.RD | dns.flags.RA | dns.flags.AD | dns.flags.CD
Key = tuple[bytes, int, int, int, bytes]
Records = dict[Key, int]


@dataclass(frozen=True)
class Read:
    """One answer, so that it can be compared."""

    question: bytes
    rcode: str
    flags: int
    sections: tuple[Records, Records, Records]
    edns: bool
    dnssec_ok: bool
    errors: tuple[tuple[int, str], ...]


def read(octets: bytes, size: int) -> Read:
    """Read an answer; `size` is that of its query's question section."""
    message = dns.message.from_wire(octets)
    return Read(
        octets[12 : 12 + size],
        dns.rcode.to_text(message.rcode()),
        message.flags & FLAGS,
        (_records(message.answer), _records(message.authority), _records(message.additional)),
        message.edns >= 0,
        bool(message.ednsflags & dns.flags.DO),
        tuple((int(one.code), one.text or "") for one in message.options if isinstance(one, dns.edns.EDEOption)),
    )


def _records(section: list[dns.rrset.RRset]) -> Records:
    """Records without their order: owner, type, class, what is covered, data; their TTL."""
    return {
        (rrset.name.to_digestable(), rrset.rdtype, rrset.rdclass, rrset.covers, rdata.to_digestable()): rrset.ttl
        for rrset in section
        for rdata in rrset
    }


@dataclass(frozen=True)
class Pair:
    """A question, both answers, and in what they differ."""

    question: Question
    ours: Read
    theirs: Read
    differences: tuple[str, ...]
    other_ttls: frozenset[Key]


def pair(question: Question, ours: Answer, theirs: Answer, seconds: float) -> Pair:
    """Compare the answers to a question; `seconds` have passed since the first question of all."""
    by_tcp = bool(ours.whole and theirs.whole)
    size = len(question.octets) - 10 - (11 if question.edns else 0)
    our, their = (read(one.whole if by_tcp else one.octets, size) for one in (ours, theirs))
    words = [word for word in WORDS if getattr(our, word) != getattr(their, word)]
    if our.flags != their.flags:
        words.append("flags")
    other_ttls = set()
    for word, mine, other in zip(SECTIONS, our.sections, their.sections, strict=True):
        if mine.keys() != other.keys():
            words.append(word)
        other_ttls |= {key for key in mine.keys() & other.keys() if abs(mine[key] - other[key]) > seconds + SLACK_S}
    if other_ttls:
        words.append("TTL")
    return Pair(question, our, their, tuple(words), frozenset(other_ttls))


def _only(one: Pair, words: str, flags: int = 0) -> bool:
    """Whether the answers differ in nothing but this, and in these flags."""
    other_flags = one.ours.flags ^ one.theirs.flags
    return set(one.differences) - {"flags"} <= set(words.split()) and not other_flags & ~flags


def _any(one: Pair) -> bool:
    return one.question.kind == "ANY" and _only(one, "answer authority additional", dns.flags.AD)


def _transfer(one: Pair) -> bool:
    is_refused = one.ours.rcode == one.theirs.rcode == "REFUSED"
    return one.question.kind in {"AXFR", "IXFR"} and is_refused and _only(one, "", dns.flags.RA | dns.flags.AD)


def _mail(one: Pair) -> bool:
    rcodes = one.ours.rcode, one.theirs.rcode
    return one.question.kind in {"MAILA", "MAILB"} and rcodes == ("REFUSED", "FORMERR")


def _meta(one: Pair) -> bool:
    is_error = one.ours.rcode == one.theirs.rcode == "FORMERR"
    return is_error and _only(one, "errors", dns.flags.RA | dns.flags.AD) and one.ours.errors in {(), ((30, ""),)}


def _class(one: Pair) -> bool:
    return one.question.kind == "CH" and one.ours.rcode == "REFUSED"


def _local(one: Pair) -> bool:
    is_local = one.question.name.endswith((".arpa", "localhost", "onion"))
    return is_local and bool(one.ours.flags & dns.flags.AA) and _only(one, "answer authority")


def _unknown_there(one: Pair) -> bool:
    is_ours = one.question.name.endswith("resolver.arpa") and bool(one.ours.flags & dns.flags.AA)
    return is_ours and one.theirs.rcode in {"SERVFAIL", "REFUSED"}


def _made_from_dname(one: Pair) -> bool:
    made = all(key[1] == dns.rdatatype.CNAME for key in one.other_ttls)
    return _only(one, "TTL") and made and any(key[1] == dns.rdatatype.DNAME for key in one.ours.sections[0])


def _leads_into_broken(question: Question) -> bool:
    return question.name.startswith("ill") or question.name.endswith(BROKEN)


def _bogus(one: Pair) -> bool:
    bogus = one.ours.rcode == "SERVFAIL" and one.theirs.errors == BOGUS
    return _only(one, "errors") and bogus and _leads_into_broken(one.question)


def _validated_later(one: Pair) -> bool:
    return _only(one, "", dns.flags.AD) and bool(one.question.flags & one.theirs.flags & dns.flags.CD)


def _shortened(one: Pair) -> bool:
    return _only(one, "TTL") and bool(one.question.flags & dns.flags.CD) and _leads_into_broken(one.question)


REASONS: Final[dict[str, Callable[[Pair], bool]]] = {
    "ANY: one HINFO record here (RFC 8482), what it has there": _any,
    "AXFR and IXFR: refused by both, there without RA": _transfer,
    "MAILA and MAILB: REFUSED here, FORMERR there": _mail,
    "a type that nobody may ask for: FORMERR by both, here with EDE 30, there without RA": _meta,
    "another class than IN: refused here, answered there about itself": _class,
    "a local zone: both answer, each with a SOA and NS of its own": _local,
    "resolver.arpa: answered here (RFC 9462), unknown to Unbound 1.17": _unknown_there,
    "a CNAME made from a DNAME: Unbound gives it TTL 0 when it makes it from its cache": _made_from_dname,
    "validation failed: Unbound told us why, and from its cache no more than EDE 6": _bogus,
    "CD=1: Unbound had not validated what it gave us, and had when it was asked itself": _validated_later,
    "CD=1: Unbound shortens TTLs once it has found that validation fails": _shortened,
}


def reason(one: Pair) -> str:
    """Why the answers may differ; empty where they may not."""
    return next((words for words, holds in REASONS.items() if holds(one)), "")
