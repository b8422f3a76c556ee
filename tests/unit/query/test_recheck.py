"""Verdicts on replies: by all lists, which the cache keeps, and by those that judge the client."""

import asyncio

import dns.edns
import dns.message
import dns.rcode
import pytest

from resolver.core import codes
from resolver.query import recheck as module
from resolver.query.recheck import Judged, Recheck
from resolver.query.transport import Transport
from tests.unit.query.parts import (
    CLIENT,
    EXEMPT,
    PAGE_V4,
    House,
    addresses,
    generation,
    query,
    reply_of,
    tables,
    until,
)

REAL = "198.51.100.7"
LISTED: tuple[tuple[str, ...], ...] = (("listed.test",),)
NOTHING: tuple[tuple[str, ...], ...] = ((),)
SPARED = {0: "192.0.2.99/32"}
CHAIN = [
    "open.test. 300 CNAME next.test.",
    "next.test. 300 CNAME deep.listed.test.",
    "deep.listed.test. 300 A " + REAL,
]


def open_test(asked):
    """Upstream says this of every name."""
    return reply_of(asked, [f"{asked.question[0].name} 300 A {REAL}"])


LISTS = (("first.test",), ("second.test",))
A = " 300 A 198.51.100.7"
TO = "open.test. 300 CNAME "
CASES = [
    # ANSWER, ADDITIONAL, scope, for all, for the client, whether ADDITIONAL goes
    (["open.test." + A], [], codes.ALL_LISTS, codes.PASS, codes.PASS, False),
    ([TO + "first.test."], [], codes.ALL_LISTS, codes.BLOCK, codes.BLOCK, False),
    ([TO + "first.test."], [], 2, codes.BLOCK, codes.PASS, False),
    ([TO + "first.test."], [], 1, codes.BLOCK, codes.BLOCK, False),
    ([TO + "first.test.", "first.test. 300 CNAME second.test."], [], 2, codes.BLOCK, codes.BLOCK, False),
    ([TO + "first.test."], [], 0, codes.BLOCK, codes.PASS, False),
    (["open.test." + A], ["first.test." + A], codes.ALL_LISTS, codes.PASS, codes.PASS, True),
    (["open.test." + A], ["first.test." + A], 2, codes.PASS, codes.PASS, True),
    ([TO + "first.test."], ["second.test." + A], 2, codes.BLOCK, codes.PASS, True),
    ([TO + "first.test."], ["second.test." + A], 1, codes.BLOCK, codes.BLOCK, False),
]


@pytest.mark.parametrize(("answer", "additional", "scope", "for_all", "for_client", "gone"), CASES)
def test_verdicts_by_all_lists_and_by_the_clients(
    answer: list[str], additional: list[str], scope: int, for_all: int, for_client: int, gone: bool
) -> None:
    octets = bytearray(reply_of(query("open.test"), answer, (), additional).to_wire())
    for shared in (False, True):
        recheck = Recheck()
        judge = recheck.judge_shared if shared else recheck.judge
        given = bytes(octets) if shared else bytearray(octets)
        assert judge(generation(1, LISTS), given, scope) == Judged(for_all, for_client)
        assert bool(recheck.message.drop_additional) == gone
        trimmed = dns.message.from_wire(bytes(recheck.message.data[: recheck.message.end]))
        assert trimmed.edns == -1, "OPT is hop by hop"
        assert len(trimmed.answer) == len(answer)
        if for_client == codes.PASS:
            assert len(trimmed.additional) == (0 if gone else len(additional))
        assert recheck.errors == 0


def test_the_verdict_tells_which_list_answers() -> None:
    recheck = Recheck()
    octets = reply_of(query("open.test"), [TO + "first.test.", "first.test. 300 CNAME second.test."]).to_wire()
    in_force = generation(1, LISTS)
    for scope, slot in ((codes.ALL_LISTS, 0), (1, 0), (2, 1)):
        recheck.judge(in_force, bytearray(octets), scope)
        assert recheck.verdict.slot == slot
    for scope, slot in ((2, 1), (codes.ALL_LISTS, 0), (1, 0), (2, 1), (codes.ALL_LISTS, 0)):
        recheck.judge_shared(in_force, octets, scope)
        assert recheck.verdict.slot == slot


