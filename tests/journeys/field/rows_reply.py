"""Rows of field cases: what an upstream says, from too much to too little."""

from typing import Any, Final

from tests.journeys.cases.packets import option, wire
from tests.journeys.field.rows import (
    AAAA,
    ADDRESS,
    CNAME,
    DNSKEY,
    DS,
    HTTPS,
    OWNER,
    PAGE,
    PTR,
    RIGHT,
    SECRET,
    SOA,
    TXT,
    A,
    Ask,
    Reply,
    Row,
    Says,
    always,
    by,
    cut_to,
    rr,
    without_edns,
)

SOA_DATA: Final = wire("ns.test") + wire("nobody.test") + b"".join(n.to_bytes(4, "big") for n in (1, 9, 9, 9, 300))
SOA_RR: Final = rr(SOA, SOA_DATA, owner=wire("test"))
SIXTEEN: Final = bytes.fromhex("20010db8600d00000000000000000022")


def row(case: str, source: str, comes: str, before: str, says: Says, *asks: Ask | str, **more: Any) -> Row:
    """A row; a text is one question for A that has to be answered so."""
    made = tuple(Ask(says=one) if isinstance(one, str) else one for one in asks)
    return Row(case=case, source=source, comes=comes, before=before, says=says, asks=made, **more)


def text(octets: int) -> bytes:
    """The data of a TXT record, of this many octets."""
    data = b""
    while left := octets - len(data):
        size = min(left, 256)
        size -= left - size == 1
        data += bytes([size - 1]) + b"x" * (size - 1)
    return data


def targets(count: int) -> list[bytes]:
    """Names of hosts, each spelled out."""
    return [wire(f"dc{number}.ad.test") for number in range(count)]


def glue(names: list[bytes]) -> list[bytes]:
    """A and AAAA of each name, the owner spelled out each time."""
    return [one for name in names for one in (rr(A, ADDRESS, owner=name), rr(AAAA, SIXTEEN, owner=name))]


