"""Noise: the distribution is the one that is stated, a figure is one draw, and no sum has a bias."""

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import fmean, stdev

import pytest

from resolver.core.tally import CAP_A_DAY
from resolver.count import definition
from resolver.count.draws import laplace_share
from resolver.count.ledger import Ledger
from resolver.count.metrics import Series
from resolver.count.publish import Publisher
from resolver.count.report import noise, report
from resolver.count.report.days import DAY, DayFacts, Days, Parts, Place, midnight
from resolver.count.report.noise import CAP, EPSILONS, below_by, noisy
from tests.unit.count import spring
from tests.unit.count.labels import LABELS

BOUNDED = Series("blocked_attempts_bounded_total", ("demo",))
HERE = Place("Erewhon", "demo")
FIRST, LAST = date(2025, 1, 1), date(2025, 12, 31)
ONE = DayFacts(
    attempts=560, queries=900, answers=10**6, enforced=1.0, entries=100, serial=1, subscribers=0,
    definitions=frozenset({"v2"}), parts=Parts(bounded=560, capped=0, full=0),
)  # fmt: skip


def year(attempts: int | None = 560) -> dict[Place, Days]:
    """A year of an operator with so many bounded attempts a day."""
    one = replace(ONE, attempts=10_000, parts=Parts(bounded=attempts))
    return {HERE: {FIRST + number * DAY: one for number in range((LAST - FIRST).days + 1)}}


def keyed(number: int) -> Callable[[int], int]:
    return below_by(b"k" * 32, str(number).encode())


def test_it_is_discrete_laplace() -> None:
    """Shares of 40,000 draws by a key are those of exp(-|n| / scale), to within four standard errors."""
    below, scale, draws = keyed(7), 3, 40_000
    found = Counter(laplace_share(scale, 1, below) for _ in range(draws))
    norm = (1 - math.exp(-1 / scale)) / (1 + math.exp(-1 / scale))
    for number in range(-8, 9):
        share = norm * math.exp(-abs(number) / scale)
        assert abs(found[number] / draws - share) < 4 * math.sqrt(share / draws)


@pytest.mark.parametrize("bound", [1, 2, 3, 7, 480, 1000])
def test_each_number_below_a_bound_is_equally_likely(bound: int) -> None:
    below, draws = keyed(bound), 20_000
    found = [below(bound) for _ in range(draws)]
    assert 0 <= min(found) <= max(found) < bound
    spread = math.sqrt((bound * bound - 1) / 12 / draws)
    assert abs(fmean(found) - (bound - 1) / 2) <= 4 * spread


def test_the_cap_is_what_one_client_can_add() -> None:
    assert CAP == CAP_A_DAY


@pytest.mark.parametrize(("batch", "sensitivity"), [(1, 3), (2, 4), (3, 3), (10, 10), (100, 100)])
def test_the_sensitivity_is_the_cap_in_whole_batches(batch: int, sensitivity: int) -> None:
    assert spring.noise(batch=batch).sensitivity == sensitivity


def test_400_runs_give_one_value(tmp_path: Path) -> None:
    books = Ledger(tmp_path / "ledger.sqlite", spring.NOW)
    month = {HERE: {day: one for day, one in year()[HERE].items() if day.month == 1}}
    drawing = spring.noise(books=books)
    first = noisy(month, FIRST, date(2025, 1, 31), drawing)
    assert all(noisy(month, FIRST, date(2025, 1, 31), drawing) == first for _ in range(400))
    assert len(books.draws()) == 32, "31 days and their month"
    again = spring.noise(books=Ledger(tmp_path / "another.sqlite", spring.NOW))
    assert noisy(month, FIRST, date(2025, 1, 31), again) == first, "the key alone gives it, without the ledger"


def test_other_keys_hosts_definitions_places_days_and_counts_have_other_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    def figures(facts: dict[Place, Days], **options: object) -> list[int]:
        found, _ = noisy(facts, FIRST, FIRST, spring.noise(**options))
        return [(one.attempts or 0) - 560 for one in next(iter(found.values())).values()]

    usual = figures(year())
    assert len(set(usual)) > 90, "each day has its own"
    others = [figures(year(), key=2), figures(year(), host="another"), figures(year(), host="")]
    others.append(figures({Place("UK", HERE.list_id): year()[HERE]}))
    others.append(figures({Place(HERE.region, "other"): year()[HERE]}))
    others.append([one - 1 for one in figures(year(561))])
    monkeypatch.setattr(noise.definition, "BOUNDED_VERSION", "b9")
    others.append(figures(year()))
    for one in others:
        assert sum(now == before for now, before in zip(one, usual, strict=True)) < 30


def test_a_figure_that_was_given_out_stays_though_its_count_changes() -> None:
    drawing = spring.noise()
    assert noisy(year(), FIRST, LAST, drawing) == noisy(year(561), FIRST, LAST, drawing)


