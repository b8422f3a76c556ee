"""Deadlines: each connection's own, in order, with one timer for all."""

import asyncio

import pytest

from resolver.quiet_http.deadlines import Deadlines
from tests.unit.query.parts import until

pytestmark = pytest.mark.loops


@pytest.mark.asyncio
async def test_each_is_called_once_in_the_order_of_its_start() -> None:
    called: list[str] = []
    due = Deadlines(0.02, called.append)
    for one in ("a", "b", "c"):
        due.start(one)
    due.stop("b")
    await until(lambda: len(called) == 2)
    due.start("d")
    await until(lambda: len(called) == 3)
    assert called == ["a", "c", "d"]


@pytest.mark.asyncio
async def test_one_that_starts_again_has_its_whole_time_again() -> None:
    loop, called = asyncio.get_running_loop(), dict[str, float]()
    due = Deadlines(0.2, lambda one: called.update({one: loop.time()}))
    due.start("again")
    due.start("once")
    await asyncio.sleep(0.1)
    due.start("again")
    began = loop.time()
    await until(lambda: len(called) == 2)
    assert list(called) == ["once", "again"]
    assert called["again"] - began >= 0.19


@pytest.mark.asyncio
async def test_what_is_closed_calls_nobody() -> None:
    called: list[str] = []
    closed, other = Deadlines(0.01, called.append), Deadlines(0.02, called.append)
    closed.start("closed")
    closed.close()
    other.start("other")
    await until(lambda: bool(called))
    assert called == ["other"]
