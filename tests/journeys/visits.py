"""Visits of the page that all carry canaries, and the search for them afterwards; test_page.py makes some thousands.

    python -m tests.journeys.visits --visits 100000

Rules:
- Each visit has host, path, query, referrer, cookie, program, languages and a forwarded address of its own; all hold
  one label that is nowhere else. The visitors are CLIENTS addresses of 127.81.0.0/16.
- The visitor reads the whole response and closes first, as browsers do.
- Searched afterwards: all that the service has written, its folder (with state and TMPDIR), its open files, what
  changed in /var/tmp and /dev/shm, its metrics, its arguments and environment, and what the kernel shows of its side of
  connections (/proc/net, and `ss` if it is there; the visitors' own side is on this host too, and is theirs). In its
  memory the last requests may be left, in freed octets: how many of the visits' labels are found there is printed.
"""

import argparse
import asyncio
import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests import canaries
from tests.canaries import Canaries
from tests.fakes.upstream import in_thread
from tests.journeys.processes import Site, child_of, command_of, honest, wait_for
from tests.journeys.running import HOST, Service
from tests.unit.wire import in_kernel

CLIENTS, AT_ONCE = 1000, 64
SHARED = (Path("/var/tmp"), Path("/dev/shm"))


@dataclass(frozen=True)
class Searched:
    """What was found: canaries by place, and how many visits' labels are in the service's memory."""

    served: int
    seconds: float
    found: dict[str, list[str]]
    in_memory: int


def request_of(number: int, label: str, client: str) -> bytes:
    """A visit's request: what a browser sends, and what it should not."""
    name = f"v{number}.{label}.test"
    head = f"GET /{label}/{number}?{label} HTTP/1.1\r\nHost: {name}\r\nAccept: text/html\r\nAccept-Encoding: gzip\r\n"
    head += f"Referer: http://{name}/\r\nCookie: {label}={number}\r\nUser-Agent: {label}/{number}\r\n"
    head += f"Accept-Language: {label[:8]}, x-{label[:8]};q=0.5\r\nX-Forwarded-For: {client}\r\n"
    return f"{head}\r\n".encode()


async def visit(port: int, number: int, label: str, client: str) -> int:
    """Make one visit; return the status of the response."""
    reader, writer = await asyncio.open_connection(HOST, port, local_addr=(client, 0))
    try:
        writer.write(request_of(number, label, client))
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
        assert length
        body = await reader.readexactly(int(length[1]))
        assert label.encode() not in head + body
        return int(head.split()[1])
    finally:
        writer.close()


async def crowd(port: int, visits: int, label: str, clients: list[str]) -> Counter[int]:
    """Make all visits, some at a time; return how many got which status."""
    served: Counter[int] = Counter()
    left = iter(range(visits))

    async def visitor() -> None:
        for number in left:
            served[await visit(port, number, label, clients[number % len(clients)])] += 1

    await asyncio.gather(*(visitor() for _ in range(AT_ONCE)))
    return served


def searched(site: Site, service: Service, known: Canaries, since: float) -> dict[str, list[str]]:
    """The canaries that are anywhere, by place."""
    shown = {
        "metrics": service.get("/metrics")[1],
        "stderr": (site.folder / "stderr").read_bytes(),
        "stdout": (site.folder / "stdout").read_bytes(),
        "kernel": "".join(in_kernel(site.ports[1])).encode(),
    }
    if ss := shutil.which("ss"):
        ours = f"{HOST}:{site.ports[1]}"
        shown["ss"] = subprocess.run([ss, "-Htanpe", "src", ours], capture_output=True, check=True).stdout
        assert shown["ss"].count(ours.encode()) == 1, "nothing but the listening socket"
    for pid in processes(service):
        shown[f"arguments of {pid}"] = command_of(pid)
        shown[f"environment of {pid}"] = Path(f"/proc/{pid}/environ").read_bytes()
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if link.is_file():
                shown[f"open in {pid}: {link.readlink()}"] = link.read_bytes()
    found = {place: canaries for place, octets in shown.items() if (canaries := known.found_in(octets))}
    return found | known.found_below([site.folder, *SHARED], since=since)


def processes(service: Service) -> list[int]:
    """The service, and the process that shows its page."""
    return [service.process.pid, child_of(service, "resolver.service.page_process")]


def in_memory(service: Service, label: str) -> int:
    """How many different visits are in the memory of both processes; of one that nobody may look into none."""
    found: set[bytes] = set()
    for pid in processes(service):
        with contextlib.suppress(PermissionError), open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                start, end = (int(one, 16) for one in line.split()[0].split("-"))
                if "w" in line.split()[1]:
                    memory.seek(start)
                    found.update(re.findall(rb"v\d+\." + label.encode(), memory.read(end - start)))
    return len(found)


def run(folder: Path, visits: int) -> Searched:
    """Serve, visit and search."""
    label = canaries.label()
    clients = [f"127.81.{100 + number // 100}.{100 + number % 100}" for number in range(CLIENTS)]
    known = Canaries([f"{label}.test"], clients[:100])
    since = time.time()
    with in_thread(honest) as upstream:
        site = Site(folder, [upstream.address])
        site.publish(["listed.test"])
        with site.started() as service:
            began = time.monotonic()
            served = asyncio.run(crowd(site.ports[1], visits, label, clients))
            seconds = time.monotonic() - began
            assert served == {451: visits}
            service.until("/metrics", lambda body: service.metric("page_views_total", body) == visits)
            wait_for(lambda: not in_kernel(site.ports[1]), "the kernel to forget the last visitors")
            return Searched(visits, seconds, searched(site, service, known, since), in_memory(service, label))


def main() -> int:
    """Make the visits that are asked for, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visits", type=int, default=100_000)
    visits = parser.parse_args().visits
    with tempfile.TemporaryDirectory() as name:
        one = run(Path(name), visits)
    print(
        f"{one.served} visits in {one.seconds:.0f} s; found: {one.found or 'nothing'}; "
        f"labels of {one.in_memory} visits are left in freed memory"
    )
    return bool(one.found)


if __name__ == "__main__":
    sys.exit(main())
