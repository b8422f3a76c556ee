"""Lets the engine's threads forward what needs no choice: publishes whom they may ask, and reads how it went.

Rules:
- Only names in no zone with servers of its own, and only servers that were looked at and found good. All else is asked
  here, and so is all that a thread could not finish: it leaves the query, once, as if nobody had asked for it yet.
- An encrypted server is asked here alone. Where servers are balanced and one that is good is encrypted, threads ask
  nobody: else they would send in plaintext what is its share.
- Listed, the threads ask the first of the good servers alone; balanced, each asks the one with the fewest queries of
  its own in flight. Time limit, patience and the drawing of case are those of the exchanges here.
- A server of whose queries the threads hand over REST_SHARE (of at least REST_LEAST between two beats) is asked only
  here for REST_S: it may want TCP, or be about to be taken out.
- What came of the threads' queries counts as if the exchanges had been here: lives and good answers for a server's
  health, round trips for its patience and quantiles, durations and strange datagrams for the metrics. What they handed
  over fails or is answered here, and counts here. An answer that reaches a thread after that is taken as if it had come
  to a socket here.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from resolver.core.exchange import MOST_SERVERS, Route
from resolver.core.upstream_zones import UpstreamZones
from resolver.query.forward_datagram import SOCKETS
from resolver.query.forward_group import Group
from resolver.query.forward_health import SAMPLE
from resolver.query.forward_server import Server, Try

BEAT_S = 0.5
SOON_S = 0.05
"""The time after which figures are read again before what the threads left is taken, in seconds."""
REST_S = 5.0
REST_SHARE = 0.5
REST_LEAST = 32
LEAST_SOCKETS = 16
SAMPLES = 64
"""Of so many round trips a thread keeps the last."""

Figures = tuple[int, int, int, int, int, int, tuple[int, ...]]


class Relay(Protocol):
    """What one thread has asked (engine.relay)."""

    def figures(self, server: int) -> Figures:
        """Return how many queries to a server were sent, answered, handed over, strange and trailing, the sum of the
        durations in microseconds, and their buckets."""

    def recent_us(self, server: int, most: int) -> list[int]:
        """Return up to `most` of the last round trips, in microseconds."""


class Threads(Protocol):
    """The UDP side of the listening addresses (engine.engine)."""

    @property
    def relays(self) -> Sequence[Relay]:
        """Return what each thread has asked; without threads of its own, nothing."""

    taking: Callable[[], None]
    late: Callable[[bytes, int, int, bytes], None]

    def use_route(self, route: Route) -> None:
        """Let each thread forward by this route from now on."""


class Forward(Protocol):
    """The exchanges of the event loop (forward.Forward): their servers, and what is counted of them."""

    servers: tuple[Server, ...]
    groups: tuple[Group, ...]
    own_zones: UpstreamZones | None
    timeout_s: float
    case_randomization: bool
    buckets: list[int]
    sum_us: int


class Relayed:
    """The threads' side of `forward`; without threads it does nothing."""

    def __init__(self, forward: Forward, threads: Threads) -> None:
        self._forward = forward
        self._threads = threads
        self._servers = forward.servers[:MOST_SERVERS]
        self._pool = min(SOCKETS, max(LEAST_SOCKETS, -(-SOCKETS // max(1, len(threads.relays)))))
        self._seen = [[relay.figures(number) for number in range(len(self._servers))] for relay in threads.relays]
        self._asked = [0] * len(self._servers)
        self._handed = [0] * len(self._servers)
        self._rests = [float("-inf")] * len(self._servers)
        self._asking: dict[int, Try] = {}
        self._published: tuple[object, ...] = ()
        self._read_at = float("-inf")
        self._beating: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Publish from now on whom the threads may ask, and read how it went."""
        if self._threads.relays:
            self._threads.taking = self._notice
            self._threads.late = self._late
            self._beat()

    def close(self) -> None:
        """Publish that everything is asked here."""
        if self._beating is not None:
            self._beating.cancel()
            self._beating = None
            self._threads.use_route(Route())

    def _notice(self) -> None:
        """Read the figures, unless that was just done: failures that follow count among good answers before them."""
        if time.monotonic() - self._read_at >= SOON_S:
            self.read()

    def may_come(self, one: Try, digest: tuple[int, int]) -> None:
        """Take an answer to this question that still reaches a thread from the server of this try."""
        identity = digest[0] | digest[1] << 64
        self._asking[identity] = one
        one.sent_by(self, identity)

    def forget(self, identity: int, asking: Try) -> None:
        """Wait no longer for this answer (forward_server.Sent)."""
        if self._asking.get(identity) is asking:
            del self._asking[identity]

    def _late(self, key: bytes, number: int, ago_ms: int, reply: bytes) -> None:
        """Take an answer that a thread got after it had handed its query over, as one of a socket here."""
        del ago_ms
        if not reply:
            return  # In another case than was drawn: counted as strange.
        server = self._servers[number]
        low, high = (int.from_bytes(part, sys.byteorder) for part in (key[:8], key[8:]))
        one = self._asking.get(low | high << 64)
        if one is None or one.server is not server:
            server.failures["mismatch"] += 1
            return
        self.forget(low | high << 64, one)
        server.datagrams.answered()
        one.sends = 1  # It is known which datagram was answered, so that the round trip is a sure one.
        one.replied(reply, 2)

    def publish(self) -> None:
        """Let the threads ask those servers from now on that are good now."""
        if self._beating is None:
            return
        now = time.monotonic()
        group = self._forward.groups[0]
        good = [number for number, server in enumerate(self._servers) if server in group.servers and _is_good(server)]
        asked = [number for number in good if self._rests[number] <= now]
        if group.listed:
            asked = asked[:1] if good[:1] == asked[:1] else []
        elif any(_is_good(server) for server in group.servers if server.letters is not None):
            asked = []
        else:
            asked.sort(key=lambda number: self._servers[number].smoothed_s)
        asked = [number for number in asked if self._servers[number].letters is None]
        patience_ms = [max(1, int(self._servers[number].patience_s() * 1000)) for number in asked]
        timeout_ms, exact = int(self._forward.timeout_s * 1000), self._forward.case_randomization
        wanted = (asked, patience_ms, timeout_ms, exact)
        if wanted != self._published:
            self._published = wanted
            more = {"exact": exact, "pool": self._pool, "zones": self._forward.own_zones}
            self._threads.use_route(Route(asked, patience_ms, timeout_ms=timeout_ms, **more))

    def read(self) -> None:
        """Count what has come of the threads' queries since the last time."""
        self._read_at = time.monotonic()
        for seen, relay in zip(self._seen, self._threads.relays, strict=True):
            for number, server in enumerate(self._servers):
                before, now = seen[number], relay.figures(number)
                if now != before:
                    seen[number] = now
                    self._count(number, server, relay, before, now)

    def _count(self, number: int, server: Server, relay: Relay, before: Figures, now: Figures) -> None:
        asked, answered, handed, strange, trailing, sum_us, buckets = now
        self._asked[number] += asked - before[0]
        self._handed[number] += handed - before[2]
        server.failures["mismatch"] += strange - before[3]
        server.failures["trailing"] += trailing - before[4]
        self._forward.sum_us += sum_us - before[5]
        for place, (old, new) in enumerate(zip(before[6], buckets, strict=True)):
            self._forward.buckets[place] += new - old
        good = answered - before[1]
        if good:
            server.datagrams.answered()
        for took_us in relay.recent_us(number, min(good, SAMPLES)):
            server.took(took_us / 1e6, sure=True)
        for _ in range(min(good, SAMPLE)):
            server.noted("")

    def _beat(self) -> None:
        self.read()
        now = time.monotonic()
        for number in range(len(self._servers)):
            if self._asked[number] >= REST_LEAST and self._handed[number] >= REST_SHARE * self._asked[number]:
                self._rests[number] = now + REST_S
            self._asked[number] = self._handed[number] = 0
        self._beating = asyncio.get_running_loop().call_later(BEAT_S, self._beat)
        self.publish()


def _is_good(server: Server) -> bool:
    return bool(server.up) and not server.poor and server.asked and server.answers
