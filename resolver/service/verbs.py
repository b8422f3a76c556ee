"""The verbs of the control socket that concern the service: status, reload, hand-over, flush and ask.

Rules:
- `status` is made of what /metrics shows live, of what was published and of the configuration: it adds no number from
  which a block could be worked out. The use of the cache is the figure of the last beat.
- `flush` reports how many answers it removed for one name, or for a subtree of at least two labels. For a wider subtree
  it reports no number: beside the live count of queries that would show how many of them were blocked. Cached answers
  that were blocked are removed and never counted: the count would show that somebody asked.
- `ask` judges as for the given client and keeps nothing of it; of a list the steps show the id alone.
- Messages are our own words: nothing of a request is repeated.
"""

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from msgspec.structs import replace

from resolver import __version__
from resolver.config.config import Config, List, warnings
from resolver.config.values import address_octets
from resolver.control import requests, server
from resolver.control.status import EdgeHealth, Reloaded, Status, UpstreamHealth, to_json
from resolver.core.name import Name, unfold
from resolver.count.metrics import Sample, Series
from resolver.count.publish import Published
from resolver.feed import facts
from resolver.feed.facts import ListFacts
from resolver.feed.places import Places
from resolver.feed.state import State
from resolver.query.cache import Cache
from resolver.query.forward import Server
from resolver.query.trace import Trace
from resolver.service.counting import Counting
from resolver.service.edge_host import EdgeHost
from resolver.service.enforcement import Enforcement
from resolver.service.hand_over import NotTaken
from resolver.service.readings import Readings

LEAST_LABELS: Final = 2
PAUSE_S: Final = 0.001
"""Pause between two stretches of a flush, in seconds: queries come first."""


class Refused(Exception):
    """A new configuration that was not taken; the text is for the operator, `where` (file and keys) also for the log.

    restart: nothing is wrong with it, but only a restart can take it.
    """

    def __init__(self, said: str, where: str, *, restart: bool = False) -> None:
        super().__init__(said)
        self.where = where
        self.restart = restart


class Running(Protocol):
    """What the verbs read and call of the running service. started: unix seconds."""

    path: Path
    config: Config
    started: float
    last_reload: Reloaded | None
    readings: Readings
    counting: Counting
    enforcement: Enforcement
    edge: EdgeHost
    cache: Cache
    trace: Trace

    def unready(self) -> str:
        """Return why the service does not do all that it is configured to do, "" if it does."""
        ...

    def missing(self) -> tuple[str, ...]:
        """Return a line for each configured socket that nothing can reach now."""
        ...

    async def reload(self) -> tuple[str, ...]:
        """Take the configuration file; return the keys that changed, or raise Refused."""
        ...

    async def hand_over(self) -> int:
        """Have a new process take over; return its number, or raise NotTaken."""
        ...


