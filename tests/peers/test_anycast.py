"""deploy/anycast on three hosts (two with BIRD, one with ExaBGP) and a router with BIRD, under load.

A host that does not enforce, dies, hangs or is drained is withdrawn; the last one standing stays. The figures are at
the end of the run.
"""

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from resolver.config.config import Control
from resolver.control import client, requests
from tests.fakes.stopwatch import Stopwatch
from tests.journeys.processes import descendants, hang_up
from tests.journeys.running import ROOT
from tests.peers import hosts as lab
from tests.peers import spaces
from tests.peers.hosts import LISTED, OTHER, Host, Load, wait_for

ANYCAST = ROOT / "deploy" / "anycast"
SERVICE = "203.0.113.53"
PORT = 5390
SELFTEST = "enforced.selftest.invalid"
WITHDRAWN_S = 2.0
HOLD_S = 3.0
BFD_S = 1.5
"""Its 0.8 s, and what BIRD and the kernel take after that; the hold time is between 2 and 3 s."""
EXABGP_HOST = 2
OF_DEBIAN = "/usr/bin/python3"
SANDBOX = Path(__file__).with_name("sandbox.py")
FAULTS = [("kill", 0), ("hang", 1), ("hang", EXABGP_HOST), ("cut", 1), ("lose", 0)]
"""What becomes of a host, by its number."""

Program = Callable[[str], str]

OF_EXABGP = {
    "PATH": "/usr/bin:/bin",
    "exabgp_daemon_daemonize": "false",
    "exabgp_daemon_user": "root",
    "exabgp_api_cli": "false",
    "exabgp_log_destination": "stdout",
}
"""As the unit has it, but for the account."""

ROUTER = """
router id 192.0.2.1;
protocol device { scan time 1; }
protocol direct { ipv4; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; merge paths on; }
"""
OF_BFD = 'protocol bfd { interface "*" { interval 200 ms; multiplier 4; }; }\n'
SESSION = """
protocol bgp host%d {
    local %s as 64500; neighbor %s as 64512; %s
    hold time 3; keepalive time 1; connect delay time 1; error wait time 1, 10; graceful restart off;
    ipv4 { import where net = 203.0.113.53/32; export none; };
}
"""


@dataclass
class Anycast:
    """The hosts, the router between them and the client, and what announces each."""

    client: int
    router: int
    hosts: list[Host]
    folder: Path
    figures: dict[str, str]
    console: str
    routing: subprocess.Popen[bytes] | None = None
    told: list[str] = field(default_factory=list)

    def announced(self) -> set[int]:
        """The hosts that the router's kernel has a path to."""
        with spaces.inside(self.router):
            said = spaces.run(f"ip route show {SERVICE}")
        return {host.number for host in self.hosts if re.search(rf"via {re.escape(host.address)}\s", said)}

    def until(self, *numbers: int, seconds: float = lab.SETTLE_S) -> float:
        """Wait until exactly these hosts have a path."""
        try:
            return wait_for(lambda: self.announced() == set(numbers), f"paths to {numbers}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}, but to {self.announced()}") from None

    def watch(self) -> Stopwatch:
        """A stopwatch of all that a withdrawal takes: announcers, speakers, the router."""
        assert self.routing
        started = [self.routing.pid, *(one.pid for host in self.hosts for one in host.more.values())]
        return Stopwatch(*started, *(pid for one in started for pid in descendants(one)))

    def drain(self, host: Host) -> Path:
        return host.folder / "drain"

    def state(self, host: Host) -> str:
        """What the host's announcer tells the others."""
        with spaces.inside(host.space), socket.create_connection((host.address, PORT), 5) as one:
            return one.makefile().readline().strip()

    @contextmanager
    def load(self) -> Iterator[list[Load]]:
        with lab.load(self.client, SERVICE, self.folder, self.hosts) as found:
            yield found

    def route(self, *with_bfd: int) -> None:
        """Write the router's configuration; with BFD towards these hosts."""
        sessions = [
            SESSION % (one.number, lab.middle_of(one.number), one.address, "bfd on;" if one.number in with_bfd else "")
            for one in self.hosts
        ]
        (self.folder / "router.conf").write_text(ROUTER + (OF_BFD if with_bfd else "") + "".join(sessions))

    def birdc(self, config: Path, command: str) -> str:
        """What the BIRD of a configuration says to a command; it listens on a path, and so in any network."""
        return spaces.run(f"{self.console} -s {config.with_suffix('.ctl')} {command}")

    def tell(self, what: str) -> None:
        self.told.append(what)
        self.figures["anycast by BIRD and ExaBGP, three hosts"] = "\n".join(self.told)