def test_a_reply_that_ends_too_early_asks_and_what_comes_after_its_end_goes() -> None:
    octets = reply_of(query("open.test", edns=False), ["open.test." + A, "open.test." + A[:-1] + "8"]).to_wire()
    for count in range(1, 60):
        cut, more = Recheck(), Recheck()
        short = bytearray(octets[:-count])
        assert cut.judge(generation(1, LISTS), short, codes.ALL_LISTS) == Judged(codes.ASK, codes.ASK)
        longer = bytearray(octets) + b"\0" * count
        assert more.judge(generation(1, LISTS), longer, codes.ALL_LISTS).for_all == codes.PASS
        assert bytes(more.message.data[: more.message.end]) == octets


@pytest.mark.parametrize("scope", [0, 1, codes.ALL_LISTS])
def test_more_names_than_an_honest_reply_has_asks_whoever_it_is_for(scope: int) -> None:
    made = reply_of(query("open.test"), [], [f"n{n}.{'a.' * 100}test. 300 A 198.51.100.7" for n in range(900)])
    recheck = Recheck()
    octets = bytearray(made.to_wire(max_size=65535))
    assert recheck.judge(generation(1, LISTS), octets, scope) == Judged(codes.ASK, codes.ASK)
    assert recheck.errors == 0, "who sent it is at fault, not we"


def test_what_nobody_asked_for_goes_and_what_opt_said_stays() -> None:
    made = reply_of(query("open.test"), ["open.test." + A, "other.test." + A], (), ["glue.test." + A])
    made.use_edns(0, options=[dns.edns.EDEOption(9, "kept")])
    recheck, octets = Recheck(), bytearray(made.to_wire())
    octets[3] |= 5
    assert recheck.judge(generation(1, LISTS), octets, codes.ALL_LISTS) == Judged(codes.PASS, codes.PASS)
    message = recheck.message
    read = dns.message.from_wire(bytes(message.data[: message.end]))
    assert [str(one.name) for one in read.answer] == ["open.test."]
    assert (read.additional, read.edns, message.rcode) == ([], -1, 5)
    assert bytes(message.errors[: message.errors_size]) == b"\0\x0f\0\6\0\x09kept"


@pytest.mark.parametrize(
    ("authority", "verdict"),
    [
        ("first.test. 300 A 198.51.100.7", codes.BLOCK),
        ("first.test. 300 AAAA 2001:db8::7", codes.BLOCK),
        ("x.first.test. 300 HTTPS 1 .", codes.BLOCK),
        ("other.test. 300 CNAME first.test.", codes.BLOCK),
        ("other.test. 300 A 198.51.100.7", codes.PASS),
        ("test. 300 NS ns.first.test.", codes.PASS),
        ("first.test. 300 NSEC second.test. A", codes.PASS),
        ("first.test. 300 SOA ns.test. who.test. 1 2 3 4 5", codes.PASS),
    ],
)
def test_authority_leads_nobody_to_a_listed_address(authority: str, verdict: int) -> None:
    octets = bytearray(reply_of(query("open.test"), ["open.test." + A], [authority]).to_wire())
    recheck = Recheck()
    assert recheck.judge(generation(1, LISTS), octets, codes.ALL_LISTS) == Judged(verdict, verdict)


