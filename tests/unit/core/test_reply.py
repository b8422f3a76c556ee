"""The bytes of every answer: flags, records, extended errors, sizes."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from resolver.core import codes
from tests.unit.core.generations import query, question, replies, wire

Core = Callable[[str], ModuleType]
BLOCK = codes.BLOCK_SELF | codes.BLOCK_BELOW
AA, TC, RD, RA, AD, CD = 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010


def blocked(core: Core, packet: bytes, made: Any, bits: int = BLOCK, limit: int = 1232) -> bytes:
    out = memoryview(bytearray(1232))
    return bytes(out[: core("reply").blocked(out, packet, question(core, packet), made, bits, limit)])


def flags(octets: bytes) -> int:
    return octets[2] << 8 | octets[3]


def edes(octets: bytes) -> list[int]:
    return [int(one.code) for one in dns.message.from_wire(octets, raise_on_truncation=False).options]  # type: ignore[attr-defined]  # all are EDEOption


@pytest.mark.parametrize("asked", [0, RD, RD | CD, RD | AD, AD | CD, RD | AD | CD])
def test_flags_of_a_blocked_answer(core: Core, asked: int) -> None:
    octets = blocked(core, query("a.test", flags=asked), replies(core))
    assert flags(octets) == 0x8000 | RA | (asked & (RD | CD))


def test_the_question_comes_back_as_it_was_sent(core: Core) -> None:
    packet = query(wire("WwW.tEsT"))
    assert blocked(core, packet, replies(core))[12 : len(packet)] == packet[12:]


@pytest.mark.parametrize(("kind", "text"), [(1, "192.0.2.1"), (28, "2001:db8::1")])
def test_the_pages_address(core: Core, kind: int, text: str) -> None:
    (found,) = dns.message.from_wire(blocked(core, query("a.test", kind), replies(core))).answer
    assert (str(found.name), found.ttl, found[0].to_text()) == ("a.test.", 60, text)


@pytest.mark.parametrize(
    ("kind", "klass", "options"),
    [
        (65, 1, {}),
        (16, 1, {}),
        (255, 1, {}),
        (6, 1, {}),
        (1, 1, {"v4": ()}),
        (28, 1, {"v6": ()}),
        (1, 3, {}),
        (1, 255, {}),
    ],
)
def test_everything_else_is_nodata(core: Core, kind: int, klass: int, options: dict[str, object]) -> None:
    octets = blocked(core, query("a.test", kind, klass=klass, edns=True), replies(core, **options))
    read = dns.message.from_wire(octets)
    assert (read.rcode(), read.answer, edes(octets)) == (dns.rcode.NOERROR, [], [codes.EDE_FORGED_ANSWER])
    (soa,) = read.authority
    assert (str(soa.name), soa.ttl, soa[0].minimum, soa.rdtype) == ("a.test.", 60, 60, dns.rdatatype.SOA)
    assert soa.rdclass == klass


@pytest.mark.parametrize(
    ("answer", "statute", "bits", "rcode", "ede"),
    [
        (codes.ANSWER_NODATA, True, BLOCK, 0, codes.EDE_CENSORED),
        (codes.ANSWER_NODATA, False, BLOCK, 0, codes.EDE_BLOCKED),
        (codes.ANSWER_NXDOMAIN, True, BLOCK, 3, codes.EDE_CENSORED),
        (codes.ANSWER_NXDOMAIN, False, BLOCK, 3, codes.EDE_BLOCKED),
        (codes.ANSWER_NXDOMAIN, True, codes.BLOCK_SELF, 0, codes.EDE_CENSORED),
        (codes.ANSWER_NXDOMAIN, True, BLOCK | codes.EXCEPTION_BELOW, 0, codes.EDE_CENSORED),
        (codes.ANSWER_NXDOMAIN, True, BLOCK | codes.NEW, 3, codes.EDE_CENSORED),
        (codes.ANSWER_PAGE, True, BLOCK, 0, codes.EDE_FORGED_ANSWER),
    ],
)
@pytest.mark.parametrize("kind", [1, 28, 16])
def test_how_a_list_answers(
    core: Core, kind: int, answer: int, statute: bool, bits: int, rcode: int, ede: int
) -> None:
    octets = blocked(core, query("a.test", kind, edns=True), replies(core, answer, statute=statute), bits)
    read = dns.message.from_wire(octets)
    assert (int(read.rcode()), edes(octets)) == (rcode, [ede])
    assert bool(read.answer) == (answer == codes.ANSWER_PAGE and kind in (1, 28))


SIGNAL = 65100


def asks_for_structure(text: str, kind: int = 1, *, code: int = SIGNAL, size: int = 0, payload: int = 1232) -> bytes:
    """A query with this EDNS option of `size` octets."""
    option = code.to_bytes(2, "big") + size.to_bytes(2, "big") + bytes(size)
    opt = b"\0\0\x29" + payload.to_bytes(2, "big") + bytes(4) + len(option).to_bytes(2, "big") + option
    return query(text, kind)[:11] + b"\1" + query(text, kind)[12:] + opt


def error_of(octets: bytes) -> tuple[int, str | None]:
    """The one extended error of an answer: its code and its text."""
    (one,) = dns.message.from_wire(octets).options
    return int(one.code), one.text  # type: ignore[attr-defined]  # an EDEOption


STRUCTURED = {"signal": SIGNAL, "structured": (b'{"c":["tel:1"],"j":"law"}', b'{"c":["tel:1"]}')}


@pytest.mark.parametrize("statute", [True, False])
@pytest.mark.parametrize("kind", [1, 28, 16, 65])
def test_a_client_that_signals_gets_no_page_but_a_structured_error(core: Core, statute: bool, kind: int) -> None:
    made = replies(core, statute=statute, **STRUCTURED)
    octets = blocked(core, asks_for_structure("a.test", kind), made)
    read = dns.message.from_wire(octets)
    assert (read.rcode(), read.answer, len(read.authority)) == (0, [], 1)
    code = codes.EDE_CENSORED if statute else codes.EDE_BLOCKED
    assert error_of(octets) == (code, '{"c":["tel:1"],"j":"law"}')


def test_a_client_that_does_not_signal_gets_the_page(core: Core) -> None:
    made = replies(core, **STRUCTURED)
    for packet in (
        query("a.test", edns=True),
        asks_for_structure("a.test", code=SIGNAL + 1),
        asks_for_structure("a.test", size=1),
        asks_for_structure("a.test", code=10, size=8),
    ):
        octets = blocked(core, packet, made)
        assert error_of(octets) == (codes.EDE_FORGED_ANSWER, None)
        assert len(dns.message.from_wire(octets).answer) == 1
    without = replies(core, structured=STRUCTURED["structured"])
    assert len(dns.message.from_wire(blocked(core, asks_for_structure("a.test"), without)).answer) == 1


def test_a_text_that_does_not_fit_gives_way_to_the_brief_one_and_then_to_the_number(core: Core) -> None:
    made = replies(core, **STRUCTURED)
    whole = len(blocked(core, asks_for_structure("a.test"), made))
    texts = [error_of(blocked(core, asks_for_structure("a.test"), made, limit=whole - less))[1] for less in (0, 1, 10)]
    assert texts == ['{"c":["tel:1"],"j":"law"}', '{"c":["tel:1"]}', '{"c":["tel:1"]}']
    assert error_of(blocked(core, asks_for_structure("a.test"), made, limit=whole - 25)) == (codes.EDE_CENSORED, None)


def test_the_operators_text_stands_beside_the_number_where_it_fits(core: Core) -> None:
    made = replies(core, text=b"Geblokkeerd op last")
    octets = blocked(core, query("a.test", edns=True), made)
    assert error_of(octets) == (codes.EDE_FORGED_ANSWER, "Geblokkeerd op last")
    assert error_of(blocked(core, query("a.test", edns=True), made, limit=len(octets) - 1))[1] is None
    assert blocked(core, query("a.test"), made) == blocked(core, query("a.test"), replies(core))


def test_no_octet_of_a_structured_error_depends_on_the_name(core: Core) -> None:
    made, tails = replies(core, **STRUCTURED), set()
    for number in range(10_000 if core("reply").__file__.endswith(".so") else 500):
        packet = asks_for_structure(f"canary-{number:05}.{number % 97}.test", (1, 28, 65, 16)[number % 4])
        octets = blocked(core, packet, made)
        assert octets[12 : question(core, packet).end] == packet[12 : question(core, packet).end]
        tails.add(octets[2:12] + octets[question(core, packet).end :])
    assert len(tails) == 1


def test_without_edns_in_the_query_there_is_none_in_the_answer(core: Core) -> None:
    read = dns.message.from_wire(blocked(core, query("a.test"), replies(core)))
    assert read.edns == -1
    assert not read.additional


def test_the_answer_of_a_list_is_the_same_for_every_name(core: Core) -> None:
    one, other = (blocked(core, query(name, edns=True), replies(core)) for name in ("aa.test", "bb.test"))
    assert one.replace(b"\2aa", b"\2bb") == other


@pytest.mark.parametrize("limit", [505, 506, 511, 512, 1232])
def test_the_longest_name_eight_addresses_and_an_error_are_512_octets(core: Core, limit: int) -> None:
    name = (b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"y" * 61 + b"\0"
    made = replies(core, v6=[bytes(15) + bytes([n]) for n in range(8)])
    octets = blocked(core, query(name, 28, edns=True), made, limit=limit)
    # No client takes fewer than 512; the cut is held against what no configuration can make.
    assert bool(flags(octets) & TC) == (limit == 505)
    size = {505: 288, 506: 506, 511: 506}.get(limit, 512)
    assert (len(octets), octets[6:8]) == (size, b"\0\0" if limit == 505 else b"\0\x08")
    assert edes(octets) == ([] if size == 506 else [codes.EDE_FORGED_ANSWER])


@pytest.mark.parametrize("options", [{"v4": (bytes(4),) * 9}, {"v6": (bytes(16),) * 9}])
def test_too_many_addresses_are_refused(core: Core, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="addresses"):
        replies(core, **options)
    with pytest.raises(ValueError, match="answer"):
        replies(core, 3)


def empty(core: Core, packet: bytes, rcode: int, ede: int = -1, truncated: int = 0, limit: int = 1232) -> bytes:
    out = memoryview(bytearray(1232))
    return bytes(out[: core("reply").empty(out, packet, question(core, packet), rcode, ede, truncated, limit)])


@pytest.mark.parametrize(("edns", "ede"), [(True, [18]), (False, [])])
def test_a_refusal(core: Core, edns: bool, ede: list[int]) -> None:
    octets = empty(core, query("a.test", edns=edns), codes.REFUSED, codes.EDE_PROHIBITED)
    assert int(dns.message.from_wire(octets).rcode()) == codes.REFUSED
    assert edes(octets) == ede


@pytest.mark.parametrize("edns", [True, False])
def test_a_refusal_is_no_larger_than_the_query(core: Core, edns: bool) -> None:
    packet = query("a.test", edns=edns)
    octets = empty(core, packet, codes.REFUSED, codes.EDE_PROHIBITED, limit=len(packet))
    assert len(octets) == len(packet)
    assert edes(octets) == []
    # The error fits where the query had options of its own.
    longer = packet[:-2] + b"\0\x06\0\x0c\0\x02\0\0" if edns else packet
    assert edes(empty(core, longer, codes.REFUSED, codes.EDE_PROHIBITED, limit=len(longer))) == ([18] if edns else [])


def test_what_could_not_be_read_gets_a_header_alone(core: Core) -> None:
    for packet in (b"\x12\x34\x01\0\0\2" + bytes(6), query(b"\x40"), b"\x12\x34\x21\0\0\1" + bytes(6) + b"junk"):
        assert empty(core, packet, codes.FORMERR) == b"\x12\x34" + bytes([0x80 | packet[2] & 0x79, 0x81]) + bytes(8)


def test_badvers_has_its_high_bits_in_opt(core: Core) -> None:
    packet = query("a.test", edns=True)
    octets = empty(core, packet[:-5] + b"\1" + packet[-4:], codes.BADVERS)
    assert (octets[3] & 15, octets[-6], octets[-5]) == (0, 1, 0)


@pytest.mark.parametrize("dnssec", [0, 0x80])
def test_do_is_copied_and_the_version_is_0(core: Core, dnssec: int) -> None:
    packet = query("a.test", edns=True)
    octets = empty(core, packet[:-4] + bytes([dnssec]) + packet[-3:], 0)
    assert octets[-11:] == b"\0\0\x29\x04\xd0\0\0" + bytes([dnssec]) + b"\0\0\0"


def test_slip_is_truncated_and_empty(core: Core) -> None:
    assert flags(empty(core, query("a.test"), 0, truncated=1)) == 0x8000 | TC | RD | RA


def relay(core: Core, packet: bytes, body: bytes, **options: Any) -> bytes:
    given = {"ttl_s": core("reply").KEEP_TTL, "ede": codes.EDE_NONE, "limit": 1232, **options}
    out = memoryview(bytearray(66000))
    made = body_of(core, body, **{key: one for key, one in given.items() if key in ("rcode", "errors", "age_s")})
    length = core("reply").relay(
        out, packet, question(core, packet), made, given["ttl_s"], given["ede"], given["limit"]
    )
    return bytes(out[:length])


def body_of(core: Core, octets: bytes, *, rcode: int = 0, errors: bytes = b"", age_s: int = -1) -> Any:
    """An upstream's reply; before and after it and its errors there are other octets, as in the cache's memory."""
    body = core("message").Body()
    body.data, body.start, body.end = b"\xaa\xbb" + octets + b"\xcc", 2, 2 + len(octets)
    body.errors, body.errors_start, body.errors_size = b"\xdd" + errors + b"\xee", 1, len(errors)
    body.rcode, body.age_s = rcode, age_s
    return body


def upstream(number: int = 1, asked: int = RD, said: int = RA) -> bytes:
    record = b"\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4\xc0\0\2\1"
    body = bytearray(query("a.test", flags=0x8000 | asked | said) + record * number)
    body[6:8] = number.to_bytes(2, "big")
    return bytes(body)


def test_a_fresh_reply_keeps_its_flags_and_the_query_its_own(core: Core) -> None:
    octets = relay(core, query(wire("A.test"), flags=RD | CD | AD), upstream(said=RA | AA | AD))
    assert flags(octets) == 0x8000 | RD | RA | AD | CD, "of what an upstream says we are no authority"
    assert octets[12:20] == wire("A.test")
    assert octets[20:] == upstream()[20:]


def test_a_kept_reply_is_not_authoritative_and_has_aged(core: Core) -> None:
    octets = relay(core, query("a.test"), upstream(said=RA | AA), age_s=10)
    assert flags(octets) & AA == 0
    assert dns.message.from_wire(octets).answer[0].ttl == 290
    octets = relay(core, query("a.test"), upstream(), age_s=10, ttl_s=30)
    assert dns.message.from_wire(octets).answer[0].ttl == 30
    octets = relay(core, query("a.test"), upstream(), age_s=1000, ttl_s=30)
    assert dns.message.from_wire(octets).answer[0].ttl == 30
    octets = relay(core, query("a.test"), upstream(), age_s=1000)
    assert dns.message.from_wire(octets).answer[0].ttl == 0


def test_options_give_way_before_records_do(core: Core) -> None:
    """Keepalive first, then the upstream's errors, then ours; over TCP and at a limit of UDP alike."""
    errors, packet, body = b"\0\x0f\0\2\0\3", query("a.test", edns=True), upstream(30)
    asked = question(core, packet)
    asked.keepalive_ds = 120
    out, made = memoryview(bytearray(66000)), body_of(core, body, errors=errors)
    keepalive = b"\0\x0b\0\2\0\x78"
    for spare, options in (
        (18, b"\0\x0f\0\2\0\x16" + errors + keepalive),
        (17, b"\0\x0f\0\2\0\x16" + errors),
        (12, b"\0\x0f\0\2\0\x16" + errors),
        (11, b"\0\x0f\0\2\0\x16"),
        (6, b"\0\x0f\0\2\0\x16"),
        (5, b""),
        (0, b""),
    ):
        length = core("reply").relay(out, packet, asked, made, 60, 22, len(body) + 11 + spare)
        octets = bytes(out[:length])
        assert not flags(octets) & TC, spare
        assert octets[len(body) + 9 :] == len(options).to_bytes(2, "big") + options, spare
    length = core("reply").relay(out, packet, asked, made, 60, 22, len(body) + 10)
    assert flags(out[:length]) & TC
    assert bytes(out[len(packet) - 2 : length]) == b"\0\x0c" + b"\0\x0f\0\2\0\x16" + keepalive
    asked.keepalive_ds = 0x1234
    length = core("reply").relay(out, packet, asked, made, 60, codes.EDE_NONE, 65535)
    assert bytes(out[length - 6 : length]) == b"\0\x0b\0\2\x12\x34"


