"""The lists within the service: joins their feed with what is in force.

Rules:
- The feed and the tables never import each other: what the feed decides reaches the tables as a call.
- Saved lists are in force before the first socket opens (`recover`); polling and watching start later (`tasks`).
- A list that came in force is proved on the open sockets; before they are open, nothing is proved.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from resolver.config.config import Config
from resolver.config.export import warnings_of_export
from resolver.control import server
from resolver.core import codes, image, sketch
from resolver.feed import activate, notify, poll, release
from resolver.feed.breaker import Seen
from resolver.feed.facts import ListFacts, with_releases, with_reports
from resolver.feed.fleet_receipts import Reports
from resolver.feed.places import Places
from resolver.feed.receipt import Proof
from resolver.feed.seal import Keys, SealBroken
from resolver.feed.state import Record
from resolver.feed.store import StateUnreadable
from resolver.service import enforced_name, export_host, fleet_host, selftest, verbs_list, verbs_release
from resolver.service.in_force import InForce

TURN_S: Final = 1800.0
"""Length of a window of the sketch, in seconds; what was asked is forgotten after two."""
_log: Final = logging.getLogger("resolver")
LOOK_S: Final = 1.0
"""Interval at which the breaker looks at the counters, and whether every list is proved, in seconds."""


class Unready(Exception):
    """What is saved cannot be enforced by this process; the text is the kind of error."""


class Enforcement:
    """Every list of a configuration, from its source to what is enforced.

    places: the sockets that take queries, none before they are open. counters: the table of core.codes. later: another
    process still writes in the state folder; `preview` comes first then.
    """

    def __init__(
        self,
        config: Config,
        keys: Keys,
        in_force: InForce,
        *,
        places: Callable[[], Sequence[selftest.Place]],
        counters: Any,
        now: Callable[[], float] = time.time,
        later: bool = False,
    ) -> None:
        self._in_force = in_force
        self._places = places
        self.fleet: fleet_host.FleetHost | None = None
        self.export: export_host.ExportHost | None = None
        self._config = config
        self._counters = counters
        self._seen = Seen()
        self._proved = enforced_name.Proved()
        self._next_turn = time.monotonic() + TURN_S
        self._approvers = Path(config.control.approvers)
        self._now = now
        hooks = activate.Hooks(
            judge=in_force.judge_of,
            put_in_force=self._put_in_force,
            lift=self._lift,
            take_out=self._take_out,
            prove=self._prove,
            follow=self._follow,
            widely_asked=in_force.widely_asked,
        )
        self.feed = poll.Feed(config, keys, hooks, now, later=later)
        in_force.forwards_without = self.feed.forwards_without
        self._notices = notify.Notices(config.lists, config.upstream.plain, self.feed.trigger)
        self.releases = release.Releases(
            Places(config.state.directory).releases,
            keys,
            self.feed.audit,
            now=now,
            enforce=self._release,
            report=self._report,
            host=poll.host_of(config),
        )
        if config.fleet.publish:
            self.fleet = fleet_host.FleetHost(config, keys, self.feed, self.releases, now)
        if self.feed.export is not None:
            self.export = export_host.ExportHost(config, self.feed.export, self.feed, self.releases, now)

    def preview(self) -> None:
        """Enforce every saved list and release as `recover` will, and write nothing; Unready if that cannot be done."""
        try:
            self.feed.preview()
            self.releases.preview()
        except (
            OSError,
            StateUnreadable,
            activate.ImageUnusable,
            activate.SelfTestFailed,
            release.ReleasesUnreadable,
            SealBroken,
            image.ImageMalformed,
        ) as error:
            raise Unready(type(error).__name__) from None
        self._proved.trust(self.feed)
        self._in_force.stand(self._proved.every(self.feed, self._now()))
        self._in_force.renew()

    def recover(self) -> None:
        """Put every saved list and release in force; OSError if the state folder cannot be used."""
        self.feed.recover()
        self.releases.recover()
        self._in_force.renew()
        self.tell_of_export()

    async def prepare(self, config: Config) -> None:
        """Before `configure`: read and test the saved images that it will put in force, while queries are answered."""
        await self.feed.prepare(config)

    def configure(self, config: Config) -> None:
        """Go on with another configuration: with its lists, and with how each is answered and updated.

        OSError if the folder of a new list cannot be used: then nothing has changed.
        """
        with self._in_force.as_one():
            for slot in self._in_force.configure(config):
                first = codes.list_counter(slot, 0)
                for at in range(first, first + codes.LIST_COUNTERS_STRIDE):
                    self._counters[at] = 0
            try:
                self.feed.configure(config)
            finally:
                self.feed.forget_prepared()
        self._notices.configure(config.lists)
        if self.fleet is not None:
            self.fleet.configure(config)
        if self.export is not None:
            self.export.configure(config)

    def facts(self) -> tuple[ListFacts, ...]:
        """Return the facts of every list now, in configured order, without those that only the disk has."""
        return tuple(self._facts(one) for one in self.feed.facts())

    def _facts(self, one: ListFacts) -> ListFacts:
        record = self.feed[one.list_id].state.in_force
        reports = self.reports(one.list_id, record) if record is not None else None
        return with_reports(with_releases(one, self.releases), reports)

    def reports(self, list_id: str, record: Record) -> Reports | None:
        """Return which nodes of a fleet had reported a list's record in force when receipts were collected last; None
        if this host collects none."""
        return None if self.fleet is None else self.fleet.reports(list_id, record)

    def verbs(self) -> server.Verbs:
        """Return the requests of the control socket that concern lists, and what carries each out."""
        lists = verbs_list.ListVerbs(self.feed, self._approvers, self._now)
        releases = verbs_release.ReleaseVerbs(
            self.releases,
            self.feed,
            self._in_force,
            self._approvers,
            self._now,
            released=self.export.released if self.export is not None else None,
        )
        return {**lists.verbs(), **releases.verbs()}

    def notified(self, packet: bytes, client: bytes) -> bytes | None:
        """Return the answer to a NOTIFY from the primary of a list's zone; None for any other packet."""
        return self._notices.take(packet, client)

    def expects(self, client: bytes) -> bool:
        """Return whether a NOTIFY may come from this address (16 octets): that of a list's primary."""
        return self._notices.expects(client)

    def tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        """Return the work that runs while serving, by name; none of it ends by itself."""
        work = {
            "feed": self.feed.run(),
            "releases": self.releases.run(),
            "notices": self._notices.run(),
            "breaker": self._watch(),
        }
        if self.export is not None:
            work["export"] = self.export.run()
        return work if self.fleet is None else {**work, "fleet": self.fleet.run()}

    # Called by the feed and the releases.

    def _put_in_force(self, list_id: str, view: memoryview, record: Record) -> None:
        self._in_force.put_in_force(list_id, view, approved=record.approved)
        self._changed()

    def _lift(self, list_id: str) -> None:
        self._in_force.lift(list_id)
        self._changed()

    def _take_out(self, list_id: str) -> None:
        self._in_force.take_out(list_id)
        self._changed()

    def _release(self, views: Sequence[memoryview]) -> None:
        self._in_force.release(views)
        self._changed()

    def _follow(self, list_id: str, released: Iterable[tuple[int, bytes]]) -> None:
        self.releases.follow(list_id, released)

    def _changed(self) -> None:
        if self.fleet is not None:
            self.fleet.wake()
        if self.export is not None:
            self.export.wake()

    def tell_of_export(self) -> None:
        """Warn if names leave sealed storage, and write into the audit log that this has begun or ended."""
        now, lists = self._now(), [(one.list.id, one.state.in_force) for one in self.feed]
        for line in warnings_of_export(self._config.export, self._config.lists):
            _log.warning("%s", line)
        try:
            said = [(list_id, record.serial, record.digest) for list_id, record in lists if record is not None]
            export_host.log_changes(self._config, self.feed.audit, said, now)
        except OSError:
            _log.error("export: what has changed could not be written into the audit log; the next start tries again")

    def _report(self, name: str, list_id: str, said: Mapping[str, Any]) -> None:
        self.feed.outbox.put(name, list_id, said)
        self.feed.outbox.wake()

    async def _watch(self) -> None:
        while True:
            self.look(time.monotonic())
            await asyncio.sleep(LOOK_S)

    def look(self, now_s: float) -> None:
        """Show the breakers how many clients new entries block in the current minute of a monotonic clock, and the
        tables whether every list is proved."""
        self._in_force.stand(self._proved.every(self.feed, self._now()))
        access, minute = self._in_force.tables.access, int(now_s) // 60
        seen = self._seen.count(access, minute, access.prefixes if access.minute == minute else 0)
        for one in self.feed:
            total = self._counters[codes.list_counter(self._in_force.slot(one.list.id), codes.NEW_PREFIXES)]
            if one.breaker.look(total, seen, now_s):
                one.surged()
        if now_s >= self._next_turn:
            self._next_turn = now_s + TURN_S
            sketch.turn(self._in_force.asked, secrets.token_bytes(16))

    async def _prove(self, list_id: str, view: memoryview) -> Proof:
        said = await selftest.prove(
            self._places(),
            image.header(view).selftest,
            self._in_force.answer_of(list_id, view),
            self._in_force.trusts,
        )
        return Proof(sockets=said.sockets, questions=said.questions, wrong=said.wrong, silent=said.silent)
