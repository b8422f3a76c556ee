# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Reads the header and question of a query, and matches replies with queries.

Rules (RFC 1035 4.1, 6891 6, 9619; order as below, the first that applies is the result):
- Under 12 octets, or QR=1: silence. Opcode not QUERY: NOTIMP. QDCOUNT not 1: FORMERR.
- A name that is malformed or compressed, a question cut short, records that do not end where the message ends,
  more than one OPT, an OPT outside ADDITIONAL, not at the root or with broken options: FORMERR.
- The first COOKIE option has 8 or 16 to 40 octets, else FORMERR (RFC 7873 5.2.2); others are ignored. Without a
  question it makes the query COOKIE_ALONE (RFC 7873 5.4).
- EDNS version above 0: BADVERS. OPT, TSIG, TKEY or NXNAME (RFC 9824 3.5) as qtype: FORMERR.
- TSIG, SIG(0), AXFR, IXFR, MAILA, MAILB: not served here, REFUSED.
- The packet keeps the name as it came, for the answer; `name` has it folded, to be judged.
"""

import cython

from .codes import (
    BAD_COUNT,
    BAD_NAME,
    BAD_OPCODE,
    BAD_OPT,
    BAD_RECORD,
    BAD_TYPE,
    BAD_VERSION,
    COOKIE_ALONE,
    NOT_SERVED,
    SILENT_RESPONSE,
    SILENT_SHORT,
    TYPE_IXFR,
    TYPE_MAILA,
    TYPE_NXNAME,
    TYPE_OPT,
    TYPE_TKEY,
    TYPE_TSIG,
    WELL_FORMED,
)
from .name import Name

if not cython.compiled:
    from .name import skip, unfold

MIN_UDP_OCTETS = 512
OPT_OCTETS = 11
"""An OPT record without options."""
COOKIE_OCTETS = 28
"""The COOKIE option of an answer: code, length, the client's eight octets and the server's sixteen."""

_WELL_FORMED = WELL_FORMED
_SILENT_SHORT = SILENT_SHORT
_SILENT_RESPONSE = SILENT_RESPONSE
_BAD_OPCODE = BAD_OPCODE
_BAD_COUNT = BAD_COUNT
_BAD_NAME = BAD_NAME
_BAD_RECORD = BAD_RECORD
_BAD_OPT = BAD_OPT
_BAD_VERSION = BAD_VERSION
_BAD_TYPE = BAD_TYPE
_NOT_SERVED = NOT_SERVED
_COOKIE_ALONE = COOKIE_ALONE
_OPT = TYPE_OPT
_NXNAME = TYPE_NXNAME
_TKEY = TYPE_TKEY
_TSIG = TYPE_TSIG
_IXFR = TYPE_IXFR
_MAILA = TYPE_MAILA
_SIG = 24
_HEADER = 12
_SMALLEST_PAYLOAD = MIN_UDP_OCTETS
_OPT_OCTETS = OPT_OCTETS
_COOKIE = 10
_KEEPALIVE = 11


class Question:
    """What a query asks: its folded name, where its question ends, its flags and EDNS; reused for every query.

    options_at, options_size: where its EDNS options are. `keepalive` is whether it has option edns-tcp-keepalive (RFC
    7828). cookie_at, cookie_size: where its COOKIE option's octets are; size 0 for none.
    The caller sets what the answer has: keepalive_ds, the idle timeout that it states, in tenths of a second, -1 for no
    such option; padding, the number of octets of which its size is a multiple, 0 for none. core.cookie sets the cookie:
    cookie_client, cookie_stamp and cookie_hash, eight octets each, the lowest first. opt_octets: those of the answer's
    OPT with what is never left out of it.
    """

    def __init__(self):
        self.name = Name()
        self.problem = SILENT_SHORT
        self.end = 0
        self.qtype = 0
        self.qclass = 0
        self.flags = 0
        self.has_opt = 0
        self.version = 0
        self.payload = _SMALLEST_PAYLOAD
        self.dnssec_ok = 0
        self.options_at = 0
        self.options_size = 0
        self.keepalive = 0
        self.keepalive_ds = -1
        self.padding = 0
        self.cookie_at = 0
        self.cookie_size = 0
        self.cookie_client = 0
        self.cookie_stamp = 0
        self.cookie_hash = 0
        self.opt_octets = 0


def parse(packet, end, question):
    """Read the query packet[:end] into `question`; return its problem: WELL_FORMED or a number of core.codes."""
    _clear(question)
    question.problem = _parse(packet, end, question)
    return question.problem


def _clear(question):
    """Forget the query before."""
    question.problem = _SILENT_SHORT
    question.end = 0
    question.qtype = 0
    question.qclass = 0
    question.flags = 0
    question.has_opt = 0
    question.version = 0
    question.payload = _SMALLEST_PAYLOAD
    question.dnssec_ok = 0
    question.options_at = 0
    question.options_size = 0
    question.keepalive = 0
    question.keepalive_ds = -1
    question.padding = 0
    question.cookie_size = 0
    question.opt_octets = 0
    return 0


def _parse(packet, end, question):
    if end < _HEADER:
        return _SILENT_SHORT
    if packet[2] & 0x80:
        return _SILENT_RESPONSE
    question.flags = packet[2] << 8 | packet[3]
    if packet[2] & 0x78:
        return _BAD_OPCODE
    if packet[4] != 0 or packet[5] != 1:
        return _without_question(packet, end, question)
    at = unfold(packet, _HEADER, end, question.name)
    if at == 0 or at - _HEADER != question.name.length or at + 4 > end:
        return _BAD_NAME
    question.qtype = packet[at] << 8 | packet[at + 1]
    question.qclass = packet[at + 2] << 8 | packet[at + 3]
    question.end = at + 4
    problem = _records(packet, end, question)
    if problem == _BAD_RECORD or problem == _BAD_OPT:
        return problem
    if question.version > 0:
        return _BAD_VERSION
    if question.qtype == _OPT or question.qtype == _TSIG or question.qtype == _TKEY or question.qtype == _NXNAME:
        return _BAD_TYPE
    if problem == _WELL_FORMED and _IXFR <= question.qtype <= _MAILA:
        return _NOT_SERVED
    return problem


def _without_question(packet, end, question):
    """Read a query that has not one question; return COOKIE_ALONE if it has none, but a cookie (RFC 7873 5.4)."""
    if packet[4] == 0 and packet[5] == 0:
        question.end = _HEADER
        problem = _records(packet, end, question)
        question.end = 0
        if problem == _WELL_FORMED and question.cookie_size and question.version == 0:
            return _COOKIE_ALONE
        question.has_opt = 0
        question.opt_octets = 0
    return _BAD_COUNT


def _records(packet, end, question):
    """Read the records after the question to the end of the message: OPT, and whether it is signed."""
    before = (packet[6] << 8 | packet[7]) + (packet[8] << 8 | packet[9])
    left = before + (packet[10] << 8 | packet[11])
    seen = 0
    at = question.end
    problem = _WELL_FORMED
    while seen < left:
        owner = at
        at = skip(packet, at, end)
        if at == 0 or at + 10 > end:
            return _BAD_RECORD
        kind = packet[at] << 8 | packet[at + 1]
        size = packet[at + 8] << 8 | packet[at + 9]
        if at + 10 + size > end:
            return _BAD_RECORD
        if kind == _OPT:
            if question.has_opt or seen < before or packet[owner] != 0 or not _options(packet, at + 10, size, question):
                return _BAD_OPT
            question.has_opt = 1
            question.opt_octets = _OPT_OCTETS
            question.options_at = at + 10
            question.options_size = size
            question.payload = max(_SMALLEST_PAYLOAD, packet[at + 2] << 8 | packet[at + 3])
            question.version = packet[at + 5]
            question.dnssec_ok = packet[at + 6] >> 7
        elif kind == _TSIG or (kind == _SIG and size >= 2 and packet[at + 10] == 0 and packet[at + 11] == 0):
            problem = _NOT_SERVED
        at += 10 + size
        seen += 1
    if at != end:
        return _BAD_RECORD
    return problem


def _options(packet, at, size, question):
    """Read an OPT record's options; return 0 if they do not fill its rdata exactly (RFC 6891 6.1.2)."""
    end = at + size
    while at < end:
        if at + 4 > end:
            return 0
        code = packet[at] << 8 | packet[at + 1]
        octets = packet[at + 2] << 8 | packet[at + 3]
        at += 4
        if code == _KEEPALIVE:
            question.keepalive = 1
        elif code == _COOKIE and question.cookie_size == 0:
            if octets < 8 or 8 < octets < 16 or octets > 40:
                return 0
            question.cookie_at = at
            question.cookie_size = octets
        at += octets
    return at == end


