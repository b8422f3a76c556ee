"""The upstream of the table of cases: the first label of a name says what it answers, and how.

Rules:
- A name that begins with nothing of this is honest: A is ADDRESS, every other type is NODATA.
- A negative answer has a SOA, owned by test., unless the label says otherwise.
"""

from collections.abc import Callable

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

ADDRESS = "198.51.100.7"
TTL_S = 300
SOA = dns.rrset.from_text("test.", TTL_S, "IN", "SOA", "ns.test. nobody.test. 1 3600 1200 604800 300")
TXT_RECORD_OCTETS, OPT_OCTETS, HEADER_OCTETS = 12, 11, 12
TOP_BIT = 0x80000000

Message = dns.message.Message


def answer(query: Message) -> Message:
    """The reply to a query, by the first label of its name."""
    label = query.question[0].name.labels[0].decode("ascii", "replace").lower()
    reply = dns.message.make_response(query, recursion_available=True)
    way, _, number = label.partition("-")
    if way == "octets":
        _sized(reply, int(number))
    elif way == "rcode":
        reply.set_rcode(dns.rcode.Rcode(int(number)))
    elif label in _WAYS:
        _WAYS[label](reply)
    else:
        right(reply)
    return reply


def add(reply: Message, kind: str, *data: str, owner: str = "", ttl: int = TTL_S) -> None:
    """Add records to ANSWER."""
    name = dns.name.from_text(owner) if owner else reply.question[0].name
    rrset = dns.rrset.from_text_list(name, TTL_S, "IN", kind, data)
    rrset.ttl = ttl
    reply.answer.append(rrset)


def right(reply: Message) -> None:
    """A is ADDRESS, all else is NODATA."""
    if reply.question[0].rdtype == dns.rdatatype.A:
        add(reply, "A", ADDRESS)
    else:
        reply.authority.append(SOA)


def _sized(reply: Message, octets: int) -> None:
    """One TXT record that makes a reply with OPT as large as this."""
    question = len(reply.question[0].name.to_wire()) + 4
    left = octets - HEADER_OCTETS - question - TXT_RECORD_OCTETS - OPT_OCTETS
    data = b""
    while left:
        size = min(left, 256)
        size -= left - size == 1  # A text of its own needs an octet for its length.
        data += bytes([size - 1]) + b"x" * (size - 1)
        left -= size
    rdata = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.TXT, data, 0, len(data))
    reply.answer.append(dns.rrset.from_rdata(reply.question[0].name, TTL_S, rdata))


def _nxdomain(reply: Message) -> None:
    reply.set_rcode(dns.rcode.NXDOMAIN)
    reply.authority.append(SOA)


def _flagged(flag: int) -> Callable[[Message], None]:
    def apply(reply: Message) -> None:
        right(reply)
        reply.flags |= flag

    return apply


def _truncated(reply: Message) -> None:
    reply.flags |= dns.flags.TC


def _top_bit(reply: Message) -> None:
    add(reply, "A", ADDRESS, ttl=TOP_BIT | TTL_S)


def _one_top_bit(reply: Message) -> None:
    add(reply, "CNAME", "target.test.")
    add(reply, "A", ADDRESS, owner="target.test.", ttl=TOP_BIT | TTL_S)


def _week(reply: Message) -> None:
    add(reply, "A", ADDRESS, ttl=7 * 86400)


def _zero(reply: Message) -> None:
    add(reply, "A", ADDRESS, ttl=0)


def _unknown(reply: Message) -> None:
    add(reply, "TYPE65280", "\\# 4 c6336407")


def _alias(reply: Message) -> None:
    add(reply, "CNAME", "Target.Example.")
    add(reply, "A", ADDRESS, owner="Target.Example.")


def _into_list(reply: Message) -> None:
    add(reply, "CNAME", "www.listed.test.")
    add(reply, "A", "203.0.113.66", owner="www.listed.test.")


def _overlong(reply: Message) -> None:
    """A DNAME that would make the name too long."""
    reply.set_rcode(dns.rcode.YXDOMAIN)
    add(reply, "DNAME", "target.example.", owner="test.")


def _unasked(reply: Message) -> None:
    """An answer among what nobody asked for."""
    add(reply, "A", "203.0.113.66", owner="other.test.")
    right(reply)
    add(reply, "CNAME", "www.listed.test.", owner="another.test.")


def _explained(reply: Message) -> None:
    """A failure of validation, said as RFC 8914 has it."""
    reply.set_rcode(dns.rcode.SERVFAIL)
    if reply.edns >= 0:
        reply.use_edns(0, payload=1232, options=[dns.edns.EDEOption(6, "signature crypto failed")])


def _options(reply: Message) -> None:
    """Options that are between us and our upstream: cookie, NSID, keepalive."""
    right(reply)
    if reply.edns >= 0:
        options = [dns.edns.GenericOption(code, b"12345678") for code in (10, 3, 11)]
        reply.use_edns(0, payload=4096, options=options)


def _no_edns(reply: Message) -> None:
    """A server that does not know EDNS (RFC 6891 7)."""
    if reply.edns >= 0:
        reply.use_edns(False)
        reply.set_rcode(dns.rcode.FORMERR)
    else:
        right(reply)


_WAYS: dict[str, Callable[[Message], None]] = {
    "nxdomain": _nxdomain,
    "nothing": lambda reply: None,
    "nxdomain-bare": lambda reply: reply.set_rcode(dns.rcode.NXDOMAIN),
    "truncated": _truncated,
    "ad": _flagged(dns.flags.AD),
    "aa": _flagged(dns.flags.AA),
    "unasked": _unasked,
    "z": _flagged(0x40),
    "top": _top_bit,
    "onetop": _one_top_bit,
    "week": _week,
    "zero": _zero,
    "unknown": _unknown,
    "alias": _alias,
    "into": _into_list,
    "overlong": _overlong,
    "explained": _explained,
    "options": _options,
    "noedns": _no_edns,
}
