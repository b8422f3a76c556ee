"""What the steps work on: tables are replaced whole, a seat has nothing of the query before, a lane has its seats."""

from array import array
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from resolver.core import codes
from tests.unit.query.parts import CLIENT, STRANGER, tables

Core = Callable[[str], ModuleType]


def lane_of(core: Core, outs: Any = ()) -> Any:
    shape = core("crash_shape").Shape(memoryview(bytearray(64)).cast("q"))
    return core("lane").Lane(memoryview(array("Q", bytes(8 * codes.COUNTERS_SIZE))), shape, outs)


def test_tables_are_replaced_and_never_changed() -> None:
    before = tables(1)
    with pytest.raises(AttributeError):
        before.complete = False
    after = before.replaced(complete=False)
    assert (before.complete, after.complete) == (True, False)
    assert after.store is before.store
    assert not any(after.own), "this host asks nothing of its own unless it is told from where"


def test_tables_carry_all_that_is_not_replaced(core: Core) -> None:
    names = ("generation", "access", "complete", "zones", "store", "shares", "tally", "asked", "rotate")
    made = core("lane").Tables(*[getattr(tables(1), name) for name in names[:4]], (STRANGER, CLIENT), **{
        name: getattr(tables(1), name) for name in names[4:]
    })
    changed = made.replaced(rotate=False, complete=False)
    assert bytes(changed.own) == bytes(made.own) == min(CLIENT, STRANGER) + max(CLIENT, STRANGER)
    for name in names:
        assert (getattr(changed, name) == getattr(made, name)) == (name not in ("rotate", "complete"))


def test_a_seat_starts_without_lists_and_without_an_answer(core: Core) -> None:
    """Whatever a step forgets to set judges nobody and sends nothing."""
    seat = core("lane").Seat(memoryview(bytearray(64)))
    assert (seat.scope, seat.limit, seat.outcome, seat.answer()) == (0, 0, codes.OUTCOME_SILENT, None)
    assert seat.sit(b"12345", CLIENT, 1, 512, 1232, 100) == 0
    assert seat.answer() is None


def test_a_lane_has_the_seats_of_its_rooms_and_no_more_than_a_batch(core: Core) -> None:
    outs = [memoryview(bytearray(64)) for _ in range(core("lane").BATCH + 1)]
    lane = lane_of(core, outs[:-1])
    assert len({id(lane.seat(number)) for number in range(core("lane").BATCH)}) == core("lane").BATCH
    with pytest.raises(ValueError, match="too many"):
        lane_of(core, outs)
