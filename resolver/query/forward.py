"""Forwards queries to the upstreams: chooses the group of servers, and shares and bounds the exchanges.

Rules:
- Each query is written again before it is forwarded (core.exchange), with a random id.
- A name goes to the servers of the longest zone that covers it, else to those for all names (core.upstream_zones);
  forward_group decides which of them is asked. If all of them are out (silent, refusing or leading back to us),
  LAST_HOPES exchanges at a time try nevertheless; the others fail at once.
- Identical questions in flight share one exchange. At most MAX_IN_FLIGHT exchanges are open. If all are, the client
  prefix for which most queries wait gives up its oldest exchange to a prefix with less; else the oldest of all ends, if
  it has had LEAST_LIFE_S: names that no server answers, asked for on purpose, must not keep out other queries.
- forward_exchange has the steps of an exchange; forward_health decides which servers are up; forward_waiters bounds the
  queries that wait.
"""

import asyncio
import contextlib
import ipaddress
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from resolver.config.values import Encrypted, Endpoint, sockaddr
from resolver.core import codes
from resolver.core.exchange import QUERY_OCTETS, write
from resolver.core.question import Question
from resolver.core.upstream_zones import UpstreamZones, group_of
from resolver.query.accept_sockets import is_ours
from resolver.query.courier_frames import Settings
from resolver.query.forward_courier import Courier, Letters
from resolver.query.forward_datagram import draw
from resolver.query.forward_exchange import Exchange, Outcome, Unanswered
from resolver.query.forward_group import Group
from resolver.query.forward_health import Health, Probes
from resolver.query.forward_relay import Relayed, Threads
from resolver.query.forward_server import FAILURE_REASONS, NOBODY, Server
from resolver.query.forward_waiters import LEAST_LIFE_S, Overloaded, Waiters
from resolver.query.forward_wheel import Wheel

__all__ = [
    "FAILURE_REASONS",
    "NOBODY",
    "Forward",
    "Handed",
    "Outcome",
    "Overloaded",
    "Server",
    "Unanswered",
    "build_query",
    "local_loops",
    "why",
]

MAX_IN_FLIGHT = 8192

Handed = tuple[int, int, bytes]
"""Which server a thread of the engine has asked (its number), how many milliseconds ago, and the answer or b""."""

_written = memoryview(bytearray(QUERY_OCTETS))


