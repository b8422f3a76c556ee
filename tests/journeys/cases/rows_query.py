"""Rows of the table of cases: what may be wrong with a query, its header, its names, its types and classes."""

from typing import Any, Final

from tests.journeys.cases.packets import (
    LISTED,
    ONCE,
    RD,
    UDP,
    Row,
    header,
    opt,
    query,
    question,
    record,
    wire,
)

PAGE: Final = "NOERROR; A 192.0.2.1 (60 s)"
STOPPED: Final = "NODATA; authority: SOA of listed.test. (60 s)"
RIGHT: Final = "NOERROR; A 198.51.100.7 (300 s)"
EMPTY: Final = "NODATA; authority: SOA of test. (300 s)"
HINFO: Final = 'NOERROR; HINFO "RFC8482" "" (3600 s)'
BARE: Final = "FORMERR, header only"


def row(case: str, comes: str, rfc: str, answer: str, *packets: bytes, **more: Any) -> Row:
    """A row; without packets the query for `right.<case>.test`, type A."""
    return Row(case=case, comes=comes, rfc=rfc, answer=answer, packets=packets or (query(case),), **more)


SHORT: Final = (
    row("empty", "nothing at all", "1035 4.1.1", "silence", b""),
    row("eleven-octets", "less than a header", "1035 4.1.1", "silence", header("eleven-octets")[:11]),
    row("response", "QR=1", "1035 4.1.1", "silence", query("response", flags=0x8180)),
    row(
        "response-to-nobody",
        "QR=1 and an opcode, QDCOUNT and version that would be errors",
        "1035 4.1.1",
        "silence",
        header("response-to-nobody", flags=0xF900, counts=(0, 0, 0, 0)),
        query("response-to-nobody", "A", opt(version=1), flags=0x8180),
    ),
    row("source-port-0", "source port 0", "8085 5.1", "silence", over=(UDP,)),
)

HEADERS: Final = (
    row("no-question", "QDCOUNT 0", "9619 4", BARE, header("no-question", counts=(0, 0, 0, 0))),
    row(
        "no-question-cookie",
        "QDCOUNT 0 and a cookie: a request for one",
        "9619 4, 7873 5.4",
        "NODATA; EDNS, cookie",
        header("no-question-cookie", counts=(0, 0, 0, 1)) + opt(b"\0\x0a\0\x0812345678"),
    ),
    row(
        "two-questions",
        "QDCOUNT 2 and 65535",
        "9619 4",
        BARE,
        header("two-questions", counts=(2, 0, 0, 0)) + question(wire("right.two-questions.test")) * 2,
        header("two-questions", counts=(65535, 0, 0, 0)) + question(wire("right.two-questions.test")),
    ),
    row(
        "opcodes",
        "opcode 1 to 15: IQUERY, STATUS, NOTIFY, UPDATE, DSO and all unassigned",
        "8906 8.1.4, 1035 4.1.1, 3425 3, 8490 5.1.1",
        "NOTIMP, header only",
        *(query("opcodes", flags=RD | opcode << 11) for opcode in range(1, 16)),
    ),
    row(
        "opcodes-header-only",
        "opcode 15, 6 and 5, a header and no more",
        "8906 8.1.4",
        "NOTIMP, header only",
        *(header("opcodes", flags=opcode << 11, counts=(0, 0, 0, 0)) for opcode in (15, 6, 5)),
    ),
    row("plain", "RD=1, no EDNS, type A", "1035 4.1.1, 8906 8.1.1 and 8.1.5", RIGHT, upstream=ONCE),
    row("header-z", "the reserved bit Z", "8906 8.1.3.3, 1035 4.1.1", RIGHT, query("header-z", flags=RD | 0x40),
        upstream=ONCE),
    row("header-cd", "CD=1", "8906 8.1.3.1, 4035 3.2.2", RIGHT.replace("R;", "R, CD;"),
        query("header-cd", flags=RD | 0x10), upstream=ONCE),
    row("header-ad", "AD=1, of what was not validated", "8906 8.1.3.2, 6840 5.7", RIGHT,
        query("header-ad", flags=RD | 0x20), upstream=ONCE),
    row("header-aa-tc-rcode", "AA, TC and an rcode in a query: nothing to us", "1035 4.1.1", RIGHT,
        query("header-aa-tc-rcode", flags=RD | 0x0605), upstream=ONCE),
    row("letters", "a name in one case, then in others: each gets its own back", "1035 2.3.3, 5452 9.1", RIGHT,
        *(query("letters", name=name) for name in ("rIGHT.lEtters.tEst", "right.letters.test", "RIGHT.LETTERS.TEST")),
        upstream=ONCE),
    row("records-besides", "a record in ANSWER and one in ADDITIONAL: nothing to us", "1035 4.1, 6891 6.1.1",
        RIGHT + "; EDNS",
        query("records-besides", "A", record(wire("other.test"), 1, b"\xc6\x33\x64\x07"), opt(), sections=(1, 0)),
        upstream=ONCE),
    row("rd-0", "RD=0, not listed and not kept", "8914 4.21", "REFUSED", query("rd-0", flags=0)),
    row("rd-0-edns", "RD=0, with EDNS", "8914 4.21, 8906 8.1.3.4", "REFUSED; EDNS, EDE 20",
        query("rd-0-edns", "A", opt(), flags=0)),
    row("rd-0-listed", "RD=0, listed: as if it were not", "8914 4.21", "REFUSED; EDNS, EDE 20",
        query("rd-0-listed", "A", opt(), name=LISTED, flags=0)),
    row("rd-0-kept", "RD=0 for what another has just asked", "8914 4.21", "REFUSED",
        query("rd-0-kept", name="right.plain.test", flags=0)),
)  # fmt: skip

