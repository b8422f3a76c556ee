"""An upstream for attacks: fast, in a thread of its own, and it does what the first label of a name says.

Rules:
- `silent`: nothing. `slow300`: the answer after 300 ms, or another number. `hang`: TC=1 over UDP, nothing over TCP.
  `big`: TC=1 over UDP, the answer over TCP. Every other name: the answer at once.
- Connections are read whole at once and answered in any order, as RFC 7766 wants it.
- `forge_errors` sends the ICMP error of a closed port, from an address of its own, to our sockets towards
  an upstream. The kernel believes it; raw sockets need root.
"""

import asyncio
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.journeys.processes import REAL
from tests.journeys.running import HOST

_SLOW = re.compile(rb"slow(\d+)")
_ANSWER = b"\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4" + socket.inet_aton(REAL)


def _label(query: bytes) -> bytes:
    return query[13 : 13 + query[12]].lower()


def _reply(query: bytes, *, truncated: bool) -> bytes:
    end = 12
    while query[end]:
        end += query[end] + 1
    flags = b"\x83\x80" if truncated else b"\x81\x80"
    head = query[:2] + flags + b"\0\1" + (b"\0\0" if truncated else b"\0\1") + bytes(4) + query[12 : end + 5]
    return head if truncated else head + _ANSWER


class Hostile:
    """The upstream. seen: how often each first label up to its dash arrived, by transport; labels: all that arrived."""

    def __init__(self) -> None:
        self.port = 0
        self.seen: Counter[tuple[str, str]] = Counter()
        self.labels: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._udp: asyncio.DatagramTransport | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def count(self, word: str) -> int:
        """How many datagrams asked for names that begin with this word."""
        return self.seen[word, "udp"]

    @contextmanager
    def running(self) -> Iterator["Hostile"]:
        """Serve in a thread."""
        tcp = self._loop.run_until_complete(self._open())
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.run_until_complete(self._close(tcp))
            self._loop.close()

    async def _open(self) -> asyncio.Server:
        for _ in range(50):
            tcp = await self._loop.create_server(lambda: _Stream(self), HOST, 0)
            self.port = tcp.sockets[0].getsockname()[1]
            try:
                self._udp, _ = await self._loop.create_datagram_endpoint(
                    lambda: _Datagrams(self), local_addr=(HOST, self.port)
                )
            except OSError:
                tcp.close()
                continue
            return tcp
        raise OSError("no port is free for both transports")

    async def _close(self, tcp: asyncio.Server) -> None:
        assert self._udp
        self._udp.close()
        tcp.close()
        pending = asyncio.all_tasks() - {asyncio.current_task()}
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    def note(self, query: bytes, transport: str) -> bytes:
        """Count a query, and return its first label."""
        label = _label(query)
        self.labels.add(label.decode(errors="replace"))
        self.seen[label.partition(b"-")[0].decode(errors="replace"), transport] += 1
        return label


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, hostile: Hostile) -> None:
        self._hostile = hostile

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # a datagram transport
        self._transport = transport

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        label = self._hostile.note(data, "udp")
        if label.startswith(b"silent"):
            return
        reply = _reply(data, truncated=label.startswith((b"hang", b"big")))
        slow = _SLOW.match(label)
        if slow:
            asyncio.get_running_loop().call_later(int(slow[1]) / 1000, self._transport.sendto, reply, peer)
        else:
            self._transport.sendto(reply, peer)


class _Stream(asyncio.Protocol):
    def __init__(self, hostile: Hostile) -> None:
        self._hostile = hostile
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= 2:
            end = 2 + int.from_bytes(self._received[:2], "big")
            if len(self._received) < end:
                return
            query = bytes(self._received[2:end])
            del self._received[:end]
            if not self._hostile.note(query, "tcp").startswith((b"hang", b"silent")):
                reply = _reply(query, truncated=False)
                self._transport.write(len(reply).to_bytes(2, "big") + reply)


def prefix(number: int) -> str:
    """An address of a client prefix of its own."""
    return f"127.1.{number >> 8}.{number & 255}"


@contextmanager
def clients(count: int, port: int) -> Iterator[list[socket.socket]]:
    """Sockets of so many client prefixes, connected to the service."""
    sockets = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(count)]
    try:
        for number, one in enumerate(sockets):
            one.bind((prefix(number), 0))
            one.connect((HOST, port))
            one.setblocking(False)
        yield sockets
    finally:
        for one in sockets:
            one.close()


def forge_errors(upstream: int) -> int:
    """Send one port unreachable (RFC 792) to each UDP socket that is connected to this port; return their number."""
    ports = []
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        local, remote = line.split()[1:3]
        if int(remote.partition(":")[2], 16) == upstream:
            ports.append(int(local.partition(":")[2], 16))
    here = socket.inet_aton(HOST)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        for port in ports:
            udp = struct.pack("!HHHH", port, upstream, 60, 0)
            ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 80, 0, 0, 64, 17, 0, here, here)
            body = ip + udp
            packet = struct.pack("!BBHI", 3, 3, _checksum(b"\3\3\0\0\0\0\0\0" + body), 0) + body
            raw.sendto(packet, (HOST, 0))
    return len(ports)


def _checksum(data: bytes) -> int:
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
