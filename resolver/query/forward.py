"""Forwards queries to the upstreams: chooses the server, and shares and bounds the exchanges.

Rules:
- Each query is rebuilt before it is forwarded, in one shape for all clients that may share its answer: a random id, the
  client's question, RD=1, AD=1 (we understand AD in a reply, RFC 6840 5.7), the client's CD, and an OPT with our
  payload size and the client's DO. No EDNS option of a client is forwarded (such as a client subnet).
- The server with the fewest outstanding queries is asked; latency decides ties. A server that is out is not asked. If
  all are out, LAST_HOPES exchanges at a time try nevertheless; the others fail at once.
- Identical questions in flight share one exchange. At most MAX_IN_FLIGHT exchanges are open. If all are, the client
  prefix for which most queries wait gives up its oldest exchange to a prefix with less; else the oldest of all ends, if
  it has had LEAST_LIFE_S: names that no server answers, asked for on purpose, must not keep out other queries.
- forward_exchange has the steps of an exchange; forward_health decides which servers are up; forward_waiters bounds the
  queries that wait.
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
from resolver.query.forward_exchange import Exchange, Outcome, Unanswered, load
from resolver.query.forward_health import Health, Probes
from resolver.query.forward_server import FAILURE_REASONS, NOBODY, Server
from resolver.query.forward_waiters import LEAST_LIFE_S, Overloaded, Waiters
from resolver.query.forward_wheel import Wheel

__all__ = [
    "FAILURE_REASONS",
    "NOBODY",
    "Forward",
    "Outcome",
    "Overloaded",
    "Server",
    "Unanswered",
    "build_query",
    "local_loops",
]

MAX_IN_FLIGHT = 8192
LAST_HOPES = 32

_RD_AD = b"\x01\x20"
_RD_AD_CD = b"\x01\x30"
_COUNTS = b"\0\1\0\0\0\0\0\1"
_OPT = b"\0\0\x29" + MAX_UDP_OCTETS.to_bytes(2, "big") + bytes(6)
_OPT_DO = b"\0\0\x29" + MAX_UDP_OCTETS.to_bytes(2, "big") + b"\0\0\x80\0\0\0"


class Forward:
    """Exchanges with the upstreams `endpoints`, each within `timeout_s`.

    bounds_s: upper bounds of the buckets that count exchanges by duration; `buckets` has one more for longer ones.
    sum_us: the sum of all durations, in microseconds. case_randomization: draw the case of each letter of a forwarded
    name (0x20).
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
        # An endpoint that is configured twice is one server, with one health and one set of failures.
        self.servers = tuple(Server(one, self._wheel, timeout_s) for one in dict.fromkeys(endpoints))
        self.buckets = [0] * (len(bounds_s) + 1)
        self.sum_us = 0
        self.timeout_s = timeout_s
        self.case_randomization = case_randomization
        self._bounds_s = tuple(bounds_s)
        self._shared: dict[tuple[int, int], Exchange] = {}
        self._waiters = Waiters()
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
        """The number of queries that wait for an exchange."""
        return self._waiters.count

    def exchange(
        self,
        packet: bytes,
        question: Question,
        digest: tuple[int, int],
        outcome: Outcome,
        patience_s: float | None = None,
        client: bytes = NOBODY,
    ) -> asyncio.Future[bytes]:
        """Return an awaitable of an upstream's answer to the client's query `packet`.

        digest: identifies identical questions. outcome: called for each exchange, even if many queries share it, before
        any waiting query gets the result; once more if an answer is late; not called if the exchange does not begin, or
        is ended by `close`. After `patience_s` this caller gets a TimeoutError, and the exchange goes on. client: 16
        octets, for its prefix's share. Raise Overloaded or Unanswered, at once or when awaited.
        """
        now = time.monotonic()
        exchange = self._shared.get(digest)
        fresh = exchange is None
        if exchange is None:
            exchange = self._new(packet, question, digest, outcome, now, client)
        try:
            waiter = self._waiters.wait(client, exchange, now)
        except Overloaded:
            if fresh:
                del self._shared[digest]
            raise
        if patience_s is not None:
            self._wheel.at(now + patience_s, waiter)
        if fresh:
            self._start(exchange)
        return waiter.result

    def refresh(self, packet: bytes, question: Question, digest: tuple[int, int], outcome: Outcome) -> None:
        """Prefetch: start an exchange that no query waits for.

        Do nothing if the same exchange is in flight, there is no room for another, or no server is up.
        """
        if digest not in self._shared and len(self._shared) < MAX_IN_FLIGHT and self._up:
            self._start(self._new(packet, question, digest, outcome, time.monotonic(), NOBODY))

    def is_up_for(self, question: Question) -> bool:
        """Return whether a server for this question is up; if none is, probes find the first that returns."""
        del question
        return bool(self._up)

    def is_probe(self, question: Question) -> bool:
        """Return whether a query that we received is our own probe; if so, note that its server leads back to us."""
        return self._probes.seen(question)

    async def close(self) -> None:
        """Cancel all exchanges and the queries that wait for them, and close all sockets."""
        for health in self.health:
            await health.close()
        for exchange in self._shared.values():
            exchange.cancel()
        self._shared = {}
        self._waiters = Waiters()
        self._wheel.close()
        for server in self.servers:
            await server.streams.close()
            server.noted = lambda failed: None
            server.datagrams.close()

    # The interface for an exchange (forward_exchange.Upstreams).

    def candidates(self) -> Sequence[Server]:
        """Return the servers that are up, or all if none is up."""
        return self._up or self.servers

    def any_up(self) -> bool:
        """Return whether a server is up."""
        return bool(self._up)

    def ended(self, exchange: Exchange, reply: bytes | None) -> None:
        """Remove an exchange that ended, and count its duration if it brought an answer."""
        self._shared.pop(exchange.digest, None)
        self._hopes -= exchange.hopeless
        if reply is not None:
            seconds = time.monotonic() - exchange.started
            self.buckets[bisect_left(self._bounds_s, seconds)] += 1
            self.sum_us += int(seconds * 1_000_000)

    def _new(
        self,
        packet: bytes,
        question: Question,
        digest: tuple[int, int],
        outcome: Outcome,
        now: float,
        client: bytes,
    ) -> Exchange:
        if len(self._shared) >= MAX_IN_FLIGHT:
            self._make_room(client, now)
        if not self._up and self._hopes >= LAST_HOPES:
            raise Unanswered(codes.EDE_NO_REACHABLE_AUTHORITY)
        query = build_query(packet, question)
        exchange = self._shared[digest] = Exchange(self, digest, query, outcome, now, client=client)
        return exchange

    def _make_room(self, client: bytes, now: float) -> None:
        """End an exchange, or raise Overloaded."""
        for waiter in self._waiters.of_heaviest(client):
            if len(waiter.exchange.waiting) == 1:
                waiter.exchange.end_early()
                return
        # The exchanges are kept in the order of their start.
        oldest = next(iter(self._shared.values()))
        if now - oldest.started < LEAST_LIFE_S:
            raise Overloaded
        oldest.end_early()

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

    def choose(self) -> None:
        """Update the servers to choose from after one was taken out or brought back."""
        self._up = tuple(server for server in self.servers if server.up)


