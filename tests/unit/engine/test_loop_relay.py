"""The relay of the event loop: it asks for what a batch misses, gives what comes, and hands over the rest, once."""

import os
import select
import socket
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import dns.message
import dns.rcode
import pytest

from resolver.core import codes
from resolver.core.crash_shape import Shape
from resolver.core.edge_batch import EdgeBatch, read, take
from resolver.core.exchange import Route
from resolver.core.lane import MAX_OCTETS, Lane, Tables
from resolver.engine.loop_relay import LoopRelay
from resolver.engine.relay import address_of
from resolver.query import edge_frames
from resolver.query.answer_relayed import PROPERTIES
from resolver.query.edge_frames import MAX_AGE_NONE, Answer
from tests.unit.engine.relaying import ADDRESS, BOUNDS_US, HASTY_MS, PATIENT_MS, answer, bound
from tests.unit.engine.running import in_force, query
from tests.unit.query.parts import PAGE_V4

SEATS = 16
CLIENT = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1])
Came = tuple[int, Answer]


@dataclass
class Loop:
    """A lane with its relay, and the upstream that the test plays."""

    upstream: socket.socket
    tables: Tables
    counters: "array[int]"

    def __post_init__(self) -> None:
        outs = [memoryview(bytearray(MAX_OCTETS)) for _ in range(SEATS)]
        self.lane = Lane(self.counters, Shape(memoryview(bytearray(64)).cast("q")), outs)
        self.batch = EdgeBatch(SEATS)
        addresses = [address_of(self.upstream.getsockname())]
        self.relay = LoopRelay(self.lane, addresses, BOUNDS_US, PROPERTIES)

    def route(self, patience_ms: int = PATIENT_MS, servers: Sequence[int] = (0,), **more: object) -> None:
        fields: dict[str, object] = {"timeout_ms": 500, "pool": 4, **more}
        self.relay.use_route(Route(servers, [patience_ms] * len(servers), **fields))

    def ask(self, *packets: bytes, connection: int = 7, over: int = codes.DOT) -> list[int]:
        """Take these queries in one batch, numbered from 0; return the seats that are left."""
        octets = b"".join(edge_frames.query(at, over, CLIENT, one) for at, one in enumerate(packets))
        assert read(self.batch, self.lane, octets, PROPERTIES, SEATS) == len(packets)
        take(self.tables, self.lane, self.batch, time.monotonic_ns() // 1_000_000)
        return list(self.relay.take(self.batch, connection))

    def sent(self) -> tuple[bytes, tuple[str, int]]:
        """The next query at the upstream, and where it came from."""
        octets, peer = self.upstream.recvfrom(4096)
        return octets, peer

    def reply(self, **flags: int) -> None:
        """Answer the next query at the upstream."""
        octets, peer = self.sent()
        self.upstream.sendto(answer(octets, **flags), peer)

    def answers(self, count: int) -> list[Came]:
        """The next so many answers, each with its connection."""
        found: list[Came] = []
        while len(found) < count:
            assert select.select([self.relay.descriptor], [], [], 10)[0], "nothing came in 10 s"
            for connection, frame in self.relay.receive(self.tables):
                unread = bytearray(frame)
                found += [(connection, edge_frames.as_answer(body)) for _, body in edge_frames.take(unread)]
                assert not unread
        return found

    def due(self, count: int = 1) -> list[tuple[int, int, bytes, bytes, int, tuple[int, int, bytes]]]:
        """So many that are handed over."""
        found: list[tuple[int, int, bytes, bytes, int, tuple[int, int, bytes]]] = []
        end = time.monotonic() + 10
        while len(found) < count:
            assert time.monotonic() < end, "not in 10 s"
            wait_ms = self.relay.wait_ms()
            assert wait_ms >= 0
            select.select([self.relay.descriptor], [], [], wait_ms / 1000)
            assert self.relay.receive(self.tables) == []
            found += self.relay.due(64)
        return found

    def count(self, metric: str, label: str) -> int:
        return self.counters[codes.counter(metric, label)]


@contextmanager
def looping(counters: int = codes.COUNTERS_SIZE) -> Iterator[Loop]:
    with bound() as upstream:
        loop = Loop(upstream, in_force(), array("Q", bytes(8 * counters)))
        try:
            yield loop
        finally:
            loop.relay.close()
            loop.relay.close()


def addresses(one: Answer) -> list[str]:
    return [str(record) for rrset in dns.message.from_wire(one.message).answer for record in rrset]


def test_what_a_batch_misses_is_asked_given_and_kept() -> None:
    with looping() as loop:
        loop.route()
        packets = [query("listed.test", 1), query("open.test", 2), query("other.test", 3)]
        assert loop.ask(*packets, connection=2**40) == []
        assert (loop.relay.waiting, loop.batch.left) == (2, 2)
        for _ in range(2):
            loop.reply()
        came = loop.answers(2)
        assert {connection for connection, _ in came} == {2**40}
        for number, packet in ((1, packets[1]), (2, packets[2])):
            [one] = [each for _, each in came if each.number == number]
            assert (one.message[:2], one.max_age, addresses(one)) == (packet[:2], 300, [ADDRESS])
        assert (loop.relay.waiting, loop.relay.wait_ms()) == (0, -1)
        assert loop.relay.relay.figures(0)[:3] == (2, 2, 0)
        # They are kept now, for the lane as well.
        assert loop.ask(query("OPEN.test", 9)) == []
        assert (loop.batch.left, loop.relay.waiting) == (0, 0)
        assert loop.count("queries_total", "dot") == 4


def test_identical_questions_share_an_exchange_each_with_its_connection_transport_and_form() -> None:
    with looping() as loop:
        loop.route()
        padded = dns.message.make_query("open.test", "A", id=5, use_edns=0, pad=128).to_wire()
        assert loop.ask(query("open.test", 4), connection=1, over=codes.DOH) == []
        assert loop.ask(query("OPEN.test", 6), padded, connection=2, over=codes.DOQ) == []
        loop.reply()
        came = sorted(loop.answers(3))
        assert [(connection, one.number) for connection, one in came] == [(1, 0), (2, 0), (2, 1)]
        assert [one.message[:2] for _, one in came] == [b"\0\4", b"\0\6", b"\0\5"]
        assert [addresses(one) for _, one in came] == 3 * [[ADDRESS]]
        assert str(dns.message.from_wire(came[1][1].message).question[0].name) == "OPEN.test."
        assert len(came[2][1].message) == 468
        assert loop.relay.relay.figures(0)[0] == 1


def test_without_a_route_and_for_what_needs_a_choice_the_caller_goes_on() -> None:
    with looping() as loop:
        assert loop.ask(query("listed.test"), query("open.test")) == [1]
        loop.route()
        large = dns.message.make_query("open.test", "A", use_edns=0, pad=1024).to_wire()
        assert len(large) == 1024
        notify = bytearray(query("open.test"))
        notify[2] = 0x20
        assert loop.ask(large, query("other.test"), bytes(notify)) == [0, 2]
        assert loop.relay.waiting == 1


def test_what_is_not_answered_in_the_patience_is_handed_over_once_and_its_late_answer_too() -> None:
    with looping() as loop:
        loop.route(HASTY_MS)
        packet = query("open.test", 3)
        assert loop.ask(packet, packet, connection=5, over=codes.DOH) == []
        octets, peer = loop.sent()
        handed = loop.due(2)
        assert [one[:5] for one in handed] == [(5, number, packet, CLIENT, codes.DOH) for number in (0, 1)]
        assert all(server == 0 and ago_ms >= HASTY_MS and reply == b"" for *_, (server, ago_ms, reply) in handed)
        assert (loop.relay.waiting, loop.relay.due(64)) == (0, [])
        loop.upstream.sendto(answer(octets), peer)
        [(connection, number, nothing, key, _, (server, _, reply))] = loop.due()
        assert (connection, number, nothing, len(key), server) == (0, 0, b"", 16, 0)
        assert dns.message.from_wire(reply).answer
        assert loop.relay.relay.figures(0)[:3] == (1, 0, 1)


def test_a_late_answer_does_not_wait_for_what_is_asked_meanwhile() -> None:
    with looping() as loop:
        loop.route(HASTY_MS)
        loop.ask(query("open.test"))
        octets, peer = loop.sent()
        loop.due()
        loop.route()
        loop.ask(query("other.test"))
        assert loop.relay.wait_ms() > HASTY_MS
        loop.upstream.sendto(answer(octets), peer)
        assert select.select([loop.relay.descriptor], [], [], 10)[0], "nothing came in 10 s"
        assert loop.relay.receive(loop.tables) == []
        assert loop.relay.wait_ms() == 0
        [(_, _, nothing, *_, (_, _, reply))] = loop.relay.due(64)
        assert (nothing, dns.message.from_wire(reply).rcode()) == (b"", dns.rcode.NOERROR)
        assert loop.relay.wait_ms() > HASTY_MS


def test_what_has_to_be_looked_at_is_handed_over_with_its_answer() -> None:
    with looping() as loop:
        loop.route()
        for flags in ({"rcode": dns.rcode.SERVFAIL}, {"tc": 1}):
            loop.ask(query("open.test"))
            loop.reply(**flags)
            [(_, _, packet, _, _, (server, _, reply))] = loop.due()
            assert (packet, server) == (query("open.test"), 0)
            assert (reply[3] & 15, bool(reply[2] & 2)) == (flags.get("rcode", 0), "tc" in flags)


def test_so_is_what_cannot_be_sent() -> None:
    with looping() as loop:
        loop.route()
        loop.upstream.close()
        packets = [query(f"open-{number}.test") for number in range(8)]
        assert loop.ask(*packets) == []
        # The kernel says at the first or at a later one that nobody is there.
        loop.ask(query("other.test"))
        assert {one[2] for one in loop.due(len(packets))} >= set(packets)


def test_many_due_are_taken_in_parts() -> None:
    with looping() as loop:
        loop.route(1)
        asked = {query(f"open-{number}.test", number) for number in range(10)}
        loop.ask(*asked)
        found: list[bytes] = []
        while len(found) < len(asked):
            part = loop.relay.due(3)
            assert len(part) <= 3
            found += [one[2] for one in part]
        assert set(found) == asked
        assert len(found) == len(asked)


def test_an_answer_is_judged_by_the_tables_of_then() -> None:
    with looping() as loop:
        loop.route()
        assert loop.ask(query("open.test")) == []
        loop.tables = loop.tables.replaced(generation=in_force(2, ["open.test"]).generation)
        loop.reply()
        [(_, one)] = loop.answers(1)
        assert (one.max_age, addresses(one)) == (MAX_AGE_NONE, [PAGE_V4])


def test_its_sockets_are_closed_and_nobody_is_asked_after_that() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with looping() as loop:
        loop.route()
        loop.ask(query("open.test"))
        loop.sent()
        loop.relay.close()
        assert loop.relay.descriptor == -1
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_tables_nothing_that_came_is_lost() -> None:
    with looping() as loop:
        loop.route()
        assert loop.ask(query("open.test"), query("other.test")) == []
        for _ in range(2):
            loop.reply()
        with pytest.raises(TypeError):
            loop.relay.receive(None)  # type: ignore[arg-type]  # a mistake of the caller's
        assert [addresses(one) for _, one in loop.answers(2)] == 2 * [[ADDRESS]]


def test_an_error_costs_those_who_wait_their_answer_and_nobody_else() -> None:
    # Without a place for it, the step that counts a miss fails; those before it do not.
    with looping(counters=codes.counter("cache_answers_total", "miss")) as loop:
        loop.route()
        assert loop.ask(query("open.test", 1), query("open.test", 2)) == []
        loop.reply()
        came = loop.answers(2)
        assert [one.number for _, one in came] == [0, 1]
        assert {one.message[3:4] for _, one in came} <= {b"", bytes([dns.rcode.SERVFAIL])}
        assert (loop.lane.errors, loop.relay.waiting) == (2, 0)
        assert addresses_of_listed(loop) == [PAGE_V4]


def addresses_of_listed(loop: Loop) -> list[str]:
    """What a listed name gets at once."""
    assert loop.ask(query("listed.test")) == []
    unread = bytearray(loop.batch.answers())
    [(_, body)] = edge_frames.take(unread)
    return addresses(edge_frames.as_answer(body))
