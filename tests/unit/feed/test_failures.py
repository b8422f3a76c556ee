"""What fails is counted by its reason and logged in one line; polls remember since when and why they fail."""

import asyncio
import logging

import pytest

from resolver.feed.failures import Failures
from resolver.feed.processes import UpdateFailed
from resolver.feed.reasons import Reason


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


@pytest.fixture
def failures(clock: list[float]) -> Failures:
    return Failures("demo", lambda: "serial 7 stays", lambda: clock[0])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UpdateFailed(Reason.TAMPERED), "tampered"),
        (OSError(28, "No space left on device", "name0.test"), "state_not_written"),
        (KeyError("name0.test"), "internal"),
    ],
)
def test_a_failure_is_one_count_and_one_line(
    error: Exception, reason: str, failures: Failures, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), failures.counted():
        raise error
    assert failures.counts == {reason: 1}
    lines = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert lines == [f"list demo: update failed: {reason}; serial 7 stays"]
    assert "name0" not in caplog.text


def test_a_cancellation_goes_on(failures: Failures) -> None:
    with pytest.raises(asyncio.CancelledError), failures.poll():
        raise asyncio.CancelledError
    assert (failures.counts, failures.since) == ({}, 0)


def test_polls_remember_since_when_and_why_they_fail(failures: Failures, clock: list[float]) -> None:
    with failures.poll():
        pass
    assert (failures.since, failures.recent) == (0, {})
    for reason in (Reason.TAMPERED, Reason.UNREACHABLE, Reason.TAMPERED):
        clock[0] += 10
        with failures.poll():
            raise UpdateFailed(reason)
    failures.count(Reason.SWAP)
    assert (failures.since, failures.recent) == (1010, {"tampered": 2, "unreachable": 1})
    with failures.poll():
        pass
    assert (failures.since, failures.recent) == (0, {})
    assert failures.counts == {"tampered": 2, "unreachable": 1, "swap": 1}
