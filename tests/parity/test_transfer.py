"""Messages of zone transfers: both builds read any octets alike, and a sound transfer as dnspython does."""

import random
from typing import Any

import dns.exception
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.core import transfer
from tests.fakes.primary import ZONE, Record, message, soa
from tests.parity import cases

pytestmark = pytest.mark.timeout(600)

ORIGIN = b"\3rpz\7example\0"
NAMES = ("SOUND", "MALFORMED", "OUT_OF_ZONE", "NOT_A_SOA", "OTHER_SOA", "BEHIND_THE_END", "BAD_CLASS")
PROBLEMS = {getattr(transfer, name): name for name in NAMES}
OWNERS = ("@", "bad.test", "*.bad.test", "*", "32.1.2.0.192.rpz-ip", r"a\000.test", r"\*.x", "x.rpz-ns", "BAD.test")
DATA = (
    ("CNAME", "."),
    ("CNAME", "*."),
    ("CNAME", "bad.test."),
    ("CNAME", "*.bad.test."),
    ("CNAME", "rpz-passthru."),
    ("CNAME", "rpz-tcp-only."),
    ("A", "192.0.2.1"),
    ("NS", "ns.example."),
    ("TXT", "x"),
    ("DNAME", "x."),
)  # fmt: skip


def walked(core: cases.Core, messages: tuple[bytes, ...], key: bytes = b"") -> tuple[Any, ...]:
    """What each message gave, and where the transfer then stands."""
    found, said = core("transfer").Transfer(ORIGIN, key), []
    for one in messages:
        problem = core("transfer").walk(one, len(one), found)
        said.append((problem, found.lines(), found.tsig_at))
    return said, found.records, bool(found.closed), found.serial


def record(r: random.Random) -> Record:
    return r.choice([soa(1), soa(1), soa(r.randrange(3)), *((r.choice(OWNERS), *r.choice(DATA)) for _ in range(9))])


def zone(r: random.Random) -> list[Record]:
    middle = [(r.choice(OWNERS), *r.choice(DATA)) for _ in range(r.randrange(12))]
    if r.random() < 0.5:
        return [soa(1), *middle, soa(1)]
    some = [record(r) for _ in range(r.randrange(4))]
    return [*r.choice(([], [soa(1)], [soa(1)])), *some, soa(r.randrange(3)), record(r)]


def damaged(r: random.Random, wire: bytes) -> bytes:
    """The message with one octet changed, cut short, or as it is."""
    at = r.randrange(len(wire))
    return r.choice((wire, wire[:at], wire[:at] + bytes([r.randrange(256)]) + wire[at + 1 :]))


def test_any_octets_as_a_message() -> None:
    @cases.of(0.05)
    @given(st.binary(max_size=300), cases.randoms)
    def run(octets: bytes, r: random.Random) -> None:
        cases.both(walked, (octets,))
        counts = bytes((0, r.choice((0, 0, 1)), 0, 3, 0, 0, 0, r.choice((0, 1))))
        said = cases.both(walked, (b"\0\0\x84\0" + counts + octets,))
        cases.count("octets as a transfer", PROBLEMS[said[0][0][0]])

    run()


def test_transfers_whole_and_damaged() -> None:
    @cases.of(0.05)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        records = zone(r)
        cut = r.randrange(len(records) + 1)
        sent = tuple(message(part).to_wire() for part in (records[:cut], records[cut:]))
        if r.random() < 0.5:
            sent = (sent[0], damaged(r, sent[1]))
        said, count, closed, _ = cases.both(walked, sent)
        for problem, lines, _ in said:
            cases.count("transfers", PROBLEMS[problem])
            assert all(octet in b"abcdefghijklmnopqrstuvwxyz0123456789-_.=!*?\\\n" for octet in lines)
        if closed and said[-1][0] == transfer.SOUND:
            assert b"".join(lines for _, lines, _ in said).count(b"\n") == count
            cases.count("transfers", "closed")

    run()
    cases.assert_met("transfers", "SOUND", "MALFORMED", "NOT_A_SOA", "OTHER_SOA", "BEHIND_THE_END", "closed")


def test_marked_transfers_whole_and_damaged() -> None:
    @cases.of(0.05)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        records = [*zone(r), *(record(r) for _ in range(r.randrange(5)))]
        sent = message(records).to_wire()
        said, count, closed, _ = cases.both(walked, (damaged(r, sent),), bytes(range(16)))
        problem, lines, _ = said[0]
        cases.count("marked transfers", PROBLEMS[problem])
        assert not closed
        if problem == transfer.SOUND:
            assert lines.count(b"\n") == count
            for one in filter(None, lines.split(b"\n")):
                text, mark = one.split(b" ")
                assert len(mark) == 16
                cases.count("marked transfers", text[:1].decode())

    run()
    cases.assert_met("marked transfers", "SOUND", "MALFORMED", "NOT_A_SOA", "=", "*", "!", "?", "@")


def test_what_is_sound_dnspython_reads_too() -> None:
    @cases.of(0.05)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        wire = damaged(r, message(zone(r)).to_wire())
        said, count, _, _ = cases.both(walked, (wire,))
        if said[0][0] != transfer.SOUND:
            return
        try:
            read = dns.message.from_wire(wire, one_rr_per_rrset=True)
        except dns.exception.DNSException:
            cases.count("sound transfers", "contents that dnspython refuses")
            return
        assert [one for one in read.answer if one.name.is_subdomain(dns.name.from_text(ZONE))] == list(read.answer)
        assert len(read.answer) == count
        cases.count("sound transfers", "read by both")

    run()
    cases.assert_met("sound transfers", "read by both")
