"""Rows of field cases: what is kept, in which form it serves, and what never leaves."""

from typing import Final

from tests.fakes.octets import Asked
from tests.journeys.cases.packets import wire
from tests.journeys.field.rows import (
    ADDRESS,
    CNAME,
    DNAME,
    DS,
    MX,
    NS,
    PAGE,
    RIGHT,
    SOA,
    A,
    Ask,
    Reply,
    Row,
    Says,
    always,
    rr,
    then,
)
from tests.journeys.field.rows_reply import SOA_DATA, SOA_RR, row

FORMS: Final = ("plain", "ad", "edns", "edns-ad", "do", "do-cd")
SERVFAIL: Final = always(Reply(rcode=2))
SHORT: Final = always(Reply(answer=[rr(A, ADDRESS, ttl=1)]))
STALE: Final = "NOERROR; A 198.51.100.7 (30 s)"
TWICE: Final = (Ask(says=RIGHT), Ask(says=RIGHT))

NS_BESIDE: Final = rr(NS, wire("ns.test"), owner=wire("test"), ttl=0)
MAIL: Final = [rr(MX, b"\0" + bytes([n]) + wire(f"mx{n}.test")) for n in range(3)]
MAIL_GLUE: Final = [rr(A, ADDRESS, owner=wire(f"mx{n}.test"), ttl=0) for n in range(3)]
TTL_SOURCE: Final = "PowerDNS/pdns#9135"


RENAMED: Final = (
    "NOERROR; DNAME of branch.test. there.test. (300 s); CNAME {{there}}. ({ttl} s); "
    "A of {{there}}. 198.51.100.7 (300 s)"
)


def renamed(ttl: int) -> Says:
    """A DNAME, the CNAME made of it with this TTL, and an address."""

    def says(asked: Asked) -> list[bytes]:
        end = wire("there.test")
        target = wire(asked.name.replace(".branch.test", ".there.test"))
        answer = [
            rr(DNAME, end, owner=wire("branch.test")),
            rr(CNAME, target, ttl=ttl),
            rr(A, ADDRESS, owner=target),
        ]
        return [Reply(answer=answer).to(asked)]

    return says


