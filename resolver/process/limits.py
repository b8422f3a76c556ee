"""Limits that a process puts on itself: no dump, bounded memory, no new privileges."""

import ctypes
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38

_libc: Final = ctypes.CDLL(None, use_errno=True)


class NotConfined(Exception):
    """The kernel refused a limit; the process must not begin its work."""


def control(option: int, value: int) -> None:
    """Set an attribute of this process (prctl(2)); NotConfined if the kernel refuses."""
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise NotConfined("prctl")


def leave_no_dump() -> None:
    """Switch off core dumps and make the process not dumpable: no ptrace by others, no reading of its memory."""
    control(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def gain_no_privileges() -> None:
    """Let no program that this process starts have more rights than it has itself."""
    control(_PR_SET_NO_NEW_PRIVS, 1)


def bound_memory(octets: int) -> None:
    """Let the process have at most so much address space; a lower limit that is set already stays."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = octets if hard == resource.RLIM_INFINITY else min(octets, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