def test_a_shared_answer_is_judged_once_a_generation_and_once_a_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[tuple[int, int]] = []
    judge = module.judge
    monkeypatch.setattr(
        module, "judge", lambda *given: (judged.append((given[0].number, given[2])), judge(*given))[1]
    )
    recheck, generations = Recheck(), [generation(number, LISTS) for number in (1, 2)]
    octets = reply_of(query("open.test"), [TO + "first.test."]).to_wire()
    plain = reply_of(query("open.test"), ["open.test." + A]).to_wire()
    for _ in range(20):
        for scope, said in ((codes.ALL_LISTS, codes.BLOCK), (2, codes.PASS), (1, codes.BLOCK)):
            assert recheck.judge_shared(generations[0], octets, scope) == Judged(codes.BLOCK, said)
            assert recheck.judge_shared(generations[0], plain, scope) == Judged(codes.PASS, codes.PASS)
    assert sorted(judged) == [(1, 1), (1, 2), (1, codes.ALL_LISTS), (1, codes.ALL_LISTS)]
    judged.clear()
    for _ in range(3):
        assert recheck.judge_shared(generations[1], octets, codes.ALL_LISTS).for_client == codes.BLOCK
    assert judged == [(2, codes.ALL_LISTS)]


def test_answers_are_told_apart_by_what_they_are_not_by_what_they_say() -> None:
    """So many exchanges that the first ones are forgotten; equal octets of another exchange are judged again."""
    recheck, in_force = Recheck(), generation(1, LISTS)
    replies = [reply_of(query("open.test"), [TO + f"{name}."]).to_wire() for name in ("first.test", "x.test") * 300]
    for _ in range(2):
        for number, one in enumerate(replies):
            judged = recheck.judge_shared(in_force, one, codes.ALL_LISTS)
            assert judged.for_all == (codes.PASS if number % 2 else codes.BLOCK)
            assert (b"first" in bytes(recheck.message.data[: recheck.message.end])) == (number % 2 == 0)


@pytest.mark.asyncio
@pytest.mark.parametrize("behind", [b"\0", b"\xff" * 7, bytes(400)])
async def test_octets_after_an_answer_reach_nobody(behind: bytes) -> None:
    house = House(lambda asked: open_test(asked).to_wire() + behind, tables(1, LISTED))
    for _ in range(2):
        octets = await house.send(query("open.test", edns=False).to_wire())
        assert octets[2:] == open_test(query("open.test", edns=False)).to_wire()[2:]
        assert addresses(dns.message.from_wire(octets)) == [REAL]
    assert len(house.upstream.asked) == 1
    assert house.count("failed_answers_total", "malformed_reply") == 0


def services(number: int):
    """As a large domain answers for its controllers: each a target with two addresses."""

    def reply(asked):
        targets = [f"dc{one}.ad.test." for one in range(number)]
        glue = [f"{one} 300 {kind} {data}" for one in targets for kind, data in (("A", REAL), ("AAAA", "2001:db8::7"))]
        return reply_of(asked, [f"{asked.question[0].name} 300 SRV 0 100 389 {one}" for one in targets], (), glue)

    return reply


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [1, 255, 600])
async def test_an_answer_with_many_owners_is_an_answer(number: int) -> None:
    house = House(services(number), tables(1, (("listed.test", "=a.b.c.d.listed.example"),)))
    for _ in range(2):
        reply = await house.ask(query("_ldap._tcp.test", "SRV"), over=Transport.TCP)
        assert (reply.rcode(), len(reply.answer[0])) == (dns.rcode.NOERROR, number)
        if number <= 255:
            assert sum(map(len, reply.additional)) == 2 * number
    listed = House(services(number), tables(1, (("dc0.ad.test",),)))
    reply = await listed.ask(query("_ldap._tcp.test", "SRV"), over=Transport.TCP)
    assert (len(reply.answer[0]), reply.additional) == (number, [])