def test_the_opt_record_is_counted_among_many(core: Core) -> None:
    """In both octets of ARCOUNT."""
    for number in (0, 254, 255, 256, 511, 600):
        body = bytearray(upstream(number))
        body[6:12] = b"\0\0\0\0" + number.to_bytes(2, "big")
        octets = relay(core, query("a.test", edns=True), bytes(body), limit=65535)
        assert octets[6:12] == b"\0\0\0\0" + (number + 1).to_bytes(2, "big"), number


def test_the_letters_of_an_owner_are_those_of_the_query(core: Core) -> None:
    def said(owner: bytes) -> bytes:
        body = bytearray(query(wire("SpElL.TeSt"), flags=0x8180)) + owner + b"\0\1\0\1\0\0\1\x2c\0\4\xc0\0\2\1"
        body[7] = 1
        return bytes(body)

    packet = query(wire("spell.TEST"))
    for age_s in (-1, 10):
        for owner, written in (
            (wire("SpElL.TeSt"), wire("spell.TEST")),
            (wire("sPELL.test"), wire("spell.TEST")),
            (b"\5SpElL\xc0\x12", b"\5spell\xc0\x12"),
            (b"\xc0\x0c", b"\xc0\x0c"),
            # Other names keep their own.
            (wire("SpElM.TeSt"), wire("SpElM.TeSt")),
            (wire("SqElL.TeSt"), wire("SqElL.TeSt")),
            (wire("SpElL.TeSs"), wire("SpElL.TeSs")),
            (wire("a.SpElL.TeSt"), wire("a.SpElL.TeSt")),
            (wire("SpElL"), wire("SpElL")),
            (b"\5SpElL\xc0\x0c", b"\5SpElL\xc0\x0c"),
            (b"\4TeSt\0", b"\4TeSt\0"),
            (b"\0", b"\0"),
        ):
            octets = relay(core, packet, said(owner), age_s=age_s)
            assert octets[12:22] == wire("spell.TEST")[:10]
            assert octets[len(packet) : len(packet) + len(written)] == written, owner
            assert len(octets) == len(said(owner))


