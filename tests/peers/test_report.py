"""The report's page in a real browser fetches nothing and prints."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from resolver.count.report import report
from tests.peers.test_page_chromium import chromium, printed_alone
from tests.unit.count import spring


@pytest.mark.asyncio(loop_factories=["asyncio"])  # nothing of ours runs on it
async def test_a_browser_shows_the_page_and_prints_it(program: Callable[[str], str], tmp_path: Path) -> None:
    path, page = program("chromium"), tmp_path / "report.html"
    made = replace(spring.told(), source="a made-up spring")
    page.write_text(report.FORMATS["html"](made))
    async with chromium(path, tmp_path / "profile", 9) as browser:
        printed = await printed_alone(browser, page.as_uri())
        assert len(printed) > 20_000
