"""Several hosts in networks of their own, each with a service, and a client that asks them under load.

Rules:
- A network has no name (`spaces`): it ends with the last process in it, and nothing of it is left.
- Each host has a page and an upstream of its own, so that an answer says which host gave it, and whether it blocked.
- A process ends with the test, whatever ends that.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from tests.fakes.upstream import in_thread
from tests.journeys.processes import Site, Values
from tests.journeys.running import ROOT, START_S, Service, stop
from tests.peers import spaces

CLIENT, GATE = "198.51.100.2", "198.51.100.1"
LISTED, OTHER = "listed.test", "other.example"
PAUSE_S = 0.02
SETTLE_S = 30.0
TRIES = 3
"""How often a client of the load asks before it gives up."""


def new_network() -> int:
    """An empty network; skipped, with the reason, where none can be made, but for CI."""
    try:
        return spaces.new()
    except OSError as error:
        reason = f"no network namespace can be made (root is needed): {error.strerror}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)  # Only a developer without root; CI fails above.


def wait_for(holds: Callable[[], object], what: str, seconds: float = SETTLE_S) -> float:
    """Look until it holds; the seconds that took. AssertionError with `what` if it does not in time."""
    began, pause = time.monotonic(), threading.Event()
    while not holds():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not in {seconds:.0f} s: {what}")
        pause.wait(PAUSE_S)
    return time.monotonic() - began


@contextmanager
def running(*command: str, log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the thread's network that ends with the block, and with this process."""
    with open(log, "ab") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        stop(process)


@dataclass
class Host:
    """A host: its network, its cable to the middle, and its service."""

    number: int
    folder: Path
    space: int
    site: Site
    service: Service | None = None
    more: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return address_of(self.number)

    @property
    def page(self) -> str:
        return f"203.0.113.{101 + self.number}"

    @property
    def real(self) -> str:
        return f"203.0.113.{201 + self.number}"

    def start(self, until: str = "/readyz") -> None:
        """Start the service, and wait until it is ready."""
        with spaces.inside(self.space):
            self.service = self.site.launch()
            if until:
                self.service.until(until)

    def signal(self, number: int) -> None:
        """Send the service a signal; the engine and the loop are one process."""
        assert self.service
        self.service.process.send_signal(number)

    def end(self) -> None:
        """End the service, however it is now."""
        if self.service and self.service.process.poll() is None:
            self.service.process.send_signal(signal.SIGCONT)
            stop(self.service.process)

    def fail(self, fault: str) -> None:
        """Make a fault: the service is killed ("kill") or hangs ("hang"); this end of the cable to the middle goes down
        ("cut"), or stays up and loses every packet ("lose")."""
        match fault:
            case "kill":
                self.signal(signal.SIGKILL)
            case "hang":
                self.signal(signal.SIGSTOP)
            case "cut":
                with spaces.inside(self.space):
                    spaces.run("ip link set up0 down")
            case "lose":
                chain = "chain {0} {{ type filter hook {0} priority 0; {1} up0 drop; }}\n"
                chains = chain.format("input", "iifname") + chain.format("output", "oifname")
                with spaces.inside(self.space):
                    spaces.run("nft -f -", f"table inet lost {{ {chains} }}")
            case _:
                raise ValueError(fault)

    def mend(self, fault: str) -> None:
        """End a fault; a service that was killed is started again, and ready."""
        match fault:
            case "kill":
                assert self.service
                self.service.process.wait()
                self.start()
            case "hang":
                self.signal(signal.SIGCONT)
            case "cut":
                with spaces.inside(self.space):
                    spaces.run(f"ip link set up0 up && ip route replace default via {middle_of(self.number)}")
            case "lose":
                with spaces.inside(self.space):
                    spaces.run("nft delete table inet lost")
            case _:
                raise ValueError(fault)


def start(hosts: Sequence[Host]) -> None:
    """Start the services side by side, and wait until all are ready."""
    for host in hosts:
        host.start(until="")
    for host in hosts:
        assert host.service
        with spaces.inside(host.space):
            host.service.until("/readyz")


def address_of(number: int) -> str:
    """A host's address on its cable; the middle's is one below."""
    return f"192.0.2.{16 * number + 2}"


def middle_of(number: int) -> str:
    return f"192.0.2.{16 * number + 1}"


