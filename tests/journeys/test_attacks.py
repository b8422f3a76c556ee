"""What a hostile client, upstream, mirror or neighbour tries, one story a test."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable
from copy import deepcopy
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import pytest

from resolver.config.values import Endpoint
from resolver.core import codes, flush, store
from resolver.core.lane import Seat
from resolver.core.name import Name, unfold
from resolver.core.question import Question, parse
from resolver.query import answer, forward, forward_waiters
from resolver.query.accept_limits import Bounds
from resolver.query.accept_stream import QUERIES_A_TURN, Streams
from resolver.query.cache import STEPS_A_TURN
from resolver.query.transport import Transport
from tests.fakes import upstream
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer
from tests.journeys.processes import honest, query_for
from tests.journeys.running import HOST
from tests.parity import twin, wires
from tests.unit.query.parts import EXEMPT, PAGE_V4, SOA, House, addresses, octets_of, query, says, tables, until
from tests.unit.query.senders import together

QUERY = bytes(12)
FRAMED = len(QUERY).to_bytes(2, "big") + QUERY
MANY = 5000
BOUNDS = Bounds(10, 10, lambda client: False)


@pytest.mark.asyncio
async def test_a_flood_over_one_connection_leaves_the_loop_to_others() -> None:
    """Octets for thousands of queries come at once; between them the loop looks at its other sockets."""
    answered = 0
    most_in_a_turn = 0

    def answer(packet: bytes, client: bytes, transport: Transport) -> bytes:
        nonlocal answered
        answered += 1
        return packet

    streams = Streams(together(answer), lambda reason: None, BOUNDS)
    await streams.open([Endpoint(HOST, 0)])
    reader, writer = await asyncio.open_connection(*streams.addresses[0])
    writer.write(MANY * FRAMED)
    while answered < MANY:
        before = answered
        await asyncio.sleep(0)
        most_in_a_turn = max(most_in_a_turn, answered - before)
    assert await reader.readexactly(MANY * len(FRAMED)) == MANY * FRAMED
    assert 0 < most_in_a_turn <= 2 * QUERIES_A_TURN
    writer.close()
    streams.close()
    await streams.drained()


class Unread:
    """A transport whose client does not read, so that it is closing for a long time."""

    def __init__(self) -> None:
        self.closing = False

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def __getattr__(self, name: str) -> Any:
        return lambda *given, **named: None


@pytest.mark.asyncio
async def test_a_connection_closed_for_its_framing_asks_nothing_twice() -> None:
    """The queries before the broken one stay answered, and counted, once."""
    waiting: list[asyncio.Future[bytes | None]] = []

    def answer(packet: bytes, client: bytes, transport: Transport) -> Awaitable[bytes | None]:
        waiting.append(asyncio.get_running_loop().create_future())
        return waiting[-1]

    streams = Streams(together(answer), lambda reason: None, BOUNDS)
    connection: Any = streams.accepted(bytes(16))
    connection.connection_made(Unread())
    connection.data_received(FRAMED + b"\0\5")
    assert len(waiting) == 1
    waiting[0].set_result(QUERY)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(waiting) == 1
    connection.connection_lost(None)


@pytest.mark.asyncio
async def test_a_crowd_with_one_question_does_not_wait_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """They share one exchange, and still each of them costs memory while the upstream is silent."""
    monkeypatch.setattr(forward_waiters, "MAX_WAITING", 6)
    query, question = query_for("slow.test"), Question()
    parse(query, len(query), question)
    async with upstream.serve(honest) as silent:
        silent.hold()
        asking = forward.Forward([Endpoint(HOST, silent.port)], timeout_s=5, bounds_s=())
        outcomes: list[object] = []
        crowd = [asking.exchange(query, question, (1, 2), outcomes.append) for _ in range(3)]
        with pytest.raises(forward.Overloaded):
            asking.exchange(query, question, (1, 2), outcomes.append)
        silent.release()
        assert len({reply[2:] for reply in await asyncio.gather(*crowd)}) == 1
        assert len(outcomes) == 1
        assert await asking.exchange(query, question, (1, 2), outcomes.append)
        await asking.close()


@pytest.mark.asyncio
async def test_what_waited_for_a_silent_upstream_is_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client has thousands of queries wait at once; what each of them took is given back afterwards."""
    monkeypatch.setattr(answer, "SPARE_SEATS", 8)
    made: list[weakref.ref[Seat]] = []

    class Noted(Seat):  # type: ignore[misc]  # a class of compiled code
        def __init__(self, out: memoryview) -> None:
            super().__init__(out)
            made.append(weakref.ref(self))

    monkeypatch.setattr(answer, "Seat", Noted)
    house = House(says(["open.test. 300 A 198.51.100.7"]), tables(1))
    house.upstream.hold()
    crowd = [asyncio.ensure_future(house.ask(query("open.test"))) for _ in range(100)]
    await until(lambda: house.answer.in_flight == 100)
    house.upstream.release()
    await asyncio.gather(*crowd)
    crowd.clear()
    gc.collect()
    assert len(made) == 100
    assert sum(one() is not None for one in made) <= 8


