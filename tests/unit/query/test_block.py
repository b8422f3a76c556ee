"""The verdict on a name, and the answer of the list that blocks it."""

from typing import Literal

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest

from resolver.core import codes, policy
from resolver.core.question import Question, parse
from resolver.query.block import Block
from resolver.query.query import Query
from resolver.query.respond import Respond
from resolver.query.transport import Transport
from tests.unit.query.parts import (
    CLIENT,
    EXEMPT,
    PAGE_V4,
    PAGE_V6,
    House,
    addresses,
    errors,
    query,
    reply_of,
    says,
    tables,
)

LIST = (("listed.test", "=only.test", "!free.listed.test"),)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "blocked"),
    [
        ("listed.test", True),
        ("a.listed.test", True),
        ("free.listed.test", False),
        ("a.free.listed.test", False),
        ("only.test", True),
        ("_8443._https.only.test", True),
        ("a.only.test", False),
        ("test", False),
        ("notlisted.test", False),
        (".", False),
    ],
)
async def test_which_names_a_list_blocks(name: str, blocked: bool) -> None:
    house = House(says(), tables(1, LIST))
    reply = await house.ask(query(name))
    assert (addresses(reply) == [PAGE_V4]) == blocked
    assert house.blocked() == blocked
    assert len(house.upstream.asked) == 1 - blocked


@pytest.mark.asyncio
async def test_a_page_is_an_address_of_the_family_asked_for_and_everything_else_has_nothing() -> None:
    house = House(says(), tables(1, LIST))
    for kind, page in (("A", [PAGE_V4]), ("AAAA", [PAGE_V6]), ("HTTPS", []), ("TXT", []), ("ANY", [])):
        reply = await house.ask(query("listed.test", kind))
        assert addresses(reply) == page
        assert reply.rcode() == dns.rcode.NOERROR
        assert errors(reply) == [codes.EDE_FORGED_ANSWER]
        assert reply.flags & dns.flags.RA
        for rrset in reply.answer + reply.authority:
            assert rrset.ttl <= 60
        soas = [rrset for rrset in reply.authority if rrset.rdtype == dns.rdatatype.SOA]
        assert len(soas) == (not page)
        assert all(soa[0].minimum == soa.ttl == 60 for soa in soas)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "name", "rcode"),
    [
        ("nodata", "a.listed.test", dns.rcode.NOERROR),
        ("nxdomain", "a.listed.test", dns.rcode.NOERROR),  # an exception lives below
        ("nxdomain", "only.test", dns.rcode.NOERROR),  # others may live below
        ("nxdomain", "a.whole.test", dns.rcode.NXDOMAIN),
    ],
)
async def test_lists_that_answer_without_a_page(answer: Literal["nodata", "nxdomain"], name: str, rcode: int) -> None:
    house = House(says(), tables(1, ((*LIST[0], "whole.test"),), answer=answer))
    reply = await house.ask(query(name))
    assert reply.rcode() == rcode
    assert reply.answer == []
    assert errors(reply) == [codes.EDE_CENSORED]


@pytest.mark.asyncio
async def test_what_is_blocked_tells_nothing_of_the_list_or_of_the_entry() -> None:
    """Two names of two lists by one kind of entry: the same octets but for the name."""
    house = House(says(), tables(1, (("aaaa.test",), ("bbbb.test",))))
    for kind in ("A", "TXT"):
        asked = query("aaaa.test", kind)
        other = query("bbbb.test", kind)
        other.id = asked.id
        first, second = await house.send(asked.to_wire()), await house.send(other.to_wire())
        assert first is not None
        assert first.replace(b"aaaa", b"bbbb") == second


@pytest.mark.asyncio
async def test_a_block_counts_a_query_and_one_attempt_a_minute() -> None:
    house = House(says(), tables(1, (("other.test",), LIST[0])))
    attempts = codes.list_counter(1, codes.ATTEMPTS)
    for kind in ("A", "AAAA", "HTTPS", "TXT"):
        await house.ask(query("listed.test", kind))
    assert (house.blocked(1), house.counters[attempts]) == (4, 1)
    await house.ask(query("listed.test"), EXEMPT)
    assert (house.blocked(1), house.counters[attempts]) == (5, 2)
    house.now += 60
    await house.ask(query("listed.test"))
    assert (house.blocked(1), house.counters[attempts]) == (6, 3)
    assert house.blocked(0) == 0
    assert house.count("answers_total", "NOERROR") == 6


