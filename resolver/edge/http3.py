"""Takes DNS queries over HTTP/3 (RFC 9114, RFC 8484); edge.doh has the rules of requests and responses.

Rules:
- Header blocks have HEAD_OCTETS at most, and no dynamic table is kept (RFC 9204 3.2.3: a capacity of 0), neither of
  the client's fields nor of ours: a block cannot say more than it has octets for, and no stream waits for another.
- What a client's control streams leave unread has UNREAD_OCTETS. A request is refused by its head as soon as that is
  there; its content is then not wanted (4.1).
- A client cancels by a reset or STOP_SENDING; many cancelled requests end the connection (10.5, H3_EXCESSIVE_LOAD).
- Before a connection is closed for its age, or at a stop, GOAWAY names the first request that is not taken (5.2).
- Nothing of a request is logged, kept or repeated.
"""

from typing import Final

import pylsqpack
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import ErrorCode, FrameType, H3Connection, ProtocolError, Setting, encode_frame
from aioquic.h3.events import DataReceived, H3Event, Headers, HeadersReceived
from aioquic.quic.connection import stream_is_unidirectional
from aioquic.quic.events import QuicEvent, StopSendingReceived, StreamDataReceived, StreamReset

from resolver.core.codes import TRANSPORTS
from resolver.edge import doh
from resolver.edge.quic_conversation import Codes, Conversation, Spoken

HEAD_OCTETS: Final = 2**14
FIELDS: Final = 64
UNREAD_OCTETS: Final = 4096
CONTROL_STREAMS: Final = 8
"""The unidirectional streams of a client: three that HTTP/3 has, and those of types that we do not know (6.2.3)."""

NEEDED: Final = ("_decode_headers", "_get_local_settings", "_receive_stop_sending", "_validate_settings")

if not all(hasattr(H3Connection, name) for name in NEEDED):
    raise ImportError("this aioquic is not one that can be bounded: install aioquic>=1.7.2,<2")


class ExcessiveLoad(ProtocolError):
    """What a client sends is more than is borne."""

    error_code = ErrorCode.H3_EXCESSIVE_LOAD


class Bounded(H3Connection):
    """A server's HTTP/3 connection within bounds."""

    def __init__(self, quic: object) -> None:
        super().__init__(quic)  # type: ignore[arg-type]  # an Engine is a QuicConnection
        self._decoder = pylsqpack.Decoder(0, 0)

    def go_away(self, stream_id: int) -> None:
        """Announce to the client that no request from this stream on is taken."""
        frame = encode_frame(FrameType.GOAWAY, encode_uint_var(stream_id))
        self._quic.send_stream_data(self._local_control_stream_id or 0, frame)

    def unread(self, stream_id: int) -> int:
        """Return the octets of a stream that wait for more of their frame."""
        stream = self._stream.get(stream_id)
        return 0 if stream is None else len(stream.buffer)

    def stop(self, stream_id: int) -> None:
        """Note that a stream was reset by us: nothing more is sent on it."""
        self._receive_stop_sending(stream_id)

    def _get_local_settings(self) -> dict[int, int]:
        return {
            Setting.QPACK_MAX_TABLE_CAPACITY: 0,
            Setting.QPACK_BLOCKED_STREAMS: 0,
            Setting.MAX_FIELD_SECTION_SIZE: HEAD_OCTETS,
            Setting.DUMMY: 1,
        }

    def _validate_settings(self, settings: dict[int, int]) -> None:
        super()._validate_settings(settings)
        settings[Setting.QPACK_MAX_TABLE_CAPACITY] = settings[Setting.QPACK_BLOCKED_STREAMS] = 0

    def _decode_headers(self, stream_id: int, frame_data: bytes | None) -> Headers:
        if frame_data is not None and len(frame_data) > HEAD_OCTETS:
            raise ExcessiveLoad("too long a header block")
        headers = super()._decode_headers(stream_id, frame_data)
        if len(headers) > FIELDS or sum(len(name) + len(value) + 32 for name, value in headers) > 2 * HEAD_OCTETS:
            raise ExcessiveLoad("too many fields")
        return headers


