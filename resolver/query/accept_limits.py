# cython: language_level=3, annotation_typing=False
"""Limits the number of connections: each takes a place, and some have to give theirs up.

Rules:
- Places are limited in all, and for one client's prefix (/32 of IPv4, /56 of IPv6) unless the client is exempt. A
  connection above its prefix's limit is refused.
- If all places are taken, a new connection gets the place of another, chosen in this order: one that is closing while
  its client does not read; one that has sent no query, if it had PATIENCE_S to do so or if such connections hold a
  quarter of the places; the one that has been idle longest; any that has sent no query. A connection with a query in
  flight keeps its place. If all have a query in flight, the new connection is refused.
- If three quarters of the places are taken, idle connections are closed four times sooner.
- So connections that never send a query take no place from those that do, and many of them displace only each other.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, Protocol

from resolver.core.admit import is_mapped

PATIENCE_S: Final = 1.0
HURRY: Final = 4
CROWDED: Final = 4


@dataclass(frozen=True, slots=True)
class Bounds:
    """The maximum number of connections: in all, and for one client's prefix unless its address is `exempt`."""

    connections: int
    per_client: int
    exempt: Callable[[bytes], bool]


class Holder(Protocol):
    """A connection that can hold a place. counted: the prefix that it counts for, b"" for none."""

    counted: bytes

    def abort(self) -> None:
        """Close at once and discard unsent octets."""

    def finish(self) -> None:
        """Take no more queries; close after the last answer."""


class Places:
    """The connections that hold a place, and since when each is in its present state (monotonic clock, in seconds).

    bounds: may be replaced at any time. affordable: the number of connections that the process has descriptors for.
    """

    def __init__(self, bounds: Bounds, affordable: int) -> None:
        self.bounds = bounds
        self.holders: OrderedDict[Holder, float] = OrderedDict()
        self._affordable = affordable
        self._mute: OrderedDict[Holder, float] = OrderedDict()
        self._idle: OrderedDict[Holder, float] = OrderedDict()
        self._ending: OrderedDict[Holder, float] = OrderedDict()
        self._of_prefix: dict[bytes, int] = {}

    @property
    def most(self) -> int:
        """The number of places."""
        return min(self.bounds.connections, self._affordable)

    def enter(self, one: Holder, client: bytes | None, now: float) -> bool:
        """Take a place, counted for this client (16 octets, None for no client); return whether there was one."""
        if client is not None and not self.claim(one, client):
            return False
        if len(self.holders) >= self.most and not self.make_room(now):
            self._uncount(one)
            return False
        self.holders[one] = now
        self._mute[one] = now
        return True

    def make_room(self, now: float) -> bool:
        """Close the connection that is first to give up its place; return whether there was one."""
        for one in self._turns(now):
            self.leave(one)
            one.abort()
            return True
        return False

    def claim(self, one: Holder, client: bytes) -> bool:
        """Count `one` for its client's prefix; return False if the prefix is at its limit."""
        bounds = self.bounds
        if bounds.exempt(client):
            return True
        prefix = client if is_mapped(client) else client[:7]
        count = self._of_prefix.get(prefix, 0)
        if count >= bounds.per_client:
            return False
        self._of_prefix[prefix] = count + 1
        one.counted = prefix
        return True

    def busy(self, one: Holder) -> None:
        """Note that the connection has a query in flight."""
        self._mute.pop(one, None)
        self._idle.pop(one, None)

    def idle(self, one: Holder, now: float) -> None:
        """Note that the connection has sent queries and has none in flight."""
        if one in self.holders and one not in self._ending:
            self._mute.pop(one, None)
            self._idle[one] = now
            self._idle.move_to_end(one)

    def ending(self, one: Holder, now: float) -> None:
        """Note that the connection closes as soon as its client has read the unsent octets."""
        if one in self.holders and one not in self._ending:
            self.busy(one)
            self._ending[one] = now

    def leave(self, one: Holder) -> None:
        """Give up the place; do nothing if that was done before."""
        self.busy(one)
        self._ending.pop(one, None)
        if self.holders.pop(one, None) is not None:
            self._uncount(one)

    def hurried(self, idle_s: float) -> float:
        """Return the idle timeout to apply now, in seconds: `idle_s`, or a part of it if places are scarce."""
        return idle_s / HURRY if 4 * len(self.holders) >= 3 * self.most else idle_s

    def silent(self, since: float) -> list[Holder]:
        """Return the connections that have been idle since then or longer."""
        return [*_until(self._mute, since), *_until(self._idle, since)]

    def unread(self, since: float) -> list[Holder]:
        """Return the connections that have been closing since then or longer."""
        return list(_until(self._ending, since))

    def old(self, since: float) -> list[Holder]:
        """Return the connections that have held a place since then or longer."""
        return list(_until(self.holders, since))

    def _uncount(self, one: Holder) -> None:
        if not one.counted:
            return
        left = self._of_prefix[one.counted] - 1
        if left:
            self._of_prefix[one.counted] = left
        else:
            del self._of_prefix[one.counted]
        one.counted = b""

    def _turns(self, now: float) -> Iterator[Holder]:
        yield from self._ending
        yield from self._mute if CROWDED * len(self._mute) >= self.most else _until(self._mute, now - PATIENCE_S)
        yield from self._idle
        yield from self._mute


def _until(order: OrderedDict[Holder, float], since: float) -> Iterator[Holder]:
    return (one for one, at in takewhile(lambda item: item[1] <= since, order.items()))
