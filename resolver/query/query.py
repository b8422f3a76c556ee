"""A query on its way, what it is judged by, and what comes of it: the nouns that all steps share."""

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
"""(query, client in 16 octets, transport) to a reply, at once or to be awaited."""


@dataclass(frozen=True)
class Tables:
    """What is in force for the queries of this moment; replaced whole.

    complete: whether every configured list is in force. Until then a name that no list blocks is not answered.
    zones: the names that are answered here. own: the addresses (16 octets) from which this host asks its own sockets: a
    synthetic name that comes from one of them is answered whoever the clients are, and judged by every list.
    """

    generation: Generation
    access: Access
    complete: bool
    zones: Zones
    own: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class Query:
    """One query on its way: its octets, what core read from them, its client (16 octets) and transport.

    scope: the lists that judge the client, a bit each. limit: the largest reply that the client takes, in octets.
    """

    packet: bytes
    question: Question
    client: bytes
    transport: Transport
    scope: int = 0
    limit: int = 0
