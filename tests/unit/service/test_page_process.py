"""The process that shows the page: what it takes over its channel, what it counts, and how little it may do."""

import asyncio
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from resolver.feed.processes import memory_file
from resolver.page.rendered import Rendered, packed
from resolver.quiet_http.server import opened
from resolver.service import page_process
from resolver.service.page_process import COUNTS_OCTETS, Said, Shown, State, exemption
from tests.unit.page.pages import filled, made
from tests.unit.query.parts import until
from tests.unit.wire import visit

pytestmark = pytest.mark.loops

VISIT = b"GET / HTTP/1.1\r\nHost: a.test\r\nAccept: text/html\r\n\r\n"
LOOPBACK = bytes(10) + b"\xff\xff" + bytes([127, 0, 0, 1])
OTHER = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1])


def state(rendered: Rendered) -> State:
    return State(packed(rendered), b"", (LOOPBACK,))


def tell(channel: socket.socket, said: Said, *files: int) -> None:
    socket.send_fds(channel, [said], files)


def tell_pages(channel: socket.socket, rendered: Rendered) -> None:
    file = memory_file("pages", msgspec.msgpack.encode(state(rendered)))
    tell(channel, b"pages", file)
    os.close(file)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_who_is_spared() -> None:
    spares = exemption(State(b"", OTHER + OTHER, (LOOPBACK,)))
    assert [spares(one) for one in (LOOPBACK, OTHER, bytes(16))] == [True, True, False]


@pytest.mark.asyncio
async def test_it_shows_the_pages_that_it_was_given_last(pair: tuple[socket.socket, socket.socket]) -> None:
    counts = memoryview(bytearray(COUNTS_OCTETS)).cast("Q")
    shown = Shown(pair[1], counts)
    (one,) = opened([("127.0.0.1", 0)])
    tell_pages(pair[0], made())
    tell(pair[0], b"listen", one.fileno())
    assert b"Example Internet" in await visit(one.getsockname(), VISIT)
    tell_pages(pair[0], made(filled(operator="Another operator")))
    await asyncio.sleep(0.01)
    assert b"Another operator" in await visit(one.getsockname(), VISIT)
    assert counts.tolist() == [2, 0, 0, 0, 0]
    tell(pair[0], b"stop")
    await shown.ended.wait()
    await shown.close()
    address = one.getsockname()
    one.close()
    with pytest.raises(ConnectionRefusedError):
        await visit(address, VISIT)


@pytest.mark.asyncio
async def test_it_ends_with_the_service(pair: tuple[socket.socket, socket.socket]) -> None:
    shown = Shown(pair[1], memoryview(bytearray(COUNTS_OCTETS)).cast("Q"))
    pair[0].close()
    await shown.ended.wait()
    await shown.close()
    assert shown.ended.is_set()


@pytest.mark.asyncio
async def test_as_a_process_it_is_confined_and_last_in_line(pair: tuple[socket.socket, socket.socket]) -> None:
    counts = os.memfd_create("counts")
    os.ftruncate(counts, COUNTS_OCTETS)
    files = (pair[1].fileno(), counts)
    words = [sys.executable, "-I", "-m", page_process.__name__, *map(str, (*files, os.getpid()))]
    (one,) = opened([("127.0.0.1", 0)])
    with (
        mmap.mmap(counts, COUNTS_OCTETS) as memory,
        one,
        subprocess.Popen(words, pass_fds=files, env={}, cwd="/") as process,  # noqa: ASYNC220 - it is waited for below
    ):
        pair[1].close()
        tell_pages(pair[0], made())
        tell(pair[0], b"listen", one.fileno())
        assert (await visit(one.getsockname(), VISIT)).startswith(b"HTTP/1.1 451 ")
        assert int.from_bytes(memory[:8], sys.byteorder) == 1
        where = Path(f"/proc/{process.pid}")
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19
        assert os.sched_getscheduler(process.pid) == page_process.POLICY
        assert (where / "oom_score_adj").read_text() == "1000\n"
        limits = (where / "limits").read_text()
        assert str(page_process.MEMORY_BYTES) in limits
        pair[0].close()
        await until(lambda: process.poll() is not None)
    assert process.returncode == 0
    os.close(counts)
