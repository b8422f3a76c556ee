"""What the control socket's verbs do: what they may tell, and that nothing of a request comes back out."""

import ipaddress
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest

from resolver.cli.typed import wire
from resolver.config.config import parse
from resolver.control import requests
from resolver.control.status import EdgeHealth, Reloaded, UpstreamHealth, of_json
from resolver.core import codes
from resolver.count.metrics import Sample, Series
from resolver.count.publish import Published
from resolver.feed import facts, receipt
from resolver.feed.enforced import InForce
from resolver.feed.facts import DecisionFacts, ListFacts, ReleaseFacts
from resolver.feed.fleet_receipts import Reports
from resolver.feed.release import Covered, Release
from resolver.feed.state import Held, Record, State
from resolver.service.edge_host import EdgeFacts
from resolver.service.verbs import Refused, ServiceVerbs
from tests.unit.feed.test_state import record

CANARY = "canary-7f3a.test"
CONFIG = """
[upstream]
servers = ["192.0.2.53:53"]
[page]
addresses = ["192.0.2.1"]
[control]
group = ""
[[list]]
id = "demo"
demonstration = true
source = { kind = "tuf", url = "file:///srv/a", root = "/srv/root.json", poll = "15m" }
"""


class Lists:
    """Stands for the enforcement of one list, of which one node of two has reported."""

    def __init__(self) -> None:
        self.unreadable = False
        config = parse(CONFIG, "resolver.toml")
        kept = record(7, "7", issued=1_700_000_000, since=1_700_000_060, entries=100, set_aside={"popular": 2})
        held = Held(record=record(8, "8", issued=1_700_000_400), reasons=("growth",), since=1_700_000_500)
        self.one = SimpleNamespace(
            list=config.lists[0],
            state=State(in_force=kept, held=held),
            enforced=InForce(
                number=7,
                identity=kept.identity,
                view=memoryview(b""),
                tested=receipt.Tested(digests=100, unlisted=1),
                approved=False,
            ),
            last_success=1_700_000_100,
            failures=SimpleNamespace(
                counts={"timeout": 2},
                since=1_700_000_200,
                recent={"timeout": 1},
                last=["timeout: its host"],
                refused={},
                polled_at=1_700_000_250,
            ),
            prover=SimpleNamespace(passed=True, receipt_at=0),
            breaker=SimpleNamespace(open=True),
            due_by=1_700_086_800,
            unmet=None,
            shown=SimpleNamespace(fresh_until=1_700_000_300, passed_over=""),
        )
        self.feed = [self.one]

    def facts(self) -> tuple[ListFacts, ...]:
        written = facts.of_state(self.one.list, self.one.state, 1_700_000_600.0)
        return (facts.with_releases(facts.with_live(written, self.one), [RELEASE]),)

    def reports(self, list_id: str, one: Record) -> Reports:
        if self.unreadable:
            raise PermissionError
        return Reports({"one": one.issued}, 2, ("two",))


RELEASE = Release(
    number=3,
    covered=(Covered(list="demo", serial=7, digest="7", line=5),),
    uid=1,
    reason="a school",
    at=1_700_000_000,
    until=1_700_600_000,
    image="",
    digest_key="",
)


PUBLISHED = MappingProxyType(
    {
        Series("cache_bytes"): 2048,
        Series("queries_in_flight"): 3,
        Series("upstream_failures_total", ("192.0.2.53:53", "timeout")): 7,
        **{Series("failed_answers_total", (reason,)): 6 for reason in codes.FAILED_REASONS},
    }
)
UPSTREAM = SimpleNamespace(asked=True, answers=True, fault="answers SERVFAIL", zones=("", "corp.test"))


