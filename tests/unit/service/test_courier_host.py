"""The service's side of the courier: its process is started again, and what it had is asked again."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.rcode
import pytest

from resolver.config.values import Endpoint
from resolver.query.forward import Forward
from resolver.service import courier_host
from resolver.service.courier_host import CourierHost
from tests.fakes.sealed import Sealed, Way, serving
from tests.unit.courier.sealing import TABLE, Authority, at
from tests.unit.query.forwarding import asking, exchange
from tests.unit.query.parts import query, until

pytestmark = pytest.mark.loops


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@asynccontextmanager
async def running(authority: Authority, look_s: float = 5.0) -> AsyncIterator[tuple[Sealed, Forward, CourierHost]]:
    """A server, and what asks it by a process."""
    ended: list[object] = []
    async with (
        serving(TABLE, authority.certificate()) as server,
        asking(at(server), ca=str(authority.file)) as forward,
    ):
        host = CourierHost(forward.courier, pause_s=0.01, look_s=look_s)
        host.start(ended.append)
        try:
            yield server, forward, host
        finally:
            await host.stop()
    assert len(ended) == 1


def pid(host: CourierHost) -> int:
    assert host.process
    return host.process.pid


@pytest.mark.asyncio
async def test_it_is_started_again_and_no_query_is_lost(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(authority) as (server, forward, host):
        assert (await exchange(forward, query("open.test"))).answer
        server.way = Way.SILENT
        waiting = asyncio.ensure_future(exchange(forward, query("late.test")))
        await until(lambda: len(server.seen) == 2)
        server.way = Way.HONEST
        first = pid(host)
        os.kill(first, signal.SIGKILL)
        assert (await waiting).rcode() == dns.rcode.NXDOMAIN
        assert pid(host) != first
    lines = [one.getMessage() for one in caplog.records if one.name == "resolver" and one.levelno == logging.ERROR]
    assert lines == ["courier: the process that asks encrypted upstreams ended (signal 9); it is started again"]


@pytest.mark.asyncio
async def test_one_that_hangs_is_ended_and_another_started(authority: Authority) -> None:
    # Long enough for a busy machine to reply, and short enough for a test.
    async with running(authority, look_s=1.0) as (_, forward, host):
        await exchange(forward, query("open.test"))
        first = pid(host)
        os.kill(first, signal.SIGSTOP)
        await until(lambda: host.process and pid(host) != first, 60)
        assert (await exchange(forward, query("a.test"))).rcode() == dns.rcode.NXDOMAIN


@pytest.mark.asyncio
async def test_one_that_never_begins_is_ended(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier_host, "START_S", 0.2)
    async with running(authority, look_s=0.1) as (*_, host):
        await until(lambda: host.process)
        first = pid(host)
        os.kill(first, signal.SIGSTOP)
        await until(lambda: host.process and pid(host) != first, 60)
        assert pid(host) != first


@pytest.mark.asyncio
async def test_a_stop_ends_the_process(authority: Authority) -> None:
    async with running(authority) as (_, forward, host):
        await exchange(forward, query("open.test"))
        process = host.process
        await host.stop()
        assert process
        assert process.returncode == 0
        await host.stop()


@pytest.mark.asyncio
async def test_what_cannot_be_started_is_said_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, authority: Authority
) -> None:
    monkeypatch.setattr(courier_host.sys, "executable", "/nonexistent/python")
    async with running(authority):
        await until(lambda: len(caplog.records) >= 3)
    assert "(No such file or directory)" in caplog.text


@pytest.mark.asyncio
async def test_without_encrypted_upstreams_there_is_no_process() -> None:
    async with asking(Endpoint("127.0.0.1", 9)) as forward:
        host = CourierHost(forward.courier)
        host.start(lambda task: None)
        assert host.process is None
        await host.stop()
