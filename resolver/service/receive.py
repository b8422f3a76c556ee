"""`receive`: takes signed statements that are posted to a Unix socket, and writes those that verify.

Rules:
- This process has no key but public ones, no list and no network: TLS is the web server's before it (quiet_http.posts).
- Status 204: accepted. 400, 403, 429, 507: refused; 503: not now, the sender tries again.
- Statements are verified and written one after the other, in a thread.
- A log line holds reasons and numbers, at most one a minute: never a host, an address or a part of a statement.
"""

import asyncio
import logging
import signal
import socket
from collections import Counter
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from resolver.feed.inbox import MOST_OCTETS, Inbox, Outcome
from resolver.process.loop import log_what_failed, loop_factory
from resolver.quiet_http import posts

LOG_EVERY_S: Final = 60.0
FIRST_FD: Final = 3

STATUS: Final = {
    Outcome.WRITTEN: 204,
    Outcome.THERE: 204,
    Outcome.MALFORMED: 400,
    Outcome.UNKNOWN: 403,
    Outcome.TOO_MANY: 429,
    Outcome.FULL: 507,
}

_log: Final = logging.getLogger("resolver.receive")


class Desk:
    """Takes what is posted, and counts what was refused until it is logged."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._writing = asyncio.Lock()
        self._refused: Counter[str] = Counter()
        self.accepted = 0

    async def take(self, data: bytes) -> int:
        """Verify and write one statement; return the status of the response."""
        try:
            async with self._writing:
                outcome = await asyncio.to_thread(self._inbox.take, data)
        except OSError as error:
            self._refused[f"the folder cannot be written ({error.strerror})"] += 1
            return 503
        if outcome.accepted:
            self.accepted += 1
        else:
            self._refused[outcome.value] += 1
        return STATUS[outcome]

    def log(self) -> None:
        """Log how many were refused since the last time, by reason; nothing if none were."""
        if self._refused:
            said = ", ".join(f"{reason}: {number}" for reason, number in sorted(self._refused.items()))
            _log.warning("receive: statements refused: %s", said)
            self._refused.clear()

    async def log_often(self) -> None:
        """Log once a minute until cancelled."""
        while True:
            await asyncio.sleep(LOG_EVERY_S)
            self.log()


def handed(environment: MutableMapping[str, str], pid: int, first: int = FIRST_FD) -> socket.socket | None:
    """Take the listening Unix socket that systemd hands over out of the environment; return None without one."""
    names = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
    said = {name: environment.pop(name, "") for name in names}
    if said["LISTEN_PID"] != str(pid) or said["LISTEN_FDS"] != "1":
        return None
    one = socket.socket(fileno=first)
    if (one.family, one.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
        one.detach()
        return None
    return one


def listening(environment: MutableMapping[str, str], pid: int, path: Path | None) -> socket.socket | None:
    """Return the socket of systemd, else a new one at `path`, None if there is neither; OSError if it is unusable."""
    found = handed(environment, pid)
    return posts.bound(path) if found is None and path is not None else found


async def serve(bound: socket.socket, inbox: Inbox, ready: Callable[[], None]) -> int:
    """Take statements until SIGTERM or SIGINT; return how many were accepted."""
    loop, stop, desk = asyncio.get_running_loop(), asyncio.Event(), Desk(inbox)
    loop.set_exception_handler(log_what_failed)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    logs = asyncio.create_task(desk.log_often())
    ready()
    try:
        await posts.serve_posts(desk.take, bound, stop, most=MOST_OCTETS)
    finally:
        logs.cancel()
        with suppress(asyncio.CancelledError):
            await logs
        desk.log()
    return desk.accepted


def run(bound: socket.socket, inbox: Inbox, ready: Callable[[], None]) -> int:
    """Serve in a loop of its own; return how many statements were accepted."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(serve(bound, inbox, ready))
