"""Behind dnsdist, which names its clients by PROXY protocol v2: who is refused, limited and counted is the real client.

Three network namespaces in a row: clients of several addresses, dnsdist, the service. The service sees packets from
dnsdist's address alone.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journeys.running import NO_UPSTREAM, ROOT, Authority, configure, launch, stop

START_S = 20.0
BALANCER, SERVICE = "192.0.2.2", "192.0.2.3"
DOOR = {"4": "198.51.100.1", "6": "2001:db8:c::1"}
ALLOWED = ("198.51.100.10", "198.51.100.11", "198.51.100.12", "2001:db8:c::10")
STRANGERS = ("203.0.113.9", "2001:db8:bad::9")
RATE = 20

# Asks (address of the client, of the door, transport, count) for listed.test; prints rcodes, "TC" or "silence".
_ASK = """
import sys, json, dns.message, dns.query, dns.rcode, dns.exception
client, door, over, count = sys.argv[1:]
said = []
for number in range(int(count)):
    query = dns.message.make_query("listed.test", "A", use_edns=0)
    try:
        reply = getattr(dns.query, over)(query, door, source=client, timeout=0.7)
        said.append("TC" if reply.flags & 0x200 else "blocked" if reply.answer else dns.rcode.to_text(reply.rcode()))
    except (dns.exception.Timeout, EOFError, OSError):
        said.append("silence")
print(json.dumps(said))
"""
# Prints what an address answers, of any status.
_READ = """
import sys, urllib.error, urllib.request
try:
    reply = urllib.request.urlopen(sys.argv[1], timeout=5)
except urllib.error.HTTPError as error:
    reply = error
print(reply.read().decode(), end="")
"""
_DNSDIST = """
setLocal("{v4}:53")
addLocal("[{v6}]:53")
setACL({{"0.0.0.0/0", "::/0"}})
setSecurityPollSuffix("")
newServer{{address="{service}:53", useProxyProtocol=true, checkInterval=1, checkName="listed.test.", {more}}}
"""


def run(*command: str) -> str:
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert said.returncode == 0, f"{' '.join(command[:6])}: {said.stderr}"
    return said.stdout


def inside(space: str, *command: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", space, *command)


@dataclass(frozen=True)
class Spaces:
    """The namespaces' names."""

    clients: str
    balancer: str
    service: str

    def link(self, one: str, other: str, name: str) -> None:
        """A wire between two namespaces; its ends are NAME0 and NAME1."""
        run("ip", "link", "add", f"{name}0", "netns", one, "type", "veth", "peer", f"{name}1", "netns", other)
        for space, end in ((one, f"{name}0"), (other, f"{name}1")):
            run("ip", "-n", space, "link", "set", end, "up")

    def lay(self) -> None:
        """Wires, addresses and routes."""
        for space in (self.clients, self.balancer, self.service):
            run("ip", "-n", space, "link", "set", "lo", "up")
        self.link(self.clients, self.balancer, "door")
        self.link(self.balancer, self.service, "back")
        at = {(self.clients, "door0"): (*ALLOWED, *STRANGERS), (self.balancer, "door1"): tuple(DOOR.values())}
        at |= {(self.balancer, "back0"): (BALANCER,), (self.service, "back1"): (SERVICE,)}
        for (space, end), addresses in at.items():
            for address in addresses:
                length = ("64", "nodad") if ":" in address else ("24",)
                run("ip", "-n", space, "addr", "add", f"{address}/{length[0]}", "dev", end, *length[1:])
        for net in ("203.0.113.0/24", "2001:db8:bad::/64"):
            run("ip", "-n", self.balancer, "route", "add", net, "dev", "door1")


@contextmanager
def made(label: str) -> Iterator[Spaces]:
    """Namespaces of our own; skipped, with the reason, where none can be made, but for CI."""
    found = Spaces(*(f"blr-{os.getpid()}-{label}-{part}" for part in ("clients", "balancer", "service")))
    with ExitStack() as stack:
        for name in (found.clients, found.balancer, found.service):
            said = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
            if said.returncode:
                reason = f"no network namespace can be made (root is needed): {said.stderr.strip()}"
                if os.environ.get("CI") == "true":
                    pytest.fail(reason)
                pytest.skip(reason)
            stack.callback(run, "ip", "netns", "del", name)
        found.lay()
        yield found


@dataclass(frozen=True)
class Lab:
    """The service behind dnsdist, and where its clients stand."""

    spaces: Spaces
    log: Path

    def ask(self, client: str, over: str = "udp", count: int = 1, door: str = "") -> list[str]:
        """What a client gets from dnsdist, or from another address."""
        door = door or DOOR["6" if ":" in client else "4"]
        command = (sys.executable, "-c", _ASK, client, door, over, str(count))
        said: list[str] = json.loads(run(*inside(self.spaces.clients, *command)))
        return said

    def said(self) -> str:
        """What dnsdist said so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def is_ready(self) -> bool:
        """Whether the service lacks nothing but an upstream: it has none here."""
        command = inside(self.spaces.service, sys.executable, "-c", _READ, f"http://{SERVICE}:9153/readyz")
        return subprocess.run(command, capture_output=True, check=False).stdout == NO_UPSTREAM

    def metric(self, name: str) -> int:
        """A number of the metrics' address."""
        url = f"http://{SERVICE}:9153/metrics"
        text = run(*inside(self.spaces.service, sys.executable, "-c", _READ, url))
        found = [line.split()[1] for line in text.splitlines() if line.startswith(f"blocklist_resolver_{name}")]
        return int(float(found[0]))

    def wait_for(self, holds: Callable[[], bool], what: str) -> None:
        deadline, pause = time.monotonic() + START_S, threading.Event()
        while time.monotonic() < deadline:
            if holds():
                return
            pause.wait(0.1)
        raise AssertionError(f"{what} did not come:\n{self.said()}")


