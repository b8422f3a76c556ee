"""Lists swapped under load: is every answer right, does any get lost or late, does memory grow?

    python -m tests.bench.swap [--swaps 10000] [--seconds 20]

A whole service runs in this process; a client in another asks without pause, over UDP and TCP, for a name that every
list blocks, one that every second list blocks, and one that none does. First nothing is swapped for `seconds`, then
lists are, that many times.

Rules:
- A name of every list must be blocked always, a name of none never. For the third, an answer is right if it was right
  at any moment of its query: the client says when it asked and when the answer came, this process when it swapped.
- An answer is late after 50 ms, and lost after 2 s.
"""

import argparse
import asyncio
import json
import resource
import socket
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resolver.config.config import load
from resolver.core import codes, entries, image
from resolver.feed import poll
from resolver.feed.enforced import InForce, Stage
from resolver.feed.update import ListUpdate
from resolver.service import service
from tests.fakes.upstream import in_thread
from tests.journeys.processes import Site, came, exchange, honest, query_for, wait_for
from tests.journeys.running import PAGE_V4, ROOT

ALWAYS, SOMETIMES, NEVER = "always.test", "sometimes.test", "never.example"
LATE_S = 0.05
LOST_S = 2.0
_CODE = "from tests.bench.swap import ask; import sys; ask(int(sys.argv[1]))"
_FLAGS = (codes.BLOCK_SELF | codes.BLOCK_BELOW).to_bytes(2, "little")


def ask(port: int) -> None:
    """Be the client: a line of JSON for each answer, until it is killed."""
    clients = [socket.socket(type=socket.SOCK_DGRAM), socket.create_connection(("127.0.0.1", port))]
    clients[0].connect(("127.0.0.1", port))
    for one in clients:
        one.settimeout(LOST_S)
    number = 0
    while True:
        name = (ALWAYS, SOMETIMES, NEVER)[number % 3]
        over = number // 3 % 2
        number += 1
        asked = time.monotonic()
        try:
            said = came(_exchange(clients[over], query_for(name), stream=bool(over)))
        except TimeoutError:
            said = "lost"
        print(json.dumps([name, over, asked, time.monotonic(), said]), flush=True)


def _exchange(one: socket.socket, query: bytes, *, stream: bool) -> bytes:
    if not stream:
        one.send(query)
        return one.recv(65535)
    one.sendall(len(query).to_bytes(2, "big") + query)
    size = int.from_bytes(_exactly(one, 2), "big")
    return _exactly(one, size)


def _exactly(one: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        found += one.recv(size - len(found))
    return found


def wire(name: str) -> bytes:
    """A name in wire format."""
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def images(key: bytes) -> tuple[memoryview, memoryview]:
    """Two lists: one without the name that is blocked sometimes, one with it, each with 1,000 names more."""
    others = [f"name{number}.test" for number in range(1000)]
    found = []
    for names in ([ALWAYS, *others], [ALWAYS, SOMETIMES, *others]):
        made = entries.write(
            b"".join(map(wire, names)),
            _FLAGS * len(names),
            key,
            list_id="demo",
            serial=1,
            issued=1,
            expires=0,
            generation=1,
            selftest=b"a" * 26,
        )
        found.append(image.view(bytes(made)))
    return found[0], found[1]


def rss_kib() -> int:
    """What of this process is in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("VmRSS")


def _started(words: Sequence[str], written: Path) -> subprocess.Popen[bytes]:
    with open(written, "wb") as file:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, cwd=ROOT)


def proved(one: ListUpdate) -> int:
    """Return the serial that the service's own sockets have proved, 0 for none.

    The state names a serial before it is in force, and a proof that met silence is asked again later.
    """
    now, record = one.activation.enforced, one.state.in_force
    done = record and isinstance(now, InForce) and now.proof is Stage.PROVED and now.number == record.generation
    return record.serial if record and done else 0


async def swapped(site: Site, swaps: int, seconds: float) -> dict[str, Any]:
    """Serve, be asked, swap; return the result."""
    config = load(site.config)
    running = service.Service(site.config, config)
    serving = asyncio.create_task(running.run())
    one = running.enforcement.feed["demo"]
    await asyncio.to_thread(wait_for, lambda: proved(one), "the list to be proved")
    views = images(poll.keys_of(config).digest)
    running.in_force.put_in_force("demo", views[0])
    await asyncio.to_thread(exchange, site.dns, query_for(ALWAYS))
    words, written = [sys.executable, "-c", _CODE, str(site.dns)], site.folder / "answers"
    client = await asyncio.to_thread(_started, words, written)
    await asyncio.to_thread(wait_for, lambda: written.stat().st_size, "the first answer")
    await asyncio.sleep(seconds)
    # Room for all of them from the start: what grows is the service's.
    times, began, memory = array("d", bytes(16 * swaps)), time.monotonic(), 0
    for number in range(1, swaps + 1):
        times[2 * number - 2] = time.monotonic()
        running.in_force.put_in_force("demo", views[number % 2])
        times[2 * number - 1] = time.monotonic()
        if number == max(1, swaps // 10):
            memory = rss_kib()
        await asyncio.sleep(0.002)
    ended, after = time.monotonic(), rss_kib()
    client.kill()
    client.wait()
    answers = [json.loads(line) for line in written.read_bytes().splitlines() if line.endswith(b"]")]
    moments = [(moment, (number // 2 + 1) % 2) for number, moment in enumerate(times)]
    running.stop()
    await serving
    return judged(answers, moments, began, ended) | {
        "swaps": swaps,
        "memory_kib": (memory, after),
        "growth_percent": 100 * (after - memory) / memory,
    }


def judged(
    answers: Sequence[Sequence[Any]], moments: Sequence[tuple[float, int]], began: float, ended: float
) -> dict[str, Any]:
    """Wrong, lost and late answers before and during the swaps."""
    blocked = f"{PAGE_V4} EDE 4"
    found: dict[str, Any] = {"answers": 0, "before": 0, "wrong": 0, "lost": 0, "late": 0, "late_before": 0}
    at = 0
    for name, _, asked, got, said in answers:
        during = began <= asked <= ended
        found["answers" if during else "before"] += 1
        found["lost"] += said == "lost"
        found["late" if during else "late_before"] += got - asked > LATE_S
        while at + 1 < len(moments) and moments[at + 1][0] < asked:
            at += 1
        states = {moments[at][1] if moments and moments[at][0] < asked else 0}
        if at % 2 == 0 and moments and moments[at][0] < asked:
            # It was asked while lists were being swapped: a thread may still have had those of before.
            states.add(moments[at - 1][1] if at else 0)
        states |= {state for moment, state in moments[at : at + 4000] if asked <= moment <= got}
        right = {ALWAYS: {True}, NEVER: {False}, SOMETIMES: {bool(state) for state in states}}[name]
        found["wrong"] += said != "lost" and (said == blocked) not in right
    return found


def run(swaps: int, seconds: float) -> dict[str, Any]:
    """All of it, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder, in_thread(honest) as upstream:
        site = Site(Path(folder), [upstream.address])
        site.authority.publish([ALWAYS])
        site.write()
        return asyncio.run(swapped(site, swaps, seconds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--swaps", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(json.dumps(run(arguments.swaps, arguments.seconds), indent=1))
