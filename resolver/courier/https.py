"""DNS over HTTPS (RFC 8484) by HTTP/2: one POST a query, without cookies, without a word about a client.

Rules:
- The id is 0 (RFC 8484 4.1). Only status 200 with application/dns-message is an answer; a redirect is not followed.
- A response above the size of a DNS message, or with a header block above HEADER_OCTETS, is none.
- As many streams are open as the server allows, PIPELINED at most; UNSAID until it has said how many (RFC 9113 6.5.2).
  The stream of a query that nobody waits for any more is cancelled, because it would keep its place. After GOAWAY the
  connection takes no new query, and what the server has not looked at is asked over another one; what it has may still
  be answered (RFC 9113 6.8). h2 does not see that frame: it would take none after it.
- A server that sends MOST_FRAMES without a response that ends a query loses the connection.
- Of a server's settings those that HTTP/2 has are kept, and of the streams that have ended the last CLOSED_STREAMS.
- An answer that a cache of HTTP has kept has its TTLs lowered by its Age (RFC 8484 5.1).
"""

from contextlib import suppress
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error, StreamClosedError
from h2.settings import SettingCodes, Settings

from resolver.courier.age import MOST_S, aged
from resolver.courier.connection import PIPELINED, Connection, Flight, Owner
from resolver.courier.trust import Trust
from resolver.query.courier_frames import LARGEST_MESSAGE, Reason
from resolver.query.courier_frames import Settings as ServerSettings

HEADER_OCTETS: Final = 16_384
DNS: Final = "application/dns-message"
UNSAID: Final = 100
CLOSED_STREAMS: Final = 1024
MOST_FRAMES: Final = 4096
"""More than all answers at once consist of, from a server that cuts them into pieces of 4 KiB."""
_GOAWAY: Final = 7
_FRAME_HEADER: Final = 9
_GOAWAY_OCTETS: Final = range(8, 2**14 + 1)
_STREAM: Final = 2**31 - 1
_SETTING_CODES: Final = frozenset(SettingCodes)
_PORT: Final = 443
_OK: Final = 200
_HEADER: Final = 12
_AGE_DIGITS: Final = 10
_LENGTH_DIGITS: Final = 5


class _Response:
    """A response so far. age_s: for how long a cache of HTTP has kept it."""

    __slots__ = ("age_s", "octets")

    def __init__(self, age_s: int) -> None:
        self.age_s = age_s
        self.octets = bytearray()


class Known(Settings):
    """The server's settings: those that HTTP/2 has. h2 would keep each other one that a server makes up."""

    def __setitem__(self, key: SettingCodes | int, value: int) -> None:
        if key in _SETTING_CODES:
            super().__setitem__(key, value)


class Frames:
    """Cuts what a server sends into frames, and takes GOAWAY out of it.

    count: the frames that have begun. last: the last stream that the server answers, as GOAWAY says.
    """

    def __init__(self) -> None:
        self.count = 0
        self.last = _STREAM
        self._left = 0
        self._held = b""

    def without_goaway(self, data: bytes) -> bytes:
        """Return what came, without frames of GOAWAY; one that is not whole yet waits, as does part of a header."""
        if self._held:
            data = self._held + data
        kept, begin, at, size = [], 0, self._left, len(data)
        while at + _FRAME_HEADER <= size:
            after = at + _FRAME_HEADER + int.from_bytes(data[at : at + 3])
            if data[at + 3] == _GOAWAY and after - at - _FRAME_HEADER in _GOAWAY_OCTETS:
                if after > size:
                    break
                self.last = min(self.last, int.from_bytes(data[at + 9 : at + 13]) & _STREAM)
                kept.append(data[begin:at])
                begin = after
            self.count += 1
            at = after
        end = min(at, size)
        self._left, self._held = at - end, data[end:]
        return b"".join((*kept, data[begin:end]))


class _Http(H2Connection):
    MAX_CLOSED_STREAMS = CLOSED_STREAMS


