"""A signing machine's clock that is far off: lists that no resolver would accept are not signed."""

from pathlib import Path

import pytest

from resolver.authority import clock, publish
from resolver.authority.publish import Issue, Seen
from resolver.authority.repository import Refused, Repository
from resolver.signed.metadata import Custom

NOW = 1_800_000_000.0
DAY = 86400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publish.init(tmp_path / "authority", threshold=1, keys=1, now=NOW)
    return tmp_path / "authority"


def issue(folder: Path, serial: int, now: float, *, clock_was_ahead: bool = False) -> None:
    data = f"n{serial}.test\n".encode()
    seen = Seen(clock_was_ahead=clock_was_ahead)
    assert publish.publish(folder, Issue(list_id="demo", data=data, serial=serial), now=now, seen=seen).published


def test_a_list_is_not_dated_before_the_last_one(folder: Path) -> None:
    issue(folder, 1, NOW + 30)
    with pytest.raises(Refused, match=r"serial 1 was issued at .*set the clock"):
        issue(folder, 2, NOW + 29)
    issue(folder, 2, NOW + 30)
    before = Custom(list="demo", serial=7, issued=200, expires=None, withdrawn=False)
    with pytest.raises(Refused, match="1970-01-01T00:03:19Z, but serial 7 was issued at 1970-01-01T00:03:20Z"):
        clock.check_issued(before, Custom(list="demo", serial=8, issued=199, expires=None, withdrawn=False))


def test_a_clock_days_behind_signs_nothing(folder: Path) -> None:
    """It would serve metadata that has run out: `frozen` at every resolver."""
    with pytest.raises(Refused, match=r"clock says .* was signed last at .*: set the clock"):
        issue(folder, 1, NOW - 3 * DAY)
    with pytest.raises(Refused, match="was signed last at"):
        publish.refresh(folder, now=NOW - 3 * DAY)
    clock.check_behind(Repository(folder), NOW - clock.BEHIND_S)


def test_a_clock_far_ahead_is_confirmed_first(folder: Path) -> None:
    """Its list would be `clock_behind` at every resolver, and the right clock could not publish after it."""
    with pytest.raises(Refused, match="ran out 38 d 0 h ago: set the clock; if it is right, run `authority refresh`"):
        issue(folder, 1, NOW + 40 * DAY)
    issue(folder, 1, NOW + 5 * DAY)
    publish.refresh(folder, now=NOW + 60 * DAY)
    issue(folder, 2, NOW + 60 * DAY)


def test_what_a_clock_that_was_ahead_has_signed_is_given_up(folder: Path) -> None:
    publish.refresh(folder, now=NOW + 40 * DAY)
    issue(folder, 1, NOW + 40 * DAY)
    version = Repository(folder).timestamp().signed.version
    with pytest.raises(Refused, match="repeat with --clock-was-ahead"):
        issue(folder, 2, NOW + 60)
    issue(folder, 2, NOW + 60, clock_was_ahead=True)
    assert Repository(folder).timestamp().signed.version == version + 1, "still above what was served"
    publish.refresh(folder, now=NOW + 120)
    issue(folder, 3, NOW + 180)


def test_only_the_clock_of_a_refresh_was_ahead(folder: Path) -> None:
    publish.refresh(folder, now=NOW + 40 * DAY)
    with pytest.raises(Refused, match="repeat with --clock-was-ahead"):
        publish.refresh(folder, now=NOW + 60)
    publish.refresh(folder, now=NOW + 60, clock_was_ahead=True)
    publish.refresh(folder, now=NOW + 120)


def test_a_repository_of_an_earlier_release_has_no_time_of_signature(folder: Path) -> None:
    repository = Repository(folder)
    timestamp = repository.timestamp()
    with pytest.raises(Refused):
        clock.check_behind(repository, 0)
    del timestamp.signed.unrecognized_fields[clock.SIGNED]
    repository.write_metadata(timestamp)
    clock.check_behind(repository, 0)  # refuses nothing now