def test_several_resolvers_have_the_noise_of_several() -> None:
    facts = {HERE: {FIRST: replace(ONE, resolvers=3)}}
    drawing = spring.noise()
    noisy(facts, FIRST, FIRST, drawing)
    assert [one.sensitivity for one in drawing.books.draws()] == [3 * 10]


@pytest.mark.parametrize("attempts", [560, 10])
def test_a_month_has_no_bias_and_its_own_draw(attempts: int) -> None:
    """Of 60 hosts with the same counts, twelve months each: the mean is the truth within its standard error."""
    errors = []
    for key in range(60):
        _, months = noisy(year(attempts), FIRST, LAST, spring.noise(key))
        errors += [figure - attempts * _length(begin) for (_, begin), figure in months.items()]
    assert len(errors) == 720
    assert abs(fmean(errors)) < 3 * stdev(errors) / math.sqrt(len(errors))
    scale = 2 * 10
    assert stdev(errors) == pytest.approx(scale * math.sqrt(2), rel=0.15), "one draw, not thirty"


def test_twelve_months_of_560_a_day_from_what_is_published_are_within_one_per_cent() -> None:
    """From exact counts to the printed month, with batches of 10: each host within 1 %, all without a bias."""
    errors = []
    for host in range(12):
        draw = random.Random(host)
        exact = {day: draw.randrange(500, 621) for day in year()[HERE]}
        facts = {HERE: {day: replace(ONE, parts=Parts(bounded=one)) for day, one in published(exact, draw).items()}}
        assert any(facts[HERE][day].parts.bounded != one for day, one in exact.items())
        (place,) = report.made(facts, FIRST, LAST, source="x", now=spring.NOW, noise=spring.noise(host)).places
        for month in place.months:
            truth = sum(one for day, one in exact.items() if month.first <= day <= month.last)
            errors.append(((month.attempts or 0) - truth) / truth)
    assert len(errors) == 144
    assert fmean(map(abs, errors)) < 0.005
    assert max(fmean(map(abs, errors[at : at + 12])) for at in range(0, 144, 12)) < 0.01
    assert abs(fmean(errors)) < 3 * stdev(errors) / math.sqrt(len(errors))


def published(exact: dict[date, int], draw: random.Random) -> dict[date, int]:
    """What the beats of midnight show of each day."""
    numbers = {BOUNDED: 0}
    publisher = Publisher(
        lambda: numbers, LABELS, every_s=900, batch=10, phases=draw.randrange, now=midnight(FIRST) + 1.0
    )
    found, before = {}, 0
    for day, one in exact.items():
        numbers[BOUNDED] += one
        publisher.publish(midnight(day + DAY))
        after = publisher.published.values[BOUNDED]
        found[day], before = after - before, after
    return found


def _length(begin: date) -> int:
    return ((begin + 31 * DAY).replace(day=1) - begin).days


def test_nothing_below_zero_is_printed_and_nothing_is_clipped_before() -> None:
    drawing = spring.noise()
    found, months = noisy(year(0), FIRST, LAST, drawing)
    days = [one.attempts or 0 for one in found[HERE].values()]
    assert min(days) < 0 < max(days)
    assert min(months.values()) < 0
    printed = report.made(year(0), FIRST, LAST, source="x", now=spring.NOW, noise=drawing)
    (place,) = printed.places
    assert min(one.facts.attempts or 0 for one in place.days) == 0
    assert [one.attempts for one in place.months] == [max(0, one) for one in months.values()]
    assert min(one.figure.ratio or 0 for one in place.days) >= 0


def test_what_no_cap_bounds_is_left_out_and_what_is_not_known_stays_so() -> None:
    found, _ = noisy(year(), FIRST, LAST, spring.noise())
    assert {(one.queries, one.answers) for one in found[HERE].values()} == {(None, None)}
    unknown, months = noisy(year(None), FIRST, LAST, spring.noise())
    assert {one.attempts for one in unknown[HERE].values()} == {None}, "a day of before bounded attempts were counted"
    assert {one.definitions for one in unknown[HERE].values()} == {frozenset()}
    assert {one.definitions for one in found[HERE].values()} == {frozenset({definition.BOUNDED_VERSION})}
    assert months == {}


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_the_sentence_says_epsilon_cap_and_budget(epsilon: str) -> None:
    drawing = spring.noise(epsilon=epsilon)
    noisy({HERE: {FIRST: ONE}}, FIRST, FIRST, drawing)
    said = noise.said(drawing)
    for word in (f"with epsilon {epsilon} for", f"at most {CAP} attempts (the cap)", "drawn once", "list demo, 2025: "):
        assert word in said
    assert f"off by about {10 * 200 // EPSILONS[epsilon]} " in said
    assert definition.BOUNDED in said
