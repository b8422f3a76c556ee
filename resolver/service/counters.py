"""The counters of all threads as one table: each thread writes its own, and a reader gets the sum."""

from collections.abc import Iterable
from typing import Any


class Counters:
    """The sum of some tables of core.codes. They are written by others; here a counter can only begin again."""

    def __init__(self, tables: Iterable[Any]) -> None:
        self._tables = tuple(tables)
        self._left_out: dict[int, int] = {}

    def __getitem__(self, index: int) -> int:
        return self._sum(index) - self._left_out.get(index, 0)

    def __setitem__(self, index: int, value: int) -> None:
        # To write into a thread's table would lose what that thread counts at the same moment.
        self._left_out[index] = self._sum(index) - value

    def _sum(self, index: int) -> int:
        return sum(int(one[index]) for one in self._tables)
