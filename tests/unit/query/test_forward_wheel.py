"""Who waits is woken once, in time, in any order; and nobody's wheel does not turn."""

import asyncio
import time

import pytest

from resolver.query.forward_wheel import TICK_S, Wheel
from tests.unit.query.parts import until

pytestmark = pytest.mark.loops


class Sleeper:
    """Notes when it is woken."""

    def __init__(self, due: float) -> None:
        self.due = due
        self.woken: list[float] = []

    def wake(self, now: float) -> None:
        self.woken.append(now)


class Again(Sleeper):
    """Asks, whenever it is woken, to be woken at once, so many times."""

    def __init__(self, wheel: Wheel, times: int) -> None:
        super().__init__(0.0)
        self.wheel = wheel
        self.times = times

    def wake(self, now: float) -> None:
        super().wake(now)
        if len(self.woken) < self.times:
            self.wheel.at(now, self)


@pytest.mark.asyncio
async def test_nobody_is_woken_early_and_all_are_woken_once() -> None:
    wheel, now = Wheel(), time.monotonic()
    sleepers = [Sleeper(now + delay) for delay in (0.11, 0.03, 0.0, -5.0, 0.031, 0.05, 0.05)]
    for one in sleepers:
        wheel.at(one.due, one)
    await until(lambda: all(one.woken for one in sleepers))
    assert [len(one.woken) for one in sleepers] == [1] * len(sleepers)
    for one in sleepers:
        assert one.woken[0] >= one.due
    assert not wheel.turning


@pytest.mark.asyncio
async def test_whoever_is_woken_may_ask_again_and_is_woken_in_a_later_tick() -> None:
    wheel = Wheel()
    one = Again(wheel, 4)
    wheel.at(time.monotonic(), one)
    await until(lambda: len(one.woken) == 4)
    assert one.woken[-1] - one.woken[0] >= 2 * TICK_S
    await until(lambda: not wheel.turning)


@pytest.mark.asyncio
async def test_a_wheel_that_stood_still_wakes_all_whose_time_has_passed() -> None:
    wheel, now = Wheel(), time.monotonic()
    sleepers = [Sleeper(now + delay) for delay in (0.01, 0.02, 0.04)]
    for one in sleepers:
        wheel.at(one.due, one)
    while time.monotonic() < now + 0.06:
        pass
    await until(lambda: all(one.woken for one in sleepers), 1)
    late = Sleeper(time.monotonic() + 0.01)
    wheel.at(late.due, late)
    await until(lambda: late.woken)
    assert late.woken[0] >= late.due
    assert [len(one.woken) for one in (*sleepers, late)] == [1, 1, 1, 1]


@pytest.mark.asyncio
async def test_a_closed_wheel_wakes_nobody() -> None:
    wheel, asleep = Wheel(), Sleeper(0.0)
    wheel.at(0.0, asleep)
    wheel.close()
    await asyncio.sleep(3 * TICK_S)
    assert asleep.woken == []
