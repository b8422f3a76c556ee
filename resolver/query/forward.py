"""Asks the upstreams: which one, for how long, what next, and who else waits for the same answer.

Rules:
- A query goes up rebuilt: random id, the question as it came, RD=1, the client's CD and AD, OPT with our payload and
  the client's DO where the client sent OPT. No option of a client's goes up (client subnets among them).
- A reply counts only from the server asked, on the socket that asked, with the id and the question (RFC 5452 9.1).
- The servers share the time limit: a try that failed goes on at the next server, and who failed comes last for REST_S
  seconds; TC=1 is asked again over TCP, within the same try.
- Identical questions in flight share one exchange; at most MAX_IN_FLIGHT are open, and at most MAX_WAITING queries
  wait for them: beyond that nobody waits.
"""

import asyncio
import random
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from resolver.core import codes
from resolver.core.question import Question, matches, parse
from resolver.core.reply import MAX_UDP_OCTETS
from resolver.query.forward_datagram import Datagrams, Refused
from resolver.query.forward_stream import ask_by_stream
from resolver.values import Endpoint

MAX_IN_FLIGHT = 8192
MAX_WAITING = 2 * MAX_IN_FLIGHT
MAX_TRIES = 3
REST_S = 5.0
FAILURE_REASONS = ("timeout", "refused", "network", "mismatch")

_TRUNCATED = 2
_random = random.SystemRandom()


class Overloaded(Exception):
    """As many exchanges are in flight, or queries wait for them, as there may be."""


class Unanswered(Exception):
    """No upstream answered in time; `ede` is the extended error that says so (RFC 8914)."""

    def __init__(self, ede: int) -> None:
        super().__init__("no upstream answered")
        self.ede = ede


Outcome = Callable[[bytes | Unanswered], None]
"""Told of a shared exchange: its reply, or why there is none."""


