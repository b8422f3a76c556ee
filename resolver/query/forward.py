"""Asks the upstreams: which one, who else waits for the same answer, and how many may.

Rules:
- A query goes up rebuilt: random id, the question as it came, RD=1, the client's CD and AD, OPT with our payload and
  the client's DO where the client sent OPT. No option of a client's goes up (client subnets among them).
- The server with the fewest queries outstanding is asked, ties by latency; one that is out is not. Where all are out,
  LAST_HOPES exchanges at a time try nevertheless, the others fail at once.
- Identical questions in flight share one exchange; at most MAX_IN_FLIGHT are open, and at most MAX_WAITING queries
  wait for them: beyond that nobody waits. Where all are open the oldest gives way, if it had LEAST_LIFE_S: names that
  nobody answers, asked for on purpose, must not keep out the others.
- What happens within an exchange stands in forward_exchange, which servers are up in forward_health.
"""

import asyncio
import contextlib
import ipaddress
import socket
import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resolver.config.values import Endpoint
from resolver.core import codes
from resolver.core.question import Question
from resolver.core.reply import MAX_UDP_OCTETS
from resolver.query.forward_datagram import draw
from resolver.query.forward_exchange import Exchange, Outcome, Unanswered, give_up, load
from resolver.query.forward_health import Health, Probes
from resolver.query.forward_server import FAILURE_REASONS, Server
from resolver.query.forward_wheel import Wheel

__all__ = ["FAILURE_REASONS", "Forward", "Outcome", "Overloaded", "Server", "Unanswered", "build_query", "local_loops"]

MAX_IN_FLIGHT = 8192
MAX_WAITING = 2 * MAX_IN_FLIGHT
LAST_HOPES = 32
LEAST_LIFE_S = 0.5

_NO_OPT = b"\0"
_ONE_OPT = b"\1"
_OPT = b"\0\0\x29" + MAX_UDP_OCTETS.to_bytes(2, "big") + b"\0\0"


class Overloaded(Exception):
    """As many exchanges are in flight, or queries wait for them, as there may be."""


class _Patience:
    """Ends the wait of one who waits for an exchange (Waking)."""

    __slots__ = ("_waiter",)

    def __init__(self, waiter: asyncio.Future[bytes]) -> None:
        self._waiter = waiter

    def wake(self, now: float) -> None:
        """The patience is over."""
        if not self._waiter.done():
            give_up(self._waiter, TimeoutError())


