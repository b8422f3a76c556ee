"""The service's side of the page: its sockets stay, its process is started again, its counts outlive it."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from resolver.quiet_http.server import opened
from resolver.service import page_host
from resolver.service.page_host import PageHost
from tests.unit.page.pages import filled, made
from tests.unit.query.parts import until
from tests.unit.wire import visit

pytestmark = pytest.mark.loops

VISIT = b"GET /canary HTTP/1.1\r\nHost: canary.test\r\nAccept: text/html\r\n\r\n"
HELP = VISIT.replace(b"/canary", b"/blocklist-resolver-help/0")
LOOPBACK = bytes(10) + b"\xff\xff" + bytes([127, 0, 0, 1])


@asynccontextmanager
async def running() -> AsyncIterator[PageHost]:
    """A host of the page, with its process."""
    host = PageHost(made(), lambda: (b"", (LOOPBACK,)), pause_s=0.01)
    missed: dict[int, OSError] = {}
    await host.open([("127.0.0.1", 0)], missed)
    assert missed == {}
    task = asyncio.ensure_future(host.run())
    try:
        yield host
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await host.stop()


def place(host: PageHost) -> tuple[str, int]:
    address: tuple[str, int] = host.sockets[0].getsockname()
    return address


def pid(host: PageHost) -> int:
    assert host.process
    return host.process.pid


@pytest.mark.asyncio
async def test_it_shows_counts_and_shows_another_page() -> None:
    async with running() as host:
        assert b"Example Internet" in await visit(place(host), VISIT)
        assert (await visit(place(host), HELP)).startswith(b"HTTP/1.1 303 ")
        assert (host.views, host.followed) == (1, {"worried": 1, "young": 0, "report": 0, "other": 0})
        host.show(made(filled(operator="Another operator")))
        (more,) = opened([("127.0.0.1", 0)])
        host.add(more)
        assert b"Another operator" in await visit(more.getsockname(), VISIT)
        assert host.missing() == ()


@pytest.mark.asyncio
async def test_a_process_that_ends_is_started_again_and_no_view_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with running() as host:
            await visit(place(host), VISIT)
            first = pid(host)
            os.kill(first, signal.SIGKILL)
            await until(lambda: bool(host.missing()) or pid(host) != first)
            assert b"Example Internet" in await visit(place(host), VISIT), "who comes meanwhile waits"
            assert host.views == 2
    (line,) = [one.getMessage() for one in caplog.records if one.name == "resolver"]
    assert line == "page: its process ended (signal 9); it is started again in 0.01 s"


@pytest.mark.asyncio
async def test_what_cannot_be_started_is_said_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(page_host.sys, "executable", "/nonexistent/python")
    async with running() as host:
        await until(lambda: len(caplog.records) >= 2)
        assert host.missing() == ("page.listen: the process that shows the page has ended, and is started again",)
    assert "No such file or directory" in caplog.text
    pauses = [one.getMessage().split(" in ")[1] for one in caplog.records]
    assert pauses[:2] == ["0.01 s", "0.02 s"]


@pytest.mark.asyncio
async def test_a_stop_closes_the_sockets_and_ends_the_process() -> None:
    async with running() as host:
        await visit(place(host), VISIT)
        address, process = place(host), host.process
    assert process
    assert process.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        await visit(address, VISIT)
    await host.stop()


@pytest.mark.asyncio
async def test_a_process_that_reads_nothing_is_ended_and_another_started() -> None:
    async with running() as host:
        await visit(place(host), VISIT)
        first = pid(host)
        os.kill(first, signal.SIGSTOP)
        for number in range(1000):
            host.show(made())
            if number % 10 == 0:
                await asyncio.sleep(0)
            if host.missing() or pid(host) != first:
                break
        await until(lambda: pid(host) != first)
        assert (await visit(place(host), VISIT)).startswith(b"HTTP/1.1 451 ")
