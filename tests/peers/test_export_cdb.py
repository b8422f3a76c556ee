"""dnsdist with our list: by a table of the export, and with a filtered Unbound that answers when we are killed.

The figures of the second are at the end of the run: what was lost, and what was wrong.
"""

import re
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from tests.fakes.upstream import in_thread
from tests.journeys.processes import REAL, Site, honest
from tests.journeys.running import HOST, PAGE_V4, PAGE_V6, free_ports, stop
from tests.peers import exports
from tests.peers.exports import answers, wait_for

pytestmark = [pytest.mark.peers, pytest.mark.timeout(600)]

LINES = ("bad.example", "!free.bad.example", "=only.example", "*.below.example", "deep.x.bad.example")
BLOCKED = ("bad.example", "y.bad.example", "x.bad.example", "only.example", "y.below.example", "z.deep.x.bad.example")
PASSED = ("free.bad.example", "y.free.bad.example", "y.only.example", "below.example", "other.example")
KILLS = 5
TRIES = 3
Program = Callable[[str], str]


@contextmanager
def dnsdist(folder: Path, text: str, path: str) -> Iterator[Callable[[], str]]:
    """A running dnsdist; what it says."""
    (folder / "dnsdist.conf").write_text(text)
    log = folder / "dnsdist.log"
    with open(log, "wb") as out:
        command = [path, "-C", str(folder / "dnsdist.conf"), "--supervised", "--disable-syslog"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield lambda: log.read_text(errors="replace")
    finally:
        stop(process)


def truthful(query: dns.message.Message) -> dns.message.Message:
    """An upstream that knows every name, but for those that do not exist by definition."""
    reply = honest(query)
    if str(query.question[0].name).lower().endswith(".invalid."):
        reply.answer.clear()
        reply.set_rcode(dns.rcode.NXDOMAIN)
    return reply


def test_a_table_blocks_as_its_list_says_and_a_new_one_follows(program: Program, tmp_path: Path) -> None:
    path, cdb = program("dnsdist"), program("cdb")
    table, (port,) = tmp_path / "list.cdb", free_ports(1)
    with ExitStack() as stack:
        upstream = stack.enter_context(in_thread(truthful))
        export = stack.enter_context(exports.exporting(tmp_path / "export", tables=[str(table)]))
        export.publish(LINES)
        # Another reader of the format, as Debian has it.
        dumped = subprocess.run([cdb, "-d", str(table)], capture_output=True, check=True).stdout
        assert b"\3bad\7example\0->BB" in dumped
        blocking = exports.shipped("dnsdist/table.conf", {"/var/lib/blocklist-table/list.cdb": str(table)})
        first = f'setLocal("{HOST}:{port}")\nnewServer({{ address = "{HOST}:{upstream.port}" }})\n'
        said = stack.enter_context(dnsdist(tmp_path, f'{first}setSecurityPollSuffix("")\n{blocking}', path))
        wait_for(lambda: answers(port, ["other.example"]) == {"other.example": REAL}, said)
        assert answers(port, BLOCKED) == dict.fromkeys(BLOCKED, PAGE_V4)
        assert answers(port, BLOCKED, "AAAA") == dict.fromkeys(BLOCKED, PAGE_V6)
        assert answers(port, BLOCKED, "HTTPS") == dict.fromkeys(BLOCKED, "NODATA")
        assert answers(port, PASSED) == dict.fromkeys(PASSED, REAL)
        export.publish(["other.example"])
        wait_for(lambda: answers(port, ["other.example", "bad.example"]) ==
                 {"other.example": PAGE_V4, "bad.example": REAL}, said)  # fmt: skip


class Load:
    """A client that asks a listed and another name in turn, each at most TRIES times, until it is told to stop."""

    def __init__(self, port: int) -> None:
        self.said: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.connect((HOST, self._port))
            while not self._stop.wait(0.005):
                number += 1
                listed = number % 2 == 0
                name = f"n{number}.{'bad' if listed else 'other'}.example"
                self._ask(one, name, PAGE_V4 if listed else REAL)

    def _ask(self, one: socket.socket, name: str, expected: str) -> None:
        one.settimeout(0.7)
        query = dns.message.make_query(name, "A", use_edns=0)
        for attempt in range(TRIES):
            one.send(query.to_wire())
            try:
                reply = dns.message.from_wire(one.recv(4096))
                while reply.id != query.id:
                    reply = dns.message.from_wire(one.recv(4096))
            except (TimeoutError, ConnectionError):
                self.said["silence"] += 1
                continue
            found = [str(data) for each in reply.answer for data in each]
            if found == [expected]:
                self.said["answered at once" if attempt == 0 else "answered later"] += 1
            elif found:
                self.wrong.append(f"{name}: {found}")
            else:
                self.said["SERVFAIL"] += 1
                continue
            return
        self.said["lost"] += 1


def test_killed_again_and_again_and_left_what_is_listed_stays_blocked(
    program: Program, tmp_path: Path, figures: dict[str, str]
) -> None:
    paths = {name: program(name) for name in ("dnsdist", "unbound", "knotd")}
    front, relay, spare, second = free_ports(4)
    with ExitStack() as stack:
        enter = stack.enter_context
        upstream = enter(in_thread(truthful))
        export = enter(exports.exporting(tmp_path / "export", notify=[relay]))
        export.publish(LINES)
        knot = enter(exports.knot_relay(tmp_path / "knot", export, (relay, spare), second, paths["knotd"]))
        wait_for((knot.folder / "zone" / "rpz.zone").exists, lambda: knot.said)
        filtered = enter(exports.unbound(tmp_path / "unbound", relay, upstream.port, second, paths["unbound"]))
        wait_for(lambda: filtered.blocks("bad.example"), lambda: filtered.said)
        site = Site(tmp_path, upstreams=[f"{HOST}:{upstream.port}"])
        site.set("listen", allow=["127.0.0.0/8"], proxy_from=[f"{HOST}/32"])
        site.set("limits", distinct_blocked=0)
        site.publish(LINES)
        ours = site.launch()
        ours.until("/readyz")
        shipped = exports.shipped(
            "dnsdist/second.conf",
            {
                '{ "192.0.2.53:53", "[2001:db8::53]:53" }': f'{{ "{HOST}:{front}" }}',
                '{ "192.0.2.11:53", "192.0.2.12:53" }': f'{{ "{HOST}:{site.dns}" }}',
                '{ "192.0.2.21:53" }': f'{{ "{HOST}:{second}" }}',
            },
        )
        said = enter(dnsdist(tmp_path, shipped, paths["dnsdist"]))

        def is_up(port: int) -> bool:
            found = re.findall(rf"Marking downstream {HOST}:{port}\S* .*as '(\w+)'", said())
            return bool(found) and found[-1] == "up"

        for port in (site.dns, second):
            wait_for(lambda port=port: is_up(port), said)
        began = time.monotonic()
        try:
            with Load(front) as load:
                for _ in range(KILLS):
                    ours.process.send_signal(signal.SIGKILL)
                    ours.process.wait()
                    wait_for(lambda: not is_up(site.dns), said)
                    ours = site.launch(write=False)
                    ours.until("/readyz")
                    wait_for(lambda: is_up(site.dns), said)
                # And left: the second goes on by itself.
                stop(ours.process)
                wait_for(lambda: not is_up(site.dns), said)
                left = time.monotonic()
                wait_for(lambda: time.monotonic() - left > 2, said)
        finally:
            stop(ours.process)
        seconds = time.monotonic() - began
        told = f"{KILLS} kills in {seconds:.0f} s, then left: {dict(load.said)}; wrong: {len(load.wrong)}"
        figures["killed again and again before a filtered Unbound"] = told
        assert load.wrong == []
        assert load.said["answered at once"] > 100
        assert load.said["lost"] <= KILLS + 1, told
        # Without its list the second is out, and nothing is answered by a resolver without one.
        export.follow("")
        wait_for(lambda: not is_up(second), said)
        assert set(answers(front, ["bad.example", "other.example"]).values()) == {"SERVFAIL"}
