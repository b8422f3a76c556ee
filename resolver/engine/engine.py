"""The UDP side of the listening addresses on threads of their own: starts and ends them, and takes what they leave.

Rules:
- It has the face of query.accept_datagram's Datagrams: the service opens, starts, drains and closes either in the same
  way.
- Sockets are opened before privileges are given up, threads are started after: the kernel keeps privileges by thread.
- Each thread has a socket of its own for each address (SO_REUSEPORT); the kernel spreads the clients over them. A
  socket of a socket unit or one bound late is one for all threads, and so is one of an earlier process if this one may
  not bind beside it.
- The first socket of an address is bound alone: a second service on the same port is refused, as without threads.
- A query that a thread left is finished here, by the steps of query.answer, and answered from the address it came to.
  One that waited longer than a client does is dropped as overload.
- What a thread may forward by itself is in the route that query.forward_relay publishes; without one, nothing. The
  loop's relay, for the batches of edges, has the same route, and is closed by its user.
- The end: all but the first socket of each address get nothing more, and their threads read what they have; then
  the threads end, what they left is taken, and sockets stay open until all that is answered. So nothing is lost where
  another process reads the first sockets.
"""

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from resolver.config.values import Endpoint, sockaddr
from resolver.core import codes
from resolver.core.crash_shape import Shape
from resolver.core.exchange import Route
from resolver.core.lane import Lane, Tables
from resolver.engine import relay, shared, udp
from resolver.engine.loop_relay import LoopRelay
from resolver.engine.threads import threads_of
from resolver.query import accept_sockets
from resolver.query.accept_sockets import Missed, Receiving
from resolver.query.transport import Reply, Transport

Handed = tuple[int, int, bytes] | None
"""Of a query that a thread left: which upstream it has asked, how many milliseconds ago, and the answer, if any."""
Resuming = Callable[[bytes, bytes, Transport, int, int, Handed], Reply | Awaitable[Reply]]
"""Takes a query that a thread left (its octets, client, transport, outcome and found) and goes on with it."""

BATCH: Final = 64
PATIENCE_MS: Final = 5000
RELEASE_S: Final = 0.05
LEAST_WINDOW_S: Final = 1.0
# A fault of compiled code must reach the thread in which it happens.
_FAULTS: Final = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}


