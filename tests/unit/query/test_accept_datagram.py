"""Queries over UDP: many at a time, from whom, and what happens at the end."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.config.values import Endpoint, address_octets
from resolver.core import admit
from resolver.core.codes import MAX_LISTS
from resolver.query import accept_datagram
from resolver.query.accept_datagram import Datagrams
from resolver.query.transport import Transport
from tests.parity.cases import of
from tests.unit.query.parts import KEY, until
from tests.unit.query.senders import Answers, asks, quiet

pytestmark = pytest.mark.loops

LOOPBACK = Endpoint("127.0.0.1", 0)
LOOPBACK_V6 = Endpoint("::1", 0)


class Side:
    """A listening side, what it dropped, and a client's socket."""

    def __init__(self, datagrams: Datagrams, answers: Answers, dropped: list[str], client: socket.socket) -> None:
        self.datagrams = datagrams
        self.answers = answers
        self.dropped = dropped
        self.client = client

    async def reply(self) -> bytes:
        """The next reply."""
        async with asyncio.timeout(120):
            return await asyncio.get_running_loop().sock_recv(self.client, 70000)


@asynccontextmanager
async def listening(endpoint: Endpoint = LOOPBACK, asked: str = "") -> AsyncIterator[Side]:
    """`asked` is the address that the client asks, where it is not the one that is listened on."""
    async with quiet():
        answers, dropped = Answers(), []
        datagrams = Datagrams(answers, dropped.append)
        datagrams.open([endpoint])
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as client:
            client.connect((asked or datagrams.addresses[0].host, datagrams.addresses[0].port))
            yield Side(datagrams, answers, dropped, client)
        answers.release()
        datagrams.close()
        await datagrams.drained()


@pytest.mark.asyncio
async def test_replies_come_at_once_later_or_never() -> None:
    async with listening() as side:
        for packet in (asks(1, b"later"), asks(2, b"never"), asks(3), asks(4, b"later never"), asks(5)):
            side.client.send(packet)
        assert {await side.reply(), await side.reply()} == {asks(3), asks(5)}
        side.answers.release()
        assert await side.reply() == asks(1, b"later")
        side.client.send(asks(6))
        assert await side.reply() == asks(6)
        assert {over for _, _, over in side.answers.seen} == {Transport.UDP}


@pytest.mark.asyncio
async def test_many_at_once_are_taken_in_batches_and_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept_datagram, "BATCH", 5)
    async with listening() as side:
        for number in range(60):
            side.client.send(asks(number))
        steps, before = [], 0

        def turn() -> None:
            nonlocal before
            steps.append(len(side.answers.seen) - before)
            before = len(side.answers.seen)
            if before < 60:
                asyncio.get_running_loop().call_soon(turn)

        turn()
        replies = {await side.reply() for _ in range(60)}
        assert replies == {asks(number) for number in range(60)}
        await until(lambda: sum(steps) == 60)
        assert max(steps) == 5


@pytest.mark.asyncio
@pytest.mark.parametrize(("endpoint", "client"), [(LOOPBACK, "127.0.0.1"), (LOOPBACK_V6, "::1")])
async def test_the_client_is_who_sent_it_in_16_octets(endpoint: Endpoint, client: str) -> None:
    async with listening(endpoint) as side:
        side.client.send(asks(1))
        assert await side.reply() == asks(1)
        assert side.answers.seen == [(asks(1), address_octets(client), Transport.UDP)]
        assert len(side.answers.seen[0][1]) == 16


class Drawn:
    """A socket with these datagrams in it, as (octets, peer) or an error."""

    def __init__(self, *waiting: tuple[bytes, tuple[str, int]] | Exception) -> None:
        self.waiting = list(waiting)
        self.sent: list[tuple[bytes, tuple[str, int]]] = []

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        if not self.waiting:
            raise BlockingIOError
        one = self.waiting.pop(0)
        if isinstance(one, Exception):
            raise one
        return one[0][:size], one[1]

    def sendto(self, data: bytes, peer: tuple[str, int]) -> None:
        self.sent.append((data, peer))


