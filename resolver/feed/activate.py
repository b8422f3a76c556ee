"""Puts a list in force: reads its image once, compares it with its record, tests it, saves the state, then swaps.

Rules:
- Everything that must outlive a crash is on the disk before the swap: image, floor, state, in this order.
- The image is read into anonymous memory, once and from its beginning: a file that changes later changes nothing in
  force. The memory is kept out of core dumps.
- The self-test judges as a query does, by the image that will be in force: the synthetic name is blocked for every
  type, digests of the list are found, and names that cannot be listed pass.
- A failure says which check failed, never for which name.
- Reading and testing a large image takes long. While queries are answered, that is done in a thread: `activate` does so
  itself, and before any other step that enforces an image comes `prepare`.
- What the service enforces is a value of `enforced`. Only the event loop replaces it; if it differs from the state, for
  any reason, `correct` makes the service enforce what the state says.
- A list past its hard limit is kept with an alarm or lifted, as configured; a withdrawn list is lifted.
"""

import asyncio
import logging
import mmap
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from resolver.config import config
from resolver.core import codes, image
from resolver.feed import audit_details, enforced, in_use, state, synthetic
from resolver.feed.audit import Audit, Event
from resolver.feed.candidate import FEED, Candidate
from resolver.feed.enforced import Enforced, InForce, Nothing
from resolver.feed.export_link import Link
from resolver.feed.journal import Journal
from resolver.feed.outbox import Outbox
from resolver.feed.processes import UpdateFailed
from resolver.feed.reasons import Reason
from resolver.feed.receipt import Proof, Tested
from resolver.feed.seal import Keys, SealBroken, unseal
from resolver.feed.state import Floor, Record, State

Judge = Callable[[memoryview], Callable[[bytes, int], int]]
"""Takes an image, returns the function from (name in wire format, qtype) to a verdict of core.codes."""

Follow = Callable[[str, Iterable[tuple[int, bytes]]], None]
"""Takes a list's id, and of each name that its compile host has released the end (unix time) and the sealed image."""


PutInForce = Callable[[str, memoryview, Record], None]
"""Enforces an image (a view of u64) of the list with this id by its record."""


SAMPLES: Final = 1000
YIELD_EVERY: Final = 32
# An image has a load of 0.75: this many slots have at least SAMPLES entries.
SAMPLED_SLOTS: Final = 1400
_TYPE_TXT: Final = 16
_TYPES: Final = (codes.TYPE_A, codes.TYPE_AAAA, codes.TYPE_HTTPS, _TYPE_TXT)
_UNLISTED_ZONE: Final = b"\x07invalid\x00"

