"""The days of a fleet from Prometheus' API: differences of one instance each, gaps, and servers that fail."""

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from resolver.count.report.days import DAY, DAY_S, FELL, NOT_ENFORCED, SILENT, DayFacts, Parts, Place, midnight
from resolver.count.report.prometheus import AFTER_S, PrometheusUnusable, Server, from_prometheus

MONDAY = date(2026, 3, 2)
DAYS = [MONDAY + number * DAY for number in range(5)]
UK = Place("UK", "demo")

Values = Mapping[float, float]


class Fleet:
    """Answers as Prometheus would: of each instance its totals at the midnights by number, and what else is known."""

    def __init__(self) -> None:
        self.series: list[tuple[str, dict[str, str], Values]] = []
        self.asked: list[tuple[int, int]] = []

    def instance(
        self,
        name: str,
        attempts: Values,
        *,
        region: str = "UK",
        definition: str = "v1",
        enforcing: float = 1.0,
        subscribers: float = 1000,
    ) -> None:
        own = {"instance": name, "job": "resolver"}
        here = dict.fromkeys(attempts, 1.0)
        self.series += [
            ("blocked_attempts_total", {**own, "list": "demo", "__name__": "x"}, attempts),
            ("blocked_queries_total", {**own, "list": "demo"}, {at: 3 * one for at, one in attempts.items()}),
            ("answers_total", own, {at: 100 * one for at, one in attempts.items()}),
            ("list_entries", {**own, "list": "demo"}, dict.fromkeys(attempts, 50.0)),
            ("list_serial", {**own, "list": "demo"}, dict.fromkeys(attempts, 7.0)),
            ("subscribers_covered", own, dict.fromkeys(attempts, subscribers)),
            ("enforcing", own, dict.fromkeys(attempts, enforcing)),
            (
                "build_info",
                {**own, "version": "1", "engine": "python", "definition": definition, "region": region},
                here,
            ),
        ]

    def ask(self, query: str, first: int, last: int) -> Any:
        self.asked.append((first, last))
        found = []
        for name, labels, values in self.series:
            if f"blocklist_resolver_{name}[" not in query and f"blocklist_resolver_{name})" not in query:
                continue
            told = [
                [at, str(value)]
                for number, value in values.items()
                for at in (midnight(MONDAY) + round(number * DAY_S) + AFTER_S,)
                if first <= at <= last
            ]
            if told:
                found.append({"metric": labels, "values": told})
        return found

    def days(self) -> dict[Place, dict[date, DayFacts]]:
        return from_prometheus(self.ask, MONDAY, DAYS[-1])


def counts(found: dict[Place, dict[date, DayFacts]], place: Place = UK) -> list[tuple[int | None, str]]:
    return [(one.attempts, one.gap) for one in found[place].values()]


def test_days_are_differences_of_each_instance_summed_by_region() -> None:
    fleet = Fleet()
    fleet.instance("one", {0: 1000, 1: 1010, 2: 1030, 3: 1060, 4: 1100, 5: 1150})
    fleet.instance("two", {0: 0, 1: 100, 2: 200, 3: 300, 4: 400, 5: 500})
    fleet.instance("three", {0: 0, 1: 7, 2: 7, 3: 7, 4: 7, 5: 7}, region="NL")
    found = fleet.days()
    assert counts(found) == [(110, ""), (120, ""), (130, ""), (140, ""), (150, "")]
    assert [one.attempts for one in found[Place("NL", "demo")].values()] == [7, 0, 0, 0, 0]
    assert found[UK][MONDAY] == DayFacts(
        attempts=110,
        queries=330,
        answers=11_000,
        enforced=1.0,
        entries=50,
        serial=7,
        subscribers=2000,
        definitions=frozenset({"v1"}),
        resolvers=2,
    )


