# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Writes the bytes of every answer.

Rules:
- Id, question and RD are the query's own octets; RA is set; CD is copied (RFC 4035 3.2.2); OPT if asked (RFC 6891 7).
- AD is copied from an upstream, and only if the query has AD or DO (RFC 6840 5.8). AA is set for local zones alone:
  of what an upstream says we are no authority. The other bits are zero. No TTL is above a day; one with the top bit set
  is 0 (RFC 2181 8).
- ANY is answered with one synthesised HINFO record, whatever the name holds (RFC 8482 4.2).
- A local zone has the SOA and NS of RFC 6303 3, owned by its apex. What this resolver designates is all or nothing;
  the addresses in ADDITIONAL are left out first.
- A blocked answer has AA and AD clear, lives for 60 s at most, and is the same for every name of a list: the page's
  addresses for A and AAAA in class IN, else NODATA with a SOA whose owner is the qname (RFC 2308 2.2, TTL = MINIMUM).
- NXDOMAIN is given only if no name below may exist: for an entry with its subtree and no exception below (RFC 8020).
- An extended error is a number (RFC 8914), with the operator's text if there is one; no list's id, serial or rule is in
  any answer, and no octet of an error depends on the name.
- A client whose query has the option of structured errors, empty, gets no forged answer where the operator has turned
  them on: NODATA or NXDOMAIN, with the longest of the list's structured texts that fits
  (draft-ietf-dnsop-structured-dns-error).
- An owner in an upstream's reply that is the question's name and is spelled out has the letters of this query
  (RFC 4343), not those of the client for whom the reply was fetched.
- Options give way before records do: first keepalive, then the upstream's extended errors, then our own. A cookie is
  left out only where an answer without records has no room for it: its client may drop an answer that lacks it.
