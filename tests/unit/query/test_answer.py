"""The order of the steps, told as stories: a listed name never gets the upstream's answer, however warm the cache."""

import asyncio
from collections.abc import Callable

import dns.flags
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.core import codes, policy, sketch
from resolver.core.lane import Tables
from resolver.core.siphash import digest_of
from resolver.query.forward import Overloaded, Unanswered
from resolver.query.transport import Transport
from tests.parity.cases import of
from tests.unit.query.parts import (
    CLIENT,
    EXEMPT,
    KEY,
    PAGE_V4,
    SOA,
    STRANGER,
    House,
    access,
    addresses,
    errors,
    generation,
    image_of,
    octets_of,
    query,
    reply_of,
    says,
    tables,
    tables_of,
    texts,
    until,
)

REAL = "198.51.100.7"
LISTED: tuple[tuple[str, ...], ...] = (("listed.test",),)
NOTHING: tuple[tuple[str, ...], ...] = ((),)
SPARED = {0: "192.0.2.99/32"}

# What upstream says when asked for open.test, and where the listed name stands in it.
WAYS_ROUND = {
    "cname": ["open.test. 300 CNAME listed.test.", "listed.test. 300 A " + REAL],
    "chain": [
        "open.test. 300 CNAME next.test.",
        "next.test. 300 CNAME deep.listed.test.",
        "deep.listed.test. 300 A " + REAL,
    ],
    "end of a chain": ["open.test. 300 CNAME listed.test."],
    "chain backwards": [
        "next.test. 300 CNAME deep.listed.test.",
        "deep.listed.test. 300 A " + REAL,
        "open.test. 300 CNAME next.test.",
    ],
    "dname": ["test. 300 DNAME listed.test.", "open.test. 300 CNAME open.listed.test."],
    "dname target": ["test. 300 DNAME listed.test."],
    "svcb": ["open.test. 300 SVCB 1 listed.test."],
    "https": ["open.test. 300 HTTPS 1 listed.test."],
}

# What upstream says and nobody asked for; the first record of the last is what was asked for.
UNASKED = {
    "owner": ["listed.test. 300 A " + REAL],
    "below": ["a.b.listed.test. 300 A " + REAL],
    "above": ["test. 300 A " + REAL],
    "dname elsewhere": ["test.example. 300 DNAME listed.test.", "www.test.example. 300 A " + REAL],
    "cname elsewhere": ["unasked.test. 300 CNAME listed.test.", "listed.test. 300 A " + REAL],
    "beside the answer": [
        "open.test. 300 A 198.51.100.1",
        "unasked.test. 300 CNAME listed.test.",
        "x.test. 300 A " + REAL,
    ],
}


def open_test(asked):
    """Upstream says this of every name."""
    return reply_of(asked, [f"{asked.question[0].name} 300 A {REAL}"])


def no_upstream(reply) -> bool:
    return REAL not in reply.to_text()


def broken(number: int) -> Tables:
    """Tables whose image ends after its header, so that every look into it fails."""
    whole = tables(number, LISTED)
    cut = policy.Member(image_of(LISTED[0])[:24], None, slot=0)
    return tables_of(policy.Generation(number, KEY, [cut]), whole.access)


@pytest.mark.asyncio
async def test_only_a_synthetic_name_is_answered_to_this_host_itself() -> None:
    own = tables(1, LISTED).replaced(own=(STRANGER,))
    house = House(open_test, own)
    assert await house.send(query("a.selftest.invalid").to_wire(), STRANGER)
    refused = errors(await house.ask(query("open.test"), STRANGER))
    zone = r"\008selftest\007invalid."
    for name in (f"a{zone}", f"a.b{zone}", "a.b.selftest.invalid.", "selftest.invalid."):
        reply = await house.ask(query(name), STRANGER)
        assert (reply.rcode(), errors(reply)) == (dns.rcode.REFUSED, refused), name
    assert not house.upstream.asked


