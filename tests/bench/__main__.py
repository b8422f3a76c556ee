"""`python -m tests.bench`: CPU per query of the service as ratios to the C floor and to dnsdist, in one run.

Rules:
- Servers are pinned to core 0, the load and the upstream to core 1; loopback only.
- Rounds are interleaved: each asks every subject once, and a ratio is taken within its round. Medians are shown.
- What is missing on this machine is named, and its rows are left out.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dns.message

from tests.bench import core_alone, load, names, subjects
from tests.bench.subjects import Subject, tell
from tests.journeys import running
from tests.peers import servers

FEWER = 10_000
QUERIES_PER_SECOND = 200_000
MISSES_PER_SECOND = 100_000
CASES = ("blocked", "cached", "miss")
FLOOR, DNSDIST = "floor: C echo", "dnsdist, CDB"

Costs = dict[tuple[str, str], list[load.Cost]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status is 2 where the load generator or the upstream is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of load for each cell and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, help="writes all figures as JSON, too")
    arguments = parser.parse_args(argv)
    absent = subjects.missing("dnsperf", "nsd")
    if absent:
        sys.stderr.write(f"missing: {', '.join(absent)}; `make peers` installs what is needed\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        found = measure(Path(folder), arguments.seconds, arguments.rounds, arguments.names)
    print(table(found))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def measure(folder: Path, seconds: float, rounds: int, count: int) -> dict[str, Any]:
    """All figures of one run."""
    tell(f"drawing {count} names and the questions")
    listed = names.listed(count)
    for many in (FEWER, count):
        names.write_blocked(folder / f"blocked-{many}", listed[:many], int(seconds * QUERIES_PER_SECOND))
    names.write_cached(folder / "cached", int(seconds * QUERIES_PER_SECOND))
    names.write_every_cached(folder / "every-cached")
    for number in range(rounds):
        names.write_miss(folder / f"miss-{number}", int(seconds * MISSES_PER_SECOND), number)
    found: dict[str, Any] = {"cores": os.cpu_count(), "names": count, "left_out": []}
    tell("the core alone")
    found["core_us"] = core_alone.measure(listed[:FEWER], min(seconds, 2.0))
    with contextlib.ExitStack() as stack:
        _measure_servers(stack, folder, listed, seconds, rounds, found)
    return found


def _measure_servers(
    stack: contextlib.ExitStack,
    folder: Path,
    listed: Sequence[str],
    seconds: float,
    rounds: int,
    found: dict[str, Any],
) -> None:
    upstream = stack.enter_context(subjects.nsd(folder, servers.find("nsd") or "nsd"))
    each: list[tuple[Subject, str]] = []
    each += _floor(stack, folder, found)
    each += _dnsdist(stack, folder, upstream, listed, found)
    services = []
    for part in (listed[:FEWER], listed):
        name = f"this service, {len(part)} names"
        tell(name)
        place = folder / f"service-{len(part)}"
        place.mkdir(exist_ok=True)
        start = time.monotonic()
        service = stack.enter_context(subjects.service(place, upstream, part))
        found[f"{name}: signed, started, in force (s)"] = time.monotonic() - start
        each.append((Subject(name, service.dns, service.process.pid), f"blocked-{len(part)}"))
        services.append(service)
    found["costs"], found["ratios"] = _rounds(folder, each, seconds, rounds)
    found["resident_mb"] = {subject.name: load.resident_bytes(subject.pid) / 1e6 for subject, _ in each}
    tell("a new serial, and a start with the saved image")
    found["new serial: signed file to in force (s)"] = _swap(services[-1], listed)
    found["start with saved image to first answer (s)"] = _restart(services[-1], listed[-1])


def _floor(stack: contextlib.ExitStack, folder: Path, found: dict[str, Any]) -> list[tuple[Subject, str]]:
    compiler = servers.find("cc")
    if compiler is None:
        found["left_out"].append("the floor, and ratios to it: no C compiler (cc)")
        return []
    return [(stack.enter_context(subjects.floor(folder, compiler)), f"blocked-{FEWER}")]


def _dnsdist(
    stack: contextlib.ExitStack,
    folder: Path,
    upstream: servers.Server,
    listed: Sequence[str],
    found: dict[str, Any],
) -> list[tuple[Subject, str]]:
    absent = subjects.missing("dnsdist", "cdb")
    if absent:
        found["left_out"].append(f"dnsdist: {', '.join(absent)} missing")
        return []
    tell(DNSDIST)
    paths = [servers.find(one) or one for one in ("dnsdist", "cdb")]
    return [(stack.enter_context(subjects.dnsdist(folder, upstream, listed, *paths)), f"blocked-{len(listed)}")]


def _rounds(
    folder: Path, each: Sequence[tuple[Subject, str]], seconds: float, rounds: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    dnsperf = [*load.pinned(subjects.OTHER_CORE), servers.find("dnsperf") or "dnsperf"]
    costs: Costs = defaultdict(list)
    for subject, _ in each:
        if subject.name != FLOOR:
            load.run(dnsperf, subject.port, subject.pid, folder / "every-cached", 10)
    for number in range(rounds):
        tell(f"round {number + 1} of {rounds}")
        for subject, blocked in each:
            for case, file in zip(CASES, (blocked, "cached", f"miss-{number}"), strict=True):
                if subject.name != FLOOR or case != "miss":
                    cost = load.run(dnsperf, subject.port, subject.pid, folder / file, seconds)
                    costs[subject.name, case].append(cost)
    return _medians(costs), _ratios(costs)


def _medians(costs: Costs) -> dict[str, Any]:
    told = {}
    for (name, case), runs in costs.items():
        us = [run.us for run in runs]
        told[f"{name}; {case}"] = {
            "us": statistics.median(us),
            "least_us": min(us),
            "most_us": max(us),
            "per_second": statistics.median(run.per_second for run in runs),
            "lost": max(run.lost for run in runs),
            "rcodes": runs[-1].rcodes,
        }
    return told


def _ratios(costs: Costs) -> dict[str, Any]:
    """Medians of the ratios within each round; a miss is held against the floor's echo of what is cached."""
    told = {}
    for (name, case), runs in costs.items():
        for peer, peer_case in ((FLOOR, "cached" if case == "miss" else case), (DNSDIST, case)):
            others = costs.get((peer, peer_case))
            if others and name not in (peer, FLOOR):
                pairs = zip(runs, others, strict=True)
                told[f"{name}; {case}; {peer}"] = statistics.median(a.us / b.us for a, b in pairs)
    return told