_log: Final = logging.getLogger("resolver.feed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The service's functions for lists; images are views of u64.

    judge: judges by an image; may run in another thread, the others run in the feed's. put_in_force, lift, take_out:
    enforce a list, let it block nothing, remove it. prove: asks the service's own sockets whether they answer by an
    image. follow: takes over the names that a compile host has released. widely_asked: returns the digests of the names
    that more than this share of the clients have asked lately; may run in another thread.
    """

    judge: Judge
    put_in_force: PutInForce
    lift: Callable[[str], None]
    take_out: Callable[[str], None]
    prove: Callable[[str, memoryview], Awaitable[Proof]]
    follow: Follow
    widely_asked: Callable[[float], Iterable[in_use.Digest]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The parts that all lists of a host share.

    now: returns unix seconds. resolvers: the upstreams (ADDRESS:PORT), which resolve the names of sources; this service
    itself is never asked. export: to the export process, if the operator has switched it on.
    """

    keys: Keys
    audit: Audit
    outbox: Outbox
    hooks: Hooks
    now: Callable[[], float]
    resolvers: tuple[str, ...] = ()
    export: Link | None = None
    random: Callable[[int], bytes] = secrets.token_bytes


class ImageUnusable(Exception):
    """The saved image does not match its record, or cannot be read here; the text says what is wrong."""


class SelfTestFailed(Exception):
    """The image does not judge as it must; the text says which check failed."""


@dataclass(frozen=True, slots=True)
class _Passed:
    """An image that has passed the self-test, and the result of that."""

    view: memoryview
    tested: Tested


_Of = tuple[object, ...]
"""What an image is compared with: it was examined for just that."""


@dataclass(frozen=True, slots=True)
class _Examined:
    """The image of a record after it was read and tested, or what is wrong with it."""

    of: _Of
    found: _Passed | ImageUnusable | SelfTestFailed


class Activation:
    """Keeps what the service enforces of one list, and changes it.

    passed: whether the list that was tested last has passed: its image, and then the sockets.
    """

    def __init__(self, one: config.List, journal: Journal, host: Host) -> None:
        self.list = one
        self.journal = journal
        self.host = host
        self.enforced: Enforced = Nothing()
        self.passed = False
        self._prepared: _Examined | None = None

    async def activate(self, candidate: Candidate) -> None:
        """Put a candidate in force; UpdateFailed or OSError if that fails."""
        passed = None
        if not candidate.record.withdrawn:
            passed = await asyncio.to_thread(self._tested, candidate.record)
        before = self.journal.state.in_force
        await asyncio.to_thread(self._write_down, candidate)
        # If the compile host has taken the previous list back, this is a return: nothing better is left.
        returned = before is not None and before.identity in self.journal.state.quarantined
        self._swap(passed, enforced.restore if returned else enforced.put_in_force)
        await asyncio.to_thread(self.journal.clean)

    async def prepare(self, record: Record | None) -> None:
        """Read and test the image of `record` in a thread; the next step that enforces it does not do so again."""
        if record is not None and not record.withdrawn:
            self._prepared = await asyncio.to_thread(self._examined, record)

    def forget_prepared(self) -> None:
        """Forget what was prepared and not used."""
        self._prepared = None

    def take_in(self, candidate: Candidate) -> None:
        """Put in force the first list of a host, before anything is served."""
        passed = self._tested(candidate.record)
        self._write_down(candidate)
        self._swap(passed, enforced.restore)

    def preview(self, record: Record) -> None:
        """Enforce or lift the list of `record` from its saved image, and write nothing; what is enforced then needs no
        correction. ImageUnusable or SelfTestFailed if it cannot be enforced."""
        one, hooks = self.list, self.host.hooks
        if self.is_lifted(record):
            hooks.lift(one.id)
            self.enforced = enforced.lift(self.enforced, record.generation)
            return
        passed = self._examined(record).found
        if not isinstance(passed, _Passed):
            raise passed
        hooks.put_in_force(one.id, passed.view, record)
        self.passed = True
        new = InForce(
            number=record.generation,
            identity=record.identity,
            view=passed.view,
            tested=passed.tested,
            approved=record.approved,
        )
        self.enforced = enforced.restore(self.enforced, new)

    def apply(self, new: State) -> None:
        """Write a state with another approval of the list in force, and enforce its image by it."""
        if new.in_force is not None:
            passed = self._tested(new.in_force)
            self.journal.write(new)
            self._swap(passed, enforced.restore)

    def go_back(self, why: str, by: str = FEED) -> None:
        """Quarantine the list in force and enforce the previous one, if there is one.

        why: for the audit log. by: the person who has decided it, for the journal.
        """
        journal = self.journal
        record = journal.state.in_force
        if record is None:
            return
        journal.log(Event.QUARANTINED, record, why, by)
        with journal.changing:
            journal.write(state.go_back(journal.state))
        # The list that the service enforces now may not stay, even if nothing can replace it.
        self.enforced, back = enforced.take_out(self.enforced), journal.state.in_force
        try:
            if back is not None:
                journal.log(Event.GONE_BACK, back, by=by)
                self._enforce(back)
        finally:
            if isinstance(self.enforced, Nothing):
                self._take_out(self.enforced.unusable)

    def correct(self) -> None:
        """Make the service enforce what the state says, if a date has passed or an earlier step has failed."""
        record = self.journal.state.in_force
        if self.agrees():
            return
        if record is None:
            self._take_out()
        else:
            self._enforce(record)

    # Before a list comes.

    def set_aside_used(self, file: int, record: Record, *, approved: bool) -> list[int]:
        """Set aside the entries of the sealed image of `record` in an open file that were in wide use; return their
        slots.

        approved: the lines set aside of the list in force are enforced. SealBroken if the image is not ours.
        """
        current, share = self.journal.state.in_force, self.list.guard.popular_share
        fresh = current is None or current.withdrawn
        before = None if fresh else self.image_in_force()
        renewal = current is not None and current.identity == record.identity
        found: Iterable[in_use.Digest] = ()
        # Without the image in force it is not known which entries are new: none is judged.
        if share and not renewal and (fresh or before is not None):
            found = self.host.hooks.widely_asked(share)
        kept = [] if before is None or (approved and not renewal) else in_use.marked(before)
        return in_use.mark(file, self.host.keys.seal, found, kept, before, approved=approved)

    def image_in_force(self) -> memoryview | None:
        """Return the view of the image in force, also if the list is lifted; None if there is none that can be used."""
        record, now = self.journal.state.in_force, self.enforced
        if record is None or (isinstance(now, InForce) and now.number == record.generation):
            return now.view if isinstance(now, InForce) else None
        try:
            return load(
                self.journal.store.folder,
                record,
                self.host.keys,
                list_id=self.list.id,
                demonstration=self.list.demonstration,
            )
        except ImageUnusable:
            return None

    # What is read.

    def agrees(self) -> bool:
        """Return whether the service enforces what the state says."""
        found = self.journal.state
        lifted = found.in_force is not None and self.is_lifted(found.in_force)
        return enforced.agrees(self.enforced, found.in_force, lifted=lifted)

    def has_taken(self, record: Record) -> bool:
        """Return whether the service judges by the image of this very record, not of an earlier or later one."""
        return isinstance(self.enforced, InForce) and self.enforced.number == record.generation

    def is_lifted(self, record: Record) -> bool:
        """Return whether a list blocks nothing: withdrawn, or past its hard limit with expire = "lift"."""
        return state.is_lifted(record, self.list.limit, self.list.expire, self.host.now())

    def hard_limit_at(self, record: Record) -> float:
        """Return when the right of `record` to be in force ends, in unix seconds."""
        return state.hard_limit_at(record, self.list.limit)

    # The steps.

    def _tested(self, record: Record) -> _Passed:
        """Return the image of `record` after its self-test; quarantine a list that fails it; raise UpdateFailed."""
        journal = self.journal
        prepared, self._prepared = self._prepared, None
        if prepared is None or prepared.of != self._compared(record):
            prepared = self._examined(record)
        match prepared.found:
            case ImageUnusable():
                raise UpdateFailed(Reason.IMAGE_UNUSABLE)
            case SelfTestFailed() as failed:
                self.passed = False
                with journal.changing:
                    current = journal.state.in_force
                    if current is None or current.identity != record.identity:
                        journal.log(Event.QUARANTINED, record, str(failed))
                        journal.write(state.quarantine(journal.state, record))
                raise UpdateFailed(Reason.SELFTEST)
            case passed:
                self.passed = True
                return passed

    def _examined(self, record: Record) -> _Examined:
        """Read and test the image of `record`; nothing else changes."""
        compared, one = self._compared(record), self.list
        try:
            view = load(
                self.journal.store.folder, record, self.host.keys, list_id=one.id, demonstration=one.demonstration
            )
            return _Examined(compared, _Passed(view, self_test(view, self.host.hooks.judge, self.host.random)))
        except (ImageUnusable, SelfTestFailed) as fault:
            return _Examined(compared, fault.with_traceback(None))

    def _compared(self, record: Record) -> _Of:
        """Return all that `load` compares an image with."""
        header = record.serial, record.issued, record.expires, record.generation, record.entries
        return record.image, record.digest_key, record.demonstration, self.list.demonstration, *header

    def _write_down(self, candidate: Candidate) -> None:
        journal, record = self.journal, candidate.record
        with journal.changing:
            before, floor = journal.state, journal.floor
            current = before.in_force
            renewal = current is not None and current.identity == record.identity and bool(current.since)
            record = replace(record, since=current.since if current and renewal else int(self.host.now()))
            after = candidate.arrive(before, record)
            if current is not None and current.identity in set(after.quarantined) - set(before.quarantined):
                journal.log(Event.QUARANTINED, current, "taken back by the compile host")
            if floor is not None and floor.record.targets_keys != record.targets_keys:
                journal.log(Event.FLOOR_RESET, record, "targets keys replaced")
            event = Event.WITHDRAWN if record.withdrawn else Event.IN_FORCE
            kept = record.approved and bool(record.set_aside) and not renewal
            journal.log(event, record, audit_details.in_force(record.issued, kept=kept), candidate.by)
            journal.raise_floor(Floor(record=record))
            journal.write(after)

    def _swap(self, passed: _Passed | None, step: Callable[[Enforced, InForce], InForce]) -> None:
        """Have the service enforce or lift the list in force, by its dates. If it cannot, go back, unless that very
        list is enforced already; raise UpdateFailed."""
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
        )
        self.enforced = enforced.restore(self.enforced, new) if same else step(self.enforced, new)

    def _taken(self, view: memoryview, record: Record) -> bool:
        """Have the service enforce an image by the state; return whether it could."""
        try:
            self.host.hooks.put_in_force(self.list.id, view, record)
        except Exception as error:  # noqa: BLE001 - after any failure of the service the previous list comes back
            _log.debug("list %s: swap: %s", self.list.id, type(error).__name__)
            return False
        return True

    def _enforce(self, record: Record) -> None:
        """Enforce the list of `record`, which the state has in force, from its saved image."""
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
    """Return the view (u64) of the saved image of `record`; ImageUnusable if it does not match or cannot be read."""
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
    """Read a file into anonymous memory that is in no core dump, and return it; OSError if it cannot be read."""
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        memory = mmap.mmap(-1, max(1, size))
        memory.madvise(mmap.MADV_DONTDUMP)
        view, at = memoryview(memory)[:size], 0
        while at < size and (read := file.readinto(view[at:])):
            at += read
    return view[:at].toreadonly()


def self_test(view: memoryview, judge: Judge, random: Callable[[int], bytes]) -> Tested:
    """Test an image; return the number of digests and of unlisted names tested, or raise SelfTestFailed."""
    verdict = judge(view)
    label = image.header(view).selftest
    blocked = bytes([len(label)]) + label + image.SELFTEST_ZONE
    if any(verdict(blocked, qtype) != codes.BLOCK for qtype in _TYPES):
        raise SelfTestFailed("synthetic name")
    found = image.digests(view, SAMPLED_SLOTS)
    if not found or any(image.find(view, low, high) != bits for low, high, bits in found):
        raise SelfTestFailed("digests")
    # No list can cover a random name directly below a reserved top-level name: such names may not be listed.
    for number in range(SAMPLES):
        if number % YIELD_EVERY == 0:
            # In a thread: the one that answers gets the interpreter now, and not after Python's 5 ms.
            time.sleep(0)
        unlisted = synthetic.label(random)
        name = bytes([len(unlisted)]) + unlisted + _UNLISTED_ZONE
        if verdict(name, _TYPES[number % len(_TYPES)]) != codes.PASS:
            raise SelfTestFailed("unlisted names")
    return Tested(digests=len(found), unlisted=SAMPLES)
