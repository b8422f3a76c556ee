"""Defines a candidate: a list fetched and compiled, about to be put in force or held.

Rules:
- A candidate is a sealed image in the store and a record: it has no names, and nothing has to be fetched again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from resolver.feed import state
from resolver.feed.details import Detail, no_step
from resolver.feed.state import Record, State, Unmet

FEED: Final = "the feed"
"""Who has done what nobody had to decide."""

Arrive = Callable[[State, Record], State]
"""Takes a state, returns the one in which the record is in force: `put_in_force` or `follow` of `state`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A list whose image is in the store.

    reasons: why the guard holds it, empty if it does not. arrive: makes the state in which it is in force. by: who has
    decided that it comes into force, for the journal.
    """

    record: Record
    reasons: tuple[str, ...] = ()
    arrive: Arrive = state.put_in_force
    by: str = FEED


Take = Callable[[Candidate], Awaitable[None]]
"""Puts a candidate in force or holds it; UpdateFailed or OSError if that fails."""


@dataclass(slots=True, kw_only=True)
class Shown:
    """What a source has shown since the start.

    newest: its newest list, None if it has shown none that is acceptable, or only one that a person has taken out.
    fresh_until: until when its metadata is fresh, in unix seconds; 0 if it does not say. passed_over: how many other
    files of a drop folder do not count, in words; "" if there are none. step: called with each step of a poll.
    """

    newest: Unmet | None = None
    fresh_until: int = 0
    passed_over: str = ""
    step: Callable[[Detail], None] = no_step


class Step(Protocol):
    """Fetches the list of one kind of source and makes a candidate of it."""

    def recover(self) -> None:
        """Do at a start what this kind of source needs, once the saved list is in force; may raise OSError."""

    async def update(self, take: Take) -> None:
        """Fetch what is due and hand it to `take`; UpdateFailed if the source fails or a rule refuses it."""
