"""What a fleet of thousands asks of one compile host: seconds until the last node, processor time and octets a poll.

    python -m tests.bench.fleet [NODES] [--names 10000] [--poll 10] [--seconds 60]     (root: a network of its own)

A real compile host (the service), `receive` and nginx with deploy/receipts/nginx.conf, as deploy/fleet.md has
operators run them; three real nodes, which are asked over DNS; and NODES simulated ones (fleet_nodes says what of them
is real), each with a certificate and a key of its own. First all nodes pull a list; then nothing changes for a while;
then a new serial is published. At the end the operator's screens are timed, which count all receipts.

Rules:
- All of it is in a network of its own, whose loopback has packets of 1,500 octets; octets are those of nftables'
  counters of nginx's port, with heads of IP and TCP.
- Nodes and compile host share this machine. Where it cannot do as many polls as are due, they come later, and that is
  printed: the processor time of a poll stands whatever comes of the seconds.
- Exit 1 if a node has not come to the new serial within 60 s of its publication, or a screen takes too long.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.feed import seal
from resolver.signed import statement
from tests.bench import fleet_nodes, load, names
from tests.bench.__main__ import tell
from tests.fakes.upstream import in_thread
from tests.journeys.processes import asked, command_of, descendants, hang_up, honest, operate, wait_for
from tests.journeys.running import HOST, LIST_ID, PAGE_V4
from tests.journeys.test_fleet import NODES as REAL_NODES
from tests.journeys.test_fleet import Fleet
from tests.peers import servers, spaces
from tests.peers.test_receipts_nginx import nginx, receiving

NEEDED = ("ip", "nft", "nginx")
LAST_S = 60.0
"""Within which the last node must have a new serial."""
SCREEN_S = 2.0
"""Processor time that `list status` may take, the start of Python included."""
PATIENCE_S = 900.0
COUNTED = """
table inet counted {
    counter asked { }
    counter answered { }
    chain out {
        type filter hook output priority 0;
        tcp dport %d counter name asked
        tcp sport %d counter name answered
    }
}
"""
BLOCKED = f"{PAGE_V4} EDE 4"


@dataclass(frozen=True)
class Moment:
    """What was spent until a moment: processor seconds by what spends them, octets to and from nginx, polls, images."""

    at: float
    cpu: dict[str, float]
    asked: int
    answered: int
    polls: int
    images: int
    late_s: float


class Simulated:
    """The simulated nodes, in processes of their own."""

    def __init__(self, folder: Path, fleet: Fleet, ca: trustme.CA, count: int, said: fleet_nodes.Fleet) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        processes = max(1, min(os.cpu_count() or 1, count))
        self.count = count
        self.at = [context.Array("d", count, lock=False) for _ in range(2)]
        self.counts = [context.Value(fleet_nodes.Counts, lock=False) for _ in range(processes)]
        nodes = []
        for number in range(count):
            name, key = f"n{number:05}", Ed25519PrivateKey.generate()
            (fleet.pinned / f"{name}.pub").write_bytes(statement.pem_of(statement.public_of(key)))
            own, certificate = folder / name, folder / f"{name}.pem"
            own.mkdir()
            ca.issue_cert(f"{name}.isp.test").private_key_and_cert_chain_pem.write_to_path(str(certificate))
            nodes.append((name, number, key.private_bytes_raw(), str(certificate), str(own)))
        self._processes = []
        for n in range(processes):
            words = (nodes[n::processes], said, self.counts[n], self.at, self._stop)
            self._processes.append(context.Process(target=fleet_nodes.run, args=words, daemon=True))

    def __enter__(self) -> "Simulated":
        for one in self._processes:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for one in self._processes:
            one.join(PATIENCE_S)

    def total(self, name: str) -> float:
        return float(sum(getattr(one, name) for one in self.counts))

    def until(self, serial: int) -> None:
        """Wait until every node has a serial in force; looked at rarely, for it costs what the nodes need."""
        # `wait_for` alone would look two hundred times a second.
        wait_for(lambda: time.sleep(0.2) or all(self.at[serial - 1]), f"serial {serial} on every node", PATIENCE_S)


class Watch:
    """Reads what the parts have spent."""

    def __init__(self, nodes: Simulated, host: int) -> None:
        below = {pid: command_of(pid) for pid in descendants(os.getpid())}
        self._pids = {
            "compile host": [host],
            "nginx": [pid for pid, words in below.items() if words.startswith((b"nginx", b"/usr/sbin/nginx"))][:1],
            "receive": [pid for pid, words in below.items() if b"\0receive\0" in words],
        }
        assert all(self._pids.values()), self._pids
        self._nodes = nodes

    def look(self) -> Moment:
        octets = {
            one["counter"]["name"]: int(one["counter"]["bytes"])
            for one in json.loads(spaces.run("nft -j list counters"))["nftables"]
            if "counter" in one
        }
        cpu = {name: sum(map(load.cpu_seconds, pids)) for name, pids in self._pids.items()}
        cpu["simulated nodes"] = self._nodes.total("cpu_s")
        polls, images = int(self._nodes.total("polls")), int(self._nodes.total("images"))
        late = self._nodes.total("late_s")
        return Moment(time.time(), cpu, octets["asked"], octets["answered"], polls, images, late)


@contextmanager
def network() -> Iterator[None]:
    """A network of its own, for this thread and all that it starts."""
    space = spaces.new()
    try:
        with spaces.inside(space):
            spaces.run("ip link set lo up mtu 1500")
            yield
    finally:
        os.close(space)


def between(title: str, before: Moment, after: Moment) -> None:
    """Print what was spent between two moments, and what that is for each poll."""
    polls, seconds = after.polls - before.polls, after.at - before.at
    print(f"\n{title}: {seconds:.1f} s, {polls:,} polls of simulated nodes ({polls / seconds:,.0f} a second)")
    print(f"  in the mean {(after.late_s - before.late_s) / max(1, polls):.2f} s later than due")
    for name, spent in after.cpu.items():
        used = spent - before.cpu[name]
        each = used / max(1, polls) * 1e6
        print(f"  {name:<16} {used:8.2f} s of a processor, {used / seconds:6.1%} of one, {each:8.0f} us a poll")
    for what, octets in (("sends", after.answered - before.answered), ("gets", after.asked - before.asked)):
        print(f"  nginx {what:<5} {octets:15,} octets, {octets / max(1, polls):9,.0f} a poll")


def timed(what: str, work: Callable[[], Any]) -> float:
    """Do the work, and print how long it took; return the processor time of the programs that ended with it."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"  {what:<36} {took:6.2f} s by the clock, {spent:6.2f} s of a processor")
    return spent


