"""A connection and its queries, whatever protocol they are in: what ends it, and what does not."""

import asyncio

import pytest

from resolver.edge import quic, quic_conversation
from resolver.edge.quic import DOQ
from tests.fuzz.quic import KEPT, play
from tests.unit.edge.quic_lab import QUERY, client, frame, serving, until

FRAMED = len(QUERY).to_bytes(2, "big") + QUERY


@pytest.mark.asyncio
async def test_a_connection_has_so_many_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quic_conversation, "QUERIES", 3)
    async with serving(DOQ) as lab, client(lab, "doq") as one:
        for number in (0, 4, 8):
            one.send(number, FRAMED)
            assert len(await one.whole(number)) == len(FRAMED)
        assert await one.code() == quic.NO_ERROR


@pytest.mark.asyncio
async def test_many_datagrams_without_queries_end_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quic_conversation, "DATAGRAMS", 50)
    async with serving(DOQ) as lab, client(lab, "doq") as one:
        while not one.closed.done():
            one.send_frames(frame(0x01))
            await asyncio.sleep(0)  # a datagram for each
        assert await one.code() == quic.EXCESSIVE_LOAD
        assert lab.tallies.reasons == ["flood"]


@pytest.mark.asyncio
async def test_an_answer_that_comes_too_late_harms_nothing() -> None:
    async with serving(DOQ) as lab:
        lab.service.reply = lambda query: None
        async with client(lab, "doq") as one:
            one.send(0, FRAMED)
            await until(lambda: bool(lab.service.waiting))
            await lab.server.close(0.05)
            assert await one.code() == quic.NO_ERROR
        lab.service.waiting[0](QUERY, 0)
        assert not lab.server.conversations


@pytest.mark.asyncio
async def test_what_aioquic_does_not_expect_ends_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(DOQ) as lab, client(lab, "doq") as other:
        async with client(lab, "doq") as one:
            broken = next(each for each in lab.server.conversations if each.peer[1] == one.port)
            await until(lambda: broken.engine.is_established)
            monkeypatch.setattr(broken.engine, "receive_datagram", lambda *_: 1 // 0)
            one.send(0, FRAMED)
            await until(lambda: broken not in lab.server.conversations)
        assert lab.tallies.reasons == ["protocol"]
        other.send(0, FRAMED)
        assert len(await other.whole(0)) == len(FRAMED)


@pytest.mark.asyncio
async def test_a_client_that_leaves_has_its_place_free() -> None:
    async with serving(DOQ) as lab:
        lab.service.reply = lambda query: None
        async with client(lab, "doq") as one:
            one.send(0, FRAMED)
            await until(lambda: bool(lab.service.waiting))
        await until(lambda: not lab.server.conversations)
        assert lab.tallies.connections == 0
        assert not lab.server.places.holders
        lab.service.waiting[0](QUERY, 0)
        assert lab.tallies.reasons == []


@pytest.mark.asyncio
async def test_rounds_by_chance_leave_a_server_that_answers() -> None:
    assert await play(list(KEPT)) == len(KEPT)
