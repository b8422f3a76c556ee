"""What a client gets to read: EDNS, extended errors, sizes, and what becomes of a malformed query."""

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from resolver.core import codes
from resolver.query.transport import Transport
from tests.unit.query.parts import CLIENT, STRANGER, House, Message, errors, query, reply_of, says, tables

A = "open.test. 300 A 198.51.100.7"
LIST = (("listed.test",),)


def house_of(reply=None, **more) -> House:
    """A house with one listed name."""
    return House(reply or says([A]), tables(1, LIST, **more))


def txt(octets: int):
    """An upstream whose answer has about so many octets."""

    def reply(asked: Message) -> Message:
        strings = " ".join(['"' + "x" * 199 + '"'] * (octets // 200))
        return reply_of(asked, [f"{asked.question[0].name} 300 TXT {strings}"])

    return reply


# Three ways to an answer: each must fit the client.
NAMES = {"fresh": "open.test", "kept": "open.test", "blocked": "listed.test"}


@pytest.mark.asyncio
@pytest.mark.parametrize("way", NAMES)
async def test_edns_is_answered_only_to_who_sent_it(way: str) -> None:
    house = house_of()
    if way == "kept":
        for edns, do in ((False, False), (True, False), (True, True)):
            await house.ask(query("open.test", edns=edns, do=do))
    for edns, do in ((False, False), (True, False), (True, True)):
        reply = await house.ask(query(NAMES[way], edns=edns, do=do))
        assert (reply.edns == 0) == edns
        assert bool(reply.ednsflags & dns.flags.DO) == do
        assert reply.payload == (1232 if edns else 0)
        assert len(reply.additional) == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("way", NAMES)
async def test_rd_and_cd_are_copied_and_ra_is_set(way: str) -> None:
    house = house_of()
    for flags in ("RD", "RD CD"):
        if way == "kept":
            await house.ask(query("open.test", flags=flags))
        reply = await house.ask(query(NAMES[way], flags=flags))
        assert dns.flags.to_text(reply.flags & ~dns.flags.QR) == f"{flags.replace(' CD', '')} RA{flags[2:]}"


@pytest.mark.asyncio
async def test_ad_is_upstreams_to_say_aa_is_not_and_neither_is_said_of_a_block() -> None:
    def authentic(asked: Message) -> Message:
        made = reply_of(asked, [A])
        made.flags |= dns.flags.AD | dns.flags.AA
        return made

    house = house_of(authentic)
    reply = await house.ask(query("open.test", flags="RD AD"))
    assert reply.flags & dns.flags.AD
    assert not reply.flags & dns.flags.AA, "of what an upstream says we are no authority"
    reply = await house.ask(query("open.test", flags="RD AD"))
    assert reply.flags & dns.flags.AD
    assert not reply.flags & dns.flags.AA, "a kept answer is not authoritative"
    reply = await house.ask(query("listed.test", flags="RD AD"))
    assert not reply.flags & (dns.flags.AD | dns.flags.AA)


@pytest.mark.asyncio
@pytest.mark.parametrize("payload", [None, 0, 512, 600, 1232, 4096, 65535])
@pytest.mark.parametrize("octets", [200, 400, 600, 1000, 1200, 1400, 4000, 60000])
async def test_over_udp_an_answer_fits_or_says_so(payload: int | None, octets: int) -> None:
    house = house_of(txt(octets))
    asked = query("open.test", "TXT", edns=payload is not None, **({} if payload is None else {"payload": payload}))
    limit = max(512, min(payload or 512, 1232))
    for _ in range(2):  # fresh, then kept
        packet = asked.to_wire()
        octets_sent = await house.send(packet)
        assert octets_sent is not None
        assert len(octets_sent) <= limit
        reply = dns.message.from_wire(octets_sent)
        whole = await house.send(packet, over=Transport.TCP)
        assert whole is not None
        assert bool(reply.flags & dns.flags.TC) == (len(whole) > limit)
        assert (reply.edns == 0) == (payload is not None)
        if reply.flags & dns.flags.TC:
            assert [*reply.answer, *reply.authority, *reply.additional] == []
        assert len(dns.message.from_wire(whole).answer) == 1


@pytest.mark.asyncio
async def test_extended_errors_of_upstream_are_passed_on_with_its_rcode() -> None:
    def failed(asked: Message) -> Message:
        made = reply_of(asked)
        made.use_edns(0, options=[dns.edns.EDEOption(22, "no"), dns.edns.GenericOption(10, b"12345678")])
        made.set_rcode(dns.rcode.SERVFAIL)
        return made

    house = house_of(failed)
    reply = await house.ask(query("open.test"))
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert errors(reply) == [22]
    assert len(reply.options) == 1, "another server's cookie is not ours"
    assert (await house.ask(query("open.test", edns=False))).rcode() == dns.rcode.SERVFAIL


@pytest.mark.asyncio
@pytest.mark.parametrize("edns", [True, False])
async def test_an_rcode_that_needs_edns_goes_only_to_who_has_it(edns: bool) -> None:
    def bad_cookie(asked: Message) -> Message:
        made = reply_of(asked)
        made.use_edns(0)
        made.set_rcode(dns.rcode.BADCOOKIE)
        return made

    reply = await house_of(bad_cookie).ask(query("open.test", edns=edns))
    assert reply.rcode() == (dns.rcode.BADCOOKIE if edns else dns.rcode.SERVFAIL)


async def told(house: House, packet: bytes, client: bytes = CLIENT, *, over: Transport = Transport.UDP) -> Message:
    octets = await house.send(packet, client, over=over)
    assert octets is not None
    assert octets[:2] == packet[:2]
    return dns.message.from_wire(octets)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "octets", "rcode"),
    [
        ("no question", b"\x12\x34\x01\0\0\0\0\0\0\0\0\0", dns.rcode.FORMERR),
        ("two questions", b"\x12\x34\x01\0\0\2\0\0\0\0\0\0" + b"\1a\0\0\1\0\1" * 2, dns.rcode.FORMERR),
        ("a name cut short", b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + b"\5abc", dns.rcode.FORMERR),
        ("a name that points", b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + b"\xc0\x0c\0\1\0\1", dns.rcode.FORMERR),
        ("NOTIFY", b"\x12\x34\x21\0\0\1\0\0\0\0\0\0" + b"\1a\0\0\1\0\1", dns.rcode.NOTIMP),
        ("UPDATE", b"\x12\x34\x29\0\0\1\0\0\0\0\0\0" + b"\1a\0\0\1\0\1", dns.rcode.NOTIMP),
    ],
)
async def test_what_has_no_question_is_answered_by_a_header(name: str, octets: bytes, rcode: int) -> None:
    for over in (Transport.UDP, Transport.TCP):
        house = house_of()
        reply = await house.send(octets, over=over)
        assert reply is not None
        assert len(reply) == 12
        assert reply[:2] == octets[:2]
        assert reply[3] & 15 == rcode
        assert reply[4:] == bytes(8)
        assert house.count("answers_total", dns.rcode.to_text(rcode)) == 1


