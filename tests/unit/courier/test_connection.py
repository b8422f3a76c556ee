"""A connection's bounds: how long it may take to open, how long it idles, how much may come and go unread, and what."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from resolver.config.values import Encrypted
from resolver.courier import connection
from resolver.query.courier_frames import Reason, Settings
from tests.fakes.new_keys import new_keys
from tests.fakes.sealed import NAME, Way, serving
from tests.fakes.upstream import HOST
from tests.unit.courier.sealing import TABLE, Authority, answered, asking, at, both, failed, flight_of, query
from tests.unit.query.parts import until


@pytest.mark.asyncio
async def test_one_that_does_not_open_in_time_is_given_up(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HANDSHAKE_S", 0.05)
    async with await asyncio.get_running_loop().create_server(asyncio.Protocol, HOST, 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        async with asking(Settings(Encrypted(HOST, port, "tls", NAME, ""))) as (one, service):
            one.ask(1, query())
            assert await failed(service, 1) == (Reason.SLOW, 0)
            assert one.connections == []


@pytest.mark.asyncio
async def test_one_that_speaks_no_tls_is_given_up(authority: Authority) -> None:
    class Mail(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.write(b"220 mail.example ESMTP\r\n" * 10)  # type: ignore[attr-defined]  # it is a Transport

    async with await asyncio.get_running_loop().create_server(Mail, HOST, 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        async with asking(Settings(Encrypted(HOST, port, "tls", NAME, ""))) as (one, service):
            one.ask(1, query())
            assert await failed(service, 1) == (Reason.TLS, 0)


@pytest.mark.asyncio
async def test_one_that_idles_is_closed(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_S", 0.05)
    async with both(authority) as (server, one, service):
        one.ask(1, query())
        await answered(service, 1)
        await until(lambda: not one.connections)
        await until(lambda: not server.open)
        assert service.failures == {}


@pytest.mark.asyncio
async def test_one_is_replaced_after_many_queries(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "QUERIES", 3)
    async with both(authority) as (server, one, service):
        for number in range(7):
            one.ask(number, query())
            await answered(service, number)
        assert server.connections == 3
        await until(lambda: len(server.open) == 1)


@pytest.mark.asyncio
async def test_one_that_sends_much_and_answers_nothing_is_ended(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "EMPTY_OCTETS", 10_000)
    async with both(authority) as (server, one, service):
        one.ask(0, query())
        await answered(service, 0)
        server.way = Way.SILENT
        one.ask(1, query())
        await until(lambda: len(server.seen) == 2)
        (line,), (transport,) = one.connections, server.open
        transport.write((60_000).to_bytes(2) + bytes(20_000))  # type: ignore[attr-defined]  # it is a Transport
        await until(lambda: line not in one.connections)
        assert len(server.seen) <= 3


@pytest.mark.asyncio
async def test_too_many_queries_that_nobody_waits_for_end_it(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LEFT", 2)
    async with both(authority) as (server, one, service):
        one.ask(0, query())
        await answered(service, 0)
        server.way = Way.SILENT
        for number in range(1, 5):
            one.ask(number, query(f"n{number}.test"))
        (line,) = one.connections
        await until(lambda: len(server.seen) == 5)
        for number in (1, 2):
            line.forget(flight_of(line, number))
        assert (line.takes, line.load, len(line.left)) == (True, 2, 2), "they have an id, and no place"
        line.forget(flight_of(line, 3))
        assert line not in one.connections
        await until(lambda: len(server.seen) == 6)
        assert server.seen[-1].count(b"\x02n4\x04test\0") == 1, "what is still waited for goes over another one"


def below(transport: asyncio.Transport) -> socket.socket:
    """The socket of a server's TLS connection: what is sent there is not encrypted again."""
    return socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))


@pytest.mark.asyncio
@pytest.mark.parametrize("waits", [False, True], ids=["idle", "asked"])
async def test_a_server_that_has_ever_new_keys_made_is_cut_and_told_of(
    authority: Authority, tmp_path: Path, waits: bool
) -> None:
    async with (
        serving(TABLE, authority.certificate(), keys=tmp_path / "keys") as server,
        asking(Settings(at(server), ca=str(authority.file))) as (one, service),
    ):
        one.ask(1, query())
        await answered(service, 1)
        if waits:
            server.way = Way.SILENT
            one.ask(2, query())
            await until(lambda: len(server.seen) == 2)
        (line,), (transport,) = one.connections, server.open
        # The two tickets and the answer are records that it has sent already.
        records = new_keys(tmp_path / "keys", "SERVER", 3)
        with below(transport) as raw:
            raw.setblocking(True)
            raw.sendall(b"".join(next(records) for _ in range(connection.BARE_RECORDS // 2)))
            one.ask(3, query("late.test"))
            await until(lambda: len(server.seen) == 2 + waits)
            assert (line in one.connections, service.notices) == (True, [])
            raw.sendall(b"".join(next(records) for _ in range(20 * connection.BARE_RECORDS)))
        await until(lambda: line not in one.connections)
        assert service.notices == [(Reason.FLOOD, 1 + waits)], "so many queries have failed by it"
        if waits:
            assert service.failures[2] == (Reason.FLOOD, 0), "none is opened at once"


@pytest.mark.asyncio
async def test_tickets_and_small_records_with_data_are_no_flood(authority: Authority) -> None:
    async with both(authority) as (server, one, service):
        one.ask(1, query())
        await answered(service, 1)
        server.octets_a_write = 1
        for number in range(2, 10):
            one.ask(number, query())
            await answered(service, number)
        assert (server.connections, service.notices) == (1, [])


@pytest.mark.asyncio
async def test_one_that_opens_for_nobody_is_told_of(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HANDSHAKE_S", 0.05)
    async with await asyncio.get_running_loop().create_server(asyncio.Protocol, HOST, 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        async with asking(Settings(Encrypted(HOST, port, "tls", NAME, ""))) as (one, service):
            one.ask(1, query())
            one.forget(1)
            await until(lambda: service.notices)
            assert (service.notices, service.failures) == ([(Reason.SLOW, 0)], {})


@pytest.mark.asyncio
@pytest.mark.parametrize("https", [False, True], ids=["tls", "https"])
async def test_a_server_is_reached_over_ipv6(authority: Authority, https: bool) -> None:
    async with (
        serving(TABLE, authority.certificate(), https=https, host="::1") as server,
        asking(Settings(at(server, https=https), ca=str(authority.file))) as (one, service),
    ):
        one.ask(1, query())
        await answered(service, 1)
        assert service.failures == {}
