"""Hands the service over to a new process of it, over a pair of sockets: no query and no count is lost.

    the old process                              the new one, its child
    starts the new one                           reads the configuration and builds its parts, and writes nothing
                                    <- ready
    changes no list any more        sockets ->   puts the saved lists in force, tests them, listens on the sockets
                                <- answering
    takes no more queries, answers those in
    flight, writes its counts and ends           has the state folder (service.owner), and becomes the service

Rules:
- Both processes answer for a moment; neither ever forwards what the other blocks, for the lists are the same.
- Until the new process answers it has changed nothing. If it ends, or is not ready in READY_S, the old one ends it and
  goes on as before.
- One process at a time owns lists, audit log, ledger, receipts, control socket, metrics and page: the old one to its
  end, then the new one. An old one that has not ended after ENDS_S is killed: it takes no queries by then.
- A message is one JSON object; keys are added, never renamed or removed: the two may be of different releases. Sockets
  come with their names (systemd.KEPT), as many for one address as there are; a name that is not known is passed over.
- An option (`run --take-over`) shows the new process its part: an earlier release that does not know the option ends at
  once, and has touched nothing.
- Only the old process starts the new one, and the pair has no name: nobody else can ask for the sockets.
"""

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from resolver.service.host import systemd
from resolver.service.host.systemd import KEPT, Kept
from resolver.service.owner import Owner

READY_S: Final = 35.0
"""How long a new process has until it answers, in seconds: less than a verb may take."""
ENDS_S: Final = 30.0
"""How long the old process has to end after that, in seconds."""
REPLY_S: Final = 2.0
"""How long the last replies of the old process over its control socket may take to leave, in seconds."""
LOOK_S: Final = 0.005
OPTION: Final = "--take-over"
"""The option with the number of the new process's socket."""
_OCTETS: Final = 2**16

_log: Final = logging.getLogger("resolver")


class NotTaken(Exception):
    """The service was not handed over; the text says why, in our own words."""


class HasDescriptor(Protocol):
    """A socket."""

    def fileno(self) -> int:
        """Return the file descriptor."""


def command(argv: Sequence[str], original: Sequence[str], executable: str) -> list[str]:
    """Return the command that starts the service as this process was started (sys.argv, sys.orig_argv, sys.executable).

    A script is started by its own path, so that a link to another release is followed.
    """
    own = argv.index(OPTION) if OPTION in argv else len(argv)
    argv, original = argv[:own], original[: len(original) - len(argv) + own]
    script = argv[0]
    if os.path.isabs(script) and os.access(script, os.X_OK) and not script.endswith(".py"):
        return list(argv)
    return [executable, *original[1:]]


class Successor:
    """The new process, as the old one sees it. handed: what systemd gave to this process, for the new one."""

    def __init__(self, command: Sequence[str], handed: systemd.Handed) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        said = {}
        if handed.address:
            said["NOTIFY_SOCKET"] = handed.address
        if handed.watchdog_s:
            said["WATCHDOG_USEC"] = str(round(handed.watchdog_s * 1e6))
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the command that has started this process
                    [*command, OPTION, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, **said},
                    pass_fds=[theirs.fileno()],
                )
            except OSError as error:
                self._channel.close()
                why = os.strerror(error.errno or 0)
                raise NotTaken(f"the new process could not be started: {why}") from None

    @property
    def pid(self) -> int:
        """The number of the new process."""
        return self._process.pid

    async def takes_over(
        self, stop_feeding: Callable[[], Awaitable[None]], sockets: Callable[[], Sequence[tuple[str, HasDescriptor]]]
    ) -> None:
        """Wait until the new process answers; if it does not, end it and raise NotTaken.

        stop_feeding: called once it is ready, so that no list changes any more. sockets: returns those to give, named.
        """
        try:
            async with asyncio.timeout(READY_S):
                await self.is_ready()
                await stop_feeding()
                await self.answers(sockets())
        except TimeoutError:
            await self.end()
            raise NotTaken(f"the new process did not answer within {READY_S:g} s") from None
        except BaseException:
            await self.end()
            raise

    async def is_ready(self) -> None:
        """Wait until the new process wants the sockets; NotTaken if it ends."""
        await self._said("ready")

    async def answers(self, sockets: Sequence[tuple[str, HasDescriptor]]) -> None:
        """Give the sockets, each with its name, and wait until the new process answers; NotTaken if it ends."""
        for first in range(0, max(1, len(sockets)), systemd.MOST_FDS):
            part = sockets[first : first + systemd.MOST_FDS]
            said = _message(sockets=[name for name, _ in part], more=first + systemd.MOST_FDS < len(sockets))
            try:
                socket.send_fds(self._channel, [said], [one.fileno() for _, one in part])
            except OSError:
                raise NotTaken("the new process took no sockets") from None
        await self._said("answering")

    async def _said(self, word: str) -> None:
        while True:
            data = await _received(self._channel)
            if not data:
                status = await asyncio.to_thread(self._ended)
                raise NotTaken(f"the new process ended ({status}): the log says why")
            if _read(data).get("said") == word:
                return

    def _ended(self) -> str:
        try:
            status = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return "it still runs"
        return f"signal {-status}" if status < 0 else f"status {status}"

    async def end(self) -> None:
        """End a process that is not to take over."""
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        self._channel.close()


