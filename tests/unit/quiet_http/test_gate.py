"""The gate of the quiet server: bounds, places, paces and rests, and nothing left in the kernel."""

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from resolver.quiet_http import gate
from resolver.quiet_http.gate import MAX_HEAD, Bounds, Gate, listening
from tests.fakes.stopwatch import Stopwatch
from tests.unit.query.parts import until
from tests.unit.wire import TIME_WAIT, exchange, in_kernel

pytestmark = pytest.mark.loops

PLAIN = Bounds(connections=50, per_client=50, head_s=30, age_s=30, burst=1000)
HEAD = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
REPLY = b"the response"


class Answering(asyncio.Protocol):
    """Answers one request as its `Lab` is told to."""

    def __init__(self, lab: "Lab") -> None:
        self.lab = lab

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.lab.heads.append(data)
        self.lab.work()
        self.lab.held.append(self)
        if not self.lab.holds:
            self.lab.release()

    def respond(self) -> None:
        self.transport.write(self.lab.reply)
        self.transport.close()


class Lab:
    """A gate, and what was handed on: each whole head, and the requests that wait while `holds`."""

    def __init__(self, bounds: Bounds, exempt: Callable[[bytes], bool]) -> None:
        self.heads: list[bytes] = []
        self.held: list[Answering] = []
        self.holds = False
        self.reply = REPLY
        self.work: Callable[[], None] = lambda: None
        self.gate = Gate(lambda: Answering(self), bounds, exempt)

    def release(self) -> None:
        while self.held:
            self.held.pop().respond()

    async def until_held(self, count: int) -> None:
        await until(lambda: len(self.held) >= count)

    @property
    def address(self) -> tuple[str, int]:
        return self.gate.addresses[0]


@asynccontextmanager
async def opened(bounds: Bounds = PLAIN, exempt: Callable[[bytes], bool] = lambda client: False) -> AsyncIterator[Lab]:
    lab = Lab(bounds, exempt)
    lab.gate.listen(listening(("127.0.0.1", 0)))
    yield lab
    await lab.gate.close(1)


async def connected(lab: Lab, client: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*lab.address, local_addr=(client, 0))


async def asked(lab: Lab, client: str = "127.0.0.1") -> bytes:
    """What a request from this address gets until the other side ends."""
    return await exchange(lab.address, HEAD, source=client)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the other side ends or resets."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65536):
            received += chunk
    return received


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
            writer.write(HEAD + bytes(2 * gate.MAX_DISCARDED))
            while True:  # It ends with a reset: what is not read stays in the kernel's buffers, which are bounded.
                writer.write(bytes(65536))
                await writer.drain()
        assert lab.heads == [HEAD]
        writer.close()


@pytest.mark.asyncio
async def test_a_prefix_has_its_places_and_others_have_theirs() -> None:
    async with opened(replace(PLAIN, per_client=2)) as lab:
        lab.holds = True
        held = [asyncio.ensure_future(asked(lab)) for _ in range(2)]
        await lab.until_held(2)
        for _ in range(3):
            assert await asked(lab) == b""
        assert lab.gate.turned_away == 3
        other = asyncio.ensure_future(asked(lab, "127.0.0.2"))
        await lab.until_held(3)
        lab.holds = False
        lab.release()
        assert await asyncio.gather(*held, other) == [REPLY] * 3
        assert await asked(lab) == REPLY


@pytest.mark.asyncio
@pytest.mark.parametrize("client_first", [True, False])
async def test_connections_opened_in_advance_do_not_shut_their_own_prefix_out(client_first: bool) -> None:
    async with opened(replace(PLAIN, per_client=2, client_first=client_first)) as lab:
        idle = [await connected(lab) for _ in range(2)]
        served = await connected(lab)
        assert await ended(idle[0][0]) == b"", "the older one gave way"
        served[1].write(HEAD)
        assert await served[0].readexactly(len(REPLY)) == REPLY
        at_once = [socket.create_connection(lab.address) for _ in range(6)]  # accepted in one turn
        for _ in range(5):
            assert await asked(lab) == REPLY
        assert lab.gate.turned_away == 0
        for one in at_once:
            one.close()
        for _, writer in (*idle, served):
            writer.close()


@pytest.mark.asyncio
async def test_an_exempt_client_has_no_bounds_of_a_prefix() -> None:
    loopback = bytes(10) + b"\xff\xff" + bytes([127, 0, 0, 1])
    bounds = replace(PLAIN, per_client=1, burst=1, per_second=1)
    async with opened(bounds, lambda client: client == loopback) as lab:
        held = [await connected(lab) for _ in range(5)]
        watch = Stopwatch()
        for _ in range(3):
            assert await asked(lab) == REPLY
        assert watch.seconds < 2, "the pace of a prefix would take two seconds"
        for _, writer in held:
            writer.close()


@pytest.mark.asyncio
async def test_connections_that_ask_nothing_give_way() -> None:
    async with opened(replace(PLAIN, connections=4)) as lab:
        lab.holds = True
        mute = [await connected(lab, f"127.0.0.{number}") for number in range(2, 6)]
        asking = [asyncio.ensure_future(asked(lab)) for _ in range(3)]
        await lab.until_held(3)
        for reader, _ in mute[:3]:
            assert await ended(reader) == b""
        lab.release()
        assert await asyncio.gather(*asking) == [REPLY] * 3
        for _, writer in mute:
            writer.close()


