"""The peers, each of Debian's package at its best documented settings for these names; README.md has the sources.

Rules:
- A peer has the names that the service has, answers them with the page's address and forwards the rest to the same
  upstream; whatever it does beyond that, and can be switched off, is off.
- It has as many threads as the service, and is ready when it blocks every name of _SURE samples (BIND answers first
  and loads its zone beside).
"""

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import check, names
from tests.bench.load import BALANCER, Cores
from tests.bench.subjects import START_S, UPSTREAM_ZONE, Subject
from tests.journeys.running import HOST, PAGE_V4, free_ports
from tests.peers import servers
from tests.peers.servers import Server

_BUFFER = 4 * 2**20
_SURE = 20

# Debian's dnsdist 1.7.3 cannot switch its ring buffers off; they are made as small as it takes. With 0 seconds between
# looks at the CDB's file it would look at each suffix of each query.
_DNSDIST = """
setUDPMultipleMessagesVectorSize(64)
setUDPSocketBufferSizes({buffer},{buffer})
setRingBuffersSize(1,1)
setMaxTCPClientThreads({threads})
setSecurityPollSuffix('')
{binds}
setACL({{'127.0.0.0/8'}})
{proxied}
newServer({{address='{upstream}',sockets=4}})
kvs=newCDBKVStore('{cdb}', 60)
addAction(KeyValueStoreLookupRule(kvs, KeyValueLookupKeySuffix(2)), SpoofAction('{page}'))
getPool(""):setCache(newPacketCache(1000000,{{maxTTL=86400,numberOfShards={threads}}}))
"""
_DNSDIST_BIND = "addLocal('{host}:{port}',{{reusePort=true}})\n"
_UNBOUND = """
server:
  interface: {host}@{port}
  interface: {host}@{other}
  proxy-protocol-port: {other}
  access-control: 127.0.0.0/8 allow
  username: ""
  chroot: ""
  directory: "{place}"
  pidfile: "{place}/unbound.pid"
  do-daemonize: no
  use-syslog: no
  verbosity: 0
  num-threads: {threads}
  msg-cache-slabs: {threads}
  rrset-cache-slabs: {threads}
  infra-cache-slabs: {threads}
  key-cache-slabs: {threads}
  msg-cache-size: 256m
  rrset-cache-size: 512m
  outgoing-range: 8192
  num-queries-per-thread: 4096
  incoming-num-tcp: 1000
  so-reuseport: yes
  so-rcvbuf: 4m
  so-sndbuf: 4m
  do-ip6: no
  outgoing-interface: {host}
  do-not-query-localhost: no
  module-config: "{modules}"
  local-zone: "test." nodefault
  local-zone: "invalid." nodefault
{rules}
forward-zone:
  name: "."
  forward-addr: {host}@{upstream}
remote-control:
  control-enable: no
"""
_UNBOUND_RPZ = """
rpz:
  name: rpz.invalid
  zonefile: "{rpz}"
  for-downstream: no
  rpz-log: no
"""
_RECURSOR = """
local-address={host}
local-port={port}
threads={threads}
pdns-distributes-queries=no
reuseport=yes
forward-zones-recurse=.={host}:{upstream}
dont-query=
socket-dir={place}
lua-config-file={place}/rpz.lua
security-poll-suffix=
dnssec=off
setuid=
setgid=
max-cache-entries=2000000
max-packetcache-entries=1000000
max-mthreads=4096
max-tcp-clients=1000
stats-ringbuffer-entries=0
statistics-interval=0
export-etc-hosts=no
serve-rfc1918=no
quiet=yes
loglevel=3
write-pid=no
"""
_RECURSOR_RPZ = 'rpzFile("{rpz}", {{policyName="bench", log=false}})\n'
_KNOT = """
net.listen('{host}', {port}, {{ kind = 'dns' }})
cache.size = 512 * MB
trust_anchors.remove('.')
modules.unload('ta_update')
modules.unload('ta_signal_query')
modules.unload('priming')
modules.unload('detect_time_skew')
policy.add(policy.rpz(policy.DENY, '{rpz}', false))
policy.add(policy.all(policy.STUB({{'{host}@{upstream}'}})))
"""
_BIND = """
options {{
  directory "{place}"; pid-file none; session-keyfile none; lock-file none;
  listen-on port {port} {{ {host}; }}; listen-on-v6 {{ none; }};
  forward only; forwarders {{ {host} port {upstream}; }};
  recursion yes; allow-query {{ 127.0.0.0/8; }}; dnssec-validation no; empty-zones-enable no; minimal-responses yes;
  recursive-clients 10000; tcp-clients 1000; max-cache-size 1g; querylog no;
  response-policy {{ zone "rpz.invalid" log no; }} qname-wait-recurse no break-dnssec yes recursive-only no add-soa no;
}};
zone "rpz.invalid" {{ type primary; file "{rpz}"; allow-query {{ none; }}; allow-transfer {{ none; }}; notify no; }};
controls {{ }};
logging {{ category default {{ null; }}; }};
"""
_DNSMASQ = """
port={port}
listen-address={host}
bind-interfaces
no-resolv
no-hosts
user=
pid-file=
server={host}#{upstream}
cache-size=10000
dns-forward-max=10000
"""