def options(host: Host, count: int) -> list[str]:
    """What an operator gives announce.py on a host."""
    others = [number for number in range(count) if number != host.number]
    words = ["--ask", SERVICE, "--query", f"check.{OTHER}", "--drain", str(host.folder / "drain")]
    words += ["--listen", f"{host.address}:{PORT}", "--good", "3"]
    return [*words, *(word for one in others for word in ("--other", f"{lab.address_of(one)}:{PORT}"))]


def bird_of(host: Host) -> str:
    """The shipped file with the addresses of the test, and without the sessions over IPv6."""
    text = (ANYCAST / "bird.conf").read_text().partition("protocol bgp router1_6")[0]
    text = text.replace("192.0.2.11", host.address)
    return text.replace("neighbor 192.0.2.1 ", f"neighbor {lab.middle_of(host.number)} ")


def exabgp_of(host: Host, count: int) -> str:
    """The shipped file with the addresses of the test, and its own Python."""
    text = (ANYCAST / "exabgp.conf").read_text().replace("192.0.2.12;", f"{host.address};")
    text = text.replace("neighbor 192.0.2.1 ", f"neighbor {lab.middle_of(host.number)} ")
    command = " ".join([OF_DEBIAN, "-I", str(ANYCAST / "announce.py"), "--exabgp", "--route", f"{SERVICE}/32"])
    return re.sub(r"(?m)^    run .*;$", f"    run {command} {' '.join(options(host, count))};", text)


def listen(number: int) -> dict[str, list[str]]:
    del number
    return {"dns": [f"{SERVICE}:53"], "allow": ["198.51.100.0/24", f"{SERVICE}/32"]}


def announcing(host: Host, count: int) -> tuple[str, ...]:
    """announce.py with BIRD."""
    bird = ("--bird", str(host.folder / "bird.ctl"), "--protocol", "service4", "--session", "router1")
    return (OF_DEBIAN, "-I", str(ANYCAST / "announce.py"), *bird, *options(host, count))


def under_its_unit(*command: str) -> tuple[str, ...]:
    """The command under what its unit asks of the kernel."""
    return (OF_DEBIAN, str(SANDBOX), str(ANYCAST / "blocklist-announce.service"), *command)


@pytest.fixture(scope="module")
def anycast(
    program: Program, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Anycast]:
    program("ip")
    bird, console, exabgp = program("bird"), program("birdc"), program("exabgp")
    if subprocess.run([OF_DEBIAN, "-c", "import seccomp"], capture_output=True, check=False).returncode != 0:
        program("python3-seccomp")  # no program, and so a skip or a failure that names the package
    folder = tmp_path_factory.mktemp("anycast")
    with ExitStack() as stack:
        client, router, hosts = stack.enter_context(lab.laid(folder, 3, listen))
        for host in hosts:
            with spaces.inside(host.space):
                spaces.run(f"ip addr add {SERVICE}/32 dev lo")
        lab.start(hosts)
        with spaces.inside(router):
            spaces.run("sysctl -qw net.ipv4.fib_multipath_hash_policy=1 net.ipv4.conf.all.rp_filter=0")
            found = Anycast(client, router, hosts, folder, request.getfixturevalue("figures"), console)
            found.route()
            found.routing = stack.enter_context(_bird(bird, folder / "router.conf"))
        for host in hosts:
            with spaces.inside(host.space):
                log = host.folder / "announce.log"
                if host.number == EXABGP_HOST:
                    (host.folder / "exabgp.conf").write_text(exabgp_of(host, len(hosts)))
                    command: tuple[str, ...] = (exabgp, str(host.folder / "exabgp.conf"))
                    host.more["speaker"] = stack.enter_context(lab.running(*command, log=log, env=OF_EXABGP))
                else:
                    (host.folder / "bird.conf").write_text(bird_of(host))
                    host.more["speaker"] = stack.enter_context(_bird(bird, host.folder / "bird.conf"))
                    command = under_its_unit(*announcing(host, len(hosts)))
                    host.more["announce"] = stack.enter_context(lab.running(*command, log=log))
        found.until(0, 1, 2)
        yield found


