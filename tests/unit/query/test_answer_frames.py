"""The answers of a TCP connection whose queries come together: there at once, later, or never."""

import asyncio

import dns.message
import pytest

from resolver.query.answer_frames import FramedAnswers
from resolver.query.transport import Transport, framed
from tests.unit.query.parts import CLIENT, PAGE_V4, House, addresses, query, says, tables

LIST = (("listed.test",),)


def unframed(octets: bytes) -> list[dns.message.Message]:
    """The messages of a stream."""
    found = []
    while octets:
        size = int.from_bytes(octets[:2], "big")
        found.append(dns.message.from_wire(octets[2 : 2 + size]))
        octets = octets[2 + size :]
    return found


@pytest.mark.asyncio
async def test_what_a_list_says_is_there_at_once_and_what_an_upstream_says_comes_later() -> None:
    house = House(says(["free.test. 60 A 192.0.2.44"]), tables(1, LIST), seats=4)
    answers = FramedAnswers(house.answer, house.lane, 4)
    sent = [query(name) for name in ("listed.test", "free.test", "a.listed.test", "listed.test", "never.taken.test")]
    octets = b"".join(framed(one.to_wire()) for one in sent)
    taken = answers(octets, CLIENT, 9)
    assert (taken.queries, taken.broken, len(taken.waiting)) == (4, False, 1)
    assert octets[taken.used :] == framed(sent[4].to_wire())
    at_once = unframed(taken.octets)
    assert [one.id for one in at_once] == [sent[0].id, sent[2].id, sent[3].id]
    assert [addresses(one) for one in at_once] == 3 * [[PAGE_V4]]
    [later] = await asyncio.gather(*taken.waiting)
    assert later is not None
    assert dns.message.from_wire(later).id == sent[1].id
    assert addresses(dns.message.from_wire(later)) == ["192.0.2.44"]
    # It is kept now.
    again = answers(framed(sent[1].to_wire()), CLIENT, 1)
    assert (len(again.waiting), addresses(unframed(again.octets)[0])) == (0, ["192.0.2.44"])


@pytest.mark.asyncio
async def test_together_is_what_each_is_alone() -> None:
    alone, together = (House(says(["free.test. 60 A 192.0.2.44"]), tables(1, LIST), seats=3) for _ in range(2))
    sent = [query("listed.test", kind).to_wire() for kind in ("A", "AAAA", "TXT")]
    each = [alone.answer.answer(one, CLIENT, Transport.TCP) for one in sent]
    taken = FramedAnswers(together.answer, together.lane, 3)(b"".join(map(framed, sent)), CLIENT, 3)
    assert taken.octets == b"".join(framed(one) for one in each if isinstance(one, bytes))
    assert bytes(alone.counters) == bytes(together.counters)
