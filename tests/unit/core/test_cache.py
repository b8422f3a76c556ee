"""What is kept, under which key and for how long."""

import itertools

import dns.flags
import dns.message
import dns.rcode
import pytest

from resolver.config.values import address_octets
from resolver.core import codes, steps, store
from resolver.core.cache import SHARE, key_bits
from resolver.core.judgement import Judgement
from resolver.core.lane import Seat
from resolver.core.question import Question, parse
from resolver.query.answer import PATIENCE_S
from resolver.query.forward import Unanswered
from tests.unit.query.parts import (
    CLIENT,
    EXEMPT,
    SOA,
    House,
    access,
    errors,
    generation,
    query,
    reply_of,
    says,
    tables,
    tables_of,
)

SPARED = address_octets("192.0.2.77")

A = "open.test. 300 A 198.51.100.7"
CNAME = "open.test. 300 CNAME next.test."


def house_of(reply) -> House:
    """A house with an empty list."""
    return House(reply, tables(1))


async def kept_for(house: House, name: str = "open.test", kind: str = "A", most: int = 100_000) -> int:
    """How many seconds a second query does not reach upstream, by bisection over fresh houses' clocks."""
    start = house.now
    await house.ask(query(name, kind))
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        house.now = start + middle
        asked = len(house.upstream.asked)
        # A look that asks nobody: RD clear would be refused, so look in the cache itself.
        if look(house, query(name, kind)):
            low = middle + 1
        else:
            high = middle
        assert len(house.upstream.asked) == asked
    return low


def look(house: House, asked: dns.message.Message) -> int:
    """Whether an answer is kept, FRESH, STALE or NOTHING; no hit is marked, and `house.seen` describes it."""
    question = question_of(asked)
    form, memory, scratch = key_bits(question), house.cache.memory, house.lane.scratch
    store.set_key(memory, question, form, scratch)
    found: int = store.peek(memory, *scratch.key, int(house.now), house.seen)
    return found


WAYS = [
    {"edns": edns, "do": do, "flags": " ".join(flags)}
    for edns, do in ((False, False), (True, False), (True, True))
    for flags in (("RD",), ("RD", "CD"), ("RD", "AD"), ("RD", "CD", "AD"))
]


@pytest.mark.asyncio
async def test_queries_that_differ_in_do_or_cd_have_each_their_answer_and_all_others_share() -> None:
    """Upstream answers each exchange by another address; whoever asks with the same DO and CD gets that one, always."""
    counter = itertools.count(1)
    house = house_of(lambda asked: reply_of(asked, [f"open.test. 300 A 198.51.100.{next(counter)}"]))
    said = [
        [(await house.ask(query(name, **way))).answer[0][0].address for way in WAYS]
        for name in ("open.test", "OPEN.test")
    ]
    assert said[0] == said[1]
    by_key: dict[tuple[bool, bool], set[str]] = {}
    for way, address in zip(WAYS, said[0], strict=True):
        by_key.setdefault((bool(way["do"]), "CD" in str(way["flags"])), set()).add(address)
    assert sorted(len(addresses) for addresses in by_key.values()) == [1, 1, 1, 1]
    assert len(set(said[0])) == len(house.upstream.asked) == 4


@pytest.mark.asyncio
async def test_each_form_gets_the_kept_answer_in_its_own_shape() -> None:
    """AD only for who understands it, OPT only for who sent one, whoever asked first."""
    for first in WAYS:
        house = house_of(says([A], flags="AD"))
        await house.ask(query("open.test", **first))
        for way in WAYS:
            reply = await house.ask(query("open.test", **way))
            assert reply.answer[0][0].address == "198.51.100.7", (first, way)
            assert bool(reply.flags & dns.flags.AD) == (way["do"] or "AD" in way["flags"]), (first, way)
            assert (reply.edns >= 0) == way["edns"], (first, way)
            assert bool(reply.ednsflags & dns.flags.DO) == way["do"], (first, way)
            assert bool(reply.flags & dns.flags.CD) == ("CD" in way["flags"]), (first, way)
        assert len(house.upstream.asked) <= 4, first


SIGNATURE = "open.test. 300 RRSIG A 8 2 300 20300101000000 20200101000000 1 test. AAAA"
FORMS = {
    "plain": {"edns": False},
    "AD": {"edns": False, "flags": "RD AD"},
    "EDNS": {},
    "EDNS+AD": {"flags": "RD AD"},
    "DO": {"do": True},
    "DO+CD": {"do": True, "flags": "RD CD"},
    "CD": {"flags": "RD CD"},
}


