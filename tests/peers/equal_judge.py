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

SLACK_S = 2
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
        words.append("flags " + dns.flags.to_text(our.flags ^ their.flags))
    other_ttls = set()
    for word, mine, other in zip(SECTIONS, our.sections, their.sections, strict=True):
        if mine.keys() != other.keys():
            words.append(word)
        other_ttls |= {key for key in mine.keys() & other.keys() if abs(mine[key] - other[key]) > seconds + SLACK_S}
    if other_ttls:
        words.append("TTL")
    return Pair(question, our, their, tuple(words), frozenset(other_ttls))


def _local(one: Pair) -> bool:
    return one.question.name.lower().endswith((".arpa", "localhost", "onion", "invalid"))


def _made_from_dname(one: Pair) -> bool:
    made = all(key[1] == dns.rdatatype.CNAME for key in one.other_ttls)
    return one.differences == ("TTL",) and made and any(key[1] == dns.rdatatype.DNAME for key in one.ours.sections[0])


def _leads_into_broken(question: Question) -> bool:
    return question.name.startswith("ill") or question.name.endswith(BROKEN)


def _bogus(one: Pair) -> bool:
    bogus = one.theirs.rcode == "SERVFAIL" and one.theirs.errors == BOGUS
    return one.differences == ("errors",) and bogus and _leads_into_broken(one.question)


def _validated_later(one: Pair) -> bool:
    return one.differences == ("flags AD",) and bool(one.question.flags & one.theirs.flags & dns.flags.CD)


def _shortened(one: Pair) -> bool:
    checked = bool(one.question.flags & dns.flags.CD)
    return one.differences == ("TTL",) and checked and _leads_into_broken(one.question)


REASONS: Final[dict[str, Callable[[Pair], bool]]] = {
    "RD=0: refused here with EDE 20, answered there from what it kept": lambda one: not one.question.flags & 0x0100,
    "another class than IN: refused here, answered there about itself": lambda one: one.question.kind == "CH",
    "ANY: one HINFO record here (RFC 8482), what it has there": lambda one: one.question.kind == "ANY",
    "a type that nobody may ask for: FORMERR here": lambda one: one.question.kind in {"TSIG", "TKEY", "OPT", "TYPE128"},
    "a transfer or its like: refused here": lambda one: one.question.kind in {"AXFR", "IXFR", "MAILA", "MAILB"},
    "a local zone: both answer by themselves": _local,
    "a CNAME made from a DNAME: Unbound gives it TTL 0 when it makes it from its cache": _made_from_dname,
    "validation failed: Unbound told us why, and from its cache no more than EDE 6": _bogus,
    "CD=1: Unbound had not validated what it gave us, and had when it was asked itself": _validated_later,
    "CD=1: Unbound shortens TTLs once it has found that validation fails": _shortened,
}


def reason(one: Pair) -> str:
    """Why the answers may differ; empty where they may not."""
    return next((words for words, holds in REASONS.items() if holds(one)), "")
