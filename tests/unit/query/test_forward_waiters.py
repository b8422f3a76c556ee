"""Who may wait for an exchange, and who gives way where no place is left."""

from itertools import count

import pytest

from resolver.query import forward_waiters
from resolver.query.forward import Overloaded
from resolver.query.forward_exchange import Exchange, Unanswered
from resolver.query.forward_waiters import LEAST_LIFE_S, Waiter, Waiters
from tests.unit.query.parts import query

pytestmark = pytest.mark.asyncio

NOW = 1000.0


def client(number: int) -> bytes:
    """A client of an IPv4 prefix of its own."""
    return bytes(10) + b"\xff\xff" + (0x0A000000 + number).to_bytes(4, "big")


class Nobody:
    """An owner of exchanges that never start."""

    case_randomization = False
    timeout_s = 2.0

    def candidates(self) -> list[object]:
        return []

    def any_up(self) -> bool:
        return True

    def ended(self, exchange: Exchange, reply: bytes | None) -> None:
        pass


_numbers = count()


def an_exchange() -> Exchange:
    return Exchange(Nobody(), (next(_numbers), 0), query("open.test").to_wire(), lambda told: None, NOW)  # type: ignore[arg-type]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Waiters:
    """Eight places in all."""
    monkeypatch.setattr(forward_waiters, "MAX_WAITING", 8)
    return Waiters()


def overloaded(one: Waiter) -> bool:
    return one.result.done() and isinstance(one.result.exception(), Overloaded)


async def test_a_query_gets_its_result_and_leaves_its_place(few: Waiters) -> None:
    exchange = an_exchange()
    one, other, third = (few.wait(client(number), exchange, NOW) for number in range(3))
    assert (few.count, len(exchange.waiting)) == (3, 3)
    one.end(b"reply")
    other.wake(NOW)
    third.end(Unanswered(22))
    assert await one.result == b"reply"
    with pytest.raises(TimeoutError):
        await other.result
    with pytest.raises(Unanswered):
        await third.result
    for twice in (one, other, third):
        twice.end(b"another")
        twice.wake(NOW)
    assert await one.result == b"reply"
    assert (few.count, len(exchange.waiting)) == (0, 0)


async def test_who_was_cancelled_leaves_its_place_at_the_end(few: Waiters) -> None:
    one = few.wait(client(1), an_exchange(), NOW)
    one.result.cancel()
    one.end(b"reply")
    assert few.count == 0


async def test_a_prefix_has_half_of_the_places(few: Waiters) -> None:
    first = [few.wait(client(1), an_exchange(), NOW) for _ in range(4)]
    with pytest.raises(Overloaded):
        few.wait(client(1), an_exchange(), NOW + LEAST_LIFE_S / 2)
    later = few.wait(client(1), an_exchange(), NOW + LEAST_LIFE_S)
    assert [overloaded(one) for one in (*first, later)] == [True, False, False, False, False]
    assert few.count == 4


async def test_who_holds_most_gives_way_to_who_holds_less_at_once(few: Waiters) -> None:
    heavy = [few.wait(client(1), an_exchange(), NOW) for _ in range(4)]
    middle = [few.wait(client(2), an_exchange(), NOW) for _ in range(3)]
    one = few.wait(client(3), an_exchange(), NOW)
    newcomers = [few.wait(client(10 + number), an_exchange(), NOW) for number in range(3)]
    assert [overloaded(one) for one in heavy] == [True, False, False, False]
    assert [overloaded(one) for one in middle] == [True, True, False], "by then both were the heaviest"
    assert not any(map(overloaded, [one, *newcomers]))
    assert few.count == 8


async def test_where_all_hold_the_same_only_who_waited_long_gives_way_to_its_own(few: Waiters) -> None:
    held = [few.wait(client(number), an_exchange(), NOW) for number in range(8)]
    with pytest.raises(Overloaded):
        few.wait(client(0), an_exchange(), NOW)
    assert not any(map(overloaded, held))
    few.wait(client(0), an_exchange(), NOW + LEAST_LIFE_S)
    assert [overloaded(one) for one in held] == [True] + [False] * 7
    few.wait(client(99), an_exchange(), NOW)
    assert few.count == 8


async def test_a_full_exchange_gives_way_by_the_same_rule(few: Waiters) -> None:
    crowded, other = an_exchange(), an_exchange()
    heavy = [few.wait(client(1), exchange, NOW) for exchange in (other, crowded, crowded, crowded)]
    few.wait(client(2), crowded, NOW)
    few.wait(client(3), crowded, NOW)
    assert [overloaded(one) for one in heavy] == [False, True, False, False]
    assert len(crowded.waiting) == 4


async def test_a_flood_of_equal_names_takes_no_place_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """70 prefixes at the limit wait for few names; whoever asks little always has a place, and keeps it."""
    monkeypatch.setattr(forward_waiters, "MAX_WAITING", 1400)
    waiters, kept = Waiters(), []
    for turn in range(100):
        exchange = an_exchange()
        for number in range(70):
            try:
                waiters.wait(client(number), exchange, NOW + turn / 1000)
            except Overloaded:
                continue
        if turn % 10 == 9:
            kept.append(waiters.wait(client(1000), an_exchange(), NOW + turn / 1000))
    assert len(kept) == 10
    assert not any(one.result.done() for one in kept)
    assert waiters.count <= 1400


async def test_of_the_heaviest_none_is_named_to_itself(few: Waiters) -> None:
    heavy = [few.wait(client(1), an_exchange(), NOW + number) for number in range(3)]
    few.wait(client(2), an_exchange(), NOW)
    assert few.of_heaviest(client(2)) == heavy
    assert few.of_heaviest(client(1)) == []
