"""The panels of the dashboards, as tables of titles, expressions and words.

Rules:
- Counts of blocks leave every 15 minutes: a panel that shows one (`slow`) asks for no finer step, and no window in its
  expressions is below half an hour.
- Every panel has a unit, a description, a text for when there is nothing to show, and a section of the runbook.
- Panels show only aggregates by region, list, instance or upstream.
- No panel draws a line for each host: it draws the lowest and the highest, and hosts that differ from most or are
  beyond a limit when most are not.
- Colours and limits are those of the alert that a panel names (levels.py); what is 0 or 1 is a timeline in words.
"""

from typing import Final, NamedTuple

import levels

P: Final = "blocklist_resolver_"
ATTEMPTS: Final = f"region_list:{P}blocked_attempts"
MONTHS: Final = f"region_list_month:{P}blocked_attempts:whole_month"
PLACE: Final = '{region=~"$region",list=~"$list"}'
ONE: Final = '{instance=~"$instance"}'
LISTS: Final = '{instance=~"$instance",list=~"$list"}'
FIRING: Final = 'ALERTS{alertname=~"Blocklist.*",alertstate="firing"}'
REGION: Final = f'instance_region:{P}info:max1d{{region=~"$region"}}'
NATIONAL: Final = "blocklist_national_attempts"
"""The figure of many operators that `national sum --metrics` writes; its lists are those of all, not of one host."""

LEVELS: Final = levels.read()
LASTING: Final = "dtdurations"
"""Grafana's unit for seconds in words, such as 2 hours, 10 minutes."""

NOT_PERSONS: Final = (
    "Attempts are blocked look-ups, at most one a minute for a client address and entry (definition v2): "
    "not persons, not intent."
)
NO_COUNTS: Final = "No counts yet: they leave every 15 minutes, and a day's figure needs the rules of deploy/prometheus"
NO_WEEKS: Final = "No baseline: it needs eight weeks, and 100 attempts a day"
NO_LIST: Final = "No figure of any list was scraped"
NO_SERVICE: Final = "No resolver is scraped"
NO_ENGINE: Final = "No figure"
"""Only the compiled engine has one."""
NO_EDGE: Final = "No encrypted transport is offered"

GREEN, BLUE, ORANGE, RED, PURPLE = "green", "blue", "orange", "red", "purple"
STATES: Final = {
    "0": ("in force", GREEN),
    "1": ("in force, entries wait", BLUE),
    "2": ("newer awaits a person", ORANGE),
    "3": ("no good poll", ORANGE),
    "4": ("taken out by a person", PURPLE),
    "5": ("self-test FAILS", RED),
    "6": ("breaker OPEN", RED),
    "7": ("NOT on every host", RED),
    "8": ("NOT ENFORCED", RED),
}
"""States of a list, the worst last."""

SEVERITIES: Final = {"1": ("critical", RED), "2": ("warning", ORANGE), "3": ("info", BLUE)}
RANKS: Final = {"0": SEVERITIES["1"], **SEVERITIES}
"""Severities, and before them what is critical and clients notice now: a deadline can wait for it."""

NOTICED: Final = "Blocklist(NotEnforcing|ListForwarded|UpstreamsDown|AnswersFailing)"
YES_BAD: Final = {"0": ("no", GREEN), "1": ("YES", ORANGE)}

Query = tuple[str, str]
"""An expression and its legend."""

Words = dict[str, tuple[str, str]]
"""Of a value its text and its colour."""


class Panel(NamedTuple):
    """A panel.

    slow: one of the expressions is a count on the beat. from_zero: the axis starts at zero, if steps by one do not
    matter.
    alert: the alert whose limit, colours and section of the runbook are this panel's. painted: how names of values end,
    with the alert whose colours are theirs. section: of the runbook, if it is not the alert.s. named: a tile shows the
    name of a value as well ("both") or only that ("name").
    columns: of a table, label to heading, in order. words: texts of values, or of a table's first column.
    """

    title: str
    unit: str
    about: str
    empty: str
    queries: tuple[Query, ...]
    slow: bool = False
    kind: str = "lines"
    width: int = 12
    from_zero: bool = True
    alert: str = ""
    section: str = "metrics"
    height: int = 8
    named: str = "both"
    words: Words = {}  # noqa: RUF012 - never changed
    columns: dict[str, str] = {}  # noqa: RUF012 - never changed
    painted: tuple[tuple[str, str, str], ...] = ()


class Row(NamedTuple):
    """A heading over the panels below it."""

    title: str


