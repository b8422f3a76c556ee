"""A list dated a few seconds ahead: when it is tried again, and when it is a failure."""

from resolver.feed.early import EARLY_S, Early


def test_a_few_seconds_are_waited_for() -> None:
    early = Early()
    early.begin(100.0)
    assert early.waits(105, 100.5)
    assert not early.is_due(104.9)
    assert early.is_due(105.0)
    early.begin(105.0)
    assert (early.again_at, early.is_due(105.0)) == (0, False)


def test_more_is_a_failure_at_once() -> None:
    early = Early()
    early.begin(100.0)
    assert early.waits(100 + EARLY_S, 100.0)
    assert not early.waits(101 + EARLY_S, 100.0)
    assert not early.waits(100, 100.0), "that is not what it failed for"
    assert not early.waits(0, 100.0)


def test_a_poll_before_its_time_waits_on_and_one_at_its_time_does_not() -> None:
    early = Early()
    early.begin(100.0)
    assert early.waits(110, 100.0)
    early.begin(104.0)
    assert early.waits(110, 104.0), "somebody asked meanwhile"
    early.begin(110.0)
    assert not early.waits(115, 110.0), "always ahead"
    early.begin(900.0)
    assert early.waits(905, 900.0)