def signed(flags: str = "", ttl: int = 300):
    """An upstream whose names are signed; flags: set in each reply."""

    def reply(asked: dns.message.Message) -> dns.message.Message:
        with_do = bool(asked.ednsflags & dns.flags.DO)
        made = reply_of(asked, [A.replace("300", str(ttl)), *([SIGNATURE] * with_do)], ["test. 300 NS ns.test."])
        if not asked.flags & dns.flags.CD:
            made.flags |= dns.flags.from_text(flags)
        return made

    return reply


@pytest.mark.asyncio
@pytest.mark.parametrize("cd", ["", " CD"])
async def test_a_fresh_answer_with_do_serves_who_asks_without(cd: str) -> None:
    house = house_of(signed("AD"))
    await house.ask(query("open.test", do=True, flags="RD" + cd))
    house.now += 100
    for way in ({"edns": False}, {}, {"flags": "AD"}):
        flags = f"RD {way.pop('flags', '')}{cd}"
        reply = await house.ask(query("open.test", flags=flags, **way))
        assert [rrset.to_text() for rrset in reply.answer] == ["open.test. 200 IN A 198.51.100.7"]
        assert bool(reply.flags & dns.flags.AD) == ("AD" in flags and not cd)
    assert len(house.upstream.asked) == 1
    other = "RD" if cd else "RD CD"
    await house.ask(query("open.test", flags=other))
    await house.ask(query("open.test", do=True, flags=other))
    assert len(house.upstream.asked) == 3, "and nobody with another CD"
    house.now += 200
    await house.ask(query("open.test", flags="RD" + cd))
    assert len(house.upstream.asked) == 4, "it is as old as the answer that it was cut from"


# By who asked first: who gets the stale answer when nobody answers. A DO answer has its signatures; a plain one has
# none, and serves DO only where the upstream did not say that the name is signed.
ALL = set(FORMS)
STALE_FOR = {
    ("plain", ""): ALL,
    ("plain", "AD"): ALL - {"DO", "DO+CD"},
    ("EDNS+AD", "AD"): ALL - {"DO", "DO+CD"},
    ("DO", ""): ALL,
    ("DO", "AD"): ALL,
    ("CD", ""): {"CD"},
    ("DO+CD", ""): {"CD", "DO+CD"},
}


@pytest.mark.asyncio
@pytest.mark.parametrize("up", [True, False], ids=["silent", "out"])
@pytest.mark.parametrize(("first", "flags"), STALE_FOR)
async def test_a_stale_answer_serves_every_form_it_is_right_for(first: str, flags: str, up: bool) -> None:
    for form, way in FORMS.items():
        house = House(signed(flags), tables(1), stale_s=3600)
        await house.ask(query("open.test", **FORMS[first]))
        house.now += 301
        house.upstream.failure = Unanswered(codes.EDE_NETWORK_ERROR)
        house.upstream.up = up
        for turn in range(3):
            reply = await house.ask(query("open.test", **way))
            if form not in STALE_FOR[first, flags]:
                assert (reply.rcode(), reply.answer) == (dns.rcode.SERVFAIL, []), form
                continue
            assert reply.answer[0].to_text() == "open.test. 30 IN A 198.51.100.7", form
            assert len(reply.answer) == 1 + ("DO" in first and "DO" in form), (form, turn)
            assert not reply.authority or "RRSIG" not in reply.to_text() or "DO" in form
            assert errors(reply) == ([codes.EDE_STALE_ANSWER] if reply.edns >= 0 else [])
            assert bool(reply.flags & dns.flags.AD) == (flags == "AD" and ("AD" in form or "DO" in form))
        assert len(house.upstream.asked) == 1 + (up or form not in STALE_FOR[first, flags]), form