@pytest.mark.asyncio
async def test_a_listed_name_is_blocked_before_anybody_is_asked() -> None:
    house = House(open_test, tables(1, LISTED))
    for kind in ("A", "AAAA", "HTTPS", "TXT", "ANY", "CNAME", "TYPE65280"):
        reply = await house.ask(query("WWW.Listed.TEST", kind))
        assert no_upstream(reply)
        assert not reply.flags & (dns.flags.AA | dns.flags.AD)
    assert house.upstream.asked == []
    assert house.blocked() == 7


@pytest.mark.asyncio
async def test_a_validator_gets_the_keys_above_a_name_that_is_not_blocked() -> None:
    lists = (("=own.test", "all.test", "holed.test", "!a.b.holed.test"),)
    ds = "1 13 2 " + "ab" * 32
    key = "257 3 13 " + "q" * 88

    def keys(asked):
        name, kind = asked.question[0].name, dns.rdatatype.to_text(asked.question[0].rdtype)
        data = {"DS": ds, "DNSKEY": key}.get(kind)
        return reply_of(asked, [f"{name} 300 {kind} {data}"] if data else [], ["test. 300 SOA " + SOA])

    house = House(keys, tables(1, lists))
    for kind in ("DS", "DNSKEY"):
        for name in ("own.test", "holed.test", "b.holed.test", "a.b.holed.test", "x.own.test"):
            for _ in range(2):
                reply = await house.ask(query(name, kind, do=True))
                assert [line.split()[3] for line in texts(reply)] == [kind], (name, kind)
                assert errors(reply) == []
        blocked = await house.ask(query("all.test", kind, do=True))
        assert (errors(blocked), blocked.answer) == ([codes.EDE_FORGED_ANSWER], [])
    assert (len(house.upstream.asked), house.blocked()) == (10, 2)
    # While a name is released, whatever stands above it.
    house.swap(tables_of(generation(2, lists, released=(("!www.all.test",),)), access()))
    reply = await house.ask(query("all.test", "DS", do=True))
    assert [line.split()[3] for line in texts(reply)] == ["DS"]
    assert addresses(await house.ask(query("all.test"))) == [PAGE_V4]


@pytest.mark.asyncio
async def test_an_answer_to_ds_leads_no_client_to_a_listed_name() -> None:
    ways = (["own.test. 300 CNAME open.test."], ["own.test. 300 A " + REAL], ["own.test. 300 HTTPS 1 open.test."])
    for lines in ways:
        house = House(says(lines), tables(1, (("=own.test",),)))
        for _ in range(2):
            reply = await house.ask(query("own.test", "DS"))
            assert (reply.answer, errors(reply)) == ([], [codes.EDE_FORGED_ANSWER]), lines


@pytest.mark.asyncio
async def test_block_comes_before_the_cache() -> None:
    """The answer is kept before the list comes in force, and is as fresh as can be after it."""
    house = House(open_test, tables(1, NOTHING))
    asked = query("listed.test")
    assert addresses(await house.ask(asked)) == [REAL]
    assert addresses(await house.ask(asked)) == [REAL]
    assert len(house.upstream.asked) == 1
    # The same number: what was kept looks as if it had been judged by this list.
    house.swap(tables(1, LISTED))
    reply = await house.ask(asked)
    assert addresses(reply) == [PAGE_V4]
    assert errors(reply) == [codes.EDE_FORGED_ANSWER]
    assert house.blocked() == 1
    house.swap(tables(3, NOTHING))
    assert addresses(await house.ask(asked)) == [REAL]
    assert len(house.upstream.asked) == 1


@pytest.mark.asyncio
async def test_a_block_takes_nothing_out_of_the_cache_and_puts_nothing_in() -> None:
    house = House(open_test, tables(1, LISTED))
    used = house.cache.used_bytes()
    await house.ask(query("listed.test"))
    assert house.cache.used_bytes() == used
    assert house.count("cache_answers_total", "miss") == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("way", WAYS_ROUND)
