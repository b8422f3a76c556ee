"""Statements that come from outside: written when a known key has signed them, within bounds, and never twice."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.feed import inbox
from resolver.feed.inbox import Inbox, Outcome
from resolver.signed import statement

KEYS = {name: Ed25519PrivateKey.generate() for name in ("one", "one-a", "two")}
STRANGER = Ed25519PrivateKey.generate()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for statements, beside the keys of three hosts."""
    for name in ("in", "keys"):
        (tmp_path / name).mkdir()
    for name, key in KEYS.items():
        (tmp_path / "keys" / f"{name}.pub").write_bytes(statement.pem_of(statement.public_of(key)))
    return tmp_path / "in"


def made(folder: Path, **how: Any) -> Inbox:
    one = Inbox(folder, folder.parent / "keys", **how)
    assert one.open() == len(KEYS)
    return one


def signed(host: str = "one", key: Ed25519PrivateKey | None = None, **other: Any) -> bytes:
    said = {"kind": "receipt", "host": host, "list": "demo", "serial": 7, "generation": 3, **other}
    return statement.sign(said, key or KEYS[host])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_receipt_gets_the_name_that_a_host_gives_it_in_a_folder_and_comes_once(folder: Path) -> None:
    one, data = made(folder), signed()
    assert one.take(data) is Outcome.WRITTEN
    assert one.take(data) is Outcome.THERE
    assert names(folder) == ["one-demo-7-3.json"]
    path = folder / "one-demo-7-3.json"
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o640
    assert Outcome.THERE.accepted
    assert not Outcome.FULL.accepted


def test_other_octets_under_a_name_that_is_taken_have_a_name_of_their_own(folder: Path) -> None:
    one = made(folder)
    first, second = signed(at=1), signed(at=2)
    assert [one.take(data) for data in (first, second, second, first)] == [
        Outcome.WRITTEN,
        Outcome.WRITTEN,
        Outcome.THERE,
        Outcome.THERE,
    ]
    assert len(names(folder)) == 2
    assert (folder / "one-demo-7-3.json").read_bytes() == first


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "release"},
        {"kind": "fleet receipt", "generation": None},
        {"list": "../../etc/x"},
        {"list": 4},
        {"serial": -1},
        {"serial": True},
        {"serial": "7"},
        {"generation": 2**63},
        {"list": "d" * 33},
    ],
)
def test_what_is_no_receipt_of_a_list_is_named_by_its_octets(other: dict[str, Any], folder: Path) -> None:
    one, data = made(folder), signed(**other)
    assert one.take(data) is Outcome.WRITTEN
    assert one.take(data) is Outcome.THERE
    (name,) = names(folder)
    assert name.startswith("one-")
    assert len(name) == len("one-") + 32 + len(".json")
    assert (folder / name).read_bytes() == data


@pytest.mark.parametrize("host", ["", ".", "..", "../keys/one", "one/../one", "/one", "one\n", "-one", "ö", "one\0", 7])
def test_a_host_that_is_no_plain_name_is_unknown(host: Any, folder: Path) -> None:
    assert made(folder).take(signed(host, KEYS["one"])) is Outcome.UNKNOWN
    assert names(folder) == []
    assert len(names(folder.parent)) == 2


def test_a_stranger_and_another_host_write_nothing(folder: Path) -> None:
    one = made(folder)
    assert one.take(signed("one", STRANGER)) is Outcome.UNKNOWN
    assert one.take(signed("one", KEYS["two"])) is Outcome.UNKNOWN
    assert one.take(signed("three", STRANGER)) is Outcome.UNKNOWN
    for broken in (b"", b"{}", b"\xff" * 40, signed().replace(b"demo", b"down"), b"x" * (2**20 + 1)):
        assert one.take(broken) is Outcome.MALFORMED
    assert names(folder) == []


def test_a_key_counts_as_it_is_now(folder: Path) -> None:
    """A node is taken out by its key, and a new key of it is taken, without a restart."""
    one, key = made(folder), folder.parent / "keys/one.pub"
    assert one.take(signed(at=1)) is Outcome.WRITTEN
    key.write_bytes(statement.pem_of(statement.public_of(STRANGER)))
    assert one.take(signed(at=2)) is Outcome.UNKNOWN
    assert one.take(signed("one", STRANGER, at=3)) is Outcome.WRITTEN
    key.unlink()
    assert one.take(signed("one", STRANGER, at=4)) is Outcome.UNKNOWN


def test_a_fleet_keeps_the_newest_of_each_host(folder: Path) -> None:
    one = made(folder, keep=2)
    assert one.take(signed("two")) is Outcome.WRITTEN
    for serial in range(5):
        assert one.take(signed(serial=serial)) is Outcome.WRITTEN
    assert names(folder) == ["one-demo-3-3.json", "one-demo-4-3.json", "two-demo-7-3.json"]
    # A restart knows which are the oldest, and whose they are.
    (folder / "one-a-demo-1-1.json").write_bytes(b"of one-a")
    again = made(folder, keep=2)
    assert again.take(signed(serial=5)) is Outcome.WRITTEN
    assert names(folder) == ["one-a-demo-1-1.json", "one-demo-4-3.json", "one-demo-5-3.json", "two-demo-7-3.json"]


def test_an_authority_keeps_all_and_refuses_what_is_too_much(folder: Path) -> None:
    one = made(folder, most=2)
    assert [one.take(signed(serial=serial)) for serial in range(3)] == [Outcome.WRITTEN, Outcome.WRITTEN, Outcome.FULL]
    assert one.take(signed(serial=1)) is Outcome.THERE
    assert one.take(signed("two")) is Outcome.WRITTEN
    assert made(folder, most=2).take(signed(serial=9)) is Outcome.FULL
    assert len(names(folder)) == 3


def test_a_host_has_a_number_of_new_files_a_minute(folder: Path) -> None:
    clock = Clock()
    one = made(folder, per_minute=2, clock=clock)
    assert [one.take(signed(serial=serial)) for serial in range(3)] == [
        Outcome.WRITTEN,
        Outcome.WRITTEN,
        Outcome.TOO_MANY,
    ]
    assert one.take(signed("two")) is Outcome.WRITTEN
    clock.now = 60.0
    assert one.take(signed(serial=2)) is Outcome.WRITTEN


def test_what_stands_in_the_place_of_a_file_stops_nobody(folder: Path) -> None:
    (folder / "one-demo-7-3.json").symlink_to(folder.parent / "keys/one.pub")
    before = (folder.parent / "keys/one.pub").read_bytes()
    assert made(folder).take(signed()) is Outcome.WRITTEN
    assert (folder.parent / "keys/one.pub").read_bytes() == before
    assert len(names(folder)) == 2


def test_what_a_crash_left_is_removed(folder: Path) -> None:
    (folder / ".one-demo-7-3.json.x.part").write_bytes(b"half")
    made(folder)
    assert names(folder) == []


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Inbox(tmp_path / "in", tmp_path / "keys").open()


@pytest.mark.parametrize(
    ("name", "host"),
    [("one-demo-1-1.json", "one"), ("one-a-demo-1.json", "one-a"), ("three-demo-1-1.json", ""), ("one", ""), ("", "")],
)
def test_a_file_is_of_the_host_whose_whole_name_it_begins_with(name: str, host: str) -> None:
    assert inbox.host_of(name, KEYS) == host
