"""Bytes of a url: bounded, in time, and never redirected; a host is where the upstreams say."""

import errno
import socket
from pathlib import Path

import pytest
import trustme

from resolver.feed import dropped
from resolver.feed.details import Code, Detail, Place
from resolver.feed.transport import Access, NotFetched, TooLarge, TooSlow, Transport, Unreadable
from tests.fakes.https import Server
from tests.fakes.upstream import in_thread, records


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a list").write_bytes(b"a.test\n")
    transport = Transport(Access(), 20.0)
    assert transport.read((tmp_path / "a list").as_uri(), 7) == b"a.test\n"


def test_a_byte_too_many_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a.test\n")
    with pytest.raises(TooLarge):
        Transport(Access(), 20.0).read((tmp_path / "list").as_uri(), 6)


def test_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFetched) as error:
        Transport(Access(), 20.0).read((tmp_path / "list").as_uri(), 6)
    assert error.value.status == 404
    with pytest.raises(NotFetched) as error:
        Transport(Access(), 20.0).read(tmp_path.as_uri(), 6)
    assert error.value.status == 0
    assert isinstance(error.value, Unreadable)


def test_a_file_that_may_not_be_read_is_no_host_that_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "name0.test")

    monkeypatch.setattr(dropped, "opened", opened)
    with pytest.raises(Unreadable) as error:
        Transport(Access(), 20.0).read((tmp_path / "list").as_uri(), 6, Place.SIGNATURE)
    assert error.value.detail == Detail(code=Code.FILE, at=Place.SIGNATURE, numbers=(errno.EACCES,))


def test_time_ends_it(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a.test\n")
    ticks = iter([0.0, 20.0, 20.1])
    transport = Transport(Access(), 20.0, clock=lambda: next(ticks))
    assert transport.read((tmp_path / "list").as_uri(), 7)
    with pytest.raises(TooSlow):
        transport.read((tmp_path / "list").as_uri(), 7)


HOST = "authority.example"


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return ca


@pytest.fixture
def no_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where the system is asked."""

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the system's resolver was asked")

    monkeypatch.setattr(socket, "getaddrinfo", asked)


@pytest.mark.usefixtures("no_system")
def test_the_upstreams_say_where_a_host_is_and_each_address_is_tried(ca: trustme.CA, tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a.test\n")
    table = {(HOST, "AAAA"): ["::1"], (HOST, "A"): ["127.0.0.2", "127.0.0.1"]}
    with in_thread(records(table)) as upstream, Server(tmp_path, ca, name=HOST) as server:
        transport = Transport(Access(ca=str(tmp_path / "ca.pem"), resolvers=(upstream.address,)), 20.0)
        assert transport.read(f"{server.url}/list", 7) == b"a.test\n"
        assert transport.read(f"{server.url}/list", 7) == b"a.test\n"
        transport.close()
        assert len(upstream.queries) == 2


@pytest.mark.usefixtures("no_system")
def test_the_certificate_is_held_against_the_host_as_written(ca: trustme.CA, tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a.test\n")
    with in_thread(records({(HOST, "A"): ["127.0.0.1"]})) as upstream, Server(tmp_path, ca) as server:
        transport = Transport(Access(ca=str(tmp_path / "ca.pem"), resolvers=(upstream.address,)), 20.0)
        with pytest.raises(NotFetched):
            transport.read(f"https://{HOST}:{server.port}/list", 7)


@pytest.mark.usefixtures("no_system")
def test_a_host_that_nobody_knows(tmp_path: Path) -> None:
    with in_thread(records({})) as upstream:
        transport = Transport(Access(resolvers=(upstream.address,)), 20.0)
        with pytest.raises(NotFetched):
            transport.read(f"https://{HOST}/list", 7)


def test_two_hosts_are_two_connections(ca: trustme.CA, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "list").write_text(name)
    access = Access(ca=str(tmp_path / "ca.pem"))
    with Server(tmp_path / "one", ca) as one, Server(tmp_path / "two", ca) as two:
        transport = Transport(access, 20.0)
        assert transport.read(f"{one.url}/list", 7) == b"one"
        assert transport.read(f"{two.url}/list", 7) == b"two"
        transport.close()


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_post_is_taken(status: int, ca: trustme.CA, tmp_path: Path) -> None:
    with Server(tmp_path, ca, status=status) as server:
        Transport(Access(ca=str(tmp_path / "ca.pem")), 20.0).post(f"{server.url}/receipts", b"{}")
    assert server.posted == [("/receipts", b"{}")]


@pytest.mark.parametrize("status", [302, 400, 500])
def test_a_post_is_not_taken(status: int, ca: trustme.CA, tmp_path: Path) -> None:
    with Server(tmp_path, ca, status=status) as server, pytest.raises(NotFetched) as error:
        Transport(Access(ca=str(tmp_path / "ca.pem")), 20.0).post(f"{server.url}/receipts", b"{}")
    assert error.value.status == status


def test_a_redirect_of_a_post_is_not_followed(ca: trustme.CA, tmp_path: Path) -> None:
    with Server(tmp_path, ca) as other, Server(tmp_path, ca, status=307, location=f"{other.url}/here") as server:
        with pytest.raises(NotFetched) as error:
            Transport(Access(ca=str(tmp_path / "ca.pem")), 20.0).post(f"{server.url}/receipts", b"{}")
        assert error.value.status == 307
    assert other.posted == []


def test_a_post_shows_our_certificate_where_the_server_asks_for_it(ca: trustme.CA, tmp_path: Path) -> None:
    client = str(tmp_path / "client.pem")
    ca.issue_cert("host.test").private_key_and_cert_chain_pem.write_to_path(client)
    with Server(tmp_path, ca, clients=True) as server:
        with pytest.raises(NotFetched):
            Transport(Access(ca=str(tmp_path / "ca.pem")), 20.0).post(f"{server.url}/receipts", b"1")
        access = Access(ca=str(tmp_path / "ca.pem"), certificate=client, key=client)
        Transport(access, 20.0).post(f"{server.url}/receipts", b"2")
    assert server.posted == [("/receipts", b"2")]


def test_a_post_goes_nowhere_without_tls_that_verifies(ca: trustme.CA, tmp_path: Path) -> None:
    with Server(tmp_path, ca) as server, pytest.raises(NotFetched):
        Transport(Access(), 20.0).post(f"{server.url}/receipts", b"{}")
    for url in ((tmp_path / "receipt").as_uri(), "http://localhost:1/receipts"):
        with pytest.raises(NotFetched):
            Transport(Access(), 20.0).post(url, b"{}")
    assert server.posted == []


def test_a_server_that_drips_is_left(ca: trustme.CA, tmp_path: Path) -> None:
    """Each step in time, all of them not: the stream itself keeps to the time that is left."""
    ticks = iter([0.0, *[1.0] * 9, *[21.0] * 99])
    (tmp_path / "list").write_bytes(b"a" * 200_000)
    with Server(tmp_path, ca) as server:
        transport = Transport(Access(ca=str(tmp_path / "ca.pem")), 20.0, clock=lambda: next(ticks))
        with pytest.raises(TooSlow):
            transport.read(f"{server.url}/list", 300_000)
