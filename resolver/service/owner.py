"""Lets one process at a time have the state folder: lists, audit log, ledger, releases, receipts.

Rules:
- Who holds the lock of the folder owns all that is in it. The kernel takes the lock back when the process ends, however
  it ends; nothing is written for it.
- Every process that writes there takes it first: the service, and `compile` on a compile host.
- A process of the service that is to take over from another answers before it owns the folder, and writes nothing there
  until then.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

IN_USE: Final = "another process of the service, or `compile`, works in it: this one starts when that has ended"


class Owner:
    """A process's hold on the state folder `directory`, which is made if it is missing; OSError if it cannot be."""

    def __init__(self, directory: str) -> None:
        Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def take(self) -> bool:
        """Take the folder, if no other process has it; return whether this one has it now."""
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def leave(self) -> None:
        """Let another process have the folder."""
        os.close(self._handle)
