"""What is kept, under which key and for how long."""

import itertools

import dns.flags
import dns.message
import dns.rcode
import pytest

from resolver.core import codes, store
from resolver.core.message import Message, read
from resolver.core.question import Question, parse
from resolver.query.cache import Cache, key_bits
from resolver.query.forward import Unanswered
from tests.unit.query.parts import KEY, SOA, House, errors, query, reply_of, says, tables

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
        question = Question()
        packet = query(name, kind).to_wire()
        parse(packet, len(packet), question)
        probe = type("Probe", (), {"question": question})()
        if house.cache.find(probe, house.now):
            low = middle + 1
        else:
            high = middle
        assert len(house.upstream.asked) == asked
    return low


WAYS = [
    {"edns": edns, "do": do, "flags": " ".join(flags)}
    for edns, do in ((False, False), (True, False), (True, True))
    for flags in (("RD",), ("RD", "CD"), ("RD", "AD"), ("RD", "CD", "AD"))
]


@pytest.mark.asyncio
async def test_queries_that_differ_in_do_or_cd_never_share_an_answer_and_all_others_do() -> None:
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
            assert bool(reply.flags & dns.flags.AD) == (way["do"] or "AD" in way["flags"]), (first, way)
            assert (reply.edns >= 0) == way["edns"], (first, way)
            assert bool(reply.ednsflags & dns.flags.DO) == way["do"], (first, way)
            assert bool(reply.flags & dns.flags.CD) == ("CD" in way["flags"]), (first, way)
        assert len(house.upstream.asked) == 4, first


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
        ([CNAME], [], 0, 0),
        ([CNAME, f"test. 300 SOA {SOA}"], [], 0, 0),  # a SOA in ANSWER says nothing of a negative answer
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


def kept(cache: Cache, name: str, octets: int, now: float = 0) -> bool:
    """Keep an answer of about so many octets; says whether it is found afterwards."""
    asked = query(name, "TXT")
    texts = " ".join(['"' + "x" * 250 + '"'] * (octets // 251 + 1))
    reply = bytearray(reply_of(asked, [f"{name}. 300 TXT {texts}"]).to_wire(max_size=65535))
    message = Message()
    assert read(reply, len(reply), message)
    question = question_of(asked)
    probe = type("Probe", (), {"question": question})()
    cache.find(probe, now)
    cache.keep(cache.digest(), message, 1, codes.PASS, now)
    return bool(cache.find(probe, now))


def test_memory_is_bounded_whatever_is_asked() -> None:
    counters = [0] * codes.COUNTERS_SIZE
    cache = Cache(store.Store(bytearray(2**16), KEY), counters)
    assert cache.used_bytes() == 0
    sizes = set()
    for number in range(500):
        assert kept(cache, f"n{number}.test", 400)
        sizes.add(cache.used_bytes())
    assert max(sizes) <= 2**16
    assert cache.used_bytes() > cache.memory.size - 3 * cache.memory.largest, "and it is used"
    assert kept(cache, "small.test", 100)
    assert not kept(cache, "huge.test", 30000), "one answer does not take the place of all"
    assert kept(cache, "small.test", 100)


def test_renewing_notes_the_verdict_and_the_generation() -> None:
    counters = [0] * codes.COUNTERS_SIZE
    cache = Cache(store.Store(bytearray(2**16), KEY), counters)
    assert kept(cache, "a.test", 10)
    assert cache.is_judged(1)
    assert not cache.is_judged(2)
    probe = type("Probe", (), {"question": question_of(query("a.test", "TXT"))})()
    for generation, verdict, judged in ((7, codes.PASS, True), (8, codes.BLOCK, False), (9, codes.PASS, True)):
        cache.renew(generation, verdict)
        assert cache.find(probe, 0)
        assert cache.is_judged(generation) == judged
        assert not cache.is_judged(generation - 1)


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
