"""Reads the numbers that leave the process from the parts that hold them: exact ones for the beat, or live ones."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sized
from typing import TYPE_CHECKING, Any

from resolver import __version__
from resolver.config.config import HELP_KINDS, Config
from resolver.core import codes
from resolver.count.metrics import (
    BOUNDED,
    BUSY,
    CAPPED,
    CPU,
    EXCHANGE,
    EXCHANGE_BUCKETS,
    EXCHANGE_SUM,
    LATENCY_QUANTILES,
    NEW_ENTRIES,
    PLAIN,
    PREFIXES,
    SATURATED,
    Labels,
    Sample,
    Series,
)
from resolver.engine.threads import threads_of
from resolver.feed.certificates import first_end
from resolver.feed.reasons import Reason, Refusal, SetAside
from resolver.query.accept_datagram import Datagrams
from resolver.query.accept_stream import Streams
from resolver.query.answer import Answer
from resolver.query.cache import Cache
from resolver.query.edge_frames import REFUSALS
from resolver.query.forward import FAILURE_REASONS, Forward, Server
from resolver.service.edge_host import EdgeHost
from resolver.service.enforcement import Enforcement
from resolver.service.in_force import InForce
from resolver.service.page_host import PageHost

if TYPE_CHECKING:
    from resolver.engine.engine import Engine

_ON_THE_BEAT = ("answers_total", "cache_answers_total", "cookies_total", "failed_answers_total")
_LIST_SERIES = {
    "blocked_queries_total": codes.BLOCKED_QUERIES,
    "blocked_attempts_total": codes.ATTEMPTS,
    CAPPED: codes.ATTEMPTS_CAPPED,
    SATURATED: codes.ATTEMPTS_SATURATED,
    "lookups_refused_total": codes.REFUSED_BEYOND_BUDGET,
    PREFIXES: codes.BLOCKED_PREFIXES,
    NEW_ENTRIES: codes.ATTEMPTS_NEW_ENTRIES,
    BOUNDED: codes.ATTEMPTS_BOUNDED,
    "attempts_bounded_saturated_total": codes.ATTEMPTS_BOUNDED_SATURATED,
}


def labels_of(config: Config) -> Labels:
    """Return all values that labels can take with this configuration."""
    threads = threads_of(config.listen.threads) if config.listen.engine == "compiled" else 0
    return Labels(
        version=__version__,
        engine=config.listen.engine,
        region=config.count.region,
        lists=tuple(one.id for one in config.lists),
        upstreams=tuple(map(str, config.upstream.every_server)),
        feed_failures=tuple(Reason),
        entries_refused=tuple(Refusal),
        entries_set_aside=tuple(SetAside),
        upstream_failures=FAILURE_REASONS,
        threads=tuple(map(str, range(threads))),
        transports=(*PLAIN, *config.edge.offered),
        edge_refusals=REFUSALS if config.edge.offered else (),
    )


class Readings:
    """Reads the counters' table and the parts. datagrams: the UDP side. page: None if it is shown elsewhere. reloaded:
    whether the last reload worked. missing: the sockets that nothing can reach."""

    def __init__(
        self,
        counters: Any,
        *,
        in_force: InForce,
        answer: Answer,
        datagrams: "Datagrams | Engine",
        cache: Cache,
        forward: Forward,
        streams: Streams,
        edge: EdgeHost,
        enforcement: Enforcement,
        page: PageHost | None,
        reloaded: Callable[[], bool],
        missing: Callable[[], Sized],
    ) -> None:
        self._counters = counters
        self._in_force = in_force
        self._answer = answer
        self._datagrams = datagrams
        self._cache = cache
        self._forward = forward
        self._streams = streams
        self._edge = edge
        self._enforcement = enforcement
        self._page = page
        self._reloaded = reloaded
        self._missing = missing

    def enforcing(self) -> bool:
        """Return whether every list is enforced and no verdict has failed since the start."""
        errors = self._answer.errors() + self._datagrams.errors()
        return self._in_force.enforced() and errors == 0

    def upstreams(self) -> Mapping[str, Server]:
        """Return the upstreams by their labels."""
        return {str(server.endpoint): server for server in self._forward.servers}

    def subscribers(self) -> int:
        """Return the operator's figure of subscribers, which a reload may change."""
        return self._in_force.config.count.subscribers

    def exact(self) -> Mapping[Series, int]:
        """Return every number that leaves on the beat, as it is now."""
        found: dict[Series, int] = {}
        self._forward.read()
        for index, (metric, label) in enumerate(codes.COUNTERS):
            if metric in _ON_THE_BEAT:
                found[Series(metric, (label,))] = self._counters[index]
        for one in self._in_force.config.lists:
            slot = self._in_force.slot(one.id)
            for metric, number in _LIST_SERIES.items():
                found[Series(metric, (one.id,))] = self._counters[codes.list_counter(slot, number)]
        rehearsal = self._in_force.rehearsal_slot()
        answers = 0 if rehearsal is None else self._counters[codes.list_counter(rehearsal, codes.BLOCKED_QUERIES)]
        found[Series("rehearsal_answers_total")] = answers
        for bucket, count in zip(EXCHANGE_BUCKETS, self._forward.buckets, strict=True):
            found[Series(EXCHANGE, (bucket,))] = count
        found[Series(EXCHANGE_SUM)] = self._forward.sum_us
        found[Series("cache_bytes")] = self._cache.used_bytes()
        found[Series("page_views_total")] = self._page.views if self._page else 0
        for kind, count in (self._page.followed if self._page else dict.fromkeys(HELP_KINDS, 0)).items():
            found[Series("page_help_total", (kind,))] = count
        found[Series("queries_in_flight")] = self._answer.in_flight + self._datagrams.waiting
        found[Series(CPU)] = int(time.process_time())
        for thread, busy in enumerate(self._datagrams.busy()):
            found[Series(BUSY, (str(thread),))] = busy
        for reason in REFUSALS if self._in_force.config.edge.offered else ():
            found[Series("edge_refused_total", (reason,))] = self._edge.edges.refused[reason]
        for server in self._forward.servers:
            for reason, count in server.failures.items():
                found[Series("upstream_failures_total", (str(server.endpoint), reason))] = count
        return found

    def live(self) -> Iterator[Sample]:
        """Yield every number that no visit to a listed name moves by itself."""
        offered = (*PLAIN, *self._in_force.config.edge.offered)
        for index, (metric, label) in enumerate(codes.COUNTERS):
            if metric not in _ON_THE_BEAT and (metric != "queries_total" or label in offered):
                yield Sample(metric, (label,), self._counters[index])
        yield Sample("connections", ("tcp",), len(self._streams.connections))
        yield Sample("enforcing", (), int(self.enforcing()))
        yield Sample("upstream_answering", (), int(self._forward.answering))
        yield Sample("config_reload_success", (), int(self._reloaded()))
        yield Sample("listen_missing", (), len(self._missing()))
        yield Sample("subscribers_covered", (), self.subscribers())
        for server in self._forward.servers:
            upstream = str(server.endpoint)
            yield Sample("upstream_up", (upstream,), int(server.answers))
            for quantile in LATENCY_QUANTILES:
                seconds = server.latency(float(quantile))
                if seconds is not None:
                    yield Sample("upstream_latency_seconds", (upstream, quantile), seconds)
        end = first_end(one.list.source for one in self._enforcement.feed)
        if end is not None:
            yield Sample("certificate_expiry_timestamp_seconds", ("feed",), end)
        yield from self._edges(offered)
        if self._enforcement.export is not None:
            yield Sample("export_secondaries_behind", (), self._enforcement.export.behind())
        yield from self._lists()

    def _edges(self, offered: Collection[str]) -> Iterator[Sample]:
        facts = self._edge.facts()
        if facts is None or offered == PLAIN:
            return
        for transport, count in self._edge.edges.open_connections().items():
            if transport in offered:
                yield Sample("connections", (transport,), count)
        yield Sample("edges_connected", (), facts.connected)
        yield Sample("edge_handshakes_total", (), self._edge.edges.handshakes)
        if facts.expires:
            yield Sample("certificate_expiry_timestamp_seconds", ("edge",), facts.expires)

    def _lists(self) -> Iterator[Sample]:
        export = self._enforcement.export
        for facts in self._enforcement.facts():
            label = (facts.list_id,)
            is_exported = export is not None and facts.list_id in export.lists
            yield Sample("list_exported", label, int(is_exported))
            if export is not None and is_exported:
                yield Sample("export_in_step", label, int(export.in_step(facts.list_id)))
            yield Sample("list_serial", label, facts.serial)
            yield Sample("list_entries", label, facts.entries)
            yield Sample("list_in_force_timestamp_seconds", label, facts.in_force_since)
            yield Sample("list_expiry_timestamp_seconds", label, facts.hard_limit_at)
            yield Sample("list_suspended_entries", label, facts.suspended_entries)
            yield Sample("list_enforced", label, int(facts.enforced))
            yield Sample("list_forwarded", label, int(facts.forwarded))
            yield Sample("list_held", label, int(facts.held))
            yield Sample("feed_last_success_timestamp_seconds", label, facts.last_success)
            yield Sample("list_poll_seconds", label, facts.poll_s)
            yield Sample("feed_fresh_until_timestamp_seconds", label, facts.fresh_until)
            yield Sample("receipts_undelivered", label, facts.receipts_due)
            if facts.fleet_since is not None:
                yield Sample("fleet_nodes_missing", label, len(facts.fleet_missing))
            for action, due in facts.unconfirmed.items():
                yield Sample("decisions_unconfirmed", (facts.list_id, action), len(due))
                first_due = min(due, default=0)
                yield Sample("decision_confirmation_due_timestamp_seconds", (facts.list_id, action), first_due)
            yield Sample("selftest_success", label, int(facts.selftest_passed))
            for reason, count in facts.failures.items():
                yield Sample("feed_failures_total", (facts.list_id, reason), count)
            yield Sample("breaker_open", label, int(facts.breaker_open))
            yield Sample("list_deadline_timestamp_seconds", label, facts.due_by)
            yield Sample("list_taken_out", label, int(facts.taken_out > 0))
            yield Sample("list_receipt_timestamp_seconds", label, facts.receipt_at)
            first_release = facts.releases[0].until if facts.releases else 0
            yield Sample("list_release_expiry_timestamp_seconds", label, first_release)
            for reason, count in facts.newest_set_aside.items():
                yield Sample("list_set_aside", (facts.list_id, reason), count)
            for reason, count in facts.newest_refused.items():
                yield Sample("feed_entries_refused", (facts.list_id, reason), count)
