# cython: language_level=3, annotation_typing=False
"""One client's connection: collects the head of its one request, sends the response, and ends.

Rules:
- A connection has one request. Its head is collected here, at most MAX_HEAD octets in all, and only a whole head is
  handed on: a head that is longer gets 431. What follows the head is discarded, and of that little is read.
- The page's visitor closes first. A connection that we closed first would stay in the kernel for a minute as TIME-WAIT
  with the visitor's address, for every account of the host to see. A visitor that has received everything and does not
  close is reset, which leaves nothing.
- Whom a connection serves is known here and to the gate alone: what answers the request writes to a Response, without
  the client's address. It knows which of our own addresses was reached (`sockname`), because that says which page is
  meant.
- It reads and writes its socket itself, in as few system calls as a visit can have: the event loop knows only the gate.
- This module is compiled, as are `gate` and `deadlines` (types in their .pxd): a visit costs little beside the kernel's
  work. It decides in Python; of C are only the calls (calls.pyx).
"""

import asyncio
import os
import re
import select
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from resolver.quiet_http import calls
from resolver.quiet_http.bounds import Bounds
from resolver.quiet_http.deadlines import Deadlines

SERVER: Final = "blocklist-resolver"
"""The name that every response gives."""

MAX_HEAD: Final = 8192
MAX_DISCARDED: Final = 2**18
"""Octets after the head that are read and discarded, so that most clients get to read the response."""

READS: Final = select.EPOLLIN | select.EPOLLRDHUP
_WRITES: Final = select.EPOLLOUT
_BROKEN: Final = select.EPOLLERR | select.EPOLLHUP
_MUCH: Final = 2**16
"""Unsent octets above which what answers is asked to pause."""
_LITTLE: Final = 2**14

# A method, or an empty line before it (RFC 9112 2.2).
_BEGIN: Final = re.compile(rb"[A-Za-z\r\n]")
# Of the line before the empty one its last octet is enough, which is sooner found.
_END: Final = re.compile(rb"\n\r?\n")


def constant(status: str, text: str) -> bytes:
    """Return a whole response that says nothing but its status."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nServer: {SERVER}\r\n"
    return f"{head}Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()


_TOO_LARGE: Final = constant("431 Request Header Fields Too Large", "request too large\n")


class Keeper:
    """What keeps connections, and whom they notify: the gate. hand_on: answers a whole head, now or later."""

    bounds: Bounds
    loop: asyncio.AbstractEventLoop
    hand_on: Callable[[bytes, "Response"], None]
    heads: Deadlines
    ages: Deadlines
    lingers: Deadlines

    def asked(self, connection: "Connection") -> None:
        """Note that a connection has a whole head, and serve it when its prefix's turn has come."""
        raise NotImplementedError

    def finished(self, connection: "Connection") -> None:
        """Note that a connection has its response."""
        raise NotImplementedError

    def watch(self, connection: "Connection", mask: int) -> None:
        """Have epoll watch for other events of a connection."""
        raise NotImplementedError

    def forget(self, connection: "Connection") -> None:
        """Watch a connection no more; it is about to be closed."""
        raise NotImplementedError

    def lost(self, connection: "Connection") -> None:
        """Note that a connection is closed."""
        raise NotImplementedError


