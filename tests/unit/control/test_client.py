"""The command line's end of the control socket: where it looks, and what an operator reads if nobody replies."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from resolver.config.config import ConfigError, Control
from resolver.control import client
from resolver.control.requests import Status, StatusReply, line_of

CANARY = "canary-7f3a.test"


@pytest.mark.parametrize(
    ("text", "path", "group"),
    [
        ("", Control().socket, Control().group),
        ('[control]\nsocket = "/run/a"\n', "/run/a", Control().group),
        ('control.socket = "/run/a"\ncontrol.group = ""\n', "/run/a", ""),
        ('[listen\n[control]\nsocket = "/run/a"\ngroup = "g"\n[state]\n', "/run/a", "g"),
        ('= broken\n[control]\nsocket = "/run/a"\n', "/run/a", Control().group),
        ('[control]\nsocket = 7\ngroup = ["x"]\n', Control().socket, Control().group),
        ("control = 7\n", Control().socket, Control().group),
        ("[control]\nsocket = \n", Control().socket, Control().group),
        ("[[list]]\nid = 9\n[control]\nsocket='/run/a'", "/run/a", Control().group),
    ],
)
def test_the_socket_is_found_in_a_file_that_is_otherwise_broken(
    text: str, path: str, group: str, tmp_path: Path
) -> None:
    file = tmp_path / "resolver.toml"
    file.write_text(text)
    assert client.settings(file) == Control(socket=path, group=group)


def test_a_configuration_without_a_socket_says_so(tmp_path: Path) -> None:
    file = tmp_path / "resolver.toml"
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory; --config"):
        client.settings(file)
    file.write_text('[control]\nsocket = ""')
    with pytest.raises(ConfigError, match=r'control\.socket: is ""'):
        client.settings(file)


def test_if_no_service_listens_it_says_what_to_do(tmp_path: Path) -> None:
    settings = Control(socket=str(tmp_path / "control"), group="")
    with pytest.raises(client.Unreachable, match=r"no service listens there: .*systemctl status"):
        client.call(settings, Status())
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(settings.socket)
    with pytest.raises(client.Unreachable, match="no service listens there"):
        client.call(settings, Status())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "permission denied: run this as root or a member of the group g"),
        (BrokenPipeError(), "closed without a reply"),
        (TimeoutError(), "no reply within 1 s: the service is stopped or hangs"),
        (OSError(24, "Too many open files"), "Too many open files"),
        (OSError(CANARY), "OSError"),
    ],
)
def test_each_error_has_an_operators_words(error: Exception, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise error

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(client.Unreachable) as unreachable:
        client.call(Control(socket="/run/x/control", group="g"), Status(), timeout_s=1.0)
    assert str(unreachable.value).startswith(f"/run/x/control: {words}")
    assert CANARY not in str(unreachable.value)


@asynccontextmanager
async def replying(folder: Path, line: bytes | None) -> AsyncIterator[Control]:
    """A program in the service's place that sends `line` to every request, or nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        if line is None:
            await reader.read()
        else:
            writer.write(line)
        writer.close()

    settings = Control(socket=str(folder / "control"), group="")
    server = await asyncio.start_unix_server(serve, settings.socket)
    try:
        yield settings
    finally:
        server.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("line", [b"{}\n", b"[]\n", b'{"outcome": 7}\n', b"nonsense\n", b'{"outcome": "done"}'])
async def test_what_is_no_reply_is_not_taken(line: bytes, tmp_path: Path) -> None:
    async with replying(tmp_path, line) as settings:
        with pytest.raises(client.Unreachable, match="the reply is not understood"):
            await asyncio.to_thread(client.call, settings, Status())


@pytest.mark.asyncio
async def test_a_status_of_a_fleet_of_which_every_node_is_missing_is_taken(tmp_path: Path) -> None:
    """As after each change: 10,000 nodes, and four lists."""
    missing = [f"resolver-{number:05}.pop-12.region.isp.example" for number in range(10_000)]
    said = StatusReply(health={"lists": [{"fleet_missing": missing} for _ in range(4)]})
    async with replying(tmp_path, line_of(said)) as settings:
        reply = await asyncio.to_thread(client.call, settings, Status())
    assert isinstance(reply, StatusReply)
    assert reply.health == said.health


@pytest.mark.asyncio
async def test_a_service_that_closes_or_hangs(tmp_path: Path) -> None:
    async with replying(tmp_path, b"") as settings:
        with pytest.raises(client.Unreachable, match="closed without a reply"):
            await asyncio.to_thread(client.call, settings, Status())
    (tmp_path / "control").unlink(missing_ok=True)
    async with replying(tmp_path, None) as settings:
        with pytest.raises(client.Unreachable, match="stopped or hangs"):
            await asyncio.to_thread(client.call, settings, Status(), timeout_s=0.05)
