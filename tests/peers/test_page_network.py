"""What deploy/page puts around the page: rules of nftables, flow export, address translation, node_exporter, a network.

Rules:
- Each file of deploy/page is loaded here as it stands, by the program that it is for.
- The thread of a test is in a network that it made: root is needed, and nothing reaches the machine's own.
"""

import contextlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.journeys.running import PAGE_V4, PAGE_V6, ROOT, free_ports
from tests.peers import spaces

Program = Callable[[str], str]

PAGE = ROOT / "deploy" / "page"
ELSEWHERE = "192.0.2.9"
"""An address of the same host that is not the page's."""
TRANSLATES = """
table ip nat {
    chain out { type nat hook postrouting priority srcnat; oifname "outer" masquerade; }
}
"""
SUBSCRIBER, OUTER = "100.64.0.2", "203.0.113.2"
FIREWALL = """
table inet site {
    chain door {
        type filter hook input priority filter; policy drop;
        iifname lo accept
        ct state invalid drop
        tcp dport 80 accept
        meta l4proto ipv6-icmp accept
    }
}
"""
"""A site's own: it drops what it does not know; it tracks connections."""
TIMEOUT_S = 60.0
# A program of Debian's is waited for, and a flow until its exporter thinks that it is over.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def host() -> Iterator[None]:
    """The thread is in a host's network of its own."""
    try:
        space = spaces.new()
    except OSError:
        reason = "no network of its own can be made (root is needed)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)  # Only a developer without root; CI fails above.
    with spaces.inside(space):
        yield
    os.close(space)


def file(name: str) -> str:
    """A file of deploy/page."""
    return (PAGE / name).read_text()


def outcome(address: str, port: int, kind: socket.SocketKind) -> str:
    """What a visitor's connection comes to."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as one:
        one.settimeout(TIMEOUT_S)
        try:
            one.connect((address, port))
            if kind == socket.SOCK_DGRAM:
                one.send(b"?")
                one.recv(1)
        except OSError as error:
            return type(error).__name__
        return "connected"


@contextlib.contextmanager
def listening(*addresses: str) -> Iterator[None]:
    """Something accepts on port 80 of these."""
    with contextlib.ExitStack() as stack:
        for address in addresses:
            one = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((address, 80))
            one.listen()
        yield


@pytest.mark.usefixtures("host")
def test_the_page_is_reached_and_all_else_is_refused_at_once_behind_a_firewall_that_drops(program: Program) -> None:
    program("nft")
    home = spaces.home(page=(f"{PAGE_V4}/32", f"{ELSEWHERE}/32", f"{PAGE_V6}/128"))
    spaces.run("nft -f -", FIREWALL)
    for _ in range(2):
        spaces.run(f"nft -f {PAGE / 'page.nft'}")  # Loading it again replaces it.
    with listening(PAGE_V4, PAGE_V6, ELSEWHERE):
        for address in (PAGE_V4, PAGE_V6):
            with spaces.inside(home):
                assert outcome(address, 80, socket.SOCK_STREAM) == "connected"
                for port in (443, 8443):
                    assert outcome(address, port, socket.SOCK_STREAM) == "ConnectionRefusedError", port
                assert outcome(address, 443, socket.SOCK_DGRAM) == "ConnectionRefusedError"
            # A health check from the host itself.
            assert outcome(address, 80, socket.SOCK_STREAM) == "connected"
            assert outcome(address, 443, socket.SOCK_STREAM) == "ConnectionRefusedError"
        with spaces.inside(home):
            assert outcome(ELSEWHERE, 80, socket.SOCK_STREAM) == "connected"
    # The site's table asks for connection tracking: it knows of the other connection, and of no visitor's.
    tracked = spaces.run("conntrack -L 2>&1; conntrack -L -f ipv6 2>&1")
    assert f"dst={ELSEWHERE}" in tracked
    assert f"dst={PAGE_V4}" not in tracked
    assert f"dst={PAGE_V6}" not in tracked
    os.close(home)


@pytest.mark.parametrize("name", ["page.nft", "cgnat.nft"])
@pytest.mark.usefixtures("host")
def test_the_rules_remember_nobody(name: str, program: Program) -> None:
    program("nft")
    spaces.run(f"nft -f {PAGE / name}")
    said = json.loads(spaces.run("nft --json list ruleset"))["nftables"]
    assert {kind for one in said for kind in one} == {"metainfo", "table", "chain", "rule"}, "a set, a map or a counter"
    parts = [part for one in said for part in one.get("rule", {}).get("expr", [])]
    asked = {statement for part in parts for statement in part}
    assert asked <= {"match", "limit", "accept", "drop", "reject", "notrack", "goto"}


@contextlib.contextmanager
def router() -> Iterator[tuple[int, int]]:
    """A subscriber's home behind a router that translates addresses, and this host beyond it: (home, router)."""
    spaces.run("ip link set lo up")
    middle, home = spaces.new(), spaces.new()
    spaces.join(middle, names=("core", "outer"), ours=("203.0.113.1/24",), theirs=(f"{OUTER}/24",))
    with spaces.inside(middle):
        spaces.join(home, names=("inner", "home"), ours=("100.64.0.1/10",), theirs=(f"{SUBSCRIBER}/10",))
        spaces.run("sysctl -qw net.ipv4.ip_forward=1; ip route add default via 203.0.113.1")
        spaces.run("nft -f -", TRANSLATES)
    with spaces.inside(home):
        spaces.run("ip route add default via 100.64.0.1")
    for address in (PAGE_V4, ELSEWHERE):
        spaces.run(f"ip addr add {address}/32 dev lo")
    # The page's way back to subscribers whose addresses are not translated.
    spaces.run(f"ip route add 100.64.0.0/10 via {OUTER}")
    try:
        yield home, middle
    finally:
        os.close(home)
        os.close(middle)


