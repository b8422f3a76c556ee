# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""What is sent to an upstream and what counts as its answer, for Python's exchanges and the engine's.

Rules:
- Each query is written again, in one shape for all clients that may share its answer: the client's question, RD=1, AD=1
  (we understand AD in a reply, RFC 6840 5.7), the client's CD, and an OPT with our payload size and the client's DO.
  No EDNS option of a client is forwarded (such as a client subnet).
- With a drawn case (0x20) each letter's case is one bit of chance, which the caller brings; the answer gets back the
  case that the client sent, in its question and in owners that repeat it in full.
- An answer has the id, QR=1, opcode QUERY and the question that was sent (RFC 5452 9.1). Only an error may lack the
  question.
- A thread asks alone only for names of no zone that has its own servers, and takes only a clean answer: as it was sent,
  no larger than our payload size, TC=0, NOERROR or NXDOMAIN, sound to its end. All else is Python's: retries, TCP,
  other servers.
- A name that may be a probe of ours is never asked by a thread: Python sees that a server leads back to us.
"""

import cython

from . import codes
from .reply import MAX_UDP_OCTETS
from .upstream_zones import UpstreamZones

if not cython.compiled:
    from .message import read
    from .name import skip, spells
    from .octets import copy, equal, get, put
    from .question import matches, parse
    from .upstream_zones import group_of

PROBE_SUFFIX = b"\x07example\0"
PROBE_LABEL = 26
PROBE_OCTETS = 1 + PROBE_LABEL + len(PROBE_SUFFIX)
"""A probe's name in wire format: one random label of PROBE_LABEL octets, then the suffix."""

QUERY_OCTETS = 12 + 255 + 4 + 11
"""The most that `write` writes."""

CHANCE_OCTETS = 32
"""What `draw_case` needs for the longest name."""

# Results of `found`.
NOT_FOUND, AS_SENT, WITHOUT_QUESTION, OTHER_CASE = range(4)
# Results of `fault`.
CLEAN, MALFORMED, SERVFAIL, ERROR, MISMATCH = range(5)

MOST_SERVERS = 16
"""The number of servers that a Route can hold."""

_NOT_FOUND = NOT_FOUND
_AS_SENT = AS_SENT
_WITHOUT_QUESTION = WITHOUT_QUESTION
_OTHER_CASE = OTHER_CASE
_CLEAN = CLEAN
_MALFORMED = MALFORMED
_SERVFAIL = SERVFAIL
_ERROR = ERROR
_MISMATCH = MISMATCH
_SUFFIX = memoryview(PROBE_SUFFIX)
_SUFFIX_OCTETS = len(PROBE_SUFFIX)
_LABEL = PROBE_LABEL
_PROBE = PROBE_OCTETS
_HEADER = 12
_TYPE_AND_CLASS = 4
_OPT = memoryview(b"\0\0\x29" + MAX_UDP_OCTETS.to_bytes(2, "big") + bytes(6))
_OPT_OCTETS = 11
_RD = 0x01
_AD = 0x20
_CD = 0x10
_DO = 0x80
_PAYLOAD = MAX_UDP_OCTETS
_NOERROR = codes.NOERROR
_FORMERR = codes.FORMERR
_SERVFAIL_RCODE = codes.SERVFAIL
_NXDOMAIN = codes.NXDOMAIN
_NOTIMP = codes.NOTIMP
_REFUSED = codes.REFUSED


class Route:
    """Which upstreams a thread may ask by itself now; never changed, but replaced whole.

    servers: their numbers, of 0 to MOST_SERVERS - 1, the one to prefer first; without any, a thread asks nobody.
    patience_ms: of each in `servers`, after which a datagram counts as lost. timeout_ms: for how long an answer is
    still known as late. exact: whether the case of each letter is drawn. pool: the sockets of a thread towards each
    server. zones: those with servers of their own, whose names are Python's.
    """

    def __init__(self, servers=(), patience_ms=(), *, timeout_ms=0, exact=False, pool=1, zones=None):
        if len(servers) != len(patience_ms) or any(not 0 <= one < MOST_SERVERS for one in servers):
            raise ValueError("servers: not those that a thread knows")
        self.servers = memoryview(bytes(servers) or bytes(1))
        self.count = len(servers)
        held = bytearray(8 * max(1, len(servers)))
        self.patience_ms = memoryview(held).cast("Q")
        for place, patience in enumerate(patience_ms):
            self.patience_ms[place] = patience
        self.timeout_ms = timeout_ms
        self.exact = exact
        self.pool = pool
        self.zones = zones or UpstreamZones(())


