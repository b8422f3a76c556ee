"""Encrypted upstreams as a configuration names them: what is accepted, and what is said of the rest."""

import pytest

from resolver.config.config import warnings
from resolver.config.upstream import Upstream
from resolver.config.values import MOST_ENCRYPTED, Encrypted, Endpoint, upstream
from resolver.query import courier_frames
from tests.unit.config.test_config import document, fault, read

PIN, OTHER_PIN = "A" * 43 + "=", "B" * 43 + "="
DOT = "tls://dns.example@192.0.2.53"
DOH = "https://dns.example@[2001:db8::53]:8443/query"


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        (DOT, Encrypted("192.0.2.53", 853, "tls", "dns.example", ""), f"{DOT}:853"),
        (DOH, Encrypted("2001:db8::53", 8443, "https", "dns.example", "/query"), DOH),
        (
            "https://DNS.Example@192.0.2.53",
            Encrypted("192.0.2.53", 443, "https", "dns.example", "/dns-query"),
            "https://dns.example@192.0.2.53:443/dns-query",
        ),
        ("tls://a.example@[fe80::1%eth0]:1", Encrypted("fe80::1%eth0", 1, "tls", "a.example", ""), None),
        ("192.0.2.53:53", Endpoint("192.0.2.53", 53), "192.0.2.53:53"),
    ],
)
def test_a_server_is_read_and_shown(text: str, expected: Endpoint, shown: str | None) -> None:
    found = upstream(text)
    assert found == expected
    assert type(found) is type(expected)
    assert str(found) == (shown or text)
    assert upstream(str(found)) == found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tls://192.0.2.53", "expected tls://NAME@ADDRESS or https://NAME@ADDRESS/PATH"),
        ("tls://dns.example", "expected tls://NAME@ADDRESS"),
        ("tls://dns.example@dns.example", "expected ADDRESS:PORT"),
        ("tls://dns.example@192.0.2.53:99999", "expected ADDRESS:PORT"),
        ("tls://dns.example@192.0.2.53/dns-query", "expected no path"),
        ("tls://192.0.2.1@192.0.2.53", "expected the server's name before the @"),
        ("tls://-x.example@192.0.2.53", "expected the server's name before the @"),
        ("https://dns.example@192.0.2.53/dns-query{?dns}", "expected tls://NAME@ADDRESS"),
        ("https://dns.example@192.0.2.53/a b", "expected tls://NAME@ADDRESS"),
        ("http://dns.example@192.0.2.53/dns-query", "expected tls://NAME@ADDRESS"),
        ("quic://dns.example@192.0.2.53", "expected tls://NAME@ADDRESS"),
        ("tls://dns.example@192.0.2.53:0", "expected a port from 1 to 65535"),
        ("tls://dns.example@[fe80::1]", "is a link-local address"),
        ("tls://dns.example@127.0.0.1:5300", "is one of listen.dns: queries would loop"),
    ],
)
def test_what_is_no_server_is_refused_with_the_reason(text: str, reason: str) -> None:
    for key, section in (
        ("upstream.servers[0]", {"servers": [text]}),
        ("upstream.zone[0].servers[0]", {"zone": [{"name": "corp.example", "servers": [text]}]}),
    ):
        said = fault(document(upstream=section))
        assert said.startswith(f"resolver.toml: {key}: {reason}"), said


def test_one_address_can_be_two_servers() -> None:
    servers = [DOT, "tls://other.example@192.0.2.53", "192.0.2.53:853"]
    found = read(document(upstream={"servers": servers})).upstream
    assert len(found.every_server) == 3
    assert [one.name for one in found.encrypted] == ["dns.example", "other.example"]
    assert found.plain == ("192.0.2.53:853",)