@pytest.mark.asyncio
async def test_if_every_place_has_a_request_in_work_a_newcomer_waits() -> None:
    async with opened(replace(PLAIN, connections=2)) as lab:
        lab.holds = True
        working = [asyncio.ensure_future(asked(lab, f"127.0.0.{number}")) for number in (2, 3)]
        await lab.until_held(2)
        waiting = asyncio.ensure_future(asked(lab, "127.0.0.4"))
        await until(lambda: len(in_kernel(lab.address[1])) == 3)
        assert len(lab.heads) == 2
        lab.holds = False
        lab.release()
        assert await asyncio.gather(*working, waiting) == [REPLY, REPLY, REPLY]
        assert lab.gate.turned_away == 0


@pytest.mark.asyncio
async def test_octets_do_not_prolong_the_time_for_a_head() -> None:
    async with opened(replace(PLAIN, head_s=0.2)) as lab:
        reader, writer = await connected(lab)
        ending = asyncio.ensure_future(ended(reader))
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        while not ending.done():
            with contextlib.suppress(ConnectionError):
                writer.write(b"x")
            await asyncio.sleep(0.01)
        assert await ending == b""
        writer.close()


@pytest.mark.asyncio
async def test_requests_of_a_prefix_beyond_its_burst_wait_and_others_do_not() -> None:
    at: list[float] = []
    async with opened(replace(PLAIN, burst=2, per_second=5)) as lab:
        lab.work = lambda: at.append(time.monotonic())
        began = time.monotonic()
        assert await asyncio.gather(*(asked(lab) for _ in range(5))) == [REPLY] * 5
        assert at[-1] - began >= 0.59, "three requests beyond the burst, one in 0.2 s"
        paces = len(at)
        slow = asyncio.ensure_future(asked(lab))
        assert await asked(lab, "127.0.0.2") == REPLY
        assert len(at) == paces + 1, "the other prefix did not wait"
        await slow


@pytest.mark.asyncio
async def test_after_work_there_is_a_rest() -> None:
    spans: list[tuple[float, float]] = []

    def work() -> None:
        began, worked = time.monotonic(), time.thread_time()
        while time.thread_time() - worked < 0.01:
            pass
        spans.append((began, time.monotonic()))

    async with opened() as lab:
        lab.work = work
        assert await asked(lab) == REPLY
        assert await asked(lab) == REPLY
    assert spans[1][0] - spans[0][1] >= 0.09


@pytest.mark.asyncio
async def test_a_rest_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[int] = []

    def take(one: Gate) -> None:
        turns.append(1)
        real(one)

    real = Gate.take_turn
    monkeypatch.setattr(Gate, "take_turn", take)
    async with opened() as lab:
        for _ in range(20):
            assert await asked(lab) == REPLY
    assert len(turns) <= 3 * 20, "one to accept, one to serve, and hardly any in vain"


@pytest.mark.asyncio
async def test_no_descriptor_left_is_no_end() -> None:
    class Exhausted:
        """A listening socket of which the first accept fails."""

        def __init__(self) -> None:
            self.real = listening(("127.0.0.1", 0))
            self.failed = 0
            self.fileno, self.getsockname, self.close = self.real.fileno, self.real.getsockname, self.real.close

        def accept(self) -> Any:
            if not self.failed:
                self.failed = 1
                raise OSError(errno.EMFILE, "no files")
            return self.real.accept()

    lab, exhausted = Lab(PLAIN, lambda client: False), Exhausted()
    lab.gate.listen(exhausted)  # type: ignore[arg-type]  # all that the gate uses of a socket
    assert await asked(lab) == REPLY
    assert exhausted.failed
    await lab.gate.close(1)


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
async def test_a_client_at_another_address_with_our_port_is_not_taken_for_a_visitor() -> None:
    async with opened() as lab, opened() as other:
        with socket.create_connection(other.address, source_address=("127.13.9.77", lab.address[1])):
            assert in_kernel(lab.address[1]) == []
            assert len(in_kernel(lab.address[1], host="127.13.9.77")) == 1


@pytest.mark.asyncio
async def test_a_client_that_reads_slowly_is_not_reset_before_it_received_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []

    def look(transport: asyncio.Transport) -> int:
        looks.append(unacknowledged(transport))
        return looks[-1]

    unacknowledged = gate.unacknowledged
    monkeypatch.setattr(gate, "unacknowledged", look)
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


@pytest.mark.asyncio
async def test_a_stop_gives_the_responses_that_are_due() -> None:
    async with opened() as lab:
        lab.holds = True
        one = asyncio.ensure_future(asked(lab))
        await lab.until_held(1)
        reader, writer = await connected(lab)
        stopping = asyncio.ensure_future(lab.gate.close(10))
        assert await ended(reader) == b"", "it has asked nothing"
        lab.release()
        assert await one == REPLY
        await stopping
        writer.close()
