"""Runs a fetch process around its source: request in, facts out, `go` or `stop` in, `done` out.

Rules:
- The process enters its sandbox before it touches the source.
- The list is written only to the inherited memfd, and only if the parent wants it; its sealed copy, if one is kept,
  only to its own descriptor.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar

import msgspec

from resolver.feed.details import Detail
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed, confine, say
from resolver.feed.transport import Access, NotFetched, TooLarge, Unreadable
from resolver.signed.metadata import Custom

Wanted = Callable[[Facts], bool]
"""Sends the verified facts to the parent, and returns whether it wants the list."""


STEPS: ContextVar[Callable[[Detail], None]] = ContextVar("steps", default=lambda _: None)
"""Sends a step to the parent; `work` sets it."""


def work(fetch: Callable[[FetchRequest, Wanted], bool]) -> None:
    """Serve the one request of this process with `fetch`, which returns whether it wrote the list."""
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=FetchRequest)
    os.umask(0o077)
    confine(request.parent, request.memory_bytes, *request.handles)

    def wanted(facts: Facts) -> bool:
        say({"facts": msgspec.to_builtins(facts)})
        return sys.stdin.buffer.readline() == b"go\n"

    STEPS.set(lambda detail: say({"step": msgspec.to_builtins(detail)}))
    say({"done": fetch(request, wanted)})


def step(detail: Detail) -> None:
    """Report a step that begins, or what it has found, to the parent."""
    STEPS.get()(detail)


def access_of(request: FetchRequest) -> Access:
    """Return how to reach the source of a request; each step is reported."""
    return Access(
        ca=request.ca,
        certificate=request.certificate,
        key=request.key,
        resolvers=request.resolvers,
        step=step,
    )


def facts_of_file(request: FetchRequest, data: bytes, custom: Custom, pinned: str, fresh_until: int = 0) -> Facts:
    """Return the facts of a list in one file that a pinned key has signed; pinned: the SHA-256 of the pinned keys.

    A file of format "rpz" is read as a zone's master file: there is no transfer whose lines it could be.
    """
    return Facts(
        digest=hashlib.sha256(data).hexdigest(),
        length=len(data),
        custom=custom,
        targets_keys=pinned[:32],
        root_version=1,
        pinned=pinned,
        fresh_until=fresh_until,
        format="master" if request.format == "rpz" else request.format,
    )


def put(handle: int, data: bytes | memoryview) -> None:
    """Write the list to the memfd `handle`."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def contents(handle: int) -> bytes:
    """Return the content of the inherited descriptor `handle`."""
    with os.fdopen(handle, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()


def not_fetched(error: NotFetched) -> Failed:
    """Return the failure that ends a fetch whose download failed."""
    match error:
        case TooLarge():
            return Failed(Reason.OVERSIZED, error.detail)
        case Unreadable():
            return Failed(Reason.UNREADABLE, error.detail)
    return Failed(Reason.UNREACHABLE, error.detail)
