"""What systemd hands over and hears, with a socket of ours in its place."""

import asyncio
import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from resolver.core import codes
from resolver.core.question import Question, parse
from resolver.query.transport import Transport
from resolver.service.host import systemd
from tests.unit.query import parts

VARIABLES = {
    "NOTIFY_SOCKET": "/run/notify",
    "WATCHDOG_USEC": "60000000",
    "WATCHDOG_PID": "7",
    "LISTEN_FDS": "0",
    "LISTEN_PID": "7",
    "LISTEN_FDNAMES": "",
}


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.settimeout(5)
        yield one


def notify_to(listener: socket.socket) -> systemd.Notify:
    return systemd.Notify(listener.getsockname())


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


def test_variables_are_taken_out_of_the_environment() -> None:
    environment = {"PATH": "/bin", **VARIABLES}
    assert systemd.take(environment, 7) == systemd.Handed("/run/notify", 60.0, ())
    assert environment == {"PATH": "/bin"}


def test_what_is_meant_for_another_process_is_taken_out_and_not_used() -> None:
    environment = {**VARIABLES, "LISTEN_FDS": "3"}
    assert systemd.take(environment, 8) == systemd.Handed("/run/notify", 0.0, ())
    assert not environment


@pytest.mark.parametrize("period", ["", "soon", "-1"])
def test_no_watchdog_without_a_period(period: str) -> None:
    assert systemd.take({"WATCHDOG_USEC": period}, 7).watchdog_s == 0.0


def test_a_watchdog_without_a_process_is_ours() -> None:
    assert systemd.take({"WATCHDOG_USEC": "1500000"}, 7).watchdog_s == 1.5


def test_an_address_of_another_kind_is_passed_over() -> None:
    assert systemd.take({"NOTIFY_SOCKET": "vsock:2:1234"}, 7).address == ""


def test_a_count_of_sockets_is_a_number() -> None:
    with pytest.raises(systemd.SocketsUnusable, match="LISTEN_FDS"):
        systemd.take({"LISTEN_FDS": "two", "LISTEN_PID": "7"}, 7)


TAKEN = """
import os, socket, sys
from resolver.service.host import systemd
try:
    handed = systemd.take(os.environ, os.getpid())
except systemd.SocketsUnusable as error:
    print(error)
else:
    print([(s.type.name, s.getsockname()[1], s.gettimeout(), s.get_inheritable()) for s in handed.sockets])
    print(sorted(name for name in os.environ if name.startswith("LISTEN")))
"""


def raised(one: int) -> int:
    """A free descriptor above those that a process is handed, for the same file; to be closed."""
    return fcntl.fcntl(one, fcntl.F_DUPFD, 50)


def handed_to_a_process(*descriptors: int) -> list[str]:
    """What a process says that finds these descriptors from 3 on."""
    code = "import os, sys\n" + "".join(
        f"os.dup2({descriptor}, {3 + number})\n" for number, descriptor in enumerate(descriptors)
    )
    code += f"os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='{len(descriptors)}')\n" + TAKEN
    ended = subprocess.run(
        [sys.executable, "-c", code], pass_fds=descriptors, capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_sockets_are_taken_in_order_and_kept_from_children() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as datagram, socket.socket() as stream:
        for one in (datagram, stream):
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in (datagram, stream)]
        # High numbers, so that none of those that are put in place is overwritten before.
        high = [raised(one.fileno()) for one in (datagram, stream)]
        found = handed_to_a_process(*high)
        for one in high:
            os.close(one)
    assert found == [f"[('SOCK_DGRAM', {ports[0]}, 0.0, False), ('SOCK_STREAM', {ports[1]}, 0.0, False)]", "[]"]


def test_what_is_no_socket_is_refused_by_its_number() -> None:
    with open("/dev/null") as nothing:
        high = raised(nothing.fileno())
        assert handed_to_a_process(high) == ["descriptor 3 is no socket"]
        os.close(high)


def test_a_socket_that_no_query_comes_by_is_refused() -> None:
    with socket.socket(socket.AF_UNIX) as one:
        high = raised(one.fileno())
        assert handed_to_a_process(high) == ["descriptor 3 is neither UDP nor TCP"]
        os.close(high)