NAMES: Final = (
    row("pointers", "a compressed QNAME: to itself, forward, into the header, cut, to its own label",
        "1035 4.1.4, 9267 2", BARE,
        *(query("pointers", name=name) for name in (
            b"\xc0\x0c", b"\xc0\x20", b"\3www\xc0\0", b"\3www\xc0", b"\3www\xc0\x0c", b"\3www\xc0\x10")), ),
    row("label-types", "labels of types 01 and 10, and of 64 octets", "1035 4.1.4, 6891 5", BARE,
        *(query("label-types", name=name) for name in (b"\x80\1\0", b"\x41\1\0", b"\x40" + b"x" * 64 + b"\0")), ),
    row("name-too-long", "256 octets; 128 labels; no end", "1035 2.3.4", BARE,
        query("name-too-long", name=(b"\x3f" + b"x" * 63) * 3 + b"\x3e" + b"w" * 62 + b"\0"),
        query("name-too-long", name=b"\1a" * 128 + b"\0"),
        header("name-too-long") + b"\3www\7example", ),
    row("name-longest", "255 octets", "1035 2.3.4", RIGHT,
        query("name-longest", name=(b"\x3f" + b"x" * 63) * 3 + b"\x38" + b"w" * 56 + b"\4test\0"), upstream=ONCE),
    row("name-octets", "labels of any octet: a dot, a space, 0 and 255", "2181 11", RIGHT,
        query("name-octets", name=b"\6a.b \0\xff\x0bname-octets\4test\0"), upstream=ONCE),
    row("question-cut", "a question that ends too early", "1035 4.1.2", BARE,
        header("question-cut"), header("question-cut") + wire("x.test"),
        header("question-cut") + wire("x.test") + b"\0\1\0"),
    row("octets-after", "octets after the end", "1035 4.1", "FORMERR", query("octets-after", after=b"\0"),
        query("octets-after", after=opt())),
    row("counts", "more records announced than there are", "1035 4.1.1", "FORMERR",
        query("counts")[:10] + b"\0\1" + query("counts")[12:], query("counts")[:6] + b"\xff\xff" + query("counts")[8:]),
    row("record-cut", "a record that ends too early, or whose data do", "1035 4.1.3", "FORMERR",
        query("record-cut", "A", opt()[:7]), query("record-cut", "A", opt()[:-2] + b"\0\x09")),
)  # fmt: skip

