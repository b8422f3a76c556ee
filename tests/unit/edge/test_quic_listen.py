"""What a QuicServer does with datagrams: whom it answers, with how much, and how connections begin and end."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import pytest
from aioquic.quic.packet import QuicErrorCode

from resolver.config.values import address_octets
from resolver.edge import quic, quic_listen
from resolver.edge.quic import DOQ
from tests.unit.edge.quic_lab import (
    AUTHORITY,
    LOOPBACK,
    NAME,
    QUERY,
    Client,
    Peer,
    client,
    identity,
    serving,
    settings,
    until,
)

FRAMED = len(QUERY).to_bytes(2, "big") + QUERY
NOBODY = b""
OTHERS = address_octets("192.0.2.0") + address_octets("192.0.2.255")
V4 = ("127.0.0.1", 0)


@contextmanager
def raw(port: int) -> Iterator[socket.socket]:
    """Open a UDP socket that is connected to a port of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(V4)
        one.connect(("127.0.0.1", port))
        one.setblocking(False)
        yield one


async def received(one: socket.socket, *, patience_s: float = 0.3) -> bytes:
    """Return the next datagram; b"" if there is none within `patience_s` (how long silence is waited for)."""
    try:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(one, 65535), patience_s)
    except TimeoutError:
        return b""


def first_flight() -> tuple[Peer, list[bytes]]:
    """Return a client that has begun, and its datagrams."""
    peer = Peer(configuration=settings("doq"))
    peer.connect(V4, now=0)
    return peer, [octets for octets, _ in peer.datagrams_to_send(now=0)]


@pytest.mark.asyncio
async def test_an_address_that_is_not_proved_gets_a_retry_that_is_smaller_than_what_it_sent() -> None:
    async with serving(DOQ) as lab:
        _, datagrams = first_flight()
        sent = got = 0
        with raw(lab.port) as one:
            for _ in range(20):
                for octets in datagrams:
                    one.send(octets)
                    sent += len(octets)
                got += len(await received(one, patience_s=5))
            assert await received(one) == b"", "nothing is sent again"
        assert 0 < got < sent / 5
        assert not lab.server.conversations, "a Retry leaves no state"
        assert lab.tallies.handshakes == 0


@pytest.mark.asyncio
async def test_before_the_handshake_no_more_than_three_times_the_octets_are_sent() -> None:
    """Also to an address that has proved itself by a token, but never speaks again."""
    async with serving(DOQ, handshake_s=0.5) as lab:
        peer, datagrams = first_flight()
        with raw(lab.port) as one:
            one.send(datagrams[0])
            peer.receive_datagram(await received(one, patience_s=5), V4, now=0.1)
            again = [octets for octets, _ in peer.datagrams_to_send(now=0.1)]
            for octets in again:
                one.send(octets)
            got = 0
            while octets := await received(one, patience_s=1.5):
                got += len(octets)
        assert 0 < got <= 3 * sum(map(len, again))
        assert not lab.server.conversations, "the handshake took too long"
        assert lab.tallies.reasons == ["handshake"]


@pytest.mark.asyncio
@pytest.mark.parametrize(("bound", "host"), [("0.0.0.0", "127.0.0.2"), ("::1", "::1"), ("::", "::1")])
async def test_answers_come_from_the_address_that_was_asked(bound: str, host: str) -> None:
    async with serving(DOQ, host=bound) as lab, client(lab, "doq", host=host) as one:
        one.send(0, FRAMED)
        assert len(await one.whole(0)) == len(FRAMED)
        assert lab.service.asked[0][1] == address_octets(host)


@pytest.mark.asyncio
async def test_who_is_no_client_gets_nothing() -> None:
    async with serving(DOQ, allow=OTHERS) as lab:
        with raw(lab.port) as one:
            one.send(first_flight()[1][0])
            assert await received(one) == b""
        assert lab.tallies.reasons == ["not_allowed"]


