"""The whole way of a block is shown on a production host, before a list has come and after, in no list's figures."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.upstream import in_thread
from tests.journeys.processes import REAL, Site, asked, honest, operate, wait_for
from tests.journeys.running import HOST, PAGE_V4, PAGE_V6, Service
from tests.journeys.test_second_list import series

BLOCKED = f"{PAGE_V4} EDE 4"
NAME = "block-test.isp.example"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with in_thread(honest) as upstream:
        one = Site(tmp_path, [upstream.address])
        one.sections["rehearsal"] = {"name": NAME}
        yield one


def page_of(service: Service) -> tuple[int, bytes]:
    """What a browser gets that follows the name."""
    connection = http.client.HTTPConnection(HOST, service.page, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": NAME})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def test_a_production_host_shows_the_whole_way_before_a_list_has_come(site: Site) -> None:
    site.lists[0] |= {"demonstration": False, "expire": "keep"}
    site.sections["count"] = {"publish_every": "15m", "batch": 10}
    with site.started(until="/healthz") as service:
        for over in ("udp", "tcp"):
            assert asked(site.dns, NAME, over=over) == BLOCKED
            assert asked(site.dns, NAME, "AAAA", over=over) == f"{PAGE_V6} EDE 4"
        assert asked(site.dns, "ok.test") == "SERVFAIL EDE 14", "what the host does without a list, it still does"
        status, body = page_of(service)
        assert (status, b"The operator of this test" in body) == (451, True)
        walked = operate(site, "ask", NAME, "--as", "127.0.0.9").stdout
        assert "blocked by the rehearsal" in walked


def test_its_counts_are_no_lists_and_it_comes_and_goes_by_reload(site: Site) -> None:
    site.publish(["bad.test"])
    with site.started() as service:
        assert (asked(site.dns, NAME), asked(site.dns, "bad.test")) == (BLOCKED, BLOCKED)
        assert asked(site.dns, f"below.{NAME}") == REAL
        wait_for(lambda: series(service, "rehearsal_answers_total") == 1, "the rehearsal to be counted")
        wait_for(lambda: series(service, 'blocked_queries_total{list="demo"}') == 1, "the list to be counted")
        assert series(service, 'blocked_attempts_total{list="demo"}') == 1
        assert series(service, "enforcing") == 1
        del site.sections["rehearsal"]
        site.write()
        assert "rehearsal.name" in operate(site, "reload").stdout
        assert asked(site.dns, NAME) == REAL
        assert [one["list_id"] for one in json.loads(operate(site, "status", "--json").stdout)["lists"]] == ["demo"]
