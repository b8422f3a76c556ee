"""The stop page by the tools of others: axe-core finds no violation of WCAG 2.2 AA, html-validate no fault.

Both come from npm's registry when the tests run, in exactly these versions, and need any npm: Debian's package of that
name cannot be installed beside a Node.js of another source, so `make test-peers` does not ask for it.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from resolver.config.page import PURPOSES
from resolver.page.rendered import Version
from resolver.page.wording import languages
from resolver.quiet_http.bounds import PAGE_BOUNDS
from resolver.quiet_http.serve import serve_http
from tests.peers.test_page_chromium import OFFERS, PHONE, URL, chromium
from tests.unit.page.pages import ABUSE, FILLED, LISTS, UNFILLED, filled, made

pytestmark = pytest.mark.timeout(400)

AXE, VALIDATE = "axe-core@4.14.1", "html-validate@9.7.1"
LEVELS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
DESKTOP = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
SCRIPTS = ("en", "uk", "ar")
RUN = f"""axe.run({{runOnly: {json.dumps(LEVELS)}}}).then(found => JSON.stringify({{
  violations: found.violations.map(one => one.id + ": " + one.nodes.map(node => node.html).join(" ")),
  passes: found.passes.map(one => one.id),
}}))"""
RULES = {
    "root": True,
    "extends": ["html-validate:recommended", "html-validate:a11y"],
    # "tel-non-breaking" wants a no-break space in every number: the operator's text is shown as it was given.
    "rules": {"tel-non-breaking": "off"},
}


@pytest.fixture(scope="module")
def tools(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the packages; none of their scripts runs."""
    folder = tmp_path_factory.mktemp("npm")
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund")
    command = [program("npm"), "install", *quiet, "--prefix", folder, AXE, VALIDATE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "node_modules"


def pages() -> dict[str, Version]:
    """Each purpose in each language, and in some of them pages with all that an operator may add or leave out."""
    found = {f"{one} {tag}": made(FILLED, LISTS[one]).elsewhere[tag] for one in PURPOSES for tag in languages()}
    said = filled(appeal="Room 3, https://court.example/", flow_records="kept", help=OFFERS, language="nl")
    for tag in SCRIPTS:
        found[f"demonstration {tag}"] = made(UNFILLED, ABUSE, demonstration=True).elsewhere[tag]
        found[f"appeal {tag}"] = made(said).elsewhere[tag]
    return found


def test_the_markup_is_valid(tools: Path, tmp_path: Path) -> None:
    (tmp_path / ".htmlvalidate.json").write_text(json.dumps(RULES))
    for name, one in pages().items():
        (tmp_path / f"{name}.html").write_bytes(one.body)
    command = [tools / ".bin" / "html-validate", "--max-warnings", "0", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    (tmp_path / "demonstration en.html").write_text("<html><img src=x></html>")
    broken = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, cwd=tmp_path)
    assert broken.returncode == 1, "the tool finds what is wrong"


@pytest.mark.asyncio
async def test_axe_finds_nothing(
    tools: Path, program: Callable[[str], str], tmp_path: Path, figures: dict[str, str]
) -> None:
    shown: list[Version] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=451, body=shown[-1].body, headers=shown[-1].headers)

    source = (tools / "axe-core" / "axe.min.js").read_text()
    server = await serve_http(answer, [("127.0.0.1", 0)], PAGE_BOUNDS, exempt=lambda client: True)
    looks, passed, faults = 0, set(), []
    async with chromium(program("chromium"), tmp_path, server.addresses[0][1]) as browser:
        await browser.do("Page.enable")
        for name, one in pages().items():
            shown.append(one)
            await browser.load("Page.navigate", url=URL)
            await browser.do("Runtime.evaluate", expression=source)
            await browser.do("Runtime.evaluate", expression="document.querySelector('details').open = true")
            wide = [(DESKTOP, "light")] if name.endswith(SCRIPTS) else []
            for size, scheme in ((PHONE, "light"), (PHONE, "dark"), *wide):
                await browser.do("Emulation.setDeviceMetricsOverride", **size)
                media = [{"name": "prefers-color-scheme", "value": scheme}]
                await browser.do("Emulation.setEmulatedMedia", features=media)
                said = await browser.do("Runtime.evaluate", expression=RUN, awaitPromise=True, returnByValue=True)
                found: dict[str, Any] = json.loads(said["result"]["value"])
                faults += [f"{name} {scheme}: {fault}" for fault in found["violations"]]
                passed |= set(found["passes"])
                looks += 1
    await server.stop()
    assert faults == []
    assert {"color-contrast", "target-size", "html-has-lang", "valid-lang", "link-name", "bypass"} <= passed
    figures["axe-core on the stop page"] = f"{looks} looks, {len(passed)} rules passed, {len(faults)} violations"
