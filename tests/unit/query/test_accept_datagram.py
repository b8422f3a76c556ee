"""Queries over UDP: many at a time, from whom, and what happens at the end."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.query import accept_datagram
from resolver.query.accept_datagram import Datagrams, client_octets
from resolver.values import Endpoint
from tests.parity.cases import of
from tests.unit.query.parts import until
from tests.unit.query.senders import Answers, asks, quiet

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
        async with asyncio.timeout(5):
            return await asyncio.get_running_loop().sock_recv(self.client, 70000)


@asynccontextmanager
async def listening(endpoint: Endpoint = LOOPBACK) -> AsyncIterator[Side]:
    async with quiet():
        answers, dropped = Answers(), []
        datagrams = Datagrams(answers, dropped.append)
        datagrams.open([endpoint])
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as client:
            client.connect(datagrams.addresses[0])
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
        assert {stream for _, _, stream in side.answers.seen} == {False}


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
        assert side.answers.seen == [(asks(1), client_octets(client), False)]
        assert len(side.answers.seen[0][1]) == 16


@pytest.mark.parametrize(
    ("host", "octets"),
    [
        ("192.0.2.1", bytes(10) + b"\xff\xff\xc0\x00\x02\x01"),
        ("::ffff:192.0.2.1", bytes(10) + b"\xff\xff\xc0\x00\x02\x01"),
        ("2001:db8::1", b"\x20\x01\x0d\xb8" + bytes(11) + b"\1"),
        ("fe80::1%eth0", b"\xfe\x80" + bytes(13) + b"\1"),
    ],
)
def test_addresses_in_16_octets(host: str, octets: bytes) -> None:
    assert client_octets(host) == octets


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
    datagrams._drain(one)
    assert one.sent == [(asks(2), peer), (asks(3), peer)]
    assert dropped == ["port_zero"]
    assert len(answers.seen) == 2


@pytest.mark.asyncio
async def test_a_reply_that_cannot_be_sent_is_lost_and_no_more() -> None:
    async with listening() as side:
        answer = side.datagrams._answer
        side.datagrams._answer = lambda packet, *rest: bytes(70000) if packet[12:] == b"huge" else answer(packet, *rest)
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
    Datagrams(answers, lambda reason: None)._drain(one)
    assert [data for data, _ in one.sent] == packets
