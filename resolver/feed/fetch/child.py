"""What every fetch process does around its source: a request in, facts out, `go` or `stop` in, done.

Rules:
- The process is confined before the source is touched.
- The list goes to the inherited memfd alone, and only when the parent wants it; a sealed copy of it, where one is kept,
  to the descriptor for that.
"""

import os
import sys
from collections.abc import Callable

import msgspec

from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed, confine, say
from resolver.feed.transport import NotFetched, TooLarge

Wanted = Callable[[Facts], bool]
"""Tells the verified facts, and returns whether the list is wanted."""


def work(fetch: Callable[[FetchRequest, Wanted], bool]) -> None:
    """Serve the one request of this process with `fetch`, which returns whether it wrote the list."""
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=FetchRequest)
    os.umask(0o077)
    confine(request.parent, request.memory_bytes, *request.handles)

    def wanted(facts: Facts) -> bool:
        say({"facts": msgspec.to_builtins(facts)})
        return sys.stdin.buffer.readline() == b"go\n"

    say({"done": fetch(request, wanted)})


def put(handle: int, data: bytes | memoryview) -> None:
    """Write the list to the memfd `handle`."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def contents(handle: int) -> bytes:
    """All that the inherited descriptor `handle` holds."""
    with os.fdopen(handle, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()


def not_there(error: NotFetched) -> Failed:
    """What ends a fetch whose bytes were not had."""
    return Failed(Reason.OVERSIZED if isinstance(error, TooLarge) else Reason.UNREACHABLE)
