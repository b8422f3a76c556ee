"""Whose query was blocked? Nobody's that our numbers could name: the attack of differencing on a whole service.

A service on real sockets, its beat moved by the test; 200 clients, each with an address of its own, ask for names that
nobody asked for before, each of them on every beat. One of them visits a listed name on every beat, others sometimes.
Every 15 seconds of the test's clock everything is scraped: /metrics, what neighbours would show, and, for the double,
the exact numbers that leave on the beat only.

Neighbours are counted where they would count: the host's UDP (node_exporter) and dnsdist where clients send and
receive, Unbound where it is asked. What comes by the clock and not by a query is left out, as noise that only helps the
visitor: a question that goes upstream again because a busy machine takes long counts once there, and the upstream is
not looked at while the attacker looks.
"""

import asyncio
import itertools
import random
import re
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp
import dns.message
import dns.rcode
import pytest

from resolver.config import config
from resolver.count import exporter
from resolver.count.metrics import EXCHANGE, EXCHANGE_SUM, METRICS
from resolver.query import forward_health, forward_server
from resolver.service import service
from resolver.service.counting import Counting
from tests.fakes.upstream import Upstream, serve
from tests.journeys.differencing import BLOCKED, Interval, between, candidates
from tests.journeys.processes import Site, query_for
from tests.journeys.running import HOST
from tests.unit.query.parts import until

BEATS, SCRAPES, BEAT_S = 2, 60, 900
CLIENTS = [f"127.0.9.{number}" for number in range(1, 201)]
VISITOR = CLIENTS[77]
OTHERS_A_BEAT = 2
ENTRIES = [f"blocked{number:02d}.test" for number in range(20)]
START = 1_800_000_000  # a beat of 15 minutes
FEW = 10
HALF = len(CLIENTS) // 2

OURS, EXACT, NODE, DNSDIST, UNBOUND = "ours", "exact", "node_exporter", "dnsdist", "unbound"
NEIGHBOURS = [some for count in (1, 2, 3) for some in itertools.combinations((NODE, DNSDIST, UNBOUND), count)]

PASSED, MISSING, FAILED = "passed", "missing", "failed"
USUALLY = (PASSED, PASSED, PASSED, MISSING)
SCENARIOS = {"usual": USUALLY, "outage": (FAILED,), "new": USUALLY}
"""By what is going on, the kinds of queries that are not blocked: in an outage no upstream is there; in "new" the
entries are new in their serial."""

LEAKS = {
    "usual": {
        "blocked_attempts_bounded_total", "blocked_attempts_total", "blocked_prefixes_total",
        "blocked_queries_total", "cache_answers_total", "cache_bytes", "page_help_total",
        "page_views_total", "queries_in_flight", "upstream_exchange_seconds",
    },
    "new": {"attempts_new_entries_total"},
    "outage": {"answers_total", "failed_answers_total", "upstream_failures_total"},
}  # fmt: skip
"""The metrics of the beat that would name the visitor if they were live."""

ONCE = {"blocked_prefixes_total": 1}
"""What counts a client once a day: by it he is looked for on his first beat."""

NOT_HERE = {
    "attempts_bounded_saturated_total", "attempts_capped_total", "attempts_saturated", "lookups_refused_total",
    "rehearsal_answers_total", "engine_busy_ratio", "process_cpu_seconds_total", "cookies_total",
    "edge_refused_total",
}  # fmt: skip
"""What moves only in a crowd of attempts, in a rehearsal, with an edge, by a query with a cookie (of any verdict), or
by the work of thousands of queries: hundredths of a thread's time between two beats, whole seconds of the process's."""

_LINE = re.compile(r"^blocklist_resolver_(\w+(?:{.*})?) (\S+)$", re.MULTILINE)

Seen = dict[str, dict[str, float]]
"""By who shows it: every number."""