class World:
    """A running service whose parts note what they are asked to do."""

    def __init__(self) -> None:
        self.flushed: list[tuple[bytes, bool]] = []
        self.walked: list[tuple[bytes, bytes]] = []
        self.refused: Refused | None = None
        self.reply: bytes | None = b"\0\1"
        self.path = Path("/etc/resolver.toml")
        self.started = 1_699_999_000.9
        self.config = parse(CONFIG, "resolver.toml")
        self.last_reload = Reloaded(at=5, good=True)
        self.readings: Any = SimpleNamespace(live=self.live, upstreams=lambda: {"192.0.2.53:53": UPSTREAM})
        self.counting: Any = SimpleNamespace(published=lambda: Published(900, PUBLISHED))
        self.enforcement: Any = Lists()
        self.edge: Any = SimpleNamespace(facts=lambda: self.edges)
        self.edges: EdgeFacts | None = None
        self.cache: Any = SimpleNamespace(flush=self.flush)
        self.trace: Any = SimpleNamespace(walk=self.walk)
        self.verbs = ServiceVerbs(self).verbs()

    def unready(self) -> str:
        return ""

    def missing(self) -> tuple[str, ...]:
        return ("listen.dns: 192.0.2.53:53 (UDP): Address already in use",)

    def live(self) -> Iterator[Sample]:
        yield Sample("enforcing", (), 1)
        yield Sample("connections", ("tcp",), 4)
        for reason in codes.DROP_REASONS:
            yield Sample("packets_dropped_total", (reason,), 5)
        yield Sample("upstream_answering", (), 1)
        yield Sample("upstream_latency_seconds", ("192.0.2.53:53", "0.5"), 0.01)
        yield Sample("upstream_latency_seconds", ("192.0.2.53:53", "0.99"), 0.09)

    async def reload(self) -> tuple[str, ...]:
        if self.refused:
            raise self.refused
        return ("page.addresses",)

    async def flush(self, name: bytes, *, subtree: bool, pause: Callable[[], Awaitable[None]]) -> int:
        await pause()
        self.flushed.append((name, subtree))
        return 4

    async def walk(self, packet: bytes, client: bytes) -> Any:
        self.walked.append((packet, client))
        return SimpleNamespace(steps=(("client", "is one", 0.001),), reply=self.reply)

    async def ask(self, request: requests.Request[Any]) -> Any:
        reply = self.verbs[type(request)](request, 1000)
        return reply if isinstance(reply, requests.Reply) else await reply


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.asyncio
async def test_status_tells_what_is_known(world: World) -> None:
    health = of_json((await world.ask(requests.Status())).health)
    assert health.edges is None
    world.edges = EdgeFacts(2, 1_900_000_000)
    with_edges = of_json((await world.ask(requests.Status())).health).edges
    assert with_edges == EdgeHealth(connected=2, expires=1_900_000_000)
    assert (health.config, health.started, health.ready, health.enforcing, health.answering) == (
        "/etc/resolver.toml",
        1_699_999_000,
        True,
        True,
        True,
    )
    assert (health.in_flight, health.connections, health.connections_bound) == (3, 4, 10_000)
    assert (health.cache_size, health.cache_used, health.beat) == (64 * 2**20, 2048, 900)
    assert health.dropped == dict.fromkeys(codes.DROP_REASONS, 5)
    assert health.failed == dict.fromkeys(codes.FAILED_REASONS, 6)
    assert health.reload == Reloaded(at=5, good=True)
    assert health.upstreams == (
        UpstreamHealth(
            upstream="192.0.2.53:53",
            asked=True,
            up=True,
            fault="answers SERVFAIL",
            zones=("", "corp.test"),
            p50_s=0.01,
            p99_s=0.09,
            failures={"timeout": 7},
        ),
    )
    assert health.lists == (
        ListFacts(
            list_id="demo",
            has_list=True,
            lifted=False,
            serial=7,
            entries=100,
            issued=1_700_000_000,
            in_force_since=1_700_000_060,
            hard_limit_at=1_700_000_000 + 14 * 86400,
            last_success=1_700_000_100,
            poll_s=900,
            failures={"timeout": 2},
            held_serial=8,
            held_for=("growth",),
            selftest_passed=True,
            held_since=1_700_000_500,
            decisions=(
                DecisionFacts(action="approve", serial=8, command="approve demo 8", signed=(), missing=2),
                DecisionFacts(
                    action="approve-set-aside", serial=7, command="approve demo 7 --set-aside", signed=(), missing=2
                ),
            ),
            set_aside={"popular": 2},
            suspended=True,
            suspended_entries=2,
            breaker_open=True,
            due_by=1_700_086_800,
            failing_since=1_700_000_200,
            failing={"timeout": 1},
            failed="timeout: its host",
            polled_at=1_700_000_250,
            next_poll_at=1_700_001_150,
            fresh_until=1_700_000_300,
            releases=(
                ReleaseFacts(
                    number=3, serial=7, line=5, at=1_700_000_000, until=1_700_600_000, alarm_at=1_700_086_400
                ),
            ),
            fleet_hosts=2,
            fleet_missing=("two",),
        ),
    )


@pytest.mark.asyncio
async def test_what_cannot_be_read_is_left_out(world: World) -> None:
    world.enforcement.unreadable = True
    (one,) = of_json((await world.ask(requests.Status())).health).lists
    assert (one.serial, one.fleet_hosts, one.fleet_missing) == (7, 0, ())


@pytest.mark.asyncio
async def test_a_reload_tells_the_keys_that_changed_or_why_it_was_refused(world: World) -> None:
    reply = requests.ReloadReply(file="/etc/resolver.toml", changed=("page.addresses",), warnings=())
    assert await world.ask(requests.Reload()) == reply
    world.refused = Refused("resolver.toml: page.listen: why", "resolver.toml: page.listen")
    assert await world.ask(requests.Reload()) == requests.Refused(said="resolver.toml: page.listen: why")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "subtree", "told"),
    [
        ("www.shop.test", False, 4),
        ("shop.test", True, 4),
        ("test", False, 4),
        ("test", True, None),
        (".", True, None),
        (".", False, 4),
    ],
)
async def test_a_flush_tells_no_number_of_what_is_wide(
    name: str, subtree: bool, told: int | None, world: World
) -> None:
    octets = b"\0" if name == "." else wire(name)
    reply = await world.ask(requests.Flush(name=octets.hex(), subtree=subtree))
    assert reply == requests.FlushReply(forgotten=told)
    assert world.flushed == [(octets, subtree)]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["", "c00c", "03777777", wire("a.test").hex() + "00"])
async def test_a_flush_of_what_is_no_name_does_nothing(name: str, world: World) -> None:
    assert await world.ask(requests.Flush(name=name)) == requests.Failed(said="not a domain name")
    assert world.flushed == []


@pytest.mark.asyncio
async def test_a_walk_tells_its_steps_and_the_reply(world: World) -> None:
    reply = await world.ask(requests.Ask(packet="00ff", client="192.0.2.7"))
    assert reply.seconds >= 0
    assert (reply.steps, reply.reply) == ((("client", "is one", 0.001),), "0001")
    world.reply = None
    assert (await world.ask(requests.Ask(packet="00ff", client="2001:db8::7"))).reply is None
    mapped = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 7])
    assert world.walked == [(b"\0\xff", mapped), (b"\0\xff", ipaddress.ip_address("2001:db8::7").packed)]


@pytest.mark.asyncio
async def test_a_walk_for_what_is_no_address_does_nothing(world: World) -> None:
    reply = await world.ask(requests.Ask(packet="00ff", client=CANARY))
    assert isinstance(reply, requests.Failed)
    assert CANARY not in reply.said
    assert world.walked == []
