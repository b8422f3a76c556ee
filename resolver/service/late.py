"""Binds later the addresses that could not be bound at the start: a port that is still busy, an address not yet there.

    python -m resolver.service.late PAUSE UID GID KIND HOST PORT [KIND HOST PORT ...]

Rules:
- The service answers on the addresses that it has; each of the others is tried again every PAUSE_S seconds.
- The service gives up its privileges at once, so a process of its own binds. It is started before that, keeps only the
  capability for ports below 1024, reads nothing, and hands each socket to the service over its standard input.
- It ends when all are bound, or with the service.
"""

import asyncio
import ctypes
import logging
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from resolver.config.values import Endpoint
from resolver.process.capabilities import make_binding_effective
from resolver.query.accept_sockets import bound

PAUSE_S: Final = 1.0
ENDS_S: Final = 5.0
_OVER: Final[dict[int, str]] = {socket.SOCK_DGRAM: "UDP", socket.SOCK_STREAM: "TCP"}

_PR_SET_KEEPCAPS: Final = 8
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION_3: Final = 0x20080522
_NET_BIND_SERVICE: Final = 1 << 10

_log: Final = logging.getLogger("resolver")


class Wanted(NamedTuple):
    """A socket that could not be bound: the key of its address, what is wrong, and what to do with it once it is."""

    key: str
    kind: int
    endpoint: Endpoint
    why: str
    take: Callable[[socket.socket], None]

    def __str__(self) -> str:
        return f"{self.key}: {self.endpoint} ({_OVER[self.kind]}): {self.why}"


class Late:
    """The sockets that are still to be bound, and the process that binds them. changed: called when one has been."""

    def __init__(self, changed: Callable[[], None], pause_s: float = PAUSE_S) -> None:
        self.wanted: dict[int, Wanted] = {}
        self._changed = changed
        self.pause_s = pause_s
        self.process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def add(
        self, key: str, kind: int, endpoint: Endpoint, error: OSError, take: Callable[[socket.socket], None]
    ) -> None:
        """Note a socket that could not be bound; `start` has it tried again."""
        why = os.strerror(error.errno) if error.errno else type(error).__name__
        self.wanted[len(self.wanted)] = Wanted(key, kind, endpoint, why, take)

    def start(self, account: tuple[int, int]) -> None:
        """Start the process that binds, with the privileges that this one still has; nothing if none is wanted.

        account: the uid and gid that it is to have.
        """
        if not self.wanted:
            return
        for one in self.wanted.values():
            _log.error("%s; it is tried again every %g s", one, self.pause_s)
        self._channel, theirs = socket.socketpair()
        self._channel.setblocking(False)
        words = [word for one in self.wanted.values() for word in (one.kind, one.endpoint.host, one.endpoint.port)]
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 - our own module, with our own addresses
                [sys.executable, "-I", "-m", __name__, *map(str, (self.pause_s, *account, *words))],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
            )
        asyncio.get_running_loop().add_reader(self._channel.fileno(), self._receive)

    def _receive(self) -> None:
        """Take a socket that has come."""
        numbers, descriptors = b"", list[int]()
        with suppress(OSError):
            if self._channel is not None:
                numbers, descriptors, _, _ = socket.recv_fds(self._channel, 1, 1)
        if not numbers:
            self._leave()
        for descriptor in descriptors:
            self._take(self.wanted.pop(numbers[0]), socket.socket(fileno=descriptor))

    def _take(self, one: Wanted, got: socket.socket) -> None:
        try:
            one.take(got)
        except OSError as error:
            got.close()
            _log.error("%s: %s cannot be used: %s", one.key, one.endpoint, os.strerror(error.errno or 0))
            return
        _log.info("%s: now listening on %s (%s)", one.key, one.endpoint, _OVER[one.kind])
        self._changed()

    def _leave(self) -> None:
        if self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None
        if self.wanted:
            _log.error("the process that binds addresses later has ended: restart the service to listen on all of them")

    async def close(self) -> None:
        """End the process that binds."""
        self.wanted.clear()
        self._leave()
        if self.process is not None:
            await asyncio.to_thread(_ended, self.process)
            self.process = None


def _ended(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(ENDS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def keep_one_capability(libc: Any, uid: int, gid: int) -> None:
    """Keep of all privileges only that to bind ports below 1024, as the account `uid`; nothing changes for root."""
    if uid and os.geteuid() == 0:
        libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        libc.capset(header, (ctypes.c_uint32 * 6)(_NET_BIND_SERVICE, _NET_BIND_SERVICE, 0, 0, 0, 0))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def bind_each(channel: socket.socket, places: Sequence[tuple[int, Endpoint]], pause_s: float) -> None:
    """Bind each place and send its socket, with its number, over `channel`; return when all are, or it is closed."""
    left = dict(enumerate(places))
    while True:
        for number, (kind, endpoint) in list(left.items()):
            try:
                with bound(kind, endpoint) as one:
                    socket.send_fds(channel, [bytes([number])], [one.fileno()])
            except BrokenPipeError:
                return
            except OSError:
                continue
            del left[number]
        if not left or select.select([channel], [], [], pause_s)[0]:
            return


def main(words: Sequence[str]) -> int:
    """Carry out the command line of this process."""
    pause_s, uid, gid, *rest = words
    keep_one_capability(ctypes.CDLL(None, use_errno=True), int(uid), int(gid))
    make_binding_effective()
    each = iter(rest)
    places = [(int(kind), Endpoint(host, int(port))) for kind, host, port in zip(each, each, each, strict=True)]
    with socket.socket(fileno=os.dup(0)) as channel:
        bind_each(channel, places, float(pause_s))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
