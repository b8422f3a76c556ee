"""Our policy inside a real PowerDNS Recursor and a real Knot Resolver, as Lua: leaks, counts, swaps and damage.

The configurations are those of deploy/, with this test's addresses; NSD has the zones.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.edns
import dns.message
import dns.rcode
import pytest

from tests.journeys.processes import hang_up, wait_for
from tests.journeys.running import HOST, PAGE_V4, free_ports
from tests.peers import leak_rows, plugins, servers
from tests.peers.leak_rows import LISTED, NO_LEAK, ROWS, UNSIGNED, Row
from tests.peers.plugins import ask, outcome
from tests.peers.servers import Server
from tests.unit.plugin.parts import KEY, published

pytestmark = pytest.mark.timeout(120)

RESOLVERS = ("recursor", "knot")
PROGRAMS = {"recursor": "pdns_recursor", "knot": "kresd"}
# What a resolver answers by itself: the Recursor sends ANY to TCP, and tells a policy no class; Knot Resolver answers
# neither ANY nor transfers, nor another class: 5 has SERVFAIL for them, 6 NOTIMP.
BY_RESOLVER = {
    ("recursor", "CNAME to blocked, ANY"): {leak_rows.NODATA, "empty"},
    ("recursor", "ANY of a listed name"): {leak_rows.NODATA, "empty"},
    ("recursor", "A in class CH"): {leak_rows.PAGE},
    ("recursor", "unlisted in class CH"): {leak_rows.SERVFAIL},
    ("knot", "CNAME to blocked, ANY"): {leak_rows.SERVFAIL, "NOTIMP"},
    ("knot", "ANY of a listed name"): {leak_rows.SERVFAIL, "NOTIMP"},
    ("knot", "A in class CH"): {leak_rows.SERVFAIL, "NOTIMP"},
    ("knot", "unlisted in class CH"): {leak_rows.SERVFAIL, "NOTIMP"},
    ("knot", "AXFR of a listed name"): {leak_rows.SERVFAIL, "NOTIMP"},
}
SWAPS = 200


@contextmanager
def resolver(
    kind: str,
    folder: Path,
    upstream: str,
    path: str,
    policy: Path,
    key: Path,
    *,
    damaged: bool = False,
    threads: int = 2,
) -> Iterator[Server]:
    """The resolver before that upstream, with our policy. It is ready when it answers; SERVFAIL if that is damaged.

    threads: of the Recursor; each follows the policy by itself.
    """
    folder.mkdir()
    (port,) = free_ports(1)
    given = (folder, upstream, port, policy, key)
    command = plugins.recursor(*given, path) if kind == "recursor" else plugins.knot(*given)
    for config in folder.glob("recursor.*"):
        config.write_text(re.sub(r"(threads[=:] ?)2", rf"\g<1>{threads}", config.read_text()))
    rcode = dns.rcode.SERVFAIL if damaged else dns.rcode.NOERROR
    with servers.running([path, *command], folder, port, UNSIGNED, rcode=rcode) as server:
        yield server


@dataclass(frozen=True)
class Lab:
    """The service, and a resolver with its policy. said: what the resolver has written."""

    kind: str
    site: plugins.Site
    server: Server
    folder: Path

    def outcome(self, name: str, kind: str = "A") -> str:
        return outcome(self.server.port, name, kind)

    @property
    def said(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


@pytest.fixture(scope="module", params=RESOLVERS)
def lab(
    request: pytest.FixtureRequest, program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    kind, folder = request.param, tmp_path_factory.mktemp("lab")
    with plugins.site(program, folder) as site:
        at = folder / kind
        with resolver(kind, at, site.nsd.address, program(PROGRAMS[kind]), site.policy, site.key) as one:
            yield Lab(kind, site, one, at)


def test_attempts_of_clients_reach_the_services_exporter(lab: Lab) -> None:
    """First of all, so that every block is one of these."""
    service, query = lab.site.service, dns.message.make_query("www.bad.example", "AAAA", use_edns=0)
    for client in range(20, 25):
        for _ in range(3):
            assert ask(lab.server.port, query, source=f"127.0.0.{client}") == leak_rows.PAGE6
    service.until("/metrics", lambda body: service.metric("blocked_queries_total", body) == 15)
    assert service.metric("blocked_attempts_total") == 5


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_row(row: Row, lab: Lab, table: dict[tuple[str, str], str]) -> None:
    """The leak table's rows, each cold and warm."""
    found = plugins.found_by(lab.server.port, row)
    table[(row.what, f"plugin in {lab.kind}")] = " | ".join(sorted(found))
    expected = {"real", "empty", "SERVFAIL"} if row.outcome == NO_LEAK else {row.outcome}
    assert found <= BY_RESOLVER.get((lab.kind, row.what), expected)


