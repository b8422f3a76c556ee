"""What becomes of a posted statement: a status for its sender, a number by reason for the log."""

import asyncio
import logging
import os
import signal
import socket
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.feed.inbox import Inbox, Outcome
from resolver.quiet_http import posts
from resolver.service import receive
from resolver.signed import statement

KEY = Ed25519PrivateKey.generate()
HOST = "canary-host"


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    for name in ("in", "keys"):
        (tmp_path / name).mkdir()
    (tmp_path / "keys" / f"{HOST}.pub").write_bytes(statement.pem_of(statement.public_of(KEY)))
    return Inbox(tmp_path / "in", tmp_path / "keys", per_minute=61)


def signed(serial: int = 7, key: Ed25519PrivateKey = KEY) -> bytes:
    said = {"kind": "receipt", "host": HOST, "list": "demo", "serial": serial, "generation": 3}
    return statement.sign(said, key)


@pytest.mark.asyncio
async def test_many_at_once_are_all_there_and_the_next_has_to_wait(inbox: Inbox, tmp_path: Path) -> None:
    desk = receive.Desk(inbox)
    assert set(await asyncio.gather(*(desk.take(signed(serial)) for serial in range(61)))) == {204}
    assert len(list((tmp_path / "in").iterdir())) == desk.accepted == 61
    assert await desk.take(signed(99)) == 429
    assert await desk.take(signed(1)) == 204


@pytest.mark.asyncio
async def test_the_log_has_reasons_and_numbers_alone(
    inbox: Inbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = receive.Desk(inbox)
    caplog.set_level(logging.WARNING, "resolver.receive")
    stranger = Ed25519PrivateKey.generate()
    assert [await desk.take(data) for data in (signed(key=stranger), signed(8, stranger), b"canary")] == [403, 403, 400]
    (tmp_path / "in").rmdir()
    assert await desk.take(signed()) == 503
    desk.log()
    desk.log()
    assert caplog.messages == [
        "receive: statements refused: no signed statement: 1, not signed by the key of a known host: 2, "
        "the folder cannot be written (No such file or directory): 1"
    ]


def test_every_outcome_has_a_status() -> None:
    assert set(receive.STATUS) == set(Outcome)
    assert {one for one, status in receive.STATUS.items() if status == 204} == {one for one in Outcome if one.accepted}


def test_it_serves_until_a_signal_comes(inbox: Inbox, tmp_path: Path) -> None:
    listening = posts.bound(tmp_path / "socket")
    assert receive.run(listening, inbox, lambda: os.kill(os.getpid(), signal.SIGTERM)) == 0
    with socket.socket(socket.AF_UNIX) as one, pytest.raises(ConnectionRefusedError):
        one.connect(str(tmp_path / "socket"))


def test_a_socket_of_systemd_is_taken_once(tmp_path: Path) -> None:
    said = {"LISTEN_FDS": "1", "LISTEN_PID": "7", "LISTEN_FDNAMES": "x", "PATH": "/bin"}
    with posts.bound(tmp_path / "socket") as listening:
        environment = dict(said)
        found = receive.handed(environment, 7, os.dup(listening.fileno()))
        assert environment == {"PATH": "/bin"}
        assert found is not None
        assert found.getsockname() == str(tmp_path / "socket")
        found.close()
        assert receive.handed(environment, 7) is None
        for other in ({"LISTEN_PID": "8"}, {"LISTEN_FDS": "2"}):
            assert receive.handed({**said, **other}, 7) is None
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other_kind:
        assert receive.handed(dict(said), 7, other_kind.fileno()) is None
    assert receive.listening({}, 7, None) is None
    again = receive.listening({}, 7, tmp_path / "another")
    assert again is not None
    again.close()
