"""A visit of a real browser to a blocked name, in a network of its own; run by test_burst_chromium.

    python -m tests.peers.browse FOLDER CHROMIUM

Rules:
- It is started where /etc/resolv.conf names 127.0.0.1 and 192.0.2.1 is an address of the loopback: the browser resolves
  as on any host, and the page is at port 80.
- What the browser asks goes through a relay on port 53, which notes it and changes nothing.
- Printed is JSON: the queries for the blocked name in order, and the counts of the service afterwards.
"""

import asyncio
import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import dns.message
import dns.rdatatype

from tests.fakes.upstream import in_thread
from tests.journeys.processes import Site, honest
from tests.journeys.running import HOST, PAGE_V4
from tests.peers.test_page_chromium import FLAGS, Browser, debugging_address, start

LISTED = "blocked.test"
VISITS = 2
COUNTS = ("blocked_queries_total", "blocked_attempts_total", "page_views_total")


@contextmanager
def relay(port: int, noted: list[str]) -> Iterator[None]:
    """Port 53 to the service's, over UDP; the types that were asked for the listed name are noted."""
    with socket.socket(type=socket.SOCK_DGRAM) as door:
        door.bind((HOST, 53))

        def one(packet: bytes, client: object) -> None:
            with socket.socket(type=socket.SOCK_DGRAM) as back:
                back.settimeout(5)
                back.connect((HOST, port))
                back.send(packet)
                door.sendto(back.recv(65_535), client)  # type: ignore[arg-type]  # what recvfrom gave

        def carry() -> None:
            while True:
                packet, client = door.recvfrom(65_535)
                if not packet:
                    return
                question = dns.message.from_wire(packet).question[0]
                if question.name.to_text(omit_final_dot=True).lower() == LISTED:
                    noted.append(dns.rdatatype.to_text(question.rdtype))
                threading.Thread(target=one, args=(packet, client)).start()

        thread = threading.Thread(target=carry)
        thread.start()
        try:
            yield
        finally:
            with socket.socket(type=socket.SOCK_DGRAM) as last:
                last.sendto(b"", (HOST, 53))
            thread.join()


async def visit(chromium: str, folder: Path) -> None:
    """Open the blocked address, and reload it."""
    with start([chromium, *FLAGS, f"--user-data-dir={folder}"]) as process:
        try:
            address = await asyncio.to_thread(debugging_address, process)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://{address}/json/list") as answer:
                    tabs = await answer.json(content_type=None)
                tab = next(one for one in tabs if one["type"] == "page")
                async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as told:
                    browser = Browser(told)
                    await browser.do("Page.enable")
                    for number in range(VISITS):
                        browser.told.clear()
                        if number:
                            await browser.do("Page.reload")
                        else:
                            await browser.do("Page.navigate", url=f"http://{LISTED}/")
                        await browser.until("Page.loadEventFired")
                        assert (await browser.measure())["title"] == "This address is blocked"
        finally:
            process.kill()


def main(folder: Path, chromium: str) -> None:
    """Serve, visit, count."""
    noted: list[str] = []
    with in_thread(honest) as upstream:
        site = Site(folder, [upstream.address])
        site.change("page", listen=[f"{PAGE_V4}:80"], addresses=[PAGE_V4])
        site.publish([LISTED])
        with site.started() as service, relay(site.dns, noted):
            asyncio.run(visit(chromium, folder / "profile"))
            service.until("/metrics", lambda body: service.metric(COUNTS[0], body) == len(noted))
            body = service.get("/metrics")[1]
            print(json.dumps({"asked": noted, **{name: service.metric(name, body) for name in COUNTS}}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
