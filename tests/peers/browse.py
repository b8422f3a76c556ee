"""A visit of a real browser to a blocked name, in a network of its own; run by test_burst_chromium.

    python -m tests.peers.browse FOLDER CHROMIUM

Rules:
- The caller makes the network: /etc/resolv.conf names 127.0.0.1, and 192.0.2.1 is an address of the loopback. The
  browser resolves as on any host, and the page is at port 80.
- What the browser asks goes through a relay on port 53, which notes it and changes nothing.
- Events are waited for, not time: both documents are loaded, the browser has ended, all it asked is relayed, and the
  service has published as many queries and views.
- The output is JSON: the types asked for the blocked name, in order; the seconds between the first and the last of
  them; the counts of the service afterwards.
"""

import asyncio
import json
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.rdatatype

from tests.fakes.upstream import in_thread
from tests.journeys.processes import Site, honest
from tests.journeys.running import HOST, PAGE_V4
from tests.peers.test_page_chromium import FLAGS, opened

LISTED = "blocked.test"
VISITS = 2
TIMEOUT_S = 90.0
"""For each of: the service is ready, the counts are published."""

COUNTS = ("blocked_queries_total", "blocked_attempts_total", "page_views_total")


@contextmanager
def relay(port: int, noted: list[tuple[float, str]]) -> Iterator[None]:
    """Relay port 53 to the service's, over UDP; note when the listed name was asked, and for which type.

    After the block everything that had come is noted and answered.
    """
    with socket.socket(type=socket.SOCK_DGRAM) as door, ThreadPoolExecutor() as workers:
        door.bind((HOST, 53))

        def forward(packet: bytes, client: object) -> None:
            with socket.socket(type=socket.SOCK_DGRAM) as back:
                back.settimeout(TIMEOUT_S)
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
                    noted.append((time.monotonic(), dns.rdatatype.to_text(question.rdtype)))
                workers.submit(forward, packet, client)

        carrier = workers.submit(carry)
        try:
            yield
        finally:
            with socket.socket(type=socket.SOCK_DGRAM) as last:
                last.sendto(b"", (HOST, 53))
            carrier.result()


async def visit(chromium: str, folder: Path) -> None:
    """Open the blocked address, and reload it."""
    async with opened([chromium, *FLAGS, f"--user-data-dir={folder}"]) as browser:
        await browser.do("Page.enable")
        for number in range(VISITS):
            if number:
                await browser.load("Page.reload")
            else:
                await browser.load("Page.navigate", url=f"http://{LISTED}/")
            assert (await browser.measure())["title"] == "This address is blocked"


def main(folder: Path, chromium: str) -> None:
    """Serve, visit, count."""
    noted: list[tuple[float, str]] = []
    with in_thread(honest) as upstream:
        site = Site(folder, [upstream.address])
        site.change("page", listen=[f"{PAGE_V4}:80"], addresses=[PAGE_V4])
        site.publish([LISTED])
        with site.started(seconds=TIMEOUT_S) as service:
            with relay(site.dns, noted):
                asyncio.run(visit(chromium, folder / "profile"))
            expected = {"blocked_queries_total": len(noted), "page_views_total": VISITS}
            service.until(
                "/metrics",
                lambda body: all(service.metric(name, body) == count for name, count in expected.items()),
                TIMEOUT_S,
            )
            body = service.get("/metrics")[1]
            counts = {name: service.metric(name, body) for name in COUNTS}
            times = [when for when, _ in noted]
            asked = [qtype for _, qtype in noted]
            print(json.dumps({"asked": asked, "seconds": max(times) - min(times), **counts}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
