"""What a query costs over TLS and HTTPS, and what a handshake costs, beside dnsdist and Unbound.

    python -m tests.bench.encrypted [--rounds 5] [--seconds 2] [--names 10000]

dnsperf asks over DoT, h2load over DoH (HTTP/2), openssl makes handshakes; all of them ask the service with one edge,
dnsdist and Unbound in turns, each with the same certificate, the same list and the same upstream.

Rules:
- Loopback only. Rounds are interleaved, a ratio is taken within its round, and shown is the median of the ratios.
- CPU time is that of all threads and children of a server; of ours, of the service and of its edge together, and beside
  it of each alone.
- A handshake is a whole one of TLS 1.3 with an ECDSA certificate: no ticket is used.
- Of DoT each answer's code is looked at; of DoH each status. A sample of both is looked into before the first round.
"""

import argparse
import base64
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dns.message

from tests.bench import load, names, peers, ratios, subjects
from tests.bench.__main__ import tell
from tests.bench.load import Cores
from tests.bench.ratios import paired, shown, spread
from tests.journeys import edges, running
from tests.journeys.running import HOST, PAGE_V4
from tests.peers import servers

OURS, DNSDIST, UNBOUND = "this service and its edge", "dnsdist, CDB", "Unbound, RPZ"
SERVICE, EDGE = "the service alone", "the edge alone"
NEEDED = ("cdb", "dnsdist", "dnsperf", "h2load", "nsd", "openssl", "unbound")
QUESTIONS = ("cached", "blocked", "miss")
FURTHER = {"one connection": (1, 100), "one on each of 8 connections": (8, 8), "one at a time": (1, 1)}
"""Other ways to ask for what is cached: connections, and queries in flight together. The last is a wake-up a query."""
OVER_DOT = (*(f"DoT, {kind}" for kind in QUESTIONS), *(f"DoT, cached, {way}" for way in FURTHER))
DOT_BAR = 1.5
"""CPU of a query over DoT, beside dnsdist's."""

CONNECTIONS, STREAMS = 8, 32
"""Of DoH: connections, and requests in flight on each; of DoT dnsperf has load.STREAMS and load.STREAMED."""

HTTP_REQUESTS_A_SECOND = 3_000
"""h2load is given a number of requests, about a second's on a slow machine."""

MISSES_A_SECOND = 4_000
_PATIENCE_S = 5.0
_SAMPLE = 20

_DNSDIST = """
addTLSLocal('{host}:{tls}', '{certificate}', '{key}', {{reusePort=true}})
addDOHLocal('{host}:{https}', '{certificate}', '{key}', '/dns-query', {{reusePort=true}})
"""
_UNBOUND = """
server:
  interface: {host}@{tls}
  interface: {host}@{https}
  tls-port: {tls}
  https-port: {https}
  tls-service-pem: "{certificate}"
  tls-service-key: "{key}"
  incoming-num-tcp: 1000
  http-query-buffer-size: 64m
  http-response-buffer-size: 64m
"""


@dataclass(frozen=True)
class Server:
    """A server under load: its ports, and its processes by what they are called (one of "" alone, or each part)."""

    name: str
    tls: int
    https: int
    pids: Mapping[str, Sequence[int]]

    def spent(self) -> dict[str, float]:
        """CPU seconds so far, of each part."""
        return {part: sum(map(load.cpu_seconds, pids)) for part, pids in self.pids.items()}


@dataclass(frozen=True, kw_only=True)
class Done:
    """What came of a run: how many answers or handshakes, how many a second, the shares lost and wrong."""

    count: float
    per_second: float
    lost: float = 0.0
    wrong: float = 0.0


@dataclass
class Found:
    """CPU microseconds for each thing, by what was done and who did it, then by round; and how many a second."""

    us: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)
    per_second: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)
    amiss: list[str] = field(default_factory=list)

    def note(self, what: str, server: Server, number: int, before: Mapping[str, float], run: Done) -> None:
        """Note a run; the first only warms."""
        if run.lost or run.wrong:
            self.amiss.append(f"{what}, {server.name}: {run.lost:.3%} lost, {run.wrong:.3%} wrong")
        if not number:
            return
        spent = {part: after - before[part] for part, after in server.spent().items()}
        for part, seconds in spent.items():
            self.us.setdefault((what, part), {})[number] = seconds / run.count * 1e6
        self.us.setdefault((what, server.name), {})[number] = sum(spent.values()) / run.count * 1e6
        self.per_second.setdefault((what, server.name), {})[number] = run.per_second


def dot(
    command: Sequence[str],
    server: Server,
    questions: Path,
    seconds: float,
    *,
    once: bool = False,
    way: tuple[int, int] = (load.STREAMS, load.STREAMED),
) -> Done:
    """Ask over DoT in a closed loop; way: so many connections, and so many queries in flight on all of them."""
    connections, in_flight = way
    words = [
        *(*command, "-s", HOST, "-p", str(server.tls), "-d", str(questions), "-m", "dot", "-l", str(seconds)),
        *("-q", str(in_flight), "-c", str(connections), "-t", str(_PATIENCE_S), *(["-n", "1"] if once else [])),
    ]
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=seconds + 120).stdout
    run = load.read_dnsperf(said, 0.0)
    done = float(_found(r"Queries completed:\s+(\d+)", said))
    return Done(count=max(done, 1.0), per_second=run.per_second, lost=run.lost, wrong=run.wrong)


