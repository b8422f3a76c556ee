"""A fleet: one host compiles, three nodes pull; each a process of its own, and each asked over DNS."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from resolver.signed import statement
from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.processes import REAL, Site, asked, hang_up, honest, operate, wait_for
from tests.journeys.running import HOST, PAGE_V4, Service

BLOCKED = f"{PAGE_V4} EDE 4"
NODES = ("one", "two", "three")
WITHIN_S = 60.0


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with in_thread(honest) as running:
        yield running


class Fleet:
    """A compile host and its nodes: their folders, their keys, what they share. poll: of the nodes."""

    def __init__(self, folder: Path, upstream: Upstream, poll: str = "8h") -> None:
        self.folder = folder
        self.services: list[Service] = []
        self.compiling: list[Service] = []
        self.published, self.receipts, self.pinned = (folder / name for name in ("fleet", "receipts", "nodes"))
        self.keys = folder / "keys"
        for one in (self.receipts, self.pinned, self.keys):
            one.mkdir()
        for name, size in (("digest.key", 16), ("seal.key", 32)):
            (self.keys / name).write_bytes(os.urandom(size))
            (self.keys / name).chmod(0o600)
        self.root = folder / "compile.pub"
        self.host = self.site("compile", upstream)
        self.host.sections["fleet"] = {
            "host": "compile.isp.example",
            "publish": str(self.published),
            "receipts": str(self.receipts),
            "nodes": str(self.pinned),
        }
        self.host.lists[0]["source"] |= {"poll": "2s", "receipt": str(self.folder / "authority-hears")}
        (self.folder / "authority-hears").mkdir()
        self.nodes = [self.site(name, upstream) for name in NODES]
        for name, node in zip(NODES, self.nodes, strict=True):
            node.sections["fleet"] = {"host": name}
            node.lists[0]["source"] = {
                "kind": "image",
                "url": self.published.as_uri(),
                "root": str(self.root),
                "poll": poll,
                "receipt": str(self.receipts),
            }

    def site(self, name: str, upstream: Upstream) -> Site:
        (self.folder / name).mkdir()
        site = Site(self.folder / name, [upstream.address])
        site.sections["state"]["keys"] = str(self.keys)
        return site

    def start(self, stack: ExitStack) -> None:
        """Start the compile host, hand over the keys, start the nodes."""
        self.compiling.append(stack.enter_context(self.host.started()))
        self.root.write_bytes(public_of(self.host))
        for name, node in zip(NODES, self.nodes, strict=True):
            node.write()
            (self.pinned / f"{name}.pub").write_bytes(public_of(node))
        for node in self.nodes:
            self.services.append(stack.enter_context(node.started()))

    def all_say(self, name: str, said: str) -> bool:
        return all(asked(node.dns, name) == said for node in self.nodes)

    def manifest(self) -> Any:
        return statement.claimed((self.published / "demo.json").read_bytes())[0]


def public_of(site: Site) -> bytes:
    """The public key that a host shows, made here where it has none yet."""
    from resolver.config import config
    from resolver.feed import poll

    return statement.pem_of(statement.public_of(poll.host_key_of(config.load(site.config), make=True)))


@pytest.fixture
def fleet(tmp_path: Path, upstream: Upstream) -> Fleet:
    fleet = Fleet(tmp_path, upstream)
    fleet.host.publish(["bad.test", "wrongly.test"])
    return fleet


def test_a_false_positive_is_lifted_on_every_node_within_a_minute(tmp_path: Path, upstream: Upstream) -> None:
    fleet = Fleet(tmp_path, upstream, poll="2s")
    fleet.host.publish(["bad.test", "wrongly.test"])
    with ExitStack() as stack:
        fleet.start(stack)
        for name in ("bad.test", "wrongly.test", "www.wrongly.test"):
            assert fleet.all_say(name, BLOCKED)
        started = time.monotonic()
        done = operate(fleet.host, "list", "release", "-", "--reason", "a school", typed="wrongly.test\n")
        assert done.returncode == 0
        wait_for(lambda: fleet.all_say("wrongly.test", REAL), "the release on every node", WITHIN_S)
        took = time.monotonic() - started
        print(f"released on three nodes after {took:.2f} s")
        for node in fleet.nodes:
            shown = operate(node, "ask", "wrongly.test", "--server", f"{HOST}:{node.dns}")
            assert REAL in shown.stdout
        assert fleet.all_say("www.wrongly.test", REAL)
        assert fleet.all_say("bad.test", BLOCKED)
        assert asked(fleet.host.dns, "wrongly.test") == REAL
        # A restart of a node whose compile host is gone keeps the release.
        assert operate(fleet.host, "list", "release", "1", "--end").returncode == 0
        wait_for(lambda: fleet.all_say("wrongly.test", BLOCKED), "the end of the release on every node", WITHIN_S)
    everything = b"".join(path.read_bytes() for path in fleet.folder.rglob("*") if searched(path))
    assert b"wrongly" not in everything


def searched(path: Path) -> bool:
    """What the operator's hosts have written; the authority's own folder holds its list."""
    return path.is_file() and "authority" not in path.parts


def test_the_nodes_follow_what_is_in_force_and_report_it(fleet: Fleet) -> None:
    with ExitStack() as stack:
        fleet.start(stack)
        first = fleet.manifest()
        assert (first["custom"]["serial"], first["made"]["entries"]) == (1, 2)
        fleet.host.publish(["bad.test", "worse.test"])
        wait_for(lambda: fleet.manifest()["custom"]["serial"] == 2, "serial 2 in the folder", WITHIN_S)
        for node in fleet.services:
            hang_up(node)
        wait_for(lambda: fleet.all_say("worse.test", BLOCKED), "serial 2 on every node", WITHIN_S)
        assert fleet.all_say("wrongly.test", REAL)
        assert fleet.manifest()["sequence"] > first["sequence"]
        wait_for(lambda: fleet_receipt(fleet) is not None, "the receipt of the fleet", WITHIN_S)
        said = fleet_receipt(fleet)
        assert said is not None
        assert (said["list"], said["serial"], said["hosts"], said["reported"]) == ("demo", 2, 3, 3)
        assert said["first"] <= said["last"]
        assert sorted(said["since"]) == sorted(NODES)
        assert "blocked" not in said["tested"]
        status = operate(fleet.host, "list", "status").stdout
        assert "  fleet    serial 2 is reported in force by 3 of 3 hosts\n" in status
        assert "  fleet    serial 2 is reported in force by 3 of 3 hosts\n" in operate(fleet.host, "status").stdout


def fleet_receipt(fleet: Fleet) -> dict[str, Any] | None:
    """The fleet's receipt of serial 2, as the authority gets it."""
    for path in (fleet.folder / "authority-hears").glob("*fleet-demo-2-*.json"):
        return statement.verified(path.read_bytes(), statement.pinned_of(fleet.root.read_bytes()))
    return None


