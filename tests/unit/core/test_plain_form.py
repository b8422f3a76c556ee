"""The form of an answer for who does not read signatures: all of it but these, and each name still the same."""

from collections.abc import Callable
from types import ModuleType

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parity import cases

Core = Callable[[str], ModuleType]
SIGNED = "8 2 300 20300101000000 20200101000000 1 zone.test. AAAA"
DNSSEC = {dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.NSEC3}
NSEC3 = "1 0 1 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr A RRSIG"

# One record of each type whose RDATA has names that may be compressed, and of some that have none.
PLAIN = [
    "www.zone.test. 300 A 198.51.100.7",
    "www.zone.test. 300 AAAA 2001:db8::7",
    "www.zone.test. 300 CNAME host.zone.test.",
    "zone.test. 300 NS ns.deep.zone.test.",
    "zone.test. 300 SOA ns.deep.zone.test. nobody.deep.zone.test. 1 2 3 4 5",
    "zone.test. 300 MX 10 mail.deep.zone.test.",
    "7.zone.test. 300 PTR www.deep.zone.test.",
    "_sip._udp.zone.test. 300 SRV 1 2 5060 sip.deep.zone.test.",
    'zone.test. 300 NAPTR 100 50 "s" "SIP+D2U" "" _sip._udp.deep.zone.test.',
    "zone.test. 300 DNAME deep.other.test.",
    "zone.test. 300 RP nobody.deep.zone.test. txt.deep.zone.test.",
    "zone.test. 300 AFSDB 1 afs.deep.zone.test.",
    "zone.test. 300 RT 1 rt.deep.zone.test.",
    "zone.test. 300 KX 1 kx.deep.zone.test.",
    "zone.test. 300 PX 1 map.deep.zone.test. x400.deep.zone.test.",
    "zone.test. 300 HTTPS 1 svc.deep.zone.test. port=443",
    'zone.test. 300 TXT "deep zone test"',
    "zone.test. 300 DS 1 8 2 " + "ab" * 32,
]
SIGNATURES = [
    f"deep.zone.test. 300 RRSIG A {SIGNED}",
    "x.deep.zone.test. 300 NSEC next.deep.zone.test. A RRSIG NSEC",
    f"2t7b4g4vsa5smi47k61mv5bv1a22bojq.zone.test. 300 NSEC3 {NSEC3}",
]


def reply_of(*sections: list[str], kind: str = "A", name: str = "www.zone.test") -> dns.message.Message:
    made = dns.message.make_response(dns.message.make_query(name, kind))
    for section, lines in zip((made.answer, made.authority, made.additional), sections, strict=False):
        for line in lines:
            owner, ttl, of_type, rdata = line.split(" ", 3)
            section.append(dns.rrset.from_text(owner, int(ttl), "IN", of_type, rdata))
    return made


def plain(core: Core, wire: bytes, room: int = 65_536) -> bytes | None:
    out = bytearray(b"\xee" * room)
    size = core("plain_form").plain_form(memoryview(wire), len(wire), memoryview(out))
    assert bytes(out[size or 0 :]).count(0xEE) or room <= len(wire) or size == room
    return bytes(out[:size]) if size else None


def expected(reply: dns.message.Message, asked: int = dns.rdatatype.A) -> list[set[str]]:
    return [
        {line for rrset in section if rrset.rdtype == asked or rrset.rdtype not in DNSSEC for line in lines(rrset)}
        for section in (reply.answer, reply.authority, reply.additional)
    ]


def lines(rrset: dns.rrset.RRset) -> list[str]:
    return rrset.to_text().split("\n")


def read(wire: bytes) -> list[set[str]]:
    reply = dns.message.from_wire(wire)
    sections = (reply.answer, reply.authority, reply.additional)
    return [{one for rrset in section for one in lines(rrset)} for section in sections]


@pytest.mark.parametrize("line", PLAIN, ids=[line.split()[2] for line in PLAIN])
@pytest.mark.parametrize("section", [0, 1, 2])
def test_each_type_stays_the_same_behind_what_is_cut_out(core: Core, line: str, section: int) -> None:
    """The names in it were compressed to names that go."""
    sections: list[list[str]] = [[], [], []]
    sections[0] = SIGNATURES[:]
    sections[section] = [*sections[section], line, "end.deep.zone.test. 300 A 198.51.100.9"]
    made = reply_of(*sections)
    wire = made.to_wire(max_size=65_535)
    said = plain(core, wire)
    assert said is not None
    assert read(said) == expected(made)
    assert len(said) < len(wire)
    assert b"RRSIG" not in dns.message.from_wire(said).to_text().encode()


