"""Serves DoH over HTTP/2 (RFC 8484, RFC 9113); edge.doh has what a request asks, `h2` the state of the protocol.

Rules:
- A client has MOST_STREAMS streams at a time, and for each header list MOST_HEADER_OCTETS and MOST_HEADERS fields.
  Octets are given to the parser in small pieces, a share of each turn of the loop: no connection holds up others.
- Whatever asks nothing costs credit: resets (rapid reset), pings, settings, window updates, empty data. So do octets
  that lead to no answer. An answer gives some back; without credit the connection ends with ENHANCE_YOUR_CALM.
- A body is taken as it comes, bounded for all streams together. An answer waits for the client's window, bounded too:
  who gives none is closed as idle, who gives none to many answers as a flood.
- A query whose stream was reset is in flight until its answer comes: a client gets no more work done by resets.
- h2 keeps what a client names: of its settings only those that HTTP/2 has are kept, of its closed streams the last
  ones, and our table of fields is no larger than HTTP/2's own, however large a one the client allows.
- At an end the client is sent GOAWAY, and still gets the answers to what it asked.
"""

from contextlib import suppress
from functools import partial
from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from resolver.edge import bounds, doh
from resolver.edge.accept import Doors
from resolver.edge.secured import Secured
from resolver.edge.taking import Taking

ALPN: Final = "h2"
PIECE_OCTETS: Final = 1024
WORK_OF_AN_EVENT: Final = 8
"""What an event of HTTP/2 counts for in a turn, in queries of DoT."""
COST_OF_A_RESET: Final = 4
CLOSED_STREAMS: Final = 1024
TABLE_OCTETS: Final = 4096
"""Of the table of fields with which responses are compressed (RFC 9113 6.5.2, the initial value)."""
TOO_MANY_FIELDS: Final = 431

_CONFIG: Final = H2Configuration(
    client_side=False, header_encoding=None, normalize_outbound_headers=False, validate_outbound_headers=False
)
_SETTINGS: Final = {
    SettingCodes.MAX_CONCURRENT_STREAMS: bounds.MOST_STREAMS,
    SettingCodes.MAX_HEADER_LIST_SIZE: bounds.MOST_HEADER_OCTETS,
}
_SETTING_CODES: Final = frozenset(SettingCodes)
_GOAWAY: Final = b"\0\0\x08\x07\0\0\0\0\0"


class _Known(Settings):
    """The client's settings: those that HTTP/2 has, for others mean nothing (RFC 9113 6.5.2)."""

    def __setitem__(self, key: SettingCodes | int, value: int) -> None:
        if key in _SETTING_CODES:
            super().__setitem__(key, value)


class _Bounded(H2Connection):
    MAX_CLOSED_STREAMS = CLOSED_STREAMS

    def __init__(self) -> None:
        super().__init__(_CONFIG)
        self.local_settings = Settings(client=False, initial_values=_SETTINGS)
        self.remote_settings = _Known(client=True)
        self.decoder.max_header_list_size = bounds.MOST_HEADER_OCTETS

    def leave_no_cycle(self) -> None:
        """Drop h2's table of its own methods; nothing can be received after that.

        With it the memory of connections that come and go would wait for the collector of cycles, which looks rarely.
        """
        vars(self).pop("_frame_dispatch_table", None)


