"""Which upstream is up: judged lazily by what queries meet, and by probes of our own where that looks bad.

Rules:
- Of the last SAMPLE queries at a server SHARE failed (of LEAST at least): it is suspected, and probed. PROBES bad ones
  in a row take it out; a good one clears it, for LULL_S. Till then it is asked as before: loss alone takes nobody out.
- One that is out is probed with a back-off that doubles; a good probe or an answered query brings it back. The back-off
  starts anew only after STEADY_S up, so that one that comes and goes is asked ever more rarely.
- A probe asks for a random name of our own that nobody else asks for. A good one is any reply but SERVFAIL.
- A probe that comes to us as a query: the server leads back to us, and is out at once; only a good probe ends that.
- A server with no answered query for a minute is probed; without traffic before the first query nobody is.
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
    """The probes on their way, each by the name that it asks for (wire format, lower case)."""

    def __init__(self) -> None:
        self._servers: dict[bytes, Health] = {}

    def seen(self, question: Any) -> bool:
        """Tell whether a query that came to us is one of them, and if so, whose: it leads back to us."""
        if question.name.length != _PROBE_OCTETS:
            return False
        health = self._servers.get(bytes(question.name.octets[:_PROBE_OCTETS]))
        if health is None:
            return False
        health.looped()
        return True

    def add(self, health: "Health") -> bytes:
        """Return a new name, in wire format, that is known as this server's until `remove`."""
        name = b"\x1a" + base64.b32encode(os.urandom(17))[:26].lower() + _PROBE_SUFFIX
        self._servers[name] = health
        return name

    def remove(self, name: bytes) -> None:
        """Know the name no more."""
        del self._servers[name]


class _Probe:
    """One probe (forward_server.Owner): `good` tells how it ended."""

    def __init__(self) -> None:
        self.good: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def answered(self, one: Try, reply: bytes) -> None:
        """It answers."""
        self._end(good=True)

    def failed(self, one: Try, reason: str, reply: bytes | None) -> None:
        """It does not, or says that it will not: that is an answer of one that lives."""
        self._end(good=reason == "error")

    def _end(self, *, good: bool) -> None:
        if not self.good.done():
            self.good.set_result(good)


class Health:
    """Watches one server; `changed` is called when it comes or goes.

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
        """Look from now on from time to time whether the server is idle."""
        self._next_look(self._answered)

    def looped(self) -> None:
        """Take the server out: it leads back to us."""
        self._looped_now = True
        self._server.failures["loop"] += 1
        if not self._loops:
            self._loops = True
            _log.error("upstream %s leads back to us and is not asked until it does not", self._server.endpoint)
            self.take_out()

    async def close(self) -> None:
        """End what watches."""
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
        """Probe the server, unless it is being probed."""
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
        """Ask for a random name, twice for a datagram may be lost; tell whether it was answered in time."""
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
        """Ask the server no more, but for probes."""
        self._server.up = 0
        if time.monotonic() - self._up_since >= STEADY_S:
            self.back_off_s = FIRST_BACK_OFF_S
        self._changed()

    def bring_back(self) -> None:
        """Ask the server again."""
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
