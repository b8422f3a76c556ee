"""What fails is counted by its reason and logged in one line; polls remember since when and why they fail."""

import asyncio
import logging

import pytest

from resolver.config.lists import List, Source
from resolver.feed.details import Code, Detail, Place, Unusable
from resolver.feed.failures import Failures
from resolver.feed.processes import UpdateFailed
from resolver.feed.reasons import Reason, Refusal

ONE = List(id="demo", source=Source(kind="tuf", url="https://authority.example/demo", root="/etc/root.json"))


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


@pytest.fixture
def failures(clock: list[float]) -> Failures:
    return Failures(ONE, lambda: "serial 7 stays", lambda: clock[0])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UpdateFailed(Reason.TAMPERED), "tampered"),
        (
            UpdateFailed(Reason.UNREACHABLE, Detail(code=Code.HTTP_STATUS, at=Place.TIMESTAMP, numbers=(404,))),
            "unreachable: https://authority.example/demo/metadata/timestamp.json: HTTP status 404 Not Found",
        ),
        (
            OSError(28, "No space left on device", "name0.test"),
            "state_not_written: the list's folder in the state folder: No space left on device",
        ),
        (KeyError("name0.test"), "internal"),
    ],
)
def test_a_failure_is_one_count_and_one_line(
    error: Exception, reason: str, failures: Failures, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), failures.counted():
        raise error
    assert failures.counts == {reason.partition(":")[0]: 1}
    assert failures.last == [reason]
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
    assert (failures.since, failures.recent, failures.polled_at) == (0, {}, 1000)
    for reason in (Reason.TAMPERED, Reason.UNREACHABLE, Reason.TAMPERED):
        clock[0] += 10
        with failures.poll():
            raise UpdateFailed(reason)
    assert (failures.last, failures.polled_at) == (["tampered"], 1030)
    failures.count(Reason.SWAP)
    assert (failures.since, failures.recent) == (1010, {"tampered": 2, "unreachable": 1})
    with failures.poll():
        pass
    assert (failures.since, failures.recent, failures.last) == (0, {}, [])
    assert failures.counts == {"tampered": 2, "unreachable": 1, "swap": 1}


def test_what_was_refused_of_a_list_that_cannot_be_used_is_kept_until_the_next_poll(failures: Failures) -> None:
    unusable = Unusable(reason="empty", refused={Refusal.TLD: 2})
    with failures.poll():
        raise UpdateFailed(Reason.EMPTY, Detail(code=Code.UNUSABLE, unusable=unusable))
    assert failures.refused == {"tld": 2}
    assert failures.last == ["empty: no line of 2 is an entry: 2 tld"]
    with failures.poll():
        pass
    assert failures.refused == {}
