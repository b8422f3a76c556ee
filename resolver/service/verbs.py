"""The operator's desk: what the control socket's verbs do in the service.

Rules:
- `status` is made of what /metrics shows live, of what was published and of the configuration: it adds no number from
  which a block could be worked out. How much of the cache is used is the figure of the last beat.
- `flush` tells how many answers it forgot, for one name or a subtree of at least two labels. Of a wider subtree it
  tells no number: beside the live count of queries it would tell how many of them were blocked. Answers that were kept
  as blocked are forgotten and never in the number: it would tell that somebody asked.
- `ask` judges as for that client and keeps nothing of the client; the steps name no list.
- A request is checked here: whatever it holds is refused in our own words.
"""

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import replace

from resolver import __version__
from resolver.cli.screen_list import ListHealth
from resolver.cli.screen_service import Health, Reloaded, UpstreamHealth, told
from resolver.config.config import Config, List, warnings
from resolver.config.values import address_octets
from resolver.control import server
from resolver.core.name import Name, unfold
from resolver.count.metrics import Sample, Series
from resolver.count.publish import Published
from resolver.feed import facts
from resolver.feed.fleet_receipts import Reports as FleetReports
from resolver.feed.poll import Feed
from resolver.feed.release import Release
from resolver.feed.state import Record, State

MAX_NAME_OCTETS = 255
MAX_PACKET_OCTETS = 4096
LEAST_LABELS = 2


class Refused(Exception):
    """A new configuration that stays out; the text is for who asked, `where` (file and keys) also for the log.

    restart: nothing is wrong with it, but it takes one.
    """

    def __init__(self, said: str, where: str, *, restart: bool = False) -> None:
        super().__init__(said)
        self.where = where
        self.restart = restart


Reports = Callable[[str, Record], FleetReports | None]
"""Who of a fleet has reported a list's record in force; None where this host does not ask. OSError."""

Walk = Callable[[bytes, bytes], Awaitable[Any]]


