"""Start, feed, bound and end the two processes that see names; nothing they read ever passes through here.

Rules:
- Both are exec'd, isolated (`-I`), with an empty environment, no stderr, and only the descriptors they need.
- They answer in lines of JSON of bounded length; anything else, a crash or silence is a reason, not a text.
- Whoever waits longer than allowed is killed; so is whatever runs when the service stops.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from resolver.authority.shapes import Custom
from resolver.config import MAX_ENTRIES, MAX_TARGET_BYTES, Source

from .confine import MAX_REPLY_BYTES
from .messages import Compiled, CompileRequest, Facts, FetchRequest, Reason
from .seal import Keys

_T = TypeVar("_T")

_REASONS: Final = {reason.value: reason for reason in Reason}

FETCH_SECONDS: Final = 120.0
COMPILE_SECONDS: Final = 300.0
FETCH_MEMORY_BYTES: Final = 2**30
COMPILE_MEMORY_BYTES: Final = 3 * 2**30


class UpdateFailed(Exception):
    """An update ended before its list was in force, for `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


async def fetch_list(
    source: Source, root: Path, metadata: Path, handle: int, wanted: Callable[[Facts], bool]
) -> tuple[Facts, bool]:
    """Verified facts, and whether the list is wanted and now in memfd `handle`; UpdateFailed otherwise."""
    request = FetchRequest(
        parent=os.getpid(),
        output=handle,
        url=source.url,
        root=str(root),
        target=source.target,
        metadata=str(metadata),
        ca=source.ca,
        certificate=source.certificate,
        key=source.key,
        max_bytes=MAX_TARGET_BYTES,
        memory_bytes=FETCH_MEMORY_BYTES,
        seconds=FETCH_SECONDS,
    )
    return await fetch(request, wanted)


async def compile_image(
    handle: int,
    output: int,
    previous: int,
    keys: Keys,
    custom: Custom,
    *,
    generation: int,
    demonstration: bool,
) -> Compiled:
    """Counts of the sealed image written to `output` from the list in `handle`; UpdateFailed otherwise."""
    both = memory_file("keys", keys.digest + keys.seal)
    request = CompileRequest(
        parent=os.getpid(),
        list_fd=handle,
        output=output,
        keys=both,
        previous=previous,
        list_id=custom.list,
        serial=custom.serial,
        issued=custom.issued,
        expires=custom.expires or 0,
        generation=generation,
        demonstration=demonstration,
        max_entries=MAX_ENTRIES,
        memory_bytes=COMPILE_MEMORY_BYTES,
    )
    try:
        return await compile_list(request)
    finally:
        os.close(both)


async def fetch(request: FetchRequest, wanted: Callable[[Facts], bool]) -> tuple[Facts, bool]:
    """Verified facts, and whether the list is wanted and now in `request.output`; UpdateFailed otherwise."""
    async with _child("resolver.feed.source_tuf", (request.output,), request.seconds) as child:
        facts = _part(await _ask(child, msgspec.json.encode(request)), "facts", Facts)
        go = wanted(facts)
        if _part(await _ask(child, b"go" if go else b"stop"), "done", bool) is not go:
            raise UpdateFailed(Reason.PROCESS)
        return facts, go


async def compile_list(request: CompileRequest, seconds: float = COMPILE_SECONDS) -> Compiled:
    """Counts of the image that now is in `request.output`; UpdateFailed otherwise."""
    handles = (request.list_fd, request.output, request.keys, request.previous)
    async with _child("resolver.feed.compile", tuple(fd for fd in handles if fd >= 0), seconds) as child:
        return _part(await _ask(child, msgspec.json.encode(request)), "compiled", Compiled)


def memory_file(name: str, content: bytes = b"") -> int:
    """A descriptor of a new anonymous file that holds `content`, at its start."""
    handle = os.memfd_create(name)
    os.write(handle, content)
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


@asynccontextmanager
async def _child(
    module: str, handles: tuple[int, ...], seconds: float
) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await _started(module, handles)
    try:
        async with asyncio.timeout(seconds):
            yield child
            if child.stdin is not None:
                child.stdin.close()
            await child.wait()
    except TimeoutError:
        raise UpdateFailed(Reason.TIMED_OUT) from None
    finally:
        await _end(child)


async def _started(module: str, handles: tuple[int, ...]) -> asyncio.subprocess.Process:
    """A new process; UpdateFailed where it cannot start. One that starts while this is cancelled is ended first:
    uvloop would keep a process that nobody holds, and complain of it or wait for it when the loop closes."""
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=handles,
            env={},
            cwd="/",
            limit=MAX_REPLY_BYTES,
        )
    )
    try:
        return await asyncio.shield(starting)
    except OSError:
        raise UpdateFailed(Reason.PROCESS) from None
    except asyncio.CancelledError:
        with suppress(OSError):
            await _end(await starting)
        raise


async def _end(child: asyncio.subprocess.Process) -> None:
    """Kill what still runs, and read its pipes to their end: a loop closes none that was left full."""
    if child.returncode is None:
        with suppress(ProcessLookupError):
            child.kill()
    if child.stdin is not None:
        child.stdin.close()
        with suppress(ConnectionError):
            await child.stdin.wait_closed()
    while child.stdout is not None and await child.stdout.read(MAX_REPLY_BYTES):
        continue
    await child.wait()


async def _ask(child: asyncio.subprocess.Process, line: bytes) -> dict[str, Any]:
    """Send a line and return the answer's JSON; UpdateFailed where the process says a reason, or nothing."""
    if child.stdin is None or child.stdout is None:
        raise UpdateFailed(Reason.PROCESS)
    try:
        child.stdin.write(line + b"\n")
        await child.stdin.drain()
        answer = msgspec.json.decode(await child.stdout.readline(), type=dict[str, Any])
    except (ConnectionError, ValueError, RuntimeError):  # uvloop raises the last for a pipe that has gone
        raise UpdateFailed(Reason.PROCESS) from None
    if "failed" in answer:
        raise UpdateFailed(_REASONS.get(str(answer["failed"]), Reason.PROCESS))
    return answer


def _part(answer: dict[str, Any], name: str, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(answer.get(name), kind)
    except msgspec.ValidationError:
        raise UpdateFailed(Reason.PROCESS) from None
