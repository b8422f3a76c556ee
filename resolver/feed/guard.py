"""Holds a list that is unusual by its counts: it waits for signatures, and the last good list stays.

Rules:
- A change of size is held above the configured share and above 500 names, unless the authority has announced the new
  number in the signed metadata. The announced number may include refused lines.
- A name that becomes an exception counts as removed, whatever number is announced: it no longer blocks, and the number
  of names stays the same. So is a list held to which unusually many exceptions are added: each lets a name through that
  another entry would block.
- The first list has nothing to compare with: it is held if its number of entries is not the expected one.
- Too large a share of refused lines holds the list: it is not what the authority meant. A few odd lines hold no list,
  as long as most of its lines are entries.
- With on_entry = "hold" one line set aside holds the whole list.
- A signed withdrawal is held, and so is a zone that its authority has emptied: an authority's mistake must not lift a
  list unseen.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from resolver.config.config import Guard

SMALL_CHANGE: Final = 500
FEW_LINES: Final = 3


class Hold(StrEnum):
    """Why a list is held."""

    GROWTH = "growth"
    SHRINK = "shrink"
    FIRST_SIZE = "first_size"
    REFUSED_SHARE = "refused_share"
    WITHDRAWN = "withdrawn"
    EMPTIED = "emptied"
    EXCEPTIONS = "exceptions"
    SET_ASIDE = "set_aside"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The numbers of a list; the guard may know nothing else of it.

    emptied: a withdrawal, if it is one, is a zone that holds nothing any more.
    """

    entries: int
    refused: int
    announced: int | None
    withdrawn: bool
    set_aside: int = 0
    exceptions: int = 0
    emptied: bool = False


def holds(counts: Counts, previous: int | None, rules: Guard, exceptions: int = 0) -> tuple[Hold, ...]:
    """Return why the list is held; empty if it is not.

    previous, exceptions: how many entries and exceptions the list in force has; `previous` is None for a first list.
    """
    if counts.withdrawn:
        return (Hold.EMPTIED if counts.emptied else Hold.WITHDRAWN,)
    found = []
    few = counts.refused <= FEW_LINES and counts.refused < counts.entries
    if not few and counts.refused > rules.refused * (counts.entries + counts.refused):
        found.append(Hold.REFUSED_SHARE)
    if counts.set_aside and rules.on_entry == "hold":
        found.append(Hold.SET_ASIDE)
    if previous is None:
        least, most = rules.expect_entries
        if not least <= counts.entries <= most:
            found.append(Hold.FIRST_SIZE)
    else:
        change = exceptions - counts.exceptions
        if not _announced(counts):
            change += counts.entries - previous
        if change > max(SMALL_CHANGE, rules.growth * previous):
            found.append(Hold.GROWTH)
        if -change > max(SMALL_CHANGE, rules.shrink * previous):
            found.append(Hold.SHRINK)
        elif counts.exceptions - exceptions > max(SMALL_CHANGE, rules.shrink * previous):
            found.append(Hold.EXCEPTIONS)
    return tuple(found)


def _announced(counts: Counts) -> bool:
    if counts.announced is None:
        return False
    return counts.entries <= counts.announced <= counts.entries + counts.refused