@pytest.mark.asyncio
async def test_a_prefix_at_its_limit_gets_no_retry() -> None:
    async with serving(DOQ, exempt=NOBODY, per_client=2) as lab, client(lab, "doq"), client(lab, "doq"):
        with raw(lab.port) as one:
            one.send(first_flight()[1][0])
            assert await received(one) == b""
        assert lab.tallies.reasons == ["connection_limit"]
        assert len(lab.server.conversations) == 2


@pytest.mark.asyncio
async def test_a_full_server_gives_a_new_connection_the_place_of_an_idle_one() -> None:
    async with serving(DOQ, connections=2) as lab, AsyncExitStack() as stack:
        clients = []
        for _ in range(3):
            one = await stack.enter_async_context(client(lab, "doq"))
            one.send(0, FRAMED)
            await one.whole(0)
            clients.append(one)
        assert await clients[0].code() == quic.EXCESSIVE_LOAD
        assert not clients[1].closed.done()
        assert len(lab.server.conversations) == 2


@pytest.mark.asyncio
async def test_a_prefix_has_so_many_handshakes_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quic_listen, "HANDSHAKES_A_SECOND", 2)
    async with serving(DOQ, exempt=NOBODY) as lab, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(lab, "doq", wait=False)) for _ in range(8)]
        await until(lambda: bool(lab.tallies.reasons))
        assert lab.tallies.reasons[0] == "flood"
        await until(lambda: sum(one.handshake is not None for one in clients) >= 2)


@pytest.mark.asyncio
async def test_another_version_is_answered_with_ours_if_the_datagram_is_large_enough() -> None:
    async with serving(DOQ) as lab:
        with raw(lab.port) as one:
            head = b"\xc0" + b"\x1a\x2a\x3a\x4a" + b"\x08destined\x08sourced!"
            one.send(head + bytes(1200 - len(head)))
            offered = await received(one, patience_s=5)
            assert offered[1:5] == bytes(4)
            assert offered.endswith(b"\x08sourced!\x08destined\x00\x00\x00\x01")
            one.send(head + bytes(1199 - len(head)))
            assert await received(one) == b""
            one.send(b"\xc0" + bytes(4) + b"\x08destined\x08sourced!" + bytes(1200))
            assert await received(one) == b"", "to a version negotiation nothing is answered"


@pytest.mark.asyncio
async def test_a_datagram_of_no_connection_gets_a_shorter_reset_or_nothing() -> None:
    async with serving(DOQ) as lab:
        with raw(lab.port) as one:
            for octets, answered in ((1200, 43), (44, 43), (43, 42), (22, 21), (21, 0), (9, 0), (3, 0)):
                one.send(b"\x40unknown!"[:octets] + os.urandom(max(0, octets - 9)))
                reset = await received(one, patience_s=5 if answered else 0.2)
                assert len(reset) == answered, f"to {octets} octets"
            one.send(b"\x40unknown!" + bytes(40))
            again = await received(one, patience_s=5)
            assert again[0] & 0xC0 == 0x40
            place = LOOPBACK + one.getsockname()[1].to_bytes(2, "big")
            assert again[-16:] == lab.server.tokens.reset(place, b"unknown!")


@pytest.mark.asyncio
async def test_the_token_that_a_client_knows_is_the_one_that_resets_it() -> None:
    async with serving(DOQ) as lab, client(lab, "doq") as one:
        place, host_id = LOOPBACK + one.port.to_bytes(2, "big"), next(iter(lab.server.conversations)).engine.host_cid
        assert lab.server.tokens.reset(place, host_id) in one.peer.parameters
        await until(lambda: one.peer.spare_ids)
        assert one.peer.spare_ids == {each: lab.server.tokens.reset(place, each) for each in one.peer.spare_ids}
        elsewhere = LOOPBACK + (one.port ^ 1).to_bytes(2, "big")
        assert lab.server.tokens.reset(elsewhere, host_id) not in one.peer.parameters


