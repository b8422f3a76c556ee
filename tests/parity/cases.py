"""How many cases a comparison runs, and what it met: a run that met nothing has compared nothing.

The profile of tests/conftest.py gives the number for all comparisons together in the deep run (100,000 and more),
and for each in the fast one.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

import hypothesis
from hypothesis import strategies as st

from tests.parity import twin

Core = Callable[[str], ModuleType]
BUILDS: tuple[Core, ...] = (twin.compiled, twin.load)

DEEP = 100_000
is_deep = hypothesis.settings.default.max_examples >= DEEP

met: dict[str, Counter[str]] = {}

randoms = st.randoms(use_true_random=True)


def of(share: float) -> hypothesis.settings:
    """Settings for a comparison that takes `share` of the deep run's cases."""
    number = hypothesis.settings.default.max_examples
    return hypothesis.settings(
        max_examples=max(100, round(number * share)) if is_deep else number,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


def both(scenario: Callable[..., Any], *arguments: Any) -> Any:
    """What `scenario(core, *arguments)` gives, the same from both builds."""
    from_c, from_python = (scenario(core, *arguments) for core in BUILDS)
    assert from_c == from_python
    return from_c


def count(comparison: str, *names: str) -> None:
    """Note one case and what it met."""
    seen = met.setdefault(comparison, Counter())
    seen["cases"] += 1
    seen.update(names)


def assert_met(comparison: str, *names: str) -> None:
    """Fail where the comparison never met one of these."""
    missing = [name for name in names if not met[comparison][name]]
    assert not missing, f"{comparison}: never met {missing}, only {dict(met[comparison])}"


def seeded(*parts: object) -> random.Random:
    """A Random that is the same in every run."""
    return random.Random(hashlib.sha256(repr(parts).encode()).digest())