KEPT: Final = (
    row(
        "10",
        TTL_SOURCE,
        "an A of 300 s, and in ADDITIONAL an A of 0 s",
        "never kept",
        always(Reply(answer=[rr(A, ADDRESS)], additional=[rr(A, ADDRESS, owner=wire("ns.test"), ttl=0)])),
        *TWICE,
        exchanges=1,
    ),
    row(
        "10b",
        TTL_SOURCE,
        "an A of 300 s, and in AUTHORITY an NS of 0 s",
        "never kept",
        always(Reply(answer=[rr(A, ADDRESS)], authority=[NS_BESIDE])),
        *TWICE,
        exchanges=1,
    ),
    row(
        "10c",
        "neighbour of 10",
        "MX of 300 s whose glue has a TTL of 0",
        "never kept",
        always(Reply(answer=MAIL, additional=MAIL_GLUE)),
        *(Ask(kind="MX", says="NOERROR; MX 0 mx0.test. 1 mx1.test. 2 mx2.test. (300 s)"),) * 2,
        exchanges=1,
    ),
    row(
        "10d",
        "neighbour of 10",
        "NXDOMAIN with a SOA of 300 s, and in ADDITIONAL an A of 0 s",
        "never kept",
        always(
            Reply(rcode=3, authority=[SOA_RR], additional=[rr(A, ADDRESS, owner=wire("ns.test"), ttl=0)]),
        ),
        *(Ask(says="NXDOMAIN; SOA of test."),) * 2,
        exchanges=1,
    ),
    row(
        "10e",
        "neighbour of 10",
        "an A of 0 s: it is for one use",
        "asked for each time",
        always(Reply(answer=[rr(A, ADDRESS, ttl=0)])),
        *(Ask(says="NOERROR; A 198.51.100.7 (0 s)"),) * 2,
        exchanges=2,
    ),
    row(
        "10f",
        "neighbour of 10",
        "NXDOMAIN with a SOA of 0 s",
        "asked for each time",
        always(Reply(rcode=3, authority=[rr(SOA, SOA_DATA, owner=wire("test"), ttl=0)])),
        *(Ask(says="NXDOMAIN; SOA of test."),) * 2,
        unlisted=False,
    ),
    row(
        "10g",
        "neighbour of 10",
        "a DNAME of 300 s, and the CNAME made of it with a TTL of 0 (RFC 6672 3.1): it is for one use",
        "asked for each time",
        renamed(0),
        *(Ask(says=RENAMED.format(ttl=0)),) * 2,
        name="{}.branch.test",
        exchanges=2,
    ),
    row(
        "10h",
        "neighbour of 10",
        "the same, and the CNAME has the DNAME's TTL",
        "kept",
        renamed(300),
        *(Ask(says=RENAMED.format(ttl=300)),) * 2,
        name="{}.branch.test",
        exchanges=1,
    ),
    row(
        "18",
        "PowerDNS/pdns#3679; ustclug/neatdns#12",
        "a CNAME alone",
        "passed on, asked for each time",
        always(Reply(answer=[rr(CNAME, wire("target.test"))])),
        *(Ask(says="NOERROR; CNAME target.test. (300 s)"),) * 2,
        exchanges=1,
    ),
    row(
        "18b",
        "neighbour of 18",
        "two CNAMEs alone",
        "passed on, asked for each time",
        always(
            Reply(answer=[rr(CNAME, wire("middle.test")), rr(CNAME, wire("target.test"), owner=wire("middle.test"))])
        ),
        *(Ask(says="NOERROR; CNAME middle.test. (300 s); CNAME of middle.test. target.test. (300 s)"),) * 2,
        exchanges=1,
    ),
    row(
        "18c",
        "neighbour of 18",
        "a CNAME alone that leads into the list",
        "page",
        always(Reply(answer=[rr(CNAME, wire("www.listed.test"))])),
        *(Ask(says=PAGE),) * 2,
        unlisted=False,
    ),
)

FORMS_SOURCE: Final = "coredns/coredns#2570; razvandimescu/numa#191; NLnetLabs/domain#275"
ONE_QUESTION: Final = (
    row(
        "7",
        FORMS_SOURCE,
        "one name, asked for plain, with AD, with EDNS, and with both",
        "4 exchanges",
        always(Reply(answer=[rr(A, ADDRESS)])),
        *(Ask(form=form, says=RIGHT) for form in FORMS[:4]),
        exchanges=1,
    ),
    row(
        "F2",
        "scenario rrset_use_cached of Unbound's testdata",
        "the same and with DO, and with DO and CD",
        "6 exchanges",
        always(Reply(answer=[rr(A, ADDRESS)])),
        *(Ask(form=form, says=RIGHT) for form in FORMS),
        exchanges=3,
    ),
    row(
        "7b",
        FORMS_SOURCE,
        "kept for a plain client, its TTL is over, the upstream says SERVFAIL",
        "stale for that form alone, SERVFAIL for the five others",
        then(SHORT, SERVFAIL),
        Ask(form="plain", says="NOERROR; A 198.51.100.7 (1 s)"),
        Ask(form="plain", says=STALE, wait_s=2.1),
        Ask(form="ad", says=STALE),
        Ask(form="edns", says=f"{STALE}; EDE 3"),
        Ask(form="edns-ad", says=f"{STALE}; EDE 3"),
        Ask(form="do", says=f"{STALE}; EDE 3"),
    ),
    row(
        "F2b",
        "scenario serve_expired_client_timeout_servfail of Unbound's testdata",
        "kept for a client with DO, its TTL is over, the upstream says SERVFAIL",
        "stale for that form alone",
        then(SHORT, SERVFAIL),
        Ask(form="do", says="NOERROR; A 198.51.100.7 (1 s)"),
        Ask(form="do", says=f"{STALE}; EDE 3", wait_s=2.1),
        Ask(form="plain", says=STALE),
        Ask(form="edns", says=f"{STALE}; EDE 3"),
    ),
    row(
        "F2c",
        "neighbour of F2",
        "kept for a client with CD alone: it was not validated, and serves nobody who wants that",
        "SERVFAIL",
        then(SHORT, SERVFAIL),
        Ask(form="do-cd", says="NOERROR; A 198.51.100.7 (1 s)"),
        Ask(form="edns", says="SERVFAIL", wait_s=2.1),
        unlisted=False,
    ),
    row(
        "8b",
        "coredns/coredns#7353",
        "kept, its TTL is over, the upstream says SERVFAIL",
        "stale at once",
        then(SHORT, SERVFAIL),
        Ask(says="NOERROR; A 198.51.100.7 (1 s)"),
        Ask(says=f"{STALE}; EDE 3", wait_s=2.1),
    ),
)