- Padding comes last, and fills what is left up to the next multiple, or the limit (RFC 7830, RFC 8467 4.1).
- A reply larger than the client takes becomes TC=1 with the question only; never above 1232 octets over UDP (RFC 9715).
- Functions return the reply's length, 0 if it could not be written.
"""

import cython

from .codes import (
    ANSWER_NODATA,
    ANSWER_NXDOMAIN,
    ANSWER_PAGE,
    BLOCK_BELOW,
    CLASS_IN,
    EDE_BLOCKED,
    EDE_CENSORED,
    EDE_FORGED_ANSWER,
    EDE_NONE,
    EXCEPTION_BELOW,
    LOCAL_APEX,
    LOCAL_MISSING,
    LOCALHOST,
    LOOPBACK,
    NOERROR,
    NXDOMAIN,
    SERVFAIL,
    TYPE_A,
    TYPE_AAAA,
    TYPE_ANY,
    TYPE_HINFO,
    TYPE_NS,
    TYPE_PTR,
    TYPE_SOA,
)
from .message import MAX_TTL_S, Body
from .question import OPT_OCTETS

if not cython.compiled:
    from .message import age
    from .name import skip
    from .octets import copy, put
    from .question import signals
    from .rotate import rotate

BLOCKED_TTL_S = 60
MAX_UDP_OCTETS = 1232
MAX_ADDRESSES = 8
KEEP_TTL = -1

_MAX_UDP_OCTETS = MAX_UDP_OCTETS
_HEADER = 12
_A = TYPE_A
_AAAA = TYPE_AAAA
_IN = CLASS_IN
_NXDOMAIN_ANSWER = ANSWER_NXDOMAIN
_NXDOMAIN = NXDOMAIN
_SERVFAIL = SERVFAIL
_BLOCK_BELOW = BLOCK_BELOW
_EXCEPTION_BELOW = EXCEPTION_BELOW
_EDE_NONE = EDE_NONE
_APEX = LOCAL_APEX
_MISSING = LOCAL_MISSING
_LOCALHOST = LOCALHOST
_LOOPBACK = LOOPBACK
_NOERROR = NOERROR
_ANY = TYPE_ANY
_NS = TYPE_NS
_PTR = TYPE_PTR
_SOA = TYPE_SOA
_KEEPALIVE_OCTETS = 6
_OPT_OCTETS = OPT_OCTETS
_OPTION_OCTETS = 4
_MAX_TTL_S = MAX_TTL_S
_LOCAL_TTL_S = 10800

# SOA rdata of negative blocked answers: constant, so that it reveals nothing of the list.
_SOA_RDATA = (
    b"\x09localhost\x00\x06nobody\x07invalid\x00"
    + b"".join(n.to_bytes(4, "big") for n in (1, 3600, 1200, 604800, BLOCKED_TTL_S))
)


class Replies:
    """The records of one list's blocked answers, built once from the configuration and copied for each answer.

    answer: ANSWER_PAGE, ANSWER_NODATA or ANSWER_NXDOMAIN; statute: whether law (EDE 16) or contract (EDE 15) is the
    basis; v4, v6: the page's addresses as 4 and 16 octets, at most MAX_ADDRESSES of each. text: of the extended error.
    signal: the option of clients that understand structured errors, 0 for none; structured: their text, and one for
    answers that it does not fit into.
    """

    def __init__(self, answer, *, statute, v4=(), v6=(), text=b"", signal=0, structured=(b"", b"")):
        if answer not in (ANSWER_PAGE, ANSWER_NODATA, ANSWER_NXDOMAIN):
            raise ValueError("answer: not one of core.codes")
        if len(v4) > MAX_ADDRESSES or len(v6) > MAX_ADDRESSES:
            raise ValueError("addresses: too many")
        self.answer = answer
        self.ede = EDE_FORGED_ANSWER if answer == ANSWER_PAGE else EDE_CENSORED if statute else EDE_BLOCKED
        self.v4 = memoryview(b"".join(_record(TYPE_A, address) for address in v4) or b"\0")
        self.v4_count = len(v4) if answer == ANSWER_PAGE else 0
        self.v6 = memoryview(b"".join(_record(TYPE_AAAA, address) for address in v6) or b"\0")
        self.v6_count = len(v6) if answer == ANSWER_PAGE else 0
        self.soa = memoryview(_record(6, _SOA_RDATA))
        self.signal = signal
        self.refusal = EDE_CENSORED if statute else EDE_BLOCKED
        self.said = _error(self.ede, text)
        self.full = _error(self.refusal, structured[0])
        self.brief = _error(self.refusal, structured[1])


def _error(code, text):
    """Return a body that has nothing but this extended error."""
    body = Body()
    body.errors = memoryview(b"\0\x0f" + (2 + len(text)).to_bytes(2, "big") + code.to_bytes(2, "big") + text)
    body.errors_size = len(body.errors)
    return body


def _record(kind, rdata, ttl_s=BLOCKED_TTL_S):
    """Return a record of class IN owned by the qname (a pointer to offset 12)."""
    return (
        b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\x00\x01" + ttl_s.to_bytes(4, "big")
        + len(rdata).to_bytes(2, "big") + rdata
    )


# Records of answers that come from no list and no upstream; the pointers in NS and SOA are set for each answer.
_HINFO_RECORD = memoryview(_record(TYPE_HINFO, b"\x07RFC8482\x00", 3600))
_LOCAL_A = memoryview(_record(TYPE_A, bytes([127, 0, 0, 1]), _LOCAL_TTL_S))
_LOCAL_AAAA = memoryview(_record(TYPE_AAAA, bytes(15) + b"\x01", _LOCAL_TTL_S))
_LOCAL_PTR = memoryview(_record(TYPE_PTR, b"\x09localhost\x00", _LOCAL_TTL_S))
_LOCAL_NS = memoryview(_record(TYPE_NS, b"\xc0\x0c", _LOCAL_TTL_S))
_LOCAL_SOA = memoryview(
    _record(
        TYPE_SOA,
        b"\xc0\x0c\x06nobody\x07invalid\x00"
        + b"".join(n.to_bytes(4, "big") for n in (1, 3600, 1200, 604800, _LOCAL_TTL_S)),
        _LOCAL_TTL_S,
    )
)


def limit_of(question, least, most):
    """Return the largest reply in octets that the client takes: its EDNS payload, but within the transport's bounds."""
    if question.payload > most:
        return most
    if question.payload < least:
        return least
    return question.payload


