"""The lists within the service: their feed joined with what is in force.

Rules:
- Parts meet here that never import each other: what the feed decides reaches the tables as a call.
- What was saved is in force before the first socket opens (`recover`); what polls and watches runs after (`tasks`).
"""

import time
from collections.abc import Callable, Coroutine
from typing import Any

from resolver.config import Config
from resolver.feed import activate, poll
from resolver.feed.seal import Keys
from resolver.feed.state import Record
from resolver.tables import InForce


class Custody:
    """Every list of a configuration, from its source to what is enforced."""

    def __init__(self, config: Config, keys: Keys, in_force: InForce, now: Callable[[], float] = time.time) -> None:
        self._in_force = in_force
        hooks = activate.Hooks(
            judge=in_force.judge_of, put_in_force=self._put_in_force, lift=in_force.lift, take_out=in_force.take_out
        )
        self.feed = poll.Feed(config, keys, hooks, now)

    def recover(self) -> None:
        """Put in force every list that is saved here; OSError where the state folder cannot be used."""
        self.feed.recover()

    def tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What has to run while serving, by name; none of it ends by itself."""
        return {"feed": self.feed.run()}

    def _put_in_force(self, list_id: str, view: memoryview, record: Record, *, suspended: bool) -> None:
        self._in_force.put_in_force(list_id, view, approved=record.approved, suspended=suspended)
