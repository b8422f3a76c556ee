# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Takes the queries at the head of a stream's octets in one batch, and joins their answers (RFC 1035 4.2.2).

Rules:
- A query is taken whole or not at all. One that is shorter than a DNS header cannot be framed: neither it nor what
  follows it is taken.
- Answers stand in the order of their queries, each behind its length. What core.steps cannot finish has none here.
"""

import cython

from . import codes
from .lane import BATCH, MAX_OCTETS, Seat

if not cython.compiled:
    from .octets import copy
    from .steps import take_whole

LENGTH_OCTETS = 2

_LENGTH = LENGTH_OCTETS
_HEADER = 12
_TCP = codes.TCP
_REPLY = codes.OUTCOME_REPLY
_SILENT = codes.OUTCOME_SILENT


class Frames:
    """Queries that are taken together, `most` at most.

    count: how many were found, in the first `end` octets. broken: the next one cannot be framed. left: how many have
    no final outcome, or are to be fetched again. length: the octets of the joined answers.
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
        self.out = memoryview(bytearray(most * (LENGTH_OCTETS + MAX_OCTETS)))

    def answers(self):
        """Return a copy of the joined answers."""
        if self.length == 0:
            return b""
        if not cython.compiled:
            return bytes(self.out[: self.length])
        else:  # noqa: RET505 - compiled, only this one is left
            return cython.cast(cython.p_char, cython.address(self.out[0]))[: self.length]


def read(frames, lane, octets, client, least, most, keepalive_ds, count):
    """Give up to `count` queries at the head of `octets` the first seats of the lane; return how many.

    client: 16 octets. least, most, keepalive_ds: those of core.lane.Seat.
    """
    frames.count = 0
    frames.end = 0
    frames.broken = 0
    while frames.count < count and frames.count < frames.most and len(octets) - frames.end >= _LENGTH:
        size = octets[frames.end] << 8 | octets[frames.end + 1]
        if size < _HEADER:
            frames.broken = 1
            break
        at = frames.end + _LENGTH
        if len(octets) - at < size:
            break
        cython.cast(Seat, lane.seats[frames.count]).sit(
            octets[at : at + size], client, _TCP, least, most, keepalive_ds
        )
        frames.count = frames.count + 1
        frames.end = at + size
    return frames.count


def take(tables, lane, frames, now_ms):
    """Take the queries that were read, at `now_ms` of a monotonic clock, and join their answers. Returns 0."""
    take_whole(tables, lane, frames.count, now_ms)
    return _join(lane, frames)


def _join(lane, frames):
    number = 0
    at = 0
    frames.left = 0
    while number < frames.count:
        seat = cython.cast(Seat, lane.seats[number])
        number += 1
        if (seat.outcome != _REPLY and seat.outcome != _SILENT) or seat.refresh:
            frames.left = frames.left + 1
        if seat.outcome == _REPLY and seat.length > 0:
            frames.out[at] = seat.length >> 8
            frames.out[at + 1] = seat.length & 255
            copy(frames.out, at + _LENGTH, seat.out, 0, seat.length)
            at += _LENGTH + seat.length
    frames.length = at
    return 0
