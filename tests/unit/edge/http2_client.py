"""An HTTP/2 client over a connection of a test: `h2`, or frames made by hand."""

import asyncio
from collections import defaultdict
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)

from tests.unit.edge.sides import TlsClient

PATH = b"/dns-query"
DNS = b"application/dns-message"


class Http2Client:
    """status, fields, content: of each response, by stream. ended, reset: streams. gone: the code of a GOAWAY."""

    def __init__(self, client: TlsClient) -> None:
        self.client = client
        as_is = {"validate_outbound_headers": False, "normalize_outbound_headers": False}
        self.h2 = H2Connection(H2Configuration(header_encoding=None, **as_is))
        self.h2.initiate_connection()
        self.status: dict[int, int] = {}
        self.fields: dict[int, dict[bytes, bytes]] = {}
        self.content: defaultdict[int, bytes] = defaultdict(bytes)
        self.ended: set[int] = set()
        self.reset: set[int] = set()
        self.gone: int | None = None
        self.over = False

    def ask(self, query: bytes, *more: tuple[bytes, bytes], ends: bool = True) -> int:
        """POST a query; return its stream. ends: whether its body is whole."""
        stream = self.head(b"POST", PATH, (b"content-type", DNS), *more, ends=False)
        self.h2.send_data(stream, query, end_stream=ends)
        return stream

    def head(self, method: bytes, target: bytes, *more: tuple[bytes, bytes], ends: bool = True) -> int:
        """Begin a request; return its stream."""
        stream: int = self.h2.get_next_available_stream_id()
        place = [(b":scheme", b"https"), (b":authority", b"dns.example.test"), (b":path", target)]
        self.h2.send_headers(stream, [(b":method", method), *place, *more], end_stream=ends)
        return stream

    def push(self, octets: bytes = b"") -> None:
        """Send what there is, and octets made by hand."""
        self.client.writer.write(self.h2.data_to_send() + octets)

    async def until(self, *streams: int) -> None:
        """Read until these streams, or the connection, have ended; with none, until the connection has."""
        self.push()
        async with asyncio.timeout(60):
            while not self.over and not (streams and set(streams) <= self.ended | self.reset):
                await self.read()

    async def read(self) -> None:
        """Take what comes next."""
        try:
            data = await self.client.reader.read(2**16)
        except ConnectionError:
            data = b""
        self.over = not data
        for event in self.h2.receive_data(data):
            self._happened(event)
        self.push()

    def _happened(self, event: Any) -> None:
        match event:
            case ResponseReceived():
                self.fields[event.stream_id] = dict(event.headers)
                self.status[event.stream_id] = int(self.fields[event.stream_id][b":status"])
            case DataReceived():
                self.content[event.stream_id] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case StreamEnded():
                self.ended.add(event.stream_id)
            case StreamReset():
                self.reset.add(event.stream_id)
            case ConnectionTerminated():
                self.gone = int(event.error_code)