@pytest.mark.asyncio
async def test_a_datagram_of_a_connection_from_another_address_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(DOQ) as lab, client(lab, "doq") as one:
        one.send(0, FRAMED)
        await one.whole(0)
        one.peer.send_stream_data(4, FRAMED, True)
        stolen = [octets for octets, _ in one.peer.datagrams_to_send(asyncio.get_running_loop().time())]
        monkeypatch.setattr(one, "transmit", lambda: None)  # it sends nothing again by itself
        with raw(lab.port) as other:
            for octets in stolen:
                other.send(octets)
            assert await received(other) == b""
        assert len(lab.service.asked) == 1
        monkeypatch.undo()
        one.send(8, FRAMED)
        assert len(await one.whole(8)) == len(FRAMED), "the connection goes on where it began"


class Restless(Client):
    """Uses each connection id of the server as soon as it has it, as curl does."""

    def datagram_received(self, data: bytes | str, addr: object) -> None:
        """Take a datagram, and send with another connection id."""
        self.datagrams.append(bytes(data))
        self.peer.receive_datagram(bytes(data), addr, now=asyncio.get_running_loop().time())
        if self.peer.spare_ids:
            self.peer.change_connection_id()
        self._process_events()
        self.transmit()


@pytest.mark.asyncio
async def test_a_connection_id_is_known_as_soon_as_a_client_has_it() -> None:
    async with serving(DOQ) as lab, client(lab, "doq", make=Restless) as one:
        for number in (0, 4, 8):
            one.send(number, FRAMED)
            assert len(await one.whole(number)) == len(FRAMED)
        place, ids = LOOPBACK + one.port.to_bytes(2, "big"), next(iter(lab.server.conversations)).ids
        resets = {lab.server.tokens.reset(place, each) for each in ids}
        assert resets.isdisjoint(octets[-16:] for octets in one.datagrams)


@pytest.mark.asyncio
async def test_a_token_serves_its_own_address_alone() -> None:
    async with serving(DOQ) as lab:
        peer, datagrams = first_flight()
        with raw(lab.port) as one, raw(lab.port) as other:
            one.send(datagrams[0])
            peer.receive_datagram(await received(one, patience_s=5), V4, now=0.1)
            for octets, _ in peer.datagrams_to_send(now=0.1):
                other.send(octets)
            assert await received(other) == b""
        assert not lab.server.conversations
        assert lab.tallies.reasons == ["handshake"]


@pytest.mark.asyncio
async def test_a_new_certificate_serves_new_connections_and_the_others_go_on() -> None:
    async with serving(DOQ) as lab, client(lab, "doq") as before:
        lab.server.use(identity("renewed.isp.example"))
        async with client(lab, "doq", name="renewed.isp.example") as after:
            for one in (before, after):
                one.send(0, FRAMED)
                assert len(await one.whole(0)) == len(FRAMED)


@pytest.mark.asyncio
async def test_a_new_certificate_between_a_retry_and_its_use_loses_no_connection() -> None:
    async with serving(DOQ) as lab:
        peer, datagrams = first_flight()
        with raw(lab.port) as one:
            one.send(datagrams[0])
            peer.receive_datagram(await received(one, patience_s=5), V4, now=0.1)
            renewed = identity()
            lab.server.use(renewed)
            lab.server.use(renewed)
            for octets, _ in peer.datagrams_to_send(now=0.1):
                one.send(octets)
            assert len(await received(one, patience_s=5)) >= 1200, "the handshake goes on"
        assert lab.tallies.reasons == []


@pytest.mark.asyncio
async def test_another_protocol_is_not_spoken() -> None:
    async with serving(DOQ) as lab:
        async with client(lab, "h3", wait=False) as one:
            assert await one.code() == QuicErrorCode.CRYPTO_ERROR + 120
        assert lab.tallies.reasons == ["handshake"]
        assert not lab.server.conversations


