"""The leak table: real zones in which listed names have real records, what is asked, and what must come back.

Rules:
- A listed name has the address 203.0.113.x or 2001:db8:bad::x or a text with MARK; an unlisted one 198.51.100.x.
- LEAK: an octet string of those of a listed name anywhere in the answer's bytes, in whatever section.
- A blocked answer is the page's address or NODATA, exactly; whatever else comes back is named as it is.
- `{tag}` in a name is new for each way of asking, so that the first question of each is cold all the way.
"""

from dataclasses import dataclass
from typing import Final

import dns.dnssec
import dns.dnssectypes
import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rdtypes.ANY.DNSKEY
import dns.rrset
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.journeys.running import LIST_ID, PAGE_V4, PAGE_V6

SIGNED, UNSIGNED = "test.", "example."
SERIAL: Final = 1_234_567_890
MARK: Final = b"real-data-of-a-listed-name"
SECRET: Final = (bytes([203, 0, 113]), bytes.fromhex("20010db80bad"), MARK)
LISTED: Final = (
    *("bad.test", "bad.example", "whole.test", "whole.example", "=only.test", "=only.example"),
    *("!free.bad.test", "!free.bad.example"),
)

LATE: Final = ("late.test", "late.example")

_ZONE = """
$TTL 300
@ SOA ns nobody 7 3600 600 86400 300
@ NS ns
ns A 127.0.0.1
bad A 203.0.113.66
bad AAAA 2001:db8:bad::66
bad HTTPS 1 . alpn=h2 ipv4hint=203.0.113.66
bad SVCB 1 . alpn=dot ipv4hint=203.0.113.66
bad TXT "real-data-of-a-listed-name"
bad MX 10 real-data-of-a-listed-name
bad CAA 0 issue "real-data-of-a-listed-name"
bad TYPE65280 \\# 4 cb007142
*.bad A 203.0.113.67
*.bad AAAA 2001:db8:bad::67
*.bad HTTPS 1 . ipv4hint=203.0.113.67
cut.bad NS ns.cut.bad
cut.bad DS 12345 15 2 1122334411223344112233441122334411223344112233441122334411223344
ns.cut.bad A 203.0.113.68
cut.whole NS ns.cut.whole
cut.whole DS 12345 15 2 cb007142cb007142cb007142cb007142cb007142cb007142cb007142cb007142
ns.cut.whole A 203.0.113.69
whole A 203.0.113.69
whirl.bad CNAME swirl
free.bad A 198.51.100.20
only A 203.0.113.70
_8080._https.only HTTPS 1 . ipv4hint=203.0.113.70
_8080._foo.only HTTPS 1 . ipv4hint=198.51.100.21
www.only A 198.51.100.21
good A 198.51.100.22
good AAAA 2001:db8:600d::22
good HTTPS 1 . ipv4hint=198.51.100.22
badly A 198.51.100.23
*.alias CNAME bad
*.longer CNAME there.alias
there.alias CNAME bad
*.exact CNAME only
*.fine CNAME good
*.mode HTTPS 0 bad
*.mode SVCB 0 bad
*.service HTTPS 1 bad alpn=h2 ipv4hint=203.0.113.66
*.service SVCB 1 bad alpn=h2 ipv4hint=203.0.113.66
*.hop CNAME service
service HTTPS 1 bad ipv4hint=203.0.113.66
branch DNAME bad
*.swirl CNAME whirl.bad
swirl CNAME whirl.bad
late A 203.0.113.80
*.tardy CNAME late
round CNAME turn
turn CNAME round
*.round CNAME turn
*.post MX 10 mail.bad
*.phone SRV 1 1 5060 sip.bad
"""