async def test_recheck_comes_before_keep_and_before_send(way: str) -> None:
    house = House(says(WAYS_ROUND[way], [f"test. 300 SOA {SOA}"]), tables(1, LISTED))
    for _ in range(3):
        reply = await house.ask(query("open.test"))
        assert addresses(reply) == [PAGE_V4]
        assert no_upstream(reply)
    assert house.blocked() == 3
    assert len(house.upstream.asked) == 1, "what was blocked is kept with its verdict"


@pytest.mark.asyncio
@pytest.mark.parametrize("lists", [LISTED, NOTHING], ids=["listed", "nothing listed"])
@pytest.mark.parametrize("way", UNASKED)
async def test_what_nobody_asked_for_reaches_nobody(way: str, lists: tuple[tuple[str, ...], ...]) -> None:
    house = House(says(UNASKED[way], [f"test. 300 SOA {SOA}"]), tables(1, lists))
    for _ in range(3):
        octets = await house.send(query("open.test").to_wire())
        reply = dns.message.from_wire(octets)
        assert addresses(reply) == (["198.51.100.1"] if way == "beside the answer" else [])
        assert [str(one.name) for one in reply.authority] == ["test."]
        assert b"listed" not in octets
        assert b"unasked" not in octets
        assert (reply.rcode(), errors(reply)) == (dns.rcode.NOERROR, [])
    assert (house.blocked(), len(house.upstream.asked)) == (0, 1)


@pytest.mark.asyncio
@pytest.mark.parametrize("way", WAYS_ROUND)
async def test_what_was_kept_before_the_list_is_judged_again(way: str) -> None:
    house = House(says(WAYS_ROUND[way], [f"test. 300 SOA {SOA}"]), tables(1, NOTHING))
    clean = await house.ask(query("open.test"))
    assert REAL in clean.to_text() or "listed.test" in clean.to_text()
    house.swap(tables(2, LISTED))
    for _ in range(2):
        assert addresses(await house.ask(query("open.test"))) == [PAGE_V4]
    house.swap(tables(3, NOTHING))
    for _ in range(2):
        assert texts(await house.ask(query("open.test"))) == texts(clean)
    house.swap(tables(4, LISTED))
    assert addresses(await house.ask(query("open.test"))) == [PAGE_V4]
    assert len(house.upstream.asked) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("answer", [[], *WAYS_ROUND.values()], ids=["nodata", *WAYS_ROUND])
async def test_a_list_that_comes_while_upstream_is_asked_holds(answer: list[str]) -> None:
    """The name itself, or what it leads to, is listed between the question and its answer."""
    name = "open.test" if answer else "listed.test"
    house = House(says(answer, [f"test. 300 SOA {SOA}"]), tables(1, NOTHING))
    house.upstream.hold()
    waiting = asyncio.ensure_future(house.ask(query(name)))
    await until(lambda: house.upstream.asked)
    house.swap(tables(2, LISTED))
    house.upstream.release()
    assert addresses(await waiting) == [PAGE_V4]
    assert addresses(await house.ask(query(name))) == [PAGE_V4]
    assert house.blocked() == 2


@pytest.mark.asyncio
async def test_a_list_that_goes_while_upstream_is_asked_leaves_no_gap() -> None:
    """Taken out (not lifted): the tables are incomplete, and what only that list could judge is not sent."""
    house = House(says(WAYS_ROUND["cname"]), tables(1, LISTED))
    house.upstream.hold()
    waiting = asyncio.ensure_future(house.ask(query("open.test")))
    await until(lambda: house.upstream.asked)
    house.swap(tables(2, NOTHING, complete=False))
    house.upstream.release()
    reply = await waiting
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert errors(reply) == [codes.EDE_NOT_READY]
    house.swap(tables(3, LISTED))
    assert addresses(await house.ask(query("open.test"))) == [PAGE_V4]


