"""Lists the pending decisions of a list: each that may be signed now, who has signed, how many signatures are missing.

Rules:
- A rollback is always possible: it is pending only after one person has carried it out, until another confirms it.
- A standing approval may always be revoked: nobody has to.
- Signatures that no longer count (expired, or of a list that is gone) are left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from resolver.feed import approve, standing
from resolver.feed.actions import OF_A_LIST, Action
from resolver.feed.approve import Subject
from resolver.feed.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A pending decision about a list. signed: who has signed. missing: how many more signatures are needed."""

    action: Action
    about: Subject
    signed: tuple[str, ...]
    missing: int


def subject(state: State, action: Action) -> Subject:
    """Return what a statement of `action` names now; approve.Refused if there is nothing to decide."""
    return standing.subject(state) if action is Action.REVOKE else approve.subject(state, action)


def decisions(found: State, now: float) -> Iterator[Decision]:
    """Yield the decisions that are pending in a list's state at `now` (unix seconds)."""
    state = approve.kept(found, now)
    for action in OF_A_LIST:
        try:
            about = approve.subject(state, action)
        except approve.Refused:
            continue
        if action is Action.REVOKE:
            continue
        confirms = action is Action.ROLLBACK and approve.unconfirmed(state) is not None
        if action is Action.ROLLBACK and not confirms:
            continue
        signed = tuple(one.principal for one in approve.waiting(state, action, about))
        missing = 1 if confirms else approve.missing(state, action, about)
        yield Decision(action=action, about=about, signed=signed, missing=missing)
