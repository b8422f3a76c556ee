"""Takes DNS queries over QUIC, DoQ (RFC 9250).

Rules:
- A stream that the client opens carries one query behind its length, then its end; the answer goes back in the same
  form on the same stream (4.2). A query is taken when its stream has ended.
- It is a protocol error, which ends the connection (4.3.3): a stream that ends early or has octets behind its query, a
  message id that is not 0, the option edns-tcp-keepalive (5.5.2). No unidirectional stream is granted.
- A client cancels by a reset or STOP_SENDING (4.3.1): what was asked is dropped when its answer comes.
- A query without an answer has its stream reset; a connection ends with DOQ_NO_ERROR, or the code of its fault.
"""

from typing import Final

from aioquic.quic.events import QuicEvent, StopSendingReceived, StreamDataReceived, StreamReset

from resolver.core.codes import TRANSPORTS
from resolver.core.question import Question, parse
from resolver.edge.quic_conversation import Codes, Conversation, Spoken

NO_ERROR: Final = 0
INTERNAL_ERROR: Final = 1
PROTOCOL_ERROR: Final = 2
REQUEST_CANCELLED: Final = 3
EXCESSIVE_LOAD: Final = 4
UNSPECIFIED_ERROR: Final = 5

_LENGTH: Final = 2
_HEADER: Final = 12


class Doq(Conversation):
    """A connection of DoQ."""

    codes = Codes(NO_ERROR, EXCESSIVE_LOAD)
    transport = TRANSPORTS.index("doq")

    def __init__(self, *about: object) -> None:
        super().__init__(*about)  # type: ignore[arg-type]  # a server makes it
        self._read: dict[int, bytearray] = {}
        self._question = Question()

    def event(self, event: QuicEvent) -> None:
        """Take what happened on a stream."""
        match event:
            case StreamDataReceived(data=data, end_stream=is_end, stream_id=stream_id):
                self._take(stream_id, data, is_end)
            case StreamReset(stream_id=stream_id):
                self._read.pop(stream_id, None)
                if self.engine.may_send(stream_id):
                    self.engine.reset_stream(stream_id, REQUEST_CANCELLED)
                self.cancel(stream_id)
            case StopSendingReceived(stream_id=stream_id):
                self.cancel(stream_id)

    def answer(self, stream_id: int, message: bytes, max_age: int) -> None:
        """Send an answer, or reset the stream if there is none."""
        if message:
            self.engine.send_stream_data(stream_id, len(message).to_bytes(_LENGTH, "big") + message, end_stream=True)
        else:
            self.engine.reset_stream(stream_id, UNSPECIFIED_ERROR)

    def announce_end(self) -> None:
        """Do nothing: DoQ has no message for it."""

    def _take(self, stream_id: int, data: bytes, is_end: bool) -> None:
        """Take octets of a stream, and its query once it has ended."""
        if is_end and stream_id not in self._read:
            octets = data
        else:
            read = self._read.setdefault(stream_id, bytearray())
            read += data
            if not is_end:
                if len(read) > _LENGTH and len(read) > _LENGTH + int.from_bytes(read[:_LENGTH], "big"):
                    self._fault()
                return
            octets = bytes(self._read.pop(stream_id))
        query = octets[_LENGTH:]
        if len(query) < _HEADER or len(query) != int.from_bytes(octets[:_LENGTH], "big") or query[:2] != b"\0\0":
            self._fault()
            return
        parse(query, len(query), self._question)
        if self._question.keepalive:
            self._fault()
        elif self.engine.may_send(stream_id):  # it may have been cancelled before it was whole
            self.ask(stream_id, query)

    def _fault(self) -> None:
        self.refuse("protocol", PROTOCOL_ERROR)


DOQ: Final = Spoken("doq", Doq, 0)
