"""Answers queries by core.steps, which has the order; here is what waits: the exchange with an upstream, and a NOTIFY.

Rules:
- A packet gets at most one answer; an exception in a step is counted and answered with SERVFAIL.
- An upstream's answer is kept once for each exchange, whether many queries wait for it or none any more.
- A stale answer is given only if no upstream answers in time (RFC 8767). If no upstream is up it is given at once:
  nobody is there to wait for, and probes find an upstream that returns.
- An answer may come after its exchange failed: it replaces the failure that was kept, judged by the lists of then.
- Nothing here logs: a packet that is not answered normally counts a reason.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from resolver.core import codes, steps
from resolver.core.lane import MAX_OCTETS, Lane, Seat, Tables
from resolver.core.respond import sent
from resolver.core.store import STALE
from resolver.query.forward import Forward, Handed, Overloaded, Unanswered, why
from resolver.query.recheck import Recheck
from resolver.query.transport import Reply, Transport

PATIENCE_S = 1.8
"""The time after which a stale answer is given instead of waiting for the upstream, in seconds (RFC 8767 5)."""

SPARE_SEATS = 1024
"""The number of seats kept for reuse, about 6 kB each: a burst of waiting queries must not pin memory for ever."""


class Answer:
    """Answers queries by the tables in force. lane: the loop's own. clock: monotonic, in seconds."""

    def __init__(self, tables: Tables, *, lane: Lane, forward: Forward, clock: Callable[[], float]) -> None:
        self.tables = tables
        self.in_flight = 0
        # Returns the answer to a NOTIFY (packet, client) for a zone of ours, else None; set if a list is a zone.
        self.notified: Callable[[bytes, bytes], bytes | None] | None = None
        self._lane = lane
        self._forward = forward
        self._clock = clock
        self._recheck = Recheck()
        # One for all seats: an answer is copied out of it before the next query is looked at.
        self._out = memoryview(bytearray(MAX_OCTETS))
        self._spare: list[Seat] = []

    def errors(self) -> int:
        """Return the number of steps that failed since the start; above 0, enforcement is not certain."""
        return int(self._lane.errors)

    def answer(self, packet: bytes, client: bytes, transport: Transport) -> Reply | Awaitable[Reply]:
        """Return the answer to a query from `client` (16 octets), None for silence, or an awaitable of either."""
        return self._walk(self._seated(packet, client, transport), packet, client, None, None, Seat.answer)

    def resume(
        self,
        packet: bytes,
        client: bytes,
        transport: Transport,
        outcome: int,
        found: int,
        handed: Handed | None = None,
        written: Callable[[Seat], Reply] = Seat.answer,
    ) -> Reply | Awaitable[Reply]:
        """Do the same for a query that another thread has admitted and counted, with this outcome (core.steps).

        found: what its seat said with OUTCOME_ASK. With OUTCOME_REPLY it has its answer, which is fetched again.
        handed: what that thread has done for its exchange already. written: makes the octets to send of a seat that is
        done.
        """
        seat = self._seated(packet, client, transport)
        seat.found = found
        return self._walk(seat, packet, client, outcome, handed, written)

    def _seated(self, packet: bytes, client: bytes, transport: Transport) -> Seat:
        seat = self._spare.pop() if self._spare else Seat(self._out)
        seat.sit(packet, client, transport.number, transport.least, transport.most, transport.keepalive_ds)
        return seat

    def _walk(
        self,
        seat: Seat,
        packet: bytes,
        client: bytes,
        outcome: int | None,
        handed: Handed | None,
        written: Callable[[Seat], Reply],
    ) -> Reply | Awaitable[Reply]:
        """Take or resume a query, and do what its outcome wants."""
        try:
            if outcome is None:
                steps.take(self.tables, self._lane, seat, self.now_ms())
            else:
                steps.resume(self.tables, self._lane, seat, outcome, self.now_ms())
            waiting = self._go_on(seat, packet, client, handed, written)
        except Exception:  # noqa: BLE001 - whatever a packet causes here, its sender gets exactly one answer
            steps.give_up(self._lane, seat, codes.EDE_OTHER, codes.FAILED_INTERNAL)
            waiting = None
        if waiting is not None:
            return waiting
        self._spare.append(seat)
        return written(seat)

    def _go_on(
        self, seat: Seat, packet: bytes, client: bytes, handed: Handed | None, written: Callable[[Seat], Reply]
    ) -> Awaitable[Reply] | None:
        """Return an awaitable of the answer if an upstream has to be asked, else None: the seat has its answer."""
        outcome = seat.outcome
        if outcome == codes.OUTCOME_FORWARD and not self._has_no_upstream(seat):
            return self._ask_upstream(seat, packet, client, handed, written)
        if outcome == codes.OUTCOME_ASK:
            self._ask(seat, packet, client)
        elif seat.refresh:
            self._forward.refresh(packet, seat.question, (seat.low, seat.high), self._keeper(seat, packet, client))
        return None

    def _ask(self, seat: Seat, packet: bytes, client: bytes) -> None:
        """Answer a NOTIFY from a list's primary, which need not be in the ACL, and whatever else nobody takes."""
        said = self.notified(packet, client) if self.notified and seat.found >= 0 else None
        if said:
            self._out[: len(said)] = said
            sent(self._lane, seat, len(said))
        else:
            steps.unasked(self._lane, seat)

    def _has_no_upstream(self, seat: Seat) -> bool:
        """Answer a query that comes from ourselves, or for which a stale answer is kept and no server is up."""
        if self._forward.is_probe(seat.question):
            steps.give_up(self._lane, seat, codes.EDE_NETWORK_ERROR, codes.FAILED_UPSTREAM)
        elif seat.found == STALE and not self._forward.is_up_for(seat.question):
            steps.stale(self.tables, self._lane, seat, self.now_ms())
        return bool(seat.outcome != codes.OUTCOME_FORWARD)

    async def _ask_upstream(
        self, seat: Seat, packet: bytes, client: bytes, handed: Handed | None, written: Callable[[Seat], Reply]
    ) -> Reply:
        """Forward, recheck, keep and respond; the tables may be replaced while the upstream is asked."""
        self.in_flight += 1
        patience_s = PATIENCE_S if seat.found == STALE else None
        key, keeper = (seat.low, seat.high), self._keeper(seat, packet, client)
        try:
            reply = await self._forward.exchange(packet, seat.question, key, keeper, patience_s, client, handed)
            steps.give(self.tables, self._lane, seat, self._recheck.of(reply), self.now_ms())
        except (TimeoutError, Overloaded, Unanswered) as failure:
            steps.without(self.tables, self._lane, seat, *why(failure), self.now_ms())
        except Exception:  # noqa: BLE001 - as in `_walk`
            steps.give_up(self._lane, seat, codes.EDE_OTHER, codes.FAILED_INTERNAL)
        finally:
            self.in_flight -= 1
            if len(self._spare) < SPARE_SEATS:
                self._spare.append(seat)
        return written(seat)

    def _keeper(self, seat: Seat, packet: bytes, client: bytes) -> Callable[[bytes | Unanswered], None]:
        return partial(self._keep, packet[12 : seat.question.end], seat.low, seat.high, client)

    def _keep(self, asked: bytes, low: int, high: int, client: bytes, outcome: bytes | Unanswered) -> None:
        """Keep the outcome of an exchange for the question `asked`: the answer, judged by all lists, or the failure."""
        known = asked, low, high, client, self.now_ms()
        if isinstance(outcome, Unanswered):
            steps.keep_failed(self.tables, self._lane, outcome.ede, *known)
        else:
            steps.keep(self.tables, self._lane, self._recheck.of(outcome), *known)

    def now_ms(self) -> int:
        """Return the time of the clock in milliseconds."""
        return int(self._clock() * 1000)
