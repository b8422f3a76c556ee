"""Encrypted servers as the service asks them: by a courier that is played here over a pair of sockets."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.message
import pytest

from resolver.config.values import Encrypted
from resolver.core.exchange import Route
from resolver.query import courier_frames, forward_courier, forward_health
from resolver.query.courier_frames import Frames, Reason
from resolver.query.forward import Forward, Unanswered
from resolver.query.forward_courier import ENDED, Courier, said_of
from resolver.query.forward_health import GOOD
from resolver.query.forward_server import FAILURE_REASONS
from tests.unit.query.forwarding import TABLE, asking, nothing, parsed
from tests.unit.query.parts import query, until
from tests.unit.query.test_forward_relay import Threads

pytestmark = pytest.mark.loops

ONE = Encrypted("192.0.2.53", 853, "tls", "one.example", "")
TWO = Encrypted("192.0.2.54", 443, "https", "two.example", "/dns-query")


class Played:
    """The other end: what it was asked, and what it says."""

    def __init__(self, courier: Courier) -> None:
        self.courier = courier
        self.asked: list[tuple[int, int, bytes]] = []
        self.forgotten: list[int] = []
        self.kinds: list[int] = []
        self._frames = Frames()

    async def start(self) -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self.end = theirs
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self.courier, sock=ours)
        loop.add_reader(theirs.fileno(), self._read)

    def _read(self) -> None:
        for kind, body in self._frames.taken(self.end.recv(2**20)):
            self.kinds.append(kind)
            if kind == courier_frames.ASK:
                self.asked.append(courier_frames.asked_in(body))
            elif kind == courier_frames.FORGET:
                self.forgotten.append(courier_frames.number_in(body))

    def answer(self, place: int = -1, **change: Any) -> None:
        number, _, asked = self.asked[place]
        reply = TABLE(dns.message.from_wire(asked))
        for key, value in change.items():
            setattr(reply, key, value)
        self.say(courier_frames.answer(number, reply.to_wire()))

    def say(self, frame: bytes) -> None:
        self.end.send(frame)

    async def end_now(self) -> None:
        asyncio.get_running_loop().remove_reader(self.end.fileno())
        self.end.close()
        await self.courier.ended.wait()


@asynccontextmanager
async def played(*servers: Encrypted, **more: Any) -> AsyncIterator[tuple[Forward, Played]]:
    async with asking(*(servers or (ONE,)), **more) as forward:
        assert forward.courier is not None
        one = Played(forward.courier)
        await one.start()
        try:
            yield forward, one
        finally:
            asyncio.get_running_loop().remove_reader(one.end.fileno())
            await forward.close()
            one.end.close()


def exchange(forward: Forward, name: str = "open.test", client: bytes = bytes(16)) -> "asyncio.Future[bytes]":
    packet = query(name).to_wire()
    return asyncio.ensure_future(
        forward.exchange(packet, parsed(packet), (id(packet), os.getpid()), nothing, client=client)
    )


@pytest.mark.asyncio
async def test_a_query_goes_to_the_courier_and_its_answer_comes_back() -> None:
    async with played(ONE, TWO, listed=True) as (forward, one):
        waiting = exchange(forward)
        await until(lambda: one.asked)
        number, place, asked = one.asked[0]
        assert (place, one.kinds[0]) == (0, courier_frames.SERVERS)
        assert dns.message.from_wire(asked).options == ()
        one.answer()
        reply = dns.message.from_wire(await waiting)
        assert reply.answer[0][0].to_text() == "198.51.100.7"
        assert reply.id == int.from_bytes(asked[:2])
        assert forward.servers[0].outstanding == 0
        assert forward.servers[0].letters is not None
        assert forward.servers[0].letters.in_flight == 0
        assert number not in one.forgotten


@pytest.mark.asyncio
@pytest.mark.parametrize("change", [{"flags": 0x8380}, {"question": []}])
async def test_no_answer_leads_to_a_query_in_plaintext(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("in plaintext")

    async with played(timeout_s=0.3, case_randomization=True) as (forward, one):
        for name in ("datagrams", "streams"):
            for call in ("send", "ask"):
                monkeypatch.setattr(getattr(forward.servers[0], name), call, never, raising=False)
        waiting = exchange(forward)
        await until(lambda: one.asked)
        one.answer(**change)
        if "flags" in change:
            assert dns.message.from_wire(await waiting).flags & 0x0200, "TC is the client's business"
        else:
            with pytest.raises(Unanswered):
                await waiting
            assert forward.servers[0].failures["mismatch"] >= 1


@pytest.mark.asyncio
async def test_a_failure_has_a_reason_and_the_next_server_is_asked() -> None:
    async with played(ONE, TWO, listed=True) as (forward, one):
        waiting = exchange(forward)
        await until(lambda: one.asked)
        one.say(courier_frames.failed(one.asked[0][0], Reason.EXPIRED))
        await until(lambda: len(one.asked) == 2)
        assert one.asked[1][1] == 1
        one.answer()
        assert await waiting
        assert forward.servers[0].failures["certificate"] == 1
        assert forward.servers[0].trouble == (
            "certificate of one.example not valid: it has expired; have it renewed there"
        )
        assert forward.servers[1].trouble == ""


@pytest.mark.asyncio
async def test_a_query_without_an_answer_is_asked_again_under_its_number_and_then_forgotten() -> None:
    async with played(timeout_s=0.3) as (forward, one):
        with pytest.raises(Unanswered):
            await exchange(forward)
        assert len(one.asked) >= 2
        assert len({number for number, _, _ in one.asked}) == 1
        await until(lambda: one.forgotten)
        assert forward.servers[0].failures["timeout"] == 1
        letters = forward.servers[0].letters
        assert letters is not None
        assert letters.in_flight == 0
        one.answer()
        await until(lambda: True)


@pytest.mark.asyncio
async def test_what_one_courier_had_the_next_is_asked_once() -> None:
    async with played() as (forward, one):
        waiting = exchange(forward)
        await until(lambda: one.asked)
        await one.end_now()
        assert forward.servers[0].trouble == ENDED
        late = exchange(forward, "late.test")
        await asyncio.sleep(0)
        await one.start()
        await until(lambda: len({number for number, _, _ in one.asked}) == 2)
        assert forward.servers[0].trouble == ""
        one.answer(1)
        assert await waiting
        first = one.asked[2][0]
        assert not late.done()
        await one.end_now()
        await one.start()
        await until(lambda: one.asked[-1][0] != first or len(one.asked) > 4)
        one.answer()
        assert await late


@pytest.mark.asyncio
async def test_the_courier_keeps_no_query_whose_answer_has_crossed_its_second_sending() -> None:
    async with played(timeout_s=2.0) as (forward, one):
        waiting = exchange(forward)
        await until(lambda: len(one.asked) == 2)
        assert one.asked[0] == one.asked[1]
        one.answer()
        assert await waiting
        await until(lambda: one.forgotten)
        assert one.forgotten == [one.asked[0][0]]


@pytest.mark.asyncio
async def test_what_fails_with_a_courier_may_take_the_place_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_courier, "MOST", 1)
    first, second = bytes(15) + b"\1", bytes(10) + b"\xff\xff\xc0\0\2\1"
    async with played(ONE, TWO, listed=True, timeout_s=5.0) as (forward, one):
        waiting = [exchange(forward, "open.test", first)]
        await until(lambda: one.asked)
        waiting.append(exchange(forward, "late.test", second))
        await until(lambda: {place for _, place, _ in one.asked} == {0, 1})
        one.courier.connection_lost(None)
        one.courier.connection_lost(None)
        letters = forward.servers[1].letters
        assert letters is not None
        assert letters.in_flight == 1, "the second server has the query of the first, which took a place there"
        for asked in waiting:
            asked.cancel()


@pytest.mark.asyncio
async def test_places_are_shared_between_prefixes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_courier, "MOST", 4)
    many, other = bytes(15) + b"\1", bytes(10) + b"\xff\xff\xc0\0\2\1"
    async with played() as (forward, one):
        crowd = [exchange(forward, f"n{number}.test", many) for number in range(4)]
        await until(lambda: len(one.asked) == 4)
        waiting = exchange(forward, "open.test", other)
        await until(lambda: any(b"open" in asked for _, _, asked in one.asked))
        assert one.forgotten[0] == one.asked[0][0], "the oldest of the prefix that has most"
        number = next(place for place, (_, _, asked) in enumerate(one.asked) if b"open" in asked)
        one.answer(number)
        assert await waiting
        for one_of in crowd:
            one_of.cancel()


@pytest.mark.asyncio
async def test_who_loses_its_place_says_nothing_about_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_courier, "MOST", 4)
    many, other = bytes(15) + b"\1", bytes(10) + b"\xff\xff\xc0\0\2\1"
    async with played(timeout_s=5.0) as (forward, one):
        (server,), (health,) = forward.servers, forward.health
        health.settle(GOOD)
        crowd = [exchange(forward, f"n{number}.test", many) for number in range(4)]
        await until(lambda: len(one.asked) == 4)
        # More of the same prefix have no place, and others take places from it.
        crowd += [exchange(forward, f"m{number}.test", many) for number in range(40)]
        crowd += [exchange(forward, f"o{number}.test", other) for number in range(2)]
        await until(lambda: server.failures["busy"] >= 40)
        assert {reason for reason, count in server.failures.items() if count} == {"busy"}
        assert (health.watching, server.up, server.poor) == (False, 1, False), "not even looked at"
        for each in crowd:
            each.cancel()


@pytest.mark.asyncio
@pytest.mark.parametrize(("answers", "up", "poor"), [(True, 1, False), (False, 0, False)])
async def test_a_probe_without_a_place_shows_nothing_of_a_server_that_answers(
    answers: bool, up: int, poor: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward_health, "PAUSE_S", 0.01)
    async with played(timeout_s=0.5) as (forward, one):
        (server,), (health,) = forward.servers, forward.health
        health.settle(GOOD)
        health.look()
        while health.looking:
            for number, *_ in one.asked:
                one.say(courier_frames.failed(number, Reason.BUSY))
            one.asked.clear()
            if answers:
                server.noted("")
            await asyncio.sleep(0)
        assert (server.up, server.poor) == (up, poor)
        assert server.failures["busy"] >= 1


@pytest.mark.asyncio
async def test_what_a_server_does_against_its_protocol_is_counted_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with played(ONE, TWO) as (forward, one):
        for reason in (Reason.FLOOD, Reason.FLOOD, Reason.GARBLED):
            one.say(courier_frames.notice(1, reason, detail=3))  # those three are counted where they failed
            one.say(courier_frames.notice(1, reason))
        await until(lambda: forward.servers[1].failures["malformed"] == 1)
        assert (forward.servers[1].failures["tls"], sum(forward.servers[0].failures.values())) == (2, 0)
        assert caplog.messages == [
            "upstream https://two.example@192.0.2.54:443/dns-query: two.example sends messages of TLS or HTTP/2 "
            "without end and no answers; ask its operator why"
        ]
        one.say(courier_frames.notice(0, Reason.SLOW))
        await until(lambda: forward.servers[0].trouble == "no connection in time")
        assert sum(forward.servers[0].failures.values()) == 0, "nobody waited for it"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "said",
    [
        b"\xff" * 4,
        courier_frames.frame(0x7A),
        courier_frames.frame(0x41, b"short"),
        courier_frames.notice(1, Reason.FLOOD),
    ],
)
async def test_what_a_courier_cannot_mean_ends_it(said: bytes) -> None:
    async with played() as (_, one):
        ended: list[bool] = []
        one.courier.hangs = lambda: ended.append(True)
        one.say(said)
        await until(lambda: ended)
        assert ended == [True]


@pytest.mark.asyncio
async def test_answers_to_nobody_are_passed_over() -> None:
    async with played() as (forward, one):
        one.say(courier_frames.answer(99, bytes(12)) + courier_frames.failed(98, Reason.TLS))
        waiting = exchange(forward)
        await until(lambda: one.asked)
        one.answer()
        assert await waiting


@pytest.mark.asyncio
async def test_a_courier_that_says_nothing_is_noticed() -> None:
    async with played() as (_, one):
        assert one.courier.look(), "it has just begun"
        await until(lambda: courier_frames.ALIVE in one.kinds)
        assert not one.courier.look()
        one.say(courier_frames.frame(courier_frames.ALIVE))
        await until(lambda: one.courier.lives)
        assert one.courier.look()


@pytest.mark.asyncio
async def test_threads_never_ask_an_encrypted_server() -> None:
    plain = Encrypted.__mro__[1]("127.0.0.1", 9)
    for servers, listed, expected in (
        ((ONE,), False, []),
        ((plain, ONE), False, []),
        ((ONE, plain), True, []),
        ((plain, ONE), True, [0]),
    ):
        async with asking(*servers, listed=listed) as forward:
            threads = Threads()
            forward.serve(threads)
            assert forward.relayed is not None
            forward.relayed.start()
            for health in forward.health:
                health.settle(GOOD)
            route: Route = threads.routes[-1]
            assert list(route.servers[: route.count]) == expected, (servers, listed)


def test_each_reason_is_counted_and_said_without_what_a_server_sent() -> None:
    assert {forward_courier.COUNTED[one] for one in Reason} <= set(FAILURE_REASONS)
    said = [said_of(one, 404, ONE) for one in Reason if one is not Reason.BUSY]
    assert len(set(said)) == len(said)
    assert all(said)
    assert said_of(Reason.STATUS, 404, ONE).startswith("one.example answers HTTP 404; ")