@pytest.mark.parametrize("name", ["bad.test", "x.alias.test"])
@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_the_pages_answer_is_whole(name: str, over: str, lab: Lab) -> None:
    """Header, question, the page's address with its TTL, and the extended error with nothing else."""
    query = dns.message.make_query(name, "A", use_edns=0, want_dnssec=True)
    said = plugins.TRANSPORTS[over](lab.server.port, query.to_wire(), HOST)
    question = query.to_wire()[12 : len(query.to_wire()) - 11]
    address = bytes(map(int, PAGE_V4.split(".")))
    record = b"\xc0\x0c\0\1\0\1" + (60).to_bytes(4, "big") + b"\0\4" + address
    head = query.id.to_bytes(2, "big") + bytes.fromhex("8180 0001 0001 0000 0001")
    assert said.startswith(head + question + record)
    reply = dns.message.from_wire(said)
    assert [(type(one), int(one.code), one.text) for one in reply.options if isinstance(one, dns.edns.EDEOption)] == [
        (dns.edns.EDEOption, 4, None)
    ]


def test_a_cached_answer_is_judged_again_when_its_name_or_target_is_listed(lab: Lab) -> None:
    names = ("late.test", "x.tardy.test")
    for _ in range(2):
        assert {lab.outcome(name) for name in names} == {"LEAK"}
    serial = lab.site.service.authority.publish((*LISTED, "late.test"))
    hang_up(lab.site.service)
    lab.site.service.until_serial(serial)
    for name in names:
        # Each thread of the Recursor looks once a second.
        wait_for(lambda name=name: lab.outcome(name) == leak_rows.PAGE, "a block", 30)
    assert lab.outcome("good.test") == leak_rows.REAL


def test_nothing_is_written_about_names_or_clients(lab: Lab) -> None:
    assert lab.outcome("bad.test") == leak_rows.PAGE
    assert lab.said
    assert "bad" not in lab.said
    assert "127.0.0.2" not in lab.said


@pytest.mark.parametrize("damage", ["image", "policy", "nothing there"])
def test_damage_is_servfail_for_every_name(
    damage: str, lab: Lab, program: Callable[[str], str], tmp_path: Path
) -> None:
    policy, path = lab.site.damaged(tmp_path / "policy", damage), program(PROGRAMS[lab.kind])
    with resolver(lab.kind, tmp_path / "one", lab.site.nsd.address, path, policy, lab.site.key, damaged=True) as one:
        for name, kind in itertools.product(("bad.test", "good.test", "x.alias.test"), ("A", "AAAA", "TXT")):
            assert outcome(one.port, name, kind) == leak_rows.SERVFAIL
        assert "every query is answered SERVFAIL" in (tmp_path / "one" / "log").read_text()


@pytest.mark.parametrize("what", ["open to others", "not there"])
def test_a_key_that_cannot_be_used_is_no_start(
    what: str, lab: Lab, program: Callable[[str], str], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    if what == "open to others":
        key.write_bytes(KEY)
        key.chmod(0o444)
    path = program(PROGRAMS[lab.kind])
    with (
        pytest.raises(AssertionError, match=r"chmod o=|cannot be opened"),
        resolver(lab.kind, tmp_path / "one", lab.site.nsd.address, path, lab.site.policy, key),
    ):
        pass


def test_swaps_need_no_reload_and_lose_no_query(lab: Lab, program: Callable[[str], str], tmp_path: Path) -> None:
    """200 of them; 10,000 were run once. A damaged policy changes nothing."""
    policy, key = tmp_path / "policy", tmp_path / "key"
    policy.mkdir()
    key.write_bytes(KEY)
    key.chmod(0o400)
    published(policy, ["bad.test"])
    path = program(PROGRAMS[lab.kind])
    with resolver(lab.kind, tmp_path / "one", lab.site.nsd.address, path, policy, key, threads=1) as one:
        plugins.swaps(one.port, policy, SWAPS)
        plugins.signals(one.port, policy, SWAPS + 1)
        file = policy / "policy"
        file.write_bytes(file.read_bytes()[:-1])
        assert outcome(one.port, "bad.test") == leak_rows.PAGE
        assert one.process.poll() is None
