"""Addresses that are bound later: in the process that binds, and in the service that takes the sockets."""

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from resolver.config.values import Endpoint
from resolver.service import late
from tests.journeys.running import HOST, ROOT
from tests.unit.query.parts import until

pytestmark = pytest.mark.loops

BUSY = OSError(errno.EADDRINUSE, "busy")
KINDS = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
NOBODY = 65534


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind((HOST, 0))
        yield one


def endpoint(one: socket.socket) -> Endpoint:
    return Endpoint(*one.getsockname())


@pytest.mark.asyncio
async def test_a_port_that_gets_free_is_taken_while_the_service_runs(
    taken: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[socket.socket] = []
    changes: list[int] = []
    waiting = late.Late(lambda: changes.append(len(waiting.wanted)), pause_s=0.05)
    waiting.add("listen.dns", socket.SOCK_DGRAM, endpoint(taken), BUSY, got.append)
    waiting.start((os.getuid(), os.getgid()))
    said = f"listen.dns: {endpoint(taken)} (UDP): Address already in use"
    assert [str(one) for one in waiting.wanted.values()] == [said]
    assert caplog.messages == [f"{said}; it is tried again every 0.05 s"]
    where = taken.getsockname()
    assert changes == []
    taken.close()
    with caplog.at_level("INFO", "resolver"):
        await until(lambda: bool(changes))
    assert got[0].getsockname() == where
    assert changes == [0]
    assert caplog.messages[-1] == f"listen.dns: now listening on {HOST}:{where[1]} (UDP)"
    await waiting.close()
    got[0].close()
    assert "has ended" not in caplog.text


@pytest.mark.asyncio
async def test_nothing_is_started_when_nothing_is_wanted() -> None:
    waiting = late.Late(lambda: None)
    waiting.start((0, 0))
    assert waiting.process is None
    await waiting.close()


@pytest.mark.asyncio
async def test_the_process_ends_with_the_service(taken: socket.socket) -> None:
    waiting = late.Late(lambda: None, pause_s=60)
    waiting.add("listen.dns", socket.SOCK_DGRAM, endpoint(taken), BUSY, lambda one: one.close())
    waiting.start((os.getuid(), os.getgid()))
    process = waiting.process
    assert process is not None
    await waiting.close()
    assert process.returncode is not None


@pytest.mark.asyncio
async def test_a_process_that_ends_too_early_is_said(taken: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    waiting = late.Late(lambda: None, pause_s=60)
    waiting.add("listen.dns", socket.SOCK_DGRAM, endpoint(taken), BUSY, lambda one: one.close())
    waiting.start((os.getuid(), os.getgid()))
    assert waiting.process is not None
    waiting.process.kill()
    await until(lambda: "has ended: restart the service" in caplog.text)
    assert len(waiting.wanted) == 1
    await waiting.close()


@pytest.mark.asyncio
async def test_a_socket_that_cannot_be_used_after_all_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: socket.socket) -> None:
        raise BUSY

    waiting = late.Late(lambda: None, pause_s=0.05)
    waiting.add("page.listen", socket.SOCK_STREAM, Endpoint(HOST, 0), BUSY, fail)
    waiting.start((os.getuid(), os.getgid()))
    await until(lambda: "cannot be used: Address already in use" in caplog.text)
    assert "Traceback" not in caplog.text
    await waiting.close()


def test_each_place_is_bound_once_it_can_be(taken: socket.socket) -> None:
    ours, theirs = socket.socketpair()
    places = [(socket.SOCK_DGRAM, endpoint(taken)), *((kind, Endpoint(HOST, 0)) for kind in KINDS)]
    work = threading.Thread(target=late.bind_each, args=(theirs, places, 0.05))
    work.start()
    with ours, theirs:
        found = {}
        for _ in KINDS:
            number, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
            found[number[0]] = socket.socket(fileno=descriptors[0])
        assert {number: one.type for number, one in found.items()} == {1: socket.SOCK_DGRAM, 2: socket.SOCK_STREAM}
        taken.close()
        number, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        found[number[0]] = socket.socket(fileno=descriptors[0])
        work.join(10)
        assert not work.is_alive()
        for one in found.values():
            one.close()


def test_binding_ends_when_nobody_wants_the_sockets(taken: socket.socket) -> None:
    begun = time.monotonic()
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        late.bind_each(theirs, [(socket.SOCK_DGRAM, endpoint(taken))], 60)
        late.bind_each(theirs, [(socket.SOCK_DGRAM, Endpoint(HOST, 0))], 60)
    assert time.monotonic() - begun < 60, "it waits for no pause"


def test_the_command_line_names_pause_account_and_places(taken: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(late, "bind_each", lambda channel, places, pause: seen.extend((places, pause)))
    monkeypatch.setattr(late, "keep_one_capability", lambda libc, uid, gid: seen.append((uid, gid)))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        monkeypatch.setattr(os, "dup", lambda _: theirs.detach())
        assert late.main(["0.5", "7", "8", "2", HOST, "53"]) == 0
    assert seen == [(7, 8), [(2, Endpoint(HOST, 53))], 0.5]


def test_an_account_keeps_what_it_has_and_gains_nothing() -> None:
    calls: list[tuple[int, ...]] = []

    class Libc:
        def prctl(self, *words: int) -> None:
            calls.append(words)

    late.keep_one_capability(Libc(), 0, 0)
    assert [one[0] for one in calls] == [38]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_of_roots_privileges_one_capability_is_left() -> None:
    code = f"""
import ctypes
from resolver.service import late
late.keep_one_capability(ctypes.CDLL(None), {NOBODY}, {NOBODY})
print([line for line in open("/proc/self/status") if line.startswith(("Uid", "CapEff", "CapPrm", "NoNewPrivs"))])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "CapPrm:\\t0000000000000400" in done.stdout
    assert "CapEff:\\t0000000000000400" in done.stdout
    assert f"Uid:\\t{NOBODY}\\t{NOBODY}" in done.stdout
    assert "NoNewPrivs:\\t1" in done.stdout
