"""5,000 connections at once, every fifth of them slow or broken: the others are served, and all bounds hold.

Rules:
- Who asks comes from 127.1.0.0/16, 100 connections an address; the rude ones from 127.2.0.0/16, 50 an address.
- An honest connection asks every two seconds, or once it has its answer; a latency includes this program's own, and
  not what both processes waited for a processor meanwhile.
- An honest connection has to stay, unless on a busy machine its asks came too late for the service's idle timeout.
- What takes its time is waited for: only an idle machine has it after so many seconds.
- What a rude one does is in its name: silent, half a query, an octet a second, never reads, resets, ends its half.
"""

import asyncio
import contextlib
import os
import resource
import socket
import statistics
import struct
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.rrset
import pytest
import uvloop

from resolver.query.accept_limits import HURRY
from resolver.query.transport import IDLE_S
from tests.fakes.stopwatch import Stopwatch
from tests.fakes.upstream import in_thread
from tests.journeys.processes import honest
from tests.journeys.running import HOST, Service, serve

HONEST, RUDE_OF_A_KIND, CROWD = 4000, 167, 3200
MOST, PER_CLIENT = 7000, 100
ASKS_EVERY_S = 2.0
SETTLED_S = 14.0
PATIENT_S = 200.0
FILES = 20_000
KINDS = ("silent", "half", "drip", "deaf", "reset", "ended")
LIMITS = (
    f"[limits]\nqueries_per_second = 5000\nconnections = {MOST}\nconnections_per_client = {PER_CLIENT}\nexempt = []"
)


def large(query: dns.message.Message) -> dns.message.Message:
    """Honest, and large.test has an answer of 16 kB."""
    reply = honest(query)
    if query.question[0].name.to_text() == "large.test.":
        texts = [f'"{number}{"x" * 200}"' for number in range(80)]
        reply.answer = [dns.rrset.from_text_list(query.question[0].name, 300, "IN", "TXT", texts)]
    return reply


def framed(name: str, kind: str = "A") -> bytes:
    packet = dns.message.make_query(name, kind, use_edns=0, id=7).to_wire()
    return len(packet).to_bytes(2, "big") + packet


LISTED, LARGE = framed("listed.test"), framed("large.test", "TXT")


class Asker(asyncio.Protocol):
    """A connection that asks when told to, and notes how long each answer took and whether it was ended."""

    def __init__(self, load: "Load", kind: str) -> None:
        self.load = load
        self.kind = kind
        self.transport: Any = None
        self.unread = b""
        self.asked: list[tuple[float, float]] = []
        self.served_since = time.monotonic()
        self.early = False
        self.got = 0
        self.gone = asyncio.Event()
        load.askers.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.gone.set()
        self.load.ended[self.kind] += 1
        # From the last query of which it is known that it was taken: the service saw none later than it was asked.
        self.early = time.monotonic() - self.served_since < self.load.idle_s

    def ask(self) -> None:
        """Ask, unless the last answer has not come yet."""
        if self.transport is not None and not self.asked:
            self.asked.append((time.monotonic(), self.load.waited))
            self.transport.write(LISTED)

    def data_received(self, data: bytes) -> None:
        self.unread += data
        while len(self.unread) >= 2 and len(self.unread) >= 2 + int.from_bytes(self.unread[:2], "big"):
            self.unread = self.unread[2 + int.from_bytes(self.unread[:2], "big") :]
            self.got += 1
            if self.asked:
                self.served_since, waited = self.asked.pop()
                self.load.latencies.append(self.load.since(self.served_since, waited))


