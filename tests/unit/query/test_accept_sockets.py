"""Sockets: what the kernel is told of them, which ones are taken in place of others."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from resolver.config.values import Endpoint
from resolver.query import accept_sockets
from resolver.query.accept_sockets import Wildcard, datagrams, streams
from tests.unit.query.parts import open_sockets

BOTH = [Endpoint("127.0.0.1", 0), Endpoint("::1", 0)]
KINDS = {"udp": (socket.SOCK_DGRAM, datagrams), "tcp": (socket.SOCK_STREAM, streams)}


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = open_sockets()
    yield
    assert open_sockets() == before


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def bound(kind: str, host: str = "127.0.0.1") -> socket.socket:
    """A socket that somebody else made."""
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, KINDS[kind][0])
    one.bind((host, 0))
    return one


def place(one: socket.socket) -> Endpoint:
    return Endpoint(*one.getsockname()[:2])


def test_datagrams_leave_whole_whatever_a_router_is_said_to_say() -> None:
    v4, v6 = datagrams(BOTH)
    assert v4.getsockopt(socket.IPPROTO_IP, 10) == 5, "IP_MTU_DISCOVER is IP_PMTUDISC_OMIT"
    assert v6.getsockopt(socket.IPPROTO_IPV6, 23) == 5, "IPV6_MTU_DISCOVER is IPV6_PMTUDISC_OMIT"
    for one in (v4, v6):
        one.close()


def test_an_address_that_is_not_there_yet_is_bound(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    here, there = Endpoint("127.0.0.1", 0), Endpoint("192.0.2.53", 0)
    first, second = KINDS[kind][1]([here, there])
    assert accept_sockets.bound_to(second).host == "192.0.2.53"
    assert (accept_sockets.is_here(first), accept_sockets.is_here(second)) == (True, False)
    assert len([line for line in caplog.messages if "not an address of this host yet" in line]) == (kind == "udp")
    for one in (first, second):
        one.close()


def test_which_addresses_this_host_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for host, ours in (("127.0.0.1", True), ("192.0.2.53", False), ("2001:db8::53", False), ("fe80::1%none0", False)):
        assert accept_sockets.is_ours(host) == ours
    assert accept_sockets.is_missing("192.0.2.53")
    assert not accept_sockets.is_missing("127.0.0.1")
    monkeypatch.setattr(accept_sockets.Path, "read_text", lambda self: "1\n")
    assert not accept_sockets.is_ours("127.0.0.1"), "where anybody may bind any address a bind shows nothing"


def test_what_a_connection_inherits() -> None:
    (listening,) = streams(BOTH[:1])
    with listening, socket.create_connection(listening.getsockname()), listening.accept()[0] as one:
        assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == accept_sockets.UNACKNOWLEDGED_MS
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            assert one.getsockopt(socket.SOL_SOCKET, option) == 2 * accept_sockets.STREAM_OCTETS


def test_only_those_on_a_wildcard_address_ask_where_a_datagram_went(kind: str) -> None:
    opened = KINDS[kind][1]([Endpoint("0.0.0.0", 0), *BOTH, Endpoint("::", 0)])
    assert [isinstance(one, Wildcard) for one in opened] == [kind == "udp", False, False, kind == "udp"]
    for one in opened:
        one.close()


def test_ipv6_takes_no_ipv4(kind: str) -> None:
    (one,) = KINDS[kind][1]([Endpoint("::1", 0)])
    with socket.socket(fileno=socket.dup(one.fileno())) as same:
        assert same.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    one.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_given_socket_is_taken_for_the_address_it_is_bound_to(kind: str, host: str) -> None:
    with bound(kind, host) as given:
        spelled = Endpoint("0:0:0:0:0:0:0:1" if host == "::1" else host, place(given).port)
        taken, other = KINDS[kind][1]([spelled, Endpoint(host, 0)], [given])
        assert taken is given
        assert other is not given
        other.close()
        assert given.gettimeout() == 0


def test_a_given_socket_on_a_wildcard_address(kind: str) -> None:
    with bound(kind, "0.0.0.0") as given:
        (taken,) = KINDS[kind][1]([place(given)], [given])
        assert isinstance(taken, Wildcard) == (kind == "udp")
        assert taken.fileno() == given.fileno()


def test_a_given_socket_that_stands_for_nothing_is_refused_by_its_address(kind: str) -> None:
    with bound(kind) as given:
        address = place(given)
        with pytest.raises(ValueError, match=f"{address} was handed over, and listen.dns does not name it"):
            KINDS[kind][1](BOTH, [given])
        with pytest.raises(ValueError, match="was handed over"):
            KINDS[kind][1]([Endpoint("127.0.0.2", address.port)], [given])
        assert given.fileno() >= 0


def test_a_second_socket_for_the_same_address_is_refused(kind: str) -> None:
    with bound(kind) as given, socket.socket(fileno=socket.dup(given.fileno())) as second:
        with pytest.raises(ValueError, match=f"two sockets for {place(given)} were handed over"):
            KINDS[kind][1]([place(given)], [given, second])
        assert given.fileno() >= 0


def test_given_sockets_of_the_other_kind_are_the_other_sides(kind: str) -> None:
    with bound("tcp" if kind == "udp" else "udp") as given:
        (one,) = KINDS[kind][1]([Endpoint("127.0.0.1", 0)], [given])
        assert one.fileno() != given.fileno() >= 0
        one.close()


def test_where_one_cannot_be_bound_none_of_ours_stays_open(kind: str) -> None:
    with bound(kind) as given, bound(kind) as taken:
        if kind == "tcp":
            taken.listen()
        with pytest.raises(OSError, match="in use"):
            KINDS[kind][1]([place(given), *BOTH, place(taken)], [given])


def test_an_interface_that_does_not_exist() -> None:
    with pytest.raises(OSError, match=r"."):
        datagrams([Endpoint("fe80::1%nowhere0", 0)])


@pytest.mark.parametrize(
    ("address", "kept"), [("fe80::1", 7), ("febf::1", 7), ("2001:db8::1", 0), ("::1", 0), ("fec0::1", 0)]
)
def test_only_a_link_local_answer_is_bound_to_its_interface(address: str, kept: int) -> None:
    octets = socket.inet_pton(socket.AF_INET6, address)
    said = accept_sockets.asked(socket.IPPROTO_IPV6, 50, octets + (7).to_bytes(4, "little"))
    assert said == (socket.IPPROTO_IPV6, 50, octets + kept.to_bytes(4, "little"))


def test_a_buffer_is_never_made_smaller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As systemd gives one beyond what the service may have."""
    most = tmp_path / "rmem_max"
    most.write_text("4096\n")
    monkeypatch.setattr(accept_sockets, "RMEM_MAX", most)
    monkeypatch.setattr(accept_sockets, "WMEM_MAX", tmp_path / "not there")
    with bound("udp", "127.0.0.1") as given:
        given.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        given.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        accept_sockets.prepare(socket.SOCK_DGRAM, given)
        assert given.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 200_000
        assert given.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > 2 * 8192