@pytest.mark.asyncio
async def test_two_thousand_targets_with_addresses_are_an_answer() -> None:
    """Written by hand, since dnspython takes seconds: SRV records whose targets own glue at pointers."""

    def reply(asked):
        head = bytearray(reply_of(asked).to_wire())
        end = 12 + len(asked.question[0].name.to_wire()) + 4
        made, glue = head[:end], bytearray()
        for one in range(1900):
            target = len(made) + 18
            made += b"\xc0\x0c\0\x21\0\1\0\0\1\x2c\0\x0d\0\0\0\x64\1\x85" + b"\4%04d\xc0\x17" % one
            if target < 16384:
                glue += (0xC000 | target).to_bytes(2, "big") + b"\0\1\0\1\0\0\1\x2c\0\4\xc6\x33\x64\7"
        made += glue
        made[6:12] = (1900).to_bytes(2, "big") + b"\0\0" + (len(glue) // 16).to_bytes(2, "big")
        return bytes(made)

    house = House(reply, tables(1, (("listed.test", "=a.b.c.d.listed.example"),)))
    reply = await house.ask(query("_ldap._tcp.ad.test", "SRV"), over=Transport.TCP)
    assert (reply.rcode(), len(reply.answer[0])) == (dns.rcode.NOERROR, 1900)


@pytest.mark.asyncio
async def test_who_waits_for_one_answer_gets_one_judgement(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait, by all lists and by those of each scope; another generation judges it again."""
    judged: list[tuple[int, bool]] = []
    judge = module.judge

    def noted(*given):
        judged.append((given[0].number, given[2] == codes.ALL_LISTS))
        return judge(*given)

    monkeypatch.setattr(module, "judge", noted)
    octets = reply_of(query("open.test"), CHAIN).to_wire()
    house = House(lambda asked: octets, tables(1, LISTED, exempt=SPARED))
    for number, expected in ((1, [(1, False), (1, True)]), (2, [(2, False), (2, True)])):
        house.upstream.hold()
        clients = (CLIENT, EXEMPT) * 25
        waiting = [asyncio.ensure_future(house.ask(query("open.test"), client)) for client in clients]
        await until(lambda: len(house.upstream.asked) == 50)
        house.swap(tables(number, LISTED, exempt=SPARED))
        house.upstream.release()
        for client, reply in zip(clients, await asyncio.gather(*waiting), strict=True):
            assert addresses(reply) == [REAL if client == EXEMPT else PAGE_V4]
        assert sorted(judged) == expected
        judged.clear()
        house.upstream.asked.clear()
        house.now += 400


@pytest.mark.asyncio
async def test_an_owner_has_the_letters_of_the_one_who_asks() -> None:
    def spelled(asked):
        made = reply_of(asked, [f"{asked.question[0].name} 300 A {REAL}"]).to_wire()
        return made.replace(b"\xc0\x0c", b"\5SpElL\4TeSt\0")

    house = House(spelled, tables(1, LISTED))
    for name in ("SpElL.TeSt.", "spell.test.", "SPELL.test."):
        reply = await house.ask(query(name))
        assert str(reply.answer[0].name) == name
    assert len(house.upstream.asked) == 1


def test_what_is_remembered_of_answers_is_bounded_by_number_and_by_octets(monkeypatch: pytest.MonkeyPatch) -> None:
    read, counted = module.read, [0]

    def counting(*arguments):
        counted[0] += 1
        return read(*arguments)

    monkeypatch.setattr(module, "read", counting)
    in_force = generation(1, LISTS)
    text = ["open.test. 300 TXT " + " ".join(['"' + "x" * 250 + '"'] * 200)]
    for answer, kept in ((["open.test." + A], module.RECENT), (text, module.RECENT_OCTETS // 60_000)):
        recheck = Recheck()
        octets = reply_of(query("open.test"), answer).to_wire(max_size=65535)
        others = [bytes(bytearray(octets)) for _ in range(2 * module.RECENT)]
        for one in others:
            recheck.judge_shared(in_force, one, codes.ALL_LISTS)
        counted[0] = 0
        for one in others[-kept:]:
            recheck.judge_shared(in_force, one, codes.ALL_LISTS)
        assert counted[0] == 0, "the latest are remembered"
        recheck.judge_shared(in_force, others[0], codes.ALL_LISTS)
        assert counted[0] == 1, "the oldest is forgotten"
