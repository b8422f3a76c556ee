"""Decides which upstreams answer, and how well: by the results of queries, and by probes of its own.

Rules:
- Any answer is life: SERVFAIL, an error rcode, one that does not parse. Only silence, a host that refuses and a loop
  take a server out. What a SERVFAIL means for a question is the cache's business (RFC 9520 2.2).
- A look at a server is up to PROBES probes, and the first good one ends it. If none is good, but the server answered a
  probe or meanwhile a query, it is poor: asked only while no better server is up. If nothing came, it is out.
- A server is looked at when the service starts, if nothing came from it between two ticks, and if SHARE of the last
  SAMPLE queries to it failed (of at least LEAST, and not within LULL_S of a good probe): packet loss alone takes no
  server out. Two ticks and one look take less than 5 s.
- A server that is poor or out is looked at again with a doubling back-off; a server that is out gets one probe each
  time. The back-off returns to its start only after STEADY_S of good answers, so that a flapping server is probed less
  and less often.
- An answered query makes a server that is out poor at once, until nothing more comes from it. What is shown outside
  (`asked`, `answers`, `fault` of a Server) follows the looks alone, so that no single query moves it.
- A probe asks for a random name that is in no other query. It is good if any answer but SERVFAIL arrives that can be
  read.
- A query or a probe that had no place with the courier shows nothing: if all probes of a look had none, a server that
  answered queries meanwhile stays what it was.
- If a probe arrives here as a query, the server leads back to us and is out at once; only a good probe ends that.
"""

import asyncio
import base64
import logging
import os
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from resolver.core.exchange import PROBE_LABEL, PROBE_OCTETS, PROBE_SUFFIX
from resolver.query.forward_courier import BUSY
from resolver.query.forward_datagram import draw
from resolver.query.forward_server import Server, Try

SAMPLE = 100
LEAST = 10
SHARE = 0.2
PROBES = 3
PROBE_S = 0.8
PAUSE_S = 0.25
TICK_S = 1.0
LULL_S = 5.0
FIRST_BACK_OFF_S = 1.0
LAST_BACK_OFF_S = 30.0
STEADY_S = 60.0

GOOD, POOR, OUT = range(3)
"""The results of a probe and of a look, best first."""

_LIFE = frozenset(("", "error", "servfail", "malformed"))
_HARMLESS = frozenset(("", "error"))
_POORLY = {"servfail": "answers SERVFAIL", "malformed": "answers malformed replies"}
_IN_PART = "answers some queries and no probe"

_log = logging.getLogger(__name__)


class Probes:
    """The probes in flight, each by the name that it asks for (wire format, lower case)."""

    def __init__(self) -> None:
        self._servers: dict[bytes, Health] = {}

    def seen(self, question: Any) -> bool:
        """Return whether a query that we received is a probe; if so, report the loop to its server's health."""
        if question.name.length != PROBE_OCTETS:
            return False
        health = self._servers.get(bytes(question.name.octets[:PROBE_OCTETS]))
        if health is None:
            return False
        health.looped()
        return True

    def add(self, health: "Health") -> bytes:
        """Return a new probe name, in wire format; until `remove`, a query for it from elsewhere shows a loop to it."""
        name = bytes([PROBE_LABEL]) + base64.b32encode(os.urandom(17))[:PROBE_LABEL].lower() + PROBE_SUFFIX
        self._servers[name] = health
        return name

    def remove(self, name: bytes) -> None:
        """Forget the name."""
        del self._servers[name]


class _Probe:
    """One probe (forward_server.Owner). result: GOOD, POOR or OUT; reason: why it is not good."""

    def __init__(self) -> None:
        self.result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.reason = ""

    def answered(self, one: Try, reply: bytes) -> None:
        """Count the probe as good."""
        self._end(GOOD)

    def failed(self, one: Try, reason: str, reply: bytes | None) -> None:
        """Count an error rcode such as REFUSED as good, another answer as poor, and silence as out."""
        self.reason = reason
        self._end(GOOD if reason in _HARMLESS else POOR if reason in _LIFE else OUT)

    def hinted(self, one: Try) -> None:
        """Do nothing: no other server can answer for this one."""

    def _end(self, result: int) -> None:
        if not self.result.done():
            self.result.set_result(result)


