"""The service's end of the control socket: who may connect, and what a slow or malformed peer may do to it."""

import asyncio
import grp
import json
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from resolver.config.config import Control
from resolver.control import client, requests
from resolver.control import server as control

pytestmark = pytest.mark.loops

CANARY = "canary-7f3a.test"
NO_GROUP = "no-such-group"


def walked(seconds: float = 0.0) -> requests.AskReply:
    return requests.AskReply(steps=(), reply=None, seconds=seconds)


async def later(_: requests.Ask, uid: int) -> requests.Reply:
    return walked(uid)


def fail(request: requests.Fetch, _uid: int) -> requests.Reply:
    raise ValueError(request.list)


async def hang(_: requests.Resume, _uid: int) -> requests.Reply:
    await asyncio.Event().wait()
    raise AssertionError


STATUS = requests.StatusReply(health={})
VERBS: control.Verbs = {
    requests.Status: lambda _request, _uid: STATUS,
    requests.Reload: lambda _request, _uid: requests.Refused(said=CANARY),
    requests.Flush: lambda _request, _uid: requests.FlushReply(forgotten=1),
    requests.Ask: later,
    requests.Fetch: fail,
    requests.Resume: hang,
}
HANG = requests.Resume(list="", serial=1, signature="")
ASK_STATUS = requests.Status()
IS_WELL = {"outcome": "done", "health": {}}


@asynccontextmanager
async def serving(folder: Path, **bounds: Any) -> AsyncIterator[Control]:
    """A server in `folder`; it has to leave no file behind."""
    server, settings = control.Server(VERBS, **bounds), Control(socket=str(folder / "control"), group="")
    await server.open(settings)
    try:
        yield settings
    finally:
        await server.close()
    assert not (folder / "control").exists()


async def said(settings: Control, octets: bytes, *, end: bool = False) -> bytes:
    """What comes for these octets."""
    reader, writer = await asyncio.open_unix_connection(settings.socket)
    writer.write(octets)
    if end:
        writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.close()


async def asked(settings: Control, request: requests.Request[Any] = ASK_STATUS) -> Any:
    return json.loads(await said(settings, requests.line_of(request)))


async def comes_through(settings: Control) -> bool:
    """Whether a status is answered now, and not sent away because of the crowd before it."""
    try:
        return bool(await asked(settings) == IS_WELL)
    except (OSError, ValueError):
        return False


@pytest.mark.asyncio
async def test_a_request_gets_its_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as settings:
        assert await asked(settings) == IS_WELL
        walk = {"outcome": "done", "steps": [], "reply": None, "seconds": os.geteuid()}
        assert await asked(settings, requests.Ask(packet="", client="")) == walk
        assert await asyncio.to_thread(client.call, settings, requests.Status()) == STATUS


@pytest.mark.asyncio
async def test_the_file_lets_in_owner_and_group_only(tmp_path: Path) -> None:
    async with serving(tmp_path) as settings:
        found = os.stat(settings.socket)
        assert stat.S_IMODE(found.st_mode) == 0o660
        assert (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())


@pytest.mark.asyncio
async def test_the_group_is_the_configured_one(tmp_path: Path) -> None:
    group = grp.getgrall()[-1] if os.geteuid() == 0 else grp.getgrgid(os.getegid())
    server = control.Server(VERBS)
    await server.open(Control(socket=str(tmp_path / "control"), group=group.gr_name))
    assert (tmp_path / "control").stat().st_gid == group.gr_gid
    await server.close()


@pytest.mark.asyncio
async def test_a_group_that_is_not_there_is_told_once_and_is_our_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = control.Server(VERBS)
    await server.open(Control(socket=str(tmp_path / "control"), group=NO_GROUP))
    assert (tmp_path / "control").stat().st_gid == os.getegid()
    assert stat.S_IMODE((tmp_path / "control").stat().st_mode) == 0o660
    (line,) = caplog.messages
    assert line.startswith(f"control.group: no group {NO_GROUP} here: ")
    assert line.endswith(f"groupadd --system {NO_GROUP}")
    await server.close()


def test_a_group_that_is_there_has_no_warning() -> None:
    assert control.missing("") == ""
    assert control.missing(grp.getgrgid(os.getegid()).gr_name) == ""


