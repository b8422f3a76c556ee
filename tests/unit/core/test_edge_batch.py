"""Queries of an edge that are taken together get what each gets alone; and how long an HTTP cache may keep it."""

from array import array
from typing import Any

import dns.edns
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.core import codes
from resolver.query import edge_frames
from resolver.query.edge_frames import MAX_AGE_NONE
from resolver.query.transport import Transport
from tests.parity.cases import BUILDS
from tests.unit.core.seats import Core, Seats
from tests.unit.query.parts import CLIENT, query, says, tables

MOST = 4
TRANSPORTS = tuple(Transport)
PROPERTIES = array("i", [part for one in Transport for part in (one.least, one.most, one.keepalive_ds)])
OTHER = bytes(10) + b"\xff\xff\xc6\x33\x64\x07"
PACKETS = (
    *(query(name, kind).to_wire() for name in ("listed.test", "a.listed.test", "free.test") for kind in ("A", "ANY")),
    query("localhost").to_wire(),
    query("listed.test").to_wire()[:-1],
    bytes(12),
    b"\0\1\x80" + bytes(9),
)
Asked = tuple[int, int, bytes, bytes]


class Side:
    """The steps, and what is taken of an edge's octets."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.seats = Seats(core, tables(1, [["listed.test"]]))
        self.batch = core("edge_batch").EdgeBatch(MOST)

    def take(self, octets: bytes, most: int = MOST) -> bytes:
        """The frames of the answers to up to so many queries, joined."""
        module = self.core("edge_batch")
        count = module.read(self.batch, self.seats.lane, octets, PROPERTIES, most)
        assert count == self.batch.count
        module.take(self.seats.tables, self.seats.lane, self.batch, self.seats.now_ms)
        answers: bytes = self.batch.answers()
        return answers


@pytest.fixture(params=BUILDS, ids=["compiled", "plain"])
def core(request: pytest.FixtureRequest) -> Core:
    build: Core = request.param
    return build


def answered(octets: bytes) -> list[edge_frames.Answer]:
    """The answers in joined frames."""
    unread = bytearray(octets)
    found = edge_frames.take(unread)
    assert not unread
    assert {kind for kind, _ in found} <= {edge_frames.ANSWER}
    return [edge_frames.as_answer(body) for _, body in found]


ASKED = st.tuples(
    st.integers(0, 2**32 - 1),
    st.sampled_from(codes.ENCRYPTED),
    st.sampled_from([CLIENT, OTHER]),
    st.sampled_from(PACKETS),
)


@given(st.lists(ASKED, max_size=9), st.integers(1, MOST), st.integers(0, 40))
def test_queries_together_get_what_each_gets_alone(asked: list[Asked], most: int, cut: int) -> None:
    frames = [edge_frames.query(*one) for one in asked]
    octets = b"".join(frames)
    octets = octets[: len(octets) - cut] if cut else octets
    whole = [one for at, one in enumerate(asked) if sum(map(len, frames[: at + 1])) <= len(octets)]
    for build in BUILDS:
        side, alone = Side(build), Seats(build, tables(1, [["listed.test"]]))
        answers, left, at = b"", 0, 0
        while True:
            answers += side.take(octets[at:], most)
            left += side.batch.left
            at += side.batch.end
            if side.batch.count == 0:
                break
            assert side.batch.count <= most
        found = alone.one_by_one([(packet, client, TRANSPORTS[over]) for _, over, client, packet in whole])
        expected = [
            (number, answer or b"")
            for (number, *_), (outcome, answer) in zip(whole, found, strict=True)
            if outcome in (codes.OUTCOME_REPLY, codes.OUTCOME_SILENT)
        ]
        assert not side.batch.broken
        assert at == sum(map(len, frames[: len(whole)]))
        assert [(one.number, one.message) for one in answered(answers)] == expected
        assert left == len(whole) - len(expected)
        assert side.seats.counters == alone.counters


def test_each_query_has_its_own_transport_and_client(core: Core) -> None:
    side, listed = Side(core), query("listed.test").to_wire()
    side.take(b"".join(edge_frames.query(at, over, CLIENT, listed) for at, over in enumerate((2, 3, 4, 3))))
    counted = {label: side.seats.count("queries_total", label) for label in codes.TRANSPORTS}
    assert counted == {"udp": 0, "tcp": 0, "dot": 1, "doh": 2, "doq": 1}
    side.take(edge_frames.query(9, codes.DOT, OTHER, listed) + edge_frames.query(9, codes.DOT, CLIENT, listed))
    assert [bytes(side.seats.lane.seat(at).client) for at in range(2)] == [OTHER, CLIENT]


def test_only_dot_states_an_idle_timeout(core: Core) -> None:
    asked = query("listed.test")
    asked.use_edns(options=[dns.edns.GenericOption(11, b"")])
    side = Side(core)
    frames = side.take(b"".join(edge_frames.query(over, over, CLIENT, asked.to_wire()) for over in codes.ENCRYPTED))
    options = {one.number: dns.message.from_wire(one.message).options for one in answered(frames)}
    stated = {over: 11 in [one.otype for one in found] for over, found in options.items()}
    assert stated == {codes.DOT: True, codes.DOH: False, codes.DOQ: False}


@pytest.mark.parametrize(
    "octets",
    [
        b"\0\0\0\0Q",
        b"\0\1\1\xd1Q",
        b"\xff\xff\xff\xffQ",
        b"\0\0\0\x21Q" + bytes(40),
        b"\0\1\0\x16Q" + bytes(40),
        *(b"\0\0\0\x22Q" + bytes(4) + bytes([over]) + CLIENT + bytes(12) for over in (0, 1, 5, 255)),
    ],
)
def test_what_is_no_query_ends_what_is_taken(core: Core, octets: bytes) -> None:
    side, whole = Side(core), edge_frames.query(7, codes.DOT, CLIENT, query("listed.test").to_wire())
    (one,) = answered(side.take(whole + octets + whole))
    assert (one.number, side.batch.count, side.batch.end, side.batch.broken) == (7, 1, len(whole), True)
    assert side.take(octets + whole) == b""
    assert (side.batch.count, side.batch.end, side.batch.broken) == (0, 0, True)


def test_another_frame_is_the_callers(core: Core) -> None:
    side = Side(core)
    assert side.take(edge_frames.report(edge_frames.Report(1, None))) == b""
    assert (side.batch.count, side.batch.end, side.batch.broken) == (0, 0, False)


def test_nothing_whole_is_nothing_taken(core: Core) -> None:
    side, whole = Side(core), edge_frames.query(7, codes.DOT, CLIENT, query("listed.test").to_wire())
    for size in range(len(whole)):
        assert side.take(whole[:size]) == b""
        assert (side.batch.count, side.batch.end, side.batch.broken) == (0, 0, False)


def test_an_error_in_a_step_leaves_its_query_and_answers_the_others(core: Core) -> None:
    side, module, listed = Side(core), core("edge_batch"), query("listed.test").to_wire()
    lane: Any = side.seats.lane
    octets = b"".join(edge_frames.query(at, codes.DOH, CLIENT, listed) for at in range(3))
    module.read(side.batch, lane, octets, PROPERTIES, MOST)
    # An address that is too short cannot be judged.
    lane.seat(1).sit(listed, CLIENT[:4], codes.DOH, 65535, 65535, -1)
    module.take(side.seats.tables, lane, side.batch, side.seats.now_ms)
    assert (side.batch.left, lane.seat(1).outcome, lane.errors) == (1, codes.OUTCOME_ASK, 1)
    assert [one.number for one in answered(side.batch.answers())] == [0, 2]


@pytest.mark.parametrize("most", [0, 65])
def test_a_batch_has_a_seat_for_each_query(core: Core, most: int) -> None:
    with pytest.raises(ValueError, match="most"):
        core("edge_batch").EdgeBatch(most)


def house(core: Core, reply: Any, **more: Any) -> Seats:
    return Seats(core, tables(1, [["listed.test"]]), reply, **more)


def kept_for(core: Core, seats: Seats, name: str, kind: str = "A", *, seconds: float = 0.0, **more: Any) -> int:
    """For how long the answer may be kept that a client gets after so many seconds."""
    seats.now += seconds
    seats.send(query(name, kind, **more).to_wire(), over=Transport.DOH)
    found: int = core("edge_batch").max_age(seats.lane.seat(0))
    (frame,) = answered(core("edge_batch").framed(seats.lane.seat(0), 5))
    assert (frame.number, frame.max_age, frame.message) == (5, found, seats.lane.seat(0).answer())
    return found


SOA = "free.test. 900 SOA ns.free.test. host.free.test. 1 3600 1200 604800 300"


def test_an_answer_is_kept_for_its_smallest_ttl_and_ages(core: Core) -> None:
    chain = says(["free.test. 700 CNAME b.free.test.", "b.free.test. 600 A 192.0.2.4"])
    seats = house(core, chain)
    assert kept_for(core, seats, "free.test") == 600
    assert kept_for(core, seats, "free.test", seconds=200) == 400
    # What stands beside the answer does not count (RFC 8484 5.1).
    beside = says(["free.test. 600 A 192.0.2.4"], ["free.test. 5 NS ns.free.test."], ["ns.free.test. 5 A 192.0.2.1"])
    assert kept_for(core, house(core, beside), "free.test") == 600
    none = house(core, says(["free.test. 0 A 192.0.2.44"]))
    assert kept_for(core, none, "free.test") == 0


def test_a_negative_answer_is_kept_for_its_soas_time(core: Core) -> None:
    for rcode in (codes.NOERROR, codes.NXDOMAIN):
        seats = house(core, says([], [SOA], rcode=rcode))
        assert kept_for(core, seats, "free.test") == 300
        assert kept_for(core, seats, "free.test", seconds=100) <= 300
    short = house(core, says([], [SOA.replace(" 900 ", " 30 ")]))
    assert kept_for(core, short, "free.test") == 30
    bare = house(core, says(rcode=codes.NXDOMAIN))
    assert kept_for(core, bare, "free.test") == MAX_AGE_NONE
    # The alias is as short as the end of its chain.
    chain = says(["free.test. 600 CNAME b.free.test."], [SOA], rcode=codes.NXDOMAIN)
    assert kept_for(core, house(core, chain), "free.test") == 300


def test_nothing_that_may_be_answered_otherwise_soon_is_kept(core: Core) -> None:
    leads = says(["free.test. 600 CNAME listed.test.", "listed.test. 600 A 192.0.2.44"])
    seats = house(core, leads)
    assert kept_for(core, seats, "listed.test") == MAX_AGE_NONE
    assert kept_for(core, seats, "listed.test", "TXT") == MAX_AGE_NONE
    assert kept_for(core, seats, "free.test") == MAX_AGE_NONE
    assert kept_for(core, seats, "free.test") == MAX_AGE_NONE
    assert kept_for(core, seats, "localhost") == MAX_AGE_NONE
    assert kept_for(core, seats, "free.test", flags="") == MAX_AGE_NONE
    assert kept_for(core, seats, "other.test", "ANY") == 3600
    for rcode in (codes.SERVFAIL, codes.REFUSED, codes.YXDOMAIN):
        failed = house(core, says(["free.test. 600 A 192.0.2.4"], rcode=rcode))
        assert kept_for(core, failed, "free.test") == MAX_AGE_NONE
        assert kept_for(core, failed, "free.test") == MAX_AGE_NONE
    cut = house(core, says(["free.test. 600 A 192.0.2.4"], flags="TC"))
    assert kept_for(core, cut, "free.test") == MAX_AGE_NONE
    stale = house(core, says(["free.test. 600 A 192.0.2.4"]), stale_s=3600)
    assert kept_for(core, stale, "free.test") == 600
    stale.now += 700
    seat = stale.seated(0, query("free.test").to_wire(), over=Transport.DOH)
    core("steps").take(stale.tables, stale.lane, seat, stale.now_ms)
    core("steps").without(stale.tables, stale.lane, seat, codes.EDE_NETWORK_ERROR, codes.FAILED_UPSTREAM, stale.now_ms)
    assert seat.reason == codes.END_STALE
    assert core("edge_batch").max_age(seat) == MAX_AGE_NONE


def test_silence_is_an_empty_message(core: Core) -> None:
    seats = Seats(core, tables(1, [["listed.test"]]))
    assert seats.send(b"\0\1\x80" + bytes(9), over=Transport.DOT) is None
    (one,) = answered(core("edge_batch").framed(seats.lane.seat(0), 2**32 - 1))
    assert one == edge_frames.Answer(2**32 - 1, MAX_AGE_NONE, b"")
