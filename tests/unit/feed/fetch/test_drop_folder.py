"""What lies in a drop folder: which files may be a list, in which order, and how many are looked at."""

import os
from pathlib import Path

import pytest

from resolver.feed.fetch import drop_folder
from resolver.feed.fetch.drop_folder import look

MESSAGE = b"\x85\x02\x0c"


@pytest.mark.parametrize(
    ("head", "counts"),
    [
        (MESSAGE, True),
        (b"\xc1\xc0", True),
        (b"\xa3\x01", True),
        (b"\x90\x0d", True),
        (b"-----BEGIN PGP MESSAGE-----\n\n", True),
        (b"\nMime line\n-----BEGIN PGP MESSAGE-----\r\n", True),
        (b"-----BEGIN PGP SIGNED MESSAGE-----\n", True),
        (b"-----BEGIN PGP SIGNATURE-----\n", False),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n", False),
        (b"\x89PNG", False),
        (b"\x99\x01\x0d", False),
        (b"\xff\xfea\x00", False),
        (b"\xef\xbb\xbfa.test", False),
        (b"\x30\x82\x01", False),
        (b"PK\x03\x04", False),
        (b"<?xml version='1.0'?>", False),
        (b"", False),
    ],
)
def test_a_message_is_known_by_its_first_octets(head: bytes, counts: bool, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(head)
    looked = look(tmp_path, 10_000)
    assert (len(looked.files), looked.others) == ((1, 0) if counts else (0, 1))


def test_the_latest_arrival_is_first_whatever_date_came_with_it(tmp_path: Path) -> None:
    for at, name in enumerate(("c", "a", "b")):
        (tmp_path / name).write_bytes(MESSAGE)
        os.utime(tmp_path / name, (9000 - at, 9000 - at))
    arrived = sorted(((tmp_path / name).stat().st_ctime_ns, name) for name in "abc")
    assert [path.name for path in look(tmp_path, 100).files] == [name for _, name in reversed(arrived)]


def test_unfinished_files_folders_and_links_are_not_looked_at(tmp_path: Path) -> None:
    for name in ("half.part", "half.tmp", ".hidden"):
        (tmp_path / name).write_bytes(MESSAGE)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "half.part")
    os.mkfifo(tmp_path / "pipe")
    assert look(tmp_path, 100) == ((), 0, 0)


def test_there_is_a_bound_of_files_and_of_octets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(drop_folder.MAX_FILES + 3):
        (tmp_path / f"{number}.gpg").write_bytes(MESSAGE)
    looked = look(tmp_path, 100)
    assert (len(looked.files), looked.others, looked.left) == (drop_folder.MAX_FILES, 0, 3)
    looked = look(tmp_path, 4)
    assert (len(looked.files), looked.left) == (2, drop_folder.MAX_FILES + 1)
    assert look(tmp_path, 2).files == ()
    monkeypatch.setattr(drop_folder, "MAX_LOOKED", 5)
    assert (len(look(tmp_path, 100).files), look(tmp_path, 100).left) == (5, drop_folder.MAX_FILES - 2)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        look(tmp_path / "none", 100)
