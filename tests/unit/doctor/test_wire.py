"""doctor/wire.py: what it writes dnspython reads, what it reads dnspython wrote; no octets make it fail otherwise."""

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.doctor import wire
from resolver.doctor.wire import Malformed

NAME = wire.name_of("www.Listed.test")


def test_a_query_is_what_dnspython_reads() -> None:
    octets = wire.query(NAME, wire.HTTPS, do=True, flags=wire.RD | wire.CD, options=[(65_001, b"x")])
    read = dns.message.from_wire(octets)
    assert str(read.question[0]) == "www.Listed.test. IN HTTPS"
    assert read.flags == dns.flags.RD | dns.flags.CD
    assert read.ednsflags == dns.flags.DO
    assert read.payload == wire.PAYLOAD
    assert [(int(one.otype), one.to_wire()) for one in read.options] == [(65_001, b"x")]
    plain = dns.message.from_wire(wire.query((), wire.NS, edns=False, rdclass=wire.CHAOS))
    assert str(plain.question[0]) == ". CH NS"
    assert plain.edns == -1


RECORDS = (
    "a.test. 60 IN A 192.0.2.1", "a.test. 60 IN AAAA 2001:db8::1", "a.test. 60 IN CNAME b.a.test.",
    "a.test. 60 IN MX 10 mail.a.test.", "a.test. 60 IN SOA ns.a.test. me.a.test. 1 2 3 4 5",
    "a.test. 60 IN SRV 1 2 3 sip.a.test.", "a.test. 60 IN TXT \"x y\" z", "a.test. 60 IN DNAME c.test.",
    "a.test. 60 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1", "a.test. 60 IN TYPE65280 \\# 2 abcd",
)  # fmt: skip


def test_a_reply_of_dnspythons_is_read_with_names_written_out() -> None:
    query = dns.message.make_query("a.test.", "ANY", use_edns=0, want_dnssec=True)
    reply = dns.message.make_response(query)
    reply.use_edns(0, dns.flags.DO, options=[dns.edns.EDEOption(4, "why")])
    reply.set_rcode(16)
    wanted = []
    for text in RECORDS:
        name, ttl, _, kind, data = text.split(" ", 4)
        one = dns.rrset.from_text(name, int(ttl), "IN", kind, data)
        reply.answer.append(one)
        wanted.append((int(one.rdtype), one[0].to_wire()))
    found = wire.read(reply.to_wire())
    assert [(one.kind, one.data) for one in found.answer] == wanted
    assert {(one.name, one.ttl, one.rdclass) for one in found.answer} == {((b"a", b"test"), 60, 1)}
    assert (found.id, found.rcode, found.do, found.payload) == (query.id, 16, True, reply.payload)
    assert found.options == ((wire.EDE, b"\0\4why"),)
    assert found.records == found.answer
    assert found.question == (((b"a", b"test"), wire.ANY, wire.IN),)


@pytest.mark.parametrize("text", ["a..b", "." * 3, "a" * 64, ".".join(["a" * 63] * 4) + ".x", "bücher", "a b", "a\\.b"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        wire.name_of(text)


def test_names() -> None:
    assert wire.name_of(".") == wire.name_of("") == ()
    assert wire.text_of(()) == "."
    assert wire.text_of(wire.name_of("*.A-b._c.test.")) == "*.A-b._c.test."
    assert wire.text_of((b"a.b\xff", b"test")) == "a\\046b\\255.test."
    assert wire.below(wire.lower(NAME), (b"listed", b"test"))
    assert wire.below(NAME, ())
    assert not wire.below((b"test",), (b"listed", b"test"))
    assert not wire.below((b"unlisted", b"test"), (b"listed", b"test"))


HEAD = b"\0\1\x80\0\0\1\0\1\0\0\0\0"
ASKED = b"\1a\0\0\1\0\1"


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "ends too early"),
        (HEAD, "ends too early"),
        (HEAD[:4] + b"\0\2" + HEAD[6:], "too many records"),
        (HEAD[:6] + b"\xff\xff" + HEAD[8:], "too many records"),
        (HEAD + ASKED + b"\xc0\x13", "a pointer does not lead back"),
        (HEAD + ASKED + b"\x80", "a label of an unknown kind"),
        (HEAD + ASKED + b"\xc0\x0c\0\1\0\1\0\0\0\0\0\5\1\2\3\4", "a record ends too early"),
        (HEAD + ASKED + b"\xc0\x0c\0\5\0\1\0\0\0\0\0\1\1b\0", "longer than the record"),
        (HEAD + ASKED + b"\xc0\x0c\0\1\0\1\0\0\0\0\0\0x", "octets stand behind"),
        (HEAD[:6] + b"\0\0\0\0\0\2" + ASKED + (b"\0\0\x29" + bytes(8)) * 2, "two OPT records"),
        (HEAD[:6] + b"\0\0\0\0\0\1" + ASKED + b"\0\0\x29" + bytes(6) + b"\0\3\0\1\0", "ends too early"),
        (HEAD + (b"\x3f" + b"a" * 63) * 5, "a name is too long"),
    ],
)
def test_what_is_no_message_is_malformed(octets: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        wire.read(octets)


def test_the_work_of_reading_has_a_bound() -> None:
    """4,000 owners that each point into a name of 120 labels."""
    deep = b"\1a" * 120 + b"\0"
    octets = HEAD[:6] + (4000).to_bytes(2, "big") + bytes(4) + deep + b"\0\1\0\1" + (b"\xc0\x0c" + bytes(10)) * 4000
    with pytest.raises(Malformed, match="too many labels"):
        wire.read(octets)


@given(st.binary(max_size=300))
def test_any_octets_are_a_message_or_malformed(octets: bytes) -> None:
    for data in (octets, HEAD + octets, HEAD[:6] + b"\0\2\0\2\0\2" + ASKED + octets):
        try:
            found = wire.read(data)
        except Malformed:
            continue
        assert all(len(wire.wire_of(one.name)) <= 255 for one in found.records)
    assert wire.is_reply(octets, wire.query(NAME, wire.A)) in (True, False)


def test_a_reply_is_one_to_its_query() -> None:
    asked = wire.query(NAME, wire.A)
    reply = asked[:2] + b"\x81\0" + asked[4:]
    assert wire.is_reply(reply, asked)
    assert wire.is_reply(reply[:12] + reply[12:].swapcase(), asked)
    assert wire.is_reply(reply[:4] + bytes(8), asked), "an error without a question"
    assert not wire.is_reply(asked, asked)
    assert not wire.is_reply(bytes([reply[0] ^ 1]) + reply[1:], asked)
    assert not wire.is_reply(reply[:12] + b"\3wwx" + reply[16:], asked)
    assert not wire.is_reply(reply[:11], asked)
    assert not wire.is_reply(reply[:14], asked)


def test_records_are_what_dnspython_makes() -> None:
    made = wire.octets_of(wire.Record(NAME, wire.HTTPS, wire.IN, 60, wire.svcb(1, (), [(1, b"\2h2"), (4, bytes(4))])))
    wanted = dns.rrset.from_text("www.Listed.test.", 60, "IN", "HTTPS", "1 . alpn=h2 ipv4hint=0.0.0.0")
    assert made == dns.name.from_text("www.Listed.test.").to_wire() + b"\0\x41\0\1\0\0\0\x3c" + len(
        wanted[0].to_wire()
    ).to_bytes(2, "big") + wanted[0].to_wire()
    assert wire.txt(b"x") == b"\1x"
