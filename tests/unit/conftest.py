"""Unit tests start no process to fetch or to compile, unless they are marked `processes`."""

import pytest


@pytest.fixture(autouse=True)
def _no_process(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("processes") is None:
        request.getfixturevalue("in_this_process")