@contextmanager
def _bird(bird: str, config: Path) -> Iterator[subprocess.Popen[bytes]]:
    files = ("-s", str(config.with_suffix(".ctl")), "-P", str(config.with_suffix(".pid")))
    with lab.running(bird, "-f", "-c", str(config), *files, log=config.with_suffix(".log")) as process:
        yield process


def test_each_of_three_hosts_is_announced_and_answers(anycast: Anycast) -> None:
    with anycast.load() as found:
        began = time.monotonic()
        wait_for(lambda: time.monotonic() - began > 1.5, "queries of more than a second")
    assert found[0].wrong == []
    assert all(found[0].by(host) for host in anycast.hosts), "the router spreads queries over all"
    assert {anycast.state(host) for host in anycast.hosts} == {"stands: every list is enforced"}


@pytest.mark.parametrize(("fault", "number"), FAULTS)
def test_a_host_that_dies_hangs_or_is_cut_off_is_withdrawn(anycast: Anycast, fault: str, number: int) -> None:
    host, others = anycast.hosts[number], {0, 1, 2} - {number}
    with anycast.load() as found:
        at, watch = time.monotonic(), anycast.watch()
        host.fail(fault)
        took, counted = anycast.until(*others), watch.seconds
        settled = time.monotonic() + 1.0
        host.mend(fault)
        back = anycast.until(0, 1, 2)
    speaker = "ExaBGP" if number == EXABGP_HOST else "BIRD"
    load = found[0]
    anycast.tell(
        f"{fault} ({speaker}): withdrawn after {took:.2f} s, back {back:.1f} s after its end; until then "
        f"{load.told(at, settled)}; in all {load.told()}; wrong: {len(load.wrong)}"
    )
    # A cut that nothing but BGP's hold time sees takes that.
    assert counted <= (HOLD_S + 1.0 if fault == "lose" else WITHDRAWN_S)
    assert load.wrong == []
    assert load.by(host, settled, settled + 0.3) == 0


def test_bfd_finds_a_cut_that_no_end_of_the_cable_sees(anycast: Anycast) -> None:
    """What bird.conf has as comments, on one host and the router: found within a second, not after the hold time."""
    host = anycast.hosts[1]
    config = host.folder / "bird.conf"
    text, times = re.subn(r"(?m)^(\s*)#(protocol bfd|bfd on;)", r"\1\2", config.read_text())
    assert times == 2, "the protocol, and the session over IPv4"
    config.write_text(text)
    anycast.route(host.number)
    for one in (config, anycast.folder / "router.conf"):
        assert "Reconfigur" in anycast.birdc(one, "configure")
    wait_for(lambda: re.search(r"\sUp\s", anycast.birdc(config, "show bfd sessions")), "the BFD session")
    anycast.until(0, 1, 2)
    with anycast.load() as found:
        at, watch = time.monotonic(), anycast.watch()
        host.fail("lose")
        took, counted = anycast.until(0, 2), watch.seconds
        settled = time.monotonic() + 1.0
        host.mend("lose")
        back = anycast.until(0, 1, 2)
    load = found[0]
    anycast.tell(
        f"lose (BIRD with BFD): withdrawn after {took:.2f} s, back {back:.1f} s after its end; until then "
        f"{load.told(at, settled)}; in all {load.told()}; wrong: {len(load.wrong)}"
    )
    assert counted <= BFD_S
    assert load.wrong == []
    config.write_text(bird_of(host))
    anycast.route()
    for one in (config, anycast.folder / "router.conf"):
        assert "Reconfigur" in anycast.birdc(one, "configure")
    anycast.until(0, 1, 2)


