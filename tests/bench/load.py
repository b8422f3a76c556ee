"""Load from dnsperf, and what it costs the server: CPU time of its whole process tree for each answered query."""

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.journeys.running import HOST

_TICKS = os.sysconf("SC_CLK_TCK")
OUTSTANDING = 500


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One run: CPU microseconds (user and system) a completed query, queries a second, the share lost."""

    us: float
    per_second: float
    lost: float
    rcodes: str


def pinned(core: int) -> list[str]:
    """The command that keeps another on one core; none where there is only one."""
    return ["taskset", "-c", str(core)] if (os.cpu_count() or 1) > 1 else []


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, of those it has waited for and of its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    own = sum(map(int, fields[11:15])) / _TICKS
    return own + sum(map(cpu_seconds, children(pid)))


def children(pid: int) -> list[int]:
    """The children of all threads of a process."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in found for child in path.read_text().split()]


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM (VmRSS)."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", text)
    assert found
    return int(found[1]) * 1024


def run(dnsperf: Sequence[str], port: int, pid: int, queries: Path, seconds: float) -> Cost:
    """Ask these questions, at most once each, closed loop with OUTSTANDING in flight."""
    command = [
        *dnsperf,
        *("-s", HOST, "-p", str(port), "-d", str(queries), "-n", "1"),
        *("-l", str(seconds), "-q", str(OUTSTANDING), "-b", "4096", "-t", "1"),
    ]
    before = cpu_seconds(pid)
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent = cpu_seconds(pid) - before
    completed = int(_number(told, "Queries completed"))
    lost = int(_number(told, "Queries lost"))
    rcodes = re.search(r"Response codes:\s+(.*)", told)
    return Cost(
        us=spent / max(completed, 1) * 1e6,
        per_second=_number(told, "Queries per second"),
        lost=lost / max(completed + lost, 1),
        rcodes=rcodes[1].strip() if rcodes else "",
    )


def _number(told: str, what: str) -> float:
    found = re.search(rf"{what}:\s+([\d.]+)", told)
    assert found, told
    return float(found[1])
