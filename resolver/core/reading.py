# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Reads the query of a seat: its question, how large its answer may be, and what its EDNS options want of the answer.

Rules:
- A client is proven by the handshake of its transport, or by a good cookie (core.cookie).
- The answer states the idle timeout where the query asks for it and the transport has one (RFC 7828).
- Over an encrypted transport the answer to every query with an OPT is padded to a multiple of PADDED_OCTETS (RFC 8467
  4.1), not only where the query has padding (RFC 7830 4 leaves it open): its size must not show which name is
  blocked, whether or not the client thought of it. Over UDP and TCP nothing is padded (RFC 7830 6).
"""

import cython

from . import codes

if not cython.compiled:
    from .cookie import check
    from .crash_shape import read
    from .reply import limit_of

PADDED_OCTETS = 468

_SILENT = codes.OUTCOME_SILENT
_END_NONE = codes.END_NONE
_NO_COOKIE = codes.COOKIE_NONE
_GOOD = codes.COOKIE_GOOD
_ENCRYPTED = codes.ENCRYPTED.start
_PADDED = PADDED_OCTETS


def read_query(tables, lane, seat, now_ms):
    """Read the query that sits in `seat`, at `now_ms` of the clock of core.steps. Returns 0."""
    seat.outcome = _SILENT
    seat.reason = _END_NONE
    seat.length = 0
    seat.refresh = 0
    seat.proven = seat.stream
    seat.cookie = _NO_COOKIE
    seat.problem = read(lane.shape, seat.packet, seat.size, seat.stream, seat.question)
    seat.limit = limit_of(seat.question, seat.least, seat.most)
    if seat.question.keepalive:
        seat.question.keepalive_ds = seat.keepalive_ds
    if seat.transport >= _ENCRYPTED:
        seat.question.padding = _PADDED
    if seat.question.cookie_size:
        seat.cookie = check(tables.cookies, seat.packet, seat.question, seat.client, now_ms, lane.scratch)
        if seat.cookie == _GOOD:
            seat.proven = 1
    return 0
