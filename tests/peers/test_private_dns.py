"""Clients of the operating system that encrypt their queries: systemd-resolved, getdns, Android's private DNS, and some
behind load balancers (HAProxy, nginx, dnsdist). A listed and an open name over DoT alone; who verifies takes no other
name."""

import http.client
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from tests.journeys.edges import PATH, in_url, pipelined
from tests.journeys.processes import came, header_of, query_for
from tests.journeys.running import HOST, PAGE_V4
from tests.peers.hosts import running, wait_for
from tests.peers.offered import (
    ADDRESS,
    BALANCER,
    BLOCKED,
    CLIENT,
    NAME,
    OPEN,
    REAL,
    SCOPED,
    STRANGER,
    WARD,
    WEB,
    WRONG_NAME,
    Offered,
    in_own_files,
    offered,
)

Program = Callable[[str], str]
WANTED = {BLOCKED: PAGE_V4, OPEN: WEB}
PATIENCE_S = 60.0
REFUSED_S = 2.0
"""How long a client is asked that has no resolver: it may try again all the time, and says nothing."""
STUB = "127.0.0.53"
ACCOUNT, NUMBER = "systemd-resolve", 64053
"""What systemd-resolved runs as, which its package would make."""
PIPELINED = 24
TLS_ALERT = b"\x15"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offered]:
    with offered(tmp_path_factory.mktemp("offered"), http3=True) as found:
        yield found


def answered(where: str, port: int, name: str, seconds: float) -> str:
    """What a stub on this host answers: the address, or the code; "nothing" if it does not."""
    try:
        reply = dns.query.udp(dns.message.make_query(name, "A"), where, timeout=seconds, port=port)
    except (dns.exception.Timeout, OSError):
        return "nothing"
    found = [one.address for rrset in reply.answer for one in rrset if one.rdtype == dns.rdatatype.A]
    return " ".join(found) or dns.rcode.to_text(reply.rcode())


def by_dot_alone(lab: Offered, where: str, port: int) -> None:
    """A stub gives both names, and all that the service receives is over TLS."""
    before = lab.received()
    wait_for(lambda: answered(where, port, OPEN, PATIENCE_S) == WEB, "the stub resolves", PATIENCE_S)
    assert {name: answered(where, port, name, PATIENCE_S) for name in WANTED} == WANTED
    wait_for(lambda: lab.received()["dot"] >= before["dot"] + 2, "the counts are published")
    assert lab.received() == {**before, "dot": lab.received()["dot"]}


def without_an_answer(lab: Offered, where: str, port: int) -> None:
    """A stub gives neither name, and the service receives nothing from it."""
    before = lab.received()
    assert {answered(where, port, name, REFUSED_S) for name in WANTED} <= {"nothing", "SERVFAIL"}
    assert came(over_tls(lab, query_for(OPEN))[0]) == WEB
    wait_for(lambda: lab.received()["dot"] > before["dot"], "the counts are published")
    assert lab.received() == {**before, "dot": before["dot"] + 1}, "but our own query"


def over_tls(
    lab: Offered, *queries: bytes, at: str = "", port: int = 853, source: str = CLIENT
) -> list[bytes]:
    """Answers of one connection, whose other end is verified. at: the edge's address, or that of a port's balancer."""
    where = at or (ADDRESS if port == 853 else BALANCER), port
    with (
        socket.create_connection(where, PATIENCE_S, source_address=(source, 0)) as below,
        ssl.create_default_context(cafile=lab.place.ca).wrap_socket(below, server_hostname=NAME) as one,
    ):
        return pipelined(one, *queries)


# systemd-resolved ----------------------------------------------------------------------------------------------------


