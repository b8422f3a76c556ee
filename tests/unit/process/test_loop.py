"""The event loop: what it says of an error, and when it looks for garbage."""

import asyncio
import gc

import pytest

from resolver.process import loop

CANARY = "canary-7f3a.test"


def test_what_fails_in_the_loop_is_named_by_its_kind(caplog: pytest.LogCaptureFixture) -> None:
    with asyncio.Runner() as runner:
        loop.log_what_failed(runner.get_loop(), {"message": CANARY, "exception": ValueError(CANARY)})
    assert caplog.messages == ["in the event loop: ValueError"]


def test_garbage_is_looked_for_rarely() -> None:
    before = gc.get_threshold()
    try:
        loop.collect_garbage_rarely()
        assert gc.get_threshold() == (loop.GARBAGE, 10, 10)
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_the_loop_is_uvloop_s_where_it_is_installed() -> None:
    factory = loop.loop_factory()
    made = asyncio.new_event_loop() if factory is None else factory()
    made.close()
    assert isinstance(made, asyncio.AbstractEventLoop)
