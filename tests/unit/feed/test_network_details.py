"""The detail of an error of a connection: decided by type, number and OpenSSL's name for it, never by its text."""

import errno
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from msgspec.structs import replace

from resolver.config.lists import List, Source
from resolver.feed import detail_text, network_details
from resolver.feed.details import Code, Detail, Place
from resolver.feed.transport import Access, NotFetched, Transport, Unreadable
from tests.fakes.upstream import Way, in_thread, records

HOST = "authority.example"
PAST = datetime.now(UTC) - timedelta(days=3)


def tls(name: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "name0.test")
    error.reason = name
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ssl.SSLEOFError(8, "name0.test"), Code.CLOSED),
        (ConnectionResetError(), Code.CLOSED),
        (http.client.RemoteDisconnected("name0.test"), Code.CLOSED),
        (TimeoutError("name0.test"), Code.TOO_SLOW),
        (http.client.BadStatusLine("name0.test"), Code.NOT_HTTP),
        (tls("WRONG_VERSION_NUMBER"), Code.TLS_NONE),
        (tls("TLSV1_ALERT_PROTOCOL_VERSION"), Code.TLS_VERSION),
        (tls("UNSUPPORTED_PROTOCOL"), Code.TLS_VERSION),
        (tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), Code.TLS_OURS_WANTED),
        (tls("TLSV1_ALERT_UNKNOWN_CA"), Code.TLS_OURS_REFUSED),
        (tls("SOMETHING_ELSE"), Code.TLS_FAILED),
    ],
)
def test_an_error_is_a_code(error: Exception, code: Code) -> None:
    assert network_details.of_error(error, ours=False) == Detail(code=code, at=Place.HOST)


def test_an_error_with_a_number_keeps_it_and_what_is_unknown_is_none() -> None:
    refused = network_details.of_error(OSError(errno.EHOSTUNREACH, "name0.test"), ours=False)
    assert refused == Detail(code=Code.FILE, at=Place.HOST, numbers=(errno.EHOSTUNREACH,))
    assert network_details.of_error(ValueError("name0.test"), ours=False) is None
    wanted = network_details.of_error(tls("SSLV3_ALERT_HANDSHAKE_FAILURE"), ours=True)
    assert wanted is not None
    assert wanted.code is Code.TLS_OURS_REFUSED


@contextmanager
def serving(answer: bytes, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve `answer` to each connection on loopback, over TLS if there is a context."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:
                    return
                with plain:
                    plain.settimeout(10)
                    try:
                        with context.wrap_socket(plain, server_side=True) if context else plain as one:
                            one.recv(4096)
                            one.sendall(answer)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(20)


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return ca


def context_of(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def said(port: int, access: Access, host: str = "127.0.0.1", most: int = 100) -> str:
    """Return the detail that the log shows for a list from there."""
    one = List(id="demo", source=Source(kind="file", url=f"https://{host}:{port}/list", root="/r", ca=access.ca))
    with closing(Transport(access, 20.0)) as transport, pytest.raises(NotFetched) as error:
        transport.read(one.source.url, most)
    return detail_text.text(error.value.detail, one).replace(f":{port}", "")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 404 no\r\nContent-Length: 0\r\n\r\n", "https://127.0.0.1/list: HTTP status 404 Not Found"),
        (
            b"HTTP/1.1 503 name0.test\r\nContent-Length: 0\r\n\r\n",
            "https://127.0.0.1/list: HTTP status 503 Service Unavailable",
        ),
        (b"HTTP/1.1 599 x\r\nContent-Length: 0\r\n\r\n", "https://127.0.0.1/list: HTTP status 599"),
        (
            b"HTTP/1.1 301 x\r\nLocation: https://name0.test/\r\nContent-Length: 0\r\n\r\n",
            "https://127.0.0.1/list: HTTP status 301 Moved Permanently: a redirect is not followed; set the final url",
        ),
        (
            b"HTTP/1.1 200 x\r\nContent-Length: 20\r\n\r\nname0.test",
            "https://127.0.0.1/list: the download ended 10 octets before its end",
        ),
        (
            b"HTTP/1.1 200 x\r\nContent-Length: 200\r\n\r\n" + b"a" * 200,
            "https://127.0.0.1/list is larger than the 100 octets allowed",
        ),
        (b"name0.test\r\n\r\n", "127.0.0.1: the answer is not HTTP"),
        (b"", "127.0.0.1 closed the connection before the end of its answer"),
    ],
)
def test_what_a_web_server_says_instead_of_the_list(answer: bytes, told: str, ca: trustme.CA, tmp_path: Path) -> None:
    with serving(answer, context_of(ca.issue_cert("127.0.0.1"))) as port:
        assert said(port, Access(ca=str(tmp_path / "ca.pem"))) == told


def test_what_is_wrong_with_a_certificate(ca: trustme.CA, tmp_path: Path) -> None:
    ours, other = Access(ca=str(tmp_path / "ca.pem")), trustme.CA()
    cases = {
        "has expired": ca.issue_cert("127.0.0.1", not_before=PAST - timedelta(days=9), not_after=PAST),
        "is not valid yet": ca.issue_cert("127.0.0.1", not_before=datetime.now(UTC) + timedelta(days=3)),
        "is for another address": ca.issue_cert("other.example"),
        "is signed by a CA that is not known here": other.issue_cert("127.0.0.1"),
    }
    for told, certificate in cases.items():
        with serving(b"", context_of(certificate)) as port:
            assert said(port, ours) == f"TLS: the certificate of 127.0.0.1 {told}"


