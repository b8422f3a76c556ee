"""The event loop of a process: which one, what it says of an error, and when it looks for garbage."""

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Any, Final

GARBAGE: Final = 20_000

_log: Final = logging.getLogger("resolver")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop factory if it is installed, else None for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def log_what_failed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log the type of what failed in the loop and nothing else: messages and reprs may hold an address."""
    del loop
    _log.error("in the event loop: %s", type(context.get("exception")).__name__)


def collect_garbage_rarely() -> None:
    """Leave the objects of the start to themselves, and look for cycles once in GARBAGE new objects.

    A query in flight is some 20 objects and leaves no cycle behind. With Python's own threshold of 700 those in flight
    would be visited again and again, which was an eighth of the cost of a query that is forwarded.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 10, 10)
