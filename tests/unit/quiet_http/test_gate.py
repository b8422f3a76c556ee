"""The gate of the quiet server: bounds, places, paces and rests, and nothing left in the kernel."""

import asyncio
import contextlib
import errno
import socket
import time
from dataclasses import replace
from typing import Any, cast

import pytest

from resolver.quiet_http import calls
from tests.fakes.stopwatch import Stopwatch
from tests.unit.query.parts import until
from tests.unit.quiet_http.lab import HEAD, PLAIN, REPLY, asked, connected, ended, opened
from tests.unit.wire import in_kernel

pytestmark = pytest.mark.loops

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


class Counting:
    """A loop that counts the turns that it is asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.turns = 0

    def __getattr__(self, name: str) -> Any:
        if name in ("call_soon", "call_later"):
            self.turns += 1
        return getattr(self._loop, name)


@pytest.mark.asyncio
async def test_a_rest_costs_nothing() -> None:
    async with opened() as lab:
        counting = Counting(lab.gate.loop)
        lab.gate.loop = cast("asyncio.AbstractEventLoop", counting)
        for _ in range(20):
            assert await asked(lab) == REPLY
    assert 20 <= counting.turns <= 3 * 20, "one to accept, one to serve, and hardly any in vain"


@pytest.mark.asyncio
async def test_no_descriptor_left_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[int] = []

    def accept(fd: int) -> tuple[int, bytes] | None:
        if not failed:
            failed.append(fd)
            raise OSError(errno.EMFILE, "no files")
        return real(fd)

    real = calls.accept
    monkeypatch.setattr(calls, "accept", accept)
    async with opened() as lab:
        assert await asked(lab) == REPLY
    assert len(failed) == 1


@pytest.mark.asyncio
async def test_a_client_at_another_address_with_our_port_is_not_taken_for_a_visitor() -> None:
    async with opened() as lab, opened() as other:
        with socket.create_connection(other.address, source_address=("127.13.9.77", lab.address[1])):
            assert in_kernel(lab.address[1]) == []
            assert len(in_kernel(lab.address[1], host="127.13.9.77")) == 1


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