@pytest.mark.asyncio
async def test_no_socket_is_wanted_and_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = control.Server(VERBS)
    await server.open(Control(socket=""))
    await server.close()
    assert not os.listdir(tmp_path)


@pytest.mark.asyncio
async def test_the_folder_is_made(tmp_path: Path) -> None:
    server = control.Server(VERBS)
    await server.open(Control(socket=str(tmp_path / "run" / "resolver" / "control"), group=""))
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) & 0o022 == 0
    await server.close()


# What is there already.


def dead_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.asyncio
async def test_the_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    dead_socket(tmp_path / "control")
    async with serving(tmp_path) as settings:
        assert await asked(settings) == IS_WELL


@pytest.mark.asyncio
async def test_the_socket_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as settings:
        with pytest.raises(control.Unusable, match="does the service run already"):
            await control.Server(VERBS).open(settings)
        assert await asked(settings) == IS_WELL


@pytest.mark.asyncio
async def test_a_living_process_that_accepts_nobody_is_left_alone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as waiting:
        other.bind(str(tmp_path / "control"))
        other.listen(0)
        waiting.connect(str(tmp_path / "control"))
        with pytest.raises(control.Unusable, match="does the service run already"):
            await control.Server(VERBS).open(Control(socket=str(tmp_path / "control"), group=""))


@pytest.mark.asyncio
@pytest.mark.parametrize("there", ["file", "folder", "link"])
async def test_what_is_no_socket_is_left_alone(there: str, tmp_path: Path) -> None:
    path = tmp_path / "control"
    if there == "file":
        path.write_text("precious")
    elif there == "folder":
        path.mkdir()
    else:
        dead_socket(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(control.Unusable, match="something else than a socket"):
        await control.Server(VERBS).open(Control(socket=str(path), group=""))
    assert path.exists()


@pytest.mark.asyncio
async def test_what_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(control.Unusable, match="its folder cannot be made: File exists; make it and give it to "):
        await control.Server(VERBS).open(Control(socket=str(tmp_path / "file" / "control"), group=""))
    with pytest.raises(control.Unusable, match="107 octets"):
        await control.Server(VERBS).open(Control(socket=str(tmp_path / ("x" * 107)), group=""))


@pytest.mark.asyncio
async def test_the_socket_of_who_came_after_us_is_left_alone(tmp_path: Path) -> None:
    server = control.Server(VERBS)
    await server.open(Control(socket=str(tmp_path / "control"), group=""))
    (tmp_path / "control").unlink()
    dead_socket(tmp_path / "control")
    await server.close()
    assert (tmp_path / "control").is_socket()


# Who is mad.


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "octets",
    [
        b"\n",
        b"{}\n",
        b"[]\n",
        b'"status"\n',
        b'{"verb": 1}\n',
        b'{"verb": ["status"]}\n',
        b'{"verb": "canary-7f3a.test"}\n',
        b"\xff\xfe\n",
        b"[" * 8000 + b"\n",
        b"x" * 9000 + b"\n",
        b"x" * 100_000,
    ],
)
async def test_what_is_no_request_is_told_so_and_not_repeated(
    octets: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as settings:
        try:
            came = await said(settings, octets)
        except ConnectionResetError:
            came = b""  # what of a flood was left unread resets the connection
        assert not came or json.loads(came)["outcome"] == "failed"
        assert CANARY.encode() not in came
        assert await asked(settings) == IS_WELL
    assert not caplog.messages


@pytest.mark.asyncio
async def test_who_leaves_leaves_nothing_behind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path) as settings:
        assert await said(settings, b"", end=True) == b""
        assert await said(settings, b'{"verb": "sta', end=True) == b""
        for _ in range(3 * control.MAX_CONNECTIONS):
            _, writer = await asyncio.open_unix_connection(settings.socket)
            writer.write(b'{"verb": "ask", "packet": "", "as": "' + b"x" * 4000 + b'"}\n')
            writer.transport.abort()
        async with asyncio.timeout(120):
            while not await comes_through(settings):
                pass
    assert not caplog.messages


