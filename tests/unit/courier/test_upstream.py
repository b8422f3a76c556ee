"""One encrypted server: how its connections are chosen, shared, replaced and verified, by fakes with TLS."""

import asyncio

import dns.message
import pytest

from resolver.config.values import Encrypted
from resolver.courier import connection, upstream
from resolver.courier.https import UNSAID
from resolver.courier.upstream import CONNECTIONS, CROWDED, REPEATED
from resolver.query import forward_courier
from resolver.query.courier_frames import Reason, Settings
from tests.fakes.sealed import NAME, Way
from tests.fakes.upstream import HOST
from tests.unit.courier.sealing import Authority, answered, asking, both, failed, query
from tests.unit.query.forwarding import closed_port
from tests.unit.query.parts import until


@pytest.mark.asyncio
@pytest.mark.parametrize("https", [False, True], ids=["tls", "https"])
async def test_queries_share_a_connection_and_get_their_own_ids_back(authority: Authority, https: bool) -> None:
    async with both(authority, https=https) as (server, one, service):
        queries = [query(name) for name in ("open.test", "a.test", "b.test")]
        for number, asked in enumerate(queries):
            one.ask(number, asked)
        await answered(service, 0, 1, 2)
        for number, asked in enumerate(queries):
            reply = dns.message.from_wire(service.answers[number])
            assert reply.id == int.from_bytes(asked[:2])
            assert reply.question == dns.message.from_wire(asked).question
        assert dns.message.from_wire(service.answers[0]).answer[0][0].to_text() == "198.51.100.7"
        assert server.connections == 1
        assert {len(seen) for seen in server.seen} == {128}, "each fills its block"
        assert len({seen[:2] for seen in server.seen}) == (1 if https else 3)
        ids = {asked[:2] for asked in queries}
        assert {seen[:2] for seen in server.seen} == {b"\0\0"} if https else {seen[:2] for seen in server.seen} != ids
        sent = dns.message.from_wire(server.seen[0])
        assert [option.otype for option in sent.options] == [12], "padding and no other option"


@pytest.mark.asyncio
async def test_answers_come_in_any_order(authority: Authority) -> None:
    async with both(authority) as (server, one, service):
        server.way = Way.BACKWARDS
        one.ask(1, query("a.test"))
        one.ask(2, query("b.test"))
        await answered(service, 1, 2)
        assert [dns.message.from_wire(service.answers[n]).question[0].name.to_text() for n in (1, 2)] == [
            "a.test.",
            "b.test.",
        ]


@pytest.mark.asyncio
async def test_further_connections_are_opened_when_each_is_crowded_and_bounded(authority: Authority) -> None:
    async with both(authority) as (server, one, service):
        one.ask(0, query())
        await answered(service, 0)
        server.way = Way.SILENT
        many = connection.PIPELINED * CONNECTIONS + 1
        for number in range(1, many + 1):
            one.ask(number, query(f"n{number}.test"))
        assert len(one.connections) == CONNECTIONS
        assert service.failures == {many: (Reason.BUSY, 0)}
        await until(lambda: len(server.seen) == many)
        assert server.resumed >= 1, "a session is resumed"


@pytest.mark.asyncio
async def test_a_connection_that_does_not_open_delays_nobody_while_another_is_open(authority: Authority) -> None:
    async with both(authority) as (server, one, service):
        one.ask(0, query())
        await answered(service, 0)
        server.way = Way.SILENT
        for number in range(1, CROWDED + 2):
            one.ask(number, query(f"n{number}.test"))
        assert [line.ready for line in one.connections] == [True, False]
        server.way = Way.HONEST
        one.ask(100, query())
        assert one.connections[1].load == 0, "it goes to the one that is open"
        await answered(service, 100)
        assert service.failures == {}


