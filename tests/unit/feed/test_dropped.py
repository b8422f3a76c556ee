"""Folders that others write to: only regular files are read, and nothing there makes a reader wait."""

import os
import socket
from pathlib import Path

import pytest

from resolver.feed import dropped


def test_a_regular_file_within_its_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert dropped.read(tmp_path / "file", 5) == b"12345"
    with pytest.raises(dropped.NotAFile, match="larger"):
        dropped.read(tmp_path / "file", 4)


def test_what_is_no_regular_file_is_an_error_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "fifo", tmp_path / "folder", tmp_path / "socket", Path("/dev/zero")):
            for follow in (False, True):
                with pytest.raises(OSError, match=r"not a regular file|No such device"):
                    dropped.read(path, 100, follow=follow)


def test_a_link_is_followed_only_where_the_operator_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert dropped.read(tmp_path / "link", 5, follow=True) == b"1"
    for name in ("link", "dangling"):
        with pytest.raises(OSError, match="symbolic links"):
            dropped.read(tmp_path / name, 5)
