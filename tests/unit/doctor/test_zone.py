"""doctor/zone.py: dnspython validates all that it signs; every datum of the listed name is marked, no other one is."""

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest

from resolver.doctor import wire, zone
from resolver.doctor.wire import Name, Record
from resolver.doctor.zone import Zone

ENTRY = wire.name_of("listed.doctor.test")
NOW = 1_795_586_400
ZONE = Zone(ENTRY, ["192.0.2.7", "2001:db8::7"], clock=lambda: NOW)
ORIGIN_LABELS = (b"doctor", b"test")
ORIGIN = dns.name.from_text("doctor.test.")


def of(text: str) -> Name:
    return wire.name_of(text.replace("@", "listed.doctor.test").replace("~", "doctor.test"))


def kinds(records: list[Record]) -> list[int]:
    return [one.kind for one in records]


def rrsets(records: list[Record]) -> dict[tuple[dns.name.Name, int, int], dns.rrset.RRset]:
    found: dict[tuple[dns.name.Name, int, int], dns.rrset.RRset] = {}
    for one in records:
        data = dns.rdata.from_wire(dns.rdataclass.IN, one.kind, one.data, 0, len(one.data))
        name = dns.name.from_text(wire.text_of(one.name))
        covers = int(data.type_covered) if one.kind == wire.RRSIG else 0
        empty = dns.rrset.RRset(name, dns.rdataclass.IN, dns.rdatatype.RdataType.make(one.kind))
        found.setdefault((name, one.kind, covers), empty).add(data, one.ttl)
    return found


SIGNED = [
    ("~", wire.SOA), ("~", wire.DNSKEY), ("GOOD.~", wire.A), ("@", wire.HTTPS), ("@", wire.ANY), ("www.@", wire.A),
    ("x.alias.~", wire.A), ("x.branch.~", wire.A), ("x.mode.~", wire.HTTPS), ("x.post.~", wire.MX),
    ("plain.@", wire.DS), ("good.~", wire.TYPES["SRV"]), ("nowhere.~", wire.A), ("long.@", wire.A), ("ns.~", wire.AAAA),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind"), SIGNED)
def test_dnspython_validates_what_is_signed(text: str, kind: int) -> None:
    found = ZONE.answer(of(text), kind, do=True)
    key = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.DNSKEY, ZONE.dnskey, 0, len(ZONE.dnskey))
    keys = {ORIGIN: dns.rrset.from_rdata(ORIGIN, 300, key)}
    validated = 0
    sets = rrsets([*found.answer, *found.authority, *found.additional])
    # A CNAME that a DNAME makes is not signed (RFC 6672 5.3.1).
    unsigned = {wire.RRSIG, *([wire.CNAME] if "branch" in text else [])}
    for (name, one, covers), records in sets.items():
        if one not in unsigned:
            dns.dnssec.validate(records, sets[(name, wire.RRSIG, one)], keys, now=NOW)
            validated += 1
        assert not covers or (name, covers, 0) in sets
    assert validated


def test_the_unsigned_part_has_no_signature_and_a_proof_of_it() -> None:
    found = ZONE.answer(of("plain.@"), wire.A, do=True)
    assert kinds(found.answer) == [wire.A]
    assert kinds(ZONE.answer(of("plain.@"), wire.SOA, do=True).answer) == [wire.SOA]
    assert kinds(ZONE.answer(of("plain.@"), wire.MX, do=True).authority) == [wire.SOA]
    proof = ZONE.answer(of("plain.@"), wire.DS, do=True)
    nsec = next(one for one in proof.authority if one.kind == wire.NSEC)
    bits = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.NSEC, nsec.data, 0, len(nsec.data))
    assert bits.to_text().endswith("NS RRSIG NSEC")


