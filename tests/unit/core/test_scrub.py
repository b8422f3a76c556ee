"""Records that nobody asked for leave a reply for good; those of the chain stay, in whatever order they come."""

import itertools
from collections.abc import Callable
from types import ModuleType

import dns.message
import pytest

from tests.unit.core.generations import query, wire
from tests.unit.query.parts import query as query_for
from tests.unit.query.parts import reply_of, texts

Core = Callable[[str], ModuleType]
REAL, OTHER = "198.51.100.7", "203.0.113.9"


def scrubbed(core: Core, octets: bytes) -> tuple[int, bytes]:
    message, chain = core("message").Message(), core("scrub").Chain()
    assert core("message").read(octets, len(octets), message) == 1
    found = core("scrub").look(message, chain)
    out = memoryview(bytearray(65535))
    length = core("scrub").write(message, chain, out) if found == core("scrub").NEEDED else 0
    return found, bytes(out[:length])


def told(*answer: str, name: str = "www.test", authority: tuple[str, ...] = ()) -> bytes:
    return reply_of(query_for(name, edns=False), answer, authority, [f"glue.test. 60 A {OTHER}"]).to_wire()


CHAIN = ["www.test. 60 CNAME a.test.", "a.test. 60 CNAME b.example.", f"b.example. 60 A {REAL}"]
SIGNATURE = "60 RRSIG {} 13 2 60 20300101000000 20200101000000 1 test. AAAA"


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [f"www.test. 60 A {REAL}"],
        [f"WWW.Test. 60 A {REAL}", "www.test. " + SIGNATURE.format("A")],
        CHAIN,
        CHAIN[::-1],
        [CHAIN[1], CHAIN[0], CHAIN[2]],
        [*CHAIN, *(f"{owner} " + SIGNATURE.format("CNAME") for owner in ("www.test.", "a.test.", "b.example."))],
        ["test. 60 DNAME b.example.", "www.test. 60 CNAME www.b.example.", f"www.b.example. 60 A {REAL}"],
        [
            "test. 60 DNAME b.example.",
            "test. " + SIGNATURE.format("DNAME"),
            "www.test. 60 CNAME www.b.example.",
            f"www.b.example. 60 A {REAL}",
        ],
        ["b.example. 60 DNAME c.example.", "www.test. 60 CNAME x.b.example.", "x.b.example. 60 CNAME x.c.example."],
        ["www.test. 60 CNAME www.test."],
        ["www.test. 60 CNAME a.test.", "a.test. 60 CNAME www.test."],
        ["www.test. 60 TXT text", "www.test. 60 NSEC a.test. A"],
        [f"www.test. 60 A {REAL}", "www.test. 60 DNAME other.test."],
    ],
)
def test_what_belongs_to_the_question_stays_as_it_came(core: Core, answer: list[str]) -> None:
    assert scrubbed(core, told(*answer)) == (core("scrub").CLEAN, b"")


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ([f"other.test. 60 A {OTHER}"], []),
        ([f"www.test. 60 A {REAL}", f"other.test. 60 A {OTHER}"], [0]),
        ([f"other.test. 60 A {OTHER}", f"www.test. 60 A {REAL}"], [1]),
        ([f"a.www.test. 60 A {OTHER}", f"test. 60 A {OTHER}", f"www.test. 60 A {REAL}"], [2]),
        ([f"other.test. 60 A {OTHER}", *CHAIN], [1, 2, 3]),
        ([CHAIN[2], CHAIN[1]], []),
        ([f"www.test. 60 A {REAL}", "other.test. " + SIGNATURE.format("A")], [0]),
        ([f"www.test. 60 A {REAL}", "test. " + SIGNATURE.format("CNAME")], [0]),
        ([f"www.test. 60 A {REAL}", "other.test. " + SIGNATURE.format("DNAME")], [0]),
        ([f"www.test. 60 A {REAL}", "other.example. 60 DNAME www.test.", "other.test. 60 CNAME www.test."], [0]),
        ([f"www.test. 60 A {REAL}", "a.www.test. 60 DNAME other.test."], [0]),
    ],
)
def test_what_nobody_asked_for_is_gone(core: Core, answer: list[str], left: list[int]) -> None:
    found, octets = scrubbed(core, told(*answer, authority=("test. 60 NS ns.www.test.", f"ns.www.test. 60 A {OTHER}")))
    read = dns.message.from_wire(octets)
    assert found == core("scrub").NEEDED
    stays = reply_of(query_for("www.test"), [answer[number] for number in left])
    assert sorted(texts(read)) == sorted(texts(stays))
    assert [str(one.name) for one in read.authority] == ["test.", "ns.www.test."]
    assert str(read.authority[0][0]) == "ns.www.test."
    assert read.additional == []
    assert scrubbed(core, octets)[0] == core("scrub").CLEAN
    for name in (b"other", b"glue"):
        assert name not in octets, "no octet of it may be left"