@contextmanager
def resolved(program: Program, lab: Offered, folder: Path, mode: str, server: str, *, trusts: bool) -> Iterator[None]:
    """Run systemd-resolved with files, accounts and run-time folders of its own, and without a bus."""
    path = shutil.which("systemd-resolved", path="/usr/lib/systemd") or program("systemd-resolved")
    lines = ("[Resolve]", f"DNS={server}", f"DNSOverTLS={mode}", "FallbackDNS=", "Domains=~.", "DNSSEC=no", "Cache=no")
    texts = {"resolved.conf": "\n".join((*lines, "LLMNR=no", "MulticastDNS=no", ""))}
    accounts = {"passwd": f"{ACCOUNT}:x:{NUMBER}:{NUMBER}::/:/bin/false", "group": f"{ACCOUNT}:x:{NUMBER}:"}
    for name, own in accounts.items():
        others = [one for one in Path("/etc", name).read_text().splitlines() if not one.startswith(f"{ACCOUNT}:")]
        texts[name] = "\n".join((*others, own, ""))
    for name, text in texts.items():
        (folder / name).write_text(text)
    files = {
        "/etc/passwd": folder / "passwd",
        "/etc/group": folder / "group",
        "/etc/systemd/resolved.conf": folder / "resolved.conf",
        "/run/systemd/ca.pem": lab.place.ca,
    }
    owned = f"install -d -o {NUMBER} -g {NUMBER} /run/systemd/resolve && chmod 644 /run/systemd/ca.pem && exec "
    command = in_own_files(("/etc/systemd", "/run/systemd", "/run/dbus"), files, "sh", "-c", owned + path)
    environment = {"PATH": os.environ["PATH"]} | ({"SSL_CERT_FILE": "/run/systemd/ca.pem"} if trusts else {})
    with running(*command, log=folder / "resolved-said", env=environment) as process:
        def listens() -> bool:
            assert process.poll() is None, (folder / "resolved-said").read_text()
            return answered(STUB, 53, "localhost", REFUSED_S) == HOST  # which it knows by itself

        wait_for(listens, "systemd-resolved listens", PATIENCE_S)
        yield


@pytest.mark.parametrize(("mode", "server"), [("yes", f"{ADDRESS}#{NAME}"), ("opportunistic", ADDRESS)])
def test_systemd_resolved_asks_over_tls(lab: Offered, program: Program, tmp_path: Path, mode: str, server: str) -> None:
    """Opportunistic: the certificate's authority is unknown to it, and it does not mind."""
    with resolved(program, lab, tmp_path, mode, server, trusts=mode == "yes"):
        by_dot_alone(lab, STUB, 53)


def test_systemd_resolved_takes_no_other_name(lab: Offered, program: Program, tmp_path: Path) -> None:
    with resolved(program, lab, tmp_path, "yes", f"{ADDRESS}#{WRONG_NAME}", trusts=True):
        without_an_answer(lab, STUB, 53)


# getdns --------------------------------------------------------------------------------------------------------------

_STUBBY = """resolution_type: GETDNS_RESOLUTION_STUB
dns_transport_list: [{transports}]
tls_authentication: GETDNS_AUTHENTICATION_{authentication}
tls_ca_file: "{ca}"
tls_query_padding_blocksize: 128
appdata_dir: "{folder}"
listen_addresses: [127.0.0.1@{port}]
upstream_recursive_servers:
  - address_data: {address}
"""


@contextmanager
def stubby(program: Program, folder: Path, *, name: str, ca: Path) -> Iterator[int]:
    """Run getdns's stub; `name` "" is its opportunistic profile. The port at which it listens."""
    port = 5453
    text = _STUBBY.format(
        transports="GETDNS_TRANSPORT_TLS" if name else "GETDNS_TRANSPORT_TLS, GETDNS_TRANSPORT_UDP",
        authentication="REQUIRED" if name else "NONE", ca=ca, folder=folder, port=port, address=ADDRESS,
    )  # fmt: skip
    (folder / "stubby.yml").write_text(text + (f'    tls_auth_name: "{name}"\n' if name else ""))
    with running(program("stubby"), "-C", str(folder / "stubby.yml"), log=folder / "stubby-said") as process:
        wait_for(lambda: process.poll() is not None or listens_at("udp", HOST, port), "stubby listens", PATIENCE_S)
        assert process.poll() is None, (folder / "stubby-said").read_text()
        yield port


def listens_at(over: str, host: str, port: int) -> bool:
    """Whether somebody listens there; a connection to find out would be counted."""
    here = f" {socket.inet_aton(host)[::-1].hex().upper()}:{port:04X} 00000000:0000 "
    return here in Path(f"/proc/thread-self/net/{over}").read_text()


