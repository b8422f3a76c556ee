"""`python -m tests.bench`: what a query costs the service, the peers and the floors in C, in one run.

Rules (README.md says what is measured and how to read it):
- Loopback only. Rounds are interleaved: each asks every subject every workload once, and a ratio is taken within its
  round. After each run a sample of its answers is looked into; a wrong one is shown beside the figures.
- What is not installed, or does not fit into memory, is named.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import check, core_alone, load, names, peers, ratios, report, starts, subjects
from tests.bench.load import PROXY_V2, Cores
from tests.bench.questions import FEWER, Questions
from tests.bench.subjects import FLOOR, RELAY, Subject
from tests.bench.workloads import WORKLOADS, Workload
from tests.journeys import running
from tests.peers import servers
from tests.peers.servers import Server

# Enough for all names that are kept, at a millisecond each.
WARM_S = 20.0
# Above this load average something else takes part.
_BUSY = 0.5
# Of a run's first questions a sample is asked again.
_SAMPLED = 2000
# What a run takes beside its load: warming, starting dnsperf, the sample.
_BESIDE_S = 1.0


@dataclass
class Bench:
    """One run of the bench: what it is told, what it runs, what it finds."""

    arguments: argparse.Namespace
    folder: Path
    listed: Sequence[str]
    found: report.Found
    cores: Cores
    each: list[Subject] = field(default_factory=list)
    warmed: set[tuple[str, str]] = field(default_factory=set)

    def start(self, stack: contextlib.ExitStack) -> running.Service:
        """Start all subjects; returns the service that has the whole list."""
        upstream = stack.enter_context(subjects.nsd(self.folder, self.cores))
        self._start_floors(stack, upstream)
        count, few = f"{len(self.listed):,} names", self.listed[:FEWER]
        if len(few) < len(self.listed):
            self._start_service(stack, f"this service, {len(few):,} names", few, upstream, few=True)
        self._start_service(stack, f"this service, {count}, PROXY v2", self.listed, upstream, proxied=True)
        service = self._start_service(stack, f"this service, {count}", self.listed, upstream)
        given = peers.Given(self.folder, upstream, self.listed, self.cores)
        for peer in peers.PEERS:
            if not self.arguments.peers or peer.key in self.arguments.peers:
                self._start_peer(stack, peer, given)
        return service

    def _start_floors(self, stack: contextlib.ExitStack, upstream: Server) -> None:
        floor, relay = (str(subjects.compiled(self.folder, name)) for name in ("floor", "relay"))
        serve = self.cores.serve
        self.each += [
            stack.enter_context(subjects.in_c(FLOOR, [*serve, floor], ("blocked", "cached"))),
            stack.enter_context(subjects.in_c(RELAY, [*serve, relay, str(upstream.port)], ("miss",))),
        ]

    def _start_service(
        self,
        stack: contextlib.ExitStack,
        name: str,
        listed: Sequence[str],
        upstream: Server,
        *,
        few: bool = False,
        proxied: bool = False,
    ) -> running.Service:
        tell(name)
        began, place = time.monotonic(), self.folder / name.replace(" ", "-")
        service = stack.enter_context(
            subjects.service(place, upstream, listed, self.cores, self.arguments.engine, proxied=proxied)
        )
        self.found.start_s[name] = time.monotonic() - began
        over = ("proxy",) if proxied else ("udp", "tcp")
        pids = (service.process.pid,)
        self.each.append(Subject(name=name, port=service.dns, pids=pids, over=over, few=few, ours=not few))
        return service

    def _start_peer(self, stack: contextlib.ExitStack, peer: peers.Peer, given: peers.Given) -> None:
        if absent := peers.missing(peer):
            self.found.left_out.append(f"{peer.name}: not installed ({', '.join(absent)}; Debian's {peer.package})")
            return
        wanted, free = peer.bytes_a_name * len(self.listed), load.free_bytes()
        if wanted > 0.8 * free:
            self.found.left_out.append(f"{peer.name}: takes about {wanted / 1e9:.1f} GB; {free / 1e9:.1f} GB are free")
            return
        tell(peer.name)
        began = time.monotonic()
        try:
            self.each += stack.enter_context(peer.start(peer.name, servers.find(peer.programs[0]) or "", given))
        except AssertionError as error:
            self.found.left_out.append(f"{peer.name}: did not start: {str(error)[-300:]}")
            return
        self.found.start_s[peer.name] = time.monotonic() - began
        self.found.versions[peer.name] = peers.version(peer)

    def run_round(self, number: int, workloads: Sequence[Workload], questions: Questions) -> None:
        """Every workload, and for each every subject that does it."""
        self.warmed.clear()
        for workload in workloads:
            able = {subject.name: subject for subject in self.each if subject.does(workload)}
            for name in ratios.in_turn([*able], number):
                self._run(workload, able[name], number, questions)

    def _run(self, workload: Workload, subject: Subject, number: int, questions: Questions) -> None:
        text = questions.text(workload, subject, number)
        if workload.warm and not subject.is_floor and (subject.name, workload.over) not in self.warmed:
            self.warmed.add((subject.name, workload.over))
            self._ask(workload, subject, questions.every_cached, questions, seconds=WARM_S, once=True)
        rate = workload.rate
        if workload.half_of:
            rate = int(self.found.runs[workload.half_of][subject.name][number].per_second / 2)
        run = self._ask(workload, subject, text, questions, self.arguments.seconds, once=workload.once, rate=rate)
        wrong = 0
        if subject.name != FLOOR:
            wrong = check.wrong(
                subject.port, list(names.read(text, _SAMPLED)), workload.over, edns=questions.edns, seed=number
            )
        self.found.add(workload.name, subject.name, number, run, wrong)

    def _ask(
        self,
        workload: Workload,
        subject: Subject,
        text: Path,
        questions: Questions,
        seconds: float,
        *,
        once: bool,
        rate: int = 0,
    ) -> load.Run:
        """A run with the questions of a file, over the workload's transport; at no rate in a closed loop."""
        if rate or workload.over == "proxy":
            header = PROXY_V2 if workload.over == "proxy" else b""
            wire = questions.wire(text, header, checked=subject.name != FLOOR)
            program = [*self.cores.ask, str(self.folder / "ask")]
            return load.ask(program, subject.port, subject.pids, wire, seconds, rate=rate, header=len(header))
        return load.dnsperf(
            [*self.cores.ask, servers.find("dnsperf") or "dnsperf"],
            subject.port,
            subject.pids,
            text,
            seconds,
            over=workload.over,
            once=once,
            edns=questions.edns,
            spread=self.cores.threads > 1,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status is 2 where the load generator, the upstream or the compiler is missing."""
    arguments = _parser().parse_args(argv)
    absent = [one for one in ("dnsperf", "nsd", "cc") if servers.find(one) is None]
    if absent:
        tell(f"missing: {', '.join(absent)}; `make peers` installs what is needed")
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        found = measure(arguments, Path(folder))
    print(report.table(found))
    if arguments.out:
        report.write(found, arguments.out)
        tell(f"written: {arguments.out}/bench.txt, bench.json and bench.svg")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of load for each subject, workload and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=1, help="of each subject that can have more than one")
    parser.add_argument(
        "--engine", default="", help="[listen] engine, where this build has it; its default if left out"
    )
    parser.add_argument("--edns", action="store_true", help="every query has an OPT record")
    parser.add_argument("--peers", nargs="*", default=[], choices=[peer.key for peer in peers.PEERS])
    parser.add_argument("--workloads", nargs="*", default=[], help="those whose names contain one of these words")
    parser.add_argument("--out", type=Path, help="a folder for the table, all figures as JSON, and a picture")
    return parser


def measure(arguments: argparse.Namespace, folder: Path) -> report.Found:
    """All figures of one run."""
    tell(f"drawing {arguments.names:,} names")
    listed = names.listed(arguments.names)
    found = report.Found(settings={key: value for key, value in vars(arguments).items() if key != "out"})
    cores, load_average = Cores(arguments.threads), os.getloadavg()[0]
    if load_average > _BUSY:
        found.notes.append(f"the machine is busy: load average {load_average:.1f} before the start")
    if cores.are_shared:
        found.notes.append(
            f"{cores.threads} threads on {cores.count} cores: the load shares them, so CPU a query holds waits"
        )
    if arguments.engine and not subjects.has_engine():
        found.notes.append("this build has no [listen] engine and threads: the service has one thread of asyncio")
    wanted = [
        one for one in WORKLOADS if not arguments.workloads or any(word in one.name for word in arguments.workloads)
    ]
    tell("the core alone")
    found.core_us = core_alone.measure(listed[:FEWER], min(arguments.seconds, 2.0))
    subjects.compiled(folder, "ask")
    with contextlib.ExitStack() as stack:
        bench = Bench(arguments, folder, listed, found, cores)
        service = bench.start(stack)
        runs = arguments.rounds * sum(subject.does(one) for subject in bench.each for one in wanted)
        tell(f"{runs} runs, about {runs * (arguments.seconds + _BESIDE_S) / 60:.0f} minutes")
        for number in range(arguments.rounds):
            tell(f"round {number + 1} of {arguments.rounds}")
            bench.run_round(number, wanted, Questions(folder, listed, arguments.seconds, arguments.edns))
        found.ours = [subject.name for subject in bench.each if subject.ours]
        found.resident_mb = {one.name: load.resident_bytes(one.pids[0]) / 1e6 for one in bench.each}
        tell("a new serial, and a start with the saved image")
        first, *others = subjects.parts(listed)
        if others:
            found.notes.append(f"the service has the names as {len(others) + 1} lists: one would be too long")
        found.lists_s["new serial: signed file to in force"] = starts.swap(service, first)
        found.lists_s["start with saved image to first answer"] = starts.restart(service, first[-1], cores)
    return found


def tell(text: str) -> None:
    """Say what goes on; the table alone goes to stdout."""
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
