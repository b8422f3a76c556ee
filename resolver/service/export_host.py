"""The export process as the service sees it: says what is in force, and shows whether secondaries can have it.

Rules:
- It says keys, line numbers and dates, never a name; the one name that passes is one that a person releases, at that
  moment, as it passes to the digest of its release.
- It is loud: a warning at each start, an entry of the audit log for each list that is switched on or off, two metrics.
- Enforcement never waits for it. While the export process does not reply, secondaries keep what they have.
"""

import asyncio
import logging
from array import array
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from resolver.config.config import Config
from resolver.config.export import exported
from resolver.core import codes, image
from resolver.feed import audit, state
from resolver.feed.audit import Audit, Event
from resolver.feed.export_link import Link, Unanswered
from resolver.feed.exported import Follow, Followed, Release, Status, key_of
from resolver.feed.places import Places
from resolver.feed.poll import Feed
from resolver.feed.release import Releases
from resolver.feed.update import ListUpdate

SAY_EVERY_S: Final = 10.0
UNKNOWN: Final = key_of(0, "0" * 64)
"""A key that is never staged (generations begin at 1): what is given out of the list stays, and is not in step."""
WAIT_S: Final = 0.05
"""Several lists may change at once: what is said waits so long for them."""

_log: Final = logging.getLogger("resolver")


