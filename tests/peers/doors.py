"""What a browser shows of a blocked name, and after how long, by what the page's host says on port 443.

    python -m tests.peers.doors FOLDER {chromium|firefox} PROGRAM DOOR WAY...

Rules:
- The caller makes the network and the files in /etc (test_page_doors); it becomes the host's: service, page, rules. The
  browser is at home, one cable away, with IPv4 and IPv6.
- A DOOR is what happens on port 443, a WAY how the address is opened; each visit has a new browser with a new profile.
- Chromium is driven by its debugging protocol; where there is a DISPLAY, its address bar is typed into (xdotool).
- The name is below example.com: below .test, Chromium tries no HTTPS for a typed name.
- Times are from Enter until the document is there and loads no more. An error may not be the last word: what comes
  within AFTERWARDS_S after it counts in its place. The output is one line of JSON for each visit.
"""

import asyncio
import contextlib
import http.server
import json
import os
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fakes.upstream import in_thread
from tests.journeys.processes import Site, honest
from tests.journeys.running import PAGE_V4, PAGE_V6, ROOT
from tests.peers import spaces
from tests.peers.marionette import firefox
from tests.peers.test_page_chromium import FLAGS, Browser, opened

LISTED = "blocked.example.com"
TITLE = "This address is blocked"
RULES = ROOT / "deploy" / "page" / "page.nft"
ONLY_443 = """
table inet door {{
    chain door {{ type filter hook input priority 0; meta l4proto {{ tcp, udp }} th dport 443 {}; }}
}}
"""
DOORS = {
    "silent": ONLY_443.format("drop"),
    "reset": RULES.read_text(),
    "closed": "",
    "unreachable": ONLY_443.format("reject with icmpx type port-unreachable"),
    "prohibited": ONLY_443.format("reject with icmpx type admin-prohibited"),
}
WAYS = ("http", "typed", "https", "first", "hsts")
GIVE_UP_S = 240.0
START_S = 120.0
AFTERWARDS_S = 5.0
STRICT = "max-age=31536000"
READ = "[location.href, document.title, document.readyState, document.body ? document.body.innerText : '']"


def address(way: str) -> str:
    """What is typed."""
    return {"http": f"http://{LISTED}/", "https": f"https://{LISTED}/", "hsts": f"http://{LISTED}/"}.get(way, LISTED)


class Strict(http.server.BaseHTTPRequestHandler):
    """A site that asks for HTTPS alone from now on."""

    def do_GET(self) -> None:
        """Say so."""
        self.send_response(200)
        self.send_header("Strict-Transport-Security", STRICT)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>before the block</title>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Last:
    """What was shown last, and when it came first, counted from the making of this; nothing until `shown`."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {"seconds": GIVE_UP_S, "where": "", "title": "", "text": ""}
        self._began = time.monotonic()

    def shown(self, where: str, title: str, text: str) -> None:
        """Note what is shown now."""
        if where != self.found["where"]:
            self.found["seconds"] = time.monotonic() - self._began
        self.found |= {"where": where, "title": title, "text": text}

    @property
    def over(self) -> bool:
        """Whether nothing else is to be waited for."""
        end = self.found["seconds"]
        if self.found["where"] and not self.found["where"].startswith("http:"):
            end += AFTERWARDS_S
        return time.monotonic() - self._began > (end if self.found["where"] else GIVE_UP_S)


@contextmanager
def before_the_block(folder: Path) -> Iterator[tuple[Path, Path]]:
    """The site on port 443 of the page's address; yields the certificates of its authority and its own."""
    authority, certificate, key = folder / "authority.pem", folder / "site.pem", folder / "site.key"
    new = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30"
    spaces.run(
        f"{new} -subj /CN=authority -keyout {folder}/authority.key -out {authority};"
        f"{new} -subj /CN={LISTED} -addext subjectAltName=DNS:{LISTED} -addext basicConstraints=critical,CA:FALSE"
        f" -CA {authority} -CAkey {folder}/authority.key -keyout {key} -out {certificate}"
    )
    server = http.server.ThreadingHTTPServer((PAGE_V4, 443), Strict)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield authority, certificate
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def open_door(door: str) -> None:
    """Put the rules in force in place of those before."""
    spaces.run("nft flush ruleset; nft -f -", DOORS[door])


