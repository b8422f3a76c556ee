"""`python -m tests.bench.names_in_force`: from a signed file to a list in force, beside dnsmasq reading the same names.

Rules:
- Ours: a whole service that runs and is told to poll, by SIGHUP, once the signed files are in place. The clock stops at
  the first answer that blocks a name of the new list alone. `first`: there was no list before. `update`: a list is in
  force that has all names but each thousandth, and new entries are looked for.
- dnsmasq: from its start to the first answer with the page's address, at its fastest documented form for names with all
  that is below them: `address=/NAME/NAME/…/ADDRESS`, as many names on a line as it takes.
- The subjects take turns. Core time is user and system: of the service until it is at rest again, less what it takes at
  rest; of its children as the kernel adds them up. Peak memory is VmHWM of each process.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.bench import names
from tests.bench.watch import Watch, cpu_s, peak
from tests.fakes.upstream import in_thread
from tests.journeys.processes import Site, asked, came, exchange, hang_up, honest, query_for
from tests.journeys.running import HOST, PAGE_V4, Service, free_ports, stop
from tests.peers.servers import find

_BLOCKED = f"{PAGE_V4} EDE 4"
_TICK = os.sysconf("SC_CLK_TCK")
_REST_S = 1.5
_ASK_S = 0.005
_WAIT_S = 120.0
_CHILDREN = ("feed.fetch.tuf", "feed.names.compile")


class Took(NamedTuple):
    """Of one run: seconds by the clock, core time of the service and of its children, peak memory by process."""

    seconds: float
    own_s: float
    children_s: float
    peaks: dict[str, int]

    @property
    def cpu_s(self) -> float:
        """Core time of all processes."""
        return self.own_s + self.children_s


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status is 2 where dnsmasq is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.names_in_force", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(argv)
    dnsmasq = find("dnsmasq")
    if dnsmasq is None:
        sys.stderr.write("missing: dnsmasq; `make peers` installs what is needed\n")
        return 2
    listed = _spread(arguments.names)
    found: dict[str, list[Took]] = {}
    for number in range(arguments.rounds):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            for subject, took in one_round(Path(folder), listed, dnsmasq):
                found.setdefault(subject, []).append(took)
                _tell(f"round {number + 1}, {subject}", took)
    for subject, runs in found.items():
        peaks = {word: max(run.peaks[word] for run in runs) for word in runs[0].peaks}
        own, children = median(run.own_s for run in runs), median(run.children_s for run in runs)
        _tell(f"median, {subject}", Took(median(run.seconds for run in runs), own, children, peaks))
    peer = found.pop("dnsmasq")
    for subject, runs in found.items():
        clock = median(run.seconds / other.seconds for run, other in zip(runs, peer, strict=True))
        core = median(run.cpu_s / other.cpu_s for run, other in zip(runs, peer, strict=True))
        print(f"{subject} / dnsmasq: {clock:.2f} by the clock, {core:.2f} of core time")
    return 0


def _spread(count: int) -> list[str]:
    """Names of two to four labels: those of `names.listed`, some with a label less or more."""
    return [
        one if number % 3 == 1 else f"www{number % 97}.{one}" if number % 3 else one.replace(".", "-", 1)
        for number, one in enumerate(names.listed(count))
    ]


def one_round(folder: Path, listed: Sequence[str], dnsmasq: str) -> Iterator[tuple[str, Took]]:
    """Each subject once."""
    with in_thread(honest) as upstream:
        site = Site(folder, [upstream.address])
        with site.started(until="/healthz") as service:
            first, new = listed[0], "only-in-the-second.test"
            yield "first", _taken(site, service, lambda: site.publish(listed), first)
            others = [one for number, one in enumerate(listed) if number % 1000]
            yield "update", _taken(site, service, lambda: site.publish([*others, new]), new)
    yield "dnsmasq", _dnsmasq(folder, listed, dnsmasq)


def _taken(site: Site, service: Service, publish: Callable[[], object], name: str) -> Took:
    """What it takes until the service blocks a name of the list that `publish` signs."""
    assert asked(site.dns, name) != _BLOCKED
    publish()
    process = Path("/proc") / str(service.process.pid)
    resting = _at_rest(process)
    (process / "clear_refs").write_text("5")
    watch = Watch(_CHILDREN, service.process.pid)
    began, own, children = time.monotonic(), cpu_s(process), _children_s(process)
    with watch.over():
        hang_up(service)
        _until(lambda: asked(site.dns, name) == _BLOCKED)
        seconds = time.monotonic() - began
        _at_rest(process)
    spare = resting * (time.monotonic() - began)
    own, children = cpu_s(process) - own - spare, _children_s(process) - children
    return Took(seconds, own, children, {"service": peak(process), **watch.peaks})


def _at_rest(process: Path) -> float:
    """Wait, and return the share of a core that the process took meanwhile."""
    threading.Event().wait(_REST_S)
    before = cpu_s(process)
    threading.Event().wait(_REST_S)
    return (cpu_s(process) - before) / _REST_S


def _children_s(process: Path) -> float:
    return sum(map(int, (process / "stat").read_text().rpartition(")")[2].split()[13:15])) / _TICK


def _dnsmasq(folder: Path, listed: Sequence[str], path: str) -> Took:
    config = folder / "dnsmasq.conf"
    (port,) = free_ports(1)
    config.write_text(
        f"port={port}\nlisten-address={HOST}\nbind-interfaces\nno-resolv\nno-hosts\nuser=\npid-file=\ncache-size=0\n"
        + "".join(f"address=/{line}/{PAGE_V4}\n" for line in names.dnsmasq_lines(listed))
    )
    query, began = query_for(listed[-1]), time.monotonic()
    command = [path, "--keep-in-foreground", f"--conf-file={config}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as running:
        process = Path("/proc") / str(running.pid)
        try:
            _until(lambda: came(exchange(port, query, source=HOST)) == PAGE_V4)
            seconds = time.monotonic() - began
            return Took(seconds, cpu_s(process), 0.0, {"dnsmasq": peak(process)})
        finally:
            stop(running)


def _until(condition: Callable[[], bool]) -> None:
    deadline, pause = time.monotonic() + _WAIT_S, threading.Event()
    while time.monotonic() < deadline:
        with suppress(OSError):  # dnsmasq is not there yet.
            if condition():
                return
        pause.wait(_ASK_S)
    raise AssertionError(f"not in {_WAIT_S:.0f} s")


def _tell(what: str, took: Took) -> None:
    peaks = ", ".join(f"{word} {size / 2**20:.0f} MiB" for word, size in took.peaks.items())
    print(
        f"{what}: {took.seconds:.2f} s by the clock, {took.cpu_s:.2f} s of core time "
        f"(own {took.own_s:.2f}, children {took.children_s:.2f}); peak {peaks}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
