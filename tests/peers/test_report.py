"""The report from a real Prometheus is that of the ledgers; its page in a real browser fetches nothing and prints."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from resolver.count import report
from resolver.count.report_prometheus import Server
from tests.peers.test_page_chromium import chromium
from tests.unit.count import spring
from tests.unit.count.spring import DEPLOY, FIRST, LAST


@asynccontextmanager
async def filled(prometheus: str, data: Path) -> AsyncIterator[str]:
    """The address of a Prometheus that scrapes nothing and holds `data`, which is years old, below a prefix."""
    config = data.parent / "prometheus.yml"
    config.write_text("scrape_configs: []\n")
    process = await asyncio.create_subprocess_exec(
        prometheus,
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y",
        "--web.listen-address=127.0.0.1:0",
        "--web.route-prefix=/prefix",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr
    address, ready = "", False
    try:
        async for line in process.stderr:
            found = re.search(rb'Listening on.*address"?[=:]"?([\d.]+:\d+)', line)
            address = found[1].decode() if found else address
            ready = ready or b"Server is ready" in line
            if address and ready:
                break
        else:
            pytest.fail("prometheus did not start")
        yield f"http://{address}/prefix"
    finally:
        process.terminate()
        await process.communicate()


@pytest.mark.asyncio
@pytest.mark.timeout(300)
async def test_prometheus_and_the_ledgers_say_the_same(program: Callable[[str], str], tmp_path: Path) -> None:
    prometheus, promtool = program("prometheus"), program("promtool")
    series, data = tmp_path / "replay.om", tmp_path / "data"
    with series.open("w") as out:
        spring.replay.write(out)
    blocks = ("tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=720h")
    await asyncio.to_thread(subprocess.run, [promtool, *blocks, series, data], check=True, capture_output=True)
    of_ledgers = spring.ledgers(tmp_path)
    async with filled(prometheus, data) as url:
        of_fleet = await asyncio.to_thread(report.of_fleet, Server(url).ask, FIRST, LAST)
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


def test_promtool_finds_nothing_wrong_with_the_help_and_every_family_is_synthetic(tmp_path: Path) -> None:
    subprocess.run(["python3", DEPLOY / "prometheus" / "replay.py", tmp_path / "replay.om"], check=True)
    text = (tmp_path / "replay.om").read_text()
    helps = re.findall(r"^# HELP \S+ (.*)$", text, re.MULTILINE)
    assert len(helps) == len(re.findall(r"^# TYPE ", text, re.MULTILINE)) == 8
    assert all(one.startswith("SYNTHETIC") for one in helps)
    assert set(re.findall(r'region="([^"]*)"', text)) == {"Ruritania-made-up", "Erewhon-made-up"}


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
