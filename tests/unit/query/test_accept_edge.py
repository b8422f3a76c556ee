"""Edges at their socket: who may connect, what is bounded, what ends a connection, and what is counted of reports."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import dns.message
import pytest

from resolver.core import codes
from resolver.query import accept_edge, edge_frames, forward_waiters
from resolver.query.accept_edge import FRAMES_A_SHARE, MOST_EDGES, Edges
from resolver.query.answer_edge import EdgeAnswers, EdgeTaken
from resolver.query.edge_frames import Answer, Report
from resolver.query.transport import Reply
from tests.unit.query.parts import CLIENT, PAGE_V4, House, addresses, query, says, tables, until

pytestmark = pytest.mark.loops

LISTED = query("listed.test").to_wire()
FREE = query("free.test").to_wire()


def asks(number: int, packet: bytes = LISTED, over: int = codes.DOT) -> bytes:
    """The frame of a query."""
    return edge_frames.query(number, over, CLIENT, packet)


class Edge:
    """One edge, as the service sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._unread = bytearray()
        self._found: list[Answer] = []

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def answers(self, count: int) -> list[Answer]:
        """The next so many answers, in the order of their numbers."""
        while len(self._found) < count:
            data = await self.reader.read(2**16)
            assert data, "the connection has ended"
            self._unread += data
            self._found += [edge_frames.as_answer(body) for _, body in edge_frames.take(self._unread)]
        found, self._found = self._found[:count], self._found[count:]
        return sorted(found)

    async def ends(self) -> bool:
        """Whether the service closes the connection, without another answer."""
        try:
            return await self.reader.read(2**16) == b""
        except ConnectionError:
            return True


