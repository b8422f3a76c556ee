"""Noise: the distribution is the one that is stated, nothing falls below zero, what no cap bounds is left out."""

import math
import random
from collections import Counter

import pytest

from resolver.core.tally import CAP_AN_HOUR
from resolver.count.report import noise
from resolver.count.report.noise import SCALE, SENSITIVITY, laplace, noisy
from tests.unit.count.spring import RURITANIA, facts


def test_it_is_discrete_laplace() -> None:
    """Shares of 60,000 draws are those of exp(-|n| / scale), to within four standard errors."""
    below, scale, draws = random.Random(7).randrange, 3, 60_000
    found = Counter(laplace(scale, below) for _ in range(draws))
    norm = (1 - math.exp(-1 / scale)) / (1 + math.exp(-1 / scale))
    for number in range(-8, 9):
        share = norm * math.exp(-abs(number) / scale)
        assert abs(found[number] / draws - share) < 4 * math.sqrt(share / draws)


def test_its_spread_is_that_of_what_one_client_can_add() -> None:
    assert SENSITIVITY == CAP_AN_HOUR * 24
    below = random.Random(8).randrange
    spread = sum(abs(laplace(SCALE, below)) for _ in range(20_000)) / 20_000
    assert spread == pytest.approx(SCALE, rel=0.05)


def test_never_below_zero_and_no_blocked_queries() -> None:
    small = {day: one for day, one in facts()[RURITANIA].items() if day.month == 1}
    small = {day: type(one)(**{**fields(one), "attempts": 10}) for day, one in small.items()}
    found = noisy({RURITANIA: small}, random.Random(9).randrange)[RURITANIA].values()
    assert min(one.attempts or 0 for one in found) == 0
    assert len({one.attempts for one in found}) > 10
    assert {(one.queries, one.answers) for one in found} == {(None, None)}


def fields(facts: object) -> dict[str, object]:
    return {name: getattr(facts, name) for name in facts.__slots__}  # type: ignore[attr-defined]


def test_what_is_not_known_stays_so() -> None:
    (day, one), *_ = facts()[RURITANIA].items()
    unknown = type(one)(**{**fields(one), "attempts": None})  # type: ignore[arg-type]
    assert noisy({RURITANIA: {day: unknown}}, random.Random(1).randrange)[RURITANIA][day].attempts is None


def test_the_sentence_says_epsilon_and_for_what() -> None:
    assert "epsilon 1 " in noise.SAID
    assert "480" in noise.SAID
    assert "publish only one" in noise.SAID
