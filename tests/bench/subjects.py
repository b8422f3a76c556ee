"""What is measured, each pinned to core 0: the floor, dnsdist at its best, the service; NSD is on the other core."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import names
from tests.bench.load import pinned
from tests.journeys import running
from tests.journeys.running import HOST, free_ports
from tests.peers import servers
from tests.peers.servers import Server

SERVER_CORE, OTHER_CORE = 0, 1
UPSTREAM_ZONE = "test."
_BUFFER = 4 * 2**20

# Debian's dnsdist 1.7.3 cannot switch its ring buffers off; they are made as small as it takes.
_DNSDIST = """
setUDPMultipleMessagesVectorSize(64)
setUDPSocketBufferSizes({buffer},{buffer})
setRingBuffersSize(1,1)
setSecurityPollSuffix('')
setLocal('{host}:{port}',{{reusePort=true}})
setACL({{'127.0.0.0/8'}})
newServer({{address='{upstream}',sockets=4}})
kvs=newCDBKVStore('{cdb}', 0)
addAction(KeyValueStoreLookupRule(kvs, KeyValueLookupKeySuffix(2)), SpoofAction('{page}'))
getPool(""):setCache(newPacketCache(1000000,{{maxTTL=86400,numberOfShards=1}}))
"""


@dataclass(frozen=True)
class Subject:
    """A running server under load: what it is called, its port, its process."""

    name: str
    port: int
    pid: int


@contextmanager
def floor(folder: Path, compiler: str) -> Iterator[Subject]:
    """The C echo, compiled now."""
    program = folder / "floor"
    source = Path(__file__).with_name("floor.c")
    subprocess.run([compiler, "-O2", "-Wall", "-o", str(program), str(source)], check=True)
    with subprocess.Popen([*pinned(SERVER_CORE), str(program)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            yield Subject("floor: C echo", int(process.stdout.readline()), process.pid)
        finally:
            process.kill()


@contextmanager
def nsd(folder: Path, path: str) -> Iterator[Server]:
    """The upstream."""
    with servers.nsd(folder / "nsd", {UPSTREAM_ZONE: names.ZONE}, path=path, before=pinned(OTHER_CORE)) as server:
        yield server


@contextmanager
def dnsdist(folder: Path, upstream: Server, listed: Sequence[str], path: str, cdb: str) -> Iterator[Subject]:
    """dnsdist with the same names in a CDB."""
    place = folder / "dnsdist"
    place.mkdir()
    file = place / "list.cdb"
    subprocess.run([cdb, "-c", str(file)], input=b"".join(names.cdb_records(listed)), check=True)
    (port,) = free_ports(1)
    config = place / "dnsdist.conf"
    config.write_text(
        _DNSDIST.format(buffer=_BUFFER, host=HOST, port=port, upstream=upstream.address, cdb=file, page=running.PAGE_V4)
    )
    command = [*pinned(SERVER_CORE), path, "--supervised", "--disable-syslog", "-C", str(config)]
    with servers.running(command, place, port, UPSTREAM_ZONE) as server:
        yield Subject("dnsdist, CDB", server.port, server.process.pid)


@contextmanager
def service(folder: Path, upstream: Server, listed: Sequence[str]) -> Iterator[running.Service]:
    """The service with everything on: limits spare loopback by default."""
    with running.serve(
        folder,
        upstreams=[upstream.address],
        entries=listed,
        every="15m",
        before=pinned(SERVER_CORE),
        seconds=120,
    ) as running_service:
        yield running_service


def missing(*programs: str) -> list[str]:
    """Those programs that are not installed."""
    return [one for one in programs if servers.find(one) is None]


def tell(text: str) -> None:
    """Say what goes on; the table alone goes to stdout."""
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"{text}\n")
