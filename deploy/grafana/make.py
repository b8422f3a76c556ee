#!/usr/bin/env python3
"""Generates the dashboards of Grafana: `pip install '.[dashboards]'`, then `python3 deploy/grafana/make.py`.

Rules:
- Counts of blocks leave every 15 minutes: a panel that shows one (`slow`) asks for no finer step, and no window in its
  expressions is below half an hour.
- Every panel has a unit, a description, and a text for when there is nothing to show.
- Panels show only aggregates by region, list, instance or upstream.
"""

import argparse
import warnings
from pathlib import Path
from typing import Final, NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode, DataSourceRef
from grafana_foundation_sdk.models.dashboard import AnnotationTarget, VariableRefresh

FOLDER: Final = Path(__file__).parent / "dashboards"
SOURCE: Final = DataSourceRef("prometheus", "${datasource}")
BEAT: Final = "15m"
EVENT: Final = "blocklist-event"
"""Tag of the annotations to show, such as the date of a lockdown."""

P: Final = "blocklist_resolver_"
ATTEMPTS: Final = f"region_list:{P}blocked_attempts"
PLACE: Final = '{region=~"$region",list=~"$list"}'
ONE: Final = '{instance=~"$instance"}'
LISTS: Final = '{instance=~"$instance",list=~"$list"}'
REGION: Final = f'instance_region:{P}info:max1d{{region=~"$region"}}'
NOT_PERSONS: Final = (
    "Attempts are blocked look-ups, at most one a minute for a client address and entry (definition v2): "
    "not persons, not intent."
)
NO_COUNTS: Final = "No counts yet: they leave every 15 minutes, and a day's figure needs the rules of deploy/prometheus"
NO_WEEKS: Final = "No baseline: it needs eight weeks, and 100 attempts a day"
NO_LIST: Final = "No data: no list is in force, or no resolver is scraped"
NO_SERVICE: Final = "No resolver is scraped"


class Panel(NamedTuple):
    """A panel; queries are (expression, legend) pairs.

    slow: one of them is a count on the beat. from_zero: the axis starts at zero; False if steps by one matter.
    """

    title: str
    unit: str
    about: str
    empty: str
    queries: tuple[tuple[str, str], ...]
    slow: bool = False
    kind: str = "lines"
    width: int = 12
    from_zero: bool = True


BLOCKING: Final = (
    Panel("Attempts within 24 hours", "short", f"By region and list. {NOT_PERSONS}", NO_COUNTS,
          ((f"{ATTEMPTS}:increase1d{PLACE}", "{{region}} {{list}}"),), True),
    Panel("Ratio to the baseline", "suffix:x",
          "The 24 hours divided by the median of the same hours in the eight weeks before. This baseline is not "
          "frozen in a surge; that of the report is.", NO_WEEKS,
          ((f"{ATTEMPTS}:ratio8w{PLACE}", "{{region}} {{list}}"),), True),
    Panel("Month to date", "short", f"Attempts since the month's first midnight (UTC). {NOT_PERSONS}", NO_COUNTS,
          ((f"{ATTEMPTS}:month_to_date{PLACE}", "{{region}} {{list}}"),), True, "number", 8),
    Panel("Peak of 24 hours", "short", f"The highest in the time range shown. {NOT_PERSONS}", NO_COUNTS,
          ((f"max_over_time({ATTEMPTS}:increase1d{PLACE}[$__range])", "{{region}} {{list}}"),), True, "number", 8),
    Panel("Peak ratio", "suffix:x", "The highest ratio to the baseline in the time range shown.", NO_WEEKS,
          ((f"max_over_time({ATTEMPTS}:ratio8w{PLACE}[$__range])", "{{region}} {{list}}"),), True, "number", 8),
    Panel("Attempts an hour", "short", f"By region and list, over sliding hours. {NOT_PERSONS}", NO_COUNTS,
          ((f'sum by (region, list) (sum by (instance, list) (increase({P}blocked_attempts_total{{list=~"$list"}}[1h]))'
            f" * on (instance) group_left (region) {REGION})", "{{region}} {{list}}"),), True),
    Panel("Blocked queries in 100,000 answers", "short",
          "Over 24 hours. Every query counts, including retries: this is the upper bound.", NO_COUNTS,
          ((f'1e5 * region_list:{P}blocked_queries:increase1d{PLACE} / on (region) group_left () '
            f'region:{P}answers:increase1d{{region=~"$region"}}', "{{region}} {{list}}"),), True),
    Panel("Minutes of enforcement a day", "suffix: min",
          "Minutes of the 1,440 before for which each list was enforced, sampled every 15; time without a scrape "
          "counts as not enforced.", NO_LIST,
          ((f"15 * sum_over_time({P}list_enforced{LISTS}[1439m:15m])", "{{instance}} {{list}}"),)),
    Panel("Attempts that were not counted", "short",
          "Attempts above the caps of an hour (20 for a client, 60 for an IPv6 /56, 240 for a /48: something retries); "
          "whether the table of attempts was full, so that attempts are too low; and blocked queries that were refused "
          "because a client asked for more different entries than its budget.", NO_COUNTS,
          ((f"sum by (list) (increase({P}attempts_capped_total{LISTS}[1h]))", "capped {{list}}"),
           (f"sum by (list) (increase({P}lookups_refused_total{LISTS}[1h]))", "refused {{list}}"),
           (f"max by (list) ({P}attempts_saturated{LISTS})", "table full {{list}}")), True),
    Panel("Warning pages shown an hour", "short", "By resolver.",
          NO_COUNTS, ((f"increase({P}page_views_total{ONE}[1h])", "{{instance}}"),), True),
    Panel("Links to help that were followed a day", "short",
          "From the warning page, by kind of help; calls to telephone numbers are not seen.", NO_COUNTS,
          ((f"sum by (kind) (increase({P}page_help_total{ONE}[1d]))", "{{kind}}"),), True),
    Panel("Subscribers covered", "short", "The operators' own figures, summed over the resolvers of a region.",
          "No operator has stated a figure",
          ((f"sum by (region) ((max by (instance) ({P}subscribers_covered) > 0)"
            f" * on (instance) group_left (region) {REGION})", "{{region}}"),)),
)  # fmt: skip