@pytest.mark.asyncio
async def test_who_loses_an_exemption_while_upstream_is_asked_is_judged_without_it() -> None:
    house = House(says(WAYS_ROUND["cname"]), tables(1, LISTED, exempt=SPARED))
    house.upstream.hold()
    waiting = asyncio.ensure_future(house.ask(query("open.test"), EXEMPT))
    await until(lambda: house.upstream.asked)
    house.swap(tables(2, LISTED))
    house.upstream.release()
    assert addresses(await waiting) == [PAGE_V4]


@pytest.mark.asyncio
async def test_a_verdict_that_fails_after_the_exchange_asks_and_never_passes() -> None:
    house = House(says([], [f"test. 300 SOA {SOA}"]), tables(1, NOTHING))
    house.upstream.hold()
    waiting = asyncio.ensure_future(house.ask(query("open.test")))
    await until(lambda: house.upstream.asked)
    house.swap(broken(2))
    house.upstream.release()
    reply = await waiting
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert house.count("failed_answers_total", "internal") == 1
    assert house.answer.errors() > 0


@pytest.mark.asyncio
async def test_a_verdict_that_fails_is_servfail_for_every_name() -> None:
    house = House(open_test, tables(1, NOTHING))
    await house.ask(query("open.test"))
    house.swap(broken(2))
    for name in ("listed.test", "open.test", "other.test"):
        reply = await house.ask(query(name))
        assert reply.rcode() == dns.rcode.SERVFAIL
        assert no_upstream(reply)
    assert house.answer.errors() == 3


SCOPED: dict[str, tuple[str, Callable]] = {
    "name": ("listed.test", open_test),
    **{way: ("open.test", says(answer)) for way, answer in WAYS_ROUND.items()},
}


@pytest.mark.asyncio
@pytest.mark.parametrize("way", SCOPED)
@pytest.mark.parametrize("first", ["exempt", "judged"])
async def test_a_client_that_a_list_spares_shares_the_cache_with_others_but_no_verdict(way: str, first: str) -> None:
    name, upstream = SCOPED[way]
    house = House(upstream, tables(1, LISTED, exempt=SPARED))
    for client in [EXEMPT, CLIENT, EXEMPT, CLIENT] if first == "exempt" else [CLIENT, EXEMPT, CLIENT, EXEMPT]:
        reply = await house.ask(query(name), client)
        assert (addresses(reply) == [PAGE_V4]) == (client == CLIENT)
        assert client == CLIENT or texts(reply)
    assert house.blocked() == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("order", [(EXEMPT, CLIENT), (CLIENT, EXEMPT)])
async def test_a_blocked_owner_in_additional_goes_for_all_whoever_asked_first(order: tuple[bytes, bytes]) -> None:
    house = House(says(["open.test. 300 MX 1 listed.test."], (), ["listed.test. 300 A " + REAL]), tables(1, LISTED))
    house.swap(tables(1, LISTED, exempt=SPARED))
    for client in order:
        reply = await house.ask(query("open.test", "MX"), client)
        assert reply.additional == []
        assert reply.answer
        assert reply.edns == 0, "OPT stays"
    assert house.blocked() == 0


@pytest.mark.asyncio
async def test_an_additional_owner_listed_later_goes_from_what_is_kept() -> None:
    house = House(says(["open.test. 300 MX 1 listed.test."], (), ["listed.test. 300 A " + REAL]), tables(1, NOTHING))
    asked = query("open.test", "MX")
    assert len((await house.ask(asked)).additional) == 1
    house.swap(tables(2, LISTED))
    for _ in range(2):
        reply = await house.ask(asked)
        assert reply.additional == []
        assert reply.answer
    house.swap(tables(3, NOTHING))
    assert len((await house.ask(asked)).additional) == 1, "the whole answer is still kept"
    assert len(house.upstream.asked) == 1


