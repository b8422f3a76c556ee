"""Draws: geometric, Polya and shares of discrete Laplace noise have the distributions that are stated."""

import math
import random
from collections import Counter

import pytest

from resolver.count import draws


def near(found: Counter[int], number: int, share: float, total: int) -> bool:
    """Whether a number was drawn as often as its probability says, to within five standard errors."""
    return abs(found[number] / total - share) < 5 * math.sqrt(share / total)


def test_an_event_happens_with_its_probability() -> None:
    below, total = random.Random(1).randrange, 40_000
    for over, under in ((0, 5), (1, 1), (1, 3), (2, 3)):
        found = Counter(int(draws.happens(over, under, below)) for _ in range(total))
        assert near(found, 1, math.exp(-over / under), total), (over, under)


def test_geometric() -> None:
    below, total, scale = random.Random(2).randrange, 40_000, 4
    found = Counter(draws.geometric(scale, below) for _ in range(total))
    alpha = math.exp(-1 / scale)
    assert all(near(found, number, (1 - alpha) * alpha**number, total) for number in range(16))


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_polya_has_the_negative_binomial_distribution_of_a_part(parts: int) -> None:
    below, total, scale = random.Random(parts).randrange, 40_000, 4
    found = Counter(draws.polya(scale, parts, below) for _ in range(total))
    alpha, index = math.exp(-1 / scale), 1 / parts
    for number in range(12):
        weight = math.gamma(number + index) / math.gamma(index) / math.factorial(number)
        assert near(found, number, weight * (1 - alpha) ** index * alpha**number, total), number


@pytest.mark.parametrize("parts", [1, 3])
def test_the_sum_of_all_shares_is_discrete_laplace(parts: int) -> None:
    below, total, scale = random.Random(10 + parts).randrange, 10_000, 3
    found = Counter(sum(draws.laplace_share(scale, parts, below) for _ in range(parts)) for _ in range(total))
    norm = (1 - math.exp(-1 / scale)) / (1 + math.exp(-1 / scale))
    assert all(near(found, number, norm * math.exp(-abs(number) / scale), total) for number in range(-8, 9))
