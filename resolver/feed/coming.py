"""A list on its way from a step of its source to what is in force: what the two hand each other.

Rules:
- What comes is a sealed image in the store and a record: no name, and nothing that has to be fetched again.
- A list is made in a state. If entries were suspended since, they would count again in it: it is made again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from resolver.feed import state
from resolver.feed.state import Record, State

Arrive = Callable[[State, Record], State]
"""Makes from a state the one in which the record is in force: `put_in_force`, `follow` or `plant` of `state`."""


class Overtaken(Exception):
    """The breaker has suspended entries that would count again in this list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """A list whose image is in the store. made_in: the state that it was made in. reasons: why the guard holds it."""

    record: Record
    made_in: State
    reasons: tuple[str, ...] = ()
    arrive: Arrive = state.put_in_force

    def check(self, now: State) -> None:
        """Raise Overtaken if entries were suspended since the list was made; a withdrawn list has none."""
        if state.overtaken(self.made_in, now) and not self.record.withdrawn:
            raise Overtaken


Take = Callable[[Coming], Awaitable[None]]
"""Puts in force or holds a list that has come; UpdateFailed, OSError or Overtaken if that fails."""


@dataclass(slots=True, kw_only=True)
class Shown:
    """What a source has shown. newest: issue and identity of its newest list, None if it has shown none that counts.
    fresh_until: when its metadata is no longer fresh, in unix seconds; 0 if it does not say."""

    newest: tuple[int, tuple[int, str]] | None = None
    fresh_until: int = 0


class Step(Protocol):
    """How the list of one kind of source comes to this host."""

    def recover(self) -> None:
        """Go on from what a start finds, once the saved list is in force; may raise OSError."""

    async def update(self, take: Take) -> None:
        """Fetch, and have `take` put in force or hold what is due; UpdateFailed if the source or a rule refuses it."""
