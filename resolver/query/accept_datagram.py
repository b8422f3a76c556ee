"""Receives queries over UDP in batches, so that the event loop wakes once for many datagrams.

Rules:
- A datagram from port 0 is dropped. An answer goes to the sender, from the address that the query was sent to.
- Each datagram of a load balancer (`trusted`) begins with a PROXY header that names the client; without it the datagram
  is dropped. From any other sender a PROXY header is a malformed query.
- The receive buffer takes the largest datagram, so no query is judged by a part of it.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from resolver.config.values import Endpoint, address_octets
from resolver.core.exchange import Route
from resolver.core.lane import Lane, Tables
from resolver.core.proxy import Proxied, read
from resolver.query import accept_sockets
from resolver.query.accept_sockets import Receiving
from resolver.query.transport import Answering, Reply, Transport, balancers

BATCH = 64
LARGEST = 65535


class Datagrams:
    """The UDP side of the listening addresses.

    It has the face of the compiled engine (engine.engine), on the event loop alone. dropped: called with the reason
    (core.codes) of each datagram that is dropped here. trusted: returns whether an address (16 octets) is a load
    balancer's; None if there are none. counters, relays, waiting, taking, late: of threads, of which there are none.
    """

    counters: Sequence[Any] = ()
    relays: Sequence[Any] = ()
    waiting = 0
    taking: Callable[[], None]
    late: Callable[[bytes, int, int, bytes], None]

    def __init__(self, answer: Answering, dropped: Callable[[str], None]) -> None:
        self.trusted: Callable[[bytes], bool] | None = None
        self.answer = answer
        self._dropped = dropped
        self._proxied = Proxied()
        self._sockets: list[Receiving] = []
        self._waiting: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> list[Endpoint]:
        """The bound addresses; port 0 of the configuration is replaced by the port that the kernel chose."""
        return [accept_sockets.bound_to(one) for one in self._sockets]

    @property
    def sockets(self) -> Sequence[Receiving]:
        """The sockets that take queries."""
        return self._sockets

    @property
    def reachable(self) -> list[Endpoint]:
        """The bound addresses that this host has."""
        return [accept_sockets.bound_to(one) for one in self._sockets if accept_sockets.is_here(one)]

    def open(
        self,
        listen: Sequence[Endpoint],
        given: Sequence[socket.socket] = (),
        missed: list[accept_sockets.Missed] | None = None,
    ) -> None:
        """Bind every address, or take its UDP socket from `given`, and start to answer.

        missed: takes the addresses that cannot be bound; without it OSError (nothing is left open). Raise ValueError
        if a given socket is bound to an address that is not in `listen`.
        """
        loop = asyncio.get_running_loop()
        self._sockets = accept_sockets.datagrams(listen, given, missed)
        for one in self._sockets:
            loop.add_reader(one.fileno(), self.drain, one)

    def start(self) -> None:
        """Do nothing: the event loop answers since `open`."""

    def use(self, tables: Tables) -> None:
        """Take the load balancers of the tables in force; for the rest `answer` has them."""
        self.trusted = balancers(tables.access)

    def use_route(self, route: Route) -> None:
        """Do nothing: `answer` forwards."""

    def loop_relay(self, lane: Lane, properties: Sequence[int]) -> None:
        """Return no relay for the batches of the event loop: `answer` forwards."""

    def errors(self) -> int:
        """Return the number of steps that failed on threads: none."""
        return 0

    def runs(self) -> bool:
        """Return whether every thread runs."""
        return True

    def busy(self) -> list[int]:
        """Return how busy each thread was: there is none."""
        return []

    def add(self, one: socket.socket) -> None:
        """Answer on one more bound socket."""
        accept_sockets.prepare(socket.SOCK_DGRAM, one)
        receiving = accept_sockets.receiving(one)
        self._sockets.append(receiving)
        asyncio.get_running_loop().add_reader(receiving.fileno(), self.drain, receiving)

    def close(self) -> None:
        """Take no more queries; `drained` waits for the answers to those in flight."""
        loop = asyncio.get_running_loop()
        for one in self._sockets:
            loop.remove_reader(one.fileno())

    async def drained(self) -> None:
        """Wait until all queries in flight are answered, then close the sockets."""
        if self._waiting:
            await asyncio.wait(self._waiting)
        self._end()

    def _end(self) -> None:
        for one in self._sockets:
            one.close()
        self._sockets = []

    def drain(self, one: Receiving) -> None:
        """Take what has come at a socket, up to BATCH datagrams, and send what can be answered at once."""
        trusted = self.trusted
        for _ in range(BATCH):
            try:
                packet, peer = one.recvfrom(LARGEST)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # The error of an answer sent earlier (its port was unreachable); read the next datagram.
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
            reply = self.answer(packet, client, Transport.UDP)
            if isinstance(reply, bytes):
                _send(one, reply, peer)
            elif reply is not None:
                task = asyncio.get_running_loop().create_task(self._later(one, reply, peer))
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
        # The buffer is full or the client unreachable: the answer is lost, and the client retries.
        return
