"""promtool on deploy/prometheus: the files are sound, and each alert goes off when it should and only then."""

import json
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from resolver.count.metrics import PREFIX

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"].removeprefix("Blocklist"): rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}

SERIES = {
    "NotEnforcing": {"enforcing{@}": ("1x120", "0x120")},
    "ListForwarded": {'list_forwarded{@,list="one"}': ("1x10 0x110", "1x120")},
    "MetricsMissing": {
        'up{@,job="blocklist-resolver"}': ("1x120", "0x120"),
        "build_info{@}": ("1x120", "1x120"),
    },
    "CountsStale": {"publish_timestamp_seconds{@}": ("0+60x240", "0x240")},
    "ListStale": {
        'feed_last_success_timestamp_seconds{@,list="one"}': ("60+60x120", "60x120"),
        'list_poll_seconds{@,list="one"}': ("900x120", "900x120"),
    },
    "MetadataStale": {'feed_fresh_until_timestamp_seconds{@,list="one"}': ("0x120", "3600x120")},
    "FeedFailing": {'feed_failures_total{@,list="one",reason="unreachable"}': ("0x60 1x60", "0+1x120")},
    "FeedSuspect": {'feed_failures_total{@,list="one",reason="mixed"}': ("3x120", "0x100 1x20")},
    "FeedTampered": {
        'feed_failures_total{@,list="one",reason="tampered"}': ("3x120", "0x85 1x15 2x20"),
        'feed_last_success_timestamp_seconds{@,list="one"}': ("0+60x120", "0+60x70 4260x50"),
        'list_poll_seconds{@,list="one"}': ("900x120", "900x120"),
    },
    "ListHeld": {'list_held{@,list="one"}': ("0x120", "1x120")},
    "SelftestFailing": {'selftest_success{@,list="one"}': ("1x120", "0x120")},
    "BreakerOpen": {'breaker_open{@,list="one"}': ("0x120", "1x120")},
    "EntriesInWideUse": {
        'list_suspended_entries{@,list="one"}': ("0x120", "1x120"),
        'list_set_aside{@,list="one",reason="in_use"}': ("0x120", "1x120"),
    },
    "EntriesSetAside": {
        'list_suspended_entries{@,list="one"}': ("0x120", "2x120"),
        'list_set_aside{@,list="one",reason="popular"}': ("0x120", "2x120"),
        'list_set_aside{@,list="one",reason="in_use"}': ("0x120", "0x120"),
    },
    "DecisionUnconfirmed": {
        'decision_confirmation_due_timestamp_seconds{@,list="one",action="release"}': ("80000x120", "6000x120")
    },
    "DeadlineNear": {'list_deadline_timestamp_seconds{@,list="one"}': ("0x120", "20000x120")},
    "ExpiryNear": {'list_expiry_timestamp_seconds{@,list="one"}': ("1000000x120", "200000x120")},
    "ReleaseEnding": {'list_release_expiry_timestamp_seconds{@,list="one"}': ("0x120", "80000x120")},
    "ReceiptsUndelivered": {'receipts_undelivered{@,list="one"}': ("0x100 1x20", "0x20 1x100")},
    "FleetNodesMissing": {'fleet_nodes_missing{@,list="one"}': ("1x100 2 1 0x20", "1x90 _x2 1x30")},
    "ExportNotInStep": {'export_in_step{@,list="one"}': ("0x10 1x110", "1x60 0x60")},
    "SecondariesBehind": {"export_secondaries_behind{@}": ("1x100 0x2 2x20", "0x60 1x60")},
    "CertificateExpiring": {'certificate_expiry_timestamp_seconds{@,use="page"}': ("2000000x120", "1000000x120")},
    "EdgeCertificateExpired": {'certificate_expiry_timestamp_seconds{@,use="edge"}': ("2000000x120", "3600x120")},
    "EdgeGone": {"edges_connected{@}": ("2x60 1x60", "1x60 0x60")},
    "UpstreamDown": {
        'upstream_up{@,upstream="192.0.2.1:53"}': ("1x120", "0x120"),
        'upstream_up{@,upstream="192.0.2.2:53"}': ("1x120", "1x120"),
    },
    "UpstreamsDown": {"upstream_answering{@}": ("1x120", "0x120")},
    "AnswersFailing": {
        'failed_answers_total{@,reason="upstream"}': ("0+1x120", "0+30x120"),
        'queries_total{@,transport="udp"}': ("0+500x120", "0+500x120"),
        'queries_total{@,transport="tcp"}': ("0+100x120", "0+100x120"),
    },
    "RateLimited": {'packets_dropped_total{@,reason="rate_limit"}': ("0+60x120", "0+60000x120")},
    "EngineBusy": {
        'engine_busy_ratio{@,thread="0"}': ("0.5x120", "0.1x120"),
        'engine_busy_ratio{@,thread="1"}': ("0.4x120", "0.4x60 0.6x60"),
    },
    "SocketsMissing": {"listen_missing{@}": ("0x120", "1x120")},
    "ReloadFailed": {"config_reload_success{@}": ("1x120", "0x120")},
    "AttemptsSaturated": {'attempts_saturated{@,list="one"}': ("0x90 1x20", "0x60 1x60")},
    "Enumerated": {'lookups_refused_total{@,list="one"}': ("0x20 10x90", "0x100 10x20")},
    "AttemptsSurge": {
        'region_list:blocklist_resolver_blocked_attempts:ratio8w{region="UK",list="one"}': ("1.9x240", "1x60 2x180")
    },
    "DoctorFinds": {
        'blocklist_doctor_probes{@,verdict="leaks"}': ("0x120", "0x60 1x60"),
        'blocklist_doctor_probes{@,verdict="weak"}': ("3x120", "3x120"),
    },
    "DoctorBlind": {
        "blocklist_doctor_up{@}": ("1x120", "1x60 0x60"),
        "blocklist_doctor_examined_timestamp_seconds{@}": ("0+60x120", "0+60x120"),
    },
}
"""What each alert looks at, a sample a minute: when it must be silent, and when it must go off at the end."""