def test_of_kept_sockets_those_are_wanted_that_nothing_else_serves() -> None:
    with bound("udp", "127.0.0.1") as first, bound("udp", "127.0.0.1") as second, bound("udp", "127.0.0.1") as gone:
        listen = [place(first), place(second)]
        kept = [first, first, gone, second]
        assert accept_sockets.wanted(listen, kept) == [first, second]
        assert accept_sockets.wanted(listen, kept, [second]) == [first]


def receives(one: accept_sockets.Receiving) -> bool:
    try:
        one.recvfrom(512)
    except BlockingIOError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::", "192.0.2.53"])
def test_sockets_beside_one_have_its_address_its_options_and_their_share_of_the_clients(host: str) -> None:
    (first,) = datagrams([Endpoint(host, 0)])
    each = [first, *accept_sockets.beside(first, 3)]
    assert len({one.getsockname() for one in each}) == 1
    assert len({type(one) for one in each}) == 1
    assert {accept_sockets.is_here(one) for one in each} == {host != "192.0.2.53"}
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    if accept_sockets.is_here(first):
        for _ in range(100):
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"x", (loopback, first.getsockname()[1]))
        counts = [sum(receives(one) for _ in range(101)) for one in each]
        assert sum(counts) == 100
        assert min(counts) > 0
    for one in each:
        one.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_what_comes_after_a_socket_has_left_goes_to_the_others(host: str) -> None:
    (first,) = datagrams([Endpoint(host, 0)])
    each = [first, *accept_sockets.beside(first, 2)]
    where = ({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), first.getsockname()[1])

    def send() -> None:
        for _ in range(60):
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"x", where)

    send()
    for one in each[1:]:
        accept_sockets.leave(one)
    send()
    counts = [sum(receives(one) for _ in range(121)) for one in each]
    assert sum(counts) == 120
    assert counts[0] > 60
    assert min(counts[1:]) > 0, "what had come can be read"
    for one in each:
        one.close()


def test_only_a_socket_that_was_bound_for_others_too_may_have_them() -> None:
    alone, shared = datagrams([Endpoint("127.0.0.1", 0), Endpoint("127.0.0.1", 0)])
    more = accept_sockets.beside(shared, 1)
    assert [accept_sockets.may_have_others(one) for one in (alone, shared, *more)] == [False, True, True]
    for one in (alone, shared, *more):
        one.close()


def test_nobody_else_may_bind_beside_a_service() -> None:
    (first,) = datagrams([Endpoint("127.0.0.1", 0)])
    more = accept_sockets.beside(first, 1)
    with pytest.raises(OSError, match="in use"):
        datagrams([accept_sockets.bound_to(first)])
    for one in (first, *more):
        one.close()


def test_without_others_an_address_has_one_socket_alone() -> None:
    (first,) = datagrams([Endpoint("127.0.0.1", 0)])
    assert accept_sockets.beside(first, 0) == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(first.getsockname())
    first.close()


def test_where_one_beside_cannot_be_bound_none_of_them_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = datagrams([Endpoint("127.0.0.1", 0)])
    prepared: list[socket.socket] = []

    def fails(kind: int, one: socket.socket) -> None:
        prepared.append(one)
        if len(prepared) == 2:
            raise OSError("no memory")

    monkeypatch.setattr(accept_sockets, "prepare", fails)
    with pytest.raises(OSError, match="no memory"):
        accept_sockets.beside(first, 3)
    assert [one.fileno() for one in prepared] == [-1, -1]
    first.close()
