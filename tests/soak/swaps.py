"""Swaps lists under load while upstreams come and go: is an answer wrong, lost or a leak, does memory grow?

    python -m tests.soak.swaps [--queries 24000000] [--swaps N] [--updates N] [--seed 1] [--out FOLDER]

A whole service runs in this process, with the compiled engine on two threads. Two programs (ask.c) ask it as fast as it
answers, and look into every answer; two upstreams in processes of their own (tests.soak.upstream, `plain`) answer what
is not kept, and the engine's threads ask them by themselves. Meanwhile:

- One list is swapped, evenly over the queries: each time an image of its own memory is put in force, in turn with and
  without the names that are listed sometimes.
- A second list is updated the whole way: signed, fetched and compiled by processes, tested, put in force, proved. After
  each update a name of it alone is asked for.
- An upstream is silent for a while, or leaves and returns; every third time both leave.
- The cache is as small as it may be, names are kept for seconds, and one query in a hundred is for a new name.

Rules:
- What is right for each kind of name stands in ask.c. A name that is listed sometimes may be either.
- Memory is that of this process (VmRSS), sampled each SAMPLE_S. After WARM of the queries it may grow by GROWTH_KIB: an
  image that is not released is more than 60 KiB.
"""

import argparse
import asyncio
import json
import random
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resolver.config.config import load
from resolver.core import codes, entries, image
from resolver.feed import poll
from resolver.service import service
from tests.bench import swap
from tests.journeys.processes import Site, asked, list_of, wait_for
from tests.journeys.running import PAGE_V4, Authority, free_ports
from tests.soak import counted, upstream

SENDERS = 2
SAMPLE_S = 1.0
WARM = 0.2
GROWTH_KIB = 16 * 1024
CLIENT = "127.0.0.2"
_ALWAYS, _SOMETIMES = 1000, 100
_FLAGS = (codes.BLOCK_SELF | codes.BLOCK_BELOW).to_bytes(2, "little")
_FOR_A_SWAP, _FOR_AN_UPDATE = 2_400, 120_000
_EVERY_S = 8.0
_SILENT_S = 1.5
_HERE = Path(__file__).parent