def blocked(out, packet, question, replies, bits, limit):
    """Write a list's answer to a blocked query; raises if that fails. core.policy.answer calls it."""
    at = _begin(out, packet, question, 0)
    count = 0
    signalled = replies.signal > 0 and signals(packet, question, replies.signal)
    if question.qclass == _IN and not signalled:
        if question.qtype == _A and replies.v4_count:
            count = replies.v4_count
            at = _append(out, at, replies.v4)
        elif question.qtype == _AAAA and replies.v6_count:
            count = replies.v6_count
            at = _append(out, at, replies.v6)
    out[7] = count
    if count == 0:
        start = at
        at = _append(out, at, replies.soa)
        out[start + 4] = question.qclass >> 8
        out[start + 5] = question.qclass & 255
        out[9] = 1
        if replies.answer == _NXDOMAIN_ANSWER and bits & _BLOCK_BELOW and not bits & _EXCEPTION_BELOW:
            out[3] = out[3] | _NXDOMAIN
    if signalled and _fits(at, question, replies.full, limit):
        return _finish(out, at, question, out[3] & 15, _EDE_NONE, replies.full, limit)
    if signalled and _fits(at, question, replies.brief, limit):
        return _finish(out, at, question, out[3] & 15, _EDE_NONE, replies.brief, limit)
    if not signalled and _fits(at, question, replies.said, limit):
        return _finish(out, at, question, out[3] & 15, _EDE_NONE, replies.said, limit)
    return _finish(out, at, question, out[3] & 15, replies.refusal if signalled else replies.ede, None, limit)


def empty(out, packet, question, rcode, ede, truncated, limit):
    """Write a reply without records: rcode (up to 4095), one extended error or EDE_NONE, TC if `truncated`."""
    try:
        return _empty(out, packet, question, rcode, ede, truncated, limit)
    except Exception:  # noqa: BLE001 - an error writes nothing
        return 0


def _empty(out, packet, question, rcode, ede, truncated, limit):
    at = _begin(out, packet, question, rcode & 15)
    if truncated:
        out[2] = out[2] | 2
    return _finish(out, at, question, rcode, ede, None, limit)


def hinfo(out, packet, question, limit):
    """Write the answer to a query for ANY (RFC 8482 4.2)."""
    try:
        return _hinfo(out, packet, question, limit)
    except Exception:  # noqa: BLE001 - an error writes nothing
        return 0


def _hinfo(out, packet, question, limit):
    at = _append(out, _begin(out, packet, question, 0), _HINFO_RECORD)
    out[7] = 1
    return _finish(out, at, question, _NOERROR, _EDE_NONE, None, limit)


def local(out, packet, question, found, limit):
    """Write the answer to a query for a local name; found: the number from core.local_zones.find, not NOT_LOCAL."""
    try:
        return _local(out, packet, question, found, limit)
    except Exception:  # noqa: BLE001 - an error writes nothing
        return 0


def _local(out, packet, question, found, limit):
    kind = found & 255
    apex = found >> 8
    qtype = question.qtype
    at = _begin(out, packet, question, _NXDOMAIN if kind == _MISSING else 0)
    out[2] = out[2] | 4
    start = at
    out[7] = 1
    if kind == _LOCALHOST and (qtype == _A or qtype == _ANY):
        at = _append(out, at, _LOCAL_A)
    elif kind == _LOCALHOST and qtype == _AAAA:
        at = _append(out, at, _LOCAL_AAAA)
    elif kind == _LOOPBACK and (qtype == _PTR or qtype == _ANY):
        at = _append(out, at, _LOCAL_PTR)
    elif apex == 0 and qtype == _NS and kind != _MISSING:
        at = _append(out, at, _LOCAL_NS)
    else:
        at = _append(out, at, _LOCAL_SOA)
        _point(out, start, _HEADER + apex)
        _point(out, start + 12, _HEADER + apex)
        if apex or kind == _MISSING or (qtype != _SOA and (qtype != _ANY or kind != _APEX)):
            out[7] = 0
            out[9] = 1
    return _finish(out, at, question, out[3] & 15, _EDE_NONE, None, limit)


def designated(out, packet, question, designation, limit):
    """Write the answer to a query for the designated resolvers; designation: a core.local_zones.Designation."""
    try:
        return _designated(out, packet, question, designation, limit)
    except Exception:  # noqa: BLE001 - an error writes nothing
        return 0


