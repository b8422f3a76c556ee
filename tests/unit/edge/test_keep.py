"""The process that keeps edges running: each is started again, whatever ended it, and all end with it."""

import contextlib
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from resolver.edge import keep
from tests.journeys.processes import command_of, descendants
from tests.journeys.running import free_ports
from tests.unit.edge.certificates import NAME, Files
from tests.unit.edge.requests import request

HOST = "127.0.0.1"
PATIENCE_S = 120.0
"""Ends what hangs, and nothing else."""


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)  # it is another process that changes


class Running:
    """A keeper of two edges at one port."""

    def __init__(self, one: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process = one
        self.port = port
        self._log = log

    def said(self) -> str:
        return self._log.read_text()

    def edges(self) -> set[int]:
        """The processes that have become an edge."""
        below = descendants(self.process.pid)
        return {pid for pid in below if b"resolver.edge.process" in command_of(pid)}

    def shown(self, files: Files) -> bytes | None:
        """The certificate that a client sees; None if nobody listens."""
        context = ssl.create_default_context()
        files.authority.configure_trust(context)
        with contextlib.suppress(ConnectionRefusedError):
            below = socket.create_connection((HOST, self.port), timeout=PATIENCE_S)
            with context.wrap_socket(below, server_hostname=NAME) as client:
                return client.getpeercert(binary_form=True)
        return None


@contextlib.contextmanager
def keeping(folder: Path, files: Files) -> Iterator[Running]:
    (port,) = free_ports(1)
    said = request(tls=((HOST, port),), certificate=str(files.certificate), key=str(files.key))
    with open(folder / "log", "wb") as log:
        one = subprocess.Popen(
            [sys.executable, "-I", "-m", "resolver.edge.keep", "2"], stdin=subprocess.PIPE, stderr=log
        )
    assert one.stdin is not None
    one.stdin.write(msgspec.json.encode(said) + b"\n")
    one.stdin.close()
    running = Running(one, port, folder / "log")
    try:
        yield running
    finally:
        one.send_signal(signal.SIGTERM)
        status = one.wait(PATIENCE_S)
    assert status == 0, running.said()


def test_an_edge_that_crashes_is_started_again_and_all_end_together(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.issue(days=3650)
    with keeping(tmp_path, files) as running:
        until(lambda: running.said().count("takes queries") == 2, "two edges")
        before = running.edges()
        assert len(before) == 2
        first = running.shown(files)
        assert first
        os.kill(min(before), signal.SIGKILL)
        until(lambda: running.said().count("takes queries") == 3, "a third start")
        after = running.edges()
        assert (len(after), len(after & before)) == (2, 1)
        assert "ended by signal 9; it is started again" in running.said()
        assert running.shown(files) == first
        files.issue(days=3650)
        running.process.send_signal(signal.SIGHUP)
        until(lambda: running.said().count("in use until") == 2, "both have the new certificate")
        assert running.shown(files) not in (first, None)
    assert [pid for pid in after if Path(f"/proc/{pid}").exists()] == []
    assert running.said().count("it is started again") == 1, "the end of all is no fault"


def test_without_a_certificate_it_stays_and_begins_when_there_is_one(tmp_path: Path) -> None:
    """As in a pod whose Secret is made later: the container must not end."""
    files = Files(tmp_path)
    with keeping(tmp_path, files) as running:
        until(lambda: running.said().count("ended with 2") == 2, "both say that they ended")
        assert "there is no such file" in running.said()
        assert running.process.poll() is None
        files.issue(days=3650)
        until(lambda: "takes queries" in running.said(), "an edge with the certificate")
        assert running.shown(files)


@pytest.fixture
def kept() -> Iterator[keep.Kept]:
    """An edge whose process is one that only sleeps."""
    found = keep.Kept(request(number=7))
    with found.door, subprocess.Popen(["sleep", "600"]) as sleeping:
        found.pid = sleeping.pid
        yield found
        sleeping.kill()


def tell(one: keep.Kept, said: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.sendto(said, one.door.getsockname())


def is_gone(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def test_an_edge_that_gives_no_sign_of_life_is_killed(kept: keep.Kept, caplog: pytest.LogCaptureFixture) -> None:
    tell(kept, b"READY=1")
    kept.hear(100.0)
    kept.look(100.0 + keep.SILENT_S)
    tell(kept, b"WATCHDOG=1")
    kept.hear(110.0)
    kept.look(110.0 + keep.SILENT_S)
    assert not caplog.messages
    assert not is_gone(kept.pid)
    kept.look(111.0 + keep.SILENT_S)
    until(lambda: is_gone(kept.pid), "it is killed")
    assert caplog.messages == ["edge 7: no sign of life for 31 s: it is started again"]


def test_an_edge_that_is_not_ready_yet_has_longer(kept: keep.Kept) -> None:
    kept.hear(0.0)
    kept.look(keep.START_S)
    assert not is_gone(kept.pid)
    kept.look(keep.START_S + 1)
    until(lambda: is_gone(kept.pid), "it is killed")


def test_an_edge_that_starts_gets_no_sighup(kept: keep.Kept) -> None:
    """Until it is ready, SIGHUP would end it."""
    kept.reload()
    assert not is_gone(kept.pid)
    tell(kept, b"READY=1")
    kept.reload()
    until(lambda: is_gone(kept.pid), "it gets it: this one ends by it")
    found = os.waitid(os.P_PID, kept.pid, os.WEXITED | os.WNOWAIT)
    assert found is not None
    assert found.si_status == signal.SIGHUP


def test_another_account_is_not_heard(kept: keep.Kept, caplog: pytest.LogCaptureFixture) -> None:
    """Its address is no secret to processes of the same network."""
    if os.geteuid() != 0:
        pytest.skip("only root can speak as another account")
    said = struct.pack("3i", os.getpid(), 65534, 65534)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        said_by = [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, said)]
        other.sendmsg([b"READY=1"], said_by, 0, kept.door.getsockname())
    kept.hear(1000.0)
    kept.look(keep.START_S + 1)
    until(lambda: is_gone(kept.pid), "what another account said counts as nothing")
    assert caplog.messages == ["edge 7: no sign of life for 91 s: it is started again"]


def test_the_pause_grows_until_an_edge_is_ready(kept: keep.Kept, caplog: pytest.LogCaptureFixture) -> None:
    sleeping, due = kept.pid, []
    for _ in range(6):
        kept.ended(2, 0.0)
        due.append(kept.due_at)
    assert due == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert caplog.messages == ["edge 7: ended with 2; it is started again, at least every 10 s"]
    tell(kept, b"READY=1")
    kept.hear(0.0)
    kept.ended(-11, 0.0)
    assert kept.due_at == 1.0
    assert caplog.messages[1:] == ["edge 7: ended by signal 11; it is started again, at least every 10 s"]
    kept.start(0.5)
    assert kept.pid == 0, "it is not due yet"
    kept.pid = sleeping
