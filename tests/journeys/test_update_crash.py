"""Killed at any step of an update, then started again: the last good list is in force before the first poll.

A child process updates from serial 7 to serial 8 and is killed for good before or after the step named. It fetches and
compiles by itself; test_kill.py kills a whole service with its children.
"""

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resolver.feed import activate, audit, store
from tests.fakes import processes as in_process
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("in_this_process")

# The steps in their order, and from which one on serial 8 is the last good list.
STEPS: dict[str, tuple[type, str, int]] = {
    "image opened": (store.Store, "open_part", 7),
    "image compiled": (store.Store, "fsync_image", 7),
    "image named": (store.Store, "rename_image", 7),
    "folder on disk": (store.Store, "fsync_folder", 7),
    "tested": (activate.Activation, "_tested", 7),
    "audited": (audit.Audit, "append", 7),
    "floor raised": (store.Store, "write_floor", 8),
    "state written": (store.Store, "write_state", 8),
    "swapped": (activate.Activation, "_swap", 8),
    "cleaned": (store.Store, "clean", 8),
}
CASES = [(step, when) for step in STEPS for when in ("before", "after")]


class _World:
    """What a child and its parent both find in a folder: the authority's files, no keys of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "authority"
        self.pinned = self.folder / "pinned.json"
        self.url = self.folder.as_uri()


def killed(step: Callable[..., Any], when: str) -> Callable[..., Any]:
    """The same step, after or before which there is no process any more."""

    def die(*args: Any, **kwargs: Any) -> None:
        if when == "after":
            step(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    return die


def child(folder: str, name: str, when: str) -> None:
    """Start, recover, and update until the step that kills."""
    resolver = started(Path(folder))
    in_process.replace(pytest.MonkeyPatch())
    assert resolver.enforced == 7
    where, method, _ = STEPS[name]
    setattr(where, method, killed(getattr(where, method), when))
    asyncio.run(resolver.list.poll())
    print("survived")


def run_child(folder: Path, step: str, when: str) -> subprocess.CompletedProcess[str]:
    code = f"from tests.journeys.test_update_crash import child; child({str(folder)!r}, {step!r}, {when!r})"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )


def started(folder: Path) -> Enforcer:
    resolver = Enforcer(_World(folder), folder / "state")  # type: ignore[arg-type]  # serves, never signs
    resolver.feed.recover()
    return resolver


@pytest.fixture
def world(tmp_path: Path) -> Authority:
    """Serial 7 is in force in a resolver that has stopped, serial 8 is published."""
    authority = Authority(tmp_path / "authority")
    authority.publish(names(20), 7)
    resolver = Enforcer(authority, tmp_path / "state")
    resolver.feed.recover()
    asyncio.run(resolver.list.poll())
    assert resolver.enforced == 7
    authority.publish(names(30), 8)
    return authority


@pytest.mark.parametrize(("step", "when"), CASES, ids=["-".join(case).replace(" ", "_") for case in CASES])
def test_killed_at_a_step(step: str, when: str, world: Authority, tmp_path: Path) -> None:
    ended = run_child(tmp_path, step, when)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, ""), ended.stderr
    good = STEPS[step][2]
    if (step, when) == ("floor raised", "before"):
        good = 7

    resolver = started(tmp_path)
    assert resolver.enforced == good
    assert resolver.blocks("name19.test")
    assert resolver.blocks("name29.test") is (good == 8)
    assert resolver.failures == {}
    folder = resolver.list.store.folder
    assert not list(folder.glob("*.part"))
    state = resolver.list.state
    spoken = {record.image for record in (state.in_force, state.previous) if record}
    assert {path.name for path in folder.glob("*.image")} == spoken
    audit.verify(tmp_path / "state/audit.log")

    asyncio.run(resolver.list.poll())
    assert resolver.enforced == 8
    assert resolver.failures == {}
    resolver.restarted()
    assert resolver.enforced == 8


@pytest.mark.parametrize("number", range(1, 7))
def test_killed_between_a_file_and_its_name(number: int, world: Authority, tmp_path: Path) -> None:
    """The renames of an update: image, lines, the audit log's head, floor, state, receipt."""
    code = f"""
import asyncio, os, pathlib, signal
from pathlib import Path
from tests.journeys import test_update_crash as t
resolver = t.started(Path({str(tmp_path)!r}))
t.in_process.replace(t.pytest.MonkeyPatch())
real, left = pathlib.Path.replace, [{number}]
def replace(self, target):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, target)
pathlib.Path.replace = replace
asyncio.run(resolver.list.poll())
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    resolver = started(tmp_path)
    assert resolver.enforced == (8 if number >= 5 else 7)
    asyncio.run(resolver.list.poll())
    assert resolver.enforced == 8


def test_a_process_of_an_update_dies_with_the_service(world: Authority, tmp_path: Path) -> None:
    code = """
import asyncio
from resolver.feed import processes
async def main():
    async with processes._child("resolver.feed.names.compile", (), 60.0) as child:
        print(child.pid, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        handle = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        parent.wait()
    try:
        assert select.select([handle], [], [], 10)[0] == [handle]
    finally:
        os.close(handle)


def test_a_damaged_image_is_not_put_in_force_and_is_fetched_again(world: Authority, tmp_path: Path) -> None:
    resolver = started(tmp_path)
    image = resolver.list.store.folder / resolver.list.state.in_force.image
    data = bytearray(image.read_bytes())
    data[len(data) // 2] ^= 1
    image.write_bytes(data)
    resolver = started(tmp_path)
    assert resolver.enforced == "no list"
    assert resolver.failures == {"image_unusable": 1}
    asyncio.run(resolver.list.poll())
    assert resolver.enforced == 8


def test_another_digest_key_fetches_again_and_quarantines_nothing(world: Authority, tmp_path: Path) -> None:
    (tmp_path / "state/digest.key").write_bytes(bytes(16))
    resolver = started(tmp_path)
    assert resolver.keys.digest == bytes(16)
    assert resolver.enforced == "no list"
    asyncio.run(resolver.list.poll())
    assert resolver.enforced == 8
    assert resolver.list.state.quarantined == ()


@pytest.mark.parametrize("file", ["state.json", "floor.json"])
def test_a_damaged_state_file_keeps_the_list(file: str, world: Authority, tmp_path: Path) -> None:
    (tmp_path / "state/lists/demo" / file).write_bytes(b'{"name0.test')
    resolver = started(tmp_path)
    assert resolver.enforced == 7
    assert resolver.failures == {"state_unreadable": 1}


def test_a_state_that_was_set_back_below_the_floor_is_not_believed(world: Authority, tmp_path: Path) -> None:
    folder = tmp_path / "state/lists/demo"
    old = (folder / "state.json").read_bytes()
    resolver = started(tmp_path)
    asyncio.run(resolver.list.poll())
    assert resolver.enforced == 8
    (folder / "state.json").write_bytes(old)
    assert started(tmp_path).enforced == 8