def _designated(out, packet, question, designation, limit):
    at = _begin(out, packet, question, 0)
    out[2] = out[2] | 4
    room = limit - (_OPT_OCTETS if question.has_opt else 0)
    if at + designation.records.shape[0] > room:
        out[2] = out[2] | 2
        return _finish(out, at, question, _NOERROR, _EDE_NONE, None, limit)
    at = _append(out, at, designation.records)
    out[6] = designation.count >> 8
    out[7] = designation.count & 255
    if designation.address_count and at + designation.addresses.shape[0] <= room:
        at = _append(out, at, designation.addresses)
        out[10] = designation.address_count >> 8
        out[11] = designation.address_count & 255
    return _finish(out, at, question, _NOERROR, _EDE_NONE, None, limit)


def _point(out, at, target):
    """Write a compression pointer. Returns 0."""
    out[at] = 0xC0 | target >> 8
    out[at + 1] = target & 255
    return 0


def relay(out, packet, question, body, ttl_s, ede, limit):
    """Write an upstream's reply (core.message.Body) as the answer to this query.

    ttl_s: the TTL of every record, or KEEP_TTL for what is left of its own, a day at most. ede: one extended error of
    our own, before the upstream's, or EDE_NONE.
    """
    try:
        return _relay(out, packet, question, body, ttl_s, ede, limit)
    except Exception:  # noqa: BLE001 - an error writes nothing
        return 0


def _relay(out, packet, question, body, ttl_s, ede, limit):
    if body.rcode > 15 and not question.has_opt:
        return _empty(out, packet, question, _SERVFAIL, _EDE_NONE, 0, limit)
    size = body.end - body.start
    if size < question.end:
        # An error without the question: the upstream sent it so (core.question.matches), or no upstream answered.
        at = _begin(out, packet, question, body.rcode & 15)
        return _finish(out, at, question, body.rcode, ede, body, limit)
    if size + question.opt_octets > limit:
        at = _begin(out, packet, question, body.rcode & 15)
        out[2] = out[2] | 2
        return _finish(out, at, question, body.rcode, ede, None, limit)
    copy(out, 0, body.data, body.start, size)
    _begin(out, packet, question, body.rcode & 15)
    copy(out, 6, body.data, body.start + 6, 6)
    if packet[3] & 0x20 or question.dnssec_ok:
        out[3] = out[3] | (body.data[body.start + 3] & 0x20)
    age_s = body.age_s
    if age_s < 0:
        out[2] = out[2] | (body.data[body.start + 2] & 2)
        age_s = 0
    if ttl_s < 0:
        spelled = age(out, size, age_s, 0, _MAX_TTL_S)
    else:
        spelled = age(out, size, age_s, ttl_s, ttl_s)
    if spelled:
        _give_letters(out, size, packet, question)
    if body.rotate:
        rotate(out, size, question)
    return _finish(out, size, question, body.rcode, ede, body, limit)


def _give_letters(out, end, packet, question):
    """Write the letters of this query into owners that are its name. Returns 0."""
    left = (out[6] << 8 | out[7]) + (out[8] << 8 | out[9]) + (out[10] << 8 | out[11])
    at = question.end
    while left > 0:
        same = _octets_of_question(out, at, question)
        out[at : at + same] = packet[_HEADER : _HEADER + same]
        at = skip(out, at, end)
        at += 10 + (out[at + 8] << 8 | out[at + 9])
        left -= 1
    return 0


def _octets_of_question(out, at, question):
    """Return how many octets at `at` spell the question's name, to its end or to a pointer into it; 0 for another."""
    i = 0
    while i < question.name.length:
        size = out[at + i]
        if size >= 192:
            target = (size & 63) << 8
            target = target | out[at + i + 1]
            return i if target == _HEADER + i else 0
        if size != question.name.octets[i]:
            return 0
        j = i + 1
        while j <= i + size:
            octet = out[at + j]
            if 65 <= octet <= 90:
                octet += 32
            if octet != question.name.octets[j]:
                return 0
            j += 1
        i += size + 1
    return i


def _begin(out, packet, question, rcode):
    """Write header and question; return the offset after them. If no question was read, write the header alone."""
    out[0] = packet[0]
    out[1] = packet[1]
    out[2] = 0x80 | (packet[2] & 0x79)
    out[3] = 0x80 | (packet[3] & 0x10) | rcode
    out[4] = 0
    out[5] = 1 if question.end else 0
    put(out, 6, 0, 6)
    if question.end == 0:
        return _HEADER
    copy(out, _HEADER, packet, _HEADER, question.end - _HEADER)
    return question.end


