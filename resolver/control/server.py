"""The service's end of the control socket: accepts connections and carries out verbs.

Rules:
- The file's mode (0660) and group decide who may connect; the kernel names the peer (SO_PEERCRED), never the request.
  A verb that changes something is logged in one line: verb, uid, outcome; never a name, never anything of the request.
  A peer has LINES_A_MINUTE such lines; further requests of the minute are counted, and their number is logged after it.
- One request a connection. Requests are bounded in size, number and time; a slow, silent or malformed peer only loses
  its own connection.
- After a verb that works in the loop the next one waits REST times as long, so that a flood of requests leaves the
  loop to the queries.
- A number that leaves on the beat leaves by this socket no sooner (resolver.count.metrics, rule 2): a reply may hold
  what /metrics shows live, what the configuration says, and what was published.
- A reply may say whether a name is blocked, as any client may learn it, but not by which list.
"""

import asyncio
import contextlib
import grp
import logging
import os
import socket
import stat
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from resolver.config.config import Control
from resolver.control import requests
from resolver.control.requests import MAX_REQUEST_OCTETS, REPLY_S, REQUEST_S, Failed, Reply, Request

MAX_CONNECTIONS: Final = 8
SEND_S: Final = 5.0
REST: Final = 10
LINES_A_MINUTE: Final = 30
MODE: Final = 0o660
MAX_PATH_OCTETS: Final = 107

_PEER: Final = struct.Struct("3i")

_log: Final = logging.getLogger("resolver.control")

Verb = Callable[[Any, int], Reply | Awaitable[Reply]]
"""Takes a request of one type, and the uid of the peer as the kernel knows it."""
Verbs = Mapping[type[Request[Any]], Verb]


class Unusable(Exception):
    """The socket cannot be made; the text says why and what to do, in one line.

    lasting: only another path helps.
    """

    def __init__(self, said: str, *, lasting: bool = False) -> None:
        super().__init__(said)
        self.lasting = lasting