@pytest.mark.asyncio
async def test_the_self_test_is_answered_and_not_counted() -> None:
    house = House(says(), tables(1, LIST))
    reply = await house.ask(query(f"{'s' * 26}.selftest.invalid"))
    assert addresses(reply) == [PAGE_V4]
    assert house.blocked() == 0


def test_a_block_that_cannot_be_written_is_servfail_and_not_counted() -> None:
    """A verdict of a list that is not in the generation: there are no replies to answer with."""
    house = House(says(), tables(1, LIST))
    packet = query("listed.test").to_wire()
    question = Question()
    parse(packet, len(packet), question)
    block = Block(house.tally, house.counters)
    asked = Query(packet, question, CLIENT, Transport.UDP, codes.ALL_LISTS, 1232)
    octets = block.answer(tables(1, LIST), asked, policy.Verdict(), 0.0, Respond(house.counters))
    assert octets is not None
    assert dns.message.from_wire(octets).rcode() == dns.rcode.SERVFAIL
    assert house.blocked() == 0
    assert house.count("failed_answers_total", "internal") == 1


@pytest.mark.asyncio
async def test_beyond_the_budget_a_block_is_refused_and_never_the_real_answer() -> None:
    names = [f"listed-{number}.test" for number in range(6)]
    house = House(says(["open.test. 300 A 198.51.100.7"]), tables(1, (names,), budget=3))
    replies = [await house.ask(query(name)) for name in names]
    assert [addresses(one) for one in replies] == [[PAGE_V4]] * 3 + [[]] * 3
    assert [one.rcode() for one in replies[3:]] == [dns.rcode.REFUSED] * 3
    assert [errors(one) for one in replies[3:]] == [[codes.EDE_PROHIBITED]] * 3
    assert house.upstream.asked == []
    assert (await house.ask(query("open.test"))).rcode() == dns.rcode.NOERROR
    assert addresses(await house.ask(query(names[0]))) == [PAGE_V4]
    assert addresses(await house.ask(query(names[5]), EXEMPT)) == [PAGE_V4]
    assert house.blocked() == 8
    assert house.counters[codes.list_counter(0, codes.REFUSED_BEYOND_BUDGET)] == 3


@pytest.mark.asyncio
async def test_names_that_lead_to_an_entry_use_up_the_budget_as_it_does() -> None:
    names = [f"listed-{number}.test" for number in range(3)]

    def leads(asked: dns.message.Message) -> dns.message.Message:
        target = asked.question[0].name.to_text().replace("alias", "listed")
        return reply_of(asked, [f"{asked.question[0].name} 300 CNAME {target}"])

    house = House(leads, tables(1, (names,), budget=2))
    replies = [await house.ask(query(f"alias-{number}.test")) for number in (0, 1, 2, 0)]
    assert [one.rcode() for one in replies] == [dns.rcode.NOERROR] * 2 + [dns.rcode.REFUSED, dns.rcode.NOERROR]
    assert all("listed" not in one.to_text() for one in replies)


@pytest.mark.asyncio
@pytest.mark.parametrize("over", [Transport.UDP, Transport.TCP])
@pytest.mark.parametrize(("flags", "rdclass"), [("", "IN"), ("RD", "CH"), ("RD", "HS"), ("RD", "ANY"), ("", "CH")])
async def test_what_is_never_looked_up_is_refused_whether_listed_or_not(
    flags: str, rdclass: str, over: Transport
) -> None:
    house = House(says(), tables(1, LIST))
    for kind in ("A", "TXT", "ANY"):
        listed, open_one = [
            await house.ask(query(name, kind, flags=flags, rdclass=dns.rdataclass.from_text(rdclass)), over=over)
            for name in ("listed.test", "unknown.test")
        ]
        assert listed.rcode() == open_one.rcode() == dns.rcode.REFUSED
        assert (listed.flags, errors(listed), listed.answer, listed.authority) == (
            open_one.flags,
            errors(open_one),
            [],
            [],
        )
    assert house.blocked() == 0
    assert house.upstream.asked == []
