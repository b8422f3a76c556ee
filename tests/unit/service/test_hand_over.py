"""The two ends of a hand-over, with a script in the place of the new process."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from resolver.service import hand_over
from resolver.service.hand_over import NotTaken, Predecessor, Successor, predecessor
from resolver.service.host import systemd
from resolver.service.host.systemd import Handed
from resolver.service.owner import Owner

PYTHON = (sys.executable, "-c")
BEGINS = "import os, sys\nfrom resolver.service.hand_over import predecessor\nold = predecessor(int(sys.argv[2]))\n"
HANGS_SILENT = f"""{BEGINS}
os.closerange(3, os.sysconf("SC_OPEN_MAX"))
import time
time.sleep(60)  # it hangs
"""
TAKES = f"""{BEGINS}
assert sys.argv[1] == "--take-over"
for name, one in old.sockets():
    print(name, one.getsockname()[1], one.gettimeout(), one.get_inheritable(), flush=True)
print(os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"], flush=True)
old.answering()
"""


@pytest.mark.asyncio
async def test_the_sockets_arrive_with_their_names(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "MOST_FDS", 2)
    sockets = [socket.socket(type=kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_DGRAM, socket.SOCK_STREAM)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    new = Successor([*PYTHON, TAKES], Handed("/run/notify", 60.0))
    await new.is_ready()
    names = ("dns.0", "of_a_later_release", "page.0")
    await new.answers(list(zip(names, sockets, strict=True)))
    await new.end()
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    assert capfd.readouterr().out.splitlines() == [
        f"dns.0 {ports[0]} 0.0 False",
        f"page.0 {ports[2]} 0.0 False",
        "/run/notify 60000000",
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("raise SystemExit(2)", "status 2"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9"),
        (BEGINS + "raise SystemExit(4)", "status 4"),
        (HANGS_SILENT, "it still runs"),
    ],
)
async def test_a_new_process_that_is_never_ready_is_noticed(script: str, said: str) -> None:
    new = Successor([*PYTHON, script], Handed())
    with pytest.raises(NotTaken, match=rf"the new process ended \({said}\): the log says why"):
        await new.is_ready()
    await new.end()
    with pytest.raises(ProcessLookupError):
        os.kill(new.pid, 0)


@pytest.mark.asyncio
async def test_a_new_process_that_ends_before_it_answers_is_noticed() -> None:
    new = Successor([*PYTHON, BEGINS + "old.sockets()\nraise SystemExit(4)"], Handed())
    await new.is_ready()
    with pytest.raises(NotTaken, match="status 4"):
        await new.answers([])
    with pytest.raises(NotTaken, match="took no sockets"):
        await new.answers([])
    await new.end()


@pytest.mark.asyncio
async def test_a_new_process_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing() -> None:
        raise AssertionError("no list stops before the new process is ready")

    monkeypatch.setattr(hand_over, "READY_S", 0.05)
    new = Successor([*PYTHON, "import time; time.sleep(600)  # it hangs until it is killed"], Handed())
    with pytest.raises(NotTaken, match=r"did not answer within 0\.05 s"):
        await new.takes_over(nothing, list)
    with pytest.raises(ProcessLookupError):
        os.kill(new.pid, 0)


@pytest.mark.asyncio
async def test_who_stops_meanwhile_ends_the_new_process() -> None:
    async def stops() -> None:
        raise asyncio.CancelledError

    new = Successor([*PYTHON, BEGINS + "old.sockets()"], Handed())
    with pytest.raises(asyncio.CancelledError):
        await new.takes_over(stops, list)
    with pytest.raises(ProcessLookupError):
        os.kill(new.pid, 0)


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(NotTaken, match="could not be started: No such file or directory"):
        Successor(["/nowhere/blocklist-resolver"], Handed())


def test_who_was_started_by_nobody_takes_over_from_nobody() -> None:
    with pytest.raises(NotTaken, match="--take-over is for a process that the service starts"):
        predecessor(4_000_000)


def test_an_old_process_that_ends_hands_nothing_over() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    old = Predecessor(ours)
    theirs.send(b'{"sockets": [], "more": true}')
    theirs.close()
    with pytest.raises(NotTaken):
        old.sockets()
    with pytest.raises(NotTaken, match="has ended"):
        old.answering()
    ours.close()


HANGS = """
import socket, sys, time
from resolver.service.owner import Owner
owner = Owner(sys.argv[1])
assert owner.take()
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
with socket.socket(socket.AF_UNIX) as one:
    one.connect(sys.argv[2])
    socket.send_fds(one, [b"x"], [theirs.fileno()])
# It hangs until it is killed.
time.sleep(600)
"""


def hanging(state: Path, pair: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([*PYTHON, HANGS, state, pair])


@pytest.mark.asyncio
async def test_an_old_process_that_hangs_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = tmp_path / "state"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "pair"))
        listener.listen()
        hung = hanging(state, tmp_path / "pair")
        with listener.accept()[0] as one:
            _, (descriptor,), _, _ = socket.recv_fds(one, 1, 1)
    owner = Owner(str(state))
    assert not owner.take()
    await Predecessor(socket.socket(fileno=descriptor)).ended(owner, ends_s=0.05)
    assert hung.wait(10) == -9
    assert "does not end: it is killed" in caplog.text
    owner.leave()


def test_the_command_follows_a_link_to_another_release(tmp_path: Path) -> None:
    script = tmp_path / "blocklist-resolver"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    words = ["run", "--config", "resolver.toml"]
    original = ["/old/bin/python", str(script), *words]
    assert hand_over.command([str(script), *words], original, "/old/bin/python") == [str(script), *words]
    module = ["python", "-m", "resolver", *words]
    found = hand_over.command([str(tmp_path / "resolver" / "__main__.py"), *words], module, "/usr/bin/python")
    assert found == ["/usr/bin/python", *module[1:]]
    # A process that has taken over itself was started with one option more.
    more = ["--take-over", "7"]
    assert hand_over.command([str(script), *words, *more], [*original, *more], "/old/python") == [str(script), *words]
    taken = hand_over.command([str(tmp_path / "__main__.py"), *words, *more], [*module, *more], "/usr/bin/python")
    assert taken == found
