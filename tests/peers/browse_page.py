"""Visits of a real browser to blocked names of three purposes, in a network of its own; run by test_page_visited.

    python -m tests.peers.browse_page FOLDER {chromium|firefox} PROGRAM

Rules:
- The caller makes the network: /etc/resolv.conf names 127.0.0.1, where the service answers at port 53, and the
  addresses of PURPOSES are addresses of the loopback, where its page listens at port 80. The browser resolves as on any
  host.
- Scripts are off, and the screen is a phone's. The language is the one that the browser asks for, then one that a link
  on the page leads to.
- A picture of each page is written to FOLDER. The output is JSON: for each purpose and language what was seen.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from resolver.page.rendered import CHOOSE
from resolver.page.wording import languages
from tests.fakes.upstream import in_thread
from tests.journeys.processes import Site, honest, list_of
from tests.journeys.running import HOST, Authority
from tests.peers import marionette
from tests.peers.marionette import Firefox
from tests.peers.test_page_chromium import FLAGS, MEASURE, PHONE, Browser, opened

PURPOSES = {"child-abuse": "192.0.2.1", "court-order": "192.0.2.2", "malware": "192.0.2.3"}
TIMEOUT_S = 90.0
SCRIPTED = "data:text/html,<title>off</title><script>document.title = 'on'</script>"
SCREEN = "({screen: [innerWidth, innerHeight]})"
HELP = [
    {"kind": "worried", "text": "Example service", "url": "https://help.example/"},
    {
        "kind": "young",
        "text": "Example line for young people",
        "phone": "+00 555 0100",
        "chat": "https://chat.example/",
        "hours": "every day, 14:00 to 22:00",
    },
]


def site_of(folder: Path, upstream: str) -> Site:
    """A demonstration with a list for each purpose; each blocks the name of its purpose below .test."""
    site = Site(folder, [upstream])
    site.lists = []
    for purpose, address in PURPOSES.items():
        authority = Authority(folder / purpose, list_id=purpose)
        authority.publish([f"{purpose}.test"])
        site.lists.append(list_of(authority.folder, purpose, purpose=purpose, addresses=[address]))
    site.change("listen", dns=[f"{HOST}:53", f"{HOST}:{site.dns}"])
    listen = [f"{address}:80" for address in PURPOSES.values()]
    site.change("page", listen=listen, flow_records="none", help=HELP)
    return site


class Tab(Protocol):
    """A tab without scripts, of a phone's size."""

    async def accept(self, language: str) -> None:
        """Ask for pages in this language from now on; "" for none."""

    async def open(self, url: str) -> None:
        """Go there, and wait until the document has loaded."""

    async def read(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page."""

    async def picture(self, path: Path) -> None:
        """Write a picture of what is seen of the page."""


class InChromium:
    """A tab of Chromium's."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    async def accept(self, language: str) -> None:
        headers = {"Accept-Language": language} if language else {}
        await self._browser.do("Network.setExtraHTTPHeaders", headers=headers)

    async def open(self, url: str) -> None:
        await self._browser.load("Page.navigate", url=url)

    async def read(self, expression: str) -> Any:
        found = await self._browser.do("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"]["value"]

    async def picture(self, path: Path) -> None:
        await self._browser.picture(path)


class InFirefox:
    """A tab of Firefox's. It waits in place of the loop, which has nothing else to do."""

    def __init__(self, browser: Firefox) -> None:
        self._browser = browser

    async def accept(self, language: str) -> None:
        self._browser.prefer("intl.accept_languages", language)

    async def open(self, url: str) -> None:
        self._browser.open(url)

    async def read(self, expression: str) -> Any:
        return self._browser.read(expression)

    async def picture(self, path: Path) -> None:
        self._browser.picture_of_the_page(path)


@asynccontextmanager
async def chromium(program: str, profile: Path) -> AsyncIterator[Tab]:
    """A Chromium, to the end of the block."""
    async with opened([program, *FLAGS, f"--user-data-dir={profile}"]) as browser:
        for part in ("Network", "Page"):
            await browser.do(f"{part}.enable")
        await browser.do("Emulation.setScriptExecutionDisabled", value=True)
        await browser.do("Emulation.setDeviceMetricsOverride", **PHONE)
        yield InChromium(browser)


@asynccontextmanager
async def firefox(program: str, profile: Path) -> AsyncIterator[Tab]:
    """A Firefox, to the end of the block; its scroll bars lie over the page, as a phone's do."""
    preferences: dict[str, object] = {"javascript.enabled": False, "ui.useOverlayScrollbars": 1}
    with marionette.firefox(program, profile, preferences) as browser:
        browser.resize(PHONE["width"], PHONE["height"])
        yield InFirefox(browser)


BROWSERS = {"chromium": chromium, "firefox": firefox}


async def visits(name: str, program: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Open each name in each language; return what is seen by purpose and language."""
    found = {}
    async with BROWSERS[name](program, folder / "profile") as tab:
        await tab.open(SCRIPTED)
        assert await tab.read("document.title") == "off", "the browser runs scripts"
        for purpose in PURPOSES:
            for tag, texts in languages().items():
                await tab.accept(texts.tag)
                await tab.open(f"http://{purpose}.test/some/path")
                seen = found[f"{purpose} {tag}"] = await tab.read(MEASURE)
                seen |= await tab.read(SCREEN)
                await tab.picture(folder / f"{purpose} {tag}.png")
                await tab.accept("")
                seen["chosen"] = await follow(tab, texts.tag, purpose)
    return found


async def follow(tab: Tab, tag: str, purpose: str) -> str:
    """Follow the link to another language and back to this one; return the language that is shown then."""
    other = "nl" if tag == "en" else "en"
    for one in (other, tag):
        link = await tab.read(f"document.querySelector('a[href=\"{CHOOSE}{one}\"]').href")
        assert link == f"http://{purpose}.test{CHOOSE}{one}"
        await tab.open(link)
    language: str = (await tab.read(MEASURE))["language"]
    return language


def main(folder: Path, name: str, program: str) -> None:
    """Serve and visit."""
    with in_thread(honest) as upstream:
        site = site_of(folder, upstream.address)
        with site.started(seconds=TIMEOUT_S) as service:
            service.until("/readyz", lambda body: body.startswith(b"ready"), TIMEOUT_S)
            found = asyncio.run(visits(name, program, folder))
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