def test_what_explains_attempts_is_read_too() -> None:
    fleet = Fleet()
    fleet.instance("one", {0: 0, 1: 10, 2: 20, 3: 30, 4: 40, 5: 50})
    own = {"instance": "one", "job": "resolver", "list": "demo"}
    fleet.series += [
        ("blocked_attempts_bounded_total", own, {1: 0, 2: 10, 3: 30}),
        ("blocked_prefixes_total", own, {1: 0, 2: 7, 3: 14}),
        ("attempts_new_entries_total", own, {1: 0, 2: 1, 3: 2}),
        ("attempts_capped_total", own, {0: 0, 1: 5, 2: 5, 3: 5}),
        ("attempts_saturated", own, {2: 4.0}),
    ]
    found = [one.parts for one in fleet.days()[UK].values()]
    assert found[0] == Parts(capped=5), "a release before them"
    assert found[1] == Parts(bounded=10, prefixes=7, new_entries=1, capped=0, full=4)
    assert found[2] == Parts(bounded=20, prefixes=7, new_entries=1, capped=0)


def test_a_midnight_without_a_value_makes_two_gaps_and_loses_nothing() -> None:
    fleet = Fleet()
    fleet.instance("one", {0: 0, 1: 10, 3: 60, 4: 70, 5: 80})
    assert counts(fleet.days()) == [(10, ""), (None, SILENT), (50, SILENT), (10, ""), (10, "")]


def test_a_total_that_fell_is_a_gap_and_hides_no_other_day() -> None:
    fleet = Fleet()
    fleet.instance("one", {0: 100, 1: 110, 2: 5, 3: 25, 4: 45, 5: 65})
    assert counts(fleet.days()) == [(10, ""), (None, FELL), (20, ""), (20, ""), (20, "")]


def test_an_instance_that_comes_later_and_one_that_goes_have_only_their_days() -> None:
    fleet = Fleet()
    fleet.instance("one", {0: 0, 1: 10, 2: 20, 3: 30, 4: 40, 5: 50})
    fleet.instance("late", {3: 5, 4: 6, 5: 7})
    fleet.instance("gone", {0: 0, 1: 1, 2: 2})
    assert counts(fleet.days()) == [(11, ""), (11, ""), (10, SILENT), (11, ""), (11, "")]
    assert [one.subscribers for one in fleet.days()[UK].values()][-1] == 2000


def test_a_day_not_enforced_and_a_new_definition_are_told() -> None:
    fleet = Fleet()
    fleet.instance("one", {0: 0, 1: 10}, enforcing=0.9)
    fleet.instance("two", {0: 0, 1: 10}, definition="v2", enforcing=1.01)
    day = fleet.days()[UK][MONDAY]
    assert (day.gap, day.enforced, day.definitions) == (NOT_ENFORCED, 0.9, {"v1", "v2"})


def test_enforcement_is_that_of_the_list_where_the_release_tells_it() -> None:
    fleet = Fleet()
    fleet.instance("one", {0: 0, 1: 10}, enforcing=0.5)
    own = {"instance": "one", "job": "resolver", "list": "demo"}
    fleet.series.append(("list_enforced", own, {0: 1.0, 1: 0.97}))
    day = fleet.days()[UK][MONDAY]
    assert (day.gap, day.enforced) == ("", 0.97)


def test_an_upgrade_leaves_an_instance_the_same() -> None:
    fleet = Fleet()
    fleet.instance("one", {0: 0, 1: 10, 2: 20, 3: 30})
    info = next(one for one in fleet.series if one[0] == "build_info")
    newer = {**info[1], "version": "2", "definition": "v2"}
    fleet.series.remove(info)
    fleet.series += [("build_info", info[1], {0: 1.0, 1: 1.0}), ("build_info", newer, {2: 1.0, 3: 1.0})]
    found = fleet.days()[UK]
    assert [sorted(one.definitions) for one in found.values()] == [["v1"], ["v1", "v2"], ["v2"], ["v2"]]


