"""The control socket, both ends: where an operator's command asks a running service.

Rules:
- Who may connect is the file's mode (0660) and group; who asks is told by the kernel (SO_PEERCRED), never by the
  request. One line of log for what changes something: verb, uid, outcome; never a name, never what was asked.
- One request a connection, one JSON object a line each way. Bounded in size, connections and time; a peer that is slow,
  silent or mad costs its own connection and nothing else.
- A verb that works in the loop is followed by a rest of REST times as long, so that a flood of requests leaves the
  loop to the queries.
- A number that leaves on the beat leaves by this socket no sooner (resolver.count.metrics, rule 2): what may be told
  here is what /metrics shows live, what the configuration says, and what was published.
- Whether a name is blocked may be told, as any client may learn it; by which list it is not.
"""

import asyncio
import contextlib
import grp
import json
import logging
import os
import socket
import stat
import struct
import time
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from resolver.config.config import ConfigError, Control

MAX_REQUEST_OCTETS: Final = 8192
MAX_ANSWER_OCTETS: Final = 2**20
MAX_CONNECTIONS: Final = 8
REQUEST_S: Final = 5.0
ANSWER_S: Final = 45.0
"""How long a verb may take: a walk to the upstreams has their time."""
SEND_S: Final = 5.0
ANSWERED_S: Final = ANSWER_S + 2 * REQUEST_S
"""How long who asks waits."""
REST: Final = 10
MODE: Final = 0o660
MAX_PATH_OCTETS: Final = 107

DONE: Final = "done"
REFUSED: Final = "refused"
FAILED: Final = "failed"

_LOGGED: Final = {
    "reload",
    "flush",
    "fetch",
    "approve",
    "approve-set-aside",
    "resume",
    "rollback",
    "release",
    "end-release",
    "confirm-release",
}
_PEER: Final = struct.Struct("3i")

_log: Final = logging.getLogger("resolver.control")

Request = Mapping[str, Any]
Answer = dict[str, Any]
Verb = Callable[[Request], "Answer | Awaitable[Answer]"]
"""Takes what was asked, as it came: nothing of it is checked yet, but `uid`, which is the kernel's word for who asks.
Its answer has `outcome`."""


class Unusable(Exception):
    """The socket cannot be made; the text says why and what to do, in one line."""


class Unreachable(Exception):
    """No service answers; the text says where, why and what to do, in one or two lines."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks, as the kernel says."""

    pid: int
    uid: int
    gid: int


def failed(said: str) -> Answer:
    """Return an answer that it cannot be done, and why."""
    return {"outcome": FAILED, "said": said}