LIST: Final = (
    Panel("Serial in force", "none", "Resolvers with different serials for longer than a poll block different names.",
          NO_LIST, ((f"{P}list_serial{LISTS}", "{{instance}} {{list}}"),), from_zero=False),
    Panel("Entries in force", "short", "If the size of a list changes by 20 %, its counts are no longer comparable.",
          NO_LIST, ((f"{P}list_entries{LISTS}", "{{instance}} {{list}}"),)),
    Panel("Age of the list", "s", "Since it came into force.", NO_LIST,
          ((f"time() - ({P}list_in_force_timestamp_seconds{LISTS} > 0)", "{{instance}} {{list}}"),)),
    Panel("Since the last poll that verified", "s", "More than three polls is an alarm.", NO_LIST,
          ((f"time() - ({P}feed_last_success_timestamp_seconds{LISTS} > 0)", "{{instance}} {{list}}"),
           (f"3 * max by (list) ({P}list_poll_seconds{LISTS})", "three polls {{list}}"))),
    Panel("Until the metadata is stale", "s", "The authority has to refresh it before.", "No source says",
          ((f"({P}feed_fresh_until_timestamp_seconds{LISTS} > 0) - time()", "{{instance}} {{list}}"),)),
    Panel("Until the hard limit", "s", "Afterwards `expire` decides.", "No list in force has a hard limit",
          ((f"({P}list_expiry_timestamp_seconds{LISTS} > 0) - time()", "{{instance}} {{list}}"),)),
    Panel("Until the deadline", "s", "A newer list that is not in force yet must be in force by then.",
          "No list with a deadline waits",
          ((f"({P}list_deadline_timestamp_seconds{LISTS} > 0) - time()", "{{instance}} {{list}}"),)),
    Panel("Updates that failed an hour", "short", "tampered, rolled_back, mixed: call the authority.",
          "Nothing has failed",
          ((f"sum by (instance, list, reason) (increase({P}feed_failures_total{LISTS}[1h])) > 0",
            "{{instance}} {{list}} {{reason}}"),)),
    Panel("Lines refused", "short", "In the newest list, by reason: lines that can never become entries.",
          "Nothing was refused",
          ((f"{P}feed_entries_refused{LISTS} > 0", "{{instance}} {{list}} {{reason}}"),)),
    Panel("Lines set aside", "short",
          "In the newest list, by reason; and entries of the list in force that wait for two persons' approval.",
          "Nothing is set aside", ((f"{P}list_set_aside{LISTS} > 0", "{{instance}} {{list}} {{reason}}"),
           (f"{P}list_suspended_entries{LISTS} > 0", "waiting {{instance}} {{list}}"))),
    Panel("Held, breaker, self-test", "bool",
          "1 while a newer list is held; 1 while a list that a person took out waits for a corrected one; 1 while a "
          "list is not in force and its names are forwarded; 1 while the breaker is open; 1 if the last self-test "
          "passed.",
          NO_LIST,
          ((f"{P}list_held{LISTS}", "held {{instance}} {{list}}"),
           (f"{P}list_taken_out{LISTS}", "taken out {{instance}} {{list}}"),
           (f"{P}list_forwarded{LISTS}", "forwarded {{instance}} {{list}}"),
           (f"{P}breaker_open{LISTS}", "breaker {{instance}} {{list}}"),
           (f"{P}selftest_success{LISTS}", "self-test {{instance}} {{list}}"))),
    Panel("Until a release ends", "s", "Then its name is blocked again if it is still listed.", "Nothing is released",
          ((f"({P}list_release_expiry_timestamp_seconds{LISTS} > 0) - time()", "{{instance}} {{list}}"),)),
    Panel("Until a certificate ends", "s", "The first certificate to expire of those that the sources need.",
          "No source needs a certificate",
          ((f"{P}certificate_expiry_timestamp_seconds{ONE} - time()", "{{instance}} {{use}}"),)),
    Panel("Since the last receipt", "s", "Receipts prove to the authority what is in force.", "No receipt was written",
          ((f"time() - ({P}list_receipt_timestamp_seconds{LISTS} > 0)", "{{instance}} {{list}}"),)),
    Panel("Unconfirmed, undelivered, unreported", "short",
          "Decisions of one person that nobody has confirmed, receipts that the authority does not have, nodes of a "
          "fleet that have not reported the list in force.", "Nothing waits",
          ((f"{P}decisions_unconfirmed{LISTS} > 0", "{{action}} {{instance}} {{list}}"),
           (f"{P}receipts_undelivered{LISTS} > 0", "receipts {{instance}} {{list}}"),
           (f"{P}fleet_nodes_missing{LISTS} > 0", "nodes {{instance}} {{list}}"))),
    Panel("Until a decision must be confirmed", "s", "One person's rollback or release; then it is an alarm.",
          "Nothing waits",
          ((f"({P}decision_confirmation_due_timestamp_seconds{LISTS} > 0) - time()",
            "{{action}} {{instance}} {{list}}"),)),
)  # fmt: skip