def told(query: dns.message.Message) -> dns.message.Message:
    """What the upstream says, by the first letter of a name; probes have any.

    It never fails. One that did would be looked at again and again, by the clock, and taken out if it were held then.
    """
    reply = dns.message.make_response(query, recursion_available=True)
    name = query.question[0].name
    kind = name.to_text()[0]
    if kind == PASSED[0]:
        reply.answer.append(dns.rrset.from_text(name, 300, "IN", "A", "198.51.100.7"))
    else:
        reply.set_rcode(dns.rcode.NXDOMAIN)
        reply.authority.append(dns.rrset.from_text(name, 300, "IN", "SOA", "ns. nobody. 1 3600 1200 604800 300"))
    return reply


@dataclass
class Lab:
    """The service, its clients, and everything that is counted anywhere."""

    running: service.Service
    upstream: Upstream
    folder: Path
    ports: list[int]
    web: aiohttp.ClientSession
    sockets: Mapping[str, socket.socket]
    set_clock: Callable[[float], None]
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(100_000))
    entries: Iterator[str] = field(default_factory=lambda: iter(ENTRIES))
    counted: Counter[str] = field(default_factory=Counter)
    waited: int = 0

    @property
    def in_flight(self) -> int:
        """How many queries wait for the upstream, on the event loop and on the threads."""
        return self.running.answer.in_flight + self.running.datagrams.waiting

    def name_of(self, kind: str) -> str:
        """A name that nobody has asked for; all that are not listed are equally long."""
        return next(self.entries) if kind == BLOCKED else f"{kind[0]}{next(self.numbers)}.example"

    async def ask(self, client: str, name: str) -> None:
        """One query and its answer; whoever is blocked looks at the page and follows a link to help."""
        loop, one = asyncio.get_running_loop(), self.sockets[client]
        self.counted["queries"] += 1
        await loop.sock_sendall(one, query_for(name))
        reply = await loop.sock_recv(one, 4096)
        self.counted["responses"] += 1
        self.counted[f"rcode {reply[3] & 15}"] += 1
        if name.startswith(BLOCKED):
            for path, status in (("/", 451), ("/blocklist-resolver-help/0", 303)):
                url, asking = f"http://{HOST}:{self.ports[1]}{path}", {"Accept": "text/html"}
                async with self.web.get(url, headers=asking, allow_redirects=False) as page:
                    assert page.status == status

    async def asked(self, queries: Mapping[str, str]) -> Seen:
        """All of these at once; returns what is shown then, and of what is in flight how much it was."""
        waiting = sum(name[0] in (PASSED[0], MISSING[0]) for name in queries.values())
        if waiting:
            self.upstream.hold()
        tasks = [asyncio.ensure_future(self.ask(*one)) for one in queries.items()]
        await until(lambda: sum(not task.done() for task in tasks) == self.in_flight == waiting)
        self.waited += waiting
        self.upstream.release()
        await asyncio.gather(*tasks)
        return await self.scrape()

    async def scrape(self) -> Seen:
        """What everybody shows now."""
        async with self.web.get(f"http://{HOST}:{self.ports[2]}/metrics") as reply:
            text = await reply.text()
        exact = Counter({"queries_in_flight": float(self.waited)})
        for series, value in self.running.readings.exact().items():
            # In which bucket an exchange was is how long it took; how many there were is their sum.
            if series.metric == EXCHANGE:
                exact[EXCHANGE] += value
            elif series.metric not in ("queries_in_flight", EXCHANGE_SUM):
                exact[" ".join((series.metric, *series.labels))] += value
        sent, came = self.counted["queries"], self.counted["responses"]
        up = len({query.question[0].name for query in self.upstream.queries})
        return {
            OURS: {name: float(value) for name, value in _LINE.findall(text)},
            EXACT: exact,
            NODE: {"Udp_InDatagrams": sent + up, "Udp_OutDatagrams": came + up},
            DNSDIST: dict(self.counted),
            UNBOUND: {"total.num.queries": up},
        }