class ExportHost:
    """Says to the export process what is in force. link: to it."""

    def __init__(
        self, config: Config, link: Link, feed: Feed, releases: Releases, now: Callable[[], float]
    ) -> None:
        self._config = config
        self._link = link
        self._feed = feed
        self._releases = releases
        self._now = now
        self._wake = asyncio.Event()
        self._aside: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._reached = True
        self._lacking: tuple[int, ...] = ()
        self._fetched: set[str] = set()
        self._new: list[Release] = []

    @property
    def status(self) -> Status | None:
        """The last status of the export process; None while it does not reply."""
        return self._link.status

    @property
    def lists(self) -> tuple[str, ...]:
        """The lists whose names leave sealed storage."""
        return self._link.lists

    def configure(self, config: Config) -> None:
        """Go on with another configuration, of the same export."""
        self._config = config
        self.wake()

    def wake(self) -> None:
        """Say what is in force now."""
        self._wake.set()

    def released(self, number: int, name: bytes, until: int) -> None:
        """Say, with what is said next, that a name (in wire format) is released."""
        self._new.append(Release(number=number, name=name.hex(), until=until))
        self.wake()

    async def run(self) -> None:
        """Say what is in force after each change, and every few seconds, until cancelled."""
        try:
            while True:
                self._wake.clear()
                await self.say()
                with suppress(TimeoutError):
                    async with asyncio.timeout(SAY_EVERY_S):
                        await self._wake.wait()
                await asyncio.sleep(WAIT_S)
        finally:
            self._link.hang_up()

    async def say(self) -> None:
        """Say it once, and look at what is lacking."""
        try:
            # The names of new releases first: the process forgets those that are not in what follows.
            while self._new:
                await asyncio.to_thread(self._link.say, self._new[0])
                self._new.pop(0)
            status = await asyncio.to_thread(self._link.say, self._follow())
        except Unanswered as why:
            if self._reached:
                said = "export: its process does not reply (%s): secondaries keep what they have; see: %s"
                _log.error(said, why, "systemctl status blocklist-export")
            self._reached = False
            return
        if not self._reached:
            _log.info("export: its process replies again")
        self._reached = True
        if status.lacking and status.lacking != self._lacking:
            said = "export: secondaries go on blocking the names of releases %s, made before it ran: release them again"
            _log.error(said, ", ".join(map(str, status.lacking)))
        self._lacking = status.lacking
        self._fetch_lacking(status)

    def _follow(self) -> Follow:
        lists = tuple(
            self._followed(one) for one in self._feed if one.list.id in self.lists and one.floor is not None
        )
        now = self._now()
        return Follow(lists=lists, released=tuple(sorted(one.number for one in self._releases if now < one.until)))

    def _followed(self, one: ListUpdate) -> Followed:
        found, settings = one.state, one.list
        record = found.in_force
        kept = [other for other in (found.previous, found.held and found.held.record) if other and other.image]
        addresses = settings.addresses or self._config.page.addresses
        said = Followed(
            list=settings.id,
            answer=settings.answer,
            addresses=tuple(map(str, addresses)) if settings.answer == "page" else (),
            keep=tuple(sorted({key_of(other.generation, other.digest) for other in kept})),
        )
        if record is None or state.is_lifted(record, settings.limit, settings.expire, self._now()):
            return said
        key = key_of(record.generation, record.digest)
        aside = () if record.approved or not record.set_aside else self._lines_aside(one, key)
        if aside is None:
            return replace(said, key=UNKNOWN, keep=tuple(sorted({*said.keep, key})), serial=record.serial)
        return Followed(
            list=said.list,
            answer=said.answer,
            addresses=said.addresses,
            keep=said.keep,
            key=key,
            serial=record.serial,
            aside=aside,
            until=int(one.hard_limit_at(record)) if settings.expire == "lift" else 0,
        )

    def _lines_aside(self, one: ListUpdate, key: str) -> tuple[int, ...] | None:
        """Return the numbers of the lines whose entries wait; those of an image are looked up once. None if they cannot
        be read: to say that none waits would block what waits."""
        known = self._aside.get(one.list.id)
        if known is not None and known[0] == key:
            return known[1]
        view, record = one.activation.image_in_force(), one.state.in_force
        if view is None or record is None:
            return None
        try:
            numbers = array("I", (one.store.folder / record.lines).read_bytes())
            slots = (image.slot_of(view, *digest) for digest in image.with_bit(view, codes.SET_ASIDE))
            lines = tuple(sorted(numbers[slot] for slot in slots))
        except (OSError, ValueError, IndexError):
            return None
        self._aside[one.list.id] = key, lines
        return lines

    def _fetch_lacking(self, status: Status) -> None:
        """Have a list polled now whose names the export process has lost or never had."""
        for one in self._feed:
            record = one.state.in_force
            if one.list.id not in self.lists or record is None or record.withdrawn:
                continue
            key = key_of(record.generation, record.digest)
            if key not in status.staged.get(one.list.id, ()) and key not in self._fetched:
                self._fetched.add(key)
                said = "list %s: the export process has no names of serial %d: the list is fetched again"
                _log.warning(said, one.list.id, record.serial)
                self._feed.trigger(one.list.id)

    def in_step(self, list_id: str) -> bool:
        """Return whether the list is given out as it is in force."""
        return self.status is not None and list_id in self.status.in_step

    def behind(self) -> int:
        """Return how many secondaries that get a NOTIFY have not transferred the newest serial."""
        return 0 if self.status is None else sum(zone.behind for zone in self.status.zones)


def log_changes(config: Config, log: Audit, serials: Iterable[tuple[str, int, str]], now: float) -> None:
    """Write into the audit log which lists are exported from now on and which no more; OSError if that fails.

    serials: id, serial and digest of each list in force.
    """
    names = exported(config.export, config.lists)
    about = {list_id: (serial, digest) for list_id, serial, digest in serials}
    was: dict[str, bool] = {}
    with suppress(audit.ChainBroken):
        entries, _ = audit.verify(Places(config.state.directory).audit_log)
        was = {
            one.list: one.event is Event.EXPORTED
            for one in entries
            if one.event in (Event.EXPORTED, Event.EXPORT_ENDED)
        }
    for list_id in sorted({*names, *was}):
        if (list_id in names) != was.get(list_id, False):
            event = Event.EXPORTED if list_id in names else Event.EXPORT_ENDED
            serial, digest = about.get(list_id, (0, ""))
            log.append(event, now, list_id=list_id, serial=serial, digest=digest)
