"""Runs the two processes that see names, fetch and compile; no content of a list passes through here.

Rules:
- Both are exec'd, isolated (`-I`), with an empty environment, no stderr, and only the descriptors they need.
- They reply in lines of JSON of limited length; anything else, a crash or silence becomes a reason, never a text.
- A detail of a failure, and each step, is codes and numbers (`details`); one that holds anything else is dropped.
- A process that exceeds its time limit is killed, and so is one that still runs when the service stops.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from resolver.config.config import MAX_ENTRIES, MAX_TARGET_BYTES, List
from resolver.feed.details import Code, Detail, no_step
from resolver.feed.messages import Compiled, CompileRequest, Facts, FetchRequest
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import MAX_REPLY_BYTES
from resolver.feed.seal import Keys

_T = TypeVar("_T")

_REASONS: Final = {reason.value: reason for reason in Reason}

FETCH_SECONDS: Final = 120.0
COMPILE_SECONDS: Final = 300.0
FETCH_MEMORY_BYTES: Final = 2**30
COMPILE_MEMORY_BYTES: Final = 3 * 2**30


MAX_STEPS: Final = 2048
"""So many steps a process may report before a reply: a TUF repository may have 256 roots, of a few steps each."""


class Handles(NamedTuple):
    """Descriptors of a compilation: the list, its image, the image in force, the line numbers, the connection to the
    export process; -1 if there is none."""

    list_fd: int
    output: int
    previous: int = -1
    lines: int = -1
    export: int = -1


class UpdateFailed(Exception):
    """An update failed before its list was in force, for `reason`, and with a detail if one is known.

    due_at: the date, in unix seconds, before which the list cannot be accepted; 0 for another reason.
    """

    def __init__(self, reason: Reason, detail: Detail | None = None, *, due_at: int = 0) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.detail = detail
        self.due_at = due_at


def too_early(due_at: int, now: float) -> UpdateFailed:
    """Return the failure of a list that is dated ahead of this host's clock."""
    ahead = Detail(code=Code.DATED_AHEAD, numbers=(max(1, round(due_at - now)),))
    return UpdateFailed(Reason.CLOCK_BEHIND, ahead, due_at=due_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a fetch process starts from: the metadata folder, the upstreams, the newest list held or accepted.

    serial, issued, digest, targets_keys, withdrawn: of that list; 0 and "" if there is none. copy, copy_key,
    copy_output: as in FetchRequest; -1 if there is none. step: called with each step of the process, and with what it
    has found.
    """

    metadata: Path
    resolvers: tuple[str, ...] = ()
    serial: int = 0
    issued: int = 0
    digest: str = ""
    targets_keys: str = ""
    withdrawn: bool = False
    copy: int = -1
    copy_key: int = -1
    copy_output: int = -1
    step: Callable[[Detail], None] = no_step


async def fetch_list(one: List, known: Known, handle: int, wanted: Callable[[Facts], bool]) -> tuple[Facts, bool]:
    """Fetch a list; return its verified facts, and whether it was wanted and is now in memfd `handle`; UpdateFailed.

    wanted: decides by the facts whether to download the list.
    """
    source = one.source
    request = FetchRequest(
        parent=os.getpid(),
        output=handle,
        list_id=one.id,
        url=source.url,
        root=_absolute(source.root),
        target=source.target,
        metadata=str(known.metadata),
        ca=source.ca,
        certificate=source.certificate,
        key=source.key,
        max_bytes=MAX_TARGET_BYTES,
        memory_bytes=FETCH_MEMORY_BYTES,
        seconds=FETCH_SECONDS,
        format=source.format,
        identity=source.identity and _absolute(source.identity),
        dated_within=float(source.dated_within),
        resolvers=known.resolvers,
        serial=known.serial,
        issued=known.issued,
        digest=known.digest,
        targets_keys=known.targets_keys,
        withdrawn=known.withdrawn,
        stale=known.serial == 0,
        copy=known.copy,
        copy_key=known.copy_key,
        copy_output=known.copy_output,
    )
    return await fetch(f"resolver.feed.fetch.{source.kind}", request, wanted, known.step)


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


async def compile_image(
    facts: Facts, handles: Handles, keys: Keys, one: List, *, generation: int, keep_new: bool, approved: bool
) -> Compiled:
    """Compile a list into a sealed image, written to `handles.output`; return its counts; UpdateFailed."""
    both = memory_file("keys", keys.digest + keys.seal)
    custom = facts.custom
    request = CompileRequest(
        parent=os.getpid(),
        list_fd=handles.list_fd,
        output=handles.output,
        keys=both,
        previous=handles.previous,
        lines=handles.lines,
        list_id=custom.list,
        serial=custom.serial,
        issued=custom.issued,
        expires=custom.expires or 0,
        generation=generation,
        demonstration=one.demonstration,
        max_entries=MAX_ENTRIES,
        memory_bytes=COMPILE_MEMORY_BYTES,
        format=facts.format,
        protected=one.guard.protected,
        popular=one.guard.popular and _absolute(one.guard.popular),
        keep_new=keep_new,
        approved=approved,
        export=handles.export,
        digest=facts.digest,
    )
    try:
        return await compile_list(request)
    finally:
        os.close(both)


async def fetch(
    module: str, request: FetchRequest, wanted: Callable[[Facts], bool], step: Callable[[Detail], None] = no_step
) -> tuple[Facts, bool]:
    """Run the fetch process `module`; return its verified facts, and whether `wanted` took the list; UpdateFailed.

    step: called with each step. A process that ends or is ended without a detail failed in the step that it reported
    last: this is the detail then.
    """
    last: list[Detail] = []

    def noted(detail: Detail) -> None:
        if detail.code.is_step:
            last[:] = [detail]
        step(detail)

    try:
        async with _child(module, request.handles, request.seconds) as child:
            facts = _part(await _ask(child, msgspec.json.encode(request), noted), "facts", Facts)
            go = wanted(facts)
            if _part(await _ask(child, b"go" if go else b"stop", noted), "done", bool) is not go:
                raise UpdateFailed(Reason.PROCESS)
            return facts, go
    except UpdateFailed as failed:
        failed.detail = failed.detail or (last[0] if last else None)
        raise


async def compile_list(request: CompileRequest, seconds: float = COMPILE_SECONDS) -> Compiled:
    """Run the compile process; return the counts of the image in `request.output`; UpdateFailed."""
    async with _child("resolver.feed.names.compile", request.handles, seconds) as child:
        return _part(await _ask(child, msgspec.json.encode(request)), "compiled", Compiled)


def memory_file(name: str, content: bytes = b"") -> int:
    """Return a descriptor of a new anonymous file with `content`, positioned at its start."""
    handle = os.memfd_create(name)
    os.write(handle, content)
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


@asynccontextmanager
async def _child(module: str, handles: tuple[int, ...], seconds: float) -> AsyncIterator[asyncio.subprocess.Process]:
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
    """Start a process; UpdateFailed if that fails.

    If this is cancelled while the process starts, the process is ended first: uvloop keeps a process without an owner,
    and warns about it or waits for it when the loop closes.
    """
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
    """Kill the process if it still runs, and read its pipes to the end: an event loop does not close a full one."""
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


async def _ask(
    child: asyncio.subprocess.Process, line: bytes, step: Callable[[Detail], None] = no_step
) -> dict[str, Any]:
    """Send a line and return the JSON of the reply; UpdateFailed if the process gives a reason, or no reply.

    step: called with each step that the process reports before its reply.
    """
    if child.stdin is None or child.stdout is None:
        raise UpdateFailed(Reason.PROCESS)
    try:
        child.stdin.write(line + b"\n")
        await child.stdin.drain()
        reply = {"step": None}
        for _ in range(MAX_STEPS):
            reply = msgspec.json.decode(await child.stdout.readline(), type=dict[str, Any])
            if "step" not in reply:
                break
            detail = _detail_of(reply["step"])
            if detail is not None:
                step(detail)
    except (ConnectionError, ValueError, RuntimeError):  # uvloop raises the last for a closed pipe
        raise UpdateFailed(Reason.PROCESS) from None
    if "failed" in reply:
        raise UpdateFailed(_REASONS.get(str(reply["failed"]), Reason.PROCESS), _detail_of(reply.get("detail")))
    return reply


def _detail_of(said: object) -> Detail | None:
    """Return the detail that a process has sent; None if it is anything else than the codes and numbers of one."""
    try:
        return msgspec.convert(said, Detail)
    except msgspec.ValidationError:
        return None


def _part(reply: dict[str, Any], name: str, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(reply.get(name), kind)
    except msgspec.ValidationError:
        raise UpdateFailed(Reason.PROCESS) from None
