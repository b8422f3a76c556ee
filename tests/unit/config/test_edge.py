"""`[edge]`: off by default, and refused where an edge could not listen, or no client could verify it."""

from pathlib import Path
from typing import Any

import pytest

from resolver.config import config
from resolver.config.values import Endpoint
from tests.journeys.processes import list_of, toml

EDGE = {
    "socket": "/run/blocklist-resolver-edge/queries",
    "name": "dns.isp.example",
    "tls": ["192.0.2.10:853"],
    "https": ["192.0.2.10:443"],
    "certificate": "/etc/edge/certificate.pem",
    "key": "/etc/edge/key.pem",
}


def parsed(said: dict[str, Any], **tables: Any) -> config.Config:
    page = {"addresses": ["192.0.2.1"], "operator": "o", "contact": "c", "authority": "a", "law": "l"}
    edge = {"edge": said} if said else {}
    return config.parse(toml({"page": page, **edge, **tables}, [list_of(Path("/srv/authority"))]), "f")


def test_it_is_off_by_default_and_then_says_nothing() -> None:
    found = parsed({})
    assert (found.edge.socket, found.edge.user, found.edge.path) == ("", "blocklist-edge", "/dns-query")
    assert found.edge.offered == ()
    assert not any("edge" in line for line in config.warnings(found))


def test_what_has_an_address_is_offered_in_the_order_of_the_transports() -> None:
    found = parsed({**EDGE, "quic": ["[2001:db8::10]:853"]}).edge
    assert found.offered == ("dot", "doh", "doq")
    assert found.quic == (Endpoint("2001:db8::10", 853),)
    http3 = {name: value for name, value in EDGE.items() if name not in ("tls", "https")}
    assert parsed({**http3, "http3": ["192.0.2.10:443"]}).edge.offered == ("doh",)
    assert parsed({"socket": EDGE["socket"]}).edge.offered == ()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"socket": ""}, "edge.socket"),
        ({"socket": "queries"}, "edge.socket"),
        ({"socket": "/" + "a" * 107}, "edge.socket"),
        ({"user": "no such"}, "edge.user"),
        ({"name": ""}, "edge.name"),
        ({"name": "DNS.ISP.EXAMPLE"}, "edge.name"),
        ({"name": "dns.isp.example."}, "edge.name"),
        ({"name": "192.0.2.10"}, "edge.name"),
        ({"certificate": ""}, "edge.certificate"),
        ({"certificate": "certificate.pem"}, "edge.certificate"),
        ({"key": ""}, "edge.key"),
        ({"key": "key.pem"}, "edge.key"),
        ({"path": "dns-query"}, "edge.path"),
        ({"path": "/dns-query{?dns}"}, "edge.path"),
        ({"path": "/" + "a" * 255}, "edge.path"),
        ({"tls": ["192.0.2.10:0"]}, "edge.tls[0]"),
        ({"tls": ["[fe80::1]:853"]}, "edge.tls[0]"),
        ({"tls": ["192.0.2.10:443"]}, "edge.https[0]"),
        ({"tls": ["192.0.2.10:853", "192.0.2.10:853"]}, "edge.tls[1]"),
        ({"quic": ["192.0.2.10:853"], "http3": ["192.0.2.10:853"]}, "edge.http3[0]"),
        ({"tls": ["127.0.0.1:5300"]}, "edge.tls[0]"),
        ({"quic": ["127.0.0.1:5300"]}, "edge.quic[0]"),
        ({"https": ["127.0.0.1:8080"]}, "edge.https[0]"),
        ({"https": ["127.0.0.1:9153"]}, "edge.https[0]"),
    ],
)
def test_what_could_not_work_is_refused_by_its_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(config.ConfigError) as caught:
        parsed({**EDGE, **change})
    assert caught.value.key.startswith(key)


def test_what_only_seems_to_clash_is_taken() -> None:
    assert parsed({"socket": "/" + "a" * 106}).edge.socket.endswith("a")
    over_udp = parsed({**EDGE, "quic": ["192.0.2.10:853"], "http3": ["192.0.2.10:443"]})
    assert over_udp.edge.http3 == over_udp.edge.https
    assert parsed({**EDGE, "http3": ["127.0.0.1:8080"]}).edge.offered == ("dot", "doh")


@pytest.mark.parametrize(
    ("https", "http3", "port"),
    [
        (["192.0.2.10:443"], ["192.0.2.10:443"], 443),
        (["192.0.2.10:443"], ["192.0.2.10:8443"], 8443),
        (["192.0.2.10:443"], [], 0),
        ([], ["192.0.2.10:443"], 0),
        (["192.0.2.10:443", "[2001:db8::10]:443"], ["192.0.2.10:443"], 0),
        (["192.0.2.10:443", "[2001:db8::10]:443"], ["192.0.2.10:443", "[2001:db8::10]:8443"], 0),
        (["192.0.2.10:443", "[2001:db8::10]:443"], ["[2001:db8::10]:443", "192.0.2.10:443"], 443),
        (["192.0.2.10:443", "192.0.2.10:8443"], ["192.0.2.10:443", "192.0.2.11:8443"], 443),
        (["192.0.2.10:443"], ["192.0.2.11:443", "192.0.2.10:444"], 444),
        (["192.0.2.10:443"], ["0.0.0.0:443"], 443),
        (["0.0.0.0:443"], ["192.0.2.10:443"], 0),
        (["0.0.0.0:443"], ["0.0.0.0:443"], 443),
        (["192.0.2.10:443"], ["[::]:443"], 0),
        (["[2001:db8::10]:443"], ["0.0.0.0:443"], 0),
        (["[2001:db8::10]:443"], ["[::]:443"], 443),
    ],
)
def test_clients_are_told_of_http3_where_it_is_at_each_address(https: list[str], http3: list[str], port: int) -> None:
    found = parsed({**EDGE, "tls": [], "https": https, "http3": http3})
    assert found.edge.alternative == port
    told = bool(port) or not (https and http3)
    assert any("not announced" in line for line in config.warnings(found)) is not told


@pytest.mark.parametrize(
    ("said", "warned"),
    [
        ({"socket": EDGE["socket"]}, "none of edge.tls, https, quic and http3 has an address"),
        ({**EDGE, "user": ""}, 'edge.user is ""'),
        (
            {name: value for name, value in {**EDGE, "http3": ["192.0.2.10:443"]}.items() if name != "https"},
            "edge.http3 without edge.https",
        ),
    ],
)
def test_what_is_probably_a_mistake_is_said(said: dict[str, Any], warned: str) -> None:
    assert any(warned in line for line in config.warnings(parsed(said)))
    assert not any("edge" in line for line in config.warnings(parsed(EDGE)))