def visit(home: int) -> dict[str, str]:
    """Visit both addresses, and return from where each was visited."""
    seen = {}
    for address in (PAGE_V4, ELSEWHERE):
        with socket.create_server((address, 80)) as server:
            with spaces.inside(home):
                visitor = socket.create_connection((address, 80), timeout=TIMEOUT_S)
            accepted, peer = server.accept()
            visitor.close()
            accepted.close()
            seen[address] = peer[0]
    return seen


@pytest.mark.usefixtures("host")
def test_a_router_that_translates_neither_translates_nor_remembers_a_visit(program: Program, tmp_path: Path) -> None:
    for name in ("nft", "conntrack"):
        program(name)
    with router() as (home, middle):
        assert visit(home) == {PAGE_V4: OUTER, ELSEWHERE: OUTER}
        with spaces.inside(middle):
            spaces.run(f"conntrack -F 2>&1; nft -f {PAGE / 'cgnat.nft'}; nft -f {PAGE / 'cgnat.nft'}")
            events = tmp_path / "events"
            with open(events, "wb") as out:
                watching = subprocess.Popen(["conntrack", "-E", "-o", "timestamp"], stdout=out, stderr=out)
        try:
            end = time.monotonic() + TIMEOUT_S
            while f"dst={ELSEWHERE}" not in events.read_text():
                assert time.monotonic() < end
                assert visit(home) == {PAGE_V4: SUBSCRIBER, ELSEWHERE: OUTER}
            with spaces.inside(middle):
                table = spaces.run("conntrack -L 2>&1")
        finally:
            watching.terminate()
            watching.wait()
        assert PAGE_V4 not in events.read_text()
        assert f"dst={ELSEWHERE}" in table
        assert PAGE_V4 not in table


def flows(packet: bytes) -> set[str]:
    """The addresses in a packet of NetFlow version 5."""
    version, count = struct.unpack_from(">HH", packet)
    assert version == 5
    octets = (packet[24 + 48 * one + at : 28 + 48 * one + at] for one in range(count) for at in (0, 4))
    return {socket.inet_ntoa(one) for one in octets}


def fprobe(_: Path, port: int) -> list[str]:
    """Debian's fprobe."""
    expression = file("exempt.bpf").strip()
    times = ["-s1", "-d1", "-e1"]
    return ["fprobe", "-iinner", "-l2", *times, "-f", expression, f"127.0.0.1:{port}"]


def pmacctd(folder: Path, port: int) -> list[str]:
    """Debian's pmacctd, with our file; only interface, collector, version and times are the test's."""
    text = file("pmacctd.conf").replace("eth0", "inner").replace("198.51.100.9:2055", f"127.0.0.1:{port}")
    text = text.replace("nfprobe_version: 9", "nfprobe_version: 5")
    times = ":".join(f"{one}=1" for one in ("tcp", "tcp.rst", "tcp.fin", "udp", "icmp", "general", "maxlife", "expint"))
    (folder / "pmacctd.conf").write_text(f"{text}nfprobe_timeouts: {times}\n")
    return ["pmacctd", "-f", str(folder / "pmacctd.conf")]


@pytest.mark.parametrize("exporter", [fprobe, pmacctd])
@pytest.mark.usefixtures("host")
def test_an_exporter_of_flows_exports_all_but_visits(
    exporter: Callable[[Path, int], list[str]], program: Program, tmp_path: Path
) -> None:
    program(exporter.__name__)
    with router() as (home, middle):
        with spaces.inside(middle):
            collector = socket.socket(type=socket.SOCK_DGRAM)
            collector.bind(("127.0.0.1", 0))
            collector.settimeout(0.5)
            command = exporter(tmp_path, collector.getsockname()[1])
            with open(tmp_path / "said", "wb") as said:
                process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            assert ELSEWHERE in exported(collector, home)
        finally:
            process.terminate()
            process.wait()
            collector.close()