@pytest.mark.asyncio
@pytest.mark.parametrize(("first", "then"), [("plain", "DO"), ("plain", "CD"), ("DO", "DO+CD")])
async def test_what_serves_only_while_nobody_answers_does_so_no_longer(first: str, then: str) -> None:
    """Fresh for its own form, an answer is stale for the one that it is lent to."""
    house = House(signed(), tables(1), stale_s=3600)
    await house.ask(query("open.test", **FORMS[first]))
    house.now += 100
    house.upstream.failure = Unanswered(codes.EDE_NETWORK_ERROR)
    for _ in range(2):
        reply = await house.ask(query("open.test", **FORMS[then]))
        assert (errors(reply), reply.answer[0].ttl) == ([codes.EDE_STALE_ANSWER], 30)
    assert len(house.upstream.asked) == 2
    house.upstream.failure = None
    house.now += 2
    reply = await house.ask(query("open.test", **FORMS[then]))
    assert (errors(reply), reply.answer[0].ttl, len(reply.answer)) == ([], 300, 1 + ("DO" in then))
    house.now += 100
    reply = await house.ask(query("open.test", **FORMS[first]))
    assert (reply.answer[0].ttl, len(reply.answer)) == (98, 1 + ("DO" in first))


@pytest.mark.asyncio
async def test_where_stale_is_off_a_failure_stays_one() -> None:
    house = House(signed(), tables(1), stale_s=0)
    await house.ask(query("open.test"))
    house.upstream.failure = Unanswered(codes.EDE_NETWORK_ERROR)
    for _ in range(3):
        reply = await house.ask(query("open.test", do=True))
        assert (reply.rcode(), reply.answer) == (dns.rcode.SERVFAIL, [])
    assert len(house.upstream.asked) == 2


@pytest.mark.asyncio
async def test_a_stale_answer_by_another_form_waits_for_the_upstream_as_its_own_would() -> None:
    house = House(signed(), tables(1), stale_s=3600)
    await house.ask(query("open.test", do=True))
    house.now += 301
    house.upstream.out_of_patience = True
    reply = await house.ask(query("open.test"))
    assert (house.upstream.patience_s, errors(reply)) == (PATIENCE_S, [codes.EDE_STALE_ANSWER])
    house.upstream.out_of_patience = False
    house.now += 3
    reply = await house.ask(query("open.test"))
    assert (reply.answer[0].ttl, errors(reply)) == (300, [])


@pytest.mark.asyncio
async def test_a_lent_answer_is_judged_like_any_other() -> None:
    house = House(signed(), tables(1), stale_s=3600)
    await house.ask(query("open.test", do=True))
    house.swap(tables(2, (("open.test",),)))
    assert (await house.ask(query("open.test"))).answer[0][0].address == "192.0.2.1"
    house = House(
        lambda asked: reply_of(asked, ["open.test. 300 CNAME listed.test.", "listed.test. 300 A 198.51.100.7"]),
        tables(1),
        stale_s=3600,
    )
    await house.ask(query("open.test", do=True))
    house.swap(tables(2, (("listed.test",),)))
    for later in (10, 400):
        house.now += later
        house.upstream.up = False
        assert (await house.ask(query("open.test"))).answer[0][0].address == "192.0.2.1"
    assert len(house.upstream.asked) == 1


@pytest.mark.asyncio
async def test_a_record_of_no_ttl_beside_the_answer_is_given_with_none_fresh_kept_and_stale() -> None:
    house = House(says([A], ["test. 0 NS ns.test."], ["ns.test. 0 A 198.51.100.8"]), tables(1), stale_s=3600)
    for later, ttl in ((0, 300), (100, 200), (300, 30)):
        house.now += later
        house.upstream.up = later < 300
        reply = await house.ask(query("open.test"))
        assert [one[0].ttl for one in (reply.answer, reply.authority, reply.additional)] == [ttl, 0, 0]
    assert len(house.upstream.asked) == 1


@pytest.mark.asyncio
async def test_an_alias_alone_is_kept_and_judged_again() -> None:
    house = House(says([CNAME]), tables(1))
    for _ in range(2):
        reply = await house.ask(query("open.test"))
        assert [one.to_text() for one in reply.answer] == ["open.test. 300 IN CNAME next.test."]
    assert (len(house.upstream.asked), house.count("cache_answers_total", "positive")) == (1, 1)
    house.swap(tables(2, (("next.test",),)))
    assert (await house.ask(query("open.test"))).answer[0][0].address == "192.0.2.1"
    assert len(house.upstream.asked) == 1