@pytest.mark.parametrize("name", [NAME, ""], ids=["strict", "opportunistic"])
def test_getdns_asks_over_tls(lab: Offered, program: Program, tmp_path: Path, name: str) -> None:
    ca = lab.place.ca if name else Path("/dev/null")
    with stubby(program, tmp_path, name=name, ca=ca) as port:
        by_dot_alone(lab, HOST, port)


@pytest.mark.parametrize("fault", ["name", "authority"])
def test_getdns_that_cannot_verify_has_no_resolver(lab: Offered, program: Program, tmp_path: Path, fault: str) -> None:
    name, ca = (WRONG_NAME, lab.place.ca) if fault == "name" else (NAME, Path("/dev/null"))
    with stubby(program, tmp_path, name=name, ca=ca) as port:
        without_an_answer(lab, HOST, port)


# Android's private DNS, imitated -------------------------------------------------------------------------------------


class Android:
    """What Android's resolver does with a network's resolver, as far as it is documented.

    Opportunistic (`name` ""): port 853 of the network's resolver is probed, without a name in the handshake and without
    a look at the certificate. Strict: the name and the chain are verified, and without them nothing is asked. Queries
    are pipelined on one connection, padded to 128 octets, and answered in any order; the next connection resumes the
    session.
    """

    def __init__(self, ca: Path | None, name: str, version: ssl.TLSVersion) -> None:
        self._name = name
        self._session: ssl.SSLSession | None = None
        self._context = ssl.create_default_context(cafile=ca)
        if not name:
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
        self._context.minimum_version = self._context.maximum_version = version
        self._number = 0

    def ask(self, *names: str) -> tuple[dict[int, tuple[str, str]], bool]:
        """Ask all at once on a new connection; what came by query, and whether the session was resumed."""
        queries = [dns.message.make_query(name, "A", use_edns=0, pad=128) for name in names]
        for query in queries:
            self._number = query.id = self._number + 1
        with (
            socket.create_connection((ADDRESS, 853), PATIENCE_S) as below,
            self._context.wrap_socket(below, server_hostname=self._name or None, session=self._session) as one,
        ):
            answers = pipelined(one, *(query.to_wire() for query in queries))
            replies = [dns.message.from_wire(answer) for answer in answers]
            self._session = one.session  # with TLS 1.3 it comes after the handshake
            return {reply.id: said_by(reply) for reply in replies}, bool(one.session_reused)


def said_by(reply: dns.message.Message) -> tuple[str, str]:
    """The name that was asked, and its address."""
    return reply.question[0].name.to_text(omit_final_dot=True), came(reply.to_wire()).split()[0]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("name", [NAME, ""], ids=["strict", "opportunistic"])
def test_private_dns_probes_pipelines_and_resumes(lab: Offered, name: str, version: ssl.TLSVersion) -> None:
    phone = Android(lab.place.ca if name else None, name, version)
    probed, resumed = phone.ask(OPEN)
    assert (list(probed.values()), resumed) == ([(OPEN, WEB)], False)
    asked = [(BLOCKED, OPEN)[number % 2] for number in range(PIPELINED)]
    said, resumed = phone.ask(*asked)
    assert resumed, "the session was not resumed"
    assert said == {2 + number: (one, WANTED[one]) for number, one in enumerate(asked)}


@pytest.mark.parametrize("fault", ["name", "authority"])
def test_strict_private_dns_that_cannot_verify_asks_nothing(lab: Offered, fault: str) -> None:
    name, ca = (WRONG_NAME, lab.place.ca) if fault == "name" else (NAME, None)
    phone = Android(ca, name, ssl.TLSVersion.TLSv1_3)
    before = lab.received()
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch" if fault == "name" else "unable to get"):
        phone.ask(OPEN)
    assert came(over_tls(lab, query_for(OPEN))[0]) == WEB
    wait_for(lambda: lab.received()["dot"] > before["dot"], "the counts are published")
    assert lab.received() == {**before, "dot": before["dot"] + 1}, "but our own query"


# Load balancers ------------------------------------------------------------------------------------------------------