@dataclass
class Found:
    """What came of a run."""

    queries: int = 0
    swaps: int = 0
    updates: int = 0
    flaps: int = 0
    seconds: float = 0.0
    senders: list[dict[str, Any]] = field(default_factory=list)
    rss_kib: list[tuple[int, int]] = field(default_factory=list)
    wrong_updates: list[str] = field(default_factory=list)
    errors: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    relayed: list[dict[str, int]] = field(default_factory=list)

    def total(self, word: str) -> int:
        """The sum of a number over the senders."""
        return sum(int(one[word]) for one in self.senders)

    @property
    def warm(self) -> list[int]:
        """The samples after the first part of the queries."""
        return [rss for packets, rss in self.rss_kib if packets >= WARM * self.queries]

    @property
    def growth_kib(self) -> int:
        """The growth of memory: the median of the last tenth of the samples above that of the first one."""
        samples = self.warm
        part = max(1, len(samples) // 10)
        return sorted(samples[-part:])[part // 2] - sorted(samples[:part])[part // 2]

    def shown(self) -> dict[str, Any]:
        """All of it, for a report."""
        words = ("answered", "wrong", "leaked", "lost", "late", "stray", "failed")
        return {
            "queries": self.queries, "swaps": self.swaps, "updates": self.updates, "flaps": self.flaps,
            "seconds": round(self.seconds, 1), **{word: self.total(word) for word in words},
            "wrong_updates": self.wrong_updates, "errors": self.errors, "dropped": self.dropped,
            "forwarded by the threads": self.relayed,
            "rss_kib": {"first": self.rss_kib[0][1], "warm": self.warm[0], "last": self.rss_kib[-1][1],
                        "most": max(rss for _, rss in self.rss_kib), "growth": self.growth_kib},
            "senders": self.senders,
        }  # fmt: skip


class Lists:
    """The images that are put in force in turn, each made from the same two in memory of its own."""

    def __init__(self, key: bytes) -> None:
        always = [swap.wire(f"l{number}.listed.test") for number in range(_ALWAYS)]
        sometimes = [swap.wire(f"s{number}.sometimes.test") for number in range(_SOMETIMES)]
        self._made = [
            entries.write(
                b"".join(names), _FLAGS * len(names), key, list_id="demo", serial=1, issued=1, expires=0, generation=1,
                selftest=b"a" * 26,
            )
            for names in (always, always + sometimes)
        ]  # fmt: skip

    def next(self, number: int) -> memoryview:
        """The image of a swap."""
        view: memoryview = image.view(bytes(self._made[number % 2]))
        return view


class Run:
    """A service under load."""

    def __init__(
        self, site: Site, second: Authority, there: Sequence[upstream.Process], queries: int, swaps: int
    ) -> None:
        self.site, self.second, self.there = site, second, there
        self.queries, self.swaps = queries, swaps
        self.found = Found(queries=queries)
        self.config = load(site.config)
        self.service = service.Service(site.config, self.config)
        self.ended = asyncio.Event()

    @property
    def packets(self) -> int:
        """How many the engine has taken."""
        return sum(one.packets for one in self.service.datagrams.carriers)

    def proved(self, list_id: str) -> int:
        """The serial of a list that is proved."""
        return swap.proved(self.service.enforcement.feed[list_id])

    async def swap(self) -> None:
        """Put the next image in force whenever its share of the queries has been asked."""
        lists, apart = Lists(poll.keys_of(self.config).digest), 0.95 * self.queries / self.swaps
        self.service.in_force.put_in_force("demo", lists.next(0))
        while not self.ended.is_set():
            if self.found.swaps < self.swaps and self.packets >= self.found.swaps * apart:
                self.found.swaps += 1
                self.service.in_force.put_in_force("demo", lists.next(self.found.swaps))
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(0.001)

    async def update(self, updates: int) -> None:
        """Publish the second list again and again; a name of each serial alone must be blocked once it is in force."""
        feed = self.service.enforcement.feed
        while not self.ended.is_set() and self.found.updates < updates:
            if self.packets < self.found.updates * 0.9 * self.queries / updates:
                await asyncio.sleep(0.01)
                continue
            name = f"u{self.second.serial + 1}.updated.test"
            serial = await asyncio.to_thread(self.second.publish, ["l1.listed.test", name])
            feed.trigger("second")
            while self.proved("second") != serial:
                if self.ended.is_set():
                    return
                await asyncio.sleep(0.01)
            said = await asyncio.to_thread(asked, self.site.dns, name)
            if not said.startswith(PAGE_V4):
                self.found.wrong_updates.append(f"{name}, serial {serial}: {said}")
            self.found.updates += 1

    async def flap(self, draw: random.Random) -> None:
        """Have an upstream be silent, one leave and return, and both leave and return, in turn."""
        while not self.ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), _EVERY_S * draw.uniform(0.5, 1.5))
                return
            way = self.found.flaps % 3
            chosen = self.there if way == 2 else [draw.choice(self.there)]
            if way == 1:
                await asyncio.to_thread(chosen[0].silent, _SILENT_S)
            else:
                for one in chosen:
                    await asyncio.to_thread(one.away)
                await asyncio.sleep(draw.uniform(0.2, _SILENT_S))
                for one in chosen:
                    await asyncio.to_thread(one.back)
            self.found.flaps += 1

    async def sample(self, progress: Callable[[Found, int], None]) -> None:
        """Look at the memory."""
        while not self.ended.is_set():
            self.found.rss_kib.append((self.packets, swap.rss_kib()))
            progress(self.found, self.packets)
            await asyncio.sleep(SAMPLE_S)

    async def all(self, seed: int, updates: int, progress: Callable[[Found, int], None]) -> Found:
        """Serve, be asked, swap, update, flap; return the result."""
        serving = asyncio.create_task(self.service.run())
        await asyncio.to_thread(
            wait_for,
            lambda: self.service.in_force.enforced() and all(self.proved(one) for one in ("demo", "second")),
            "the lists to be proved",
        )
        began = time.monotonic()
        program = compiled(self.site.folder)
        words = [str(program), str(self.site.dns), CLIENT, str(self.queries // SENDERS)]
        swapping = asyncio.create_task(self.swap())
        await asyncio.sleep(0)
        senders = [
            await asyncio.create_subprocess_exec(*words, str(seed + number), stdout=subprocess.PIPE)
            for number in range(SENDERS)
        ]
        beside = [self.update(updates), self.flap(random.Random(seed)), self.sample(progress)]
        tasks = [swapping, *map(asyncio.create_task, beside)]
        for one in senders:
            said, _ = await one.communicate()
            self.found.senders.append(json.loads(said))
        self.found.seconds = time.monotonic() - began
        self.ended.set()
        await asyncio.gather(*tasks)
        self.found.queries = self.found.total("asked")
        self.found.rss_kib.append((self.packets, swap.rss_kib()))
        self.found.errors = self.service.answer.errors() + self.service.datagrams.errors()
        at = {reason: codes.counter("packets_dropped_total", reason) for reason in codes.DROP_REASONS}
        counters = self.service.datagrams.counters
        self.found.dropped = {reason: sum(one[number] for one in counters) for reason, number in at.items()}
        self.found.relayed = counted.relayed(self.service.datagrams.relays, len(self.there))
        self.service.stop()
        await serving
        return self.found


def compiled(folder: Path) -> Path:
    """The sender, compiled now."""
    program = folder / "ask"
    subprocess.run(["cc", "-O2", "-Wall", "-o", str(program), str(_HERE / "ask.c")], check=True)
    return program


def run(
    queries: int, swaps: int, updates: int, seed: int, progress: Callable[[Found, int], None] = lambda found, now: None
) -> Found:
    """All of it, in a folder of its own."""
    ports = free_ports(2)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        there = [stack.enter_context(upstream.running(port, "plain")) for port in ports]
        site = Site(Path(folder), [f"127.0.0.1:{port}" for port in ports])
        second = Authority(site.folder / "second", list_id="second")
        site.authority.publish(["l0.listed.test"])
        second.publish(["l1.listed.test"])
        site.lists.append(list_of(second.folder, "second"))
        site.set("cache", size="1MiB", stale="10s")
        site.set("listen", engine="compiled", threads=2)
        site.write()
        return asyncio.run(Run(site, second, there, queries, swaps).all(seed, updates, progress))


def main() -> int:
    """Run, print, and write the report; the exit status is 1 where anything is wrong, lost or grows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--queries", type=int, default=24_000_000)
    parser.add_argument("--swaps", type=int, help=f"one for {_FOR_A_SWAP:,} queries where not given")
    parser.add_argument("--updates", type=int, help=f"one for {_FOR_AN_UPDATE:,} queries where not given")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    began = time.monotonic()

    def progress(found: Found, packets: int) -> None:
        if len(found.rss_kib) % 30 == 1:
            said = f"{packets:,} queries, {found.swaps:,} swaps, {found.updates} updates, {found.flaps} flaps"
            print(f"{time.monotonic() - began:.0f} s: {said}, {found.rss_kib[-1][1]:,} KiB", flush=True)

    queries = arguments.queries
    swaps, updates = arguments.swaps or queries // _FOR_A_SWAP, arguments.updates or queries // _FOR_AN_UPDATE
    found = run(queries, swaps, updates, arguments.seed, progress)
    report = json.dumps(found.shown(), indent=1)
    print(report)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "swaps.json").write_text(report + "\n")
    bad = found.total("wrong") + found.total("lost") + found.total("stray") + len(found.wrong_updates) + found.errors
    return int(bool(bad) or found.growth_kib > GROWTH_KIB)


if __name__ == "__main__":
    raise SystemExit(main())
