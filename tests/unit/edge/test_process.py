"""The edge as a process: what it refuses to be, what it does to itself, and how it starts, reloads and ends."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from resolver.edge import doh, http1, https, process
from resolver.edge.certificate import Unusable
from resolver.edge.link import SENT_AWAY
from resolver.query import edge_frames
from resolver.query.transport import framed
from tests.journeys.running import free_ports
from tests.unit.edge.certificates import NAME, Files
from tests.unit.edge.requests import request

HOST = "127.0.0.1"
QUERY = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\x04name\x04test\0\0\1\0\1"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    found = Files(tmp_path_factory.mktemp("tls"))
    found.issue(days=3650)
    return found


class Running:
    """A process, and the service behind it: `door` takes its connection, `answer` answers its next query."""

    def __init__(self, one: "subprocess.Popen[bytes]", files: Files, port: int, door: socket.socket) -> None:
        self.process = one
        self.port = port
        self.files = files
        self._door = door
        self.taken: socket.socket | None = None

    def said(self) -> str:
        """What it has logged, once it has ended."""
        _, found = self.process.communicate(timeout=60)
        return found.decode()

    def connect(self) -> ssl.SSLSocket:
        context = ssl.create_default_context()
        self.files.authority.configure_trust(context)
        for _ in range(600):
            try:
                below = socket.create_connection((HOST, self.port), timeout=60)
                return context.wrap_socket(below, server_hostname=NAME)
            except ConnectionRefusedError:
                time.sleep(0.05)  # it has not bound its address yet
        raise AssertionError("it does not listen")

    def link(self) -> socket.socket:
        if self.taken is None:
            self._door.settimeout(60)
            self.taken, _ = self._door.accept()
            self.taken.settimeout(60)
        return self.taken

    def answer(self, reports: list[edge_frames.Report] | None = None) -> None:
        """Answer one query with itself."""
        unread = bytearray()
        while True:
            unread += self.link().recv(2**16)
            for kind, body in edge_frames.take(unread):
                if kind == edge_frames.REPORT:
                    if reports is not None:
                        reports.append(edge_frames.as_report(body))
                    continue
                query = edge_frames.as_query(body)
                self.link().sendall(edge_frames.answer(query.number, 5, query.message))
                return


@contextlib.contextmanager
def started(folder: Path, files: Files, environment: dict[str, str] | None = None, **more: Any) -> Iterator[Running]:
    (port,) = free_ports(1)
    path = folder / "queries"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen(8)
        said = {
            "socket": str(path),
            "tls": ((HOST, port),),
            "certificate": str(files.certificate),
            "key": str(files.key),
            **more,
        }
        one = subprocess.Popen(
            [sys.executable, "-m", "resolver.edge.process"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
        assert one.stdin is not None
        one.stdin.write(msgspec.json.encode(request(**said)) + b"\n")
        one.stdin.flush()
        running = Running(one, files, port, door)
        try:
            yield running
        finally:
            if one.poll() is None:
                one.kill()
            one.communicate(timeout=60)
            if running.taken is not None:
                running.taken.close()


def ask(client: ssl.SSLSocket, running: Running) -> bytes:
    client.sendall(framed(QUERY))
    running.answer()
    return client.recv(2**16)


def test_it_answers_reports_reloads_and_ends(tmp_path: Path, files: Files) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        more = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}
        with started(tmp_path, files, more) as running:
            said = [systemd.recv(1000)]
            while b"READY=1" not in said:
                said.append(systemd.recv(1000))
            client = running.connect()
            before = client.getpeercert(binary_form=True)
            assert ask(client, running) == framed(QUERY)
            # No memory of it can be read: not by a debugger, not by a dump.
            status = Path(f"/proc/{running.process.pid}/status").read_text()
            assert "NoNewPrivs:\t1" in status
            limits = Path(f"/proc/{running.process.pid}/limits").read_text()
            assert [line.split()[4] for line in limits.splitlines() if "core file size" in line] == ["0"]
            running.files.issue(days=3650)
            running.process.send_signal(signal.SIGHUP)
            while b"RELOADING=1" not in said[-1]:
                said.append(systemd.recv(1000))
            said.append(systemd.recv(1000))
            assert ask(client, running) == framed(QUERY), "a connection that was there goes on"
            with running.connect() as other:
                assert other.getpeercert(binary_form=True) != before
                assert ask(other, running) == framed(QUERY)
                running.process.terminate()
                assert other.recv(10) == b""
            client.close()
            assert running.process.wait(60) == 0
            log = running.said()
            systemd.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                while True:
                    said.append(systemd.recv(1000))
            assert b"WATCHDOG=1" in said
            assert said[-1] == b"STOPPING=1"
    assert log.count("\n") == 2, log
    assert "edge 1: takes queries" in log
    assert "edge.certificate: in use until" in log


def test_a_service_of_another_release_ends_an_edge_that_it_served(tmp_path: Path, files: Files) -> None:
    """Its address is free then, for what systemd starts."""
    with started(tmp_path, files) as running:
        with running.connect() as client:
            assert ask(client, running) == framed(QUERY)
            for _ in range(1 + SENT_AWAY):
                running.link().close()
                running.taken = None
            assert client.recv(10) == b""
        assert running.process.wait(60) == process.EXIT_NOT_NOW
        assert running.said().endswith("it ends, to be started as the release that is installed\n")
    [one] = process.bound(socket.SOCK_STREAM, ((HOST, running.port),))
    one.close()


def test_several_share_an_address_and_one_may_end(tmp_path: Path, files: Files) -> None:
    (tmp_path / "other").mkdir()
    with (
        started(tmp_path, files) as first,
        first.connect() as one,
        started(tmp_path / "other", files, tls=((HOST, first.port),), number=2) as second,
    ):
        assert ask(one, first) == framed(QUERY)
        reports: list[edge_frames.Report] = []
        second.port = first.port
        first.process.kill()
        first.process.wait(60)
        with second.connect() as two:
            two.sendall(framed(QUERY))
            second.answer(reports)
            assert two.recv(1000) == framed(QUERY)
            assert [report.number for report in reports] == [2]
            assert reports[0].expires is not None


def test_an_address_in_use_is_status_4(tmp_path: Path, files: Files) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen(1)
        with started(tmp_path, files, tls=(other.getsockname(),)) as running:
            assert running.process.wait(60) == process.EXIT_NOT_NOW
            assert "Address already in use" in running.said()


@pytest.mark.parametrize("at", ["certificate", "key"])
def test_a_pair_that_cannot_be_used_is_status_2(tmp_path: Path, files: Files, at: str) -> None:
    with started(tmp_path, files, **{at: str(tmp_path / "nothing.pem")}) as running:
        assert running.process.wait(60) == process.EXIT_UNUSABLE
        said = f"edge.{at}: {tmp_path}/nothing.pem: there is no such file"
        assert running.said() == f"ERROR resolver.edge: edge: {said}\n"


def test_it_is_neither_root_nor_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process.check_account(request())
    real = request(demonstration=False, state=str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(Unusable, match=r"does not run as root: start blocklist-edge@1\.service"):
        process.check_account(real)
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    with pytest.raises(Unusable, match="can be read: this process needs an account apart"):
        process.check_account(real)
    process.check_account(request(demonstration=False))


@pytest.mark.parametrize("alpn", ["h2", "http/1.1", None])
@pytest.mark.parametrize("by_proxy", [True, False])
def test_who_comes_through_a_balancer_is_told_of_no_other_way(
    monkeypatch: pytest.MonkeyPatch, alpn: str | None, by_proxy: bool
) -> None:
    """HTTP/3 may not pass it."""
    told = doh.alternative_fields(443)
    seen: list[Any] = []
    for module, name in ((https, "Http2"), (http1, "Http1")):
        monkeypatch.setattr(module, name, lambda *about, which=name: seen.append((which, about[2:])))
    connection: Any = types.SimpleNamespace(by_proxy=by_proxy)
    process.over_http(b"/q", told, connection, connection, alpn)
    which = "Http2" if alpn == "h2" else "Http1"
    assert seen == [(which, (b"/q", doh.NO_FIELDS if by_proxy else told))]


def test_of_addresses_that_cannot_all_be_bound_none_stays() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen(1)
        free, busy = free_ports(1)[0], other.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            process.bound(socket.SOCK_STREAM, ((HOST, free), (HOST, busy)))
        for one in process.bound(socket.SOCK_STREAM, ((HOST, free),)):
            assert one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
            one.close()
