"""Adds noise to figures that are published: the discrete Laplace distribution, sampled exactly from a key.

Rules:
- Each day and each whole month has a figure of its own, drawn once and kept in the ledger: a run that asks for it again
  gives the same one. A part of a month is the sum of its days' figures, so that no choice of days has another draw.
- The bits are a keyed function of what the figure counts (definition, source, region, list, days), of epsilon, of the
  sensitivity and of the count: without the ledger too the same count gets the same noise, and another count another.
- What is protected is all that one client prefix adds in one day to a list: of the attempts only the first few count
  (definition.BOUNDED), and their published total moves by whole batches. So the sensitivity is the cap, rounded up to
  whole batches, for each resolver. Half of epsilon is the day's figure's, half is its
  month's. The scale is 2 * sensitivity / epsilon.
- Nothing is clipped before it is summed: only what is printed is never below zero, so no sum has a bias.
- Figures without a cap (blocked queries, and their share of all answers) are left out. Ratios, peaks and returns to
  normal are computed from the noisy counts.
- No floating-point number is part of a sample (count.draws).
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import count
from typing import Final, Protocol

from resolver.count import definition
from resolver.count.draws import Below, laplace_share
from resolver.count.ledger import Draw
from resolver.count.report import budget
from resolver.count.report.days import DAY, UNKNOWN, DayFacts, Days, Place

EPSILONS: Final[Mapping[str, int]] = {"0.1": 10, "0.2": 20, "0.5": 50, "1": 100, "2": 200}
"""The values that epsilon can have, in hundredths: with each the scale is a whole number."""
DEFAULT: Final = "1"
CAP: Final = definition.BOUNDED_A_DAY
"""What one client prefix can add in a day to a list's figure of one resolver (resolver.core.tally)."""


