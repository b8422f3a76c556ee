"""DNS cookies with other people's programs: dig, kdig, and BIND and Unbound as forwarders in front of us.

BIND with our secret accepts our cookies, and we accept BIND's: what hosts of one anycast address need (RFC 9018).
"""

import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from tests.fakes.upstream import in_thread
from tests.journeys.processes import hang_up, honest
from tests.journeys.running import HOST, PAGE_V4, Service, free_ports, serve
from tests.peers import forwarders, servers
from tests.peers.servers import Server

pytestmark = pytest.mark.timeout(180)

Program = Callable[[str], str]
SECRET, OTHER = "e5e973e5a6b2a43f48e7dc849e37bfcf", "445536bcd2513298075a5d379663c962"
CLIENT_COOKIE: Final = b"my eight"
RATE: Final = 20
_NAMED = """
options {{
  directory "{folder}"; pid-file "{folder}/named.pid"; session-keyfile none;
  listen-on port {port} {{ {host}; }}; listen-on-v6 {{ none; }};
  recursion no; allow-query {{ any; }}; dnssec-validation no;
  cookie-algorithm siphash24; {secrets} require-server-cookie yes;
}};
controls {{ }};
zone "ready.test" {{ type primary; file "{folder}/zone"; }};
"""
_ZONE = "$TTL 60\n@ SOA ns nobody 1 3600 1200 604800 60\n@ NS ns\nns A 127.0.0.1\n"


@dataclass(frozen=True)
class Lab:
    """A service with a fleet's secret, and a BIND with the same."""

    service: Service
    bind: Server
    secrets: Path


@contextmanager
def bind(folder: Path, path: str, *secrets: str) -> Iterator[Server]:
    """A BIND that answers a cookie that is not good with BADCOOKIE; the first of the secrets makes cookies."""
    folder.mkdir()
    (port,) = free_ports(1)
    (folder / "zone").write_text(_ZONE)
    said = " ".join(f'cookie-secret "{one}";' for one in secrets)
    (folder / "config").write_text(_NAMED.format(folder=folder, port=port, host=HOST, secrets=said))
    with servers.running([path, "-g", "-c", str(folder / "config")], folder, port, "ready.test") as one:
        yield one


