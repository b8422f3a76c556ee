# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""What the steps (core.steps) do with a clean answer that a thread of the engine got by itself, without the GIL.

Rules:
- `keep` once for the exchange, before `give` for each query that waited for it: as query.answer has it for Python's.
- A query that waited is read again, and judged by the lists of then. Its key is that of its exchange: where the reply
  cannot be used, it is what is kept for this question that is given.
- An error is raised. Of `keep` it keeps nothing. After one of `give` the caller, who has the GIL by then, calls
  `give_failed`: nobody is left to ask, so it is SERVFAIL.
"""

import cython

from .store import NOTHING

if not cython.compiled:
    from .reading import read_query
    from .shares import _take
    from .steps import _failed, _give, _keep, unasked

_NOTHING = NOTHING
_SECOND_MS = 1000


def keep(tables, lane, one, asked, low, high, client, now_ms):
    """Do what core.steps.keep does. Returns 0."""
    return _keep(tables, lane, one, asked, low, high, client, now_ms // _SECOND_MS)


def give(tables, lane, seat, one, low, high, now_ms):
    """Answer the query in a seat, read again, by the reply of which `one` is the Judgement. Returns 0.

    low, high: the key of the question.
    """
    read_query(tables, lane, seat, now_ms)
    seat.low = low
    seat.high = high
    seat.stage = 0
    seat.found = _NOTHING
    return _give(tables, lane, seat, one, now_ms // _SECOND_MS)


def give_failed(lane, seat):
    """Answer a query for which `give` failed. Returns 0."""
    _failed(lane, seat)
    if seat.length == 0:
        unasked(lane, seat)
    return 0


def place(shares, client, most):
    """Take a place to wait for the prefix of `client`; return the slot for core.shares.give, -1 if it has `most`."""
    return _take(shares, client, 1, most, 0)
