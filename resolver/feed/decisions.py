"""What of a list waits for persons: each decision that may be signed now, who has signed, and how many are missing.

Rules:
- One may always go back: a rollback waits only where one person has carried it out and nobody has confirmed it.
- What can count for nothing any more (expired, or of what is gone) is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from resolver.feed import approve
from resolver.feed.actions import OF_A_LIST, Action
from resolver.feed.approve import Subject
from resolver.feed.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One thing that a person may decide: what about, and who has signed."""

    action: Action
    about: Subject
    signed: tuple[str, ...]
    missing: int


def decisions(found: State, now: float) -> Iterator[Decision]:
    """What waits in a list's state at `now` (unix seconds)."""
    state = approve.kept(found, now)
    for action in OF_A_LIST:
        try:
            about = approve.subject(state, action)
        except approve.Refused:
            continue
        confirms = action is Action.ROLLBACK and approve.unconfirmed(state) is not None
        if action is Action.ROLLBACK and not confirms:
            continue
        signed = tuple(one.principal for one in approve.waiting(state, action, about))
        missing = 1 if confirms else approve.missing(state, action, about)
        yield Decision(action=action, about=about, signed=signed, missing=missing)
