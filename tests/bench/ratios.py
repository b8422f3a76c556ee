"""The arithmetic: median and spread of what was measured in several rounds, and of ratios within each round.

A round asks all subjects one after the other, so that what slows the machine down for a while slows both sides of a
ratio. A median of ratios therefore says more than a ratio of medians.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """The median, the least and the most of all rounds."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{shown(self.median)} ({shown(self.least)}-{shown(self.most)})"


def shown(value: float) -> str:
    """A number with about three digits."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def spread(values: Sequence[float]) -> Spread:
    """Of all rounds."""
    return Spread(statistics.median(values), min(values), max(values))


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Spread | None:
    """Of the ratios within each round that both have; None where there is no such round."""
    rounds = [number for number in ours if theirs.get(number)]
    return spread([ours[number] / theirs[number] for number in rounds]) if rounds else None


def in_turn(subjects: Sequence[str], round_number: int) -> list[str]:
    """The order of a round: each begins with the next subject, so that none always follows the same one."""
    at = round_number % len(subjects) if subjects else 0
    return [*subjects[at:], *subjects[:at]]
