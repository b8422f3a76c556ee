"""Publishes the counts: on the beat and in batches.

Rules:
1. A beat falls on a multiple of `every_s` in unix time; all series of a beat change together, by one new mapping.
2. A published total grows in multiples of the batch; the rest is carried over. It never goes down and never exceeds
   the exact count.
3. Each series starts its batches at a random phase below one batch, so that nobody can find out by own queries how
   full a batch is: exact - published < batch + phase.
4. A level (`cache_bytes`, `queries_in_flight`) is rounded down the same way; `engine_busy_ratio` to whole hundredths
   and `process_cpu_seconds_total` to whole seconds, each the work of very many queries. A mark (`attempts_saturated`)
   is 1 on a beat within which at least one batch of its events was counted; the total of those events goes into the
   ledger, and shows on which beats the mark was 1.
5. Bounded attempts are rounded for each day, so that no day's figure depends on what happened on another: on the last
   beat of a day (UTC) its count becomes one of the two whole batches around it, at random, so that on average it is
   exact; the next day begins there, with a phase of its own. On that beat the table of the day is cleared.
6. From the start every series exists, with the total that the ledger has. A series outside the closed set is never
   published.
7. The numbers of a beat are in the ledger before they are shown: a start after a crash never shows less than before.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple, NoReturn, Protocol

from resolver.count.ledger import Total
from resolver.count.metrics import (
    BOUNDED,
    BUSY,
    CACHE_STEP_BYTES,
    CPU,
    EXCHANGE_SUM,
    SUM_STEP_US,
    Labels,
    Series,
    of_beat,
)

MAX_NAP_S: Final = 60.0
"""The longest sleep between two looks at the clock: a step of the clock delays a beat by no more."""

_STEPS: Final = {"cache_bytes": CACHE_STEP_BYTES, EXCHANGE_SUM: SUM_STEP_US}
_LEVELS: Final = frozenset({"cache_bytes", "queries_in_flight", BUSY})
# A step of these is the work of very many queries.
_COARSE: Final = frozenset({BUSY, CPU})
_MARKS: Final = frozenset({"attempts_saturated"})
_OF_A_DAY: Final = frozenset({BOUNDED})
_DAY_S: Final = 86400

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """The numbers that may be known: those of one beat; `at` in unix seconds, 0 before the first."""

    at: int
    values: Mapping[Series, int]


class Books(Protocol):
    """Writes down what is published; see resolver.count.bookkeeping."""

    def watch(self, now: float) -> None:
        """Sample what is in force at `now` (unix seconds); called at least once a minute."""

    async def keep(self, at: int, totals: Mapping[Series, Total]) -> None:
        """Write a beat down; called before it is shown."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A beat ready to be shown: its time (unix seconds), the values to show, and the total of each series then."""

    at: int
    values: Mapping[Series, int]
    totals: Mapping[Series, Total]


class _Day(NamedTuple):
    """What a series of a day began the day with: the exact total, and the one that was shown."""

    exact: int
    shown: int


_NO_DAY: Final = _Day(0, 0)


