"""Writes down the steps of one poll with their times, for `list fetch ID --explain`, and what to do about its failure.

Rules:
- The steps are those that the fetch and compile processes report as codes and numbers; the poll is the usual one.
"""

import time
from collections.abc import Callable
from typing import Final

from resolver.config.lists import List
from resolver.feed import detail_text
from resolver.feed.details import Detail
from resolver.feed.reasons import Reason, Whose

MAX_STEPS: Final = 400
"""This many steps are kept, the last ones: a repository may have many roots, and what fails comes last."""

_DO: Final = {
    Reason.UNREACHABLE: "try the same from this host as the service's account; look at name, route, firewall, TLS",
    Reason.UNREADABLE: "let the service's account read the file that is named, or correct its path",
    Reason.DENIED: "compare key name, algorithm, secret, address and zone with those who run the primary",
    Reason.KEY_UNUSABLE: "have the primary's operator make a key of an accepted algorithm, or correct its file",
    Reason.ROOT_UNUSABLE: "correct source.root: the file that the authority handed over",
    Reason.IDENTITY_UNUSABLE: "correct source.identity: the key that the list is encrypted to",
    Reason.CLOCK_BEHIND: "look at this host's clock; if it is right, that of the authority is ahead",
    Reason.FROZEN: "have the authority refresh its signatures",
    Reason.EXPIRED: "have the authority sign again",
    Reason.TOO_OLD: "have the authority send its newest list",
    Reason.QUARANTINED: "have the authority publish a corrected list under a higher serial",
    Reason.TRANSFER: "read the primary's log for this time",
}
_OF: Final = {
    Whose.AUTHORITY: "do not touch anything, and call the authority",
    Whose.LIST: "send the authority the line above",
    Whose.HOST: "correct this host, then fetch again; see journalctl -u blocklist-resolver",
}


def what_to_do(reason: str) -> str:
    """Return the next step after a failure, whose text begins with the reason."""
    word = reason.partition(":")[0]
    found = Reason(word) if word in set(Reason) else Reason.INTERNAL
    return _DO.get(found) or _OF[found.whose]


class Walk:
    """The steps of one poll of a list. clock: returns seconds."""

    def __init__(self, one: List, clock: Callable[[], float] = time.monotonic) -> None:
        self._list = one
        self._clock = clock
        self._steps: list[tuple[str, float]] = []
        self._said = ""
        self._began = 0.0

    def step(self, detail: Detail) -> None:
        """Note a step that begins, or what the last one has found."""
        said = detail_text.text(detail, self._list)
        if not detail.code.is_step:
            self._said = f"{self._said}: {said}" if self._said and said else self._said or said
            return
        self._close()
        self._said, self._began = said, self._clock()

    def steps(self) -> tuple[tuple[str, float], ...]:
        """Return each step with the seconds that it took; the last one until now."""
        self._close()
        return tuple(self._steps)

    def _close(self) -> None:
        if self._said:
            self._steps.append((self._said, self._clock() - self._began))
            del self._steps[:-MAX_STEPS]
        self._said = ""