class Load:
    """All who connect, and what became of them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.latencies: list[float] = []
        self.datagrams: list[float] = []
        self.lost = 0
        self.ended: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.half_served = self.half_lost = 0
        self.crowded = self.crowd_seen = self.crowd_too_slow = False
        self.most_seen = 0.0
        self.idle_s = IDLE_S
        self.undisturbed = asyncio.Event()
        self.undisturbed.set()
        self.watch = Stopwatch(service.process.pid)
        self.waited = 0.0
        self.askers: list[Asker] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.asking: asyncio.Task[None]

    def since(self, at: float, waited: float) -> float:
        """Seconds since then, less those in which this process and the service waited for a processor."""
        return max(0.0, time.monotonic() - at - (self.waited - waited))

    async def connect(self, kind: str, source: str, octets: int = 0) -> Asker:
        """One connection from `source`, the kernel holding no more than so many `octets` for it."""
        one = socket.socket()
        one.setblocking(False)
        one.bind((source, 0))
        if octets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)
        loop = asyncio.get_running_loop()
        asker = Asker(self, kind)
        try:
            await loop.sock_connect(one, (HOST, self.service.dns))
            await loop.create_connection(lambda: asker, sock=one)
        except BaseException as error:
            # A connection that is being made when its task is cancelled is not told of its end.
            one.close()
            asker.transport = None
            asker.gone.set()
            if not isinstance(error, ConnectionError):
                raise
            self.refused[kind] += 1
        return asker

    async def many(self, kind: str, count: int, net: str, each: int) -> list[Asker]:
        """So many connections, `each` of them from one address of `net`."""
        found: list[Asker] = []
        while len(found) < count:
            group = range(len(found), min(count, len(found) + 100))
            found += await asyncio.gather(*(self.connect(kind, f"{net}.{n // each + 1}") for n in group))
        return found

    def start(self, story: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.tasks.append(asyncio.ensure_future(story))
        return self.tasks[-1]

    async def keep_asking(self, askers: list[Asker]) -> None:
        """Every one asks in its turn, the turns spread evenly."""
        slices = 100
        start, number = time.monotonic(), 0
        while True:
            self.waited = self.watch.waited
            for asker in askers[number % slices :: slices]:
                asker.ask()
            number += 1
            await asyncio.sleep(max(0.0, start + number * ASKS_EVERY_S / slices - time.monotonic()))

    async def keep_asking_by_datagram(self) -> None:
        """One query after the other over UDP."""
        loop = asyncio.get_running_loop()
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.setblocking(False)
            one.bind(("127.1.9.9", 0))
            one.connect((HOST, self.service.dns))
            while True:
                at, waited = time.monotonic(), self.watch.waited
                await loop.sock_sendall(one, LISTED[2:])
                try:
                    async with asyncio.timeout(60):
                        await loop.sock_recv(one, 2000)
                    self.waited = self.watch.waited
                    self.datagrams.append(self.since(at, waited))
                except TimeoutError:
                    self.lost += 1
                await asyncio.sleep(0.02)

    async def watch_connections(self) -> None:
        """How many connections the service says that it has."""
        while True:
            await self.look()
            await asyncio.sleep(0.25)

    async def look(self) -> float:
        """How many it says that it has now."""
        found = await asyncio.to_thread(self.service.metric, "connections") or 0.0
        self.most_seen = max(self.most_seen, found)
        return found

    async def come_as_a_crowd(self) -> None:
        """Connect and say nothing, all at once; and again where half of them were ended before anybody looked."""
        self.crowded, self.idle_s = True, IDLE_S / HURRY
        for net in range(4, 7):
            await self.many("crowd", CROWD // 2, f"127.{net}.0", PER_CLIENT)
            at = time.monotonic()
            await self.many("crowd", CROWD // 2, f"127.{net}.1", PER_CLIENT)
            await self.look()
            self.crowd_seen = self.most_seen > self.staying() + CROWD / 2
            if self.crowd_seen or time.monotonic() - at < self.idle_s:
                return
        self.crowd_too_slow = True

    def staying(self) -> int:
        """How many honest ones are connected."""
        return sum(one.kind == "honest" and one.transport is not None for one in self.askers)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for it; the time in which this machine lets nobody work does not count."""
        deadline = self.watch.seconds + PATIENT_S
        while not condition():
            assert self.watch.seconds < deadline, f"not in {PATIENT_S:.0f} s: {what}"
            await asyncio.sleep(0.05)

    async def drip(self, askers: list[Asker]) -> None:
        """An octet a second on each."""
        for octet in LISTED[:-1]:
            for asker in askers:
                if asker.transport is not None:
                    asker.transport.write(bytes([octet]))
            await asyncio.sleep(1)

    async def reset_or_end(self, kind: str, number: int) -> None:
        """Ask and reset, or ask three times and end this half, again and again."""
        while True:
            await self.undisturbed.wait()
            asker = await self.connect(kind, f"127.2.{KINDS.index(kind)}.{number // 50 + 1}")
            if asker.transport is not None:
                asker.transport.write(3 * LISTED)
                if kind == "reset":
                    one = asker.transport.get_extra_info("socket")
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    asker.transport.abort()
                else:
                    asker.transport.write_eof()
                    await asker.gone.wait()
                    # In a crowd that takes all places, who has not been heard yet may have to go (accept_limits).
                    assert asker.got == 3 or self.crowded, "who ends its half gets every answer"
                    self.half_served += asker.got == 3
                    self.half_lost += asker.got != 3
            await asyncio.sleep(1)

    async def be_rude(self) -> None:
        found = {}
        for index, kind in enumerate(KINDS[:4]):
            found[kind] = await self.many(kind, RUDE_OF_A_KIND, f"127.2.{index}", 50)
        for asker in found["half"]:
            if asker.transport is not None:
                asker.transport.write(LISTED[:-5])
        for asker in found["deaf"]:
            if asker.transport is not None:
                asker.transport.pause_reading()
                asker.transport.write(1000 * LARGE)
        self.start(self.drip(found["drip"]))
        for kind in KINDS[4:]:
            for number in range(RUDE_OF_A_KIND):
                self.start(self.reset_or_end(kind, number))

    async def finish(self) -> None:
        """End all that is open; raise what went wrong on the way."""
        for task in self.tasks:
            task.cancel()
        said = await asyncio.gather(*self.tasks, return_exceptions=True)
        left = [asker for asker in self.askers if asker.transport is not None]
        for asker in left:
            if asker.transport is not None:
                asker.transport.abort()
        await asyncio.gather(*(asker.gone.wait() for asker in left))
        assert [one for one in said if isinstance(one, Exception)] == []