def test_only_letters_have_a_case(core: Core) -> None:
    """The octets before A and after Z are no letters: @ is not `, [ is not {."""
    packet = query(b"\6@aZ[`{\0")
    for owner, written in ((b"\6@Az[`{\0", b"\6@aZ[`{\0"), (b"\6`Az{`{\0", b"\6`Az{`{\0")):
        body = bytearray(packet) + owner + b"\0\1\0\1\0\0\1\x2c\0\4\xc0\0\2\1"
        body[2], body[7] = 0x81, 1
        octets = relay(core, packet, bytes(body))
        assert octets[len(packet) : len(packet) + len(written)] == written


SOA_OF_NODATA = (
    b"\xc0\x0c\0\6\0\1\0\0\0\x3c\0\x2f\x09localhost\0\6nobody\7invalid\0"
    b"\0\0\0\1\0\0\x0e\x10\0\0\4\xb0\0\x09\x3a\x80\0\0\0\x3c"
)


def test_the_octets_of_blocked_nodata(core: Core) -> None:
    packet = query("a.test", 16, edns=True)
    expected = b"\x12\x34\x81\x80\0\1\0\0\0\1\0\1" + packet[12:-11] + SOA_OF_NODATA
    opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\6\0\x0f\0\2\0"
    assert blocked(core, packet, replies(core)) == expected + opt + b"\4"
    assert blocked(core, packet, replies(core, codes.ANSWER_NODATA)) == expected + opt + b"\x10"
    assert blocked(core, packet, replies(core, codes.ANSWER_NODATA, statute=False)) == expected + opt + b"\x0f"