def test_nobody_is_answered_at_port_0_and_an_error_of_an_earlier_datagram_stops_nothing() -> None:
    answers, dropped = Answers(), []
    datagrams = Datagrams(answers, dropped.append)
    peer = ("192.0.2.1", 5353)
    one = Drawn(
        (asks(1), ("192.0.2.1", 0)),
        (asks(2), peer),
        ConnectionRefusedError(),
        OSError(113, "no route"),
        (asks(3), peer),
    )
    datagrams.drain(one)
    assert one.sent == [(asks(2), peer), (asks(3), peer)]
    assert dropped == ["port_zero"]
    assert len(answers.seen) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("listened", "asked"),
    [("0.0.0.0", "127.0.0.2"), ("0.0.0.0", "127.83.79.83"), ("0.0.0.0", "127.0.0.1"), ("::", "::1")],
)
async def test_a_wildcard_address_answers_from_the_address_that_was_asked(listened: str, asked: str) -> None:
    async with listening(Endpoint(listened, 0), asked) as side:
        side.client.send(asks(1, b"later"))
        side.client.send(asks(2))
        assert await side.reply() == asks(2), "a connected socket takes replies from nowhere else"
        side.answers.release()
        assert await side.reply() == asks(1, b"later")
        assert {client for _, client, _ in side.answers.seen} == {address_octets(side.client.getsockname()[0])}


@pytest.mark.asyncio
@pytest.mark.parametrize("listened", ["127.0.0.1", "0.0.0.0"])
async def test_no_datagram_is_cut(listened: str) -> None:
    async with listening(Endpoint(listened, 0), "127.0.0.1") as side:
        largest = asks(1, bytes(65507 - 12))
        side.client.send(largest)
        assert await side.reply() == largest


BALANCER = "192.0.2.200"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
NAMED = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c" + bytes([198, 51, 100, 7]) + bytes(4) + b"\0\0\0\x35"
NAMED_V6 = b"\r\n\r\n\0\r\nQUIT\n\x21\x22\0\x24" + address_octets("2001:db8::7") + bytes(16) + b"\x30\x39\0\x35"


def drained(*waiting: tuple[bytes, tuple[str, int]], trusts: bool = True) -> tuple[Answers, list[str], Drawn]:
    """What is answered, dropped and sent of these datagrams; the balancer alone is trusted."""
    answers, dropped, one = Answers(), [], Drawn(*waiting)
    datagrams = Datagrams(answers, dropped.append)
    if trusts:
        datagrams.trusted = lambda sender: sender == address_octets(BALANCER)
    datagrams.drain(one)
    return answers, dropped, one


@pytest.mark.parametrize(
    ("header", "client"),
    [(NAMED, "198.51.100.7"), (NAMED_V6, "2001:db8::7"), (LOCAL, BALANCER)],
    ids=["4", "6", "local"],
)
def test_a_load_balancer_names_the_client_and_gets_the_reply(header: bytes, client: str) -> None:
    peer = (BALANCER, 5353)
    answers, dropped, one = drained((header + asks(1), peer))
    assert answers.seen == [(asks(1), address_octets(client), Transport.UDP)]
    assert one.sent == [(asks(1), peer)]
    assert dropped == []


def test_one_client_is_not_taken_for_another() -> None:
    peer = (BALANCER, 5353)
    answers, _, _ = drained(
        (NAMED + asks(1), peer), (LOCAL + asks(2), peer), (NAMED_V6 + asks(3), peer), (NAMED + asks(4), peer)
    )
    names = ["198.51.100.7", BALANCER, "2001:db8::7", "198.51.100.7"]
    assert [client for _, client, _ in answers.seen] == list(map(address_octets, names))


@pytest.mark.parametrize(
    "packet",
    [asks(1), b"", NAMED[:20], NAMED[:-1], b"PROXY UDP4 198.51.100.7 192.0.2.53 1 53\r\n" + asks(1), asks(1) + NAMED],
    ids=["none", "empty", "cut", "cut by one", "version 1", "behind the query"],
)
def test_without_a_header_a_load_balancers_datagram_is_dropped(packet: bytes) -> None:
    answers, dropped, one = drained((packet, (BALANCER, 5353)))
    assert (answers.seen, dropped, one.sent) == ([], ["proxy"], [])


def test_a_header_alone_is_a_query_of_no_octets() -> None:
    answers, dropped, _ = drained((NAMED, (BALANCER, 5353)))
    assert [packet for packet, _, _ in answers.seen] == [b""]
    assert dropped == []


@pytest.mark.parametrize("trusts", [True, False], ids=["others are trusted", "nobody is"])
def test_from_anybody_else_a_header_is_octets_of_a_query(trusts: bool) -> None:
    peer = ("192.0.2.1", 5353)
    answers, dropped, _ = drained((NAMED + asks(1), peer), (asks(2), peer), trusts=trusts)
    assert [packet for packet, _, _ in answers.seen] == [NAMED + asks(1), asks(2)]
    assert {client for _, client, _ in answers.seen} == {address_octets("192.0.2.1")}
    assert dropped == []