def section(**values: object) -> dict[str, object]:
    return document(upstream={"servers": [DOT], **values})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ca": "ca.pem"}, "upstream.ca: expected an absolute path"),
        ({"pins": {"dns.example": ["short"]}}, "upstream.pins[...]"),
        ({"pins": {"dns.example": []}}, "upstream.pins[...]"),
        ({"pins": {"other.example": [PIN]}}, "upstream.pins: a key of this table is the name of no encrypted server"),
        ({"ca": "/ca.pem", "pins": {"dns.example": [PIN]}}, "upstream.ca: verifies nothing"),
        ({"servers": ["192.0.2.53:53"], "ca": "/ca.pem"}, "upstream.ca: verifies nothing"),
    ],
)
def test_what_verifies_nothing_is_refused(values: dict[str, object], said: str) -> None:
    assert fault(section(**values)).startswith(f"resolver.toml: {said}")


def test_a_mixture_and_a_single_pin_are_said() -> None:
    assert not [line for line in warnings(read(section(pins={"dns.example": [PIN, OTHER_PIN]}))) if "upstream" in line]
    (line,) = (line for line in warnings(read(section(pins={"dns.example": [PIN]}))) if "upstream" in line)
    assert line.startswith("upstream.pins has one key of dns.example: ")
    zone = [{"name": "corp.example", "servers": [DOT, "192.0.2.1:53"]}]
    (line,) = (line for line in warnings(read(section(zone=zone))) if "upstream" in line)
    assert line.startswith("upstream.zone[0].servers has servers with and without encryption: ")
    assert Upstream().encrypted == ()


def test_an_address_of_the_edge_would_lead_back() -> None:
    edge = {
        **{"socket": "/run/edge/queries", "name": "dns.isp.example", "tls": ["127.0.0.1:853"]},
        **{"certificate": "/etc/cert.pem", "key": "/etc/key.pem"},
    }
    loops = document(upstream={"servers": ["tls://dns.isp.example@127.0.0.1"]}, edge=edge)
    assert fault(loops).startswith("resolver.toml: upstream.servers[0]: is an address of the edge: queries would loop")
    other = document(upstream={"servers": ["tls://dns.isp.example@127.0.0.1:8853"]}, edge=edge)
    assert read(other).edge.tls != read(other).upstream.servers


def many(count: int) -> list[dict[str, object]]:
    """Zones with so many encrypted servers in all."""
    texts = [f"tls://n{number}.example@192.0.2.53" for number in range(count)]
    return [{"name": f"z{at}.example", "servers": texts[at : at + 60]} for at in range(0, count, 60)]


def test_more_encrypted_servers_than_the_courier_has_room_for_are_refused() -> None:
    assert len(read(section(zone=many(MOST_ENCRYPTED - 1))).upstream.encrypted) == MOST_ENCRYPTED
    assert fault(section(zone=many(MOST_ENCRYPTED))) == (
        "resolver.toml: upstream: names 257 encrypted servers, those of zones among them, and the process that asks "
        "them has room for 256: name fewer"
    )
    said = fault(section(ca="/" + "ü" * 2048))
    assert said == "resolver.toml: upstream.ca: expected a path of at most 4,095 octets"


def test_the_longest_configuration_fits_into_one_frame() -> None:
    """All servers with the longest names, paths, interfaces and pins that are accepted, and the longest path of CAs."""
    long = ".".join(("a" * 60, "b" * 63, "c" * 63, "d" * 54))
    names = [f"{long}.n{number:03}.test" for number in range(MOST_ENCRYPTED)]
    assert max(map(len, names)) == 253
    texts = [
        f"https://{name}@[1111:2222:3333:4444:5555:6666:7777:{number + 4096:x}]:65535/{'%' * 255}"
        for number, name in enumerate(names)
    ]
    pins = {name: ["/" * 43 + "="] * 16 for name in names[1:]}
    zones = [{"name": f"z{at}.example", "servers": texts[at : at + 64]} for at in range(0, MOST_ENCRYPTED, 64)]
    found = read(document(upstream={"servers": [texts[0]], "ca": "/" + "\u00e4" * 2047, "pins": pins, "zone": zones}))
    assert len(found.upstream.encrypted) == MOST_ENCRYPTED
    settings = [
        courier_frames.Settings(one, tuple(found.upstream.pins.get(one.name, ())), found.upstream.ca)
        for one in found.upstream.encrypted
    ]
    (frame,) = courier_frames.Frames().taken(courier_frames.servers(settings))
    assert courier_frames.settings_in(frame[1]) == tuple(settings)
