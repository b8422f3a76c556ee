"""The bounds of one QUIC connection, against a client that sends whatever frames it likes."""

import tracemalloc

import pytest
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import SessionTicket

from resolver.edge.quic import DOQ
from resolver.edge.quic_engine import CRYPTO_OCTETS, STREAM_OCTETS, WINDOW_OCTETS
from tests.unit.edge.quic_lab import QUERY, Client, Lab, client, frame, serving, until

STREAM_WITH_OFFSET = 0x0E
FRAMED = len(QUERY).to_bytes(2, "big") + QUERY


def octet_at(stream: int, offset: int) -> bytes:
    """Return a STREAM frame with one octet."""
    return frame(STREAM_WITH_OFFSET, stream, offset, 1, rest=b"x")


async def still_answers(lab: Lab) -> None:
    """Assert that another client gets its answer."""
    async with client(lab, "doq") as other:
        other.send(0, FRAMED)
        assert len(await other.whole(0)) == len(FRAMED)


@pytest.mark.asyncio
async def test_a_stream_has_room_for_the_largest_message_and_no_more() -> None:
    async with serving(DOQ) as lab:
        async with client(lab, "doq") as one:
            one.send_frames(octet_at(0, STREAM_OCTETS - 1))
            await until(lambda: held(lab) >= STREAM_OCTETS)
            one.send_frames(octet_at(0, STREAM_OCTETS))
            assert await one.code() == QuicErrorCode.FLOW_CONTROL_ERROR
        assert lab.tallies.reasons == ["protocol"]
        await still_answers(lab)


@pytest.mark.asyncio
async def test_all_streams_together_have_a_window() -> None:
    async with serving(DOQ) as lab:
        async with client(lab, "doq") as one:
            one.send_frames(octet_at(0, STREAM_OCTETS - 1), octet_at(4, WINDOW_OCTETS - STREAM_OCTETS - 1))
            await until(lambda: held(lab) >= WINDOW_OCTETS)
            one.send_frames(octet_at(8, 0))
            assert await one.code() == QuicErrorCode.FLOW_CONTROL_ERROR
        assert lab.tallies.reasons == ["protocol"]


@pytest.mark.asyncio
async def test_naming_offsets_gets_a_client_no_memory() -> None:
    """aioquic doubles its limits for a client that sends one octet at ever larger offsets."""
    async with serving(DOQ) as lab:
        tracemalloc.start()
        try:
            async with client(lab, "doq") as one:
                for power in range(10, 40):
                    one.send_frames(octet_at(0, min(2**power, one.peer.octets_granted - 1)))
                    await until(lambda: one.closed.done() or held(lab) > 0)
                assert await one.code() == QuicErrorCode.FLOW_CONTROL_ERROR
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 2**23, f"{peak} octets"


@pytest.mark.asyncio
async def test_what_a_stream_took_is_given_back_when_it_ends() -> None:
    async with serving(DOQ) as lab:
        lab.service.reply = lambda query: query[:12]
        query = QUERY + bytes(20_000)
        async with client(lab, "doq") as one:
            for number in range(0, 40, 4):
                one.send(number, len(query).to_bytes(2, "big") + query)
                assert len(await one.whole(number)) == 14
            assert one.peer.octets_granted >= 200_000
            assert held(lab) <= 200
        assert [len(asked[0]) for asked in lab.service.asked] == [len(query)] * 10


@pytest.mark.asyncio
async def test_what_a_reset_stream_took_is_given_back() -> None:
    async with serving(DOQ) as lab, client(lab, "doq") as one:
        for number in range(0, 40, 4):
            one.send(number, b"x", is_end=False)
            one.send_frames(octet_at(number, 30_000), frame(0x04, number, 0, 30_001))
            assert await one.whole(number) == b""
        assert one.peer.octets_granted >= 300_000
        assert held(lab) == 0


@pytest.mark.asyncio
async def test_handshake_messages_have_a_bound() -> None:
    async with serving(DOQ) as lab:
        async with client(lab, "doq") as one:
            one.send_frames(frame(0x06, CRYPTO_OCTETS, 1, rest=b"x"))
            assert await one.code() == QuicErrorCode.CRYPTO_BUFFER_EXCEEDED
        await still_answers(lab)


@pytest.mark.asyncio
async def test_streams_are_granted_as_they_end_and_none_of_one_way() -> None:
    async with serving(DOQ) as lab, client(lab, "doq") as one:
        assert one.peer.streams_granted == (64, 0)
        for number in range(0, 4 * 80, 4):
            one.send(number, FRAMED)
            await one.whole(number)
        assert one.peer.streams_granted[0] > 64
        one.send_frames(frame(0x0A, 2, 1, rest=b"x"))
        assert await one.code() == QuicErrorCode.STREAM_LIMIT_ERROR


class Early(Client):
    """Believes that its ticket lets it send early data, and does."""

    def connect(self, addr: object, transmit: bool = True) -> None:
        """Connect, and send a query with the first datagram."""
        self.peer.believe_in_early_data()
        super().connect(addr, transmit=False)
        self.send(0, FRAMED)


@pytest.mark.asyncio
async def test_tickets_resume_a_session_once_and_offer_no_early_data() -> None:
    tickets: list[SessionTicket] = []
    async with serving(DOQ) as lab:
        async with client(lab, "doq", store=tickets.append) as one:
            await until(lambda: bool(tickets))
            assert one.handshake is not None
            assert not one.handshake.session_resumed
        assert tickets[0].max_early_data_size is None
        async with client(lab, "doq", session_ticket=tickets[0]) as one:
            assert one.handshake is not None
            assert one.handshake.session_resumed
        async with client(lab, "doq", session_ticket=tickets[0]) as one:
            assert one.handshake is not None
            assert not one.handshake.session_resumed


@pytest.mark.asyncio
async def test_early_data_is_not_read() -> None:
    tickets: list[SessionTicket] = []
    async with serving(DOQ) as lab:
        async with client(lab, "doq", store=tickets.append):
            await until(lambda: bool(tickets))
        async with client(lab, "doq", session_ticket=tickets[0], make=Early) as one:
            assert one.handshake is not None
            assert one.handshake.session_resumed
            assert not one.handshake.early_data_accepted


@pytest.mark.asyncio
async def test_a_client_is_told_not_to_move() -> None:
    async with serving(DOQ) as lab, client(lab, "doq") as one:
        assert b"\x0c\x00" in one.peer.parameters


def held(lab: Lab) -> int:
    """Return the octets that the one connection of a lab holds."""
    return sum(one.engine.held() for one in lab.server.conversations)
