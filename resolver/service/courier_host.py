"""The courier as the service sees it: starts the process that asks encrypted upstreams, and starts it again.

Rules:
- A process that ends is started again: at once if it ran for LONG_S, else after a pause that grows to MOST_PAUSE_S.
  What it had been asked, the next one is asked. The log gets its exit status and nothing else.
- A process that says nothing from one look to the next, or leaves unread what it is sent, hangs: it is ended. Until its
  first word it has START_S, because a busy machine starts it slowly.
- It is started when privileges have been given up, and so has none. Names, answers and servers are all that it gets.
"""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from resolver.query.forward_courier import Courier

MODULE: Final = "resolver.courier.process"
PAUSE_S: Final = 0.05
MOST_PAUSE_S: Final = 1.0
LONG_S: Final = 10.0
"""A process that has run so long was sound: the next one is started at once."""
LOOK_S: Final = 5.0
START_S: Final = 60.0
_ENDS_S: Final = 2.0

_log: Final = logging.getLogger("resolver")


class CourierHost:
    """The process of the courier, if there are encrypted upstreams, and its start after each end.

    process: the one that runs, None between two. look_s: the seconds between two looks at it.
    """

    def __init__(self, courier: Courier | None, pause_s: float = PAUSE_S, look_s: float = LOOK_S) -> None:
        self._courier = courier
        self._pause_s = pause_s
        self._look_s = look_s
        self._running: asyncio.Task[None] | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, ended: Callable[[asyncio.Task[None]], None]) -> None:
        """Keep a process running from now on, if one is needed. ended: called when that ends, which it should not."""
        if self._courier is not None and self._running is None:
            self._courier.hangs = self._kill
            self._running = asyncio.get_running_loop().create_task(self._run(self._courier), name="courier")
            self._running.add_done_callback(ended)

    async def stop(self) -> None:
        """End the process; what it still has is lost."""
        if self._running is None or self._courier is None:
            return
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        self._courier.close()
        process, self.process = self.process, None
        if process is not None:
            await asyncio.to_thread(_ended, process)

    async def _run(self, courier: Courier) -> None:
        pause = 0.0
        while True:
            began = time.monotonic()
            why = await self._served(courier)
            pause = 0.0 if time.monotonic() - began > LONG_S else min(max(self._pause_s, 2 * pause), MOST_PAUSE_S)
            _log.error("courier: the process that asks encrypted upstreams ended (%s); it is started again", why)
            await asyncio.sleep(pause)

    async def _served(self, courier: Courier) -> str:
        """Start a process and wait for its end; return what it ended with."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            try:
                process = self.process = _started(theirs.fileno())
            except OSError as error:
                ours.close()
                return os.strerror(error.errno or 0)
        try:
            await asyncio.get_running_loop().create_connection(lambda: courier, sock=ours)
        except OSError:
            ours.close()
        else:
            await self._watched(courier)
        status = await asyncio.to_thread(_ended, process)
        self.process = None
        return f"signal {-status}" if status < 0 else f"status {status}"

    async def _watched(self, courier: Courier) -> None:
        """Wait until the connection is closed; end a process that hangs."""
        most = time.monotonic() + START_S
        while not courier.ended.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_s):
                    await courier.ended.wait()
                    return
            if not courier.look() and (courier.begun or time.monotonic() > most):
                self._kill()

    def _kill(self) -> None:
        if self.process is not None:
            self.process.kill()


def _started(channel: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - our own module, with numbers
        [sys.executable, "-I", "-m", MODULE, str(channel), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(channel,),
        env={},
        cwd="/",
    )


def _ended(process: "subprocess.Popen[bytes]") -> int:
    """Return the exit status of a process; it is killed if it has not ended soon."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(_ENDS_S)
    process.kill()
    return process.wait()
