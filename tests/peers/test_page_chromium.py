"""The stop page in a real browser, which is told that every name of the world is at our address.

A picture of each purpose in each language is among the temporary files of the run: a phone's first screen, and the
whole page in light and dark.
"""

import asyncio
import base64
import itertools
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from resolver.config import config
from resolver.config.page import PURPOSES
from resolver.page.show import Page
from resolver.page.wording import languages
from resolver.quiet_http.bounds import PAGE_BOUNDS
from resolver.quiet_http.connection import Response
from resolver.quiet_http.gate import listening
from resolver.quiet_http.server import serve_octets
from tests.unit.page.pages import ABUSE, FILLED, LISTS, UNFILLED, filled, made
from tests.unit.wire import TIME_WAIT, in_kernel

pytestmark = pytest.mark.timeout(240)  # A visit takes 3 seconds; a busy machine takes what it takes.

EMPTY = "about:blank"
URL = "http://blocked.example/some/path?q=1"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
LONG = "https://isp.example/" + "a-long-address-without-a-place-to-break-it-" * 3
OFFERS = (
    config.Help(text="Example line", phone="+00 555 0100", kind="worried"),
    config.Help(text="Example hotline", url="http://help.example/", kind="report"),
)
PAGES = {
    "demonstration": made(UNFILLED, ABUSE, demonstration=True),
    "filled in": made(filled(contact=LONG, help=OFFERS)),
}
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
NARROW = 320
BORDERS = """[...document.querySelectorAll(".calm, .quiet, .demo, mark")]
  .map(one => getComputedStyle(one).borderTopWidth)"""
HIDDEN = """["nav", ".leave"].map(one => getComputedStyle(document.querySelector(one)).display)"""
MEASURE = """({
  title: document.title,
  language: document.documentElement.lang,
  headings: document.querySelectorAll("h1").length,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  width: document.documentElement.clientWidth,
  paper: getComputedStyle(document.body).backgroundColor,
  cookie: document.cookie,
  small: [...document.querySelectorAll("a")].filter(a => a.offsetParent && a.offsetHeight < 18).length,
  help: Math.max(0, ...[...document.querySelectorAll(".offers li:first-child .ways a")]
    .map(a => a.getBoundingClientRect().bottom)),
  beside: new Set([...document.querySelectorAll(".offers li:first-child .ways a")]
    .map(a => a.getBoundingClientRect().top)).size,
})"""


