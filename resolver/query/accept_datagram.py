"""Queries over UDP: sockets of our own, drained in batches, so that the loop wakes once for many datagrams."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from resolver.values import Endpoint

BATCH = 64
LARGEST = 4096
RECEIVE_OCTETS = 4 * 2**20

Reply = bytes | None
Answering = Callable[[bytes, bytes, bool], Reply | Awaitable[Reply]]
"""(query, client in 16 octets, whether by stream) to a reply, None for silence, or either to be awaited."""

MAPPED = b"\0" * 10 + b"\xff\xff"


def client_octets(host: str) -> bytes:
    """Return an address in 16 octets, IPv4 mapped (RFC 4291 2.5.5.2)."""
    if ":" not in host:
        return MAPPED + socket.inet_pton(socket.AF_INET, host)
    return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])


class Datagrams:
    """The UDP side of the listening addresses."""

    def __init__(self, answer: Answering, dropped: Callable[[str], None]) -> None:
        self._answer = answer
        self._dropped = dropped
        self._sockets: list[socket.socket] = []
        self._waiting: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> list[Endpoint]:
        """Where it listens; with the port that was drawn where the configuration says 0."""
        return [Endpoint(*one.getsockname()[:2]) for one in self._sockets]

    def open(self, listen: Sequence[Endpoint]) -> None:
        """Bind every address and start to answer; raise OSError, with nothing left open, where one cannot be bound."""
        loop = asyncio.get_running_loop()
        try:
            for endpoint in listen:
                self._sockets.append(_bound(endpoint))
        except OSError:
            self._end()
            raise
        for one in self._sockets:
            loop.add_reader(one.fileno(), self._drain, one)

    def close(self) -> None:
        """Take no more queries; those on their way are still answered by `drained`."""
        loop = asyncio.get_running_loop()
        for one in self._sockets:
            loop.remove_reader(one.fileno())

    async def drained(self) -> None:
        """Wait for the answers on their way, then close the sockets."""
        if self._waiting:
            await asyncio.wait(self._waiting)
        self._end()

    def _end(self) -> None:
        for one in self._sockets:
            one.close()
        self._sockets = []

    def _drain(self, one: socket.socket) -> None:
        for _ in range(BATCH):
            try:
                packet, peer = one.recvfrom(LARGEST)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # What a datagram sent before came back with (an unreachable port); the next read is a new one.
                continue
            if peer[1] == 0:
                self._dropped("port_zero")
                continue
            reply = self._answer(packet, client_octets(peer[0]), False)
            if isinstance(reply, bytes):
                _send(one, reply, peer)
            elif reply is not None:
                task = asyncio.ensure_future(self._later(one, reply, peer))
                self._waiting.add(task)
                task.add_done_callback(self._waiting.discard)

    async def _later(self, one: socket.socket, awaited: Awaitable[Reply], peer: Any) -> None:
        reply = await awaited
        if reply is not None:
            _send(one, reply, peer)


def _send(one: socket.socket, reply: bytes, peer: Any) -> None:
    try:
        one.sendto(reply, peer)
    except OSError:
        # A full buffer or an unreachable client: UDP loses, and the client asks again.
        return


def _bound(endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    one = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_OCTETS)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, RECEIVE_OCTETS)
        one.bind((endpoint.host, endpoint.port))
    except OSError:
        one.close()
        raise
    return one
