"""What counting attempts costs a blocked query: paired runs with core.tally and without its attempts.

    python -m tests.bench.attempts [--pairs 101] [--queries 3000]

The other build is core.tally without attempts, compiled here from its source: it counts the blocked query and leaves it
at that. Both count the same queries of many clients for many listed names, which the real steps of
resolver.query.answer answer beside them: what attempts add is the difference of the two, held against the steps.

Rules:
- CPU time of this process from a datagram's octets to those of its answer; what a socket costs is measured beside, for
  it costs the same with and without.
- Pairs are interleaved, the first of a pair takes turns; shown is the median of the ratios within each pair.
- A query is of a client and for a name drawn anew: the tables are as large as the service's, and an attempt finds its
  place in no processor's cache by habit. Every run is a minute after the one before, so that each has windows to open.
"""

import argparse
import contextlib
import importlib.util
import mmap
import random
import socket
import statistics
import sys
import tempfile
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

from setuptools import Distribution, Extension

from resolver.build_core import BuildCore
from resolver.config.values import address_octets
from resolver.core import codes, tally
from resolver.core.policy import Verdict, decide
from resolver.core.question import Question, parse
from resolver.core.scratch import Scratch
from resolver.query.transport import Transport
from resolver.service.in_force import TALLY_OCTETS
from tests.bench import names
from tests.bench.__main__ import tell
from tests.journeys.processes import query_for
from tests.unit.query import parts

CORE = Path(tally.__file__).parent
CUT = "        _count_attempt(tally, counters, base, tag, client, now_s, scratch)\n"
LISTED, CLIENTS = 10_000, 5_000
BAR = 0.05
"""Of what a query costs as browsers ask. That each query is an attempt happens to nobody for long: 20 an hour count."""

ASKED = {"as a browser asks (A, AAAA and HTTPS of each name)": ("A", "AAAA", "HTTPS"), "every query an attempt": ("A",)}
SEED = 11
WINDOW_S, HOUR_S = 60, 3600

Queries = Sequence[tuple[bytes, bytes]]
"""Octets and client of each."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Microseconds a query, medians; the median share that attempts add to the steps, and to them with a socket's."""

    asked: str
    with_us: float
    without_us: float
    share: float
    share_with_socket: float


def without_attempts(folder: Path) -> ModuleType:
    """core.tally, compiled in `folder` from its source but for attempts."""
    source = (CORE / "tally.py").read_text()
    assert source.count(CUT) == 1
    place = folder / "resolver" / "core"
    place.mkdir(parents=True)
    (place.parent / "__init__.py").touch()
    for path in (*CORE.glob("*.py"), *CORE.glob("*.pxd")):
        (place / path.name).write_text(path.read_text())
    (place / "tally.py").write_text(source.replace(CUT, "        pass\n"))
    with contextlib.chdir(folder):
        command = BuildCore(
            Distribution({"ext_modules": [Extension("resolver.core.tally", ["resolver/core/tally.py"])]})
        )
        command.inplace = True
        command.ensure_finalized()
        command.run()
    spec = importlib.util.spec_from_file_location("resolver.core.tally", place / f"tally{EXTENSION_SUFFIXES[0]}")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Steps:
    """The real steps of a query."""

    def __init__(self, lists: parts.Lists) -> None:
        access = parts.access(allow=("198.18.0.0/15",))
        self.house = parts.House(
            parts.says(), parts.tables_of(parts.generation(1, lists), access), tally_octets=TALLY_OCTETS // tally.TABLES
        )

    def us(self, queries: Queries) -> float:
        """CPU microseconds a query; every one has to be answered as blocked."""
        answer, before = self.house.answer.answer, self.house.blocked()
        if int(self.house.now) % HOUR_S < WINDOW_S:
            tally.turn(self.house.tally, parts.KEY)
        start = time.process_time()
        for packet, client in queries:
            answer(packet, client, Transport.UDP)
        spent = time.process_time() - start
        assert self.house.blocked() - before == len(queries)
        self.house.now += WINDOW_S
        return spent / len(queries) * 1e6

    def verdict(self, packet: bytes) -> tuple[Verdict, int]:
        """The verdict on a query's name, and its type."""
        question, verdict = Question(), Verdict()
        parse(packet, len(packet), question)
        decide(self.house.answer.tables.generation, question.name, codes.ALL_LISTS, verdict)
        return verdict, question.qtype