@pytest.mark.asyncio
async def test_two_lists_two_clients_each_is_judged_by_its_own() -> None:
    lists = (("first.test",), ("second.test",))
    spared = {0: "192.0.2.99/32", 1: "192.0.2.10/32"}
    house = House(
        says(["open.test. 300 CNAME second.test.", "second.test. 300 A " + REAL], (), ["first.test. 300 A " + REAL]),
        tables(1, lists, exempt=spared),
    )
    for _ in range(2):
        reply = await house.ask(query("open.test"), CLIENT)
        assert addresses(reply) == [REAL]
        assert reply.additional == [], "the first list judges this client, and owns what is there"
        assert addresses(await house.ask(query("open.test"), EXEMPT)) == [PAGE_V4]
    assert house.blocked(1) == 2


@pytest.mark.asyncio
async def test_who_is_no_client_is_refused_before_the_verdict_and_no_larger_than_the_query() -> None:
    house = House(open_test, tables(1, LISTED))
    for edns in (False, True):
        for name in ("listed.test", "open.test"):
            packet = query(name, edns=edns).to_wire()
            for over in (Transport.UDP, Transport.TCP):
                reply = await house.send(packet, STRANGER, over=over)
                assert reply is not None
                assert len(reply) <= len(packet)
                assert reply[3] & 15 == dns.rcode.REFUSED
    assert house.blocked() == 0
    assert house.upstream.asked == []


@pytest.mark.asyncio
async def test_no_list_yet_is_servfail_for_the_unlisted_and_a_block_for_the_listed() -> None:
    house = House(open_test, tables(1, LISTED, complete=False))
    assert addresses(await house.ask(query("listed.test"))) == [PAGE_V4]
    reply = await house.ask(query("open.test"))
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert errors(reply) == [codes.EDE_NOT_READY]
    assert house.count("failed_answers_total", "not_ready") == 1
    assert house.upstream.asked == []


@pytest.mark.asyncio
async def test_without_rd_a_name_is_refused_even_when_kept_and_nobody_can_tell_it_is_listed() -> None:
    house = House(open_test, tables(1, LISTED))
    await house.ask(query("open.test"))
    reply = await house.ask(query("open.test", flags=""))
    assert reply.rcode() == dns.rcode.REFUSED
    assert errors(reply) == [codes.EDE_NOT_AUTHORITATIVE]
    assert no_upstream(reply)
    reply = await house.ask(query("listed.test", flags=""))
    assert (reply.rcode(), errors(reply)) == (dns.rcode.REFUSED, [codes.EDE_NOT_AUTHORITATIVE])
    assert house.blocked() == 0
    assert house.count("cache_answers_total", "positive") == 0


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("failure", "ede", "reason"),
    [
        (Overloaded(), codes.EDE_OTHER, "overload"),
        (Unanswered(codes.EDE_NO_REACHABLE_AUTHORITY), codes.EDE_NO_REACHABLE_AUTHORITY, "upstream"),
        (RuntimeError("not foreseen"), codes.EDE_OTHER, "internal"),
    ],
)
async def test_an_exchange_that_fails_is_servfail_and_counted(failure: Exception, ede: int, reason: str) -> None:
    house = House(open_test, tables(1, LISTED))
    house.upstream.failure = failure
    reply = await house.ask(query("open.test"))
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert errors(reply) == [ede]
    assert house.count("failed_answers_total", reason) == 1
    assert house.answer.in_flight == 0


