"""A connection: one request, little memory, and an end that leaves nothing in the kernel."""

import asyncio
import contextlib
import re
import socket
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.quiet_http import connection
from resolver.quiet_http.connection import MAX_HEAD, Connection, Keeper
from resolver.quiet_http.deadlines import Deadlines
from tests.unit.query.parts import until
from tests.unit.quiet_http.lab import HEAD, PLAIN, REPLY, asked, connected, ended, opened
from tests.unit.wire import TIME_WAIT, exchange, in_kernel

pytestmark = pytest.mark.loops


@pytest.mark.asyncio
async def test_a_head_is_handed_on_once_and_whole_and_nothing_after_it() -> None:
    async with opened() as lab:
        for request in (HEAD, HEAD + HEAD, HEAD + b"x" * 1000, HEAD.replace(b"\r\n", b"\n")):
            assert await exchange(lab.address, request) == REPLY
        reader, writer = await connected(lab)
        for octet in HEAD:
            writer.write(bytes([octet]))
            await writer.drain()
        assert await ended(reader) == REPLY
        writer.close()
    assert lab.heads == [HEAD, HEAD, HEAD, HEAD.replace(b"\r\n", b"\n"), HEAD]


@pytest.mark.asyncio
async def test_a_head_above_its_bound_gets_431_and_is_not_handed_on() -> None:
    most = HEAD[:-4] + b"x" * (MAX_HEAD - len(HEAD)) + HEAD[-4:]
    async with opened() as lab:
        assert await exchange(lab.address, most) == REPLY
        assert await exchange(lab.address, most + b"x" * 100) == REPLY, "what follows a head is no part of it"
        for request in (b"G" + most, most[:-4] + b"x" * 5, HEAD[:-2] + b"X: x\r\n" * 30_000, b"G" * 60_000):
            got = await exchange(lab.address, request)
            assert got.startswith(b"HTTP/1.1 431 ")
            assert b"\r\nContent-Length: 18\r\n" in got
            assert len(got.partition(b"\r\n\r\n")[2]) == 18
    assert lab.heads == [most, most]


@pytest.mark.asyncio
async def test_what_cannot_become_a_request_is_handed_on_at_once() -> None:
    async with opened() as lab:
        assert await exchange(lab.address, b"\x16\x03\x01\x02\x00") == REPLY
    assert lab.heads == [b"\x16\x03\x01\x02\x00"]


@pytest.mark.asyncio
async def test_of_what_follows_a_head_little_is_read() -> None:
    async with opened(replace(PLAIN, linger_s=0.05)) as lab:
        _, writer = await connected(lab)
        with contextlib.suppress(ConnectionError):
            writer.write(HEAD + bytes(2 * connection.MAX_DISCARDED))
            while True:  # It ends with a reset: what is not read stays in the kernel's buffers, which are bounded.
                writer.write(bytes(65536))
                await writer.drain()
        assert lab.heads == [HEAD]
        writer.close()


@pytest.mark.asyncio
async def test_a_client_that_ends_its_half_gets_its_response() -> None:
    async with opened() as lab:
        lab.holds = True
        one = asyncio.ensure_future(exchange(lab.address, HEAD, end=True))
        await lab.until_held(1)
        lab.release()
        assert await one == REPLY
        assert await exchange(lab.address, b"GET /", end=True) == b""


@pytest.mark.asyncio
@pytest.mark.parametrize("client_first", [True, False])
async def test_no_time_wait_is_left_where_the_client_closes_first(client_first: bool) -> None:
    bounds = replace(PLAIN, per_client=4, head_s=0.05, linger_s=0.05, client_first=client_first)
    async with opened(bounds) as lab:
        port = lab.address[1]
        reader, writer = await connected(lab)
        writer.write(HEAD)
        assert await reader.readexactly(len(REPLY)) == REPLY
        writer.close()  # as a browser does that has all of a response with Connection: close
        await writer.wait_closed()
        assert await asked(lab) == REPLY, "reads until it is reset"
        assert await exchange(lab.address, HEAD, end=True) == REPLY
        assert (await exchange(lab.address, HEAD[:-2] + b"x" * MAX_HEAD)).startswith(b"HTTP/1.1 431 ")
        assert await exchange(lab.address, b"") == b"", "never asks"
        lab.holds = True
        held = [asyncio.ensure_future(asked(lab)) for _ in range(4)]
        await lab.until_held(4)
        assert await asked(lab) == b"", "refused"
        lab.release()
        assert await asyncio.gather(*held) == [REPLY] * 4
        _, writer = await connected(lab)
        await lab.gate.close(1)
        writer.close()
        left = in_kernel(port, TIME_WAIT)
        assert (left == []) == client_first, "and a server that closes first leaves its clients' addresses"
        await until(lambda: not client_first or not in_kernel(port))


