"""A repository that knows less than what is served, or than hosts have in force, signs nothing."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.authority import elsewhere, publish
from resolver.authority.elsewhere import Place
from resolver.authority.publish import Issue, Seen
from resolver.authority.repository import AuthorityError, Refused
from resolver.signed import statement

NOW = 1_800_000_000.0


def issue(folder: Path, serial: int, now: float, seen: Seen = publish.NOTHING_SEEN, list_id: str = "demo") -> None:
    data = f"n{serial}.test\n".encode()
    assert publish.publish(folder, Issue(list_id=list_id, data=data, serial=serial), now=now, seen=seen).published


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with serial 2."""
    publish.init(tmp_path / "authority", threshold=1, keys=1, now=NOW)
    issue(tmp_path / "authority", 2, NOW + 60)
    return tmp_path / "authority"


@pytest.fixture
def served(folder: Path, tmp_path: Path) -> Path:
    """What a web server serves: serial 3; the repository was restored to serial 2."""
    served = tmp_path / "served"
    shutil.copytree(folder, served)
    issue(served, 3, NOW + 120)
    for private in ("keys", "staged"):
        shutil.rmtree(served / private)
    return served


@pytest.mark.parametrize("written", [str, Path.as_uri])
def test_a_restored_repository_is_told_how_to_catch_up(
    written: Callable[[Path], str], folder: Path, served: Path
) -> None:
    seen = Seen(served=Place(written(served)))
    with pytest.raises(Refused) as error:
        issue(folder, 4, NOW + 180, seen)
    assert "demo serial 3 (targets version" in str(error.value)
    assert "demo serial 2 (" in str(error.value)
    assert "copy metadata/ and targets/ from" in str(error.value)
    for name in ("metadata", "targets"):
        shutil.copytree(served / name, folder / name, dirs_exist_ok=True)
    with pytest.raises(Refused, match="serial 3 is already published"):
        publish.publish(folder, Issue(list_id="demo", data=b"other.test\n", serial=3), now=NOW + 180, seen=seen)
    issue(folder, 4, NOW + 180, seen)


def test_a_server_that_is_behind_or_equal_stops_nothing(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "served"
    shutil.copytree(folder, copy)
    issue(folder, 3, NOW + 120, Seen(served=Place(str(copy))))
    issue(folder, 4, NOW + 180, Seen(served=Place(str(copy))))
    publish.withdraw(folder, list_id="demo", serial=5, now=NOW + 240, seen=Seen(served=Place(str(folder))))


def test_two_machines_that_sign_the_same_version(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    issue(folder, 3, NOW + 120)
    issue(other, 4, NOW + 120)
    with pytest.raises(Refused, match="another machine signs too"):
        issue(folder, 5, NOW + 180, Seen(served=Place(str(other))))


def test_a_refresh_elsewhere_is_no_newer_list(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    publish.refresh(other, now=NOW + 120)
    with pytest.raises(Refused, match="was signed 30 s after what this machine's clock says"):
        issue(folder, 3, NOW + 90, Seen(served=Place(str(other))))
    issue(folder, 3, NOW + 180, Seen(served=Place(str(other))))


def test_keys_that_were_replaced_since_the_backup(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    publish.rotate(other, role="targets", now=NOW + 120)
    with pytest.raises(Refused, match=r"serves root version 2, .* has 1: its keys were replaced since"):
        issue(folder, 3, NOW + 180, Seen(served=Place(str(other))))
    issue(other, 3, NOW + 180, Seen(served=Place(str(folder))))


def test_what_cannot_be_compared_is_told(folder: Path, tmp_path: Path) -> None:
    for place, said in (
        (str(tmp_path / "none"), "timestamp.json: cannot be read .*leave out --served if nothing is served yet"),
        ("https://127.0.0.1:1/", "cannot be read"),
    ):
        with pytest.raises(AuthorityError, match=said):
            issue(folder, 3, NOW + 120, Seen(served=Place(place)))
    publish.init(tmp_path / "stranger", threshold=1, keys=1, now=NOW)
    with pytest.raises(Refused, match="not signed by the keys of this repository"):
        issue(folder, 3, NOW + 120, Seen(served=Place(str(tmp_path / "stranger"))))
    stranger = tmp_path / "stranger/metadata/timestamp.json"
    stranger.write_bytes(b"<html>")
    with pytest.raises(AuthorityError, match="no TUF metadata"):
        issue(folder, 3, NOW + 120, Seen(served=Place(str(tmp_path / "stranger"))))
    shutil.copy(folder / "metadata/1.root.json", stranger)
    with pytest.raises(AuthorityError, match="not of type timestamp"):
        issue(folder, 3, NOW + 120, Seen(served=Place(str(tmp_path / "stranger"))))


def receipt(path: Path, serial: int, data: bytes, at: float, **changes: object) -> None:
    said = {"kind": "receipt", "list": "demo", "host": "resolver-1.isp.example", "serial": serial, "at": int(at)}
    said |= {"digest": hashlib.sha256(data).hexdigest()} | changes
    path.write_bytes(statement.sign(said, Ed25519PrivateKey.generate()))


def test_a_serial_that_a_host_had_in_force_is_not_used_again(folder: Path, tmp_path: Path) -> None:
    receipts = tmp_path / "receipts"
    receipts.mkdir()
    receipt(receipts / "2.json", 2, b"n2.test\n", NOW + 90)
    receipt(receipts / "3.json", 3, b"n3.test\n", NOW + 150)
    receipt(receipts / "other.json", 99, b"", NOW, list="other")
    receipt(receipts / "fleet.json", 99, b"", NOW, kind="fleet receipt")
    receipt(receipts / "odd.json", 99, b"", NOW, digest=99)
    (receipts / "broken.json").write_bytes(b"{}")
    (receipts / "notes.txt").write_bytes(b"")
    with pytest.raises(Refused) as error:
        publish.publish(
            folder,
            Issue(list_id="demo", data=b"new.test\n", serial=3),
            now=NOW + 180,
            seen=Seen(receipts=(receipts,)),
        )
    assert "3.json: resolver-1.isp.example had serial 3 in force at 2027-01-15T08:02:30Z" in str(error.value)
    assert "publish with a serial above 3" in str(error.value)
    issue(folder, 3, NOW + 180, Seen(receipts=(receipts,)))
    issue(folder, 4, NOW + 180, Seen(receipts=(receipts / "2.json", receipts / "3.json")))


def test_a_receipt_shows_a_clock_that_is_behind(folder: Path, tmp_path: Path) -> None:
    receipt(tmp_path / "2.json", 2, b"n2.test\n", NOW + 900)
    with pytest.raises(Refused, match=r"later than this machine's clock says .*: set the clock"):
        issue(folder, 3, NOW + 120, Seen(receipts=(tmp_path / "2.json",)))
    issue(folder, 3, NOW + 901, Seen(receipts=(tmp_path / "2.json",)))


def test_a_file_that_is_no_receipt_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"{}")
    for name, said in (("x.json", "not a receipt about demo"), ("none.json", "No such file")):
        with pytest.raises(AuthorityError, match=said):
            issue(folder, 3, NOW + 120, Seen(receipts=(tmp_path / name,)))
    assert list(elsewhere.receipts_of([tmp_path], "demo")) == []
