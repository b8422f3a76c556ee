"""Edges within the service: whose they may be, where they connect, and what is said of them.

Rules:
- The service answers UDP and TCP whether or not an edge is there: nothing here delays a start or ends it, and readiness
  does not heed it. A socket that cannot be made is logged, and tried again every AGAIN_S seconds.
- A process that takes over makes the socket again in its place; the old one answers what its connections have asked.
"""

import asyncio
import logging
import os
import pwd
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from resolver.config.config import Edge
from resolver.core.lane import Lane
from resolver.query.accept_datagram import Datagrams
from resolver.query.accept_edge import FRAMES_A_SHARE, Edges
from resolver.query.answer import Answer
from resolver.query.answer_edge import EdgeAnswers
from resolver.query.answer_relayed import PROPERTIES, RelayedAnswers

if TYPE_CHECKING:
    from resolver.engine.engine import Engine

AGAIN_S: Final = 10.0
NOBODY: Final = -1

_log: Final = logging.getLogger("resolver.service")


class EdgeFacts(NamedTuple):
    """What is known of edges: how many are connected, and when the first certificate ends (unix seconds, 0: none)."""

    connected: int
    expires: int


def seats_for_edges(config: Edge) -> int:
    """Return how many seats the lane needs for them."""
    return FRAMES_A_SHARE if config.socket else 0


class EdgeHost:
    """The socket of the edges, if one is configured."""

    def __init__(self, config: Edge, answer: Answer, lane: Lane, seats: int, threads: "Datagrams | Engine") -> None:
        """Set up for edges. answer, lane: the loop's own. seats: how many the lane has. threads: those of UDP."""
        relay = threads.loop_relay(lane, PROPERTIES) if config.socket else None
        self._relayed = RelayedAnswers(answer, relay, threads) if relay is not None else None
        self.edges = Edges(EdgeAnswers(answer, lane, seats, self._relayed), NOBODY)
        self._config = config
        self._why = ""

    def configure(self, config: Edge) -> None:
        """Take another configuration; its socket is the same."""
        before, self._config = self._config, config
        if config.user != before.user:
            self.open()

    def close(self) -> None:
        """Ask upstreams no more, once all is answered."""
        if self._relayed is not None:
            self._relayed.close()

    def open(self) -> None:
        """Listen if the socket is configured; what is wrong is logged, and tried again by `run`."""
        if not self._config.socket:
            return
        before, self._why = self._why, self._opened()
        if self._why and self._why != before:
            said = "%s; until then nobody is answered over TLS, HTTPS or QUIC; it is tried again every %g s"
            _log.error(said, self._why, AGAIN_S)
        elif before and not self._why:
            _log.info("edge.socket: now listening")

    async def run(self, is_leaving: Callable[[], bool]) -> None:
        """Make the socket again whenever it is gone, until cancelled; not while `is_leaving`: it is another's then."""
        while True:
            await asyncio.sleep(AGAIN_S)
            if not is_leaving() and not self.edges.reachable:
                self.open()

    def missing(self) -> tuple[str, ...]:
        """Return a line if no edge can connect although the socket is configured."""
        return (self._why,) if self._why else ()

    def facts(self) -> EdgeFacts | None:
        """Return what is known of the edges; None if there are to be none."""
        if not self._config.socket:
            return None
        return EdgeFacts(len(self.edges.connected()), self.edges.expires() or 0)

    def _opened(self) -> str:
        """Listen; return what is wrong, "" if it worked."""
        try:
            self.edges.open(self._config.socket, self._look_up())
        except KeyError:
            return f"edge.user: this host has no account {self._config.user}: make it, or name another"
        except OSError as error:
            why = error.strerror or type(error).__name__
            return f"edge.socket: cannot be made ({why}): its folder must be there, and the service's own"
        return ""

    def _look_up(self) -> int:
        """Let the account that is configured connect; return its group, or raise KeyError."""
        self.edges.user = NOBODY
        if not self._config.user:
            self.edges.user = os.geteuid()
            return os.getegid()
        account = pwd.getpwnam(self._config.user)
        self.edges.user = account.pw_uid
        return account.pw_gid