@pytest.mark.parametrize("klass", [1, 255, 256, 257, 0x1234, 0xFFFF])
def test_the_class_of_blocked_nodata_is_the_questions(core: Core, klass: int) -> None:
    packet = query("a.test", 16, klass=klass)
    octets = blocked(core, packet, replies(core))
    assert octets[len(packet) :] == SOA_OF_NODATA[:4] + klass.to_bytes(2, "big") + SOA_OF_NODATA[6:]


def test_the_octets_of_an_answer_to_any(core: Core) -> None:
    packet, out = query("a.test", 255, edns=True), memoryview(bytearray(512))
    length = core("reply").hinfo(out, packet, question(core, packet), 512)
    assert bytes(out[:length]) == (
        b"\x12\x34\x81\x80\0\1\0\1\0\0\0\1" + packet[12:-11]
        + b"\xc0\x0c\0\x0d\0\1\0\0\x0e\x10\0\x09\7RFC8482\0" + packet[-11:]
    )
    assert core("reply").hinfo(memoryview(bytearray(30)), packet, question(core, packet), 512) == 0


LOCAL_SOA = b"\6nobody\7invalid\0\0\0\0\1\0\0\x0e\x10\0\0\4\xb0\0\x09\x3a\x80\0\0\x2a\x30"


