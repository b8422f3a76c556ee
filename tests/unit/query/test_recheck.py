"""What waits for one reply shares its judgement; and replies as whole answers."""

import asyncio

import dns.message
import dns.rcode
import pytest

from resolver.query.recheck import RECENT, RECENT_OCTETS, Recheck
from resolver.query.transport import Transport
from tests.unit.query.parts import (
    CLIENT,
    EXEMPT,
    PAGE_V4,
    House,
    addresses,
    query,
    reply_of,
    tables,
    until,
)

REAL = "198.51.100.7"
LISTED: tuple[tuple[str, ...], ...] = (("listed.test",),)
SPARED = {0: "192.0.2.99/32"}
CHAIN = [
    "open.test. 300 CNAME next.test.",
    "next.test. 300 CNAME deep.listed.test.",
    "deep.listed.test. 300 A " + REAL,
]


def open_test(asked):
    """Upstream says this of every name."""
    return reply_of(asked, [f"{asked.question[0].name} 300 A {REAL}"])


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
async def test_who_waits_for_one_answer_gets_one_judgement() -> None:
    """However many wait, of each scope; another generation judges it again."""
    octets = reply_of(query("open.test"), CHAIN).to_wire()
    house = House(lambda asked: octets, tables(1, LISTED, exempt=SPARED))
    for number in (1, 2):
        house.upstream.hold()
        clients = (CLIENT, EXEMPT) * 25
        waiting = [asyncio.ensure_future(house.ask(query("open.test"), client)) for client in clients]
        await until(lambda: len(house.upstream.asked) == 50)
        house.swap(tables(number, LISTED, exempt=SPARED))
        house.upstream.release()
        for client, reply in zip(clients, await asyncio.gather(*waiting), strict=True):
            assert addresses(reply) == [REAL if client == EXEMPT else PAGE_V4]
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


def test_answers_are_told_apart_by_what_they_are_not_by_what_they_say() -> None:
    """So many exchanges that the first ones are forgotten; equal octets of another exchange have another judgement."""
    recheck = Recheck()
    said = [[f"open.test. 300 CNAME {name}."] for name in ("a.test", "b.test") * 300]
    replies = [reply_of(query("open.test"), one).to_wire() for one in said]
    for _ in range(2):
        for one in replies:
            assert bytes(recheck.of(one).reply) == one
            assert recheck.of(one) is recheck.of(one)
    assert recheck.of(replies[-1]) is not recheck.of(replies[-3])


def test_what_is_remembered_of_answers_is_bounded_by_number_and_by_octets() -> None:
    text = ["open.test. 300 TXT " + " ".join(['"' + "x" * 250 + '"'] * 200)]
    for answer, kept in ((["open.test. 300 A " + REAL], RECENT), (text, RECENT_OCTETS // 60_000)):
        recheck = Recheck()
        octets = reply_of(query("open.test"), answer).to_wire(max_size=65535)
        others = [bytes(bytearray(octets)) for _ in range(2 * RECENT)]
        made = [id(recheck.of(one)) for one in others]
        assert [id(recheck.of(one)) for one in others[-kept:]] == made[-kept:], "the latest are remembered"
        assert len(set(made)) <= RECENT, "and those of the forgotten are used again"