class Http2(Taking):
    """The requests of one connection. path: of DoH. once: fields that its first answer has, too."""

    def __init__(self, doors: Doors, connection: Secured, path: bytes, once: doh.Fields = doh.NO_FIELDS) -> None:
        super().__init__(doors, connection)
        self._once = once
        self._path = path
        self._h2 = _Bounded()
        self._latest = 0
        self._bodies: dict[int, tuple[bytes, bytes, bytearray]] = {}
        self._body_octets = 0
        self._waiting: set[int] = set()
        self._in_flight = 0
        self._unsent: dict[int, bytes] = {}
        self._unsent_octets = 0
        self._credit = bounds.CREDIT
        self._unpaid = 0
        self._h2.initiate_connection()
        doors.says(connection)

    # What the connection calls (secured.Above), and Taking does not do.

    def drain(self) -> None:
        """Take no more requests; close after the last answer."""
        if not self._draining:
            self._draining = True
            self._connection.send(self._h2.data_to_send() + self._farewell(ErrorCodes.NO_ERROR))
        if not self._waiting:
            self._connection.close()

    def lost(self) -> None:
        """Forget everything."""
        super().lost()
        self._bodies.clear()
        self._waiting.clear()
        self._unsent.clear()
        self._h2.leave_no_cycle()

    def buffered(self) -> int:
        """Return the octets that are held."""
        return len(self._unread) + self._body_octets + self._unsent_octets

    def flush(self) -> None:
        """Send what this turn has made."""
        data = self._h2.data_to_send()
        if data:
            self._connection.send(data)
        if self._over:
            self._connection.close()
            return
        if not self._waiting:
            if self._draining:
                self._connection.close()
                return
            self._doors.places.idle(self._connection, self._doors.loop.time())
        if self._unread:
            self._take()
        else:
            self._pace()

    # Requests.

    def _is_busy(self) -> bool:
        return False  # of streams there is a bound

    def _take(self) -> None:
        """Give the parser what has come, piece by piece, while the turn lasts."""
        taken, doors = 0, self._doors
        while self._unread and self._has_room():
            if not doors.granted(self._connection, taken):
                self._queued = True
                break
            piece, self._unread = self._unread[:PIECE_OCTETS], self._unread[PIECE_OCTETS:]
            work = WORK_OF_AN_EVENT * self._feed(piece) + 1
            taken += work
            doors.took(work)
        if self._connection.is_open:
            if taken:
                if self._waiting:
                    doors.places.busy(self._connection)
                doors.says(self._connection)
            self._pace()

    def _feed(self, piece: bytes) -> int:
        """Take one piece; return how many events it had."""
        self._unpaid += len(piece)
        try:
            events = self._h2.receive_data(piece)
            for event in events:
                self._happened(event)
        except (H2Error, ValueError):
            # h2 has written the GOAWAY that says to the client what it was.
            self._end("protocol")
            return 1
        if self._credit < 0 or self._unpaid > bounds.OCTETS_UNPAID or self._has_too_much():
            self._calm()
        return len(events)

    def _has_too_much(self) -> bool:
        return (
            self._body_octets > bounds.BODY_OCTETS
            or self._unsent_octets > bounds.UNSENT_OCTETS
            or self._in_flight > bounds.MOST_IN_FLIGHT
        )

    def _calm(self) -> None:
        """End the connection: it is a flood."""
        if not self._over:
            self._h2.clear_outbound_data_buffer()
            self._connection.send(self._farewell(ErrorCodes.ENHANCE_YOUR_CALM))
            self._end("flood")

    def _end(self, reason: str) -> None:
        """Count the reason; the connection ends with the turn."""
        if not self._over:
            self._doors.refuse(reason)
        self._over = True
        self._unread = b""

    def _happened(self, event: Event) -> None:
        if self._over:
            return
        match event:
            case RequestReceived(stream_id=int(stream)):
                self._latest = max(self._latest, stream)
                self._begun(stream, event.headers, ended=event.stream_ended is not None)
            case DataReceived(stream_id=int(stream), data=bytes(data)):
                self._give_room(stream, event.flow_controlled_length or 0)
                self._body(stream, data)
            case StreamEnded(stream_id=int(stream)):
                if stream in self._bodies:
                    self._whole(stream)
            case StreamReset(stream_id=int(stream)):
                self._credit -= COST_OF_A_RESET
                self._forget(stream)
            case WindowUpdated():
                self._credit -= 1
                self._send_on()
            case RemoteSettingsChanged():
                self._credit -= max(1, len(event.changed_settings))
                if self._h2.encoder.header_table_size > TABLE_OCTETS:
                    self._h2.encoder.header_table_size = TABLE_OCTETS
                self._send_on()
            case ConnectionTerminated():
                self._draining = True
            case _:
                self._credit -= 1

    def _begun(self, stream: int, headers: Any, *, ended: bool) -> None:
        """Take the head of a request."""
        found = dict(headers)
        method, target = found.get(b":method", b""), found.get(b":path", b"")
        length = found.get(b"content-length", b"0")
        octets = int(length) if length.isdigit() and len(length) < 10 else doh.MOST_OCTETS + 1
        status = doh.refused_by_head(method, target, found.get(b"content-type", b""), octets, self._path)
        if len(headers) > bounds.MOST_HEADERS:
            status = TOO_MANY_FIELDS
        if status:
            self._refuse(stream, status, ended=ended)
            return
        self._bodies[stream] = method, target, bytearray()
        if ended:
            self._whole(stream)

    def _give_room(self, stream: int, octets: int) -> None:
        """Let the client send as much again: in this stream, or if that is refused in others."""
        if stream in self._bodies:
            self._h2.acknowledge_received_data(octets, stream)
        elif octets:
            self._h2.increment_flow_control_window(octets)

    def _body(self, stream: int, data: bytes) -> None:
        if not data:
            self._credit -= 1
        found = self._bodies.get(stream)
        if found is None:
            return
        _, _, body = found
        body += data
        self._body_octets += len(data)
        if len(body) > doh.MOST_OCTETS:
            self._forget(stream)
            self._refuse(stream, doh.CONTENT_TOO_LARGE, ended=False)

    def _whole(self, stream: int) -> None:
        """Hand the query of a whole request to the service, or refuse it."""
        method, target, body = self._bodies.pop(stream)
        self._body_octets -= len(body)
        query = doh.query_of(method, target, bytes(body))
        if isinstance(query, int):
            self._refuse(stream, query, ended=True)
            return
        self._waiting.add(stream)
        self._in_flight += 1
        self._doors.post(query, self._connection.client, partial(self._done, stream))

    def _forget(self, stream: int) -> None:
        """Forget a stream that the client has given up, or that is refused."""
        body = self._bodies.pop(stream, None)
        if body is not None:
            self._body_octets -= len(body[2])
        self._unsent_octets -= len(self._unsent.pop(stream, b""))
        self._waiting.discard(stream)

    # Responses.

    def _done(self, stream: int, message: bytes, max_age: int) -> None:
        """Take an answer of the service."""
        self._in_flight -= 1
        if self._over or stream not in self._waiting:
            return
        self._waiting.discard(stream)
        self._credit = min(self._credit + bounds.CREDIT_OF_AN_ANSWER, bounds.CREDIT)
        self._unpaid = 0
        if message:
            once, self._once = self._once, doh.NO_FIELDS
            self._respond(stream, 200, [*doh.answer_fields(message, max_age), *once], message)
        else:
            self._refuse(stream, doh.BAD_REQUEST, ended=True)
        if self._has_too_much():
            self._calm()
        self._doors.says(self._connection)

    def _refuse(self, stream: int, status: int, *, ended: bool) -> None:
        self._doors.refuse("request")
        self._credit -= 1
        self._respond(stream, status, doh.refusal_fields(status), b"")
        if not ended:
            with suppress(H2Error):  # its end may have come in the same piece
                self._h2.reset_stream(stream, ErrorCodes.NO_ERROR)  # RFC 9113 8.1: the rest of it is not needed

    def _respond(self, stream: int, status: int, fields: doh.Fields, content: bytes) -> None:
        try:
            self._h2.send_headers(stream, [(b":status", b"%d" % status), *fields], end_stream=not content)
        except H2Error:
            return  # the client has given this stream up
        if content:
            self._send(stream, content)
            self._doors.moved(len(self._unsent.get(stream, b"")))  # else nobody notes what many of them hold

    def _send_on(self) -> None:
        """Send what waits: the client may have widened its windows."""
        for stream in list(self._unsent):
            self._send(stream, b"")

    def _send(self, stream: int, content: bytes) -> None:
        """Send content, after what of this stream is still unsent, as far as the client's windows go."""
        rest = self._unsent.pop(stream, b"") + content
        self._unsent_octets -= len(rest) - len(content)
        try:
            while rest:
                room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
                if room <= 0:
                    break
                piece, rest = rest[:room], rest[room:]
                self._h2.send_data(stream, piece, end_stream=not rest)
        except H2Error:
            return  # the client has given this stream up
        if rest:
            self._unsent[stream] = rest
            self._unsent_octets += len(rest)

    def _farewell(self, code: ErrorCodes) -> bytes:
        """Return a GOAWAY frame (RFC 9113 6.8); after one of h2's own no answer could be sent."""
        return _GOAWAY + self._latest.to_bytes(4, "big") + int(code).to_bytes(4, "big")
