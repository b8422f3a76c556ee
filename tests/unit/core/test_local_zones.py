"""Names that are answered here: which they are, what they are, and the octets of their answers."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.core import codes
from tests.parity import cases
from tests.unit.core.generations import name, query, question, wire

Core = Callable[[str], ModuleType]
A, NS, SOA, PTR, AAAA, DS, SVCB, ANY = 1, 2, 6, 12, 28, 43, 64, 255
DDR = "_dns.resolver.arpa"
ONE_6 = ".".join("1" + "0" * 31) + ".ip6.arpa"

# Name, type, what it is, labels of its zone.
NAMES = [
    ("localhost", A, codes.LOCALHOST, 1),
    ("a.b.localhost", AAAA, codes.LOCALHOST, 1),
    ("invalid", A, codes.LOCAL_APEX, 1),
    ("a.invalid", A, codes.LOCAL_MISSING, 1),
    ("onion", DS, codes.LOCAL_APEX, 1),
    ("local", SOA, codes.LOCAL_APEX, 1),
    ("b._dns-sd._udp.local", PTR, codes.LOCAL_MISSING, 1),
    ("alt", A, codes.LOCAL_APEX, 1),
    ("x.alt", AAAA, codes.LOCAL_MISSING, 1),
    ("service.arpa", A, codes.LOCAL_APEX, 2),
    ("default.service.arpa", SOA, codes.LOCAL_MISSING, 2),
    ("service.arpa", DS, codes.NOT_LOCAL, 0),
    ("ipv4only.arpa", A, codes.NOT_LOCAL, 0),
    ("x.locals", A, codes.NOT_LOCAL, 0),
    ("x.all", A, codes.NOT_LOCAL, 0),
    ("use-application-dns.net", A, codes.NOT_LOCAL, 0),
    ("a.onion", DS, codes.LOCAL_MISSING, 1),
    ("resolver.arpa", A, codes.LOCAL_APEX, 2),
    ("_dns.resolver.arpa", 64, codes.LOCAL_EMPTY, 2),
    ("a.b.resolver.arpa", A, codes.LOCAL_EMPTY, 2),
    ("home.arpa", SOA, codes.LOCAL_APEX, 2),
    ("printer.home.arpa", A, codes.LOCAL_MISSING, 2),
    ("home.arpa", DS, codes.NOT_LOCAL, 0),
    ("printer.home.arpa", DS, codes.LOCAL_MISSING, 2),
    ("10.in-addr.arpa", NS, codes.LOCAL_APEX, 3),
    ("1.2.3.10.in-addr.arpa", PTR, codes.LOCAL_MISSING, 3),
    ("10.in-addr.arpa", DS, codes.NOT_LOCAL, 0),
    ("15.172.in-addr.arpa", PTR, codes.NOT_LOCAL, 0),
    ("16.172.in-addr.arpa", PTR, codes.LOCAL_APEX, 4),
    ("1.31.172.in-addr.arpa", PTR, codes.LOCAL_MISSING, 4),
    ("32.172.in-addr.arpa", PTR, codes.NOT_LOCAL, 0),
    ("63.100.in-addr.arpa", PTR, codes.NOT_LOCAL, 0),
    ("64.100.in-addr.arpa", PTR, codes.LOCAL_APEX, 4),
    ("1.1.127.100.in-addr.arpa", PTR, codes.LOCAL_MISSING, 4),
    ("128.100.in-addr.arpa", PTR, codes.NOT_LOCAL, 0),
    ("1.0.0.127.in-addr.arpa", PTR, codes.LOOPBACK, 3),
    ("0.0.127.in-addr.arpa", PTR, codes.LOCAL_EMPTY, 3),
    ("2.0.0.127.in-addr.arpa", PTR, codes.LOCAL_MISSING, 3),
    (ONE_6, PTR, codes.LOOPBACK, 34),
    ("1.d.f.ip6.arpa", PTR, codes.LOCAL_MISSING, 4),
    ("2.c.ip6.arpa", PTR, codes.NOT_LOCAL, 0),
    ("arpa", A, codes.NOT_LOCAL, 0),
    ("in-addr.arpa", NS, codes.NOT_LOCAL, 0),
    ("xlocalhost", A, codes.NOT_LOCAL, 0),
    ("localhost.test", A, codes.NOT_LOCAL, 0),
    ("open.test", A, codes.NOT_LOCAL, 0),
    ("", NS, codes.NOT_LOCAL, 0),
]


def found(core: Core, text: str, kind: int, forwarded: tuple[str, ...] = ()) -> tuple[int, int]:
    """What the name is, and the offset of its zone within it."""
    said: int = core("local_zones").find(core("local_zones").Zones(forwarded), name(core, wire(text)), kind)
    return said % 256, said // 256


@pytest.mark.parametrize(("text", "kind", "what", "labels"), NAMES)
def test_what_a_name_is(core: Core, text: str, kind: int, what: int, labels: int) -> None:
    zone = ".".join(text.split(".")[-labels:]) if labels else ""
    apex = len(wire(text)) - len(wire(zone)) if labels else 0
    assert found(core, text, kind) == (what, apex)


@pytest.mark.parametrize(
    ("text", "forwarded", "what"),
    [
        ("1.10.in-addr.arpa", ("10.in-addr.arpa",), codes.NOT_LOCAL),
        ("1.1.10.in-addr.arpa", ("1.10.in-addr.arpa",), codes.NOT_LOCAL),
        ("1.2.10.in-addr.arpa", ("1.10.in-addr.arpa",), codes.LOCAL_MISSING),
        ("1.10.in-addr.arpa", ("100.in-addr.arpa",), codes.LOCAL_MISSING),
        ("1.64.100.in-addr.arpa", ("100.in-addr.arpa",), codes.NOT_LOCAL),
        ("a.home.arpa", ("home.arpa",), codes.NOT_LOCAL),
        ("a.localhost", ("home.arpa",), codes.LOCALHOST),
        ("printer.local", ("local",), codes.NOT_LOCAL),
        ("printer.local", ("corp.local",), codes.LOCAL_MISSING),
        ("dc.corp.local", ("corp.local",), codes.NOT_LOCAL),
        ("x.alt", ("local",), codes.LOCAL_MISSING),
        ("x.service.arpa", ("service.arpa",), codes.NOT_LOCAL),
        ("x.onion", ("onion",), codes.LOCAL_MISSING),
    ],
)
def test_what_the_operator_forwards_is_not_local(
    core: Core, text: str, forwarded: tuple[str, ...], what: int
) -> None:
    assert found(core, text, PTR, forwarded)[0] == what


@pytest.mark.parametrize("announced", [(), ("firefox",), ("private-relay",), ("firefox", "private-relay")])
def test_canaries_are_missing_where_they_are_announced(core: Core, announced: tuple[str, ...]) -> None:
    zones = core("local_zones")
    made = zones.Zones((), announced)
    for key, names in zones.CANARIES.items():
        for text in names:
            for below in ("", "a."):
                what = codes.LOCAL_MISSING + 256 * len(below) if key in announced else codes.NOT_LOCAL
                for kind in (A, AAAA, SOA, ANY):
                    assert zones.find(made, name(core, wire((below + text).upper())), kind) == what
            assert zones.find(made, name(core, wire("x" + text)), A) == codes.NOT_LOCAL
            assert zones.find(made, name(core, wire(text.partition(".")[2])), A) == codes.NOT_LOCAL


def test_a_missing_name_has_its_soa_in_authority_whatever_is_asked(core: Core) -> None:
    made = core("local_zones").Zones((), ("firefox",))
    for kind in (A, SOA, NS, ANY):
        packet, out = query("use-application-dns.net", kind, edns=True), bytearray(1500)
        asked = question(core, packet)
        said = core("local_zones").find(made, asked.name, kind)
        reply = dns.message.from_wire(bytes(out[: core("reply").local(out, packet, asked, said, 1232)]))
        assert (reply.rcode(), reply.answer) == (dns.rcode.NXDOMAIN, [])
        [rrset] = reply.authority
        assert (rrset.name.to_text(), rrset.rdtype) == ("use-application-dns.net.", SOA)


def designating(core: Core, addresses: int = 1) -> Any:
    """Zones that designate two transports of dns.example, with so many addresses of each family."""
    rdatas = [b"\0\1" + wire("dns.example") + b"\0\1\0\4\3dot", b"\0\2" + wire("dns.example") + b"\0\1\0\3\2h2"]
    v4 = [bytes([192, 0, 2, number]) for number in range(addresses)]
    v6 = [b"\x20\1\r\xb8" + bytes(11) + bytes([number]) for number in range(addresses)]
    zones = core("local_zones")
    return zones.Zones((), (), zones.Designation(rdatas, wire("dns.example"), v4, v6))


def test_only_svcb_of_the_one_name_is_designated_and_only_where_something_is(core: Core) -> None:
    find, made = core("local_zones").find, designating(core)
    apex = 256 * len(wire("_dns")[:-1])
    assert find(made, name(core, wire(DDR.upper())), SVCB) == codes.LOCAL_DESIGNATED + apex
    assert find(core("local_zones").Zones(), name(core, wire(DDR)), SVCB) == codes.LOCAL_EMPTY + apex
    for kind in (A, AAAA, NS, SOA, DS, 65, ANY):
        assert find(made, name(core, wire(DDR)), kind) == codes.LOCAL_EMPTY + apex
    for text in ("x." + DDR, "_dnt.resolver.arpa", "dns.resolver.arpa", "_dns._dns.resolver.arpa"):
        assert find(made, name(core, wire(text)), SVCB) % 256 == codes.LOCAL_EMPTY
    assert find(made, name(core, wire("resolver.arpa")), SVCB) == codes.LOCAL_APEX


def designated(core: Core, limit: int, *, edns: bool = True, addresses: int = 1) -> bytes:
    """The octets of the answer to a query for what is designated."""
    packet, out = query(DDR, SVCB, edns=edns), bytearray(1500)
    length = core("reply").designated(
        out, packet, question(core, packet), designating(core, addresses).designation, limit
    )
    return bytes(out[:length])


def test_what_is_designated_is_the_records_and_the_addresses_of_their_target(core: Core) -> None:
    octets = designated(core, 1232)
    reply = dns.message.from_wire(octets)
    assert (reply.rcode(), reply.edns, reply.authority) == (dns.rcode.NOERROR, 0, [])
    assert dns.flags.to_text(reply.flags) == "QR AA RD RA"
    [records] = reply.answer
    assert (records.name.to_text(), records.ttl) == (DDR + ".", 300)
    assert [str(one) for one in records] == ['1 dns.example. alpn="dot"', '2 dns.example. alpn="h2"']
    assert sorted((one.name.to_text(), one.ttl, str(one[0])) for one in reply.additional) == [
        ("dns.example.", 300, "192.0.2.0"), ("dns.example.", 300, "2001:db8::"),
    ]  # fmt: skip
    other = dnslib.DNSRecord.parse(octets)
    assert [(one.rtype, bytes(one.rdata.data)) for one in other.rr] == [
        (SVCB, b"\0\1" + wire("dns.example") + b"\0\1\0\4\3dot"),
        (SVCB, b"\0\2" + wire("dns.example") + b"\0\1\0\3\2h2"),
    ]  # fmt: skip
    assert [str(one.rdata) for one in other.ar if one.rtype in (A, AAAA)] == ["192.0.2.0", "2001:db8::"]


def test_addresses_give_way_to_what_is_designated_and_that_is_all_or_nothing(core: Core) -> None:
    whole = designated(core, 1232)
    assert designated(core, len(whole)) == whole
    without = designated(core, len(whole) - 1)
    reply = dns.message.from_wire(without)
    assert (len(reply.answer[0]), reply.additional, reply.edns) == (2, [], 0)
    assert designated(core, len(without)) == without
    cut = dns.message.from_wire(designated(core, len(without) - 1))
    assert (cut.answer, cut.additional, cut.edns, bool(cut.flags & dns.flags.TC)) == ([], [], 0, True)
    plain = dns.message.from_wire(designated(core, 512, edns=False))
    assert (len(plain.answer[0]), len(plain.additional), plain.edns) == (2, 2, -1)
    many = dns.message.from_wire(designated(core, 1232, addresses=200))
    assert (len(many.answer[0]), many.additional) == (2, [])


@cases.of(0.02)
@given(
    st.lists(
        st.sampled_from(["1", "10", "127", "100", "64", "in-addr", "ip6", "home", "service", "resolver", "d"]),
        max_size=8,
    ),
    st.sampled_from(["arpa", "localhost", "invalid", "onion", "local", "alt", "test", "ARPA", "Onion"]),
    st.sampled_from([A, PTR, DS]),
)
def test_both_builds_agree_and_what_is_local_stays_so_below(labels: list[str], last: str, kind: int) -> None:
    text = ".".join([*labels, last])

    def run(core: Core) -> tuple[int, int]:
        return found(core, text, kind)

    what, _ = cases.both(run)
    if what != codes.NOT_LOCAL:
        assert cases.both(lambda core: found(core, "below." + text, kind))[0] != codes.NOT_LOCAL


def answer(core: Core, text: str, kind: int) -> dns.message.Message:
    """The answer to a query with EDNS for a local name."""
    packet, out = query(text, kind, edns=True), bytearray(1500)
    asked = question(core, packet)
    said = core("local_zones").find(core("local_zones").Zones(), asked.name, kind)
    length = core("reply").local(out, packet, asked, said, 1232)
    assert length > 0
    return dns.message.from_wire(bytes(out[:length]))


@pytest.mark.parametrize(
    ("text", "kind", "rdata"),
    [
        ("localhost", A, "127.0.0.1"),
        ("www.localhost", AAAA, "::1"),
        ("localhost", ANY, "127.0.0.1"),
        ("1.0.0.127.in-addr.arpa", PTR, "localhost."),
        (ONE_6, PTR, "localhost."),
        ("10.in-addr.arpa", NS, "10.in-addr.arpa."),
        ("home.arpa", SOA, "home.arpa. nobody.invalid. 1 3600 1200 604800 10800"),
        ("localhost", SOA, "localhost. nobody.invalid. 1 3600 1200 604800 10800"),
    ],
)
def test_what_exists_is_answered_with_authority(core: Core, text: str, kind: int, rdata: str) -> None:
    reply = answer(core, text, kind)
    assert (reply.rcode(), reply.authority) == (dns.rcode.NOERROR, [])
    assert reply.flags & dns.flags.AA
    assert reply.flags & dns.flags.RA
    assert [str(one) for rrset in reply.answer for one in rrset] == [rdata]
    assert reply.answer[0].name.to_text() == text + "."
    assert reply.edns == 0


@pytest.mark.parametrize(
    ("text", "kind", "rcode", "zone"),
    [
        ("a.b.invalid", A, dns.rcode.NXDOMAIN, "invalid."),
        ("invalid", A, dns.rcode.NOERROR, "invalid."),
        ("www.localhost", SOA, dns.rcode.NOERROR, "localhost."),
        ("a.onion", SOA, dns.rcode.NXDOMAIN, "onion."),
        ("_dns.resolver.arpa", 64, dns.rcode.NOERROR, "resolver.arpa."),
        ("5.168.192.in-addr.arpa", NS, dns.rcode.NXDOMAIN, "168.192.in-addr.arpa."),
        ("1.0.0.127.in-addr.arpa", A, dns.rcode.NOERROR, "127.in-addr.arpa."),
        ("x" * 63 + "." + "y" * 63 + "." + "z" * 63 + "." + "w" * 40 + ".invalid", A, dns.rcode.NXDOMAIN, "invalid."),
    ],
)
def test_what_does_not_exist_has_the_soa_of_its_zone(core: Core, text: str, kind: int, rcode: int, zone: str) -> None:
    reply = answer(core, text, kind)
    assert (reply.rcode(), reply.answer) == (rcode, [])
    assert reply.flags & dns.flags.AA
    (soa,) = reply.authority
    assert (soa.name.to_text(), soa.ttl, soa[0].mname.to_text(), soa[0].minimum) == (zone, 10800, zone, 10800)
