"""Crash reports of compiled code: where it crashed and at which kind of packet, but no client and no name.

Rules:
- On SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT (which systemd's watchdog sends) stderr gets: our version, the shape
  of the packet that the thread last began (core.crash_shape: numbers only), the stack as object, function and offset,
  the build ids of the objects on it. No octet of a packet, no name, no client, no register.
- Python's own stack follows, by faulthandler: files, lines and functions of our code, no values.
- Then the default action; no core file is written (process.limits).
- With a build id and an offset, `addr2line -f -e OBJECT 0xOFFSET` names the line on any machine that has the object.
"""

import faulthandler
import sys

from resolver import __version__
from resolver.service.host import _crash


def watch() -> None:
    """Report a crash of this process from now on. Call it once, in the main thread, after all imports."""
    if sys.stderr is None:
        # Closed: another file may have its number now, perhaps a socket, and a report does not belong there.
        return
    faulthandler.enable()
    _crash.watch(__version__)


def memory() -> memoryview:
    """Return this thread's numbers, which core.crash_shape writes and a report shows: eight of 64 bits, below 0 if not
    known. They are the same at every call in one thread, and of no other thread that lives."""
    return _crash.memory().cast("q")