class ServiceVerbs:
    """Carries out requests that concern the service."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._one_flush = asyncio.Lock()

    def verbs(self) -> server.Verbs:
        """Return each request with the method that carries it out."""
        return {
            requests.Status: self._status,
            requests.Reload: self._reload,
            requests.HandOver: self._hand_over,
            requests.Flush: self._flush,
            requests.Ask: self._ask,
        }

    async def _status(self, _: requests.Status, _uid: int) -> requests.Reply:
        status = self.status()
        states = [(one.list, one.state) for one in self._running.enforcement.feed]
        lists = await asyncio.to_thread(self._with_files, status.lists, states)
        return requests.StatusReply(health=to_json(replace(status, lists=lists)))

    def _with_files(self, lists: Iterable[ListFacts], states: Iterable[tuple[List, State]]) -> tuple[ListFacts, ...]:
        """Return the lists with what only the disk knows; what cannot be read is left out, and is in the log."""
        receipts = Places(self._running.config.state.directory).receipts
        both = zip(lists, states, strict=True)
        return tuple(self._with_files_of(found, one, state, receipts) for found, (one, state) in both)

    def _with_files_of(self, found: ListFacts, one: List, state: State, receipts: Path) -> ListFacts:
        with suppress(OSError):
            found = facts.with_files(found, one, state, receipts)
        with suppress(OSError):
            reports = self._running.enforcement.reports(one.id, state.in_force) if state.in_force else None
            found = facts.with_reports(found, reports)
        return found

    async def _reload(self, _: requests.Reload, _uid: int) -> requests.Reply:
        try:
            keys = await self._running.reload()
        except Refused as refused:
            return requests.Refused(said=str(refused))
        file = str(self._running.path)
        return requests.ReloadReply(file=file, changed=keys, warnings=warnings(self._running.config))

    async def _hand_over(self, _: requests.HandOver, _uid: int) -> requests.Reply:
        try:
            return requests.HandOverReply(process=await self._running.hand_over())
        except NotTaken as error:
            return requests.Failed(said=f"this process goes on: {error}")

    async def _flush(self, request: requests.Flush, _uid: int) -> requests.Reply:
        wire, name = bytes.fromhex(request.name), Name()
        if not wire or unfold(wire, 0, len(wire), name) != len(wire):
            return requests.Failed(said="not a domain name")
        async with self._one_flush:
            pause = partial(asyncio.sleep, PAUSE_S)
            forgotten = await self._running.cache.flush(wire, subtree=request.subtree, pause=pause)
        counted = not request.subtree or name.labels >= LEAST_LABELS
        return requests.FlushReply(forgotten=forgotten if counted else None)

    def _ask(self, request: requests.Ask, _uid: int) -> requests.Reply | Awaitable[requests.Reply]:
        try:
            client = address_octets(str(ipaddress.ip_address(request.client)))
        except ValueError:
            return requests.Failed(said="not a client's address: expected one such as 192.0.2.7 or 2001:db8::7")
        return self._walk(bytes.fromhex(request.packet), client)

    async def _walk(self, packet: bytes, client: bytes) -> requests.Reply:
        started = time.monotonic()
        walked = await self._running.trace.walk(packet, client)
        return requests.AskReply(
            steps=walked.steps,
            reply=None if walked.reply is None else bytes(walked.reply).hex(),
            seconds=time.monotonic() - started,
        )

    def status(self) -> Status:
        """Return the status of the service now, without what only the disk knows of its lists."""
        running, config = self._running, self._running.config
        live, published = _by_metric(running.readings.live()), running.counting.published()
        edges = running.edge.facts()
        return Status(
            version=__version__,
            config=str(running.path),
            started=int(running.started),
            ready=not running.unready(),
            enforcing=bool(live["enforcing"][()]),
            answering=bool(live["upstream_answering"][()]),
            lists=running.enforcement.facts(),
            upstreams=tuple(_upstreams(running.readings.upstreams(), live, published)),
            cache_size=int(config.cache.size),
            cache_used=published.values[Series("cache_bytes")],
            beat=published.at,
            in_flight=published.values[Series("queries_in_flight")],
            connections=int(live["connections"]["tcp",]),
            connections_bound=config.limits.connections,
            dropped=_counts(live["packets_dropped_total"]),
            failed={labels[0]: count for labels, count in _of(published, "failed_answers_total").items()},
            reload=running.last_reload,
            missing=running.missing(),
            edges=EdgeHealth(**edges._asdict()) if edges else None,
            warnings=(*warnings(config), *filter(None, [server.missing(config.control.group)])),
        )


_Live = dict[str, dict[tuple[str, ...], float]]


def _by_metric(samples: Iterable[Sample]) -> _Live:
    found: _Live = {}
    for one in samples:
        found.setdefault(one.metric, {})[one.labels] = one.value
    return found


def _of(published: Published, metric: str) -> dict[tuple[str, ...], int]:
    return {series.labels: count for series, count in published.values.items() if series.metric == metric}


def _upstreams(servers: Mapping[str, Server], live: _Live, published: Published) -> Iterable[UpstreamHealth]:
    took = live.get("upstream_latency_seconds", {})
    for upstream, one in servers.items():
        failures = _of(published, "upstream_failures_total")
        yield UpstreamHealth(
            upstream=upstream,
            asked=one.asked,
            up=one.answers,
            fault=one.fault,
            zones=one.zones,
            p50_s=took.get((upstream, "0.5")),
            p99_s=took.get((upstream, "0.99")),
            failures={labels[1]: count for labels, count in failures.items() if labels[0] == upstream},
        )


def _counts(samples: Mapping[tuple[str, ...], float]) -> dict[str, int]:
    return {labels[0]: int(count) for labels, count in samples.items()}
