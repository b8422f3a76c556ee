"""The order of the steps: what is blocked, by whole answers; queries together and one by one; errors that ask."""

import random
from collections.abc import Callable
from typing import Any, Literal

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.core import codes, store
from resolver.query.transport import Transport
from tests.parity import twin
from tests.parity.cases import of
from tests.unit.core.seats import OUT_OCTETS, Asked, Core, Seats
from tests.unit.query.parts import (
    CLIENT,
    EXEMPT,
    KEY,
    PAGE_V4,
    PAGE_V6,
    SOA,
    STRANGER,
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


# The steps without a loop, by both builds: one by one and in batches.

LISTS = (("listed.test", "=only.test", "!free.listed.test"), ("second.test",))
NAMES = ("listed.test", "a.listed.test", "free.listed.test", "only.test", "open.test", "second.test", "localhost")
STREAMS = (Transport.UDP, Transport.TCP)


def open_test(asked: dns.message.Message) -> dns.message.Message:
    return reply_of(asked, [f"{asked.question[0].name} 300 A 198.51.100.7"])


def mixed(number: int, draw: random.Random) -> list[Asked]:
    """Queries of some clients, each kind of them among the others, and octets that are none."""
    found: list[Asked] = []
    for _ in range(number):
        kind = draw.choice(("A", "A", "A", "AAAA", "HTTPS", "TXT", "ANY", "DS"))
        asked = query(draw.choice(NAMES), kind, edns=draw.random() < 0.7, do=draw.random() < 0.2)
        asked.id = draw.getrandbits(16)
        packet = bytearray(asked.to_wire())
        if draw.random() < 0.1:
            packet[draw.randrange(len(packet))] = draw.getrandbits(8)
        if draw.random() < 0.05:
            packet = packet[: draw.randrange(len(packet))]
        client = draw.choice((CLIENT, EXEMPT, STRANGER, CLIENT[:-1] + bytes([draw.randrange(256)])))
        found.append((bytes(packet), client, draw.choice(STREAMS)))
    return found


def pair(core: Core, **more: Any) -> tuple[Seats, Seats]:
    """Two equal ways, with the same answers kept."""
    in_force = tables(1, LISTS, exempt={0: "192.0.2.99/32"}, rate=more.pop("rate", 0), budget=more.pop("budget", 0))
    ways = Seats(core, in_force, open_test, **more), Seats(core, in_force, open_test, **more)
    for way in ways:
        for name in ("open.test", "free.listed.test"):
            way.ask(query_of(name))
    return ways


def query_of(name: str, number: int = 7) -> dns.message.Message:
    asked = query(name)
    asked.id = number
    return asked


@pytest.mark.parametrize("more", [{}, {"rate": 3}, {"budget": 2}, {"stale_s": 3600}], ids=str)
def test_a_batch_is_its_queries_one_by_one(core: Core, more: dict[str, int]) -> None:
    """Answers, counts, and whatever is left in memory."""
    met = set()
    ways = pair(core, **more)
    draw = random.Random(11)
    for later in (0, 1, 100, 250, 7000):
        for way in ways:
            way.now += later
        queries = mixed(core("lane").BATCH, draw)
        together, alone = ways[0].batch(queries), ways[1].one_by_one(queries)
        assert together == alone
        assert ways[0].state() == ways[1].state()
        met |= {outcome for outcome, _ in together}
    assert met >= {codes.OUTCOME_REPLY, codes.OUTCOME_FORWARD, codes.OUTCOME_SILENT}


WELL_FORMED = [query(name, kind).to_wire() for name in NAMES for kind in ("A", "TXT", "ANY")]


@of(0.002)
@given(packets=st.lists(st.one_of(st.binary(max_size=80), st.sampled_from(WELL_FORMED)), min_size=1, max_size=64))
def test_a_batch_of_any_octets_is_the_same_one_by_one(packets: list[bytes]) -> None:
    ways = pair(twin.compiled)
    queries = [(packet, (CLIENT, STRANGER)[at % 2], STREAMS[at % 3 // 2]) for at, packet in enumerate(packets)]
    assert ways[0].batch(queries) == ways[1].one_by_one(queries)
    assert ways[0].state() == ways[1].state()


def test_an_answer_asked_for_twice_in_a_batch_is_found_missing_twice(core: Core) -> None:
    way = Seats(core, tables(1, LISTS), open_test)
    twice = way.batch([(query_of("open.test", at).to_wire(), CLIENT, Transport.UDP) for at in range(2)])
    assert [outcome for outcome, _ in twice] == [codes.OUTCOME_FORWARD] * 2
    for at in range(2):
        way.forward(way.lane.seat(at), query_of("open.test", at).to_wire(), CLIENT)
    assert way.batch([(query_of("open.test").to_wire(), CLIENT, Transport.UDP)])[0][0] == codes.OUTCOME_REPLY
    assert (way.count("cache_answers_total", "miss"), way.count("cache_answers_total", "positive")) == (2, 1)


@pytest.mark.parametrize("seed", range(3))
def test_both_builds_take_give_and_keep_alike(seed: int) -> None:
    draw = random.Random(seed)
    in_force = [tables(number, LISTS, exempt={0: "192.0.2.99/32"}, rate=50) for number in (1, 2)]
    ways = [Seats(build, in_force[0], answers, stale_s=600) for build in (twin.compiled, twin.load)]
    met = set()
    for round_ in range(6):
        for packet, client, over in mixed(60, draw):
            said = [way.send(packet, client, over) for way in ways]
            assert said[0] == said[1]
            met.add(ways[0].lane.seat(0).reason)
        assert ways[0].state() == ways[1].state()
        for way in ways:
            way.now += (1, 70, 400)[round_ % 3]
            way.swap(in_force[round_ % 2])
    ends = {"BLOCKED", "LEADS", "KEPT", "FRESH", "LOCAL", "ANY", "REFUSED", "MALFORMED", "TURNED_AWAY", "FAILED"}
    assert met >= {getattr(codes, f"END_{end}") for end in ends}


def answers(asked: dns.message.Message) -> dns.message.Message | bytes:
    """By the type: an address, an alias that leads to a listed name, an error, nothing that can be read, no record."""
    name = asked.question[0].name
    match dns.rdatatype.to_text(asked.question[0].rdtype):
        case "AAAA":
            return reply_of(asked, [f"{name} 300 CNAME second.test.", "second.test. 300 AAAA 2001:db8::7"])
        case "TXT":
            return reply_of(asked).to_wire()[:11]
        case "HTTPS":
            made = reply_of(asked)
            made.set_rcode(dns.rcode.SERVFAIL)
            return made
        case "DS":
            return reply_of(asked, [], [f"test. 300 SOA {SOA}"])
    return open_test(asked)


def test_silence_is_kept_and_given_alike_by_both_builds() -> None:
    ways = [Seats(build, tables(1, LISTS), open_test, stale_s=600) for build in (twin.compiled, twin.load)]
    packet = query_of("open.test").to_wire()
    said = []
    for way in ways:
        way.send(packet)
        way.now += 400
        seat, steps = way.seated(0, packet), way.core("steps")
        assert steps.take(way.tables, way.lane, seat, way.now_ms) == codes.OUTCOME_FORWARD
        assert seat.found == store.STALE
        asked = packet[12 : seat.question.end], seat.low, seat.high, CLIENT, way.now_ms
        steps.keep_failed(way.tables, way.lane, codes.EDE_NETWORK_ERROR, *asked)
        steps.without(way.tables, way.lane, seat, codes.EDE_NETWORK_ERROR, codes.FAILED_UPSTREAM, way.now_ms)
        said.append(seat.answer())
        assert way.send(packet) == said[-1], "quiet for some seconds"
    assert said[0] == said[1]
    assert ways[0].state() == ways[1].state()
    assert dns.message.from_wire(said[0]).answer[0].ttl == 30


def test_a_query_that_another_thread_took_is_neither_admitted_nor_counted_again(core: Core) -> None:
    way = Seats(core, tables(1, LISTS, rate=1), open_test)
    steps, packet = way.core("steps"), query_of("open.test").to_wire()
    for outcome in (codes.OUTCOME_FORWARD, codes.OUTCOME_FORWARD, codes.OUTCOME_REPLY):
        seat = way.seated(0, packet)
        assert steps.resume(way.tables, way.lane, seat, outcome, way.now_ms) == outcome
        assert seat.answer() is None
        assert bool(seat.refresh) == (outcome == codes.OUTCOME_REPLY)
    assert way.count("queries_total", "udp") == 0
    assert not any(way.asked.totals_now)
    way.swap(tables(2, (("open.test",),)))
    seat = way.seated(0, packet)
    assert steps.resume(way.tables, way.lane, seat, codes.OUTCOME_FORWARD, way.now_ms) == codes.OUTCOME_REPLY
    assert addresses(dns.message.from_wire(seat.answer())) == [PAGE_V4], "lists have come meanwhile"


@pytest.mark.parametrize(
    ("found", "rcode"),
    [(codes.ADMITTED, dns.rcode.NOTIMP), (codes.NOT_A_CLIENT, dns.rcode.REFUSED), (-1, dns.rcode.SERVFAIL)],
)
def test_what_another_thread_asks_and_nobody_takes_is_answered_by_what_it_found(
    core: Core, found: int, rcode: int
) -> None:
    way = Seats(core, tables(1, LISTS))
    packet = b"\0\0\x21\0" + query_of("open.test").to_wire()[4:]
    seat, steps = way.seated(0, packet), way.core("steps")
    seat.found = found
    assert steps.resume(way.tables, way.lane, seat, codes.OUTCOME_ASK, way.now_ms) == codes.OUTCOME_ASK
    assert steps.unasked(way.lane, seat) == codes.OUTCOME_REPLY
    assert seat.answer()[3] & 15 == rcode


def test_a_notify_asks_and_what_is_no_notify_does_not(core: Core) -> None:
    way = Seats(core, tables(1, LISTS))
    rest = query_of("open.test").to_wire()[4:]
    queries = [(bytes([0, 0, opcode << 3, 0]) + rest, STRANGER, Transport.UDP) for opcode in (4, 5)]
    assert [outcome for outcome, _ in way.batch(queries)] == [codes.OUTCOME_ASK, codes.OUTCOME_REPLY]
    assert way.lane.seat(0).found == codes.NOT_A_CLIENT


def test_a_damaged_image_asks_in_a_batch_and_alone_and_never_passes(core: Core) -> None:
    for name in ("open.test", "listed.test"):
        way = Seats(core, tables(1, LISTS), open_test)
        way.ask(query_of("open.test"))
        (member,) = way.tables.generation.members[:1]
        cut = way.core("policy").Member(member.words[:16], member.replies, slot=0)
        way.tables = way.tables.replaced(generation=way.core("policy").Generation(9, KEY, [cut]))
        packet = query_of(name).to_wire()
        ((outcome, together),) = way.batch([(packet, CLIENT, Transport.UDP)])
        assert (outcome, together[3] & 15) == (codes.OUTCOME_REPLY, dns.rcode.SERVFAIL)
        assert way.send(packet) == together
        assert way.lane.errors == 2
        assert way.count("failed_answers_total", "internal") == 2


def short_key(way: Seats) -> None:
    """The key of the digests has half its octets: no name can be digested."""
    members = way.tables.generation.members
    way.tables = way.tables.replaced(generation=way.core("policy").Generation(9, KEY[:8], members))


def short_counters(way: Seats) -> None:
    """The table of counters ends before those of the lists."""
    shape = way.core("crash_shape").Shape(way.numbers)
    outs = [memoryview(bytearray(OUT_OCTETS)) for _ in range(4)]
    way.lane = way.core("lane").Lane(memoryview(way.counters)[: codes.LIST_COUNTERS_START], shape, outs)


def short_access(way: Seats) -> None:
    """The key by which clients are noted has half its octets."""
    one = way.tables.access
    nobody = [b""] * codes.MAX_LISTS
    made = way.core("admit").Access(bytes(one.allow), b"", nobody, nobody, rate=0, memory=bytearray(), key=KEY[:8])
    way.tables = way.tables.replaced(access=made)


def no_room(way: Seats) -> None:
    """An answer has 20 octets of room."""
    shape = way.core("crash_shape").Shape(way.numbers)
    outs = [memoryview(bytearray(20)) for _ in range(4)]
    way.lane = way.core("lane").Lane(memoryview(way.counters), shape, outs)


LISTED, OPEN = query("listed.test").to_wire(), query("open.test").to_wire()
SAID, ASKS, FORWARDS = codes.OUTCOME_REPLY, codes.OUTCOME_ASK, codes.OUTCOME_FORWARD


@pytest.mark.parametrize(
    ("breaks", "packet", "outcome"),
    [
        (short_key, LISTED, ASKS),
        (short_key, OPEN, ASKS),
        (no_room, LISTED, ASKS),
        (no_room, OPEN, FORWARDS),
        (short_counters, LISTED, SAID),
        (short_access, OPEN, FORWARDS),
    ],
    # The packets have ids of chance, which would give each process of a run tests of other names.
    ids=["key-listed", "key-open", "room-listed", "room-open", "counters-listed", "access-open"],
)
def test_an_error_in_a_step_asks_and_in_a_count_stops_nothing(
    core: Core, breaks: Callable[[Seats], None], packet: bytes, outcome: int
) -> None:
    """Alone and between others, which get what they get without it."""
    way = Seats(core, tables(1, LISTS), open_test)
    header = b"\x12\x34\x01\0" + bytes(8)
    ((_, malformed),) = way.batch([(header, CLIENT, Transport.UDP)])
    breaks(way)
    errors = way.lane.errors
    found = way.batch([(one, CLIENT, Transport.UDP) for one in (header, packet, header)])
    assert found[0] == found[2] == (codes.OUTCOME_REPLY, malformed)
    assert found[1][0] == outcome
    assert way.one_by_one([(packet, CLIENT, Transport.UDP)])[0][0] == outcome
    assert way.lane.errors - errors == 2 * (outcome == ASKS)
    if outcome == ASKS:
        assert way.lane.seat(0).found == -1
        assert found[1][1] is None, "nobody has the answer of a step that failed"
    elif outcome == SAID:
        assert addresses(dns.message.from_wire(found[1][1])) == [PAGE_V4]


def test_a_client_that_is_no_address_is_not_admitted(core: Core) -> None:
    """The steps end before anything is known: SERVFAIL, with no more octets than came."""
    way = Seats(core, tables(1, LISTS), open_test)
    for packet in (LISTED, OPEN, LISTED[:20]):
        ((outcome, answer),) = way.batch([(packet, b"\1\2\3\4", Transport.UDP)])
        assert (outcome, answer) == (codes.OUTCOME_ASK, None)
        way.core("steps").unasked(way.lane, way.lane.seat(0))
        answer = way.lane.seat(0).answer()
        assert answer[3] & 15 == dns.rcode.SERVFAIL
        assert len(answer) <= len(packet)


def test_an_error_in_giving_is_servfail_and_in_keeping_keeps_nothing(core: Core) -> None:
    way = Seats(core, tables(1, LISTS), open_test)
    seat, steps = way.seated(0, OPEN), way.core("steps")
    assert steps.take(way.tables, way.lane, seat, way.now_ms) == codes.OUTCOME_FORWARD
    one = way.core("judgement").Judgement(open_test(query("open.test")).to_wire())
    whole = way.tables
    short_key(way)
    asked = OPEN[12 : seat.question.end], seat.low, seat.high, CLIENT, way.now_ms
    steps.keep(way.tables, way.lane, one, *asked)
    for said in (
        lambda: steps.give(way.tables, way.lane, seat, one, way.now_ms),
        lambda: steps.without(way.tables, way.lane, seat, 22, codes.FAILED_UPSTREAM, way.now_ms),
    ):
        assert said() == codes.OUTCOME_REPLY
        assert seat.answer()[3] & 15 == dns.rcode.SERVFAIL
    assert (way.lane.errors, way.count("failed_answers_total", "internal")) == (3, 2)
    way.tables = whole
    assert way.one_by_one([(OPEN, CLIENT, Transport.UDP)])[0][0] == codes.OUTCOME_FORWARD


def test_block_comes_before_cache_and_recheck_before_keep(core: Core) -> None:
    """Kept, then listed, by its own name or by where it leads; asked for, then listed before the answer is there."""
    way = Seats(core, tables(1, ((),)), leads_to_next)
    for name in ("open.test", "next.test"):
        assert addresses(way.ask(query_of(name)))
    for number, listed in ((2, "open.test"), (3, "next.test"), (4, "test")):
        way.swap(tables(number, ((listed,),)))
        for _ in range(2):
            assert addresses(way.ask(query_of("open.test"))) == [PAGE_V4]
            ((outcome, octets),) = way.batch([(query_of("open.test").to_wire(), CLIENT, Transport.UDP)])
            assert outcome == codes.OUTCOME_REPLY
            assert addresses(dns.message.from_wire(octets)) == [PAGE_V4]
    assert len(way.upstream) == 2
    for name, listed in (("late.test", "late.test"), ("other.test", "next.test")):
        way.swap(tables(5, ((),)))
        packet = query_of(name).to_wire()
        seat = way.seated(0, packet)
        assert way.core("steps").take(way.tables, way.lane, seat, way.now_ms) == codes.OUTCOME_FORWARD
        way.swap(tables(6, ((listed,),)))
        way.forward(seat, packet, CLIENT)
        assert addresses(dns.message.from_wire(seat.answer())) == [PAGE_V4]
        assert addresses(way.ask(query_of(name))) == [PAGE_V4]


def test_what_holds_no_name_is_no_way_round_the_lists(core: Core) -> None:
    """A failure, kept or on its way, has no record that could be judged: the name alone decides, and comes first."""
    way = Seats(core, tables(1, ((),)), lambda asked: asked.to_wire()[:2] + b"\x81\x82" + bytes(8))
    packet = query_of("open.test").to_wire()
    assert way.ask(query_of("open.test")).rcode() == dns.rcode.SERVFAIL
    seat = way.seated(0, query_of("late.test").to_wire())
    assert way.core("steps").take(way.tables, way.lane, seat, way.now_ms) == codes.OUTCOME_FORWARD
    way.swap(tables(2, (("test",),)))
    way.forward(seat, query_of("late.test").to_wire(), CLIENT)
    for octets in (seat.answer(), way.send(packet), *(one for _, one in way.batch([(packet, CLIENT, Transport.UDP)]))):
        assert addresses(dns.message.from_wire(octets)) == [PAGE_V4]
    assert len(way.upstream) == 2


def test_until_all_lists_are_there_nothing_kept_is_given(core: Core) -> None:
    way = Seats(core, tables(1, ((),)), open_test)
    assert addresses(way.ask(query_of("open.test")))
    way.swap(tables(1, ((),), complete=False))
    for octets in (way.send(OPEN), *(one for _, one in way.batch([(OPEN, CLIENT, Transport.UDP)]))):
        assert dns.message.from_wire(octets).rcode() == dns.rcode.SERVFAIL
    assert way.count("failed_answers_total", "not_ready") == 2


def leads_to_next(asked: dns.message.Message) -> dns.message.Message:
    """Every name is an alias, but for one."""
    name = asked.question[0].name
    last = ["next.test. 300 A 198.51.100.7"]
    return reply_of(asked, last if str(name) == "next.test." else [f"{name} 300 CNAME next.test.", *last])
