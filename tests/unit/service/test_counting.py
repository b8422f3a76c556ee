"""The counts within the service: totals go on where the ledger left them."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from resolver.count.bookkeeping import ListNow
from resolver.count.ledger import Ledger, Total
from resolver.count.metrics import Series
from resolver.service.counting import lists_now
from resolver.service.service import Service
from tests.journeys.processes import Site
from tests.unit.cli.test_screen_list import GOOD

QUERIES = Series("blocked_queries_total", ("demo",))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.write()
    return site


def built(site: Site) -> Service:
    from resolver.config import config

    return Service(site.config, config.load(site.config))


def test_a_start_shows_what_the_ledger_says_and_a_stop_writes_the_rest(site: Site) -> None:
    path = site.folder / "state" / "ledger.sqlite"
    path.parent.mkdir(mode=0o700)
    Ledger(path, 1_700_000_000).leave({QUERIES: Total(40, 2)})

    async def served() -> None:
        counting = built(site).counting
        assert counting.published().values[QUERIES] == 40
        assert counting.exporter(lambda: True).began == 1_700_000_000
        counting.leave()

    asyncio.run(served())
    totals = Ledger(path, 0).totals()
    assert totals[QUERIES] == Total(40, 2)
    assert totals[Series("page_views_total")] == Total(0, 0)


def test_a_damaged_ledger_is_renamed_and_does_not_stop_the_start(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    path = site.folder / "state" / "ledger.sqlite"
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"nothing of a database" * 999)

    async def served() -> None:
        assert built(site).counting.published().values[QUERIES] == 0

    asyncio.run(served())
    assert "is renamed to" in caplog.text
    assert len(list(path.parent.glob("ledger.sqlite.unusable-*"))) == 1
    assert Ledger(path, 0).totals() == {}


def test_the_ledger_counts_a_list_as_enforced_only_while_it_blocks() -> None:
    facts = (GOOD, replace(GOOD, lifted=True), replace(GOOD, has_list=False, serial=0, entries=0))
    assert list(lists_now(SimpleNamespace(facts=lambda: facts))) == [
        ListNow("court", 412, 102_331, True),
        ListNow("court", 412, 102_331, False),
        ListNow("court", 0, 0, False),
    ]
