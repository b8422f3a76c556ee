"""Who a verb acts as."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from resolver.cli import acting

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every account may go through, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def ids() -> tuple[int, int, list[int]]:
    return os.geteuid(), os.getegid(), os.getgroups()


@as_root
@pytest.mark.parametrize("uid", [NOBODY, 54321])
def test_what_root_writes_in_an_accounts_folder_is_the_accounts(uid: int, folder: Path) -> None:
    before = ids()
    os.chown(folder, uid, NOBODY)
    with acting.owner_of(folder / "not" / "yet"):
        (folder / "evidence").mkdir()
        assert os.geteuid() == uid
    assert (folder / "evidence").stat().st_uid == uid
    assert (folder / "evidence").stat().st_gid == NOBODY
    assert ids() == before


@as_root
def test_an_error_gives_root_back(folder: Path) -> None:
    before = ids()
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(ZeroDivisionError), acting.owner_of(folder):
        _ = 1 / 0
    assert ids() == before


def test_a_folder_of_ones_own_changes_nothing(tmp_path: Path) -> None:
    before = ids()
    with acting.owner_of(tmp_path):
        assert ids() == before
    assert acting.owner(tmp_path / "a" / "b") == (os.geteuid(), tmp_path.stat().st_gid)


@as_root
def test_an_account_by_name() -> None:
    before = ids()
    with acting.account("nobody"):
        assert os.geteuid() == NOBODY
    with acting.account("no-such-account"):
        assert ids() == before
    assert ids() == before