@pytest.mark.asyncio
async def test_kept_addresses_take_turns_by_the_querys_id_unless_that_is_off() -> None:
    lines = [f"open.test. 300 A 198.51.100.{n}" for n in range(1, 4)]
    house = house_of(says(lines))
    fresh = [one.address for one in (await house.ask(query("open.test"))).answer[0]]
    for rotate, firsts in ((True, {*fresh}), (False, {fresh[0]})):
        house.swap(tables(1).replaced(rotate=rotate))
        seen = set()
        for number in range(12):
            asked = query("open.test")
            asked.id = number
            order = [one.address for one in (await house.ask(asked)).answer[0]]
            shift = number % 3 if rotate else 0
            assert order == fresh[shift:] + fresh[:shift]
            seen.add(order[0])
        assert seen == firsts
    assert len(house.upstream.asked) == 1


@pytest.mark.asyncio
async def test_name_type_and_class_are_in_the_key() -> None:
    house = house_of(lambda asked: reply_of(asked, [f"{asked.question[0].name} 300 TXT x"]))
    for name, kind in (("a.test", "TXT"), ("b.test", "TXT"), ("a.test", "TYPE65280"), ("test", "TXT")):
        await house.ask(query(name, kind))
    assert len(house.upstream.asked) == 4
    assert key_bits(question_of(query("a.test", do=True, flags="RD AD CD"))) == codes.KEY_DO | codes.KEY_CD
    assert key_bits(question_of(query("a.test", flags="RD AD"))) == 0


def question_of(asked: dns.message.Message) -> Question:
    packet = asked.to_wire()
    question = Question()
    parse(packet, len(packet), question)
    return question


@pytest.mark.asyncio
async def test_a_kept_answer_ages_and_ends() -> None:
    house = house_of(says([A, "open.test. 90 TXT x"], ["test. 500 NS ns.test."]))
    start = house.now
    for seconds, left in ((0, 300), (1, 299), (89, 211), (90, 300)):
        house.now = start + seconds
        reply = await house.ask(query("open.test"))
        assert reply.answer[0].ttl == left
    assert len(house.upstream.asked) == 2


@pytest.mark.asyncio
async def test_a_kept_answer_is_the_answer_but_for_its_age_and_aa() -> None:
    house = house_of(
        says([CNAME, "next.test. 300 A 198.51.100.7"], ["test. 300 NS ns.test."], ["ns.test. 300 A 198.51.100.8"])
    )
    asked = query("open.test", do=True)
    fresh, kept = await house.ask(asked), await house.ask(asked)
    assert fresh.to_text() == kept.to_text()
    assert len(house.upstream.asked) == 1
    assert house.count("cache_answers_total", "positive") == 1
    assert house.count("cache_answers_total", "miss") == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "authority", "rcode", "seconds"),
    [
        ([A], [], 0, 300),
        ([A, "open.test. 7 RRSIG A 8 2 300 20300101000000 20200101000000 1 test. AAAA"], [], 0, 7),
        (["open.test. 400000 A 198.51.100.7"], [], 0, 86400),
        (["open.test. 0 A 198.51.100.7"], [], 0, 0),
        (["open.test. 300 A 198.51.100.7", "open.test. 0 TXT x"], [], 0, 0),
        ([], [f"test. 300 SOA {SOA}"], 0, 60),
        ([], [f"test. 30 SOA {SOA}"], 0, 30),
        ([], [f"test. 300 SOA {SOA}"], 3, 60),
        ([], [], 0, 0),
        ([], [], 3, 0),
        ([], ["test. 300 NS ns.test."], 0, 0),
        ([CNAME], [f"test. 300 SOA {SOA}"], 3, 60),
        ([CNAME], [f"test. 300 SOA {SOA}"], 0, 60),
        (["open.test. 5 CNAME next.test."], [f"test. 300 SOA {SOA}"], 0, 5),
        ([CNAME], [], 3, 0),
        ([CNAME], [], 0, 300),  # an alias whose target was left out: no negative answer
        (["open.test. 7 CNAME next.test."], ["next.test. 3 NS ns.test."], 0, 7),
        ([CNAME, f"next.test. 200 SOA {SOA}"], [], 0, 200),  # a SOA in ANSWER says nothing of a negative answer
        (["open.test. 300 TXT x"], [], 0, 0),
        ([A], ["test. 0 NS ns.test."], 0, 300),  # RFC 2181 5.2: each RRset has its own
        ([A], ["test. 5 NS ns.test."], 0, 300),
        ([], ["test. 0 NS ns.test.", f"test. 300 SOA {SOA}"], 0, 60),
        ([CNAME, "next.test. 300 A 198.51.100.7"], [], 0, 300),
        ([A], [], 2, 2),  # a failure, by its own time
        ([A], [], 5, 2),
        ([A], [], 16, 2),
        ([A], [], 23, 2),
        ([A], [], 6, 0),
    ],
)
async def test_how_long_an_answer_is_kept(answer: list[str], authority: list[str], rcode: int, seconds: int) -> None:
    assert await kept_for(house_of(says(answer, authority, rcode=rcode))) == seconds


