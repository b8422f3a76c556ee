"""Bounds what one QUIC connection may hold: aioquic's state machine, with the limits that it lacks.

Rules:
- No stream of a request is given more room than STREAM_OCTETS, and all streams of a connection together no more than
  WINDOW_OCTETS at a time. aioquic by itself doubles a stream's and a connection's room as soon as half of it is *named*
  by an offset, and reserves memory up to that offset: a client could have it reserve anything with a few octets.
- What a stream takes is given back when the stream ends; of a unidirectional stream, which does not end, as it is read.
- Handshake messages have CRYPTO_OCTETS of each level, beyond which no real one goes.
- There is no early data (0-RTT): tickets do not offer it, and what a client sends all the same is not decrypted
  (RFC 9250 4.5 lets a server refuse it). A query is never replayed.
- A connection stays at the address where it began (RFC 9000 18.2, disable_active_migration).
- The tokens of stateless resets come from outside, so that the process after this one can reset what this one left.

Much of this overrides what is private to aioquic: NEEDED names it, and a version without it is refused.
"""

from collections.abc import Callable
from typing import Any, Final

from aioquic import tls
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import (
    END_STATES,
    QuicConnection,
    QuicConnectionError,
    QuicConnectionState,
    stream_is_unidirectional,
)
from aioquic.quic.events import QuicEvent, StreamDataReceived, StreamReset
from aioquic.quic.packet import QuicErrorCode
from aioquic.quic.stream import QuicStream

STREAM_OCTETS: Final = 2**16 + 2**14
"""A DNS message of 65535 octets, and what frames and fields need around it."""

WINDOW_OCTETS: Final = 2**17
CRYPTO_OCTETS: Final = 2**14

NEEDED: Final = (
    "_handle_crypto_frame",
    "_initialize",
    "_replenish_connection_ids",
    "_serialize_transport_parameters",
    "_update_traffic_key",
    "_write_connection_limits",
    "_write_stream_limits",
)

_DISABLE_ACTIVE_MIGRATION: Final = encode_uint_var(0x0C) + encode_uint_var(0)

if not all(hasattr(QuicConnection, name) for name in NEEDED):
    raise ImportError("this aioquic is not one that can be bounded: install aioquic>=1.7.2,<2")


class Engine(QuicConnection):
    """A server's QUIC connection within bounds.

    original, retried: the connection ids that the client chose first, and that our Retry gave it. streams, uni: how
    many streams the client may have open, of both directions and of one. resets: makes the token of a connection id.
    fetch, store: the tickets (aioquic.tls). Events must be read before anything is sent.
    """

    def __init__(
        self,
        configuration: QuicConfiguration,
        original: bytes,
        retried: bytes,
        *,
        streams: int,
        uni: int,
        resets: Callable[[bytes], bytes],
        fetch: tls.SessionTicketFetcher,
        store: tls.SessionTicketHandler,
    ) -> None:
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original,
            retry_source_connection_id=retried,
            session_ticket_fetcher=fetch,
            session_ticket_handler=store,
        )
        self._resets = resets
        self._given_back = 0
        for limit, most in ((self._local_max_streams_bidi, streams), (self._local_max_streams_uni, uni)):
            limit.value = limit.sent = most
        self._host_cids[0].stateless_reset_token = resets(self.host_cid)

    @property
    def is_established(self) -> bool:
        """Whether the handshake is complete."""
        return self._handshake_complete

    @property
    def has_ended(self) -> bool:
        """Whether a close was sent or received, or the idle timeout is over."""
        return self._state in END_STATES

    @property
    def was_faulted(self) -> bool:
        """Whether we closed: if nobody asked for it, because of what the client sent."""
        return self._state is QuicConnectionState.CLOSING

    def held(self) -> int:
        """Return the octets that streams hold: received and not given back, and answers that are not acknowledged."""
        return self._local_max_data.used - self._given_back + self.unacknowledged()

    def unacknowledged(self) -> int:
        """Return the octets of answers that the client has not acknowledged."""
        return sum(len(stream.sender._buffer) for number, stream in self._streams.items() if number % 4 == 0)

    def may_send(self, stream_id: int) -> bool:
        """Return whether a stream still takes an answer: neither it nor our half of it has ended."""
        stream = self._streams.get(stream_id)
        return stream is not None and not stream.sender.is_finished and stream.sender._reset_error_code is None

    def next_event(self) -> QuicEvent | None:
        """Return the next event, and give back what its stream held; None if there is none."""
        event = super().next_event()
        if isinstance(event, StreamDataReceived):
            if stream_is_unidirectional(event.stream_id):
                self._given_back += len(event.data)
            elif event.end_stream:
                self._given_back += self._streams[event.stream_id].receiver.highest_offset
        elif isinstance(event, StreamReset):
            receiver = self._streams[event.stream_id].receiver
            read = receiver.starting_offset() if stream_is_unidirectional(event.stream_id) else 0
            self._given_back += receiver.highest_offset - read
        return event

    def _handle_crypto_frame(self, context: Any, frame_type: int, buf: Buffer) -> None:
        start = buf.tell()
        if buf.pull_uint_var() + buf.pull_uint_var() > CRYPTO_OCTETS:
            raise QuicConnectionError(QuicErrorCode.CRYPTO_BUFFER_EXCEEDED, frame_type, "too long a handshake")
        buf.seek(start)
        super()._handle_crypto_frame(context, frame_type, buf)

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self.tls._max_early_data = None

    def _update_traffic_key(self, direction: Any, epoch: tls.Epoch, cipher_suite: Any, secret: bytes) -> None:
        if epoch == tls.Epoch.ZERO_RTT:
            self.tls.early_data_accepted = False  # the server's next message says so
            return
        super()._update_traffic_key(direction, epoch, cipher_suite, secret)

    def _serialize_transport_parameters(self) -> bytes:
        return super()._serialize_transport_parameters() + _DISABLE_ACTIVE_MIGRATION

    def _replenish_connection_ids(self) -> None:
        known = len(self._host_cids)
        super()._replenish_connection_ids()
        for one in self._host_cids[known:]:
            one.stateless_reset_token = self._resets(one.cid)

    def _write_connection_limits(self, builder: Any, space: Any) -> None:
        limit = self._local_max_data
        if self._given_back + WINDOW_OCTETS - limit.value >= WINDOW_OCTETS // 2:
            limit.value = self._given_back + WINDOW_OCTETS
        used, limit.used = limit.used, 0  # nothing used, nothing doubled
        try:
            super()._write_connection_limits(builder, space)
        finally:
            limit.used = used

    def _write_stream_limits(self, builder: Any, space: Any, stream: QuicStream) -> None:
        if not stream_is_unidirectional(stream.stream_id or 0) or not stream.max_stream_data_local:
            return
        receiver = stream.receiver
        room = receiver.starting_offset() + STREAM_OCTETS
        if room - stream.max_stream_data_local >= STREAM_OCTETS // 2:
            stream.max_stream_data_local = room
        named, receiver.highest_offset = receiver.highest_offset, 0
        try:
            super()._write_stream_limits(builder, space, stream)
        finally:
            receiver.highest_offset = named