class _Request:
    """A request whose stream has not ended. status: what refuses it, 0 if nothing does. is_answered: with that."""

    __slots__ = ("content", "is_answered", "method", "status", "target")

    def __init__(self, method: bytes, target: bytes, status: int) -> None:
        self.method = method
        self.target = target
        self.status = status
        self.content = bytearray()
        self.is_answered = False


class Http3(Conversation):
    """A connection of HTTP/3."""

    codes = Codes(ErrorCode.H3_NO_ERROR, ErrorCode.H3_EXCESSIVE_LOAD)
    transport = TRANSPORTS.index("doh")

    def __init__(self, *about: object) -> None:
        super().__init__(*about)  # type: ignore[arg-type]  # a server makes it
        self._http: Bounded | None = None
        self._requests: dict[int, _Request] = {}
        self._next = 0

    def event(self, event: QuicEvent) -> None:
        """Take what happened on a stream."""
        if self._http is None:
            self._http = Bounded(self.engine)
        for one in self._http.handle_event(event):
            self._take(one)
        match event:
            case StreamDataReceived(stream_id=stream_id):
                if stream_is_unidirectional(stream_id) and self._http.unread(stream_id) > UNREAD_OCTETS:
                    self.refuse("flood", ErrorCode.H3_EXCESSIVE_LOAD)
            case StreamReset(stream_id=stream_id):
                self._requests.pop(stream_id, None)
                if not stream_is_unidirectional(stream_id):
                    if self.engine.may_send(stream_id):
                        self.engine.reset_stream(stream_id, ErrorCode.H3_REQUEST_CANCELLED)
                        self._http.stop(stream_id)
                    self.cancel(stream_id)
            case StopSendingReceived(stream_id=stream_id):
                self.cancel(stream_id)

    def answer(self, stream_id: int, message: bytes, max_age: int) -> None:
        """Send a response with an answer, or 400 if there is none."""
        if message:
            self._respond(stream_id, 200, doh.answer_fields(message, max_age), message)
        else:
            self._respond(stream_id, doh.BAD_REQUEST, doh.refusal_fields(doh.BAD_REQUEST), b"")

    def announce_end(self) -> None:
        """Say which requests are taken."""
        if self._http is not None:
            self._http.go_away(self._next)

    def _take(self, event: H3Event) -> None:
        match event:
            case HeadersReceived(headers=headers, stream_id=stream_id, stream_ended=is_end):
                request = self._requests.get(stream_id) or self._begin(stream_id, headers)  # the second are trailers
            case DataReceived(data=data, stream_id=stream_id, stream_ended=is_end) if stream_id in self._requests:
                request = self._requests[stream_id]
                if not request.status:
                    request.content += data
                    if len(request.content) > doh.MOST_OCTETS:
                        request.status = doh.CONTENT_TOO_LARGE
            case _:
                return
        if is_end:
            del self._requests[stream_id]
        if request.is_answered:
            return
        wanted: bytes | int = request.status
        if is_end and not request.status:
            wanted = doh.query_of(request.method, request.target, bytes(request.content))
        if isinstance(wanted, bytes):
            if self.engine.may_send(stream_id):
                self.ask(stream_id, wanted)
        elif wanted:
            request.is_answered = True
            request.content.clear()
            self.server.refused("request")
            self._respond(stream_id, wanted, doh.refusal_fields(wanted), b"")
            if not is_end:
                self.engine.stop_stream(stream_id, ErrorCode.H3_NO_ERROR)

    def _begin(self, stream_id: int, headers: Headers) -> _Request:
        self._next = max(self._next, stream_id + 4)
        fields = dict(headers)
        method, target = fields.get(b":method", b""), fields.get(b":path", b"")
        kind, announced = fields.get(b"content-type", b""), int(fields.get(b"content-length", b"0"))
        status = doh.refused_by_head(method, target, kind, announced, self.server.path)
        request = self._requests[stream_id] = _Request(method, target, status)
        return request

    def _respond(self, stream_id: int, status: int, fields: doh.Fields, content: bytes) -> None:
        if self._http is None or not self.engine.may_send(stream_id):
            return
        self._http.send_headers(stream_id, [(b":status", b"%d" % status), *fields], end_stream=not content)
        if content:
            self._http.send_data(stream_id, content, end_stream=True)


HTTP3: Final = Spoken("h3", Http3, CONTROL_STREAMS)
