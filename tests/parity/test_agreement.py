"""Two other implementations read what the core reads and writes: dnspython everything, dnslib what it can.

Exceptions, each for a reason:
- dnspython refuses options whose contents it knows to be wrong (RFC 8914, 7871, 7873, ...); the core only holds their
  lengths against the record, for it passes none of them on but extended errors. Queries are made without them here.
- dnspython refuses records whose contents are malformed; the core walks over what it does not judge.
- dnslib decodes labels as UTF-8 and unfolds pointers without a bound: it sees accepted octets only.
- Where the OPT of a query is not the last record dnspython reads it as well; order is no difference.
"""

import random
from typing import Any

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dnslib
import pytest
from hypothesis import given

from resolver.core import codes
from tests.parity import cases, wires

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(params=cases.BUILDS, ids=["compiled", "plain"])
def core(request: pytest.FixtureRequest) -> cases.Core:
    found: cases.Core = request.param
    return found


def sound_opt(r: random.Random) -> bytes:
    size = r.choice((0, 511, 512, 1232, 4096, 65535)).to_bytes(2, "big")
    padding = r.choice((b"", b"\0\x0c\0\x04\0\0\0\0", b"\0\3\0\0"))
    flags = r.choice((b"\0\0", b"\x80\0"))
    return b"\0\0\x29" + size + b"\0\0" + flags + len(padding).to_bytes(2, "big") + padding


def query(r: random.Random, known: tuple[list[bytes], ...] = ()) -> bytes:
    """A query that may be well-formed and that others can represent."""
    with_opt = r.random() < 0.6
    kind = r.choice((1, 1, 1, 28, 28, 28, 65, 64, 16, 2, 6, 255, 12345))
    octets = r.randbytes(2) + bytes([r.choice((0, 1)), r.choice((0, 0x10, 0x20, 0x30))]) + b"\0\1\0\0\0\0\0"
    octets += b"\1" if with_opt else b"\0"
    octets += wires.wire(wires.near(r, known)) + kind.to_bytes(2, "big") + b"\0\1"
    return wires.damaged(r, octets + (sound_opt(r) if with_opt else b""))


def lower(name: Any) -> bytes:
    return wires.folded(name.to_wire() or b"")


def utf8(packet: bytes) -> bool:
    try:
        packet.decode()
    except UnicodeDecodeError:
        return False
    return True


def parsed(core: cases.Core, packet: bytes) -> Any:
    question = core("question").Question()
    core("question").parse(packet, len(packet), question)
    return question


def test_a_query_is_read_alike(core: cases.Core) -> None:
    comparison = f"dnspython reads queries, {core('name').__name__.partition('.')[0]}"

    @cases.of(0.01)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        packet = query(r)
        question = parsed(core, packet)
        try:
            theirs = dns.message.from_wire(packet)
        except dns.exception.DNSException:
            theirs = None
        if question.problem != codes.WELL_FORMED:
            cases.count(comparison, "refused by both" if theirs is None else "refused by us alone")
            return
        if theirs is None:
            # What we accept and they do not: contents of a record that a changed octet has made unsound.
            assert packet[6:12] != bytes(6)
            cases.count(comparison, "contents refused by them")
            return
        (asked,) = theirs.question
        assert lower(asked.name) == question.name.wire()
        assert (asked.rdtype, asked.rdclass) == (question.qtype, question.qclass)
        assert (theirs.edns >= 0) == question.has_opt
        if question.has_opt:
            assert max(512, theirs.payload) == question.payload
            assert bool(theirs.ednsflags & dns.flags.DO) == question.dnssec_ok
        cases.count(comparison, "read alike")

    run()
    cases.assert_met(comparison, "read alike", "refused by both")