@pytest.mark.asyncio
async def test_who_stays_silent_is_sent_away(tmp_path: Path) -> None:
    async with serving(tmp_path, request_s=0.05) as settings:
        assert json.loads(await said(settings, b"")) == {"outcome": "failed", "said": "no request came in time"}


@pytest.mark.asyncio
async def test_a_verb_has_its_time(tmp_path: Path) -> None:
    async with serving(tmp_path, reply_s=0.05) as settings:
        assert (await asked(settings, HANG))["said"] == "not done within 0.05 s"
        assert await asked(settings) == IS_WELL


@pytest.mark.asyncio
async def test_a_crowd_is_told_to_come_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as settings:
        crowd = [await asyncio.open_unix_connection(settings.socket) for _ in range(control.MAX_CONNECTIONS)]
        with pytest.raises(client.Unreachable, match="too many requests; try again"):
            await asyncio.to_thread(client.call, settings, requests.Status())
        reader, writer = crowd[0]
        writer.write(b'{"verb": "status"}\n')
        assert json.loads(await reader.read()) == IS_WELL
        assert await asked(settings) == IS_WELL
        for _, writer in crowd:
            writer.close()


@pytest.mark.asyncio
async def test_a_verb_that_worked_in_the_loop_is_followed_by_a_rest(tmp_path: Path) -> None:
    moments = iter([100.0, 100.0, 100.5, 105.48, 105.5, 105.75])  # looked at, begun and ended, twice
    server = control.Server(VERBS, clock=lambda: next(moments))
    await server._carried_out(requests.Status(), 0)
    assert server._rests_until == 105.5
    started = asyncio.get_running_loop().time()
    await server._carried_out(requests.Status(), 0)
    assert asyncio.get_running_loop().time() - started >= 0.015
    assert server._rests_until == 108.25


@pytest.mark.asyncio
async def test_the_first_stretch_of_what_is_awaited_is_followed_by_a_rest_too() -> None:
    moment = 100.0

    async def walk(_request: requests.Ask, _uid: int) -> requests.Reply:
        nonlocal moment
        moment += 0.25
        await asyncio.sleep(0)
        moment += 0.5
        return walked()

    server = control.Server({requests.Ask: walk}, clock=lambda: moment)
    assert await server._carried_out(requests.Ask(packet="", client=""), 0) == walked()
    assert server._rests_until == 102.75


@pytest.mark.asyncio
async def test_a_stop_waits_for_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path) as settings:
        reader, writer = await asyncio.open_unix_connection(settings.socket)
        writer.write(requests.line_of(HANG))
        await asked(settings)
    assert await reader.read() == b""
    writer.close()


# What is said of it.


@pytest.mark.asyncio
async def test_reload_and_flush_are_logged_with_who_and_outcome_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "resolver"):
        async with serving(tmp_path) as settings:
            for request in (requests.Reload(), requests.Flush(name="00"), requests.Status()):
                await asked(settings, request)
            await asked(settings, requests.Ask(packet="", client=CANARY))
    uid = os.geteuid()
    assert caplog.messages == [f"reload by uid {uid}: refused", f"flush by uid {uid}: done"]


@pytest.mark.asyncio
async def test_what_fails_inside_is_named_by_its_kind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path) as settings:
        came = await asked(settings, requests.Fetch(list=CANARY))
        assert came == {"outcome": "failed", "said": "internal error (ValueError); please report it"}
    assert caplog.messages == ["internal error in a request: ValueError"]


@pytest.mark.asyncio
async def test_a_peer_has_so_many_log_lines_a_minute_and_the_rest_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now, uid, many = [600.0], os.geteuid(), control.LINES_A_MINUTE
    line = f"flush by uid {uid}: done"
    full = f"further requests by uid {uid} in this minute are not logged, only counted"
    with caplog.at_level(logging.DEBUG, "resolver"):
        async with serving(tmp_path, clock=lambda: now[0]) as settings:
            for _ in range(many + 5):
                assert (await asked(settings, requests.Flush(name="00")))["outcome"] == "done"
            assert caplog.messages == [line] * many + [full]
            now[0] += 60
            await asked(settings, requests.Flush(name="00"))
    assert caplog.messages[many + 1 :] == [f"5 more requests by uid {uid} were not logged", line]