@pytest.mark.asyncio
async def test_a_client_that_reads_slowly_is_not_reset_before_it_received_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []

    def look(one: Connection) -> int:
        looks.append(unacknowledged(one))
        return looks[-1]

    unacknowledged = connection.unacknowledged
    monkeypatch.setattr(connection, "unacknowledged", look)
    async with opened(replace(PLAIN, linger_s=0.02, client_first=True)) as lab:
        lab.reply = bytes(1_000_000)
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            one.setblocking(False)
            await asyncio.get_running_loop().sock_connect(one, lab.address)
            reader, writer = await asyncio.open_connection(sock=one, limit=4096)
            writer.write(HEAD)
            await until(lambda: len(looks) >= 5)
            assert all(looks)
            assert len(await ended(reader)) == len(lab.reply)
            writer.close()
            with contextlib.suppress(ConnectionResetError):
                await writer.wait_closed()


@pytest.mark.asyncio
async def test_a_client_that_never_reads_is_reset_at_the_end_of_its_life() -> None:
    async with opened(replace(PLAIN, age_s=0.2, linger_s=0.05)) as lab:
        lab.reply = bytes(20_000_000)
        _, writer = await asyncio.open_connection(*lab.address, limit=1)
        writer.write(HEAD)
        await until(lambda: bool(lab.heads))
        await until(lambda: not in_kernel(lab.address[1]))
        assert len(lab.heads) == 1
        writer.close()


class Kept(Keeper):
    """Keeps one connection, and what it hands on."""

    def __init__(self) -> None:
        self.bounds = PLAIN
        self.loop = asyncio.get_running_loop()
        self.heads, self.ages, self.lingers = (Deadlines(30, lambda one: None) for _ in range(3))
        self.handed: list[bytes] = []
        self.hand_on = lambda head, response: self.handed.append(head)

    def asked(self, connection: Connection) -> None:
        connection.serve()

    def finished(self, connection: Connection) -> None:
        self.heads.stop(connection)

    watch = forget = lost = lambda self, *words: None  # type: ignore[assignment]  # nothing is watched here


def handed_on(parts: list[bytes]) -> list[bytes]:
    """What is handed on of octets that arrive in these parts, and 431 in its place."""
    head = b""
    for part in parts:
        head += part
        found = re.search(rb"\r?\n\r?\n", head)
        end = found.end() if found else len(head)
        if end > MAX_HEAD:
            return [b"431"]
        if found or not re.match(rb"[A-Za-z\r\n]", head):
            return [head[:end]]
    return []


async def received(parts: list[bytes]) -> list[bytes]:
    ours, theirs = socket.socketpair()
    kept = Kept()
    with theirs:
        one = Connection(kept, ours.detach(), bytes(16))
        for part in parts:
            theirs.sendall(part)
            one.receive()
        if one.is_awaited and not kept.handed and theirs.recv(100).startswith(b"HTTP/1.1 431 "):
            kept.handed.append(b"431")
        one.abort()
    return kept.handed


few = st.sampled_from([b"G", b"GET / HTTP/1.1", b"\r", b"\n", b"\r\n", b"a: b", b"\n\n", b"\0", b"x" * 4094])


@given(st.lists(st.lists(few | st.binary(min_size=1, max_size=2), min_size=1, max_size=3).map(b"".join), max_size=6))
def test_a_head_ends_at_the_same_octet_however_it_is_split(parts: list[bytes]) -> None:
    expected = handed_on(parts)
    assert asyncio.run(received(parts)) == expected
    if expected and expected != [b"431"]:
        whole = b"".join(parts)
        assert whole.startswith(expected[0])
