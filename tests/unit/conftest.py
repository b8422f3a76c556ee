"""Tests of the feed start no process: they fetch and compile in their own."""

import pytest

from tests.fakes import processes


@pytest.fixture(autouse=True)
def _in_this_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("processes") is None:
        processes.replace(monkeypatch)
