"""Upstreams that answer badly or are made to: what one client does to them costs the others nothing.

The attacks use many client prefixes: addresses of 127.0.0.0/8, each a /32 of its own.
"""

import os
import socket
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import pytest

from tests.fakes.stopwatch import Stopwatch
from tests.fakes.upstream import Way, in_thread
from tests.journeys.hostile import Hostile, clients, forge_errors
from tests.journeys.processes import REAL, Site, asked, came, exchange, honest, query_for, series, wait_for
from tests.journeys.running import PAGE_V4, Service

VICTIM = "127.2.0.1"
BLOCKED = f"{PAGE_V4} EDE 4"
NO_ANSWER = "SERVFAIL EDE 23"
TRANSPORTS = ("udp", "tcp")
UNLIMITED = {"queries_per_second": 100_000, "exempt": []}


@contextmanager
def served(folder: Path, *upstreams: str, timeout: str = "1s", **upstream: object) -> Iterator[Service]:
    """A service with these upstreams; it says nothing of an error in its loop."""
    sections: dict[str, dict[str, Any]] = {
        "upstream": {"timeout": timeout, **upstream},
        "cache": {"size": "8MiB", "stale": "0"},
        "limits": UNLIMITED,
    }
    site = Site(folder, upstreams, sections)
    site.publish(["listed.test"])
    with site.started() as service:
        yield service
    assert "event loop" not in service.said
    assert "Traceback" not in service.said


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with Hostile().running() as one:
        yield one


def waiting(service: Service) -> float:
    """How many queries wait for an upstream."""
    number = service.metric("queries_in_flight")
    assert number is not None
    return number


def seconds_for(service: Service, names: Sequence[str], **how: Any) -> list[float]:
    """How long each of these names took a victim, which has to be answered."""
    took = []
    for name in names:
        watch = Stopwatch(service.process.pid)
        assert asked(service.dns, name, source=VICTIM, **how) == REAL, name
        took.append(watch.seconds)
    return took


def send_all(hostile: Hostile, sockets: Sequence[socket.socket], labels: Sequence[str]) -> None:
    """Send one query for each label, from one socket after the other, no faster than they arrive upstream."""
    for number, label in enumerate(labels):
        sockets[number % len(sockets)].send(query_for(f"{label}.test"))
        if number % 400 == 399 or number == len(labels) - 1:
            wait_for(partial(hostile.labels.__contains__, label), "it to arrive")


@pytest.mark.parametrize("over", TRANSPORTS)
def test_70_clients_that_wait_for_few_silent_names_keep_no_cold_name_of_others_out(
    tmp_path: Path, hostile: Hostile, over: str
) -> None:
    """Each silent name is asked 32 times: few exchanges, and more queries that wait than there are places."""
    with served(tmp_path, hostile.address, timeout="30s") as service, clients(70, service.dns) as sockets:
        send_all(hostile, sockets, [f"silent-{number // 32}" for number in range(18_000)])
        wait_for(lambda: waiting(service) >= 16_000, "the places to be taken")
        took = seconds_for(service, [f"cold-{number}.test" for number in range(15)], over=over)
        print(f"18,000 equal waiters of 70 prefixes: 15 of 15 cold names, worst {max(took) * 1000:.0f} ms")
        # Those of the threads have places of their own, until they are handed over to the loop.
        wait_for(lambda: waiting(service) < 16_500, "no more to wait than there are places, and answers on their way")
        assert asked(service.dns, "x.listed.test", source=VICTIM, over=over) == BLOCKED


@pytest.mark.parametrize("over", TRANSPORTS)
@pytest.mark.parametrize(("prefixes", "queries"), [(1, 400), (8, 1600), (200, 400)])
def test_names_that_hang_over_tcp_take_no_connection_from_others(
    tmp_path: Path, hostile: Hostile, over: str, prefixes: int, queries: int
) -> None:
    """What hangs is in flight all the time; the upstream has one connection for each of these in the worst case."""
    with served(tmp_path, hostile.address, timeout="20s") as service, clients(prefixes, service.dns) as sockets:
        send_all(hostile, sockets, [f"hang-{number}" for number in range(queries)])
        wait_for(lambda: hostile.seen["hang", "tcp"] >= min(queries, 128), "them to hang")
        took = seconds_for(service, [f"big-{number}.test" for number in range(20)], over=over)
        middle_ms = statistics.median(took) * 1000
        print(f"{queries} hanging queries of {prefixes} prefixes: a large answer takes {middle_ms:.1f} ms")
        assert max(took) < 5, "nobody waits for what hangs"
        # One whose connection was slow to come, on a busy machine, is asked again.
        assert 20 <= hostile.seen["big", "tcp"] <= 22


def test_connections_are_kept_and_shared(tmp_path: Path) -> None:
    with in_thread(honest) as upstream, served(tmp_path, upstream.address) as service:
        upstream.otherwise = (Way.TRUNCATED,)
        for number in range(30):
            assert asked(service.dns, f"big-{number}.test") == REAL
        assert upstream.exchanges["tcp"] == 30
        assert upstream.connections == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may send ICMP by itself")
@pytest.mark.parametrize("slow_ms", [1, 300, 700])
def test_errors_that_anybody_can_send_fail_no_slow_name(tmp_path: Path, hostile: Hostile, slow_ms: int) -> None:
    """A port unreachable for each of our sockets, ten times a second: all ports, for who does not see ours."""
    over = threading.Event()
    hit: list[int] = []

    def forge() -> None:
        while not over.wait(0.1):
            hit.append(forge_errors(hostile.port))

    with served(tmp_path, hostile.address, timeout="2s") as service:
        assert asked(service.dns, "first.test") == REAL
        forger = threading.Thread(target=forge)
        forger.start()
        try:
            wait_for(lambda: sum(hit), "the first forged error")
            said = [asked(service.dns, f"slow{slow_ms}-{number}.test", source=VICTIM) for number in range(12)]
        finally:
            over.set()
            forger.join()
        print(f"{sum(hit)} forged errors; {slow_ms} ms: {said.count(REAL)} of 12 answered")
        assert said == [REAL] * 12
        assert series(service, "upstream_failures_total", upstream=hostile.address, reason="refused") == 0


