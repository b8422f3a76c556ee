"""`python -m tests.engine run --config X`: the whole service with the compiled engine on two threads.

SIGUSR2 holds the GIL for HOLDS_S seconds: no line of Python runs in that time.
"""

import ctypes
import runpy
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec

from resolver.config import config

HOLDS_S = 4
THREADS = 2


def put_first(changed: Callable[[config.Listen], config.Listen]) -> None:
    """Make every later import of `load` take one that changes what is configured for listening."""
    read = config.load

    def load(path: Path) -> config.Config:
        found = read(path)
        return msgspec.structs.replace(found, listen=changed(found.listen))

    config.load = load


def hold(*_: object) -> None:
    """Sleep without giving the GIL back, as an extension module does that is stuck."""
    ctypes.PyDLL(None).usleep(HOLDS_S * 1_000_000)


if __name__ == "__main__":
    put_first(lambda listen: msgspec.structs.replace(listen, engine="compiled", threads=THREADS))
    signal.signal(signal.SIGUSR2, hold)
    runpy.run_module("resolver", run_name="__main__", alter_sys=True)