def _append(out, at, data):
    """Copy all of `data` to out[at:]; return the offset after it."""
    copy(out, at, data, 0, data.shape[0])
    return at + data.shape[0]


def _fits(at, question, body, limit):
    """Return whether OPT with the errors of `body` fits after out[:at]."""
    return at + question.opt_octets + body.errors_size <= limit


def _finish(out, at, question, rcode, ede, body, limit):
    """Append OPT if the query had one, with the errors of `body` or, if that is None, without; return the length.

    Options that do not fit are left out; a reply above the limit without them is cut to the question, with TC=1.
    """
    if at + question.opt_octets > limit and at > question.end > 0:
        at = question.end
        out[2] = out[2] | 2
        put(out, 6, 0, 6)
    if not question.has_opt or at + _OPT_OCTETS > limit:
        return at
    cookie = question.opt_octets - _OPT_OCTETS
    room = limit - at - question.opt_octets
    if room < 0:
        room += cookie
        cookie = 0
    own = 6 if ede >= 0 else 0
    errors_size = 0
    if body is not None:
        errors_size = body.errors_size
    keepalive = _KEEPALIVE_OCTETS if question.keepalive_ds >= 0 else 0
    if own + errors_size + keepalive > room:
        keepalive = 0
    if own + errors_size > room:
        errors_size = 0
    if own > room:
        own = 0
    options = own + errors_size + keepalive + cookie
    padding = 0
    if question.padding and at + _OPT_OCTETS + options + _OPTION_OCTETS <= limit:
        padding = _padding(at + _OPT_OCTETS + options, question.padding, limit)
        options += padding
    records = (out[10] << 8 | out[11]) + 1
    out[10] = records >> 8 & 255
    out[11] = records & 255
    out[at] = 0
    out[at + 1] = 0
    out[at + 2] = 41
    out[at + 3] = _MAX_UDP_OCTETS >> 8
    out[at + 4] = _MAX_UDP_OCTETS & 255
    out[at + 5] = rcode >> 4
    out[at + 6] = 0
    out[at + 7] = 0x80 if question.dnssec_ok else 0
    out[at + 8] = 0
    out[at + 9] = options >> 8
    out[at + 10] = options & 255
    at += _OPT_OCTETS
    if own:
        out[at] = 0
        out[at + 1] = 15
        out[at + 2] = 0
        out[at + 3] = 2
        out[at + 4] = ede >> 8
        out[at + 5] = ede & 255
        at += 6
    if errors_size:
        copy(out, at, body.errors, body.errors_start, errors_size)
        at += errors_size
    if keepalive:
        out[at] = 0
        out[at + 1] = 11
        out[at + 2] = 0
        out[at + 3] = 2
        out[at + 4] = question.keepalive_ds >> 8 & 255
        out[at + 5] = question.keepalive_ds & 255
        at += _KEEPALIVE_OCTETS
    if cookie:
        out[at] = 0
        out[at + 1] = 10
        out[at + 2] = 0
        out[at + 3] = 24
        put(out, at + 4, question.cookie_client, 8)
        put(out, at + 12, question.cookie_stamp, 8)
        put(out, at + 20, question.cookie_hash, 8)
        at += cookie
    if padding:
        at = _pad(out, at, padding)
    return at


def _padding(at, multiple, limit):
    """Return the octets of a padding option after out[:at], with code and length; both fit."""
    octets = _OPTION_OCTETS
    over = (at + octets) % multiple
    if over:
        octets += multiple - over
    return min(octets, limit - at)


def _pad(out, at, octets):
    """Append a padding option of so many octets, all of them zero but code and length (RFC 7830 3)."""
    end = at + octets
    out[at] = 0
    out[at + 1] = 12
    out[at + 2] = (octets - _OPTION_OCTETS) >> 8
    out[at + 3] = (octets - _OPTION_OCTETS) & 255
    at += _OPTION_OCTETS
    while at < end:
        put(out, at, 0, min(8, end - at))
        at += min(8, end - at)
    return at
