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
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from resolver.count.report import report
from resolver.count.report.prometheus import Server
from tests.unit.count import spring

pytestmark = pytest.mark.timeout(300)  # The first one fills the Prometheus of all.

replay = spring.replay
FOLDER = spring.DEPLOY / "grafana" / "dashboards"
LEAST_S: Final = {"1m": 60, "15m": 900}
STEPS_S: Final = (60, 120, 300, 600, 900, 1200, 1800, 3600, 7200)
POINTS: Final = 1000
"""So many points Grafana asks for at the most: one for each pixel."""

Course = dict[int, float]
Drawn = dict[str, Course]
"""Of each line its legend, and its values by moment."""


def at(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp())


WINDOWS = {
    "blocking": (at("2020-03-14 00:00"), at("2020-04-20 00:00")),
    "lists": (at("2020-06-24 00:00"), at("2020-06-30 00:00")),
    "service": (at("2020-06-28 06:00"), at("2020-06-29 06:00")),
}
"""What is shown of each dashboard; in this time there is something to see in each panel."""

DASHBOARDS = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in WINDOWS}
PANELS = {(name, panel["title"]): panel for name, page in DASHBOARDS.items() for panel in page["panels"]}
RURITANIA, EREWHON = (f"{one.name} {replay.LIST}" for one in replay.REGIONS)
ONE, TWO = "synthetic-1", "synthetic-2"


