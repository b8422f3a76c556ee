"""Processes that hang, lie, crash or babble."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.feed import detail_text, processes
from resolver.feed.details import Code, Detail
from resolver.feed.messages import CompileRequest, FetchRequest
from resolver.feed.reasons import Reason
from tests.unit.feed.names.test_compile import request
from tests.unit.feed.test_failures import ONE

pytestmark = [pytest.mark.asyncio, pytest.mark.loops, pytest.mark.processes]

FETCH = FetchRequest(
    parent=os.getpid(), output=1, list_id="demo", url="", root="", target="", metadata="", ca="", certificate="",
    key="", max_bytes=1, memory_bytes=1, seconds=1.0,
)  # fmt: skip


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


SMUGGLED = [
    '"name0.test"',
    '{"code": "name0.test"}',
    '{"code": "file", "at": "name0.test", "numbers": [2]}',
    '{"code": "file", "numbers": ["name0.test"]}',
    '{"code": "file", "numbers": [2], "word": "name0.test"}',
    '{"code": "file", "numbers": [2], "text": "name0.test"}',
    '{"code": "http_status", "numbers": [7953755465]}',
    '{"code": "file", "numbers": [2, 110, 97, 109]}',
]


@pytest.mark.parametrize("said", SMUGGLED)
async def test_a_process_that_would_smuggle_a_name_in_a_detail_adds_nothing(said: str, stand_in: Path) -> None:
    does(stand_in, f"""read line; echo '{{"failed": "empty", "detail": {said}}}'""")
    with pytest.raises(processes.UpdateFailed) as error:
        await processes.compile_list(request(0, 1, keys=2))
    assert error.value.reason is Reason.EMPTY
    assert detail_text.text(error.value.detail, ONE) == ""


@pytest.mark.parametrize("said", SMUGGLED)
async def test_a_process_that_would_smuggle_a_name_in_a_step_reports_none(said: str, stand_in: Path) -> None:
    does(stand_in, f"""read line; echo '{{"step": {said}}}'; echo '{{"failed": "empty"}}'""")
    steps: list[Detail] = []
    with pytest.raises(processes.UpdateFailed) as error:
        await processes.fetch("module", FETCH, lambda _: False, steps.append)
    assert error.value.reason is Reason.EMPTY
    assert {detail_text.text(each, ONE) for each in (*steps, error.value.detail)} == {""}


async def test_a_process_that_ends_without_a_detail_failed_in_its_last_step(stand_in: Path) -> None:
    step, found = (f'echo \'{{"step": {{"code": "{code}"}}}}\'' for code in ("step_read", "found_octets"))
    for end, reason in (("kill -9 $$", Reason.PROCESS), ("exec tail -f /dev/null", Reason.TIMED_OUT)):
        does(stand_in, f"read line; {step}; {found}; {end}")
        steps: list[Detail] = []
        with pytest.raises(processes.UpdateFailed) as error:
            await processes.fetch("module", FETCH, lambda _: False, steps.append)
        assert [each.code for each in steps] == [Code.STEP_READ, Code.FOUND_OCTETS]
        assert (error.value.reason, error.value.detail) == (reason, Detail(code=Code.STEP_READ))


async def test_a_process_that_reports_steps_without_end_is_ended(stand_in: Path) -> None:
    does(stand_in, """read line; while echo '{"step": {"code": "step_read"}}'; do :; done""")
    with pytest.raises(processes.UpdateFailed) as error:
        await processes.fetch("module", replace(FETCH, seconds=20.0), lambda _: False)
    assert error.value.reason is Reason.PROCESS


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