class Way:
    """Counting by one build of core.tally."""

    def __init__(self, build: ModuleType, steps: Steps) -> None:
        self._build, self._steps = build, steps
        self._tables = build.Tally(mmap.mmap(-1, TALLY_OCTETS), parts.KEY)
        self._counters = array("Q", bytes(8 * codes.COUNTERS_SIZE))
        self._verdicts: dict[bytes, tuple[Verdict, int]] = {}

    def us(self, queries: Queries, now_s: int) -> float:
        """CPU microseconds a query."""
        for packet, _ in queries:
            if packet not in self._verdicts:
                self._verdicts[packet] = self._steps.verdict(packet)
        if now_s % HOUR_S < WINDOW_S:
            self._build.turn(self._tables, parts.KEY)
        count, access = self._build.count, self._steps.house.answer.tables.access
        scratch = Scratch()
        given = [(*self._verdicts[packet], client, now_s) for packet, client in queries]
        start = time.process_time()
        for one in given:
            count(self._tables, access, self._counters, *one, scratch)
        return (time.process_time() - start) / len(queries) * 1e6

    def attempts(self) -> int:
        """How many it has counted, the capped ones among them."""
        return sum(self._counters[codes.list_counter(0, one)] for one in (codes.ATTEMPTS, codes.ATTEMPTS_CAPPED))


def socket_us(count: int) -> float:
    """CPU microseconds to receive a datagram and send one, as resolver.query.accept_datagram does; a half of what two
    sockets of this process take for the way there and back."""
    packet = query_for("blocked.test")
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        start = time.process_time()
        for _ in range(count):
            one.sendto(packet, other.getsockname())
            said, peer = other.recvfrom(65_535)
            other.sendto(said, peer)
            one.recvfrom(65_535)
        return (time.process_time() - start) / count / 2 * 1e6


def visits(draw: random.Random, packets: Sequence[Sequence[bytes]], clients: Sequence[bytes], count: int) -> Queries:
    """About `count` queries: visits of clients to names drawn anew, each of all the packets of its name."""
    visited = [(draw.choice(clients), draw.choice(packets)) for _ in range(count // len(packets[0]))]
    return [(packet, client) for client, name in visited for packet in name]


def measure(without: ModuleType, asked: str, pairs: int, count: int, by_socket: float) -> Found:
    """The figures of one way to ask."""
    draw, listed = random.Random(SEED), names.listed(LISTED)
    packets = [[query_for(name, qtype) for qtype in ASKED[asked]] for name in draw.sample(listed, LISTED // 10)]
    clients = [address_octets(f"198.18.{number // 250}.{number % 250}") for number in range(CLIENTS)]
    steps = Steps([listed])
    ways = Way(tally, steps), Way(without, steps)
    runs: list[tuple[float, float]] = []
    for number in range(pairs + 1):
        queries, now_s = visits(draw, packets, clients, count), int(steps.house.now)
        spent = {one: ways[one].us(queries, now_s) for one in ((0, 1) if number % 2 else (1, 0))}
        whole = steps.us(queries)
        if number:  # The first warms all.
            runs.append((whole, whole - spent[0] + spent[1]))
    assert ways[0].attempts() > pairs * count / len(ASKED[asked]) / 2
    assert ways[1].attempts() == 0
    return Found(
        asked=asked,
        with_us=statistics.median(one for one, _ in runs),
        without_us=statistics.median(other for _, other in runs),
        share=statistics.median(one / other - 1 for one, other in runs),
        share_with_socket=statistics.median((one - other) / (other + by_socket) for one, other in runs),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status is 1 where attempts cost more than the bar."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.attempts", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=101)
    parser.add_argument("--queries", type=int, default=3_000, help="of each run")
    arguments = parser.parse_args(argv)
    tell("compiling core.tally without attempts")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        without = without_attempts(Path(folder))
    by_socket = statistics.median(socket_us(arguments.queries) for _ in range(5))
    print(f"a datagram received and one sent: {by_socket:.2f} us")
    found = [measure(without, asked, arguments.pairs, arguments.queries, by_socket) for asked in ASKED]
    for one in found:
        print(f"{one.asked}: steps {one.with_us:.2f} us, without attempts {one.without_us:.2f} us")
        print(f"  attempts add {one.share:.1%} to the steps, {one.share_with_socket:.1%} to them and the socket's part")
    return int(found[0].share_with_socket > BAR)


if __name__ == "__main__":
    sys.exit(main())