PAGE, PAGE6, NODATA, REFUSED = "page", "page6", "NODATA", "REFUSED"
NXDOMAIN, SERVFAIL, REAL, NO_LEAK = "NXDOMAIN", "SERVFAIL", "real", "no leak"
MINIMAL = "HINFO of RFC 8482"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One question, relative to a zone, and the outcome that it must have."""

    what: str
    name: str
    kind: str = "A"
    outcome: str = PAGE
    rd: bool = True
    rdclass: str = "IN"
    by_unbound: str = ""  # Where Unbound itself gives up: what then comes back, if not the outcome.
    upstream_differs: bool = True  # Asked directly, NSD gives something else than the outcome.


_NAMES: Final = {"NS": "cut.bad", "DS": "cut.whole", "DNSKEY": "whole"}
"""The listed name of a type; keys of a name are blocked only if all names below it are."""


def _listed(kinds: str) -> list[Row]:
    return [
        Row(what=f"{kind} of a listed name", name=_NAMES.get(kind, "bad"), kind=kind, outcome=NODATA)
        for kind in kinds.split()
    ]  # fmt: skip


ROWS: Final = (
    Row(what="A", name="bad"),
    Row(what="AAAA", name="bad", kind="AAAA", outcome=PAGE6),
    Row(what="HTTPS", name="bad", kind="HTTPS", outcome=NODATA),
    Row(what="www A", name="www.bad"),
    Row(what="A far below", name="a.b.c.{tag}.bad"),
    Row(what="CNAME to blocked", name="{tag}.alias"),
    Row(what="CNAME to blocked, AAAA", name="{tag}.alias", kind="AAAA", outcome=PAGE6),
    Row(what="CNAME + HTTPS", name="{tag}.alias", kind="HTTPS", outcome=NODATA),
    Row(what="CNAME to blocked, type CNAME", name="{tag}.alias", kind="CNAME", outcome=NODATA),
    Row(what="CNAME to blocked, ANY", name="{tag}.alias", kind="ANY", outcome=MINIMAL),
    Row(what="CNAME of CNAME to blocked", name="{tag}.longer"),
    Row(what="CNAME to an exact entry", name="{tag}.exact"),
    Row(what="CNAME to SVCB of blocked", name="{tag}.hop", kind="HTTPS", outcome=NODATA),
    Row(what="HTTPS AliasMode to blocked", name="{tag}.mode", kind="HTTPS", outcome=NODATA),
    Row(what="SVCB AliasMode to blocked", name="{tag}.mode", kind="SVCB", outcome=NODATA),
    Row(what="HTTPS ServiceMode to blocked", name="{tag}.service", kind="HTTPS", outcome=NODATA),
    Row(what="SVCB ServiceMode to blocked", name="{tag}.service", kind="SVCB", outcome=NODATA),
    Row(what="DNAME into blocked", name="{tag}.branch"),
    Row(what="DNAME into blocked, AAAA", name="{tag}.branch", kind="AAAA", outcome=PAGE6),
    Row(what="DNAME into blocked, type DNAME", name="branch", kind="DNAME", outcome=NODATA),
    Row(what="loop of CNAMEs through blocked", name="{tag}.swirl", by_unbound=SERVFAIL),
    Row(what="loop of CNAMEs, none listed", name="{tag}.round", outcome=NO_LEAK, upstream_differs=False),
    Row(what="MX with a blocked exchange", name="{tag}.post", kind="MX", outcome=REAL, upstream_differs=False),
    Row(what="SRV with a blocked target", name="{tag}.phone", kind="SRV", outcome=REAL, upstream_differs=False),
    Row(what="A with RD=0", name="bad", outcome=REFUSED, rd=False),
    Row(what="AAAA with RD=0", name="www.bad", kind="AAAA", outcome=REFUSED, rd=False),
    Row(what="CNAME to blocked, RD=0", name="{tag}.alias", outcome=REFUSED, rd=False),
    Row(what="unlisted with RD=0", name="good", outcome=REFUSED, rd=False),
    Row(what="A in mixed case", name="wWw.BaD"),
    Row(what="CNAME in mixed case", name="{tag}.AlIaS"),
    Row(what="A of an exact entry", name="only"),
    Row(what="HTTPS of _8080._https. exact entry", name="_8080._https.only", kind="HTTPS", outcome=NODATA),
    *_listed("ANY TXT MX NS DS CAA SVCB SOA DNSKEY RRSIG NSEC TYPE65280"),
    Row(what="DS below a listed name with an exception", name="cut.bad", kind="DS", outcome=NO_LEAK,
        upstream_differs=False),
    Row(what="DNSKEY of a listed name with an exception", name="bad", kind="DNSKEY", outcome=NO_LEAK,
        upstream_differs=False),
    Row(what="unknown type, nothing there", name="bad", kind="TYPE65281", outcome=NODATA, upstream_differs=False),
    Row(what="A in class CH", name="bad", rdclass="CH", outcome=REFUSED, upstream_differs=False),
    Row(what="unlisted in class CH", name="good", rdclass="CH", outcome=REFUSED, upstream_differs=False),
    Row(what="AXFR of a listed name", name="bad", kind="AXFR", outcome=REFUSED, upstream_differs=False),
    # Controls: what is not listed comes as it is.
    Row(what="control: unlisted A", name="good", outcome=REAL, upstream_differs=False),
    Row(what="control: unlisted AAAA", name="good", kind="AAAA", outcome=REAL, upstream_differs=False),
    Row(what="control: unlisted HTTPS", name="good", kind="HTTPS", outcome=REAL, upstream_differs=False),
    Row(what="control: CNAME to unlisted", name="{tag}.fine", outcome=REAL, upstream_differs=False),
    Row(what="control: begins like a listed name", name="badly", outcome=REAL, upstream_differs=False),
    Row(what="control: below an exact entry", name="www.only", outcome=REAL, upstream_differs=False),
    Row(what="control: _8080._foo. exact entry", name="_8080._foo.only", kind="HTTPS", outcome=REAL,
        upstream_differs=False),
    Row(what="control: an exception", name="free.bad", outcome=REAL, upstream_differs=False),
    Row(what="control: NXDOMAIN", name="{tag}.nowhere", outcome=NXDOMAIN, upstream_differs=False),
)  # fmt: skip


def zones(now: float) -> tuple[dict[str, str], list[str]]:
    """The signed and the unsigned zone as master files, and the trust anchors of the signed one."""
    signed = dns.zone.from_text(_ZONE, origin=SIGNED, relativize=False)
    key = ed25519.Ed25519PrivateKey.generate()
    dnskey = dns.dnssec.make_dnskey(key.public_key(), dns.dnssectypes.Algorithm.ED25519, flags=257)
    with signed.writer() as transaction:
        dns.dnssec.sign_zone(
            signed, transaction, keys=[(key, dnskey)], inception=now - 3600, expiration=now + 86_400,
            dnskey_ttl=300,
        )  # fmt: skip
    anchors = [f"{SIGNED} 300 IN DNSKEY {dnskey}"]
    unsigned = f"$ORIGIN {UNSIGNED}\n{_ZONE}"
    return {SIGNED: signed.to_text(relativize=False), UNSIGNED: unsigned}, anchors


def query_of(row: Row, zone: str, tag: str, *, edns: bool, cd: bool, do: bool) -> dns.message.Message:
    """The question of a row as one way of asking has it."""
    name = f"{row.name.format(tag=tag)}.{zone}"
    query = dns.message.make_query(
        name, row.kind, row.rdclass, use_edns=0 if edns else False, want_dnssec=do, payload=1232
    )
    query.flags = (dns.flags.RD if row.rd else 0) | (dns.flags.CD if cd else 0)
    return query


def outcome(wire: bytes, query: dns.message.Message) -> str:
    """What an answer is, in a word; whatever is wrong with it is told in more."""
    if any(secret in wire.lower() for secret in SECRET):
        return "LEAK"
    try:
        reply = dns.message.from_wire(wire)
    except dns.exception.DNSException as error:
        return f"malformed: {type(error).__name__}"
    if reply.id != query.id or not reply.flags & dns.flags.QR:
        return "not an answer to this query"
    if [str(one) for one in reply.question] != [str(one) for one in query.question]:
        return "another question"
    if reply.rcode() != dns.rcode.NOERROR:
        return dns.rcode.to_text(reply.rcode())
    blocked = _blocked_outcome(reply)
    if blocked:
        faults = _faults(wire, reply, query)
        return f"{blocked}, but {'; '.join(faults)}" if faults else blocked
    if [str(one) for one in reply.answer] == [f"{query.question[0].name} 3600 IN HINFO \"RFC8482\" \"\""]:
        return MINIMAL
    return REAL if reply.answer else "empty"


def _blocked_outcome(reply: dns.message.Message) -> str:
    """PAGE, PAGE6 or NODATA where the answer has exactly that form, else nothing."""
    name = reply.question[0].name
    if reply.answer:
        pages = {("A", PAGE_V4): PAGE, ("AAAA", PAGE_V6): PAGE6}
        found = [(dns.rdatatype.to_text(r.rdtype), str(d), r.name == name) for r in reply.answer for d in r]
        kind, text, own = found[0]
        return pages.get((kind, text), "") if len(found) == 1 and own else ""
    soas = [r for r in reply.authority if r.rdtype == dns.rdatatype.SOA and r.name == name]
    # The zones of this test have their SOA at the apex, which no question asks for.
    return NODATA if len(soas) == len(reply.authority) == 1 else ""


def _faults(wire: bytes, reply: dns.message.Message, query: dns.message.Message) -> list[str]:
    """What is wrong with an answer that has the form of a blocked one."""
    faults = []
    records = [*reply.answer, *reply.authority]
    if any(one.ttl > 60 for one in records):
        faults.append("a TTL above 60 s")
    if any(one.rdtype == dns.rdatatype.SOA and one[0].minimum != one.ttl for one in records):
        faults.append("TTL is not MINIMUM")
    if reply.flags & (dns.flags.AA | dns.flags.AD | dns.flags.TC) or not reply.flags & dns.flags.RA:
        faults.append(f"flags {dns.flags.to_text(reply.flags)}")
    if reply.flags & dns.flags.RD != query.flags & dns.flags.RD:
        faults.append("RD is not the query's")
    if reply.additional:
        faults.append("records in ADDITIONAL")
    errors = [int(one.code) for one in reply.options if isinstance(one, dns.edns.EDEOption)]
    if errors != ([4] if query.edns >= 0 else []) or (reply.edns >= 0) != (query.edns >= 0):
        faults.append(f"EDE {errors}, EDNS {reply.edns}")
    if any(word in wire for word in (LIST_ID.encode(), SERIAL.to_bytes(4, "big"), str(SERIAL).encode())):
        faults.append("tells of the list")
    return faults