@dataclass(frozen=True)
class Record:
    """All that was seen: of one query of each kind, and between any two scrapes."""

    learnt: Mapping[str, Seen]
    seen: list[tuple[int, tuple[str, ...], Seen]]

    def left(self, *sources: str, live: str = "", beats: int = BEATS) -> frozenset[str]:
        """Who may be the visitor by what these sources show, and by one metric of the beat that is `live`, on the first
        `beats`."""

        def shown(moved: Seen) -> dict[str, float]:
            found = {f"live {name}": value for name, value in moved[EXACT].items() if name.split()[0] == live}
            for source in sources:
                found.update(moved[source])
            return found

        intervals = [Interval(beat, clients, shown(moved)) for beat, clients, moved in self.seen if beat < beats]
        return candidates({kind: shown(moved) for kind, moved in self.learnt.items()}, intervals)


def moved(before: Seen, after: Seen) -> Seen:
    return {source: between(before[source], after[source]) for source in before}


def files_of(folder: Path) -> list[tuple[str, int, int]]:
    """Every file below the state's folder, its size and when it was written."""
    stats = [(path, path.stat()) for path in sorted((folder / "state").rglob("*")) if path.is_file()]
    return [(str(path), found.st_size, found.st_mtime_ns) for path, found in stats]


def is_settled(running: service.Service) -> bool:
    """The list is in force and proved, and nobody but the test asks."""
    facts = tuple(running.enforcement.feed.facts())
    return all(one.receipt_at and one.last_success for one in facts) and not running.streams.connections


def proved_at(running: service.Service) -> float:
    """When the list was proved and its source polled, whichever was first."""
    (one,) = running.enforcement.feed.facts()
    return min(one.receipt_at, one.last_success)


