"""Adds noise to figures that are published: the discrete Laplace distribution, sampled exactly.

Rules:
- Each day's attempts get their own sample, with epsilon 1 for all that one client address can add in a day at one
  resolver: 20 an hour, 480 a day (resolver.core.tally caps it over all lists). The scale is 480.
- Figures without a cap (blocked queries, and their share of all answers) are left out.
- A negative result is shown as zero. Ratios, peaks and returns to normal are computed from the noisy counts.
- Random bits come from the operating system; no floating-point number is part of a sample (Canonne, Kamath and Steinke,
  "The Discrete Gaussian for Differential Privacy", algorithm 2).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from resolver.count.report.days import DayFacts, Days, Place

EPSILON: Final = 1
SENSITIVITY: Final = 20 * 24
SCALE: Final = SENSITIVITY // EPSILON

# The standard deviation over thirty days.
_MONTH: Final = round(SCALE * 60**0.5 / 100) * 100

SAID: Final = (
    f"Noise was added: each day's attempts have discrete Laplace noise with epsilon {EPSILON} for the {SENSITIVITY} "
    "attempts that one client address can add in a day at one resolver (20 an hour), so that a figure shows little "
    f"about whether any one client was there; a day is typically off by about {SCALE}, a month by about {_MONTH}, and "
    "a negative result is shown as zero. Blocked queries, which no cap bounds, are left out. Each run adds new noise, "
    "and several runs together reveal more than one: publish only one."
)

Below = Callable[[int], int]
"""Draws a whole number from 0 to n - 1, each equally likely (secrets.randbelow)."""


def noisy(facts: Mapping[Place, Days], below: Below) -> dict[Place, Days]:
    """Return the same days with noise on the attempts and without blocked queries and answers."""
    return {place: {day: _noisy(one, below) for day, one in days.items()} for place, days in facts.items()}


def _noisy(facts: DayFacts, below: Below) -> DayFacts:
    attempts = None if facts.attempts is None else max(0, facts.attempts + laplace(SCALE, below))
    return replace(facts, attempts=attempts, queries=None, answers=None)


def laplace(scale: int, below: Below) -> int:
    """Return a random whole number n, with a probability proportional to exp(-|n| / scale)."""
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
    """Return True with probability exp(-over / under), for over <= under."""
    number = 1
    while below(under * number) < over:
        number += 1
    return number % 2 == 1