@pytest.mark.parametrize(
    ("found", "kind", "rcode", "answer", "authority"),
    [
        (codes.LOCALHOST, 1, 0, b"\xc0\x0c\0\1\0\1\0\0\x2a\x30\0\4\x7f\0\0\1", b""),
        (codes.LOCALHOST, 255, 0, b"\xc0\x0c\0\1\0\1\0\0\x2a\x30\0\4\x7f\0\0\1", b""),
        (codes.LOCALHOST, 28, 0, b"\xc0\x0c\0\x1c\0\1\0\0\x2a\x30\0\x10" + bytes(15) + b"\1", b""),
        (codes.LOOPBACK, 12, 0, b"\xc0\x0c\0\x0c\0\1\0\0\x2a\x30\0\x0b\x09localhost\0", b""),
        (codes.LOOPBACK, 257, 0, b"", b"\xc0\x0c\0\6\0\1\0\0\x2a\x30\0\x26\xc0\x0c" + LOCAL_SOA),
        (codes.LOCAL_APEX, 2, 0, b"\xc0\x0c\0\2\0\1\0\0\x2a\x30\0\2\xc0\x0c", b""),
        (codes.LOCAL_APEX, 6, 0, b"\xc0\x0c\0\6\0\1\0\0\x2a\x30\0\x26\xc0\x0c" + LOCAL_SOA, b""),
        (codes.LOCAL_APEX, 255, 0, b"\xc0\x0c\0\6\0\1\0\0\x2a\x30\0\x26\xc0\x0c" + LOCAL_SOA, b""),
        (codes.LOCAL_APEX, 1, 0, b"", b"\xc0\x0c\0\6\0\1\0\0\x2a\x30\0\x26\xc0\x0c" + LOCAL_SOA),
        (codes.LOCAL_EMPTY, 255, 0, b"", b"\xc0\x0c\0\6\0\1\0\0\x2a\x30\0\x26\xc0\x0c" + LOCAL_SOA),
        (codes.LOCAL_MISSING | 2 << 8, 1, 3, b"", b"\xc0\x0e\0\6\0\1\0\0\x2a\x30\0\x26\xc0\x0e" + LOCAL_SOA),
        (codes.LOCAL_MISSING | 2 << 8, 2, 3, b"", b"\xc0\x0e\0\6\0\1\0\0\x2a\x30\0\x26\xc0\x0e" + LOCAL_SOA),
        (codes.LOCAL_MISSING, 2, 3, b"\xc0\x0c\0\6\0\1", b""),
        (codes.LOCAL_MISSING, 6, 3, b"\xc0\x0c\0\6\0\1", b""),
    ],
)
def test_the_octets_of_local_answers(
    core: Core, found: int, kind: int, rcode: int, answer: bytes, authority: bytes
) -> None:
    if found == codes.LOCAL_MISSING:
        answer, authority = b"", b"\xc0\x0c\0\6\0\1\0\0\x2a\x30\0\x26\xc0\x0c" + LOCAL_SOA
    packet, out = query("a.test", kind), memoryview(bytearray(512))
    length = core("reply").local(out, packet, question(core, packet), found, 512)
    head = b"\x12\x34\x85" + bytes([0x80 | rcode]) + b"\0\1\0" + bytes([answer != b"", 0, authority != b"", 0, 0])
    assert bytes(out[:length]) == head + packet[12:] + answer + authority


