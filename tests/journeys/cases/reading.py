"""A reply in the words of the table of cases; what every reply must be, whatever it says, is checked here.

Rules, of every reply: QR=1, the query's id, opcode, RD and CD, RA=1, Z=0 (RFC 1035 4.1.1, 4035 3.2.2); the question
octet by octet or not at all; OPT where a query that parses has one, of version 0, with our payload, with the query's
DO and no other flag (RFC 6891 6.1, 3225 3).
The words: rcode and flags; records with type, data (of TXT only how much) and TTL, their owner where it is not the name
asked for; EDNS.
"""

import contextlib

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset

PAYLOAD = 1232
SERVER_COOKIE = 16
FLAGS = {dns.flags.AA: "AA", dns.flags.TC: "TC", dns.flags.AD: "AD", dns.flags.CD: "CD"}
FRESH_S, AGED_S = 300, 270
"""TTL of what the upstream of these tests says, and the least that is left of it while they run."""


def said(query: bytes, reply: bytes | None, zone: str = "") -> str:
    """What came, in words; ZONE stands for `zone`. AssertionError where no reply may look so."""
    if reply is None:
        return "silence"
    _check_header(query, reply)
    if len(reply) == 12:
        assert not any(reply[4:])
        return f"{dns.rcode.to_text(dns.rcode.Rcode(reply[3] & 15))}, header only"
    message = dns.message.from_wire(reply)
    _check_edns(query, message)
    cookies = [one.client for one in message.options if isinstance(one, dns.edns.CookieOption)]
    assert all(b"\0\x0a" in query and one in query for one in cookies), "the client's cookie is the query's"
    words = _head(message)
    for title, section in (("", message.answer), ("authority: ", message.authority), ("additional: ",
        message.additional)):
        if section:
            words.append(title + ", ".join(_record(message, rrset, zone) for rrset in section))
    return "; ".join(words + _edns(message))


def _check_header(query: bytes, reply: bytes) -> None:
    assert reply[:2] == query[:2], "another id"
    assert reply[2] & 0x80, "QR"
    assert (reply[2] ^ query[2]) & 0x79 == 0, "opcode and RD are the query's"
    assert (reply[3] ^ query[3]) & 0x10 == 0, "CD is the query's"
    assert reply[3] & 0x80, "RA"
    assert not reply[3] & 0x40, "Z"
    if len(reply) > 12 and query[4:6] == bytes(2):
        assert reply[4:6] == bytes(2), "no question, and yet an answer: to a request for a cookie (RFC 7873 5.4)"
    elif len(reply) > 12:
        assert reply[4:6] == b"\0\1"
        end = reply.index(b"\0", 12) + 5 if reply[12] else 17
        assert reply[12:end] == query[12:end], "the question is the query's, octet by octet"


def _check_edns(query: bytes, message: dns.message.Message) -> None:
    if message.opt is not None:
        assert message.edns == 0
        assert message.payload == PAYLOAD
        assert message.ednsflags & 0x7FFF == 0
    with contextlib.suppress(dns.exception.DNSException):
        asked = dns.message.from_wire(query)
        assert (message.edns >= 0) == (asked.edns >= 0), "OPT only if asked, and then always"
        assert (message.ednsflags ^ asked.ednsflags) & dns.flags.DO == 0, "DO is the query's"


def _head(message: dns.message.Message) -> list[str]:
    words = dns.rcode.to_text(message.rcode())
    if words == "NOERROR" and not message.answer:
        words = "NODATA"
    return [", ".join([words, *(name for flag, name in FLAGS.items() if message.flags & flag)])]


def _record(message: dns.message.Message, rrset: dns.rrset.RRset, zone: str) -> str:
    kind = dns.rdatatype.to_text(rrset.rdtype)
    owner = rrset.name.to_text()
    data = " ".join(rdata.to_text() for rdata in rrset)
    if kind == "SOA":
        data = f"of {owner}"
    elif rrset.name != message.question[0].name:
        data = f"of {owner} {data}"
    if kind == "TXT":
        data = f"of {sum(len(rdata.to_wire() or b'') for rdata in rrset)} octets"
    if zone:
        data = data.lower().replace(zone.lower(), "ZONE")
    ttl = FRESH_S if AGED_S <= rrset.ttl <= FRESH_S else rrset.ttl
    return f"{kind} {data} ({ttl} s)"


def _edns(message: dns.message.Message) -> list[str]:
    if message.edns < 0:
        return []
    words = ["EDNS DO" if message.ednsflags & dns.flags.DO else "EDNS"]
    for option in message.options:
        if isinstance(option, dns.edns.EDEOption):
            words.append(f"EDE {int(option.code)}" + (f" {option.text!r}" if option.text else ""))
        elif option.otype == dns.edns.OptionType.KEEPALIVE:
            words.append(f"keepalive {int.from_bytes(option.to_wire() or b'', 'big') / 10:g} s")
        elif isinstance(option, dns.edns.CookieOption):
            assert len(option.server) == SERVER_COOKIE, "that of a server has 16 octets (RFC 9018 4)"
            words.append("cookie")
        else:
            words.append(f"option {int(option.otype)}")
    return [", ".join(words)]
