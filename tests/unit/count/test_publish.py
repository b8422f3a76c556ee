"""When a number may leave: rules of the beat and of the batch, under any course of events."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.count.ledger import Total
from resolver.count.metrics import Labels, Series, of_beat
from resolver.count.publish import MAX_NAP_S, Publisher
from tests.unit.count.labels import LABELS

QUERIES = Series("blocked_queries_total", ("demo",))
ATTEMPTS = Series("blocked_attempts_total", ("demo",))
BYTES = Series("cache_bytes")
SATURATED = Series("attempts_saturated", ("demo",))
BOUNDED = Series("blocked_attempts_bounded_total", ("demo",))
SUM = Series("upstream_exchange_seconds_sum")
BUSY = Series("engine_busy_ratio", ("0",))
CPU = Series("process_cpu_seconds_total")
VIEWS = Series("page_views_total")
START = 1_800_000_000.0  # a beat of 15 minutes


class Exact:
    """What happened so far; how often it was read."""

    def __init__(self) -> None:
        self.numbers: dict[Series, int] = {}
        self.read = 0

    def __call__(self) -> Mapping[Series, int]:
        self.read += 1
        return dict(self.numbers)


def publisher(
    exact: Exact,
    *,
    every_s: int = 900,
    batch: int = 10,
    phases: Callable[[int], int] = lambda _: 0,
    now: float = START + 1,
    start: Mapping[Series, Total] = MappingProxyType({}),
    turn_day: Callable[[], object] = lambda: None,
) -> Publisher:
    return Publisher(
        exact, LABELS, every_s=every_s, batch=batch, phases=phases, now=now, start=start, turn_day=turn_day
    )


def test_before_the_first_beat_all_series_are_there_and_zero() -> None:
    exact = Exact()
    exact.numbers[QUERIES] = 1000
    count = publisher(exact)
    assert count.published.at == 0
    assert set(count.published.values) == set(of_beat(LABELS))
    assert set(count.published.values.values()) == {0}
    assert not count.publish(START + 899.9)
    assert exact.read == 0


def test_a_beat_is_aligned_to_the_clock_and_published_once() -> None:
    exact = Exact()
    count = publisher(exact)
    exact.numbers[QUERIES] = 57
    assert count.publish(START + 900.5)
    assert (count.published.at, count.published.values[QUERIES]) == (START + 900, 50)
    exact.numbers[QUERIES] = 99
    assert not count.publish(START + 1799.9)
    assert count.published.values[QUERIES] == 50
    assert count.publish(START + 1800)
    assert count.published.values[QUERIES] == 90


def test_what_is_published_is_replaced_whole_and_cannot_be_changed() -> None:
    exact = Exact()
    count = publisher(exact)
    before = count.published
    exact.numbers = {QUERIES: 10, ATTEMPTS: 10}
    count.publish(START + 900)
    assert before.values[QUERIES] == before.values[ATTEMPTS] == 0
    with pytest.raises(TypeError):
        count.published.values[QUERIES] = 1  # type: ignore[index]  # that it cannot is the point


def test_a_batch_is_not_opened_by_who_knows_all_but_one_event() -> None:
    """With a phase nobody outside knows, nine own queries tell nothing of a tenth."""
    shown = set()
    for phase in range(10):
        exact = Exact()
        count = publisher(exact, phases=lambda _, phase=phase: phase)  # type: ignore[misc]  # mypy: default
        exact.numbers[QUERIES] = 15
        count.publish(START + 900)
        shown.add(count.published.values[QUERIES])
    assert shown == {0, 10}


def test_each_series_has_its_own_phase() -> None:
    drawn = iter(range(10_000))
    count = publisher(Exact(), phases=lambda below: next(drawn) % below)
    assert next(drawn) == len(count.published.values)


def test_a_batch_of_one_publishes_all() -> None:
    exact = Exact()
    count = publisher(exact, every_s=1, batch=1)
    exact.numbers = {QUERIES: 3, VIEWS: 1}
    count.publish(START + 2)
    assert (count.published.values[QUERIES], count.published.values[VIEWS]) == (3, 1)


def test_a_level_is_rounded_down_and_may_fall() -> None:
    exact = Exact()
    count = publisher(exact)
    exact.numbers[BYTES] = 25_000
    count.publish(START + 900)
    assert count.published.values[BYTES] == 20_480
    exact.numbers[BYTES] = 10
    count.publish(START + 1800)
    assert count.published.values[BYTES] == 0


def test_how_busy_a_thread_is_leaves_in_hundredths_whatever_the_batch() -> None:
    exact = Exact()
    count = publisher(exact, phases=lambda below: below - 1)
    for number, busy in enumerate((37, 100, 0)):
        exact.numbers[BUSY] = busy
        assert count.publish(START + 900 * (number + 1))
        assert count.published.values[BUSY] == busy
    assert BUSY not in count.totals()


def test_processor_time_leaves_in_seconds_and_goes_on_after_a_restart() -> None:
    exact = Exact()
    count = publisher(exact)
    exact.numbers[CPU] = 3
    assert count.publish(START + 900)
    assert count.published.values[CPU] == 3
    exact.numbers[CPU] = 2
    after = publisher(exact, start=count.totals(), now=START + 900)
    assert after.publish(START + 1800)
    assert after.published.values[CPU] == 5


def test_the_sum_of_times_leaves_in_batches_too() -> None:
    exact = Exact()
    count = publisher(exact)
    exact.numbers[SUM] = 2_999_999
    count.publish(START + 900)
    assert count.published.values[SUM] == 2_000_000


def test_a_full_table_is_marked_for_the_beats_in_which_a_batch_of_it_came() -> None:
    exact = Exact()
    count = publisher(exact)
    marks = []
    for beat, total in enumerate((9, 10, 19, 40, 40), start=1):
        exact.numbers[SATURATED] = total
        count.publish(START + 900 * beat)
        marks.append(count.published.values[SATURATED])
    assert marks == [0, 1, 0, 1, 0]


def test_after_a_restart_a_mark_stands_for_what_is_new_alone() -> None:
    exact = Exact()
    exact.numbers = {SATURATED: 0}
    start = {SATURATED: Total(40, 3)}
    count = Publisher(exact, LABELS, every_s=900, batch=10, phases=lambda _: 0, now=START + 1, start=start)
    marks = [count.published.values[SATURATED]]
    for beat, total in enumerate((0, 7), start=1):
        exact.numbers[SATURATED] = total
        count.publish(START + 900 * beat)
        marks.append(count.published.values[SATURATED])
    assert marks == [0, 0, 1]
    assert count.totals()[SATURATED] == Total(50, 0)


def listed(*lists: str) -> Labels:
    return replace(LABELS, lists=lists)


def of_list(list_id: str) -> Series:
    return Series("blocked_queries_total", (list_id,))


def test_a_list_that_comes_while_serving_begins_at_its_total_of_before() -> None:
    exact = Exact()
    exact.numbers = {of_list("demo"): 25}
    start = {of_list("third"): Total(70, 4)}
    count = Publisher(
        exact, listed("demo"), every_s=900, batch=10, phases=lambda _: 0, now=START + 1, start=start
    )
    count.publish(START + 900)
    count.relabel(listed("demo", "third"), exact.numbers)
    assert (count.published.at, set(count.published.values)) == (START + 900, set(of_beat(listed("demo", "third"))))
    assert (count.published.values[of_list("demo")], count.published.values[of_list("third")]) == (20, 70)
    exact.numbers = {of_list("demo"): 29, of_list("third"): 7}
    count.publish(START + 1800)
    assert (count.published.values[of_list("demo")], count.published.values[of_list("third")]) == (20, 80)


def test_a_list_that_goes_and_comes_back_never_counts_backwards() -> None:
    exact = Exact()
    exact.numbers = {of_list("demo"): 3, of_list("second"): 38}
    count = publisher(exact)
    count.publish(START + 900)
    count.relabel(listed("demo"), exact.numbers)
    assert of_list("second") not in count.published.values
    exact.numbers = {of_list("demo"): 5}
    count.publish(START + 1800)
    assert count.totals()[of_list("second")] == Total(30, 8), "what was counted comes into the ledger"
    # Its slot in the table of counters is another's meanwhile, and then a new one.
    exact.numbers = {of_list("demo"): 5, of_list("second"): 0}
    count.relabel(LABELS, exact.numbers)
    assert count.published.values[of_list("second")] == 30
    exact.numbers[of_list("second")] = 2
    count.publish(START + 2700)
    assert count.published.values[of_list("second")] == 40
    assert count.refused == 0


def test_a_beat_that_was_drawn_before_a_list_came_shows_it_too() -> None:
    exact = Exact()
    exact.numbers = {of_list("demo"): 10}
    count = Publisher(exact, listed("demo"), every_s=900, batch=10, phases=lambda _: 0, now=START + 1)
    drawn = count.draw(START + 900)
    assert drawn is not None
    count.relabel(listed("demo", "third"), exact.numbers)
    count.show(drawn)
    assert (count.published.values[of_list("demo")], count.published.values[of_list("third")]) == (10, 0)


def test_a_series_outside_the_table_is_never_published(caplog: pytest.LogCaptureFixture) -> None:
    exact = Exact()
    count = publisher(exact)
    exact.numbers = {Series("canary_total"): 100, Series("answers_total", ("canary",)): 100, QUERIES: 10}
    with caplog.at_level(logging.DEBUG):
        count.publish(START + 900)
        count.publish(START + 1800)
    assert set(count.published.values) == set(of_beat(LABELS))
    assert count.published.values[QUERIES] == 10
    assert count.refused == 4
    assert len(caplog.records) == 1
    assert "canary" not in caplog.text


def test_a_number_that_is_not_reported_stays() -> None:
    exact = Exact()
    count = publisher(exact)
    exact.numbers[QUERIES] = 20
    count.publish(START + 900)
    exact.numbers.clear()
    count.publish(START + 1800)
    assert count.published.values[QUERIES] == 20


def test_a_clock_set_back_neither_stops_the_beat_nor_takes_back_a_number() -> None:
    exact = Exact()
    count = publisher(exact)
    exact.numbers[QUERIES] = 20
    count.publish(START + 900)
    exact.numbers[QUERIES] = 40
    assert count.publish(START - 100_000)
    assert count.published.values[QUERIES] == 40


courses = st.lists(
    st.tuples(
        st.floats(0, 2000),
        st.dictionaries(st.sampled_from(list(of_beat(LABELS))), st.integers(0, 200_000), max_size=6),
    ),
    max_size=20,
)


@given(course=courses, batch=st.integers(1, 50), draw=st.integers(0, 10**6))
def test_numbers_only_rise_never_exceed_and_lag_by_less_than_batch_and_phase(
    course: list[tuple[float, dict[Series, int]]], batch: int, draw: int
) -> None:
    exact, phases, now = Exact(), [], START

    def phase(below: int) -> int:
        phases.append((draw * 7919 + len(phases) * 104_729) % below)
        return phases[-1]

    count = publisher(exact, batch=batch, phases=phase, now=now)
    phase_of = dict(zip(of_beat(LABELS), phases, strict=True))
    steps = {"cache_bytes": 1024, SUM.metric: 100_000, BUSY.metric: 1 / batch, CPU.metric: 1 / batch}
    size_of = {one: round(batch * steps.get(one.metric, 1)) for one in phase_of}
    for step_s, events in course:
        now += step_s
        for series, number in events.items():
            exact.numbers[series] = exact.numbers.get(series, 0) + number
        before = count.published
        if not count.publish(now):
            assert count.published is before
            continue
        assert count.published.at % 900 == 0
        assert count.published.at <= now < count.published.at + 900
        for series, value in count.published.values.items():
            if series.metric == "attempts_saturated":
                assert value in (0, 1)
                continue
            happened = exact.numbers.get(series, 0)
            assert value % size_of[series] == 0
            if series.metric == BOUNDED.metric:
                assert before.values[series] <= value
                continue
            assert before.values[series] <= value <= happened
            assert happened - value < size_of[series] + phase_of[series]


MIDNIGHT = START // 86400 * 86400 + 86400


@pytest.mark.parametrize("counted", [0, 1, 9, 10, 13, 560])
def test_a_day_of_bounded_attempts_is_rounded_at_random_and_on_average_exact(counted: int) -> None:
    found = []
    for phase in range(10):
        exact, turned = Exact(), Exact()
        count = publisher(exact, phases=lambda _, phase=phase: phase, turn_day=turned)  # type: ignore[misc]  # mypy: default
        exact.numbers[BOUNDED] = counted
        count.publish(MIDNIGHT - 900)
        assert 0 <= counted - count.published.values[BOUNDED] < 10 + phase
        assert turned.read == 0
        before = count.published.values[BOUNDED]
        count.publish(MIDNIGHT)
        found.append(count.published.values[BOUNDED])
        assert before <= found[-1]
        assert turned.read == 1
        assert count.totals()[BOUNDED] == Total(found[-1], 0), "nothing is carried over"
        count.publish(MIDNIGHT + 900)
        assert count.published.values[BOUNDED] == found[-1]
    assert sum(found) / 10 == counted
    assert max(found) - min(found) == (10 if counted % 10 else 0)


def test_a_client_of_one_day_changes_no_other_days_figure() -> None:
    """Whatever happened on the first day, the second one's figure is the same: the noise's sensitivity is one batch."""
    figures = []
    for first_day in (101, 102, 103, 104):
        exact = Exact()
        phases = iter([3] * len(tuple(of_beat(LABELS))) + [7] * 1000)
        count = publisher(exact, phases=lambda _, phases=phases: next(phases))  # type: ignore[misc]  # mypy: default
        exact.numbers[BOUNDED] = first_day
        count.publish(MIDNIGHT)
        first = count.published.values[BOUNDED]
        exact.numbers[BOUNDED] += 57
        count.publish(MIDNIGHT + 900)
        count.publish(MIDNIGHT + 86400)
        figures.append((first, count.published.values[BOUNDED] - first))
    assert {day for _, day in figures} == {50}
    assert {first for first, _ in figures} == {100, 110}


def test_a_restart_goes_on_within_the_day_and_a_day_without_its_last_beat_is_closed_on_the_next() -> None:
    exact = Exact()
    exact.numbers[BOUNDED] = 27
    count = publisher(exact)
    count.publish(START + 900)
    assert count.totals()[BOUNDED] == Total(20, 7)
    again, turned = Exact(), Exact()
    count = publisher(again, now=MIDNIGHT - 2000, start={BOUNDED: Total(20, 7)}, turn_day=turned)
    again.numbers[BOUNDED] = 5
    count.publish(MIDNIGHT - 1800)
    assert (count.published.values[BOUNDED], count.totals()[BOUNDED]) == (30, Total(30, 2))
    count.publish(MIDNIGHT + 1800)
    assert count.published.values[BOUNDED] == 40
    assert turned.read == 1


def test_bounded_attempts_of_a_list_that_comes_later_begin_at_their_total() -> None:
    exact = Exact()
    other = Series(BOUNDED.metric, ("other",))
    count = publisher(exact, start={other: Total(70, 4)})
    assert other not in count.published.values
    count.relabel(replace(LABELS, lists=(*LABELS.lists, "other")), exact())
    exact.numbers[other] = 7
    count.publish(START + 900)
    assert count.totals()[other] == Total(80, 1)


@pytest.mark.asyncio
async def test_it_runs_on_the_beats_of_a_clock_until_cancelled() -> None:
    exact = Exact()
    exact.numbers[QUERIES] = 10
    now = START + 0.25
    naps: list[float] = []
    published_at: list[int] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        if count.published.at and count.published.at not in published_at:
            published_at.append(count.published.at)
        if len(published_at) == 3:
            raise asyncio.CancelledError
        naps.append(seconds)
        now += seconds

    count = publisher(exact, every_s=90, now=now)
    with pytest.raises(asyncio.CancelledError):
        await count.run(lambda: now, sleep)
    assert published_at == [START + 90, START + 180, START + 270]
    assert max(naps) == MAX_NAP_S
    assert naps[1] == pytest.approx(29.75)


def test_a_start_goes_on_from_the_ledger_and_never_shows_less() -> None:
    exact = Exact()
    exact.numbers = {QUERIES: 4, BYTES: 5000, SATURATED: 0}
    start = {QUERIES: Total(50, 9), BYTES: Total(10**9, 0), Series("gone_total"): Total(5, 0)}
    count = Publisher(exact, LABELS, every_s=900, batch=10, phases=lambda _: 9, now=START + 1, start=start)
    assert count.published.values[QUERIES] == 50
    assert count.published.values[BYTES] == 0
    count.publish(START + 900)
    assert count.published.values[QUERIES] == 50  # 63 happened, the new phase is 9
    assert count.totals()[QUERIES] == Total(50, 13)
    exact.numbers[QUERIES] = 20
    count.publish(START + 1800)
    assert count.published.values[QUERIES] == 70
    assert count.totals()[QUERIES] == Total(70, 9)
    assert BYTES not in count.totals()


@pytest.mark.asyncio
async def test_a_beat_is_written_before_it_is_shown() -> None:
    exact, order = Exact(), []

    class Written:
        def watch(self, now: float) -> None:
            order.append(("watch", now))

        async def keep(self, at: int, totals: Mapping[Series, Total]) -> None:
            order.append(("keep", at, count.published.at, totals[QUERIES]))

    exact.numbers[QUERIES] = 25
    ticks = iter([START + 100, START + 160, START + 890, START + 900.5, START + 901])
    count = Publisher(
        exact, LABELS, every_s=900, batch=10, phases=lambda _: 0, now=START + 1, books=Written()
    )

    async def sleep(_: float) -> None:
        if len(order) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await count.run(lambda: next(ticks), sleep)
    assert order == [("watch", START + 160), ("watch", START + 900.5), ("keep", START + 900, 0, Total(20, 5))]
    assert count.published.at == START + 900
