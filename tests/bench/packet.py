"""`python -m tests.bench.packet`: instructions and system calls that one query costs the service.

Rules:
- The whole service runs, with LISTED names. The same number of questions is asked twice: the first time makes
  everything ready, the second is measured.
- Instructions are callgrind's: they depend neither on the machine nor on who else uses it. They are of the process,
  not of the kernel; the service's own work in that time is among them. Under valgrind it is some fifty times slower.
- System calls are strace's, of all threads. A service that is slowed down finds more packets waiting, so batches are at
  least as full as without strace: a lower bound.
"""

import argparse
import contextlib
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench import load, names, subjects
from tests.bench.load import Cores
from tests.journeys import running
from tests.peers import servers

LISTED = 10_000
KINDS = ("blocked", "cached", "miss")
_ASK_S = 120.0
# A batch of the engine's; more would be lost while valgrind slows the service down.
_OUTSTANDING = 64


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status is 2 where a tool is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.packet", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--engine", default="", help="[listen] engine, where this build has it")
    parser.add_argument("--over", choices=("udp", "tcp"), default="udp")
    arguments = parser.parse_args(argv)
    absent = [one for one in ("valgrind", "strace", "dnsperf", "nsd") if servers.find(one) is None]
    if absent:
        sys.stderr.write(f"missing: {', '.join(absent)}\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        folder, cores, listed = Path(name), Cores(1), names.listed(LISTED)
        files = {
            kind: [_questions(folder, kind, number, arguments.queries, listed) for number in (0, 1)] for kind in KINDS
        }
        upstream = stack.enter_context(subjects.nsd(folder, cores))
        callgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind.out.%p"]
        for tool, before, measured in (("system calls", [], _calls), ("instructions", callgrind, _instructions)):
            place = folder / tool.replace(" ", "-")
            with subjects.service(place, upstream, listed, cores, arguments.engine, before=before) as service:
                for kind, (first, second) in files.items():
                    _ask(service, first, arguments.over)
                    with measured(folder, service.process.pid) as told:
                        _ask(service, second, arguments.over)
                    print(f"{kind}, {tool} a query: {_shown(told, arguments.queries)}", flush=True)
    return 0


def _questions(folder: Path, kind: str, number: int, count: int, listed: Sequence[str]) -> Path:
    path = folder / f"{kind}-{number if kind == 'miss' else 0}"
    if kind == "blocked":
        names.write_blocked(path, listed, count)
    elif kind == "cached":
        names.write_cached(path, count)
    else:
        names.write_miss(path, count, number)
    return path


def _ask(service: running.Service, questions: Path, over: str) -> None:
    command = [*Cores(1).ask, servers.find("dnsperf") or "dnsperf"]
    run = load.dnsperf(
        command, service.dns, (), questions, _ASK_S, over=over, once=True, patience=60, outstanding=_OUTSTANDING
    )
    if run.lost or run.wrong:
        raise AssertionError(f"{questions.name}: {run.lost:.2%} lost, {run.wrong:.2%} wrong")


Told = dict[str, int]


@contextmanager
def _calls(folder: Path, pid: int) -> Iterator[Told]:
    """Counts the system calls of a process, by name."""
    told: Told = {}
    out = folder / "strace"
    with subprocess.Popen(["strace", "-c", "-f", "-p", str(pid), "-o", str(out)], stderr=subprocess.PIPE) as strace:
        assert strace.stderr
        while b"attached" not in strace.stderr.readline():
            assert strace.poll() is None
        yield told
        strace.send_signal(signal.SIGINT)
        strace.communicate()
    told |= read_strace(out.read_text())


def read_strace(said: str) -> Told:
    """Calls by name, of the table that `strace -c` prints."""
    rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$", said, re.MULTILINE)
    return {name: int(count) for count, name in rows if name != "total"}


@contextmanager
def _instructions(folder: Path, pid: int) -> Iterator[Told]:
    """Counts the instructions of a process that runs under callgrind."""
    told: Told = {}
    _control("--zero", pid)
    yield told
    before = set(folder.glob("callgrind.out.*"))
    _control("--dump", pid)
    (made,) = set(folder.glob("callgrind.out.*")) - before
    told |= read_callgrind(made.read_text())


def _control(order: str, pid: int) -> None:
    """Have callgrind do what it is told; it answers once that is done."""
    done = subprocess.run(["callgrind_control", order, str(pid)], capture_output=True, text=True, check=True)
    if "OK." not in done.stdout:
        raise AssertionError(f"callgrind_control {order}: {done.stdout}{done.stderr}")


def read_callgrind(said: str) -> Told:
    """Instructions, of a dump of callgrind's."""
    found = re.findall(r"^(?:summary|totals): (\d+)", said, re.MULTILINE)
    assert found, said[:200]
    return {"instructions": int(found[0])}


def _shown(told: Told, queries: int) -> str:
    most = sorted(told.items(), key=lambda one: -one[1])
    return ", ".join(f"{name} {count / queries:,.3f}" for name, count in most if count / queries >= 0.0005)


if __name__ == "__main__":
    sys.exit(main())
