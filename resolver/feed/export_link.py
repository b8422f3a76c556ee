"""The service's side of the export process: opens connections for the compile process, and says what is in force.

Rules:
- The service never reads what the compile process writes there: it opens the connection, and hands it over.
- Enforcement never waits for the export process, and no failure here changes what is enforced: it is logged and shown.
- A list whose names the export process lacks is fetched again, once an hour at most: the sealed image holds no names.
"""

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from resolver.feed.exported import MAX_LINE_BYTES, Follow, Release, Status

TIMEOUT_S: Final = 60.0
CONNECT_S: Final = 2.0
AGAIN_S: Final = 3600.0


class Unanswered(Exception):
    """The export process does not run, or did not reply as it must; the text is the kind of fault."""


class Link:
    """The socket of the export process, and what it has said last. lists: the ids that are exported."""

    def __init__(self, path: str, lists: tuple[str, ...], now: Callable[[], float]) -> None:
        self.lists = lists
        self.status: Status | None = None
        self._path = path
        self._now = now
        self._is_silent = False
        self._saying: socket.socket | None = None
        self._lacking: set[str] = set()
        self._tried: dict[str, float] = {}

    def stage(self, list_id: str) -> int:
        """Return a descriptor to write a compiled list to; -1 if it is not exported or the process does not reply.

        systemd accepts connections for a process that has failed: what was said last shows whether one is there.
        """
        if list_id not in self.lists or self._is_silent:
            return -1
        try:
            one = self._connected()
        except OSError:
            return -1
        if list_id in self._lacking:
            self._lacking.discard(list_id)
            self._tried[list_id] = self._now()
        # The kernel's own bounds: the compile process may not poll.
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            one.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", int(TIMEOUT_S), 0))
        return one.detach()

    def lacks(self, list_id: str, key: str) -> bool:
        """Return whether the names of a list have to be fetched again for the export process.

        That is tried once an hour: a try is a `stage` after this was true.
        """
        if list_id not in self.lists or self.status is None or key in self.status.staged.get(list_id, ()):
            return False
        if self._now() - self._tried.get(list_id, -AGAIN_S) < AGAIN_S:
            return False
        self._lacking.add(list_id)
        return True

    def say(self, message: Follow | Release) -> Status:
        """Send a message, and keep and return the status in return; Unanswered."""
        try:
            with self._connected() as one:
                self._saying = one
                one.settimeout(TIMEOUT_S)
                one.sendall(msgspec.json.encode(message) + b"\n")
                one.shutdown(socket.SHUT_WR)
                with one.makefile("rb") as replies:
                    line = replies.readline(MAX_LINE_BYTES)
            self.status = msgspec.json.decode(line, type=Status)
        except (OSError, msgspec.DecodeError) as error:
            self.status, self._is_silent = None, True
            raise Unanswered(type(error).__name__) from None
        finally:
            self._saying = None
        self._is_silent = False
        return self.status

    def hang_up(self) -> None:
        """End a `say` of another thread: a service that stops waits for its threads."""
        one = self._saying
        if one is not None:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _connected(self) -> socket.socket:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            one.settimeout(CONNECT_S)
            one.connect(self._path)
            one.setblocking(True)
        except OSError:
            one.close()
            raise
        return one