FLAGS: Final = (
    row(
        "F5e",
        "neighbour of F5",
        "AD=1 of the upstream's: for a client that sets AD or DO, and for no other (RFC 6840 5.8)",
        "each form asks for itself",
        always(Reply(answer=[rr(A, ADDRESS)], flags=0x81A0)),
        Ask(form="ad", says="NOERROR, AD; A 198.51.100.7 (300 s)"),
        Ask(form="plain", says=RIGHT),
        Ask(form="edns-ad", says="NOERROR, AD; A 198.51.100.7 (300 s)"),
        Ask(form="do", says="NOERROR, AD; A 198.51.100.7 (300 s)"),
    ),
)

HERE: Final = tuple(
    row(
        f"13{letter}",
        "neighbour of 13",
        f"{name.format('x')} {kind}: it goes on being forwarded",
        "forwarded",
        always(Reply(answer=[rr(A, ADDRESS)])),
        RIGHT,
        name=name,
        unlisted=False,
    )
    for letter, name, kind in (
        ("g", "{}.internal", "A"),
        ("h", "{}.lan", "A"),
        ("i", "{}.localdomain", "A"),
        ("j", "{}.service.arpa.test", "A"),
    )
)

REVERSE_SOURCE: Final = "0xERR0R/blocky#2268; pi-hole/FTL#2981; AdguardTeam/dnsproxy#385"
OTHERS: Final = (
    row(
        "25",
        "systemd/systemd#5897; PowerDNS/pdns#4353",
        "`dig +trace`: NS of the root with RD=1",
        "NS",
        always(Reply(answer=[rr(NS, wire("ns.test"))])),
        Ask(kind="NS", says="NOERROR; NS ns.test. (300 s)"),
        name=".",
    ),
    row(
        "25b",
        "PowerDNS/pdns#4353",
        "an old `dig +trace`: the same with RD=0, which would show what others asked",
        "REFUSED",
        always(Reply(answer=[rr(NS, wire("ns.test"))])),
        Ask(kind="NS", form="rd-0", says="REFUSED; EDE 20"),
        name=".",
        exchanges=0,
        unlisted=False,
    ),
    row(
        "26",
        REVERSE_SOURCE,
        "DS of a private reverse zone, from a validator behind us: the parent's proof",
        "forwarded",
        always(Reply(answer=[rr(DS, b"\x30\x39\x0f\2" + b"\xaa" * 32)])),
        Ask(kind="DS", form="do", says="NOERROR; DS of 36 octets (300 s)"),
        name="10.in-addr.arpa",
        unlisted=False,
    ),
    row(
        "26b",
        REVERSE_SOURCE,
        "PTR below it",
        "NXDOMAIN",
        always(Reply(answer=[rr(A, ADDRESS)])),
        Ask(kind="PTR", form="do", says="NXDOMAIN, AA; SOA of 10.in-addr.arpa."),
        name="1.2.3.10.in-addr.arpa",
        exchanges=0,
        unlisted=False,
    ),
)

ROWS: Final[tuple[Row, ...]] = (*KEPT, *ONE_QUESTION, *FLAGS, *HERE, *OTHERS)
