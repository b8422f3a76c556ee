"""Durations, sizes, addresses with ports: what is read, and what is refused with a reason."""

import ipaddress
import socket

import pytest

from resolver.config.values import (
    Address,
    Endpoint,
    Prefix,
    Seconds,
    Size,
    address_octets,
    decode,
    endpoint,
    lacks_interface,
    many,
    nameservers,
    noun,
    prefixes,
    seconds,
    size,
    sockaddr,
    utc_seconds,
    utc_text,
    zone_name,
)


@pytest.mark.parametrize(
    ("text", "expected"), [("10s", 10), ("15m", 900), ("48h", 172800), ("14d", 1209600), ("0", 0)]
)
def test_durations_are_seconds(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "10", "s", "-1s", "1.5s", "1w", " 1s", "1s ", "1s\n", "\u0661s", "1000000000s", "1h30m"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 10s"):
        seconds(text)


@pytest.mark.parametrize(("text", "expected"), [("512KiB", 2**19), ("64MiB", 2**26), ("1GiB", 2**30)])
def test_sizes_are_bytes(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "64", "64MB", "64mib", "-1MiB", "1.5MiB", "1TiB", "64MiB\n"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size such as 512KiB"):
        size(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:5300", "127.0.0.1", 5300),
        ("[::1]:5300", "::1", 5300),
        ("192.0.2.1:0", "192.0.2.1", 0),
        ("[2001:DB8::0]:65535", "2001:db8::", 65535),
    ],
)
def test_endpoints_are_an_address_and_a_port(text: str, host: str, port: int) -> None:
    found = endpoint(text)
    assert (found.host, found.port) == (host, port) == tuple(found)
    assert endpoint(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1",
        "127.0.0.1:",
        ":53",
        "127.0.0.1:65536",
        "::1:53",
        "[::1]",
        "[127.0.0.1]:53",
        "localhost:53",
        "127.0.0.1:-1",
        "127.0.0.1:53\n",
        "[::1:53",
        "127.0.0.1:\u0665\u0663",
    ],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected ADDRESS:PORT"):
        endpoint(text)


def test_an_endpoint_prints_as_it_is_written() -> None:
    assert [str(Endpoint("127.0.0.1", 53)), str(Endpoint("::1", 53))] == ["127.0.0.1:53", "[::1]:53"]


def test_a_socket_address_has_the_number_of_its_interface() -> None:
    number = socket.if_nametoindex("lo")
    assert sockaddr(Endpoint("192.0.2.1", 53)) == ("192.0.2.1", 53)
    assert sockaddr(Endpoint("2001:db8::1", 53)) == ("2001:db8::1", 53)
    assert sockaddr(endpoint("[fe80::1%lo]:53")) == ("fe80::1", 53, 0, number)
    assert sockaddr(endpoint("[fe80::1%7]:53")) == ("fe80::1", 53, 0, 7)
    with pytest.raises(OSError, match=r"no interface|No such device"):
        sockaddr(endpoint("[fe80::1%none0]:53"))


@pytest.mark.parametrize(
    ("host", "lacks"),
    [
        ("fe80::1", True),
        ("febf::1", True),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("::1", False),
        ("169.254.0.1", False),
    ],
)
def test_a_link_local_address_alone_leads_nowhere(host: str, lacks: bool) -> None:
    assert lacks_interface(Endpoint(host, 53)) == lacks


@pytest.mark.parametrize(
    ("text", "name"),
    [("Corp.Example", "corp.example"), ("_x.test.", "_x.test"), ("10.in-addr.arpa", "10.in-addr.arpa")],
)
def test_zones_are_compared_in_one_form(text: str, name: str) -> None:
    assert zone_name(text) == name


@pytest.mark.parametrize("text", ["", ".", "a..test", ".test", "a b", "x" * 64, "a." * 127 + "b", "test\n", "*.test"])
def test_what_is_no_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected the name of a zone"):
        zone_name(text)


def test_prefixes_are_networks_without_host_bits() -> None:
    assert prefixes("192.0.2.0/24", "2001:db8::/32")[1] == ipaddress.ip_network("2001:db8::/32")
    for text in ("192.0.2.1/24", "192.0.2.0/33", "x"):
        with pytest.raises(ValueError, match="expected a prefix without host bits"):
            prefixes(text)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (Seconds, "1m", 60),
        (Size, "1KiB", 1024),
        (Endpoint, "127.0.0.1:53", ("127.0.0.1", 53)),
        (Address, "2001:db8::1", ipaddress.ip_address("2001:db8::1")),
        (Prefix, "192.0.2.0/24", ipaddress.ip_network("192.0.2.0/24")),
    ],
)
def test_every_kind_is_decoded_from_text_only(kind: type, text: str, expected: object) -> None:
    assert decode(kind, text) == expected
    with pytest.raises(ValueError, match="expected text in quotes"):
        decode(kind, 5)


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="expected an address such as"):
        decode(Address, "isp.example")


def test_a_date_is_utc_in_whole_seconds_and_reads_back() -> None:
    assert utc_text(1_800_000_000.9) == "2027-01-15T08:00:00Z"
    assert utc_seconds("2027-01-15T08:00:00Z") == 1_800_000_000
    for text in ("2027-01-15", "2027-02-30T08:00:00Z", "2027-01-15T08:00:00+00:00"):
        with pytest.raises(ValueError, match=r"data|range"):
            utc_seconds(text)


def test_a_count_has_its_noun() -> None:
    assert [many(count, "line") for count in (0, 1, 2)] == ["0 lines", "1 line", "2 lines"]
    assert [many(count, "entry", "entries") for count in (1, 31)] == ["1 entry", "31 entries"]
    assert [noun(count, "is", "are") for count in (0, 1, 2)] == ["are", "is", "are"]


def test_nameservers_that_can_be_read_are_taken_in_order() -> None:
    text = "# a comment\nsearch test\nnameserver 192.0.2.53\nnameserver\nnameserver x\nnameserver 2001:db8::53 # us\n"
    assert nameservers(text) == (Endpoint("192.0.2.53", 53), Endpoint("2001:db8::53", 53))


@pytest.mark.parametrize(
    ("host", "octets"),
    [
        ("192.0.2.1", bytes(10) + b"\xff\xff\xc0\x00\x02\x01"),
        ("::ffff:192.0.2.1", bytes(10) + b"\xff\xff\xc0\x00\x02\x01"),
        ("2001:db8::1", b"\x20\x01\x0d\xb8" + bytes(11) + b"\1"),
        ("fe80::1%eth0", b"\xfe\x80" + bytes(13) + b"\1"),
    ],
)
def test_addresses_in_16_octets(host: str, octets: bytes) -> None:
    assert address_octets(host) == octets


@pytest.mark.parametrize("text", ["", "192.0.2", "192.0.2.256", "2001:db8::g", "one.example", "192.0.2.1%eth0"])
def test_what_is_no_address_has_no_octets(text: str) -> None:
    with pytest.raises(OSError, match="illegal IP address"):
        address_octets(text)