def test_extended_errors_go_only_where_edns_is(core: Core) -> None:
    errors = b"\0\x0f\0\2\0\3"
    octets = relay(core, query("a.test", edns=True), upstream(), errors=errors, ede=22)
    assert edes(octets) == [22, 3]
    assert dns.message.from_wire(relay(core, query("a.test"), upstream(), errors=errors)).edns == -1


def test_a_reply_too_large_is_cut_to_the_question(core: Core) -> None:
    for edns in (False, True):
        packet = query("a.test", edns=edns)
        octets = relay(core, packet, upstream(100), limit=512)
        assert flags(octets) & TC
        assert len(octets) == len(packet)
        assert octets[6:12] == bytes(5) + bytes([edns])
        assert len(relay(core, packet, upstream(100), limit=65535)) == len(upstream(100)) + 11 * edns


def test_the_largest_reply_that_fits_is_sent_whole(core: Core) -> None:
    body, packet = upstream(30), query("a.test")
    assert not flags(relay(core, packet, body, limit=len(body))) & TC
    assert flags(relay(core, packet, body, limit=len(body) - 1)) & TC
    with_edns = query("a.test", edns=True)
    assert not flags(relay(core, with_edns, body, limit=len(body) + 11)) & TC
    assert flags(relay(core, with_edns, body, limit=len(body) + 10)) & TC


