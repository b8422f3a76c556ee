# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Answers the query of a seat: chooses rcode, extended error and size, counts the answer; core.reply writes the octets.

Rules:
- A sender outside the ACL is refused, with an answer no larger than its query. Above the limit a client that is proven
  (core.reading) is refused: silence would look like a lost server until its timeout. Of all others every second query
  gets TC=1, or BADCOOKIE if it has a cookie: its sender then proves itself by the new one, without TCP (RFC 7873
  5.2.3); the rest gets nothing.
- A query for a cookie alone gets one, with BADCOOKIE if it brought a bad one (RFC 7873 5.4).
- An answer is counted once, by its rcode, when it is written; one that failed by its reason, too.
- What cannot be written is SERVFAIL, never somebody else's answer.
"""

import cython

from . import codes
from .reply import KEEP_TTL

if not cython.compiled:
    from .reply import _designated, _empty, _hinfo, _local, _relay

STALE_TTL_S = 30
"""The TTL of the records of a stale answer, in seconds (RFC 8767 4)."""

_SILENT = codes.OUTCOME_SILENT
_REPLY = codes.OUTCOME_REPLY
_HEADER = 12
_NOERROR = codes.NOERROR
_FORMERR = codes.FORMERR
_SERVFAIL = codes.SERVFAIL
_NXDOMAIN = codes.NXDOMAIN
_NOTIMP = codes.NOTIMP
_REFUSED = codes.REFUSED
_LARGEST_RCODE = 15
_BADVERS = codes.BADVERS
_BADCOOKIE = codes.BADCOOKIE
_BAD_OPCODE = codes.BAD_OPCODE
_BAD_VERSION = codes.BAD_VERSION
_BAD_TYPE = codes.BAD_TYPE
_NOT_SERVED = codes.NOT_SERVED
_COOKIE_ALONE = codes.COOKIE_ALONE
_BAD_COOKIE = codes.COOKIE_BAD
_SILENT_SHORT = codes.SILENT_SHORT
_NOT_A_CLIENT = codes.NOT_A_CLIENT
_SLIP = codes.SLIP
_DESIGNATED = codes.LOCAL_DESIGNATED
_KEEP_TTL = KEEP_TTL
_STALE_TTL_S = STALE_TTL_S
_EDE_NONE = codes.EDE_NONE
_EDE_OTHER = codes.EDE_OTHER
_EDE_PROHIBITED = codes.EDE_PROHIBITED
_EDE_INVALID_QUERY_TYPE = codes.EDE_INVALID_QUERY_TYPE
_EDE_NOT_AUTHORITATIVE = codes.EDE_NOT_AUTHORITATIVE
_EDE_STALE_ANSWER = codes.EDE_STALE_ANSWER
_EDE_STALE_NXDOMAIN = codes.EDE_STALE_NXDOMAIN
_INTERNAL = codes.FAILED_INTERNAL
_END_NO_QUERY = codes.END_NO_QUERY
_END_TURNED_AWAY = codes.END_TURNED_AWAY
_END_MALFORMED = codes.END_MALFORMED
_END_REFUSED = codes.END_REFUSED
_END_LOCAL = codes.END_LOCAL
_END_ANY = codes.END_ANY
_END_FAILED = codes.END_FAILED
# Where counters of core.codes begin: answers by rcode, failed answers and packets dropped by reason.
_FIRST_RCODE = codes.counter("answers_total", "NOERROR")
_COUNT_BADVERS = codes.counter("answers_total", "BADVERS")
_COUNT_BADCOOKIE = codes.counter("answers_total", "BADCOOKIE")
_COUNT_OTHER = codes.counter("answers_total", "other")
_FIRST_FAILED = codes.counter("failed_answers_total", codes.FAILED_REASONS[0])
_FIRST_DROPPED = codes.counter("packets_dropped_total", codes.DROP_REASONS[0])
_SHORT = codes.counter("packets_dropped_total", "short")
_RESPONSE = codes.counter("packets_dropped_total", "response")
_RATE_LIMIT = codes.counter("packets_dropped_total", "rate_limit")


def dropped(lane, reason):
    """Count a packet that is not answered; reason: one of DROP_REASONS."""
    lane.counters[_FIRST_DROPPED + codes.DROP_REASONS.index(reason)] += 1


def silence(lane, seat):
    """Count a packet that must not be answered: too short, or itself a DNS response. Returns 0."""
    seat.reason = _END_NO_QUERY
    _count(lane, _SHORT if seat.problem == _SILENT_SHORT else _RESPONSE)
    return 0


def turned_away(lane, seat):
    """Answer a sender that was not admitted, or do not. Returns 0."""
    seat.reason = _END_TURNED_AWAY
    if seat.admitted == _NOT_A_CLIENT:
        return _say(lane, seat, _REFUSED, _EDE_PROHIBITED, 0, min(seat.limit, max(seat.size, _HEADER)))
    if seat.proven:
        return _say(lane, seat, _REFUSED, _EDE_PROHIBITED, 0, seat.limit)
    if seat.admitted == _SLIP and seat.cookie:
        return _say(lane, seat, _BADCOOKIE, _EDE_NONE, 0, seat.limit)
    if seat.admitted == _SLIP:
        return _say(lane, seat, _NOERROR, _EDE_NONE, 1, seat.limit)
    _count(lane, _RATE_LIMIT)
    return 0


def malformed(lane, seat):
    """Answer a malformed query with the rcode of its problem (core.question). Returns 0."""
    seat.reason = _END_MALFORMED
    rcode = _FORMERR
    ede = _EDE_NONE
    if seat.problem == _BAD_OPCODE:
        rcode = _NOTIMP
    elif seat.problem == _BAD_VERSION:
        rcode = _BADVERS
    elif seat.problem == _NOT_SERVED:
        rcode = _REFUSED
    elif seat.problem == _COOKIE_ALONE and seat.cookie:
        rcode = _BADCOOKIE if seat.cookie == _BAD_COOKIE else _NOERROR
    elif seat.problem == _BAD_TYPE:
        ede = _EDE_INVALID_QUERY_TYPE
    return _say(lane, seat, rcode, ede, 0, seat.limit)


def refused(lane, seat):
    """Refuse a question that is not blocked and not forwarded (RFC 8914 4.21 for RD=0). Returns 0."""
    seat.reason = _END_REFUSED
    ede = _EDE_NONE if seat.question.flags & 0x0100 else _EDE_NOT_AUTHORITATIVE
    return _say(lane, seat, _REFUSED, ede, 0, seat.limit)


def beyond_budget(lane, seat):
    """Refuse a blocked query of a client whose prefix asked for too many different entries. Returns 0."""
    return _say(lane, seat, _REFUSED, _EDE_PROHIBITED, 0, seat.limit)


def local(zones, lane, seat, found):
    """Answer from a local zone; found: the result of core.local_zones.find. Returns 0."""
    seat.reason = _END_LOCAL
    if (found & 255) == _DESIGNATED:
        return sent(lane, seat, _designated(seat.out, seat.packet, seat.question, zones.designation, seat.limit))
    return sent(lane, seat, _local(seat.out, seat.packet, seat.question, found, seat.limit))


def any_type(lane, seat):
    """Answer a query for ANY with a minimal answer (RFC 8482). Returns 0."""
    seat.reason = _END_ANY
    return sent(lane, seat, _hinfo(seat.out, seat.packet, seat.question, seat.limit))


def failed(lane, seat, ede, reason):
    """Answer with SERVFAIL and an extended error, and count the reason (FAILED_* of core.codes). Returns 0."""
    seat.reason = _END_FAILED
    _count(lane, _FIRST_FAILED + reason)
    return _say(lane, seat, _SERVFAIL, ede, 0, seat.limit)


def kept(lane, seat, stale):
    """Answer with the answer that `lane.kept` describes. Returns 0."""
    if not stale:
        return relayed(lane, seat, lane.kept, _KEEP_TTL, _EDE_NONE)
    ede = _EDE_STALE_NXDOMAIN if lane.kept.rcode == _NXDOMAIN else _EDE_STALE_ANSWER
    return relayed(lane, seat, lane.kept, _STALE_TTL_S, ede)


def fresh(lane, seat, message):
    """Answer with a judged and trimmed answer of an upstream. Returns 0."""
    return relayed(lane, seat, message, _KEEP_TTL, _EDE_NONE)


def relayed(lane, seat, body, ttl_s, ede):
    """Answer with an upstream's reply; ttl_s and ede: as core.reply.relay takes them. Returns 0."""
    length = _relay(seat.out, seat.packet, seat.question, body, ttl_s, ede, seat.limit)
    if length == 0:
        return failed(lane, seat, _EDE_OTHER, _INTERNAL)
    return sent(lane, seat, length)


def sent(lane, seat, length):
    """Count the answer in seat.out[:length] by its rcode; there is none if nothing was written. Returns 0."""
    seat.length = length
    if length == 0:
        seat.outcome = _SILENT
        return 0
    seat.outcome = _REPLY
    rcode = seat.out[3] & 15
    _count(lane, _FIRST_RCODE + rcode if rcode <= _REFUSED else _COUNT_OTHER)
    return 0


def count_failed(lane, reason):
    """Count an answer that failed. Returns 0."""
    return _count(lane, _FIRST_FAILED + reason)


def _say(lane, seat, rcode, ede, truncated, limit):
    """Answer without records. Returns 0."""
    length = _empty(seat.out, seat.packet, seat.question, rcode, ede, truncated, limit)
    if rcode > _LARGEST_RCODE and length > 0:
        seat.length = length
        seat.outcome = _REPLY
        return _count(lane, _COUNT_BADVERS if rcode == _BADVERS else _COUNT_BADCOOKIE)
    return sent(lane, seat, length)


def _count(lane, number):
    lane.counters[number] = lane.counters[number] + 1
    return 0