def doh(command: Sequence[str], server: Server, uris: Path, count: int) -> Done:
    """Ask over DoH by GET, so many requests."""
    words = [
        *(*command, "-n", str(count), "-c", str(CONNECTIONS), "-m", str(STREAMS), "-t", "1"),
        *("-i", str(uris), f"--base-uri=https://{HOST}:{server.https}"),
    ]
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=600).stdout
    good = float(_found(r"status codes: (\d+) 2xx", said))
    rate = float(_found(r"finished in [\d.]+m?s, ([\d.]+) req/s", said))
    return Done(count=max(good, 1.0), per_second=rate, lost=1 - good / count)


def handshakes(command: Sequence[str], server: Server, port: int, seconds: int) -> Done:
    """Make whole handshakes of TLS 1.3, one after the other."""
    words = [*command, "s_time", "-connect", f"{HOST}:{port}", "-new", "-tls1_3", "-time", str(seconds)]
    said = subprocess.run(words, capture_output=True, text=True, check=False, timeout=seconds + 60).stdout
    count = float(_found(r"(\d+) connections in \d+ real seconds", said))
    return Done(count=max(count, 1.0), per_second=count / seconds)


def _found(pattern: str, said: str) -> str:
    match = re.search(pattern, said)
    assert match, said
    return match[1]


def write_uris(path: Path, questions: Path) -> None:
    """Write the questions of a file of dnsperf's as targets of GET, without padding (RFC 8484 4.1)."""
    with questions.open() as file, path.open("w") as out:
        for line in file:
            name, kind = line.split()
            wire = dns.message.make_query(name, kind, id=0).to_wire()
            out.write(f"/dns-query?dns={base64.urlsafe_b64encode(wire).decode().rstrip('=')}\n")


def sample(server: Server, place: edges.Place, listed: Sequence[str]) -> None:
    """Ask a few names over both transports; what is listed must have the page's address, another its own."""
    there = edges.Place(folder=place.folder, ports={"tls": server.tls, "https": server.https}, ca=place.ca)
    known = [(name, PAGE_V4) for name in listed[:_SAMPLE]]
    known += [(f"c{at}.{names.ALLOWED}", names.ALLOWED_V4) for at in range(_SAMPLE)]
    for over in (edges.DOT, edges.H2):
        with edges.clients(there) as asking:
            for name, wanted in known:
                answer = dns.message.from_wire(asking.ask(over, dns.message.make_query(name, "A").to_wire()))
                assert answer.answer[0][0].to_text() == wanted, f"{server.name}: {answer}"


@dataclass
class Bench:
    """One run."""

    arguments: argparse.Namespace
    folder: Path
    cores: Cores
    listed: Sequence[str]
    found: Found = field(default_factory=Found)

    def questions(self, kind: str, number: int, count: int) -> Path:
        """Return a file for dnsperf; what is missed is asked once."""
        path = self.folder / f"{kind}{number if kind == 'miss' else ''}-{count}"
        if not path.exists():
            if kind == "miss":
                names.write_miss(path, count, number)
            elif kind == "blocked":
                names.write_blocked(path, self.listed, count)
            else:
                names.write_cached(path, count)
        return path

    def run(self, each: Mapping[str, Server]) -> None:
        """Ask each server in turns, over each transport."""
        seconds = self.arguments.seconds
        dnsperf, h2load, openssl = (
            [*self.cores.ask, servers.find(name) or name] for name in ("dnsperf", "h2load", "openssl")
        )
        every = self.folder / "every-cached"
        names.write_every_cached(every)
        for server in each.values():
            dot(dnsperf, server, every, 60.0, once=True)
        for number in range(self.arguments.rounds + 1):
            tell(f"round {number} of {self.arguments.rounds}" if number else "to warm up")
            for name in ratios.in_turn([*each], number):
                server = each[name]
                for kind in QUESTIONS:
                    some = int(seconds * (MISSES_A_SECOND if kind == "miss" else 100_000))
                    # Each server has its own misses of a round: they share an upstream, but no cache.
                    asked, before = self.questions(kind, number, some), server.spent()
                    once = kind == "miss"
                    run = dot(dnsperf, server, asked, 120.0 if once else seconds, once=once)
                    self.found.note(f"DoT, {kind}", server, number, before, run)
                for further, way in FURTHER.items():
                    asked, before = self.questions("cached", number, int(seconds * 100_000)), server.spent()
                    run = dot(dnsperf, server, asked, seconds, way=way)
                    self.found.note(f"DoT, cached, {further}", server, number, before, run)
                for kind in ("cached", "blocked"):
                    count = int(seconds * HTTP_REQUESTS_A_SECOND)
                    uris = self.folder / f"uris-{kind}"
                    if not uris.exists():
                        write_uris(uris, self.questions(kind, 0, 1000))
                    before = server.spent()
                    self.found.note(f"DoH, {kind}", server, number, before, doh(h2load, server, uris, count))
                for what, port in (("DoT", server.tls), ("DoH", server.https)):
                    before = server.spent()
                    run = handshakes(openssl, server, port, max(1, int(seconds)))
                    self.found.note(f"{what}, a handshake", server, number, before, run)


