"""What clients are told of encrypted transports: the records of DDR against dnspython, the options of DNR by octet."""

from ipaddress import ip_address
from typing import Any

import dns.message
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.zone
import pytest

from resolver.config import designated, for_core
from resolver.config.edge import Edge
from resolver.config.values import endpoint
from resolver.core import codes, question, reply
from resolver.core.local_zones import find
from tests.unit.config.test_edge import EDGE, parsed

DDR = "_dns.resolver.arpa"


def edge(**said: Any) -> Edge:
    """The table with these addresses alone."""
    keys: dict[str, Any] = {
        key: value if key == "path" else tuple(map(endpoint, value)) for key, value in said.items()
    }
    return Edge(socket="/run/edge", name="dns.isp.example", **keys)


def records(said: Edge) -> list[str]:
    """The SVCB records as dnspython reads them from the answer's octets."""
    made = designated.designation(said)
    assert made is not None
    packet = dns.message.make_query(DDR, "SVCB", use_edns=0).to_wire()
    asked, out = question.Question(), bytearray(4096)
    question.parse(packet, len(packet), asked)
    length = reply.designated(out, packet, asked, made, 4096)
    [rrset] = dns.message.from_wire(bytes(out[:length])).answer
    assert rrset.name.to_text() == DDR + "."
    return [str(one) for one in rrset]


def test_each_transport_is_a_record_and_the_order_is_the_priority() -> None:
    said = edge(
        http3=["192.0.2.53:443"], quic=["192.0.2.53:853"], https=["192.0.2.53:443"], tls=["192.0.2.53:853"],
    )  # fmt: skip
    assert records(said) == [
        '1 dns.isp.example. alpn="dot" ipv4hint="192.0.2.53"',
        '2 dns.isp.example. alpn="h2" ipv4hint="192.0.2.53" dohpath="/dns-query{?dns}"',
        '3 dns.isp.example. alpn="doq" ipv4hint="192.0.2.53"',
        '4 dns.isp.example. alpn="h3" ipv4hint="192.0.2.53" dohpath="/dns-query{?dns}"',
    ]


def test_priorities_have_no_gap_and_ports_of_their_own_are_said() -> None:
    said = edge(
        tls=["192.0.2.53:8853", "[2001:db8::53]:8853", "192.0.2.54:853"], https=["[2001:db8::53]:8443"], path="/q"
    )
    assert records(said) == [
        '1 dns.isp.example. alpn="dot" port="8853" ipv4hint="192.0.2.53" ipv6hint="2001:db8::53"',
        '1 dns.isp.example. alpn="dot" ipv4hint="192.0.2.54"',
        '2 dns.isp.example. alpn="h2" port="8443" ipv6hint="2001:db8::53" dohpath="/q{?dns}"',
    ]
    assert records(edge(http3=["192.0.2.53:443"])) == [
        '1 dns.isp.example. alpn="h3" ipv4hint="192.0.2.53" dohpath="/dns-query{?dns}"'
    ]


@pytest.mark.parametrize("address", ["0.0.0.0", "[::]", "127.0.0.1", "[::1]", "[fe80::1%eth0]", "169.254.0.1"])
def test_an_address_that_no_other_host_reaches_is_no_hint(address: str) -> None:
    said = edge(tls=[f"{address}:853"])
    assert records(said) == ['1 dns.isp.example. alpn="dot"']
    assert designated.addresses(said) == ((), ())
    made = designated.designation(said)
    assert made is not None
    assert made.address_count == 0


def test_nothing_is_designated_where_nothing_is_offered() -> None:
    assert designated.designation(Edge()) is None
    assert designated.designation(Edge(socket="/run/edge")) is None
    assert (designated.option_dhcpv4(Edge()), designated.options_dhcpv6(Edge()), designated.options_ra(Edge())) == (
        b"", [], [],
    )  # fmt: skip
    assert list(designated.zone_lines(Edge())) == []


def test_the_tables_of_the_service_have_what_the_configuration_offers() -> None:
    """From the file to the answer: the only kind that changes is that of SVCB."""
    asked = question.Question()
    for kind, said, code in (
        ("SVCB", EDGE, codes.LOCAL_DESIGNATED),
        ("A", EDGE, codes.LOCAL_EMPTY),
        ("SVCB", {}, codes.LOCAL_EMPTY),
        ("SVCB", {"socket": EDGE["socket"]}, codes.LOCAL_EMPTY),
    ):
        packet = dns.message.make_query(DDR, kind).to_wire()
        question.parse(packet, len(packet), asked)
        assert find(for_core.zones(parsed(said)), asked.name, asked.qtype) % 256 == code


def test_the_lines_for_the_operators_zone_say_the_same_as_the_records() -> None:
    said = edge(tls=["192.0.2.53:853", "[2001:db8::53]:853"], https=["192.0.2.53:8443"])
    lines = list(designated.zone_lines(said))
    assert lines[0] == (
        "_dns.dns.isp.example. 300 IN SVCB 1 dns.isp.example. alpn=dot ipv4hint=192.0.2.53 ipv6hint=2001:db8::53"
    )
    zone = dns.zone.from_text("\n".join(lines), origin="isp.example.", relativize=False, check_origin=False)
    found = zone.find_rdataset("_dns.dns.isp.example.", "SVCB")
    assert sorted(map(str, found)) == sorted(records(said))


