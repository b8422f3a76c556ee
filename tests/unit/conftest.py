"""Unit tests start no process to fetch or to compile, unless they are marked `processes`, and close what they open."""

import gc
import os
from collections.abc import Iterator

import pytest

LEFT_OPEN = 12
"""What a file of tests may leave open: what a process opens once (uvloop's pipes), what is kept a while by design."""


@pytest.fixture(autouse=True)
def _no_process(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("processes") is None:
        request.getfixturevalue("in_this_process")


@pytest.fixture(scope="module", autouse=True)
def _few_descriptors() -> Iterator[None]:
    """Fail where a file of tests leaves many descriptors open: the process that runs it runs a hundred files."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    if len(os.listdir("/proc/self/fd")) > before + LEFT_OPEN:
        gc.collect()
    open_now = {number: _name_of(number) for number in os.listdir("/proc/self/fd")}
    assert len(open_now) <= before + LEFT_OPEN, f"{len(open_now) - before} descriptors are left open: {open_now}"


def _name_of(number: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except FileNotFoundError:
        return "the folder that was listed"
