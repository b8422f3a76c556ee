"""deploy/dnsdist in front of three resolvers, under load: killed, hung, cut off, and not enforcing.

The figures are at the end of the run: what was lost, and what was wrong.
"""

import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journeys.processes import hang_up
from tests.journeys.running import ROOT
from tests.peers import hosts as lab
from tests.peers import spaces
from tests.peers.hosts import GATE, LISTED, OTHER, Host, wait_for

DNSDIST = ROOT / "deploy" / "dnsdist" / "dnsdist.conf"
NAME = "enforced.selftest.invalid"
CONSOLE = '\nsetKey("aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789abcdefg=")\ncontrolSocket("127.0.0.1:5199")\n'
STRANGER = "203.0.113.9"

Program = Callable[[str], str]


def listen(number: int) -> dict[str, list[str]]:
    """What the README tells to configure on a resolver."""
    balancer = f"{lab.middle_of(number)}/32"
    dns = [f"{lab.address_of(number)}:53"]
    allow = ["198.51.100.0/24", balancer, f"{lab.address_of(number)}/32"]
    return {"dns": dns, "allow": allow, "proxy_from": [balancer]}


def configured(folder: Path, text: str, hosts: list[Host]) -> Path:
    """The shipped file with the addresses of the test: nothing else of it is changed, but for `text` at its end."""
    said = DNSDIST.read_text()
    resolvers = ", ".join(f'"{one.address}:53"' for one in hosts)
    for key, value in (("doors", f'"{GATE}:53"'), ("clients", '"198.51.100.0/24"'), ("resolvers", resolvers)):
        said, times = re.subn(rf"(?m)^local {key} = {{.*}}$", f"local {key} = {{ {value} }}", said)
        assert times == 1, key
    path = folder / "dnsdist.conf"
    path.write_text(said + text)
    return path


@dataclass
class Front:
    """dnsdist, its resolvers, and where their clients stand."""

    client: int
    middle: int
    hosts: list[Host]
    folder: Path
    config: Path

    @property
    def said(self) -> str:
        return (self.folder / "dnsdist.log").read_text(errors="replace")

    def is_up(self, host: Host) -> bool:
        """Whether dnsdist has said so last."""
        found = re.findall(rf"Marking downstream {re.escape(host.address)}\S* .*as '(\w+)'", self.said)
        return bool(found) and found[-1] == "up"

    def until(self, host: Host, *, up: bool) -> float:
        return wait_for(lambda: self.is_up(host) == up, f"{host.address} {'up' if up else 'down'}:\n{self.said}")

    def console(self, dnsdist: str, command: str) -> str:
        with spaces.inside(self.middle):
            return spaces.run(f"{dnsdist} -C {self.config} -e '{command}'")


@pytest.fixture(scope="module")
def dnsdist(program: Program) -> str:
    program("ip")
    return program("dnsdist")


@contextmanager
def in_front(dnsdist: str, folder: Path, more: str = "") -> Iterator[Front]:
    with ExitStack() as stack:
        client, middle, hosts = stack.enter_context(lab.laid(folder, 3, listen))
        lab.start(hosts)
        config = configured(folder, more, hosts)
        with spaces.inside(middle):
            command = (dnsdist, "-C", str(config), "--supervised", "--disable-syslog")
            stack.enter_context(lab.running(*command, log=folder / "dnsdist.log"))
        front = Front(client, middle, hosts, folder, config)
        for host in hosts:
            front.until(host, up=True)
        yield front


