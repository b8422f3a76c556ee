"""OpenDP's discrete Laplace mechanism and ours: the same epsilon for the same scale, and the same distribution.

OpenDP takes 265 MB, so it is no dependency of `make test`; `make test-peers` installs it.
"""

import importlib
import importlib.util
import os
from collections import Counter
from typing import Any

import pytest

from resolver.count.draws import laplace_share
from resolver.count.report.noise import EPSILONS, below_by
from tests.unit.count import spring

DRAWS = 30_000


@pytest.fixture(scope="module")
def dp() -> Any:
    """The library; without it the test is skipped, and fails if CI=true."""
    if importlib.util.find_spec("opendp") is None:
        said = "OpenDP is not installed: pip install 'opendp>=0.16,<0.17'"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        # A developer's machine need not have it; CI has.
        pytest.skip(said)
    library: Any = importlib.import_module("opendp.prelude")
    library.enable_features("contrib")
    return library


def mechanism(dp: Any, scale: int) -> Any:
    return dp.m.make_laplace(dp.atom_domain(T=int), dp.absolute_distance(T=int), scale=float(scale))


@pytest.mark.peers
@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("batch", [1, 10, 100])
def test_our_scale_gives_the_epsilon_that_we_state(dp: Any, epsilon: str, batch: int) -> None:
    noise = spring.noise(epsilon=epsilon, batch=batch)
    scale = noise.sensitivity * 100 // noise.half
    spent = mechanism(dp, scale).map(noise.sensitivity)
    assert 2 * spent == pytest.approx(float(epsilon)), "a day's figure and its month's"


@pytest.mark.peers
@pytest.mark.parametrize("scale", [2, 20, 200])
def test_the_distribution_is_the_same(dp: Any, scale: int) -> None:
    """Chi-squared of two samples over bins of an eighth of the scale: no further off than six standard deviations."""
    theirs, below = mechanism(dp, scale), below_by(b"k" * 32, str(scale).encode())
    width = max(1, scale // 8)

    def bin_of(number: int) -> int:
        return max(-24, min(24, number // width))

    ours_found = Counter(bin_of(laplace_share(scale, 1, below)) for _ in range(DRAWS))
    theirs_found = Counter(bin_of(theirs(0)) for _ in range(DRAWS))
    bins = [one for one in set(ours_found) | set(theirs_found) if ours_found[one] + theirs_found[one] >= 20]
    assert len(bins) > 8
    found = sum((ours_found[one] - theirs_found[one]) ** 2 / (ours_found[one] + theirs_found[one]) for one in bins)
    degrees = len(bins) - 1
    assert found < degrees + 6 * (2 * degrees) ** 0.5