LEADS = {
    "@": wire.A, "www.@": wire.AAAA, "a.b.c.@": wire.HTTPS, "_8443._https.@": wire.HTTPS, "_dmarc.@": wire.TXT,
    "long.@": wire.A, "plain.@": wire.A, "t1.alias.~": wire.A, "t1.longer.~": wire.HTTPS, "t1.branch.~": wire.A,
    "t1.mode.~": wire.HTTPS, "t1.service.~": wire.SVCB, "t1.post.~": wire.MX,
}  # fmt: skip
OPEN = {
    "~": wire.A, "good.~": wire.HTTPS, "GOOD.~": wire.TXT, "listedx.~": wire.A, "t1.wild.~": wire.AAAA,
    "_8443._https.good.~": wire.HTTPS, "t1.fine.~": wire.A, "ns.~": wire.A,
}  # fmt: skip


def marked(text: str, kind: int) -> bool:
    found = ZONE.answer(of(text), kind, do=False)
    assert found.rcode == wire.NOERROR
    assert found.answer, text
    records = [*found.answer, *found.authority, *found.additional]
    return any(mark in one.data for one in records for mark in zone.MARKS)


def test_what_leads_to_the_listed_name_is_marked_and_nothing_else() -> None:
    assert {text for text, kind in LEADS.items() if not marked(text, kind)} == set()
    assert {text for text, kind in OPEN.items() if marked(text, kind)} == set()
    for kind in (wire.A, wire.AAAA, wire.TXT, wire.HTTPS, wire.SVCB, wire.MX, 65280, wire.ANY):
        assert marked("@", kind), kind


def test_names_that_do_not_exist_and_types_that_do_not() -> None:
    assert ZONE.answer(of("nowhere.~"), wire.A, do=False).rcode == wire.NXDOMAIN
    assert ZONE.answer(of("nowhere.~"), wire.A, do=True).rcode == wire.NOERROR, "a compact denial (RFC 9824)"
    assert ZONE.answer(of("x.plain.@"), wire.A, do=True).rcode == wire.NXDOMAIN
    assert ZONE.answer(of("alias.~"), wire.A, do=False).rcode == wire.NOERROR, "an empty non-terminal"
    assert kinds(ZONE.answer(of("good.~"), wire.NS, do=False).authority) == [wire.SOA]
    assert kinds(ZONE.answer(of("t1.alias.~"), wire.CNAME, do=False).answer) == [wire.CNAME]
    assert ZONE.has(of("X.DOCTOR.TEST"))
    assert not ZONE.has(of("test"))


def test_an_alias_is_followed_and_a_name_that_grows_too_long_is_not() -> None:
    assert kinds(ZONE.answer(of("t1.longer.~"), wire.A, do=False).answer) == [wire.CNAME, wire.CNAME, wire.A]
    longer = Zone(wire.name_of("an-entry-of-many-letters.doctor.test"))
    deep = (b"a" * 63, b"a" * 63, b"a" * 63, b"b" * 30, b"branch", *ORIGIN_LABELS)
    assert kinds(longer.answer(deep[1:], wire.A, do=False).answer) == [wire.DNAME, wire.CNAME, wire.A]
    assert len(wire.wire_of(deep)) <= 255
    assert kinds(longer.answer(deep, wire.A, do=False).answer) == [wire.DNAME]


def test_a_long_ttl_is_long_and_letters_come_back_as_asked() -> None:
    (one,) = ZONE.answer(of("long.@"), wire.A, do=False).answer
    assert one.ttl == zone.LONG_TTL
    (mixed,) = ZONE.answer(wire.name_of("LiStEd.DoCtOr.TeSt"), wire.A, do=False).answer
    assert mixed.name == wire.name_of("LiStEd.DoCtOr.TeSt")


def test_signatures_are_made_once_a_day_and_their_number_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [float(NOW)]
    signed = Zone(ENTRY, clock=lambda: now[0])
    made: list[bytes] = []
    monkeypatch.setattr("resolver.doctor.ecdsa.sign", lambda key, message: made.append(message) or bytes(64))
    for _ in range(2):
        signed.answer(of("good.~"), wire.A, do=True)
    assert len(made) == 1
    now[0] += 86_400
    signed.answer(of("good.~"), wire.A, do=True)
    assert len(made) == 2
    for number in range(4100):
        signed.answer(of(f"t{number}.wild.~"), wire.A, do=True)
    signed.answer(of("good.~"), wire.A, do=True)
    assert len(made) == 2 + 4100 + 1, "the bound was met, and all was forgotten"
