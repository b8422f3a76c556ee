"""What a visit to the page costs beside nginx with the same page, and what a flood of visits does to DNS.

    python -m tests.bench.page [--rounds 5] [--seconds 2]

First wrk visits the service's page and nginx in turns: the same body by gzip, the same status and headers, nginx with
its logs off. Then the service answers DNS at half of its peak, half of it for listed names, as when a list blocks by
mistake what everybody asks for; in turns with and without a flood of visits to its page. The same flood of nginx in the
same place, and a program that only takes what CPU is left, show what of a loss is the machine's.

Rules:
- Loopback only. Rounds are interleaved, a ratio is taken within its round, and shown is the median of the ratios.
- CPU time is that of all threads and children of the server, the service's whole process included; a visit is a whole
  response. Every response is looked into (visits.lua), and every DNS answer (ask.c).
- The service ends each connection after its response, whatever the visitor asks for; nginx is measured both ways.
- Loopback is spared the bounds of a prefix: the flood is of one client, and as free as one of thousands.
- The flood runs on the service's core, and only while that has nothing else to do (SCHED_IDLE): on the core of the load
  that measures DNS, each visit would be a pause of the load. nginx runs there too, with the priority that it has.
- DNS over TCP, `/readyz`, `/metrics` and the control socket are asked in both states, one after the other: how long
  each took, at the median and at most.
"""

import argparse
import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from resolver.page.show import STATUS
from tests.bench import beside, load, names, ratios, subjects
from tests.bench.__main__ import tell
from tests.bench.load import Cores
from tests.bench.ratios import Spread, paired, shown, spread
from tests.journeys import running
from tests.journeys.running import HOST
from tests.peers import servers

HERE = Path(__file__).parent
OURS, NGINX = "the page", "nginx"
NEEDED = ("cc", "chrt", "dnsperf", "nginx", "nsd", "wrk")
LISTED = 10_000
IDLE = "idle work"
FLOODS = (OURS, NGINX, IDLE)
"""What runs beside DNS: visits to the page, visits to nginx, or a loop without a system call."""

QUIET = ""
CONNECTIONS = 64
"""Open at the same time, by each load and by the flood."""

ASKED = {"Accept": "text/html", "Accept-Encoding": "gzip", "Accept-Language": "en"}
WAYS = {"closed": {**ASKED, "Connection": "close"}, "kept": ASKED}
OWN = {"connection", "date", "server"}
"""Headers in which the servers may differ."""

P99_BAR, GREW_BAR = 1.10, 1.01
_READY_S = 30.0
# The flood is there before the load on DNS and after it.
_BEFORE_S, _AFTER_S = 0.5, 0.5
_LATE = 0.01
# Runs whose median is the peak.
_PEAKS = 3
# Enough for the names that are kept, at a millisecond each.
_WARM_S = 20.0
# So many of each, in turns, so that they last as long as a run of the load.
_ASKED_BESIDE = 40

_NGINX = """
user root;
daemon off;
worker_processes {threads};
pid {place}/pid;
error_log /dev/null crit;
events {{ worker_connections 4096; multi_accept on; }}
http {{
  access_log off;
  server_tokens off;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=10 inactive=1h;
  open_file_cache_valid 1h;
  keepalive_requests 1000000;
  types {{ }}
  default_type "{kind}";
  server {{
    listen {host}:{port} backlog=1024;
    root {place};
    gzip_static on;
    etag off;
    max_ranges 0;
    add_header Last-Modified "" always;
    {headers}
    error_page {status} /page;
    location / {{ return {status}; }}
    location = /page {{ internal; }}
  }}
}}
"""


