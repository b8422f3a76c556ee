"""The order of a kept answer's addresses: each in its turn, and nothing else moves."""

from collections.abc import Callable
from types import ModuleType

import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parity import cases

Core = Callable[[str], ModuleType]


def reply_of(identity: int, *rrsets: tuple[str, str, list[str]], kind: str = "A", ttl_s: int = 300) -> bytes:
    made = dns.message.make_response(dns.message.make_query("open.test", kind))
    made.id = identity
    for owner, of_type, rdata in rrsets:
        made.answer.append(dns.rrset.from_text_list(owner, ttl_s, "IN", of_type, rdata))
    return made.to_wire(max_size=65_535)


def rotated(core: Core, wire: bytes) -> bytes:
    question = core("question").Question()
    asked = wire[:2] + b"\1\0\0\1\0\0\0\0\0\0" + wire[12 : wire.index(b"\0", 12) + 5]
    assert core("question").parse(asked, len(asked), question) == 0
    out = bytearray(wire + b"\xee" * 8)
    assert core("rotate").rotate(memoryview(out), len(wire), question) == 0
    assert out.endswith(b"\xee" * 8)
    return bytes(out[: len(wire)])


def order(wire: bytes) -> list[str]:
    return [one.to_text() for rrset in dns.message.from_wire(wire, one_rr_per_rrset=True).answer for one in rrset]


V4 = [f"198.51.100.{n}" for n in range(5)]
V6 = [f"2001:db8::{n}" for n in range(1, 4)]


@pytest.mark.parametrize(("kind", "addresses"), [("A", V4), ("AAAA", V6), ("A", V4[:2]), ("A", V4[:1])])
def test_the_id_says_who_is_first_and_the_rest_follows_in_turn(core: Core, kind: str, addresses: list[str]) -> None:
    for identity in (1, 2, 4, 7, 0xFFFF):
        wire = reply_of(identity, ("open.test.", kind, addresses), kind=kind)
        written = order(wire)
        shift = identity % len(addresses)
        said = rotated(core, wire)
        assert order(said) == written[shift:] + written[:shift]
        assert sorted(said) == sorted(wire)


def test_each_is_first_for_as_many_ids(core: Core) -> None:
    wire = reply_of(0, ("open.test.", "A", V4))
    first = [order(rotated(core, n.to_bytes(2, "big") + wire[2:]))[0] for n in range(1, 101)]
    assert {first.count(one) for one in V4} == {20}


@pytest.mark.parametrize(("kind", "addresses"), [("A", V4), ("AAAA", V6)])
def test_an_id_of_0_is_nobody_s_and_the_ttl_says_who_is_first(core: Core, kind: str, addresses: list[str]) -> None:
    """DoQ has no other, and DoH asks for it: all their clients would take the same address while it is kept."""
    for ttl_s in (0, 1, 299, 300, 65_537, 86_400):
        wire = reply_of(0, ("open.test.", kind, addresses), kind=kind, ttl_s=ttl_s)
        written, shift = order(wire), (ttl_s & 0xFFFF) % len(addresses)
        assert order(rotated(core, wire)) == written[shift:] + written[:shift], ttl_s
        own = b"\0\1" + wire[2:]
        assert order(rotated(core, own)) == written[1:] + written[:1], "an id of its own decides alone"


def test_what_stands_before_and_behind_stays(core: Core) -> None:
    signed = "A 8 2 300 20300101000000 20200101000000 1 test. AAAA"
    wire = reply_of(
        3, ("open.test.", "CNAME", ["next.test."]), ("next.test.", "A", V4), ("next.test.", "RRSIG", [signed])
    )
    before, after = order(wire), order(rotated(core, wire))
    assert (after[0], after[-1]) == (before[0], before[-1])
    assert after[1:-1] == before[4:6] + before[1:4]


@pytest.mark.parametrize(
    ("kind", "rrsets"),
    [
        ("A", [("open.test.", "A", V4[:1]), ("next.test.", "A", V4[1:2])]),
        ("AAAA", [("open.test.", "A", V4)]),
        ("TXT", [("open.test.", "TXT", ["one", "two"])]),
        ("NS", [("open.test.", "NS", ["one.test.", "two.test."])]),
        ("A", []),
    ],
    ids=["two owners", "another type", "texts", "names", "nothing"],
)
def test_all_else_keeps_its_order(core: Core, kind: str, rrsets: list[tuple[str, str, list[str]]]) -> None:
    wire = reply_of(1, *rrsets, kind=kind)
    assert rotated(core, wire) == wire


def test_an_owner_spelled_out_once_and_pointed_to_after_that_is_one(core: Core) -> None:
    wire = reply_of(1)
    at = len(wire)
    record = b"\0\1\0\1\0\0\1\x2c\0\4\xc6\x33\x64"
    pointer = bytes([0xC0 | at >> 8, at & 255])
    wire = wire[:7] + b"\x03" + wire[8:] + b"\4open\4test\0" + record + b"\1" + (pointer + record + b"\2")
    wire += pointer + record + b"\3"
    assert order(rotated(core, wire)) == ["198.51.100.2", "198.51.100.3", "198.51.100.1"]


def test_a_reply_is_rotated_as_it_is_written_where_that_is_said(core: Core) -> None:
    wire = reply_of(7, ("open.test.", "A", V4))
    asked = b"\0\2\1\0" + wire[4:6] + bytes(6) + wire[12 : wire.index(b"\0", 12) + 5]
    question, message = core("question").Question(), core("message").Message()
    assert core("question").parse(asked, len(asked), question) == 0
    assert core("message").read(wire, len(wire), message)
    for rotate, shift in ((0, 0), (1, 2)):
        message.rotate, message.age_s = rotate, 10
        out = memoryview(bytearray(512))
        size = core("reply").relay(out, asked, question, message, -1, -1, 512)
        assert order(bytes(out[:size])) == order(wire)[shift:] + order(wire)[:shift]


@cases.of(0.03)
@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 0xFFFF), st.integers(30, 300))
def test_any_octets_end_alike_in_both_builds(octets: bytes, at: int, identity: int, cut: int) -> None:
    wire = reply_of(identity, ("open.test.", "CNAME", ["next.test."]), ("next.test.", "A", V4))
    at = 32 + at
    damaged = (wire[:at] + octets + wire[at + len(octets) :])[: max(cut, 32)]

    def run(core: Core) -> bytes:
        return rotated(core, damaged)

    assert len(cases.both(run)) == len(damaged)
