"""doctor/ask.py: each transport, only replies to the query, and an end to whatever another side does."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from resolver.doctor import ask, wire
from resolver.doctor.ask import Asker, Endpoint, NoReply, Query, Silence, Spent
from resolver.doctor.zone import Zone
from tests.journeys.running import free_ports
from tests.unit.doctor.resolvers import ENTRY, HOST, POLICY, Enforcing, responder, saying

QUERY = Query(name=ENTRY, kind=wire.A)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("192.0.2.1", Endpoint("192.0.2.1", 53)),
        ("192.0.2.1:5300", Endpoint("192.0.2.1", 5300)),
        ("2001:db8::1", Endpoint("2001:db8::1", 53)),
        ("[2001:db8::1]:5300", Endpoint("2001:db8::1", 5300)),
        ("[2001:db8::1]", Endpoint("2001:db8::1", 53)),
    ],
)
def test_an_endpoint(text: str, endpoint: Endpoint) -> None:
    assert ask.endpoint_of(text) == endpoint
    assert ask.endpoint_of(str(endpoint)) == endpoint
    assert endpoint.family == (socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET)


@pytest.mark.parametrize(
    "text", ["", "a.test", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "[::1", "[::1]x", "192.0.2.1:²"]
)
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ask.endpoint_of(text)


def test_the_first_resolver_of_this_host(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("# x\nsearch test\nnameserver\nnameserver 192.0.2.53\nnameserver 192.0.2.54\n")
    assert ask.own_resolver(path) == Endpoint("192.0.2.53", 53)
    for text in ("", "nameserver not-an-address\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r".+"):
            ask.own_resolver(path)
    with pytest.raises(ValueError, match="names no resolver"):
        ask.own_resolver(tmp_path / "none")


def test_udp_and_tcp_and_what_is_truncated_is_asked_again() -> None:
    zone = Zone(ENTRY)
    with saying(responder(zone)) as place:
        asker = Asker(place)
        for over in (ask.UDP, ask.TCP):
            assert asker.ask(Query(name=ENTRY, kind=wire.A, over=over)).answer[0].data == wire.address("203.0.113.66")
        whole = asker.ask(Query(name=ENTRY, kind=wire.ANY, do=True))
        assert not whole.flags & wire.TC
        assert len(whole.answer) > 5
        assert asker.sent == 4
        assert asker.ask(QUERY, HOST).answer


@pytest.mark.parametrize(
    ("say", "reason"),
    [
        (lambda octets: b"\0\0" + octets[2:], "no reply"),
        (lambda octets: octets, "no reply"),
        (lambda octets: octets[:2] + b"\x80\0" + octets[4:] + b"x", "cannot be read"),
        (lambda octets: b"", "no reply"),
    ],
)
def test_what_is_no_reply_is_none(say: Callable[[bytes], bytes], reason: str) -> None:
    with saying(lambda octets, over_tcp: say(octets)) as place:
        with pytest.raises(Silence, match=reason):
            Asker(place, wait_s=0.1 if reason == "no reply" else 20.0).ask(QUERY)
        with pytest.raises(Silence):
            Asker(place, wait_s=0.2).ask(Query(name=ENTRY, kind=wire.A, over=ask.TCP))


def test_a_port_where_nobody_is_is_named() -> None:
    place = Endpoint(HOST, *free_ports(1))
    for over in (ask.UDP, ask.TCP, ask.DOT, ask.DOH):
        asker = Asker(place, dot=place, doh=place, wait_s=20.0)
        with pytest.raises(Silence, match="nothing answers"):
            asker.ask(Query(name=ENTRY, kind=wire.A, over=over))
    with pytest.raises(Silence) as silence:
        Asker(place).ask(QUERY, "192.0.2.77")
    assert not isinstance(silence.value, NoReply), "an address that is not ours is no proof of anything"


def test_the_budget_ends_it() -> None:
    with saying(Enforcing()) as place:
        asker = Asker(place, queries=1)
        asker.ask(QUERY)
        with pytest.raises(Spent):
            asker.ask(QUERY)
        late = Asker(place, seconds=0)
        with pytest.raises(Spent):
            late.ask(QUERY)


def test_a_transfer_is_known_by_its_first_message() -> None:
    with saying(Enforcing("transfer")) as place:
        for kind in (wire.AXFR, wire.IXFR):
            found = Asker(place).transfer(POLICY, kind)
            assert found is not None
            assert len(found.answer) == 3
    with saying(lambda octets, over_tcp: None) as place:
        assert Asker(place).transfer(POLICY, wire.AXFR) is None


@contextmanager
def behind_tls(talk: Callable[[ssl.SSLSocket], None], folder: Path, name: str = "resolver.test") -> Iterator[Asker]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    with socket.create_server((HOST, 0)) as server:

        def take() -> None:
            try:
                plain, _ = server.accept()
                with context.wrap_socket(plain, server_side=True) as stream:
                    talk(stream)
            except OSError:
                return  # The client has left, as some of these do.

        thread = threading.Thread(target=take)
        thread.start()
        try:
            place = Endpoint(*server.getsockname())
            yield Asker(place, tls_name="resolver.test", ca=folder / "ca.pem", dot=place, doh=place, wait_s=5.0)
        finally:
            server.close()
            thread.join()


def over_tls(stream: ssl.SSLSocket) -> None:
    query = stream.recv(4096)
    reply = responder(Zone(ENTRY))(query[2:], True)
    assert reply
    stream.sendall(len(reply).to_bytes(2, "big") + reply)


def posted(stream: ssl.SSLSocket) -> tuple[bytes, bytes]:
    """The head and the body of a request, which come in parts."""
    asked = b""
    while not asked.partition(b"\r\n\r\n")[2]:
        asked += stream.recv(4096)
    head, _, body = asked.partition(b"\r\n\r\n")
    return head, body


def over_https(stream: ssl.SSLSocket) -> None:
    head, query = posted(stream)
    assert head.startswith(b"POST /dns-query HTTP/1.1\r\nHost: resolver.test\r\n")
    reply = responder(Zone(ENTRY))(query, True)
    assert reply
    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply)


@pytest.mark.parametrize(("over", "talk"), [(ask.DOT, over_tls), (ask.DOH, over_https)])
def test_dot_and_doh(over: str, talk: Callable[[ssl.SSLSocket], None], tmp_path: Path) -> None:
    query = Query(name=ENTRY, kind=wire.A, over=over)
    with behind_tls(talk, tmp_path) as asker:
        assert asker.ask(query).answer[0].data == wire.address("203.0.113.66")
    with behind_tls(talk, tmp_path, "another.test") as asker, pytest.raises(Silence, match="does not verify"):
        asker.ask(query)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP 404"),
        (b"hello\r\n\r\n", "speaks neither"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "another question"),
    ],
)
def test_a_web_server_that_is_no_resolver(said: bytes, reason: str, tmp_path: Path) -> None:
    def talk(stream: ssl.SSLSocket) -> None:
        posted(stream)
        stream.sendall(said)

    with behind_tls(talk, tmp_path) as asker, pytest.raises(Silence, match=reason):
        asker.ask(Query(name=ENTRY, kind=wire.A, over=ask.DOH))


def test_who_sends_an_octet_at_a_time_is_left_at_the_deadline(tmp_path: Path) -> None:
    left = threading.Event()

    def drip(stream: ssl.SSLSocket) -> None:
        posted(stream)
        stream.sendall(b"HTTP/1.1 200 OK\r\n")
        try:
            while not left.wait(0.05):
                stream.sendall(b"x")
        except OSError:
            return  # The other side has left.

    with behind_tls(drip, tmp_path) as asker:
        asker.wait_s = 0.5
        began = time.monotonic()
        with pytest.raises(Silence):
            asker.ask(Query(name=ENTRY, kind=wire.A, over=ask.DOH))
        left.set()
        assert time.monotonic() - began < 60, "a bound that is far above what a busy machine takes"


def test_a_way_there_and_back_is_a_connection_or_its_refusal() -> None:
    with saying(Enforcing()) as place:
        assert Asker(place).reaches(HOST)
    assert Asker(place).reaches(HOST), "nobody listens any more, and says so"
    assert not Asker(place).reaches("192.0.2.200"), "not an address of this host"
    assert not Asker(place, queries=0).reaches(HOST), "the budget is spent"