@pytest.mark.asyncio
async def test_a_ttl_with_its_top_bit_set_is_none() -> None:
    def top_bit(asked: dns.message.Message) -> bytes:
        return reply_of(asked, [A]).to_wire().replace(b"\0\0\x01\x2c", b"\x80\0\x01\x2c")

    assert await kept_for(house_of(top_bit)) == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("rcode", [dns.rcode.NOERROR, dns.rcode.NXDOMAIN])
async def test_a_truncated_answer_is_passed_on_and_not_kept(rcode: dns.rcode.Rcode) -> None:
    def cut(asked: dns.message.Message) -> dns.message.Message:
        made = reply_of(asked, [A], [f"test. 300 SOA {SOA}"])
        made.set_rcode(rcode)
        made.flags |= dns.flags.TC
        return made

    house = house_of(cut)
    reply = await house.ask(query("open.test"))
    assert reply.flags & dns.flags.TC
    assert await kept_for(house) == 0


@pytest.mark.asyncio
async def test_a_kept_answer_keeps_the_errors_that_came_with_it_for_who_can_read_them() -> None:
    def stale(asked: dns.message.Message) -> dns.message.Message:
        made = reply_of(asked, [A])
        made.use_edns(0, options=[dns.edns.EDEOption(3), dns.edns.EDEOption(22, "text")])
        return made

    house = house_of(stale)
    for _ in range(2):
        assert errors(await house.ask(query("open.test"))) == [3, 22]
    assert (await house.ask(query("open.test", edns=False))).edns == -1
    assert len(house.upstream.asked) == 1


