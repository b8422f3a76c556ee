"""Two lanes at once over the same tables, without sockets: what a second thread adds to the core alone.

    python -m tests.bench.lanes [--rounds 7] [--seconds 1]

Each thread has a lane of its own, as a thread of the engine has, and takes batches of 64 queries without the GIL: half
of them for listed names, half for kept ones, each batch of other clients. All tables are shared and all is on: ACL,
token buckets, shares, attempts, counters. In each round one thread, two threads, and two threads each with tables of
its own do the same number of batches each. Printed is what two did in a second as a multiple of what one did, at most 2
on a machine with two free cores, and the CPU of a query beside another thread as a multiple of its CPU alone, which
other load moves less. What two threads gain that share nothing is what the machine itself allows: caches, memory and a
host that lends the cores. Sharing costs the difference.
"""

import argparse
import os
import tempfile
import threading
import time
from array import array
from pathlib import Path
from shutil import copy
from types import ModuleType
from typing import Any, NamedTuple

from resolver.config import for_core
from resolver.core import admit, codes
from resolver.query.transport import Transport
from resolver.service.in_force import BUCKETS
from tests.bench import ratios
from tests.parity import probe, twin
from tests.unit.core.seats import Seats
from tests.unit.query.parts import KEY, config, generation, query, says, tables_of

LISTED = 20_000
KEPT = 1_000
BATCH = 64
BATCHES = 64
"""Batches with other names and clients, in turn."""
TURNS = 20
"""How often a batch is taken before the next one."""

CLIENTS = 4096


def client(number: int) -> bytes:
    """The address of a client, 16 octets, of 198.18.0.0/15."""
    return bytes(10) + b"\xff\xff" + (0xC6120000 + number % CLIENTS).to_bytes(4, "big")


def shared() -> Seats:
    """The tables, with answers kept."""
    listed = [f"listed{number}.example" for number in range(LISTED)]
    asked = config(codes.MAX_LISTS, allow=("198.18.0.0/15",), rate=1_000_000)
    # As many as the service has: with a few, each query would find its bucket gone, and be the first of its client.
    clients = for_core.access(asked, bytearray(BUCKETS * admit.BUCKET_OCTETS), KEY)
    in_force = tables_of(generation(1, [listed]), clients, complete=True)
    seats = Seats(twin.compiled, in_force, says(), octets=2**25, tally_octets=2**20)
    for number in range(KEPT):
        seats.reply = says([f"kept{number}.example. 3600 A 192.0.2.7"])
        seats.ask(query(f"kept{number}.example"), client(number))
    return seats


class Thread:
    """A lane with seats of its own over the shared tables."""

    def __init__(self, seats: Seats, number: int) -> None:
        lane, shape = twin.compiled("lane"), twin.compiled("crash_shape").Shape(memoryview(bytearray(64)).cast("q"))
        self.counters = array("Q", bytes(8 * codes.COUNTERS_SIZE))
        outs = [memoryview(bytearray(4096)) for _ in range(BATCH)]
        self.seats, self.first = seats, number * BATCHES // 2
        self.lanes = []
        for _ in range(BATCHES):
            self.lanes.append(lane.Lane(memoryview(self.counters), shape, outs, looking=True))
        for turn, one in enumerate(self.lanes):
            for at in range(BATCH):
                self.sit(one.seat(at), (number * BATCHES + turn) * BATCH + at)

    def sit(self, seat: Any, number: int) -> None:
        """Have a query sit in a seat."""
        name = f"listed{number % LISTED}.example" if number % 2 else f"kept{number % KEPT}.example"
        over = Transport.UDP
        seat.sit(query(name).to_wire(), client(number), over.number, over.least, over.most, over.keepalive_ds)

    def run(self, module: ModuleType, rounds: int) -> None:
        """Take every batch so many times over."""
        for number in range(rounds):
            one = self.lanes[(number + self.first) % BATCHES]
            module.take_batches(self.seats.tables, one, BATCH, TURNS, self.seats.now_ms)

    def answered(self) -> int:
        """How many queries were answered."""
        return sum(self.counters[codes.counter("answers_total", code)] for code in ("NOERROR", "NXDOMAIN"))


class Timed(NamedTuple):
    """Queries a second of all threads together, and nanoseconds of CPU a query."""

    rate: float
    cpu_ns: float


def timed(module: ModuleType, threads: list[Thread], rounds: int) -> Timed:
    """Have each thread take all its batches `rounds` times; each query must be answered."""
    before, cpu_ns = [one.answered() for one in threads], [0] * len(threads)
    begin = threading.Barrier(len(threads) + 1)

    def work(number: int) -> None:
        begin.wait()
        start_ns = time.thread_time_ns()
        threads[number].run(module, rounds)
        cpu_ns[number] = time.thread_time_ns() - start_ns

    running = [threading.Thread(target=work, args=(number,)) for number in range(len(threads))]
    for one in running:
        one.start()
    begin.wait()
    start = time.monotonic()
    for one in running:
        one.join()
    took, asked = time.monotonic() - start, rounds * TURNS * BATCH
    for thread, had in zip(threads, before, strict=True):
        assert thread.answered() - had == asked, "a query was not answered"
    return Timed(len(threads) * asked / took, sum(cpu_ns) / len(threads) / asked)


def built() -> ModuleType:
    """The module that takes batches without the GIL, compiled as the core is by default."""
    os.environ.setdefault("CFLAGS", "-O3")
    with tempfile.TemporaryDirectory(prefix="lanes-") as folder:
        return probe.load(probe.build(Path(copy(probe.SOURCE, folder))))


class Gain(NamedTuple):
    """What two threads do as a multiple of one; their CPU a query as a multiple of its."""

    rate: ratios.Spread
    cpu: ratios.Spread


class Found(NamedTuple):
    """Queries a second of one thread; what two gain over the same tables, and over tables of their own."""

    alone: ratios.Spread
    sharing: Gain
    apart: Gain


def measured(module: ModuleType, rounds: int, seconds: float) -> Found:
    """Measure one thread, two, and two apart in each round, each round with another of them first."""
    seats = shared()
    one, other = Thread(seats, 0), Thread(seats, 1)
    subjects = [[one], [one, other], [one, Thread(shared(), 1)]]
    turns = 1
    while (once := turns * TURNS * BATCH / timed(module, [one], turns).rate) < seconds / 2:
        turns = int(turns * min(8, seconds / once)) + 1
    seen: list[list[Timed]] = [[], [], []]
    for number in range(rounds):
        for which in range(3):
            turn = (number + which) % 3
            seen[turn].append(timed(module, subjects[turn], turns))
    alone, sharing, apart = seen
    return Found(ratios.spread([each.rate for each in alone]), _gain(sharing, alone), _gain(apart, alone))


def _gain(two: list[Timed], alone: list[Timed]) -> Gain:
    rates = ratios.spread([each.rate / one.rate for each, one in zip(two, alone, strict=True)])
    return Gain(rates, ratios.spread([each.cpu_ns / one.cpu_ns for each, one in zip(two, alone, strict=True)]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    asked = parser.parse_args()
    found = measured(built(), asked.rounds, asked.seconds)
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print(f"one thread: {found.alone} queries a second")
    for name, gain in (("two threads", found.sharing), ("two with tables of their own", found.apart)):
        print(f"{name}: {gain.rate} times as many, at {gain.cpu} times the CPU a query")


if __name__ == "__main__":
    main()