@dataclass(frozen=True)
class Given:
    """What each peer is started with."""

    folder: Path
    upstream: Server
    listed: Sequence[str]
    cores: Cores

    @property
    def rpz(self) -> Path:
        """The names as a response policy zone, written once."""
        path = self.folder / "list.rpz"
        if not path.exists():
            names.write_rpz(path, self.listed, PAGE_V4)
        return path

    def place(self, name: str) -> Path:
        """A folder of the peer's own."""
        path = self.folder / name
        path.mkdir()
        return path


Started = Iterator[list[Subject]]


@contextmanager
def _started(name: str, command: Sequence[str], given: Given, place: Path, port: int) -> Started:
    with servers.running([*given.cores.serve, *command], place, port, UPSTREAM_ZONE, START_S) as server:
        deadline, pause = time.monotonic() + START_S, threading.Event()
        while any(check.wrong(port, given.listed, "udp", edns=False, seed=seed) for seed in range(_SURE)):
            assert time.monotonic() < deadline, f"{name} does not block: {(place / 'log').read_text()}"
            pause.wait(0.2)
        yield [Subject(name=name, port=server.port, pids=(server.process.pid,))]


def _written(place: Path, name: str, text: str) -> Path:
    path = place / name
    path.write_text(text)
    return path


@contextmanager
def dnsdist(name: str, path: str, given: Given, *, more: str = "") -> Started:
    """The list in a CDB; a second one, on a port that its balancers use, for PROXY v2. more: lines of the first."""
    file = given.folder / "list.cdb"
    with contextlib.ExitStack() as stack:
        found = []
        subprocess.run(
            [servers.find("cdb") or "cdb", "-c", str(file)], input=b"".join(names.cdb_records(given.listed)), check=True
        )
        for called, proxied in ((name, ""), (f"{name}, PROXY v2", f"setProxyProtocolACL({{'{BALANCER}/32'}})")):
            (port,), place = free_ports(1), given.place(called)
            config = _DNSDIST.format(
                buffer=_BUFFER,
                threads=given.cores.threads,
                binds=_DNSDIST_BIND.format(host=HOST, port=port) * given.cores.threads,
                proxied=proxied,
                upstream=given.upstream.address,
                cdb=file,
                page=PAGE_V4,
            )
            file_of = _written(place, "dnsdist.conf", config + ("" if proxied else more))
            command = [path, "--supervised", "--disable-syslog", "-C", str(file_of)]
            (subject,) = stack.enter_context(_started(called, command, given, place, port))
            found.append(_proxied(subject, called, port) if proxied else subject)
        yield found


def _proxied(subject: Subject, name: str, port: int) -> Subject:
    return Subject(name=name, port=port, pids=subject.pids, over=("proxy",))


@contextmanager
def _unbound(name: str, path: str, given: Given, modules: str, server_rules: str, more: str) -> Started:
    (port, other), place = free_ports(2), given.place(name)
    config = _UNBOUND.format(
        host=HOST,
        port=port,
        other=other,
        place=place,
        threads=given.cores.threads,
        modules=modules,
        rules=server_rules,
        upstream=given.upstream.port,
    )
    file = _written(place, "unbound.conf", config + more)
    with _started(name, [path, "-d", "-c", str(file)], given, place, port) as (subject,):
        yield [subject, _proxied(subject, f"{name}, PROXY v2", other)]


