"""A file is written whole or not at all."""

import os
from pathlib import Path

import pytest

from resolver import atomic_file


def fail(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_what_is_written_is_there_with_its_mode_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_file.write(path, b"one")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"one", 0o600)
    atomic_file.write(path, b"two", 0o640)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o640)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "fchmod", "replace"])
def test_what_could_not_be_written_leaves_the_old_file(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    atomic_file.write(path, b"old")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space"):
        atomic_file.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen, real = tmp_path / "file", list[tuple[bool, bool]](), os.fsync

    def fsync(handle: int) -> None:
        seen.append((os.path.isdir(f"/proc/self/fd/{handle}"), path.exists()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    atomic_file.write(path, b"data")
    assert seen == [(False, False), (True, True)]


def test_what_a_crash_left_is_dropped_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    atomic_file.write(tmp_path / "file", b"kept")
    with monkeypatch.context() as patch:
        for step in ("replace", "unlink"):
            patch.setattr(os, step, fail)
        with pytest.raises(OSError, match="No space"):
            atomic_file.write(tmp_path / "file", b"lost")
    assert len(list(tmp_path.iterdir())) == 2
    atomic_file.drop_parts(tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"kept"]
    atomic_file.drop_parts(tmp_path / "nowhere")