class Flush(Protocol):
    """Forgets what is kept for a name in wire format, and below it; returns how many answers that were."""

    def __call__(self, name: bytes, *, subtree: bool) -> Awaitable[int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the desk reads and calls.

    reload: takes the configuration file and returns the keys that changed, or raises Refused; `last_reload` tells of
    the last one. walk: (packet, client in 16 octets) to the steps and the reply.
    """

    path: Path
    started: float
    config: Callable[[], Config]
    ready: Callable[[], bool]
    live: Callable[[], Iterable[Sample]]
    published: Callable[[], Published]
    feed: Feed
    releases: Iterable[Release]
    reports: Reports
    last_reload: Callable[[], Reloaded | None]
    reload: Callable[[], tuple[str, ...]]
    flush: Flush
    walk: Walk


class Desk:
    """Answers requests of the control socket."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._one_flush = asyncio.Lock()

    def verbs(self) -> Mapping[str, server.Verb]:
        """Return what can be asked."""
        return {"status": self._status, "reload": self._reload, "flush": self._flush, "ask": self._ask}

    async def _status(self, _: server.Request) -> server.Answer:
        health = self.health()
        states = [(one.list, one.state) for one in self._parts.feed]
        lists = await asyncio.to_thread(self._with_files, health.lists, states)
        return {"outcome": server.DONE, "health": told(replace(health, lists=lists))}

    def _with_files(self, lists: Iterable[ListHealth], states: Iterable[tuple[List, State]]) -> tuple[ListHealth, ...]:
        """The lists with what only the disk knows; what cannot be read is left out, the log tells of it."""
        receipts = Path(self._parts.config().state.directory) / "receipts"
        both = zip(lists, states, strict=True)
        return tuple(self._with_files_of(health, one, state, receipts) for health, (one, state) in both)

    def _with_files_of(self, health: ListHealth, one: List, state: State, receipts: Path) -> ListHealth:
        with suppress(OSError):
            health = facts.with_files(health, one, state, receipts)
        with suppress(OSError):
            reports = self._parts.reports(one.id, state.in_force) if state.in_force else None
            if reports is not None:
                health = replace(health, fleet_hosts=reports.nodes, fleet_missing=reports.missing)
        return health

    def _reload(self, _: server.Request) -> server.Answer:
        try:
            keys = self._parts.reload()
        except Refused as refused:
            return {"outcome": server.REFUSED, "said": str(refused)}
        return {
            "outcome": server.DONE,
            "file": str(self._parts.path),
            "changed": keys,
            "warnings": warnings(self._parts.config()),
        }

    async def _flush(self, asked: server.Request) -> server.Answer:
        wire, subtree = _octets_of(asked.get("name"), MAX_NAME_OCTETS), asked.get("subtree") is True
        name = Name()
        if not wire or unfold(wire, 0, len(wire), name) != len(wire):
            return server.failed("not a domain name")
        async with self._one_flush:
            forgotten = await self._parts.flush(wire, subtree=subtree)
        tells = not subtree or name.labels >= LEAST_LABELS
        return {"outcome": server.DONE, "forgotten": forgotten if tells else None}

    def _ask(self, asked: server.Request) -> server.Answer | Awaitable[server.Answer]:
        packet = _octets_of(asked.get("packet"), MAX_PACKET_OCTETS)
        try:
            client = address_octets(str(ipaddress.ip_address(str(asked.get("as")))))
        except ValueError:
            return server.failed("not a client's address: expected one such as 192.0.2.7 or 2001:db8::7")
        if packet is None:
            return server.failed("not a query")
        return self._walk(packet, client)

    async def _walk(self, packet: bytes, client: bytes) -> server.Answer:
        started = time.monotonic()
        walked = await self._parts.walk(packet, client)
        return {
            "outcome": server.DONE,
            "steps": walked.steps,
            "reply": None if walked.reply is None else bytes(walked.reply).hex(),
            "seconds": time.monotonic() - started,
        }

    def health(self) -> Health:
        """Return what may be known of the service now."""
        parts = self._parts
        config, live, published = parts.config(), _by_metric(parts.live()), parts.published()
        return Health(
            version=__version__,
            config=str(parts.path),
            started=int(parts.started),
            ready=parts.ready(),
            enforcing=bool(live["enforcing"][()]),
            lists=tuple(self._lists()),
            upstreams=tuple(_upstreams(live, published)),
            cache_size=int(config.cache.size),
            cache_used=published.values[Series("cache_bytes")],
            beat=published.at,
            in_flight=published.values[Series("queries_in_flight")],
            connections=int(sum(live["connections"].values())),
            connections_bound=config.limits.connections,
            dropped=_counts(live["packets_dropped_total"]),
            failed={labels[0]: count for labels, count in _of(published, "failed_answers_total").items()},
            reload=parts.last_reload(),
            warnings=(*warnings(config), *filter(None, [server.missing(config.control.group)])),
        )

    def _lists(self) -> Iterable[ListHealth]:
        now = time.time()
        for said, one in zip(self._parts.feed.facts(), self._parts.feed, strict=True):
            yield replace(
                facts.with_releases(facts.of_state(one.list, one.state, now), self._parts.releases),
                live=True,
                enforced=said.enforced or said.lifted,
                lifted=said.lifted,
                last_success=said.last_success,
                failures={str(reason): count for reason, count in said.failures.items()},
                selftest_passed=said.selftest_passed,
                breaker_open=said.breaker_open,
                due_at=said.deadline,
                failing_since=one.failing_since,
                failing={str(reason): count for reason, count in one.failing.items()},
                fresh_until=one.fresh_until,
            )


_Live = dict[str, dict[tuple[str, ...], float]]


def _by_metric(samples: Iterable[Sample]) -> _Live:
    found: _Live = {}
    for one in samples:
        found.setdefault(one.metric, {})[one.labels] = one.value
    return found


def _of(published: Published, metric: str) -> dict[tuple[str, ...], int]:
    return {series.labels: count for series, count in published.values.items() if series.metric == metric}


def _upstreams(live: _Live, published: Published) -> Iterable[UpstreamHealth]:
    took = live.get("upstream_latency_seconds", {})
    for (upstream,), up in live["upstream_up"].items():
        failures = _of(published, "upstream_failures_total")
        yield UpstreamHealth(
            upstream=upstream,
            up=bool(up),
            p50_s=took.get((upstream, "0.5")),
            p99_s=took.get((upstream, "0.99")),
            failures={labels[1]: count for labels, count in failures.items() if labels[0] == upstream},
        )


def _counts(samples: Mapping[tuple[str, ...], float]) -> dict[str, int]:
    return {labels[0]: int(count) for labels, count in samples.items()}


def _octets_of(text: object, most: int) -> bytes | None:
    """Return the octets that `text` writes in hexadecimal, at most so many; None where it does not."""
    if not isinstance(text, str) or len(text) > 2 * most:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None
