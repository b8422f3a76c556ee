"""The page as the service sees it: binds its sockets, starts the process that shows it, and reads what it counts.

Rules:
- The sockets stay here too: while the process is started again, visitors wait in them and get the page after it.
- A process that ends is started again, after a pause that grows while it ends soon; DNS does not notice. The log gets
  its exit status and nothing else, and `missing` says so until it runs.
- What it has counted is in memory that it shares with the service, so that its end loses no view.
- It is started when privileges have been given up, and so has none.
"""

import asyncio
import logging
import mmap
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final
from weakref import finalize

import msgspec

from resolver.config.config import HELP_KINDS
from resolver.feed.processes import memory_file
from resolver.page.rendered import Rendered, packed
from resolver.quiet_http.gate import BACKLOG, set_options
from resolver.quiet_http.server import opened
from resolver.service import page_process
from resolver.service.page_process import COUNTS_OCTETS, GRACE_S, MOST_FILES, State

PAUSE_S: Final = 1.0
MOST_PAUSE_S: Final = 60.0
LONG_S: Final = 60.0
"""A process that has run so long was sound: the next pause is the first again."""
_ENDS_S: Final = 2.0

_log: Final = logging.getLogger("resolver")


class PageHost:
    """The page's sockets, process and counts.

    rendered: the pages. spared: returns the ranges and the own addresses that are exempt from bounds, as State has
    them. pause_s: before an ended process is started again.
    """

    def __init__(
        self, rendered: Rendered, spared: Callable[[], tuple[bytes, tuple[bytes, ...]]], pause_s: float = PAUSE_S
    ) -> None:
        self._rendered = rendered
        self._spared = spared
        self._pause_s = pause_s
        self._counts = os.memfd_create("counts")
        self._end_counts = finalize(self, os.close, self._counts)
        os.ftruncate(self._counts, COUNTS_OCTETS)
        self._numbers = memoryview(mmap.mmap(self._counts, COUNTS_OCTETS)).cast("Q")
        self._sockets: list[socket.socket] = []
        self._channel: socket.socket | None = None
        self._fails = False
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def views(self) -> int:
        """The number of requests for a document that got the page."""
        return self._numbers[0]

    @property
    def followed(self) -> dict[str, int]:
        """The number of followed links to help, by kind."""
        return dict(zip(HELP_KINDS, self._numbers[1:], strict=True))

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """The sockets at which visitors arrive."""
        return self._sockets

    def missing(self) -> tuple[str, ...]:
        """Return a line if no process shows the page now, and one has."""
        return ("page.listen: the process that shows the page has ended, and is started again",) if self._fails else ()

    async def open(
        self, listen: Iterable[tuple[Any, ...]], missed: dict[int, OSError], given: Iterable[socket.socket] = ()
    ) -> "PageHost":
        """Listen on each address, as quiet_http.server.opened does; visitors wait until `run` starts the process."""
        self._sockets = opened(listen, missed, given)
        return self

    def add(self, one: socket.socket) -> None:
        """Listen on one more bound socket; OSError if another process listens there."""
        one.listen(BACKLOG)
        set_options(one)
        self._sockets.append(one)
        self._send(b"listen", [one.fileno()])

    def show(self, rendered: Rendered) -> None:
        """Show these pages from now on, and spare whom the configuration spares now."""
        self._rendered = rendered
        self._send_pages()

    async def run(self) -> None:
        """Keep a process running that shows the page."""
        pause = self._pause_s
        while True:
            began = time.monotonic()
            why = await self._shown()
            self._fails = True
            if time.monotonic() - began > LONG_S:
                pause = self._pause_s
            _log.error("page: its process ended (%s); it is started again in %g s", why, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, MOST_PAUSE_S)

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """Close the sockets; end the process once pending responses have reached their visitors, within `grace_s`."""
        self._send(b"stop")
        for one in self._sockets:
            one.close()
        self._sockets = []
        process, self.process = self.process, None
        if process is not None:
            await asyncio.to_thread(_ended, process, grace_s + _ENDS_S)
        self._leave()
        # What was counted can still be read.
        self._numbers = memoryview(self._numbers.tobytes()).cast("Q")
        self._end_counts()

    async def _shown(self) -> str:
        """Start the process and wait for its end; return what it ended with."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            try:
                process = _started(theirs.fileno(), self._counts)
            except OSError as error:
                ours.close()
                return os.strerror(error.errno or 0)
        self.process, self._channel, self._fails = process, ours, False
        self._send_pages()
        for first in range(0, len(self._sockets), MOST_FILES):
            self._send(b"listen", [one.fileno() for one in self._sockets[first : first + MOST_FILES]])
        await _closed(ours)
        self._leave()
        status = await asyncio.to_thread(_ended, process, _ENDS_S)
        return f"signal {-status}" if status < 0 else f"status {status}"

    def _send_pages(self) -> None:
        spared, own = self._spared()
        file = memory_file("pages", msgspec.msgpack.encode(State(packed(self._rendered), spared, own)))
        try:
            self._send(b"pages", [file])
        finally:
            os.close(file)

    def _send(self, said: page_process.Said, files: Sequence[int] = ()) -> None:
        """Send a message to the process, if it runs. One that reads nothing hangs: it is ended, and started again."""
        if self._channel is None or self.process is None:
            return
        try:
            socket.send_fds(self._channel, [said], files)
        except OSError:
            self.process.kill()

    def _leave(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _started(channel: int, counts: int) -> "subprocess.Popen[bytes]":
    words = map(str, (channel, counts, os.getpid()))
    return subprocess.Popen(  # noqa: S603 - our own module, with numbers
        [sys.executable, "-I", "-m", page_process.__name__, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(channel, counts),
        env={},
        cwd="/",
    )


async def _closed(channel: socket.socket) -> None:
    """Wait until the other end is closed: nothing is ever said there."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(channel.fileno(), _wake, readable)
    try:
        await readable
    finally:
        loop.remove_reader(channel.fileno())


def _wake(readable: "asyncio.Future[None]") -> None:
    if not readable.done():
        readable.set_result(None)


def _ended(process: "subprocess.Popen[bytes]", within_s: float) -> int:
    """Return the exit status of a process; it is killed if it has not ended in time."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(within_s)
    process.kill()
    return process.wait()
