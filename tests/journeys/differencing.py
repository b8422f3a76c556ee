"""Differencing as an attack: whose query was the blocked one, by what counters show and by who asked when?

Rules:
- The attacker has every number at each scrape, every query's scrape and client (a flow log: who asked when, not what),
  and an instance of his own on which he sees how each number moves by one query that is blocked, passed, or fails.
- What he takes from it: between two scrapes so many queries came; which mixtures of blocked and other queries move
  every number as it has moved? Where none was blocked in any of them, nobody who asked then is the visitor.
- He knows that one person visits on every beat, so that he looks for who is possible on each of them.
- A mark or a quantile moves by none of his single queries: of those he knows the rule, LEAST, which says how many
  queries have been answered, or have failed, between two of its changes.
- Where the numbers fit no mixture he takes nothing from them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

Shown = Mapping[str, float]
"""Every number of one scrape, by series."""

BLOCKED: Final = "blocked"

LEAST: Final = {"upstream_latency_seconds": 100, "upstream_up": 10}
"""How many queries that were not blocked come at least between two changes of such a series."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Between two scrapes: who asked (one entry a query), and by how much each series moved."""

    beat: int
    clients: tuple[str, ...]
    moved: Shown


def between(before: Shown, after: Shown) -> dict[str, float]:
    """By how much each series moved; one that was not there before moved by what it is."""
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def effects(learnt: Mapping[str, Shown]) -> dict[str, tuple[float, ...]]:
    """Of each series by how much one query of each kind moves it, in the order of `learnt`, which begins with BLOCKED.

    Only those that tell kinds apart.
    """
    names = dict.fromkeys(name for moved in learnt.values() for name in moved)
    rows = {name: tuple(moved.get(name, 0.0) for moved in learnt.values()) for name in names}
    return {name: row for name, row in rows.items() if len(set(row)) > 1}


def candidates(learnt: Mapping[str, Shown], intervals: Sequence[Interval]) -> frozenset[str]:
    """Who may be the visitor: everybody that asked, on every beat, in an interval in which a query may be blocked."""
    rows, possible = effects(learnt), dict[int, set[str]]()
    still = _still(intervals)
    for number, one in enumerate(intervals):
        found = possible.setdefault(one.beat, set())
        said = frozenset((row, round(one.moved.get(name, 0.0), 6)) for name, row in rows.items())
        if number not in still and _may_be_blocked(len(one.clients), len(learnt), said):
            found.update(one.clients)
    return frozenset.intersection(*map(frozenset, possible.values()))


Said = frozenset[tuple[tuple[float, ...], float]]
"""Of each series that tells kinds apart: how one query of each kind moves it, and by how much it moved."""


@cache
def _may_be_blocked(queries: int, kinds: int, said: Said) -> bool:
    stories = [mixture for mixture in _mixtures(queries, kinds) if _fits(mixture, said)]
    return any(mixture[0] for mixture in stories or [(queries,)])


def _fits(mixture: Sequence[int], said: Said) -> bool:
    return all(
        abs(sum(count * each for count, each in zip(mixture, row, strict=True)) - moved) < 1e-6 for row, moved in said
    )


def _mixtures(queries: int, kinds: int) -> Iterator[tuple[int, ...]]:
    """Every way in which so many queries can be of so many kinds."""
    if kinds == 1:
        yield (queries,)
        return
    for first in range(queries + 1):
        yield from ((first, *rest) for rest in _mixtures(queries - first, kinds - 1))


def _still(intervals: Sequence[Interval]) -> set[int]:
    """The intervals in which nobody was blocked: all that asked were needed between two changes of such a series."""
    found: set[int] = set()
    for name in dict.fromkeys(name for one in intervals for name in one.moved if name.partition("{")[0] in LEAST):
        changed = [number for number, one in enumerate(intervals) if one.moved.get(name)]
        for first, last in zip([0, *changed], changed, strict=False):
            if sum(len(one.clients) for one in intervals[first : last + 1]) <= LEAST[name.partition("{")[0]]:
                found.update(range(first, last + 1))
    return found