@pytest.mark.parametrize("number", [1, EXABGP_HOST])
def test_a_host_that_stops_enforcing_is_withdrawn_although_it_answers(anycast: Anycast, number: int) -> None:
    """A list joins it that has not come: names that only it would block are forwarded."""
    host, others = anycast.hosts[number], {0, 1, 2} - {number}
    assert host.service
    lists = list(host.site.lists)
    with anycast.load() as found:
        host.site.lists = [*lists, lab.list_without_source(host.folder)]
        host.site.write()
        hang_up(host.service)
        wait_for(lambda: lab.ask(host.space, SERVICE, SELFTEST) == "NXDOMAIN", "it is not enforced")
        watch = anycast.watch()
        took, counted = anycast.until(*others), watch.seconds
        out = time.monotonic() + 0.3
        assert lab.ask(host.space, SERVICE, f"y.{OTHER}") == host.real, "it answers"
        back = time.monotonic()
        host.site.lists = lists
        host.site.write()
        hang_up(host.service)
        anycast.until(0, 1, 2)
    load = found[0]
    anycast.tell(f"enforcement fails: withdrawn within {took:.2f} s; {load.told()}; wrong: {len(load.wrong)}")
    assert counted <= WITHDRAWN_S
    assert load.wrong == []
    assert load.by(host, out, back) == 0


def test_a_host_is_withdrawn_before_the_hard_limit_lifts_its_list(anycast: Anycast) -> None:
    """No listed name gets its real answer, although the host would give it from the limit on."""
    host = anycast.hosts[0]
    assert host.service
    [one] = host.site.lists
    before = dict(one)
    said = client.call(Control(socket=str(host.folder / "control")), requests.Status())
    assert isinstance(said, requests.StatusReply)
    issued = said.health["lists"][0]["issued"]
    with anycast.load() as found:
        limit = int(time.time()) + 10
        one |= {"expire": "lift", "hard_limit": f"{limit - issued}s"}
        host.site.write()
        hang_up(host.service)
        anycast.until(1, 2)
        early = limit - time.time()
        assert lab.ask(host.space, SERVICE, f"z.{LISTED}") == host.page, "it still blocks"
        wait_for(lambda: time.time() >= limit, "the limit")
        # A list is lifted with its next poll.
        hang_up(host.service)
        wait_for(lambda: lab.ask(host.space, SERVICE, f"z.{LISTED}") == host.real, "the list is lifted")
        host.site.lists = [before]
        host.site.write()
        hang_up(host.service)
        anycast.until(0, 1, 2)
    load = found[0]
    anycast.tell(f"hard limit: withdrawn {early:.1f} s before it; {load.told()}; wrong: {len(load.wrong)}")
    assert early > 0
    assert load.wrong == []


def test_a_drained_host_leaves_and_the_last_one_stays(anycast: Anycast) -> None:
    with anycast.load() as found:
        watch = anycast.watch()
        anycast.drain(anycast.hosts[0]).touch()
        took, counted = anycast.until(1, 2), watch.seconds
        for host in anycast.hosts[1:]:
            anycast.drain(host).touch()
        last = {"holds: drained; no other host stands", "withdrawn: drained"}
        wait_for(lambda: set(map(anycast.state, anycast.hosts)) == last, "the last one says so")
        wait_for(lambda: len(anycast.announced()) == 1, "one stays")
        for host in anycast.hosts:
            anycast.drain(host).unlink()
        anycast.until(0, 1, 2)
    load = found[0]
    anycast.tell(f"drain: withdrawn after {took:.2f} s, the last one stays; {load.told()}; wrong: {len(load.wrong)}")
    assert counted <= WITHDRAWN_S
    assert load.wrong == []
    assert load.lost()[2] == 0