ENDS: dict[str, tuple[str, ...]] = {
    "CountsStale": ("14460+60x120",),
    "ListStale": ("7260+60x120", "900x120"),
    "MetadataStale": ("90000x120",),
    "FeedFailing": ("120x120",),
    "FeedSuspect": ("1x120",),
    "FeedTampered": ("2x120", "7320+60x120", "900x120"),
    "DecisionUnconfirmed": ("0x120",),
    "ReceiptsUndelivered": ("0x120",),
    "FleetNodesMissing": ("0x120",),
    "ExportNotInStep": ("1x120",),
    "SecondariesBehind": ("0x120",),
    "AnswersFailing": ("3600x120", "60500+500x120", "12100+100x120"),
    "RateLimited": ("7200000x120",),
    "AttemptsSaturated": ("0x120",),
    "Enumerated": ("10x120",),
    "AttemptsSurge": ("1.1x120",),
    "DoctorBlind": ("1x120", "7260+60x120"),
}
"""How it goes on for two hours when the trouble ends, where that is not the course of SERIES that is well."""


def named(series: str, alert: str) -> str:
    """With the prefix of a metric of ours, and an instance of the alert's name."""
    series = series.replace("@", f'instance="{alert}"')
    return series if series.startswith(("up{", "region_list:", "blocklist_doctor_")) else PREFIX + series


