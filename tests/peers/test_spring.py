"""The made-up spring in a real Prometheus: the report from it is that of the ledgers, and every panel of the
dashboards, asked as Grafana asks, draws what there was; nothing stays empty.

Rules:
- A panel's expression goes to Prometheus' API with its variables filled in: a graph as a range in the panel's steps, a
  number as one moment, the end of what is shown.
- The spring is that of deploy/prometheus/replay.py, filled as its own text says.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from resolver.count.metrics import PREFIX
from resolver.count.report import report
from resolver.count.report.prometheus import Server
from tests.grafana.ask import Course, Drawn, Grafana, at, with_variables
from tests.unit.count import spring

pytestmark = pytest.mark.timeout(300)  # The first one fills the Prometheus of all.

replay = spring.replay
FOLDER = spring.DEPLOY / "grafana" / "dashboards"
WINDOWS = {
    "blocking": (at("2020-03-14 00:00"), at("2020-04-20 00:00")),
    "overview": (at("2020-06-28 04:00"), at("2020-06-29 04:00")),
    "lists": (at("2020-06-24 00:00"), at("2020-06-30 00:00")),
    "service": (at("2020-06-28 06:00"), at("2020-06-29 06:00")),
}
"""What is shown of each dashboard; in this time there is something to see in each panel."""

DASHBOARDS = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in WINDOWS}
PANELS = {(name, panel["title"]): panel for name, page in DASHBOARDS.items() for panel in page["panels"]
          if panel["type"] != "row"}
RURITANIA, EREWHON, LAPUTA = (f"{one.name} {replay.LIST}" for one in replay.REGIONS)
ONE, TWO, THREE = "synthetic-1", "synthetic-2", "synthetic-3"


@pytest.fixture(scope="module")
def filled(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Prometheus with the spring, as deploy/prometheus/replay.py fills it."""
    data, prometheus = tmp_path_factory.mktemp("spring") / "data", program("prometheus")
    replay.fill(data, prometheus, program("promtool"))
    with replay.serving(data, prometheus) as url:
        yield url


@pytest.fixture(scope="module")
def grafana(filled: str) -> Grafana:
    return Grafana(filled)


def test_prometheus_and_the_ledgers_say_the_same(filled: str, tmp_path: Path) -> None:
    of_ledgers = spring.whole(tmp_path)
    of_fleet = report.of_fleet(Server(filled).ask, replay.FIRST, replay.LAST)
    # The day before the first value is one without a beginning to Prometheus.
    whole = {place: {day: one for day, one in days.items() if day >= replay.FIRST} for place, days in of_fleet.items()}
    assert whole == of_ledgers
    told = spring.told(of_fleet)
    assert told == spring.told(of_ledgers)
    surges = {one.place.region: one.surges[0] for one in told.places}
    found = {name: (str(one.peak.day), round(one.peak.ratio or 0, 1), str(one.back)) for name, one in surges.items()}
    assert found == {
        "Ruritania-made-up": ("2020-03-30", 10.0, "2020-05-11"),
        "Erewhon-made-up": ("2020-04-14", 2.0, "2020-05-13"),
        "Laputa-made-up": ("2020-04-06", 4.0, "2020-05-16"),
    }


def of(grafana: Grafana, page: str, title: str, window: tuple[int, int] | None = None, **chosen: str) -> Drawn:
    """What a panel draws by its title."""
    return grafana.draw(PANELS[page, title], window or WINDOWS[page], **chosen)


def attempts(day: date) -> dict[str, int]:
    return {f"{one.name} {replay.LIST}": one.attempts(day) for one in replay.REGIONS}


def within(course: Course, first: str, last: str) -> set[float]:
    """The values between two moments."""
    return {value for moment, value in course.items() if at(first) <= moment < at(last)}


@pytest.mark.parametrize(("page", "title"), PANELS, ids=[" ".join(one).replace(" ", "-") for one in PANELS])
def test_no_panel_is_empty_and_every_target_draws(page: str, title: str, grafana: Grafana) -> None:
    panel = PANELS[page, title]
    for target in panel["targets"]:
        drawn = grafana.draw({**panel, "targets": [target]}, WINDOWS[page])
        # Only hosts that differ or are beyond a limit are drawn one by one, and both are alike and well here.
        assert drawn or "{{instance}}" in target["legendFormat"], target["expr"]
        assert all(math.isfinite(value) for course in drawn.values() for value in course.values()), drawn
        if "{{region}}" in target["legendFormat"]:
            assert len({legend.replace("usual ", "") for legend in drawn}) % len(replay.REGIONS) == 0, drawn.keys()


