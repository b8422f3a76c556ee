"""A whole service in a process of its own, with an authority of its own, for journeys, peers and bench.

Rules:
- Everything stands below one folder: authority/, state/, tmp/, resolver.toml, control (the socket), stdout, stderr.
- Ports are those that were free a moment ago, for UDP and TCP alike.
- The list is signed by resolver.authority as an authority would do it, and fetched from a file: url. It is polled at
  the start and at SIGHUP (processes.hang_up): each poll costs a third of a second of a core.
- `serve` ends with SIGTERM and fails the test where the service does not then exit with 0.
"""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from resolver.authority import publish
from resolver.count.exporter import KEPT_S

HOST = "127.0.0.1"
PAGE_V4, PAGE_V6 = "192.0.2.1", "2001:db8::1"
LIST_ID = "demo"
# What a busy machine may take; an idle one takes a second.
START_S = 120.0
STOP_S = 60.0
ROOT = Path(__file__).parents[2]
NO_UPSTREAM = b"not ready: no upstream answers\n"

# aiohttp reads the system's certificates at its import, a tenth of a second of a core; no service here uses them.
NO_CERTIFICATES = {"SSL_CERT_FILE": os.devnull}

Core = Literal["compiled", "loop", "plain", "engine"]
LAUNCHERS = {
    "compiled": ("-m", "resolver"),
    "loop": ("-m", "tests.loop"),
    "plain": ("-m", "tests.plain"),
    "engine": ("-m", "tests.engine"),
}
"""How to start the service: as it is installed, with the compiled engine; with UDP on the event loop; that with the
plain core; and with the compiled engine on two threads, whatever the machine has."""
CORES: tuple[Core, ...] = ("compiled", "loop", "plain")
"""The ways to answer: what one of them says, each says."""

CONFIGURATION = """
[listen]
dns = ["{host}:{dns}"]
{listen}
[upstream]
servers = [{upstreams}]
timeout = "2s"
[page]
addresses = ["{v4}", "{v6}"]
listen = ["{host}:{page}"]
operator = "The operator of this test"
contact = "help@isp.example"
authority = "The authority of this test"
law = "the law of this test"
[metrics]
listen = "{host}:{metrics}"
[count]
publish_every = "{every}"
batch = 1
[state]
directory = "{folder}/state"
[control]
socket = "{folder}/control"
group = ""
[[list]]
id = "demo"
demonstration = true
[list.source]
kind = "tuf"
url = "file://{folder}/authority"
root = "{folder}/authority/root.json"
poll = "8h"
[list.guard]
expect_entries = [1, 4000000]
growth = 100.0
shrink = 1.0
{more}
"""


class Authority:
    """An authority's folder, and what it publishes there."""

    def __init__(self, folder: Path, first_serial: int = 1, list_id: str = LIST_ID) -> None:
        self.folder = folder
        self.list_id = list_id
        self.serial = first_serial - 1
        publish.init(folder, threshold=1, keys=1, now=time.time())

    def publish(self, entries: Iterable[str]) -> int:
        """Sign and serve a list of these lines under the next serial; returns the serial."""
        self.serial += 1
        data = "".join(f"{entry}\n" for entry in entries).encode()
        spared = len({line for line in data.splitlines() if line.startswith(b"!")})
        issue = publish.Issue(list_id=self.list_id, data=data, serial=self.serial, expect_exceptions=spared)
        assert publish.publish(self.folder, issue, now=time.time()).published
        return self.serial


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running service: where it listens, its folder, its process."""

    dns: int
    page: int
    metrics: int
    folder: Path
    authority: Authority
    process: subprocess.Popen[bytes]

    @property
    def said(self) -> str:
        """All it has written to stdout and stderr so far."""
        return "".join((self.folder / name).read_text(errors="replace") for name in ("stdout", "stderr"))

    def get(self, path: str, port: int | None = None) -> tuple[int, bytes]:
        """Status and body of a page of the metrics' address, or of another port; of /metrics a body made now."""
        if path == "/metrics":
            # The service keeps a body so long, from a scrape that was not later than the last one of this test.
            threading.Event().wait(max(0.0, _scraped_at.get(self.metrics, 0.0) + KEPT_S + 0.05 - time.monotonic()))
        return self.kept(path, port)

    def kept(self, path: str, port: int | None = None) -> tuple[int, bytes]:
        """Status and body, that of /metrics as the service may have kept it."""
        url = f"http://{HOST}:{self.metrics if port is None else port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=START_S / 2) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        finally:
            if path == "/metrics":
                _scraped_at[self.metrics] = time.monotonic()

    def until(self, path: str, holds: Callable[[bytes], bool] = lambda body: True, seconds: float = START_S) -> None:
        """Wait until a page of the metrics' address answers 200 with a body of which `holds` is true.

        Ready is here also who lacks an upstream alone: most services of these tests have none.
        """
        deadline, pause = time.monotonic() + seconds, threading.Event()
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the service ended with {self.process.returncode}:\n{self.said}")
            with contextlib.suppress(OSError):
                status, body = self.kept(path)
                if (status == 200 or body == NO_UPSTREAM) and holds(body):
                    return
            pause.wait(0.02)
        raise AssertionError(f"{path} did not answer as expected in {seconds:.0f} s:\n{self.said}")

    def until_serial(self, serial: int, seconds: float = START_S) -> None:
        """Wait until the list of this serial is in force."""
        self.until("/metrics", lambda body: self.metric("list_serial", body) == serial, seconds)

    def metric(self, name: str, body: bytes | None = None) -> float | None:
        """The value of the first series of a metric; None where it is not shown."""
        text = (self.get("/metrics")[1] if body is None else body).decode()
        found = re.search(rf"^blocklist_resolver_{name}(?:{{.*}})? (\S+)", text, re.MULTILINE)
        return float(found[1]) if found else None


