"""Real DNS servers of Debian's on loopback, each in the foreground below a folder of its own.

Rules:
- NSD holds the zones it is given; Unbound knows nothing but that NSD, and no packet leaves the loopback.
- A server is ready when it answers; it ends with the block that started it.
"""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query

from tests.journeys.running import HOST, free_ports, stop

START_S = 20.0

_NSD = """
server:
  ip-address: {host}@{port}
  username: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  server-count: 1
  rrl-ratelimit: 0
  tcp-count: 200
remote-control:
  control-enable: no
"""
_NSD_ZONE = """
zone:
  name: "{name}"
  zonefile: "{file}"
"""
_UNBOUND = """
server:
  interface: {host}@{port}
  access-control: 127.0.0.0/8 allow
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: "{folder}/unbound.pid"
  do-daemonize: no
  use-syslog: no
  num-threads: 1
  do-ip6: no
  outgoing-interface: {host}
  do-not-query-localhost: no
  module-config: "validator iterator"
  local-zone: "test." nodefault
  local-zone: "invalid." nodefault
  incoming-num-tcp: 200
{more}{anchors}
stub-zone:
  name: "."
  stub-addr: {host}@{upstream}
{stubs}
remote-control:
  control-enable: no
"""
_UNBOUND_STUB = """
stub-zone:
  name: "{name}"
  stub-addr: {host}@{upstream}
"""


@dataclass(frozen=True)
class Server:
    """A running server: its port and its process."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        """Where it answers, as a configuration names it."""
        return f"{HOST}:{self.port}"


def find(name: str) -> str | None:
    """Path of a program of Debian's, daemons included."""
    return shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin:/usr/local/bin:/usr/local/sbin")


@contextmanager
def running(
    command: Sequence[str], folder: Path, port: int, name: str, seconds: float = START_S, rcode: int = 0
) -> Iterator[Server]:
    """Run a server until the end of the block; it is ready when it answers for `name` with this response code."""
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
    try:
        _until_it_answers(process, folder, port, name, seconds, rcode)
        yield Server(port, process)
    finally:
        stop(process)


def _until_it_answers(
    process: subprocess.Popen[bytes], folder: Path, port: int, name: str, seconds: float, rcode: int
) -> None:
    query, deadline, pause = dns.message.make_query(name, "SOA"), time.monotonic() + seconds, threading.Event()
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if dns.query.udp(query, HOST, port=port, timeout=0.5).rcode() == rcode:
                return
        except (OSError, dns.query.BadResponse, dns.exception.Timeout):
            pass  # It is not there yet.
        pause.wait(0.02)
    raise AssertionError((folder / "log").read_text(errors="replace") or f"{process.args!r} did not answer")


@contextmanager
def nsd(folder: Path, zones: Mapping[str, str], *, path: str = "nsd", before: Sequence[str] = ()) -> Iterator[Server]:
    """NSD with these zones: absolute name to master file."""
    folder.mkdir()
    (port,) = free_ports(1)
    config = _NSD.format(host=HOST, port=port, folder=folder)
    for name, text in zones.items():
        (folder / f"{name}zone").write_text(text)
        config += _NSD_ZONE.format(name=name, file=f"{name}zone")
    (folder / "nsd.conf").write_text(config)
    command = [*before, path, "-d", "-c", str(folder / "nsd.conf")]
    with running(command, folder, port, next(iter(zones))) as server:
        yield server


@contextmanager
def unbound(
    folder: Path,
    upstream: Server,
    zones: Sequence[str],
    *,
    anchors: Sequence[str] = (),
    more: Sequence[str] = (),
    path: str = "unbound",
    port: int = 0,
) -> Iterator[Server]:
    """Unbound that resolves these zones at `upstream` alone, validating below the trust anchors; `more` are options.

    port: where it listens; 0 is a free one.
    """
    folder.mkdir()
    port = port or free_ports(1)[0]
    stubs = "".join(_UNBOUND_STUB.format(name=name, host=HOST, upstream=upstream.port) for name in zones)
    trusted = "".join(f"  trust-anchor: '{anchor}'\n" for anchor in anchors)
    config = _UNBOUND.format(
        host=HOST,
        port=port,
        folder=folder,
        upstream=upstream.port,
        stubs=stubs,
        anchors=trusted,
        more="".join(f"  {option}\n" for option in more),
    )
    (folder / "unbound.conf").write_text(config)
    command = [path, "-d", "-c", str(folder / "unbound.conf")]
    with running(command, folder, port, zones[0]) as server:
        yield server


def ask_over_udp(port: int, query: bytes, source: str = HOST, seconds: float = 5.0, *, header: bytes = b"") -> bytes:
    """The first datagram that comes back; TimeoutError where none does. `header` comes before the query."""
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        client.bind((source, 0))
        client.connect((HOST, port))
        client.send(header + query)
        return client.recv(65_535)


def ask_over_tcp(port: int, query: bytes, source: str = HOST, seconds: float = 5.0, *, header: bytes = b"") -> bytes:
    """The first message of a stream that carried one query; empty where it was closed instead. `header` comes first."""
    with socket.create_connection((HOST, port), timeout=seconds, source_address=(source, 0)) as client:
        client.sendall(header + len(query).to_bytes(2, "big") + query)
        stream = client.makefile("rb")
        return stream.read(int.from_bytes(stream.read(2), "big"))
