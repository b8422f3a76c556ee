"""Decides which upstreams are up: by the results of queries, and by probes of its own if these look bad.

Rules:
- If SHARE of the last SAMPLE queries to a server failed (of at least LEAST), it is suspected and probed. PROBES failed
  probes in a row take it out; a good one clears it for LULL_S. Until then it is asked as before: packet loss alone
  takes no server out.
- A server that is out is probed with a doubling back-off; a good probe or an answered query brings it back. The
  back-off returns to its start only after STEADY_S up, so that a flapping server is probed less and less often.
- A probe asks for a random name that is in no other query. It is good if any answer but SERVFAIL arrives.
- If a probe arrives here as a query, the server leads back to us and is out at once; only a good probe ends that.
- A server without an answered query for about IDLE_S is probed; before the first query no server is.
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

from resolver.query.forward_datagram import draw
from resolver.query.forward_server import Server, Try

SAMPLE = 100
LEAST = 10
SHARE = 0.2
PROBES = 3
PROBE_S = 1.0
PAUSE_S = 0.25
LULL_S = 5.0
FIRST_BACK_OFF_S = 1.0
LAST_BACK_OFF_S = 30.0
STEADY_S = 60.0
IDLE_S = 60.0

_PROBE_SUFFIX = b"\x07example\0"
_PROBE_OCTETS = 27 + len(_PROBE_SUFFIX)

_log = logging.getLogger(__name__)


class Probes:
    """The probes in flight, each by the name that it asks for (wire format, lower case)."""

    def __init__(self) -> None:
        self._servers: dict[bytes, Health] = {}

    def seen(self, question: Any) -> bool:
        """Return whether a query that we received is a probe; if so, report the loop to its server's health."""
        if question.name.length != _PROBE_OCTETS:
            return False
        health = self._servers.get(bytes(question.name.octets[:_PROBE_OCTETS]))
        if health is None:
            return False
        health.looped()
        return True

    def add(self, health: "Health") -> bytes:
        """Return a new probe name, in wire format; until `remove`, a query for it from elsewhere shows a loop to it."""
        name = b"\x1a" + base64.b32encode(os.urandom(17))[:26].lower() + _PROBE_SUFFIX
        self._servers[name] = health
        return name

    def remove(self, name: bytes) -> None:
        """Forget the name."""
        del self._servers[name]


class _Probe:
    """One probe (forward_server.Owner); `good` is its result."""

    def __init__(self) -> None:
        self.good: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def answered(self, one: Try, reply: bytes) -> None:
        """Count the probe as good."""
        self._end(good=True)

    def failed(self, one: Try, reason: str, reply: bytes | None) -> None:
        """Count the probe as bad, unless the failure is an error rcode such as REFUSED: such a server is alive."""
        self._end(good=reason == "error")

    def hinted(self, one: Try) -> None:
        """Do nothing: no other server can answer for this one."""

    def _end(self, *, good: bool) -> None:
        if not self.good.done():
            self.good.set_result(good)


class Health:
    """Watches one server; `changed` is called when it is taken out or brought back.

    back_off_s: the pause before the next probe of a server that is out.
    """

    def __init__(self, server: Server, probes: Probes, changed: Callable[[], None]) -> None:
        self._server = server
        self._probes = probes
        self._changed = changed
        self._sample: deque[bool] = deque(maxlen=SAMPLE)
        self._failed = 0
        self._answered = 0
        self._loops = False
        self._looped_now = False
        self._up_since = self._cleared_at = float("-inf")
        self.back_off_s = FIRST_BACK_OFF_S
        self._watch: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        server.noted = self._note

    @property
    def watching(self) -> bool:
        """True while the server is probed: it is suspected, or out."""
        return self._watch is not None

    def start(self) -> None:
        """Start to check at intervals whether the server is idle."""
        self._next_look(self._answered)

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
            self.take_out()

    async def close(self) -> None:
        """End all probes and checks."""
        if self._idle is not None:
            self._idle.cancel()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    def _note(self, failed: bool) -> None:
        sample = self._sample
        if len(sample) == SAMPLE:
            self._failed -= sample[0]
        sample.append(failed)
        if not failed:
            self._answered += 1
            if not self._server.up and not self._loops:
                self._stop_watching()
                self.bring_back()
            return
        self._failed += 1
        bad = len(sample) >= LEAST and self._failed >= SHARE * len(sample)
        if bad and self._server.up and time.monotonic() - self._cleared_at >= LULL_S:
            self.look()

    def _next_look(self, answered: int) -> None:
        delay = IDLE_S * random.uniform(0.75, 1.25)  # noqa: S311 - only keeps the probes of many processes apart
        self._idle = asyncio.get_running_loop().call_later(delay, self._look_when_idle, answered)

    def _look_when_idle(self, answered: int) -> None:
        if self._answered == answered:
            self.look()
        self._next_look(self._answered)

    def look(self) -> None:
        """Probe the server, unless that is being done."""
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._watching())

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _watching(self) -> None:
        """Probe until the server is cleared, or taken out and back."""
        bad = 0
        while self._server.up:
            if await self._probe():
                self._clear()
                break
            bad += 1
            if bad == PROBES and self._server.up:
                _log.warning("upstream %s does not answer and is taken out", self._server.endpoint)
                self.take_out()
        while not self._server.up:
            await asyncio.sleep(self.back_off_s)
            self.back_off_s = min(2 * self.back_off_s, LAST_BACK_OFF_S)
            if await self._probe():
                self.bring_back()
        self._watch = None

    async def _probe(self) -> bool:
        """Ask for a random name, twice because a datagram may be lost; return whether it was answered in time."""
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
                await asyncio.wait([probe.good], timeout=wait_s / 2)
        finally:
            one.leave()
            self._probes.remove(name)
        if probe.good.done() and probe.good.result() and not self._looped_now:
            return True
        await asyncio.sleep(max(0.0, started + PAUSE_S - time.monotonic()))
        return False

    def take_out(self) -> None:
        """Send the server no more queries, only probes."""
        self._server.up = 0
        if time.monotonic() - self._up_since >= STEADY_S:
            self.back_off_s = FIRST_BACK_OFF_S
        self._changed()

    def bring_back(self) -> None:
        """Send the server queries again."""
        self._server.up = 1
        self._loops = False
        self._up_since = time.monotonic()
        self._clear()
        _log.info("upstream %s answers again", self._server.endpoint)
        self._changed()

    def _clear(self) -> None:
        self._cleared_at = time.monotonic()
        self._sample.clear()
        self._failed = 0
