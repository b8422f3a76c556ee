"""The story of a start as root: the service becomes an account without privileges, and its children with it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys import accounts
from tests.journeys.accounts import LISTED, NOBODY, site_of
from tests.journeys.processes import asked, wait_for
from tests.journeys.running import PAGE_V4


@pytest.fixture
def folder() -> Iterator[Path]:
    with accounts.open_folder() as found:
        yield found


def status_of(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def test_it_enforces_as_the_account_and_can_do_nothing_else(folder: Path) -> None:
    site = site_of(folder)
    with site.started() as service:
        status = status_of(service.process.pid)
        assert status["Uid"] == [str(NOBODY.pw_uid)] * 4
        assert status["Gid"] == status["Groups"] * 4 == [str(NOBODY.pw_gid)] * 4
        assert {int(status[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert status["NoNewPrivs"] == ["1"]
        # Not dumpable: its files in /proc are root's, not the account's.
        assert Path(f"/proc/{service.process.pid}/mem").owner() == "root"
        assert asked(site.dns, LISTED) == f"{PAGE_V4} EDE 4"
        assert {path.owner() for path in (folder / "state").rglob("*")} == {"nobody"}
        assert "running as root" not in service.said


def test_it_starts_again_from_what_it_saved(folder: Path) -> None:
    site = site_of(folder)
    with site.started():
        wait_for(lambda: asked(site.dns, LISTED) == f"{PAGE_V4} EDE 4", "the block")
    (folder / "authority").rename(folder / "gone")
    with site.started():
        assert asked(site.dns, LISTED) == f"{PAGE_V4} EDE 4"


def test_a_state_folder_of_root_is_named_with_what_to_do(folder: Path) -> None:
    site = site_of(folder)
    os.chown(folder / "state", 0, 0)
    service = site.launch()
    assert service.process.wait(60) == 4
    assert f"state.directory: nobody may not use {folder}/state: chown -R nobody {folder}/state\n" in service.said


def test_root_that_stays_says_so_once(folder: Path) -> None:
    site = site_of(folder)
    site.change("listen", user="")
    os.chown(folder / "state", 0, 0)
    with site.started() as service:
        assert service.said.count("running as root: set listen.user to an account without privileges") == 1
