"""The status of a service as the verb `status` carries it over the control socket.

Rules:
- Nothing here is a number from which a block could be worked out: these are facts that /metrics shows live, facts that
  were published, and the configuration.
- Keys are public names: they are added, never renamed.
"""

from typing import Any

import msgspec
from msgspec import Struct

from resolver.feed.facts import NOT_IN_STATUS, ListFacts


class NotStatus(Exception):
    """Not the status of a service of this version."""


class _Part(Struct, frozen=True, kw_only=True):
    """A part of the status at one moment; times in unix seconds, 0 for none."""


class UpstreamHealth(_Part, frozen=True):
    """One upstream. Latencies in seconds, None until there are enough exchanges; failures by reason since the start.

    asked: it was looked at. up: it then answered. fault: what is wrong with its answers, "" if nothing is.
    zones: those that it is a server of; "" stands for all names in no zone.
    """

    upstream: str
    asked: bool
    up: bool
    fault: str
    zones: tuple[str, ...]
    p50_s: float | None
    p99_s: float | None
    failures: dict[str, int]


class EdgeHealth(_Part, frozen=True):
    """The processes of encrypted transports: how many are connected, and when the first certificate ends."""

    connected: int
    expires: int


class Reloaded(_Part, frozen=True):
    """The last reload. where: the file and keys for which it was refused; restart: only a restart can change them."""

    at: int
    good: bool
    where: str = ""
    restart: bool = False


class Status(_Part, frozen=True):
    """The whole service. dropped, failed: by reason since the start; cache_used: as published at `beat`.

    ready: each list is in force, or need not be, and an upstream answers (answering). missing: a line for each
    configured socket that nothing can reach. edges: None if no encrypted transport is configured.
    """

    version: str
    config: str
    started: int
    ready: bool
    enforcing: bool
    answering: bool
    lists: tuple[ListFacts, ...]
    upstreams: tuple[UpstreamHealth, ...]
    cache_size: int
    cache_used: int
    beat: int
    in_flight: int
    connections: int
    connections_bound: int
    dropped: dict[str, int]
    failed: dict[str, int]
    reload: Reloaded | None
    warnings: tuple[str, ...]
    missing: tuple[str, ...] = ()
    edges: EdgeHealth | None = None


def to_json(status: Status) -> dict[str, Any]:
    """Return the status as JSON has it."""
    found: dict[str, Any] = msgspec.to_builtins(status)
    for one in found["lists"]:
        for key in NOT_IN_STATUS:
            del one[key]
    return found


def of_json(found: Any) -> Status:
    """Return the status that `to_json` made; NotStatus if a service of another version made it."""
    try:
        return msgspec.convert(found, Status)
    except msgspec.ValidationError:
        raise NotStatus from None