def test_names_that_pointed_at_what_is_gone_are_spelled_out(core: Core) -> None:
    packet = bytearray(query("www.test", flags=0x8180))
    first = len(packet)
    gone = wire("gone.example") + b"\0\1\0\1\0\0\0\x3c\0\4" + bytes(4)
    pointer = (0xC000 | first + 5).to_bytes(2, "big")
    kept = b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\4\1a" + pointer[:1] + pointer[1:]
    kept = kept.replace(b"\0\4\1a", b"\0\4\1a", 1)
    packet[7] = 2
    _, octets = scrubbed(core, bytes(packet) + gone + kept)
    assert octets[first:] == b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\x0b\1a" + wire("example")
    assert octets[12:first] == packet[12:]


def test_a_compressed_target_of_a_service_is_spelled_out(core: Core) -> None:
    packet = bytearray(query("www.test", 65, flags=0x8180))
    packet[7] = 1
    head = b"\xc0\x0c\0\x41\0\1\0\0\0\x3c"
    found, octets = scrubbed(core, bytes(packet) + head + b"\0\7\0\1\2ab\xc0\x10")
    assert found == core("scrub").NEEDED
    assert octets == bytes(packet) + head + b"\0\x0b\0\1\2ab" + wire("test")


def test_a_signature_of_the_message_leaves_answer_and_authority(core: Core) -> None:
    tsig = wire("key.test") + b"\0\xfa\0\xff\0\0\0\0\0\x16" + wire("hmac") + bytes(16)
    for section in (6, 8):
        packet = bytearray(query("www.test", flags=0x8180))
        packet[section + 1] = 1
        assert scrubbed(core, bytes(packet) + tsig) == (core("scrub").NEEDED, query("www.test", flags=0x8180))


def test_the_work_is_bounded(core: Core) -> None:
    """Owners equal to a name of the chain but for their end, as often as a message has room for."""
    deep = "a." * 118
    long = bytearray(query(wire(deep + "b"), flags=0x8180))
    owners = b""
    for _ in range(3000):
        owners += b"\1a\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes(4)
    long[6:8] = (3000).to_bytes(2, "big")
    assert scrubbed(core, bytes(long) + owners)[0] == core("scrub").TOO_MUCH
    # Thousands of records of the question's name are no work.
    plain = bytearray(query("www.test", flags=0x8180))
    plain[6:8] = (4000).to_bytes(2, "big")
    address = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes(4)
    assert scrubbed(core, bytes(plain) + address * 4000)[0] == core("scrub").CLEAN


def test_a_chain_has_an_end(core: Core) -> None:
    names = [f"n{number}.test." for number in range(60)]
    links = [f"{one} 60 CNAME {after}" for one, after in itertools.pairwise(names)]
    _, octets = scrubbed(core, told(*links, name="n0.test"))
    assert 0 < len(dns.message.from_wire(octets).answer) <= core("scrub").MAX_CHAIN
    found, octets = scrubbed(core, told(*reversed(links[:20]), name="n0.test"))
    assert found == core("scrub").NEEDED
    assert len(dns.message.from_wire(octets).answer) == core("scrub").MAX_PASSES + 1


def test_a_reply_that_does_not_fit_is_not_written(core: Core) -> None:
    octets = told(f"www.test. 60 A {REAL}", f"other.test. 60 A {OTHER}", authority=("test. 60 NS ns.example.",))
    _, whole = scrubbed(core, octets)
    message, chain = core("message").Message(), core("scrub").Chain()
    assert core("message").read(octets, len(octets), message) == 1
    assert core("scrub").look(message, chain) == core("scrub").NEEDED
    for size in range(len(whole)):
        assert core("scrub").write(message, chain, memoryview(bytearray(size))) == 0, size
    assert core("scrub").write(message, chain, memoryview(bytearray(len(whole)))) == len(whole)