def test_a_choice_leaves_the_others_out(grafana: Grafana) -> None:
    title = "Attempts within 24 hours"
    every = {f"{usual}{name}" for usual in ("", "usual ") for name in (RURITANIA, EREWHON, LAPUTA)}
    assert set(of(grafana, "blocking", title)) == every
    one = of(grafana, "blocking", title, region=replay.REGIONS[0].name)
    assert set(one) == {RURITANIA, f"usual {RURITANIA}"}
    assert of(grafana, "blocking", title, list="another") == {}
    assert set(of(grafana, "blocking", "Attempts within 24 hours", list=replay.LIST)) == every
    busy = of(grafana, "overview", "Busiest core")
    assert set(of(grafana, "overview", "Busiest core", instance=TWO)) == {TWO} != set(busy)


def test_the_variables_have_values_to_choose_from(grafana: Grafana) -> None:
    first, last = WINDOWS["lists"]
    for page in DASHBOARDS.values():
        for one in page["templating"]["list"]:
            if one["type"] == "query":
                asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", one["query"])
                assert asked
                metric, label = asked.groups()
                values = grafana.get(f"label/{label}/values", **{"match[]": metric, "start": first, "end": last})
                expected = {
                    "instance": {ONE, TWO, THREE},
                    "list": {replay.LIST},
                    "region": {region.name for region in replay.REGIONS},
                }
                assert set(values) == expected[label]


def test_the_peak_is_ten_times_in_one_region_and_two_or_four_times_in_others(grafana: Grafana) -> None:
    peaks = of(grafana, "blocking", "Peak ratio")
    assert max(peaks[RURITANIA].values()) == pytest.approx(10, rel=0.001)
    assert max(peaks[EREWHON].values()) == pytest.approx(2, rel=0.001)
    assert max(peaks[LAPUTA].values()) == pytest.approx(4, rel=0.01)
    # The 24 hours of a day are whole at the midnight that ends it.
    ratios = of(grafana, "blocking", "Ratio to the baseline")
    tops = {name: max(course, key=lambda moment, course=course: course[moment]) for name, course in ratios.items()}
    assert tops[RURITANIA] == at("2020-03-31 00:00")
    assert tops[EREWHON] == at("2020-04-15 00:00")
    # The most attempts are those of the weekend before, which has more on any week.
    (highest,) = of(grafana, "blocking", "Peak of 24 hours")[RURITANIA].values()
    assert highest == pytest.approx(max(map(replay.REGIONS[0].attempts, replay.days())), rel=0.01)


def test_a_days_attempts_and_queries_are_those_of_the_day(grafana: Grafana) -> None:
    drawn = of(grafana, "blocking", "Attempts within 24 hours")
    for day in (date(2020, 3, 20), date(2020, 3, 30), date(2020, 4, 14)):
        moment = replay.midnight(day) + replay.DAY_S
        assert {name: round(course[moment]) for name, course in drawn.items() if "usual" not in name} == attempts(day)
    shares = of(grafana, "blocking", "Blocked queries in 100,000 answers")
    assert shares[RURITANIA][at("2020-03-31 00:00")] == pytest.approx(1e5 * 90_000 / 40_000_000)


def test_it_is_back_to_normal_in_may(grafana: Grafana) -> None:
    last = at("2020-06-30 00:00")
    ratios = of(grafana, "blocking", "Ratio to the baseline", (at("2020-05-20 00:00"), last))
    # The surge is over, and no day of it is part of the baseline.
    assert {round(value, 2) for course in ratios.values() for value in course.values()} == {1.0}
    drawn = of(grafana, "blocking", "Attempts within 24 hours", (at("2020-05-21 00:00"), last))
    for name, usual in ((RURITANIA, 3000), (EREWHON, 8000), (LAPUTA, 2000)):
        assert max(drawn[name].values()) == pytest.approx(usual * max(replay.WEEK), rel=0.01)
        assert drawn[name][last] == drawn[f"usual {name}"][last]


def test_the_ratio_of_each_day_is_that_of_the_report(grafana: Grafana) -> None:
    window = (replay.midnight(replay.FIRST), replay.midnight(replay.LAST) + replay.DAY_S)
    ratios = grafana.range(f"region_list:{PREFIX}blocked_attempts:ratio8w", window, replay.DAY_S)
    found = {
        (one["metric"]["region"], datetime.fromtimestamp(moment - replay.DAY_S, UTC).date()): round(float(value), 9)
        for one in ratios
        for moment, value in one["values"]
    }
    expected = {
        (place.place.region, one.day): round(one.figure.ratio, 9)
        for place in spring.told(spring.facts(replay.REGIONS)).places
        for one in place.days
        if one.figure.ratio is not None
    }
    assert len(expected) > 200
    assert found == expected