@pytest.mark.parametrize("over", TRANSPORTS)
def test_a_datagram_larger_than_asked_for_is_used_where_tcp_is_closed(tmp_path: Path, over: str) -> None:
    with in_thread(honest) as upstream, served(tmp_path, upstream.address) as service:
        upstream.refuse_streams()
        upstream.otherwise = (Way.LARGE,)
        reply = exchange(service.dns, query_for("large.test"), over=over)
        if over == "udp":
            assert reply[2] & 2, "what does not fit the client's size is cut, and comes whole over TCP"
            reply = exchange(service.dns, query_for("large.test"), over="tcp")
        assert len(reply) > 1232
        assert came(reply) == REAL
        assert upstream.exchanges["udp"] == 1
        assert asked(service.dns, "x.listed.test", over=over) == BLOCKED
        upstream.otherwise = (Way.TRUNCATED,)
        watch = Stopwatch(service.process.pid)
        assert asked(service.dns, "cut.test", over=over) == NO_ANSWER
        assert watch.seconds < 0.9, "told at once"


@pytest.mark.parametrize("over", TRANSPORTS)
def test_an_error_of_one_opt_alone_is_an_error(tmp_path: Path, over: str) -> None:
    with (
        in_thread(honest) as bad,
        in_thread(honest) as good,
        served(tmp_path / "one", bad.address) as only,
        served(tmp_path / "two", bad.address, good.address) as both,
    ):
        bad.otherwise = (Way.OPT_ONLY,)
        assert asked(only.dns, "formerr.test", over=over) == REAL
        assert [query.edns for query in bad.queries] == [0, -1]
        bad.otherwise = (Way.REFUSED_OPT_ONLY,)
        watch = Stopwatch(only.process.pid, both.process.pid)
        assert asked(only.dns, "refused.test", over=over).startswith(("REFUSED", "SERVFAIL"))
        for number in range(10):
            assert asked(both.dns, f"next-{number}.test", over=over) == REAL
        assert watch.seconds < 0.9, "told at once"


@pytest.mark.parametrize("over", TRANSPORTS)
def test_a_late_answer_is_kept_for_who_asks_again(tmp_path: Path, hostile: Hostile, over: str) -> None:
    with served(tmp_path, hostile.address) as service:
        assert asked(service.dns, "slow1400-x.test", over=over) == NO_ANSWER
        sent = hostile.count("slow1400")
        wait_for(lambda: asked(service.dns, "slow1400-x.test", over=over) == REAL, "the late answer", 1.5)
        assert hostile.count("slow1400") == sent, "nobody was asked again"
        assert asked(service.dns, "slow1400-y.listed.test", over=over) == BLOCKED


def test_a_late_answer_is_judged(tmp_path: Path) -> None:
    def leads(query: dns.message.Message) -> dns.message.Message:
        reply = honest(query)
        if query.question[0].name.to_text() == "late.test.":
            reply.answer.insert(0, dns.rrset.from_text("late.test.", 300, "IN", "CNAME", "x.listed.test."))
        return reply

    with in_thread(leads) as upstream, served(tmp_path, upstream.address) as service:
        upstream.hold()
        assert asked(service.dns, "late.test") == NO_ANSWER
        upstream.release()
        wait_for(lambda: asked(service.dns, "late.test") == BLOCKED, "the late answer to be judged", 1.5)


def test_a_slow_server_gets_few_datagrams(tmp_path: Path, hostile: Hostile) -> None:
    with served(tmp_path, hostile.address, timeout="2s") as service:
        for number in range(50):
            assert asked(service.dns, f"quick-{number}.test") == REAL
        assert asked(service.dns, "slow300-x.test") == REAL
        assert hostile.count("slow300") <= 2
        assert asked(service.dns, "slow1800-x.test") == REAL
        assert hostile.count("slow1800") <= 4
        assert asked(service.dns, "silent-x.test") == NO_ANSWER
        print({word: hostile.count(word) for word in ("slow300", "slow1800", "silent")})
        assert hostile.count("silent") <= 4


def variants(name: str) -> list[bytes]:
    """A question in each form that clients use: AD, CD, EDNS and DO, plain first."""
    queries = []
    for edns, do in ((False, False), (True, False), (True, True)):
        for flags in (0, dns.flags.AD, dns.flags.CD, dns.flags.AD | dns.flags.CD):
            query = dns.message.make_query(name, "A", use_edns=0 if edns else False, want_dnssec=do)
            query.flags |= flags
            queries.append(query.to_wire())
    return queries


@pytest.mark.parametrize("over", TRANSPORTS)
def test_a_silent_question_is_asked_for_few_of_its_forms(tmp_path: Path, hostile: Hostile, over: str) -> None:
    with served(tmp_path, hostile.address) as service:
        started = time.monotonic()
        said = [came(exchange(service.dns, packet, over=over)) for packet in variants("silent-x.test")]
        assert all(one.startswith("SERVFAIL") for one in said)
        print(f"12 forms of a silent question: {hostile.count('silent')} datagrams, {time.monotonic() - started:.1f} s")
        assert hostile.count("silent") <= 8
        wait_for(lambda: waiting(service) == 0, "nothing to be in flight", 5)