def test_a_blocked_answer_reads_as_what_it_is(core: cases.Core) -> None:
    comparison = f"blocked answers read, {core('name').__name__.partition('.')[0]}"

    @cases.of(0.01)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        made = wires.lists(r)
        for _ in range(8):
            judge(r, made)

    def judge(r: random.Random, made: wires.Lists) -> None:
        packet = query(r, made.names)
        question = parsed(core, packet)
        if question.problem != codes.WELL_FORMED:
            return
        policy, out = core("policy"), bytearray(1232)
        generation, verdict = wires.generation(core, made), policy.Verdict()
        if policy.decide(generation, question.name, 0xFFFF, verdict) != codes.BLOCK:
            return
        limit = core("reply").limit_of(question, 512, 1232)
        octets = bytes(out[: policy.answer(generation, verdict, out, packet, question, limit)])
        answer, statute, v4, v6 = made.answers[verdict.slot]
        theirs = dns.message.from_wire(octets)
        held_against_header(theirs, packet, question, octets, limit)
        addresses = {codes.TYPE_A: v4, codes.TYPE_AAAA: v6}.get(question.qtype, ()) if answer == 0 else ()
        addresses = addresses if question.qclass == 1 else ()
        if addresses:
            (found,) = theirs.answer
            assert found.ttl == 60
            assert {one.to_digestable() for one in found} == set(addresses)
            assert not theirs.authority
        else:
            (found,) = theirs.authority
            assert (found.ttl, found[0].minimum) == (60, 60)
            assert not theirs.answer
        assert lower(found.name) == question.name.wire()
        may_deny = answer == codes.ANSWER_NXDOMAIN and verdict.bits & codes.BLOCK_BELOW
        denied = may_deny and not verdict.bits & codes.EXCEPTION_BELOW
        assert theirs.rcode() == (dns.rcode.NXDOMAIN if denied else dns.rcode.NOERROR)
        expected = codes.EDE_FORGED_ANSWER if answer == 0 else codes.EDE_CENSORED if statute else codes.EDE_BLOCKED
        assert [int(one.code) for one in theirs.options] == ([expected] if question.has_opt else [])
        if utf8(octets[12 : question.end]):
            same_in_dnslib(octets, theirs)
        cases.count(comparison, "addresses" if addresses else "nxdomain" if denied else "nodata")

    run()
    cases.assert_met(comparison, "addresses", "nodata", "nxdomain")


def held_against_header(theirs: Any, packet: bytes, question: Any, octets: bytes, limit: int) -> None:
    """Id, question and flags as DESIGN has them for every blocked answer.

    Of the query dnspython reads no more than the question: a changed octet of it may have made its OPT a record that
    dnspython refuses.
    """
    assert len(octets) <= limit
    assert octets[:2] == packet[:2]
    asked = dns.message.from_wire(packet, question_only=True)
    assert theirs.question[0].to_text() == asked.question[0].to_text()
    assert theirs.flags & ~0x800F == (asked.flags & (dns.flags.RD | dns.flags.CD)) | dns.flags.RA
    assert theirs.flags & dns.flags.QR
    assert (theirs.edns >= 0) == bool(question.has_opt)


def same_in_dnslib(octets: bytes, theirs: Any) -> None:
    """dnslib counts the same records."""
    read = dnslib.DNSRecord.parse(octets)
    assert len(read.rr) == sum(len(one) for one in theirs.answer)
    assert len(read.auth) == sum(len(one) for one in theirs.authority)
    assert len(read.ar) == sum(len(one) for one in theirs.additional) + (theirs.edns >= 0)
    assert read.header.rcode == int(theirs.rcode()) & 15
    assert read.header.id == theirs.id