@dataclass(frozen=True)
class Response:
    """What one visitor has got; headers but those in which the servers may differ, names in lower case."""

    status: int
    headers: frozenset[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """A header's value; it is there."""
        return dict(self.headers)[name]


@dataclass(frozen=True)
class Visits:
    """What wrk tells of a run: whole responses, those among them that were not right, connections that failed."""

    count: int
    wrong: int
    failed: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Whole responses a second."""
        return self.count / self.seconds


@dataclass
class Found:
    """All figures: by way and server, then by round; of DNS by what ran beside it, then by round.

    beside: milliseconds of each thing that was asked, by what ran beside it and what was asked.
    """

    us: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)
    per_second: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)
    dns: dict[str, dict[int, load.Run]] = field(default_factory=lambda: {name: {} for name in (QUIET, *FLOODS)})
    flood: dict[str, list[float]] = field(default_factory=lambda: {OURS: [], NGINX: []})
    beside: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    resident: list[int] = field(default_factory=list)
    rate: int = 0
    said: int = 0
    amiss: list[str] = field(default_factory=list)

    def check(self, what: str, visits: Visits) -> None:
        """Note what was not as it must be."""
        if visits.wrong or visits.failed or not visits.count:
            self.amiss.append(f"{what}: {visits.count} visits, {visits.wrong} wrong, {visits.failed} failed")


def visit(port: int) -> Response:
    """One visit; the visitor closes first, as browsers do."""
    client = http.client.HTTPConnection(HOST, port, timeout=_READY_S)
    try:
        client.request("GET", "/some/path?q=1", headers=ASKED)
        got = client.getresponse()
        headers = ((name.lower(), value) for name, value in got.getheaders())
        return Response(got.status, frozenset(one for one in headers if one[0] not in OWN), got.read())
    finally:
        client.close()


@contextmanager
def nginx(folder: Path, page: Response, cores: Cores) -> Iterator[subjects.Subject]:
    """nginx that serves this response, from a file that it keeps open."""
    place, (port,) = folder / "nginx", running.free_ports(1)
    place.mkdir()
    for name in ("page", "page.gz"):
        (place / name).write_bytes(page.body)
    theirs = {"content-type", "content-length", "content-encoding"}
    lines = [f'add_header {name} "{value}" always;' for name, value in sorted(page.headers) if name not in theirs]
    text = _NGINX.format(
        threads=cores.threads,
        place=place,
        host=HOST,
        port=port,
        status=page.status,
        kind=page.header("content-type"),
        headers="\n    ".join(lines),
    )
    (place / "nginx.conf").write_text(text)
    command = [*cores.serve, servers.find("nginx") or "nginx", "-p", str(place), "-c", str(place / "nginx.conf")]
    with subprocess.Popen([*command, "-e", "/dev/null"]) as process:
        try:
            _until_it_answers(port)
            yield subjects.Subject(name=NGINX, port=port, pids=(process.pid,))
        finally:
            running.stop(process)


def _until_it_answers(port: int) -> None:
    deadline, pause = time.monotonic() + _READY_S, threading.Event()
    while True:
        with contextlib.suppress(ConnectionError):
            visit(port)
            return
        assert time.monotonic() < deadline, "nginx does not answer"
        pause.wait(0.02)


def wrk(port: int, seconds: float, way: str, body: Path, before: Sequence[str]) -> subprocess.Popen[str]:
    """Visits without pause, each response held against a body. wrk takes whole seconds."""
    headers = [word for name, value in WAYS[way].items() for word in ("-H", f"{name}: {value}")]
    command = [*before, servers.find("wrk") or "wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds:.0f}s"]
    words = [*headers, "-s", str(HERE / "visits.lua"), f"http://{HOST}:{port}/some/path?q=1", "--", str(STATUS)]
    return subprocess.Popen([*command, *words, str(body)], stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> Visits:
    """What a run of wrk measured, once it has ended."""
    told, _ = process.communicate()
    assert process.returncode == 0, told
    return read_wrk(told)


def read_wrk(told: str) -> Visits:
    """The run of which visits.lua has told, on its last line."""
    found = json.loads(told.strip().splitlines()[-1])
    return Visits(found["visits"], found["wrong"], found["failed"], found["seconds"])


@dataclass
class Bench:
    """One run: what it is told, what it runs, what it finds."""

    arguments: argparse.Namespace
    folder: Path
    cores: Cores
    listed: Sequence[str]
    found: Found = field(default_factory=Found)

    @property
    def body(self) -> Path:
        """The file with the body that visitors must get."""
        return self.folder / "body"

    def beside_nginx(self, each: dict[str, subjects.Subject]) -> None:
        """Visit both in turns, in each way."""
        for number in range(self.arguments.rounds + 1):
            tell(f"visits, round {number} of {self.arguments.rounds}" if number else "visits, to warm up")
            for way in WAYS:
                for name in ratios.in_turn([*each], number):
                    self._visits(each[name], way, number)

    def _visits(self, subject: subjects.Subject, way: str, number: int) -> None:
        before = sum(map(load.cpu_seconds, subject.pids))
        visits = ended(wrk(subject.port, self.arguments.seconds, way, self.body, self.cores.ask))
        spent = sum(map(load.cpu_seconds, subject.pids)) - before
        self.found.check(f"{subject.name}, {way}", visits)
        if number:  # The first warms all.
            self.found.us.setdefault((way, subject.name), {})[number] = spent / max(visits.count, 1) * 1e6
            self.found.per_second.setdefault((way, subject.name), {})[number] = visits.per_second

    def flooded(self, service: running.Service, each: dict[str, subjects.Subject]) -> None:
        """Ask DNS at half of its peak, in turns with nothing beside it and with each of FLOODS."""
        dnsperf, ask = [*self.cores.ask, servers.find("dnsperf") or "dnsperf"], [*self.cores.ask, f"{self.folder}/ask"]
        pids, seconds = (service.process.pid,), self.arguments.seconds
        every = self.folder / "every-cached"
        names.write_every_cached(every)
        load.dnsperf(dnsperf, service.dns, pids, every, _WARM_S, once=True)
        few = self._questions(200_000)
        peaks = [load.dnsperf(dnsperf, service.dns, pids, few, seconds).per_second for _ in range(_PEAKS)]
        rate = self.found.rate = int(spread(peaks).median / 2)
        text, wire = self._questions(int(rate * (seconds + 1))), self.folder / "wire"
        names.write_wire(wire, text, running.PAGE_V4, b"", edns=False, checked=True)
        for number in range(self.arguments.rounds + 1):
            tell(f"DNS at {rate:,}/s, round {number} of {self.arguments.rounds}" if number else "DNS, to warm up")
            for name in ratios.in_turn([*self.found.dns], number):
                with self._beside(name, each, number, seconds):
                    run = load.ask(ask, service.dns, pids, wire, seconds, rate=rate, header=0)
                if run.wrong or run.lost:
                    said = f"DNS beside {name or 'nothing'}: {run.wrong:.3%} wrong, {run.lost:.3%} lost"
                    self.found.amiss.append(said)
                if number:
                    self.found.dns[name][number] = run
            self.found.resident.append(sum(map(load.resident_bytes, load.family(service.process.pid))))

    def managed(self, service: running.Service, each: dict[str, subjects.Subject]) -> None:
        """Ask what is no UDP query, with and without a flood of visits."""
        for name in (QUIET, OURS):
            tell(f"other requests beside {name or 'nothing'}")
            with self._beside(name, each, 0, self.arguments.seconds), beside.Asking(service) as asking:
                for _ in range(_ASKED_BESIDE):
                    for what, took in asking.each():
                        self.found.beside.setdefault((name, what), []).append(took * 1e3)

    def _questions(self, count: int) -> Path:
        """So many questions as dnsperf reads them, every second one for a listed name, the others for a kept one."""
        path, parts = self.folder / f"questions-{count}", [self.folder / name for name in ("blocked", "cached")]
        names.write_blocked(parts[0], self.listed, count // 2)
        names.write_cached(parts[1], count // 2)
        with path.open("w") as file, parts[0].open() as blocked, parts[1].open() as cached:
            for pair in zip(blocked, cached, strict=True):
                file.writelines(pair)
        return path

    @contextmanager
    def _beside(self, name: str, each: dict[str, subjects.Subject], number: int, seconds: float) -> Iterator[None]:
        """Run one of FLOODS, or nothing."""
        seconds, before = seconds + _BEFORE_S + _AFTER_S, ["chrt", "--idle", "0", *self.cores.serve]
        if name == QUIET:
            yield
            return
        if name == IDLE:
            with subprocess.Popen([*before, "sh", "-c", "while :; do :; done"]) as loop:
                try:
                    yield
                finally:
                    loop.kill()
            return
        process = wrk(each[name].port, seconds, "closed", self.body, before)
        threading.Event().wait(_BEFORE_S)
        try:
            yield
        finally:
            visits = ended(process)
        self.found.check(f"flood of {name}", visits)
        if number:
            self.found.flood[name].append(visits.per_second)


def rows(found: Found) -> Iterator[str]:
    """The figures as lines."""
    for way in WAYS:
        yield f"connections {way}: {OURS} / {NGINX}: {paired(found.us[way, OURS], found.us[way, NGINX])}"
        for name in (OURS, NGINX):
            us, rate = (spread([*each[way, name].values()]) for each in (found.us, found.per_second))
            yield f"  {name}: CPU us a visit {us}; visits a second {rate}, a whole core's {shown(1e6 / us.median)}"
    yield f"DNS at {found.rate:,} a second, half of its peak, half of it blocked; us"
    for name, runs in found.dns.items():
        p50, p99 = (spread([getattr(run, which) for run in runs.values()]) for which in ("p50", "p99"))
        late = max(run.late for run in runs.values())
        yield f"  beside {name or 'nothing'}: p50 {p50}, p99 {p99}, asked late at most {late:.1%}"
    for name in FLOODS:
        yield f"  beside {name} / beside nothing: p50 {of_dns(found, 'p50', name)}, p99 {of_dns(found, 'p99', name)}"
    yield f"  beside {OURS} / beside {NGINX}: p99 {of_dns(found, 'p99', OURS, NGINX)}"
    for name, rates in found.flood.items():
        yield f"  visits a second of the flood of {name}: {spread(rates)}"
    for (name, what), took in found.beside.items():
        yield f"{what} beside {name or 'nothing'}: ms {statistics.median(took):.2f}, at most {max(took):.2f}"
    first, last = found.resident[0], found.resident[-1]
    yield f"memory: {first / 1e6:.1f} MB after the first round, {last / 1e6:.1f} MB after the last"
    yield f"written to stdout and stderr meanwhile: {found.said} octets"


def of_dns(found: Found, which: str, name: str, to: str = QUIET) -> Spread:
    """The ratios within each round: beside `name` to beside `to`."""
    both = [{number: getattr(run, which) for number, run in found.dns[one].items()} for one in (name, to)]
    ratio = paired(*both)
    assert ratio
    return ratio


def missed(found: Found) -> list[str]:
    """What is not as it should be, in words."""
    said = list(dict.fromkeys(found.amiss))
    if found.said:
        said.append(f"the service has written {found.said} octets")
    if found.resident[-1] > GREW_BAR * found.resident[0]:
        said.append(f"memory grew by more than {GREW_BAR - 1:.0%}")
    if (ratio := of_dns(found, "p99", OURS).median) > P99_BAR:
        found_and_bar = f"(nginx: {shown(of_dns(found, 'p99', NGINX).median)}); the bar is {shown(P99_BAR)}"
        said.append(f"p99 of DNS is {shown(ratio)} of that without a flood {found_and_bar}")
    if any(run.late > _LATE for runs in found.dns.values() for run in runs.values()):
        said.append(f"more than {_LATE:.0%} was asked late: the latencies are the machine's")
    return said


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status is 1 where a bar is missed, 2 where a program is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.page", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=int, default=2, help="of load for each run")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(argv)
    if absent := [one for one in NEEDED if servers.find(one) is None]:
        tell(f"missing: {', '.join(absent)}; Debian has them in gcc, dnsperf, nginx-light, nsd, util-linux and wrk")
        return 2
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before the start")
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        folder, cores, listed = Path(name), Cores(1), names.listed(LISTED)
        subjects.compiled(folder, "ask")
        upstream = stack.enter_context(subjects.nsd(folder, cores))
        service = stack.enter_context(subjects.service(folder / "service", upstream, listed, cores, ""))
        bench = Bench(arguments, folder, cores, listed)
        said = len(service.said)
        page = visit(service.page)
        bench.body.write_bytes(page.body)
        other = stack.enter_context(nginx(folder, page, cores))
        same = visit(other.port)
        assert same == page, f"nginx serves another page: {same.headers ^ page.headers}"
        ours = subjects.Subject(name=OURS, port=service.page, pids=(service.process.pid,))
        each = {one.name: one for one in (ours, other)}
        bench.beside_nginx(each)
        bench.flooded(service, each)
        bench.managed(service, each)
        bench.found.said = len(service.said) - said
    print("\n".join(rows(bench.found)))
    for one in (amiss := missed(bench.found)):
        print(f"beware: {one}")
    return int(bool(amiss))


if __name__ == "__main__":
    sys.exit(main())