class Browser:
    """One tab, spoken to by the browser's own debugging protocol; `told` keeps its events."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.told: list[dict[str, Any]] = []

    async def do(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            told = await self._socket.receive_json()
            if told.get("id") == number:
                assert "error" not in told, told
                result: dict[str, Any] = told["result"]
                return result
            self.told.append(told)

    async def until(self, event: str) -> None:
        while not any(told.get("method") == event for told in self.told):
            self.told.append(await self._socket.receive_json())

    async def load(self, method: str, **parameters: object) -> None:
        """Navigate by `method`, and wait until the document that it brings has loaded.

        The empty tab's own load event may be late: it is not the one waited for.
        """
        self.told.clear()
        await self.do(method, **parameters)
        while not self._loaded():
            self.told.append(await self._socket.receive_json())

    def _loaded(self) -> bool:
        shown = False
        for told in self.told:
            if told.get("method") == "Page.frameNavigated":
                shown = told["params"]["frame"]["url"] != EMPTY
            elif told.get("method") == "Page.loadEventFired" and shown:
                return True
        return False

    def events(self, name: str) -> list[dict[str, Any]]:
        return [told["params"] for told in self.told if told.get("method") == name]

    async def picture(self, path: Path, *, whole: bool = False) -> None:
        """Write a PNG of what is seen, or of the whole page."""
        taken = await self.do("Page.captureScreenshot", captureBeyondViewport=whole)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(taken["data"]))

    async def measure(self) -> dict[str, Any]:
        found = await self.do("Runtime.evaluate", expression=MEASURE, returnByValue=True)
        value: dict[str, Any] = found["result"]["value"]
        return value


async def printed_alone(browser: Browser, url: str) -> str:
    """Open a page of a file that must fetch nothing and fit a phone and a desk; return its print, a PDF in base64."""
    for part in ("Network", "Runtime", "Log", "Page"):
        await browser.do(f"{part}.enable")
    await browser.do("Page.navigate", url=url)
    await browser.until("Page.loadEventFired")
    assert [one["request"]["url"] for one in browser.events("Network.requestWillBeSent")] == [url]
    assert browser.events("Log.entryAdded") == browser.events("Runtime.exceptionThrown") == []
    for width in (320, 1280):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        await browser.do("Emulation.setDeviceMetricsOverride", **size)
        shown = await browser.measure()
        assert (shown["headings"], shown["language"], shown["overflow"]) == (1, "en", 0)
    printed = await browser.do("Page.printToPDF", preferCSSPageSize=True)
    return str(printed["data"])


@asynccontextmanager
async def chromium(path: str, folder: Path, port: int) -> AsyncIterator[Browser]:
    """A browser with a profile of its own, to which every name is at this port of loopback."""
    own = [f"--user-data-dir={folder}", f"--host-resolver-rules=MAP * 127.0.0.1:{port}"]
    async with opened([path, *FLAGS, *own]) as browser:
        yield browser


@asynccontextmanager
async def opened(command: list[str]) -> AsyncIterator[Browser]:
    """Start a browser and yield its tab; the browser ends with the block."""
    with start(command) as process:
        try:
            address = await asyncio.to_thread(debugging_address, process)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://{address}/json/list") as answer:
                    tabs = await answer.json(content_type=None)
                tab = next(one for one in tabs if one["type"] == "page")
                async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    yield Browser(socket)
        finally:
            process.kill()


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """The browser with an empty tab; on a plain pipe: uvloop complains of a killed one."""
    return subprocess.Popen([*command, EMPTY], stderr=subprocess.PIPE)


def debugging_address(process: subprocess.Popen[bytes]) -> str:
    """Where the browser says that it listens to its debugger."""
    assert process.stderr
    for line in process.stderr:
        found = re.search(rb"DevTools listening on ws://([\d.]+:\d+)/", line)
        if found:
            return found[1].decode()
    pytest.fail("chromium did not start")


@pytest.mark.asyncio
@pytest.mark.parametrize("rendered", PAGES.values(), ids=PAGES)
async def test_a_browser_shows_the_page_and_asks_for_nothing_else(
    rendered: Any, program: Callable[[str], str], tmp_path: Path
) -> None:
    path, page = program("chromium"), Page(rendered)
    asked: list[str] = []

    def answer(octets: bytes, visitor: Response) -> bytes:
        if b"\r\nHost: blocked.example\r\n" in octets:
            asked.append(octets.split()[1].decode())
        return page.respond(octets, visitor)

    server = serve_octets(answer, [listening(("127.0.0.1", 0))], PAGE_BOUNDS)
    async with chromium(path, tmp_path, server.addresses[0][1]) as browser:
        for part in ("Network", "Runtime", "Log", "Page"):
            await browser.do(f"{part}.enable")
        await browser.load("Page.navigate", url=URL)
        await browser.until("Network.loadingFinished")

        shown = await browser.measure()
        assert (shown["title"], shown["language"]) == ("This address is blocked", "en")
        assert (shown["headings"], shown["cookie"], shown["small"]) == (1, "", 0)
        (reply,) = browser.events("Network.responseReceived")
        assert reply["response"]["status"] == 451
        assert [one["request"]["url"] for one in browser.events("Network.requestWillBeSent")] == [URL]
        assert browser.events("Network.loadingFailed") == []
        assert browser.events("Runtime.consoleAPICalled") == []
        assert browser.events("Runtime.exceptionThrown") == []
        said = [one["entry"]["text"] for one in browser.events("Log.entryAdded")]
        assert all("status of 451" in text for text in said)  # The browser names any status above 399.
        assert asked == ["/some/path?q=1"]
        await fits_and_follows(browser)
        if rendered.help:
            await goes_to_help(browser, page)
    assert in_kernel(server.addresses[0][1], TIME_WAIT) == [], "the browser closed first"
    await server.stop()


@pytest.mark.asyncio
async def test_it_is_left_at_once_and_shown_in_high_contrast_and_on_paper(
    program: Callable[[str], str], tmp_path: Path
) -> None:
    server = serve_octets(Page(PAGES["demonstration"]).respond, [listening(("127.0.0.1", 0))], PAGE_BOUNDS)
    async with chromium(program("chromium"), tmp_path / "profile", server.addresses[0][1]) as browser:
        await browser.do("Page.enable")
        await browser.do("Emulation.setDeviceMetricsOverride", **PHONE)
        await browser.load("Page.navigate", url=URL)
        await browser.do("Emulation.setEmulatedMedia", features=[{"name": "forced-colors", "value": "active"}])
        await browser.picture(tmp_path / "high contrast.png", whole=True)
        seen = await browser.do("Runtime.evaluate", expression=BORDERS, returnByValue=True)
        assert set(seen["result"]["value"]) == {"1px"}, "what only its colour set apart has a border"
        await browser.do("Emulation.setEmulatedMedia", media="print", features=[])
        await browser.picture(tmp_path / "print.png", whole=True)
        seen = await browser.do("Runtime.evaluate", expression=HIDDEN, returnByValue=True)
        assert seen["result"]["value"] == ["none", "none"], "nobody leaves a paper"
        await browser.do("Emulation.setEmulatedMedia", media="", features=[])
        browser.told.clear()
        await browser.do("Runtime.evaluate", expression="document.querySelector('.leave').click()")
        await browser.until("Page.frameNavigated")
        (gone,) = browser.events("Page.frameNavigated")
        assert gone["frame"]["url"] == "about:blank"
    await server.stop()


@pytest.mark.asyncio
@pytest.mark.parametrize("purpose", PURPOSES)
async def test_a_phone_without_scripts_shows_it_in_every_language_with_help_on_its_first_screen(
    purpose: str, program: Callable[[str], str], tmp_path: Path
) -> None:
    pages = {
        "": Page(made(FILLED, LISTS[purpose])),
        "demonstration ": Page(made(FILLED, LISTS[purpose], demonstration=True)),
    }
    shown: list[Page] = []

    def answer(octets: bytes, visitor: Response) -> bytes:
        return shown[-1].respond(octets, visitor)

    server = serve_octets(answer, [listening(("127.0.0.1", 0))], PAGE_BOUNDS, exempt=lambda client: True)
    async with chromium(program("chromium"), tmp_path / "profile", server.addresses[0][1]) as browser:
        for part in ("Network", "Page"):
            await browser.do(f"{part}.enable")
        await browser.do("Emulation.setScriptExecutionDisabled", value=True)
        for kind, page in pages.items():
            shown.append(page)
            for tag, texts in languages().items():
                await browser.do("Network.setExtraHTTPHeaders", headers={"Accept-Language": texts.tag})
                await browser.do("Emulation.setDeviceMetricsOverride", **PHONE)
                await browser.load("Page.navigate", url=URL)
                found = await browser.measure()
                name = f"{kind}{purpose} {tag}"
                await browser.picture(tmp_path / f"{name}.png")
                assert (found["title"], found["language"]) == (texts.purposes[purpose].title, texts.tag), name
                assert (found["overflow"], found["small"], found["headings"]) == (0, 0, 1), name
                if purpose == "child-abuse":
                    assert 0 < found["help"] <= PHONE["height"], f"{name}: help is below the first screen"
                    assert found["beside"] == 1, f"{name}: chat and telephone are not beside each other"
                await browser.do("Emulation.setDeviceMetricsOverride", **{**PHONE, "width": NARROW})
                assert (await browser.measure())["overflow"] == 0, name
                if kind == "":
                    for scheme in ("light", "dark"):
                        media = [{"name": "prefers-color-scheme", "value": scheme}]
                        await browser.do("Emulation.setEmulatedMedia", features=media)
                        await browser.picture(tmp_path / f"{name} {scheme}.png", whole=True)
                    await browser.do("Emulation.setEmulatedMedia", features=[])
    await server.stop()


async def goes_to_help(browser: Browser, page: Page) -> None:
    """A link to help leads there, is counted once, and tells nothing of where it was."""
    browser.told.clear()
    await browser.do("Runtime.evaluate", expression="""document.querySelector('.ways a[href^="/"]').click()""")
    await browser.until("Page.loadEventFired")
    asked = [one["request"] for one in browser.events("Network.requestWillBeSent")]
    assert [one["url"] for one in asked] == ["http://blocked.example/blocklist-resolver-help/1", "http://help.example/"]
    assert not any("Referer" in one["headers"] for one in asked)
    assert page.followed == {"worried": 0, "young": 0, "report": 1, "other": 0}


async def fits_and_follows(browser: Browser) -> None:
    """Nothing overflows at 320 px, on a desktop or with large text; dark is dark and light is light."""
    for width, scale in ((320, 1), (1280, 1), (640, 2)):
        size = {"width": width // scale, "height": 800, "deviceScaleFactor": scale, "mobile": False}
        await browser.do("Emulation.setDeviceMetricsOverride", **size)
        shown = await browser.measure()
        assert width // scale - 20 <= shown["width"] <= width // scale  # A scroll bar takes its share.
        assert shown["overflow"] == 0
    papers = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await browser.do("Emulation.setEmulatedMedia", features=features)
        papers.append((await browser.measure())["paper"])
    assert papers == ["rgb(246, 247, 246)", "rgb(20, 25, 28)"]