class Https(Connection):
    """One connection of HTTP/2."""

    def __init__(self, owner: Owner, settings: ServerSettings, trust: Trust) -> None:
        super().__init__(owner, settings, trust)
        server = settings.server
        self._headers = (
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", server.name if server.port == _PORT else f"{server.name}:{server.port}"),
            (":path", server.path),
            ("accept", DNS),
            ("content-type", DNS),
        )
        self._http = _Http(H2Configuration(client_side=True))
        self._frames = Frames()
        self._http.remote_settings = Known(client=False)
        self._http.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: LARGEST_MESSAGE,
                SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_OCTETS,
            },
        )
        # h2 applies it when the server has confirmed a change of our settings; these are our first ones.
        self._http.decoder.max_header_list_size = HEADER_OCTETS
        self._responses: dict[int, _Response] = {}
        self._held: list[Flight] = []
        self._streams = UNSAID

    @property
    def load(self) -> int:
        """The number of queries on it (connection.Connection)."""
        return super().load + len(self._held)

    @property
    def most(self) -> int:
        """The number of streams that the server allows (connection.Connection)."""
        return self._streams

    def opened(self) -> None:
        """Send the preface and our settings (connection.Connection)."""
        self._http.initiate_connection()
        self.write(self._http.data_to_send())

    def begin(self, flight: Flight) -> None:
        """Send a query, or hold it until the server lets us send so much (connection.Connection)."""
        query = b"\0\0" + flight.padded[2:]
        try:
            stream = self._http.get_next_available_stream_id()
            if self._http.outbound_flow_control_window < len(query) or len(self._responses) >= self._streams:
                self._held.append(flight)
                return
            self._http.send_headers(stream, (*self._headers, ("content-length", str(len(query)))))
            self._http.send_data(stream, query, end_stream=True)
        except H2Error:
            # It takes no further stream: the server goes, or all ids of streams are used.
            self._held.append(flight)
            self._leave_held()
            self.retire()
            return
        self.flights[stream] = flight
        self._responses[stream] = _Response(0)
        self.write(self._http.data_to_send())

    def forget(self, flight: Flight) -> None:
        """Wait no longer for an answer to this query (connection.Connection)."""
        if flight in self._held:
            self._held.remove(flight)
        super().forget(flight)

    def leave(self, identity: int) -> None:
        """Cancel a query that nobody waits for any more: its stream counts as open (connection.Connection)."""
        self._responses.pop(identity, None)
        # The server may have ended the stream, or the connection.
        with suppress(H2Error):
            self._http.reset_stream(identity, ErrorCodes.CANCEL)
            self.write(self._http.data_to_send())
            self.flush_soon()
        self._begin_held()

    def end(self, reason: Reason, detail: int = 0) -> None:
        """Close the connection, and give its queries back (connection.Connection)."""
        self._waiting += self._held
        self._held = []
        super().end(reason, detail)

    def received(self, data: bytes) -> None:
        """Take what the server has sent (connection.Connection)."""
        frames = self._frames
        last = frames.last
        try:
            for event in self._http.receive_data(frames.without_goaway(data)):
                self._take(event)
            if not self._over:
                self.write(self._http.data_to_send())
        except H2Error:
            self.end(Reason.GARBLED)
        if frames.count > MOST_FRAMES:
            self.end(Reason.FLOOD)
        elif frames.last < last and not self._over:
            self._take_goaway(frames.last)

    def _take(self, event: Event) -> None:
        if isinstance(event, ResponseReceived):
            self._take_headers(event)
        elif isinstance(event, DataReceived):
            self._take_data(event)
        elif isinstance(event, StreamEnded):
            self._take_end(event.stream_id)
        elif isinstance(event, StreamReset):
            self._responses.pop(event.stream_id, None)
            if event.error_code == ErrorCodes.REFUSED_STREAM:
                self.give_back(event.stream_id)
            else:
                self.refuse(event.stream_id, Reason.GARBLED)
        elif isinstance(event, RemoteSettingsChanged):
            self._streams = max(1, min(PIPELINED, self._http.remote_settings.max_concurrent_streams))
            self._begin_held()
        elif isinstance(event, WindowUpdated):
            self._begin_held()

    def _take_headers(self, event: ResponseReceived) -> None:
        headers = {name: value.decode("latin-1") for name, value in event.headers}
        said = headers.get(b":status", "")
        status = int(said) if said.isdecimal() else 0
        kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
        if 300 <= status < 400:
            self._drop(event.stream_id, Reason.REDIRECTED, status)
        elif status != _OK:
            self._drop(event.stream_id, Reason.STATUS, status)
        elif len(size := headers.get(b"content-length", "0")) > _LENGTH_DIGITS or int(size) > LARGEST_MESSAGE:
            self._drop(event.stream_id, Reason.LARGE)
        elif kind != DNS or headers.get(b"content-encoding", "identity") != "identity":
            self._drop(event.stream_id, Reason.CONTENT)
        elif event.stream_id in self._responses:
            age = headers.get(b"age", "0")
            # What is no number, or too long for one, is older than any TTL.
            is_short = age.isascii() and age.isdecimal() and len(age) < _AGE_DIGITS
            self._responses[event.stream_id].age_s = int(age) if is_short else MOST_S

    def _take_data(self, event: DataReceived) -> None:
        response = self._responses.get(event.stream_id)
        if event.flow_controlled_length:
            self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if response is None:
            return
        response.octets += event.data
        if len(response.octets) > LARGEST_MESSAGE:
            self._drop(event.stream_id, Reason.LARGE)

    def _take_end(self, stream: int) -> None:
        response = self._responses.pop(stream, None)
        if response is not None and stream in self.flights:
            self._frames.count = 0
            try:
                if len(response.octets) < _HEADER:
                    raise ValueError("shorter than a header")
                message = aged(bytes(response.octets), response.age_s)
            except ValueError:
                self.refuse(stream, Reason.CONTENT)
            else:
                self.answer(stream, message)
        self._begin_held()

    def _take_goaway(self, last: int) -> None:
        self._leave_held()
        for stream in [one for one in self.flights if one > last]:
            self._responses.pop(stream, None)
            self.give_back(stream)
        self.retire()

    def _drop(self, stream: int, reason: Reason, detail: int = 0) -> None:
        """Fail a query, and let the server send no more of its response."""
        if self._responses.pop(stream, None) is not None:
            self._frames.count = 0
            self.refuse(stream, reason, detail)
            # All of the response may be there already.
            with suppress(StreamClosedError):
                self._http.reset_stream(stream, ErrorCodes.CANCEL)

    def _begin_held(self) -> None:
        held, self._held = self._held, []
        for flight in held:
            self.begin(flight)

    def _leave_held(self) -> None:
        held, self._held = self._held, []
        for flight in held:
            flight.on.remove(self)
            self._owner.returned(self, flight)
