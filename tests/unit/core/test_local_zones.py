"""Names that are answered here: which they are, what they are, and the octets of their answers."""

from collections.abc import Callable
from types import ModuleType

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.core import codes
from tests.parity import cases
from tests.unit.core.generations import name, query, question, wire

Core = Callable[[str], ModuleType]
A, NS, SOA, PTR, AAAA, DS, ANY = 1, 2, 6, 12, 28, 43, 255
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