@pytest.mark.asyncio
async def test_where_no_server_is_up_a_stale_answer_is_given_at_once_and_nobody_is_asked() -> None:
    house = House(open_test, tables(1, LISTED), stale_s=3600)
    await house.ask(query("open.test"))
    house.now += 301
    house.upstream.hold()
    house.upstream.up = False
    for _ in range(3):
        reply = await house.ask(query("open.test"))
        assert (addresses(reply), errors(reply)) == ([REAL], [codes.EDE_STALE_ANSWER])
    assert (len(house.upstream.asked), house.answer.in_flight) == (1, 0)
    house.swap(tables(2, (("open.test",),)))
    assert addresses(await house.ask(query("open.test"))) == [PAGE_V4], "it is judged as any other"
    house.swap(tables(3, LISTED))
    house.upstream.up = True
    house.upstream.release()
    reply = await house.ask(query("open.test"))
    assert (reply.answer[0].ttl, errors(reply)) == (300, [])
    assert len(house.upstream.asked) == 2


@pytest.mark.asyncio
async def test_without_a_stale_answer_a_server_that_is_out_is_asked_nevertheless() -> None:
    house = House(open_test, tables(1, LISTED), stale_s=3600)
    house.upstream.up = False
    assert addresses(await house.ask(query("open.test"))) == [REAL]


@pytest.mark.asyncio
@pytest.mark.parametrize("stale_s", [0, 3600])
@pytest.mark.parametrize("listed", [False, True])
async def test_an_answer_that_comes_after_its_exchange_failed_replaces_the_failure(stale_s: int, listed: bool) -> None:
    """The outcome is called again; the lists that are in force then judge the answer."""
    house = House(open_test, tables(1, LISTED), stale_s=stale_s)
    if stale_s:
        await house.ask(query("open.test"))
        house.now += 301
    outcomes: list[Callable] = []
    exchange = house.upstream.exchange

    async def silent(packet, question, digest, outcome, patience_s=None, client=CLIENT, handed=None):
        outcomes.append(outcome)
        house.upstream.failure = Unanswered(codes.EDE_NETWORK_ERROR)
        return await exchange(packet, question, digest, outcome, patience_s, client)

    house.upstream.exchange = silent
    for _ in range(2):
        reply = await house.ask(query("open.test"))
        assert reply.rcode() == (dns.rcode.NOERROR if stale_s else dns.rcode.SERVFAIL)
    assert len(outcomes) == 1, "that it failed is kept"
    house.swap(tables(2, (("next.test",),) if listed else LISTED))
    late = reply_of(query("open.test"), ["open.test. 300 CNAME next.test.", "next.test. 300 A " + REAL])
    outcomes[0](late.to_wire())
    reply = await house.ask(query("open.test"))
    assert (addresses(reply), len(outcomes)) == ([PAGE_V4] if listed else [REAL], 1)
    assert reply.answer[0].ttl == (60 if listed else 300)
    outcomes[0](Unanswered(codes.EDE_NETWORK_ERROR))
    assert len(addresses(await house.ask(query("open.test")))) == 1, "and no failure replaces it"


@pytest.mark.asyncio
@pytest.mark.parametrize("cut", [11, 12, 30, -1])
async def test_a_reply_that_does_not_parse_to_its_end_is_servfail(cut: int) -> None:
    house = House(lambda asked: open_test(asked).to_wire()[:cut], tables(1, LISTED))
    for _ in range(2):
        reply = await house.ask(query("open.test"))
        assert reply.rcode() == dns.rcode.SERVFAIL
        assert errors(reply) == [codes.EDE_INVALID_DATA]
    assert len(house.upstream.asked) == 1, "that it failed is kept, for seconds"
    assert house.count("failed_answers_total", "malformed_reply") == 1
    assert house.count("failed_answers_total", "upstream") == 1
    house.now += 2
    assert (await house.ask(query("open.test"))).rcode() == dns.rcode.SERVFAIL
    assert house.count("failed_answers_total", "malformed_reply") == 2
    assert len(house.upstream.asked) == 2, "what did not parse is never given"


