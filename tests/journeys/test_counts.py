"""Counts over stops and crashes: totals never fall, an orderly stop loses nothing, a crash one beat at the most."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.fakes.upstream import in_thread
from tests.journeys import kills
from tests.journeys.processes import Site, asked, honest, wait_for
from tests.journeys.running import Service, stop

SERIES = "blocked_queries_total"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with in_thread(honest) as upstream:
        site = Site(tmp_path, [upstream.address])
        site.authority.publish(["blocked.test"])
        yield site


def counted(service: Service) -> int:
    return int(service.metric(SERIES) or 0)


def _shows(service: Service, least: int) -> bool:
    return counted(service) >= least


def asked_for(site: Site, number: int) -> None:
    for _ in range(number):
        assert asked(site.dns, "blocked.test") == "192.0.2.1 EDE 4"


def test_an_orderly_stop_loses_nothing(site: Site) -> None:
    site.change("count", publish_every="1s", batch=10)
    service = site.launch()
    service.until("/readyz")
    asked_for(site, 7)
    assert stop(service.process) == 0
    service = site.launch()
    service.until("/readyz")
    asked_for(site, 13)
    assert stop(service.process) == 0
    site.change("count", publish_every="1s", batch=1)
    service = site.launch()
    service.until("/readyz")
    wait_for(partial(_shows, service, 20), "the totals")
    assert counted(service) == 20
    assert stop(service.process) == 0


def test_killed_while_it_counts_totals_never_fall_and_lose_a_beat_at_the_most(site: Site) -> None:
    """Three kills of the hundred that `python -m tests.journeys.kills` does."""
    found = kills.toll(site, 3, random.Random(kills.SEED))
    assert found.answers > 3 * 20
    assert len(found.lost) == 3
