"""Receives queries from edges, the processes of encrypted transports, over a Unix socket (query.edge_frames).

Rules:
- Only one account may connect, as the kernel says (SO_PEERCRED): an edge says which client asks, and is believed.
- An edge is not trusted beyond that. Of its connections there are MOST_EDGES; each has at most MOST_UNANSWERED queries
  without an answer and UNSENT_MOST octets that it does not read, then nothing is read from it, or it is closed. A frame
  that is malformed ends its connection.
- In one turn of the event loop a bounded number of frames is taken from all edges together, a share from each in turn,
  as from connections over TCP: they delay neither each other nor those.
- Answers go in any order, those of a turn in one write. What becomes of an answer whose edge has gone: nothing.
- What an edge reports is numbers under words of ours. One that is silent for SILENT_S counts as gone.
- Nothing here logs a client, a name, or what an edge has sent.
"""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
import struct
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from typing import Any, Final

from resolver.core.codes import EDGE_LENGTH_OCTETS, ENCRYPTED, TRANSPORTS
from resolver.query import edge_frames
from resolver.query.answer_edge import EdgeTaking
from resolver.query.edge_frames import (
    MOST_UNANSWERED,
    QUERY,
    REFUSALS,
    REPORT,
    REPORT_S,
    Malformed,
    OtherRelease,
    Report,
)
from resolver.query.transport import Reply

MOST_EDGES: Final = 64
FRAMES_A_TURN: Final = 64
FRAMES_A_SHARE: Final = 16
COPIED_OCTETS: Final = 4096
UNSENT_OCTETS: Final = 2**18
UNSENT_MOST: Final = 2**23
SILENT_S: Final = 3 * REPORT_S + 5
LOG_AGAIN_S: Final = 60.0
PAUSE_S: Final = 0.1
MODE: Final = 0o660
MODE_FOR_ALL: Final = 0o666

_KIND: Final = EDGE_LENGTH_OCTETS
_PEER: Final = struct.Struct("3i")
_LABELS: Final = tuple(TRANSPORTS[one] for one in ENCRYPTED)

_log: Final = logging.getLogger("resolver.query")