class Server:
    """One upstream: its sockets, and what is known of its health.

    `up` is 0 from a try that failed to one that did not; `rests_until` is when it takes its turn again (monotonic s).
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.failures = dict.fromkeys(FAILURE_REASONS, 0)
        self.datagrams = Datagrams(endpoint, lambda: self.failed("mismatch"))
        self.up = 1
        self.rests_until = 0.0
        self.outstanding = 0

    def failed(self, reason: str) -> None:
        """Count a failure: a word of FAILURE_REASONS."""
        self.failures[reason] += 1


class Forward:
    """Exchanges with the upstreams `endpoints` within `timeout_s` each.

    bounds_s: upper bounds of the buckets in which exchanges are counted by duration; `buckets` has one more for the
    rest; `sum_us` is all durations in microseconds.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        timeout_s: float,
        bounds_s: Sequence[float],
    ) -> None:
        # One that is named twice is one server: its health and its failures are told once.
        self.servers = tuple(map(Server, dict.fromkeys(endpoints)))
        self.buckets = [0] * (len(bounds_s) + 1)
        self.sum_us = 0
        self._bounds_s = tuple(bounds_s)
        self._timeout_s = timeout_s
        self._shared: dict[tuple[int, int], asyncio.Task[bytes]] = {}
        self._waiting = 0

    async def exchange(
        self,
        packet: bytes,
        question: Question,
        digest: tuple[int, int],
        outcome: Outcome,
        patience_s: float | None = None,
    ) -> bytes:
        """Return the upstream's reply to the client's query `packet`; digest: what identical questions share.

        outcome is called once an exchange, whoever shares it, before anybody who waits is told. After `patience_s`
        this caller gets a TimeoutError, and the exchange goes on. Raises Overloaded or Unanswered.
        """
        if self._waiting >= MAX_WAITING:
            raise Overloaded
        task = self._shared.get(digest)
        if task is None:
            if len(self._shared) >= MAX_IN_FLIGHT:
                raise Overloaded
            task = self._start(packet, question, digest, outcome)
        self._waiting += 1
        try:
            # One who goes away does not take the exchange from the others.
            async with asyncio.timeout(patience_s):
                shared: bytes = await asyncio.shield(task)
        finally:
            self._waiting -= 1
        return shared

    def refresh(self, packet: bytes, question: Question, digest: tuple[int, int], outcome: Outcome) -> None:
        """Start the same exchange for nobody, unless it is in flight or there is no room for it."""
        if digest not in self._shared and len(self._shared) < MAX_IN_FLIGHT:
            self._start(packet, question, digest, outcome)

    async def close(self) -> None:
        """End what is in flight and close all sockets."""
        for task in list(self._shared.values()):
            task.cancel()
        await asyncio.gather(*self._shared.values(), return_exceptions=True)
        for server in self.servers:
            server.datagrams.close()

    def _start(
        self, packet: bytes, question: Question, digest: tuple[int, int], outcome: Outcome
    ) -> asyncio.Task[bytes]:
        work = self._tell(build_query(packet, question), outcome)
        task = self._shared[digest] = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(lambda ended: self._forget(digest, ended))
        return task

    async def _tell(self, query: bytes, outcome: Outcome) -> bytes:
        try:
            reply = await self._exchange(query)
        except Unanswered as failure:
            outcome(failure)
            raise
        outcome(reply)
        return reply

    def _forget(self, digest: tuple[int, int], ended: asyncio.Task[bytes]) -> None:
        """Share the exchange no more; a failure that nobody waits for is looked at, else the loop reports it."""
        self._shared.pop(digest, None)
        if not ended.cancelled():
            ended.exception()

    async def _exchange(self, query: bytes) -> bytes:
        started = time.monotonic()
        question = Question()
        parse(query, len(query), question)
        order = sorted(self.servers, key=lambda server: (server.rests_until > started, server.outstanding))
        tries = max(2, min(MAX_TRIES, len(order)))
        for number in range(tries):
            left = self._timeout_s - (time.monotonic() - started)
            server = order[number % len(order)]
            reply = await self._try(server, query, question, left / (tries - number))
            if reply is not None:
                self._count(time.monotonic() - started)
                return reply
        raise Unanswered(codes.EDE_NO_REACHABLE_AUTHORITY)

    async def _try(self, server: Server, query: bytes, question: Question, wait_s: float) -> bytes | None:
        """Ask one server; return its reply, or None where there was none: then its failure is counted."""
        server.outstanding += 1
        reason = "timeout"
        until = asyncio.get_running_loop().time() + wait_s
        try:
            reply = await server.datagrams.ask(query, question, wait_s)
            if reply[2] & _TRUNCATED:
                async with asyncio.timeout_at(until):
                    reply = await ask_by_stream(server.endpoint, query)
            if matches(reply, len(reply), query, question) == 1:
                server.up, server.rests_until = 1, 0.0
                return reply
            reason = "mismatch"
        except TimeoutError:
            reason = "timeout"
        except Refused:
            reason = "refused"
        except (OSError, EOFError):
            reason = "network"
        finally:
            server.outstanding -= 1
        server.up, server.rests_until = 0, time.monotonic() + REST_S
        server.failed(reason)
        return None

    def _count(self, seconds: float) -> None:
        self.buckets[bisect_left(self._bounds_s, seconds)] += 1
        self.sum_us += int(seconds * 1_000_000)


def build_query(packet: bytes, question: Any) -> bytes:
    """Return the query to send upstream for the client's query `packet`, with an id of its own."""
    flags: int = 0x0100 | question.flags & 0x0030
    head = _random.getrandbits(16).to_bytes(2, "big") + flags.to_bytes(2, "big") + b"\0\1\0\0\0\0\0"
    body = bytes(packet[12 : question.end])
    if not question.has_opt:
        return head + b"\0" + body
    dnssec_ok = b"\x80\0" if question.dnssec_ok else b"\0\0"
    return head + b"\1" + body + b"\0\0\x29" + MAX_UDP_OCTETS.to_bytes(2, "big") + b"\0\0" + dnssec_ok + b"\0\0"