_scraped_at: dict[int, float] = {}


# Below the ports that the system gives to sockets without one: between its look here and its bind a service would lose
# its port to any of them.
PORTS = range(10_000, 32_768)
BLOCK = 512
"""Ports that a process of tests has for itself: more than its services hold at any time."""

_claims: list[socket.socket] = []


def _walk() -> Iterator[int]:
    """Go round the ports of a block that no other process of this network has: each claims one, as long as it lives.

    Two processes in the same ports would each find free what the other has told a service that does not listen yet.
    """
    firsts = list(range(PORTS.start, PORTS.stop - BLOCK + 1, BLOCK))
    random.shuffle(firsts)
    for first in firsts:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0blocklist-resolver tests {first}")
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        while True:
            yield from range(first, first + BLOCK)
    raise AssertionError(f"{len(firsts)} processes of tests have all the ports of {PORTS}: end some")


_next_port = _walk()


def free_ports(count: int) -> list[int]:
    """Ports of loopback that are free for UDP and TCP, and that no other call has told."""
    ports: list[int] = []
    while len(ports) < count:
        port = next(_next_port)
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram, contextlib.suppress(OSError):
            stream.bind((HOST, port))
            datagram.bind((HOST, port))
            ports.append(port)
    return ports


def configure(
    folder: Path, upstreams: Sequence[str], ports: Sequence[int], more: str = "", *, every: str = "1s", listen: str = ""
) -> Path:
    """Write the configuration: ports of dns, page and metrics; `every` is the beat; `more` is appended.

    listen: more lines of [listen].
    """
    dns, page, metrics = ports
    path = folder / "resolver.toml"
    path.write_text(
        CONFIGURATION.format(
            host=HOST,
            dns=dns,
            page=page,
            metrics=metrics,
            upstreams=", ".join(f'"{one}"' for one in upstreams),
            v4=PAGE_V4,
            v6=PAGE_V6,
            folder=folder,
            more=more,
            every=every,
            listen=listen,
        )
    )
    return path


def launch(folder: Path, config: Path, core: Core, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start the service, its output appended to files of `folder`; `before` is a command to run it by."""
    (folder / "tmp").mkdir(exist_ok=True)
    environment: Mapping[str, str] = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
        **NO_CERTIFICATES,
    }
    with open(folder / "stdout", "ab") as out, open(folder / "stderr", "ab") as err:
        return subprocess.Popen(
            [*before, sys.executable, *LAUNCHERS[core], "run", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environment,
            cwd=ROOT,
        )


def stop(process: subprocess.Popen[Any]) -> int:
    """Ask a process to end; returns its exit status, and kills one that stays."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@contextmanager
def serve(
    folder: Path,
    *,
    upstreams: Sequence[str],
    entries: Iterable[str] | None,
    core: Core = "compiled",
    more: str = "",
    every: str = "1s",
    first_serial: int = 1,
    before: Sequence[str] = (),
    seconds: float = START_S,
    listen: str = "",
) -> Iterator[Service]:
    """A service that answers; `entries` None publishes no list and waits for life only, not for readiness."""
    authority = Authority(folder / "authority", first_serial)
    if entries is not None:
        authority.publish(entries)
    ports = free_ports(3)
    process = launch(folder, configure(folder, upstreams, ports, more, every=every, listen=listen), core, before)
    dns, page, metrics = ports
    service = Service(dns=dns, page=page, metrics=metrics, folder=folder, authority=authority, process=process)
    try:
        service.until("/healthz" if entries is None else "/readyz", seconds=seconds)
        yield service
    finally:
        status = stop(process)
    assert status == 0, f"the service ended with {status}:\n{service.said}"
