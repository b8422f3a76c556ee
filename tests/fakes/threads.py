"""Runs what a test talks to on an event loop of its own, in a thread of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

Served = TypeVar("Served")


@contextmanager
def in_own_thread(serving: AbstractAsyncContextManager[Served]) -> Iterator[Served]:
    """Enter `serving` in a thread of its own, and leave it at the end."""
    ready: list[Any] = []
    started = threading.Event()

    async def live() -> None:
        stop = asyncio.Event()
        async with serving as served:
            ready.extend([served, asyncio.get_running_loop(), stop])
            started.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(live(),), daemon=True)
    thread.start()
    if not started.wait(120):
        raise RuntimeError("it did not start")
    served, loop, stop = ready
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(120)
