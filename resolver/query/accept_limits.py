"""The places that connections take: how many there are, who gets one, who gives his up.

Rules:
- So many in all, and so many for one client's prefix (/32 of IPv4, /56 of IPv6) unless it is exempt. Who opens one
  too many for his prefix is refused.
- Where all places are taken a newcomer gets the place of one that gives way, in this order: one that is closing and
  does not read what is left; one that never asked, if it had PATIENCE_S for it or where such ones hold a quarter of
  the places; the one without a query for the longest time; one that never asked at all. One with a query on its way
  keeps its place. Only where all have one, the newcomer is refused.
- Where three quarters of the places are taken, those without a query are closed four times sooner.
- A newcomer that never asks thus takes no place from those that do, and a crowd of them makes room for itself.
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
    """How many connections there may be: in all, and of one client's prefix unless `exempt` says so of its address."""

    connections: int
    per_client: int
    exempt: Callable[[bytes], bool]


class Holder(Protocol):
    """A connection, as far as its place goes. `counted` is the prefix that it counts for, b"" for none."""

    counted: bytes

    def abort(self) -> None:
        """Be gone, whatever is still unsent."""

    def finish(self) -> None:
        """Take no more queries; close after the answers on their way."""


class Places:
    """Who holds a place, and since when each does what it does (seconds of a monotonic clock).

    `bounds` may be replaced at any time; `affordable` is how many connections the process has file descriptors for.
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
        """How many places there are."""
        return min(self.bounds.connections, self._affordable)

    def enter(self, one: Holder, client: bytes | None, now: float) -> bool:
        """Take a place, counted for this client (16 octets, None for nobody); tell whether there was one."""
        if client is not None and not self.claim(one, client):
            return False
        if len(self.holders) >= self.most and not self.give_way(now):
            self._uncount(one)
            return False
        self.holders[one] = now
        self._mute[one] = now
        return True

    def give_way(self, now: float) -> bool:
        """Close the connection whose turn it is to give up its place; tell whether there was one."""
        for one in self._turns(now):
            self.leave(one)
            one.abort()
            return True
        return False

    def claim(self, one: Holder, client: bytes) -> bool:
        """Count `one` for its client's prefix; tell whether the client may have one more."""
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
        """It has a query on its way."""
        self._mute.pop(one, None)
        self._idle.pop(one, None)

    def idle(self, one: Holder, now: float) -> None:
        """It asked, and no query of it is on its way any more."""
        if one in self.holders and one not in self._ending:
            self._mute.pop(one, None)
            self._idle[one] = now
            self._idle.move_to_end(one)

    def ending(self, one: Holder, now: float) -> None:
        """It is closing, as soon as what is left has been read."""
        if one in self.holders and one not in self._ending:
            self.busy(one)
            self._ending[one] = now

    def leave(self, one: Holder) -> None:
        """Give up the place; it may be given up already."""
        self.busy(one)
        self._ending.pop(one, None)
        if self.holders.pop(one, None) is not None:
            self._uncount(one)

    def hurried(self, idle_s: float) -> float:
        """How long one may go without a query, which is `idle_s` where places are plenty."""
        return idle_s / HURRY if 4 * len(self.holders) >= 3 * self.most else idle_s

    def silent(self, since: float) -> list[Holder]:
        """Those without a query since then or longer."""
        return [*_until(self._mute, since), *_until(self._idle, since)]

    def unread(self, since: float) -> list[Holder]:
        """Those that have been closing since then or longer."""
        return list(_until(self._ending, since))

    def old(self, since: float) -> list[Holder]:
        """Those that have held a place since then or longer."""
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
