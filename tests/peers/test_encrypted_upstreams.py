"""Real resolvers of Debian's as encrypted upstreams: Unbound, BIND, Knot Resolver and dnsdist, over TLS and HTTPS.

Rules:
- One service asks all of them: each peer has a zone for each of its transports, `KIND-tls.test` and `KIND-https.test`.
- Each peer sends every question to one scripted upstream, which answers alike for all.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import pytest
import trustme

from tests.fakes.sealed import NAME
from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.burst import burst
from tests.journeys.processes import REAL, Site, asked, honest, series, wait_for
from tests.journeys.running import HOST, PAGE_V4, Service, free_ports
from tests.peers.servers import running

KINDS = ("unbound", "named", "kresd", "dnsdist")
MANY = 100

CONFIGURATIONS = {
    "unbound": """
server:
  interface: {host}@{plain}
  interface: {host}@{tls}
  interface: {host}@{https}
  tls-port: {tls}
  https-port: {https}
  tls-service-key: "{key}"
  tls-service-pem: "{chain}"
  access-control: 127.0.0.0/8 allow
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: "{folder}/pid"
  do-daemonize: no
  use-syslog: no
  do-ip6: no
  do-not-query-localhost: no
  module-config: "iterator"
  local-zone: "test." nodefault
forward-zone:
  name: "."
  forward-addr: {host}@{upstream}
remote-control:
  control-enable: no
""",
    "named": """
tls own {{ key-file "{key}"; cert-file "{chain}"; }};
http own {{ endpoints {{ "/dns-query"; }}; }};
options {{
  directory "{folder}";
  pid-file "{folder}/pid";
  session-keyfile none;
  listen-on port {plain} {{ {host}; }};
  listen-on port {tls} tls own {{ {host}; }};
  listen-on port {https} tls own http own {{ {host}; }};
  listen-on-v6 {{ none; }};
  recursion yes;
  allow-query {{ any; }};
  allow-recursion {{ any; }};
  empty-zones-enable no;
  forwarders {{ {host} port {upstream}; }};
  forward only;
  dnssec-validation no;
}};
controls {{ }};
""",
    "kresd": """
net.tls('{chain}', '{key}')
net.listen('{host}', {plain}, {{ kind = 'dns' }})
net.listen('{host}', {tls}, {{ kind = 'tls' }})
net.listen('{host}', {https}, {{ kind = 'doh2' }})
modules.load('policy')
trust_anchors.remove('.')
policy.add(policy.all(policy.STUB({{'{host}@{upstream}'}})))
cache.size = 10 * MB
""",
    "dnsdist": """
setLocal('{host}:{plain}')
addTLSLocal('{host}:{tls}', '{chain}', '{key}', {{ provider = 'openssl', maxInFlight = 100 }})
addDOHLocal('{host}:{https}', '{chain}', '{key}', '/dns-query')
newServer({{ address = '{host}:{upstream}', checkName = 'ready.test.' }})
setSecurityPollSuffix('')
""",
}
COMMANDS = {
    "unbound": ("-d", "-c", "config"),
    "named": ("-g", "-c", "config"),
    "kresd": ("-n", "-c", "config", "."),
    "dnsdist": ("--supervised", "--disable-syslog", "-C", "config"),
}


@dataclass
class Peers:
    """What runs: the service, the scripted upstream, and each peer's ports for TLS and HTTPS."""

    service: Service
    upstream: Upstream
    ports: dict[str, tuple[int, int]]


def text(scheme: str, port: int) -> str:
    return f"{scheme}://{NAME}@{HOST}:{port}{'/dns-query' if scheme == 'https' else ''}"


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], str]) -> Iterator[Peers]:
    paths = {kind: program(kind) for kind in KINDS}
    folder = tmp_path_factory.mktemp("peers")
    (folder / "service").mkdir()
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    certificate = ca.issue_cert(NAME)
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for number, pem in enumerate(certificate.cert_chain_pems):
        pem.write_to_path(folder / "chain.pem", append=number > 0)
    ports = {kind: free_ports(3) for kind in KINDS}
    with ExitStack() as stack:
        upstream = stack.enter_context(in_thread(honest))
        for kind, (plain, tls, https) in ports.items():
            below = folder / kind
            below.mkdir()
            values = {"plain": plain, "tls": tls, "https": https, "upstream": upstream.port, "folder": below}
            files = {"key": folder / "key.pem", "chain": folder / "chain.pem"}
            (below / "config").write_text(CONFIGURATIONS[kind].format(host=HOST, **values, **files))
            command = [paths[kind], *COMMANDS[kind]]
            stack.enter_context(running(command, below, plain, "ready.test", 60))
        zones = [
            {"name": f"{kind}-{scheme}.test", "servers": [text(scheme, port)]}
            for kind, (_, *both) in ports.items()
            for scheme, port in zip(("tls", "https"), both, strict=True)
        ]
        servers = [text("tls", ports["unbound"][1])]
        site = Site(folder / "service", servers, {"upstream": {"ca": str(folder / "ca.pem"), "zone": zones}})
        site.publish(["listed.test", "www.unbound-tls.test"])
        service = stack.enter_context(site.started())
        yield Peers(service, upstream, {kind: (tls, https) for kind, (_, tls, https) in ports.items()})


def is_up(service: Service, server: str) -> bool:
    return series(service, "upstream_up", upstream=server) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_answered_over_both_transports(peers: Peers, kind: str, figures: dict[str, str]) -> None:
    for scheme, port in zip(("tls", "https"), peers.ports[kind], strict=True):
        server = text(scheme, port)
        wait_for(partial(is_up, peers.service, server), f"{server} to be up")
        names = [f"n{number}.{kind}-{scheme}.test" for number in range(MANY)]
        came = burst(peers.service.dns, names, per_second=300, wait_s=10, pid=peers.service.process.pid)
        said = f"{came.share(REAL):.1%} of {MANY}, worst {came.worst():.2f} s"
        figures[f"{kind} as an upstream over {scheme}"] = said
        assert came.share(REAL) > 0.99, came.said()


def test_a_listed_name_is_blocked_and_reaches_nobody(peers: Peers) -> None:
    blocked = f"{PAGE_V4} EDE 4"
    for name in ("www.unbound-tls.test", "a.www.unbound-tls.test", "www.listed.test"):
        assert asked(peers.service.dns, name) == blocked
    names = {query.question[0].name.to_text() for query in peers.upstream.queries}
    assert not [name for name in names if "listed" in name or name.endswith("www.unbound-tls.test.")]