class Connection:
    """A client's connection, which holds a place (accept_limits.Holder).

    client: its address in 16 octets. counted: the prefix that it counts for, b"" for none.
    """

    def __init__(self, gate: Keeper, fd: int, client: bytes) -> None:
        self.client = client
        self.counted = b""
        self._gate = gate
        self._fd = fd
        self._head = b""
        self._response: Response | None = None
        self._unsent = bytearray()
        self._until = 0.0
        self._discarded = 0
        self._reads = True
        self._asked = self._finished = self._ended = self._gone = self._delivered = self._paused = False

    def fileno(self) -> int:
        """Return the file descriptor, -1 once it is closed."""
        return self._fd

    @property
    def reached(self) -> bytes | None:
        """Our own address that the client has reached, in 16 octets; None if it has gone."""
        with suppress(OSError):
            return calls.reached(self._fd)
        return None

    @property
    def place(self) -> Any:
        """The same as `getsockname` returns it."""
        with suppress(OSError), socket.socket(fileno=os.dup(self._fd)) as one:
            return one.getsockname()
        return None

    @property
    def needs_no_place(self) -> bool:
        """True while it has asked nothing, as browsers open connections in advance, or after the response arrived."""
        return not self._gone and (not self._asked or (self._finished and unacknowledged(self) == 0))

    @property
    def is_mute(self) -> bool:
        """True while its head is not whole."""
        return not self._asked and not self._gone

    @property
    def is_awaited(self) -> bool:
        """True while the client may wait for a response, or for the rest of it."""
        return self._asked and not self._gone

    def outgoing(self) -> int:
        """Return how many octets are still here; the kernel has the others."""
        return len(self._unsent)

    def ready(self, mask: int) -> None:
        """Go on with what epoll says of the socket."""
        if mask & _WRITES and self._unsent:
            self._flush()
        if self._gone:
            return
        if self._reads:
            if mask & ~_WRITES:
                self.receive()
        elif mask & _BROKEN:
            self._drop()

    def receive(self) -> None:
        """Read what there is; nothing if there is nothing yet."""
        try:
            data = calls.receive(self._fd)
        except OSError:
            self._drop()
            return
        if data is None:
            return
        if data:
            self._take(data)
        else:
            self._take_end()

    def serve(self) -> None:
        """Hand the head on, unless the client has gone."""
        if self._gone:
            return
        head, self._head = self._head, b""
        self._response = Response(self)
        self._gate.hand_on(head, self._response)

    def write(self, data: bytes) -> None:
        """Send octets of the response, those that the kernel does not take now later."""
        if self._gone:
            return
        if not self._unsent:
            try:
                sent = calls.send(self._fd, data)
            except OSError:
                self._drop()
                return
            if sent == len(data):
                return
            data = data[sent:]
        self._unsent += data
        self._watch()
        if len(self._unsent) > _MUCH and not self._paused and self._response is not None:
            self._paused = True
            self._response.pause()

    def finish(self) -> None:
        """Let the client close the connection; reset it `linger_s` after the client received everything."""
        if self._gone or self._finished:
            return
        self._finished = True
        if self._response is not None:
            self._response.end()
        self._gate.finished(self)
        if not self._unsent:
            self._sent()
        if not self._gone:
            self._gate.lingers.start(self)

    def abort(self) -> None:
        """Reset the connection, which leaves no state in our kernel."""
        if not self._gone:
            calls.reset(self._fd)
            self._drop()

    def linger(self) -> None:
        """Reset if the client had received everything when last looked, or at the end of its life; else look again."""
        if self._delivered or self._gate.loop.time() >= self._until:
            self.abort()
            return
        self._delivered = unacknowledged(self) == 0
        self._gate.lingers.start(self)

    def _take(self, data: bytes) -> None:
        if self._asked:
            self._discard(len(data))
            return
        searched = max(0, len(self._head) - 3)
        head = self._head = self._head + data if self._head else data
        found = _END.search(head, searched)
        end = found.end() if found else len(head)
        if end <= MAX_HEAD and not found and _BEGIN.match(head):
            return
        self._asked = True
        self._until = self._gate.loop.time() + self._gate.bounds.age_s
        self._gate.heads.stop(self)
        if end < len(head):
            self._discard(len(head) - end)
        if end > MAX_HEAD:
            self._head = b""
            self.write(_TOO_LARGE)
            self.finish()
        else:
            self._head = head[:end]
            self._gate.asked(self)
        if not self._finished and not self._gone:
            self._gate.ages.start(self)

    def _take_end(self) -> None:
        """Close, unless a response is still to come or to be sent: then keep our half open for it."""
        self._ended = True
        if (self._asked and not self._finished) or self._unsent:
            self._reads = False
            self._watch()
        else:
            self._drop()

    def _discard(self, octets: int) -> None:
        self._discarded += octets
        if self._reads and self._discarded > MAX_DISCARDED:
            self._reads = False
            self._watch()

    def _flush(self) -> None:
        try:
            sent = calls.send(self._fd, self._unsent)
        except OSError:
            self._drop()
            return
        del self._unsent[:sent]
        if self._paused and len(self._unsent) <= _LITTLE and self._response is not None:
            self._paused = False
            self._response.resume()
        if not self._unsent and not self._gone:
            self._watch()
            if self._finished:
                self._sent()

    def _sent(self) -> None:
        """End our half, or close, once the whole response is with the kernel."""
        if self._ended:
            self._drop()
        elif not self._gate.bounds.client_first:
            calls.end_half(self._fd)

    def _watch(self) -> None:
        self._gate.watch(self, (READS if self._reads else 0) | (_WRITES if self._unsent else 0))

    def _drop(self) -> None:
        """Close the socket and forget the client."""
        if self._gone:
            return
        self._gone = True
        self._gate.forget(self)
        calls.close(self._fd)
        self._fd = -1
        if self._response is not None:
            self._response.end()
            self._response = None
        self._gate.lost(self)


class Response(asyncio.Transport):
    """What a response is written to: it knows our own address alone, and to close it ends the response, not the
    connection."""

    __slots__ = ("_closing", "_connection", "_protocol")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._closing = False
        self._protocol: asyncio.Protocol | None = None

    @property
    def reached(self) -> bytes | None:
        """Our own address that the client has reached, in 16 octets; None if it has gone."""
        return self._connection.reached

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._connection.place if name == "sockname" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Notify this protocol of pauses and of the end."""
        self._protocol = protocol  # type: ignore[assignment]  # a protocol of streams

    def pause(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()

    def end(self) -> None:
        """Notify the protocol, soon, that nothing more is sent."""
        self._closing = True
        if self._protocol is not None:
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)
            self._protocol = None

    def write(self, data: Any) -> None:
        self._connection.write(data)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self._connection.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True
        self._connection.finish()

    def abort(self) -> None:
        self._connection.abort()

    def pause_reading(self) -> None:
        """Do nothing: the request has been read."""

    def resume_reading(self) -> None:
        """Do nothing: the request has been read."""


def unacknowledged(connection: Connection) -> int:
    """Return how many octets the client's kernel has not acknowledged yet."""
    return connection.outgoing() + calls.unacknowledged(connection.fileno())
