"""Noise for figures that are given away: the discrete Laplace distribution, drawn exactly.

Rules:
- Each day's attempts get a draw of their own with epsilon 1 for all that one client address can add in a day at one
  resolver: 20 an hour, 480 (resolver.core.tally caps it over all lists). The scale is 480.
- What no cap bounds (blocked queries, and their share of all answers) is left out.
- Below zero is shown as zero. Ratios, peaks and returns are worked out from the noisy counts.
- Random bits come from the operating system; no floating-point number is part of a draw (Canonne, Kamath and Steinke,
  "The Discrete Gaussian for Differential Privacy", algorithm 2).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from resolver.count.report.days import DayFacts, Days, Place

EPSILON: Final = 1
SENSITIVITY: Final = 20 * 24
SCALE: Final = SENSITIVITY // EPSILON

# The standard deviation of thirty days.
_MONTH: Final = round(SCALE * 60**0.5 / 100) * 100

SAID: Final = (
    f"Noise was added: each day's attempts have discrete Laplace noise with epsilon {EPSILON} for the {SENSITIVITY} "
    "attempts that one client address can add in a day at one resolver (20 an hour), so that a figure says little of "
    f"whether any one client was there; a day is typically off by some {SCALE}, a month by some {_MONTH}, and what "
    "would be below zero is shown as zero. Blocked queries, which no cap bounds, are left out. Each run draws anew, "
    "and several together say more than one: publish one."
)

Below = Callable[[int], int]
"""Draws a whole number from 0 up to below n, each as likely (secrets.randbelow)."""


def noisy(facts: Mapping[Place, Days], below: Below) -> dict[Place, Days]:
    """The same days with noise on the attempts and without blocked queries."""
    return {place: {day: _noisy(one, below) for day, one in days.items()} for place, days in facts.items()}


def _noisy(facts: DayFacts, below: Below) -> DayFacts:
    attempts = None if facts.attempts is None else max(0, facts.attempts + laplace(SCALE, below))
    return replace(facts, attempts=attempts, queries=None, answers=None)


def laplace(scale: int, below: Below) -> int:
    """A whole number n with a probability in proportion to exp(-|n| / scale)."""
    while True:
        part = below(scale)
        if not _happens(part, scale, below):
            continue
        whole = 0
        while _happens(1, 1, below):
            whole += 1
        size, negative = part + scale * whole, below(2)
        if size or not negative:
            return -size if negative else size


def _happens(over: int, under: int, below: Below) -> bool:
    """True with probability exp(-over / under), for over <= under."""
    number = 1
    while below(under * number) < over:
        number += 1
    return number % 2 == 1