def run(promtool: str, folder: Path, rules: Iterable[str], tests: list[dict[str, Any]], step: str = "1m") -> None:
    """`promtool test rules`: its findings fail the test."""
    path = folder / "tests.json"
    files = [str(FOLDER / name) for name in rules]
    # Rules find what other groups have recorded an hour before only where the groups take their turns.
    order = ["blocklist-resolver-figures", "blocklist-resolver-month", "blocklist-resolver"]
    words = {"rule_files": files, "evaluation_interval": step, "group_eval_order": order, "tests": tests}
    path.write_text(json.dumps(words))
    done = subprocess.run(
        [promtool, "test", "rules", str(path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_files_are_sound(program: Callable[[str], str]) -> None:
    for words in (["rules", "--lint-fatal", "rules.yml", "alerts.yml"], ["config", "prometheus.yml"]):
        done = subprocess.run(
            [program("promtool"), "check", *words], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried() -> None:
    assert list(SERIES) == list(ALERTS)


@pytest.mark.parametrize("wrong", [False, True], ids=["well", "wrong"])
def test_each_alert_goes_off_when_it_should_and_only_then(
    wrong: bool, program: Callable[[str], str], tmp_path: Path
) -> None:
    """All at once, each on an instance of its own."""
    series, asked = [], []
    for name, courses in SERIES.items():
        series += [{"series": named(one, name), "values": pair[wrong]} for one, pair in courses.items()]
        minutes = 239 if any("x240" in one or "x180" in one for values in courses.values() for one in values) else 115
        labels = ",".join(f"{key}={json.dumps(value)}" for key, value in ALERTS[name]["labels"].items())
        where = "" if name == "AttemptsSurge" else f',instance="{name}"'
        count = f'count(ALERTS{{alertname="Blocklist{name}",alertstate="firing",{labels}{where}}})'
        expected = [{"labels": "{}", "value": 1}] if wrong else []
        asked.append({"expr": count, "eval_time": f"{minutes}m", "exp_samples": expected})
    if not wrong:
        # One of two upstreams is down there, which is told as such.
        others = 'ALERTS{alertstate="firing",instance!="UpstreamsDown"}'
        asked.append({"expr": others, "eval_time": "115m", "exp_samples": []})
    tests = [{"interval": "1m", "input_series": series, "promql_expr_test": asked}]
    run(program("promtool"), tmp_path, ["alerts.yml"], tests)


def test_each_alert_ends_when_its_trouble_does(program: Callable[[str], str], tmp_path: Path) -> None:
    """All at once, each on an instance of its own, which is there to the end: none is silent for want of numbers."""
    series, asked = [], []
    for name, courses in SERIES.items():
        ends = ENDS.get(name, tuple(well for well, _ in courses.values()))
        for (one, (_, wrong)), end in zip(courses.items(), ends, strict=True):
            series.append({"series": named(one, name), "values": f"{wrong} {end}"})
        long = any("x240" in wrong or "x180" in wrong for _, wrong in courses.values())
        where = "" if name == "AttemptsSurge" else f',instance="{name}"'
        count = f'count(ALERTS{{alertname="Blocklist{name}",alertstate="firing"{where}}})'
        asked.append(
            {"expr": count, "eval_time": f"{120 + 120 * long}m", "exp_samples": [{"labels": "{}", "value": 1}]}
        )
        asked.append({"expr": count, "eval_time": f"{235 + 120 * long}m", "exp_samples": []})
        scraped = named(next(iter(courses)), name)
        there = [{"labels": "{}", "value": 1}]
        asked.append({"expr": f"count({scraped})", "eval_time": f"{235 + 120 * long}m", "exp_samples": there})
    tests = [{"interval": "1m", "input_series": series, "promql_expr_test": asked}]
    run(program("promtool"), tmp_path, ["alerts.yml"], tests)


@pytest.mark.parametrize(
    ("deadline", "silent", "alarmed"), [("1800+0x1500", None, "1m"), ("86400+0x1500", "1195m", "1205m")]
)
def test_a_list_that_changes_often_alarms_before_its_deadline_is_missed(
    deadline: str, silent: str | None, alarmed: str, program: Callable[[str], str], tmp_path: Path
) -> None:
    """One list is held and so is each serial after it: the deadline stays where it is, and the alarm comes before.

    30 minutes: the alarm comes at once. A day: four hours before.
    """
    labels = 'instance="a",list="one"'
    series = [
        {"series": f"{PREFIX}list_deadline_timestamp_seconds{{{labels}}}", "values": deadline},
        {"series": f"{PREFIX}list_held{{{labels}}}", "values": "1x1500"},
    ]
    firing = 'count(ALERTS{alertname="BlocklistDeadlineNear",alertstate="firing",severity="critical"})'
    asked = [{"expr": firing, "eval_time": alarmed, "exp_samples": [{"labels": "{}", "value": 1}]}]
    if silent is not None:
        asked.append({"expr": firing, "eval_time": silent, "exp_samples": []})
    tests = [{"interval": "1m", "input_series": series, "promql_expr_test": asked}]
    run(program("promtool"), tmp_path, ["alerts.yml"], tests)


def test_a_list_that_was_taken_out_alarms_nobody(program: Callable[[str], str], tmp_path: Path) -> None:
    """What a host shows then: polls are good, nothing is due, nothing fails."""
    labels = 'instance="a",list="one"'
    courses = {
        f"list_taken_out{{{labels}}}": "1x120",
        f"list_held{{{labels}}}": "0x120",
        f"list_deadline_timestamp_seconds{{{labels}}}": "0x120",
        f"list_poll_seconds{{{labels}}}": "900x120",
        f"feed_last_success_timestamp_seconds{{{labels}}}": "0+60x120",
        f'feed_failures_total{{{labels},reason="quarantined"}}': "0x120",
        'build_info{instance="a"}': "1x120",
    }
    series = [{"series": PREFIX + one, "values": values} for one, values in courses.items()]
    asked = [{"expr": 'ALERTS{alertstate="firing"}', "eval_time": "115m", "exp_samples": []}]
    run(program("promtool"), tmp_path, ["alerts.yml"], [
        {"interval": "1m", "input_series": series, "promql_expr_test": asked}
    ])


def test_no_resolver_at_all_is_told_too(program: Callable[[str], str], tmp_path: Path) -> None:
    firing = {
        "expr": 'count(ALERTS{alertname="BlocklistMetricsMissing",alertstate="firing"})',
        "eval_time": "10m",
        "exp_samples": [{"labels": "{}", "value": 1}],
    }
    run(program("promtool"), tmp_path, ["alerts.yml"], [{"interval": "1m", "promql_expr_test": [firing]}])


def test_a_month_to_date_is_what_came_since_its_first_midnight(program: Callable[[str], str], tmp_path: Path) -> None:
    attempts = f"{PREFIX}blocked_attempts_total"
    series = [
        {"series": f'{attempts}{{instance="a",list="one"}}', "values": "700x20 800x200"},
        {"series": f'{attempts}{{instance="b",list="one"}}', "values": "50x100 60x120"},
        {"series": f'{PREFIX}build_info{{instance="a",region="UK",version="1"}}', "values": "1x220"},
        {"series": f'{PREFIX}build_info{{instance="b",region="UK",version="1"}}', "values": "1x220"},
    ]
    expected = {
        "labels": '{__name__="region_list:blocklist_resolver_blocked_attempts:month_to_date",region="UK",list="one"}',
        "value": 110,
    }
    asked = {
        "expr": "region_list:blocklist_resolver_blocked_attempts:month_to_date",
        "eval_time": "200m",
        "exp_samples": [expected],
    }
    run(
        program("promtool"),
        tmp_path,
        ["rules.yml"],
        [{"interval": "1m", "input_series": series, "promql_expr_test": [asked]}],
    )


def test_a_month_to_date_needs_nothing_carried_over_and_never_takes_in_another_month(
    program: Callable[[str], str], tmp_path: Path
) -> None:
    """A sample in two hours; February's first midnight is hour 744, and it is looked at on its third noon."""
    begun = 744
    courses = {
        "steady": ("10+2x405", "0x405", 60),
        "down at midnight": ("_x350 100x20 _x4 150+2x30", "0x405", 204 - 100),
        "down for days": ("_x345 1000x12 _x20 2000+2x30", "0x405", 36),
        "new": ("_x395 40+2x10", f"_x395 {(begun + 36) * 3600}x10", 54),
        "begun anew": ("500x380 0+2x30", f"0x380 {(begun + 18) * 3600}x30", 42),
    }
    attempts, record = f"{PREFIX}blocked_attempts", "region_list:blocklist_resolver_blocked_attempts:month_to_date"
    series, expected = [], []
    for name, (total, created, value) in courses.items():
        labels = f'instance="{name}",list="one"'
        series += [
            {"series": f"{attempts}_total{{{labels}}}", "values": total},
            {"series": f"{attempts}_created{{{labels}}}", "values": created},
            {"series": f'{PREFIX}build_info{{instance="{name}",region="{name}"}}', "values": "1x405"},
        ]
        expected.append({"labels": f'{{__name__="{record}",region="{name}",list="one"}}', "value": value})
    asked = {"expr": record, "eval_time": f"{begun + 60}h", "exp_samples": expected}
    tests = [{"interval": "2h", "input_series": series, "promql_expr_test": [asked]}]
    run(program("promtool"), tmp_path, ["rules.yml"], tests, step="2h")


def test_a_ratio_is_the_day_to_the_median_of_eight_weeks(program: Callable[[str], str], tmp_path: Path) -> None:
    """Eight weeks of 1,200 attempts a day by two instances of a region, and a day of 4,800."""
    weeks, last = 58 * 6, 6  # samples, one in four hours
    attempts = f"{PREFIX}blocked_attempts_total"
    values = f"0+100x{weeks} {100 * weeks + 400}+400x{last - 1}"
    series = [{"series": f'{attempts}{{instance="{one}",list="one"}}', "values": values} for one in "ab"] + [
        {"series": f'{PREFIX}build_info{{instance="{one}",region="UK"}}', "values": f"1x{weeks + last + 1}"}
        for one in "ab"
    ]
    asked = [
        {
            "expr": f"round(region_list:blocklist_resolver_blocked_attempts:ratio8w, 0.1) {bound}",
            "eval_time": f"{samples * 4}h",
            "exp_samples": [{"labels": '{region="UK",list="one"}', "value": value}] if value else [],
        }
        for samples, bound, value in ((weeks, "", 1), (weeks + last, "> 3", 4), (50 * 6, "", None))
    ]
    run(
        program("promtool"),
        tmp_path,
        ["rules.yml"],
        [{"interval": "4h", "input_series": series, "promql_expr_test": asked}],
        step="4h",
    )


def test_a_runbook_is_a_step_and_its_command() -> None:
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), name
        assert set(rule["annotations"]) == {"summary", "runbook", "runbook_url"}, name
        step = rule["annotations"]["runbook"]
        assert re.fullmatch(r"[A-Z][^\n]+: `[a-z][^`]+`", step), step


def firing(name: str, at: str, instances: Iterable[str]) -> dict[str, Any]:
    """The instances for which an alert must fire at a time, and no others."""
    return {
        "expr": f'count by (instance) (ALERTS{{alertname="Blocklist{name}",alertstate="firing"}})',
        "eval_time": at,
        "exp_samples": [{"labels": f'{{instance="{one}"}}', "value": 1} for one in sorted(instances)],
    }


def test_a_list_is_stale_by_its_own_poll_and_not_each_hour_between_two_polls(
    program: Callable[[str], str], tmp_path: Path
) -> None:
    """One that is polled each hour and is well, and one that is polled each minute and has not been for a while."""
    last, poll = f"{PREFIX}feed_last_success_timestamp_seconds", f"{PREFIX}list_poll_seconds"
    hourly = " ".join(f"{3600 * hour}x59" for hour in range(4))
    series = [
        {"series": f'{last}{{instance="hourly",list="one"}}', "values": hourly},
        {"series": f'{poll}{{instance="hourly",list="one"}}', "values": "3600x240"},
        {"series": f'{last}{{instance="minutely",list="one"}}', "values": "0+60x100 6000x140"},
        {"series": f'{poll}{{instance="minutely",list="one"}}', "values": "60x240"},
    ]
    asked = [firing("ListStale", f"{minute}m", []) for minute in (58, 59, 99)]
    asked += [firing("ListStale", f"{minute}m", ["minutely"]) for minute in (115, 118, 179, 239)]
    tests = [{"interval": "1m", "input_series": series, "promql_expr_test": asked}]
    run(program("promtool"), tmp_path, ["alerts.yml"], tests)


NEVER_GOOD: dict[str, tuple[str, str, str, str | None]] = {
    "restarted, its last success known": ("60+60x59 3600x60", "0x60 _x3 1x57", "114m", "116m"),
    "new, its first poll failed": ("0x120", "1x120", "119m", None),
    "new, each poll fails": ("0x120", "1x15 2x15 3x15 4x75", "41m", "43m"),
}
"""Last success, failures since the start, until when the alert must be silent, and when it must go off, if ever."""


def test_a_restart_whose_first_poll_fails_makes_no_list_stale(program: Callable[[str], str], tmp_path: Path) -> None:
    """Polls of a quarter of an hour: the third is over 45 minutes after the last good one, and the alert waits ten."""
    series, asked = [], []
    for name, (last, failures, silent, alarmed) in NEVER_GOOD.items():
        labels = f'instance="{name}",list="one"'
        series += [
            {"series": f"{PREFIX}feed_last_success_timestamp_seconds{{{labels}}}", "values": last},
            {"series": f'{PREFIX}feed_failures_total{{{labels},reason="unreachable"}}', "values": failures},
            {"series": f"{PREFIX}list_poll_seconds{{{labels}}}", "values": "900x120"},
        ]
        count = f'count(ALERTS{{alertname="BlocklistListStale",alertstate="firing",instance="{name}"}})'
        asked.append({"expr": count, "eval_time": silent, "exp_samples": []})
        if alarmed is not None:
            asked.append({"expr": count, "eval_time": alarmed, "exp_samples": [{"labels": "{}", "value": 1}]})
    tests = [{"interval": "1m", "input_series": series, "promql_expr_test": asked}]
    run(program("promtool"), tmp_path, ["alerts.yml"], tests)


NIGHTS: dict[str, tuple[str, str, bool]] = {
    "one of two": ("0x60 1x60", "0x60 2x60", False),
    "half of a few": ("0+10x120", "0+20x120", False),
    "3 % of a thousand": ("0+1x120", "0+34x120", True),
    "1 % of many": ("0+5x120", "0+500x120", False),
}
"""Failed answers and queries, a sample a minute, and whether it is an alarm."""


def test_a_share_of_few_queries_is_no_alarm(program: Callable[[str], str], tmp_path: Path) -> None:
    series = []
    for name, (failed, queries, _) in NIGHTS.items():
        series += [
            {"series": f'{PREFIX}failed_answers_total{{instance="{name}",reason="upstream"}}', "values": failed},
            {"series": f'{PREFIX}queries_total{{instance="{name}",transport="udp"}}', "values": queries},
        ]
    alarmed = [name for name, night in NIGHTS.items() if night[-1]]
    asked = [firing("AnswersFailing", f"{minute}m", alarmed) for minute in (70, 89, 119)]
    tests = [{"interval": "1m", "input_series": series, "promql_expr_test": asked}]
    run(program("promtool"), tmp_path, ["alerts.yml"], tests)


TAMPERED: dict[str, tuple[str, str, int, str, bool]] = {
    "one lagging mirror": ("tampered", "0x60 1x60", 900, "0+60x120", False),
    "one, then the network is down": ("rolled_back", "0x60 1x60", 900, "0+60x59 3540x60", False),
    "two, with a good poll between": ("rolled_back", "0x60 1x29 2x30", 900, "0+60x120", False),
    "two in a row": ("tampered", "0x60 1x14 2x45", 900, "0+60x50 3000x69", True),
    "two in a row of a slow list": ("mixed", "0x60 1x49 2x10", 3000, "600x120", True),
    "less than half of an hour's polls": ("mixed", "0x60 0+1x14 14x44", 120, "0+60x120", False),
    "more than half of an hour's polls": ("mixed", "0x60 0+1x18 18x40", 120, "0+60x120", True),
    "three of four polls, the fourth good": ("rolled_back", "0x60 1x14 2x14 3x30", 900, "0+60x120", True),
}
"""Reason, its counter, poll, last success, and whether somebody is to be woken at once after 119 minutes."""


def test_a_lagging_mirror_wakes_nobody_and_what_lasts_does(program: Callable[[str], str], tmp_path: Path) -> None:
    series = []
    for name, (reason, failures, poll, last, _) in TAMPERED.items():
        labels = f'instance="{name}",list="one"'
        series += [
            {"series": f'{PREFIX}feed_failures_total{{{labels},reason="{reason}"}}', "values": failures},
            {"series": f"{PREFIX}list_poll_seconds{{{labels}}}", "values": f"{poll}x120"},
            {"series": f"{PREFIX}feed_last_success_timestamp_seconds{{{labels}}}", "values": last},
        ]
    lasting = [name for name, row in TAMPERED.items() if row[-1]]
    asked = [firing("FeedTampered", "119m", lasting), firing("FeedSuspect", "112m", TAMPERED)]
    tests = [{"interval": "1m", "input_series": series, "promql_expr_test": asked}]
    run(program("promtool"), tmp_path, ["alerts.yml"], tests)


def test_a_runbook_is_a_link_of_one_setting(program: Callable[[str], str], tmp_path: Path) -> None:
    """`external_labels` of prometheus.yml, as Prometheus fills it in."""
    labels = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["global"]["external_labels"]
    (url,) = labels.values()
    rule = ALERTS["ListHeld"]
    annotations = {
        name: text.replace("{{ $labels.instance }}", "dns1").replace("{{ $labels.list }}", "one")
        for name, text in rule["annotations"].items()
    }
    annotations["runbook_url"] = f"{url}#blocklistlistheld"
    expected = {"exp_labels": {**rule["labels"], "instance": "dns1", "list": "one"}, "exp_annotations": annotations}
    tests = [
        {
            "interval": "1m",
            "external_labels": labels,
            "input_series": [{"series": f'{PREFIX}list_held{{instance="dns1",list="one"}}', "values": "1x10"}],
            "alert_rule_test": [{"eval_time": "5m", "alertname": "BlocklistListHeld", "exp_alerts": [expected]}],
        }
    ]
    run(program("promtool"), tmp_path, ["alerts.yml"], tests)
