"""A reply in the words of the table of field cases; what every reply must be is checked by `cases.reading`.

The words: rcode, TC, AA and AD; the records of ANSWER, counted where there are more than three, with their owner where
it is not the name asked for, letter by letter; the SOA of AUTHORITY; extended errors.
"""

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.journeys.cases import reading

SHOWN = 3
LONG_TEXT = 50


def said(query: bytes, reply: bytes) -> str:
    """What came, in words."""
    reading.said(query, reply)
    message = dns.message.from_wire(reply)
    rcode = dns.rcode.to_text(message.rcode())
    flags = [name for name in ("TC", "AA", "AD") if message.flags & dns.flags.Flag[name]]
    words = ["NODATA" if rcode == "NOERROR" and not message.answer else rcode, *flags]
    parts = [", ".join(words), *(_records(message, rrset) for rrset in message.answer)]
    parts += [f"SOA of {one.name}" for one in message.authority if one.rdtype == dns.rdatatype.SOA]
    parts += [_error(one) for one in message.options if isinstance(one, dns.edns.EDEOption)]
    parts += ["keepalive" for one in message.options if one.otype == dns.edns.OptionType.KEEPALIVE]
    return "; ".join(parts)


def _error(option: dns.edns.EDEOption) -> str:
    text = option.text or ""
    if len(text) > LONG_TEXT:
        return f"EDE {int(option.code)} and a text of {len(text.encode())} octets"
    return f"EDE {int(option.code)}" + (f" {text!r}" if text else "")


def _records(message: dns.message.Message, rrset: dns.rrset.RRset) -> str:
    kind = dns.rdatatype.to_text(rrset.rdtype)
    asked = message.question[0].name
    owner = "" if rrset.name.labels == asked.labels else f" of {rrset.name}"
    ttl = reading.FRESH_S if reading.AGED_S <= rrset.ttl <= reading.FRESH_S else rrset.ttl
    if len(rrset) > SHOWN:
        return f"{len(rrset)} {kind}{owner} ({ttl} s)"
    data = " ".join(str(rdata) for rdata in rrset)
    if len(data) > LONG_TEXT:
        return f"{kind}{owner} of {sum(len(rdata.to_wire() or b'') for rdata in rrset)} octets ({ttl} s)"
    return f"{kind}{owner} {data} ({ttl} s)"