def test_long_ranges_are_asked_for_by_quarters_without_a_break() -> None:
    fleet = Fleet()
    fleet.instance("one", {number: 10.0 * number for number in range(366)})
    seen: list[Any] = []

    def walk(steps: list[Any]) -> Iterator[Any]:
        seen.extend(steps)
        return iter(steps)

    found = from_prometheus(fleet.ask, MONDAY, MONDAY + 364 * DAY, walk)
    assert [one.attempts for one in found[UK].values()] == [10] * 365
    assert len(seen) == len(fleet.asked) == 4 * 14
    assert max(last - first for first, last in fleet.asked) <= 92 * DAY_S


class Answers(BaseHTTPRequestHandler):
    """Gives what the test has put into `told`, and keeps what was asked."""

    told: tuple[int, bytes] = (200, b"")
    asked: str = ""

    def do_GET(self) -> None:
        Answers.asked = self.path
        status, body = Answers.told
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/prefix/"
    server.shutdown()
    thread.join()
    server.server_close()


def told(status: int, said: object) -> None:
    Answers.told = (status, said if isinstance(said, bytes) else json.dumps(said).encode())


def test_a_server_is_asked_below_its_prefix(url: str) -> None:
    told(200, {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": []}]}})
    assert Server(url).ask("up", 600, 87_000) == [{"metric": {}, "values": []}]
    asked = urlsplit(Answers.asked)
    assert asked.path == "/prefix/api/v1/query_range"
    # Without `nocache` VictoriaMetrics answers for other moments.
    expected = {"query": ["up"], "start": ["600"], "end": ["87000"], "step": ["86400"], "nocache": ["1"]}
    assert parse_qs(asked.query) == expected


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>", "the response is not that of Prometheus' API"),
        (200, [], "the response is not that of Prometheus' API"),
        (200, {"status": "error", "error": "too\nmany \x1b[1msamples"}, "no figures: too many  [1msamples"),
        (422, {"status": "error", "error": "x" * 900}, "status 422: " + "x" * 200),
        (503, b"", "status 503"),
    ],
)
def test_what_goes_wrong_is_one_line(url: str, status: int, body: object, said: str) -> None:
    told(status, body)
    with pytest.raises(PrometheusUnusable) as error:
        Server(url).ask("up", 0, 1)
    assert str(error.value).endswith(said)
    assert "\n" not in str(error.value)


def test_nobody_there_is_one_line() -> None:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    server.server_close()
    with pytest.raises(PrometheusUnusable, match="Connection refused"):
        Server(f"http://127.0.0.1:{server.server_port}").ask("up", 0, 1)


def test_https_is_held_against_the_ca_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    server = HTTPServer(("127.0.0.1", 0), Answers)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    told(200, {"status": "success", "data": {"resultType": "matrix", "result": []}})
    url = f"https://127.0.0.1:{server.server_port}"
    with pytest.raises(PrometheusUnusable, match="CERTIFICATE_VERIFY_FAILED"):
        Server(url).ask("up", 0, 1)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert Server(url).ask("up", 0, 1) == []
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "prometheus:9090", "http://", "https://a.example/?x=1", ""])
def test_only_the_address_of_a_server_is_taken(url: str) -> None:
    with pytest.raises(PrometheusUnusable):
        Server(url)


@pytest.mark.parametrize("series", [{}, {"metric": {}, "values": [["x", "1"]]}, {"metric": {}, "values": 3}, 5])
def test_an_answer_of_another_shape_is_told(series: object) -> None:
    with pytest.raises(PrometheusUnusable):
        from_prometheus(lambda *_: [series], MONDAY, MONDAY)


def test_a_day_that_is_not_over_goes_to_the_moment_that_is_asked_for() -> None:
    fleet = Fleet()
    fleet.instance("one", {0: 0, 1: 10, 2: 30, 3: 60, 4: 100, 4.5: 107})
    until = midnight(DAYS[4]) + DAY_S // 2 + AFTER_S
    found = from_prometheus(fleet.ask, MONDAY, DAYS[4], until=until)
    assert counts(found) == [(10, ""), (20, ""), (30, ""), (40, ""), (7, "")]
    assert max(last for _, last in fleet.asked) == until
