"""Shares the places of the queries that wait for an exchange between client prefixes.

Rules:
- At most MAX_WAITING queries wait, at most half of them of one prefix, at most half for one exchange.
- If a place is wanted and none is free, the prefix that holds most loses one to a prefix that holds less: its query
  that has waited longest ends. Only a query of a prefix that itself holds most may fail at once.
- At the bound of its own prefix a query takes the place of the one that has waited longest, if that had LEAST_LIFE_S.
- A place is free again as soon as its query has its result or no more patience.
"""

from __future__ import annotations

import asyncio
import os
from itertools import islice
from typing import Protocol

from resolver.core import shares
from resolver.core.shares import SET_OCTETS, Shares

MAX_WAITING = 16384
LEAST_LIFE_S = 0.5
LOOKED_AT = 64
"""Of the prefix that holds most, at most so many queries are looked at for one that may end."""

_SETS = 4096
_ALL = 1 << 62


class Overloaded(Exception):
    """Raised if the maximum of exchanges is in flight, or the maximum of queries waits for them."""


class Exchange(Protocol):
    """What queries wait for (forward_exchange.Exchange)."""

    started: float
    waiting: dict[Waiter, None]

    def end_early(self) -> None:
        """End now: a new exchange needs the place."""


class Waiter:
    """One query that waits for an exchange; `result` is what it awaits."""

    __slots__ = ("_waiters", "exchange", "result", "since", "slot")

    def __init__(self, waiters: Waiters, exchange: Exchange, slot: int, since: float) -> None:
        self._waiters = waiters
        self.exchange = exchange
        self.slot = slot
        self.since = since
        self.result: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def wake(self, now: float) -> None:
        """Raise TimeoutError in the query, unless it has its result (Waking)."""
        if not self.result.done():
            self.end(TimeoutError())

    def end(self, result: bytes | Exception) -> None:
        """Leave the place, and hand the result to the query unless it has gone."""
        self._waiters.leave(self)
        if self.result.done():
            return
        if isinstance(result, bytes):
            self.result.set_result(result)
        else:
            # Without reading the exception back asyncio would warn if the query was just cancelled.
            self.result.set_exception(result)
            self.result.exception()


class Waiters:
    """All queries that wait for exchanges; `count` is their number."""

    def __init__(self) -> None:
        self.count = 0
        self._shares = Shares(bytearray(_SETS * SET_OCTETS), os.urandom(16))
        self._of: dict[int, dict[Waiter, None]] = {}

    def wait(self, client: bytes, exchange: Exchange, now: float) -> Waiter:
        """Let a query of `client` wait for this exchange; raise Overloaded. now: monotonic, in seconds."""
        half = MAX_WAITING // 2
        slot = shares.take(self._shares, client, 1, half, 0)
        if slot < 0:
            slot = self._replaced(client, None, now)
        elif self.count >= MAX_WAITING or len(exchange.waiting) >= half:
            held = shares.give(self._shares, slot, 1)
            slot = self._make_room(client, exchange, held, now)
        waiter = Waiter(self, exchange, slot, now)
        self.count += 1
        of = self._of.get(slot)
        if of is None:
            self._of[slot] = {waiter: None}
        else:
            of[waiter] = None
        exchange.waiting[waiter] = None
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Free the place of a query, once."""
        if waiter.exchange.waiting.pop(waiter, 0) is None:
            self.count -= 1
            shares.give(self._shares, waiter.slot, 1)
            of = self._of[waiter.slot]
            del of[waiter]
            if not of:
                del self._of[waiter.slot]

    def of_heaviest(self, client: bytes) -> list[Waiter]:
        """Return queries of the prefix that holds most, the longest waiting first; none if `client` holds as much."""
        slot = shares.heaviest(self._shares)
        own = shares.take(self._shares, client, 0, _ALL, 0)
        if shares.held(self._shares, own) >= shares.held(self._shares, slot):
            return []
        return list(islice(self._of.get(slot, ()), LOOKED_AT))

    def _make_room(self, client: bytes, exchange: Exchange, held: int, now: float) -> int:
        """End a query of the prefix that holds most, of this exchange if that is full; return the place's slot."""
        full = len(exchange.waiting) >= MAX_WAITING // 2
        for waiter in self.of_heaviest(client):
            if not full or waiter.exchange is exchange:
                waiter.end(Overloaded())
                taken: int = shares.take(self._shares, client, 1, held + 1, 0)
                return taken
        return self._replaced(client, exchange if full else None, now)

    def _replaced(self, client: bytes, exchange: Exchange | None, now: float) -> int:
        """End the prefix's own query that has waited longest; return the place's slot."""
        slot = shares.take(self._shares, client, 0, _ALL, 0)
        for waiter in islice(self._of.get(slot, ()), LOOKED_AT):
            if exchange is None or waiter.exchange is exchange:
                if now - waiter.since < LEAST_LIFE_S:
                    break
                waiter.end(Overloaded())
                taken: int = shares.take(self._shares, client, 1, _ALL, 0)
                return taken
        raise Overloaded