SERVICE: Final = (
    Panel("Queries", "reqps", "Received, before any verdict, by transport.", NO_SERVICE,
          ((f"sum by (transport) (rate({P}queries_total{ONE}[5m]))", "{{transport}}"),)),
    Panel("Enforcing", "bool", "1: every list is enforced, and no verdict failed since the start.", NO_SERVICE,
          ((f"{P}enforcing{ONE}", "{{instance}}"),)),
    Panel("Queries that failed", "reqps", "Queries that could not be answered, by reason, over sliding hours.",
          NO_COUNTS, ((f"sum by (reason) (rate({P}failed_answers_total{ONE}[1h]))", "{{reason}}"),), True),
    Panel("Packets dropped", "pps", "Packets without an answer, by reason.", NO_SERVICE,
          ((f"sum by (reason) (rate({P}packets_dropped_total{ONE}[5m]))", "{{reason}}"),)),
    Panel("Upstreams", "bool", "1 while the upstream answers; any: while at least one of them does.", NO_SERVICE,
          ((f"{P}upstream_up{ONE}", "{{instance}} {{upstream}}"), (f"{P}upstream_answering{ONE}", "{{instance}} any"))),
    Panel("Upstreams: exchanges that failed", "reqps", "By reason, over sliding hours; mismatch is late or forged.",
          "Nothing has failed",
          ((f"sum by (upstream, reason) (rate({P}upstream_failures_total{ONE}[1h])) > 0", "{{upstream}} {{reason}}"),),
          True),
    Panel("Upstreams: time to answer", "s", "The 99th percentile of the last exchanges, by upstream.",
          "No upstream has answered a hundred times",
          ((f'{P}upstream_latency_seconds{{instance=~"$instance",quantile="0.99"}}', "{{instance}} {{upstream}}"),)),
    Panel("All upstreams: time to answer", "s", "Median and 99th percentile of the exchanges within an hour.",
          NO_COUNTS,
          tuple((f"histogram_quantile({share}, sum by (le) (rate({P}upstream_exchange_seconds_bucket{ONE}[1h])))", name)
                for share, name in ((0.5, "half"), (0.99, "99 of 100"))), True),
    Panel("Answers by response code", "reqps", "Answers sent, over sliding hours; of them those of a rehearsal.",
          NO_COUNTS, ((f"sum by (rcode) (rate({P}answers_total{ONE}[1h])) > 0", "{{rcode}}"),
           (f"sum(rate({P}rehearsal_answers_total{ONE}[1h])) > 0", "rehearsal")), True),
    Panel("Look-ups in the cache", "percentunit", "By result, as shares, over sliding hours.", NO_COUNTS,
          ((f"sum by (kind) (rate({P}cache_answers_total{ONE}[1h])) / ignoring (kind) group_left () "
            f"sum (rate({P}cache_answers_total{ONE}[1h]))", "{{kind}}"),), True),
    Panel("Memory of the cache", "bytes", "Memory of cached answers.", NO_COUNTS,
          ((f"{P}cache_bytes{ONE}", "{{instance}}"),), True),
    Panel("Queries that wait", "short", "Queries that waited for an upstream at the last beat.", NO_COUNTS,
          ((f"{P}queries_in_flight{ONE}", "{{instance}}"),), True),
    Panel("Connections", "short", "Open connections of clients.", NO_SERVICE,
          ((f"{P}connections{ONE}", "{{transport}} {{instance}}"),)),
    Panel("Age of the counts", "s", "Since the beat of the counts shown; after an hour check the disk.", NO_COUNTS,
          ((f"time() - ({P}publish_timestamp_seconds{ONE} > 0)", "{{instance}}"),)),
    Panel("Sockets that nothing can reach", "short", "Of any kind: a busy port, or a missing address.",
          NO_SERVICE, ((f"{P}listen_missing{ONE}", "{{instance}}"),)),
    Panel("Last reload, release", "bool", "0: the new configuration was refused; and the release that runs.",
          NO_SERVICE, ((f"{P}config_reload_success{ONE}", "reload {{instance}}"),
           (f"{P}build_info{ONE}", "{{version}} {{engine}} {{instance}}"))),
)  # fmt: skip

