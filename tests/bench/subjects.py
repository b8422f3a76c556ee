"""What is measured: the floors in C, the service, and (peers.py) the others; the upstream is NSD."""

import math
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
# Long enough for the slowest peer to read the list, and for the service under valgrind.
START_S = 600.0

_FURTHER = """
[[list]]
id = "demo-{number}"
demonstration = true
[list.source]
kind = "tuf"
url = "file://{folder}"
root = "{folder}/root.json"
poll = "8h"
[list.guard]
expect_entries = [1, 4000000]
growth = 100.0
shrink = 1.0
"""


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


def parts(
    listed: Sequence[str], most_entries: int = MAX_ENTRIES, most_octets: int = MAX_TARGET_BYTES
) -> list[Sequence[str]]:
    """The names as lists that the service takes: one, or as many of one length as it needs."""
    octets = sum(map(len, listed)) + len(listed)
    # A part may have longer names than another: each has a hundredth of room.
    count = max(math.ceil(len(listed) / most_entries), math.ceil(octets / (0.99 * most_octets)))
    size = math.ceil(len(listed) / count)
    return [listed[at : at + size] for at in range(0, len(listed), size)]


def has_engine() -> bool:
    """Whether this build knows `[listen] engine` and `threads`."""
    return {"engine", "threads"} <= set(Listen.__struct_fields__)


@contextmanager
def service(
    folder: Path,
    upstream: Server,
    listed: Sequence[str],
    cores: Cores,
    engine: str,
    *,
    proxied: bool = False,
    more: str = "",
) -> Iterator[running.Service]:
    """The service with everything on; by default its limits spare loopback. Too long a list is several.

    proxied: it is behind a load balancer. more: tables of its configuration.
    """
    folder.mkdir()
    first, *others = parts(listed)
    for number, part in enumerate(others, 2):
        authority = running.Authority(folder / f"authority-{number}", list_id=f"demo-{number}")
        authority.publish(part)
        more += _FURTHER.format(number=number, folder=authority.folder)
    lines = [f'proxy_from = ["{BALANCER}/32"]'] if proxied else []
    if has_engine():
        lines += [f"threads = {cores.threads}", *([f'engine = "{engine}"'] if engine else [])]
    with running.serve(
        folder,
        upstreams=[upstream.address],
        entries=first,
        more=more,
        every="15m",
        before=cores.serve,
        seconds=START_S,
        listen="\n".join(lines),
    ) as running_service:
        yield running_service
