"""Queries over UDP: sockets of our own, drained in batches, so that the loop wakes once for many datagrams.

Rules:
- Nobody is answered at port 0. Where there is an answer it goes to who sent, from the address that was asked.
- From whom `trusted` trusts, each datagram begins with a PROXY header that names the client; without it the datagram
  is dropped. From anybody else a header is a malformed query like others.
- No datagram is larger than what is read of one, so none is judged by half of it.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from resolver.config.values import Endpoint, address_octets
from resolver.core.proxy import Proxied, read
from resolver.query import accept_sockets
from resolver.query.accept_sockets import Receiving
from resolver.query.query import Answering, Reply
from resolver.query.transport import Transport

BATCH = 64
LARGEST = 65535


class Datagrams:
    """The UDP side of the listening addresses.

    dropped: told the reason (core.codes) of each datagram that is dropped here. `trusted` tells of an address (16
    octets) whether it is a load balancer's; None where there are none. It may be replaced at any time.
    """

    def __init__(self, answer: Answering, dropped: Callable[[str], None]) -> None:
        self.trusted: Callable[[bytes], bool] | None = None
        self._answer = answer
        self._dropped = dropped
        self._proxied = Proxied()
        self._sockets: list[Receiving] = []
        self._waiting: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> list[Endpoint]:
        """Where it listens; with the port that was drawn where the configuration says 0."""
        return [Endpoint(*one.getsockname()[:2]) for one in self._sockets]

    def open(self, listen: Sequence[Endpoint], given: Sequence[socket.socket] = ()) -> None:
        """Bind every address, or take its UDP socket of `given`, and start to answer.

        OSError, with nothing left open, where one cannot be bound; ValueError where a given one stands for none.
        """
        loop = asyncio.get_running_loop()
        self._sockets = accept_sockets.datagrams(listen, given)
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

    def _drain(self, one: Receiving) -> None:
        trusted = self.trusted
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
            client = address_octets(peer[0])
            if trusted is not None and trusted(client):
                size = read(packet, len(packet), self._proxied)
                if size <= 0:
                    self._dropped("proxy")
                    continue
                packet = packet[size:]
                if not self._proxied.local:
                    client = bytes(self._proxied.client)
            reply = self._answer(packet, client, Transport.UDP)
            if isinstance(reply, bytes):
                _send(one, reply, peer)
            elif reply is not None:
                task = asyncio.ensure_future(self._later(one, reply, peer))
                self._waiting.add(task)
                task.add_done_callback(self._waiting.discard)

    async def _later(self, one: Receiving, awaited: Awaitable[Reply], peer: Any) -> None:
        reply = await awaited
        if reply is not None:
            _send(one, reply, peer)


def _send(one: Receiving, reply: bytes, peer: Any) -> None:
    try:
        one.sendto(reply, peer)
    except OSError:
        # A full buffer or an unreachable client: UDP loses, and the client asks again.
        return