def spread(expression: str, by: str = "list", what: str = "") -> tuple[Query, ...]:
    """Return the highest and the lowest of all hosts."""
    labels = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(",") if label.strip())
    name = " ".join(filter(None, (what, labels)))
    return tuple(
        (f"{word} by ({by}) ({expression})" if by else f"{word}({expression})", f"{title} {name}".strip())
        for word, title in (("max", "highest"), ("min", "lowest"))
    )


def differ(expression: str) -> Query:
    """Return the hosts whose value for a list is not that of most."""
    return f"{expression} != on (list) group_left () quantile by (list) (0.5, {expression})", "{{instance}} {{list}}"


def alone(expression: str, compared: str, by: str = "") -> str:
    """Return the hosts for which an expression compares so, unless it does for most of them: then it is no host's."""
    return f"({expression}) {compared} unless on ({by}) (quantile by ({by}) (0.5, {expression}) {compared})"


def beyond(expression: str, alert: str, legend: str, by: str = "") -> Query:
    """Return the hosts beyond the limit of an alert, if most are not."""
    sign, limit, *_ = LEVELS[alert]
    return alone(expression, f"{sign} {limit:g}", by), legend


def worst(*states: tuple[int, str]) -> str:
    """Return an expression for the worst state of each list on any host; a state's expression is 1 where it holds."""
    return "max by (list) (" + " or ".join(
        f'label_replace({number} * {expression}, "state", "{number}", "", "")' for number, expression in states
    ) + ")"  # fmt: skip


SINCE_POLL: Final = f"time() - ({P}feed_last_success_timestamp_seconds{LISTS} > 0)"
POLLS: Final = f"({SINCE_POLL}) / on (instance, list) {P}list_poll_seconds{LISTS}"
STATE: Final = worst(
    (8, f"(1 - max by (list) ({P}list_enforced{LISTS}))"),
    (7, f"(1 - {P}list_enforced{LISTS})"),
    (6, f"{P}breaker_open{LISTS}"),
    (5, f"(1 - {P}selftest_success{LISTS})"),
    (4, f"{P}list_taken_out{LISTS}"),
    (3, f"({POLLS} > bool {LEVELS['ListStale'].limit:g})"),
    (2, f"{P}list_held{LISTS}"),
    (1, f"clamp_max({P}list_suspended_entries{LISTS}, 1)"),
)
HOSTS: Final = f"max by (instance) (last_over_time({P}build_info{ONE}[1d]))"
ENFORCING_OF: Final = (
    f'count_values("k", sum({P}enforcing{ONE}) or vector(0)) * on () group_left (n) count_values("n", count({HOSTS}))'
    f" * on () group_left () ((sum({P}enforcing{ONE}) or vector(0)) / count({HOSTS}))"
)
FEW: Final = 3
"""With an alert of more hosts than these none is named: it would look as if it alone were at fault."""

EACH: Final = "(severity, alertname, list, runbook)"
ALERTS_NOW: Final = (
    "label_replace(label_replace(label_replace(label_replace("
    f"(count by {EACH} ({FIRING}) <= {FEW}) * on {EACH} group_left (instance) topk by {EACH} (1, {FIRING})"
    f" or count by {EACH} ({FIRING}) > {FEW}"
    ', "level", "1", "severity", "critical"), "level", "2", "severity", "warning"), "level", "3", "severity", "info")'
    f', "level", "0", "alertname", "{NOTICED}")'
)  # fmt: skip


def told(expression: str, what: str) -> str:
    """Return an expression whose results say what is wrong."""
    return f'label_replace({expression}, "what", "{what}", "", "")'


def compared(hosts: str, expression: str, what: str, tail: str = "") -> str:
    """Return an expression for hosts whose results say what is wrong, with the value there and that of most hosts."""
    here = f'count_values by (instance, list) ("here", {hosts})'
    most = f'count_values by (list) ("others", quantile by (list) (0.5, {expression}))'
    found = f"{here} * on (list) group_left (others) {most}"
    for label in ("here", "others") if tail else ():
        found = f'label_replace({found}, "{label}", "$1{tail}", "{label}", "(.+)")'
    return told(found, what)


BUSY: Final = f"max by (instance) ({P}engine_busy_ratio{ONE})"
DIFFERENT: Final = "max by (instance, list, what, here, others) (" + " or ".join(
    (
        told(f"{HOSTS} unless on (instance) {P}build_info{ONE}", "not scraped"),
        told(alone(f"{P}enforcing{ONE}", "== 0"), "NOT ENFORCING"),
        told(alone(f"{P}list_enforced{LISTS}", "== 0", "list"), "list not enforced"),
        told(alone(f"{P}selftest_success{LISTS}", "== 0", "list"), "self-test fails"),
        told(alone(f"{P}upstream_answering{ONE}", "== 0"), "no upstream answers"),
        compared(differ(f"{P}list_serial{LISTS}")[0], f"{P}list_serial{LISTS}", "another serial"),
        told(alone(f"{P}config_reload_success{ONE}", "== 0"), "reload refused"),
        compared(alone(f"{P}listen_missing{ONE}", "> 0"), f"{P}listen_missing{ONE}", "sockets missing"),
        compared(f"round(100 * ({beyond(BUSY, 'EngineBusy', '')[0]}))", f"round(100 * {BUSY})", "busy core", " %"),
    )
) + ")"  # fmt: skip