def build_query(packet: bytes, question: Any) -> bytes:
    """Return the query to send upstream for the client's query `packet`, with an id of its own."""
    flags = _RD_AD_CD if question.flags & 0x0010 else _RD_AD
    opt = _OPT_DO if question.dnssec_ok else _OPT
    return draw().to_bytes(2, "big") + flags + _COUNTS + bytes(packet[12 : question.end]) + opt


def local_loops(endpoints: Sequence[Endpoint], listen: Sequence[Endpoint]) -> Endpoint | None:
    """Return the first upstream at an address of this host that a wildcard in `listen` covers, or None."""
    for upstream in endpoints:
        for ours in listen:
            same = upstream.port == ours.port and (":" in upstream.host) == (":" in ours.host)
            if same and ipaddress.ip_address(ours.host).is_unspecified and is_ours(upstream.host):
                return upstream
    return None


def is_ours(host: str) -> bool:
    """Return whether an address is one of this host's, that is whether a socket can be bound to it.

    Return False if the system allows binding to any address (ip_nonlocal_bind); probes then find a loop.
    """
    family, version = (socket.AF_INET6, "ipv6") if ":" in host else (socket.AF_INET, "ipv4")
    with contextlib.suppress(OSError):
        if Path(f"/proc/sys/net/{version}/ip_nonlocal_bind").read_text().strip() == "1":
            return False
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as one:
        one.bind((host, 0))
        return True
    return False
