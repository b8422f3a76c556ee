"""Asks encrypted upstreams by the courier process, which speaks TLS and HTTP: nothing of these is parsed here.

Rules:
- A server is asked as others are: one Try, with the retries, time limits, latency and health of all. Only the way
  differs: a query goes to the courier under a number, and its answer comes back under it.
- A query that is sent again has the same number: the courier sends it over another connection, unless the first is
  still being opened.
- At most MOST queries of a server are known to the courier. If they are, the client prefix that has most of them loses
  its oldest to a prefix that has less.
- A query without a place says nothing about the server: it is counted as `busy`, by no health.
- An answer counts only with the id and question of its query. Whatever else the courier says that it could not mean
  ends it.
- If the courier ends, its queries are sent to the next one, each once: a query that ended two has failed. While there
  is none they wait, as long as their time limit allows.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from resolver.config.values import Encrypted
from resolver.core import shares
from resolver.core.question import Question, matches, parse
from resolver.core.shares import SET_OCTETS, Shares
from resolver.query import courier_frames
from resolver.query.courier_frames import FAULTS, Frames, Malformed, Reason, Settings

MOST = 512
"""What the courier has room for, on connections that take 100 each and with those that it sends twice."""
UNSENT_OCTETS = 2**23
"""A courier that leaves so much unread hangs."""

LOG_AGAIN_S = 3600.0
"""Between two lines of the log about what a server does."""
BUSY = "busy"

_log = logging.getLogger(__name__)
_SETS = 64
_NUMBERS = 2**32
_question = Question()

COUNTED = {
    Reason.REFUSED: "refused",
    Reason.NETWORK: "network",
    Reason.SLOW: "timeout",
    Reason.CLOSED: "network",
    Reason.BUSY: BUSY,
    Reason.EXPIRED: "certificate",
    Reason.NOT_YET: "certificate",
    Reason.OTHER_NAME: "certificate",
    Reason.UNTRUSTED: "certificate",
    Reason.INVALID: "certificate",
    Reason.OTHER_KEY: "certificate",
    Reason.NO_CA: "certificate",
    Reason.TLS: "tls",
    Reason.NO_HTTP2: "tls",
    Reason.REDIRECTED: "http",
    Reason.STATUS: "http",
    Reason.CONTENT: "http",
    Reason.LARGE: "http",
    Reason.GARBLED: "malformed",
    Reason.FLOOD: "tls",
}
"""The reason by which a failure is counted: one of forward_server.FAILURE_REASONS."""

_SAID = {
    Reason.REFUSED: "nothing listens there",
    Reason.NETWORK: "cannot be reached",
    Reason.CLOSED: "closes connections and does not answer",
    Reason.SLOW: "no connection in time",
    Reason.EXPIRED: "certificate of {name} not valid: it has expired; have it renewed there",
    Reason.NOT_YET: "certificate of {name} not valid: its time has not come; look at the clock of both hosts",
    Reason.OTHER_NAME: "certificate of {name} not valid: it is for other names; correct the name in upstream.servers",
    Reason.UNTRUSTED: "certificate of {name} not valid: no known CA signed it; set upstream.ca or upstream.pins",
    Reason.INVALID: "certificate of {name} not valid: error {detail} of openssl-verification-options(1); see there",
    Reason.OTHER_KEY: "certificate of {name} not valid: its key is not in upstream.pins; ask its operator which it is",
    Reason.NO_CA: "certificate of {name} not verified: upstream.ca cannot be read; check-config says why",
    Reason.TLS: "no TLS 1.2 or 1.3 with {name}; look at what it offers",
    Reason.NO_HTTP2: "{name} offers no HTTP/2; use another server, or tls:// if it has that",
    Reason.REDIRECTED: "{name} redirects (HTTP {detail}), which is not followed; correct the path in upstream.servers",
    Reason.STATUS: "{name} answers HTTP {detail}; look at the path in upstream.servers",
    Reason.CONTENT: "{name} answers with something else than a DNS message; look at the path in upstream.servers",
    Reason.LARGE: "{name} answers more than a DNS message can hold",
    Reason.GARBLED: "{name} does not keep to its protocol; ask its operator what stands before it",
    Reason.FLOOD: "{name} sends messages of TLS or HTTP/2 without end and no answers; ask its operator why",
}
ENDED = "the process that asks it has ended, and is started again; see the journal"


def said_of(reason: Reason, detail: int, server: Encrypted) -> str:
    """Return in words what is wrong with a server, and what to do; "" for what speaks for itself."""
    return _SAID.get(reason, "").format(name=server.name, detail=detail)


class NoPlace(OSError):
    """A query has no place with the courier: its client's prefix has most of them."""