@pytest.mark.asyncio
async def test_who_asks_again_is_served_by_another_connection(authority: Authority) -> None:
    async with both(authority) as (server, one, service):
        server.way = Way.SILENT
        one.ask(1, query())
        one.ask(1, query())
        await until(lambda: len(server.seen) == 1)
        assert len(one.connections) == 1, "the first is still being opened: once is enough"
        server.way = Way.HONEST
        one.ask(1, query())
        await answered(service, 1)
        assert server.connections == 2
        assert [one.connections[0].slow, one.connections[1].slow] == [True, False]
        one.ask(2, query())
        await answered(service, 2)
        assert one.connections[1].answers == 2, "not on the slow one"
        assert service.failures == {}


@pytest.mark.asyncio
@pytest.mark.parametrize("https", [False, True], ids=["tls", "https"])
async def test_names_that_are_never_answered_leave_places_to_others(
    authority: Authority, https: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine may take long for what is asked at once here.
    monkeypatch.setattr(connection, "HANDSHAKE_S", 60.0)
    asked, never = forward_courier.MOST, query("never.test")
    assert asked + CONNECTIONS * REPEATED <= CONNECTIONS * UNSAID, "what the service asks has a place, once or twice"
    async with both(authority, https=https) as (server, one, service):
        one.ask(0, query())
        await answered(service, 0)
        server.way = Way.SILENT
        for turn in range(2):
            numbers = range(turn * asked + 1, (turn + 1) * asked + 1)
            for number in (*numbers, *numbers, *numbers):
                one.ask(number, never)
            await until(lambda: all(line.ready for line in one.connections), 60)
            assert service.failures == {}
            assert sum(line.load for line in one.connections) <= asked + CONNECTIONS * REPEATED
            server.way = Way.HONEST
            one.ask(100_000 + turn, query())
            await answered(service, 100_000 + turn)
            server.way = Way.SILENT
            for number in numbers:
                one.forget(number)
            # A connection that has never answered ends with the first of these, and what was on it may fail.
            service.failures.clear()
        assert len(one.connections) <= CONNECTIONS


@pytest.mark.asyncio
async def test_a_connection_without_a_sign_of_life_ends_with_a_query_that_nobody_waits_for(
    authority: Authority,
) -> None:
    async with both(authority) as (server, one, service):
        server.way = Way.SILENT
        one.ask(1, query())
        await until(lambda: len(server.seen) == 1)
        one.forget(1)
        assert one.connections == []
        server.way = Way.HONEST
        one.ask(2, query())
        await answered(service, 2)
        server.way = Way.SILENT
        one.ask(3, query("a.test"))
        await until(lambda: len(server.seen) == 3)
        server.way = Way.HONEST
        one.ask(4, query())
        await answered(service, 4)
        one.forget(3)
        assert len(one.connections) == 1, "it has answered meanwhile: that name alone hangs"
        assert service.failures == {}


@pytest.mark.asyncio
@pytest.mark.parametrize("https", [False, True], ids=["tls", "https"])
async def test_what_was_on_a_connection_that_ends_is_asked_once_more(authority: Authority, https: bool) -> None:
    async with both(authority, https=https) as (server, one, service):
        one.ask(1, query())
        await answered(service, 1)
        server.way = Way.SILENT
        one.ask(2, query())
        await until(lambda: len(server.seen) == 2)
        server.way = Way.HONEST
        server.drop_now()
        await answered(service, 2)
        server.way = Way.RESETS
        one.ask(3, query())
        assert await failed(service, 3) == (Reason.CLOSED, 0)
        assert len(server.seen) == 5, "once more, and not for ever"


@pytest.mark.asyncio
async def test_nothing_is_opened_for_a_while_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    port = closed_port().port
    monkeypatch.setattr(upstream, "PAUSE_S", 0.8)
    async with asking(Settings(Encrypted(HOST, port, "tls", NAME, ""))) as (one, service):
        one.ask(1, query())
        assert await failed(service, 1) == (Reason.REFUSED, 0)
        one.ask(2, query())
        assert service.failures[2] == (Reason.REFUSED, 0), "at once, and for the same reason"
        assert one.connections == []
        # Longer than the pause, which is what is tested.
        await asyncio.sleep(0.9)
        one.ask(3, query())
        assert len(one.connections) == 1
