"""A crash of compiled code tells where it happened and what kind of packet it was at, and nothing of whom or what.

Rules:
- On SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT (which systemd's watchdog sends) stderr gets: our version, the shape
  of the packet last begun (core.shape: numbers only), the stack as object, function and offset, the build ids of the
  objects on it. No octet of a packet, no name, no client, no register.
- Python's own stack follows, by faulthandler: files, lines and functions of our code, no values.
- Then the default action; no core file is written (feed.confine).
- With a build id and an offset `addr2line -f -e OBJECT 0xOFFSET` names the line, on any machine that has the object.
"""

import faulthandler
import sys

from resolver import __version__
from resolver.service.host import _crash


def watch() -> None:
    """Report a crash of this process from now on; to be called once, by the main thread, when all is imported."""
    if sys.stderr is None:
        # Closed: whatever has its number now, a socket maybe, is not where a report belongs.
        return
    faulthandler.enable()
    _crash.watch(__version__)


def memory() -> memoryview:
    """The numbers that core.shape writes and a report shows: eight of 64 bits, below 0 where not known."""
    return _crash.memory().cast("q")