class Forward:
    """Exchanges with the upstreams `endpoints` within `timeout_s` each.

    bounds_s: upper bounds of the buckets in which exchanges are counted by duration; `buckets` has one more for the
    rest; `sum_us` is all durations in microseconds. case_randomization: draw the case of each letter sent up (0x20).
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        timeout_s: float,
        bounds_s: Sequence[float],
        case_randomization: bool = False,
    ) -> None:
        self._wheel = Wheel()
        # One that is named twice is one server: its health and its failures are told once.
        self.servers = tuple(Server(one, self._wheel, timeout_s) for one in dict.fromkeys(endpoints))
        self.buckets = [0] * (len(bounds_s) + 1)
        self.sum_us = 0
        self.timeout_s = timeout_s
        self.case_randomization = case_randomization
        self._bounds_s = tuple(bounds_s)
        self._shared: dict[tuple[int, int], Exchange] = {}
        self._waiting = 0
        self._hopes = 0
        self._started = False
        self._probes = Probes()
        self.health = tuple(Health(server, self._probes, self.choose) for server in self.servers)
        self._up = self.servers

    @property
    def in_flight(self) -> int:
        """The number of exchanges that have not ended."""
        return len(self._shared)

    @property
    def waiting(self) -> int:
        """The number of queries that wait for them."""
        return self._waiting

    def exchange(
        self,
        packet: bytes,
        question: Question,
        digest: tuple[int, int],
        outcome: Outcome,
        patience_s: float | None = None,
    ) -> asyncio.Future[bytes]:
        """Return the upstream's reply to the client's query `packet`, to be awaited.

        digest: what identical questions share. outcome: called once an exchange, whoever shares it, before anybody who
        waits is told; not at all where the exchange does not begin, or ends by `close`. After `patience_s` this caller
        gets a TimeoutError, and the exchange goes on. Raises Overloaded or Unanswered, at once or when awaited.
        """
        if self._waiting >= MAX_WAITING:
            raise Overloaded
        now = time.monotonic()
        exchange = self._shared.get(digest)
        if exchange is None:
            exchange = self._new(packet, question, digest, outcome, now)
            waiter = self._wait(exchange, patience_s, now)
            self._start(exchange)
            return waiter
        return self._wait(exchange, patience_s, now)

    def refresh(self, packet: bytes, question: Question, digest: tuple[int, int], outcome: Outcome) -> None:
        """Start the same exchange for nobody, unless it is in flight, there is no room for it, or nobody is up."""
        if digest not in self._shared and len(self._shared) < MAX_IN_FLIGHT and self._up:
            self._start(self._new(packet, question, digest, outcome, time.monotonic()))

    def is_probe(self, question: Question) -> bool:
        """Tell whether a query that came to us is a probe of ours; then its server leads back to us, which is noted."""
        return self._probes.seen(question)

    async def close(self) -> None:
        """End what is in flight, cancel who waits and close all sockets."""
        for health in self.health:
            await health.close()
        for exchange in self._shared.values():
            exchange.cancel()
        self._shared = {}
        self._waiting = 0
        self._wheel.close()
        tasks = [task for server in self.servers for task in server.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in self.servers:
            server.noted = lambda failed: None
            server.datagrams.close()

    # What an exchange asks of us (forward_exchange.Upstreams).

    def candidates(self) -> Sequence[Server]:
        """Return the servers that are up, or all where none is."""
        return self._up or self.servers

    def any_up(self) -> bool:
        """Tell whether a server is up."""
        return bool(self._up)

    def ended(self, exchange: Exchange, reply: bytes | None) -> None:
        """Count an exchange that ended, and share it no more."""
        self._shared.pop(exchange.digest, None)
        self._waiting -= len(exchange.waiting)
        self._hopes -= exchange.hopeless
        if reply is not None:
            seconds = time.monotonic() - exchange.started
            self.buckets[bisect_left(self._bounds_s, seconds)] += 1
            self.sum_us += int(seconds * 1_000_000)

    def _new(
        self, packet: bytes, question: Question, digest: tuple[int, int], outcome: Outcome, now: float
    ) -> Exchange:
        if len(self._shared) >= MAX_IN_FLIGHT:
            # They stand in the order in which they began.
            oldest = next(iter(self._shared.values()))
            if now - oldest.started < LEAST_LIFE_S:
                raise Overloaded
            oldest.give_way()
        if not self._up and self._hopes >= LAST_HOPES:
            raise Unanswered(codes.EDE_NO_REACHABLE_AUTHORITY)
        exchange = self._shared[digest] = Exchange(self, digest, build_query(packet, question), outcome, now)
        return exchange

    def _start(self, exchange: Exchange) -> None:
        up = self._up
        if not up:
            exchange.hopeless = True
            self._hopes += 1
        if not self._started:
            self._started = True
            for health in self.health:
                health.start()
        exchange.start(up[0] if len(up) == 1 else min(up or self.servers, key=load))

    def _wait(self, exchange: Exchange, patience_s: float | None, now: float) -> asyncio.Future[bytes]:
        waiter: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        exchange.waiting.append(waiter)
        self._waiting += 1
        if patience_s is not None:
            self._wheel.at(now + patience_s, _Patience(waiter))
        return waiter

    def choose(self) -> None:
        """See again which servers are up."""
        self._up = tuple(server for server in self.servers if server.up)


def build_query(packet: bytes, question: Any) -> bytes:
    """Return the query to send upstream for the client's query `packet`, with an id of its own."""
    flags: int = 0x0100 | question.flags & 0x0030
    head = draw().to_bytes(2, "big") + flags.to_bytes(2, "big") + b"\0\1\0\0\0\0\0"
    body = bytes(packet[12 : question.end])
    if not question.has_opt:
        return head + _NO_OPT + body
    return head + _ONE_OPT + body + _OPT + (b"\x80\0" if question.dnssec_ok else b"\0\0") + b"\0\0"


def local_loops(endpoints: Sequence[Endpoint], listen: Sequence[Endpoint]) -> Endpoint | None:
    """Return the first upstream that is this host where we listen on all its addresses; None where there is none."""
    for upstream in endpoints:
        for ours in listen:
            same = upstream.port == ours.port and (":" in upstream.host) == (":" in ours.host)
            if same and ipaddress.ip_address(ours.host).is_unspecified and is_ours(upstream.host):
                return upstream
    return None


def is_ours(host: str) -> bool:
    """Tell whether an address is one of this host's: a socket can be bound to it.

    Where the system lets anybody bind any address, that tells nothing: then it is found out by the probes.
    """
    family, version = (socket.AF_INET6, "ipv6") if ":" in host else (socket.AF_INET, "ipv4")
    with contextlib.suppress(OSError):
        if Path(f"/proc/sys/net/{version}/ip_nonlocal_bind").read_text().strip() == "1":
            return False
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as one:
        one.bind((host, 0))
        return True
    return False
