"""Connections to a primary: framing, bounds, TLS."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from resolver.feed.fetch.zone_stream import Connection, Cut, TooMuch, Unreachable
from resolver.feed.transport import Access, Unreadable

Serve = Callable[[socket.socket], None]


@contextmanager
def listening(serve: Serve, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server that hands one connection to `serve`."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            try:
                one, _ = server.accept()
                with context.wrap_socket(one, server_side=True) if context else one as connection:
                    serve(connection)
            except OSError:
                return

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(20)


def framed(*messages: bytes) -> bytes:
    return b"".join(len(one).to_bytes(2, "big") + one for one in messages)


def sending(data: bytes, size: int = 0) -> Serve:
    """Send `data`, in pieces of `size`."""

    def serve(connection: socket.socket) -> None:
        for at in range(0, len(data), size or len(data)):
            connection.sendall(data[at : at + (size or len(data))])

    return serve


def messages(port: int, count: int, most: int = 2**20) -> list[bytes]:
    connection = Connection(f"dns://127.0.0.1:{port}/zone", Access(), 10)
    try:
        stream = connection.messages(most)
        return [next(stream) for _ in range(count)]
    finally:
        connection.close()


@pytest.mark.parametrize("size", [0, 1, 7, 65_536])
def test_messages_come_whole_however_they_are_cut(size: int) -> None:
    sent = [b"", b"a", b"b" * 300, b"c" * (65_535 if size != 1 else 500), b"d"] * (6 if size > 7 else 1)
    with listening(sending(framed(*sent), size)) as port:
        assert messages(port, len(sent)) == sent


def test_a_stream_that_ends_within_a_message_is_cut() -> None:
    for data in (b"\0", b"\0\5abc", framed(b"abc")[:-1]):
        with listening(sending(data)) as port, pytest.raises(Cut):
            messages(port, 1)


def test_a_stream_is_bounded_in_octets() -> None:
    with listening(sending(framed(*[b"x" * 1000] * 100))) as port, pytest.raises(TooMuch):
        messages(port, 100, most=5000)


def test_a_stream_is_bounded_in_time() -> None:
    now, done = [0.0], threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.sendall(framed(b"first"))
        done.wait(20)

    with listening(serve) as port:
        connection = Connection(f"dns://127.0.0.1:{port}/zone", Access(), 10, lambda: now[0])
        stream = connection.messages(100)
        assert next(stream) == b"first"
        now[0] = 11.0
        with pytest.raises(Cut):
            next(stream)
        connection.close()
        done.set()


def test_what_is_sent_is_framed() -> None:
    with listening(lambda connection: connection.sendall(connection.recv(100))) as port:
        connection = Connection(f"dns://127.0.0.1:{port}/zone", Access(), 10)
        connection.send(b"query")
        assert next(connection.messages(100)) == b"query"
        connection.close()


def test_nobody_there() -> None:
    with pytest.raises(Unreachable):
        Connection("dns://127.0.0.1:1/zone", Access(), 10)


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


def server_context(ca: trustme.CA, *names: str, client: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    context.set_alpn_protocols(["dot"])
    if client:
        ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_over_tls_the_primary_is_verified_and_told_dot(ca: trustme.CA, tmp_path: Path) -> None:
    told: list[str | None] = []

    def serve(connection: socket.socket) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        told.extend((connection.selected_alpn_protocol(), connection.version()))
        connection.sendall(framed(b"over TLS"))

    with listening(serve, server_context(ca, "127.0.0.1")) as port:
        connection = Connection(f"tls://127.0.0.1:{port}/zone", Access(ca=str(tmp_path / "ca.pem")), 10)
        assert next(connection.messages(100)) == b"over TLS"
        connection.close()
    assert told == ["dot", "TLSv1.3"]


@pytest.mark.parametrize("wrong", ["name", "authority"])
def test_another_primary_is_not_spoken_to(wrong: str, ca: trustme.CA, tmp_path: Path) -> None:
    issuer = ca if wrong == "name" else trustme.CA()
    context = server_context(issuer, "other.example" if wrong == "name" else "127.0.0.1")
    with listening(sending(framed(b"x")), context) as port, pytest.raises(Unreachable):
        Connection(f"tls://127.0.0.1:{port}/zone", Access(ca=str(tmp_path / "ca.pem")), 10)


def test_a_client_certificate_is_shown(ca: trustme.CA, tmp_path: Path) -> None:
    own = ca.issue_cert("isp.example")
    own.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    own.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    access = Access(
        ca=str(tmp_path / "ca.pem"), certificate=str(tmp_path / "cert.pem"), key=str(tmp_path / "key.pem")
    )
    with listening(sending(framed(b"known")), server_context(ca, "127.0.0.1", client=True)) as port:
        connection = Connection(f"tls://127.0.0.1:{port}/zone", access, 10)
        assert next(connection.messages(100)) == b"known"
        connection.close()


def test_files_that_cannot_be_read_reach_nobody(tmp_path: Path) -> None:
    with listening(sending(b"")) as port, pytest.raises(Unreadable):
        Connection(f"tls://127.0.0.1:{port}/zone", Access(ca=str(tmp_path / "none")), 10)