class Grafana:
    """Asks a Prometheus as Grafana does."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **words: object) -> Any:
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(words)}", timeout=60) as reply:
            told = json.load(reply)
        assert told["status"] == "success", told
        return told["data"]

    def draw(self, panel: dict[str, Any], window: tuple[int, int], **chosen: str) -> Drawn:
        """What a panel draws; `chosen` are variables of which not all values are."""
        first, last = window
        found: Drawn = {}
        for target in panel["targets"]:
            query = target["expr"].replace("$__range", f"{last - first}s")
            query = re.sub(r"\$(\w+)", lambda name: chosen.get(name[1], ".*"), query)
            if target.get("instant"):
                series = self.get("query", query=query, time=last)["result"]
            else:
                least = max(LEAST_S[target["interval"]], (last - first) / POINTS)
                step = next(step for step in STEPS_S if step >= least)
                words = {"query": query, "start": first // step * step, "end": last // step * step, "step": step}
                series = self.get("query_range", **words)["result"]
            for one in series:
                values = one.get("values") or [one["value"]]
                legend = re.sub(r"{{(\w+)}}", lambda label, one=one: one["metric"][label[1]], target["legendFormat"])
                assert legend not in found, f"two lines are {legend}"
                found[legend] = {int(moment): float(value) for moment, value in values}
        return found


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
    of_ledgers = spring.ledgers(tmp_path)
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
        assert drawn, target["expr"]
        assert all(math.isfinite(value) for course in drawn.values() for value in course.values()), drawn
        if "{{region}}" in target["legendFormat"]:
            assert len(drawn) == 2, drawn.keys()
        elif "{{instance}}" in target["legendFormat"]:
            assert any(ONE in legend for legend in drawn)


def test_a_choice_leaves_the_others_out(grafana: Grafana) -> None:
    title = "Attempts within 24 hours"
    assert set(of(grafana, "blocking", title)) == {RURITANIA, EREWHON}
    assert set(of(grafana, "blocking", title, region=replay.REGIONS[0].name)) == {RURITANIA}
    assert of(grafana, "blocking", title, list="another") == {}
    assert set(of(grafana, "service", "Enforcing", instance=TWO)) == {TWO}


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
                    "instance": {ONE, TWO},
                    "list": {replay.LIST},
                    "region": {region.name for region in replay.REGIONS},
                }
                assert set(values) == expected[label]


def test_the_peak_is_ten_times_in_one_region_and_two_times_in_the_other(grafana: Grafana) -> None:
    peaks = of(grafana, "blocking", "Peak ratio")
    # The baseline of the dashboard is not frozen: half of the eight weeks before the second peak are in its surge.
    assert max(peaks[RURITANIA].values()) == pytest.approx(10, rel=0.001)
    assert max(peaks[EREWHON].values()) == pytest.approx(2, rel=0.02)
    # The 24 hours of a day are whole at the midnight that ends it; the second baseline rises in the evening before.
    ratios = of(grafana, "blocking", "Ratio to the baseline")
    tops = {name: max(course, key=lambda moment, course=course: course[moment]) for name, course in ratios.items()}
    assert tops[RURITANIA] == at("2020-03-31 00:00")
    assert at("2020-04-14 12:00") <= tops[EREWHON] <= at("2020-04-15 00:00")
    # The most attempts are those of the weekend before, which has more on any week.
    (highest,) = of(grafana, "blocking", "Peak of 24 hours")[RURITANIA].values()
    assert highest == pytest.approx(max(map(replay.REGIONS[0].attempts, replay.days())), rel=0.01)


def test_a_days_attempts_and_queries_are_those_of_the_day(grafana: Grafana) -> None:
    drawn = of(grafana, "blocking", "Attempts within 24 hours")
    for day in (date(2020, 3, 20), date(2020, 3, 30), date(2020, 4, 14)):
        moment = replay.midnight(day) + replay.DAY_S
        assert {name: round(course[moment]) for name, course in drawn.items()} == attempts(day)
    shares = of(grafana, "blocking", "Blocked queries in 100,000 answers")
    assert shares[RURITANIA][at("2020-03-31 00:00")] == pytest.approx(1e5 * 90_000 / 40_000_000)


def test_it_is_back_to_normal_in_may(grafana: Grafana) -> None:
    last = at("2020-06-30 00:00")
    ratios = of(grafana, "blocking", "Ratio to the baseline", (at("2020-05-20 00:00"), last))
    assert all(max(course.values()) < 1.2 for course in ratios.values())
    drawn = of(grafana, "blocking", "Attempts within 24 hours", (at("2020-05-21 00:00"), last))
    for name, usual in ((RURITANIA, 3000), (EREWHON, 8000)):
        assert max(drawn[name].values()) == pytest.approx(usual * max(replay.WEEK), rel=0.01)


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
        f"{ONE} {replay.LIST}": {1440},
        f"{TWO} {replay.LIST}": {1440},
    }


def test_what_happened_to_the_list_is_seen(grafana: Grafana) -> None:
    one = f"{ONE} {replay.LIST}"
    serials = of(grafana, "lists", "Serial in force")
    assert serials[one] == serials[f"{TWO} {replay.LIST}"]
    last = max(serials[one])
    assert (within(serials[one], "2020-06-24 00:00", "2020-06-29 06:00"), serials[one][last]) == ({437}, 438)
    assert of(grafana, "lists", "Entries in force")[one][last] == replay.ENTRIES
    assert of(grafana, "lists", "Age of the list")[one][at("2020-06-29 12:00")] == 6 * 3600
    assert of(grafana, "lists", "Until the hard limit")[one][at("2020-06-29 12:00")] == 14 * 86400 - 6 * 3600
    held = of(grafana, "lists", "Held, breaker, self-test")
    assert within(held[f"held {one}"], "2020-06-29 02:00", "2020-06-29 06:00") == {1}
    assert within(held[f"held {one}"], "2020-06-24 00:00", "2020-06-29 02:00") == {0}
    assert (set(held[f"breaker {one}"].values()), set(held[f"self-test {one}"].values())) == ({0}, {1})
    aside = of(grafana, "lists", "Lines set aside")
    both = [f"{who} {replay.LIST}" for who in (ONE, TWO)]
    assert set(aside) == {line for who in both for line in (f"{who} protected", f"{who} in_use", f"waiting {who}")}
    waiting = aside[f"waiting {one}"]
    assert (waiting, set(waiting.values())) == (aside[f"{one} in_use"], {replay.WAITING})
    assert min(waiting) == at("2020-06-29 06:00")
    due = of(grafana, "lists", "Until the deadline")[one]
    assert (min(due), max(due) < at("2020-06-29 06:00"), due[min(due)]) == (at("2020-06-29 02:00"), True, 86400)
    failed = of(grafana, "lists", "Updates that failed an hour")
    assert set(failed) == {f"{one} unreachable"}
    assert min(failed[f"{one} unreachable"]) >= at("2020-06-27 10:00")
    assert max(failed[f"{one} unreachable"].values()) == pytest.approx(4, rel=0.1)
    late = of(grafana, "lists", "Since the last poll that verified")
    assert max(late[one].values()) == pytest.approx(3 * 3600, abs=900)
    assert max(late[f"{TWO} {replay.LIST}"].values()) <= 1000
    assert set(of(grafana, "lists", "Lines refused")) == {
        f"{who} {why}" for who in both for why in ("url", "malformed")
    }
    assert set(of(grafana, "lists", "Until a release ends")) == set(both)
    assert set(late) == {*both, f"three polls {replay.LIST}"}
    assert set(late[f"three polls {replay.LIST}"].values()) == {2700}


def test_what_happened_to_the_service_is_seen(grafana: Grafana) -> None:
    rates = of(grafana, "service", "Queries")
    assert set(rates) == {"udp", "tcp"}
    expected = 39e6 * (1 + 90 / 40) / replay.DAY_S
    assert min(rates["udp"].values()) == pytest.approx(expected, rel=0.01)
    up = of(grafana, "service", "Upstreams")
    first, second = replay.UPSTREAMS
    assert within(up[f"{ONE} {first}"], "2020-06-28 18:00", "2020-06-28 19:30") == {0}
    assert within(up[f"{ONE} {first}"], "2020-06-28 06:00", "2020-06-28 18:00") == {1}
    assert set(up[f"{ONE} {second}"].values()) == {1}
    failed = of(grafana, "service", "Upstreams: exchanges that failed")
    assert set(failed) == {f"{first} timeout"}
    unanswered = of(grafana, "service", "Queries that failed")["upstream"]
    assert (unanswered[at("2020-06-28 17:45")], unanswered[at("2020-06-28 19:15")] > 0) == (0, True)
    shares = of(grafana, "service", "Look-ups in the cache")
    assert sum(course[at("2020-06-28 12:00")] for course in shares.values()) == pytest.approx(1)
    slow = of(grafana, "service", "All upstreams: time to answer")
    assert 0 < min(slow["half"].values()) <= 0.005
    assert 0.025 < min(slow["99 of 100"].values()) <= 0.1
    assert max(of(grafana, "service", "Age of the counts")[ONE].values()) < 3600