def test_an_answer_without_signatures_is_the_same_octets(core: Core) -> None:
    wire = reply_of(PLAIN[:4], PLAIN[4:6], PLAIN[6:]).to_wire(max_size=65_535)
    assert plain(core, wire) == wire


@pytest.mark.parametrize("kind", ["RRSIG", "NSEC", "NSEC3"])
def test_what_was_asked_for_stays(core: Core, kind: str) -> None:
    made = reply_of([*SIGNATURES, PLAIN[0]], SIGNATURES, kind=kind)
    said = plain(core, made.to_wire(max_size=65_535))
    assert said is not None
    assert read(said) == expected(made, dns.rdatatype.from_text(kind))
    assert kind in dns.message.from_wire(said).to_text()


def test_header_and_question_stay(core: Core) -> None:
    made = reply_of([PLAIN[0], SIGNATURES[0]], name="WWW.zone.test")
    made.flags |= dns.flags.AD
    said = plain(core, made.to_wire())
    assert said is not None
    kept = dns.message.from_wire(said)
    assert (kept.flags, kept.rcode(), kept.question) == (made.flags, made.rcode(), made.question)
    assert kept.question[0].name.to_text() == "WWW.zone.test."


def test_a_name_that_runs_from_what_stays_into_what_does_not_is_spelled_out(core: Core) -> None:
    """A pointer into the last octets of a TXT: what follows them differs once the signature is gone."""
    asked = dns.message.make_query("a.test", "A")
    asked.flags |= dns.flags.QR
    head = asked.to_wire()[:6] + b"\0\x03\0\0\0\0" + asked.to_wire()[12:]
    text = b"\xc0\x0c\0\x10\0\1\0\0\1\0\0\x08\x07abcd\x04ok"  # The label \4ok.. takes two octets of the next record.
    at = len(head) + len(text) - 3
    signature = b"\x01x\x00\0\x2e\0\1\0\0\1\0\0\x01\0"
    alias = b"\xc0\x0c\0\5\0\1\0\0\1\0\0\x02" + bytes([0xC0 | at >> 8, at & 255])
    wire = head + text + signature + alias
    before = dns.name.from_wire(wire, at)[0]
    said = plain(core, wire)
    assert said is not None
    body = said.index(b"\xc0\x0c\0\5") + 12
    assert dns.name.from_wire(said, body)[0] == before == dns.name.Name((b"ok\x01x", b""))


@pytest.mark.parametrize("room", [0, 12, 40, 80])
def test_without_room_nothing_is_written_that_counts(core: Core, room: int) -> None:
    wire = reply_of([SIGNATURES[0], *PLAIN[:4]]).to_wire()
    out = bytearray(room)
    assert core("plain_form").plain_form(memoryview(wire), len(wire), memoryview(out)) == 0


@cases.of(0.03)
@given(st.binary(max_size=120), st.integers(0, 400), st.integers(0, 600))
def test_any_octets_end_alike_in_both_builds(octets: bytes, at: int, cut: int) -> None:
    wire = reply_of([*SIGNATURES, *PLAIN[:6]], SIGNATURES, PLAIN[6:10]).to_wire(max_size=65_535)
    damaged = (wire[:at] + octets + wire[at + len(octets) :])[: cut + 12]

    def run(core: Core) -> bytes | None:
        out = bytearray(2048)
        size = core("plain_form").plain_form(memoryview(damaged), len(damaged), memoryview(out))
        return bytes(out[:size])

    said = cases.both(run)
    assert said is not None
    assert said[:2] in (b"", damaged[:2]), "nothing, or an answer to the same query"


@cases.of(0.03)
@given(st.lists(st.sampled_from([*SIGNATURES, *PLAIN]), max_size=14), st.integers(0, 14), st.integers(0, 14))
def test_any_mixture_keeps_what_is_no_signature(chosen: list[str], first: int, second: int) -> None:
    made = reply_of(chosen[:first], chosen[first : first + second], chosen[first + second :])
    wire = made.to_wire(max_size=65_535)
    said = cases.both(plain, wire)
    assert said is not None
    assert read(said) == expected(made)
