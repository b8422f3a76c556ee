"""The frames between an edge and the service: what is written is read, and nothing else is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.core import codes
from resolver.engine import relay
from resolver.query import edge_frames
from resolver.query.edge_frames import FRAMES, MAX_AGE_NONE, Answer, Malformed, OtherRelease, Query, Report
from resolver.query.forward_waiters import MAX_WAITING
from resolver.query.transport import ADDRESS_OCTETS, MAX_STREAM_OCTETS, Transport

NUMBERS = st.integers(0, 2**32 - 1)
MESSAGES = st.binary(min_size=12, max_size=300)
CLIENT = bytes(10) + b"\xff\xff\xc0\x00\x02\x01"
REPORT = Report(2, 1790000000, {"dot": 3, "doh": 1}, 9, {"slow": 4})


def parts(stream: bytes, cuts: list[int]) -> list[tuple[int, bytes]]:
    """What is taken of a stream that comes in pieces of these sizes, in turn."""
    unread, found, at, number = bytearray(), [], 0, 0
    while at < len(stream):
        size = cuts[number % len(cuts)]
        unread += stream[at : at + size]
        found += edge_frames.take(unread)
        at, number = at + size, number + 1
    assert not unread
    return found


@given(NUMBERS, st.sampled_from(codes.ENCRYPTED), st.binary(min_size=16, max_size=16), MESSAGES)
def test_a_query_is_read_as_it_was_written(number: int, transport: int, client: bytes, message: bytes) -> None:
    ((kind, body),) = edge_frames.take(bytearray(edge_frames.query(number, transport, client, message)))
    assert kind == edge_frames.QUERY
    assert edge_frames.as_query(body) == Query(number, transport, client, message)


@given(number=NUMBERS, max_age=NUMBERS, message=MESSAGES | st.just(b""))
def test_an_answer_is_read_as_it_was_written(number: int, max_age: int, message: bytes) -> None:
    ((kind, body),) = edge_frames.take(bytearray(edge_frames.answer(number, max_age, message)))
    assert kind == edge_frames.ANSWER
    assert edge_frames.as_answer(body) == Answer(number, max_age, message)


def test_a_report_is_read_as_it_was_written() -> None:
    ((kind, body),) = edge_frames.take(bytearray(edge_frames.report(REPORT)))
    assert kind == edge_frames.REPORT
    assert edge_frames.as_report(body) == REPORT
    assert edge_frames.as_report(edge_frames.report(Report(1, None))[5:]) == Report(1, None, {}, 0, {})


@given(st.lists(MESSAGES, max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_frames_come_whole_however_the_stream_is_cut(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(edge_frames.query(at, codes.DOT, CLIENT, one) for at, one in enumerate(messages))
    found = [edge_frames.as_query(body) for _, body in parts(stream, cuts)]
    assert [(one.number, one.message) for one in found] == list(enumerate(messages))


def test_the_octets_are_those_that_were_agreed() -> None:
    message = bytes(range(12))
    assert edge_frames.query(7, codes.DOQ, CLIENT, message) == b"\0\0\0\x22Q" + b"\0\0\0\x07\x04" + CLIENT + message
    assert edge_frames.answer(7, 60, message) == b"\0\0\0\x15A" + b"\0\0\0\x07\0\0\0\x3c" + message
    assert edge_frames.answer(7, MAX_AGE_NONE, b"") == b"\0\0\0\x09A" + b"\0\0\0\x07\xff\xff\xff\xff"
    assert [codes.TRANSPORTS[one] for one in codes.ENCRYPTED] == ["dot", "doh", "doq"]
    assert tuple(one.label for one in Transport) == codes.TRANSPORTS


def test_the_largest_message_fits_and_no_larger_one() -> None:
    largest = bytes(MAX_STREAM_OCTETS)
    ((_, body),) = edge_frames.take(bytearray(edge_frames.query(1, codes.DOH, CLIENT, largest)))
    assert edge_frames.as_query(body).message == largest
    assert edge_frames.as_answer(edge_frames.answer(1, 0, largest)[5:]).message == largest
    with pytest.raises(Malformed):
        edge_frames.as_query(body + b"\0")
    with pytest.raises(Malformed):
        edge_frames.as_answer(edge_frames.answer(1, 0, largest + b"\0")[5:])


@pytest.mark.parametrize(
    ("transport", "client", "message"),
    [
        (codes.UDP, CLIENT, bytes(12)),
        (codes.TCP, CLIENT, bytes(12)),
        (5, CLIENT, bytes(12)),
        (codes.DOT, CLIENT[:4], bytes(12)),
        (codes.DOT, CLIENT, bytes(11)),
        (codes.DOT, CLIENT, bytes(65536)),
    ],
)
def test_what_would_be_malformed_is_not_written(transport: int, client: bytes, message: bytes) -> None:
    assert len(CLIENT) == ADDRESS_OCTETS
    with pytest.raises(ValueError, match=r"transport or client|message"):
        edge_frames.query(1, transport, client, message)


@pytest.mark.parametrize("size", [0, 66_001, 2**31, 2**32 - 1])
def test_a_length_that_no_frame_has_is_malformed_at_once(size: int) -> None:
    with pytest.raises(Malformed):
        edge_frames.take(bytearray(size.to_bytes(4, "big")))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0\0\1\2" + CLIENT + bytes(11),
        b"\0\0\0\1\0" + CLIENT + bytes(12),
        b"\0\0\0\1\1" + CLIENT + bytes(12),
        b"\0\0\0\1\5" + CLIENT + bytes(12),
        b"\0\0\0\1\xff" + CLIENT + bytes(12),
    ],
)
def test_a_query_that_is_none_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        edge_frames.as_query(body)


@pytest.mark.parametrize("body", [b"", bytes(7), bytes(9), bytes(8 + 11)])
def test_an_answer_that_is_none_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        edge_frames.as_answer(body)


def said(**changes: object) -> bytes:
    fields = {"number": 1, "expires": None, "connections": {"dot": 1}, "handshakes": 2, "refused": {}, "frames": FRAMES}
    return json.dumps(fields | changes).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"\xff",
        b"[" * 4096,
        said() + b" " * 4096,
        said(number=0),
        said(number=1025),
        said(number="1"),
        said(number=True),
        said(expires=-1),
        said(expires=253402300800),
        said(expires=1.5),
        said(connections={"udp": 1}),
        said(connections={"dot": -1}),
        said(connections={"dot": "1"}),
        said(handshakes=2**53),
        said(refused={"192.0.2.1": 1}),
        said(refused={"slow": -1}),
        said(refused={"slow": None}),
        said(client="192.0.2.1"),
        b'["number"]',
        b'{"number": NaN}',
        said(refused=["slow"]),
    ],
)
def test_a_report_that_is_none_is_malformed_and_no_word_of_it_is_said(body: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        edge_frames.as_report(body)
    assert "192" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_report_of_another_release_says_of_which_edge_and_no_word_else() -> None:
    """Whatever else such a release reports: here a key that this one does not know."""
    for other in (FRAMES - 1, FRAMES + 1):
        with pytest.raises(OtherRelease) as caught:
            edge_frames.as_report(said(number=3, frames=other, client="192.0.2.1"))
        assert str(caught.value) == f"edge 3 has frames of version {other}, the service {FRAMES}: restart that edge"


@pytest.mark.parametrize("changes", [{"frames": "1"}, {"frames": None}, {"frames": -1}, {"frames": 9, "number": "1"}])
def test_a_version_that_is_none_is_malformed(changes: dict[str, object]) -> None:
    with pytest.raises(Malformed) as caught:
        edge_frames.as_report(said(**changes, client="192.0.2.1"))
    assert type(caught.value) is Malformed


def test_a_report_that_is_none_is_not_written() -> None:
    with pytest.raises(ValueError, match="words that are none of ours"):
        edge_frames.report(Report(1, None, refused={"x": 1}))


@given(st.binary(max_size=200))
def test_whatever_comes_is_frames_or_malformed(octets: bytes) -> None:
    unread = bytearray(octets)
    try:
        found = edge_frames.take(unread)
    except Malformed:
        return
    whole = b"".join((1 + len(body)).to_bytes(4, "big") + bytes([kind]) + body for kind, body in found)
    assert whole + unread == octets
    for _, body in found:
        for read in (edge_frames.as_query, edge_frames.as_answer, edge_frames.as_report):
            try:
                read(body)
            except Malformed as error:
                assert str(error).startswith("a")  # noqa: PT017 - that it is raised is no fault here


@given(st.lists(st.tuples(NUMBERS, NUMBERS, MESSAGES | st.just(b"")), max_size=5), st.integers(0, 400))
def test_answers_together_are_those_one_by_one(said: list[tuple[int, int, bytes]], cut: int) -> None:
    octets = b"".join(edge_frames.answer(*one) for one in said)
    unread, found = bytearray(octets[:cut]), []
    found += edge_frames.answers(unread)
    assert len(unread) < edge_frames.MOST_OCTETS
    unread += octets[cut:]
    found += edge_frames.answers(unread)
    assert (found, bytes(unread)) == (said, b"")


@pytest.mark.parametrize(
    "octets",
    [
        edge_frames.query(1, codes.DOT, CLIENT, bytes(12)),
        edge_frames.answer(1, 0, bytes(12)) + edge_frames.report(REPORT),
        (8).to_bytes(4, "big") + b"A" + bytes(8),
        bytes(4),
        (20).to_bytes(4, "big") + b"A" + bytes(20),
        (65545).to_bytes(4, "big") + b"A" + bytes(8),
    ],
)
def test_among_answers_is_nothing_else(octets: bytes) -> None:
    with pytest.raises(Malformed):
        edge_frames.answers(bytearray(octets))


def test_an_edge_may_have_more_without_an_answer_than_may_wait_for_upstreams() -> None:
    # Four prefixes fill the loop's relay.
    assert edge_frames.MOST_UNANSWERED > MAX_WAITING + 4 * relay.SHARE