@pytest.mark.asyncio
async def test_what_has_a_question_gets_it_back_with_the_fault() -> None:
    house = house_of()
    asked = query("listed.test", edns=False).to_wire()
    opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
    faults = [
        (asked + b"\0", dns.rcode.FORMERR),
        (asked[:11] + b"\2" + asked[12:] + opt + opt, dns.rcode.FORMERR),
        (asked[:9] + b"\1\0\0" + asked[12:] + opt, dns.rcode.FORMERR),
        (asked[:11] + b"\1" + asked[12:] + opt[:-1] + b"\5", dns.rcode.FORMERR),
        (query("listed.test", "TSIG", edns=False).to_wire(), dns.rcode.FORMERR),
        (query("listed.test", "AXFR", edns=False).to_wire(), dns.rcode.REFUSED),
        (query("listed.test", "IXFR", edns=False).to_wire(), dns.rcode.REFUSED),
        (query("listed.test", "MAILB", edns=False).to_wire(), dns.rcode.REFUSED),
    ]
    for packet, rcode in faults:
        reply = await told(house, packet)
        assert reply.rcode() == rcode
        assert reply.question[0].name.to_text() == "listed.test."
        assert not reply.answer
    assert house.upstream.asked == []
    assert house.blocked() == 0


@pytest.mark.asyncio
async def test_a_later_version_of_edns_is_badvers_and_counted_so() -> None:
    house = house_of()
    for name in ("open.test", "listed.test"):
        asked = dns.message.make_query(name, "A", use_edns=1)
        reply = await told(house, asked.to_wire())
        assert reply.rcode() == dns.rcode.BADVERS
        assert reply.edns == 0
        assert reply.answer == []
    assert house.count("answers_total", "BADVERS") == 2
    assert house.count("answers_total", "NOERROR") == 0


@pytest.mark.asyncio
async def test_silence_for_what_is_no_query_and_its_reason() -> None:
    house = house_of()
    reply = reply_of(query("listed.test"), [A]).to_wire()
    for packet in (b"", b"\0", reply[:11], reply, reply[:2] + b"\x80" + bytes(9)):
        for client in (CLIENT, STRANGER):
            assert await house.send(packet, client) is None
    assert house.count("packets_dropped_total", "short") == 6
    assert house.count("packets_dropped_total", "response") == 4


