"""Follows the policy that the service publishes: a plugin judges by the newest one that is whole.

Rules:
- At most once a second a plugin asks the folder whether the file `policy` was replaced (its inode, time and size); the
  synthetic names of images make it ask at once, so that a proof waits for nothing.
- A policy that is damaged never comes in force. The one before stays, as the last good list does in the service; a
  plugin that has none answers SERVFAIL. What is wrong is logged once, and looked at again every second.
- While the service does not run, the last policy stays in force.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from resolver.plugin import folder as plugin_folder
from resolver.plugin.folder import Damaged, Policy

LOOK_S: Final = 1.0


class Followed:
    """The policy in force in this process, None before the first one. complain: called with a line for the log."""

    def __init__(self, folder: Path, digest_key: bytes, complain: Callable[[str], object]) -> None:
        self.policy: Policy | None = None
        self._folder = folder
        self._key = digest_key
        self._complain = complain
        self._next = float("-inf")
        self._seen: tuple[int, int, int] | None = None
        self._said = ""

    def look(self, now_s: float, *, at_once: bool = False) -> bool:
        """Take the policy that was published since, if any; return whether one came in force.

        now_s: of a monotonic clock. at_once: look also if the last look is less than LOOK_S ago.
        """
        if now_s < self._next and not at_once:
            return False
        self._next = now_s + LOOK_S
        try:
            status = os.stat(self._folder / plugin_folder.POLICY)
            seen = status.st_ino, status.st_mtime_ns, status.st_size
            if seen == self._seen:
                return False
            known = {} if self.policy is None else self.policy.images
            policy = plugin_folder.read(self._folder, self._key, known)
        except OSError as error:
            return self._fault(f"policy: {error.strerror}")
        except Damaged as error:
            return self._fault(str(error))
        self.policy, self._seen, self._said = policy, seen, ""
        return True

    def _fault(self, said: str) -> bool:
        if said != self._said:
            stays = "every query is answered SERVFAIL" if self.policy is None else "the policy before stays in force"
            self._complain(f"blocklist: {self._folder}: {said}: {stays}; the service that publishes it has to run")
        self._said = said
        return False