def _swap(service: running.Service, listed: Sequence[str]) -> float:
    """Seconds from a new signed serial, asked for at once, to its being in force."""
    serial = service.authority.publish([*listed[1:], "another.aa1.test"])
    start = time.monotonic()
    service.process.send_signal(signal.SIGHUP)
    service.until_serial(serial, seconds=120)
    return time.monotonic() - start


def _restart(service: running.Service, name: str) -> float:
    """Seconds from the start of a second process on the same folder, once the first has ended, to a blocked answer."""
    assert running.stop(service.process) == 0
    start, pause = time.monotonic(), threading.Event()
    process = running.launch(
        service.folder, service.folder / "resolver.toml", "compiled", load.pinned(subjects.SERVER_CORE)
    )
    query = dns.message.make_query(name, "A").to_wire() or b""
    try:
        while time.monotonic() - start < 60:
            with contextlib.suppress(OSError):
                reply = dns.message.from_wire(servers.ask_over_udp(service.dns, query, seconds=1))
                if any(running.PAGE_V4 in str(record) for record in reply.answer):
                    return time.monotonic() - start
            pause.wait(0.005)
    finally:
        running.stop(process)
    raise AssertionError(f"no blocked answer after a start with the saved image:\n{service.said}")


def table(found: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [f"{'CPU us a query (least-most), x floor, x dnsdist':54}" + "".join(f"{case:>34}" for case in CASES)]
    for name in dict.fromkeys(key.split("; ")[0] for key in found["costs"]):
        cells = [_cell(found, name, case) for case in CASES]
        memory = f"{found['resident_mb'][name]:.0f} MB"
        lines.append(f"{name:36}{memory:>12}      " + "".join(f"{cell:>34}" for cell in cells))
    lines.append("")
    for build, us in found["core_us"].items():
        lines.append(f"core alone, blocked query to answer, {build}: {us:.2f} us")
    for what, value in found.items():
        if what.endswith("(s)"):
            lines.append(f"{what}: {value:.2f}")
    lines += [f"left out: {reason}" for reason in found["left_out"]]
    bad = [f"{key}: {c['rcodes']}, lost {c['lost']:.2%}" for key, c in found["costs"].items() if _is_odd(c)]
    return "\n".join([*lines, *(f"beware: {one}" for one in bad)])


def _is_odd(cost: dict[str, Any]) -> bool:
    return cost["lost"] > 0.001 or "(100.00%)" not in cost["rcodes"]


def _cell(found: dict[str, Any], name: str, case: str) -> str:
    cost = found["costs"].get(f"{name}; {case}")
    if cost is None:
        return "-"
    text = f"{cost['us']:.2f} ({cost['least_us']:.2f}-{cost['most_us']:.2f})"
    for peer in (FLOOR, DNSDIST):
        ratio = found["ratios"].get(f"{name}; {case}; {peer}")
        text += f" {ratio:.2f}x" if ratio else "     -"
    return text


if __name__ == "__main__":
    sys.exit(main())
