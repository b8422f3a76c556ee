"""What attacks on an edge do to DNS over UDP.

    python -m tests.bench.siege [--rounds 3] [--seconds 4] [--attacks "rapid reset" ...]

The service answers UDP at half of its peak or at `--rate`, half of it for listed names, in turns with nothing beside it
and with each attack on its edge (siege_attack.py). A program that only takes what CPU is left shows what of a loss is
the machine's.

Rules:
- Loopback only, which the limits of a prefix spare: an attack is of one client, and as free as one of thousands.
- The attacker runs on the service's core, and only while that has nothing else to do (SCHED_IDLE): on the core of the
  load that measures DNS, each of its steps would be a pause of the load. What an attack needs before, its connections
  for one, it prepares on any core, before anything is measured.
- Every DNS answer is looked into (ask.c). Beside each attack the edge is asked over DoT, and it is shown how long that
  took; after the attack it must answer. Its memory after the last round is held against that after the first.
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.message
import dns.query

from tests.bench import load, names, ratios, subjects
from tests.bench.__main__ import tell
from tests.bench.encrypted import with_edge
from tests.bench.load import Cores, Run
from tests.bench.ratios import paired, shown, spread
from tests.bench.siege_attack import ATTACKS, IDLE_CONNECTIONS, PREPARED
from tests.journeys import edges, running
from tests.journeys.running import HOST, PAGE_V4
from tests.peers import servers

QUIET, IDLE = "nothing", "idle work"
NEEDED = ("cc", "chrt", "dnsperf", "nsd")
LISTED = 10_000
P99_BAR, GREW_BAR = 1.10, 1.25
NEEDED_FILES = 17_000
"""An edge has places for 0.4 of its file descriptors at each port; beyond 3/4 of them it hurries who is idle."""
_BEFORE_S, _AFTER_S = 0.5, 0.5
_PEAKS = 3
_WARM_S = 20.0
_ANSWERS_S = 30.0
_LATE = 0.01


@dataclass
class Found:
    """DNS by what ran beside it, then by round; how much of each attack there was; the edge's memory after each round.

    dot_ms: of answers over DoT beside each attack; those that did not come are None. held: the edge's memory meanwhile.
    """

    dns: dict[str, dict[int, Run]] = field(default_factory=dict)
    attacked: dict[str, list[int]] = field(default_factory=dict)
    dot_ms: dict[str, list[float | None]] = field(default_factory=dict)
    resident: list[int] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)
    rate: int = 0
    amiss: list[str] = field(default_factory=list)


@dataclass
class Siege:
    """One run."""

    arguments: argparse.Namespace
    folder: Path
    cores: Cores
    listed: Sequence[str]
    service: running.Service
    edge: "subprocess.Popen[bytes]"
    place: edges.Place
    found: Found = field(default_factory=Found)

    def run(self) -> None:
        """Ask at half of the peak, in turns beside each."""
        dnsperf, ask = [*self.cores.ask, servers.find("dnsperf") or "dnsperf"], [*self.cores.ask, f"{self.folder}/ask"]
        port, pids, seconds = self.service.dns, (self.service.process.pid,), self.arguments.seconds
        every = self.folder / "every-cached"
        names.write_every_cached(every)
        load.dnsperf(dnsperf, port, pids, every, _WARM_S, once=True)
        few = self._questions(200_000)
        rate = self.arguments.rate
        if not rate:
            peaks = [load.dnsperf(dnsperf, port, pids, few, 2.0).per_second for _ in range(_PEAKS)]
            rate = int(spread(peaks).median / 2)
        self.found.rate = rate
        text, wire = self._questions(int(rate * (seconds + 1))), self.folder / "wire"
        names.write_wire(wire, text, PAGE_V4, b"", edns=False, checked=True)
        beside = [QUIET, IDLE, *(self.arguments.attacks or ATTACKS)]
        for number in range(self.arguments.rounds + 1):
            for name in ratios.in_turn(beside, number):
                tell(f"round {number} of {self.arguments.rounds}: beside {name}")
                with self._beside(name, seconds):
                    run = load.ask(ask, port, pids, wire, seconds, rate=rate, header=0)
                if run.wrong or run.lost:
                    self.found.amiss.append(f"beside {name}: {run.wrong:.3%} wrong, {run.lost:.3%} lost")
                if number:
                    self.found.dns.setdefault(name, {})[number] = run
                self.until_it_answers(name)
            self.found.resident.append(load.resident_bytes(self.edge.pid))

    def _questions(self, count: int) -> Path:
        path, parts = self.folder / f"questions-{count}", [self.folder / name for name in ("blocked", "cached")]
        names.write_blocked(parts[0], self.listed, count // 2)
        names.write_cached(parts[1], count // 2)
        with path.open("w") as file, parts[0].open() as blocked, parts[1].open() as cached:
            for pair in zip(blocked, cached, strict=True):
                file.writelines(pair)
        return path

    @contextmanager
    def _beside(self, name: str, seconds: float) -> Iterator[None]:
        if name == QUIET:
            yield
            return
        if name == IDLE:
            before = ["chrt", "--idle", "0", *self.cores.serve]
            with subprocess.Popen([*before, "sh", "-c", "while :; do :; done"]) as loop:
                try:
                    yield
                finally:
                    loop.kill()
            return
        ports = [str(one) for one in (self.place.ports[key] for key in ("tls", "https", "quic"))]
        words = ["-m", "tests.bench.siege_attack", name, HOST, *ports, str(seconds + _BEFORE_S + _AFTER_S)]
        with attacking([sys.executable, *words], self.service_cores()) as said:
            threading.Event().wait(_BEFORE_S)
            yield
            held = load.resident_bytes(self.edge.pid)
            self.found.held[name] = max(self.found.held.get(name, 0), held)
            self.found.dot_ms.setdefault(name, []).append(self.over_dot(5.0))
        self.found.attacked.setdefault(name, []).append(said["count"])

    def service_cores(self) -> set[int]:
        """Return the cores that the service runs on."""
        return os.sched_getaffinity(self.service.process.pid)

    def over_dot(self, seconds: float) -> float | None:
        """Ask for a listed name over DoT; return the milliseconds that it took, None for no answer."""
        query, began = dns.message.make_query(self.listed[0], "A"), time.monotonic()
        try:
            place = self.place
            said = dns.query.tls(
                query, HOST, seconds, port=place.ports["tls"], server_hostname=edges.NAME, verify=str(place.ca)
            )
        except (OSError, EOFError, dns.exception.DNSException):
            return None
        assert said.answer[0][0].to_text() == PAGE_V4
        return (time.monotonic() - began) * 1e3

    def until_it_answers(self, name: str) -> None:
        """Wait until the edge answers again; it must."""
        deadline = time.monotonic() + _ANSWERS_S
        while self.over_dot(2.0) is None:
            assert time.monotonic() < deadline, f"the edge does not answer after {name}"


@contextmanager
def attacking(command: Sequence[str], cores: set[int]) -> Iterator[dict[str, int]]:
    """Run an attack: prepare it, let it attack within the block, and leave in `said` what it has said at its end.

    When it is prepared it is moved to `cores`, and has only what others leave of them.
    """
    said: dict[str, int] = {}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        prepared = process.stdout.readline()
        assert prepared, f"the attack ended before it began: {process.wait()}"
        os.sched_setaffinity(process.pid, cores)
        os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
        process.stdin.write("begin\n")
        process.stdin.flush()
        yield said
    except BaseException:
        process.kill()
        raise
    finally:
        rest, _ = process.communicate()
    said.update(json.loads(rest))


def rows(found: Found) -> Iterator[str]:
    """The figures as lines."""
    yield f"DNS over UDP at {found.rate:,} a second, half of it blocked; us"
    for name, runs in found.dns.items():
        p50, p99 = (spread([getattr(run, which) for run in runs.values()]) for which in ("p50", "p99"))
        ratio, late = of_dns(found, name), max(run.late for run in runs.values())
        dot = found.dot_ms.get(name, [])
        more = f"; {min(found.attacked[name]):,} times and more" if name in found.attacked else ""
        if dot:
            said = ", ".join("none" if one is None else shown(one) for one in dot)
            more += f"; the edge has {found.held[name] / 1e6:.1f} MB; DoT meanwhile, ms: {said}"
        yield f"  beside {name}: p50 {p50}, p99 {p99}, p99 / beside nothing {ratio}, asked late {late:.1%}{more}"
    first, last = found.resident[0], found.resident[-1]
    yield f"the edge's memory: {first / 1e6:.1f} MB after the first round, {last / 1e6:.1f} MB after the last"


def of_dns(found: Found, name: str) -> ratios.Spread:
    """The ratios of p99 within each round: beside `name` to beside nothing."""
    both = [{number: run.p99 or 0.0 for number, run in found.dns[one].items()} for one in (name, QUIET)]
    ratio = paired(*both)
    assert ratio
    return ratio


def missed(found: Found) -> list[str]:
    """Return what is not as it should be, in words."""
    said = list(dict.fromkeys(found.amiss))
    for name in found.attacked:
        if (ratio := of_dns(found, name).median) > P99_BAR:
            idle = shown(of_dns(found, IDLE).median)
            said.append(f"p99 beside {name}: {shown(ratio)} ({IDLE}: {idle}); the bar is {shown(P99_BAR)}")
    for name in PREPARED:
        least = min(found.attacked.get(name, [IDLE_CONNECTIONS]))
        if least < IDLE_CONNECTIONS:
            said.append(f"{name}: {least:,} stood, not {IDLE_CONNECTIONS:,}")
    if found.resident[-1] > GREW_BAR * found.resident[0]:
        said.append(f"the edge's memory grew by more than {GREW_BAR - 1:.0%}")
    if any(run.late > _LATE for runs in found.dns.values() for run in runs.values()):
        said.append(f"more than {_LATE:.0%} was asked late: the latencies are the machine's")
    return said


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status is 1 where a bar is missed, 2 where a program is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.siege", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=4, help="of load for each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=0, help="of queries a second; without it, half of the peak")
    parser.add_argument("--attacks", nargs="*", choices=[*ATTACKS])
    arguments = parser.parse_args(argv)
    if absent := [one for one in NEEDED if servers.find(one) is None]:
        tell(f"missing: {', '.join(absent)}; Debian has them in gcc, util-linux, dnsperf and nsd")
        return 2
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files < NEEDED_FILES:
        tell(f"{IDLE_CONNECTIONS:,} connections need {NEEDED_FILES:,} file descriptors: raise `ulimit -Hn`")
        return 2
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before the start")
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        folder, cores, listed = Path(name), Cores(1), names.listed(LISTED)
        folder.chmod(0o755)
        subjects.compiled(folder, "ask")
        upstream = stack.enter_context(subjects.nsd(folder, cores))
        columns = (edges.DOT, edges.H2, edges.DOQ)
        started = stack.enter_context(with_edge(folder, upstream, listed, cores, columns))
        siege = Siege(arguments, folder, cores, listed, *started)
        siege.until_it_answers("its start")
        siege.run()
    print("\n".join(rows(siege.found)))
    for one in (amiss := missed(siege.found)):
        print(f"beware: {one}")
    return int(bool(amiss))


if __name__ == "__main__":
    sys.exit(main())
