"""The number of an engine's threads."""

import pytest

from resolver.engine import threads
from resolver.engine.threads import MOST_THREADS, threads_of


def test_zero_threads_are_one_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda process: set(range(6)))
    assert [threads_of(0), threads_of(1), threads_of(64)] == [6, 1, 64]
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda process: set(range(500)))
    assert threads_of(0) == MOST_THREADS