@pytest.mark.asyncio
async def test_queries_in_flight_are_told_and_forgotten() -> None:
    house = House(open_test, tables(1, LISTED))
    for turn in range(3):
        house.upstream.asked.clear()
        house.upstream.hold()
        names = [f"{'x' * n}{turn}.test." for n in range(5)]
        waiting = [asyncio.ensure_future(house.ask(query(name))) for name in names]
        await until(lambda: len(house.upstream.asked) == 5)
        assert house.answer.in_flight == 5
        house.upstream.release()
        # Each has its own answer: what was read from one query does not reach another's reply.
        for name, reply in zip(names, await asyncio.gather(*waiting), strict=True):
            assert str(reply.question[0].name) == str(reply.answer[0].name) == name
        assert house.answer.in_flight == 0


@pytest.mark.asyncio
async def test_the_letters_of_the_question_come_back_as_they_were_asked_fresh_kept_and_blocked() -> None:
    house = House(says(["oPen.test. 300 A " + REAL]), tables(1, LISTED))
    for name in ("oPEn.tesT", "OPEN.test", "LIStED.test"):
        reply = await house.ask(query(name))
        assert reply.question[0].name.to_text() == name + "."
    assert len(house.upstream.asked) == 1


def any_reply(asked):
    """Upstream is honest, so that whatever goes wrong is ours."""
    return reply_of(asked, [f"{asked.question[0].name} 300 TXT {'x' * 200}"] if asked.question else [])


HEADS = st.builds(
    lambda head, rest: head + rest,
    st.sampled_from([query("open.test").to_wire(), query("listed.test", edns=False).to_wire()]),
    st.binary(max_size=40),
)
DAMAGED = st.builds(
    lambda packet, at, octets: packet[: at % len(packet)] + octets + packet[at % len(packet) + len(octets) :],
    st.sampled_from([query("open.test", do=True).to_wire(), query("a.listed.test").to_wire()]),
    st.integers(min_value=0, max_value=200),
    st.binary(min_size=1, max_size=4),
)


@of(0.05)
@given(
    packet=st.one_of(st.binary(max_size=600), HEADS, DAMAGED),
    over=st.sampled_from((Transport.UDP, Transport.TCP)),
    ours=st.booleans(),
)
def test_any_octets_get_at_most_one_answer_no_larger_than_allowed(packet: bytes, over: Transport, ours: bool) -> None:
    async def story() -> None:
        house = House(any_reply, tables(1, LISTED))
        try:
            reply = await house.send(packet, CLIENT if ours else STRANGER, over=over)
        finally:
            assert house.count("failed_answers_total", "internal") == 0
        if len(packet) < 12 or packet[2] & 0x80:
            assert reply is None
            return
        assert reply is not None
        assert reply[:2] == packet[:2]
        assert reply[2] & 0x80
        assert over.is_stream or len(reply) <= 1232
        assert ours or len(reply) <= max(12, len(packet))
        if reply[5]:
            end = 12 + packet[12:].index(0) + 5
            assert reply[12:end] == packet[12:end]

    asyncio.run(story())


@pytest.mark.asyncio
async def test_a_notice_is_answered_by_whoever_takes_it_and_is_not_implemented_else() -> None:
    house = House(open_test, tables(1, LISTED))
    notice = query("rpz.example", "SOA", edns=False)
    notice.set_opcode(dns.opcode.NOTIFY)
    packet = notice.to_wire()
    assert await house.send(packet, CLIENT) == packet[:2] + b"\xa1\x84" + bytes(8)
    heard: list[tuple[bytes, bytes]] = []

    def notified(packet: bytes, client: bytes) -> bytes | None:
        heard.append((packet, client))
        return b"\0\1\xa4\0" + bytes(8) if client == STRANGER else None

    house.answer.notified = notified
    assert await house.send(packet, STRANGER) == b"\0\1\xa4\0" + bytes(8)
    assert await house.send(packet, CLIENT) == packet[:2] + b"\xa1\x84" + bytes(8)
    assert heard == [(packet, STRANGER), (packet, CLIENT)]
    assert house.count("answers_total", "NOERROR") == 1
    await house.ask(query("open.test"))
    await house.send(query("open.test").to_wire(), STRANGER)
    assert len(heard) == 2


