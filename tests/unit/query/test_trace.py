"""A walk for an operator: the very answer a client would get, each step told, and nothing left behind."""

import dns.message
import pytest

from resolver.core import admit, codes
from resolver.core.lane import Tables
from resolver.core.reply import MAX_UDP_OCTETS
from resolver.core.scratch import Scratch
from resolver.query.forward import Overloaded, Unanswered
from resolver.query.trace import Trace, Walked
from tests.unit.query.parts import CLIENT, EXEMPT, PAGE_V4, STRANGER, House, access, query, reply_of, says, tables

LISTED = (("listed.test",),)
A = "open.test. 300 A 198.51.100.7"
QUERIES = {
    "open": (query("open.test"), CLIENT),
    "blocked": (query("a.listed.test"), CLIENT),
    "blocked type": (query("listed.test", "HTTPS", do=True), CLIENT),
    "stranger": (query("open.test"), STRANGER),
    "local": (query("www.localhost"), CLIENT),
    "any": (query("open.test", "ANY"), CLIENT),
    "no recursion": (query("open.test", flags=""), CLIENT),
    "transfer": (query("open.test", "AXFR"), CLIENT),
    "without edns": (query("open.test", edns=False), CLIENT),
}


def open_test(asked: dns.message.Message) -> dns.message.Message:
    return reply_of(asked, [f"{asked.question[0].name} 300 A 198.51.100.7"])


def trace_of(house: House, in_force: Tables | None = None) -> Trace:
    """A trace of a house, by tables of the same lists with buckets of their own."""
    made = (in_force or house.answer.tables).replaced(access=access())
    return trace_by(house, made)


def trace_by(house: House, made: Tables) -> Trace:
    return Trace(
        lambda: made,
        forward=house.upstream,
        clock=lambda: house.now,
        named="list-{}".format,
    )


async def walked(
    house: House, asked: dns.message.Message, client: bytes = CLIENT
) -> tuple[Walked, list[tuple[str, str]]]:
    """A walk, and its steps without their times."""
    done = await trace_of(house).walk(asked.to_wire(), client)
    return done, [(step, said) for step, said, _ in done.steps]


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", sorted(QUERIES))
async def test_the_reply_is_the_one_a_client_gets(kind: str) -> None:
    asked, client = QUERIES[kind]
    house, other = House(open_test, tables(1, LISTED)), House(open_test, tables(1, LISTED))
    done, steps = await walked(house, asked, client)
    assert done.reply == await other.send(asked.to_wire(), client)
    assert done.reply is not None
    assert len(done.reply) <= MAX_UDP_OCTETS
    assert steps


