"""Load on a subject, and what it costs: CPU time of all its processes for each answered query.

Rules:
- Loopback only; each run is bounded in time, and each question of `miss` and `mixed` is asked once.
- CPU time is what the scheduler has given to every thread (schedstat, nanoseconds), user and system, children included.
- Servers run on the first cores, load and upstream on the others; where there are too few, they share, and it is said.
"""

import json
import os
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.journeys.running import HOST

_TICKS = os.sysconf("SC_CLK_TCK")
OUTSTANDING = 500
# Over TCP: connections, and 32 in flight on each.
STREAMS, STREAMED = 8, 256
# With more than one thread, sockets enough for SO_REUSEPORT to spread them.
SOCKETS = 32
# The load balancer's address, which alone may send a PROXY header, and the client that it names.
BALANCER, PROXIED = "127.0.0.2", "127.0.0.9"
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c" + bytes([127, 0, 0, 9, 127, 0, 0, 1, 0x30, 0x39, 0, 53])


@dataclass(frozen=True)
class Cores:
    """Which cores serve and which ask."""

    threads: int
    count: int = os.cpu_count() or 1

    @property
    def are_shared(self) -> bool:
        """Whether the load has no core of its own."""
        return self.count <= self.threads

    @property
    def serve(self) -> list[str]:
        """The command that keeps a server on its cores."""
        return ["taskset", "-c", f"0-{min(self.threads, self.count) - 1}"]

    @property
    def ask(self) -> list[str]:
        """The command that keeps the load, or the upstream, on the others."""
        return ["taskset", "-c", f"{0 if self.are_shared else self.threads}-{self.count - 1}"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: CPU microseconds a query, answers a second, the shares lost and wrong; microseconds of latency."""

    us: float
    per_second: float
    lost: float
    wrong: float
    p50: float | None = None
    p99: float | None = None
    late: float = 0.0


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and of its children; of those that have ended in ticks, for the kernel keeps no more."""
    spent = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15])) / _TICKS
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # A thread has just ended.
            spent += int((task / "schedstat").read_text().split()[0]) / 1e9
            spent += sum(map(cpu_seconds, map(int, (task / "children").read_text().split())))
    return spent


def family(pid: int) -> list[int]:
    """A process and all that it has started, as far as they run."""
    found = [pid]
    for one in found:
        with suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM (VmRSS)."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def free_bytes() -> int:
    """Memory that the system could still give."""
    found = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())
    return int(found[1]) * 1024 if found else 0


def dnsperf(
    command: Sequence[str],
    port: int,
    pids: Sequence[int],
    questions: Path,
    seconds: float,
    *,
    over: str = "udp",
    once: bool = False,
    edns: bool = False,
    spread: bool = False,
    patience: float = 1.0,
    outstanding: int = 0,
) -> Run:
    """A closed loop; `spread`: from SOCKETS sockets. After `patience` seconds a query is lost."""
    streams = over == "tcp"
    outstanding = outstanding or (STREAMED if streams else OUTSTANDING)
    words = [
        *(*command, "-s", HOST, "-p", str(port), "-d", str(questions), "-l", str(seconds), "-m", over),
        *("-q", str(outstanding), "-c", str(STREAMS if streams else SOCKETS if spread else 1)),
        *("-b", "4096", "-t", str(patience)),
        *(["-n", "1"] if once else []),
        *(["-e"] if edns else []),
    ]
    before = sum(map(cpu_seconds, pids))
    told = subprocess.run(words, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
    return read_dnsperf(told, sum(map(cpu_seconds, pids)) - before)


def read_dnsperf(told: str, spent: float) -> Run:
    """The run of which dnsperf has told; an answer whose code is not NOERROR is wrong."""
    completed, lost = (int(_number(told, f"Queries {what}")) for what in ("completed", "lost"))
    right = re.search(r"Response codes:.*?NOERROR (\d+)", told)
    return Run(
        us=spent / max(completed, 1) * 1e6,
        per_second=_number(told, "Queries per second"),
        lost=lost / max(completed + lost, 1),
        wrong=1 - int(right[1] if right else 0) / max(completed, 1),
    )


def _number(told: str, what: str) -> float:
    found = re.search(rf"{what}:\s+([\d.]+)", told)
    assert found, told
    return float(found[1])


def ask(
    command: Sequence[str], port: int, pids: Sequence[int], wire: Path, seconds: float, *, rate: int, header: int
) -> Run:
    """By ask.c, at a rate or in a closed loop (0); with a header it comes from the load balancer's address."""
    source = BALANCER if header else HOST
    words = [*command, str(port), source, str(wire), str(rate), str(seconds), str(header)]
    before = sum(map(cpu_seconds, pids))
    told = subprocess.run(words, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
    return read_ask(told, sum(map(cpu_seconds, pids)) - before)


def read_ask(told: str, spent: float) -> Run:
    """The run of which ask.c has told."""
    found = json.loads(told)
    asked, answered = max(found["asked"], 1), max(found["answered"], 1)
    return Run(
        us=spent / answered * 1e6,
        per_second=found["answered"] / found["seconds"],
        lost=(found["asked"] - found["answered"]) / asked,
        wrong=found["wrong"] / answered,
        p50=found["p50"],
        p99=found["p99"],
        late=found["late"] / asked,
    )
