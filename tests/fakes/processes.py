"""Fetches and compiles in this process what `feed.processes` does in processes of their own.

The same request reaches the same module's `fetch` or `make`, through the same encoding; only what a process is for is
missing: the sandbox, the pipes, the timeout. tests/unit/feed/test_processes.py and the journeys start real processes.
"""

import asyncio
import importlib
from collections.abc import Callable
from typing import TypeVar

import msgspec
import pytest

from resolver.feed import processes
from resolver.feed.details import Detail, no_step
from resolver.feed.fetch import child
from resolver.feed.messages import Compiled, CompileRequest, Facts, FetchRequest
from resolver.feed.names import compile as compiling
from resolver.feed.names import read
from resolver.feed.processes import UpdateFailed
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed

_Message = TypeVar("_Message", bound=msgspec.Struct)
_Result = TypeVar("_Result")


def replace(patch: pytest.MonkeyPatch) -> None:
    """Let `fetch_list` and `compile_image` start no process until `patch` is undone."""
    patch.setattr(processes, "fetch", fetch)
    patch.setattr(processes, "compile_list", compile_list)


async def fetch(
    module: str, request: FetchRequest, wanted: Callable[[Facts], bool], step: Callable[[Detail], None] = no_step
) -> tuple[Facts, bool]:
    """As processes.fetch. The source is read in a thread, so that a server of this test's loop can answer."""
    loop, seen = asyncio.get_running_loop(), []

    async def asked(facts: Facts) -> bool:
        seen.append(_sent(facts))
        return wanted(seen[0])

    def told(facts: Facts) -> bool:
        return asyncio.run_coroutine_threadsafe(asked(facts), loop).result()

    child.STEPS.set(step)
    done = await _worked(importlib.import_module(module).fetch, _sent(request), told)
    return seen[0], done


async def compile_list(request: CompileRequest, seconds: float = 0) -> Compiled:
    """As processes.compile_list."""

    def made() -> Compiled:
        psl = read.suffixes()
        return compiling.make(_sent(request), psl, compiling.protected_of(request, psl))

    return _sent(await _worked(made))


async def _worked(work: Callable[..., _Result], *arguments: object) -> _Result:
    """The result of `work` in a thread; UpdateFailed for the reason that a process would have ended with."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except Failed as failed:
        raise UpdateFailed(Reason(failed.reason), failed.detail) from None
    except Exception:  # noqa: BLE001 - as sandbox.run
        raise UpdateFailed(Reason.INTERNAL) from None


def _sent(message: _Message) -> _Message:
    """What comes out at the other end."""
    return msgspec.json.decode(msgspec.json.encode(message), type=type(message))