V1, BARE, INSIDE, ENDS = 8853, 8854, 8855, 8856
"""Ports of the balancer: nginx with its PROXY header, nginx without one, dnsdist, whose header is inside TLS, and
dnsdist that ends TLS and asks the service itself."""
_HAPROXY = f"""defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
listen dot
    bind {BALANCER}:853
    server edge {ADDRESS}:853 source {BALANCER} send-proxy-v2
listen doh
    bind {BALANCER}:443
    server edge {ADDRESS}:443 source {BALANCER} send-proxy-v2
"""
_NGINX = f"""load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
pid %s/nginx.pid;
error_log stderr;
events {{}}
stream {{
    server {{ listen {BALANCER}:{V1}; proxy_bind {BALANCER}; proxy_pass {ADDRESS}:853; proxy_protocol on; }}
    server {{ listen {BALANCER}:{BARE}; proxy_bind {CLIENT}; proxy_pass {ADDRESS}:853; }}
}}
"""
_DNSDIST = f"""setSecurityPollSuffix("")
setLocal("{BALANCER}:{INSIDE}")
addTLSLocal("{BALANCER}:{ENDS}", "%(folder)s/edge.pem", "%(folder)s/edge.key")
setACL({{"0.0.0.0/0"}})
edge = newServer({{address="{ADDRESS}:853", tls="openssl", subjectName="{NAME}", caStore="%(ca)s",
    source="{BALANCER}", useProxyProtocol=true}})
service = newServer({{address="{ADDRESS}:53", source="{BALANCER}", useProxyProtocol=true, pool="service"}})
addAction(DSTPortRule({ENDS}), PoolAction("service"))
edge:setUp()
service:setUp()
"""


@pytest.fixture(scope="module")
def balanced(lab: Offered, program: Program) -> Iterator[Offered]:
    """The balancers before the edge. HAProxy says by PROXY v2 who has come."""
    texts = {"haproxy": _HAPROXY, "nginx": _NGINX % lab.folder, "dnsdist": _DNSDIST % vars(lab.place)}
    files = {name: lab.folder / f"{name}.conf" for name in texts}
    for name, text in texts.items():
        files[name].write_text(text)
    commands = {
        "haproxy": ([program("haproxy"), "-db", "-f", str(files["haproxy"])], 853),
        "nginx": ([program("nginx"), "-c", str(files["nginx"])], V1),
        "dnsdist": ([program("dnsdist"), "--supervised", "--disable-syslog", "-C", str(files["dnsdist"])], INSIDE),
    }
    with ExitStack() as stack:
        for name, (command, port) in commands.items():
            process = stack.enter_context(running(*command, log=lab.folder / f"{name}-said"))

            def listens(process: "subprocess.Popen[bytes]" = process, port: int = port) -> bool:
                return process.poll() is not None or listens_at("tcp", BALANCER, port)

            wait_for(listens, f"{name} listens", PATIENCE_S)
            assert process.poll() is None, (lab.folder / f"{name}-said").read_text()
        yield lab


def refused(lab: Offered, reason: str) -> float:
    """How often the edge has refused for this reason."""
    body = lab.service.get("/metrics")[1].decode()
    series = f'blocklist_resolver_edge_refused_total{{reason="{reason}"}} '
    return sum(float(line.removeprefix(series)) for line in body.splitlines() if line.startswith(series))


@pytest.mark.parametrize("port", [853, ENDS], ids=["haproxy", "dnsdist"])
def test_the_scope_of_a_list_is_that_of_the_client_before_the_balancer(balanced: Offered, port: int) -> None:
    def came_to(who: str, name: str) -> str:  # one a connection: of several in a record dnsdist 1.7 takes the first
        return came(over_tls(balanced, query_for(name), at=BALANCER, port=port, source=who)[0])

    said = {who: {came_to(who, name) for name in (BLOCKED, SCOPED, OPEN)} for who in (CLIENT, WARD)}
    assert said[CLIENT] == {f"{PAGE_V4} EDE 4", REAL, WEB}, "SCOPED is not listed for this client"
    assert said[WARD] == {f"{PAGE_V4} EDE 4", WEB}


