"""What is sent to an upstream and what counts as its answer, in both builds of the core."""

import random
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest

from tests.parity import cases

SENT_OCTETS = 320


@pytest.fixture(params=cases.BUILDS, ids=["compiled", "plain"])
def core(request: pytest.FixtureRequest) -> cases.Core:
    found: cases.Core = request.param
    return found


def asked(name: str = "Open.test", qtype: str = "A", **options: Any) -> bytes:
    return dns.message.make_query(name, qtype, id=0x1234, **options).to_wire()


def written(core: cases.Core, packet: bytes, identity: int = 0xABCD) -> tuple[bytes, int]:
    """What is sent for a query, and where its question ends."""
    out, question = bytearray(SENT_OCTETS), core("question").Question()
    core("question").parse(packet, len(packet), question)
    return bytes(out[: core("exchange").write(packet, question, identity, out)]), question.end


def honest(sent: bytes, *records: str, rcode: int = 0, name: str = "") -> bytes:
    reply = dns.message.make_response(dns.message.from_wire(sent), recursion_available=True)
    for record in records or ("300 IN A 192.0.2.1",):
        owner = name or reply.question[0].name.to_text()
        ttl, klass, kind, rdata = record.split(" ", 3)
        reply.answer.append(dns.rrset.from_text(owner, int(ttl), klass, kind, rdata))
    reply.set_rcode(rcode)
    return reply.to_wire(max_size=65535)


def found(core: cases.Core, reply: bytes, sent: bytes, end: int) -> int:
    room = core("question").Question()
    how: int = core("exchange").found(reply + bytes(20), len(reply), sent, len(sent), end, room)
    return how


@pytest.mark.parametrize("options", [{}, {"want_dnssec": True}, {"use_edns": False}, {"payload": 512}])
def test_all_clients_of_a_form_are_asked_for_in_one_shape(core: cases.Core, options: dict[str, Any]) -> None:
    sent, end = written(core, asked(**options))
    message = dns.message.from_wire(sent)
    assert (message.id, message.flags) == (0xABCD, dns.flags.RD | dns.flags.AD)
    assert (message.edns, message.payload, message.options) == (0, 1232, ())
    assert bool(message.ednsflags & dns.flags.DO) == ("want_dnssec" in options)
    assert (sent[12:end], end) == (b"\4Open\4test\0\0\1\0\1", len(sent) - 11)


def test_checking_disabled_is_the_clients(core: cases.Core) -> None:
    packet = bytearray(asked())
    packet[3] |= 0x10 | 0x20
    assert dns.message.from_wire(written(core, bytes(packet))[0]).flags == dns.flags.RD | dns.flags.AD | dns.flags.CD


def test_the_longest_name_has_room(core: cases.Core) -> None:
    long = ".".join(["a" * 63] * 3 + ["b" * 61])
    sent, _ = written(core, asked(long))
    assert len(sent) == core("exchange").QUERY_OCTETS
    question, packet = core("question").Question(), asked(long)
    core("question").parse(packet, len(packet), question)
    with pytest.raises(IndexError):
        core("exchange").write(packet, question, 1, bytearray(200))


def test_each_letters_case_is_a_bit_of_chance(core: cases.Core) -> None:
    sent, end = written(core, asked("a1-Z@{.tesT"))
    drawn = bytearray(sent)
    core("exchange").draw_case(drawn, end, b"\xff" * 32)
    assert bytes(drawn) == sent[:12] + sent[12 : end - 4].swapcase() + sent[end - 4 :]
    again = bytearray(sent)
    core("exchange").draw_case(again, end, bytes(32))
    assert bytes(again) == sent
    third = bytearray(sent)
    core("exchange").draw_case(third, end, b"\1" + bytes(31))
    assert [at for at in range(len(sent)) if third[at] != sent[at]] == [13]


def test_the_longest_name_has_chance_enough(core: cases.Core) -> None:
    sent, end = written(core, asked(".".join(["a" * 63] * 3 + ["b" * 61])))
    drawn = bytearray(sent)
    core("exchange").draw_case(drawn, end, b"\xff" * core("exchange").CHANCE_OCTETS)
    assert bytes(drawn[12 : end - 4]) == sent[12 : end - 4].upper()


def test_the_clients_case_comes_back_in_the_question_and_in_owners_in_full(core: cases.Core) -> None:
    own, end = written(core, asked("Open.test"))
    sent = own.replace(b"Open", b"oPEN").replace(b"test", b"TEst")
    reply = dns.message.from_wire(honest(sent))
    pointed = bytearray(honest(sent))
    question = pointed[12:end]
    spelled = bytearray(pointed[:end] + sent[12 : end - 4] + pointed[end + 2 :])
    for each in (pointed, spelled):
        core("exchange").restore_case(each, len(each), sent, own, end)
        assert each[12:end] == own[12:end] != question
        back = dns.message.from_wire(bytes(each))
        assert back.answer[0].name.to_text() == "Open.test."
        assert back.answer == reply.answer
    assert spelled[end : end + 11] == own[12:23]


def test_what_is_cut_short_or_not_the_answer_is_left_as_it_is(core: cases.Core) -> None:
    own, end = written(core, asked("Open.test"))
    sent = own.replace(b"Open", b"oPEN")
    whole = honest(sent)
    for size in range(len(whole)):
        cut = bytearray(whole[:size])
        core("exchange").restore_case(cut, size, sent, own, end)
        assert cut[end:] == whole[end:size]
    other = bytearray(honest(own))
    core("exchange").restore_case(other, len(other), sent, own, end)
    assert bytes(other) == honest(own)


