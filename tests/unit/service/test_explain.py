"""The steps of one poll with their times, and what to do about its failure."""

import pytest

from resolver.feed.details import Code, Detail, Place
from resolver.feed.reasons import Reason
from resolver.service import explain
from tests.unit.feed.test_failures import ONE


def test_each_step_has_what_it_found_and_its_time() -> None:
    ticks = iter([1.0, 1.5, 2.0, 2.25, 3.0])
    walk = explain.Walk(ONE, lambda: next(ticks))
    for detail in (
        Detail(code=Code.STEP_LOOK_UP, at=Place.HOST),
        Detail(code=Code.FOUND_ADDRESSES, numbers=(2, 1)),
        Detail(code=Code.STEP_READ, at=Place.TIMESTAMP),
        Detail(code=Code.STEP_READ, at=Place.LIST, numbers=(7,)),
    ):
        walk.step(detail)
    assert walk.steps() == (
        ("looking up authority.example: 2 addresses, 1 of them IPv6", 0.5),
        ("reading https://authority.example/demo/metadata/timestamp.json", 0.25),
    )


def test_the_last_steps_are_kept() -> None:
    walk = explain.Walk(ONE, lambda: 0.0)
    for number in range(explain.MAX_STEPS + 7):
        walk.step(Detail(code=Code.STEP_READ, at=Place.ROOT, version=number + 1))
    steps = walk.steps()
    assert len(steps) == explain.MAX_STEPS
    assert steps[-1][0].endswith(f"/{explain.MAX_STEPS + 7}.root.json")


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_has_a_next_step(reason: Reason) -> None:
    assert explain.what_to_do(reason.value) == explain.what_to_do(f"{reason.value}: with a detail") != ""


def test_a_next_step_fits_its_reason() -> None:
    assert "call the authority" in explain.what_to_do("tampered")
    assert "key name, algorithm, secret" in explain.what_to_do("denied: x")
    assert "journalctl" in explain.what_to_do("no such reason")