def files_of(service: Service) -> int:
    return len(os.listdir(f"/proc/{service.process.pid}/fd"))


def memory_of(service: Service) -> int:
    """Resident kilobytes."""
    pages = int(Path(f"/proc/{service.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def cpu_of(service: Service) -> float:
    """Seconds of CPU so far."""
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        pytest.skip(f"needs {FILES} open files, and the system allows {hard}: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def few_connections(load: Load) -> float:
    """How many there are once those that never read are gone, or how many are left after a while."""
    deadline = load.watch.seconds + PATIENT_S
    while True:
        found = await load.look()
        if found <= HONEST + RUDE_OF_A_KIND / 3 or load.watch.seconds > deadline:
            return found


async def story(load: Load) -> dict[str, object]:
    """What happens, and what is to be told of it."""
    service, told = load.service, {}
    honest_ones = await load.many("honest", HONEST, "127.1.0", PER_CLIENT)
    load.asking = load.start(load.keep_asking(honest_ones))
    load.start(load.keep_asking_by_datagram())
    load.start(load.watch_connections())
    await load.be_rude()
    cpu, at = cpu_of(service), time.monotonic()
    await asyncio.sleep(SETTLED_S)
    await load.until(lambda: all(load.ended[kind] == RUDE_OF_A_KIND for kind in KINDS[:3]), "rude ones to be ended")
    await load.until(lambda: load.half_served > RUDE_OF_A_KIND, "those that end their half to be served")
    await load.until(lambda: len(load.latencies) > load.staying() * 5, "five answers for each honest one")
    told["cpu share"] = round((cpu_of(service) - cpu) / (time.monotonic() - at), 2)
    told["memory under load, kB"] = memory_of(service)
    told["rude ones ended by the service"] = {kind: load.ended[kind] for kind in KINDS[:3]}
    load.undisturbed.clear()
    told["connections then"] = await few_connections(load)
    load.undisturbed.set()
    before = len(load.latencies)
    greedy = await load.many("greedy", 3 * PER_CLIENT, "127.3.0", 3 * PER_CLIENT)
    for asker in greedy:
        asker.ask()
    await load.until(lambda: all(one.got or one.transport is None for one in greedy), "greedy ones to be served or not")
    told["greedy that are served"] = sum(one.got for one in greedy)
    await load.come_as_a_crowd()
    late = await load.many("late", 50, "127.9.0", PER_CLIENT)
    for asker in late:
        asker.ask()
    await asyncio.sleep(2 * ASKS_EVERY_S)
    await load.until(lambda: sum(one.got for one in late) == len(late), "late ones to be served")
    told["late ones served"] = sum(one.got for one in late)
    told["answers in the crowd"] = len(load.latencies) - before
    told["honest that stay"] = load.staying()
    told["honest ended in time"] = sum(one.transport is None and not one.early for one in honest_ones)
    load.asking.cancel()
    await load.until(lambda: not any(one.asked and one.transport for one in honest_ones), "the last answers")
    return told


async def told_by(load: Load) -> dict[str, object]:
    try:
        return await story(load)
    finally:
        await load.finish()


def milliseconds(seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100)
    return f"p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms of {len(seconds)}"


@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("many_files")
def test_the_others_are_served_and_the_bounds_hold(tmp_path: Path) -> None:
    with in_thread(large) as upstream, contextlib.ExitStack() as stack:
        service = stack.enter_context(
            serve(tmp_path, upstreams=[upstream.address], entries=["listed.test"], more=LIMITS)
        )
        files, memory = files_of(service), memory_of(service)
        load = Load(service)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            told = runner.run(told_by(load))
        service.until("/metrics", lambda body: service.metric("connections", body) == 0)
        print(f"\nanswers over TCP: {milliseconds(load.latencies)}; over UDP: {milliseconds(load.datagrams)}")
        print(told, f"most at once {load.most_seen:.0f}, half-closed and served {load.half_served}", dict(load.refused))
        print(f"{load.watch.waited:.1f} s of waits for a processor, {load.half_lost} half-closed and lost in the crowd")
        print(f"memory before {memory} kB, after {memory_of(service)} kB; files {files} and {files_of(service)}")
        assert told["honest that stay"] + told["honest ended in time"] == HONEST, "ended although they asked in time"
        assert len(load.latencies) > told["honest that stay"] * 5
        assert statistics.quantiles(load.latencies, n=100)[98] < 1.0
        assert load.lost == 0
        assert max(load.datagrams) < 2.0
        assert all(load.ended[kind] == RUDE_OF_A_KIND for kind in ("silent", "half", "drip"))
        # One that does not read does not see its end; the service has none of them left.
        assert told["connections then"] <= HONEST + RUDE_OF_A_KIND / 3
        assert load.half_served > RUDE_OF_A_KIND
        assert load.half_lost < load.half_served / 2
        assert told["greedy that are served"] == PER_CLIENT
        assert told["late ones served"] == 50
        assert load.most_seen <= MOST
        # Where half a crowd takes longer to come than one may be idle, they are never there together.
        assert load.crowd_seen or load.crowd_too_slow
        assert files_of(service) < files + 50
        # What 7,000 connections took stays with the heap for the next ones; a second crowd takes no more.
        assert memory_of(service) < memory + 120_000
        assert "event loop" not in service.said