@contextmanager
def unbound_rpz(name: str, path: str, given: Given, *, more: str = "") -> Started:
    """The list as a response policy zone. more: clauses of its configuration."""
    more = _UNBOUND_RPZ.format(rpz=given.rpz) + more
    with _unbound(name, path, given, "respip iterator", '  local-zone: "test." transparent', more) as found:
        yield found


@contextmanager
def unbound_local(name: str, path: str, given: Given) -> Started:
    """The list as local zones."""
    rules = given.folder / "local-zones"
    with rules.open("w") as file:
        for one in given.listed:
            file.write(f'local-zone: "{one}." redirect\nlocal-data: "{one}. 60 A {PAGE_V4}"\n')
    with _unbound(name, path, given, "iterator", f'  include: "{rules}"', "") as found:
        yield found


@contextmanager
def recursor(name: str, path: str, given: Given) -> Started:
    """The list as a response policy zone."""
    (port,), place = free_ports(1), given.place(name)
    config = _RECURSOR.format(
        host=HOST, port=port, threads=given.cores.threads, place=place, upstream=given.upstream.port
    )
    _written(place, "recursor.conf", config)
    _written(place, "rpz.lua", _RECURSOR_RPZ.format(rpz=given.rpz))
    with _started(name, [path, f"--config-dir={place}"], given, place, port) as found:
        yield found


@contextmanager
def knot(name: str, path: str, given: Given) -> Started:
    """The list as a response policy zone; one process."""
    (port,), place = free_ports(1), given.place(name)
    config = _written(
        place, "kresd.conf", _KNOT.format(host=HOST, port=port, rpz=given.rpz, upstream=given.upstream.port)
    )
    with _started(name, [path, "-n", "-q", "-c", str(config), str(place)], given, place, port) as found:
        yield found


@contextmanager
def bind(name: str, path: str, given: Given) -> Started:
    """The list as a response policy zone."""
    (port,), place = free_ports(1), given.place(name)
    config = _written(
        place,
        "named.conf",
        _BIND.format(host=HOST, port=port, place=place, rpz=given.rpz, upstream=given.upstream.port),
    )
    with _started(name, [path, "-f", "-n", str(given.cores.threads), "-c", str(config)], given, place, port) as found:
        yield found


@contextmanager
def dnsmasq(name: str, path: str, given: Given) -> Started:
    """The list as addresses; it has one thread, and keeps 10,000 names at most."""
    (port,), place = free_ports(1), given.place(name)
    lines = "".join(f"address=/{line}/{PAGE_V4}\n" for line in names.dnsmasq_lines(given.listed))
    config = _written(
        place, "dnsmasq.conf", _DNSMASQ.format(host=HOST, port=port, upstream=given.upstream.port) + lines
    )
    with _started(name, [path, "--keep-in-foreground", f"--conf-file={config}"], given, place, port) as found:
        yield found


@dataclass(frozen=True)
class Peer:
    """A peer: what it is called, how it is started, what it needs, about how many bytes it takes for a name."""

    name: str
    start: Callable[[str, str, Given], contextlib.AbstractContextManager[list[Subject]]]
    programs: tuple[str, ...]
    package: str
    bytes_a_name: int
    key: str = field(default="")


PEERS = (
    Peer("dnsdist, CDB", dnsdist, ("dnsdist", "cdb"), "dnsdist", 120, "dnsdist"),
    Peer("Unbound, RPZ", unbound_rpz, ("unbound",), "unbound", 2300, "unbound-rpz"),
    Peer("Unbound, local-zone", unbound_local, ("unbound",), "unbound", 1050, "unbound-local"),
    Peer("Knot Resolver, RPZ", knot, ("kresd",), "knot-resolver", 1250, "knot"),
    Peer("PowerDNS Recursor, RPZ", recursor, ("pdns_recursor",), "pdns-recursor", 650, "recursor"),
    Peer("BIND, RPZ", bind, ("named",), "bind9", 950, "bind"),
    Peer("dnsmasq", dnsmasq, ("dnsmasq",), "dnsmasq-base", 100, "dnsmasq"),
)


def missing(peer: Peer) -> list[str]:
    """Those of its programs that are not installed."""
    return [one for one in peer.programs if servers.find(one) is None]


def version(peer: Peer) -> str:
    """The version of its package, as Debian's."""
    words = ["dpkg-query", "-W", "-f", "${Version}", peer.package]
    return subprocess.run(words, check=False, capture_output=True, text=True).stdout.strip()
