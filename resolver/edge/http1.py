"""Serves DoH over HTTP/1.1 (RFC 8484, RFC 9112); edge.doh has what a request asks, aiohttp's parser reads it.

Rules:
- One request at a time: a client that sends several gets its responses in order; what it has sent waits (edge.taking).
- The parser bounds lines and fields; bodies are bounded by DNS. Octets that lead to no answer end the connection.
- A request that is refused, or that the parser does not understand, ends the connection after its response.
"""

import asyncio
from collections import deque
from http import HTTPStatus
from typing import Any, Final

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from resolver.edge import bounds, doh
from resolver.edge.accept import Doors
from resolver.edge.secured import Secured
from resolver.edge.taking import Taking

ALPN: Final = "http/1.1"
PIECE_OCTETS: Final = 4096
WORK_OF_A_REQUEST: Final = 8
"""What a request counts for in a turn, in queries of DoT."""
FIELDS_TOO_LARGE: Final = 431

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def _origin_form(target: bytes) -> bytes:
    """Return the path and the query of a target, which may be a whole URL (RFC 9112 3.2.2: it has to be accepted)."""
    scheme, found, rest = target.partition(b"://")
    if not found or scheme.lower() not in (b"http", b"https"):
        return target
    at = rest.find(b"/")
    return rest[at:] if at >= 0 else b"/"


class Http1(Taking):
    """The requests of one connection. path: of DoH. once: fields that its first answer has, too."""

    def __init__(self, doors: Doors, connection: Secured, path: bytes, once: doh.Fields = doh.NO_FIELDS) -> None:
        super().__init__(doors, connection)
        self._once = once
        self._path = path
        flow = BaseProtocol(asyncio.get_running_loop())
        self._parser = HttpRequestParser(
            flow,
            doors.loop,
            2 * bounds.BODY_OCTETS,  # nothing so large is left in a body: the parser never pauses
            max_line_size=doh.TARGET_OCTETS,
            max_field_size=bounds.MOST_HEADER_OCTETS,
            max_headers=bounds.MOST_HEADERS,
            auto_decompress=False,
        )
        self._requests: deque[tuple[Any, Any]] = deque()
        self._body = bytearray()
        self._waits = self._keeps = False
        self._unpaid = 0
        self._said: list[bytes] = []

    # What the connection calls (secured.Above), and Taking does not do.

    def drain(self) -> None:
        """Take no more requests; close after the response that is due."""
        self._draining = True
        if not self._waits and not self._said:
            self._connection.close()

    def lost(self) -> None:
        """Forget everything."""
        super().lost()
        self._requests.clear()
        self._body.clear()

    def buffered(self) -> int:
        """Return the octets that are held."""
        return len(self._unread) + len(self._body)

    def flush(self) -> None:
        """Send what this turn has made."""
        said, self._said = self._said, []
        if said:
            self._connection.send(b"".join(said))
        if self._waits:
            return
        if self._draining or self._over:
            self._connection.close()
            return
        self._doors.places.idle(self._connection, self._doors.loop.time())
        self._take()

    # Requests.

    def _is_busy(self) -> bool:
        return self._waits

    def _take(self) -> None:
        """Go on with the requests that are there, while the turn lasts."""
        taken, doors = 0, self._doors
        while self._has_room() and (self._unread or self._requests):
            if not doors.granted(self._connection, taken):
                self._queued = True
                break
            if not (self._requests and self._go_on()):
                piece, self._unread = self._unread[:PIECE_OCTETS], self._unread[PIECE_OCTETS:]
                if not piece:
                    break
                self._feed(piece)
                if self._requests:
                    self._go_on()
            taken += WORK_OF_A_REQUEST
            doors.took(WORK_OF_A_REQUEST)
        if self._connection.is_open:
            if self._waits:
                doors.places.busy(self._connection)
            self._pace()

    def _feed(self, piece: bytes) -> None:
        self._unpaid += len(piece)
        try:
            messages, upgraded, _ = self._parser.feed_data(piece)
        except LineTooLong:
            self._refuse(FIELDS_TOO_LARGE)
            return
        except (HttpProcessingError, ValueError):
            self._refuse(doh.BAD_REQUEST)
            return
        for message, payload in messages:
            if message.headers.get("Expect", "").lower() == "100-continue":
                self._say(_CONTINUE)
            self._requests.append((message, payload))
        if upgraded:
            self._refuse(doh.BAD_REQUEST)
        elif self._unpaid > bounds.OCTETS_UNPAID or len(self._requests) > bounds.MOST_STREAMS:
            self._doors.refuse("flood")
            self._end()

    def _go_on(self) -> bool:
        """Go on with the first request; return whether there was anything to do."""
        if self._over:
            return True
        message, payload = self._requests[0]
        while payload.total_bytes > len(self._body) and len(self._body) <= doh.MOST_OCTETS:
            self._body += payload.read_nowait()
        method, target = message.method.encode(), _origin_form(message.path.encode("utf-8", "surrogateescape"))
        length = message.headers.get("Content-Length", "0")
        octets = int(length) if length.isdecimal() and len(length) < 10 else doh.MOST_OCTETS + 1
        media_type = message.headers.get("Content-Type", "").encode("utf-8", "surrogateescape")
        status = doh.refused_by_head(method, target, media_type, max(octets, len(self._body)), self._path)
        if status:
            self._refuse(status)
            return True
        if not payload.is_eof():
            return False
        query = doh.query_of(method, target, bytes(self._body))
        self._requests.popleft()
        self._body.clear()
        if isinstance(query, int):
            self._refuse(query)
            return True
        self._waits = True
        self._keeps = not message.should_close
        self._doors.post(query, self._connection.client, self._done)
        return True

    # Responses.

    def _done(self, message: bytes, max_age: int) -> None:
        """Take an answer of the service."""
        self._waits = False
        if self._over:
            return
        if not message:
            self._refuse(doh.BAD_REQUEST)
            return
        self._unpaid = 0
        self._draining = self._draining or not self._keeps
        once, self._once = self._once, doh.NO_FIELDS
        self._respond(200, [*doh.answer_fields(message, max_age), *once], message)

    def _refuse(self, status: int) -> None:
        self._doors.refuse("request")
        self._draining = True
        self._respond(status, doh.refusal_fields(status), b"")
        self._end()

    def _end(self) -> None:
        """Close with the turn."""
        self._over = True
        self._unread = b""
        self._requests.clear()
        self._doors.says(self._connection)

    def _respond(self, status: int, fields: doh.Fields, content: bytes) -> None:
        head = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
        head += [b"%s: %s" % field for field in fields]
        if self._draining:
            head.append(b"connection: close")
        self._say(b"\r\n".join((*head, b"", content)))

    def _say(self, octets: bytes) -> None:
        self._said.append(octets)
        self._doors.says(self._connection)
