"""A time limit that has run out is logged once, and again after it was set back."""

import pytest

from resolver.feed.alarms import Alarms


def test_each_alarm_is_logged_once_until_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    alarms = Alarms("demo")
    for run_out in ({"late": False}, {"late": True}, {"late": True, "stale": True}, {"stale": True}, {"late": True}):
        alarms.look(run_out)
    assert [one.getMessage() for one in caplog.records] == ["list demo: late", "list demo: stale", "list demo: late"]