class Engine:
    """The UDP side of the listening addresses.

    resume: answers what a thread left. dropped: called with the reason of each query that is dropped here. tables:
    those in force. threads: how many; 0: one for each core. shape: returns the numbers that a crash report shows of the
    thread that calls it. forwards: the upstreams that a thread may be allowed to ask, by number, and the upper bounds,
    in seconds, of the buckets that count their answers. relays: of the threads, and the loop's if it has one; they have
    the figures of what was forwarded. releasing: set while a thread may still use old tables. taking: called
    before what was left is taken. late: called with an answer that came after its queries were left: its question's
    key, then as for those.
    """

    def __init__(
        self,
        resume: Resuming,
        dropped: Callable[[str], None],
        tables: Tables,
        threads: int,
        *,
        shape: Callable[[], Shape],
        forwards: tuple[Sequence[Endpoint], Sequence[float]] = ((), ()),
    ) -> None:
        self._resume = resume
        self._dropped = dropped
        self._shape = shape
        bounds_us = [int(bound * 1_000_000) for bound in forwards[1]]
        self._shared = shared.Shared(tables, [_address(one) for one in forwards[0]], bounds_us)
        self.taking: Callable[[], None] = _nothing
        self.late: Callable[[bytes, int, int, bytes], None] = _nothing
        over = Transport.UDP
        self.carriers = [
            udp.Carrier(self._shared, number, over.least, over.most) for number in range(threads_of(threads))
        ]
        self.relays = [one.relay for one in self.carriers]
        self._loop_relay: LoopRelay | None = None
        self._threads: list[threading.Thread] = []
        self._sockets: list[Receiving] = []
        self._more: list[Receiving] = []
        self._waiting: set[asyncio.Task[None]] = set()
        self.releasing: asyncio.TimerHandle | None = None
        self._marks = [(time.monotonic_ns(), 0) for _ in self.carriers]
        self._busy = [0] * len(self.carriers)

    @property
    def addresses(self) -> list[Endpoint]:
        """The bound addresses; port 0 of the configuration is replaced by the port that the kernel chose."""
        return [accept_sockets.bound_to(one) for one in self._sockets]

    @property
    def reachable(self) -> list[Endpoint]:
        """The bound addresses that this host has."""
        return [accept_sockets.bound_to(one) for one in self._sockets if accept_sockets.is_here(one)]

    @property
    def sockets(self) -> Sequence[Receiving]:
        """The sockets for the next process: the first of each address, which gets what comes for the others too."""
        return self._sockets

    @property
    def counters(self) -> list[Any]:
        """The counters of each thread (the table of core.codes), which only that thread writes."""
        return [one.lane.counters for one in self.carriers]

    def errors(self) -> int:
        """Return the number of steps that failed on the threads since the start."""
        return sum(one.lane.errors + one.failures for one in self.carriers)

    def runs(self) -> bool:
        """Return whether every thread runs."""
        return all(one.is_alive() for one in self._threads)

    def use(self, tables: Tables) -> None:
        """Put tables in force from each thread's next batch on."""
        self._shared.use(tables)
        self._release()

    def use_route(self, route: Route) -> None:
        """Let each thread forward by this route from its next batch on, and the loop's relay from now on."""
        self._shared.use_route(route)
        if self._loop_relay is not None:
            self._loop_relay.use_route(route)
        self._release()

    @property
    def waiting(self) -> int:
        """The number of queries that wait for an upstream on the threads, and at the loop's relay."""
        return sum(one.waiting for one in self.relays)

    def loop_relay(self, lane: Lane, properties: Sequence[int]) -> LoopRelay:
        """Return a relay for the batches of the event loop, which may forward what a thread may; its user closes it.

        To be called once, before anybody reads `relays`. lane: the loop's own. properties: see LoopRelay.
        """
        self._loop_relay = LoopRelay(lane, self._shared.servers, self._shared.bounds_us, properties)
        self.relays.append(self._loop_relay.relay)
        return self._loop_relay

    def _release(self) -> None:
        if self.releasing:
            self.releasing.cancel()
        self.releasing = None
        if self._shared.release():
            self.releasing = asyncio.get_running_loop().call_later(RELEASE_S, self._release)

    def busy(self) -> list[int]:
        """Return how busy each thread was since the last call, in hundredths."""
        for number, one in enumerate(self.carriers):
            before, used = self._marks[number]
            now, uses = time.monotonic_ns(), one.busy_ns()
            if now - before >= LEAST_WINDOW_S * 1e9:
                self._busy[number] = min(100, 100 * max(0, uses - used) // (now - before))
                self._marks[number] = now, uses
        return list(self._busy)

    def open(
        self, listen: Sequence[Endpoint], given: Sequence[socket.socket] = (), missed: list[Missed] | None = None
    ) -> None:
        """Bind every address for each thread, or take its socket from `given`; see Datagrams.open."""
        self._sockets = accept_sockets.datagrams(listen, given, missed)
        handed = {one.fileno() for one in given}
        try:
            for one in self._sockets:
                more = self._beside(one, handed=one.fileno() in handed)
                self._more += more
                for number, carrier in enumerate(self.carriers):
                    own = more[number - 1] if more and number else one
                    carrier.add(own.fileno(), own in more)
        except OSError:
            self._end()
            raise

    def _beside(self, one: Receiving, *, handed: bool) -> list[Receiving]:
        """Return a socket for each thread but the first, none where they must share one that was handed over."""
        count = len(self.carriers) - 1
        if not handed:
            return accept_sockets.beside(one, count)
        if accept_sockets.may_have_others(one):
            with contextlib.suppress(PermissionError):
                return accept_sockets.beside(one, count)
        return []

    def add(self, one: socket.socket) -> None:
        """Answer on one more bound socket, on every thread."""
        accept_sockets.prepare(socket.SOCK_DGRAM, one)
        receiving = accept_sockets.receiving(one)
        for carrier in self.carriers:
            carrier.add(receiving.fileno(), False)
        self._sockets.append(receiving)

    def start(self) -> None:
        """Start to answer, if that has not been done: threads have the privileges that their starter has then."""
        if self._threads:
            return
        asyncio.get_running_loop().add_reader(self._shared.bell, self._drain)
        for number, one in enumerate(self.carriers):
            thread = threading.Thread(target=self._carry, args=(one,), name=f"udp-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _carry(self, carrier: udp.Carrier) -> None:
        """Run a thread; signals are for the others."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _FAULTS)
        carrier.run(self._shape())

    def close(self) -> None:
        """Take no more queries; `drained` waits for the answers to those in flight."""
        for one in self._more:
            accept_sockets.leave(one)
        self._shared.end()

    async def drained(self) -> None:
        """Wait until all queries in flight are answered, then close the sockets."""
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        if self._threads:
            asyncio.get_running_loop().remove_reader(self._shared.bell)
            while self._take():
                pass
        self._threads = []
        if self._waiting:
            await asyncio.wait(self._waiting)
        self._end()

    def _end(self) -> None:
        if self.releasing:
            self.releasing.cancel()
        for one in (*self._sockets, *self._more):
            one.close()
        self._sockets, self._more = [], []
        for carrier in self.carriers:
            carrier.close()
        self._shared.close()

    def _drain(self) -> None:
        """Take what the threads left, up to BATCH queries of each, so that the loop's other work has its turn."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._shared.bell)
        if self._take():
            os.eventfd_write(self._shared.bell, 1)

    def _take(self) -> bool:
        """Go on with what the threads left; return whether there may be more."""
        self.taking()
        more = False
        for carrier in self.carriers:
            left = carrier.left(BATCH)
            more = more or len(left) == BATCH
            for packet, client, outcome, found, waited_ms, origin, handed in left:
                if handed and not packet:
                    # After the tasks that begin to wait for it now.
                    asyncio.get_running_loop().call_soon(self.late, client, *handed)
                elif waited_ms <= PATIENCE_MS:
                    self._go_on(carrier, origin, self._resume(packet, client, Transport.UDP, outcome, found, handed))
                elif outcome != codes.OUTCOME_REPLY:
                    self._dropped("overload")
        return more

    def _go_on(self, carrier: udp.Carrier, origin: bytes, reply: Reply | Awaitable[Reply]) -> None:
        if isinstance(reply, bytes):
            self._send(carrier, origin, reply)
        elif reply is not None:
            task = asyncio.get_running_loop().create_task(self._later(carrier, origin, reply))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _later(self, carrier: udp.Carrier, origin: bytes, awaited: Awaitable[Reply]) -> None:
        reply = await awaited
        if reply is not None:
            self._send(carrier, origin, reply)

    def _send(self, carrier: udp.Carrier, origin: bytes, reply: bytes) -> None:
        if not carrier.send(origin, reply):
            self._dropped("unsent")


def _address(one: Endpoint) -> bytes:
    """Return what a thread connects to; no address, which no socket takes, if its interface is not there."""
    with contextlib.suppress(OSError):
        return relay.address_of(sockaddr(one))
    return bytes(16)


def _nothing(*_: object) -> None:
    """Do nothing; used while nobody watches."""