LISTS_NOW: Final = Panel(
    "Lists", "none", "The worst state of each list on any host; the table of hosts that differ says which.", NO_LIST,
    ((STATE, "{{list}}"),), False, "tiles", words=STATES, section="when-an-alarm-goes-off",
)  # fmt: skip
LISTS_SINCE: Final = LISTS_NOW._replace(title="Lists, since", kind="states")
WHO: Final = Panel(
    "Hosts that differ", "short",
    "What is wrong with a host and not with most: that stands among the alerts. The value, if it has one, is beside "
    "that of most other hosts.",
    "None: all hosts are alike", ((DIFFERENT, "{{instance}} {{what}}"),), True, "table",
    columns={"instance": "host", "what": "what", "list": "list", "here": "value", "others": "others"},
    section="when-an-alarm-goes-off",
)  # fmt: skip

OVERVIEW: Final = (
    Row("Now"),
    Panel("Enforcing", "percentunit",
          "Hosts that enforce every list, of those that were scraped within a day: blocked names are answered there.",
          NO_SERVICE, ((ENFORCING_OF, "{{k}} of {{n}} hosts"),), False, "tiles", 3, named="name", height=5,
          alert="NotEnforcing"),
    LISTS_NOW._replace(width=9, height=5),
    Panel("Firing alerts", "short", "Different alerts and lists, not hosts: the table below has them.",
          "No alert fires",
          tuple((f'count(count by (alertname, list) (ALERTS{{alertname=~"Blocklist.*",alertstate="firing",'
                 f'severity="{word}"}})) or vector(0)', word) for word, _ in SEVERITIES.values()),
          False, "tiles", 5, section="when-an-alarm-goes-off", height=5,
          painted=tuple((word, "short", word) for word, _ in SEVERITIES.values())),
    Panel("Next legal deadline", LASTING, "When a newer list that is not in force must be in force; none: none waits.",
          "none waits",
          ((f"bottomk(1, min by (list) (({P}list_deadline_timestamp_seconds{LISTS} > 0) - time()))",
            "{{list}}, time left"),), False, "tiles", 4, height=5, alert="DeadlineNear"),
    Panel("Busiest core", "percentunit",
          "The highest share of the time in which a thread that answers worked, and where; above the limit there is no "
          "headroom for the loss of a neighbour. Only the compiled engine has the figure.", NO_ENGINE,
          ((f"topk(1, {BUSY})", "{{instance}}"),), True, "tiles", 3, height=5,
          alert="EngineBusy"),
    Panel("Oldest good poll", "s",
          "Of the list and host that waited longest: how long ago the feed verified, and how many polls that is.",
          NO_LIST, ((f"topk(1, max by (list) ({SINCE_POLL}))", "{{list}}, ago"),
                    (f"topk(1, max by (list) ({POLLS}))", "{{list}}, in polls")), False, "tiles", 6, height=4,
          alert="ListStale", painted=(("ago", "s", ""), ("in polls", "short", "ListStale"))),
    Panel("Blocked attempts this month", "short", f"Since the month's first midnight (UTC). {NOT_PERSONS}", NO_COUNTS,
          ((f'sum by (list) ({ATTEMPTS}:month_to_date{{list=~"$list"}})', "{{list}}"),), True, "tiles", 6, height=4,
          section="prometheus"),
    Panel("Last finished month", "short", f"Of all regions of this Prometheus. {NOT_PERSONS}",
          "No month is finished yet",
          ((f'sum by (list, month) (last_over_time({MONTHS}{{list=~"$list"}}[2h]))', "{{list}}, {{month}}"),),
          True, "tiles", 6, height=4, section="prometheus"),
    Panel("National total", "short",
          "Attempts of all operators that took part, as `national sum --metrics` wrote it for node_exporter.",
          "No national figure here",
          ((f"max by (list, month) ({NATIONAL})", "{{list}}, {{month}}"),), True, "tiles", 6, height=4,
          section="prometheus"),
    Row("What is wrong, and where"),
    Panel("Firing alerts: what to do", "short",
          f"Each alert and list once, the worst first; a host is named where at most {FEW} have it. The link is its "
          "section of the runbook.",
          "No alert fires", ((ALERTS_NOW, "{{alertname}}"),), False, "table", words=RANKS,
          columns={"level": "severity", "alertname": "alert", "list": "list", "Value": "hosts",
                   "instance": "for example", "runbook": "runbook"}, section="when-an-alarm-goes-off"),
    WHO,
    Row("Since when"),
    Panel("Enforcing, since", "none", "The worst host, and each one that did not enforce every list while most did.",
          NO_SERVICE,
          ((f"min({P}enforcing{ONE})", "worst host"), (alone(f"{P}enforcing{ONE}", "== 0"), "{{instance}}")),
          False, "states",
          words={"1": ("enforcing", GREEN), "0": ("NOT ENFORCING", RED)}, alert="NotEnforcing", height=6),
    LISTS_SINCE._replace(height=6),
    Panel("Upstreams, since", "none", "Whether each upstream answers every host, and each host has one that answers.",
          NO_SERVICE, ((f"min({P}upstream_answering{ONE})", "any of them"),
           (f"min by (upstream) ({P}upstream_up{ONE})", "{{upstream}}")), False, "states",
          words={"1": ("answers", GREEN), "0": ("DOWN", ORANGE)}, alert="UpstreamDown", height=6),
    Panel("Busiest core, since; dashed: the limit of the alert", "percentunit",
          "The busiest and the idlest host, and those beyond the limit. Only the compiled engine has the figure.",
          NO_ENGINE,
          (*spread(BUSY, ""), beyond(BUSY, "EngineBusy", "{{instance}}")), True, alert="EngineBusy", height=6),
)  # fmt: skip

