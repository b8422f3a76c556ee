"""The keys of a fleet, as deploy/fleet.md has it: made, and changed host by host, by its lines."""

import shutil
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fakes.upstream import in_thread
from tests.journeys import readme
from tests.journeys.processes import REAL, Site, asked, hang_up, honest, operate, series, wait_for
from tests.journeys.running import Service, stop
from tests.journeys.test_fleet import BLOCKED, NODES, Fleet, public_of

LISTED = "bad.test"
REPORTED = "serial 2 is reported in force by 3 of 3 hosts"


def test_keys_are_made_by_the_lines_that_are_printed(tmp_path: Path) -> None:
    done = readme.typed(readme.block("umask 077; openssl rand"), tmp_path, {})
    assert done.returncode == 0
    assert {path.name: (path.stat().st_size, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {
        "digest.key": (16, 0o600),
        "seal.key": (32, 0o600),
    }
    shown = done.stdout.split()
    assert [len(one) for one in shown] == [16, 16]
    assert shown[0] != shown[1]


class Clients:
    """Ask every node for a listed name, all the time; `serving` are those that a balancer would ask.

    said: what came that is no block, by node; wrong: what a client would have got.
    """

    def __init__(self, nodes: dict[str, Site]) -> None:
        self.nodes = nodes
        self.serving = set(nodes)
        self.asked = 0
        self.said: dict[str, set[str]] = {name: set() for name in nodes}
        self.wrong: list[tuple[str, str]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._ended.wait(0.02):
            for name, node in self.nodes.items():
                served = name in self.serving
                try:
                    said = asked(node.dns, LISTED, seconds=20.0 if served else 0.5)
                except OSError:
                    said = ""
                self.asked += 1
                if said != BLOCKED:
                    self.said[name].add(said)
                    # One that was taken out while it was asked is asked no more.
                    if served and name in self.serving:
                        self.wrong.append((name, said))


def change(site: Site, *more: str) -> None:
    """The lines of the document on a host whose service has ended; `more` are further lines of it."""
    instead = {
        "systemctl stop blocklist-resolver": ":",
        "systemctl start blocklist-resolver": ":",
        "/etc/credstore ": f"{site.folder / 'keys'} ",
        "/var/lib/blocklist-resolver": str(site.folder / "state"),
        "blocklist-resolver.$key": "$key",
    }
    for lines in ("systemctl stop blocklist-resolver\n", *more):
        assert readme.typed(readme.block(lines), site.folder, instead).returncode == 0


@pytest.mark.timeout(900)
def test_the_keys_are_changed_host_by_host_and_every_node_that_is_asked_enforces(tmp_path: Path) -> None:
    """New digest and seal keys on all, new keys of receipts on the nodes; a new serial comes in between."""
    new = tmp_path / "new"
    new.mkdir()
    assert readme.typed(readme.block("umask 077; openssl rand"), new, {}).returncode == 0
    with in_thread(honest) as upstream, ExitStack() as stack:
        fleet = Fleet(tmp_path, upstream, poll="2s")
        nodes = dict(zip(NODES, fleet.nodes, strict=True))
        running: dict[str, Service] = {}
        for site in (fleet.host, *fleet.nodes):
            own = site.folder / "keys"
            shutil.copytree(fleet.keys, own)
            for name in ("digest.key", "seal.key"):
                shutil.copy2(new / name, own / f"{name}.new")
            site.sections["state"]["keys"] = str(own)
            site.lists[0]["source"]["minimum_serial"] = 1
        fleet.host.publish([LISTED])
        fleet.start(stack)
        running = dict(zip(NODES, fleet.services, strict=True))
        clients = Clients(nodes)
        stack.callback(clients.end)
        clients.start()
        wait_for(lambda: missing(fleet.compiling[0]) == 0, "the first receipts")

        assert stop(fleet.compiling[0].process) == 0
        change(fleet.host)
        host = stack.enter_context(fleet.host.started())
        assert "serial 1" in operate(fleet.host, "list", "status").stdout
        fleet.host.publish([LISTED, "worse.test"])
        hang_up(host)
        host.until_serial(2)
        for service in running.values():
            wait_for(lambda one=service: refused(one), "image_unusable")  # type: ignore[misc]  # a lambda's default
        assert {asked(node.dns, "worse.test") for node in nodes.values()} == {REAL}

        for name, node in nodes.items():
            clients.serving.discard(name)
            assert stop(running[name].process) == 0
            change(node, "rm /var/lib/blocklist-resolver/host.key")
            if name == NODES[-1]:
                node.lists[0]["source"]["seed"] = str(seeded(fleet, node))
                clients.said[name].clear()
            running[name] = stack.enter_context(node.started())
            (fleet.pinned / f"{name}.pub").write_bytes(public_of(node))
            # mypy: a lambda whose argument has a default.
            wait_for(lambda one=node: asked(one.dns, "worse.test") == BLOCKED, "serial 2")  # type: ignore[misc]
            clients.serving.add(name)
        wait_for(lambda: missing(host) == 0, REPORTED)
        assert REPORTED in operate(fleet.host, "list", "status").stdout
        assert {asked(node.dns, LISTED) for node in nodes.values()} == {BLOCKED}
        clients.end()
    print(f"asked {clients.asked} times; no block, by node: {clients.said}")
    assert clients.wrong == []
    assert not any(REAL in said for said in clients.said.values()), "no listed name was ever answered"
    assert clients.said[NODES[-1]] <= {""}, "with a seed no answer was without the list"
    for site in (fleet.host, *fleet.nodes):
        assert [(site.folder / "keys" / name).read_bytes() for name in ("digest.key", "seal.key")] == [
            (new / name).read_bytes() for name in ("digest.key", "seal.key")
        ]


def missing(service: Service) -> float:
    """How many nodes have not reported; 1 if the compile host does not show it yet."""
    try:
        return series(service, "fleet_nodes_missing", list="demo")
    except AssertionError:
        return 1.0


def refused(service: Service) -> bool:
    """Whether a node has refused an image of other keys."""
    try:
        return series(service, "feed_failures_total", reason="image_unusable") > 0
    except AssertionError:
        return False  # not shown yet


def seeded(fleet: Fleet, node: Site) -> Path:
    """Copy what the compile host publishes to a node; the file that its `seed` names."""
    copy = node.folder / "seed"
    shutil.copytree(fleet.published, copy)
    return copy / "demo.json"