class Side:
    """The service's side in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path / "queries")
        self.house = House(says(["free.test. 60 A 192.0.2.44"]), tables(1, (("listed.test",),)), seats=FRAMES_A_SHARE)
        self.now = 1000.0
        answers = EdgeAnswers(self.house.answer, self.house.lane, FRAMES_A_SHARE)
        self.edges = Edges(answers, os.geteuid(), clock=lambda: self.now)
        self.opened: list[Edge] = []

    async def connect(self) -> Edge:
        edge = Edge(*await asyncio.open_unix_connection(self.path))
        self.opened.append(edge)
        return edge


@asynccontextmanager
async def listening(path: Path) -> AsyncIterator[Side]:
    side = Side(path)
    side.edges.open(side.path, os.getegid())
    try:
        yield side
    finally:
        side.house.upstream.release()
        side.edges.close()
        for edge in side.opened:
            edge.writer.close()
        async with asyncio.timeout(10):
            await side.edges.drained()


@pytest.mark.asyncio
async def test_each_query_gets_its_answer_whatever_the_order(tmp_path: Path) -> None:
    async with listening(tmp_path) as side:
        edge = await side.connect()
        side.house.upstream.hold()
        edge.send(asks(1, FREE, codes.DOH), asks(2), asks(3, b"\0\1\x80" + bytes(9)), asks(4, over=codes.DOQ))
        two, three, four = await edge.answers(3)
        assert [one.number for one in (two, three, four)] == [2, 3, 4]
        assert addresses(dns.message.from_wire(two.message)) == [PAGE_V4]
        assert (three.message, four.max_age) == (b"", edge_frames.MAX_AGE_NONE)
        side.house.upstream.release()
        [one] = await edge.answers(1)
        assert (one.number, one.max_age) == (1, 60)
        assert addresses(dns.message.from_wire(one.message)) == ["192.0.2.44"]
        assert [side.house.count("queries_total", label) for label in codes.TRANSPORTS] == [0, 0, 2, 1, 1]


@pytest.mark.asyncio
async def test_ten_thousand_queries_of_two_edges_are_all_answered(tmp_path: Path) -> None:
    async with listening(tmp_path) as side:
        one, other = await side.connect(), await side.connect()
        each = 5000
        for edge in (one, other):
            edge.send(*(asks(number) for number in range(each)))
        for edge in (one, other):
            found = await edge.answers(each)
            assert [each.number for each in found] == list(range(each))
        assert side.house.count("queries_total", "dot") == 2 * each


@pytest.mark.asyncio
async def test_frames_in_pieces_are_whole_frames(tmp_path: Path) -> None:
    async with listening(tmp_path) as side:
        edge = await side.connect()
        for octet in asks(7) + edge_frames.report(Report(1, 5)) + asks(8)[:-1]:
            edge.send(bytes([octet]))
            await edge.writer.drain()
        assert [one.number for one in await edge.answers(1)] == [7]
        await until(lambda: side.edges.expires() == 5)
        edge.send(asks(8)[-1:])
        assert [one.number for one in await edge.answers(1)] == [8]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "octets",
    [
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\0\0\0\1Q",
        b"\0\0\0\1A",
        b"\0\0\0\1X",
        b"\0\0\0\3R{}",
        edge_frames.answer(1, 0, b""),
        asks(1)[:9] + b"\0" + asks(1)[10:],
    ],
    ids=["short", "long", "empty", "answer", "unknown", "report", "whole-answer", "over-udp"],
)
async def test_a_frame_that_is_malformed_ends_its_connection_alone(
    tmp_path: Path, octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(tmp_path) as side:
        edge, other = await side.connect(), await side.connect()
        other.send(asks(1))
        await other.answers(1)
        edge.send(octets, asks(9))
        assert await edge.ends()
        other.send(asks(2))
        assert [one.number for one in await other.answers(1)] == [2]
        assert len(side.edges.connections) == 1
    assert [one.getMessage() for one in caplog.records if "no frame" in one.getMessage()]
    assert not any("listed" in one.getMessage() for one in caplog.records)


@pytest.mark.asyncio
async def test_an_edge_of_another_release_is_sent_away_by_its_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = edge_frames.report(Report(7, None)).replace(b'"frames":1', b'"frames":2')
    assert b'"frames":2' in other
    async with listening(tmp_path) as side:
        edge = await side.connect()
        edge.send(other, asks(1))
        assert await edge.ends()
        assert side.house.count("queries_total", "dot") == 0
    [said] = [one.getMessage() for one in caplog.records if "release" in one.getMessage()]
    assert "edge 7 has frames of version 2, the service 1: restart that edge" in said


@pytest.mark.asyncio
async def test_another_account_is_sent_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(tmp_path) as side:
        side.edges.user = os.geteuid() + 1
        edge = await side.connect()
        edge.send(asks(1))
        assert await edge.ends()
        assert not side.edges.connections
        side.edges.user = os.geteuid()
        edge = await side.connect()
        edge.send(asks(1))
        assert len(await edge.answers(1)) == 1
    assert "may not connect" in caplog.text


@pytest.mark.asyncio
async def test_there_is_a_bound_on_edges(tmp_path: Path) -> None:
    async with listening(tmp_path) as side:
        for _ in range(MOST_EDGES):
            await side.connect()
        await until(lambda: len(side.edges.connections) == MOST_EDGES)
        assert await (await side.connect()).ends()
        side.opened[0].writer.close()
        await until(lambda: len(side.edges.connections) == MOST_EDGES - 1)
        edge = await side.connect()
        edge.send(asks(1))
        assert len(await edge.answers(1)) == 1


@pytest.mark.asyncio
async def test_nothing_is_read_while_too_many_queries_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 500
    monkeypatch.setattr(accept_edge, "MOST_UNANSWERED", most)
    async with listening(tmp_path) as side:
        edge = await side.connect()
        side.house.upstream.hold()
        edge.send(*(asks(number, FREE) for number in range(most + 100)))
        await until(lambda: side.house.count("queries_total", "dot") >= most)
        for _ in range(20):
            await asyncio.sleep(0)
        assert side.house.count("queries_total", "dot") == most
        side.house.upstream.release()
        found = await edge.answers(most + 100)
        assert [one.number for one in found] == list(range(most + 100))


@pytest.mark.asyncio
async def test_all_that_may_wait_for_upstreams_holds_nothing_else_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many queries of one edge as may wait, in small: what the lists answer comes all the same."""
    small = forward_waiters.MAX_WAITING // 400
    monkeypatch.setattr(accept_edge, "MOST_UNANSWERED", edge_frames.MOST_UNANSWERED // 400)
    async with listening(tmp_path) as side:
        edge = await side.connect()
        side.house.upstream.hold()
        edge.send(*(asks(number, FREE) for number in range(small)), asks(small))
        async with asyncio.timeout(60):
            [listed] = await edge.answers(1)
        assert listed.number == small
        assert addresses(dns.message.from_wire(listed.message)) == [PAGE_V4]


@pytest.mark.asyncio
async def test_an_edge_that_does_not_read_is_read_no_more_and_then_goes_on(tmp_path: Path) -> None:
    async with listening(tmp_path) as side:
        edge = await side.connect()
        edge.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it
        many = 30_000
        edge.send(*(asks(number) for number in range(many)))
        before = -1
        while before != side.house.count("queries_total", "dot"):
            before = side.house.count("queries_total", "dot")
            await asyncio.sleep(0.05)  # nothing says that nothing more happens
        assert before < many
        edge.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
        assert len(await edge.answers(many)) == many


@pytest.mark.asyncio
async def test_an_edge_that_leaves_takes_nothing_with_it(tmp_path: Path) -> None:
    async with listening(tmp_path) as side:
        edge, other = await side.connect(), await side.connect()
        side.house.upstream.hold()
        edge.send(asks(1, FREE))
        other.send(asks(2, FREE))
        await until(lambda: side.house.count("queries_total", "dot") == 2)
        edge.writer.transport.abort()
        await until(lambda: len(side.edges.connections) == 1)
        side.house.upstream.release()
        assert [one.number for one in await other.answers(1)] == [2]


@pytest.mark.asyncio
async def test_at_a_stop_what_was_asked_is_answered(tmp_path: Path) -> None:
    async with listening(tmp_path) as side:
        edge = await side.connect()
        side.house.upstream.hold()
        edge.send(asks(1, FREE))
        await until(lambda: side.house.count("queries_total", "dot") == 1)
        side.edges.close()
        drained = asyncio.ensure_future(side.edges.drained())
        edge.send(asks(2))
        answers = asyncio.ensure_future(edge.answers(1))  # What is left unread at the close resets the connection.
        await asyncio.sleep(0)
        side.house.upstream.release()
        await drained
        assert [one.number for one in await answers] == [1]
        assert await edge.ends()
        assert side.house.count("queries_total", "dot") == 1


@pytest.mark.asyncio
async def test_the_socket_takes_the_place_of_another_and_is_seen_to_be_gone(tmp_path: Path) -> None:
    async with listening(tmp_path) as old, listening(tmp_path) as new:
        assert (old.edges.reachable, new.edges.reachable) == (False, True)
        edge = await new.connect()
        edge.send(asks(1))
        await edge.answers(1)
        assert (len(old.edges.connections), len(new.edges.connections)) == (0, 1)
        mode = stat.S_IMODE(os.stat(new.path).st_mode)
        assert mode == accept_edge.MODE
        assert os.listdir(tmp_path) == ["queries"]
        os.unlink(new.path)
        assert not new.edges.reachable
        new.edges.open(new.path, os.getegid())
        assert new.edges.reachable
        edge.send(asks(2))
        assert len(await edge.answers(1)) == 1, "connections that are open stay"


def test_a_file_that_is_no_socket_is_left(tmp_path: Path) -> None:
    side = Side(tmp_path)
    Path(side.path).write_text("kept")
    with pytest.raises(FileExistsError):
        side.edges.open(side.path, os.getegid())
    assert Path(side.path).read_text() == "kept"
    with pytest.raises(FileNotFoundError):
        side.edges.open(str(tmp_path / "none" / "queries"), os.getegid())
    assert not side.edges.reachable


@pytest.mark.asyncio
async def test_what_edges_report_adds_up_and_goes_with_them(tmp_path: Path) -> None:
    async with listening(tmp_path) as side:
        one, two = await side.connect(), await side.connect()
        one.send(edge_frames.report(Report(1, 2_000_000_000, {"dot": 3, "doh": 1}, 10, {"slow": 2})))
        two.send(edge_frames.report(Report(2, 1_900_000_000, {"dot": 1}, 5, {})))
        await until(lambda: side.edges.handshakes == 15)
        assert side.edges.open_connections() == {"dot": 4, "doh": 1, "doq": 0}
        assert (side.edges.expires(), side.edges.refused["slow"]) == (1_900_000_000, 2)
        two.send(edge_frames.report(Report(2, None, {}, 6, {"slow": 1})))
        await until(lambda: side.edges.handshakes == 16)
        assert (side.edges.expires(), side.edges.refused["slow"]) == (2_000_000_000, 3)
        # The first reports the same by another connection: nothing is counted twice.
        one.writer.close()
        again = await side.connect()
        again.send(edge_frames.report(Report(1, 2_000_000_000, {"dot": 3}, 11, {"slow": 2})))
        await until(lambda: side.edges.handshakes == 17)
        assert side.edges.refused["slow"] == 3
        # It began again.
        again.send(edge_frames.report(Report(1, 2_000_000_000, {"dot": 3}, 2, {"slow": 1})))
        await until(lambda: side.edges.handshakes == 19)
        assert side.edges.refused["slow"] == 4
        assert len(side.edges.connected()) == 2
        side.now += accept_edge.SILENT_S + 1
        assert side.edges.connected() == []
        assert side.edges.expires() is None
        assert side.edges.open_connections() == {"dot": 0, "doh": 0, "doq": 0}


class Relaying:
    """Stands for what relays whole batches: it has taken each query that waits here, until `give`."""

    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._answer = edges.answer
        edges.answer = self
        self.relayed = None
        self.taken: list[tuple[int, Awaitable[Reply]]] = []

    def __call__(self, octets: bytes, most: int, connection: int) -> EdgeTaken:
        found = self._answer(octets, most, connection)
        self.taken += [(connection, one) for one in found.waiting]
        return EdgeTaken(found.used, found.queries, found.octets, [], found.broken, relayed=len(found.waiting))

    async def give(self, count: int) -> None:
        """Give the next answers, every other one still to be awaited."""
        part, self.taken = self.taken[:count], self.taken[count:]
        self._edges.came([(number, one if at % 2 else await one) for at, (number, one) in enumerate(part)])


@pytest.mark.asyncio
async def test_answers_that_are_relayed_go_to_their_connection_and_are_bounded_and_drained_as_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept_edge, "MOST_UNANSWERED", 4)
    async with listening(tmp_path) as side:
        relaying = Relaying(side.edges)
        one, other = await side.connect(), await side.connect()
        names = [query(f"free-{number}.test").to_wire() for number in range(6)]
        one.send(*(asks(number, packet) for number, packet in enumerate(names)))
        await until(lambda: len(relaying.taken) == 4)
        other.send(asks(9, FREE))
        await until(lambda: len(relaying.taken) == 5)
        assert {number for number, _ in relaying.taken} == {0, 1}
        assert sorted(each.unanswered for each in side.edges.connections) == [1, 4]
        await relaying.give(2)
        assert [answer.number for answer in await one.answers(2)] == [0, 1]
        # There is room again for two more.
        await until(lambda: len(relaying.taken) == 5)
        side.edges.close()
        drained = asyncio.ensure_future(side.edges.drained())
        await asyncio.sleep(0)
        assert not drained.done()
        await relaying.give(5)
        await drained
        assert [answer.number for answer in await one.answers(4)] == [2, 3, 4, 5]
        assert [answer.number for answer in await other.answers(1)] == [9]


@pytest.mark.asyncio
async def test_an_answer_for_an_edge_that_has_gone_goes_nowhere(tmp_path: Path) -> None:
    async with listening(tmp_path) as side:
        relaying = Relaying(side.edges)
        edge, other = await side.connect(), await side.connect()
        edge.send(asks(1, FREE), asks(2, query("free-2.test").to_wire()))
        await until(lambda: len(relaying.taken) == 2)
        edge.writer.close()
        await until(lambda: len(side.edges.connections) == 1)
        await relaying.give(2)
        other.send(asks(3))
        assert [answer.number for answer in await other.answers(1)] == [3]