def test_a_finished_month_is_the_sum_of_its_days(grafana: Grafana) -> None:
    months = of(grafana, "blocking", "Finished months", (at("2020-06-01 00:00"), at("2020-06-30 00:00")))
    assert {name: set(course.values()) for name, course in months.items()} == {
        f"2020-{month:02} {region.name} {replay.LIST}": {
            sum(region.attempts(day) for day in replay.days() if day.month == month)
        }
        for region in replay.REGIONS
        for month in range(1, 6)
    }
    whole = sum(region.attempts(day) for region in replay.REGIONS for day in replay.days() if day.month == 5)
    last = of(grafana, "overview", "Last finished month")
    assert {name: set(course.values()) for name, course in last.items()} == {f"{replay.LIST}, 2020-05": {whole}}


def test_the_national_total_is_the_newest_one_and_older_ones_are_in_the_table(grafana: Grafana) -> None:
    whole = {
        month: 3 * sum(region.attempts(day) for region in replay.REGIONS for day in replay.days() if day.month == month)
        for month in range(1, 6)
    }
    newest = of(grafana, "overview", "National total")
    assert {name: set(course.values()) for name, course in newest.items()} == {f"{replay.LIST}, 2020-05": {whole[5]}}
    table = of(grafana, "blocking", "National total by month", WINDOWS["overview"])
    assert {name: max(course.values()) for name, course in table.items()} == {
        f"2020-{month:02} {replay.LIST}": total for month, total in whole.items()
    }