class Publisher:
    """Holds back exact numbers until their beat; `published` is replaced whole.

    read_exact: returns the counts since the process began. start: the totals before it, from the ledger. phases: draws
    a random number below its argument (secrets.randbelow). now: unix time at the start. turn_day: called when a day's
    figures are closed.
    """

    def __init__(
        self,
        read_exact: Callable[[], Mapping[Series, int]],
        labels: Labels,
        *,
        every_s: int,
        batch: int,
        phases: Callable[[int], int],
        now: float,
        start: Mapping[Series, Total] = MappingProxyType({}),
        books: Books | None = None,
        turn_day: Callable[[], object] = lambda: None,
    ) -> None:
        self._turn_day = turn_day
        self._books = books
        self._read_exact = read_exact
        self._every_s = every_s
        self._batch_size = batch
        self._sizes = {series: self._size(series) for series in of_beat(labels)}
        self._phase = phases
        self._phases = {series: phases(size) for series, size in self._sizes.items()}
        self._beat = self._beat_of(now)
        # What is known of series that are not shown now: from the ledger, and of those that left.
        self._known = {series: total for series, total in start.items() if _is_total(series)}
        self._left: dict[Series, Total] = {}
        self._began_at = {series: self._began(series) for series in self._sizes}
        self._batched = {series: self._shown_before(series) for series in self._sizes}
        self._days = {series: _Day(shown, shown) for series, shown in self._batched.items() if _is_of_a_day(series)}
        self._day = _day_of(int(now) + 1)
        self.refused = 0
        shown = {series: self._shown(series, number) for series, number in self._batched.items()}
        self.published = Published(0, MappingProxyType(shown))

    def _size(self, series: Series) -> int:
        return 1 if series.metric in _COARSE else self._batch_size * _STEPS.get(series.metric, 1)

    def _began(self, series: Series) -> int:
        total = self._known.get(series)
        return 0 if total is None else total.published + total.rest

    def _shown_before(self, series: Series) -> int:
        total = self._known.get(series)
        return 0 if total is None else total.published

    def relabel(self, labels: Labels, exact: Mapping[Series, int]) -> None:
        """Publish the series of other labels from now on, between two beats.

        exact: the counts at the moment before. A series that is new begins at its total of before, so that no total
        ever goes back; the counts of a series that goes are kept, and come into the ledger with the next beat.
        """
        sizes = {series: self._size(series) for series in of_beat(labels)}
        totals = self._totals({series: count + self._began_at.get(series, 0) for series, count in exact.items()})
        gone = {series: total for series, total in totals.items() if series not in sizes}
        self._known = {**self._known, **gone}
        self._left = {series: total for series, total in {**self._left, **gone}.items() if series not in sizes}
        new = sizes.keys() - self._sizes.keys()
        self._began_at = {series: self._began(series) if series in new else self._began_at[series] for series in sizes}
        self._phases = {
            series: self._phases[series] if series in self._phases else self._phase(size)
            for series, size in sizes.items()
        }
        self._batched = {
            series: self._shown_before(series) if series in new else self._batched[series] for series in sizes
        }
        self._days = {
            series: self._days[series] if series in self._days else _Day(shown, shown)
            for series, shown in self._batched.items()
            if _is_of_a_day(series)
        }
        self._sizes = sizes
        self.show(Drawn(self.published.at, self.published.values, {}))

    def _beat_of(self, now: float) -> int:
        return int(now // self._every_s)

    def due_in_s(self, now: float) -> float:
        """Return the seconds from `now` to the next beat."""
        return (self._beat_of(now) + 1) * self._every_s - now

    def draw(self, now: float) -> Drawn | None:
        """Return the beat to show if `now` is in another beat than at the last call, else None."""
        beat = self._beat_of(now)
        if beat == self._beat:
            return None
        self._beat = beat
        exact = self._exact()
        closes = self._closes_a_day(beat * self._every_s)
        if closes:
            self._turn_day()
        batched = {series: self._batch(series, exact, closes) for series in self._sizes}
        values = {series: self._shown(series, batched[series]) for series in self._sizes}
        self._batched = batched
        if closes:
            self._days = {series: _Day(exact.get(series, 0), batched[series]) for series in self._days}
            self._phases |= {series: self._phase(self._sizes[series]) for series in self._days}
        return Drawn(beat * self._every_s, MappingProxyType(values), self._totals(exact))

    def _closes_a_day(self, at: int) -> bool:
        """Return whether the beat at `at` is the last one of its day, or the first since a day that had none."""
        begun, day = self._day, _day_of(at)
        last = _day_of(at + self._every_s) != day
        self._day = day + last
        return last or day != begun

    def show(self, drawn: Drawn) -> None:
        """Publish a drawn beat. A series that came after it was drawn is shown as it began."""
        values = {
            series: drawn.values[series] if series in drawn.values else self._shown(series, batched)
            for series, batched in self._batched.items()
        }
        self.published = Published(drawn.at, MappingProxyType(values))

    def publish(self, now: float) -> bool:
        """Publish if `now` is in another beat than at the last call; return whether it did."""
        drawn = self.draw(now)
        if drawn is not None:
            self.show(drawn)
        return drawn is not None

    def totals(self) -> Mapping[Series, Total]:
        """Return each total now: the part that was published, and the rest beyond it."""
        return self._totals(self._exact())

    def _exact(self) -> dict[Series, int]:
        exact = self._read_exact()
        self._count_refused(exact)
        return {series: number + self._began_at.get(series, 0) for series, number in exact.items()}

    def _totals(self, exact: Mapping[Series, int]) -> Mapping[Series, Total]:
        shown_now = {
            series: Total(shown, self._rest(series, exact[series], shown))
            for series, shown in self._batched.items()
            if series in exact and _is_total(series)
        }
        return {**self._left, **shown_now}

    def _rest(self, series: Series, exact: int, shown: int) -> int:
        """Return what was counted beyond what is shown; of a day's series, on this day."""
        day = self._days.get(series, _NO_DAY)
        return max(0, exact - day.exact - (shown - day.shown))

    def _batch(self, series: Series, exact: Mapping[Series, int], closes: bool) -> int:
        before = self._batched[series]
        if series not in exact:
            return before
        size = self._sizes[series]
        if series in self._days:
            day = self._days[series]
            up = size - 1 if closes else 0
            grown = max(0, exact[series] - day.exact - self._phases[series] + up)
            return max(before, day.shown + grown // size * size)
        whole = max(0, exact[series] - self._phases[series]) // size * size
        return whole if series.metric in _LEVELS else max(before, whole)

    def _shown(self, series: Series, batched: int) -> int:
        if series.metric in _MARKS:
            return int(batched > self._batched[series])
        return batched

    def _count_refused(self, exact: Mapping[Series, int]) -> None:
        unknown = len(exact.keys() - self._sizes.keys())
        if unknown and not self.refused:
            _log.error("%d series are outside the closed table of counts and are not published", unknown)
        self.refused += unknown

    async def run(self, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> NoReturn:
        """Publish on every beat until cancelled; `clock` gives unix time, `sleep` takes seconds."""
        while True:
            await sleep(min(self.due_in_s(clock()), MAX_NAP_S))
            await self.look(clock())

    async def look(self, now: float) -> None:
        """Write down and then publish, if `now` is in another beat than at the last call."""
        if self._books:
            self._books.watch(now)
        drawn = self.draw(now)
        if drawn is not None:
            if self._books:
                await self._books.keep(drawn.at, drawn.totals)
            self.show(drawn)


def _is_total(series: Series) -> bool:
    return series.metric not in _LEVELS


def _is_of_a_day(series: Series) -> bool:
    return series.metric in _OF_A_DAY


def _day_of(at: int) -> int:
    """Return the number of the day that a beat at `at` (unix seconds) belongs to: its counts are of the time before it.
    """
    return (at - 1) // _DAY_S
