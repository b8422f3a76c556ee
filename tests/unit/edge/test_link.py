"""The edge's connection to the service: what is asked is answered, also if the service goes away."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from resolver.core import codes
from resolver.edge import link as link_module
from resolver.edge.link import MAX_AGE_NONE, SENT_AWAY, Answered, Failures, Link
from resolver.query import edge_frames
from tests.unit.edge.services import CLIENT, service
from tests.unit.query.parts import until

pytestmark = pytest.mark.loops

QUERY = dns.message.make_query("www.example.test", "A", use_edns=0).to_wire()


class Linked:
    """A link to `path`; failed: how many queries it has answered itself. sent_away: how often it has said that."""

    def __init__(self, path: Path) -> None:
        self.failed = self.sent_away = 0
        self.link = Link(str(path), self._failed, self._sent_away)

    def _failed(self) -> None:
        self.failed += 1

    def _sent_away(self) -> None:
        self.sent_away += 1


@asynccontextmanager
async def linked(path: Path) -> AsyncIterator[Linked]:
    one = Linked(path)
    try:
        yield one
    finally:
        one.link.close()
        assert one.link.waiting == 0


def rcode_of(answer: Answered) -> dns.rcode.Rcode:
    return dns.message.from_wire(answer.message).rcode()


@pytest.mark.asyncio
async def test_a_query_is_handed_over_as_it_came_and_its_answer_comes_back(tmp_path: Path) -> None:
    async with service(tmp_path) as there, linked(there.path) as ours:
        answers = await asyncio.gather(
            ours.link.ask(QUERY, CLIENT, codes.DOT), ours.link.ask(bytes(12), bytes(16), codes.DOQ)
        )
        assert [(one.client, one.transport, one.message) for one in there.queries] == [
            (CLIENT, codes.DOT, QUERY),
            (bytes(16), codes.DOQ, bytes(12)),
        ]
        assert answers[0] == Answered(QUERY[:2] + b"\x81\x80" + QUERY[4:], 60)
        assert (ours.link.waiting, ours.failed, there.connections) == (0, 0, 1)


@pytest.mark.asyncio
async def test_answers_come_in_any_order_and_in_any_pieces(tmp_path: Path) -> None:
    async with service(tmp_path) as there, linked(there.path) as ours:
        there.answers = lambda query: None
        asked = [ours.link.ask(QUERY, CLIENT, codes.DOH) for _ in range(3)]
        await until(lambda: len(there.queries) == 3)
        octets = b"".join(
            edge_frames.answer(one.number, age, bytes(12 + age))
            for age, one in zip((9, 8, 7), reversed(there.queries), strict=True)
        )
        for octet in octets:
            there.say(bytes([octet]))
            await asyncio.sleep(0)  # each octet in a write of its own
        assert await asyncio.gather(*asked) == [Answered(bytes(12 + age), age) for age in (7, 8, 9)]


@pytest.mark.asyncio
async def test_no_answer_is_no_answer(tmp_path: Path) -> None:
    async with service(tmp_path) as there, linked(there.path) as ours:
        there.answers = lambda query: b""
        assert await ours.link.ask(QUERY, CLIENT, codes.DOT) == Answered(b"", 60)


@pytest.mark.asyncio
async def test_what_waits_is_sent_once_more_to_a_service_that_has_come_back(tmp_path: Path) -> None:
    async with service(tmp_path) as there, linked(there.path) as ours:
        there.answers = lambda query: None
        asked = ours.link.ask(QUERY, CLIENT, codes.DOT)
        await until(lambda: len(there.queries) == 1)
        await there.stop()
        await until(lambda: not ours.link.connected)
        meanwhile = ours.link.ask(bytes(12), CLIENT, codes.DOH)
        there.answers = lambda query: query.message
        await there.start()
        assert [await asked, await meanwhile] == [Answered(QUERY, 60), Answered(bytes(12), 60)]
        assert [one.message for one in there.queries] == [QUERY, QUERY, bytes(12)]
        assert ours.failed == 0


@pytest.mark.asyncio
async def test_what_two_connections_had_fails(tmp_path: Path) -> None:
    async with service(tmp_path) as there, linked(there.path) as ours:
        there.answers = lambda query: None
        asked = ours.link.ask(QUERY, CLIENT, codes.DOT)
        for number in (1, 2):
            await until(lambda number=number: len(there.queries) == number)  # type: ignore[misc]  # a default is no argument
            await there.stop()
            await there.start()
        answer = await asked
        assert (rcode_of(answer), answer.max_age, ours.failed) == (dns.rcode.SERVFAIL, MAX_AGE_NONE, 1)
        assert len(there.queries) == 2


@pytest.mark.asyncio
async def test_without_a_service_a_query_fails_after_a_while_and_then_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(link_module, "LOST_S", 0.2)
    monkeypatch.setattr(link_module, "LOOK_S", 0.02)
    async with linked(tmp_path / "queries") as ours:
        first = ours.link.ask(QUERY, CLIENT, codes.DOT)
        assert not first.done()
        assert rcode_of(await first) == dns.rcode.SERVFAIL
        await until(lambda: bool(caplog.messages))
        second = ours.link.ask(QUERY, CLIENT, codes.DOT)
        assert second.done()
        assert rcode_of(second.result()) == dns.rcode.SERVFAIL
        assert ours.failed == 2
        assert len(caplog.messages) == 1
        assert str(tmp_path / "queries") in caplog.messages[0]
        assert "No such file" in caplog.messages[0]
        caplog.set_level(logging.WARNING)
        async with service(tmp_path) as there:
            await until(lambda: ours.link.connected)
            assert await ours.link.ask(QUERY, CLIENT, codes.DOT)
            assert len(there.queries) == 1
            assert caplog.messages[1:] == [f"the service takes queries again at {there.path}"]


@pytest.mark.asyncio
async def test_a_service_that_does_not_answer_is_waited_for_a_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "ANSWER_S", 0.1)
    monkeypatch.setattr(link_module, "LOOK_S", 0.02)
    async with service(tmp_path) as there, linked(there.path) as ours:
        there.answers = lambda query: None
        assert rcode_of(await ours.link.ask(QUERY, CLIENT, codes.DOT)) == dns.rcode.SERVFAIL
        there.give(there.queries[0])
        there.answers = lambda query: query.message
        assert (await ours.link.ask(bytes(12), CLIENT, codes.DOT)).message == bytes(12), "the late answer is nobody's"


@pytest.mark.asyncio
@pytest.mark.parametrize("bound", ["MOST_WAITING", "MOST_OCTETS"])
async def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(link_module, bound, {"MOST_WAITING": 4, "MOST_OCTETS": 4 * (26 + len(QUERY))}[bound])
    async with service(tmp_path) as there, linked(there.path) as ours:
        there.answers = lambda query: None
        assert ours.link.room == {"MOST_WAITING": 2}.get(bound, link_module.MOST_WAITING // 2)
        asked = [ours.link.ask(QUERY, CLIENT, codes.DOT) for _ in range(5)]
        assert ours.link.room == 0
        assert [one.done() for one in asked] == [False, False, False, False, True]
        assert rcode_of(await asked[4]) == dns.rcode.SERVFAIL
        await until(lambda: len(there.queries) == 4)
        for query in there.queries:
            there.give(query)
        await asyncio.gather(*asked)
        assert ours.link.room > 0


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "octets", [bytes(4), b"\xff" * 9, b"\0\0\0\x15Q" + bytes(20)]
)
async def test_a_service_that_is_none_is_left(tmp_path: Path, octets: bytes) -> None:
    async with service(tmp_path) as there, linked(there.path) as ours:
        there.answers = lambda query: None
        asked = ours.link.ask(QUERY, CLIENT, codes.DOT)
        await until(lambda: len(there.queries) == 1)
        there.say(octets)
        await until(lambda: there.connections == 2)
        await until(lambda: len(there.queries) == 2)
        there.give(there.queries[1])
        assert (await asked).message[:2] == QUERY[:2]


@pytest.mark.asyncio
async def test_a_service_that_reads_nothing_gets_the_rest_later(tmp_path: Path) -> None:
    path = tmp_path / "queries"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(str(path))
        door.listen(1)
        door.setblocking(False)
        async with linked(path) as ours:
            loop = asyncio.get_running_loop()
            one, _ = await loop.sock_accept(door)
            with one:
                asked = [ours.link.ask(bytes([number]) * 60000, CLIENT, codes.DOT) for number in range(40)]
                unread = bytearray()
                seen = 0
                while seen < 40:
                    unread += await loop.sock_recv(one, 2**16)
                    for _, body in edge_frames.take(unread):
                        query = edge_frames.as_query(body)
                        await loop.sock_sendall(one, edge_frames.answer(query.number, 0, query.message[:12]))
                        seen += 1
                answers = await asyncio.gather(*asked)
                assert [one.message for one in answers] == [bytes([number]) * 12 for number in range(40)]


@pytest.mark.asyncio
async def test_large_queries_leave_the_room_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "MOST_LARGE_OCTETS", 2**18)
    monkeypatch.setattr(link_module, "MOST_OCTETS", 2**20)
    async with service(tmp_path) as there, linked(there.path) as ours:
        there.answers = lambda query: None
        asked = [ours.link.ask(bytes(60000), CLIENT, codes.DOT) for _ in range(20)]
        assert [one.done() for one in asked] == [False] * 4 + [True] * 16
        assert rcode_of(await asked[-1]) == dns.rcode.SERVFAIL
        assert ours.link.room > 0
        small = ours.link.ask(QUERY, CLIENT, codes.DOT)
        await until(lambda: len(there.queries) == 5)
        for query in there.queries:
            there.give(query)
        assert (await small).message[:2] == QUERY[:2]
        await asyncio.gather(*asked)
        there.answers = lambda query: query.message
        assert (await ours.link.ask(bytes(60000), CLIENT, codes.DOT)).message == bytes(60000), "there is room again"


@pytest.mark.asyncio
async def test_what_a_service_does_not_read_is_bounded_after_it_has_failed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "ANSWER_S", 0.05)
    monkeypatch.setattr(link_module, "LOOK_S", 0.02)
    monkeypatch.setattr(link_module, "MOST_OCTETS", 2**20)
    monkeypatch.setattr(link_module, "MOST_LARGE_OCTETS", 2**20)
    path, query, seen = tmp_path / "queries", bytes(60000), 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(str(path))
        door.listen(1)
        door.setblocking(False)
        async with linked(path) as ours:
            loop = asyncio.get_running_loop()
            one, _ = await loop.sock_accept(door)
            with one:
                for _ in range(8):
                    asked = [ours.link.ask(query, CLIENT, codes.DOT) for _ in range(10)]
                    assert [rcode_of(each) for each in await asyncio.gather(*asked)] == [dns.rcode.SERVFAIL] * 10
                assert (ours.link.waiting, ours.link.room) == (0, 0)
                unread = bytearray()
                while ours.link.room == 0 or not seen:
                    unread += await loop.sock_recv(one, 2**16)
                    seen += len(edge_frames.take(unread))
                monkeypatch.undo()  # from here on all have patience
                last, answered = ours.link.ask(bytes(12), CLIENT, codes.DOT), False
                while not answered:
                    unread += await loop.sock_recv(one, 2**16)
                    for found in (edge_frames.as_query(body) for _, body in edge_frames.take(unread)):
                        seen += 1
                        if found.message == bytes(12):
                            await loop.sock_sendall(one, edge_frames.answer(found.number, 0, bytes(12)))
                            answered = True
                assert await last == Answered(bytes(12), 0)
                assert seen < 80 // 2


@pytest.mark.asyncio
async def test_the_latest_report_goes_to_each_connection(tmp_path: Path) -> None:
    async with service(tmp_path) as there, linked(there.path) as ours:
        for handshakes in (1, 2):
            ours.link.report(edge_frames.report(edge_frames.Report(1, None, handshakes=handshakes)))
        await until(lambda: len(there.reports) == 2)
        await there.stop()
        await there.start()
        await until(lambda: len(there.reports) == 3)
        assert [one.handshakes for one in there.reports] == [1, 2, 2]


@pytest.mark.asyncio
@pytest.mark.parametrize("served", [True, False])
async def test_a_service_that_answered_and_sends_the_edge_away_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: bool
) -> None:
    """An edge that never was answered goes on: an end of it would change nothing."""
    monkeypatch.setattr(link_module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(link_module, "LAST_PAUSE_S", 0.5)
    async with service(tmp_path) as there, linked(there.path) as ours:
        if served:
            assert await ours.link.ask(QUERY, CLIENT, codes.DOT)
        there.sends_away = True
        there.drop()
        await until(lambda: there.connections == SENT_AWAY + 2)
        assert ours.sent_away == served


@pytest.mark.asyncio
async def test_a_service_that_restarts_sends_nobody_away(tmp_path: Path) -> None:
    async with service(tmp_path) as there, linked(there.path) as ours:
        for number in range(1, SENT_AWAY + 2):
            assert await ours.link.ask(QUERY, CLIENT, codes.DOT)
            there.drop()
            await until(lambda number=number: there.connections == number + 1)  # type: ignore[misc]  # a default is no argument
        assert ours.sent_away == 0


@pytest.mark.asyncio
async def test_a_service_that_sends_no_answers_sends_nobody_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "FIRST_PAUSE_S", 0.001)
    async with service(tmp_path) as there, linked(there.path) as ours:
        assert await ours.link.ask(QUERY, CLIENT, codes.DOT)
        for number in range(1, SENT_AWAY + 3):
            there.say(b"\xff" * 8)
            await until(lambda number=number: there.connections == number + 1)  # type: ignore[misc]  # a default is no argument
        assert ours.sent_away == 0
        assert await ours.link.ask(QUERY, CLIENT, codes.DOT)


@pytest.mark.asyncio
async def test_whoever_asked_may_have_gone(tmp_path: Path) -> None:
    async with service(tmp_path) as there, linked(there.path) as ours:
        there.answers = lambda query: None
        gone = ours.link.ask(QUERY, CLIENT, codes.DOT)
        await until(lambda: len(there.queries) == 1)
        gone.cancel()
        there.give(there.queries[0])
        there.answers = lambda query: query.message
        assert (await ours.link.ask(QUERY, CLIENT, codes.DOT)).message == QUERY


@pytest.mark.asyncio
async def test_an_end_fails_what_waits(tmp_path: Path) -> None:
    async with service(tmp_path) as there:
        there.answers = lambda query: None
        ours = Linked(there.path)
        asked = ours.link.ask(QUERY, CLIENT, codes.DOT)
        ours.link.close()
        assert rcode_of(await asked) == dns.rcode.SERVFAIL


def test_a_failure_repeats_the_question_and_says_why() -> None:
    failures = Failures()
    asked = dns.message.make_query("www.example.test", "AAAA", want_dnssec=True)
    said = dns.message.from_wire(failures.of(asked.to_wire()))
    assert (said.id, said.rcode(), said.question) == (asked.id, dns.rcode.SERVFAIL, asked.question)
    assert said.flags & dns.flags.RD
    assert [(one.otype, one.code) for one in said.options] == [(dns.edns.OptionType.EDE, dns.edns.EDECode.NOT_READY)]
    plain = dns.message.make_query("www.example.test", "AAAA", use_edns=False)
    assert dns.message.from_wire(failures.of(plain.to_wire())).edns == -1


@pytest.mark.parametrize("octets", [b"\0" * 12, b"\1\2\1\0" + b"\xff" * 40, b"\1\2\1\0\0\1" + bytes(6) + b"\x3f"])
def test_a_failure_of_what_is_malformed_is_a_header(octets: bytes) -> None:
    said = Failures().of(octets)
    assert (len(said), said[:2], said[3] & 15) == (12, octets[:2], codes.SERVFAIL)


def test_a_response_gets_none() -> None:
    assert Failures().of(b"\0\0\x80\0" + bytes(8)) == b""