def test_events_and_changes_of_the_list_are_marks_on_the_graphs(grafana: Grafana) -> None:
    window = (at("2020-03-01 00:00"), at("2020-05-10 00:00"))
    marks = {one["name"]: one["expr"] for one in DASHBOARDS["blocking"]["annotations"]["list"] if "expr" in one}
    assert set(marks) == {"Dated events", "Changes of lists"}
    dated = grafana.range(with_variables(marks["Dated events"], window), window, 900)
    assert {
        (one["metric"]["region"], one["metric"]["event"], int(float(one["values"][0][1])) // 1000) for one in dated
    } == {(region.name, event, replay.midnight(day)) for region, event, day in replay.LOCKDOWNS}
    # The made-up values are a quarter of an hour apart, as the annotation's step.
    changed = grafana.range(with_variables(marks["Changes of lists"], window), window, 900)
    mornings = {at(f"{day} 06:00") for day in replay.days() if day.weekday() == 0}
    assert {moment for one in changed for moment, _ in one["values"]} == mornings & set(range(*window))
    assert {len(one["values"]) for one in changed} == {1}


def test_the_overview_has_the_alerts_of_the_night(grafana: Grafana) -> None:
    now = of(grafana, "overview", "Firing alerts")
    found = {name: set(course.values()) for name, course in now.items()}
    assert found == {"critical": {0}, "warning": {1}, "info": {0}}
    (panel,) = (one for (_, title), one in PANELS.items() if title == "Firing alerts: what to do")
    ((_, (labels, _, _)),) = grafana.series(panel, WINDOWS["overview"])
    assert (labels["alertname"], labels["list"], labels["runbook"]) == (
        "BlocklistListHeld",
        replay.LIST,
        "blocklistlistheld",
    )
    assert of(grafana, "overview", "Lists") == {replay.LIST: {WINDOWS["overview"][1]: 2}}
    assert set(of(grafana, "overview", "Enforcing")) == {"3 of 3 hosts"}
    assert of(grafana, "overview", "Hosts that differ") == {}


@pytest.mark.parametrize("month", [1, 3, 4, 6])
def test_a_month_to_date_is_the_sum_of_its_days(month: int, grafana: Grafana) -> None:
    first = date(2020, month, 1)
    days = [day for day in replay.days() if day.month == month]
    # The last beat of a month is shown with the next one's first midnight: what is recorded at 23:00 lacks an hour.
    shown = replay.midnight(days[-1]) + 23 * replay.HOUR_S
    drawn = of(grafana, "blocking", "Month to date", (shown - replay.DAY_S, shown))
    for region in replay.REGIONS:
        course = dict(replay.totals([region.attempts(day) for day in replay.days()]))
        told = drawn[f"{region.name} {replay.LIST}"][shown]
        assert told == course[shown] - course[replay.midnight(first)]
        assert 0 < sum(map(region.attempts, days)) - told <= region.attempts(days[-1]) / 24 + replay.BATCH
    next_hour = replay.midnight(days[-1]) + replay.DAY_S + replay.HOUR_S
    if month < 6:
        begun = of(grafana, "blocking", "Month to date", (next_hour - replay.DAY_S, next_hour))
        assert begun[EREWHON][next_hour] < 8000 * 2.1 / 23


def test_enforcement_is_the_whole_day_of_each_list(grafana: Grafana) -> None:
    drawn = of(grafana, "blocking", "Minutes of enforcement a day")
    assert {name: set(course.values()) for name, course in drawn.items()} == {
        f"highest {replay.LIST}": {1440},
        f"lowest {replay.LIST}": {1440},
    }


def test_what_happened_to_the_list_is_seen(grafana: Grafana) -> None:
    one, high, low = replay.LIST, f"highest {replay.LIST}", f"lowest {replay.LIST}"
    serials = of(grafana, "lists", "Serial in force")
    assert serials[high] == serials[low]
    last = max(serials[high])
    assert (within(serials[high], "2020-06-24 00:00", "2020-06-29 06:00"), serials[high][last]) == ({437}, 438)
    assert of(grafana, "lists", "Entries in force")[high][last] == replay.ENTRIES
    assert of(grafana, "lists", "Age of the list")[high][at("2020-06-29 12:00")] == 6 * 3600
    assert of(grafana, "lists", "Until the hard limit")[low][at("2020-06-29 12:00")] == 14 * 86400 - 6 * 3600
    held = of(grafana, "lists", "Held, breaker, self-test")
    assert within(held[f"held {one}"], "2020-06-29 02:00", "2020-06-29 06:00") == {1}
    assert within(held[f"held {one}"], "2020-06-24 00:00", "2020-06-29 02:00") == {0}
    assert (set(held[f"breaker {one}"].values()), set(held[f"self-test failed {one}"].values())) == ({0}, {0})
    states = of(grafana, "lists", "Lists, since")[one]
    assert within(states, "2020-06-29 02:00", "2020-06-29 06:00") == {2}
    assert within(states, "2020-06-29 06:00", "2020-06-29 11:00") == {1}
    assert within(states, "2020-06-27 10:45", "2020-06-27 13:00") == {3}
    aside = of(grafana, "lists", "Lines set aside")
    assert set(aside) == {f"{one} protected", f"{one} in_use", f"waiting {one}"}
    waiting = aside[f"waiting {one}"]
    assert (waiting, set(waiting.values())) == (aside[f"{one} in_use"], {replay.WAITING})
    assert min(waiting) == at("2020-06-29 06:00")
    due = of(grafana, "lists", "Until the deadline")[one]
    assert (min(due), max(due) < at("2020-06-29 06:00"), due[min(due)]) == (at("2020-06-29 02:00"), True, 86400)
    failed = of(grafana, "lists", "Updates that failed an hour")
    assert set(failed) == {f"all hosts {one} unreachable", f"highest {one} unreachable"}
    assert min(failed[f"highest {one} unreachable"]) >= at("2020-06-27 10:00")
    assert max(failed[f"highest {one} unreachable"].values()) == pytest.approx(4, rel=0.1)
    late = of(grafana, "lists", "Since the last poll that verified")
    assert max(late[high].values()) == pytest.approx(3 * 3600, abs=900)
    assert max(late[low].values()) <= 1000
    # Only the host that is late has a line of its own, and only while it is.
    assert min(late[f"{ONE} {one}"].values()) > 2700
    assert set(late) == {high, low, f"{ONE} {one}", f"three polls {one}"}
    assert set(late[f"three polls {one}"].values()) == {2700}
    assert set(of(grafana, "lists", "Lines refused")) == {f"{one} url", f"{one} malformed"}
    assert set(of(grafana, "lists", "Until a release ends")) == {one}


def test_what_happened_to_the_service_is_seen(grafana: Grafana) -> None:
    rates = of(grafana, "service", "Queries")
    assert set(rates) == {"udp", "tcp"}
    expected = 39e6 * sum(one.answers for one in replay.REGIONS) / replay.RURITANIA.answers / replay.DAY_S
    assert min(rates["udp"].values()) == pytest.approx(expected, rel=0.01)
    up = of(grafana, "service", "Upstreams")
    first, second = replay.UPSTREAMS
    assert within(up[first], "2020-06-28 18:00", "2020-06-28 19:30") == {0}
    assert within(up[first], "2020-06-28 06:00", "2020-06-28 18:00") == {1}
    assert set(up[second].values()) == {1}
    failed = of(grafana, "service", "Upstreams: exchanges that failed")
    assert set(failed) == {f"{first} timeout"}
    unanswered = of(grafana, "service", "Queries that failed")["upstream"]
    assert (unanswered[at("2020-06-28 17:45")], unanswered[at("2020-06-28 19:15")] > 0) == (0, True)
    shares = of(grafana, "service", "Look-ups in the cache")
    assert sum(course[at("2020-06-28 12:00")] for course in shares.values()) == pytest.approx(1)
    slow = of(grafana, "service", "All upstreams: time to answer")
    assert 0 < min(slow["half"].values()) <= 0.005
    assert 0.025 < min(slow["99 of 100"].values()) <= 0.1
    assert max(of(grafana, "service", "Age of the counts")["highest"].values()) < 3600