def test_a_host_without_its_list_leaves_to_others_and_as_the_last_one_says_servfail(anycast: Anycast) -> None:
    """Its saved image is damaged and its authority is away; the others hang then."""
    host, *others = anycast.hosts
    assert host.service
    host.signal(signal.SIGKILL)
    host.service.process.wait()
    folder = host.folder / "authority"
    images = [one for one in (host.folder / "state" / "lists").rglob("*") if one.suffix == ".image"]
    assert images
    for image in images:
        octets = image.read_bytes()
        image.write_bytes(octets[:200] + bytes([octets[200] ^ 1]) + octets[201:])
    folder.rename(host.folder / "away")
    try:
        with anycast.load() as found:
            host.start(until="/healthz")
            wait_for(lambda: "SERVFAIL to the self-test" in anycast.state(host), "it has no list")
            anycast.until(1, 2)
            for one in others:
                one.signal(signal.SIGSTOP)
            took = anycast.until(0)
            assert "no other host stands" in anycast.state(host)
            for name in (LISTED, OTHER):
                assert lab.ask(anycast.client, SERVICE, f"q.{name}") == "SERVFAIL"
    finally:
        for one in others:
            one.signal(signal.SIGCONT)
        (host.folder / "away").rename(folder)
    assert found[0].wrong == []
    hang_up(host.service)
    anycast.until(0, 1, 2)
    anycast.tell(f"without its list, the last one: announced {took:.2f} s after the others hung, SERVFAIL; wrong: 0")


def test_nothing_is_announced_if_the_last_one_does_not_enforce(anycast: Anycast) -> None:
    last, *others = anycast.hosts
    assert last.service
    lists = list(last.site.lists)
    last.site.lists = [*lists, lab.list_without_source(last.folder)]
    last.site.write()
    hang_up(last.service)
    anycast.until(1, 2)
    for one in others:
        one.signal(signal.SIGSTOP)
    try:
        anycast.until()
        assert lab.ask(anycast.client, SERVICE, f"x.{LISTED}", seconds=1.0) == ""
    finally:
        for one in others:
            one.signal(signal.SIGCONT)
        last.site.lists = lists
        last.site.write()
        hang_up(last.service)
    anycast.until(0, 1, 2)


def test_a_host_stays_announced_while_a_new_process_takes_over(anycast: Anycast) -> None:
    host = anycast.hosts[1]
    assert host.service
    seen: list[set[int]] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            seen.append(anycast.announced())

    looking = threading.Thread(target=look)
    with ExitStack() as stack, anycast.load() as found:
        looking.start()
        stack.callback(looking.join)
        stack.callback(ended.set)
        said = client.call(Control(socket=str(host.folder / "control")), requests.HandOver())
        assert isinstance(said, requests.HandOverReply)
        # After the load.
        stack.callback(end, said.process)
        host.service.process.wait(lab.SETTLE_S)
        count = len(seen)
        wait_for(lambda: "stands:" in anycast.state(host) and len(seen) > count + 100, "a while after it")
        ended.set()
        looking.join()
    load, gone = found[0], [one for one in seen if one != {0, 1, 2}]
    anycast.tell(f"hand-over: withdrawn in {len(gone)} of {len(seen)} looks; {load.told()}; wrong: {len(load.wrong)}")
    assert gone == []
    assert load.wrong == []
    host.start()
    anycast.until(0, 1, 2)


def end(pid: int) -> None:
    """End a process that is no child of this one."""
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: has_ended(pid), "its end")


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or only waits for its parent to look."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def test_without_what_announces_the_route_goes(anycast: Anycast) -> None:
    """As the unit does after its process was killed; and ExaBGP's session ends with ExaBGP."""
    host, _, exabgp = anycast.hosts
    announce = host.more["announce"]
    announce.kill()
    announce.wait()
    with spaces.inside(host.space):
        spaces.run(" ".join([*announcing(host, 3), "--withdraw"]))
    watch = anycast.watch()
    anycast.until(1, 2)
    exabgp.more["speaker"].kill()
    anycast.until(1)
    assert watch.seconds <= 2 * WITHDRAWN_S, "two withdrawals, one after the other"
