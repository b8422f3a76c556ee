"""A duty officer who is not root: a member of the control socket's group, who may not read the state folder, gets every
screen that root gets, and another account gets none."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from resolver.cli.terminal import FAILED
from tests.journeys.accounts import NOBODY, open_folder, site_of
from tests.journeys.processes import RESOLVER, Site
from tests.journeys.running import ROOT

MEMBER_UID, STRANGER_GID = 54321, 54322


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with open_folder() as folder:
        (made := site_of(folder)).write()
        (folder / "run").chmod(0o755)
        yield made


@pytest.fixture(scope="module")
def served(site: Site) -> Iterator[Site]:
    with site.started() as service:
        service.until("/readyz")
        yield site


def by(site: Site, *words: str, gid: int = NOBODY.pw_gid, uid: int = MEMBER_UID) -> subprocess.CompletedProcess[str]:
    """Run one command line as an account of its own."""
    who = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    return subprocess.run(
        [*who, sys.executable, *RESOLVER, *words, "--config", str(site.config)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )


def test_without_a_service_root_still_reads_and_a_member_learns_why_not(site: Site) -> None:
    assert by(site, "list", "status", uid=0).returncode == 0
    member = by(site, "list", "status")
    assert (member.returncode, member.stdout) == (FAILED, "")
    assert "no service listens there" in member.stderr


SCREENS = [
    ("list", "status", "--json"),
    ("list", "held", "demo"),
    ("list", "audit"),
    ("list", "audit", "--head"),
    ("list", "releases"),
    ("list", "receipt", "--key"),
]


@pytest.mark.parametrize("words", SCREENS, ids=" ".join)
def test_a_member_sees_what_root_sees(served: Site, words: tuple[str, ...]) -> None:
    root = by(served, *words, uid=0)
    member = by(served, *words)
    assert (member.stdout, member.stderr, member.returncode) == (root.stdout, root.stderr, root.returncode)
    assert (root.returncode, bool(root.stdout)) == (0, True)


def test_a_screen_of_a_terminal_is_theirs_too(served: Site) -> None:
    said = by(served, "list", "status")
    assert said.returncode == 0
    assert "demo: serial 1 in force" in said.stdout


def test_exit_statuses_are_those_of_root(served: Site) -> None:
    assert by(served, "list", "audit", "--expect", "0" * 64).returncode == 3
    assert by(served, "list", "held", "none").returncode == FAILED
    refused = by(served, "list", "held", "demo", "--statement", "approve")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert refused.stderr


def test_numbers_of_the_first_day_are_theirs_too(served: Site, tmp_path: Path) -> None:
    """The first beat comes within count.publish_every; until then the reason is said, as root reads it."""
    said = by(served, "report", "--so-far")
    assert (said.returncode, said.stderr) == (
        by(served, "report", "--so-far", uid=0).returncode,
        by(served, "report", "--so-far", uid=0).stderr,
    )
    month = f"{datetime.now(UTC):%Y-%m}"
    both = [by(served, "evidence", "--month", month, "--so-far", "--out", "-", uid=uid) for uid in (0, MEMBER_UID)]
    assert both[0].returncode == both[1].returncode
    if both[0].returncode == 0:
        said_in = [json.loads(json.loads(one.stdout)["statement"]) for one in both]
        assert {one["host"] for one in said_in} == {said_in[0]["host"]}


def test_decisions_stay_decisions_and_strangers_get_nothing(served: Site) -> None:
    stranger = by(served, "list", "status", gid=STRANGER_GID)
    assert (stranger.returncode, stranger.stdout) == (FAILED, "")
    assert "the state folder is not yours to read" in stranger.stderr
    assert "permission denied" in stranger.stderr
    checked = by(served, "list", "check", "blocked.test")
    assert checked.returncode == FAILED, "by which list a name is blocked stays root's to know"