def test_an_extended_rcode_without_edns_is_servfail(core: Core) -> None:
    assert flags(relay(core, query("a.test"), upstream(), rcode=16)) & 15 == codes.SERVFAIL
    octets = relay(core, query("a.test", edns=True), upstream(), rcode=23)
    assert int(dns.message.from_wire(octets).rcode()) == 23


def test_an_error_without_a_question_gets_one(core: Core) -> None:
    body = b"\x12\x34\x81\x85" + bytes(8)
    octets = relay(core, query("a.test"), body, rcode=codes.REFUSED)
    read = dns.message.from_wire(octets)
    assert (int(read.rcode()), len(read.question)) == (codes.REFUSED, 1)


def test_without_room_in_memory_nothing_is_written(core: Core) -> None:
    packet, out = query("a.test"), memoryview(bytearray(20))
    asked = question(core, packet)
    assert core("reply").empty(out, packet, asked, 0, -1, 0, 512) == 0
    assert core("reply").relay(out, packet, asked, body_of(core, upstream()), 60, -1, 512) == 0


@pytest.mark.parametrize(
    ("payload", "least", "most", "limit"),
    [
        (0, 512, 1232, 512),
        (512, 512, 1232, 512),
        (513, 512, 1232, 513),
        (1000, 512, 1232, 1000),
        (1232, 512, 1232, 1232),
        (1233, 512, 1232, 1232),
        (4096, 512, 1232, 1232),
        (512, 65535, 65535, 65535),
        (65535, 65535, 65535, 65535),
    ],
)
def test_limit(core: Core, payload: int, least: int, most: int, limit: int) -> None:
    packet = bytearray(query("a.test", edns=True))
    packet[-8:-6] = payload.to_bytes(2, "big")
    assert core("reply").limit_of(question(core, bytes(packet)), least, most) == limit
