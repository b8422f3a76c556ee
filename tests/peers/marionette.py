"""A small client of Firefox's own remote control, Marionette; geckodriver is not in Debian.

Rules:
- A message is its length in octets, a colon, and JSON: [0, number, command, parameters], answered by
  [1, number, error, result].
- Scripts run in the browser's own window, not in the page: an address is typed as a person types it. Only `read` looks
  into the page, with the browser's own rights, so that it also works where pages may run no scripts.
"""

import base64
import itertools
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PORT = 2828
START_S = 90.0
_ROOM = 200
PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.auto": False,
    "browser.aboutConfig.showWarning": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.urlbar.quicksuggest.enabled": False,
    "browser.urlbar.suggest.searches": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.policy.firstRunURL": "",
    "dom.push.connection.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "startup.homepage_welcome_url": "about:blank",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.server": "data:,",
    "trailhead.firstrun.didSeeAboutWelcome": True,
}
"""Only what keeps a new profile from calling home, and from a welcome; nothing about how an address is opened."""


class Firefox:
    """One window."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._file = wire.makefile("rb")
        self._numbers = itertools.count(1)
        self._read()  # how it greets
        self.version: str = self.do("WebDriver:NewSession")["capabilities"]["browserVersion"]
        self.do("Marionette:SetContext", value="chrome")

    def _read(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            octet = self._file.read(1)
            assert octet, "firefox has closed the connection"
            length += octet
        return json.loads(self._file.read(int(length[:-1])))

    def do(self, command: str, **parameters: object) -> Any:
        """Say a command and return its result."""
        number = next(self._numbers)
        message = json.dumps([0, number, command, parameters]).encode()
        self._wire.sendall(b"%d:%b" % (len(message), message))
        _, answered, error, result = self._read()
        assert answered == number
        assert error is None, error
        return result

    def script(self, text: str, *arguments: object) -> Any:
        """Run JavaScript in the window and return what it returns."""
        return self.do("WebDriver:ExecuteScript", script=text, args=list(arguments))["value"]

    def type(self, address: str) -> None:
        """Type into the address bar, and Enter."""
        self.script("gURLBar.focus(); gURLBar.value = arguments[0]; gURLBar.handleCommand();", address)

    def read(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page."""
        with self._in_the_page():
            return self.do("WebDriver:ExecuteScript", script=f"return {expression}", args=[], sandbox="system")["value"]

    def open(self, address: str) -> None:
        """Go to an address and wait until its document has loaded."""
        with self._in_the_page():
            self.do("WebDriver:Navigate", url=address)

    def prefer(self, name: str, text: str) -> None:
        """Set a preference from now on."""
        self.script("Services.prefs.setStringPref(...arguments)", name, text)

    def resize(self, width: int, height: int) -> None:
        """Give the page so many pixels, in a window with room for them; a window itself has a least width."""
        self.do("WebDriver:SetWindowRect", width=width + _ROOM, height=height + _ROOM)
        self.script(
            "const [width, height] = arguments, style = gBrowser.selectedBrowser.style;"
            "for (const bound of ['min', 'max']) {"
            " style.setProperty(`${bound}-width`, `${width}px`);"
            " style.setProperty(`${bound}-height`, `${height}px`); }",
            width,
            height,
        )

    @contextmanager
    def _in_the_page(self) -> Iterator[None]:
        self.do("Marionette:SetContext", value="content")
        try:
            yield
        finally:
            self.do("Marionette:SetContext", value="chrome")

    def state(self) -> tuple[str, str, bool]:
        """The document's address, its title, and whether the tab is still loading."""
        found = self.script(
            "const tab = gBrowser.selectedBrowser;"
            "return [tab.documentURI?.spec ?? '', tab.contentTitle, tab.webProgress.isLoadingDocument];"
        )
        return found[0], found[1], found[2]

    def picture(self, file: Path) -> None:
        """A picture of the window, as the person sees it."""
        file.write_bytes(base64.b64decode(self.do("WebDriver:TakeScreenshot", full=False)["value"]))

    def picture_of_the_page(self, file: Path) -> None:
        """A picture of what is seen of the page, without the window around it."""
        with self._in_the_page():
            self.picture(file)


@contextmanager
def firefox(program: str, profile: Path, preferences: dict[str, object]) -> Iterator[Firefox]:
    """A Firefox without a screen and with a profile of its own; it ends with the block."""
    profile.mkdir(parents=True, exist_ok=True)
    lines = (f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in {**PREFERENCES, **preferences}.items())
    (profile / "user.js").write_text("".join(lines))
    command = [program, "--headless", "--marionette", "--remote-allow-system-access", "--no-remote"]
    with open(profile / "said", "wb") as said:
        process = subprocess.Popen([*command, "--profile", str(profile), "about:blank"], stdout=said, stderr=said)
    try:
        with _connected(process) as wire:
            yield Firefox(wire)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _connected(process: subprocess.Popen[bytes]) -> socket.socket:
    end = time.monotonic() + START_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", PORT))
        except ConnectionRefusedError:
            assert process.poll() is None, "firefox has ended"
            assert time.monotonic() < end, "firefox did not start"
            time.sleep(0.1)  # Only its port shows that it has started.
