"""One TLS connection: what it takes of a client, and what ends it."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from resolver.edge import bounds
from resolver.query.transport import framed
from tests.fakes.new_keys import new_keys
from tests.unit.edge.sides import LOOPBACK, NAME, Handmade, client_context, clients, side
from tests.unit.query.parts import until
from tests.unit.query.senders import asks

pytestmark = pytest.mark.loops

HEADER = b"\r\n\r\n\0\r\nQUIT\n" + b"\x21\x11\0\x0c" + b"\xcb\0\x71\x09\x7f\0\0\1" + b"\x13\x88\x03\x55"
BEHIND = bytes(10) + b"\xff\xff\xcb\0\x71\x09"


@pytest.mark.asyncio
@pytest.mark.parametrize("octets", [b"GET / HTTP/1.1\r\n\r\n", bytes(100), framed(asks(1)), HEADER])
async def test_what_is_no_tls_is_refused_with_an_alert(tmp_path: Path, octets: bytes) -> None:
    async with side(tmp_path) as one:
        client = await one.plain()
        client.writer.write(octets)
        assert (await client.rest())[:1] in (b"", b"\x15")
        await until(lambda: one.refused() == {"handshake": 1})
        assert one.tallies.handshakes == 0


@pytest.mark.asyncio
async def test_an_endless_handshake_is_cut(tmp_path: Path) -> None:
    async with side(tmp_path) as one:
        client = await one.plain()
        # Handshake records of a message that announces 16 MiB; nobody's is so long.
        client.writer.write(b"\x16\x03\x01\x40\0\x01\xff\xff\xff" + bytes(2**14 - 4))
        for _ in range(8):
            client.writer.write(b"\x16\x03\x01\x40\0" + bytes(2**14))
        await client.rest()
        await until(lambda: one.refused() == {"handshake": 1})
        assert one.tallies.handshakes == 0


@pytest.mark.asyncio
async def test_who_sends_nothing_is_closed_and_counted(tmp_path: Path) -> None:
    async with side(tmp_path, idle_s=0.2) as one:
        assert await (await one.plain()).rest() == b""
        assert one.refused() == {"slow": 1}


@pytest.mark.asyncio
async def test_an_old_version_of_tls_is_refused(tmp_path: Path) -> None:
    context = client_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with side(tmp_path) as one:
        assert await one.refuses(context=context)
        await until(lambda: one.refused() == {"handshake": 1})


@pytest.mark.asyncio
@pytest.mark.parametrize("count", [bounds.MOST_BARE_RECORDS // 2, 20 * bounds.MOST_BARE_RECORDS])
async def test_a_client_that_has_ever_new_keys_made_is_cut(tmp_path: Path, count: int) -> None:
    async with side(tmp_path) as one:
        context = client_context()
        context.keylog_filename = str(tmp_path / "keys")
        client = Handmade(await one.plain(), context)
        await client.shake()
        assert client.tls.cipher()[0] == "TLS_AES_256_GCM_SHA384"
        records = new_keys(tmp_path / "keys", "CLIENT")
        client.below.writer.write(b"".join(next(records) for _ in range(count)))
        other = await one.connect()
        other.send(asks(1))
        assert await other.reply()
        if count > bounds.MOST_BARE_RECORDS:
            await client.below.rest()
            assert one.refused() == {"flood": 1}
        else:
            assert one.refused() == {}
            assert len(one.doors.connections) == 2


@pytest.mark.asyncio
async def test_small_records_with_data_are_no_flood(tmp_path: Path) -> None:
    async with side(tmp_path) as one:
        client = await one.by_hand()
        for octet in framed(asks(1)) * 10:
            client.tls.write(bytes([octet]))
        client.push()
        client.end()
        assert len(await client.rest()) == 10 * len(framed(asks(1)))
        assert one.refused() == {}


@pytest.mark.asyncio
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_is_resumed(tmp_path: Path, version: ssl.TLSVersion) -> None:
    async with side(tmp_path) as one:
        context = client_context()
        context.minimum_version = context.maximum_version = version

        def ask(session: ssl.SSLSession | None) -> tuple[bytes, ssl.SSLSession | None, bool | None]:
            with (
                socket.create_connection(one.address, timeout=60) as below,
                context.wrap_socket(below, server_hostname=NAME, session=session) as secure,
            ):
                secure.sendall(framed(asks(1)))
                found = secure.recv(100)
                return found, secure.session, secure.session_reused

        loop = asyncio.get_running_loop()
        _, session, first = await loop.run_in_executor(None, ask, None)
        found, _, again = await loop.run_in_executor(None, ask, session)
        assert (first, again) == (False, True)
        assert found[2:4] == asks(1)[:2]
        await loop.shutdown_default_executor()


@pytest.mark.asyncio
async def test_a_client_that_sends_no_more_gets_its_answers(tmp_path: Path) -> None:
    async with side(tmp_path) as one:
        one.service.answers = lambda query: None
        client = await one.by_hand()
        client.send(asks(1))
        client.end()
        await until(lambda: len(one.service.queries) == 1)
        for _ in range(20):
            await asyncio.sleep(0)
        one.service.give(one.service.queries[0])
        assert (await client.rest())[2:4] == asks(1)[:2]


@pytest.mark.asyncio
async def test_a_client_that_does_not_read_is_not_read_and_then_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "UNSENT_OCTETS", 2**16)
    async with side(tmp_path) as one:
        one.service.answers = lambda query: bytes(60000)
        client = await one.by_hand()  # it reads as much as its buffer holds, and no more
        client.send(*map(asks, range(bounds.MOST_IN_FLIGHT)))
        await until(lambda: one.refused() == {"slow": 1}, 60)
        assert not one.doors.connections
        client.below.writer.transport.abort()


@pytest.mark.asyncio
async def test_behind_a_balancer_the_header_names_the_client(tmp_path: Path) -> None:
    async with side(tmp_path, clients(proxies=LOOPBACK)) as one:
        client = await one.plain()
        client.writer.write(HEADER[:20])
        await asyncio.sleep(0)  # in two pieces
        client.writer.write(HEADER[20:])
        await client.writer.start_tls(client_context(), server_hostname=NAME)
        client.send(asks(1))
        await client.reply()
        assert one.service.queries[0].client == BEHIND


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("allow", "reason"), [(LOOPBACK, "not_allowed"), (bytes(16) + b"\xff" * 16, "connection_limit")]
)
async def test_behind_a_balancer_the_client_s_rights_count(tmp_path: Path, allow: bytes, reason: str) -> None:
    async with side(tmp_path, clients(proxies=LOOPBACK, allow=allow, per_client=0)) as one:
        client = await one.plain()
        client.writer.write(HEADER)
        assert await client.rest() == b""
        assert one.refused() == {reason: 1}


@pytest.mark.asyncio
async def test_without_its_header_a_balancer_is_refused(tmp_path: Path) -> None:
    async with side(tmp_path, clients(proxies=LOOPBACK)) as one:
        assert await one.refuses()
        assert one.refused() == {"proxy": 1}


@pytest.mark.asyncio
async def test_garbage_within_tls_ends_the_connection(tmp_path: Path) -> None:
    async with side(tmp_path) as one:
        client = await one.by_hand()
        client.below.writer.write(b"\x17\x03\x03\0\x30" + bytes(48))
        assert await client.rest() == b""
        assert one.refused() == {"protocol": 1}