def signals(packet, question, code):
    """Return whether the query has this EDNS option, empty: its client understands what the option stands for."""
    at = question.options_at
    end = at + question.options_size
    while at + 4 <= end:
        size = packet[at + 2] << 8 | packet[at + 3]
        if size == 0 and (packet[at] << 8 | packet[at + 1]) == code:
            return 1
        at += 4 + size
    return 0


def matches(reply, end, query, question):
    """Return whether reply[:end] answers the query: 1 it does, 2 it is an error without a question, 0 it does not.

    `query` holds the bytes sent upstream, and `question` what `parse` read from them. The name must be the one that was
    sent, except for the case of its letters (RFC 5452 9.1). An error without a question is a header, or a header and
    one OPT.
    """
    if end < _HEADER or question.end == 0 or reply[0] != query[0] or reply[1] != query[1]:
        return 0
    if reply[2] & 0xF8 != 0x80:
        return 0
    count = reply[4] << 8 | reply[5]
    if count == 0:
        return 2 if reply[3] & 15 and (end == _HEADER or _is_opt_alone(reply, end)) else 0
    if count != 1 or end < question.end:
        return 0
    at = _HEADER
    while at < question.end - 4:
        octet = reply[at]
        if 65 <= octet <= 90:
            octet += 32
        if octet != question.name.octets[at - _HEADER]:
            return 0
        at += 1
    while at < question.end:
        if reply[at] != query[at]:
            return 0
        at += 1
    return 1


def _is_opt_alone(reply, end):
    """Return whether one OPT is all that follows the header."""
    if end < _HEADER + 11 or reply[6] or reply[7] or reply[8] or reply[9] or reply[10] or reply[11] != 1:
        return 0
    if reply[_HEADER] or reply[_HEADER + 1] or reply[_HEADER + 2] != _OPT:
        return 0
    return _HEADER + 11 + (reply[_HEADER + 9] << 8 | reply[_HEADER + 10]) == end