def test_an_answer_has_the_id_and_the_question_octet_for_octet(core: cases.Core) -> None:
    sent, end = written(core, asked())
    exchange, reply = core("exchange"), honest(sent)
    assert found(core, reply, sent, end) == exchange.AS_SENT
    assert found(core, reply.replace(b"Open", b"oPen"), sent, end) == exchange.OTHER_CASE
    for place in (0, 1, 4, 5, *range(12, end)):
        for bit in range(8):
            changed = bytearray(reply)
            changed[place] ^= 1 << bit
            letter = place in range(13, 17) or place in range(18, 22)
            wanted = exchange.OTHER_CASE if letter and bit == 5 else exchange.NOT_FOUND
            assert found(core, bytes(changed), sent, end) == wanted, (place, bit)
    for flags in (0x00, 0x08, 0x78):
        changed = bytearray(reply)
        changed[2] = changed[2] & 0x07 | flags
        assert found(core, bytes(changed), sent, end) == exchange.NOT_FOUND
    for size in range(end):
        assert found(core, reply[:size], sent, end) == exchange.NOT_FOUND


def test_only_an_error_may_lack_the_question(core: cases.Core) -> None:
    sent, end = written(core, asked())
    exchange = core("exchange")
    assert found(core, sent[:2] + b"\x81\x01" + bytes(8), sent, end) == exchange.WITHOUT_QUESTION
    assert found(core, sent[:2] + b"\x81\x00" + bytes(8), sent, end) == exchange.NOT_FOUND


def test_why_an_answer_is_none(core: cases.Core) -> None:
    sent, _ = written(core, asked())
    exchange, message = core("exchange"), core("message").Message()

    def fault(reply: bytes) -> int:
        why: int = exchange.fault(reply, len(reply), message)
        return why

    assert fault(honest(sent)) == fault(honest(sent, rcode=dns.rcode.NXDOMAIN)) == exchange.CLEAN
    assert fault(honest(sent)[:-1]) == exchange.MALFORMED
    assert fault(honest(sent, rcode=dns.rcode.SERVFAIL)) == exchange.SERVFAIL
    for rcode in (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.REFUSED):
        assert fault(honest(sent, rcode=rcode)) == exchange.ERROR
    assert fault(sent[:2] + b"\x81\x06" + bytes(8)) == exchange.MISMATCH


def test_a_thread_takes_only_a_clean_answer(core: cases.Core) -> None:
    sent, _ = written(core, asked())
    exchange, message = core("exchange"), core("message").Message()

    def clean(reply: bytes) -> bool:
        return bool(exchange.is_clean(reply, len(reply), message))

    assert clean(honest(sent))
    assert clean(honest(sent, rcode=dns.rcode.NXDOMAIN))
    assert clean(honest(sent) + b"more")
    assert clean(honest(sent, *[f"300 IN TXT {number:0200}" for number in range(5)]))
    assert not clean(honest(sent, *[f"300 IN TXT {number:0200}" for number in range(6)]))
    truncated = bytearray(honest(sent))
    truncated[2] |= 2
    assert not clean(bytes(truncated))
    for rcode in (dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.YXDOMAIN, dns.rcode.BADVERS):
        assert not clean(honest(sent, rcode=rcode))


def named(core: cases.Core, text: str) -> Any:
    packet, question = asked(text), core("question").Question()
    core("question").parse(packet, len(packet), question)
    return question


def test_a_thread_asks_for_names_of_no_zone_with_servers_and_for_no_probe(core: cases.Core) -> None:
    exchange = core("exchange")
    zones = core("upstream_zones").UpstreamZones(("corp.test",))
    route, nowhere = exchange.Route([0], [10], zones=zones), exchange.Route(zones=zones)
    names = {"open.test": 1, "corp.test": 0, "in.corp.test": 0, "a" * 26 + ".example": 0, "a" * 25 + ".example": 1}
    assert {name: int(exchange.may_relay(route, named(core, name))) for name in names} == names
    assert not any(exchange.may_relay(nowhere, named(core, name)) for name in names)
    assert exchange.may_relay(exchange.Route([0], [10]), named(core, "in.corp.test"))


def test_a_route_names_servers_that_threads_know(core: cases.Core) -> None:
    exchange = core("exchange")
    for servers, patience in (([16], [1]), ([-1], [1]), ([0], []), ([0], [1, 2])):
        with pytest.raises(ValueError, match="servers"):
            exchange.Route(servers, patience)
    assert exchange.Route().count == 0


def test_both_builds_agree_about_any_octets() -> None:
    draws = random.Random(11)

    def all_of(core: cases.Core, reply: bytes, sent: bytes, end: int) -> tuple[object, ...]:
        message, out = core("message").Message(), bytearray(reply)
        core("exchange").restore_case(out, len(out), sent, sent.swapcase(), end)
        fault = core("exchange").fault(reply, len(reply), message) if len(reply) >= 12 else None
        return found(core, reply, sent, end), bytes(out), fault

    seen = set()
    for _ in range(3000):
        sent, end = written(cases.BUILDS[0], asked(draws.choice(["Open.test", "a.b.c.example", "."])))
        reply = bytearray(honest(sent))
        for _ in range(draws.choice([0, 1, 1, 2, 5])):
            reply[draws.randrange(len(reply))] = draws.randrange(256)
        del reply[draws.choice([len(reply), draws.randrange(len(reply) + 1)]) :]
        first, second = (all_of(core, bytes(reply), sent, end) for core in cases.BUILDS)
        assert first == second
        seen.add((first[0], first[2]))
    assert len(seen) > 6