@pytest.mark.asyncio
async def test_steps_of_a_name_that_is_asked_for_upstream() -> None:
    house = House(open_test, tables(1, LISTED))
    _, steps = await walked(house, query("open.test"))
    assert steps == [
        ("client", "in listen.allow"),
        ("limiter", "below 0 queries a second"),
        ("scope", "1 of 1 lists in force judge this client"),
        ("lists", "not blocked"),
        ("cache", "nothing kept"),
        ("upstream", f"answered NOERROR, {len(says([A])(query('open.test')).to_wire())} octets"),
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", sorted(QUERIES))
async def test_nothing_is_counted_kept_or_marked(kind: str) -> None:
    asked, client = QUERIES[kind]
    house = House(open_test, tables(1, LISTED), stale_s=100)
    await house.ask(query("open.test"))
    before = bytes(house.counters), bytes(house.cache.memory.ring), bytes(house.cache.memory.index)
    done, _ = await walked(house, asked, client)
    assert done.reply
    assert (bytes(house.counters), bytes(house.cache.memory.ring), bytes(house.cache.memory.index)) == before
    assert house.blocked() == 0


@pytest.mark.asyncio
async def test_what_is_kept_is_told_with_its_time() -> None:
    house = House(open_test, tables(1, LISTED), stale_s=100)
    await house.ask(query("open.test"))
    house.now += 100
    assert ("cache", "kept 100 s ago, fresh for 200 s more") in (await walked(house, query("open.test")))[1]
    house.now += 250
    house.upstream.failure = Unanswered(codes.EDE_NETWORK_ERROR)
    done, steps = await walked(house, query("open.test"))
    assert ("cache", "stale for 50 s, given only if no upstream answers") in steps
    assert ("upstream", "no answer") in steps
    assert done.reply is not None
    assert len(dns.message.from_wire(done.reply).answer) == 1


@pytest.mark.asyncio
async def test_an_answer_that_another_form_has_is_told_and_not_kept_for_this_one() -> None:
    house = House(open_test, tables(1, LISTED), stale_s=3600)
    await house.ask(query("open.test", do=True))
    lent = ("cache", "the answer to the question with another DO or CD serves this one")
    for later, failure in ((0, None), (400, Unanswered(codes.EDE_NETWORK_ERROR))):
        house.now += later
        house.upstream.failure = failure
        before = bytes(house.cache.memory.ring), bytes(house.cache.memory.index)
        done, steps = await walked(house, query("open.test"))
        assert steps.count(lent) == steps.count(("cache", "nothing kept")) == 1
        assert (bytes(house.cache.memory.ring), bytes(house.cache.memory.index)) == before
        assert done.reply is not None
        assert len(dns.message.from_wire(done.reply).answer) == 1
    assert len(house.upstream.asked) == 2
    house.swap(tables(2, (("next.test",),)))
    house.upstream.failure, house.upstream.reply = None, says([A.replace("A 198.51.100.7", "CNAME next.test.")])
    await house.ask(query("open.test", do=True))
    assert lent not in (await walked(house, query("open.test")))[1], "what was blocked is not told"


@pytest.mark.asyncio
async def test_that_a_kept_answer_was_blocked_is_not_told() -> None:
    """It would say that somebody had asked."""
    house = House(
        says(["open.test. 300 CNAME listed.test.", "listed.test. 300 A 198.51.100.7"]), tables(1, LISTED)
    )
    before = await walked(house, query("open.test"))
    await house.ask(query("open.test"))
    after = await walked(house, query("open.test"))
    assert after[1] == before[1]
    assert ("reply", "leads to a name that is blocked by list-0") in after[1]
    assert after[0].reply is not None
    assert PAGE_V4 in dns.message.from_wire(after[0].reply).to_text()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (Overloaded(), "the maximum number of exchanges is in flight"),
        (TimeoutError(), "no answer in time"),
        (Unanswered(codes.EDE_NO_REACHABLE_AUTHORITY), "no answer"),
    ],
)
async def test_why_upstream_gave_nothing(failure: Exception, said: str) -> None:
    house = House(open_test, tables(1, LISTED))
    house.upstream.failure = failure
    assert (await walked(house, query("open.test")))[1][-1] == ("upstream", said)


@pytest.mark.asyncio
async def test_the_list_that_blocks_is_named_and_those_that_judge_are_counted() -> None:
    both = tables(1, (("listed.test",), ("other.test",)), exempt={0: "192.0.2.99/32"})
    house = House(open_test, both)
    made = house.answer.tables
    done = await Trace(
        lambda: made,
        forward=house.upstream,
        clock=lambda: house.now,
        named=("first", "second").__getitem__,
    ).walk(query("other.test").to_wire(), EXEMPT)
    assert ("lists", "blocked by second") in [step[:2] for step in done.steps]
    assert ("scope", "1 of 2 lists in force judge this client") in [step[:2] for step in done.steps]


@pytest.mark.asyncio
async def test_lists_that_are_not_there_yet_are_told() -> None:
    house = House(open_test, tables(1, LISTED, complete=False))
    assert (await walked(house, query("open.test")))[1][-1] == (
        "lists",
        "not all in force yet: only blocked names are answered",
    )


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("packet", "said"),
    [
        (b"\0" * 11, "not a query: no answer"),
        (query("open.test").to_wire() + b"\0", "malformed"),
        (b"\0\0\x29\0" + query("open.test").to_wire()[4:], "an opcode that is not served"),
    ],
    ids=["cut", "too-long", "opcode"],
)
async def test_what_is_no_query_of_ours(packet: bytes, said: str) -> None:
    house = House(open_test, tables(1, LISTED))
    done = await trace_of(house).walk(packet, CLIENT)
    assert done.steps[-1][:2] == ("question", said)


@pytest.mark.asyncio
async def test_a_client_past_its_limit_is_told_so_by_the_buckets_it_was_given() -> None:
    house = House(open_test, tables(1, LISTED, rate=1))
    limited = access(rate=1)
    while admit.admit(limited, CLIENT, False, int(house.now * 1000), Scratch()) == codes.ADMITTED:
        pass
    made = house.answer.tables.replaced(access=limited)
    trace = trace_by(house, made)
    done = await trace.walk(query("open.test").to_wire(), CLIENT)
    assert done.steps[-1][0] == "limiter"
