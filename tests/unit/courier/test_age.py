"""TTLs of an answer that a cache of HTTP has kept."""

import dns.message
import dns.rrset
import pytest

from resolver.courier.age import MOST_S, aged


def reply() -> dns.message.Message:
    query = dns.message.make_query("www.open.test", "A", use_edns=0)
    one = dns.message.make_response(query)
    one.use_edns(0, ednsflags=0x8000, payload=1232)
    one.answer.append(dns.rrset.from_text("www.open.test.", 300, "IN", "A", "198.51.100.7"))
    one.authority.append(dns.rrset.from_text("open.test.", 50, "IN", "NS", "ns.open.test."))
    return one


def test_each_ttl_is_lowered_and_none_below_0() -> None:
    wire = reply().to_wire()
    later = dns.message.from_wire(aged(wire, 100))
    assert (later.answer[0].ttl, later.authority[0].ttl) == (200, 0)
    assert (later.edns, later.ednsflags, later.payload) == (0, 0x8000, 1232), "an OPT has no TTL"
    assert aged(wire, 0) == wire
    assert dns.message.from_wire(aged(wire, MOST_S)).answer[0].ttl == 0


def test_what_is_no_message_is_refused() -> None:
    wire = reply().to_wire()
    for end in range(12, len(wire)):
        with pytest.raises(ValueError, match="not a DNS message"):
            aged(wire[:end], 1)
    with pytest.raises(ValueError, match="not a DNS message"):
        aged(b"\xff" * 40, 1)
