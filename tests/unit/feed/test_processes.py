"""Processes that hang, lie, crash or babble."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from resolver.feed import processes
from resolver.feed.messages import CompileRequest
from resolver.feed.reasons import Reason
from tests.unit.feed.names.test_compile import request

pytestmark = [pytest.mark.asyncio, pytest.mark.loops, pytest.mark.processes]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A program in the place of the interpreter: what it does is written by the test."""
    program = tmp_path / "program"
    monkeypatch.setattr(processes.sys, "executable", str(program))
    return program


def does(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)


async def failing(seconds: float = 20, asked: CompileRequest | None = None) -> Reason:
    with pytest.raises(processes.UpdateFailed) as error:
        await processes.compile_list(asked or request(0, 1, keys=2), seconds)
    return error.value.reason


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 0", Reason.PROCESS),
        ("kill -9 $$", Reason.PROCESS),
        ("echo a.test", Reason.PROCESS),
        ("echo '[]'", Reason.PROCESS),
        ("read line; echo '{}'", Reason.PROCESS),
        ('read line; echo \'{"compiled": {"entries": "a.test"}}\'', Reason.PROCESS),
        ('read line; echo \'{"failed": "a.test"}\'', Reason.PROCESS),
        ('read line; echo \'{"failed": ["empty"]}\'', Reason.PROCESS),
        ('read line; echo \'{"failed": "empty"}\'', Reason.EMPTY),
        ("read line; exec head -c 3000000 /dev/zero", Reason.PROCESS),
    ],
)
async def test_what_a_process_says_is_never_more_than_a_reason(
    script: str, reason: Reason, stand_in: Path
) -> None:
    does(stand_in, script)
    assert await failing() is reason


async def test_a_program_that_cannot_be_started(stand_in: Path) -> None:
    assert await failing() is Reason.PROCESS


async def test_a_process_that_hangs_is_killed(stand_in: Path, tmp_path: Path) -> None:
    does(stand_in, f"echo $$ > {tmp_path}/pid; exec tail -f /dev/null")
    assert await failing(seconds=0.3) is Reason.TIMED_OUT
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_process_ends_with_the_task_that_waits_for_it(stand_in: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pid")
    does(stand_in, f"echo $$ > {tmp_path}/pid; exec tail -f /dev/null")
    task = asyncio.create_task(processes.compile_list(request(0, 1, keys=2)))
    pid = int(await asyncio.to_thread((tmp_path / "pid").read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_process_has_an_empty_environment_and_no_name_in_its_arguments(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "a.test")
    does(stand_in, f'env > {tmp_path}/env; echo "$@" > {tmp_path}/args')
    assert await failing() is Reason.PROCESS
    assert "a.test" not in (tmp_path / "env").read_text()
    assert (tmp_path / "args").read_text() == "-I -m resolver.feed.names.compile\n"


async def test_a_memory_file_is_read_from_its_start() -> None:
    handle = processes.memory_file("list", b"content")
    assert os.read(handle, 99) == b"content"
    os.close(handle)
