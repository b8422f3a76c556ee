"""The answers of an edge whose queries come together: there at once, later, or empty; each with its number."""

import asyncio

import dns.message
import pytest

from resolver.core import codes
from resolver.query import edge_frames
from resolver.query.answer_edge import EdgeAnswers
from resolver.query.edge_frames import MAX_AGE_NONE, Answer
from resolver.query.transport import Transport
from tests.unit.query.parts import CLIENT, PAGE_V4, House, addresses, query, says, tables

LIST = (("listed.test",),)


def answered(octets: bytes) -> list[Answer]:
    """The answers in joined frames."""
    unread = bytearray(octets)
    found = [edge_frames.as_answer(body) for _, body in edge_frames.take(unread)]
    assert not unread
    return found


@pytest.mark.asyncio
async def test_what_a_list_says_is_there_at_once_and_what_an_upstream_says_comes_later() -> None:
    house = House(says(["free.test. 60 A 192.0.2.44"]), tables(1, LIST), seats=4)
    answers = EdgeAnswers(house.answer, house.lane, 4)
    names = ("listed.test", "free.test", "a.listed.test", "listed.test", "never.taken.test")
    sent = [query(name).to_wire() for name in names]
    octets = b"".join(edge_frames.query(at, codes.DOH, CLIENT, one) for at, one in enumerate(sent))
    taken = answers(octets, 9, 0)
    assert (taken.queries, taken.broken, len(taken.waiting)) == (4, False, 1)
    assert octets[taken.used :] == edge_frames.query(4, codes.DOH, CLIENT, sent[4])
    at_once = answered(taken.octets)
    assert [(one.number, one.max_age) for one in at_once] == [(at, MAX_AGE_NONE) for at in (0, 2, 3)]
    assert [addresses(dns.message.from_wire(one.message)) for one in at_once] == 3 * [[PAGE_V4]]
    [later] = await asyncio.gather(*taken.waiting)
    assert later is not None
    [found] = answered(later)
    assert (found.number, found.max_age, found.message[:2]) == (1, 60, sent[1][:2])
    assert addresses(dns.message.from_wire(found.message)) == ["192.0.2.44"]
    # It is kept now, for every transport.
    again = answers(edge_frames.query(2**32 - 1, codes.DOT, CLIENT, sent[1]), 1, 0)
    [kept] = answered(again.octets)
    assert (len(again.waiting), kept.number, kept.max_age) == (0, 2**32 - 1, 60)


@pytest.mark.asyncio
async def test_together_is_what_each_is_alone() -> None:
    alone, together = (House(says(["free.test. 60 A 192.0.2.44"]), tables(1, LIST), seats=3) for _ in range(2))
    sent = [query("listed.test", kind).to_wire() for kind in ("A", "AAAA", "TXT")]
    each = [alone.answer.answer(one, CLIENT, Transport.DOQ) for one in sent]
    octets = b"".join(edge_frames.query(at, codes.DOQ, CLIENT, one) for at, one in enumerate(sent))
    taken = EdgeAnswers(together.answer, together.lane, 3)(octets, 3, 0)
    assert [one.message for one in answered(taken.octets)] == each
    assert bytes(alone.counters) == bytes(together.counters)
    assert together.count("queries_total", "doq") == 3


@pytest.mark.asyncio
async def test_what_gets_no_answer_gets_an_empty_one_and_a_failure_gets_servfail() -> None:
    house = House(says(), tables(1, LIST), seats=4)
    house.upstream.failure = TimeoutError()
    octets = edge_frames.query(1, codes.DOT, CLIENT, b"\0\1\x80" + bytes(9))
    octets += edge_frames.query(2, codes.DOT, CLIENT, query("free.test").to_wire())
    taken = EdgeAnswers(house.answer, house.lane, 4)(octets, 4, 0)
    assert answered(taken.octets) == [Answer(1, MAX_AGE_NONE, b"")]
    [failed] = [answered(one or b"")[0] for one in await asyncio.gather(*taken.waiting)]
    assert (failed.number, failed.max_age) == (2, MAX_AGE_NONE)
    assert dns.message.from_wire(failed.message).rcode() == dns.rcode.SERVFAIL


@pytest.mark.asyncio
async def test_an_answer_that_is_asked_for_often_is_given_once_and_fetched_again() -> None:
    house = House(says(["free.test. 60 A 192.0.2.44"]), tables(1, LIST), seats=4)
    answers = EdgeAnswers(house.answer, house.lane, 4)
    await house.ask(query("free.test"))
    asked = query("free.test").to_wire()
    given = 0
    for second in range(59):
        house.now += 1
        frames = b"".join(edge_frames.query(at, codes.DOH, CLIENT, asked) for at in range(4))
        taken = answers(frames, 4, 0)
        assert [one.number for one in answered(taken.octets)] == [0, 1, 2, 3], second
        assert not taken.waiting
        given += 4
    assert given == 236
    assert house.upstream.refreshed
