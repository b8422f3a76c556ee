"""The service's side of the export: it connects, says, and waits for nothing that does not come."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from resolver.feed import export_link
from resolver.feed.exported import Follow, Status


@contextmanager
def answering(path: Path, reply: bytes) -> Iterator[list[bytes]]:
    """A process that takes one message and answers with these octets."""
    taken: list[bytes] = []

    def take() -> None:
        one, _ = listening.accept()
        with one, one.makefile("rb") as said:
            taken.append(said.read())
            if reply:
                one.sendall(reply)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=take)
        thread.start()
        yield taken
        thread.join()


def link(path: Path, now: list[float] | None = None) -> export_link.Link:
    at = now or [0.0]
    return export_link.Link(str(path), ("demo",), lambda: at[0])


def test_what_is_said_is_one_line_and_the_status_is_kept(tmp_path: Path) -> None:
    path, status = tmp_path / "socket", Status(staged={"demo": ("3-ab",)}, in_step=("demo",))
    one = link(path)
    with answering(path, msgspec.json.encode(status) + b"\n") as taken:
        assert one.say(Follow(lists=())) == status
    assert taken == [msgspec.json.encode(Follow(lists=())) + b"\n"]
    assert one.status == status


@pytest.mark.parametrize("reply", [b"", b"names\n"])
def test_a_process_that_does_not_reply_leaves_no_status(reply: bytes, tmp_path: Path) -> None:
    one = link(tmp_path / "socket")
    one.status = Status()
    with answering(tmp_path / "socket", reply), pytest.raises(export_link.Unanswered):
        one.say(Follow(lists=()))
    assert one.status is None


def test_without_a_process_nothing_is_staged_and_nothing_fails(tmp_path: Path) -> None:
    one = link(tmp_path / "socket")
    assert (one.stage("demo"), one.lacks("demo", "3-ab")) == (-1, False)
    with pytest.raises(export_link.Unanswered):
        one.say(Follow(lists=()))


def test_a_process_that_does_not_reply_is_not_waited_for_by_a_list(tmp_path: Path) -> None:
    """As behind a socket of systemd's, which takes connections for a process that has failed."""
    path = tmp_path / "socket"
    one = link(path)
    with answering(path, b""), pytest.raises(export_link.Unanswered):
        one.say(Follow(lists=()))
    with socket.socket(socket.AF_UNIX) as accepting:
        path.unlink(missing_ok=True)
        accepting.bind(str(path))
        accepting.listen(1)
        assert one.stage("demo") == -1


def test_what_waits_for_a_reply_ends_with_the_service(tmp_path: Path) -> None:
    one = link(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as accepting, ThreadPoolExecutor() as threads:
        accepting.bind(str(tmp_path / "socket"))
        accepting.listen(1)
        said = threads.submit(one.say, Follow(lists=()))
        taken, _ = accepting.accept()
        with taken, taken.makefile("rb") as lines:
            lines.read()
            one.hang_up()
            assert isinstance(said.exception(timeout=20), export_link.Unanswered)


def test_only_a_list_that_is_exported_gets_a_connection(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with answering(path, b""):
        assert link(path).stage("other") == -1
        handle = link(path).stage("demo")
        assert handle >= 0
        with socket.socket(fileno=handle) as one:
            one.shutdown(socket.SHUT_WR)


def test_names_that_are_lacking_are_asked_for_once_an_hour(tmp_path: Path) -> None:
    now = [1000.0]
    one = link(tmp_path / "socket", now)
    one.status = Status(staged={"demo": ("3-ab",)})
    assert not one.lacks("demo", "3-ab")
    assert not one.lacks("other", "4-cd")
    assert [one.lacks("demo", "4-cd") for _ in range(2)] == [True, True], "a poll asks more than once"
    with answering(tmp_path / "socket", b""), socket.socket(fileno=one.stage("demo")) as opened:
        opened.shutdown(socket.SHUT_WR)
    assert not one.lacks("demo", "4-cd")
    now[0] += export_link.AGAIN_S
    assert one.lacks("demo", "4-cd")
