"""Whom the threads may ask, and what their figures do to health, patience and metrics; the threads are played here."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from resolver.config.values import Endpoint
from resolver.core.exchange import MOST_SERVERS, Route
from resolver.query import forward_relay
from resolver.query.forward import NOBODY, Forward, Unanswered
from resolver.query.forward_health import GOOD, OUT, POOR
from resolver.query.forward_relay import Figures, Relayed
from tests.fakes.upstream import Way, serve
from tests.unit.query.forwarding import TABLE, asking, at, nothing, parsed
from tests.unit.query.parts import query, reply_of, until

ONE, OTHER, ZONES = Endpoint("127.0.0.1", 9), Endpoint("127.0.0.2", 9), Endpoint("127.0.0.3", 9)
NOTHING: Figures = (0, 0, 0, 0, 0, 0, (0, 0, 0))


class Relay:
    """What a thread has asked, as the test sets it."""

    def __init__(self) -> None:
        self.each: dict[int, Figures] = {}
        self.took_us: list[int] = []

    def figures(self, server: int) -> Figures:
        return self.each.get(server, NOTHING)

    def recent_us(self, server: int, most: int) -> list[int]:
        return self.took_us[:most]


@dataclass
class Threads:
    relays: list[Relay] = field(default_factory=lambda: [Relay(), Relay()])
    routes: list[Route] = field(default_factory=list)
    taking: Callable[[], None] = int
    late: Callable[[bytes, int, int, bytes], None] = int

    def use_route(self, route: Route) -> None:
        self.routes.append(route)

    def allowed(self) -> list[int]:
        """The servers of the last route."""
        return list(self.routes[-1].servers[: self.routes[-1].count])


@asynccontextmanager
async def publishing(*servers: Endpoint, **more: object) -> AsyncIterator[tuple[Forward, Threads, Relayed]]:
    async with asking(*(servers or (ONE, OTHER)), timeout_s=2, **more) as forward:
        threads = Threads()
        forward.serve(threads)
        forward.relayed.start()
        yield forward, threads, forward.relayed
        await forward.close()
        assert threads.routes[-1].count == 0


def found(forward: Forward, *results: int) -> None:
    for health, result in zip(forward.health, results, strict=True):
        health.settle(result)


@pytest.mark.asyncio
async def test_only_servers_that_were_found_good_may_be_asked() -> None:
    async with publishing() as (forward, threads, _):
        assert threads.allowed() == []
        found(forward, GOOD, GOOD)
        assert threads.allowed() == [0, 1]
        found(forward, POOR, GOOD)
        assert threads.allowed() == [1]
        found(forward, OUT, OUT)
        assert threads.allowed() == []
        found(forward, OUT, POOR)
        assert threads.allowed() == [], "it is on trial"


@pytest.mark.asyncio
async def test_listed_only_the_first_of_the_good_ones_may_be_asked() -> None:
    async with publishing(listed=True) as (forward, threads, _):
        found(forward, GOOD, GOOD)
        assert threads.allowed() == [0]
        found(forward, OUT, GOOD)
        assert threads.allowed() == [1]


@pytest.mark.asyncio
async def test_of_those_that_are_balanced_the_fastest_is_first() -> None:
    async with publishing() as (forward, threads, relayed):
        found(forward, GOOD, GOOD)
        forward.servers[0].took(0.2, sure=True)
        forward.servers[1].took(0.1, sure=True)
        relayed.publish()
        assert threads.allowed() == [1, 0]


@pytest.mark.asyncio
async def test_zones_time_limit_patience_and_case_are_those_of_the_exchanges() -> None:
    async with publishing(zones={"corp.test": [ZONES]}, case_randomization=True) as (forward, threads, relayed):
        found(forward, GOOD, GOOD, GOOD)
        route = threads.routes[-1]
        assert threads.allowed() == [0, 1], "not the servers of a zone"
        assert (route.exact, route.timeout_ms, list(route.patience_ms)) == (True, 2000, [200, 200])
        assert route.zones is forward.own_zones
        forward.timeout_s, forward.case_randomization = 1.0, False
        forward.servers[0].took(0.05, sure=True)
        relayed.publish()
        route = threads.routes[-1]
        assert (route.exact, route.timeout_ms) == (False, 1000)
        assert 100 < sum(route.patience_ms) < 400


@pytest.mark.asyncio
async def test_a_route_is_published_only_where_it_is_another_one() -> None:
    async with publishing() as (forward, threads, relayed):
        found(forward, GOOD, GOOD)
        before = len(threads.routes)
        for _ in range(3):
            relayed.publish()
        assert len(threads.routes) == before


@pytest.mark.asyncio
@pytest.mark.parametrize(("threads", "pool"), [(1, 128), (2, 64), (3, 43), (64, 16)])
async def test_all_threads_together_have_as_many_sockets_as_the_loop(threads: int, pool: int) -> None:
    async with asking(ONE) as forward:
        side = Threads([Relay() for _ in range(threads)])
        forward.serve(side)
        forward.relayed.start()
        found(forward, GOOD)
        assert side.routes[-1].pool == pool


@pytest.mark.asyncio
async def test_without_threads_nothing_is_published() -> None:
    async with asking(ONE) as forward:
        side = Threads([])
        forward.serve(side)
        forward.relayed.start()
        found(forward, GOOD)
        forward.read()
        assert side.routes == []


@pytest.mark.asyncio
async def test_servers_beyond_what_threads_know_are_asked_by_the_loop() -> None:
    many = [Endpoint(f"127.0.1.{number}", 9) for number in range(1, MOST_SERVERS + 3)]
    async with publishing(*many) as (forward, threads, _):
        found(forward, *[GOOD] * len(many))
        assert threads.allowed() == list(range(MOST_SERVERS))


@pytest.mark.asyncio
async def test_what_the_threads_counted_is_counted_once_and_their_answers_are_life() -> None:
    async with publishing() as (forward, threads, relayed):
        noted: list[str] = []
        forward.servers[0].noted = noted.append
        threads.relays[0].each[0] = (10, 7, 2, 4, 3, 9_000, (5, 2, 0))
        threads.relays[1].each[0] = (5, 5, 0, 0, 0, 1_000, (0, 4, 1))
        for relay in threads.relays:
            relay.took_us = [20_000] * 9
        for _ in range(2):
            relayed.read()
        assert forward.buckets == [5, 6, 1]
        assert forward.sum_us == 10_000
        assert noted == [""] * 12
        failures = forward.servers[0].failures
        assert (failures["mismatch"], failures["trailing"], sum(failures.values())) == (4, 3, 7)
        assert forward.servers[0].smoothed_s == pytest.approx(0.02)
        assert sum(forward.servers[1].failures.values()) == 0
        assert [server.datagrams.answers for server in forward.servers] == [2, 0]


@pytest.mark.asyncio
async def test_of_many_answers_as_many_count_for_health_as_it_remembers() -> None:
    async with publishing() as (forward, threads, relayed):
        noted: list[str] = []
        forward.servers[1].noted = noted.append
        threads.relays[0].each[1] = (10**6, 10**6, 0, 0, 0, 0, (10**6, 0, 0))
        threads.taking()
        threads.taking()
        assert len(noted) in (0, 100), "it may have been read a moment ago"
        relayed.read()
        assert len(noted) == 100


@pytest.mark.asyncio
async def test_a_server_whose_queries_are_handed_over_rests_from_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_relay, "BEAT_S", 0.01)
    async with publishing() as (forward, threads, _):
        found(forward, GOOD, GOOD)
        threads.relays[0].each[0] = (64, 20, 44, 0, 0, 0, (20, 0, 0))
        await until(lambda: threads.allowed() == [1])
        threads.relays[0].each[1] = (31, 0, 31, 0, 0, 0, (0, 0, 0))
        await asyncio.sleep(0.05)
        assert threads.allowed() == [1], "too few to judge by"
        monkeypatch.setattr(forward_relay, "REST_S", 0.02)
        threads.relays[0].each[1] = (131, 0, 131, 0, 0, 0, (0, 0, 0))
        await until(lambda: threads.allowed() == [])
        await until(lambda: threads.allowed() == [1])


# Answers that reach a thread after their queries were handed over.

DIGEST = (7, 2**63 + 1)
KEY = b"".join(one.to_bytes(8, sys.byteorder) for one in DIGEST)


@asynccontextmanager
async def handing_over(
    silent: int, *more: Endpoint
) -> AsyncIterator[tuple[Forward, Threads, asyncio.Future[bytes], bytes]]:
    """A question that a thread has asked the first server, which is silent, and has handed over."""
    async with publishing(Endpoint("127.0.0.1", silent), *more) as (forward, threads, _):
        asked = query("open.test")
        packet = asked.to_wire()
        waiting = forward.exchange(packet, parsed(packet), DIGEST, nothing, None, NOBODY, (0, 5, b""))
        yield forward, threads, waiting, reply_of(asked).to_wire()


@pytest.mark.asyncio
async def test_a_late_answer_is_one_for_those_who_wait_by_now() -> None:
    async with serve(TABLE) as upstream:
        upstream.otherwise = (Way.SILENT,)
        async with handing_over(upstream.port) as (forward, threads, waiting, reply):
            assert forward.servers[0].smoothed_s < 0
            threads.late(KEY, 0, 9, reply)
            assert await waiting == reply
            assert forward.servers[0].smoothed_s > 0.005, "patience learns from it"
            assert sum(forward.servers[0].failures.values()) == 0
            assert (forward.servers[0].datagrams.answers, forward.in_flight) == (1, 0)
            threads.late(KEY, 0, 9, reply)
            assert forward.servers[0].failures["mismatch"] == 1, "it is known once"


@pytest.mark.asyncio
async def test_a_late_answer_of_another_question_or_server_is_strange_and_one_in_another_case_nothing() -> None:
    async with serve(TABLE) as upstream:
        upstream.otherwise = (Way.SILENT,)
        async with handing_over(upstream.port, OTHER) as (forward, threads, waiting, reply):
            threads.late(bytes(16), 0, 9, reply)
            threads.late(KEY, 1, 9, reply)
            threads.late(KEY, 0, 9, b"")
            assert [one.failures["mismatch"] for one in forward.servers] == [1, 1]
            assert not waiting.done()
            threads.late(KEY, 0, 9, reply)
            assert await waiting == reply


@pytest.mark.asyncio
async def test_after_the_time_limit_a_late_answer_is_kept_and_then_forgotten() -> None:
    async with serve(TABLE) as upstream:
        upstream.otherwise = (Way.SILENT,)
        async with asking(at(upstream), timeout_s=0.3) as forward:
            threads, told = Threads(), list[object]()
            forward.serve(threads)
            forward.relayed.start()
            packet = query("open.test").to_wire()
            with pytest.raises(Unanswered):
                await forward.exchange(packet, parsed(packet), DIGEST, told.append, None, NOBODY, (0, 5, b""))
            reply = reply_of(query("open.test")).to_wire()
            threads.late(KEY, 0, 9, reply)
            assert told[1:] == [reply]
            await until(lambda: forward.servers[0].outstanding == 0)
            await asyncio.sleep(0.4)
            threads.late(KEY, 0, 9, reply)
            assert forward.servers[0].failures["mismatch"] == 1