@pytest.fixture(scope="module", params=["compiled", "loop"])
def lab(request: pytest.FixtureRequest, program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("cookies")
    secrets = folder / "secrets"
    secrets.touch(0o600)
    secrets.write_text(f"{SECRET}\n")
    (folder / "service").mkdir()
    more = f'[cookies]\nsecrets = "{secrets}"\n[limits]\nexempt = []\nqueries_per_second = {RATE}\n'
    with ExitStack() as stack:
        upstream = stack.enter_context(in_thread(honest))
        service = stack.enter_context(
            serve(
                folder / "service",
                upstreams=[upstream.address],
                entries=["listed.test"],
                core=request.param,
                more=more,
            )
        )
        yield Lab(service, stack.enter_context(bind(folder / "bind", program("named"), SECRET)), secrets)


def asked(port: int, cookie: bytes, name: str = "listed.test", source: str = HOST) -> dns.message.Message:
    """The answer to a query with a cookie."""
    made = dns.message.make_query(name, "A", options=[dns.edns.GenericOption(10, cookie)])
    return dns.query.udp(made, HOST, port=port, timeout=10, source=source)


def is_good(port: int, cookie: bytes) -> bool:
    """Whether a server calls a cookie good, asked without a question (RFC 7873 5.4)."""
    option = b"\0\x0a" + len(cookie).to_bytes(2, "big") + cookie
    octets = b"\xab\xcd\1\0\0\0\0\0\0\0\0\1" + b"\0\0\x29\x04\xd0\0\0\0\0" + len(option).to_bytes(2, "big") + option
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.settimeout(10)
        one.connect((HOST, port))
        one.send(octets)
        answer = dns.message.from_wire(one.recv(4096))
    assert answer.rcode() in (dns.rcode.NOERROR, dns.rcode.BADCOOKIE)
    return answer.rcode() == dns.rcode.NOERROR


def cookie_of(answer: dns.message.Message) -> bytes:
    """The cookie of an answer."""
    (found,) = [one for one in answer.options if int(one.otype) == 10]
    return found.to_wire() or b""


def run(*command: str) -> str:
    """What a program says; it has to succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def flooded(port: int, source: str) -> Iterator[Callable[[], None]]:
    """A forged sender's queries without a cookie: what it calls sends three times the limit at once."""
    query = dns.message.make_query("listed.test", "A").to_wire()
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind((source, 0))
        one.connect((HOST, port))

        def flood() -> None:
            for _ in range(3 * RATE):
                one.send(query)

        flood()
        yield flood


def test_what_one_has_made_the_other_accepts(lab: Lab) -> None:
    ours = cookie_of(asked(lab.service.dns, CLIENT_COOKIE))
    first = asked(lab.bind.port, CLIENT_COOKIE, "ready.test")
    assert first.rcode() == dns.rcode.BADCOOKIE
    theirs = cookie_of(first)
    assert (ours[:12], len(ours), len(theirs)) == (theirs[:12], 24, 24)
    assert asked(lab.bind.port, ours, "ready.test").rcode() == dns.rcode.NOERROR
    assert is_good(lab.service.dns, theirs)
    assert is_good(lab.service.dns, ours)
    for at in (0, 8, 12, 16, 23):
        forged = bytearray(theirs)
        forged[at] ^= 1
        assert not is_good(lab.service.dns, bytes(forged))
        assert asked(lab.bind.port, bytes(forged), "ready.test").rcode() == dns.rcode.BADCOOKIE


def test_a_secret_is_rolled_over_beside_bind_without_a_bad_cookie(lab: Lab, program: Program, tmp_path: Path) -> None:
    port = lab.service.dns
    old = cookie_of(asked(port, CLIENT_COOKIE))
    lab.secrets.write_text(f"{SECRET}\n{OTHER}\n")
    reload(lab)
    with bind(tmp_path / "bind", program("named"), OTHER, SECRET) as turned:
        # BIND has turned to the new secret already: we accept its cookies, and it accepts ours.
        new = cookie_of(asked(turned.port, CLIENT_COOKIE, "ready.test"))
        assert is_good(port, new)
        assert is_good(port, old)
        assert asked(turned.port, old, "ready.test").rcode() == dns.rcode.NOERROR
    lab.secrets.write_text(f"{OTHER}\n{SECRET}\n")
    reload(lab)
    assert is_good(port, old)
    assert is_good(port, new)
    made = cookie_of(asked(port, old))
    assert made[8:16] >= old[8:16]
    lab.secrets.write_text(f"{OTHER}\n")
    reload(lab)
    assert not is_good(port, old)
    assert is_good(port, made)
    lab.secrets.write_text(f"{SECRET}\n")
    reload(lab)
    assert is_good(port, old)


def reload(lab: Lab) -> None:
    """Let the service read its secrets again."""
    service, said = lab.service, "configuration read again"
    before = service.said.count(said)
    hang_up(service)
    service.until("/healthz", lambda _: service.said.count(said) > before)


@pytest.mark.parametrize("name", ["dig", "kdig"])
def test_dig_and_kdig_get_a_cookie_and_call_it_good(lab: Lab, program: Program, name: str) -> None:
    said = run(program(name), f"@{HOST}", "-p", str(lab.service.dns), "-b", "127.0.0.9", "+cookie", "listed.test", "A")
    assert PAGE_V4 in said
    found = re.search(r"COOKIE: ([0-9a-fA-F]+)", said)
    assert found, said
    assert len(found[1]) == 48
    if name == "dig":
        assert "(good)" in said


@pytest.mark.parametrize("name", ["dig", "kdig"])
def test_under_a_flood_badcookie_leads_to_an_answer_over_udp(lab: Lab, program: Program, name: str) -> None:
    source = {"dig": "127.0.0.21", "kdig": "127.0.0.22"}[name]
    again = ("+tries=20", "+time=1") if name == "dig" else ("+retry=20", "+timeout=1")
    with flooded(lab.service.dns, source) as flood:
        for _ in range(3):
            flood()
            said = run(
                program(name), f"@{HOST}", "-p", str(lab.service.dns), "-b", source, "+cookie", "+badcookie", *again,
                "+ignore", "listed.test", "A",
            )  # fmt: skip
            assert PAGE_V4 in said, said


def test_a_client_with_a_good_cookie_is_not_touched_by_a_flood_in_its_name(lab: Lab) -> None:
    source = "127.0.0.31"
    good = cookie_of(asked(lab.service.dns, CLIENT_COOKIE, source=source))
    with flooded(lab.service.dns, source) as flood:
        for _ in range(RATE // 2):
            flood()
            answer = asked(lab.service.dns, good, source=source)
            assert (answer.rcode(), bool(answer.flags & dns.flags.TC)) == (dns.rcode.NOERROR, False)
            assert [str(one) for one in answer.answer[0]] == [PAGE_V4]


def measured(path: str, port: int, source: str, *more: str, folder: Path) -> tuple[int, int]:
    """How many queries dnsperf has had answered with NOERROR and with BADCOOKIE, of RATE at half the limit.

    It takes the lower four bits of a response code, which are YXRRSET of BADCOOKIE.
    """
    (folder / "names").write_text("listed.test A\n" * RATE)
    pace = ("-Q", str(RATE // 2), "-c", "1", "-T", "1", "-n", "1", "-t", "2")
    where = ("-s", HOST, "-p", str(port), "-a", source, "-d", str(folder / "names"))
    said = run(path, *where, *pace, *more)
    found = {name: int(count) for name, count in re.findall(r"(NOERROR|YXRRSET) (\d+)", said)}
    assert re.search(rf"Queries sent: +{RATE}\b", said), said
    return found.get("NOERROR", 0), found.get("YXRRSET", 0)


def test_a_good_cookie_spares_a_client_what_a_flood_in_its_name_costs(
    lab: Lab, program: Program, tmp_path: Path
) -> None:
    """dnsperf and kdig repeat a cookie, or send none; a flood without one goes on all the while."""
    port, source = lab.service.dns, "127.0.0.41"
    good = cookie_of(asked(port, CLIENT_COOKIE, source=source)).hex()
    forged = good[:-2] + f"{int(good[-2:], 16) ^ 1:02x}"
    over = threading.Event()
    with flooded(port, source) as flood:

        def keep_on() -> None:
            while not over.wait(0.05):
                flood()

        with ThreadPoolExecutor(1) as aside:
            aside.submit(keep_on)
            try:
                path = program("dnsperf")
                said_of = partial(measured, path, port, source, folder=tmp_path)
                assert said_of("-E", f"10:{good}") == (RATE, 0)
                # A flood that the machine holds up takes nothing: not each try has to show it.
                tries = (said_of("-E", f"10:{forged}") for _ in range(5))
                assert any(sent_back and answered + sent_back < RATE for answered, sent_back in tries)
                command = (program("kdig"), f"@{HOST}", "-p", str(port), "-b", source, "+ignore", "+retry=0")
                said = run(*command, f"+cookie={good}", "listed.test", "A")
                assert PAGE_V4 in said, said
                assert " tc" not in said.lower().partition("question")[0], said
            finally:
                over.set()


def test_a_bind_in_front_of_us_sends_its_cookie_and_needs_no_tcp(lab: Lab, program: Program, tmp_path: Path) -> None:
    with forwarders.forwarder("named", tmp_path / "named", lab.service.dns, path=program("named")) as front:
        lookup(front, "learn.test")
        before = lab.service.get("/metrics")[1]
        with flooded(lab.service.dns, HOST) as flood:
            for number in range(RATE // 2):
                flood()
                assert lookup(front, f"n{number}.test") == dns.rcode.NOERROR
        good = total(before, "cookies_total", "good")
        lab.service.until("/metrics", lambda body: total(body, "cookies_total", "good") > good)
        assert total(lab.service.get("/metrics")[1], "queries_total", "tcp") == total(before, "queries_total", "tcp")


def test_an_unbound_in_front_of_us_is_answered(lab: Lab, program: Program, tmp_path: Path) -> None:
    with forwarders.forwarder("unbound", tmp_path / "unbound", lab.service.dns, path=program("unbound")) as front:
        assert lookup(front, "unbound.test") == dns.rcode.NOERROR
        answer = dns.query.udp(dns.message.make_query("listed.test", "A"), HOST, port=front.port, timeout=10)
        assert [str(one) for one in answer.answer[0]] == [PAGE_V4]


def lookup(front: Server, name: str) -> dns.rcode.Rcode:
    """What a forwarder answers for a name that is not listed."""
    return dns.query.udp(dns.message.make_query(name, "A"), HOST, port=front.port, timeout=20).rcode()


def total(body: bytes, name: str, label: str) -> float:
    """The value of one series of a counter."""
    found = re.search(rf'^blocklist_resolver_{name}{{[^}}]*"{label}"}} (\S+)', body.decode(), re.MULTILINE)
    assert found, f"{name} {label}"
    return float(found[1])