BLOCKING: Final = (
    Row("Attempts, and what is usual"),
    Panel("Attempts within 24 hours", "short", f"By region and list, and the baseline. {NOT_PERSONS}", NO_COUNTS,
          ((f"{ATTEMPTS}:increase1d{PLACE}", "{{region}} {{list}}"),
           (f"{ATTEMPTS}:baseline8w{PLACE}", "usual {{region}} {{list}}")), True, section="prometheus"),
    Panel("Ratio to the baseline", "suffix:x",
          "The 24 hours divided by the report's baseline: the median of the same hours in the eight weeks before, "
          "frozen in a surge, so that a region back to normal is at 1.", NO_WEEKS,
          ((f"{ATTEMPTS}:ratio8w{PLACE}", "{{region}} {{list}}"),), True, alert="AttemptsSurge"),
    Panel("Peak of 24 hours", "short", f"The highest in the time range shown. {NOT_PERSONS}", NO_COUNTS,
          ((f"max_over_time({ATTEMPTS}:increase1d{PLACE}[$__range])", "{{region}} {{list}}"),), True, "tiles", 8,
          section="prometheus", height=4),
    Panel("Peak ratio", "suffix:x", "The highest ratio to the baseline in the time range shown.", NO_WEEKS,
          ((f"max_over_time({ATTEMPTS}:ratio8w{PLACE}[$__range])", "{{region}} {{list}}"),), True, "tiles", 8,
          alert="AttemptsSurge", height=4),
    Panel("Month to date", "short", f"Attempts since the month's first midnight (UTC). {NOT_PERSONS}", NO_COUNTS,
          ((f"{ATTEMPTS}:month_to_date{PLACE}", "{{region}} {{list}}"),), True, "tiles", 8,
          section="prometheus", height=4),
    Panel("Finished months", "locale",
          f"The sum of a month's days, of the year before the end of what is shown. {NOT_PERSONS}",
          "No month is finished yet",
          ((f"max_over_time({MONTHS}{PLACE}[400d])", "{{month}} {{region}} {{list}}"),), True, "table",
          columns={"month": "month", "region": "region", "list": "list", "Value": "attempts"},
          section="prometheus"),
    Panel("National total by month", "locale",
          "Attempts of all operators that took part, as `national sum --metrics` wrote it for node_exporter.",
          "none written: national sum --metrics",
          ((f"max by (month, list) (last_over_time({NATIONAL}[400d]))", "{{month}} {{list}}"),), True, "table",
          columns={"month": "month", "list": "list", "Value": "attempts"}, section="prometheus"),
    Row("Hour by hour"),
    Panel("Attempts an hour", "short", f"By region and list, over sliding hours. {NOT_PERSONS}", NO_COUNTS,
          ((f'sum by (region, list) (sum by (instance, list) (increase({P}blocked_attempts_total{{list=~"$list"}}[1h]))'
            f" * on (instance) group_left (region) {REGION})", "{{region}} {{list}}"),), True),
    Panel("Blocked queries in 100,000 answers", "short",
          "Over 24 hours. Every query counts, including retries: this is the upper bound.", NO_COUNTS,
          ((f'1e5 * region_list:{P}blocked_queries:increase1d{PLACE} / on (region) group_left () '
            f'region:{P}answers:increase1d{{region=~"$region"}}', "{{region}} {{list}}"),), True),
    Panel("Minutes of enforcement a day", "suffix: min",
          "Minutes of the 1,440 before for which each list was enforced, sampled every 15; time without a scrape "
          "counts as not enforced. The host with the most, the one with the fewest, and those that differ.", NO_LIST,
          (*spread(f"15 * sum_over_time({P}list_enforced{LISTS}[1439m:15m])"),
           differ(f"15 * sum_over_time({P}list_enforced{LISTS}[1439m:15m])")), section=LEVELS["NotEnforcing"].section),
    Panel("Attempts that were not counted", "short",
          "Attempts above the caps of an hour (20 for a client, 60 for an IPv6 /56, 240 for a /48: something retries); "
          "whether the table of attempts was full, so that attempts are too low; and blocked queries that were refused "
          "because a client asked for more different entries than its budget. Whole numbers: what the window does not "
          "hold is not made up.", NO_COUNTS,
          ((f"sum by (list) (round(increase({P}attempts_capped_total{LISTS}[1h])))", "capped {{list}}"),
           (f"sum by (list) (round(increase({P}lookups_refused_total{LISTS}[1h])))", "refused {{list}}"),
           (f"max by (list) ({P}attempts_saturated{LISTS})", "table full {{list}}")), True, section=
          LEVELS["AttemptsSaturated"].section),
    Panel("What a rise is made of", "short",
          "A day. Attempts for entries that are new in their serial; client prefixes (/32, /56) with attempts for "
          "other entries; attempts of which at most 3 a prefix count. If the first rises, it is the list; if the "
          "second, more households; if only attempts rise, each asks more.", NO_COUNTS,
          ((f"sum by (list) (round(increase({P}attempts_new_entries_total{LISTS}[1d])))", "for new entries {{list}}"),
           (f"sum by (list) (round(increase({P}blocked_prefixes_total{LISTS}[1d])))", "prefixes {{list}}"),
           (f"sum by (list) (round(increase({P}blocked_attempts_bounded_total{LISTS}[1d])))", "bounded {{list}}"),
           (f"sum by (list) (round(increase({P}attempts_bounded_saturated_total{LISTS}[1d])))", "no room {{list}}")),
          True, alert="AttemptsSurge"),
    Panel("Look-ups of a prefix", "short",
          "A day: attempts for entries that are not new, divided by the prefixes that made them.", NO_COUNTS,
          ((f"(sum by (list) (increase({P}blocked_attempts_total{LISTS}[1d])) - sum by (list) "
            f"(increase({P}attempts_new_entries_total{LISTS}[1d]))) / "
            f"(sum by (list) (increase({P}blocked_prefixes_total{LISTS}[1d])) > 0)", "{{list}}"),), True,
          alert="AttemptsSurge"),
    Panel("Warning pages shown an hour", "short", "All resolvers, the one with the most and the one with the fewest.",
          NO_COUNTS, ((f"sum(increase({P}page_views_total{ONE}[1h]))", "all"),
                      *spread(f"increase({P}page_views_total{ONE}[1h])", "")), True),
    Panel("Links to help that were followed a day", "short",
          "From the warning page, by kind of help; calls to telephone numbers are not seen.", NO_COUNTS,
          ((f"sum by (kind) (increase({P}page_help_total{ONE}[1d]))", "{{kind}}"),), True),
    Panel("Subscribers covered", "short", "The operators' own figures, summed over the resolvers of a region.",
          "No operator has stated a figure",
          ((f"sum by (region) ((max by (instance) ({P}subscribers_covered) > 0)"
            f" * on (instance) group_left (region) {REGION})", "{{region}}"),)),
)  # fmt: skip

