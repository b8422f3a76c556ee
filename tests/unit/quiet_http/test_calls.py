"""System calls on a descriptor: what they return where there is something, nothing yet, an end, or an error."""

import contextlib
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from resolver.config.values import address_octets
from resolver.quiet_http import calls
from tests.unit.wire import in_kernel


@contextmanager
def pair(host: str = "127.0.0.1") -> Iterator[tuple[int, socket.socket, bytes]]:
    """An accepted connection, its other end, and the client that `accept` named."""
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listening:
        listening.setblocking(False)
        assert calls.accept(listening.fileno()) is None
        with socket.create_connection(listening.getsockname()[:2]) as client:
            taken = calls.accept(listening.fileno())
            assert taken is not None
            fd, octets = taken
            try:
                yield fd, client, octets
            finally:
                with contextlib.suppress(OSError):
                    calls.close(fd)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_addresses_are_sixteen_octets(host: str) -> None:
    with pair(host) as (fd, _, client):
        assert client == calls.reached(fd) == address_octets(host)


def test_an_accepted_connection_is_not_inherited_and_never_waits() -> None:
    with pair() as (fd, client, _):
        with socket.socket(fileno=fd) as one:
            assert not one.get_inheritable()
            with pytest.raises(BlockingIOError):
                one.recv(1)
            one.detach()
        client.close()


def test_what_is_received_nothing_yet_and_the_end() -> None:
    with pair() as (fd, client, _):
        assert calls.receive(fd) is None
        client.sendall(b"\0octets")
        assert calls.receive(fd) == b"\0octets"
        client.shutdown(socket.SHUT_WR)
        select.select([fd], [], [], 5)
        assert calls.receive(fd) == b""


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_what_is_sent_until_the_kernel_takes_no_more(kind: type[bytes] | type[bytearray]) -> None:
    with pair() as (fd, client, _):
        assert calls.send(fd, kind(b"all")) == 3
        assert client.recv(10) == b"all"
        assert calls.send(fd, kind(b"")) == 0
        sent = 0
        while took := calls.send(fd, kind(bytes(2**20))):
            sent += took
        assert sent > 0
        assert calls.unacknowledged(fd) > 0
        while sent:
            sent -= len(client.recv(2**20))


def test_a_half_that_is_ended_is_read_to_its_end() -> None:
    with pair() as (fd, client, _):
        calls.end_half(fd)
        assert client.recv(1) == b""
        client.sendall(b"still")
        assert calls.receive(fd) == b"still"


def test_a_reset_leaves_nothing_in_the_kernel() -> None:
    with pair() as (fd, client, _):
        port = client.getpeername()[1]
        calls.reset(fd)
        calls.close(fd)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        client.close()
        assert in_kernel(port) == []
        for call in (calls.receive, calls.reached, calls.reset, calls.unacknowledged):
            with pytest.raises(OSError, match="Bad file descriptor"):
                call(fd)


def test_a_client_that_has_reset_is_an_error_and_no_signal() -> None:
    with pair() as (fd, client, _):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        with pytest.raises(ConnectionResetError):
            calls.receive(fd)
        with pytest.raises(BrokenPipeError):
            calls.send(fd, b"x")


def test_an_epoll_says_what_it_is_to_watch_for() -> None:
    with pair() as (fd, client, _), select.epoll() as poll:
        calls.watch(poll.fileno(), fd, select.EPOLLIN, True)
        assert poll.poll(0) == []
        client.sendall(b"x")
        assert poll.poll(5) == [(fd, select.EPOLLIN)]
        calls.watch(poll.fileno(), fd, select.EPOLLOUT, False)
        assert poll.poll(5) == [(fd, select.EPOLLOUT)]
        with pytest.raises(FileExistsError):
            calls.watch(poll.fileno(), fd, select.EPOLLIN, True)