def test_a_descriptor_that_is_not_there_is_refused() -> None:
    with pytest.raises(systemd.SocketsUnusable, match="descriptor 4000000 is no socket"):
        systemd.taken(4_000_000)


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_socket_that_has_one_peer_alone_is_refused(kind: socket.SocketKind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as peer, socket.socket(type=kind) as one:
        one.connect(peer.getsockname())
        high = raised(one.fileno())
        assert handed_to_a_process(high) == ["descriptor 3 is connected to one peer: no Accept=yes in the socket unit"]
        os.close(high)


def test_each_message_is_what_sd_notify_says(listener: socket.socket) -> None:
    notify = notify_to(listener)
    notify.ready()
    assert said(listener) == "READY=1"
    notify.alive()
    assert said(listener) == "WATCHDOG=1"
    notify.stopping()
    assert said(listener) == "STOPPING=1"
    before = time.monotonic_ns() // 1000
    notify.reloading()
    reloading, _, moment = said(listener).partition("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert before <= int(moment) <= time.monotonic_ns() // 1000


def test_a_full_socket_does_not_keep_us_waiting(listener: socket.socket) -> None:
    notify = notify_to(listener)
    for _ in range(2000):
        notify.alive()
    assert 0 < len(waiting(listener)) < 2000


def test_the_question_is_well_formed_and_never_forwarded() -> None:
    question = Question()
    assert parse(systemd.QUESTION, len(systemd.QUESTION), question) == codes.WELL_FORMED
    assert question.flags == 0


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("allow", ["192.0.2.0/24", "::/0"])
def test_our_own_query_goes_the_way_of_all_and_never_upstream(allow: str, complete: bool) -> None:
    in_force = parts.tables(1, [["watchdog.test"]], complete=complete)
    house = parts.House(parts.says(), in_force.replaced(access=parts.access(allow=[allow], rate=1)))

    def answer(packet: bytes, client: bytes) -> object:
        return house.answer.answer(packet, client, Transport.UDP)

    assert all(systemd.answers(answer) for _ in range(5))
    assert house.upstream.asked == []
    assert house.count("queries_total", "udp") == 5


@pytest.mark.parametrize(
    ("reply", "lives"),
    [
        (systemd.QUESTION[:2] + b"\x80\x05" + bytes(8), True),
        (None, True),
        (systemd.QUESTION, False),
        (b"\0\0\x80\x05" + bytes(8), False),
    ],
)
def test_we_live_while_a_reply_comes(reply: bytes | None, lives: bool) -> None:
    asked: list[tuple[bytes, bytes]] = []

    def answer(packet: bytes, client: bytes) -> bytes | None:
        asked.append((packet, client))
        return reply

    assert systemd.answers(answer) is lives
    assert asked == [(systemd.QUESTION, systemd.ASKER)]


class Enough(BaseException):
    """Ends the endless."""


def watched(listener: socket.socket, alive: list[bool | Exception]) -> tuple[list[float], list[str]]:
    """The pauses and the messages while these are the answers."""
    pauses: list[float] = []

    def lives() -> bool:
        found = alive.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if not alive:
            raise Enough

    with pytest.raises(Enough):
        asyncio.run(systemd.watch(notify_to(listener), 60.0, lives, sleep))
    return pauses, waiting(listener)


def test_three_pings_a_period(listener: socket.socket) -> None:
    assert watched(listener, [True, True]) == ([20.0, 20.0], ["WATCHDOG=1"] * 2)


def test_no_ping_without_an_answer_or_with_an_exception(
    listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    found = watched(listener, [False, ValueError("canary-7f3a.test"), True])
    assert found == ([20.0] * 3, ["WATCHDOG=1"])
    assert len(caplog.messages) == 2
    assert "(ValueError)" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("LoadState=not-found\nUser=\n", None),
        (
            "LoadState=loaded\nUser=someone\nProtectSystem=strict\nReadWritePaths=/srv/a -/srv/b\n",
            systemd.Unit("someone", True, ("/srv/a", "/srv/b")),
        ),
        ("LoadState=loaded\nUser=\nProtectSystem=no\nReadWritePaths=\n", systemd.Unit("", False, ())),
    ],
)
def test_what_systemd_says_of_the_unit(
    said: str, found: systemd.Unit | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.CompletedProcess([], 0, stdout=said)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert systemd.unit() == found


def test_where_systemd_is_not_there_is_no_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", fail)
    assert systemd.unit() is None


def test_sockets_of_an_earlier_process_come_back_under_their_names() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as unit, socket.socket(type=socket.SOCK_DGRAM) as kept:
        unit.bind(("127.0.0.1", 0))
        kept.bind(("127.0.0.1", 0))
        high = [raised(one.fileno()) for one in (unit, kept)]
        code = f"import os, sys\nos.dup2({high[0]}, 3)\nos.dup2({high[1]}, 4)\n"
        code += "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2', LISTEN_FDNAMES='x.socket:dns.0')\n"
        code += "from resolver.service.host import systemd\nhanded = systemd.take(os.environ, os.getpid())\n"
        code += "print([one.getsockname()[1] for one in handed.sockets])\n"
        code += "print([(name, one.getsockname()[1]) for name, one in handed.kept])\n"
        ended = subprocess.run(
            [sys.executable, "-c", code], pass_fds=high, capture_output=True, text=True, timeout=30, check=True
        )
        for one in high:
            os.close(one)
        ports = [one.getsockname()[1] for one in (unit, kept)]
    assert ended.stdout.splitlines() == [str(ports[:1]), str([("dns.0", ports[1])])]
