"""`python -m tests.bench.packet`: system calls that one query costs the service.

Rules:
- The whole service runs, with LISTED names. The same number of questions is asked twice: the first time makes
  everything ready, the second is measured.
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
# A batch of the engine's.
_OUTSTANDING = 64


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status is 2 where a tool is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.packet", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--engine", default="", help="[listen] engine, where this build has it")
    parser.add_argument("--over", choices=("udp", "tcp"), default="udp")
    arguments = parser.parse_args(argv)
    absent = [one for one in ("strace", "dnsperf", "nsd") if servers.find(one) is None]
    if absent:
        sys.stderr.write(f"missing: {', '.join(absent)}\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        folder, cores, listed = Path(name), Cores(1), names.listed(LISTED)
        files = {
            kind: [_questions(folder, kind, number, arguments.queries, listed) for number in (0, 1)] for kind in KINDS
        }
        upstream = stack.enter_context(subjects.nsd(folder, cores))
        with subjects.service(folder / "service", upstream, listed, cores, arguments.engine) as service:
            for kind, (first, second) in files.items():
                _ask(service, first, arguments.over)
                with _calls(folder, service.process.pid) as told:
                    _ask(service, second, arguments.over)
                print(f"{kind}, system calls a query: {_shown(told, arguments.queries)}", flush=True)
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


def _shown(told: Told, queries: int) -> str:
    most = sorted(told.items(), key=lambda one: -one[1])
    return ", ".join(f"{name} {count / queries:,.3f}" for name, count in most if count / queries >= 0.0005)


if __name__ == "__main__":
    sys.exit(main())