def measure(folder: Path, memory: Path, arguments: argparse.Namespace) -> int:
    """Run the fleet, print what it costs, and return 1 if a bar is missed."""
    listed, missed = names.listed(arguments.names), 0
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    ca.issue_cert("real.isp.test").private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    own = {"ca": str(folder / "ca.pem"), "certificate": str(folder / "client.pem"), "key": str(folder / "client.pem")}
    with in_thread(honest) as upstream, ExitStack() as stack:
        fleet = Fleet(folder, upstream, poll=f"{arguments.poll}s")
        fleet.host.lists[0]["source"] |= {"poll": "60s"}
        fleet.host.lists[0]["guard"] |= {"growth": 1.0}
        (folder / "web").mkdir()
        take = stack.enter_context(receiving(folder / "web", fleet.receipts, fleet.pinned, "--keep", "20"))
        web = stack.enter_context(nginx(found, folder / "web", fleet.published, take, HOST, ca))
        port = int(web.rpartition(":")[2])
        spaces.run("nft -f -", COUNTED % (port, port))
        for node in fleet.nodes:
            node.lists[0]["source"] |= {"url": f"{web}/fleet", "receipt": f"{web}/receipts", **own}
        tell(f"{arguments.nodes:,} keys and certificates")
        said = fleet_nodes.Fleet(
            url=f"{web}/fleet",
            receipts=f"{web}/receipts",
            ca=own["ca"],
            root=str(fleet.root),
            keys=seal.load_keys(folder, str(fleet.keys)),
            list_id=LIST_ID,
            poll=float(arguments.poll),
        )
        nodes = Simulated(memory, fleet, ca, arguments.nodes, said)
        fleet.host.publish(listed)
        fleet.start(stack)
        host = fleet.compiling[0]
        everybody = arguments.nodes + len(REAL_NODES)
        began = time.time()
        with nodes:
            watch = Watch(nodes, host.process.pid)
            first = watch.look()
            tell("all nodes pull the first serial")
            nodes.until(1)
            print(f"the first serial on every node {max(nodes.at[0]) - began:.1f} s after the start of the nodes")
            between("the first pull", first, watch.look())
            counted(fleet, 1, everybody)
            quiet = watch.look()
            tell(f"nothing changes for {arguments.seconds} s")
            time.sleep(arguments.seconds)  # what is measured
            between("nothing changes", quiet, watch.look())

            tell("the second serial")
            before = watch.look()
            fleet.host.publish([*listed[:-10], *(f"new{number}.test" for number in range(10))])
            signed = time.time()
            hang_up(host)
            wait_for(lambda: fleet.manifest()["custom"]["serial"] == 2, "serial 2 in the folder", PATIENCE_S)
            published = time.time()
            nodes.until(2)
            last = max(nodes.at[1]) - published
            wait_for(lambda: fleet.all_say("new1.test", BLOCKED), "serial 2 on the real nodes", PATIENCE_S)
            after = watch.look()
            slow = sorted(at - published for at in nodes.at[1])
            print(f"\nserial 2: in the folder {published - signed:.1f} s after it was signed")
            half, most = slow[len(slow) // 2], slow[len(slow) * 99 // 100]
            print(f"  on half of the nodes {half:.1f} s after that, on 99 % {most:.1f} s, on the last {last:.1f} s")
            missed |= last > LAST_S
            between("the change", before, after)
            counted(fleet, 2, everybody)
            print(f"  all receipts counted {time.time() - published:.1f} s after the publication")
            files, failed = len(list(fleet.receipts.iterdir())), nodes.total("failed")
            print(f"\nreceipts: {files:,} files; polls or posts that failed: {failed:,.0f}")
            print(f"compile host: {load.resident_bytes(host.process.pid) / 1e6:.0f} MB")
            for _ in range(3):
                missed |= timed("list status", lambda: operate(fleet.host, "list", "status")) > SCREEN_S
                timed("status", lambda: operate(fleet.host, "status"))
                timed("/metrics", lambda: host.kept("/metrics"))
        print(f"\nload average {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores at the end")
        assert asked(fleet.host.dns, "new1.test") == BLOCKED
    return missed


def found(name: str) -> str:
    """Path of a program that `main` has found."""
    return servers.find(name) or name


def counted(fleet: Fleet, serial: int, everybody: int) -> None:
    """Wait until the compile host has counted the receipts of all nodes."""
    whole = f"fleet-{LIST_ID}-{serial}-*.json"
    wait_for(lambda: list((fleet.folder / "authority-hears").glob(f"*{whole}")), "the receipt of the fleet", PATIENCE_S)
    (path,) = (fleet.folder / "authority-hears").glob(f"*{whole}")
    said = statement.claimed(path.read_bytes())[0]
    assert (said["hosts"], said["reported"]) == (everybody, everybody)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status is 1 where a bar is missed, 2 where a program is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fleet", description=__doc__.split("\n", 1)[0])
    parser.add_argument("nodes", type=int, nargs="?", default=10_000)
    parser.add_argument("--names", type=int, default=10_000, help="of the list")
    parser.add_argument("--poll", type=int, default=10, help="of the nodes, in seconds")
    parser.add_argument("--seconds", type=int, default=60, help="in which nothing changes")
    arguments = parser.parse_args(argv)
    if absent := [one for one in NEEDED if servers.find(one) is None]:
        tell(f"missing: {', '.join(absent)}; Debian has them in iproute2, nftables and nginx-light")
        return 2
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before the start")
    in_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        tempfile.TemporaryDirectory(prefix="bench-", dir=in_memory) as memory,
        network(),
    ):
        return measure(Path(name), Path(memory), arguments)


if __name__ == "__main__":
    sys.exit(main())