class Health:
    """Watches one server; `changed` is called when it is to be chosen differently, or when what is shown changes.

    back_off_s: the pause before the next look at a server that is poor or out.
    """

    def __init__(self, server: Server, probes: Probes, changed: Callable[[], None]) -> None:
        self._server = server
        self._probes = probes
        self._changed = changed
        self._sample: deque[bool] = deque(maxlen=SAMPLE)
        self._failed = 0
        self._lives = 0
        self._until_look = 0
        self._loops = False
        self._looped_now = False
        self._placed = False
        self._found = GOOD
        self._poorly = _IN_PART
        self._good_since = self._cleared_at = float("-inf")
        self.back_off_s = FIRST_BACK_OFF_S
        self._watch: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._ticking: asyncio.TimerHandle | None = None
        server.noted = self._note

    @property
    def watching(self) -> bool:
        """True while the server is looked at, or will be again because it is poor or out."""
        return self._watch is not None or self._again is not None

    @property
    def looking(self) -> bool:
        """True while a look at the server is under way."""
        return self._watch is not None

    def start(self) -> None:
        """Look at the server now, and from then on whenever nothing comes from it."""
        self.look()
        delay = TICK_S * random.uniform(0.5, 1)  # noqa: S311 - only keeps the probes of many processes apart
        self._ticking = asyncio.get_running_loop().call_later(delay, self._tick, -1)

    def looped(self) -> None:
        """Take the server out: it leads back to us."""
        self._looped_now = True
        self._server.failures["loop"] += 1
        if not self._loops:
            self._loops = True
            _log.error(
                "upstream %s leads back to us: it is not asked until a probe shows no loop; check where it forwards to",
                self._server.endpoint,
            )
            self.settle(OUT)

    async def close(self) -> None:
        """End all probes and checks."""
        for timer in (self._ticking, self._again):
            if timer is not None:
                timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    def look(self) -> None:
        """Probe the server, unless that is being done."""
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._looking())

    def settle(self, found: int) -> None:
        """Choose the server from now on as it was found: GOOD, POOR or OUT; say so in the log if that is new."""
        server, before = self._server, self._found
        server.up, server.poor = int(found != OUT), found == POOR
        server.asked, server.answers = True, found != OUT
        server.fault = self._poorly if found == POOR else server.trouble if found == OUT else ""
        self._found = found
        self._until_look = 0
        if found == GOOD:
            self._loops = False
            self._clear()
            if before != GOOD:
                self._good_since = time.monotonic()
        elif before == GOOD and time.monotonic() - self._good_since >= STEADY_S:
            self.back_off_s = FIRST_BACK_OFF_S
        if found != before and not self._loops:
            self._say(before)
        self._plan_again()
        self._changed()

    def _say(self, before: int) -> None:
        where = self._server.endpoint
        if self._found == OUT:
            why = f" ({self._server.fault})" if self._server.fault else ""
            _log.warning("upstream %s does not answer and is taken out%s", where, why)
        elif self._found == POOR:
            _log.warning("upstream %s %s: it is asked only while no better one is up", where, self._poorly)
        elif before == OUT:
            _log.info("upstream %s answers again", where)
        else:
            _log.info("upstream %s answers well again", where)

    def _note(self, reason: str) -> None:
        """Note a query that ended: "" for a good answer, or the reason of its failure."""
        server = self._server
        if reason == BUSY:
            return
        if reason in _LIFE:
            self._lives += 1
            if not server.up and not self._loops:
                self._regain()
            elif self._until_look:
                self._until_look -= 1
                if not self._until_look:
                    self.look()
        failed = reason not in _HARMLESS
        sample = self._sample
        if len(sample) == SAMPLE:
            self._failed -= sample[0]
        sample.append(failed)
        if failed:
            self._failed += 1
            bad = len(sample) >= LEAST and self._failed >= SHARE * len(sample)
            if bad and self._found == GOOD and time.monotonic() - self._cleared_at >= LULL_S:
                self.look()

    def _regain(self) -> None:
        """Ask a server that is out again, because it answered a query; what is shown waits for a look."""
        self._server.up, self._server.poor = 1, True
        self._until_look = LEAST - 1
        self._changed()

    def _lose(self) -> None:
        """End what `_regain` began: nothing more came."""
        self._server.up, self._server.poor = 0, False
        self._until_look = 0
        self._changed()

    def _tick(self, lives: int) -> None:
        if self._lives == lives and self._found != OUT:
            self.look()
        elif self._lives == lives and self._server.up:
            self._lose()
        self._ticking = asyncio.get_running_loop().call_later(TICK_S, self._tick, self._lives)

    def _plan_again(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._found != GOOD:
            self._again = asyncio.get_running_loop().call_later(self.back_off_s, self._look_again)

    def _look_again(self) -> None:
        self.back_off_s = min(2 * self.back_off_s, LAST_BACK_OFF_S)
        self._again = None
        self.look()

    async def _looking(self) -> None:
        lives, best, before = self._lives, OUT, self._found
        self._placed = False
        for _ in range(1 if before == OUT else PROBES):
            best = min(best, await self._probe())
            if best == GOOD or best == before == POOR:
                break
        if best != GOOD and self._loops:
            best = OUT
        elif best == OUT and self._lives != lives:
            if self._placed or before == OUT:
                best, self._poorly = POOR, _IN_PART
            else:
                best = before
        self._watch = None
        self.settle(best)

    async def _probe(self) -> int:
        """Ask for a random name, twice because a datagram may be lost; return what came in time."""
        server, wait_s = self._server, min(PROBE_S, self._server.timeout_s)
        started = time.monotonic()
        self._looped_now = False
        name = self._probes.add(self)
        probe = _Probe()
        query = draw().to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0" + name + b"\0\1\0\1"
        one = Try(probe, server, query, exact=False, counted=False, now=started)
        try:
            for _ in range(2):
                if one.resends:
                    one.send(started)
                await asyncio.wait([probe.result], timeout=wait_s / 2)
        finally:
            one.leave()
            self._probes.remove(name)
        self._placed = self._placed or probe.reason != BUSY
        found = probe.result.result() if probe.result.done() and not self._looped_now else OUT
        if found != OUT:
            self._lives += 1
        if found == POOR:
            self._poorly = _POORLY[probe.reason]
        if found != GOOD:
            await asyncio.sleep(max(0.0, started + PAUSE_S - time.monotonic()))
        return found

    def _clear(self) -> None:
        self._cleared_at = time.monotonic()
        self._sample.clear()
        self._failed = 0