def over_https(lab: Offered, name: str, at: str, source: str) -> tuple[str, str | None]:
    """What comes by a connection over HTTPS, and the other way that is announced."""
    context = ssl.create_default_context(cafile=lab.place.ca)
    with socket.create_connection((at, 443), PATIENCE_S, source_address=(source, 0)) as below:
        spoken = http.client.HTTPConnection(NAME)
        spoken.sock = context.wrap_socket(below, server_hostname=NAME)
        with closing(spoken):
            spoken.request("GET", f"{PATH}?dns={in_url(query_for(name))}")
            response = spoken.getresponse()
            return came(response.read()), response.headers.get("alt-svc")


def test_over_https_too_and_no_way_is_announced_that_leads_past_the_balancer(balanced: Offered) -> None:
    said = {who: over_https(balanced, SCOPED, BALANCER, who) for who in (CLIENT, WARD)}
    assert said == {CLIENT: (REAL, None), WARD: (f"{PAGE_V4} EDE 4", None)}
    assert over_https(balanced, SCOPED, ADDRESS, WARD) == (f"{PAGE_V4} EDE 4", 'h3=":443"; ma=3600')


def test_a_balancer_without_a_header_is_the_client_of_all_who_come_by_it(balanced: Offered) -> None:
    """Lists for some clients, the ACL and the limits see its address alone."""
    for who in (WARD, STRANGER):
        said = [came(one) for one in over_tls(balanced, *map(query_for, (SCOPED, BLOCKED)), port=BARE, source=who)]
        assert sorted(said) == sorted((REAL, f"{PAGE_V4} EDE 4")), who


def test_headers_that_are_not_version_2_before_tls_are_refused(balanced: Offered) -> None:
    """nginx has version 1 alone; dnsdist, as a client of DoT, puts its header inside TLS."""
    before, received = refused(balanced, "proxy"), balanced.received()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        over_tls(balanced, query_for(OPEN), port=V1, source=CLIENT)
    query = dns.message.make_query(OPEN, "A")
    with pytest.raises((dns.exception.Timeout, EOFError, ConnectionError)):
        dns.query.tcp(query, BALANCER, timeout=REFUSED_S, port=INSIDE, source=CLIENT)
    wait_for(lambda: refused(balanced, "proxy") >= before + 2, "both are counted", PATIENCE_S)
    assert balanced.received() == received


REFUSALS = {
    "a stranger before the balancer": (BALANCER, STRANGER, b"", "not_allowed"),
    "a stranger without one": (ADDRESS, STRANGER, b"", "not_allowed"),
    "a header that names a stranger": (ADDRESS, BALANCER, header_of(STRANGER), "not_allowed"),
    "a client that names itself": (ADDRESS, CLIENT, header_of(WARD), "handshake"),
    "the balancer's address without a header": (ADDRESS, BALANCER, b"", "proxy"),
}


def hello() -> bytes:
    """What a client of TLS says first."""
    said = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), said, server_hostname=NAME).do_handshake()
    return said.read()


def heard(at: str, source: str, header: bytes) -> bytes:
    """All that is said to a client until it is left."""
    said = b""
    with suppress(ConnectionError), socket.create_connection((at, 853), PATIENCE_S, source_address=(source, 0)) as one:
        one.sendall(header + hello())
        while part := one.recv(4096):
            said += part
    return said


def test_who_is_not_allowed_is_refused(balanced: Offered) -> None:
    """Without a handshake; each is counted under its reason. Handshakes of other tests may be reported as late."""
    reasons = [reason for *_, reason in REFUSALS.values()]
    before, received = {one: refused(balanced, one) for one in reasons}, balanced.received()
    for who, (at, source, header, _) in REFUSALS.items():
        assert heard(at, source, header)[:1] in (b"", TLS_ALERT), who
    wanted = {one: before[one] + reasons.count(one) for one in reasons}
    wait_for(lambda: all(refused(balanced, one) >= wanted[one] for one in reasons), "all are counted", PATIENCE_S)
    assert [refused(balanced, one) for one in ("not_allowed", "proxy")] == [wanted["not_allowed"], wanted["proxy"]]
    assert balanced.received() == received