class Books(Protocol):
    """Keeps figures: see `Ledger.draw`."""

    def draw(self, wanted: Sequence[Draw], check: Callable[[Sequence[Draw]], None]) -> dict[tuple[str | int, ...], int]:
        """Return the figures that are wanted, by key, as they were first drawn."""

    def draws(self) -> list[Draw]:
        """Return every figure that was ever given out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How noise is drawn. key: 32 octets, secret. host: whose counts these are, "" for those of a whole fleet.

    books: keeps the figures. now: unix seconds. batch: the step of published totals. epsilon: one of EPSILONS.
    """

    key: bytes = field(repr=False)
    host: str
    books: Books
    now: float
    batch: int
    epsilon: str = DEFAULT

    @property
    def source(self) -> str:
        """Return the word for whose counts these are, as the books have it: a host's own key may be replaced."""
        return "host" if self.host else "fleet"

    @property
    def sensitivity(self) -> int:
        """Return by how much one client prefix can move the figure of a day or month of one resolver."""
        return -(-CAP // self.batch) * self.batch

    @property
    def half(self) -> int:
        """Return the epsilon of one figure, in hundredths."""
        return EPSILONS[self.epsilon] // 2


def noisy(
    facts: Mapping[Place, Days], first: date, last: date, noise: Noise
) -> tuple[dict[Place, Days], dict[tuple[Place, date], int]]:
    """Return the days with noise, without blocked queries and answers, and by place and first day the figure of each
    whole month from `first` to `last`; budget.Spent if the budget has not enough left, and then nothing is drawn.

    If it has enough for these days, but not for the days before, of those only what was drawn before is in the result.
    """
    wanted: dict[tuple[Place, date, date], Draw] = {}
    for place, days in facts.items():
        spans = [*((day, day) for day in days), *_whole_months(first, last)]
        for begin, end in spans:
            known = [one for day, one in days.items() if begin <= day <= end and one.parts.bounded is not None]
            if known:
                wanted[place, begin, end] = _drawn(place, begin, end, known, noise)
    try:
        figures = noise.books.draw(list(wanted.values()), budget.check)
    except budget.Spent:
        kept = {one.key for one in noise.books.draws()}
        least = [draw for (_, begin, _), draw in wanted.items() if begin >= first or draw.key in kept]
        figures = noise.books.draw(least, budget.check)
    given = {span: figures[draw.key] for span, draw in wanted.items() if draw.key in figures}
    found = {
        place: {
            day: replace(
                one,
                attempts=given.get((place, day, day)),
                queries=None,
                answers=None,
                definitions=frozenset({definition.BOUNDED_VERSION} if (place, day, day) in given else ()),
                parts=UNKNOWN,
            )
            for day, one in days.items()
        }
        for place, days in facts.items()
    }
    return found, {(place, begin): figure for (place, begin, end), figure in given.items() if begin != end}


def said(noise: Noise) -> str:
    """Return the sentences on noise and on what is left of the budget, for every format."""
    spent = "; ".join(map(str, budget.spendings(noise.books.draws())))
    half = budget.epsilon(noise.half)
    return (
        f"Noise was added: attempts have discrete Laplace noise with epsilon {noise.epsilon} for all that one client "
        f"prefix adds in a day to the figures of one resolver and list: at most {CAP} attempts (the cap), published in "
        f"batches of {noise.batch}. {half} is for a day's figure and {half} for a month's, so that a figure shows "
        "little about whether any one client was there that day. A figure of one resolver, of a month too, is usually "
        f"off by about {_scale(noise.sensitivity, noise)} (of several, by as many times that); it is drawn once, and "
        "each run gives the same. A figure below zero is printed as zero, and never summed as zero. Blocked queries, "
        f"which no cap bounds, are left out. {definition.BOUNDED} Not covered: a client on several days (each costs "
        "epsilon again), with several prefixes, at several resolvers or on several lists. Budget (epsilon, of one "
        f"client that is there every day): {spent}."
    )


def below_by(key: bytes, text: bytes) -> Below:
    """Return the draws that a key makes of a text: HMAC-SHA-256 in counter mode, without a bias."""
    seed, blocks, pool, left = hmac.digest(key, text, hashlib.sha256), count(), 0, 0

    def below(bound: int) -> int:
        nonlocal pool, left
        size = (bound - 1).bit_length()
        while True:
            while left < size:
                block = hmac.digest(seed, next(blocks).to_bytes(8), hashlib.sha256)
                pool, left = pool << 8 * len(block) | int.from_bytes(block), left + 8 * len(block)
            left -= size
            number, pool = pool >> left, pool & (1 << left) - 1
            if number < bound:
                return number

    return below


def _drawn(place: Place, first: date, last: date, known: Sequence[DayFacts], noise: Noise) -> Draw:
    """Return the figure of some days of a place, for `Books`: it is given out unless there is an earlier one."""
    counted = sum(one.parts.bounded or 0 for one in known)
    sensitivity = noise.sensitivity * max(one.resolvers for one in known)
    draw = Draw(
        definition=definition.BOUNDED_VERSION,
        source=noise.source,
        region=place.region,
        list_id=place.list_id,
        first=first.isoformat(),
        last=last.isoformat(),
        epsilon=noise.half,
        sensitivity=sensitivity,
        figure=counted,
        drawn=int(noise.now),
    )
    text = json.dumps([noise.host, *draw.key, sensitivity, counted]).encode()
    return replace(draw, figure=counted + laplace_share(_scale(sensitivity, noise), 1, below_by(noise.key, text)))


def _scale(sensitivity: int, noise: Noise) -> int:
    return sensitivity * 100 // noise.half


def _whole_months(first: date, last: date) -> Iterator[tuple[date, date]]:
    """Yield the first and last day of each whole month from `first` to `last`."""
    begin = first if first.day == 1 else (first.replace(day=1) + 31 * DAY).replace(day=1)
    while (end := (begin + 31 * DAY).replace(day=1) - DAY) <= last:
        yield begin, end
        begin = end + DAY