PAGES: Final = {
    "blocking": ("Blocking", "now-30d", BLOCKING),
    "lists": ("Lists", "now-7d", LIST),
    "service": ("Service", "now-24h", SERVICE),
}


class Events:
    """The annotations with the tag, as the target of an annotation query."""

    def build(self) -> AnnotationTarget:
        """Return the model."""
        return AnnotationTarget(limit=100, match_any=True, tags=[EVENT], type_val="tags")


def panel(one: Panel) -> timeseries.Panel | stat.Panel:
    """Return a panel in Grafana's form."""
    number = one.kind == "number"
    made: timeseries.Panel | stat.Panel = (
        stat.Panel().graph_mode(BigValueGraphMode.NONE)
        if number
        else timeseries.Panel().legend(common.VizLegendOptions().show_legend(True))
    )
    if one.from_zero and not number:
        made.min(0)
    made.title(one.title).unit(one.unit).description(one.about).no_value(one.empty).datasource(SOURCE)
    made.height(8).span(one.width)
    step = BEAT if one.slow else "1m"
    made.interval(step)
    for number_of, (expression, legend) in enumerate(one.queries):
        query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id("ABCDE"[number_of]).interval(step)
        made.with_target(query.instant() if number else query.range())
    return made


def choice(name: str, metric: str) -> dashboard.QueryVariable:
    """Return a variable for selecting some or all values of a label."""
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query(f"label_values({P}{metric}, {name})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def page(key: str) -> str:
    """Return a dashboard as JSON."""
    title, since, panels = PAGES[key]
    with warnings.catch_warnings():
        # Only the newest Grafana reads the newer schema; all read this one.
        warnings.simplefilter("ignore", DeprecationWarning)
        made = dashboard.Dashboard(f"Blocklist resolver: {title}")
    made.uid(f"blocklist-resolver-{key}").tags(["blocklist-resolver"]).timezone("utc").time(since, "now").readonly()
    slow = key == "blocking"
    made.refresh(BEAT if slow else "1m")
    made.timepicker(
        dashboard.TimePicker().refresh_intervals([BEAT, "1h"] if slow else ["1m", "5m", BEAT, "1h"])
    )
    made.with_variable(dashboard.DatasourceVariable("datasource").type("prometheus").label("Prometheus"))
    made.with_variable(choice("instance", "build_info"))
    if key != "service":
        made.with_variable(choice("list", "list_serial"))
    if slow:
        made.with_variable(choice("region", "build_info"))
    made.annotation(
        dashboard.AnnotationQuery()
        .name("Events")
        .enable(True)
        .icon_color("purple")
        .datasource(DataSourceRef("grafana", "-- Grafana --"))
        .target(Events())
    )
    for one in panels:
        made.with_panel(panel(one))
    return JSONEncoder(sort_keys=True, indent=1).encode(made.build()) + "\n"


def main() -> None:
    """Write each dashboard into the folder."""
    words = argparse.ArgumentParser(description="Generates the dashboards of Grafana.")
    words.add_argument("--out", type=Path, default=FOLDER)
    folder: Path = words.parse_args().out
    for key in PAGES:
        (folder / f"{key}.json").write_text(page(key))


if __name__ == "__main__":
    main()