class EdgeConnection(asyncio.Protocol):
    """The connection of one edge.

    number: its own. report: its last one. heard_at: when that came, or the connection (monotonic). relayed: how many of
    its queries are asked for in whole batches; `Edges` gets their answers.
    """

    def __init__(self, edges: "Edges", number: int, now: float) -> None:
        self.number = number
        self.report: Report | None = None
        self.heard_at = now
        self.relayed = 0
        self._waiting: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._edges = edges
        self._transport: Any = None
        self._unread = bytearray()
        self._unsent: list[bytes] = []
        self._writable = True
        self._queued = False
        self._draining = False
        self._flushing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.set_write_buffer_limits(high=UNSENT_OCTETS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._draining = True
        self._unread.clear()
        self._unsent.clear()
        self._edges.left(self)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._take()

    def pause_writing(self) -> None:
        self._writable = False
        self._pace()

    def resume_writing(self) -> None:
        self._writable = True
        self._take()

    @property
    def unanswered(self) -> int:
        """The number of its queries that have no answer yet."""
        return len(self._waiting) + self.relayed

    async def answered(self) -> None:
        """Wait until all its queries have their answers."""
        if self.unanswered:
            self._idle.clear()
            await self._idle.wait()

    def came(self, reply: Reply | Awaitable[Reply]) -> None:
        """Send the answer to a query that was relayed, or wait for it; `go_on` follows."""
        self.relayed -= 1
        if isinstance(reply, bytes):
            self._send(reply)
        elif reply is not None:
            self._wait_for(reply)

    def called(self) -> None:
        """Take frames again: a new turn has begun."""
        self._queued = False
        self._take()

    def finish(self) -> None:
        """Take no more queries; close after the last answer."""
        self._draining = True
        self._unread.clear()
        self._pace()
        self._close_if_done()

    def abort(self) -> None:
        """Close at once."""
        self._draining = True
        self._unread.clear()
        if self._transport is not None:
            self._transport.abort()

    def _take(self) -> None:
        """Answer the whole frames received so far, while there is room for more answers and the turn lasts."""
        taken = 0
        try:
            while self._has_room():
                size = edge_frames.length_of(self._unread[: _KIND])
                if size == 0 or len(self._unread) < size:
                    break
                granted = self._edges.granted(self, taken)
                if granted == 0:
                    self._queued = True
                    break
                taken += self._took(size, min(granted, MOST_UNANSWERED - self.unanswered))
        except Malformed as error:
            what = "is of another release" if isinstance(error, OtherRelease) else "sent what is no frame"
            self._edges.complain(f"edge.socket: an edge {what} ({error}): its connection is closed")
            self.abort()
            return
        self._pace()

    def _took(self, size: int, most: int) -> int:
        """Take the frame of `size` octets at the head of what has come, and up to `most` queries; return how many."""
        unread = self._unread
        if unread[_KIND] == REPORT:
            said = edge_frames.as_report(bytes(unread[_KIND + 1 : size]))
            del unread[:size]
            self._edges.took(1)
            self._edges.reported(self, said)
            return 1
        if unread[_KIND] != QUERY:
            raise Malformed("a frame of a kind that no edge sends")
        # A part of what came, for all of it would be copied as often as there are shares of a turn in it.
        found = self._edges.answer(bytes(unread[: max(COPIED_OCTETS, size)]), most, self.number)
        self._edges.took(found.queries)
        self.relayed += found.relayed
        del unread[: found.used]
        if found.octets:
            self._send(found.octets)
        for awaited in found.waiting:
            self._wait_for(awaited)
        if found.broken:
            raise Malformed("a query that is none")
        return found.queries

    def _wait_for(self, awaited: Awaitable[Reply]) -> None:
        task = asyncio.get_running_loop().create_task(self._later(awaited))
        self._waiting.add(task)
        task.add_done_callback(self._done)

    async def _later(self, awaited: Awaitable[Reply]) -> None:
        reply = await awaited
        if reply is not None:
            self._send(reply)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._waiting.discard(task)
        self.go_on()

    def go_on(self) -> None:
        """Take more after answers; close if none is to follow."""
        if not self.unanswered:
            self._idle.set()
        if self._draining:
            self._close_if_done()
        elif self._unread:
            self._take()
        else:
            self._pace()

    def _send(self, octets: bytes) -> None:
        """Send octets with all others of this turn."""
        if self._transport.is_closing():
            return
        self._unsent.append(octets)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._transport.is_closing():
            return
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        if self._transport.get_write_buffer_size() > UNSENT_MOST:
            self._edges.complain("edge.socket: an edge does not read its answers: its connection is closed")
            self.abort()
        else:
            self._close_if_done()

    def _close_if_done(self) -> None:
        if self._draining and not self.unanswered and not self._flushing and self._transport is not None:
            self._transport.close()

    def _has_room(self) -> bool:
        room = self._writable and self.unanswered < MOST_UNANSWERED
        return room and not (self._draining or self._queued)

    def _pace(self) -> None:
        """Read only while there is room for queries; a closing transport cannot be paused."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._has_room():
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()


class Edges:
    """The service's end of the socket.

    user: the uid that may connect; may be replaced at any time. connections: those that are open. handshakes, refused:
    what the edges have counted since this process heard of them.
    """

    def __init__(self, answer: EdgeTaking, user: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.answer = answer
        self.user = user
        self.handshakes = 0
        self.refused = dict.fromkeys(REFUSALS, 0)
        self._clock = clock
        self._listening: socket.socket | None = None
        self._path = ""
        self._inode = (0, 0)
        self.connections: dict[EdgeConnection, None] = {}
        self._numbers = count()
        self._numbered: dict[int, EdgeConnection] = {}
        if answer.relayed is not None:
            answer.relayed.came = self.came
        self._starting: set[asyncio.Task[Any]] = set()
        self._reports: dict[int, Report] = {}
        self._left = FRAMES_A_TURN
        self._queue: deque[EdgeConnection] = deque()
        self._complained_at = float("-inf")

    def open(self, path: str, group: int) -> None:
        """Listen at `path`, in place of any process that does; OSError if that cannot be.

        group: the gid that may connect. If the socket cannot be given to it everybody may, and is sent away after that.
        Connections that are open stay.
        """
        listening = _bound(path, group)
        self._stop_listening()
        self._path, self._listening, self._inode = path, listening, _inode(path)
        asyncio.get_running_loop().add_reader(listening.fileno(), self._accept, listening)

    @property
    def reachable(self) -> bool:
        """True while edges that look for the socket find this process."""
        if self._listening is None:
            return False
        try:
            return self._inode == _inode(self._path)
        except OSError:
            return False

    def _stop_listening(self) -> None:
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening.fileno())
            self._listening.close()
            self._listening = None

    def close(self) -> None:
        """Take no more connections and no more queries. The socket's file stays: another process may listen there."""
        self._stop_listening()
        for one in list(self.connections):
            one.finish()

    async def drained(self) -> None:
        """Wait until all queries in flight are answered, and all connections closed."""
        if self._starting:
            await asyncio.wait(self._starting)
        for one in list(self.connections):
            await one.answered()
        for one in list(self.connections):
            one.finish()

    def connected(self) -> list[EdgeConnection]:
        """Return the connections of edges that are alive."""
        since = self._clock() - SILENT_S
        return [one for one in self.connections if one.heard_at >= since]

    def open_connections(self) -> dict[str, int]:
        """Return how many connections of clients the edges have, by transport."""
        reports = [one.report for one in self.connected() if one.report is not None]
        return {label: sum(one.connections.get(label, 0) for one in reports) for label in _LABELS}

    def expires(self) -> int | None:
        """Return when the first certificate of a connected edge ends, in unix seconds; None if none is known."""
        ends = [one.report.expires for one in self.connected() if one.report is not None]
        return min((end for end in ends if end is not None), default=None)

    def granted(self, connection: EdgeConnection, taken: int) -> int:
        """Return how many more frames may be taken in this turn, after `taken`; if none, queue the connection."""
        left = min(self._left, FRAMES_A_SHARE - taken)
        if left <= 0:
            self._queue.append(connection)
            return 0
        return left

    def took(self, count: int) -> None:
        """Take the frames that were granted from the turn's; the first of a turn lets the next one begin."""
        if count and self._left == FRAMES_A_TURN:
            asyncio.get_running_loop().call_soon(self._turn)
        self._left -= count

    def reported(self, connection: EdgeConnection, said: Report) -> None:
        """Take a report, and add what has happened since the one before of the edge with its number."""
        connection.report, connection.heard_at = said, self._clock()
        before = self._reports.get(said.number)
        self._reports[said.number] = said
        # One that began again counts from 0.
        is_next = before is not None and said.handshakes >= before.handshakes
        self.handshakes += said.handshakes - (before.handshakes if before is not None and is_next else 0)
        for reason in REFUSALS:
            now, then = said.refused.get(reason, 0), before.refused.get(reason, 0) if before is not None else 0
            self.refused[reason] += now - then if now >= then else now

    def left(self, connection: EdgeConnection) -> None:
        """Forget a connection that has ended."""
        self.connections.pop(connection, None)
        if not connection.relayed:
            del self._numbered[connection.number]

    def came(self, answers: Iterable[tuple[int, Reply | Awaitable[Reply]]]) -> None:
        """Give each answer to its connection, by its number."""
        touched = set()
        for number, reply in answers:
            one = self._numbered[number]
            one.came(reply)
            touched.add(one)
        for one in touched:
            one.go_on()
            if one not in self.connections and not one.relayed:
                del self._numbered[one.number]

    def complain(self, said: str) -> None:
        """Log what an edge did, at most once in LOG_AGAIN_S."""
        if self._clock() - self._complained_at >= LOG_AGAIN_S:
            self._complained_at = self._clock()
            _log.error("%s", said)

    def _turn(self) -> None:
        """Begin a turn with the queued connections, a share for each, until FRAMES_A_TURN are taken."""
        self._left = FRAMES_A_TURN
        while self._queue and self._left:
            self._queue.popleft().called()

    def _accept(self, listening: socket.socket) -> None:
        """Accept the connections that wait."""
        for _ in range(MOST_EDGES):
            try:
                one, _ = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # No file descriptor is left, perhaps: the loop must not spin on a socket that stays readable.
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening.fileno())
                loop.call_later(PAUSE_S, self._accept_again, listening)
                return
            self._begin(one)

    def _accept_again(self, listening: socket.socket) -> None:
        if listening is self._listening:
            asyncio.get_running_loop().add_reader(listening.fileno(), self._accept, listening)

    def _begin(self, one: socket.socket) -> None:
        """Serve a connection, or close it if its account may not have one."""
        _, uid, _ = _PEER.unpack(one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid != self.user:
            self.complain(f"edge.socket: uid {uid} may not connect, only uid {self.user} (edge.user): it is sent away")
            one.close()
            return
        if len(self.connections) >= MOST_EDGES:
            self.complain(f"edge.socket: {MOST_EDGES} edges are connected, there is no place for another")
            one.close()
            return
        one.setblocking(False)
        connection = EdgeConnection(self, next(self._numbers), self._clock())
        self.connections[connection] = None
        self._numbered[connection.number] = connection
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.connect_accepted_socket(lambda: connection, one))
        self._starting.add(task)
        task.add_done_callback(lambda task: self._started(task, connection, one))

    def _started(self, task: asyncio.Task[Any], connection: EdgeConnection, one: socket.socket) -> None:
        self._starting.discard(task)
        if task.cancelled() or task.exception():  # it was closed before the loop could watch it
            self.left(connection)
            one.close()


def _inode(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _bound(path: str, group: int) -> socket.socket:
    """Return a new socket bound to `path`, in place of one that an earlier process has left there.

    Its mode is 0660 if it could be given to `group`; else 0666. OSError if it cannot be made, or something else is
    there.
    """
    if os.path.lexists(path) and not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise FileExistsError(errno.EEXIST, "a file that is no socket is in its place", path)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    part = f"{path}.{os.getpid()}"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        one.bind(part)
        os.chmod(part, MODE)
        try:
            os.chown(part, -1, group)
        except PermissionError:
            os.chmod(part, MODE_FOR_ALL)
        one.setblocking(False)
        one.listen(MOST_EDGES)
        os.rename(part, path)
    except OSError:
        one.close()
        raise
    return one