def kept(house: House, name: str, octets: int, client: bytes = SPARED) -> bool:
    """Keep an answer of about so many octets; says whether it is found afterwards."""
    asked = query(name, "TXT")
    texts = " ".join(['"' + "x" * 250 + '"'] * (octets // 251 + 1))
    reply = reply_of(asked, [f"{name}. 300 TXT {texts}"]).to_wire(max_size=65535)
    packet, seat, now_ms = asked.to_wire(), Seat(memoryview(bytearray(512))), int(house.now * 1000)
    seat.sit(packet, client, False, 512, 1232, -1)
    steps.resume(house.answer.tables, house.lane, seat, codes.OUTCOME_REPLY, now_ms)
    end = seat.question.end
    one = Judgement(reply)
    steps.keep(house.answer.tables, house.lane, one, packet[12:end], seat.low, seat.high, client, now_ms)
    return found(house, name)


def found(house: House, name: str) -> bool:
    """Whether an answer to a question for TXT is kept."""
    return bool(look(house, query(name, "TXT")))


def sparing(octets: int) -> House:
    """A house with so much memory, where one client is never limited."""
    allowed = access(unlimited=("192.0.2.77/32",))
    return House(says(), tables_of(generation(1, ((),)), allowed), octets=octets)


def test_memory_is_bounded_whatever_is_asked() -> None:
    house = sparing(2**16)
    cache = house.cache
    assert cache.used_bytes() == 0
    sizes = set()
    for number in range(500):
        assert kept(house, f"n{number}.test", 400)
        sizes.add(cache.used_bytes())
    assert max(sizes) <= 2**16
    assert cache.used_bytes() > cache.memory.sizes[0] - 3 * cache.memory.largest[0], "and it is used"
    assert kept(house, "small.test", 100)
    assert not kept(house, "huge.test", 30000), "one answer does not take the place of all"
    assert kept(house, "small.test", 100)


def test_a_client_above_its_share_takes_no_room_from_the_others() -> None:
    """One asks for small answers without end; what the others have asked for once is still there."""
    house = sparing(2**19)
    assert kept(house, "idle.test", 100, CLIENT)
    memory = house.cache.memory
    start, number, wrote = memory.heads[0], 0, memory.heads[1]
    while memory.heads[1] - wrote < 2 * memory.sizes[1]:
        assert kept(house, f"n{number}.test", 900, EXEMPT), number
        number += 1
    assert memory.heads[0] - start <= memory.sizes[0] // SHARE + 8 * 100, "a share, and what rounding adds to each"
    assert kept(house, "mine.test", 900, CLIENT)
    assert found(house, "idle.test")
    assert found(house, f"n{number - 1}.test"), "it has its own answers too, for a while"
    assert not found(house, f"n{number // 2}.test")
    before = memory.heads[1]
    assert kept(house, "free.test", 900)
    assert memory.heads[1] == before, "who is exempt has no share"


def test_a_share_comes_back_as_others_write() -> None:
    house = sparing(2**19)
    memory, number = house.cache.memory, 0
    wrote = memory.heads[1]
    while memory.heads[1] == wrote:
        kept(house, f"n{number}.test", 900, EXEMPT)
        number += 1
    rounds = store.rounds(memory)
    while store.rounds(memory) == rounds:
        number += 1
        kept(house, f"n{number}.test", 900)
    wrote = memory.heads[1]
    assert kept(house, "again.test", 900, EXEMPT)
    assert memory.heads[1] == wrote


@pytest.mark.asyncio
async def test_the_verdict_and_the_generation_of_what_is_kept_are_noted_at_a_hit() -> None:
    lines = ["open.test. 300 CNAME next.test.", "next.test. 300 A 198.51.100.7"]
    house = House(says(lines), tables(1))
    await house.ask(query("open.test"))
    spared = {0: "192.0.2.99/32"}
    for number, listed in ((2, "next.test"), (3, "other.test"), (4, "next.test"), (5, "other.test")):
        house.swap(tables(number, ((listed,),), exempt=spared))
        blocked = listed == "next.test"
        for _ in range(2):
            assert ((await house.ask(query("open.test"))).answer[0].to_text().endswith("192.0.2.1")) == blocked
            assert len((await house.ask(query("open.test"), EXEMPT)).answer) == 2
            assert look(house, query("open.test")) == store.FRESH
            assert (house.seen.generation, bool(house.seen.kind & store.BLOCKED)) == (number, blocked)
    assert len(house.upstream.asked) == 1


@pytest.mark.asyncio
async def test_an_answer_that_may_not_be_kept_ends_the_one_before() -> None:
    """What upstream says no more is given neither fresh nor stale."""
    lines = [A]
    house = House(lambda asked: reply_of(asked, lines), tables(1), stale_s=3600)
    await house.ask(query("open.test"))
    house.now += 301
    lines[0] = A.replace("300", "0")
    await house.ask(query("open.test"))
    house.upstream.failure = Unanswered(codes.EDE_NETWORK_ERROR)
    reply = await house.ask(query("open.test"))
    assert (reply.rcode(), reply.answer) == (dns.rcode.SERVFAIL, [])


@pytest.mark.asyncio
@pytest.mark.parametrize("first", range(4))
async def test_silence_has_failed_in_the_forms_that_ask_for_more_and_in_no_other(first: int) -> None:
    forms = [{"do": do, "flags": flags} for flags in ("RD CD", "RD") for do in (False, True)]
    failed = []
    for number, form in enumerate(forms):
        house = house_of(says([A]))
        house.upstream.failure = Unanswered(codes.EDE_NETWORK_ERROR)
        assert (await house.ask(query("open.test", **forms[first]))).rcode() == dns.rcode.SERVFAIL
        house.upstream.failure = None
        rcode = (await house.ask(query("open.test", **form))).rcode()
        failed += [number] if rcode == dns.rcode.SERVFAIL else []
    # CD alone, CD and DO, neither, DO alone.
    assert failed == [[0, 1, 2, 3], [1, 3], [2, 3], [3]][first]


@pytest.mark.asyncio
async def test_an_exchange_that_ended_early_says_nothing_of_other_forms() -> None:
    house = house_of(says([A]))
    house.upstream.failure = Unanswered(codes.EDE_OTHER)
    assert (await house.ask(query("open.test"))).rcode() == dns.rcode.SERVFAIL
    house.upstream.failure = None
    assert (await house.ask(query("open.test", do=True))).rcode() == dns.rcode.NOERROR