def test_a_certificate_for_another_host(ca: trustme.CA, tmp_path: Path) -> None:
    with (
        in_thread(records({(HOST, "A"): ["127.0.0.1"]})) as upstream,
        serving(b"", context_of(ca.issue_cert("other.example"))) as port,
    ):
        access = Access(ca=str(tmp_path / "ca.pem"), resolvers=(upstream.address,))
        assert said(port, access, HOST) == "TLS: the certificate of authority.example is for another host"


def test_a_server_without_tls_or_with_an_old_one(ca: trustme.CA, tmp_path: Path) -> None:
    access = Access(ca=str(tmp_path / "ca.pem"))
    with serving(b"HTTP/1.1 400 x\r\n\r\n") as port:
        assert said(port, access) == "127.0.0.1 does not talk TLS at this port"
    old = context_of(ca.issue_cert("127.0.0.1"))
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with serving(b"", old) as port:
        assert said(port, access) == "TLS: 127.0.0.1 has no version of TLS that is accepted here"


def test_a_server_that_wants_a_certificate_of_ours(ca: trustme.CA, tmp_path: Path) -> None:
    context, stranger = context_of(ca.issue_cert("127.0.0.1")), str(tmp_path / "stranger.pem")
    # In TLS 1.3 the refusal follows the handshake, and a reset may overtake it.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    trustme.CA().issue_cert("isp.example").private_key_and_cert_chain_pem.write_to_path(stranger)
    access = Access(ca=str(tmp_path / "ca.pem"))
    with serving(b"", context) as port:
        assert "wants a certificate of this host" in said(port, access)
        assert "refused this host's certificate" in said(port, Access(ca=access.ca, certificate=stranger, key=stranger))


def test_a_port_where_nobody_listens(ca: trustme.CA, tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        told = said(bound.getsockname()[1], Access(ca=str(tmp_path / "ca.pem")))
    assert told == "127.0.0.1: Connection refused"


@pytest.mark.parametrize(
    ("table", "way", "told"),
    [
        ({(HOST, "TXT"): ["x"]}, Way.HONEST, "the upstreams know no address of authority.example"),
        ({}, Way.HONEST, "the upstreams say that authority.example does not exist (NXDOMAIN)"),
        ({}, Way.SERVFAIL, "the look-up of authority.example failed: an upstream answered SERVFAIL"),
        ({}, Way.REFUSED, "the look-up of authority.example failed: an upstream answered REFUSED"),
    ],
)
def test_a_host_that_does_not_resolve(
    table: dict[tuple[str, str], list[str]], way: Way, told: str, ca: trustme.CA, tmp_path: Path
) -> None:
    with in_thread(records(table)) as upstream:
        upstream.otherwise = (way,)
        assert said(443, Access(ca=str(tmp_path / "ca.pem"), resolvers=(upstream.address,)), HOST) == told


def test_pem_files_that_tls_cannot_use(ca: trustme.CA, tmp_path: Path) -> None:
    good, bad, none = str(tmp_path / "ca.pem"), str(tmp_path / "bad.pem"), str(tmp_path / "none.pem")
    Path(bad).write_text("name0.test\n")
    leaf = str(tmp_path / "leaf.pem")
    ca.issue_cert("isp.example").private_key_and_cert_chain_pem.write_to_path(leaf)
    one = List(
        id="demo",
        source=Source(kind="file", url="https://127.0.0.1:1/list", root="/r", ca=good, certificate=leaf, key=leaf),
    )
    for field, path, told in (
        ("ca", none, f"{none}: No such file or directory"),
        ("ca", bad, f"{bad} holds nothing that TLS can use"),
        ("certificate", none, f"{none}: No such file or directory"),
        ("key", none, f"{none}: No such file or directory"),
        ("key", bad, f"{bad} holds nothing that TLS can use"),
    ):
        source = replace(one.source, **{field: path})
        access = Access(ca=source.ca, certificate=source.certificate, key=source.key)
        with pytest.raises(Unreadable) as error:
            Transport(access, 20.0).read(source.url, 10)
        assert detail_text.text(error.value.detail, replace(one, source=source)) == told


def test_the_steps_of_a_download(ca: trustme.CA, tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 x\r\nContent-Length: 7\r\n\r\na.test\n"
    steps: list[Detail] = []
    with (
        in_thread(records({(HOST, "A"): ["127.0.0.1"]})) as upstream,
        serving(answer, context_of(ca.issue_cert(HOST))) as port,
    ):
        access = Access(ca=str(tmp_path / "ca.pem"), resolvers=(upstream.address,), step=steps.append)
        with closing(Transport(access, 20.0)) as transport:
            transport.read(f"https://{HOST}:{port}/list", 7)
    assert [each.code for each in steps] == [
        Code.STEP_LOOK_UP,
        Code.FOUND_ADDRESSES,
        Code.STEP_CONNECT,
        Code.STEP_TLS,
        Code.FOUND_TLS,
        Code.STEP_READ,
        Code.FOUND_OCTETS,
    ]
    assert steps[-1].numbers == (7,)
