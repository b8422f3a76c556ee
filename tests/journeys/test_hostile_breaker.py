"""Nothing that clients ask takes an entry out; what was in wide use before its list came is set aside alone.

Clients are named by PROXY v2 headers, as behind a load balancer, so that each is a prefix of its own: /32 or /56.
"""

import ipaddress
import itertools
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.processes import REAL, Site, came, honest, operate, query_for, wait_for
from tests.journeys.running import HOST, PAGE_V4, Service

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
V6 = "2001:db8::/32"
BLOCKED = f"{PAGE_V4} EDE 4"
HONEST = 120


def clients(family: int, many: int) -> list[str]:
    """So many addresses, each of a prefix of its own."""
    if family == 4:
        every = itertools.chain.from_iterable(ipaddress.ip_network(one).hosts() for one in V4)
        return [str(one) for one in itertools.islice(every, many)]
    first = int(ipaddress.ip_network(V6).network_address)
    return [str(ipaddress.ip_address(first + (number << 72) + 1)) for number in range(many)]


def header(client: str) -> bytes:
    """The PROXY v2 header of a datagram from this client."""
    address = ipaddress.ip_address(client)
    family, other = (0x12, bytes(4)) if address.version == 4 else (0x22, bytes(16))
    body = address.packed + other + (5000).to_bytes(2, "big") + (53).to_bytes(2, "big")
    return SIGNATURE + bytes([0x21, family]) + len(body).to_bytes(2, "big") + body


class Crowd:
    """Clients behind one load balancer."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, name: str, who: Sequence[str]) -> list[str]:
        """What each client gets for a name, different answers only."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(10)
            one.connect((HOST, self.port))
            found = set()
            for client in who:
                one.send(header(client) + query_for(name))
                found.add(came(one.recv(65535)))
        return sorted(found)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with in_thread(honest) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, upstream: Upstream) -> Site:
    listen = {"allow": [*V4, V6], "proxy_from": ["127.0.0.0/8"]}
    return Site(tmp_path, [upstream.address], {"listen": listen, "limits": {"exempt": []}})


def metric(service: Service, name: str) -> float | None:
    """The value of a series, which `name` begins."""
    _, body = service.get("/metrics")
    lines = [line for line in body.decode().splitlines() if line.startswith(f"blocklist_resolver_{name}")]
    return float(lines[0].rpartition(" ")[2]) if lines else None


def listed_next(site: Site, entries: Sequence[str]) -> None:
    site.publish(entries)
    assert operate(site, "list", "fetch", "demo").returncode == 0


def test_a_crowd_that_asks_for_new_names_takes_none_out(site: Site) -> None:
    """The owners of listed sites ask from 25 and from 500 networks, of both families."""
    entries = ["old.test"]
    site.publish(entries)
    with site.started() as service:
        crowd = Crowd(site.dns)
        for number, (family, many) in enumerate([(4, 25), (6, 25), (4, 500), (6, 500)]):
            entries += [f"new{number}.test", f"quiet{number}.test"]
            listed_next(site, entries)
            assert crowd.ask(f"new{number}.test", clients(family, many)) == [BLOCKED]
            wait_for(lambda: metric(service, "breaker_open{") == 1, "the alarm")
            for name in entries:
                assert crowd.ask(name, clients(family, 1)) == [BLOCKED], f"{name} after {many} of IPv{family}"
        listed_next(site, [*entries, "later.test"])
        for name in (*entries, "later.test"):
            assert crowd.ask(name, clients(4, 1)) == [BLOCKED]
        assert metric(service, "list_suspended_entries{") == 0
        assert metric(service, "list_entries{") == len(entries) + 1
    assert "block unusually many, and stay in force" in service.said


def test_a_name_in_wide_use_before_its_list_came_is_set_aside_alone(site: Site) -> None:
    entries = ["old.test"]
    site.publish(entries)
    with site.started() as service:
        crowd = Crowd(site.dns)
        assert crowd.ask("www.wide.test", clients(4, HONEST)) == [REAL]
        assert crowd.ask("www.wide.test", clients(6, HONEST)) == [REAL]
        assert crowd.ask("narrow.test", clients(4, 25)) == [REAL]
        entries += ["wide.test", "narrow.test", "unheard.test"]
        listed_next(site, entries)
        expected = {"www.wide.test": [REAL], "narrow.test": [BLOCKED], "unheard.test": [BLOCKED], "old.test": [BLOCKED]}
        assert {name: crowd.ask(name, clients(4, 1)) for name in expected} == expected
        assert metric(service, 'list_set_aside{list="demo",reason="in_use"}') == 1
        assert metric(service, "list_suspended_entries{") == 1
        assert "in_use 1" in operate(site, "list", "status").stdout
        # Whoever asks for the others now, and however many: they stay.
        assert crowd.ask("narrow.test", clients(6, 500)) == [BLOCKED]
        listed_next(site, [*entries, "later.test"])
        assert {name: crowd.ask(name, clients(4, 1)) for name in expected} == expected
    with site.started() as service:
        # What clients asked is forgotten with the process; what waits for persons is not.
        assert {name: crowd.ask(name, clients(4, 1)) for name in expected} == expected
        listed_next(site, [*entries, "last.test"])
        assert {name: crowd.ask(name, clients(4, 1)) for name in expected} == expected
