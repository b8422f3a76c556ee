"""The receipt of a fleet: made when all pinned nodes have signed, of nothing else."""

import errno
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.feed import dropped, fleet_receipts, receipt
from resolver.feed.fleet_receipts import Collector, Reports
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
            [("demo", RECORD, self.reports())],
            host="compile",
            now=1000.0,
            has=self.written.__contains__,
            put=lambda name, list_id, said: self.written.update({name: said}),
        )
        return self.written

    def reports(self, list_id: str = "demo") -> Reports:
        return self.collector.reports({list_id: RECORD})[list_id]

    def reported(self) -> Mapping[str, int]:
        return self.reports().since


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
    found = world.reports()
    assert (found.nodes, found.missing, found.complete) == (1, (), True)
    world.report("two", 100, list="court")
    court = world.reports("court")
    assert (court.nodes, court.missing, court.complete) == (2, ("one",), False)
    # What was read for one list is not forgotten for another, and a node's own word adds it to none.
    world.report("one", 120, list="court")
    world.report("one", 120)
    assert dict(world.reports().since) == {"two": 100}
    assert dict(world.reports("court").since) == {"one": 120, "two": 100}


@pytest.mark.parametrize("said", [b"\xff", b"demo " * 20_000, None])
def test_a_file_of_lists_that_cannot_be_read_leaves_no_node_out(said: bytes | None, world: World) -> None:
    path = world.nodes / "one.lists"
    path.mkdir() if said is None else path.write_bytes(said)
    assert world.reports("court").missing == ("one", "two")


def test_a_list_that_no_node_carries_has_no_receipt_of_the_fleet(world: World) -> None:
    for name in KEYS:
        (world.nodes / f"{name}.lists").write_text("court\n")
    world.report("one")
    found = world.reports()
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
    assert not world.reports().complete
    world.nodes.rmdir()
    assert not world.reports().complete
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
    assert world.reports().missing == ("two",)


class Reads:
    """Counts the files that are opened, and lets some of them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.fails = False
        self._read = dropped.read
        monkeypatch.setattr(dropped, "read", self.read)

    def read(self, path: Path, most: int, *, follow: bool = False) -> bytes:
        self.count += 1
        if self.fails:
            raise OSError(errno.EMFILE, "too many open files")
        return self._read(path, most, follow=follow)

    def of(self, look: Callable[[], object]) -> int:
        """How many files a look opens."""
        before = self.count
        look()
        return self.count - before


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


def name_of(host: str, serial: int = RECORD.serial) -> str:
    return f"{host}-demo-{serial}-{RECORD.generation}.json"


def rewrite(path: Path, data: bytes) -> None:
    """Write into a file, later than it was written before by the file system's clock, which goes on every few ms."""
    was = path.stat()
    while path.stat().st_ctime_ns == was.st_ctime_ns:
        path.write_bytes(data)
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def many(world: World, count: int) -> list[str]:
    """Further nodes, each with a receipt under the name that it has."""
    names = [f"n{number:03}" for number in range(count)]
    for name in names:
        (world.nodes / f"{name}.pub").write_bytes((world.nodes / "one.pub").read_bytes())
        world.report(name, 100, key="one")
    for path in world.receipts.iterdir():
        path.rename(world.receipts / name_of(path.name.split("-")[0]))
    return names


def test_each_file_is_read_once_and_again_after_a_change(world: World, reads: Reads) -> None:
    names = many(world, 200)
    began = time.process_time()
    assert reads.of(world.reports) == 202 + 200
    first = time.process_time() - began
    began = time.process_time()
    assert reads.of(lambda: [world.reports() for _ in range(10)]) == 0
    again = (time.process_time() - began) / 10
    print(f"a look that reads 402 files: {first * 1000:.1f} ms; one that reads none: {again * 1000:.1f} ms")
    assert again < first / 2
    assert set(world.reported()) == set(names)
    world.report("one")
    world.report("two")
    assert reads.of(world.reports) == 2
    assert world.reports().complete


def test_a_file_that_is_replaced_is_noticed_though_size_and_date_are_the_same(world: World) -> None:
    many(world, 3)
    path = world.receipts / name_of("n001")
    assert set(world.reported()) == {"n000", "n001", "n002"}
    was, data = path.stat(), path.read_bytes()
    rewrite(path, data.replace(b'serial\\":7', b'serial\\":8'))
    now = path.stat()
    assert (now.st_ino, now.st_size, now.st_mtime_ns) == (was.st_ino, was.st_size, was.st_mtime_ns)
    assert set(world.reported()) == {"n000", "n002"}
    rewrite(path, data)
    assert set(world.reported()) == {"n000", "n001", "n002"}


