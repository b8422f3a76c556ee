"""Put a list in force: read its image once, compare it with its record, test it, write it down, then swap.

Rules:
- Everything that must outlive a crash is on the disk before the swap: image, floor, state, in this order.
- The image is read into anonymous memory, once and from its beginning: a file that changes later changes nothing in
  force. The memory is kept out of core dumps.
- The self-test calls the judgement itself, with the image as it will be: the synthetic name is blocked for every type,
  digests of the list are found, and names that cannot be listed pass.
- A failure says which check, never which name.
- What the service has taken is a value of `enforced`. It is replaced in the event loop alone; whatever parts it from
  the state, `correct` brings the two together.
- A list past its hard limit is kept with an alarm or lifted, as configured; a withdrawn list is lifted.
"""

import asyncio
import logging
import mmap
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from msgspec.structs import replace

from resolver.config import config
from resolver.core import codes, image
from resolver.feed import audit_details, enforced, state, synthetic
from resolver.feed.audit import Audit, Event
from resolver.feed.coming import Coming
from resolver.feed.enforced import Enforced, InForce, Nothing
from resolver.feed.journal import Journal
from resolver.feed.outbox import Outbox
from resolver.feed.processes import UpdateFailed
from resolver.feed.reasons import Reason
from resolver.feed.receipt import Proof, Tested
from resolver.feed.seal import Keys, SealBroken, unseal
from resolver.feed.state import Floor, Record, State

Judge = Callable[[memoryview], Callable[[bytes, int], int]]
"""Makes from an image the function that gives (name in wire format, qtype) a verdict of core.codes."""

Follow = Callable[[str, Iterable[tuple[int, bytes]]], None]
"""Takes a list's id, and the end and the sealed image of each name that its compile host has released."""


class PutInForce(Protocol):
    """Enforces an image (a view of u64) of a list as its record says; if suspended, without its new entries."""

    def __call__(self, list_id: str, view: memoryview, record: Record, *, suspended: bool) -> None: ...


SAMPLES: Final = 1000
# At the load of 0.75 that an image has, so many slots hold the wanted number of entries.
SAMPLED_SLOTS: Final = 1400
_TYPE_TXT: Final = 16
_TYPES: Final = (codes.TYPE_A, codes.TYPE_AAAA, codes.TYPE_HTTPS, _TYPE_TXT)
_UNLISTED_ZONE: Final = b"\x07invalid\x00"