def test_nodes_keep_list_and_release_while_the_compile_host_is_gone(fleet: Fleet) -> None:
    with ExitStack() as stack:
        with ExitStack() as compiling:
            compiling.enter_context(fleet.host.started())
            fleet.root.write_bytes(public_of(fleet.host))
            operate(fleet.host, "list", "release", "wrongly.test", "--reason", "a school")
            wait_for(lambda: len(released(fleet)) == 1, "the release in the folder")
            with fleet.nodes[0].started():
                wait_for(lambda: asked(fleet.nodes[0].dns, "wrongly.test") == REAL, "the release on a node")
        stack.enter_context(fleet.nodes[0].started())
        assert asked(fleet.nodes[0].dns, "wrongly.test") == REAL
        assert asked(fleet.nodes[0].dns, "bad.test") == BLOCKED


def released(fleet: Fleet) -> Any:
    return statement.claimed((fleet.published / "releases.json").read_bytes())[0]["releases"]


def test_compile_serves_a_fleet_without_dns(fleet: Fleet) -> None:
    fleet.host.write()
    done = operate(fleet.host, "compile")
    assert (done.returncode, done.stdout) == (0, "demo: serial 1 in force and published, 2 entries\n")
    fleet.root.write_bytes(public_of(fleet.host))
    with fleet.nodes[0].started():
        assert asked(fleet.nodes[0].dns, "bad.test") == BLOCKED
        fleet.host.lists[0]["guard"]["growth"] = 0.0
        fleet.host.write()
        fleet.host.publish([f"n{number}.test" for number in range(600)])
        done = operate(fleet.host, "compile")
        assert done.returncode == 3
        assert "held: serial 2 (growth)" in done.stdout
        assert json.loads(operate(fleet.nodes[0], "list", "status", "--json").stdout)[0]["serial"] == 1
    fleet.host.sections["fleet"].pop("publish")
    fleet.host.sections["fleet"] = {}
    fleet.host.write()
    assert operate(fleet.host, "compile").returncode == 2


def test_compile_does_not_run_beside_a_service(fleet: Fleet) -> None:
    with fleet.host.started():
        done = operate(fleet.host, "compile")
        assert done.returncode == 1
        assert "a service runs on this state" in done.stderr


def test_a_fresh_node_starts_from_a_seed(fleet: Fleet) -> None:
    fleet.host.write()
    assert operate(fleet.host, "compile").returncode == 0
    fleet.root.write_bytes(public_of(fleet.host))
    node = fleet.nodes[0]
    node.lists[0]["source"] |= {"seed": str(fleet.published / "demo.json"), "url": (fleet.folder / "none").as_uri()}
    with node.started():
        assert asked(node.dns, "bad.test") == BLOCKED
