"""Our policy inside a real dnsdist, as Lua: what it leaks before an NSD, what it counts, and what damage does."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.message
import pytest

from resolver.plugin.lua_tables import PATH
from tests.journeys.processes import hang_up, wait_for
from tests.journeys.running import HOST, free_ports
from tests.peers import leak_rows, plugins, servers
from tests.peers.leak_rows import LISTED, NO_LEAK, ROWS, UNSIGNED, Row
from tests.peers.plugins import ask, outcome
from tests.peers.servers import Server
from tests.unit.plugin.parts import KEY, published

pytestmark = pytest.mark.timeout(120)

_CONFIG = """
setLocal("{host}:{port}")
setACL({{"127.0.0.0/8"}})
setSecurityPollSuffix("")
newServer({{address = "{upstream}", name = "nsd"}})
{cache}
-- Ready, whatever the policy is.
addAction(QNameRule("ready."), RCodeAction(DNSRCode.NOERROR))
local blocklist = dofile("{lua}")
blocklist.dnsdist(blocklist.open("{policy}", "{key}"))
"""
# NSD answers ANY of an alias with the alias, and our policy judges where it leads.
BY_DNSDIST = {"CNAME to blocked, ANY": {leak_rows.NODATA}}
SWAPS = 200
CACHE = 'getPool(""):setCache(newPacketCache(10000))'


@contextmanager
def dnsdist(folder: Path, site: plugins.Site, path: str, policy: Path, *, key: Path | None = None) -> Iterator[Server]:
    """dnsdist before NSD, with our policy first, and a packet cache behind it."""
    folder.mkdir()
    (port,) = free_ports(1)
    text = _CONFIG.format(
        host=HOST, port=port, upstream=site.nsd.address, lua=PATH, policy=policy, key=key or site.key, cache=CACHE
    )
    (folder / "dnsdist.conf").write_text(text)
    command = [path, "-C", str(folder / "dnsdist.conf"), "--supervised", "--disable-syslog"]
    with servers.running(command, folder, port, "ready.") as server:
        yield server


@dataclass(frozen=True)
class Lab:
    """The service, and dnsdist."""

    site: plugins.Site
    dnsdist: Server


@pytest.fixture(scope="module")
def lab(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    with (
        plugins.site(program, folder) as site,
        dnsdist(folder / "dnsdist", site, program("dnsdist"), site.policy) as one,
    ):
        yield Lab(site, one)


def test_attempts_of_clients_reach_the_services_exporter(lab: Lab) -> None:
    """First of all, so that every block is one of these."""
    service, query = lab.site.service, dns.message.make_query("www.bad.example", "AAAA", use_edns=0)
    for client in range(20, 25):
        for _ in range(3):
            assert ask(lab.dnsdist.port, query, source=f"127.0.0.{client}") == leak_rows.PAGE6
    service.until("/metrics", lambda body: service.metric("blocked_queries_total", body) == 15)
    assert service.metric("blocked_attempts_total") == 5


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_row(row: Row, lab: Lab, table: dict[tuple[str, str], str]) -> None:
    """The leak table's rows, each cold and warm."""
    found = plugins.found_by(lab.dnsdist.port, row)
    table[(row.what, "plugin in dnsdist")] = " | ".join(sorted(found))
    expected = {"real", "empty", "SERVFAIL"} if row.outcome == NO_LEAK else {row.outcome}
    assert found <= BY_DNSDIST.get(row.what, expected)


def test_a_cached_answer_is_judged_again_when_its_name_or_target_is_listed(lab: Lab) -> None:
    """dnsdist asks us before its packet cache, and of what comes out of it."""
    names = ("late.test", "x.tardy.test")
    for _ in range(2):
        assert {outcome(lab.dnsdist.port, name) for name in names} == {"LEAK"}
    serial = lab.site.service.authority.publish((*LISTED, "late.test"))
    hang_up(lab.site.service)
    lab.site.service.until_serial(serial)
    wait_for(lambda: outcome(lab.dnsdist.port, names[0]) == leak_rows.PAGE, "the name's block", 30)
    assert outcome(lab.dnsdist.port, names[1]) == leak_rows.PAGE
    assert outcome(lab.dnsdist.port, "good.test") == leak_rows.REAL


@pytest.mark.parametrize("damage", ["image", "policy", "nothing there"])
def test_damage_is_servfail_for_every_name(
    damage: str, lab: Lab, program: Callable[[str], str], tmp_path: Path
) -> None:
    policy = lab.site.damaged(tmp_path / "policy", damage)
    with dnsdist(tmp_path / "dnsdist", lab.site, program("dnsdist"), policy) as one:
        for name, kind in itertools.product(("bad.test", "good.test", "x.alias.test"), ("A", "AAAA", "TXT")):
            assert outcome(one.port, name, kind) == leak_rows.SERVFAIL


def test_a_leak_is_seen(lab: Lab) -> None:
    query = leak_rows.query_of(ROWS[0], UNSIGNED, next(plugins.tags), **plugins.WAYS[1])
    assert ask(lab.site.nsd.port, query) == "LEAK"


def test_swaps_need_no_reload_and_lose_no_query(lab: Lab, program: Callable[[str], str], tmp_path: Path) -> None:
    """200 of them; 10,000 were run once."""
    policy, key = tmp_path / "policy", tmp_path / "key"
    policy.mkdir()
    key.write_bytes(KEY)
    key.chmod(0o400)
    published(policy, ["bad.test"])
    with dnsdist(tmp_path / "dnsdist", lab.site, program("dnsdist"), policy, key=key) as one:
        plugins.swaps(one.port, policy, SWAPS)
        assert one.process.poll() is None
