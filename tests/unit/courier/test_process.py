"""The courier as a process: what it takes over its channel, and how little it may do."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import dns.message
import pytest

from resolver.courier import process
from resolver.courier.process import Channel
from resolver.query import courier_frames
from resolver.query.courier_frames import Frames, Reason, Settings
from tests.fakes.sealed import serving
from tests.unit.courier.sealing import TABLE, Authority, at, query
from tests.unit.query.parts import until


class Said:
    """What came back."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.end.setblocking(False)
        self.frames = Frames()
        self.said: list[tuple[int, bytes]] = []

    async def until(self, count: int) -> list[tuple[int, bytes]]:
        while len(self.said) < count:
            data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.end, 65536), 60)
            assert data, "it has closed its end"
            self.said += [(kind, bytes(body)) for kind, body in self.frames.taken(data)]
        return self.said


@pytest.mark.asyncio
async def test_as_a_process_it_asks_and_is_confined(authority: Authority) -> None:
    ours, theirs = socket.socketpair()
    words = [sys.executable, "-I", "-m", process.__name__, str(theirs.fileno()), str(os.getpid())]
    async with serving(TABLE, authority.certificate()) as server:
        with (
            ours,
            subprocess.Popen(words, pass_fds=(theirs.fileno(),), env={}, cwd="/") as one,  # noqa: ASYNC220 - waited for below
        ):
            theirs.close()
            said = Said(ours)
            asked = query()
            ours.sendall(courier_frames.servers([Settings(at(server), ca=str(authority.file))]))
            ours.sendall(courier_frames.ask(7, 0, asked) + courier_frames.frame(courier_frames.ALIVE))
            came = dict(await said.until(2))
            number, reply = courier_frames.answer_in(memoryview(came[courier_frames.ANSWER]))
            assert number == 7
            assert dns.message.from_wire(reply).id == int.from_bytes(asked[:2])
            assert courier_frames.ALIVE in came
            where = Path(f"/proc/{one.pid}")
            assert (where / "oom_score_adj").read_text() == "1000\n"
            assert str(process.MEMORY_BYTES) in (where / "limits").read_text()
            assert b"open.test" not in (where / "cmdline").read_bytes()
            ours.close()
            await until(lambda: one.poll() is not None)
    assert one.returncode == 0


async def channel() -> tuple[Channel, Said]:
    """A channel in this process, and its other end."""
    ours, theirs = socket.socketpair()
    one = Channel()
    await asyncio.get_running_loop().create_connection(lambda: one, sock=theirs)
    return one, Said(ours)


@pytest.mark.asyncio
async def test_an_error_of_one_server_reaches_its_queries_alone(authority: Authority) -> None:
    async with serving(TABLE, authority.certificate()) as good, serving(TABLE, authority.certificate("b.test")) as bad:
        one, said = await channel()
        settings = [Settings(at(server), ca=str(authority.file)) for server in (bad, good)]
        said.end.sendall(courier_frames.servers(settings))
        for number in range(10):
            said.end.sendall(courier_frames.ask(number, number % 2, query()))
        came = await said.until(10)
        failed = [courier_frames.failed_in(memoryview(body)) for kind, body in came if kind == courier_frames.FAILED]
        assert sorted(failed) == [(number, Reason.OTHER_NAME, 0) for number in range(0, 10, 2)]
        assert sum(kind == courier_frames.ANSWER for kind, _ in came) == 5
        said.end.close()
        await one.ended.wait()
        for server in one.servers:
            server.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "words",
    [
        b"\xff\xff\xff\xff\x51",
        courier_frames.frame(0x7A, b"what?"),
        courier_frames.ask(1, 9, bytes(12)),
        courier_frames.frame(courier_frames.ASK, b"short"),
        courier_frames.frame(courier_frames.FORGET, b""),
    ],
)
async def test_what_is_no_frame_ends_it(words: bytes) -> None:
    one, said = await channel()
    said.end.sendall(words)
    await asyncio.wait_for(one.ended.wait(), 60)
    said.end.close()
    assert one.servers == ()


@pytest.mark.asyncio
async def test_servers_are_not_read_while_the_service_takes_nothing(authority: Authority) -> None:
    async with serving(TABLE, authority.certificate()) as server:
        one, said = await channel()
        said.end.sendall(courier_frames.servers([Settings(at(server), ca=str(authority.file))]))
        said.end.sendall(courier_frames.ask(1, 0, query()))
        await said.until(1)
        (line,) = one.servers[0].connections
        one.pause_writing()
        said.end.sendall(courier_frames.ask(2, 0, query()))
        await until(lambda: len(server.seen) == 2)
        assert line.paused
        one.resume_writing()
        assert not line.paused
        assert len(await said.until(2)) == 2
        said.end.close()
        await one.ended.wait()
        one.servers[0].close()