LIST: Final = (
    Row("Now"),
    LISTS_NOW._replace(height=5),
    LISTS_SINCE._replace(height=5),
    Panel("Held, breaker, self-test", "none",
          "On any host: a newer list is held; a list that a person took out waits for a corrected one; a list is not "
          "in force and its names are forwarded; the breaker is open; the last self-test failed.",
          NO_LIST,
          tuple((f"max by (list) ({expression})", f"{name} {{{{list}}}}") for name, expression in (
              ("held", f"{P}list_held{LISTS}"), ("taken out", f"{P}list_taken_out{LISTS}"),
              ("forwarded", f"{P}list_forwarded{LISTS}"), ("breaker", f"{P}breaker_open{LISTS}"),
              ("self-test failed", f"1 - {P}selftest_success{LISTS}"))), False, "states", words=YES_BAD,
          alert="ListHeld"),
    WHO._replace(),
    Row("What is in force"),
    Panel("Serial in force", "none", "Resolvers with different serials for longer than a poll block different names.",
          NO_LIST, (*spread(f"{P}list_serial{LISTS}"), differ(f"{P}list_serial{LISTS}")), from_zero=False),
    Panel("Entries in force", "short", "If the size of a list changes by 20 %, its counts are no longer comparable.",
          NO_LIST, (*spread(f"{P}list_entries{LISTS}"), differ(f"{P}list_entries{LISTS}"))),
    Panel("Age of the list", "s", "Since it came into force.", NO_LIST,
          spread(f"time() - ({P}list_in_force_timestamp_seconds{LISTS} > 0)")),
    Panel("Until the hard limit", "s", "Afterwards `expire` decides.", "No list in force has a hard limit",
          (*spread(f"({P}list_expiry_timestamp_seconds{LISTS} > 0) - time()"),
           beyond(f"({P}list_expiry_timestamp_seconds{LISTS} > 0) - time()", "ExpiryNear", "{{instance}} {{list}}",
                  "list")),
          alert="ExpiryNear"),
    Row("The feed"),
    Panel("Since the last poll that verified", "s", "More than three polls is an alarm.", NO_LIST,
          (*spread(SINCE_POLL), (f"{SINCE_POLL} and on (instance, list) "
                                f"({beyond(POLLS, 'ListStale', '', 'list')[0]})", "{{instance}} {{list}}"),
           (f"{LEVELS['ListStale'].limit:g} * max by (list) ({P}list_poll_seconds{LISTS})", "three polls {{list}}")),
          section=LEVELS["ListStale"].section),
    Panel("Updates that failed an hour", "short", "tampered, rolled_back, mixed: call the authority.",
          "Nothing has failed",
          ((f"sum by (list, reason) (increase({P}feed_failures_total{LISTS}[1h])) > 0",
            "all hosts {{list}} {{reason}}"),
           (f"max by (list, reason) (increase({P}feed_failures_total{LISTS}[1h])) > 0",
            "highest {{list}} {{reason}}")), alert="FeedFailing"),
    Panel("Until the deadline", "s", "A newer list that is not in force yet must be in force by then; the first host.",
          "No list with a deadline waits",
          ((f"min by (list) (({P}list_deadline_timestamp_seconds{LISTS} > 0) - time())", "{{list}}"),),
          alert="DeadlineNear"),
    Panel("Until the metadata is stale", "s", "The authority has to refresh it before.", "No source says",
          spread(f"({P}feed_fresh_until_timestamp_seconds{LISTS} > 0) - time()"),
          section=LEVELS["MetadataStale"].section),
    Panel("Lines refused", "short", "In the newest list, by reason: lines that can never become entries.",
          "Nothing was refused",
          ((f"max by (list, reason) ({P}feed_entries_refused{LISTS}) > 0", "{{list}} {{reason}}"),)),
    Panel("Lines set aside", "short",
          "In the newest list, by reason; and entries of the list in force that wait for two persons' approval.",
          "Nothing is set aside", ((f"max by (list, reason) ({P}list_set_aside{LISTS}) > 0", "{{list}} {{reason}}"),
           (f"max by (list) ({P}list_suspended_entries{LISTS}) > 0", "waiting {{list}}")),
          section=LEVELS["EntriesSetAside"].section),
    Row("What waits for a person or the authority"),
    Panel("Until a release ends", "s", "Then its name is blocked again if it is still listed.", "Nothing is released",
          ((f"min by (list) (({P}list_release_expiry_timestamp_seconds{LISTS} > 0) - time())", "{{list}}"),),
          alert="ReleaseEnding"),
    Panel("Until a certificate ends", "s", "The first certificate to expire of those that the sources need.",
          "No source needs a certificate",
          ((f"min by (use) ({P}certificate_expiry_timestamp_seconds{ONE} - time())", "first {{use}}"),
           beyond(f"{P}certificate_expiry_timestamp_seconds{ONE} - time()", "CertificateExpiring",
                  "{{instance}} {{use}}", "use")), alert="CertificateExpiring"),
    Panel("Since the last receipt", "s", "Receipts prove to the authority what is in force.", "No receipt was written",
          spread(f"time() - ({P}list_receipt_timestamp_seconds{LISTS} > 0)"),
          section=LEVELS["ReceiptsUndelivered"].section),
    Panel("Unconfirmed, undelivered, unreported", "short",
          "Decisions of one person that nobody has confirmed, receipts that the authority does not have, nodes of a "
          "fleet that have not reported the list in force.", "Nothing waits",
          ((f"max by (list, action) ({P}decisions_unconfirmed{LISTS}) > 0", "{{action}} {{list}}"),
           (f"sum by (list) ({P}receipts_undelivered{LISTS}) > 0", "receipts {{list}}"),
           (f"max by (list) ({P}fleet_nodes_missing{LISTS}) > 0", "nodes {{list}}")), alert="DecisionUnconfirmed"),
    Panel("Names outside sealed storage", "short",
          "Hosts that give the names of a list to secondaries; those where they are given another list than the one in "
          "force; secondaries that have not transferred the newest serial.", "No list is exported",
          ((f"sum by (list) ({P}list_exported{LISTS}) > 0", "exported {{list}}"),
           (f"count by (list) ({P}export_in_step{LISTS} == 0)", "not in step {{list}}"),
           (f"sum({P}export_secondaries_behind{ONE}) > 0", "secondaries behind")),
          section="blocklistexportnotinstep"),
    Panel("Until a decision must be confirmed", "s", "One person's rollback or release; then it is an alarm.",
          "Nothing waits",
          ((f"min by (list, action) (({P}decision_confirmation_due_timestamp_seconds{LISTS} > 0) - time())",
            "{{action}} {{list}}"),), section=LEVELS["DecisionUnconfirmed"].section),
)  # fmt: skip

