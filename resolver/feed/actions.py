"""Lists what persons decide with signatures, and how many signatures each decision takes.

Rules:
- Each action is listed here and nowhere else: statements, saved approvals, the control socket, the command line and the
  screens all take it from here.
"""

from enum import StrEnum
from typing import Final

MAX_SIGNATURE_BYTES: Final = 6144
"""An RSA key of 16,384 bits signs in less; a request over the control socket has room for one."""


class Action(StrEnum):
    """One kind of decision, as statements, states, requests and JSON name it."""

    APPROVE = "approve"
    APPROVE_SET_ASIDE = "approve-set-aside"
    RESUME = "resume"
    ROLLBACK = "rollback"
    RELEASE = "release"
    STANDING = "standing"
    REVOKE = "revoke"

    def command(self, list_id: str, serial: int) -> str:
        """Return the words after `list` that hand over a signature, such as `approve ID SERIAL --set-aside`."""
        verb, _, option = self.value.partition("-")
        return f"{verb} {list_id} {serial}" + (f" --{option}" if option else "")


NEEDED: Final = {
    Action.APPROVE: 2,
    Action.APPROVE_SET_ASIDE: 2,
    Action.RESUME: 2,
    Action.ROLLBACK: 1,
    Action.RELEASE: 1,
    Action.STANDING: 2,
    Action.REVOKE: 1,
}
"""Signatures that each action takes; a rollback and a release are confirmed afterwards by another person."""

OF_A_LIST: Final = tuple(action for action in Action if action not in (Action.RELEASE, Action.STANDING))
"""Decisions on a list that follow from its state; a release is decided for a name, a standing approval has terms."""