def may_relay(route, question):
    """Return whether a thread may ask one of the route's servers this question by itself."""
    if route.count == 0 or may_be_probe(question.name):
        return 0
    return group_of(route.zones, question.name, question.qtype) == 0


def may_be_probe(name):
    """Return whether a name (lower-cased) has the form of a probe's."""
    return name.length == _PROBE and name.octets[0] == _LABEL and spells(name, 1 + _LABEL, _SUFFIX, 0, _SUFFIX_OCTETS)


def write(packet, question, identity, out):
    """Write what is sent for the client's query `packet`, of which `question` was read; return its octets."""
    size = question.end - _HEADER
    at = _HEADER + size
    copy(out, _HEADER, packet, _HEADER, size)
    copy(out, at, _OPT, 0, _OPT_OCTETS)
    put(out, 0, 0, 8)
    put(out, 8, 0, 4)
    out[0] = identity >> 8
    out[1] = identity & 255
    out[2] = _RD
    out[3] = _AD | (question.flags & _CD)
    out[5] = 1
    out[11] = 1
    if question.dnssec_ok:
        out[at + 7] = _DO
    return at + _OPT_OCTETS


def draw_case(query, end, chance):
    """Draw the case of each letter of the name of a query whose question ends at `end`. Returns 0.

    chance: CHANCE_OCTETS of it.
    """
    bit = 0
    at = _HEADER
    while at < end - _TYPE_AND_CLASS:
        letter = query[at] & 0xDF
        if 65 <= letter <= 90:
            drawn = chance[bit >> 3]
            if drawn >> (bit & 7) & 1:
                query[at] = query[at] ^ 0x20
            bit += 1
        at += 1
    return 0


def restore_case(reply, end, sent, asked, size):
    """Give an answer reply[:end] to the question in sent[:size] the case of that in asked[:size]. Returns 0.

    In its question, and in owners that repeat the name in full.
    """
    if end < size or not equal(reply, _HEADER, sent, _HEADER, size - _HEADER):
        return 0
    octets = size - _HEADER - _TYPE_AND_CLASS
    copy(reply, _HEADER, asked, _HEADER, size - _HEADER)
    left = _number(reply, 6) + _number(reply, 8) + _number(reply, 10)
    at = size
    while left > 0:
        if end - at >= octets and equal(reply, at, sent, _HEADER, octets):
            copy(reply, at, asked, _HEADER, octets)
        at = skip(reply, at, end)
        if at == 0 or end - at < 10:
            return 0
        at += 10 + _number(reply, at + 8)
        if at > end:
            return 0
        left -= 1
    return 0


def found(reply, end, sent, sent_end, size, question):
    """Return how reply[:end] answers the query sent[:sent_end], whose question ends at `size`.

    NOT_FOUND: not at all. AS_SENT: with the question octet for octet. OTHER_CASE: but for the case of its letters.
    WITHOUT_QUESTION: with an error that lacks it. question: room to read into.
    """
    if (
        end >= size
        and get(reply, 0, 2) == get(sent, 0, 2)
        and reply[2] & 0xF8 == 0x80
        and _number(reply, 4) == 1
        and equal(reply, _HEADER, sent, _HEADER, size - _HEADER)
    ):
        return _AS_SENT
    parse(sent, sent_end, question)
    how = matches(reply, end, sent, question)
    if how == 1:
        return _OTHER_CASE
    return _WITHOUT_QUESTION if how == 2 else _NOT_FOUND


def fault(reply, end, message):
    """Return why an answer reply[:end] is a failure, CLEAN if it is none; `message` then says what is in it."""
    if not read(reply, end, message):
        return _MALFORMED
    if message.rcode == _SERVFAIL_RCODE:
        return _SERVFAIL
    if message.rcode == _FORMERR or message.rcode == _NOTIMP or message.rcode == _REFUSED:
        return _ERROR
    return _CLEAN if _number(reply, 4) else _MISMATCH


def is_clean(reply, end, message):
    """Return whether an answer that came as it was sent needs nothing of Python: no retry, no TCP, no other server."""
    return (
        end <= _PAYLOAD
        and not reply[2] & 2
        and fault(reply, end, message) == _CLEAN
        and (message.rcode == _NOERROR or message.rcode == _NXDOMAIN)
    )


def _number(data, at):
    """Return the number of 16 bits at data[at]."""
    high = data[at]
    return high << 8 | data[at + 1]