def with_chromium(program: str, folder: Path, door: str, way: str, home: int) -> dict[str, Any]:
    """Visit with Chromium."""
    profile = folder / "profile"
    (profile / "Default").mkdir(parents=True)
    if way == "first":
        (profile / "Default" / "Preferences").write_text(json.dumps({"https_only_mode_enabled": True}))
    flags = [*FLAGS, f"--user-data-dir={profile}"]
    if os.environ.get("DISPLAY"):
        flags.remove("--headless")

    async def visit() -> dict[str, Any]:
        own = list(flags)
        with contextlib.ExitStack() as stack:
            if way == "hsts":
                open_door("closed")
                _, certificate = stack.enter_context(before_the_block(folder))
                pin = spaces.run(
                    f"openssl x509 -in {certificate} -noout -pubkey | openssl pkey -pubin -outform der"
                    " | openssl dgst -sha256 -binary | base64"
                )
                own.append(f"--ignore-certificate-errors-spki-list={pin.strip()}")
            with spaces.inside(home):
                async with opened([program, *own]) as browser:
                    if way == "hsts":
                        await go(browser, f"https://{LISTED}/", "before the block")
                        await browser.do("Page.navigate", url="about:blank")
                    stack.close()
                    with spaces.inside(host):
                        open_door(door)
                    return await go(browser, address(way), "")

    async def go(browser: Browser, url: str, title: str) -> dict[str, Any]:
        if os.environ.get("DISPLAY"):
            spaces.run(f"xdotool key ctrl+l; xdotool type -- '{url}'")
            last = Last()
            spaces.run("xdotool key Return")
        else:
            last = Last()
            await browser.do("Page.navigate", url=url if "/" in url else f"http://{url}/")
        while not last.over:
            found = await browser.do("Runtime.evaluate", expression=READ, returnByValue=True)
            where, said, state, text = found["result"].get("value", ("", "", "", ""))
            if state == "complete" and not where.startswith("about:") and (not title or said == title):
                last.shown(where, said, " ".join(text.split())[:160])
            await asyncio.sleep(0.05)
        picture = folder / "picture.png"
        if os.environ.get("DISPLAY"):
            spaces.run(f"import -window root {picture}")
        return last.found

    host = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        return asyncio.run(visit())
    finally:
        os.close(host)


def with_firefox(program: str, folder: Path, door: str, way: str, home: int) -> dict[str, Any]:
    """Visit with Firefox."""
    profile = folder / "profile"
    profile.mkdir()
    preferences: dict[str, object] = {"dom.security.https_only_mode": True} if way == "first" else {}
    with contextlib.ExitStack() as stack:
        if way == "hsts":
            open_door("closed")
            authority, _ = stack.enter_context(before_the_block(folder))
            spaces.run(
                f"certutil -N -d sql:{profile} --empty-password; "
                f"certutil -A -d sql:{profile} -n authority -t C,, -i {authority}"
            )
        with spaces.inside(home), firefox(program, profile, preferences) as browser:
            if way == "hsts":
                wait_for(browser, f"https://{LISTED}/", "before the block")
                browser.type("about:blank")
            stack.close()
            with spaces.inside(int(os.environ["HOST_NET"])):
                open_door(door)
            found = wait_for(browser, address(way), "")
            browser.picture(folder / "picture.png")
            return {**found, "version": browser.version}


def wait_for(browser: Any, url: str, title: str) -> dict[str, Any]:
    """Type the address and wait for what comes."""
    last = Last()
    browser.type(url)
    while not last.over:
        where, said, loading = browser.state()
        if where not in ("", "about:blank") and not loading and (not title or said == title):
            last.shown(where, said, "")
        time.sleep(0.05)  # The browser says nothing by itself while a page is loading.
    return last.found


def main(folder: Path, name: str, program: str, door: str, ways: list[str]) -> None:
    """Serve, and visit in each way."""
    visit = {"chromium": with_chromium, "firefox": with_firefox}[name]
    os.environ["HOST_NET"] = str(os.open("/proc/self/ns/net", os.O_RDONLY))
    home = spaces.home(page=(f"{PAGE_V4}/32", f"{PAGE_V6}/128"))
    with in_thread(honest) as upstream:
        site = Site(folder, [upstream.address])
        site.change("listen", dns=[f"{spaces.GATE_V4}:53"], allow=[f"{spaces.HOME_V4}/32"])
        site.change("page", listen=[f"{PAGE_V4}:80", f"[{PAGE_V6}]:80"])
        site.publish([LISTED])
        with site.started(seconds=START_S):
            for way in ways:
                own = folder / f"{name}-{door}-{way}"
                own.mkdir()
                found = visit(program, own, door, way, home)
                print(json.dumps({"browser": name, "door": door, "way": way, **found}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
