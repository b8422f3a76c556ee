"""Our policy inside a real Unbound: what it leaks, what it counts, how it follows a list, and what damage does.

The service beside it compiles and publishes; NSD has the zones. Unbound's embedded Python takes this tree's packages.
"""

import itertools
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.message
import pytest

from tests.journeys.processes import hang_up, wait_for
from tests.journeys.running import HOST, ROOT, free_ports
from tests.peers import leak_rows, plugins, servers
from tests.peers.leak_rows import LISTED, NO_LEAK, ROWS, SIGNED, UNSIGNED, Row
from tests.peers.plugins import ask, outcome, tags
from tests.peers.servers import Server
from tests.unit.plugin.parts import KEY, published

pytestmark = pytest.mark.timeout(120)

STARTER = ROOT / "deploy" / "unbound" / "blocklist.py"
SWAPS = 200
UNBOUNDMODULE = "/usr/lib/python3/dist-packages"
# Unbound resolves ANY of an alias, and our module judges what it finds.
BY_UNBOUND = {"CNAME to blocked, ANY": {leak_rows.NODATA}}


def starter(folder: Path, policy: Path, key: Path) -> Path:
    """deploy/unbound/blocklist.py with this test's paths. It notes each call of `operate` in the file `calls`."""
    text = STARTER.read_text()
    paths = {"FOLDER": policy, "KEY": key, "COPIES": folder}
    for name, value in (("PACKAGES", f'"{ROOT}"'), *((name, f'Path("{path}")') for name, path in paths.items())):
        text, count = re.subn(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
        assert count == 1
    calls = f"""
_calls = open("{folder}/calls", "ab", buffering=0)


def operate(*arguments):
    _calls.write(b".")
    return _module.operate(*arguments)
"""
    path = folder / "blocklist.py"
    path.write_text(text + calls)
    return path


@dataclass(frozen=True)
class Enforcing:
    """Unbound with our policy, and its folder."""

    server: Server
    folder: Path

    @property
    def calls(self) -> int:
        """How often Unbound has asked our module."""
        return (self.folder / "calls").stat().st_size

    @property
    def said(self) -> str:
        return (self.folder / "server" / "log").read_text(errors="replace")


@contextmanager
def unbound(folder: Path, nsd: Server, path: str, policy: Path, key: Path, port: int = 0) -> Iterator[Enforcing]:
    """Unbound before that NSD, with our module first. It is ready when it answers from data of its own."""
    folder.mkdir()
    script = starter(folder, policy, key)
    options = (
        'module-config: "python validator iterator"',
        'local-zone: "selftest.invalid." transparent',
        "ede: yes",
        'local-data: "ready. 60 IN TXT up"',
        "python:",
        f'  python-script: "{script}"',
    )
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("PYTHONPATH", UNBOUNDMODULE)
        zones = ["ready.", SIGNED, UNSIGNED]
        start = servers.unbound(folder / "server", nsd, zones, more=options, path=path, port=port)
        yield Enforcing(stack.enter_context(start), folder)


@dataclass(frozen=True)
class Lab:
    """The service, and Unbound. receipted: when the list had its receipt while there was no Unbound; 0 for not."""

    site: plugins.Site
    unbound: Enforcing
    receipted: float | None

    def outcome(self, name: str, kind: str = "A") -> str:
        """What Unbound answers."""
        return outcome(self.unbound.server.port, name, kind)


@pytest.fixture(scope="module")
def lab(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder, path, (port,) = tmp_path_factory.mktemp("lab"), program("unbound"), free_ports(1)
    with plugins.site(program, folder, f'resolvers = ["{HOST}:{port}"]') as site:
        wait_for(lambda: "not proved yet" in site.service.said, "a proof without Unbound", 60)
        receipted = site.service.metric("list_receipt_timestamp_seconds")
        with unbound(folder / "unbound", site.nsd, path, site.policy, site.key, port) as one:
            yield Lab(site, one, receipted)


def test_attempts_of_clients_reach_the_services_exporter(lab: Lab) -> None:
    """First of all, so that every block is one of these."""
    service, query = lab.site.service, dns.message.make_query("www.bad.example", "AAAA", use_edns=0)
    for client in range(20, 25):
        for _ in range(3):
            assert ask(lab.unbound.server.port, query, source=f"127.0.0.{client}") == leak_rows.PAGE6
    service.until("/metrics", lambda body: service.metric("blocked_queries_total", body) == 15)
    assert service.metric("blocked_attempts_total") == 5


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_row(row: Row, lab: Lab, table: dict[tuple[str, str], str]) -> None:
    """The leak table's rows inside Unbound, each cold and warm."""
    found = plugins.found_by(lab.unbound.server.port, row)
    table[(row.what, "plugin in Unbound")] = " | ".join(sorted(found))
    expected = {"real", "empty", "SERVFAIL"} if row.outcome == NO_LEAK else {row.by_unbound or row.outcome}
    assert found <= BY_UNBOUND.get(row.what, expected)


def test_a_list_has_its_receipt_only_when_unbound_enforces_it(lab: Lab) -> None:
    service = lab.site.service
    assert lab.receipted == 0
    service.until("/metrics", lambda body: bool(service.metric("list_receipt_timestamp_seconds", body)))


def test_a_leak_is_seen(lab: Lab) -> None:
    """Without our module Unbound gives what NSD gives."""
    query = leak_rows.query_of(ROWS[0], UNSIGNED, next(tags), **plugins.WAYS[1])
    assert leak_rows.outcome(servers.ask_over_udp(lab.site.nsd.port, query.to_wire()), query) == "LEAK"


def test_cached_answers_are_unbounds_own(lab: Lab) -> None:
    """Once in the cache, a name costs what it costs without us: our module is not asked."""
    assert lab.outcome("good.example") == leak_rows.REAL
    calls = lab.unbound.calls
    for _ in range(200):
        assert lab.outcome("good.example") == leak_rows.REAL
    assert lab.unbound.calls == calls
    assert lab.outcome("bad.example") == leak_rows.PAGE
    assert lab.unbound.calls == calls + 1


def test_a_cached_name_that_is_listed_leaves_the_cache(lab: Lab, figures: dict[str, str]) -> None:
    """The name itself, and an alias that leads to it. An answer later than the bound would be a leak."""
    names = ("late.test", "x.tardy.test")
    assert {lab.outcome(name) for name in names} == {"LEAK"}
    serial = lab.site.service.authority.publish((*LISTED, "late.test"))
    hang_up(lab.site.service)
    lab.site.service.until_serial(serial)
    started, pause, took = time.monotonic(), threading.Event(), {}
    while len(took) < len(names) and time.monotonic() < started + 60:
        lab.outcome(f"{next(tags)}.nowhere.test")  # Unbound's other clients: a miss a tenth of a second.
        for name in names:
            if name not in took and lab.outcome(name) == leak_rows.PAGE:
                took[name] = time.monotonic() - started
        pause.wait(0.1)
    assert set(took) == set(names)
    assert lab.outcome("good.test") == leak_rows.REAL
    figures["a cached name that is listed leaves Unbound"] = f"after {max(took.values()):.2f} s"


def test_nothing_is_written_about_names_or_clients(lab: Lab) -> None:
    assert lab.outcome("bad.test") == leak_rows.PAGE
    said = lab.unbound.said
    assert said
    assert "bad" not in said
    assert "127.0.0.2" not in said
    assert not lab.site.holds(b"bad", b"127.0.0.2")


@pytest.mark.parametrize("damage", ["image", "policy", "nothing there"])
def test_damage_is_servfail_for_every_name(
    damage: str, lab: Lab, program: Callable[[str], str], tmp_path: Path
) -> None:
    policy = lab.site.damaged(tmp_path / "policy", damage)
    with unbound(tmp_path / "unbound", lab.site.nsd, program("unbound"), policy, lab.site.key) as one:
        for name, kind in itertools.product(("bad.test", "good.test", "x.alias.test"), ("A", "AAAA", "TXT")):
            assert outcome(one.server.port, name, kind) == leak_rows.SERVFAIL
        assert "SERVFAIL" in one.said


def test_swaps_need_no_reload_and_lose_no_query(lab: Lab, program: Callable[[str], str], tmp_path: Path) -> None:
    """200 of them; 10,000 were run once. A damaged policy changes nothing, and a reload that is made all the same ends
    nothing: Unbound starts Python again in the same process."""
    policy, key = tmp_path / "policy", tmp_path / "key"
    policy.mkdir()
    key.write_bytes(KEY)
    key.chmod(0o400)
    published(policy, ["bad.test"])
    with unbound(tmp_path / "unbound", lab.site.nsd, program("unbound"), policy, key) as one:
        plugins.swaps(one.server.port, policy, SWAPS)
        for number in range(3):
            one.server.process.send_signal(signal.SIGHUP)
            wait_for(lambda number=number: one.said.count("start of service") == number + 2, "a reload", 60)
            assert (outcome(one.server.port, "bad.test"), outcome(one.server.port, "good.test")) == ("page", "real")
            assert not list(one.folder.glob("blocklist-core-*"))
        plugins.signals(one.server.port, policy, SWAPS + 1)
        path = policy / "policy"
        path.write_bytes(path.read_bytes()[:-1])
        assert outcome(one.server.port, "bad.test") == leak_rows.PAGE
        assert one.server.process.poll() is None