def upstream_of(real: str) -> Callable[[dns.message.Message], dns.message.Message]:
    """An upstream that knows every name, at this address."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query, recursion_available=True)
        if query.question[0].rdtype == dns.rdatatype.A:
            reply.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "A", real))
        return reply

    return answer


@contextmanager
def laid(folder: Path, count: int, listen: Callable[[int], Mapping[str, Any]]) -> Iterator[tuple[int, int, list[Host]]]:
    """The client's network, the middle's, and hosts with a published list; no service is started yet.

    listen: keys of [listen] by the host's number.
    """
    with ExitStack() as stack:
        client, middle = new_network(), new_network()
        for space in (client, middle):
            stack.callback(os.close, space)
        with spaces.inside(middle):
            spaces.run("sysctl -qw net.ipv4.ip_forward=1")
            spaces.join(client, names=("door", "home"), ours=(f"{GATE}/24",), theirs=(f"{CLIENT}/24",))
        with spaces.inside(client):
            spaces.run(f"ip route add default via {GATE}")
        hosts = []
        for number in range(count):
            space = new_network()
            stack.callback(os.close, space)
            with spaces.inside(middle):
                spaces.join(
                    space,
                    names=(f"down{number}", "up0"),
                    ours=(f"{middle_of(number)}/28",),
                    theirs=(f"{address_of(number)}/28",),
                )
            hosts.append(stack.enter_context(_host(folder / f"host{number}", number, space, listen(number))))
        yield client, middle, hosts


@contextmanager
def _host(folder: Path, number: int, space: int, listen: Mapping[str, Any]) -> Iterator[Host]:
    folder.mkdir()
    with ExitStack() as stack:
        with spaces.inside(space):
            spaces.run(f"ip route add default via {middle_of(number)}")
            upstream = stack.enter_context(in_thread(upstream_of(f"203.0.113.{201 + number}")))
            site = Site(folder, [upstream.address])
        host = Host(number, folder, space, site)
        site.change("listen", **listen)
        site.change("page", addresses=[host.page])
        site.change("limits", exempt=["127.0.0.0/8", "198.51.100.0/24", f"{middle_of(number)}/32"])
        site.publish([LISTED])
        stack.callback(host.end)
        yield host


# The load.

_LOAD = ROOT / "tests" / "peers" / "host_load.py"


@dataclass(frozen=True)
class Asked:
    """What became of one query of the load: sent, and answered after so many tries, at monotonic times."""

    at: float
    over: str
    listed: bool
    tries: int
    said: str
    done: float


@dataclass(frozen=True)
class Load:
    """All queries of a load."""

    asked: Sequence[Asked]
    hosts: Sequence[Host]

    @property
    def wrong(self) -> list[Asked]:
        """Listed names that were answered as if they were not, and others as if they were."""
        pages, reals = {one.page for one in self.hosts}, {one.real for one in self.hosts}
        failed = {"SERVFAIL", "REFUSED", ""}
        return [one for one in self.asked if one.said not in failed | (pages if one.listed else reals)]

    def lost(self, since: float = 0.0, until: float = float("inf")) -> tuple[int, int, int]:
        """Queries sent in a time: how many, how many had no answer to the first try, and to all."""
        some = [one for one in self.asked if since <= one.at < until]
        return len(some), sum(one.tries > 1 or not one.said for one in some), sum(not one.said for one in some)

    def by(self, host: Host, since: float = 0.0, until: float = float("inf")) -> int:
        """How many answers of a time a host gave."""
        return sum(one.said in (host.page, host.real) and since <= one.done < until for one in self.asked)

    def told(self, since: float = 0.0, until: float = float("inf")) -> str:
        """The numbers of a time in words."""
        sent, first, lost = self.lost(since, until)
        failed = sum(one.said in ("SERVFAIL", "REFUSED") and since <= one.at < until for one in self.asked)
        return f"{sent} queries, {first} had no answer to the first try, {lost} none to {TRIES}, {failed} SERVFAIL"


@contextmanager
def load(client: int, server: str, folder: Path, hosts: Sequence[Host], rate: int = 100) -> Iterator[list[Load]]:
    """Ask at `rate` a second while the block lasts; the list has the Load afterwards."""
    found: list[Load] = []
    out = folder / "load.json"
    with spaces.inside(client):
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, str(_LOAD), server, str(rate), str(out)],
            stdin=subprocess.PIPE,
        )
    try:
        yield found
    finally:
        assert process.stdin
        process.stdin.close()
        status = process.wait(START_S)
    assert status == 0
    found.append(Load([Asked(*one) for one in json.loads(out.read_text())], hosts))


def ask(space: int, server: str, name: str, over: str = "udp", seconds: float = 3.0) -> str:
    """What a client in a network gets, in a word: the address, else the rcode; "" without an answer."""
    query = dns.message.make_query(name, "A", use_edns=0)
    try:
        with spaces.inside(space):
            reply = (dns.query.udp if over == "udp" else dns.query.tcp)(query, server, seconds)
    except (dns.exception.Timeout, EOFError, OSError):
        return ""
    found = [str(item) for rrset in reply.answer for item in rrset]
    return found[0] if found else dns.rcode.to_text(reply.rcode())


def list_without_source(folder: Path) -> Values:
    """A list whose authority is not there."""
    root = str(folder / "authority" / "root.json")
    source = {"kind": "tuf", "url": (folder / "nowhere").as_uri(), "root": root, "poll": "8h"}
    return {"id": "later", "demonstration": True, "source": source, "guard": {}}