@contextmanager
def with_edge(
    folder: Path, upstream: servers.Server, listed: Sequence[str], cores: Cores, columns: Sequence[str]
) -> Iterator[tuple[running.Service, "subprocess.Popen[bytes]", edges.Place]]:
    """The service with one edge, both on the cores that serve."""
    own = folder / "edge"
    own.mkdir()
    place, table = edges.configured(own, columns)
    with (
        subjects.service(folder / "service", upstream, listed, cores, "", more=table) as service,
        edges.started(place, service.folder / "resolver.toml") as edge,
    ):
        subprocess.run(["taskset", "-apc", cores.serve[-1], str(edge.pid)], check=True, stdout=subprocess.DEVNULL)
        yield service, edge, place


@contextmanager
def dnsdist(place: edges.Place, given: peers.Given) -> Iterator[Server]:
    """dnsdist as peers.py sets it up, with TLS and HTTPS."""
    tls, https = running.free_ports(2)
    more = _DNSDIST.format(
        host=HOST, tls=tls, https=https, certificate=place.folder / "edge.pem", key=place.folder / "edge.key"
    )
    with peers.dnsdist(DNSDIST, servers.find("dnsdist") or "", given, more=more) as (subject, *_):
        yield Server(DNSDIST, tls, https, {"": subject.pids})


@contextmanager
def unbound(place: edges.Place, given: peers.Given) -> Iterator[Server]:
    """Unbound as peers.py sets it up, with TLS and HTTPS."""
    tls, https = running.free_ports(2)
    more = _UNBOUND.format(
        host=HOST, tls=tls, https=https, certificate=place.folder / "edge.pem", key=place.folder / "edge.key"
    )
    with peers.unbound_rpz(UNBOUND, servers.find("unbound") or "", given, more=more) as (subject, *_):
        yield Server(UNBOUND, tls, https, {"": subject.pids})


def rows(found: Found) -> Iterator[str]:
    """The figures as lines."""
    for what in dict.fromkeys(what for what, _ in found.us):
        here = found.us
        yield f"{what}: ours / dnsdist {paired(here[what, OURS], here[what, DNSDIST])}, " + (
            f"ours / Unbound {paired(here[what, OURS], here[what, UNBOUND])}"
        )
        for name in (OURS, SERVICE, EDGE, DNSDIST, UNBOUND):
            us = spread([*here[what, name].values()])
            rate = found.per_second.get((what, name))
            yield f"  {name}: CPU us {us}" + (f"; a second {spread([*rate.values()])}" if rate else "")


def missed(found: Found) -> list[str]:
    """Return what is not as it should be, in words."""
    said = list(dict.fromkeys(found.amiss))
    for what in OVER_DOT:
        ratio = paired(found.us[what, OURS], found.us[what, DNSDIST])
        if ratio and ratio.median > DOT_BAR:
            said.append(f"{what}: {shown(ratio.median)} x dnsdist; the bar is {shown(DOT_BAR)}")
    return said


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status is 1 where a bar is missed, 2 where a program is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.encrypted", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=2, help="of load for each run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--names", type=int, default=10_000)
    arguments = parser.parse_args(argv)
    if absent := [one for one in NEEDED if servers.find(one) is None]:
        tell(
            f"missing: {', '.join(absent)}; Debian has them in dnsdist, dnsperf, nghttp2-client, nsd, openssl, tinycdb "
            "and unbound"
        )
        return 2
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before the start")
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        folder, cores, listed = Path(name), Cores(1), names.listed(arguments.names)
        folder.chmod(0o755)
        bench = Bench(arguments, folder, cores, listed)
        upstream = stack.enter_context(subjects.nsd(folder, cores))
        service, edge, place = stack.enter_context(with_edge(folder, upstream, listed, cores, (edges.DOT, edges.H2)))
        pids = {SERVICE: (service.process.pid,), EDGE: (edge.pid,)}
        given = peers.Given(folder, upstream, listed, cores)
        each = {OURS: Server(OURS, place.ports["tls"], place.ports["https"], pids)}
        for start in (dnsdist, unbound):
            one = stack.enter_context(start(place, given))
            each[one.name] = one
        for one in each.values():
            sample(one, place, listed)
        bench.run(each)
    print("\n".join(rows(bench.found)))
    for one in (amiss := missed(bench.found)):
        print(f"beware: {one}")
    return int(bool(amiss))


if __name__ == "__main__":
    sys.exit(main())