class Forward:
    """Exchanges with the upstreams `endpoints`, each within `timeout_s`.

    zones: the servers of each zone that has its own. listed: the first server that is up is asked, not the least
    loaded. groups: the first one is that of names in no zone.

    ca, pins: by which encrypted servers are verified (config.upstream). courier: what asks these; None without any.

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
        zones: Mapping[str, Sequence[Endpoint]] = MappingProxyType({}),
        listed: bool = False,
        ca: str = "",
        pins: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        self._wheel = Wheel()
        # An endpoint that is configured twice is one server, with one health and one set of failures.
        named = (*endpoints, *(one for servers in zones.values() for one in servers))
        known = dict.fromkeys(named)
        sealed = [Settings(one, tuple(pins.get(one.name, ())), ca) for one in known if isinstance(one, Encrypted)]
        self.courier = Courier(sealed) if sealed else None
        letters: dict[Endpoint, Letters] = {one.server: one for one in self.courier.letters} if self.courier else {}
        servers = {one: Server(one, self._wheel, timeout_s, letters.get(one)) for one in known}
        self.servers = tuple(servers.values())
        self.groups = tuple(
            Group(self, zone, [servers[one] for one in dict.fromkeys(of)], listed=listed)
            for zone, of in {"": endpoints, **zones}.items()
        )
        for server in self.servers:
            server.zones = tuple(group.zone for group in self.groups if server in group.servers)
        self.own_zones = UpstreamZones(tuple(zones)) if zones else None
        self.buckets = [0] * (len(bounds_s) + 1)
        self.sum_us = 0
        self.timeout_s = timeout_s
        self.case_randomization = case_randomization
        self._bounds_s = tuple(bounds_s)
        self._shared: dict[tuple[int, int], Exchange] = {}
        self._waiters = Waiters()
        self._probes = Probes()
        self.health = tuple(Health(server, self._probes, self.choose) for server in self.servers)
        # Called when what is shown of a server may have changed.
        self.shown: Callable[[], None] = _nobody
        self.relayed: Relayed | None = None

    @property
    def answering(self) -> bool:
        """Return whether one of the servers for names in no zone was seen to answer when it was last looked at."""
        return self.groups[0].answering

    @property
    def silent(self) -> bool:
        """Return whether every server for names in no zone was looked at and none answered."""
        return self.groups[0].silent

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
        handed: Handed | None = None,
    ) -> asyncio.Future[bytes]:
        """Return an awaitable of an upstream's answer to the client's query `packet`.

        digest: identifies identical questions. outcome: called for each exchange, even if many queries share it, before
        any waiting query gets the result; once more if an answer is late; not called if the exchange does not begin, or
        is ended by `close`. After `patience_s` this caller gets a TimeoutError, and the exchange goes on. client: 16
        octets, for its prefix's share. handed: what a thread has done for it already. Raise Overloaded or Unanswered,
        at once or when awaited.
        """
        now = time.monotonic()
        exchange = self._shared.get(digest)
        group = None
        if exchange is None:
            group = self.group_of(question)
            started = now - handed[1] / 1000 if handed else now
            exchange = self._new(group, build_query(packet, question), digest, outcome, started, client)
        try:
            waiter = self._waiters.wait(client, exchange, now)
        except Overloaded:
            if group is not None:
                del self._shared[digest]
            raise
        if patience_s is not None:
            self._wheel.at(now + patience_s, waiter)
        if group is not None and handed and group.any_up() and self.servers[handed[0]] in group.servers:
            one = exchange.go_on(self.servers[handed[0]], handed[2])
            if self.relayed and not handed[2]:
                self.relayed.may_come(one, digest)
        elif group is not None:
            group.start(exchange)
        return waiter.result

    def refresh(self, packet: bytes, question: Question, digest: tuple[int, int], outcome: Outcome) -> None:
        """Prefetch: start an exchange that no query waits for.

        Do nothing if the same exchange is in flight, there is no room for another, or no server is up.
        """
        if digest in self._shared or len(self._shared) >= MAX_IN_FLIGHT:
            return
        group = self.group_of(question)
        if group.any_up():
            query = build_query(packet, question)
            group.start(self._new(group, query, digest, outcome, time.monotonic(), NOBODY))

    def group_of(self, question: Question) -> Group:
        """Return the group of servers that a question goes to."""
        return self.groups[group_of(self.own_zones, question.name, question.qtype) if self.own_zones else 0]

    def watch(self) -> None:
        """Look at every server now, before any query, and from then on whenever nothing comes from it."""
        for health in self.health:
            health.start()
        if self.relayed:
            self.relayed.start()

    def serve(self, threads: Threads) -> None:
        """Let threads forward by themselves what they can, from `watch` on."""
        self.relayed = Relayed(self, threads)

    def read(self) -> None:
        """Count what the threads have forwarded until now."""
        if self.relayed:
            self.relayed.read()

    def is_up_for(self, question: Question) -> bool:
        """Return whether a server for this question is up; if none is, probes find the first that returns."""
        return self.group_of(question).any_up()

    def is_probe(self, question: Question) -> bool:
        """Return whether a query that we received is our own probe; if so, note that its server leads back to us."""
        return self._probes.seen(question)

    async def close(self) -> None:
        """Cancel all exchanges and the queries that wait for them, and close all sockets."""
        for health in self.health:
            await health.close()
        if self.relayed:
            self.relayed.close()
        for exchange in self._shared.values():
            exchange.cancel()
        self._shared = {}
        self._waiters = Waiters()
        self._wheel.close()
        if self.courier is not None:
            self.courier.close()
        for server in self.servers:
            await server.streams.close()
            server.noted = lambda reason: None
            server.datagrams.close()

    # The interface for a group (forward_group.Owner).

    def ended(self, exchange: Exchange, reply: bytes | None) -> None:
        """Remove an exchange that ended, and count its duration if it brought an answer."""
        self._shared.pop(exchange.digest, None)
        if reply is not None:
            seconds = time.monotonic() - exchange.started
            self.buckets[bisect_left(self._bounds_s, seconds)] += 1
            self.sum_us += int(seconds * 1_000_000)

    def _new(
        self,
        group: Group,
        query: bytes,
        digest: tuple[int, int],
        outcome: Outcome,
        now: float,
        client: bytes,
    ) -> Exchange:
        if len(self._shared) >= MAX_IN_FLIGHT:
            self._make_room(client, now)
        if not group.has_hope():
            raise Unanswered(codes.EDE_NO_REACHABLE_AUTHORITY)
        exchange = self._shared[digest] = Exchange(group, digest, query, outcome, now, client=client)
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

    def choose(self) -> None:
        """Update the servers to choose from after one was found better or worse."""
        for group in self.groups:
            group.choose()
        if self.relayed:
            self.relayed.publish()
        self.shown()


def _nobody() -> None:
    """Do nothing; used while nobody wants to know."""


def build_query(packet: bytes, question: Any) -> bytes:
    """Return the query to send upstream for the client's query `packet`, with an id of its own."""
    return bytes(_written[: write(packet, question, draw(), _written)])


def local_loops(endpoints: Sequence[Endpoint], listen: Sequence[Endpoint]) -> Endpoint | None:
    """Return the first upstream at an address of this host that a wildcard in `listen` covers, or None.

    Where any address can be bound (ip_nonlocal_bind) probes find the loop instead.
    Of link-local addresses return one that `listen` names too, whether by its interface's name or number.
    """
    for upstream in endpoints:
        for ours in listen:
            same = upstream.port == ours.port and (":" in upstream.host) == (":" in ours.host)
            if same and ipaddress.ip_address(ours.host).is_unspecified and is_ours(upstream.host):
                return upstream
            if same and "%" in upstream.host and _is_same(upstream, ours):
                return upstream
    return None


def _is_same(one: Endpoint, other: Endpoint) -> bool:
    with contextlib.suppress(OSError):
        return sockaddr(one) == sockaddr(other)
    return False


def why(failure: Exception) -> tuple[int, int]:
    """Return the extended error of a query that `exchange` has failed, and the reason to count (FAILED_*)."""
    if isinstance(failure, Unanswered):
        return failure.ede, codes.FAILED_UPSTREAM
    if isinstance(failure, Overloaded):
        return codes.EDE_OTHER, codes.FAILED_OVERLOAD
    return codes.EDE_NO_REACHABLE_AUTHORITY, codes.FAILED_UPSTREAM