@pytest.mark.asyncio
async def test_lists_are_judged_by_what_passes_and_is_answered_from_cache_or_upstream() -> None:
    """For the judgement of a new list: not what is blocked, refused or local, nor what strangers ask."""
    house = House(open_test, tables(1, LISTED))
    clients = [bytes(10) + b"\xff\xff" + bytes([192, 0, 2, number]) for number in range(1, 31)]
    for client in clients:
        for name in ("www.open.test", "www.open.test", "www.listed.test", "a.selftest.invalid"):
            await house.ask(query(name), client)
        await house.ask(query("norecursion.test", flags=""), client)
        await house.ask(query("stranger.test"), STRANGER)
        house.now += 1
    noted = {digest_of(KEY, octets_of(name)) for name in ("www.open.test", "open.test")}
    assert sketch.popular(house.asked, 0.0, 20.0) == noted
    assert len(house.upstream.asked) == 1


async def resumed(house: House, packet: bytes, outcome: int, found: int = 0) -> bytes | None:
    """What becomes of a query that another thread has taken."""
    said = house.answer.resume(packet, CLIENT, Transport.UDP, outcome, found)
    return said if said is None or isinstance(said, bytes) else await said


@pytest.mark.asyncio
async def test_a_query_that_another_thread_took_is_forwarded_and_not_counted_again() -> None:
    house = House(open_test, tables(1, LISTED, rate=1))
    packet = query("open.test").to_wire()
    for number in range(3):
        octets = await resumed(house, packet, codes.OUTCOME_FORWARD, 0)
        assert octets is not None
        assert addresses(dns.message.from_wire(octets)) == [REAL], number
    assert len(house.upstream.asked) == 1, "what was kept meanwhile is given"
    assert house.count("queries_total", "udp") == house.count("packets_dropped_total", "rate_limit") == 0
    house.swap(tables(2, (("open.test",),)))
    octets = await resumed(house, packet, codes.OUTCOME_FORWARD, 0)
    assert octets is not None
    assert addresses(dns.message.from_wire(octets)) == [PAGE_V4], "lists have come meanwhile"
    assert house.blocked() == 1


@pytest.mark.asyncio
async def test_what_another_thread_has_answered_is_only_fetched_again() -> None:
    house = House(open_test, tables(1, LISTED))
    assert await resumed(house, query("open.test").to_wire(), codes.OUTCOME_REPLY) is None
    assert [str(one.question[0].name) for one in house.upstream.refreshed] == ["open.test."]
    assert addresses(await house.ask(query("open.test"))) == [REAL]
    assert house.upstream.asked == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("found", "rcode"),
    [(codes.ADMITTED, dns.rcode.NOTIMP), (codes.NOT_A_CLIENT, dns.rcode.REFUSED), (-1, dns.rcode.SERVFAIL)],
)
async def test_what_another_thread_asks_is_a_notify_or_an_error(found: int, rcode: int) -> None:
    house = House(open_test, tables(1, LISTED))
    notice = query("rpz.example", "SOA", edns=False)
    notice.set_opcode(dns.opcode.NOTIFY)
    octets = await resumed(house, notice.to_wire(), codes.OUTCOME_ASK, found)
    assert octets is not None
    assert octets[3] & 15 == rcode
    house.answer.notified = lambda packet, client: packet[:2] + b"\xa4\0" + bytes(8)
    octets = await resumed(house, notice.to_wire(), codes.OUTCOME_ASK, found)
    assert octets is not None
    assert octets[3] & 15 == (rcode if found < 0 else dns.rcode.NOERROR), "nobody is asked what an error was about"
