"""What systemd hears, with a socket of ours in its place."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from resolver.process import notify as messages
from resolver.process.notify import Notify


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.settimeout(5)
        yield one


def notify_to(listener: socket.socket) -> Notify:
    return Notify(listener.getsockname())


def said(listener: socket.socket) -> str:
    return listener.recv(4096).decode()


def waiting(listener: socket.socket) -> list[str]:
    """All that was sent and not read yet."""
    listener.setblocking(False)
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(said(listener))
    return found


def test_a_status_is_told_once(listener: socket.socket) -> None:
    notify = notify_to(listener)
    for text in ("one", "one", "two"):
        notify.status(text)
    assert [said(listener), said(listener)] == ["STATUS=one", "STATUS=two"]


def test_an_abstract_address_is_one() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        name = f"blocklist-resolver-test-{os.getpid()}"
        one.bind(f"\0{name}")
        Notify(f"@{name}").ready()
        assert said(one) == "READY=1"


def test_nobody_who_listens_is_no_error(tmp_path: Path) -> None:
    Notify().ready()
    notify = Notify(str(tmp_path / "late"))
    notify.ready()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "late"))
        one.settimeout(5)
        notify.ready()
        assert waiting(one) == ["READY=1"]


def test_systemd_keeps_the_sockets_of_a_name_in_place_of_earlier_ones(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "MOST_FDS", 1)
    notify = notify_to(listener)
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        notify.keep("dns.0", [one.fileno(), two.fileno()])
        assert said(listener) == "FDSTOREREMOVE=1\nFDNAME=dns.0"
        for kept in (one, two):
            message, (descriptor,), _, _ = socket.recv_fds(listener, 4096, 2)
            assert message == b"FDSTORE=1\nFDNAME=dns.0\nFDPOLL=0"
            with socket.socket(fileno=descriptor) as same:
                assert same.getsockname() == kept.getsockname()
    notify.keep("page.0", [])
    notify.main_process(42)
    assert waiting(listener) == ["FDSTOREREMOVE=1\nFDNAME=page.0", "MAINPID=42"]
    Notify().keep("dns.0", [])
