"""Queries of a stream that are taken together get what each gets alone, however the octets came."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.core import codes
from resolver.query.transport import Transport, framed
from tests.parity.cases import BUILDS
from tests.unit.core.seats import Core, Seats
from tests.unit.query.parts import CLIENT, query, tables

OVER = Transport.TCP
MOST = 4
PACKETS = (
    *(query(name, kind).to_wire() for name in ("listed.test", "a.listed.test", "free.test") for kind in ("A", "ANY")),
    query("localhost").to_wire(),
    query("listed.test").to_wire()[:-1],
    bytes(12),
    b"\0\1\x80" + bytes(9),
)


class Stream:
    """The steps, and what a connection takes of its octets."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.seats = Seats(core, tables(1, [["listed.test"]]))
        self.frames = core("frames").Frames(MOST)

    def take(self, octets: bytes, most: int = MOST) -> bytes:
        """The answers to up to so many queries, joined."""
        over, lane = (OVER.least, OVER.most, OVER.keepalive_ds), self.seats.lane
        count = self.core("frames").read(self.frames, lane, octets, CLIENT, *over, most)
        assert count == self.frames.count
        self.core("frames").take(self.seats.tables, lane, self.frames, self.seats.now_ms)
        answers: bytes = self.frames.answers()
        return answers


@pytest.fixture(params=BUILDS, ids=["compiled", "plain"])
def core(request: pytest.FixtureRequest) -> Core:
    build: Core = request.param
    return build


@given(st.lists(st.sampled_from(PACKETS), max_size=9), st.integers(1, MOST), st.integers(0, 40))
def test_queries_together_get_what_each_gets_alone(packets: list[bytes], most: int, cut: int) -> None:
    for core in BUILDS:
        stream, alone = Stream(core), Seats(core, tables(1, [["listed.test"]]))
        octets = b"".join(map(framed, packets))
        octets = octets[: len(octets) - cut] if cut else octets
        whole: list[bytes] = []
        while sum(2 + len(one) for one in packets[: len(whole) + 1]) <= len(octets) and len(whole) < len(packets):
            whole.append(packets[len(whole)])
        answers, left, at = b"", 0, 0
        while True:
            answers += stream.take(octets[at:], most)
            left += stream.frames.left
            at += stream.frames.end
            if stream.frames.count == 0:
                break
            assert stream.frames.count <= most
        found = alone.one_by_one([(one, CLIENT, OVER) for one in whole])
        assert at == sum(2 + len(one) for one in whole)
        assert answers == b"".join(framed(answer) for outcome, answer in found if answer)
        assert left == sum(outcome in (codes.OUTCOME_FORWARD, codes.OUTCOME_ASK) for outcome, _ in found)
        assert stream.seats.counters == alone.counters


def test_the_answers_of_queries_that_wait_are_not_among_the_others(core: Core) -> None:
    stream = Stream(core)
    listed, free = query("listed.test").to_wire(), query("free.test").to_wire()
    answers = stream.take(framed(listed) + framed(free) + framed(listed))
    assert (stream.frames.count, stream.frames.left, stream.frames.broken) == (3, 1, False)
    size = int.from_bytes(answers[:2], "big")
    assert answers == 2 * answers[: 2 + size]
    assert stream.seats.lane.seat(1).outcome == codes.OUTCOME_FORWARD
    assert bytes(stream.seats.lane.seat(1).packet) == free


@pytest.mark.parametrize("size", range(12))
def test_what_cannot_be_framed_ends_what_is_taken(core: Core, size: int) -> None:
    stream, whole = Stream(core), framed(query("listed.test").to_wire())
    answers = stream.take(whole + framed(bytes(size)) + whole)
    assert (stream.frames.count, stream.frames.end, stream.frames.broken) == (1, len(whole), True)
    assert len(answers) > 12
    assert stream.take(framed(bytes(size)) + whole) == b""
    assert (stream.frames.count, stream.frames.end, stream.frames.broken) == (0, 0, True)


def test_nothing_whole_is_nothing_taken(core: Core) -> None:
    stream, whole = Stream(core), framed(query("listed.test").to_wire())
    for size in range(len(whole)):
        assert stream.take(whole[:size]) == b""
        assert (stream.frames.count, stream.frames.end, stream.frames.broken) == (0, 0, False)


def test_an_error_in_a_step_leaves_its_query_and_answers_the_others(core: Core) -> None:
    stream, listed = Stream(core), query("listed.test").to_wire()
    lane: Any = stream.seats.lane
    lane.seat(1).sit(bytes(12), CLIENT, True, OVER.least, OVER.most, OVER.keepalive_ds)
    read, take = stream.core("frames").read, stream.core("frames").take
    read(stream.frames, lane, 3 * framed(listed), CLIENT, OVER.least, OVER.most, OVER.keepalive_ds, MOST)
    # An address that is too short cannot be judged.
    lane.seat(1).sit(listed, CLIENT[:4], True, OVER.least, OVER.most, OVER.keepalive_ds)
    take(stream.seats.tables, lane, stream.frames, stream.seats.now_ms)
    assert stream.frames.left == 1
    assert (lane.seat(1).outcome, lane.seat(1).found, lane.errors) == (codes.OUTCOME_ASK, -1, 1)
    answers = stream.frames.answers()
    size = int.from_bytes(answers[:2], "big")
    assert answers == 2 * answers[: 2 + size]


@pytest.mark.parametrize("most", [0, 65])
def test_frames_have_a_seat_for_each_query(core: Core, most: int) -> None:
    with pytest.raises(ValueError, match="most"):
        core("frames").Frames(most)
