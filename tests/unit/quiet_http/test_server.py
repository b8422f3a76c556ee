"""A server of octets: whole responses, errors without words, sockets that are opened or were given."""

import logging
import socket
from dataclasses import replace

import pytest

from resolver.quiet_http.bounds import PAGE_BOUNDS
from resolver.quiet_http.connection import Response
from resolver.quiet_http.server import opened, serve_octets
from tests.unit.wire import AMBIGUOUS, SECOND, exchange

pytestmark = pytest.mark.loops

BOUNDS = replace(PAGE_BOUNDS, linger_s=0.02)
REQUEST = b"GET /canary HTTP/1.1\r\nHost: canary.test\r\n\r\n"
ANY = [("127.0.0.1", 0)]


def answer(head: bytes, response: Response) -> bytes:
    return b"HTTP/1.1 200 OK\r\n\r\n" + socket.inet_ntop(socket.AF_INET6, response.reached or b"").encode()


@pytest.mark.asyncio
async def test_every_address_is_served_by_octets_and_a_stop_closes_all() -> None:
    server = serve_octets(answer, opened([("127.0.0.1", 0), ("127.0.0.2", 0)]), BOUNDS)
    for address in server.addresses:
        assert (await exchange(address, REQUEST)).endswith(b":" + address[0].encode())
    (more,) = opened(ANY)
    server.add(more)
    assert (await exchange(more.getsockname(), REQUEST)).startswith(b"HTTP/1.1 200 ")
    assert len(server.sockets) == 3
    assert server.turned_away == 0
    addresses = server.addresses
    await server.stop()
    await server.stop()
    for address in addresses:
        with pytest.raises(ConnectionRefusedError):
            await exchange(address, REQUEST)


@pytest.mark.asyncio
async def test_an_error_of_our_own_is_told_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    def broken(head: bytes, response: Response) -> bytes:
        raise ValueError(head)

    server = serve_octets(broken, opened(ANY), BOUNDS)
    got = await exchange(server.addresses[0], REQUEST)
    await server.stop()
    assert got.startswith(b"HTTP/1.1 500 ")
    assert got.endswith(b"\r\n\r\ninternal error\n")
    assert "ValueError" in caplog.text
    assert "test_server.py" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.asyncio
@pytest.mark.parametrize("request_bytes", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_one_connection_never_gets_two_responses(request_bytes: bytes) -> None:
    server = serve_octets(answer, opened(ANY), BOUNDS)
    got = await exchange(server.addresses[0], request_bytes + SECOND)
    await server.stop()
    assert got.count(b"HTTP/1.1 200 OK") == 1


def test_an_address_that_is_taken_is_missed_or_an_error_that_leaves_nothing_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (taken,) = opened(ANY)
    places = [("127.0.0.1", 0), taken.getsockname()]
    missed: dict[int, OSError] = {}
    (free,) = opened(places, missed)
    free.close()
    assert list(missed) == [1]
    with pytest.raises(OSError, match="in use"):
        opened(places)
    (again,) = opened([taken.getsockname()], given=[taken])
    assert again is taken
    taken.close()
    with caplog.at_level(logging.DEBUG):
        assert caplog.text == ""