@pytest.mark.asyncio
async def test_a_flush_does_not_tell_that_an_exempt_client_asked_for_a_listed_name() -> None:
    """Upstream says that the name does not exist, so that no record of the reply is listed; only its question is."""
    spared = tables(1, (("listed.test",),), exempt={0: "192.0.2.99/32"})
    house = House(says((), [f"test. 300 SOA {SOA}"], rcode=codes.NXDOMAIN), spared)
    for _ in range(2):
        reply = await house.ask(query("www.listed.test"), EXEMPT)
        assert reply.rcode() == codes.NXDOMAIN
    assert len(house.upstream.asked) == 1

    async def pause() -> None:
        raise AssertionError("one record takes one turn")

    assert addresses(await house.ask(query("www.listed.test"))) == [PAGE_V4]
    assert await house.cache.flush(octets_of("listed.test"), subtree=True, pause=pause) == 0
    await house.ask(query("www.listed.test"), EXEMPT)
    assert len(house.upstream.asked) == 2, "it was forgotten all the same"


def test_large_answers_do_not_make_a_flush_keep_everybody_waiting() -> None:
    """A zone's owner has the memory filled with answers of thousands of records; a turn looks at few of those."""
    body = bytes(4) + (1).to_bytes(2, "big") + (5000).to_bytes(2, "big") + bytes(4) + b"\4huge\4test\0\0\x10\0\1"
    body += 5000 * b"\xc0\x0c\0\x10\0\1\0\0\1\0\0\0"
    memory, wanted = store.Store(bytearray(2**25), bytes(16)), Name()
    unfold(b"\5other\4test\0", 0, 12, wanted)
    kept = wires.to_keep(twin.compiled, body, ttl_s=300, generation=1, rcode=0, kind=store.POSITIVE)
    for number in range(1, 31):
        store.keep(memory, number, number << 58, 0, kept)
    search, turns = flush.Search(wanted, False), 1
    while flush.forget(memory, search, STEPS_A_TURN):
        turns += 1
    assert 5 <= turns <= 30


@pytest.mark.asyncio
async def test_keys_that_were_replaced_do_not_come_back_with_the_metadata_lost(tmp_path: Path) -> None:
    """A mirror serves the first root again, and a thief signs a higher serial with the keys it names."""
    authority = Authority(tmp_path / "authority")
    authority.publish(names(20), 7)
    resolver = Enforcer(authority, tmp_path / "state")
    await resolver.list.poll()
    thief = deepcopy(authority)
    authority.rotate("targets", "snapshot", "timestamp")
    await resolver.list.poll()
    rmtree(authority.folder / "metadata")
    (authority.folder / "metadata").mkdir()
    thief.serve_root()
    thief.publish(names(20, "thief"), 9)
    rmtree(resolver.list.store.metadata)
    await resolver.list.poll()
    assert resolver.failures == {"rolled_back": 1}
    assert resolver.enforced == 7


@pytest.mark.asyncio
async def test_another_pinned_root_begins_its_versions_anew(tmp_path: Path) -> None:
    """An authority that lost all its keys starts again, and the operator pins its new root."""
    lost = Authority(tmp_path / "lost")
    lost.publish(names(20), 7)
    lost.rotate("targets", "snapshot", "timestamp")
    resolver = Enforcer(lost, tmp_path / "state")
    await resolver.list.poll()
    begun = Authority(tmp_path / "begun")
    begun.publish(names(20, "other"), 1)
    for path in ("metadata", "targets"):
        rmtree(lost.folder / path)
        copytree(begun.folder / path, lost.folder / path)
    lost.pinned.write_bytes(begun.pinned.read_bytes())
    rmtree(resolver.list.store.metadata)
    await resolver.list.poll()
    assert resolver.failures == {}
    assert resolver.enforced == 1


@pytest.mark.parametrize("name", ["state.json", "floor.json"])
@pytest.mark.asyncio
async def test_a_state_file_that_is_no_text_any_more_keeps_nobody_from_starting(tmp_path: Path, name: str) -> None:
    """One bit of a disk has turned; the other of the two files still says what is in force."""
    authority = Authority(tmp_path / "authority")
    authority.publish(names(20), 7)
    resolver = Enforcer(authority, tmp_path / "state")
    await resolver.list.poll()
    path = resolver.list.store.folder / name
    path.write_bytes(path.read_bytes().replace(b'"digest": "', b'"digest": "\xff', 1))
    resolver.restarted()
    assert resolver.failures == {"state_unreadable": 1}
    assert resolver.enforced == 7
