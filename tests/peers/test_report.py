"""The report's page in a real browser fetches nothing and prints."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from resolver.count.report import report
from tests.peers.test_page_chromium import chromium
from tests.unit.count import spring


@pytest.mark.asyncio(loop_factories=["asyncio"])  # nothing of ours runs on it
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