def test_a_load_balancer_at_port_0_gets_nothing() -> None:
    assert drained((NAMED + asks(1), (BALANCER, 0)))[1] == ["port_zero"]


def test_trust_may_come_and_go_while_it_answers() -> None:
    answers, dropped, peer = Answers(), [], (BALANCER, 5353)
    datagrams = Datagrams(answers, dropped.append)
    for trusted in (None, lambda sender: True, None):
        datagrams.trusted = trusted
        datagrams.drain(Drawn((asks(1), peer)))
    assert dropped == ["proxy"]
    assert len(answers.seen) == 2


def test_the_load_balancers_are_those_of_the_tables_in_force() -> None:
    answers, dropped, peer = Answers(), [], (BALANCER, 5353)
    datagrams = Datagrams(answers, dropped.append)
    for balancers in (b"", 2 * address_octets(BALANCER), b""):
        access = admit.Access(
            b"", b"", [b""] * MAX_LISTS, [b""] * MAX_LISTS, rate=0, memory=bytearray(128), key=KEY, proxies=balancers
        )
        # Of the tables only this is looked at here.
        datagrams.use(SimpleNamespace(access=access))  # type: ignore[arg-type]
        datagrams.drain(Drawn((asks(1), peer)))
    assert dropped == ["proxy"]
    assert len(answers.seen) == 2


def test_without_threads_none_is_busy_or_has_failed() -> None:
    datagrams = Datagrams(Answers(), [].append)
    datagrams.start()
    assert (datagrams.busy(), datagrams.errors(), datagrams.runs(), len(datagrams.counters)) == ([], 0, True, 0)


@pytest.mark.asyncio
async def test_a_socket_that_was_handed_over_is_answered_on() -> None:
    async with quiet():
        with socket.socket(type=socket.SOCK_DGRAM) as given, socket.socket(type=socket.SOCK_DGRAM) as client:
            given.bind(("127.0.0.1", 0))
            place = Endpoint(*given.getsockname())
            datagrams = Datagrams(Answers(), lambda reason: None)
            datagrams.open([place], [given])
            client.setblocking(False)
            client.connect(place)
            client.send(asks(1))
            async with asyncio.timeout(120):
                assert await asyncio.get_running_loop().sock_recv(client, 100) == asks(1)
            assert datagrams.addresses == [place]
            datagrams.close()
            await datagrams.drained()


@pytest.mark.asyncio
async def test_a_reply_that_cannot_be_sent_is_lost_and_no_more() -> None:
    async with listening() as side:
        answer = side.datagrams.answer
        side.datagrams.answer = lambda packet, *rest: bytes(70000) if packet[12:] == b"huge" else answer(packet, *rest)
        side.client.send(asks(1, b"huge"))
        side.client.send(asks(2))
        assert await side.reply() == asks(2)


@pytest.mark.asyncio
async def test_what_is_on_its_way_at_the_end_is_answered_and_what_comes_after_is_not() -> None:
    async with listening() as side:
        side.client.send(asks(1, b"later"))
        await until(lambda: side.answers.seen)
        side.datagrams.close()
        side.client.send(asks(2))
        ending = asyncio.ensure_future(side.datagrams.drained())
        await asyncio.sleep(0)
        assert not ending.done()
        side.answers.release()
        assert await side.reply() == asks(1, b"later")
        await ending
        assert side.datagrams.addresses == []
        assert len(side.answers.seen) == 1


@pytest.mark.asyncio
async def test_an_address_that_is_taken_leaves_nothing_open() -> None:
    async with quiet():
        with socket.socket(type=socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            datagrams = Datagrams(Answers(), lambda reason: None)
            with pytest.raises(OSError, match="in use"):
                datagrams.open([LOOPBACK, Endpoint(*taken.getsockname())])
            assert datagrams.addresses == []


@pytest.mark.asyncio
async def test_both_families_on_one_port() -> None:
    async with listening() as side:
        port = side.datagrams.addresses[0].port
        other = Datagrams(Answers(), lambda reason: None)
        other.open([Endpoint("::", port)])
        assert [one.port for one in other.addresses] == [port], "IPv6 alone: it does not take IPv4's port"
        other.close()
        await other.drained()


@of(0.1)
@given(packets=st.lists(st.binary(max_size=60), max_size=8))
def test_any_datagrams_are_answered_at_most_once_each(packets: list[bytes]) -> None:
    answers = Answers()
    one = Drawn(*((packet, ("192.0.2.1", 5353)) for packet in packets))
    Datagrams(answers, lambda reason: None).drain(one)
    assert [data for data, _ in one.sent] == packets
