"""The receipt of a fleet: made when all pinned nodes have signed, of nothing else."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.feed import fleet_receipts, receipt
from resolver.feed.fleet_receipts import Collector
from resolver.signed import statement
from tests.unit.feed.test_state import record

KEYS = {name: Ed25519PrivateKey.generate() for name in ("one", "two")}
RECORD = record(7)


class World:
    """Two pinned nodes and what they deliver."""

    def __init__(self, folder: Path) -> None:
        self.receipts, self.nodes = folder / "receipts", folder / "nodes"
        self.receipts.mkdir()
        self.nodes.mkdir()
        for name, key in KEYS.items():
            (self.nodes / f"{name}.pub").write_bytes(statement.pem_of(statement.public_of(key)))
        self.collector = Collector(self.receipts, self.nodes)
        self.written: dict[str, Mapping[str, Any]] = {}

    def report(self, host: str, since: int = 100, key: str = "", **other: Any) -> None:
        said = {
            "kind": "receipt",
            "host": host,
            "list": "demo",
            "serial": RECORD.serial,
            "digest": RECORD.digest,
            "in_force_since": since,
            **other,
        }
        name = f"{host}-{len(list(self.receipts.iterdir()))}.json"
        (self.receipts / name).write_bytes(statement.sign(said, KEYS[key or host]))

    def look(self) -> dict[str, Mapping[str, Any]]:
        fleet_receipts.look(
            [("demo", RECORD, self.collector.reports("demo", RECORD))],
            host="compile",
            now=1000.0,
            has=self.written.__contains__,
            put=lambda name, list_id, said: self.written.update({name: said}),
        )
        return self.written

    def reported(self) -> Mapping[str, int]:
        return self.collector.reports("demo", RECORD).since


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_it_is_made_when_all_have_reported_and_once(world: World) -> None:
    assert world.look() == {}
    world.report("one", 150)
    assert world.look() == {}
    world.report("two", 100)
    ((name, said),) = world.look().items()
    assert name == f"fleet-demo-7-{RECORD.generation}"
    assert (said["kind"], said["hosts"], said["reported"]) == ("fleet receipt", 2, 2)
    assert (said["first"], said["last"]) == (100, 150)
    assert said["since"] == {"one": 150, "two": 100}
    assert said["tested"].startswith("serial 7 is reported in force by 2 of 2 hosts")
    assert "blocked" not in str(said)
    world.report("two", 99)
    assert len(world.look()) == 1


def test_a_node_that_carries_one_of_two_lists_is_missing_in_that_one_alone(world: World) -> None:
    """Before, a node that pulled one of two lists was missing for ever in the other."""
    (world.nodes / "one.lists").write_text("court\nother\n")
    world.report("two", 100)
    found = world.collector.reports("demo", RECORD)
    assert (found.nodes, found.missing, found.complete) == (1, (), True)
    world.report("two", 100, list="court")
    court = world.collector.reports("court", RECORD)
    assert (court.nodes, court.missing, court.complete) == (2, ("one",), False)
    # What was read for one list is not forgotten for another, and a node's own word adds it to none.
    world.report("one", 120, list="court")
    world.report("one", 120)
    assert dict(world.collector.reports("demo", RECORD).since) == {"two": 100}
    assert dict(world.collector.reports("court", RECORD).since) == {"one": 120, "two": 100}


@pytest.mark.parametrize("said", [b"\xff", b"demo " * 20_000, None])
def test_a_file_of_lists_that_cannot_be_read_leaves_no_node_out(said: bytes | None, world: World) -> None:
    path = world.nodes / "one.lists"
    path.mkdir() if said is None else path.write_bytes(said)
    assert world.collector.reports("court", RECORD).missing == ("one", "two")


def test_a_list_that_no_node_carries_has_no_receipt_of_the_fleet(world: World) -> None:
    for name in KEYS:
        (world.nodes / f"{name}.lists").write_text("court\n")
    world.report("one")
    found = world.collector.reports("demo", RECORD)
    assert (found.nodes, found.missing, found.complete) == (0, (), False)
    assert world.look() == {}


@pytest.mark.parametrize(
    "other",
    [
        {"key": "one"},
        {"serial": 8},
        {"digest": "ff" * 32},
        {"list": "other"},
        {"kind": "release"},
        {"in_force_since": "now"},
        {"host": "three", "key": "two"},
    ],
)
def test_what_does_not_count(world: World, other: dict[str, Any]) -> None:
    world.report("one")
    world.report(**{"host": "two", **other})
    assert dict(world.reported()) == {"one": 100}
    assert world.look() == {}


def test_files_that_are_none_are_passed_over(world: World) -> None:
    world.report("one")
    world.report("two")
    (world.receipts / "a.json").write_bytes(b"{")
    (world.receipts / "b.json").write_bytes(b"x" * 2_000_000)
    (world.receipts / "c.json").mkdir()
    assert set(world.reported()) == {"one", "two"}


def test_a_key_that_is_none_keeps_the_receipt_back(world: World) -> None:
    world.report("one")
    world.report("two")
    (world.nodes / "two.pub").write_bytes(b"no key")
    assert world.look() == {}
    (world.nodes / "two.pub").unlink()
    world.collector = Collector(world.receipts, world.nodes)
    assert len(world.look()) == 1


def test_without_nodes_nothing_is_complete(world: World) -> None:
    for path in world.nodes.iterdir():
        path.unlink()
    assert not world.collector.reports("demo", RECORD).complete
    assert world.look() == {}


def test_no_file_in_the_folder_stops_or_hides_another(world: World) -> None:
    """Every node can write there: a FIFO, a link to nowhere, 20,000 files that sort first."""
    os.mkfifo(world.receipts / "0.json")
    (world.receipts / "one-0.json").symlink_to(world.receipts / "nowhere")
    (world.receipts / "two-0.json").symlink_to(world.nodes / "one.pub")
    for number in range(20_000):
        (world.receipts / f"0{number}.json").touch()
    world.report("one")
    world.report("two")
    assert set(world.reported()) == {"one", "two"}


def test_a_node_that_writes_under_the_name_of_another_does_not_hide_its_receipt(world: World) -> None:
    world.report("one")
    world.report("two")
    (given,) = world.receipts.glob("two-*")
    expected = f"two-{receipt.name_of('demo', RECORD)}.json"
    given.rename(world.receipts / expected)
    with mock.patch.object(fleet_receipts, "FILES_OF_NODE", 3):
        for number in range(5):
            (world.receipts / f"two-z{number}.json").touch()
        assert set(world.reported()) == {"one", "two"}
        (world.receipts / expected).rename(world.receipts / "other.json")
        assert set(world.reported()) == {"one", "two"}, "names that are no node's have a bound of their own"
        os.utime(world.receipts / "other.json", (1, 1))
        for number in range(5):
            (world.receipts / f"z{number}.json").touch()
        assert set(world.reported()) == {"one"}


def test_a_key_that_is_a_fifo_is_a_node_that_cannot_report(world: World) -> None:
    world.report("one")
    (world.nodes / "two.pub").unlink()
    os.mkfifo(world.nodes / "two.pub")
    assert world.collector.reports("demo", RECORD).missing == ("two",)