def exported(collector: socket.socket, home: int) -> set[str]:
    """Visit until a flow of the other address is exported; return every address exported until then."""
    found: set[str] = set()
    end = time.monotonic() + 2 * TIMEOUT_S
    while ELSEWHERE not in found:
        assert time.monotonic() < end
        visit(home)
        with contextlib.suppress(TimeoutError):
            found |= flows(collector.recv(65_535))
            assert PAGE_V4 not in found
    return found


@pytest.mark.usefixtures("host")
def test_softflowd_exports_all_but_visits(program: Program, tmp_path: Path) -> None:
    """From a capture: what it reads from an interface, and when, is its own."""
    capture = tmp_path / "capture"
    with router() as (home, middle), socket.socket(type=socket.SOCK_DGRAM) as collector:
        with spaces.inside(middle):
            watching = subprocess.Popen(
                [program("tcpdump"), "-q", "-U", "-Z", "root", "-i", "inner", "-w", capture],
                stderr=subprocess.PIPE,
            )
        try:
            end = time.monotonic() + TIMEOUT_S
            while not all(socket.inet_aton(one) in octets_of(capture) for one in (PAGE_V4, ELSEWHERE)):
                assert time.monotonic() < end
                visit(home)
        finally:
            watching.terminate()
            watching.communicate()
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(TIMEOUT_S)
        place = [f"-n127.0.0.1:{collector.getsockname()[1]}", "-p", str(tmp_path / "pid"), "-c", "none", "-v5", "-d"]
        command = [program("softflowd"), "-r", str(capture), *place, file("exempt.bpf").strip()]
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S)
        found = flows(collector.recv(65_535))
    assert ELSEWHERE in found
    assert PAGE_V4 not in found


def octets_of(path: Path) -> bytes:
    """What is in a file, if it is there yet."""
    return path.read_bytes() if path.exists() else b""


def test_node_exporter_shows_nothing_that_moves_with_a_visit(program: Program) -> None:
    (arguments,) = re.findall(r'^ARGS="(.*)"$', file("node_exporter.default"), re.MULTILINE)
    (port,) = free_ports(1)
    command = [program("prometheus-node-exporter"), f"--web.listen-address=127.0.0.1:{port}", *arguments.split()]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        body = scraped(port)
    finally:
        process.terminate()
        process.wait()
    names = set(re.findall(r"^node_([a-z]+)_", body, re.MULTILINE))
    assert {"memory", "filesystem", "disk"} <= names
    told = {"conntrack", "entries", "interrupts", "intr", "netstat", "network", "nf", "sockstat", "softnet", "udp"}
    assert not names & (told | {"context", "schedstat"}), names


def scraped(port: int) -> str:
    """What a Prometheus gets."""
    end = time.monotonic() + TIMEOUT_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as one:
                one.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                return b"".join(iter(lambda: one.recv(65_536), b"")).decode()
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.05)  # Only its port shows that it has started.


def test_the_unit_of_the_network_is_understood(program: Program, tmp_path: Path) -> None:
    copies = []
    for name, text in (
        ("blocklist-network@eth0.service", file("blocklist-network@.service")),
        ("blocklist-resolver.service", "[Service]\nExecStart=/bin/true\n" + file("network.conf")),
    ):
        copies.append(tmp_path / name)
        copies[-1].write_text(text)
    command = [program("systemd-analyze"), "verify", "--man=no", *map(str, copies)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.usefixtures("host")
def test_in_a_network_of_its_own_the_hosts_tables_hold_no_visitor(program: Program, tmp_path: Path) -> None:
    for name in ("ip", "nft", "ss", "dig", "setpriv"):
        program(name)
    (tmp_path / "site").mkdir()
    mounts = 'mkdir -p /run/netns; mount -t tmpfs none /run/netns; exec "$@"'
    command = ["unshare", "--net", "--mount", "sh", "-ec", mounts, "sh", sys.executable, "-m", "tests.peers.own_space"]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "answer": PAGE_V4,
        "page": "HTTP/1.1 451 Unavailable For Legal Reasons",
        "own": True,
        "host": False,
        # README.md says so: the table of another process is open to all, unless /proc hides processes.
        "others": True,
        "others, hidepid": False,
    }


def test_every_file_of_the_folder_is_loaded_here() -> None:
    text = Path(__file__).read_text() + Path(__file__).with_name("own_space.py").read_text()
    assert [one.name for one in sorted(PAGE.iterdir()) if one.name != "README.md" and one.name not in text] == []