TYPES: Final = (
    row("meta-types", "OPT, TKEY, TSIG as qtype", "6895 3.1, 6891 6.1.1, 2930 2, 8945 4.2", "FORMERR",
        *(query("meta-types", kind) for kind in (41, 249, 250))),
    row("meta-types-edns", "the same with EDNS", "6895 3.1, 9824 3.5", "FORMERR; EDNS, EDE 30",
        *(query("meta-types-edns", kind, opt()) for kind in (41, 249, 250))),
    row("nxname", "NXNAME as qtype, with EDNS", "9824 3.5", "FORMERR; EDNS, EDE 30", query("nxname", 128, opt())),
    row("nxname-plain", "NXNAME as qtype, without", "9824 3.5", "FORMERR", query("nxname-plain", 128)),
    row("tsig", "a query with TSIG", "8945 5.2, 8914", "REFUSED",
        query("tsig", "A", record(b"\0", 250, bytes(16), rdclass=255))),
    row("sig0", "a query with SIG(0)", "2931 3.1", "REFUSED", query("sig0", "A", record(b"\0", 24, bytes(18),
        rdclass=255))),
    row("transfers", "AXFR and IXFR", "5936 5, 1995 2", "REFUSED",
        query("transfers", "AXFR", name="test"), query("transfers", "IXFR", name="test"),
        query("transfers", "AXFR", name=LISTED)),
    row("mail-types", "MAILB and MAILA", "1035 3.2.3, 8906 7", "REFUSED",
        query("mail-types", 253), query("mail-types", 254)),
    row("any", "ANY, not listed", "8482 4.2", HINFO, query("any", "ANY")),
    row("any-edns", "ANY, not listed, DO=1", "8482 4.2", HINFO + "; EDNS DO", query("any-edns", "ANY",
        opt(flags=0x8000))),
    row("any-rd-0", "ANY, not listed, RD=0", "8914 4.21", "REFUSED", query("any-rd-0", "ANY", flags=0)),
    row("any-listed", "ANY, listed: the verdict comes first", "8482 4.2, 8914 4.5", STOPPED + "; EDNS, EDE 4",
        query("any-listed", "ANY", opt(), name=LISTED)),
    row("unknown-type-empty", "a type unknown to us, nothing there", "8906 8.1.2, 3597 5", EMPTY,
        query("unknown-type-empty", 1000), upstream=ONCE),
    row("unknown-type", "a type unknown to us", "3597 3", "NOERROR; TYPE65280 \\# 4 c6336407 (300 s)",
        query("unknown-type", 65280, name="unknown.unknown-type.test"), upstream=ONCE),
    row("type-0", "types 0 and 65535, that nobody may use: the upstream's to say", "6895 3.1", EMPTY,
        query("type-0", 0), query("type-0", 65535), upstream=ONCE),
    row("root", "NS of the root", "1035 3.1", EMPTY, query("root", "NS", name=b"\0"), upstream=ONCE),
    row("class-unlisted", "classes CH, HS, NONE, ANY, 0: not listed", "1035 3.2.4, 6895 3.2", "REFUSED",
        *(query("class-unlisted", qclass=number) for number in (3, 4, 254, 255, 0)),
        query("class-unlisted", "TXT", name="version.bind", qclass=3)),
    row("class-listed", "the same of a listed name: nobody can tell it by that", "1035 3.2.4, 6895 3.2", "REFUSED",
        *(query("class-listed", name=LISTED, qclass=number) for number in (3, 4, 254, 255, 0)),
        query("class-listed", "TXT", name=LISTED, qclass=3, flags=0)),
)  # fmt: skip

BLOCKED: Final = (
    row("listed", "A of a listed name and of names below it", "8914 4.5", PAGE,
        query("listed", name=LISTED), query("listed", name="lIsTeD.TEST"), query("listed", name=f"a.b.{LISTED}")),
    row("listed-edns", "A of a listed name, with EDNS; DO, CD and AD change nothing but what is copied",
        "8914 4.5, 4035 3.2.1", PAGE + "; EDNS, EDE 4",
        query("listed-edns", "A", opt(), name=LISTED),
        query("listed-edns", "A", opt(), name=LISTED, flags=RD | 0x20)),
    row("listed-do", "A of a listed name, DO=1 and CD=1", "8914 4.5, 4035 3.2.1", PAGE.replace("R;",
        "R, CD;") + "; EDNS DO, EDE 4",
        query("listed-do", "A", opt(flags=0x8000), name=LISTED, flags=RD | 0x10)),
    row("listed-aaaa", "AAAA of a listed name", "8914 4.5", "NOERROR; AAAA 2001:db8::1 (60 s)",
        query("listed-aaaa", "AAAA", name=LISTED)),
    row("listed-types", "every other type of a listed name", "2308 2.2, 8914 4.5", STOPPED,
        *(query("listed-types", kind, name=LISTED) for kind in ("HTTPS", "SVCB", "MX", "TXT", "NS", "SOA", "CNAME",
        65280))),
    row("listed-alias", "a name that the upstream leads to a listed one", "8914 4.5", PAGE + "; EDNS, EDE 4",
        query("listed-alias", "A", opt(), name="into.listed-alias.test"), upstream=ONCE),
)  # fmt: skip

ROWS: Final = (*SHORT, *HEADERS, *NAMES, *TYPES, *BLOCKED)
