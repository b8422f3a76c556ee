"""Rows of field cases: records whose data nobody can read, or that are not the answer's (F3)."""

from typing import Any, Final

from tests.journeys.cases.packets import wire
from tests.journeys.field.rows import (
    AAAA,
    ADDRESS,
    CNAME,
    DNAME,
    DS,
    HTTPS,
    MX,
    NAPTR,
    NS,
    PTR,
    RIGHT,
    RRSIG,
    SOA,
    SRV,
    TSIG,
    TXT,
    A,
    Ask,
    Reply,
    always,
    rr,
)
from tests.journeys.field.rows_reply import BROKEN, row

SOURCE: Final = "RFC 9267; BIND and Unbound beside us"
AFSDB, RP, MINFO, NSEC, CAA = 18, 17, 14, 47, 257
FIVE: Final = b"\0" * 20
PAST: Final = b"\xff\xf0"
UNKNOWN_LABEL: Final = b"\x80abc\0"
EXTENDED_LABEL: Final = b"\x41abc\0"
LONG: Final = (b"\x3f" + b"x" * 63) * 5 + b"\0"
TSIG_DATA: Final = wire("hmac-sha256") + b"\0" * 6 + b"\1\x2c\0\4abcd\0\1\0\0\0\0"

_DATA: Final = (
    ("NS", "a label of type 10", NS, UNKNOWN_LABEL),
    ("PTR", "a label of type 01", PTR, EXTENDED_LABEL),
    ("NS", "a pointer past the end", NS, PAST),
    ("MX", "a pointer past the end", MX, b"\0\x0a" + PAST),
    ("SRV", "a pointer past the end", SRV, b"\0\0\0\0\0P" + PAST),
    ("SOA", "a pointer past the end", SOA, wire("ns.test") + PAST + FIVE),
    ("NS", "a name cut short", NS, b"\5ab"),
    ("MX", "a name cut short", MX, b"\0\x0a\5ab"),
    ("MX", "one octet", MX, b"\0"),
    ("SOA", "numbers cut short", SOA, wire("ns.test") + wire("nobody.test") + FIVE[:16]),
    ("A", "three octets", A, ADDRESS[:3]),
    ("A", "five octets", A, ADDRESS + b"\0"),
    ("A", "no octet", A, b""),
    ("AAAA", "four octets", AAAA, ADDRESS),
    ("AAAA", "17 octets", AAAA, b"\0" * 17),
    ("PTR", "a name of 321 octets", PTR, LONG),
    ("PTR", "a name, and an octet behind it", PTR, wire("host.test") + b"\0"),
    ("SRV", "six octets", SRV, b"\0\0\0\0\0P"),
    ("NAPTR", "a label of type 10", NAPTR, b"\0\1\0\1\1s\0\0" + UNKNOWN_LABEL),
    ("AFSDB", "a pointer past the end", AFSDB, b"\0\1" + PAST),
    ("RP", "one name of two", RP, wire("nobody.test")),
    ("MINFO", "a name cut short", MINFO, wire("a.test") + b"\3a"),
    ("CNAME", "no octet", CNAME, b""),
    ("DNAME", "a label of type 01", DNAME, EXTENDED_LABEL),
    ("TXT", "a text that overruns", TXT, b"\x09abc"),
    ("CAA", "a tag that overruns", CAA, b"\0\x1eissue"),
    ("DS", "no digest", DS, b"\0\1\x0f\2"),
    ("RRSIG", "a signature cut short", RRSIG, b"\0\1\x0f\2" + b"\0" * 10),
    ("NSEC", "a bitmap that overruns", NSEC, wire("next.test") + b"\0\x1f\1"),
    ("HTTPS", "no octet", HTTPS, b""),
    ("HTTPS", "a parameter that overruns", HTTPS, b"\0\1\0\0\1\0\x20\2h2"),
)
_LENGTHS: Final = ("no octet", "17 octets", "six octets", "a name of 321 octets", "a name, and an octet behind it")
_OURS: Final = ("AFSDB", "RP", "MINFO", "CNAME", "DNAME")


def _broken(number: int, kind: str, comes: str, code: int, data: bytes) -> Any:
    before = "SERVFAIL" if kind in ("CNAME", "DNAME") else "passed on and kept"
    if (kind, comes) == ("HTTPS", "no octet"):
        before = "SERVFAIL"
    case = f"F3-{number + 1}" if number else "F3"
    source = "neighbour of F3" if kind in _OURS or comes in _LENGTHS else SOURCE
    says = always(Reply(answer=[rr(code, data)]))
    return row(case, source, f"{kind} with {comes}", before, says, Ask(kind=kind, says=BROKEN))


ROWS: Final = (
    *(_broken(number, *one) for number, one in enumerate(_DATA)),
    row(
        "F3-compressed",
        "neighbour of F3",
        "an HTTPS record whose target is compressed, which RFC 9460 2.2 forbids: mended",
        "passed on as it came",
        always(Reply(answer=[rr(HTTPS, b"\0\1\3svc\xc0\x0c")])),
        Ask(kind="HTTPS", says="NOERROR; HTTPS 1 svc.{name}. (300 s)"),
    ),
    row(
        "F3-class",
        SOURCE,
        "an A of class CH in an answer of class IN",
        "passed on and kept",
        always(Reply(answer=[rr(A, ADDRESS, rdclass=3)])),
        BROKEN,
    ),
    row(
        "F3-class-hs",
        "neighbour of F3",
        "an A, and beside it one of class HS",
        "passed on and kept",
        always(Reply(answer=[rr(A, ADDRESS), rr(A, ADDRESS, rdclass=4)])),
        BROKEN,
    ),
    row(
        "F3-tsig",
        "CZ-NIC/dns-fuzzing",
        "a TSIG of no key of ours in ANSWER: left out",
        "passed on",
        always(Reply(answer=[rr(A, ADDRESS), rr(TSIG, TSIG_DATA, owner=wire("key.test"), rdclass=255, ttl=0)])),
        RIGHT,
    ),
    row(
        "F3-tsig-last",
        "neighbour of F3",
        "a TSIG of no key of ours behind OPT, where it belongs: left out",
        "passed on",
        lambda asked: [
            Reply(
                answer=[rr(A, ADDRESS)],
                more=(0, 0, 1),
                after=rr(TSIG, TSIG_DATA, owner=wire("key.test"), rdclass=255, ttl=0),
            ).to(asked)
        ],
        RIGHT,
    ),
)
