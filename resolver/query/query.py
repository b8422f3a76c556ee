"""Types that all steps of a query share: the query, the tables that judge it, and its answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from resolver.core.admit import Access
from resolver.core.local_zones import Zones
from resolver.core.policy import Generation
from resolver.core.question import Question
from resolver.query.transport import Transport

Reply = bytes | None
"""The octets to send, or None for silence."""

Answering = Callable[[bytes, bytes, Transport], Reply | Awaitable[Reply]]
"""Takes a query's octets, its client (16 octets) and its transport; returns the answer or an awaitable of it."""


@dataclass(frozen=True)
class Tables:
    """The tables in force that judge and answer queries now; replaced whole.

    complete: whether every configured list is in force; until then a name that no list blocks gets SERVFAIL. zones: the
    local zones, which are answered here. own: the addresses (16 octets) from which this host asks its own sockets: a
    query from them for a synthetic name is answered even if the ACL excludes them, and is judged by every list.
    """

    generation: Generation
    access: Access
    complete: bool
    zones: Zones
    own: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class Query:
    """One query: its octets, the question that core read from them, its client (16 octets) and its transport.

    scope: the lists that apply to the client, a bit each. limit: the largest answer that the client takes, in octets.
    """

    packet: bytes
    question: Question
    client: bytes
    transport: Transport
    scope: int = 0
    limit: int = 0
