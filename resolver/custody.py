"""The lists within the service: their feed joined with what is in force.

Rules:
- Parts meet here that never import each other: what the feed decides reaches the tables as a call.
- What was saved is in force before the first socket opens (`recover`); what polls and watches runs after (`tasks`).
"""

import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

from resolver import control, list_desk, release_desk
from resolver.config import Config, Source
from resolver.feed import activate, notify, outbox, poll, release, transport
from resolver.feed.seal import Keys
from resolver.feed.state import Record
from resolver.tables import InForce

SEND_S: Final = 30.0
"""How long the delivery of one statement may take."""


class Custody:
    """Every list of a configuration, from its source to what is enforced."""

    def __init__(self, config: Config, keys: Keys, in_force: InForce, now: Callable[[], float] = time.time) -> None:
        self._in_force = in_force
        self._approvers = Path(config.control.approvers)
        self._now = now
        hooks = activate.Hooks(
            judge=in_force.judge_of, put_in_force=self._put_in_force, lift=in_force.lift, take_out=in_force.take_out
        )
        self.feed = poll.Feed(config, keys, hooks, now)
        self.outbox = outbox.Outbox(
            Path(config.state.directory) / "receipts",
            poll.host_key_of(config, make=True),
            poll.host_of(config),
            {one.id: one.source for one in config.lists},
            keep_s=float(config.state.audit_keep),
            send=self._send,
            now=now,
        )
        self._resolvers = tuple(map(str, config.upstream.servers))
        self._notices = notify.Notices(config.lists, self._resolvers, self.feed.trigger)
        self.releases = release.Releases(
            Path(config.state.directory) / "releases",
            keys,
            self.feed.audit,
            now=now,
            enforce=in_force.release,
            report=self._report,
            host=poll.host_of(config),
        )

    def recover(self) -> None:
        """Put in force every list that is saved here; OSError where the state folder cannot be used."""
        self.feed.recover()
        self.outbox.prepare()
        self.releases.recover()

    def verbs(self) -> Mapping[str, control.Verb]:
        """What can be asked of it over the control socket."""
        releases = release_desk.ReleaseDesk(self.releases, self.feed, self._in_force)
        return {**list_desk.ListDesk(self.feed, self._approvers, self._now).verbs(), **releases.verbs()}

    def notified(self, packet: bytes, client: bytes) -> bytes | None:
        """The answer to a NOTIFY from the primary of a list's zone; None for any other packet."""
        return self._notices.take(packet, client)

    def tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What has to run while serving, by name; none of it ends by itself."""
        return {
            "feed": self.feed.run(),
            "receipts": self.outbox.run(),
            "releases": self.releases.run(),
            "notices": self._notices.run(),
        }

    def _put_in_force(self, list_id: str, view: memoryview, record: Record, *, suspended: bool) -> None:
        self._in_force.put_in_force(list_id, view, approved=record.approved, suspended=suspended)

    def _report(self, name: str, list_id: str, said: Mapping[str, Any]) -> None:
        self.outbox.put(name, list_id, said)
        self.outbox.wake()

    def _send(self, source: Source, name: str, data: bytes) -> None:
        del name
        access = transport.Access(
            ca=source.ca, certificate=source.certificate, key=source.key, resolvers=self._resolvers
        )
        transport.Transport(access, SEND_S).post(source.receipt, data)
