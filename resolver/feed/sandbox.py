"""The sandbox: limits that a fetch or compile process puts on itself before it sees names.

Rules:
- No core dump, not dumpable (so no ptrace by others and no /proc/PID/mem), killed with its parent.
- Limited address space; no inherited descriptors but the given ones. A process that needs no more files can open none.
- If memory runs out, the kernel ends such a process first: the service goes on, with the list that is in force.
- Of any error the parent learns only a reason of a closed set and a detail (`details`), never a text or a traceback.
"""

import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

import msgspec

from resolver.feed.details import Detail
from resolver.process import limits
from resolver.process.limits import NotConfined, leave_no_dump

_PR_SET_PDEATHSIG: Final = 1
MAX_REPLY_BYTES: Final = 2**20


class Failed(Exception):
    """The work of this process failed with `reason`, one of a closed set, and with a detail if one is known."""

    def __init__(self, reason: str, detail: Detail | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def confine(parent: int, memory_bytes: int, *descriptors: int) -> None:
    """Enter the sandbox: die with the process `parent`, use at most `memory_bytes`, and close all other descriptors.

    Only the standard streams and `descriptors` stay open. NotConfined if the kernel refuses.
    """
    limits.control(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise NotConfined("parent")
    with open("/proc/self/oom_score_adj", "w") as first:  # Only a dumpable process may write it.
        first.write("1000")
    leave_no_dump()
    limits.bound_memory(memory_bytes)
    logging.disable(logging.CRITICAL)
    start = 3
    for kept in sorted(descriptor for descriptor in descriptors if descriptor > 2):
        os.closerange(start, kept)
        start = kept + 1
    os.closerange(start, max(map(int, os.listdir("/proc/self/fd"))) + 1)


def open_nothing() -> None:
    """Forbid opening files, sockets and pipes from here on; open ones stay usable."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def say(message: dict[str, Any]) -> None:
    """Send one line of JSON to the parent."""
    os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


def run(work: Callable[[], None]) -> int:
    """Do `work` and return the exit code; a failure writes a reason to stdout, and nothing anywhere else."""
    sys.excepthook = lambda *_: None
    try:
        work()
    except Failed as failed:
        detail = {} if failed.detail is None else {"detail": msgspec.to_builtins(failed.detail)}
        say({"failed": failed.reason, **detail})
        return 1
    except MemoryError:
        say({"failed": "out_of_memory"})
        return 1
    except Exception:  # noqa: BLE001 - the text of an unforeseen error may hold a name: only the reason leaves
        say({"failed": "internal"})
        return 1
    return 0