SERVICE: Final = (
    Row("Now"),
    Panel("Enforcing", "none", "Every list is enforced, and no verdict failed since the start: on all hosts, and the "
          "hosts where not.", NO_SERVICE,
          ((f"min({P}enforcing{ONE})", "worst host"), (alone(f"{P}enforcing{ONE}", "== 0"), "{{instance}}")),
          False, "states",
          words={"1": ("enforcing", GREEN), "0": ("NOT ENFORCING", RED)}, alert="NotEnforcing", height=6),
    Panel("Upstreams", "none", "Whether each upstream answers every host; any: whether each host has one that answers.",
          NO_SERVICE, ((f"min by (upstream) ({P}upstream_up{ONE})", "{{upstream}}"),
           (f"min({P}upstream_answering{ONE})", "any")), False, "states",
          words={"1": ("answers", GREEN), "0": ("DOWN", ORANGE)}, alert="UpstreamDown", height=6),
    Panel("Last reload", "none", "Whether the last new configuration was taken: on all hosts, and the hosts where not.",
          NO_SERVICE, ((f"min({P}config_reload_success{ONE})", "worst host"),
                       (alone(f"{P}config_reload_success{ONE}", "== 0"), "{{instance}}")), False, "states",
          words={"1": ("taken", GREEN), "0": ("REFUSED", ORANGE)}, alert="ReloadFailed", height=6),
    Panel("Releases", "short", "Hosts by the release and the engine that run.", NO_SERVICE,
          ((f"count by (version, engine) ({P}build_info{ONE})", "{{version}} {{engine}}"),), height=6),
    Row("Load"),
    Panel("Queries", "reqps", "Received, before any verdict, by transport.", NO_SERVICE,
          ((f"sum by (transport) (rate({P}queries_total{ONE}[5m]))", "{{transport}}"),)),
    Panel("Headroom", "percentunit", "Share of the time in which a thread that answers worked; above half: add cores.",
          NO_ENGINE, (*spread(BUSY, ""), beyond(BUSY, "EngineBusy", "{{instance}}")), True,
          alert="EngineBusy"),
    Panel("Processor time", "short", "Cores that the service used, over sliding hours.", NO_COUNTS,
          spread(f"rate({P}process_cpu_seconds_total{ONE}[1h])", ""), True, section=LEVELS["EngineBusy"].section),
    Panel("Packets dropped", "pps", "Packets without an answer, by reason.", NO_SERVICE,
          ((f"sum by (reason) (rate({P}packets_dropped_total{ONE}[5m]))", "{{reason}}"),), alert="RateLimited"),
    Panel("Connections", "short", "Open connections of clients: all, and of the host with the most.", NO_SERVICE,
          ((f"sum by (transport) ({P}connections{ONE})", "{{transport}}, all hosts"),
           (f"max by (transport) ({P}connections{ONE})", "{{transport}}, highest"))),
    Row("Encrypted transports"),
    Panel("Edges", "none", "Processes of DoT, DoH and DoQ that are connected: on the host with the fewest, and hosts "
          "without one.", NO_EDGE,
          ((f"min({P}edges_connected{ONE})", "fewest"), (alone(f"{P}edges_connected{ONE}", "== 0"), "{{instance}}")),
          alert="EdgeGone"),
    Panel("Certificate", "s", "Time until the certificate ends that clients of DoT, DoH and DoQ verify.", NO_EDGE,
          ((f'min({P}certificate_expiry_timestamp_seconds{{instance=~"$instance",use="edge"}} - time())', "first"),),
          alert="CertificateExpiring"),
    Panel("Handshakes", "cps", "Of TLS and QUIC, on all hosts.", NO_EDGE,
          ((f"sum(rate({P}edge_handshakes_total{ONE}[5m]))", "all hosts"),)),
    Panel("Refused by edges", "cps", "Connections and requests that edges refused, by reason, over sliding hours.",
          NO_EDGE, ((f"sum by (reason) (rate({P}edge_refused_total{ONE}[1h])) > 0", "{{reason}}"),), True,
          section=LEVELS["EdgeGone"].section),
    Row("Answers"),
    Panel("Answers by response code", "reqps", "Answers sent, over sliding hours; of them those of a rehearsal.",
          NO_COUNTS, ((f"sum by (rcode) (rate({P}answers_total{ONE}[1h])) > 0", "{{rcode}}"),
           (f"sum(rate({P}rehearsal_answers_total{ONE}[1h])) > 0", "rehearsal")), True),
    Panel("Queries that failed", "reqps", "Queries that could not be answered, by reason, over sliding hours.",
          NO_COUNTS, ((f"sum by (reason) (rate({P}failed_answers_total{ONE}[1h]))", "{{reason}}"),), True,
          section=LEVELS["AnswersFailing"].section),
    Panel("Look-ups in the cache", "percentunit", "By result, as shares, over sliding hours.", NO_COUNTS,
          ((f"sum by (kind) (rate({P}cache_answers_total{ONE}[1h])) / ignoring (kind) group_left () "
            f"sum (rate({P}cache_answers_total{ONE}[1h]))", "{{kind}}"),), True),
    Panel("DNS cookies", "reqps", "Queries with one, over sliding hours; bad ones come of other secrets.",
          NO_COUNTS, ((f"sum by (kind) (rate({P}cookies_total{ONE}[1h]))", "{{kind}}"),), True),
    Panel("Memory of the cache", "bytes", "Memory of cached answers.", NO_COUNTS,
          spread(f"{P}cache_bytes{ONE}", ""), True),
    Row("Upstreams"),
    Panel("Upstreams: exchanges that failed", "reqps", "By reason, over sliding hours; mismatch is late or forged.",
          "Nothing has failed",
          ((f"sum by (upstream, reason) (rate({P}upstream_failures_total{ONE}[1h])) > 0", "{{upstream}} {{reason}}"),),
          True, section=LEVELS["UpstreamDown"].section),
    Panel("Upstreams: time to answer", "s", "The 99th percentile of the last exchanges, by upstream.",
          "No upstream has answered a hundred times",
          spread(f'{P}upstream_latency_seconds{{instance=~"$instance",quantile="0.99"}}', "upstream")),
    Panel("All upstreams: time to answer", "s", "Median and 99th percentile of the exchanges within an hour.",
          NO_COUNTS,
          tuple((f"histogram_quantile({share}, sum by (le) (rate({P}upstream_exchange_seconds_bucket{ONE}[1h])))", name)
                for share, name in ((0.5, "half"), (0.99, "99 of 100"))), True),
    Panel("Queries that wait", "short", "Queries that waited for an upstream at the last beat.", NO_COUNTS,
          spread(f"{P}queries_in_flight{ONE}", ""), True),
    Row("Of each host"),
    Panel("Age of the counts", "s", "Since the beat of the counts shown; after an hour check the disk.", NO_COUNTS,
          (*spread(f"time() - ({P}publish_timestamp_seconds{ONE} > 0)", ""),
           beyond(f"time() - ({P}publish_timestamp_seconds{ONE} > 0)", "CountsStale", "{{instance}}")),
          alert="CountsStale"),
    Panel("Sockets that nothing can reach", "short", "Of any kind: a busy port, or a missing address.",
          NO_SERVICE, ((f"max({P}listen_missing{ONE})", "highest"),
                       beyond(f"{P}listen_missing{ONE}", "SocketsMissing", "{{instance}}")), alert="SocketsMissing"),
)  # fmt: skip

PAGES: Final = {
    "overview": ("Overview", "now-24h", OVERVIEW),
    "blocking": ("Blocking", "now-30d", BLOCKING),
    "lists": ("Lists", "now-7d", LIST),
    "service": ("Service", "now-24h", SERVICE),
}
