"""Queries over TLS, HTTPS and QUIC: only a verified server is asked, and what it sends is bounded."""

import asyncio
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import h2.config
import h2.connection
import h2.events
import pytest
import trustme
from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent, StreamDataReceived

from resolver.config.values import Endpoint
from resolver.dns_client import client as dns_client
from resolver.dns_client.encrypted import NotInstalled, NotSecured, Verified, exchange
from tests.fakes.upstream import HOST
from tests.unit.query.parts import reply_of

NAME = "dns.isp.example"
WAITS_S = 20.0
Handle = Callable[[ssl.SSLSocket], None]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    made, path = trustme.CA(), tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(str(path))
    return made, path


@contextmanager
def secured(ca: trustme.CA, handle: Handle, alpn: str, *names: str) -> Iterator[Endpoint]:
    """A server of one TLS connection, with a certificate for these names (default: NAME)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(*(names or (NAME,))).configure_cert(context)
    context.set_alpn_protocols([alpn] if alpn else [])
    with socket.create_server((HOST, 0)) as listening:
        listening.settimeout(WAITS_S)

        def run() -> None:
            plain, _ = listening.accept()
            plain.settimeout(WAITS_S)
            with plain:
                try:
                    with context.wrap_socket(plain, server_side=True) as stream:
                        handle(stream)
                except OSError:
                    return  # The client turned away: that is what these tests look for.

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield Endpoint(HOST, listening.getsockname()[1])
        finally:
            thread.join(WAITS_S)
            assert not thread.is_alive()


def answer_to(query: bytes) -> bytes:
    asked = dns.message.from_wire(query)
    return reply_of(asked, [f"{asked.question[0].name} 300 A 198.51.100.7"]).to_wire()


def dot(stream: ssl.SSLSocket) -> None:
    """Answer one query, an octet at a time."""
    head = stream.recv(2)
    if not head:
        return
    reply = answer_to(stream.recv(int.from_bytes(head, "big")))
    for octet in len(reply).to_bytes(2, "big") + reply:
        stream.sendall(bytes([octet]))


class Doh:
    """Answers one request by HTTP/2 with a status, and a body if it is not that of the answer."""

    def __init__(self, status: str = "200", body: bytes | None = None) -> None:
        self.status, self.body = status, body
        self.headers: dict[str, str] = {}

    def __call__(self, stream: ssl.SSLSocket) -> None:
        spoken = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        spoken.initiate_connection()
        query, body, left = bytearray(), b"", -1
        while True:
            while left > 0 and (size := min(left, 16_000, spoken.local_flow_control_window(1))) > 0:
                spoken.send_data(1, body[len(body) - left :][:size], end_stream=size == left)
                left -= size
            stream.sendall(spoken.data_to_send())
            octets = stream.recv(65_535)
            if not octets:
                return
            for event in spoken.receive_data(octets):
                if isinstance(event, h2.events.RequestReceived):
                    self.headers = {str(name): str(value) for name, value in event.headers}
                elif isinstance(event, h2.events.DataReceived):
                    query += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    body = answer_to(bytes(query)) if self.body is None else self.body
                    spoken.send_headers(1, [(":status", self.status)], end_stream=not body)
                    left = len(body)
                    break


def test_over_tls_the_answer_is_whole_and_says_how_it_came(authority: tuple[trustme.CA, Path]) -> None:
    ca, path = authority
    with secured(ca, dot, "dot") as server:
        reply = dns_client.ask("open.test", "A", server, "tls", WAITS_S, Verified(name=NAME, ca=path))
    assert reply.answers == ("open.test. 300 A 198.51.100.7",)
    assert reply.secured is not None
    assert (reply.secured.over, reply.secured.name, reply.secured.version) == ("tls", NAME, "TLSv1.3")
    assert reply.secured.until > time.time()
    assert "octets" not in repr(reply.secured)


def test_without_a_name_the_certificate_is_of_the_address(authority: tuple[trustme.CA, Path]) -> None:
    ca, path = authority
    with secured(ca, dot, "dot", HOST) as server:
        reply = dns_client.ask("open.test", "A", server, "tls", WAITS_S, Verified(ca=path))
    assert reply.secured is not None
    assert reply.secured.name == HOST


@pytest.mark.parametrize(
    ("name", "trusted", "reason"),
    [
        ("other.example", True, "for another name: --tls-name"),
        ("", True, "for another address: --tls-name"),
        (NAME, False, "not trusted: --ca"),
    ],
)
@pytest.mark.parametrize("over", ["tls", "https"])
def test_a_server_that_is_not_verified_is_not_asked(
    over: str, name: str, trusted: bool, reason: str, authority: tuple[trustme.CA, Path]
) -> None:
    ca, path = authority
    came: list[bytes] = []
    with (
        secured(ca, lambda stream: came.append(stream.recv(1)), "h2" if over == "https" else "dot") as server,
        pytest.raises(dns_client.AskError) as failure,
    ):
        dns_client.ask("open.test", "A", server, over, WAITS_S, Verified(name=name, ca=path if trusted else None))
    assert reason in str(failure.value)
    assert "test" not in str(failure.value)
    assert not any(came)


def test_over_https_one_request_is_posted_to_the_path(authority: tuple[trustme.CA, Path]) -> None:
    ca, path = authority
    doh = Doh()
    with secured(ca, doh, "h2") as server:
        how = Verified(name=NAME, ca=path, path="/q")
        reply = dns_client.ask("open.test", "A", server, "https", WAITS_S, how)
    assert reply.answers == ("open.test. 300 A 198.51.100.7",)
    assert reply.secured is not None
    assert reply.secured.over == "https"
    assert {name: doh.headers[name] for name in (":method", ":path", ":scheme", "content-type", "accept")} == {
        ":method": "POST", ":path": "/q", ":scheme": "https",
        "content-type": "application/dns-message", "accept": "application/dns-message",
    }  # fmt: skip
    assert doh.headers[":authority"] == f"{NAME}:{server.port}"


def sends(octets: bytes) -> Handle:
    """Send something, and wait until the other end has had enough."""

    def handle(stream: ssl.SSLSocket) -> None:
        stream.sendall(octets)
        while stream.recv(65_535):
            pass

    return handle


@pytest.mark.parametrize(
    ("handle", "alpn", "reason"),
    [
        (Doh("404", b""), "h2", "HTTP 404"),
        (Doh("200", bytes(80_000)), "h2", "longer than a DNS message"),
        (sends(bytes(9)), "h2", "not HTTP/2"),
        (sends(b"HTTP/1.1 200 OK\r\n\r\n" * 9_000), "h2", "more than an answer"),
        (dot, "", "does not speak HTTP/2"),
        (lambda stream: stream.recv(1), "h2", "closed without an answer"),
    ],
)
def test_what_is_no_answer_by_https_is_said(
    handle: Handle, alpn: str, reason: str, authority: tuple[trustme.CA, Path]
) -> None:
    ca, path = authority
    with secured(ca, handle, alpn) as server, pytest.raises((NotSecured, OSError), match=reason):
        exchange(dns_client.build_query("open.test", "A"), server, "https", WAITS_S, Verified(name=NAME, ca=path))


@pytest.mark.parametrize("over", ["tls", "https"])
def test_a_server_that_sends_a_little_at_a_time_ends_with_the_timeout(
    over: str, authority: tuple[trustme.CA, Path]
) -> None:
    ca, path = authority
    done = threading.Event()

    # A frame of data of stream 1, or a message, of the largest size.
    octets = itertools.chain(b"\0\x3f\xff\0\0\0\0\0\1" if over == "https" else b"\xff\xff", itertools.repeat(0))

    def drip(stream: ssl.SSLSocket) -> None:
        while not done.wait(0.05):  # a slow server is what is tested
            stream.sendall(bytes([next(octets)]))

    query = dns_client.build_query("open.test", "A")
    with secured(ca, drip, "h2" if over == "https" else "dot") as server:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            exchange(query, server, over, 1.0, Verified(name=NAME, ca=path))
        done.set()
        assert time.monotonic() - started < WAITS_S / 2


class Doq(QuicConnectionProtocol):
    """Answers the queries of DoQ; one whose id is not 0 gets none."""

    ident = b"\0\0"

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived) and event.end_stream and event.data[2:4] == b"\0\0":
            reply = self.ident + answer_to(event.data[2:])[2:]
            self._quic.send_stream_data(event.stream_id, len(reply).to_bytes(2, "big") + reply, end_stream=True)
            self.transmit()


class WithAnId(Doq):
    """Answers with an id, which RFC 9250 4.2.1 forbids."""

    ident = b"\x12\x34"


@contextmanager
def doq(ca: trustme.CA, folder: Path, protocol: type[Doq] = Doq) -> Iterator[Endpoint]:
    """A DoQ server in a thread."""
    issued = ca.issue_cert(NAME)
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    settings = QuicConfiguration(is_client=False, alpn_protocols=["doq"])
    settings.load_cert_chain(str(folder / "both.pem"), str(folder / "both.pem"))
    loop, port = asyncio.new_event_loop(), 0
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    server = loop.run_until_complete(serve(HOST, port, configuration=settings, create_protocol=protocol))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield Endpoint(HOST, port)
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WAITS_S)
        loop.run_until_complete(asyncio.sleep(0))  # the transport closes in a turn of its own
        loop.close()


def test_over_quic_the_id_is_0_on_the_way_and_the_query_s_own_for_the_caller(
    authority: tuple[trustme.CA, Path], tmp_path: Path
) -> None:
    ca, path = authority
    with doq(ca, tmp_path) as server:
        reply = dns_client.ask("open.test", "A", server, "quic", WAITS_S, Verified(name=NAME, ca=path))
    assert reply.answers == ("open.test. 300 A 198.51.100.7",)
    assert reply.secured is not None
    assert (reply.secured.over, reply.secured.version, reply.secured.name) == ("quic", "TLSv1.3", NAME)
    assert reply.secured.until > time.time()


def test_over_quic_a_server_that_is_not_verified_is_not_asked(
    authority: tuple[trustme.CA, Path], tmp_path: Path
) -> None:
    ca, path = authority
    query = dns_client.build_query("open.test", "A")
    with doq(ca, tmp_path) as server:
        for how in (Verified(name="other.example", ca=path), Verified(name=NAME)):
            with pytest.raises(NotSecured, match="does not verify"):
                exchange(query, server, "quic", WAITS_S, how)
    with doq(ca, tmp_path, WithAnId) as server, pytest.raises(NotSecured, match="id is not 0"):
        exchange(query, server, "quic", WAITS_S, Verified(name=NAME, ca=path))


@pytest.mark.parametrize(("over", "library"), [("https", "h2"), ("quic", "aioquic")])
def test_a_library_that_is_missing_is_named(over: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for one in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, one)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(NotInstalled, match=library):
        exchange(dns_client.build_query("open.test", "A"), Endpoint(HOST, 9), over, 1.0, Verified())