@asynccontextmanager
async def opened(folder: Path, scenario: str, patch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    """A service with a beat of 15 minutes that ends when the test says so."""
    now = [START + 1.0]
    patch.setattr(service, "Counting", partial(Counting, now=lambda: now[0]))
    # Of upstreams that answer nothing is looked at after the start, however long the test holds them.
    patch.setattr(forward_health, "TICK_S", forward_health.TICK_S if scenario == "outage" else 3600.0)
    # The attacker sees each change: no body is kept for the next scrape.
    patch.setattr(exporter, "KEPT_S", 0.0)
    patch.setattr(forward_server, "draw", partial(random.Random(5).getrandbits, 16))
    async with serve(told) as upstream, aiohttp.ClientSession() as web:
        site = Site(folder, [upstream.address])
        site.change("count", publish_every="15m", batch=1)
        # No query fails because a busy machine takes long.
        site.change("upstream", timeout="10s")
        site.publish(["before.test"] if scenario == "new" else ENTRIES)
        with site.config.open("a") as text:
            text.write('[[page.help]]\ntext = "Example line"\nurl = "https://help.example/"\nkind = "worried"\n')
        running = service.Service(site.config, config.load(site.config))
        serving = asyncio.create_task(running.run())
        with ExitStack() as stack:
            sockets = {client: stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for client in CLIENTS}
            await until(lambda: serving.done() or is_settled(running), 20)
            if scenario == "new":
                first = proved_at(running)
                await until(lambda: time.time() >= first + 1)
                site.publish(["before.test", *ENTRIES])
                running.enforcement.feed.trigger()
                await until(lambda: serving.done() or (proved_at(running) > first and is_settled(running)), 20)
            for client, one in sockets.items():
                one.setblocking(False)
                one.bind((client, 0))
                one.connect((HOST, site.dns))
            if scenario == "outage":
                await upstream.stop()
                # The server goes out by the clock, not by a query: before the attacker learns, else he learns that too.
                await until(lambda: not any(server.up for server in running.forward.servers), 20)
            else:
                await until(lambda: running.forward.answering, 20)
            yield Lab(running, upstream, folder, site.ports, web, sockets, lambda at: now.__setitem__(0, at))
            running.stop()
            assert await serving == 0


async def recorded(lab: Lab, ways: tuple[str, ...]) -> Record:
    """The attacker's own queries one by one, then some beats of everybody's."""
    draw = random.Random(9)
    learnt: dict[str, Seen] = {}
    for kind in (BLOCKED, *dict.fromkeys(ways)):
        before = await lab.scrape()
        learnt[kind] = moved(before, await lab.asked({CLIENTS[0]: lab.name_of(kind)}))
    seen = []
    before = await lab.scrape()
    for beat in range(BEATS):
        plan: list[dict[str, str]] = [{} for _ in range(SCRAPES)]
        asking = [(client, draw.choice(ways)) for client in (*CLIENTS, *draw.sample(CLIENTS, 150))]
        asking += [(client, BLOCKED) for client in (VISITOR, *draw.sample(CLIENTS, OTHERS_A_BEAT))]
        for client, kind in asking:
            draw.choice([queries for queries in plan if client not in queries])[client] = lab.name_of(kind)
        files = files_of(lab.folder)
        for queries in plan:
            after = await lab.asked(queries)
            seen.append((beat, tuple(queries), moved(before, after)))
            before = after
        assert files_of(lab.folder) == files, "what is written between two beats tells when something happened"
        lab.set_clock(START + (beat + 1) * BEAT_S + 1)
        await lab.running.counting.publisher.look(START + (beat + 1) * BEAT_S + 1)
        after = await lab.scrape()
        seen.append((beat, (), moved(before, after)))
        before = after
    return Record(learnt, seen)


@pytest.fixture(scope="module", params=SCENARIOS)
def scenario(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def record(scenario: str, tmp_path_factory: pytest.TempPathFactory) -> Record:
    async def made() -> Record:
        with pytest.MonkeyPatch.context() as patch:
            async with opened(tmp_path_factory.mktemp(scenario), scenario, patch) as lab:
                return await recorded(lab, SCENARIOS[scenario])

    return asyncio.run(made())


def test_our_numbers_leave_everybody(record: Record, scenario: str) -> None:
    assert record.left(OURS) == set(CLIENTS)
    changed = {name.partition("{")[0] for _, _, moved in record.seen for name, value in moved[OURS].items() if value}
    # What the attack has had: the beats, and what tells of upstreams live.
    assert {"blocked_queries_total", "queries_total"} <= changed
    assert ("upstream_latency_seconds" in changed) == (scenario != "outage")
    assert scenario == "outage" or "upstream_up" not in changed, "probes alone move it, and the upstream answers them"


@pytest.mark.parametrize("neighbours", NEIGHBOURS, ids="+".join)
def test_beside_what_neighbours_show_they_add_nothing(record: Record, neighbours: tuple[str, ...]) -> None:
    left = record.left(*neighbours)
    assert VISITOR in left
    assert record.left(OURS, *neighbours) == left


def test_what_an_upstream_shows_names_the_visitor_without_us(record: Record, scenario: str) -> None:
    assert scenario == "outage" or len(record.left(UNBOUND)) < FEW


def test_a_live_count_of_blocks_names_the_visitor(record: Record) -> None:
    left = record.left(OURS, live="blocked_queries_total")
    assert VISITOR in left
    assert len(left) < FEW


def test_each_metric_of_the_beat_that_were_live_would_shrink_the_set(record: Record, scenario: str) -> None:
    left = {metric: record.left(OURS, live=metric, beats=ONCE.get(metric, BEATS)) for metric in LEAKS[scenario]}
    assert all(VISITOR in clients for clients in left.values())
    assert {metric: len(clients) for metric, clients in left.items() if len(clients) > HALF} == {}


def test_every_metric_of_the_beat_was_tried() -> None:
    assert set().union(NOT_HERE, *LEAKS.values()) == {metric.name for metric in METRICS if metric.leaves == "beat"}