def addresses(count: int, owner: bytes = OWNER) -> list[bytes]:
    return [rr(A, bytes([198, 51, 100 + number // 256, number % 256]), owner=owner) for number in range(count)]


def parameters(count: int) -> bytes:
    """The data of an HTTPS record with so many unknown parameters and 20 hints."""
    data = b"\0\1\0\0\1\0\3\2h2" + b"\0\4" + (80).to_bytes(2, "big") + ADDRESS * 20
    return data + b"".join((1000 + n).to_bytes(2, "big") + b"\0\4" + b"abcd" for n in range(count))


MANY: Final = (
    row(
        "4e",
        "neighbour of 4",
        "6 HTTPS with 100 SvcParams each",
        "6 HTTPS",
        cut_to(Reply(answer=[rr(HTTPS, parameters(100 + n)) for n in range(6)])),
        Ask(kind="HTTPS", says="NOERROR; 6 HTTPS (300 s)"),
    ),
    row(
        "4g",
        "neighbour of 4",
        "800 PTR of one address",
        "800 PTR",
        cut_to(Reply(answer=[rr(PTR, one) for one in targets(800)])),
        Ask(kind="PTR", says="NOERROR; 800 PTR (300 s)"),
    ),
)

LEADS_AWAY: Final = (rr(CNAME, wire("www.listed.test")), rr(A, SECRET, owner=wire("www.listed.test")))


def behind(octets: bytes, **more: Any) -> Reply:
    """The right answer with octets behind its end."""
    return Reply(answer=[rr(A, ADDRESS)], after=octets, **more)


TRAILING: Final = ()

SIZE_SOURCE: Final = "AdguardTeam/dnsproxy#524; coredns/coredns#5998, #6277"
WIDE: Final = Reply(answer=[rr(TXT, text(1240))])
LARGE: Final = (
    row(
        "6",
        SIZE_SOURCE,
        "1.3 kB by UDP though told 1232, nobody at TCP",
        "SERVFAIL, EDE 23",
        by(WIDE, None),
        Ask(kind="TXT", says="NOERROR; TXT of 1240 octets (300 s)"),
    ),
    row(
        "6b",
        "neighbour of 6",
        "4 kB by UDP, nobody at TCP",
        "SERVFAIL, EDE 23",
        by(Reply(answer=[rr(TXT, text(4000))]), None),
        Ask(kind="TXT", says="NOERROR; TXT of 4000 octets (300 s)"),
    ),
    row(
        "6c",
        "neighbour of 6",
        "1.3 kB by UDP, and TCP says another thing: TCP is believed",
        "what TCP says",
        by(WIDE, Reply(answer=[rr(TXT, text(1241))])),
        Ask(kind="TXT", says="NOERROR; TXT of 1241 octets (300 s)"),
        unlisted=False,
    ),
    row(
        "6d",
        "neighbour of 6",
        "1.3 kB by UDP that lead into the list, nobody at TCP",
        "SERVFAIL, EDE 23",
        by(Reply(answer=LEADS_AWAY, additional=[rr(TXT, text(1240), owner=wire("x.test"))]), None),
        PAGE,
        unlisted=False,
    ),
)

BARE: Final = {"question": False, "edns": True}
ERRORS_SOURCE: Final = "wahern/dns#4; razvandimescu/numa#349; coredns/coredns#1899"
ERRORS: Final = (
    row(
        "11",
        ERRORS_SOURCE,
        "FORMERR with OPT and without a question; without EDNS the right answer",
        "SERVFAIL after 2.0 s and 6 datagrams",
        without_edns(Reply(rcode=1, **BARE)),
        RIGHT,
        exchanges=2,
    ),
    row(
        "11b",
        "neighbour of 11",
        "NOTIMP with OPT and without a question; without EDNS the right answer",
        "SERVFAIL after 2.0 s and 6 datagrams",
        without_edns(Reply(rcode=4, **BARE)),
        RIGHT,
        exchanges=2,
    ),
    row(
        "11c",
        "razvandimescu/numa#349",
        "REFUSED with OPT and without a question",
        "SERVFAIL after 2.0 s and 6 datagrams",
        always(Reply(rcode=5, **BARE)),
        "REFUSED",
        exchanges=1,
    ),
    row(
        "11d",
        "systemd/systemd#9241",
        "FORMERR, a header alone; without EDNS the right answer",
        "the right answer",
        without_edns(Reply(rcode=1, question=False, edns=False)),
        RIGHT,
        exchanges=2,
    ),
    row(
        "11e",
        "neighbour of 11",
        "SERVFAIL with OPT and without a question",
        "SERVFAIL after 2.0 s and 6 datagrams",
        always(Reply(rcode=2, **BARE)),
        "SERVFAIL",
        exchanges=1,
    ),
)

LIMITS: Final = (
    row(
        "17",
        "NLnetLabs/unbound#1491",
        "an answer with EDE 15, fresh and kept",
        "passed on both times",
        always(Reply(answer=[rr(A, ADDRESS)], options=[option(15, b"\0\x0fMalware")])),
        *(Ask(says=f"{RIGHT}; EDE 15 'Malware'"),) * 2,
        exchanges=1,
    ),
    row(
        "22",
        "TechnitiumSoftware/DnsServer#2079; pi-hole/FTL#1263",
        "TC=1 and nobody at TCP",
        "SERVFAIL, EDE 23, at once",
        by(Reply(flags=0x8380), None),
        "SERVFAIL; EDE 23",
    ),
)

SELF_DS: Final = rr(DS, b"\x30\x39\x0f\2" + b"\xaa" * 32)
KEY: Final = rr(DNSKEY, b"\1\1\3\x0f" + b"k" * 32)
VALIDATOR_SOURCE: Final = "TechnitiumSoftware/DnsServer#1014; NLnetLabs/unbound#1130"
DS_WORDS: Final = "NOERROR; DS of 36 octets (300 s)"
VALIDATOR: Final = (
    row(
        "1",
        VALIDATOR_SOURCE,
        "DS of an exact entry: a validator needs it for all that is below",
        "NODATA, EDE 4",
        always(Reply(answer=[SELF_DS])),
        Ask(kind="DS", form="do", says=DS_WORDS),
        name="self-{}.field.test",
    ),
    row(
        "1b",
        VALIDATOR_SOURCE,
        "DNSKEY of an entry that has an exception",
        "NODATA, EDE 4",
        always(Reply(answer=[KEY])),
        Ask(kind="DNSKEY", form="do", says="NOERROR; DNSKEY of 36 octets (300 s)"),
        name="except-{}.field.test",
    ),
    row(
        "1c",
        "neighbour of 1",
        "DS of an entry without exceptions: all below it is blocked",
        "NODATA, EDE 4",
        always(Reply(answer=[SELF_DS])),
        Ask(kind="DS", form="do", says="NODATA; SOA of {name}.; EDE 4"),
        name="whole-{}.field.test",
        unlisted=False,
        exchanges=0,
    ),
    row(
        "1d",
        "neighbour of 1",
        "DS of an exact entry, and the reply leads into the list: it is judged as any other",
        "NODATA, EDE 4",
        always(Reply(answer=[rr(CNAME, wire("www.listed.test")), rr(DS, SECRET * 9, owner=wire("www.listed.test"))])),
        Ask(kind="DS", form="do", says="NODATA; SOA of {name}.; EDE 4"),
        name="self-away-{}.field.test",
        unlisted=False,
    ),
    row(
        "1e",
        "neighbour of 1",
        "A of an exact entry",
        "page",
        always(Reply(answer=[rr(A, SECRET)])),
        Ask(form="do", says=PAGE),
        name="self-{}.field.test",
        unlisted=False,
        exchanges=0,
    ),
)

ROWS: Final = (*VALIDATOR, *MANY, *TRAILING, *LARGE, *ERRORS, *LIMITS)
