"""The servers that the names of one zone, or of no zone, are forwarded to, and which of them is asked.

Rules:
- Those that answer well are asked; if there are none, those that answer badly; if all are out, LAST_HOPES exchanges
  at a time ask any of them.
- Balanced, the server with the fewest outstanding queries is asked, and latency decides ties. Listed, the first one in
  configured order is asked, and the next ones only when it fails.
- A server may be in several groups; its health is one (forward_health).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from resolver.query.forward_exchange import Exchange, load
from resolver.query.forward_server import Server

LAST_HOPES = 32


class Owner(Protocol):
    """The owner of all groups, and of their exchanges."""

    case_randomization: bool
    timeout_s: float

    def ended(self, exchange: Exchange, reply: bytes | None) -> None:
        """Remove an exchange that ended; reply: its answer, None if there is none."""


class Group:
    """One group (forward_exchange.Upstreams). zone: its zone's name, "" for all names in no zone.

    listed: whether the first server that is up is asked. load: the key by which a server is chosen; the smallest goes
    first.
    """

    def __init__(self, owner: Owner, zone: str, servers: Sequence[Server], *, listed: bool) -> None:
        self.zone = zone
        self.servers = tuple(servers)
        self.listed = listed
        self.load: Callable[[Server], tuple[int, float]] = _as_listed if listed else load
        self._owner = owner
        self._up = self.servers
        self._hopes = 0

    @property
    def case_randomization(self) -> bool:
        """Whether the case of each letter of a forwarded name is drawn."""
        return self._owner.case_randomization

    @property
    def timeout_s(self) -> float:
        """The time limit of an exchange, in seconds."""
        return self._owner.timeout_s

    @property
    def answering(self) -> bool:
        """Return whether a server was seen to answer when it was last looked at."""
        return any(server.answers for server in self.servers)

    @property
    def silent(self) -> bool:
        """Return whether every server was looked at and none answered."""
        return not self.answering and all(server.asked for server in self.servers)

    def choose(self) -> None:
        """Update the servers to choose from after one was found better or worse."""
        up = tuple(server for server in self.servers if server.up)
        self._up = tuple(server for server in up if not server.poor) or up

    def candidates(self) -> Sequence[Server]:
        """Return the servers that may be asked now, at least one."""
        return self._up or self.servers

    def any_up(self) -> bool:
        """Return whether a server is up."""
        return bool(self._up)

    def has_hope(self) -> bool:
        """Return whether another exchange may begin: a server is up, or few exchanges ask those that are out."""
        return bool(self._up) or self._hopes < LAST_HOPES

    def start(self, exchange: Exchange) -> None:
        """Begin the exchange at the server to ask first."""
        up = self._up
        if not up:
            exchange.hopeless = True
            self._hopes += 1
        exchange.start(up[0] if len(up) == 1 else min(up or self.servers, key=self.load))

    def ended(self, exchange: Exchange, reply: bytes | None) -> None:
        """Take note of an exchange that ended; reply: its answer, None if there is none."""
        self._hopes -= exchange.hopeless
        self._owner.ended(exchange, reply)


def _as_listed(server: Server) -> tuple[int, float]:
    """Return the same key for all: the first of equals is chosen."""
    del server
    return 0, 0.0
