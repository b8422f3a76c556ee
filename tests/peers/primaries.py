"""BIND, Knot and NSD as primaries of one response policy zone, signed with TSIG, on loopback; TLS where they can.

The configurations are those of blocklists/README.md, with the ports and folders of a test.
"""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.query
import dns.tsigkeyring

from tests.fakes.primary import SECRET, key_file
from tests.journeys.running import HOST, free_ports
from tests.peers.servers import START_S, find, running

ZONE = "rpz.example"
KEY = "feed.example"

_BIND = """
include "{folder}/{key}.key";
{tls_block}
options {{
  directory "{folder}";
  pid-file "{folder}/named.pid";
  session-keyfile none;
  listen-on port {port} {{ {host}; }};
  {tls_listen}
  listen-on-v6 {{ none; }};
  recursion no;
  dnssec-validation no;
  notify-delay 0;
}};
controls {{ }};
zone "{zone}" {{
  type primary;
  file "zone";
  allow-query {{ key "{key}"; localhost; }};
  allow-transfer {{ key "{key}"; }};
  notify explicit;
  also-notify {{ {notify_bind} }};
  ixfr-from-differences yes;
}};
"""
_KNOT = """
server:
    rundir: "{folder}"
    listen: {host}@{port}
database:
    storage: "{folder}/db"
key:
  - id: {key}
    algorithm: hmac-sha256
    secret: {secret}
{remotes}acl:
  - id: feed
    key: {key}
    action: transfer
zone:
  - domain: {zone}
    storage: "{folder}"
    file: zone
    acl: feed
{notify_knot}    journal-content: changes
    zonefile-load: difference
    zonefile-sync: -1
"""
_NSD = """
server:
  ip-address: {host}@{port}
{tls_nsd}
  username: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  server-count: 1
remote-control:
  control-enable: no
key:
  name: "{key}"
  algorithm: hmac-sha256
  secret: "{secret}"
zone:
  name: "{zone}"
  zonefile: "zone"
  provide-xfr: {host} {key}
  store-ixfr: yes
  create-ixfr: yes
{notify_nsd}
"""
_NSD_TLS = """  ip-address: {host}@{tls}
  tls-port: {tls}
  tls-service-key: "{own}"
  tls-service-pem: "{chain}"
"""
PROGRAMS = {"bind": "named", "knot": "knotd", "nsd": "nsd"}


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """PEM files of a server: its certificate and its key."""

    chain: Path
    key: Path


@dataclass(frozen=True, kw_only=True)
class Primary:
    """A running primary; `tls` is its second port, 0 where it has none."""

    folder: Path
    port: int
    tls: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Where it is without TLS, as a configuration names it."""
        return f"dns://{HOST}:{self.port}/{ZONE}"

    def publish(self, serial: int, records: Sequence[str], seconds: float = START_S) -> None:
        """Serve these records under a new serial; the server itself then says NOTIFY."""
        write(self.folder, serial, records)
        self.process.send_signal(signal.SIGHUP)
        query, deadline, pause = dns.message.make_query(ZONE, "SOA"), time.monotonic() + seconds, threading.Event()
        query.use_tsig(dns.tsigkeyring.from_text({KEY: SECRET}))
        while time.monotonic() < deadline:
            reply = dns.query.udp(query, HOST, port=self.port, timeout=5)
            if reply.answer and reply.answer[0][0].serial == serial:
                return
            pause.wait(0.05)
        raise AssertionError((self.folder / "log").read_text(errors="replace"))


def write(folder: Path, serial: int, records: Sequence[str]) -> None:
    """The zone's master file."""
    head = f"$TTL 300\n@ SOA ns.example. mail.example. {serial} 3600 600 86400 60\n@ NS ns.example.\n"
    fresh = folder / "zone.new"
    fresh.write_text(head + "".join(f"{one}\n" for one in records))
    fresh.rename(folder / "zone")


@contextmanager
def primary(
    kind: str,
    folder: Path,
    records: Sequence[str],
    *,
    serial: int = 1,
    notify: Sequence[int] = (),
    certificate: Certificate | None = None,
    seconds: float = START_S,
) -> Iterator[Primary]:
    """A primary of this kind that serves ZONE; it tells the ports of loopback in `notify` of changes."""
    (folder / "db").mkdir(parents=True)
    write(folder, serial, records)
    port, tls = free_ports(2)
    key_file(folder, KEY)
    chain, own = (certificate.chain, certificate.key) if certificate else ("", "")
    config = folder / "config"
    text = {"bind": _BIND, "knot": _KNOT, "nsd": _NSD}[kind].format(
        folder=folder,
        host=HOST,
        port=port,
        key=KEY,
        secret=SECRET,
        zone=ZONE,
        tls_block=f'tls xot {{ cert-file "{chain}"; key-file "{own}"; }};' if certificate else "",
        tls_listen=f"listen-on port {tls} tls xot {{ {HOST}; }};" if certificate else "",
        tls_nsd=_NSD_TLS.format(host=HOST, tls=tls, own=own, chain=chain) if certificate else "",
        notify_bind=" ".join(f'{HOST} port {one} key "{KEY}";' for one in notify),
        notify_knot=f"    notify: [{', '.join(f'resolver{one}' for one in notify)}]\n" if notify else "",
        remotes=("remote:\n" if notify else "")
        + "".join(f"  - id: resolver{one}\n    address: {HOST}@{one}\n    key: {KEY}\n" for one in notify),
        notify_nsd="".join(f"  notify: {HOST}@{one} {KEY}\n" for one in notify),
    )
    config.write_text(text)
    options = {"bind": ("-g", "-c"), "knot": ("-c",), "nsd": ("-d", "-c")}[kind]
    with running([str(find(PROGRAMS[kind])), *options, str(config)], folder, port, ZONE, seconds) as server:
        yield Primary(folder=folder, port=port, tls=tls if certificate else 0, process=server.process)
