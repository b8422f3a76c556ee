"""Noise from a key: the same for the same roster and figure, other for any other, and of the roster's distribution."""

import pytest

from resolver.count.national import noise
from resolver.count.national.roster import Noise, deviation
from tests.unit.count.national.operators import NOISE, seed

KEY, DIGEST = seed("noise"), seed("roster").hex()


def test_key_roster_list_and_figure_decide_it() -> None:
    cases = [
        (KEY, DIGEST, "court", 100),
        (seed("another"), DIGEST, "court", 100),
        (KEY, seed("other").hex(), "court", 100),
        (KEY, DIGEST, "demo", 100),
        (KEY, DIGEST, "court", 101),
    ]
    found = [noise.drawn(*one, NOISE) for one in cases]
    assert found == [noise.drawn(*one, NOISE) for one in cases]
    assert len({one.salt for one in found}) == len({one.noise for one in found}) == 5
    assert noise.drawn(*cases[0], None).noise == 0


def test_its_deviation_is_that_of_the_roster() -> None:
    for wanted in (NOISE, Noise(unit=480, scale=480, honest=4)):
        shares = [noise.drawn(KEY, DIGEST, "court", figure, wanted).noise for figure in range(1000)]
        spread = (sum(one * one for one in shares) / len(shares)) ** 0.5
        assert spread == pytest.approx(deviation(wanted, 1), rel=0.15)


def test_whole_numbers_are_uniform_below_their_bound() -> None:
    below = noise.below_of(KEY)
    assert [below(1) for _ in range(3)] == [0, 0, 0]
    counts = [0] * 6
    for _ in range(6000):
        counts[below(6)] += 1
    assert sum((count - 1000) ** 2 / 1000 for count in counts) < 20.5
    assert max(below(257) for _ in range(3000)) == 256