class Server:
    """Carries out `verbs` for peers of the control socket."""

    def __init__(
        self,
        verbs: Verbs,
        *,
        request_s: float = REQUEST_S,
        reply_s: float = REPLY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._verbs = dict(verbs)
        self._clock = clock
        self._request_s = request_s
        self._reply_s = reply_s
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._path = ""
        self._inode = (0, 0)
        self._turn = asyncio.Lock()
        self._rests_until = 0.0
        self._minute = 0
        self._lines: Counter[int] = Counter()
        self.busy = ""
        """Why no request that changes something is carried out now; "" if they are."""

    async def open(self, control: Control) -> None:
        """Listen on `control.socket`, nowhere if that is ""; Unusable if the socket cannot be made."""
        if not control.socket:
            return
        listening = _listening(control.socket)
        try:
            _give(control.socket, control.group)
            found = os.stat(control.socket)
            listening.listen(MAX_CONNECTIONS)
            self._server = await asyncio.start_unix_server(self._accepted, sock=listening, limit=MAX_REQUEST_OCTETS)
        except OSError as error:
            listening.close()
            raise Unusable(f"cannot be made: {error.strerror}") from None
        self._path, self._inode = control.socket, (found.st_dev, found.st_ino)

    async def close(self, grace_s: float = 0.0) -> None:
        """Remove the socket, and cancel the requests that are still open after `grace_s`."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        # After privileges were dropped the folder may not be ours to change: the next start removes a dead socket.
        with contextlib.suppress(OSError):
            found = os.stat(self._path)
            if (found.st_dev, found.st_ino) == self._inode:
                os.unlink(self._path)
        if grace_s and self._open:
            await asyncio.wait(self._open, timeout=grace_s)
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(requests.line_of(await self._reply(reader, _uid_of(writer))))
            async with asyncio.timeout(SEND_S):
                await writer.drain()
            writer.close()
        except (OSError, EOFError):
            # The peer has left, or does not read: nobody can be informed.
            writer.transport.abort()
        finally:
            writer.close()

    async def _reply(self, reader: asyncio.StreamReader, uid: int) -> Reply:
        try:
            async with asyncio.timeout(self._request_s):
                request = requests.request_of(await reader.readuntil(b"\n"))
        except asyncio.LimitOverrunError:
            return Failed(said="not a request")
        except requests.Malformed as error:
            return Failed(said=str(error))
        except TimeoutError:
            return Failed(said="no request came in time")
        if self.busy and request.changes_something:
            return Failed(said=self.busy)
        reply = await self._carried_out(request, uid)
        if request.changes_something:
            self._note(uid, logging.INFO, f"{request.verb} by uid {uid}: {reply.outcome}")
        return reply

    def _note(self, uid: int, level: int, line: str) -> None:
        """Log a line about a peer's request, if the peer has one left in this minute."""
        minute = int(self._clock()) // 60
        if minute != self._minute:
            for peer, count in self._lines.items():
                if count > LINES_A_MINUTE:
                    _log.info("%d more requests by uid %d were not logged", count - LINES_A_MINUTE, peer)
            self._minute = minute
            self._lines.clear()
        self._lines[uid] += 1
        if self._lines[uid] <= LINES_A_MINUTE:
            _log.log(level, "%s", line)
        if self._lines[uid] == LINES_A_MINUTE:
            _log.info("further requests by uid %d in this minute are not logged, only counted", uid)

    async def _carried_out(self, request: Request[Any], uid: int) -> Reply:
        try:
            async with asyncio.timeout(self._reply_s):
                async with self._turn:
                    await asyncio.sleep(max(0.0, self._rests_until - self._clock()))
                    started = self._clock()
                    reply = self._verbs[type(request)](request, uid)
                    if not isinstance(reply, Reply):
                        # Run it to its first wait: a walk does all its work in the loop before that.
                        reply = asyncio.ensure_future(reply)
                        await asyncio.sleep(0)
                    ended = self._clock()
                    self._rests_until = ended + REST * (ended - started)
                return reply if isinstance(reply, Reply) else await reply
        except TimeoutError:
            return Failed(said=f"not done within {self._reply_s:g} s")
        except Exception as error:  # noqa: BLE001 - its text may repeat the request, and the service goes on
            self._note(uid, logging.ERROR, f"internal error in a request: {type(error).__name__}")
            return Failed(said=f"internal error ({type(error).__name__}); please report it")


def _uid_of(writer: asyncio.StreamWriter) -> int:
    """Return the uid of the peer, from the kernel."""
    one = writer.get_extra_info("socket")
    _, uid, _ = _PEER.unpack(one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)


_ADVICE: Final = "let the service's account write its folder, or choose another path"


def _listening(path: str) -> socket.socket:
    """Return a socket bound to `path`, replacing the socket of a dead process; Unusable if that cannot be done."""
    if len(os.fsencode(path)) > MAX_PATH_OCTETS:
        raise Unusable(f"longer than the {MAX_PATH_OCTETS} octets that a socket's path can have", lasting=True)
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    except OSError as error:
        advice = "make it and give it to the service's account, or choose another path"
        raise Unusable(f"its folder cannot be made: {error.strerror}; {advice}") from None
    try:
        _clear(path)
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise Unusable(f"cannot be made: {error.strerror}; {_ADVICE}") from None
    try:
        one.bind(path)
    except OSError as error:
        one.close()
        raise Unusable(f"cannot be made: {error.strerror}; {_ADVICE}") from None
    return one


def _clear(path: str) -> None:
    """Remove the socket of a dead process; Unusable if something else is there, or a process accepts."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise Unusable("something else than a socket is there: move it away, or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as one:
        try:
            one.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except BlockingIOError:
            raise Unusable("another process listens there: does the service run already?") from None
        else:
            raise Unusable("another process listens there: does the service run already?")


def _give(path: str, group: str) -> None:
    """Give the socket to the group; if that cannot be done, log a warning and leave it with our own group."""
    warning = missing(group)
    if group and not warning:
        try:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        except PermissionError:
            warning = f"control.group: this account cannot give the socket to {group}: it keeps the account's own group"
    if warning:
        _log.warning("%s", warning)
    os.chmod(path, MODE)


def missing(group: str) -> str:
    """Return a warning if this host has no such group, else ""."""
    try:
        if group:
            grp.getgrnam(group)
    except KeyError:
        return (
            f"control.group: no group {group} here: only root and the service's own account and group may use the "
            f"control socket; make it with: groupadd --system {group}"
        )
    return ""
