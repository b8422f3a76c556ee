"""The report from a real Prometheus is that of the ledgers; its page in a real browser fetches nothing and prints."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from resolver.count import report
from resolver.count.report_prometheus import Server
from tests.peers.test_page_chromium import chromium
from tests.unit.count import spring
from tests.unit.count.spring import FIRST, LAST


@pytest.mark.timeout(300)
def test_prometheus_and_the_ledgers_say_the_same(filled: str, tmp_path: Path) -> None:
    of_ledgers = spring.ledgers(tmp_path)
    of_fleet = report.of_fleet(Server(filled).ask, FIRST, LAST)
    # The day before the first value is one without a beginning to Prometheus.
    assert {place: {day: one for day, one in days.items() if day >= FIRST} for place, days in of_fleet.items()} == (
        of_ledgers
    )
    told = spring.told(of_fleet)
    assert told == spring.told(of_ledgers)
    surges = {one.place.region: one.surges[0] for one in told.places}
    found = {name: (str(one.peak.day), round(one.peak.ratio or 0, 1), str(one.back)) for name, one in surges.items()}
    assert found == {
        "Ruritania-made-up": ("2020-03-30", 10.0, "2020-05-11"),
        "Erewhon-made-up": ("2020-04-14", 2.0, "2020-05-13"),
    }


@pytest.mark.asyncio
async def test_a_browser_shows_the_page_and_prints_it(program: Callable[[str], str], tmp_path: Path) -> None:
    path, page = program("chromium"), tmp_path / "report.html"
    made = replace(spring.told(), source="a made-up spring")
    page.write_text(report.FORMATS["html"](made))
    async with chromium(path, tmp_path / "profile", 9) as browser:
        for part in ("Network", "Runtime", "Log", "Page"):
            await browser.do(f"{part}.enable")
        await browser.do("Page.navigate", url=page.as_uri())
        await browser.until("Page.loadEventFired")
        assert [one["request"]["url"] for one in browser.events("Network.requestWillBeSent")] == [page.as_uri()]
        assert browser.events("Log.entryAdded") == browser.events("Runtime.exceptionThrown") == []
        for width in (320, 1280):
            size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
            await browser.do("Emulation.setDeviceMetricsOverride", **size)
            shown = await browser.measure()
            assert (shown["headings"], shown["language"], shown["overflow"]) == (1, "en", 0)
        printed = await browser.do("Page.printToPDF", preferCSSPageSize=True)
        assert len(printed["data"]) > 20_000