class Predecessor:
    """The old process, as the new one sees it."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        # The kernel noted who made the pair.
        credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self._pid = int.from_bytes(credentials[:4], sys.byteorder)

    def sockets(self) -> list[Kept]:
        """Say that this process is ready, and return the sockets; NotTaken if there are none. May run in a thread."""
        self._channel.settimeout(READY_S)
        found: list[Kept] = []
        try:
            self._channel.send(_message(said="ready"))
            while True:
                data, descriptors, _, _ = socket.recv_fds(self._channel, _OCTETS, systemd.MOST_FDS)
                if not data:
                    raise NotTaken("the process that runs has ended, or does not hand over")
                message = _read(data)
                taken = [systemd.taken(one) for one in descriptors]
                for name, one in zip(message.get("sockets", ()), taken, strict=False):
                    if name in KEPT:
                        found.append((name, one))
                    else:
                        one.close()
                if not message.get("more"):
                    return found
        except OSError:
            raise NotTaken("the process that runs does not hand over in time") from None

    def answering(self) -> None:
        """Say that this process answers; NotTaken if the other has ended."""
        try:
            self._channel.send(_message(said="answering"))
        except OSError:
            raise NotTaken("the process that runs has ended") from None

    async def ended(self, owner: Owner, clock: Callable[[], float] = time.monotonic, ends_s: float = ENDS_S) -> None:
        """Take the state folder as soon as the old process has ended; kill it if that takes longer than `ends_s`."""
        until: float | None = clock() + ends_s
        while not owner.take():
            if until is not None and clock() > until:
                _log.error("the process that was replaced does not end: it is killed")
                with suppress(OSError):
                    os.kill(self._pid, signal.SIGKILL)
                until = None
            await asyncio.sleep(LOOK_S)
        self._channel.close()


def predecessor(descriptor: int) -> Predecessor:
    """Return the process that this one is to take over from, by the number of its socket; NotTaken if it is none."""
    try:
        os.set_inheritable(descriptor, False)
        return Predecessor(socket.socket(fileno=descriptor))
    except OSError:
        raise NotTaken(f"{OPTION} is for a process that the service starts") from None


async def _received(channel: socket.socket) -> bytes:
    """Return the next message, b"" after the last."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return channel.recv(_OCTETS)
        except BlockingIOError:
            readable = loop.create_future()
            loop.add_reader(channel.fileno(), _wake, readable)
            try:
                await readable
            finally:
                loop.remove_reader(channel.fileno())
        except OSError:
            return b""


def _wake(readable: "asyncio.Future[None]") -> None:
    if not readable.done():
        readable.set_result(None)


def _message(**said: Any) -> bytes:
    return json.dumps(said).encode()


def _read(data: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(data)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
