"""When new entries block too many: time and counts are handed in."""

from resolver.feed import breaker
from resolver.feed.breaker import FLOOR, WEEK_MINUTES, Breaker, Seen


def test_a_household_never_trips_it() -> None:
    one = Breaker()
    assert not one.look(0, 1, 0)
    assert not one.look(FLOOR, 1, 30)
    assert not one.open
    assert one.look(FLOOR + 1, 1, 31)
    assert one.open


def test_one_in_a_hundred_of_those_seen_is_allowed() -> None:
    one = Breaker()
    one.look(0, 0, 0)
    assert not one.look(100, 10_000, 59)
    assert one.look(101, 10_000, 59)
    assert not one.look(102, 10_000, 59), "once a minute"


def test_a_minute_counts_from_its_own_start() -> None:
    one = Breaker()
    one.look(1000, 0, 30)
    assert not one.look(1015, 0, 59)
    assert not one.look(1030, 0, 61), "fifteen in each of two minutes"
    assert one.look(1036, 0, 62)


def test_after_a_week_ten_times_its_median_minute_is_allowed() -> None:
    one = Breaker()
    for minute in range(WEEK_MINUTES - 1):
        one.look(minute * 5, 0, minute * 60)
        one.look(minute * 5 + 5, 0, minute * 60 + 59)
    assert one.usual is None
    now, total = (WEEK_MINUTES - 1) * 60, (WEEK_MINUTES - 1) * 5
    one.look(total + 5, 0, now)
    now, total = now + 60, total + 5
    assert not one.look(total + 50, 0, now)
    assert one.look(total + 51, 0, now)


def test_it_is_calm_after_ten_minutes_within_bounds() -> None:
    one = Breaker()
    one.look(0, 0, 0)
    assert one.look(50, 0, 1)
    for minute in range(1, 11):
        one.look(50, 0, minute * 60)
        assert one.open
    one.look(50, 0, 11 * 60)
    assert not one.open
    assert one.look(100, 0, 11 * 60 + 1)
    assert one.open


def test_minutes_in_which_nobody_looked_blocked_nobody() -> None:
    one = Breaker()
    one.look(0, 0, 0)
    one.look(10, 0, 1)
    one.look(10, 0, 3 * WEEK_MINUTES * 60)
    assert one.usual == 0


def test_those_seen_are_counted_over_tables_that_are_replaced() -> None:
    seen, first, second = Seen(), object(), object()
    assert [seen.count(first, 1, number) for number in (3, 9)] == [3, 9]
    assert [seen.count(second, 1, number) for number in (0, 2)] == [9, 11]
    assert seen.count(second, 2, 1) == 1
    assert breaker.SHARE == 0.01
