"""Holds the memory of kept answers: how much of it is used, and how answers that an operator names are forgotten.

What is found and kept there, and when, is core.cache's.
"""

from typing import Any

from resolver.core import flush
from resolver.core.cache import SHARES_OCTETS
from resolver.core.name import Name, unfold
from resolver.core.shares import Shares
from resolver.core.store import Store

STEPS_A_TURN = 4096


class Cache:
    """Kept answers in core.store's memory, and what each client prefix has written there."""

    def __init__(self, memory: Store) -> None:
        self.memory = memory
        self.shares = Shares(bytearray(SHARES_OCTETS), memory.key)

    def used_bytes(self) -> int:
        """Return how many octets of the rings hold records."""
        used: int = sum(self.memory.heads) - sum(self.memory.tails)
        return used

    async def flush(self, name: bytes, *, subtree: bool, pause: Any) -> int:
        """Forget the answers kept for a name (wire format), with `subtree` also below it; return their number.

        `pause()` is awaited between parts of the memory, so that queries are answered meanwhile.
        """
        wanted = Name()
        if not unfold(name, 0, len(name), wanted):
            raise ValueError("not a name in wire format")
        search = flush.Search(wanted, subtree)
        while flush.forget(self.memory, search, STEPS_A_TURN):
            await pause()
        forgotten: int = search.forgotten
        return forgotten
