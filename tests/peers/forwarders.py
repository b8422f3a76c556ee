"""Real resolvers of Debian's that send every question to one port of loopback: Unbound, BIND and dnsmasq.

Rules:
- With trust anchors they validate; without them they do not.
- None answers a reserved name by itself: what it says comes from the port behind it.
- Over TLS, which Unbound alone speaks to a forwarder here, it verifies the name and the authority of a Secured.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.journeys.running import HOST, free_ports
from tests.peers.servers import Server, running

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
  edns-buffer-size: 1232
  module-config: "{modules}"
  tcp-upstream: {stream}
{nodefault}{anchors}{bundle}
forward-zone:
  name: "."
  forward-addr: {host}@{upstream}{verified}
  forward-tls-upstream: {tls}
remote-control:
  control-enable: no
"""
_NAMED = """
options {{
  directory "{folder}";
  pid-file "{folder}/named.pid";
  session-keyfile none;
  listen-on port {port} {{ {host}; }};
  listen-on-v6 {{ none; }};
  allow-query {{ any; }};
  allow-recursion {{ any; }};
  recursion yes;
  empty-zones-enable no;
  forwarders {{ {host} port {upstream}; }};
  forward only;
  edns-udp-size 1232;
  max-udp-size 1232;
  dnssec-validation {validation};
}};
server {host} {{ {stream} }};
controls {{ }};
{anchors}
"""
_DNSMASQ = (
    *("--keep-in-foreground", "--log-facility=-", "--no-resolv", "--no-hosts", "--no-poll", "--conf-file=/dev/null"),
    *("--bind-interfaces", "--cache-size=1000", "--edns-packet-max=1232", "--pid-file="),
)
NAMES = ("unbound", "named", "dnsmasq")
_OWN = ("test.", "invalid.", "onion.", "home.arpa.", "10.in-addr.arpa.", "localhost.")
READY = "ready.test"


class Secured(NamedTuple):
    """How a server of DNS over TLS is verified: its name, and the file of its authority."""

    name: str
    ca: Path


@contextmanager
def forwarder(
    kind: str,
    folder: Path,
    upstream: int,
    *,
    path: str,
    anchors: Sequence[str] = (),
    over_tcp: bool = False,
    over_tls: Secured | None = None,
) -> Iterator[Server]:
    """A resolver of NAMES that asks `upstream`; it is ready when it has an answer for READY from there.

    An anchor is a zone and its DNSKEY's flags, protocol, algorithm and key. over_tls: of Unbound alone.
    """
    assert over_tls is None or kind == "unbound", kind
    folder.mkdir(parents=True)
    (port,) = free_ports(1)
    if kind == "unbound":
        trusted = "".join(f"  trust-anchor: '{one.replace(' ', ' IN DNSKEY ', 1)}'\n" for one in anchors)
        text = _UNBOUND.format(
            host=HOST,
            port=port,
            folder=folder,
            upstream=upstream,
            modules="validator iterator" if anchors else "iterator",
            stream="yes" if over_tcp else "no",
            nodefault="".join(f'  local-zone: "{zone}" nodefault\n' for zone in _OWN),
            anchors=trusted,
            bundle=f'  tls-cert-bundle: "{over_tls.ca}"\n' if over_tls else "",
            verified=f"#{over_tls.name}" if over_tls else "",
            tls="yes" if over_tls else "no",
        )
        command = [path, "-d", "-c", str(folder / "config")]
    elif kind == "named":
        keys = "".join('  {} static-key {} {} {} "{}";\n'.format(*one.split()) for one in anchors)
        text = _NAMED.format(
            host=HOST,
            port=port,
            folder=folder,
            upstream=upstream,
            validation="yes" if anchors else "no",
            stream="tcp-only yes;" if over_tcp else "",
            anchors=f"trust-anchors {{\n{keys}}};" if anchors else "",
        )
        command = [path, "-g", "-c", str(folder / "config")]
    else:
        text = ""
        command = [path, *_DNSMASQ, f"--listen-address={HOST}", f"--port={port}", f"--server={HOST}#{upstream}"]
    (folder / "config").write_text(text)
    with running(command, folder, port, READY) as server:
        yield server