class Server:
    """The service's end: carries out `verbs`."""

    def __init__(
        self,
        verbs: Mapping[str, Verb],
        *,
        request_s: float = REQUEST_S,
        answer_s: float = ANSWER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._verbs = dict(verbs)
        self._clock = clock
        self._request_s = request_s
        self._answer_s = answer_s
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._path = ""
        self._inode = (0, 0)
        self._turn = asyncio.Lock()
        self._rests_until = 0.0

    async def open(self, control: Control) -> None:
        """Listen where `control` says, nowhere where it says ""; Unusable where that cannot be."""
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

    async def close(self) -> None:
        """Take the socket away and end what is under way."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        # Where privileges were dropped the folder may not be ours to change: the next start removes a dead socket.
        with contextlib.suppress(OSError):
            found = os.stat(self._path)
            if (found.st_dev, found.st_ino) == self._inode:
                os.unlink(self._path)
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
            writer.write(_line(await self._answered(reader, _peer_of(writer))))
            async with asyncio.timeout(SEND_S):
                await writer.drain()
            writer.close()
        except (OSError, EOFError):
            # Whoever asked has left, or does not read: nothing to tell and nobody to tell it to.
            writer.transport.abort()
        finally:
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader, peer: Peer) -> Answer:
        try:
            async with asyncio.timeout(self._request_s):
                asked = json.loads(await reader.readuntil(b"\n"))
        except (asyncio.LimitOverrunError, ValueError, RecursionError):
            return failed("not a request")
        except TimeoutError:
            return failed("no request came in time")
        verb = asked.get("verb") if isinstance(asked, dict) else None
        work = self._verbs.get(verb) if isinstance(verb, str) else None
        if work is None:
            return failed("the running service does not know this command: is it of another version?")
        answer = await self._carried_out(work, {**asked, "uid": peer.uid})
        if verb in _LOGGED:
            _log.info("%s by uid %d: %s", verb, peer.uid, answer["outcome"])
        return answer

    async def _carried_out(self, work: Verb, asked: Request) -> Answer:
        try:
            async with asyncio.timeout(self._answer_s):
                async with self._turn:
                    await asyncio.sleep(max(0.0, self._rests_until - self._clock()))
                    started = self._clock()
                    answer = work(asked)
                    if not isinstance(answer, dict):
                        # Its first stretch, in which a walk does all that it does in the loop.
                        answer = asyncio.ensure_future(answer)
                        await asyncio.sleep(0)
                    ended = self._clock()
                    self._rests_until = ended + REST * (ended - started)
                return answer if isinstance(answer, dict) else await answer
        except TimeoutError:
            return failed(f"not done within {self._answer_s:g} s")
        except Exception as error:  # noqa: BLE001 - its text may hold what was asked, and the service goes on
            _log.error("a request failed inside: %s", type(error).__name__)
            return failed(f"failed inside ({type(error).__name__}); please report it")


def _line(answer: Answer) -> bytes:
    return json.dumps(answer).encode() + b"\n"


def _peer_of(writer: asyncio.StreamWriter) -> Peer:
    one = writer.get_extra_info("socket")
    return Peer(*_PEER.unpack(one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)))


def _listening(path: str) -> socket.socket:
    """Return a socket bound to `path`, in the place of one that a dead process left; Unusable otherwise."""
    if len(os.fsencode(path)) > MAX_PATH_OCTETS:
        raise Unusable(f"longer than the {MAX_PATH_OCTETS} octets that a socket's path can have")
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    except OSError as error:
        advice = "make it and give it to the service's account, or choose another path"
        raise Unusable(f"its folder cannot be made: {error.strerror}; {advice}") from None
    try:
        _clear(path)
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise Unusable(f"cannot be made: {error.strerror}") from None
    try:
        one.bind(path)
    except OSError as error:
        one.close()
        raise Unusable(f"cannot be made: {error.strerror}") from None
    return one


def _clear(path: str) -> None:
    """Remove the socket of a dead process; Unusable where something else is there, or somebody answers."""
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
    """Let the group in; where it does not exist or is not ours to give, say so once and let in our own."""
    warning = missing(group)
    if group and not warning:
        try:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        except PermissionError:
            warning = f"control.group: {group} is not ours to give: the socket has our own group"
    if warning:
        _log.warning("%s", warning)
    os.chmod(path, MODE)


def missing(group: str) -> str:
    """Return a line that says so where no such group exists on this host, else ""."""
    try:
        if group:
            grp.getgrnam(group)
    except KeyError:
        return (
            f"control.group: no group {group} here: only root and the service's own account and group may use the "
            f"control socket; make it with: groupadd --system {group}"
        )
    return ""


# The command's end.


def settings(file: Path) -> Control:
    """Return what the configuration says of the socket, whatever else is wrong with it: who asks a service that runs
    on an older text must be able to. The defaults where the file says nothing; ConfigError where there is no socket."""
    try:
        text = file.read_bytes().decode(errors="replace")
    except OSError as error:
        raise ConfigError(str(file), "", f"cannot be read: {error.strerror}; --config FILE names another") from None
    said = _table(text) or _table(_section(text))
    texts = {key: said[key] for key in ("socket", "group") if isinstance(said.get(key), str)}
    found = Control(**texts)
    if not found.socket:
        raise ConfigError(str(file), "control.socket", 'is "", so that nobody can ask; SIGHUP still reloads')
    return found


def _table(text: str) -> Mapping[str, Any]:
    try:
        found = tomllib.loads(text).get("control")
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _section(text: str) -> str:
    """Return the lines of [control] alone."""
    _, head, rest = f"\n{text}".partition("\n[control]\n")
    return head + rest.partition("\n[")[0]


def call(control: Control, request: Request, *, answer_s: float = ANSWERED_S) -> Answer:
    """Ask the service and return its answer; Unreachable where none comes within `answer_s` seconds."""
    path = control.socket
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(answer_s)
            one.connect(path)
            one.sendall(json.dumps(request).encode() + b"\n")
            with one.makefile("rb") as stream:
                line = stream.readline(MAX_ANSWER_OCTETS)
        if not line:
            raise ConnectionResetError
        answer = json.loads(line) if line.endswith(b"\n") else None
    except (OSError, ValueError) as error:
        raise Unreachable(_why(error, control, answer_s)) from None
    if not isinstance(answer, dict) or answer.get("outcome") not in (DONE, REFUSED, FAILED):
        raise Unreachable(f"{path}: what came is no answer: does something else listen there?")
    return answer


def _why(error: Exception, control: Control, answer_s: float) -> str:
    path = control.socket
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return (
            f"{path}: no service answers: it does not run, or with another [control] socket; see "
            "`systemctl status blocklist-resolver`, or name its configuration with --config FILE"
        )
    if isinstance(error, PermissionError):
        group = f" or a member of the group {control.group}" if control.group else " or the service's own account"
        return f"{path}: permission denied: run this as root{group}"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return f"{path}: closed without an answer: the service is stopping, or too many ask at once; try again"
    if isinstance(error, TimeoutError):
        return f"{path}: no answer within {answer_s:g} s: the service is stopped or hangs; see its log"
    if isinstance(error, OSError):
        return f"{path}: {error.strerror or type(error).__name__}"
    return f"{path}: what came is no answer: does something else listen there?"