@contextmanager
def served(spaces: Spaces, folder: Path, dnsdist: str, allow: Sequence[str], more: str = "") -> Iterator[Lab]:
    """The service and dnsdist, each in its namespace; `more` goes into dnsdist's newServer."""
    Authority(folder / "authority").publish(["listed.test"])
    limits = f"[limits]\nqueries_per_second = {RATE}\nexempt = []"
    config = configure(folder, ["127.0.0.1:9"], [53, 8080, 9153], limits)
    listen = f'dns = ["{SERVICE}:53"]\nallow = {json.dumps(allow)}\nproxy_from = ["{BALANCER}/32"]'
    text = config.read_text().replace('dns = ["127.0.0.1:53"]', listen)
    config.write_text(text.replace("127.0.0.1:9153", f"{SERVICE}:9153"))
    front = folder / "dnsdist.conf"
    front.write_text(_DNSDIST.format(v4=DOOR["4"], v6=DOOR["6"], service=SERVICE, more=more))
    lab = Lab(spaces, folder / "dnsdist.log")
    service = launch(folder, config, "compiled", inside(spaces.service))
    with ExitStack() as stack:
        stack.callback(stop, service)
        lab.wait_for(lab.is_ready, "the service")
        with open(lab.log, "wb") as log:
            command = inside(spaces.balancer, dnsdist, "-C", str(front), "--supervised", "--disable-syslog")
            balancer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        stack.callback(stop, balancer)
        lab.wait_for(lambda: "as 'up'" in lab.said(), "a good health check")
        yield lab
    assert service.returncode == 0, (folder / "stderr").read_text(errors="replace")


ALLOW = ("198.51.100.0/24", "2001:db8:c::/64")


@pytest.fixture(scope="module")
def lab(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    program("ip")
    folder, dnsdist = tmp_path_factory.mktemp("dnsdist"), program("dnsdist")
    with made("a") as spaces, served(spaces, folder, dnsdist, ALLOW) as found:
        yield found


@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_who_may_ask_is_the_client_and_not_its_balancer(lab: Lab, over: str) -> None:
    """Over TCP a stranger's connection is closed and counted; the balancer may try it more than once."""
    closed = 'packets_dropped_total{reason="not_allowed"}'
    before, refused = lab.metric(closed), "REFUSED" if over == "udp" else "silence"
    assert {client: lab.ask(client, over) for client in ALLOWED} == {client: ["blocked"] for client in ALLOWED}
    assert {client: lab.ask(client, over) for client in STRANGERS} == {client: [refused] for client in STRANGERS}
    if over == "tcp":
        lab.wait_for(lambda: lab.metric(closed) >= before + len(STRANGERS), "the count of closed connections")


def test_one_client_is_limited_and_another_is_served(lab: Lab) -> None:
    greedy = Counter(lab.ask(ALLOWED[1], count=2 * RATE + 10))
    assert greedy["blocked"] >= RATE
    assert greedy["TC"] > 0, "told to come by TCP"
    assert lab.ask(ALLOWED[2], count=5) == ["blocked"] * 5


def test_attempts_are_of_the_clients(lab: Lab) -> None:
    """A query of the same client for the same entry is one attempt in a minute, over both transports."""
    lab.wait_for(lambda: lab.metric("blocked_attempts_total") == len(ALLOWED), "an attempt of each client")
    for over in ("udp", "tcp"):
        for client in ALLOWED:
            assert lab.ask(client, over) == ["blocked"]
    queries = lab.metric("blocked_queries_total")
    lab.wait_for(lambda: lab.metric("blocked_queries_total") > queries, "the beat")
    assert lab.metric("blocked_attempts_total") == len(ALLOWED)


def test_health_checks_of_a_balancer_that_is_no_client_find_the_service_up(lab: Lab) -> None:
    """They are refused, which dnsdist takes for life unless it is told mustResolve."""
    assert f"Marking downstream {SERVICE}:53 as 'up'" in lab.said()
    assert "'down'" not in lab.said()
    assert lab.metric('packets_dropped_total{reason="proxy"}') == 0


def test_a_balancer_among_the_clients_gets_answers_to_its_health_checks(
    program: Callable[[str], str], tmp_path: Path
) -> None:
    """Even those of a dnsdist that takes REFUSED for death."""
    program("ip")
    allow, dnsdist = (*ALLOW, f"{BALANCER}/32"), program("dnsdist")
    with made("b") as spaces, served(spaces, tmp_path, dnsdist, allow, "mustResolve=true") as found:
        assert found.ask(ALLOWED[0]) == ["blocked"]
        assert "as 'down'" not in found.said()


def test_a_balancer_without_a_header_gets_nothing_and_is_counted(lab: Lab) -> None:
    before = lab.metric('packets_dropped_total{reason="proxy"}')
    command = (sys.executable, "-c", _ASK, BALANCER, SERVICE)
    for over in ("udp", "tcp"):
        assert json.loads(run(*inside(lab.spaces.balancer, *command, over, "1"))) == ["silence"]
    assert lab.metric('packets_dropped_total{reason="proxy"}') == before + 2