def test_a_reply_without_records_reads_as_what_it_is(core: cases.Core) -> None:
    comparison = f"empty replies read, {core('name').__name__.partition('.')[0]}"

    @cases.of(0.01)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        packet = query(r)
        question = parsed(core, packet)
        if len(packet) < 12 or question.problem == codes.SILENT_RESPONSE:
            return
        out = bytearray(1232)
        rcode, ede, truncated = r.choice((1, 2, 4, 5)), r.choice((-1, 14, 18, 20)), r.randrange(2)
        limit = r.choice((len(packet), 512, 1232))
        length = core("reply").empty(out, packet, question, rcode, ede, truncated, limit)
        assert 12 <= length <= limit
        if question.problem not in (codes.WELL_FORMED, codes.NOT_SERVED):
            dnslib.DNSHeader.parse(dnslib.DNSBuffer(bytes(out[:length])))
            return
        theirs = dns.message.from_wire(bytes(out[:length]), raise_on_truncation=False)
        assert theirs.rcode() == rcode
        assert bool(theirs.flags & dns.flags.TC) == bool(truncated)
        assert lower(theirs.question[0].name) == question.name.wire()
        room = limit >= question.end + 11 + 6
        expected = [ede] if question.has_opt and ede >= 0 and room else []
        assert [int(one.code) for one in theirs.options] == expected
        if utf8(bytes(out[12 : question.end])):
            same_in_dnslib(bytes(out[:length]), theirs)
        cases.count(comparison, "with error" if expected else "without")

    run()
    cases.assert_met(comparison, "with error", "without")


def upstream(r: random.Random, packet: bytes) -> bytes:
    """What dnspython writes as a reply to the packet."""
    made = dns.message.make_response(dns.message.from_wire(packet), recursion_available=True)
    made.use_edns(False)
    name = made.question[0].name
    for number in range(r.choice((0, 1, 3, 30, 90))):
        made.answer.append(dns.rrset.from_text(name, r.randrange(100), "IN", "A", f"192.0.2.{number}"))
    if r.random() < 0.3:
        made.authority.append(dns.rrset.from_text("example.", 300, "IN", "SOA", "m.example. n.example. 1 2 3 4 60"))
    if r.random() < 0.3:
        made.additional.append(dns.rrset.from_text("ns.example.", 30, "IN", "AAAA", "2001:db8::1"))
    if r.random() < 0.5:
        made.use_edns(0, payload=4096, options=[dns.edns.EDEOption(r.choice((3, 6, 9)), "kept")])
    return made.to_wire(max_size=65535)


def test_a_relayed_reply_keeps_its_records(core: cases.Core) -> None:
    comparison = f"relayed replies read, {core('name').__name__.partition('.')[0]}"

    @cases.of(0.01)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        packet = query(r)
        question = parsed(core, packet)
        if question.problem != codes.WELL_FORMED or question.qclass != 1:
            return
        try:
            body = bytearray(upstream(r, packet))
        except (dns.exception.DNSException, ValueError):
            return
        original = dns.message.from_wire(bytes(body))
        message, out = core("message").Message(), bytearray(66000)
        assert core("message").read(body, len(body), message) == 1
        assert core("question").matches(body, len(body), packet, question) == 1
        core("message").trim(body, message)
        limit = core("reply").limit_of(question, *r.choice(((512, 1232), (65535, 65535))))
        message.age_s = r.choice((core("message").FRESH, 0, 30, 200))
        ttl_s = r.choice((core("reply").KEEP_TTL, core("reply").KEEP_TTL, 30))
        length = core("reply").relay(out, packet, question, message, ttl_s, -1, limit)
        assert 12 <= length <= limit
        theirs = dns.message.from_wire(bytes(out[:length]), raise_on_truncation=False)
        if theirs.flags & dns.flags.TC:
            assert not theirs.answer
            assert length < 300
            cases.count(comparison, "truncated")
            return
        for ours, other in ((theirs.answer, original.answer), (theirs.authority, original.authority)):
            assert [one.to_rdataset() for one in ours] == [one.to_rdataset() for one in other]
            for one, before in zip(ours, other, strict=True):
                aged = min(86400, max(0, before.ttl - max(0, message.age_s)))
                assert one.ttl == (ttl_s if ttl_s >= 0 and before.ttl else aged)
        assert [one.to_rdataset() for one in theirs.additional] == [one.to_rdataset() for one in original.additional]
        expected = original.options if question.has_opt else ()
        assert theirs.options == expected
        if utf8(bytes(out[12 : question.end])):
            same_in_dnslib(bytes(out[:length]), theirs)
        cases.count(comparison, "errors kept" if theirs.options else "relayed")

    run()
    cases.assert_met(comparison, "relayed", "truncated", "errors kept")
