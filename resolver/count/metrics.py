"""The closed table of all metrics, and the closed sets that their labels draw from.

Rules:
1. A metric that is not in `METRICS`, or a label value that is not in `Labels`, is never shown.
2. Every number from which a block could be worked out is on the beat. Live are only numbers that no visit moves, or
   that a neighbour's exporter shows anyway. A number that only unblocked queries move (they wait, they fail upstream)
   reveals a block by standing still: it is on the beat too.
3. Every series of the beat exists from the start: none may appear because something happened.
4. No label ever takes a value from a packet: no client, no name, no rule, no language.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal, NamedTuple

from resolver.config.config import HELP_KINDS
from resolver.core import codes
from resolver.count import definition

PREFIX: Final = "blocklist_resolver_"

EXCHANGE: Final = "upstream_exchange_seconds"
EXCHANGE_SUM: Final = f"{EXCHANGE}_sum"
EXCHANGE_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the histogram's buckets, in seconds; one more bucket takes the rest."""

EXCHANGE_BUCKETS: Final = (*map(str, EXCHANGE_BOUNDS_S), "+Inf")
"""Label `le` of each bucket. The exact number of a bucket is its own, not cumulative."""

LATENCY_QUANTILES: Final = ("0.5", "0.9", "0.99")

PLAIN: Final = ("udp", "tcp")
"""The transports of every service; the encrypted ones have series where they are offered."""

CACHE_STEP_BYTES: Final = 1024
SUM_STEP_US: Final = 100_000
BUSY: Final = "engine_busy_ratio"
"""Of each thread of the compiled engine; its exact number is in hundredths."""
BOUNDED: Final = "blocked_attempts_bounded_total"
PREFIXES: Final = "blocked_prefixes_total"
NEW_ENTRIES: Final = "attempts_new_entries_total"
CAPPED: Final = "attempts_capped_total"
SATURATED: Final = "attempts_saturated"
CPU: Final = "process_cpu_seconds_total"
"""Its exact number is in whole seconds."""


class Series(NamedTuple):
    """One series: a metric's name without the prefix, and its label values in the table's order."""

    metric: str
    labels: tuple[str, ...] = ()


class Sample(NamedTuple):
    """One live value."""

    metric: str
    labels: tuple[str, ...]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """All values that labels can have in this process."""

    version: str
    engine: str
    region: str
    lists: tuple[str, ...]
    upstreams: tuple[str, ...]
    feed_failures: tuple[str, ...]
    entries_refused: tuple[str, ...]
    entries_set_aside: tuple[str, ...]
    upstream_failures: tuple[str, ...]
    threads: tuple[str, ...] = ()
    transports: tuple[str, ...] = PLAIN
    edge_refusals: tuple[str, ...] = ()

    @property
    def connected(self) -> tuple[str, ...]:
        """Return the transports that have connections."""
        return tuple(one for one in self.transports if one != "udp")

    def values(self, source: str) -> tuple[str, ...]:
        """Return the closed set of a label's values, by the source that the table names."""
        if source in _FIXED:
            return _FIXED[source]
        found: str | tuple[str, ...] = getattr(self, source)
        return (found,) if isinstance(found, str) else found


_FIXED: Final[dict[str, tuple[str, ...]]] = {
    "definition": (definition.VERSION,),
    "rcodes": codes.RCODES,
    "cache_kinds": codes.CACHE_KINDS,
    "cookie_kinds": codes.COOKIE_KINDS,
    "help_kinds": HELP_KINDS,
    "failed_reasons": codes.FAILED_REASONS,
    "drop_reasons": codes.DROP_REASONS,
    "certificates": ("feed", "edge"),
    "confirmed": ("rollback", "release"),
    "quantiles": LATENCY_QUANTILES,
}


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of the table; a label is its name and the source of its values (see `Labels.values`).

    only_with: the source of values without which there is no series.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram", "summary"]
    help: str
    leaves: Literal["beat", "live"]
    labels: tuple[tuple[str, str], ...] = ()
    only_with: str = ""

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.labels)

    def combinations(self, labels: Labels) -> Iterator[tuple[str, ...]]:
        """Return all combinations of label values that this metric can have, in order."""
        if self.only_with and not labels.values(self.only_with):
            return iter(())
        return product(*(labels.values(source) for _, source in self.labels))


_LIST: Final = ("list", "lists")
_TRANSPORT: Final = ("transport", "transports")
_UPSTREAM: Final = ("upstream", "upstreams")

METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        "blocked_attempts_total",
        "counter",
        f"{definition.IN_PRINT[0].upper()}{definition.IN_PRINT[1:]}. {definition.CAVEAT}",
        "beat",
        (_LIST,),
    ),
    Metric(
        "blocked_queries_total",
        "counter",
        f"Queries answered as blocked (definition {definition.VERSION}). {definition.CAVEAT}",
        "beat",
        (_LIST,),
    ),
    Metric(
        CAPPED,
        "counter",
        f"Attempts above {definition.CAPS}, not counted.",
        "beat",
        (_LIST,),
    ),
    Metric(
        SATURATED,
        "gauge",
        "1 if the table that tells attempts apart was full within the last beat.",
        "beat",
        (_LIST,),
    ),
    Metric(
        PREFIXES,
        "counter",
        "Client prefixes (/32, /56) with an attempt for an entry that is not new, each once a day (UTC).",
        "beat",
        (_LIST,),
    ),
    Metric(
        NEW_ENTRIES,
        "counter",
        "Attempts for entries that are new in the serial in force.",
        "beat",
        (_LIST,),
    ),
    Metric(
        BOUNDED,
        "counter",
        f"Attempts, at most {definition.BOUNDED_A_DAY} a day for a client prefix (/32, /56), for figures with noise.",
        "beat",
        (_LIST,),
    ),
    Metric(
        "attempts_bounded_saturated_total",
        "counter",
        "Attempts that are in neither of these counts of a day, because its table was full.",
        "beat",
        (_LIST,),
    ),
    Metric(
        "lookups_refused_total",
        "counter",
        "Blocked queries of clients whose prefix asked for more different entries than limits.distinct_blocked allows.",
        "beat",
        (_LIST,),
    ),
    Metric(
        "rehearsal_answers_total",
        "counter",
        "Queries for rehearsal.name that were answered as blocked; in no figure of a list.",
        "beat",
    ),
    Metric("answers_total", "counter", "Answers sent, by response code.", "beat", (("rcode", "rcodes"),)),
    Metric(
        "cache_answers_total",
        "counter",
        "Look-ups in the cache, by result.",
        "beat",
        (("kind", "cache_kinds"),),
    ),
    Metric(
        "cookies_total",
        "counter",
        "Queries with a DNS cookie: without a server's part, with a good one, or with a bad one.",
        "beat",
        (("kind", "cookie_kinds"),),
    ),
    Metric("cache_bytes", "gauge", "Memory that kept answers take, rounded down.", "beat"),
    Metric(EXCHANGE, "histogram", "Time from a query sent upstream to its answer.", "beat"),
    Metric("page_views_total", "counter", f"Warning pages shown. {definition.CAVEAT}", "beat"),
    Metric(
        "page_help_total",
        "counter",
        "Links to help on the warning page that were followed, by kind of help.",
        "beat",
        (("kind", "help_kinds"),),
    ),
    Metric("list_serial", "gauge", "Serial of the list in force.", "live", (_LIST,)),
    Metric("list_entries", "gauge", "Entries of the list in force.", "live", (_LIST,)),
    Metric("list_in_force_timestamp_seconds", "gauge", "When the list came in force.", "live", (_LIST,)),
    Metric("list_expiry_timestamp_seconds", "gauge", "Hard limit of the list in force.", "live", (_LIST,)),
    Metric("list_held", "gauge", "1 while a newer list is held back by the guard.", "live", (_LIST,)),
    Metric("list_poll_seconds", "gauge", "How often the list's source is polled.", "live", (_LIST,)),
    Metric("feed_last_success_timestamp_seconds", "gauge", "Last poll that verified.", "live", (_LIST,)),
    Metric(
        "feed_fresh_until_timestamp_seconds",
        "gauge",
        "When the source's newest metadata stops to be fresh; 0 if it does not say.",
        "live",
        (_LIST,),
    ),
    Metric(
        "feed_failures_total",
        "counter",
        "Updates that failed, by reason.",
        "live",
        (_LIST, ("reason", "feed_failures")),
    ),
    Metric(
        "feed_entries_refused",
        "gauge",
        "Lines of the newest list that were refused, by reason.",
        "live",
        (_LIST, ("reason", "entries_refused")),
    ),
    Metric(
        "list_set_aside",
        "gauge",
        "Lines of the newest list that were set aside, by reason.",
        "live",
        (_LIST, ("reason", "entries_set_aside")),
    ),
    Metric(
        "list_suspended_entries",
        "gauge",
        "Entries of the list in force that do not block: set aside until persons approve them.",
        "live",
        (_LIST,),
    ),
    Metric("breaker_open", "gauge", "1 while new entries block unusually many; they stay in force.", "live", (_LIST,)),
    Metric(
        "list_deadline_timestamp_seconds",
        "gauge",
        "Deadline of the oldest newer list whose names are not in force; 0 if none waits.",
        "live",
        (_LIST,),
    ),
    Metric(
        "list_taken_out",
        "gauge",
        "1 while a person has taken a list out and waits for a corrected one; nothing fails or is late then.",
        "live",
        (_LIST,),
    ),
    Metric(
        "list_receipt_timestamp_seconds", "gauge", "When the last receipt of the list was written.", "live", (_LIST,)
    ),
    Metric(
        "list_release_expiry_timestamp_seconds",
        "gauge",
        "When the first release that concerns the list ends; 0 if there is none.",
        "live",
        (_LIST,),
    ),
    Metric(
        "decisions_unconfirmed",
        "gauge",
        "Decisions of one person in effect that nobody else has confirmed, by action.",
        "live",
        (_LIST, ("action", "confirmed")),
    ),
    Metric(
        "decision_confirmation_due_timestamp_seconds",
        "gauge",
        "When the first of these must be confirmed; 0 if there is none.",
        "live",
        (_LIST, ("action", "confirmed")),
    ),
    Metric(
        "receipts_undelivered",
        "gauge",
        "Signed statements about the list that its authority does not have yet.",
        "live",
        (_LIST,),
    ),
    Metric(
        "fleet_nodes_missing",
        "gauge",
        "Nodes of the fleet that have not reported the list in force; on a compile host that collects receipts.",
        "live",
        (_LIST,),
    ),
    Metric(
        "certificate_expiry_timestamp_seconds",
        "gauge",
        "When the first certificate expires that the sources need (feed), or that clients verify (edge).",
        "live",
        (("use", "certificates"),),
    ),
    Metric("selftest_success", "gauge", "1 if the last self-test of the list passed.", "live", (_LIST,)),
    Metric("enforcing", "gauge", "1 while every list is enforced without an error.", "live"),
    Metric("list_enforced", "gauge", "1 while the list is enforced.", "live", (_LIST,)),
    Metric(
        "list_forwarded",
        "gauge",
        "1 while the list is not in force and names that only it would block are forwarded.",
        "live",
        (_LIST,),
    ),
    Metric(
        "list_exported",
        "gauge",
        "1 while the names of the list leave sealed storage for secondaries ([export]).",
        "live",
        (_LIST,),
    ),
    Metric(
        "export_in_step",
        "gauge",
        "1 while secondaries are given the list as it is in force; only of lists that are exported.",
        "live",
        (_LIST,),
    ),
    Metric(
        "export_secondaries_behind",
        "gauge",
        "Secondaries of export.zone.notify that have not transferred the newest serial; only if lists are exported.",
        "live",
    ),
    Metric(
        "queries_total",
        "counter",
        "Queries received, before any verdict, by transport.",
        "live",
        (_TRANSPORT,),
    ),
    Metric(
        "failed_answers_total",
        "counter",
        "Queries that could not be answered, by reason.",
        "beat",
        (("reason", "failed_reasons"),),
    ),
    Metric(
        "packets_dropped_total",
        "counter",
        "Packets left without an answer, by reason.",
        "live",
        (("reason", "drop_reasons"),),
    ),
    Metric(
        BUSY,
        "gauge",
        "Share of the time since the last beat in which a thread of the compiled engine worked, in hundredths.",
        "beat",
        (("thread", "threads"),),
    ),
    Metric(CPU, "counter", "Processor time of the service, its threads included, in whole seconds.", "beat"),
    Metric("queries_in_flight", "gauge", "Queries that wait for an upstream, at the beat, rounded down.", "beat"),
    Metric(
        "connections",
        "gauge",
        "Open connections of clients, by transport.",
        "live",
        (("transport", "connected"),),
    ),
    Metric(
        "edges_connected",
        "gauge",
        "Processes of encrypted transports that are connected and alive.",
        "live",
        only_with="edge_refusals",
    ),
    Metric(
        "edge_handshakes_total",
        "counter",
        "Handshakes of TLS and QUIC that came about, as the edges report them.",
        "live",
        only_with="edge_refusals",
    ),
    Metric(
        "edge_refused_total",
        "counter",
        "Connections and requests that the edges refused, by reason.",
        "beat",
        (("reason", "edge_refusals"),),
    ),
    Metric("upstream_up", "gauge", "1 while the upstream answers.", "live", (_UPSTREAM,)),
    Metric("upstream_answering", "gauge", "1 while at least one upstream answers.", "live"),
    Metric(
        "upstream_latency_seconds",
        "summary",
        "Quantiles of the upstream's response time over its last exchanges, once there are 100.",
        "live",
        (_UPSTREAM, ("quantile", "quantiles")),
    ),
    Metric(
        "upstream_failures_total",
        "counter",
        "Exchanges with the upstream that failed, by reason.",
        "beat",
        (_UPSTREAM, ("reason", "upstream_failures")),
    ),
    Metric(
        "subscribers_covered", "gauge", "Subscribers behind these resolvers, as the operator states.", "live"
    ),
    Metric(
        "config_reload_success", "gauge", "1 if the last reload of the configuration succeeded.", "live"
    ),
    Metric("listen_missing", "gauge", "Configured sockets that no query or request can reach now.", "live"),
    Metric("publish_timestamp_seconds", "gauge", "Beat on which the counts shown were published.", "live"),
    Metric(
        "build_info",
        "gauge",
        "Always 1; its labels name the version, the engine, the definition of counts and the region.",
        "live",
        (("version", "version"), ("engine", "engine"), ("definition", "definition"), ("region", "region")),
    ),
)


def of_beat(labels: Labels) -> Iterator[Series]:
    """Yield every series of the beat as the exact numbers name it (each histogram bucket is a series)."""
    for metric in METRICS:
        if metric.leaves != "beat":
            continue
        if metric.kind == "histogram":
            yield from (Series(metric.name, (bucket,)) for bucket in EXCHANGE_BUCKETS)
            yield Series(EXCHANGE_SUM)
        else:
            yield from (Series(metric.name, values) for values in metric.combinations(labels))
