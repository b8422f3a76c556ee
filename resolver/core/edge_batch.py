# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Takes the queries at the head of what an edge has sent in one batch, and joins their answers (query.edge_frames).

Rules:
- A query has its own number, transport and client. It is taken whole or not at all; what cannot be one is `broken`,
  and neither it nor what follows is taken. A frame of another kind is the caller's.
- Each query gets one frame, with an empty message if no answer is given. Those of queries that core.steps has done
  with are joined here; `framed` makes those of the others.
- An HTTP cache may keep an answer for the smallest TTL of ANSWER, a negative one for the least of TTL and MINIMUM of
  its SOA too (RFC 8484 5.1, RFC 2308 5). Only what an upstream said in full and just now, or ANY's answer, may be kept:
  nothing that a list blocks, that failed, was refused or cut, that is stale, or that the configuration says (local
  names), for each of these may be answered otherwise in a moment.
"""

import cython

from . import codes
from .lane import BATCH, MAX_OCTETS, Seat

if not cython.compiled:
    from .name import skip
    from .octets import copy
    from .steps import take_whole

LENGTH_OCTETS = codes.EDGE_LENGTH_OCTETS
ANSWER_OCTETS = LENGTH_OCTETS + 1 + codes.EDGE_ANSWER_OCTETS
"""The octets of a frame before its message."""

_LENGTH = LENGTH_OCTETS
_ANSWER_OCTETS = ANSWER_OCTETS
_QUERY_OCTETS = codes.EDGE_QUERY_OCTETS
_MOST_OCTETS = codes.EDGE_MOST_OCTETS
_MAX_MESSAGE = MAX_OCTETS
_QUERY = codes.EDGE_QUERY
_ANSWER = codes.EDGE_ANSWER
_MAX_AGE_NONE = codes.EDGE_MAX_AGE_NONE
_FIRST = codes.DOT
_LAST = codes.DOQ
_HEADER = 12
_REPLY = codes.OUTCOME_REPLY
_SILENT = codes.OUTCOME_SILENT
_END_ANY = codes.END_ANY
_END_KEPT = codes.END_KEPT
_END_FRESH = codes.END_FRESH
_NOERROR = codes.NOERROR
_NXDOMAIN = codes.NXDOMAIN
_SOA = codes.TYPE_SOA
_CLIENT = 16
_TRUNCATED = 2
_TOP_BIT = 0x80000000


class EdgeBatch:
    """Queries that are taken together, `most` at most.

    count: how many were found, in the first `end` octets. broken: what follows is no query, and no other frame. left:
    how many have no final outcome, or are to be fetched again. numbers: by seat. length: the octets of the joined
    answers.
    """

    def __init__(self, most):
        if not 0 < most <= BATCH:
            raise ValueError("most: out of range")
        self.most = most
        self.count = 0
        self.end = 0
        self.broken = 0
        self.left = 0
        self.length = 0
        self.numbers = memoryview(bytearray(4 * BATCH)).cast("I")
        self.out = memoryview(bytearray(most * (ANSWER_OCTETS + MAX_OCTETS)))

    def answers(self):
        """Return a copy of the joined answers."""
        if self.length == 0:
            return b""
        if not cython.compiled:
            return bytes(self.out[: self.length])
        else:  # noqa: RET505 - compiled, only this one is left
            return cython.cast(cython.p_char, cython.address(self.out[0]))[: self.length]


def read(batch, lane, octets, properties, count):
    """Give up to `count` queries at the head of `octets` the first seats of the lane; return how many.

    properties: least, most and keepalive_ds (core.lane.Seat) of each transport, in the order of core.codes.TRANSPORTS.
    """
    batch.count = 0
    batch.end = 0
    batch.broken = 0
    while batch.count < count and batch.count < batch.most and len(octets) - batch.end > _LENGTH:
        size = _u32(octets, batch.end)
        at = batch.end + _LENGTH
        if size < 1 or size > _MOST_OCTETS:
            batch.broken = 1
            break
        if octets[at] != _QUERY:
            break
        size -= 1 + _QUERY_OCTETS
        if size < _HEADER or size > _MAX_MESSAGE:
            batch.broken = 1
            break
        if len(octets) - at - 1 - _QUERY_OCTETS < size:
            break
        transport = octets[at + 5]
        if transport < _FIRST or transport > _LAST:
            batch.broken = 1
            break
        batch.numbers[batch.count] = _u32(octets, at + 1)
        at += 6
        cython.cast(Seat, lane.seats[batch.count]).sit(
            octets[at + _CLIENT : at + _CLIENT + size],
            octets[at : at + _CLIENT],
            transport,
            properties[3 * transport],
            properties[3 * transport + 1],
            properties[3 * transport + 2],
        )
        batch.count = batch.count + 1
        batch.end = at + _CLIENT + size
    return batch.count


def take(tables, lane, batch, now_ms):
    """Take the queries that were read, at `now_ms` of a monotonic clock, and join their answers. Returns 0."""
    take_whole(tables, lane, batch.count, now_ms)
    return _join(lane, batch)


def _join(lane, batch):
    number = 0
    at = 0
    batch.left = 0
    while number < batch.count:
        seat = cython.cast(Seat, lane.seats[number])
        is_final = seat.outcome == _REPLY or seat.outcome == _SILENT
        if not is_final or seat.refresh:
            batch.left = batch.left + 1
        if is_final:
            at = _write(batch.out, at, seat, batch.numbers[number])
        number += 1
    batch.length = at
    return 0


def framed(seat, number):
    """Return the frame with the answer of a seat, to the query with this number."""
    out = bytearray(_ANSWER_OCTETS + seat.length)
    _write(out, 0, seat, number)
    return bytes(out)


def _write(out, at, seat, number):
    """Write the frame of a seat to out[at:]; return the offset after it."""
    size = seat.length if seat.outcome == _REPLY else 0
    _put_u32(out, at, 1 + 8 + size)
    out[at + 4] = _ANSWER
    _put_u32(out, at + 5, number)
    _put_u32(out, at + 9, max_age(seat))
    at += _ANSWER_OCTETS
    copy(out, at, seat.out, 0, size)
    return at + size


def max_age(seat):
    """Return for how many seconds an HTTP cache may keep the answer of a seat, EDGE_MAX_AGE_NONE if it may not."""
    if seat.outcome != _REPLY or (seat.reason != _END_FRESH and seat.reason != _END_KEPT and seat.reason != _END_ANY):
        return _MAX_AGE_NONE
    rcode = seat.out[3] & 15
    if seat.out[2] & _TRUNCATED or (rcode != _NOERROR and rcode != _NXDOMAIN):
        return _MAX_AGE_NONE
    least = _MAX_AGE_NONE
    at = seat.question.end
    answers = seat.out[6] << 8 | seat.out[7]
    left = answers + (seat.out[8] << 8 | seat.out[9])
    while left > 0:
        at = skip(seat.out, at, seat.length)
        if at == 0 or at + 10 > seat.length:
            return _MAX_AGE_NONE
        ttl_s = _u32(seat.out, at + 4)
        if ttl_s & _TOP_BIT:
            ttl_s = 0
        size = seat.out[at + 8] << 8 | seat.out[at + 9]
        if answers > 0:
            answers -= 1
            least = min(least, ttl_s)
        elif seat.out[at] == 0 and seat.out[at + 1] == _SOA and size >= 22 and at + 10 + size <= seat.length:
            least = min(least, ttl_s, _u32(seat.out, at + 6 + size))
        at += 10 + size
        left -= 1
    return least


def _u32(data, at):
    value = data[at]
    value = value << 8 | data[at + 1]
    value = value << 8 | data[at + 2]
    return value << 8 | data[at + 3]


def _put_u32(out, at, value):
    """Returns 0."""
    out[at] = value >> 24 & 255
    out[at + 1] = value >> 16 & 255
    out[at + 2] = value >> 8 & 255
    out[at + 3] = value & 255
    return 0
