"""The table: the names that dashboards depend on, on the side of the beat where they belong."""

import re

from resolver.count.metrics import EXCHANGE_BUCKETS, METRICS, Metric, Series, of_beat
from tests.unit.count.labels import LABELS

BEAT = {
    "blocked_attempts_total{list}",
    "blocked_queries_total{list}",
    "answers_total{rcode}",
    "cache_answers_total{kind}",
    "cookies_total{kind}",
    "cache_bytes",
    "engine_busy_ratio{thread}",
    "process_cpu_seconds_total",
    "upstream_exchange_seconds",
    "page_views_total",
    "page_help_total{kind}",
    "attempts_capped_total{list}",
    "attempts_saturated{list}",
    "blocked_prefixes_total{list}",
    "attempts_new_entries_total{list}",
    "blocked_attempts_bounded_total{list}",
    "attempts_bounded_saturated_total{list}",
    "lookups_refused_total{list}",
    "rehearsal_answers_total",
    "upstream_failures_total{upstream,reason}",
    "queries_in_flight",
    "failed_answers_total{reason}",
    "edge_refused_total{reason}",
}
LIVE = {
    "list_serial{list}",
    "list_entries{list}",
    "list_in_force_timestamp_seconds{list}",
    "list_expiry_timestamp_seconds{list}",
    "feed_last_success_timestamp_seconds{list}",
    "feed_failures_total{list,reason}",
    "feed_entries_refused{list,reason}",
    "list_held{list}",
    "queries_total{transport}",
    "packets_dropped_total{reason}",
    "list_set_aside{list,reason}",
    "breaker_open{list}",
    "list_suspended_entries{list}",
    "list_deadline_timestamp_seconds{list}",
    "list_taken_out{list}",
    "list_poll_seconds{list}",
    "feed_fresh_until_timestamp_seconds{list}",
    "decisions_unconfirmed{list,action}",
    "decision_confirmation_due_timestamp_seconds{list,action}",
    "receipts_undelivered{list}",
    "fleet_nodes_missing{list}",
    "list_exported{list}",
    "export_in_step{list}",
    "export_secondaries_behind",
    "list_receipt_timestamp_seconds{list}",
    "list_release_expiry_timestamp_seconds{list}",
    "certificate_expiry_timestamp_seconds{use}",
    "selftest_success{list}",
    "enforcing",
    "list_enforced{list}",
    "list_forwarded{list}",
    "upstream_up{upstream}",
    "upstream_answering",
    "upstream_latency_seconds{upstream,quantile}",
    "connections{transport}",
    "edges_connected",
    "edge_handshakes_total",
    "subscribers_covered",
    "config_reload_success",
    "listen_missing",
    "publish_timestamp_seconds",
    "build_info{version,engine,definition,region}",
}


def written(metric: Metric) -> str:
    names = ",".join(metric.label_names)
    return f"{metric.name}{{{names}}}" if names else metric.name


def test_names_labels_and_sides_are_those_of_the_contract() -> None:
    assert {written(metric) for metric in METRICS if metric.leaves == "beat"} == BEAT
    assert {written(metric) for metric in METRICS if metric.leaves == "live"} == LIVE
    assert len(METRICS) == len(BEAT) + len(LIVE)


def test_every_row_is_well_formed() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", metric.name)
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name
        assert metric.help.endswith("."), metric.name
        assert all(len(values) == len(metric.labels) for values in metric.combinations(LABELS)), metric.name


def test_every_series_of_the_beat_is_known_before_anything_happens() -> None:
    series = list(of_beat(LABELS))
    assert len(series) == len(set(series))
    assert Series("blocked_attempts_total", ("second",)) in series
    assert Series("answers_total", ("NXDOMAIN",)) in series
    assert Series("page_views_total") in series
    buckets = [one for one in series if one.metric == "upstream_exchange_seconds"]
    assert [one.labels for one in buckets] == [(bucket,) for bucket in EXCHANGE_BUCKETS]
    assert Series("upstream_exchange_seconds_sum") in series


def test_the_definition_is_a_label_of_the_build() -> None:
    build = next(metric for metric in METRICS if metric.name == "build_info")
    assert list(build.combinations(LABELS)) == [("0.0.1", "python", "v2", "UK")]