_log: Final = logging.getLogger("resolver.feed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the service does with a list: judge by an image (a view of u64), enforce it, lift the list, take it out,
    ask its own sockets whether they answer by an image, and follow what a compile host has released.

    `judge` may run in another thread, the rest runs in the feed's.
    """

    judge: Judge
    put_in_force: PutInForce
    lift: Callable[[str], None]
    take_out: Callable[[str], None]
    prove: Callable[[str, memoryview], Awaitable[Proof]]
    follow: Follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What all lists of a host share. resolvers: the upstreams (ADDRESS:PORT), which resolve the source's host; this
    service itself is never asked. `now` returns unix seconds."""

    keys: Keys
    audit: Audit
    outbox: Outbox
    hooks: Hooks
    now: Callable[[], float]
    resolvers: tuple[str, ...] = ()
    random: Callable[[int], bytes] = secrets.token_bytes


class ImageUnusable(Exception):
    """The saved image is not the one of the state, or cannot be read here; says what is wrong."""


class SelfTestFailed(Exception):
    """The image does not judge as it must; says which check failed."""


@dataclass(frozen=True, slots=True)
class _Passed:
    """An image that has passed the self-test, and what that found."""

    view: memoryview
    tested: Tested


class Activation:
    """What of one list is in force: the value, and the steps that change it.

    passed: whether the list that was tested last has passed, its image and then the sockets.
    """

    def __init__(self, one: config.List, journal: Journal, host: Host) -> None:
        self.list = one
        self.journal = journal
        self.host = host
        self.enforced: Enforced = Nothing()
        self.passed = False

    async def activate(self, coming: Coming) -> None:
        """Put in force a list that has come; UpdateFailed, OSError or Overtaken if that fails."""
        passed = None
        if not coming.record.withdrawn:
            passed = await asyncio.to_thread(self._tested, coming.record)
        before = self.journal.state.in_force
        await asyncio.to_thread(self._write_down, coming)
        # If the compile host has taken the list before back, this one is returned to: nothing better is left.
        returned = before is not None and before.identity in self.journal.state.quarantined
        self._swap(passed, enforced.restore if returned else enforced.put_in_force)
        await asyncio.to_thread(self.journal.clean)

    def take_in(self, coming: Coming) -> None:
        """Put in force the first list of a host, before anything is served."""
        passed = self._tested(coming.record)
        self._write_down(coming)
        self._swap(passed, enforced.restore)

    def apply(self, new: State) -> None:
        """Write a state that says something else of the list in force, and enforce its image by it."""
        if new.in_force is not None:
            passed = self._tested(new.in_force)
            self.journal.write(new)
            self._swap(passed, enforced.restore)

    def suspend(self) -> None:
        """Take out the entries that are new in the list in force, and write that down first. If the service cannot,
        they stay, and the state says so. May raise OSError, UpdateFailed."""
        journal = self.journal
        with journal.changing:
            before, record, now = journal.state, journal.state.in_force, self.enforced
            if record is None or before.suspended or not self.has_taken(record) or not isinstance(now, InForce):
                return
            journal.log(Event.SUSPENDED, record)
            journal.write(state.suspend(before, journal.floor))
            if not self._taken(now.view, record):
                journal.log(Event.RESUMED, record, "could not be suspended")
                journal.write(replace(journal.state, suspended=False))
                raise UpdateFailed(Reason.SWAP)
        self.enforced = enforced.suspend(now)

    def go_back(self, why: str) -> None:
        """Take out the list in force for good and enforce the previous one, if there is one."""
        journal = self.journal
        record = journal.state.in_force
        if record is None:
            return
        journal.log(Event.QUARANTINED, record, why)
        with journal.changing:
            journal.write(state.go_back(journal.state))
        # Whatever the service has now may not stay, also if nothing can take its place.
        self.enforced, back = enforced.take_out(self.enforced), journal.state.in_force
        try:
            if back is not None:
                journal.log(Event.GONE_BACK, back)
                self._enforce(back)
        finally:
            if isinstance(self.enforced, Nothing):
                self._take_out(self.enforced.unusable)

    def correct(self) -> None:
        """Bring the service to what the state says, if a date or an earlier failure has parted the two."""
        record = self.journal.state.in_force
        if self.agrees():
            return
        if record is None:
            self._take_out()
        else:
            self._enforce(record)

    # What is read.

    def agrees(self) -> bool:
        """Return whether the service enforces what the state says."""
        found = self.journal.state
        lifted = found.in_force is not None and self.is_lifted(found.in_force)
        return enforced.agrees(self.enforced, found.in_force, lifted=lifted, suspended=found.suspended)

    def has_taken(self, record: Record) -> bool:
        """Return whether the service judges by the image of this very record, not by one before or after it."""
        return isinstance(self.enforced, InForce) and self.enforced.number == record.generation

    def is_lifted(self, record: Record) -> bool:
        """Return whether a list has to block nothing: withdrawn, or past its hard limit and not kept."""
        return state.is_lifted(record, self.list.limit, self.list.expire, self.host.now())

    def hard_limit_at(self, record: Record) -> float:
        """Return when the right of `record` to be in force ends, in unix seconds."""
        return state.hard_limit_at(record, self.list.limit)

    # The steps.

    def _tested(self, record: Record) -> _Passed:
        """The image of `record`, once it has passed the self-test; a list that fails it is quarantined."""
        journal, one = self.journal, self.list
        try:
            view = load(
                journal.store.folder, record, self.host.keys, list_id=one.id, demonstration=one.demonstration
            )
        except ImageUnusable:
            raise UpdateFailed(Reason.IMAGE_UNUSABLE) from None
        try:
            tested = self_test(view, self.host.hooks.judge, self.host.random)
        except SelfTestFailed as failed:
            self.passed = False
            with journal.changing:
                current = journal.state.in_force
                if current is None or current.identity != record.identity:
                    journal.log(Event.QUARANTINED, record, str(failed))
                    journal.write(state.quarantine(journal.state, record))
            raise UpdateFailed(Reason.SELFTEST) from None
        self.passed = True
        return _Passed(view, tested)

    def _write_down(self, coming: Coming) -> None:
        journal, record = self.journal, coming.record
        with journal.changing:
            before, floor = journal.state, journal.floor
            coming.check(before)
            current = before.in_force
            renewal = current is not None and current.identity == record.identity and bool(current.since)
            record = replace(record, since=current.since if current and renewal else int(self.host.now()))
            after = coming.arrive(before, record)
            if current is not None and current.identity in set(after.quarantined) - set(before.quarantined):
                journal.log(Event.QUARANTINED, current, "taken back by the compile host")
            if floor is not None and floor.record.targets_keys != record.targets_keys:
                journal.log(Event.FLOOR_RESET, record, "targets keys replaced")
            event = Event.WITHDRAWN if record.withdrawn else Event.IN_FORCE
            journal.log(event, record, audit_details.issued(record.issued))
            journal.raise_floor(Floor(record=record))
            journal.write(after)

    def _swap(self, passed: _Passed | None, step: Callable[[Enforced, InForce], InForce]) -> None:
        """Have the service enforce the list in force as its dates allow; take out a list that it cannot take, unless
        that very list is enforced already."""
        record = self.journal.state.in_force
        if record is None:
            return
        if passed is None or self.is_lifted(record):
            self._lift(record)
            return
        same = enforced.is_of(self.enforced, record.identity)
        if not self._taken(passed.view, record):
            if not same:
                self.go_back("swap")
            raise UpdateFailed(Reason.SWAP)
        new = InForce(
            number=record.generation,
            identity=record.identity,
            view=passed.view,
            tested=passed.tested,
            approved=record.approved,
            suspended=self.journal.state.suspended,
        )
        self.enforced = enforced.restore(self.enforced, new) if same else step(self.enforced, new)

    def _taken(self, view: memoryview, record: Record) -> bool:
        """Have the service enforce an image as the state says; return whether it could."""
        try:
            self.host.hooks.put_in_force(self.list.id, view, record, suspended=self.journal.state.suspended)
        except Exception as error:  # noqa: BLE001 - whatever the service could not do, a list that it can comes back
            _log.debug("list %s: swap: %s", self.list.id, type(error).__name__)
            return False
        return True

    def _enforce(self, record: Record) -> None:
        """Enforce the list that the state names, from its saved image."""
        if self.is_lifted(record):
            self._lift(record)
            return
        try:
            passed = self._tested(record)
        except UpdateFailed as failed:
            if failed.reason is Reason.SELFTEST:
                self.go_back("selftest")
            elif isinstance(self.enforced, Nothing):
                self.enforced = enforced.take_out(self.enforced, record.generation)
            raise
        self._swap(passed, enforced.restore)

    def _lift(self, record: Record) -> None:
        if not isinstance(self.enforced, enforced.Lifted):
            if not record.withdrawn:
                self.journal.log(Event.LIFTED, record, "hard limit")
            self.host.hooks.lift(self.list.id)
        self.enforced = enforced.lift(self.enforced, record.generation)

    def _take_out(self, unusable: int | None = None) -> None:
        self.host.hooks.take_out(self.list.id)
        self.enforced = enforced.take_out(self.enforced, unusable)


def load(folder: Path, record: Record, keys: Keys, *, list_id: str, demonstration: bool) -> memoryview:
    """Return the view (u64) of the image of `record`; ImageUnusable if it cannot be the one to put in force."""
    if record.digest_key != keys.digest_id:
        raise ImageUnusable("made with another digest key")
    if record.demonstration is not demonstration:
        raise ImageUnusable("made under other rules for reserved names")
    try:
        view: memoryview = image.view(unseal(read(folder / record.image), keys.seal))
    except OSError as error:
        raise ImageUnusable(error.strerror or "not readable") from None
    except (SealBroken, image.ImageMalformed) as error:
        raise ImageUnusable(str(error)) from None
    header = image.header(view)
    said = (header.list_id, header.serial, header.issued, header.expires, header.generation, header.entries)
    if said != (
        list_id,
        record.serial,
        record.issued,
        record.expires or 0,
        record.generation,
        record.entries,
    ):
        raise ImageUnusable("header")
    return view


def read(path: Path) -> memoryview:
    """Return the octets of a file in memory of their own, which no dump holds; OSError if they cannot be read."""
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        memory = mmap.mmap(-1, max(1, size))
        memory.madvise(mmap.MADV_DONTDUMP)
        view, at = memoryview(memory)[:size], 0
        while at < size and (read := file.readinto(view[at:])):
            at += read
    return view[:at].toreadonly()


def self_test(view: memoryview, judge: Judge, random: Callable[[int], bytes]) -> Tested:
    """Return what was tested and passed; SelfTestFailed otherwise."""
    verdict = judge(view)
    label = image.header(view).selftest
    blocked = bytes([len(label)]) + label + image.SELFTEST_ZONE
    if any(verdict(blocked, qtype) != codes.BLOCK for qtype in _TYPES):
        raise SelfTestFailed("synthetic name")
    found = image.digests(view, SAMPLED_SLOTS)
    if not found or any(image.find(view, low, high) != bits for low, high, bits in found):
        raise SelfTestFailed("digests")
    # No list can cover a random name right below a reserved top-level name, for none may hold one.
    for number in range(SAMPLES):
        unlisted = synthetic.label(random)
        name = bytes([len(unlisted)]) + unlisted + _UNLISTED_ZONE
        if verdict(name, _TYPES[number % len(_TYPES)]) != codes.PASS:
            raise SelfTestFailed("unlisted names")
    return Tested(digests=len(found), unlisted=SAMPLES)