@pytest.mark.asyncio
async def test_other_classes_are_refused_and_nobody_can_tell_what_is_listed() -> None:
    house = house_of()
    for kind in ("CH", "ANY", "HS", "CLASS65280"):
        for name in ("open.test", "listed.test"):
            reply = await told(house, dns.message.make_query(name, "TXT", kind).to_wire())
            assert (reply.rcode(), reply.answer, reply.authority) == (dns.rcode.REFUSED, [], [])
    assert house.upstream.asked == []
    assert house.blocked() == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("edns", [False, True])
async def test_a_stranger_gets_no_more_octets_than_it_sent(edns: bool) -> None:
    house = house_of()
    longest = ".".join(["x" * 63] * 3 + ["y" * 61])
    for name in (".", "a", "listed.test", longest):
        asked = query(name, edns=edns)
        for padding in (0, 2, 5, 6, 20):
            if edns:
                asked.use_edns(0, options=[dns.edns.GenericOption(12, bytes(padding))])
            packet = asked.to_wire()
            octets = await house.send(packet, STRANGER)
            assert octets is not None
            assert len(octets) <= len(packet)
            reply = dns.message.from_wire(octets)
            assert reply.rcode() == dns.rcode.REFUSED
            assert errors(reply) == ([codes.EDE_PROHIBITED] if edns and padding >= 2 else [])
    header = b"\x12\x34\x01\0\0\0\0\0\0\0\0\0"
    assert len(await house.send(header, STRANGER) or b"") == 12


@pytest.mark.asyncio
async def test_who_asks_too_often_is_told_to_come_by_tcp_or_hears_nothing() -> None:
    house = house_of(rate=5)
    packets = [query("open.test").to_wire() for _ in range(25)]
    replies = [await house.send(packet) for packet in packets]
    answered = [dns.message.from_wire(one) for one in replies if one]
    assert len([one for one in answered if one.answer]) == 5
    slipped = [one for one in answered if one.flags & dns.flags.TC]
    assert len(slipped) == 10
    assert all(not one.answer for one in slipped)
    assert house.count("packets_dropped_total", "rate_limit") == 10
    house.now += 1
    assert await house.send(packets[0])


@pytest.mark.asyncio
async def test_who_asks_too_often_over_tcp_is_told_so_and_only_by_what_it_asked_there() -> None:
    house = house_of(rate=5)
    for _ in range(25):
        await house.send(query("open.test").to_wire())
    replies = [await house.ask(query("open.test"), over=Transport.TCP) for _ in range(8)]
    assert [one.rcode() for one in replies] == [dns.rcode.NOERROR] * 5 + [dns.rcode.REFUSED] * 3
    assert all(errors(one) == [codes.EDE_PROHIBITED] for one in replies[5:])
    dropped = house.count("packets_dropped_total", "rate_limit")
    assert (await house.ask(query("open.test", edns=False), over=Transport.TCP)).rcode() == dns.rcode.REFUSED
    assert house.count("packets_dropped_total", "rate_limit") == dropped == 10


@pytest.mark.asyncio
async def test_queries_are_counted_by_transport_before_anything_is_known_of_them() -> None:
    house = house_of()
    for packet in (b"", query("open.test").to_wire(), query("listed.test").to_wire()):
        await house.send(packet)
        await house.send(packet, STRANGER, over=Transport.TCP)
    assert house.count("queries_total", "udp") == 3
    assert house.count("queries_total", "tcp") == 3


@pytest.mark.asyncio
async def test_an_answer_that_does_not_fit_any_reply_is_servfail() -> None:
    """65,535 octets from upstream leave no room for OPT over a stream: the question with TC, never a broken reply."""

    def full(asked: Message) -> bytes:
        made = reply_of(asked)
        made.use_edns(False)
        head = bytearray(made.to_wire())
        head[7] = 1
        size = 65535 - len(head) - 12
        return bytes(head) + b"\xc0\x0c\0\x10\0\1\0\0\x01\x2c" + size.to_bytes(2, "big") + bytes(size)

    house = house_of(full)
    octets = await house.send(query("open.test", "TXT").to_wire(), over=Transport.TCP)
    assert octets is not None
    assert len(octets) <= 65535
    assert octets[2] & 2
    octets = await house.send(query("open.test", "TXT", edns=False).to_wire(), over=Transport.TCP)
    assert octets is not None
    assert len(octets) == 65535