def test_a_key_that_is_changed_or_taken_out_counts_at_once(world: World, reads: Reads) -> None:
    many(world, 2)
    path = world.nodes / "n001.pub"
    pem = path.read_bytes()
    assert set(world.reported()) == {"n000", "n001"}
    rewrite(path, (world.nodes / "two.pub").read_bytes())
    assert reads.of(world.reports) == 1
    assert set(world.reported()) == {"n000"}
    assert "n001" in world.reports().missing
    rewrite(path, pem)
    assert set(world.reported()) == {"n000", "n001"}
    path.unlink()
    assert set(world.reported()) == {"n000"}
    assert "n001" not in world.reports().missing


def test_of_an_old_folder_only_what_may_count_is_read(world: World, reads: Reads) -> None:
    """A node is missing, and each has nineteen older receipts."""
    many(world, 5)
    (world.receipts / name_of("n004")).unlink()
    for serial in range(100, 119):
        for node in range(5):
            (world.receipts / name_of(f"n{node:03}", serial)).write_bytes(b"{}")
    # The odd names of the node that is missing, and those of nobody; not those of others.
    for name in ("n004-odd.json", "nobody.json", "n003-odd.json", "n004-demo-7-99.json"):
        (world.receipts / name).write_bytes(b"{}")
    assert reads.of(world.reports) == 7 + 4 + 3
    assert reads.of(world.reports) == 0
    world.report("n004", 90, key="one")
    (given,) = [path for path in world.receipts.glob("n004-*") if re.fullmatch(r"n004-\d+\.json", path.name)]
    given.rename(world.receipts / "n004-demo-7-100.json")
    assert world.reported()["n004"] == 90, "the list was compiled again under the same serial"


def test_a_node_whose_name_begins_with_that_of_another_hides_nothing(world: World) -> None:
    for name in ("n", "n-court"):
        (world.nodes / f"{name}.pub").write_bytes((world.nodes / "one.pub").read_bytes())
    world.report("n", 80, key="one", list="court-demo")
    (given,) = world.receipts.iterdir()
    given.rename(world.receipts / "n-court-demo-7-99.json")
    assert dict(world.reports("court-demo").since) == {"n": 80}


def test_what_cannot_be_opened_now_is_tried_again(world: World, reads: Reads) -> None:
    many(world, 2)
    (world.nodes / "n000.lists").write_text("demo")
    reads.fails = True
    assert world.reported() == {}
    reads.fails = False
    assert set(world.reported()) == {"n000", "n001"}


def test_what_was_read_is_saved_for_another_process(world: World, reads: Reads, tmp_path: Path) -> None:
    many(world, 20)
    saved = tmp_path / "read"
    (world.nodes / "n000.lists").write_text("demo other")
    (world.nodes / "n001.lists").write_bytes(b"\xff")
    expected = world.reports()
    world.collector.save(saved)
    assert saved.stat().st_mode & 0o777 == 0o600
    written = saved.stat().st_ino
    world.reports()
    world.collector.save(saved)
    assert saved.stat().st_ino == written, "nothing has changed"

    world.collector = Collector(world.receipts, world.nodes)
    world.collector.load(saved)
    assert reads.of(world.reports) == 0
    assert world.reports() == expected


def test_what_was_saved_counts_for_no_other_file_and_no_other_key(world: World, tmp_path: Path) -> None:
    many(world, 3)
    saved = tmp_path / "read"
    world.reports()
    world.collector.save(saved)
    rewrite(world.receipts / name_of("n000"), b"{}")
    rewrite(world.nodes / "n001.pub", (world.nodes / "two.pub").read_bytes())
    world.collector = Collector(world.receipts, world.nodes)
    world.collector.load(saved)
    assert set(world.reported()) == {"n002"}
    for broken in (b"", b"\xc1", saved.read_bytes()[:-9]):
        saved.write_bytes(broken)
        world.collector = Collector(world.receipts, world.nodes)
        world.collector.load(saved)
        assert set(world.reported()) == {"n002"}
    saved.unlink()
    world.collector.load(saved)
    assert set(world.reported()) == {"n002"}


STRANGER = Ed25519PrivateKey.generate()


@pytest.mark.parametrize("other", [{"serial": 2**64}, {"in_force_since": 2**60}, {"in_force_since": -1}])
def test_a_receipt_of_numbers_that_cannot_be_kept_stops_nothing(world: World, tmp_path: Path, other: Any) -> None:
    said = {"kind": "receipt", "host": "one", "list": "demo", "serial": 1, "digest": "", "in_force_since": 1, **other}
    (world.receipts / "x.json").write_bytes(statement.sign(said, STRANGER))
    world.report("one")
    world.report("two")
    assert world.reported() == {"one": 100, "two": 100}
    world.collector.save(tmp_path / "saved")


def test_a_file_name_that_is_no_text_stops_nothing(world: World, tmp_path: Path) -> None:
    with open(os.fsencode(world.receipts) + b"/\xff.json", "wb") as file:
        file.write(b"none")
    world.report("one")
    assert world.reported() == {"one": 100}
    world.collector.save(tmp_path / "saved")
    other = Collector(world.receipts, world.nodes)
    other.load(tmp_path / "saved")
    assert other.reports({"demo": RECORD})["demo"].since == {"one": 100}