class Asking(Protocol):
    """A query in flight (forward_server.Try)."""

    query: bytes
    client: bytes

    def replied(self, reply: bytes, found: int) -> None:
        """Take an answer; found: the result of core.question.matches."""

    def failed(self, reason: str) -> None:
        """Note that no answer will arrive; reason: one of forward_server.FAILURE_REASONS."""


class _Flight:
    """A query that the courier has. slot: of its client's share. again: it was sent to a second courier.

    repeated: it was sent again, so that the courier may have it although it has answered.
    """

    __slots__ = ("again", "asking", "letters", "repeated", "slot")

    def __init__(self, asking: Asking, letters: Letters, slot: int) -> None:
        self.asking = asking
        self.letters = letters
        self.slot = slot
        self.again = self.repeated = False


class Letters:
    """The way to one encrypted server (forward_server.Way).

    answers: the number of answers so far. trouble: what is wrong with the server in words, "" if nothing is. counts:
    called with the reason by which what it does without a query is counted.
    """

    def __init__(self, courier: Courier, place: int, server: Encrypted) -> None:
        self.server = server
        self.answers = 0
        self.trouble = ""
        self.counts: Callable[[str], None] = _uncounted
        self._said_at = float("-inf")
        self._courier = courier
        self._place = place
        self._shares = Shares(bytearray(_SETS * SET_OCTETS), os.urandom(16))
        self._of: dict[int, dict[int, None]] = {}
        self._numbers: dict[Asking, int] = {}

    @property
    def in_flight(self) -> int:
        """The number of queries that the courier knows."""
        return len(self._numbers)

    def send(self, asking: Asking, now: float) -> tuple[Letters, int]:
        """Send the query, or send it again; return what `forget` wants. NoPlace if its prefix has none."""
        del now
        number = self._numbers.get(asking)
        if number is None:
            slot = self._slot_for(asking.client)
            number = self._courier.begin(_Flight(asking, self, slot))
            self._numbers[asking] = number
            self._of.setdefault(slot, {})[number] = None
        else:
            self._courier.repeats(number)
        self._courier.ask(number, self._place, asking.query)
        return self, number

    def forget(self, identity: int, asking: Asking) -> None:
        """Wait no longer for this query (forward_server.Sent)."""
        if self._numbers.get(asking) == identity:
            self._courier.forget(identity)

    def left(self, number: int, flight: _Flight) -> None:
        """Note that the courier does not have a query any more."""
        self._numbers.pop(flight.asking, None)
        of = self._of.get(flight.slot, {})
        of.pop(number, None)
        if not of:
            self._of.pop(flight.slot, None)
        shares.give(self._shares, flight.slot, 1)

    def take(self, flight: _Flight, reply: bytes) -> None:
        """Take what the server answered."""
        query = flight.asking.query
        parse(query, len(query), _question)
        found = matches(reply, len(reply), query, _question) if reply[:2] == query[:2] else 0
        if found == 0:
            flight.asking.failed("mismatch")
            return
        self.answers += 1
        self.trouble = ""
        flight.asking.replied(reply, found)

    def noticed(self, reason: Reason, detail: int) -> None:
        """Take why a connection has ended; what the server does against its protocol is counted and said as well."""
        self.trouble = said_of(reason, detail, self.server)
        if reason in FAULTS:
            if detail == 0:  # else the queries that have failed by it are counted
                self.counts(COUNTED[reason])
            now = time.monotonic()
            if now - self._said_at >= LOG_AGAIN_S:
                self._said_at = now
                _log.warning("upstream %s: %s", self.server, self.trouble)

    def ask_again(self, number: int, flight: _Flight) -> None:
        """Ask the next courier what the last one was asked."""
        self._courier.ask(number, self._place, flight.asking.query)

    def _slot_for(self, client: bytes) -> int:
        most, heaviest = MOST, shares.NONE
        if len(self._numbers) >= MOST:
            heaviest = shares.heaviest(self._shares)
            most = min(most, shares.held(self._shares, heaviest))
        slot: int = shares.take(self._shares, client, 1, most, 0)
        if slot < 0:
            raise NoPlace
        if heaviest >= 0:
            self._courier.drop(next(iter(self._of[heaviest])))
        return slot


