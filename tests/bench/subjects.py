"""What is measured: the floors in C, the service, and (peers.py) the others; the upstream is NSD."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from resolver.config.config import Listen
from resolver.config.lists import MAX_ENTRIES, MAX_TARGET_BYTES
from tests.bench import names
from tests.bench.load import BALANCER, Cores
from tests.bench.workloads import Workload
from tests.journeys import running
from tests.peers import servers
from tests.peers.servers import Server

HERE = Path(__file__).parent
UPSTREAM_ZONE = "test."
FLOOR, RELAY = "floor: C echo", "floor: C relay"
START_S = 240.0


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A running server under load: what it is called, its port, its processes, and which workloads it can do."""

    name: str
    port: int
    pids: tuple[int, ...]
    over: tuple[str, ...] = ("udp", "tcp")
    questions: tuple[str, ...] = ("blocked", "cached", "mixed", "miss")
    few: bool = False
    ours: bool = False

    @property
    def is_floor(self) -> bool:
        """Whether it answers without looking."""
        return self.name in (FLOOR, RELAY)

    def does(self, workload: Workload) -> bool:
        """Whether it is asked this."""
        return workload.over in self.over and workload.questions in self.questions


def compiled(folder: Path, name: str) -> Path:
    """A program of this folder, compiled now; `cc` is there."""
    program = folder / name
    compiler = servers.find("cc") or "cc"
    subprocess.run([compiler, "-O2", "-Wall", "-o", str(program), str(HERE / f"{name}.c")], check=True)
    return program


@contextmanager
def in_c(name: str, command: Sequence[str], questions: tuple[str, ...]) -> Iterator[Subject]:
    """A floor, which prints its port."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            port = int(process.stdout.readline())
            yield Subject(name=name, port=port, pids=(process.pid,), over=("udp",), questions=questions)
        finally:
            process.kill()


@contextmanager
def nsd(folder: Path, cores: Cores) -> Iterator[Server]:
    """The upstream."""
    path = servers.find("nsd") or "nsd"
    with servers.nsd(folder / "nsd", {UPSTREAM_ZONE: names.ZONE}, path=path, before=cores.ask) as server:
        yield server


def too_long(listed: Sequence[str]) -> str:
    """Why the service takes no such list, or nothing."""
    octets = sum(map(len, listed)) + len(listed)
    if len(listed) > MAX_ENTRIES or octets > MAX_TARGET_BYTES:
        return f"{len(listed):,} names, {octets / 2**20:.0f} MiB: a list has at most {MAX_ENTRIES:,}, 64 MiB"
    return ""


def has_engine() -> bool:
    """Whether this build knows `[listen] engine` and `threads`."""
    return {"engine", "threads"} <= set(Listen.__struct_fields__)


@contextmanager
def service(
    folder: Path, upstream: Server, listed: Sequence[str], cores: Cores, engine: str, *, proxied: bool = False
) -> Iterator[running.Service]:
    """The service with everything on; by default its limits spare loopback. `proxied`: behind a load balancer."""
    folder.mkdir()
    lines = [f'proxy_from = ["{BALANCER}/32"]'] if proxied else []
    if has_engine():
        lines += [f"threads = {cores.threads}", *([f'engine = "{engine}"'] if engine else [])]
    with running.serve(
        folder,
        upstreams=[upstream.address],
        entries=listed,
        every="15m",
        before=cores.serve,
        seconds=START_S,
        listen="\n".join(lines),
    ) as running_service:
        yield running_service