V4, V6 = ip_address("192.0.2.53").packed, ip_address("2001:db8::53").packed
NAME = b"\3dns\3isp\7example\0"
DOT, H2 = b"\0\1\0\4\3dot", b"\0\1\0\3\2h2" + b"\0\7\0\x10/dns-query{?dns}"


def test_dhcpv4_has_an_instance_for_each_port_and_address() -> None:
    """RFC 9463 5.1: length, priority, length and name, length and addresses, SvcParams without hints."""
    said = edge(tls=["192.0.2.53:853", "[2001:db8::53]:853"], https=["192.0.2.54:443"], quic=["[2001:db8::53]:853"])
    first = b"\0\1" + b"\x11" + NAME + b"\4" + V4 + DOT
    second = b"\0\2" + b"\x11" + NAME + b"\4" + V4[:3] + b"\x36" + H2
    assert len(NAME) == 0x11
    assert designated.option_dhcpv4(said) == b"\0\x21" + first + b"\0\x34" + second


def test_dhcpv6_has_an_option_for_each_port_and_address() -> None:
    """RFC 9463 4.1: priority, length and name, length and addresses, SvcParams."""
    said = edge(tls=["192.0.2.53:853", "[2001:db8::53]:853"], https=["192.0.2.53:443", "[2001:db8::54]:443"])
    head, other = b"\0\x11" + NAME + b"\0\x10", V6[:-1] + b"\x54"
    assert designated.options_dhcpv6(said) == [b"\0\1" + head + V6 + DOT, b"\0\2" + head + other + H2]


def test_transports_with_one_port_and_the_same_addresses_are_one_instance() -> None:
    """Their own ports are one port; a port of another number is another. Over each family by itself."""
    four, six = ["192.0.2.53"], ["192.0.2.53", "2001:db8::53"]

    def at(hosts: list[str], port: int) -> list[str]:
        return [f"[{one}]:{port}" if ":" in one else f"{one}:{port}" for one in hosts]

    all_of_them = edge(tls=at(six, 853), https=at(six, 443), quic=at(six, 853), http3=at(six, 443))
    alpn = b"\0\1\0\x0e" + b"\3dot\2h2\3doq\2h3"
    params = alpn + b"\0\7\0\x10/dns-query{?dns}"
    [one] = designated.options_dhcpv6(all_of_them)
    assert one == b"\0\1\0\x11" + NAME + b"\0\x10" + V6 + params
    data = designated.option_dhcpv4(all_of_them)
    assert data == len(data[2:]).to_bytes(2, "big") + b"\0\1\x11" + NAME + b"\4" + V4 + params
    assert len(records(all_of_them)) == 4, "DDR has an order of them"
    ported = edge(tls=at(six, 853), https=at(six, 8443), quic=at(four, 853), http3=at(six, 8443))
    assert [option[:2] for option in designated.options_dhcpv6(ported)] == [b"\0\1", b"\0\2"]
    assert b"\3dot\3doq" in designated.option_dhcpv4(ported)
    assert all(b"\2h2\2h3" + b"\0\3\0\2\x20\xfb" in made[-1] for made in (
        designated.options_dhcpv6(ported), [designated.option_dhcpv4(ported)],
    ))  # fmt: skip


def test_a_router_advertisement_has_its_lifetime_and_whole_units_of_eight_octets() -> None:
    """RFC 9463 6.1: type, length, priority, lifetime, and the lengths of name, addresses and SvcParams."""
    said = edge(tls=["[2001:db8::53]:853"], https=["[2001:db8::54]:443"])
    body = b"\0\1" + b"\0\0\x0e\x10" + b"\0\x11" + NAME + b"\0\x10" + V6 + b"\0\x08" + DOT
    first, second = designated.options_ra(said)
    assert first == b"\x90\x07" + body + bytes(56 - 2 - len(body))
    assert second[:4] == b"\x90\x0a\0\2"
    assert len(second) == 80
    assert second[4 + 4 + 2 + 17 + 2 + 16 :].startswith(b"\0\x1b" + H2)


def test_without_an_address_of_the_family_the_resolver_is_named_alone() -> None:
    """RFC 9463 3.1.6: the client asks for the rest."""
    said = edge(tls=["0.0.0.0:853"], https=["0.0.0.0:443"])
    assert designated.option_dhcpv4(said) == b"\0\x14\0\1\x11" + NAME
    assert designated.options_dhcpv6(said) == [b"\0\1\0\x11" + NAME]
    [one] = designated.options_ra(said)
    assert one == b"\x90\x04\0\1\0\0\x0e\x10\0\x11" + NAME + bytes(5)


def test_option_162_has_as_many_addresses_as_it_can_count() -> None:
    hosts = [f"192.0.2.{number}:853" for number in range(1, 65)]
    data = designated.option_dhcpv4(edge(tls=hosts))
    assert data[5 + len(NAME)] == 252
    assert data.endswith(bytes([192, 0, 2, 63]) + DOT)