class Courier(asyncio.Protocol):
    """The connection to the courier process, if there is one, and the queries that it has.

    hangs: called to end the process. ended: set while there is none. begun: it has said something. lives: it has since
    the last look.
    """

    def __init__(self, settings: Sequence[Settings]) -> None:
        self._settings = courier_frames.servers(settings)
        self.letters = tuple(Letters(self, place, one.server) for place, one in enumerate(settings))
        self.hangs: Callable[[], None] = _nobody
        self.lives = True
        self.begun = False
        self.ended = asyncio.Event()
        self._flights: dict[int, _Flight] = {}
        self._number = 0
        self._transport: asyncio.Transport | None = None
        self._frames = Frames()
        self._unsent: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the courier its servers, and what waits for it (asyncio.Protocol)."""
        self._transport = cast(asyncio.Transport, transport)
        self._frames = Frames()
        self.lives, self.begun = True, False
        self.ended.clear()
        self._unsent = []
        self._transport.write(self._settings)
        for letters in self.letters:
            letters.trouble = ""
        for number, flight in tuple(self._flights.items()):
            flight.letters.ask_again(number, flight)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let queries wait for the next courier, unless they were lost before (asyncio.Protocol)."""
        self._transport = None
        self.ended.set()
        for letters in self.letters:
            letters.trouble = ENDED
        # One that has failed may be asked elsewhere at once, and another lose its place to it.
        lost = [number for number, flight in self._flights.items() if flight.again]
        for flight in self._flights.values():
            flight.again = True
        for number in lost:
            if number in self._flights:
                self._leave(number).asking.failed("network")

    def data_received(self, data: bytes) -> None:
        """Take what the courier says (asyncio.Protocol)."""
        self.begun = True
        try:
            for kind, body in self._frames.taken(data):
                self._take(kind, body)
        except Malformed:
            self.hangs()

    def close(self) -> None:
        """Close the connection: the process ends. Nothing that waits learns of it."""
        self._flights = {}
        if self._transport is not None:
            self._transport.abort()

    def look(self) -> bool:
        """Return whether the courier has said since the last look that it is alive, and ask it again."""
        alive, self.lives = self.lives, False
        self._write(courier_frames.frame(courier_frames.ALIVE))
        return alive

    # For Letters.

    def begin(self, flight: _Flight) -> int:
        """Give a query its number."""
        while self._number in self._flights:
            self._number = (self._number + 1) % _NUMBERS
        number = self._number
        self._flights[number] = flight
        self._number = (number + 1) % _NUMBERS
        return number

    def ask(self, number: int, place: int, query: bytes) -> None:
        """Send a query, if there is a courier; else the next one gets it."""
        self._write(courier_frames.ask(number, place, query))

    def repeats(self, number: int) -> None:
        """Note that a query is sent again."""
        self._flights[number].repeated = True

    def forget(self, number: int) -> None:
        """Wait no longer for an answer."""
        self._leave(number)
        self._write(courier_frames.forget(number))

    def drop(self, number: int) -> None:
        """Fail a query from the loop: its place is wanted in the middle of a call."""
        asking = self._flights[number].asking
        self.forget(number)
        asyncio.get_running_loop().call_soon(asking.failed, BUSY)

    def _write(self, said: bytes) -> None:
        """Send this, if there is a courier, with all else that is said in this turn of the loop: one call for all."""
        if self._transport is None:
            return
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(said)

    def _flush(self) -> None:
        said, self._unsent = self._unsent, []
        if self._transport is None or not said:
            return
        self._transport.write(b"".join(said))
        if self._transport.get_write_buffer_size() > UNSENT_OCTETS:
            self.hangs()

    def _ended(self, number: int) -> _Flight:
        flight = self._leave(number)
        if flight.repeated:
            # The answer and the second sending may have crossed: then the courier has the query again.
            self._write(courier_frames.forget(number))
        return flight

    def _leave(self, number: int) -> _Flight:
        flight = self._flights.pop(number)
        flight.letters.left(number, flight)
        return flight

    def _take(self, kind: int, body: memoryview) -> None:
        if kind == courier_frames.ALIVE:
            self.lives = True
        elif kind == courier_frames.ANSWER:
            number, message = courier_frames.answer_in(body)
            if number in self._flights:
                flight = self._ended(number)
                flight.letters.take(flight, message)
        elif kind == courier_frames.FAILED:
            number, reason, detail = courier_frames.failed_in(body)
            if number in self._flights:
                flight = self._ended(number)
                letters = flight.letters
                letters.trouble = said_of(reason, detail, letters.server)
                flight.asking.failed(COUNTED[reason])
        elif kind == courier_frames.NOTICE:
            place, reason, detail = courier_frames.noticed_in(body)
            if place >= len(self.letters):
                raise Malformed
            self.letters[place].noticed(reason, detail)
        else:
            raise Malformed


def _uncounted(reason: str) -> None:
    """Do nothing; used until somebody counts."""


def _nobody() -> None:
    """Do nothing; used while nobody is there to do it."""