@pytest.mark.asyncio
async def test_a_quiet_connection_is_closed_without_an_error() -> None:
    async with serving(DOQ, quiet_s=0.4) as lab:
        async with client(lab, "doq") as one:
            one.send(0, FRAMED)
            await one.whole(0)
            assert await one.code() in (quic.NO_ERROR, QuicErrorCode.INTERNAL_ERROR)  # the latter: a timeout, here
        await until(lambda: not lab.server.conversations)
        assert lab.tallies.reasons == []


@pytest.mark.asyncio
async def test_pings_do_not_keep_a_connection_that_asks_nothing() -> None:
    async with serving(DOQ, quiet_s=1.0) as lab, client(lab, "doq") as one:
        one.send(0, FRAMED)
        await one.whole(0)
        for number in range(200):
            if one.closed.done():
                break
            one.peer.send_ping(number)
            one.transmit()
            await asyncio.sleep(0.05)  # the pings' pace
        assert await one.code() == quic.NO_ERROR


@pytest.mark.asyncio
async def test_an_old_connection_is_closed_once_it_is_answered() -> None:
    async with serving(DOQ, life_s=0.2) as lab, client(lab, "doq") as one:
        lab.service.reply = lambda query: None
        one.send(0, FRAMED)
        await until(lambda: bool(lab.service.waiting) and next(iter(lab.server.conversations)).is_finishing)
        lab.service.waiting[0](QUERY, 0)
        assert await one.whole(0) == FRAMED
        assert await one.code() == quic.NO_ERROR


@pytest.mark.asyncio
async def test_at_a_stop_queries_in_flight_are_answered_and_no_connection_begins() -> None:
    async with serving(DOQ) as lab, client(lab, "doq") as one:
        lab.service.reply = lambda query: None
        one.send(0, FRAMED)
        await until(lambda: bool(lab.service.waiting))
        stopping = asyncio.create_task(lab.server.close(20))
        await asyncio.sleep(0)  # let it begin
        with raw(lab.port) as other:
            other.send(first_flight()[1][0])
            assert await received(other) == b""
        lab.service.waiting[0](QUERY, 0)
        assert await one.whole(0) == FRAMED
        assert await one.code() == quic.NO_ERROR
        await asyncio.wait_for(stopping, 20)
        assert lab.tallies.connections == 0


@pytest.mark.asyncio
async def test_nothing_of_a_client_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(DOQ) as lab, client(lab, "doq") as one:
        one.send(0, FRAMED + b"x")
        await one.code()
    assert "127.0.0.1" not in caplog.text
    assert not [record for record in caplog.records if record.name in ("quic", "http3")]


def test_an_identity_is_of_pem_octets() -> None:
    with pytest.raises(ValueError, match="PEM"):
        quic_listen.Identity.of(b"no certificate", b"no key")
    one, other = AUTHORITY.issue_cert("a.example"), AUTHORITY.issue_cert("b.example")
    with pytest.raises(ValueError, match="not the certificate's"):
        quic_listen.Identity.of(one.cert_chain_pems[0].bytes(), other.private_key_pem.bytes())
    assert identity(NAME).tokens.reset(b"", b"x") != identity(NAME).tokens.reset(b"", b"x"), "another key"


@pytest.mark.asyncio
async def test_of_all_connections_those_that_hold_most_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quic_listen, "BUFFERED_OCTETS", 60_000)
    async with serving(DOQ) as lab, client(lab, "doq") as small, client(lab, "doq") as large:
        small.send(0, b"\xff" + bytes(1000), is_end=False)
        for number in (0, 4):
            large.send(number, b"\xff" + bytes(40_000), is_end=False)
        assert await large.code() == quic.EXCESSIVE_LOAD
        assert lab.tallies.reasons == ["connection_limit"]
        small.send(4, FRAMED)
        assert len(await small.whole(4)) == len(FRAMED)
