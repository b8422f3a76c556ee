"""Draws whole numbers for noise, exactly: geometric, Polya, and shares of one discrete Laplace.

Rules:
- Each draw is made of uniform whole numbers alone; no floating-point number is part of it (Canonne, Kamath and Steinke,
  "The Discrete Gaussian for Differential Privacy", algorithms 1 and 2).
- The sum of `parts` shares has the discrete Laplace distribution: probability proportional to exp(-|n| / scale). It is
  the difference of two geometric numbers, and a geometric number is the sum of `parts` Polya numbers with index
  1 / parts (Harrison and Manurangsi, "Infinitely Divisible Noise for Differential Privacy": negative binomial shares).
"""

from collections.abc import Callable

Below = Callable[[int], int]
"""Draws a whole number from 0 to n - 1, each equally likely (secrets.randbelow)."""


def happens(over: int, under: int, below: Below) -> bool:
    """Return True with probability exp(-over / under), for over <= under."""
    number = 1
    while below(under * number) < over:
        number += 1
    return number % 2 == 1


def geometric(scale: int, below: Below) -> int:
    """Return a whole number n >= 0 with a probability proportional to exp(-n / scale)."""
    part = below(scale)
    while not happens(part, scale, below):
        part = below(scale)
    whole = 0
    while happens(1, 1, below):
        whole += 1
    return part + scale * whole


def polya(scale: int, parts: int, below: Below) -> int:
    """Return a number with the Polya distribution of index 1 / parts: the sum of `parts` of them is `geometric`.

    A geometric number n is accepted with the ratio of both probabilities, the product of (1 / parts + i - 1) / i for i
    from 1 to n, up to a constant. It takes about scale ** (1 - 1 / parts) tries.
    """
    if parts == 1:
        return geometric(scale, below)
    while True:
        number = geometric(scale, below)
        if all(below(parts * i) <= parts * (i - 1) for i in range(1, number + 1)):
            return number


def laplace_share(scale: int, parts: int, below: Below) -> int:
    """Return one share of discrete Laplace noise: the sum of `parts` independent shares is the whole noise."""
    return polya(scale, parts, below) - polya(scale, parts, below)