@pytest.fixture(scope="module")
def front(dnsdist: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with in_front(dnsdist, tmp_path_factory.mktemp("front"), CONSOLE) as found:
        yield found


def test_the_shipped_file_is_understood(dnsdist: str) -> None:
    assert "OK!" in spaces.run(f"{dnsdist} -C {DNSDIST} --check-config 2>&1")


def test_a_client_is_answered_over_both_and_a_stranger_not(front: Front) -> None:
    pages, reals = {one.page for one in front.hosts}, {one.real for one in front.hosts}
    for over in ("udp", "tcp"):
        assert lab.ask(front.client, GATE, f"a.{LISTED}", over) in pages
        assert lab.ask(front.client, GATE, f"a.{OTHER}", over) in reals
    with spaces.inside(front.client):
        spaces.run(f"ip addr add {STRANGER}/32 dev home && ip route replace {GATE}/32 dev home src {STRANGER}")
    with spaces.inside(front.middle):
        spaces.run(f"ip route add {STRANGER}/32 dev door")
    try:
        assert lab.ask(front.client, GATE, f"a.{OTHER}", seconds=0.7) == ""
    finally:
        with spaces.inside(front.client):
            spaces.run(f"ip route del {GATE}/32 && ip addr del {STRANGER}/32 dev home")
    assert lab.ask(front.client, GATE, f"a.{OTHER}") in reals


def test_nothing_about_a_query_is_kept_by_dnsdist(dnsdist: str, front: Front) -> None:
    assert lab.ask(front.client, GATE, f"kept.{OTHER}") in {one.real for one in front.hosts}
    assert "kept" not in front.console(dnsdist, "topQueries(10)") + front.console(dnsdist, 'grepq("")')
    _, *pools = front.console(dnsdist, "showPools()").splitlines()
    before = [line.partition("leastOutstanding")[0].split() for line in pools]
    assert before == [[], ["blocklist"]], "a pool's packet cache stands between its name and its policy"
    assert all(one.address in pools[1] for one in front.hosts)


def test_kill_hang_and_cut_lose_little_and_nothing_is_wrong(front: Front, figures: dict[str, str]) -> None:
    told, bounds = [], []
    began = time.monotonic()
    with lab.load(front.client, GATE, front.folder, front.hosts) as found:
        for fault, host in zip(("kill", "hang", "cut"), front.hosts, strict=True):
            at = time.monotonic()
            host.fail(fault)
            down = front.until(host, up=False)
            settled = time.monotonic() + 1.0
            host.mend(fault)
            up = front.until(host, up=True)
            bounds.append((fault, down, up, at, settled))
    load = found[0]
    for fault, down, up, at, settled in bounds:
        until_then = load.told(at, settled)
        told.append(f"{fault}: out after {down:.1f} s, back {up:.1f} s after its end; until then {until_then}")
    told.append(f"in all: {load.told(began)}; wrong: {len(load.wrong)}")
    figures["dnsdist in front of three, killed, hung and cut off in turn"] = "\n".join(told)
    assert load.wrong == []
    sent, _, lost = load.lost()
    assert sent > 0
    assert lost <= sent * 0.02, "what is asked three times is answered"
    assert all(load.by(one) for one in front.hosts), "each has answered"


def test_a_resolver_that_does_not_enforce_is_out_although_it_answers(front: Front) -> None:
    """A list joins it that has not come yet: names that only it would block are forwarded."""
    host = front.hosts[0]
    assert host.service
    lists = list(host.site.lists)
    with lab.load(front.client, GATE, front.folder, front.hosts) as found:
        host.site.lists = [*lists, lab.list_without_source(host.folder)]
        host.site.write()
        hang_up(host.service)
        front.until(host, up=False)
        out = time.monotonic()
        with spaces.inside(host.space):
            assert lab.ask(host.space, host.address, NAME) == "NXDOMAIN"
            # It answers all the same: silence is not why it is out.
            assert lab.ask(host.space, host.address, f"x.{OTHER}") == host.real
        back = time.monotonic()
        host.site.lists = lists
        host.site.write()
        hang_up(host.service)
        front.until(host, up=True)
    assert found[0].wrong == []
    assert found[0].by(host, out + 0.2, back) == 0, "no answer of it while it is out"
    assert lab.ask(host.space, host.address, NAME) == host.page


def test_without_any_resolver_the_answer_is_servfail(front: Front) -> None:
    for host in front.hosts:
        host.signal(signal.SIGSTOP)
    try:
        for host in front.hosts:
            front.until(host, up=False)
        for over in ("udp", "tcp"):
            for name in (LISTED, OTHER):
                assert lab.ask(front.client, GATE, f"z.{name}", over) == "SERVFAIL"
    finally:
        for host in front.hosts:
            host.signal(signal.SIGCONT)
    for host in front.hosts:
        front.until(host, up=True)
