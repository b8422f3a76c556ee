"""Runs all lists together for the service, and reads their saved states and images for the verbs.

Rules:
- Each list polls at its own pace; a trigger polls all of them now, and a slow list does not delay another.
- `recover` comes before the first answer; `run` ends only when it is cancelled.
- Old lines are cut from the audit log at the start and once a day.
"""

import asyncio
import errno
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from resolver.config.config import Config, List, Source, protected_names
from resolver.config.export import exported
from resolver.feed import activate, copies, facts, seed, state
from resolver.feed.audit import Audit
from resolver.feed.candidate import Shown, Step
from resolver.feed.export_link import Link
from resolver.feed.facts import ListFacts
from resolver.feed.outbox import Outbox
from resolver.feed.places import Places
from resolver.feed.seal import Keys, KeyUnreadable, host_key, load_keys
from resolver.feed.state import State
from resolver.feed.store import Store, in_force_once
from resolver.feed.transport import Access, Transport
from resolver.feed.update import ListUpdate
from resolver.feed.update_compile import CompileStep
from resolver.feed.update_image import ImageStep
from resolver.feed.update_zone import ZoneStep

TICK_S: Final = 1.0
POST_SECONDS: Final = 15.0
TRIM_EVERY_S: Final = 86400
EARLIER: Final = 0.1
"""The part of a poll's time by which a node may poll sooner."""

_log: Final = logging.getLogger("resolver.feed")




def keys_of(config: Config, *, make: bool = True) -> Keys:
    """Return the keys of this host; KeyUnusable if they cannot be read, or are missing and not to be made."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return load_keys(Path(config.state.directory), config.state.keys, credentials, make=make)


def host_key_of(config: Config, *, make: bool) -> Ed25519PrivateKey:
    """Return the key that this host signs with; KeyUnusable if it cannot be read, or is missing and not to be made."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return host_key(Path(config.state.directory), config.state.keys, credentials, make=make)


def _signing_key(config: Config) -> Ed25519PrivateKey:
    """Return the host's key as often as something is signed; OSError if it cannot be read now."""
    try:
        return host_key_of(config, make=True)
    except KeyUnreadable as error:
        raise OSError(errno.EACCES, str(error)) from None


def _post(resolvers: tuple[str, ...], source: Source, data: bytes) -> None:
    access = Access(ca=source.ca, certificate=source.certificate, key=source.key, resolvers=resolvers)
    Transport(access, POST_SECONDS).post(source.receipt, data)


def host_of(config: Config) -> str:
    """Return the name of this host in its signed statements."""
    return config.fleet.host or socket.gethostname()


def pause_of(source: Source, draw: Callable[[], float] = random.random) -> float:
    """Return the time until a source is polled again, in seconds.

    A compile host is polled up to a tenth sooner, drawn each time, so that nodes which started together spread out. An
    authority is never polled sooner than agreed. draw: returns a number from 0 to 1.
    """
    poll = float(source.poll)
    return poll * (1 - EARLIER * draw()) if source.kind == "image" else poll


_STEPS: Final[dict[str, Callable[[activate.Activation, Shown], Step]]] = {"image": ImageStep, "zone": ZoneStep}


def _guarded(config: Config, one: List) -> List:
    """Return the list with all names that its lines may not block unseen."""
    return replace(one, guard=replace(one.guard, protected=protected_names(config, one)))


class Feed:
    """Every list of a configuration. `recover` and `run` belong to one event loop's thread.

    later: leave the state folder as it is until `open_log`: another process still writes there.
    """

    def __init__(
        self,
        config: Config,
        keys: Keys,
        hooks: activate.Hooks,
        now: Callable[[], float] = time.time,
        *,
        later: bool = False,
    ) -> None:
        self._keys = keys
        self._now = now
        self._audit_keep = float(config.state.audit_keep)
        self._next_trim = now() + TRIM_EVERY_S
        resolvers = config.upstream.plain
        places = Places(config.state.directory)
        self.audit = audit = Audit(places.audit_log, later=later)
        if not later:
            self.open_log()
        self.outbox = Outbox(
            places.receipts,
            partial(_signing_key, config),
            host_of(config),
            {one.id: one.source for one in config.lists},
            keep_s=float(config.state.audit_keep),
            send=partial(_post, resolvers),
            now=now,
        )
        names = exported(config.export, config.lists)
        self.export = Link(config.export.socket, names, now) if names else None
        self._host = activate.Host(
            keys=keys,
            audit=audit,
            outbox=self.outbox,
            hooks=hooks,
            now=now,
            resolvers=resolvers,
            export=self.export,
        )
        self._folders = places.lists
        # Replaced whole: other threads walk through it.
        self._lists = {one.id: self._made(one) for one in (_guarded(config, each) for each in config.lists)}
        # Lists that a reload has removed. They come back as they were: a thread may still write what they have begun.
        self._left: dict[str, ListUpdate] = {}
        # Lists that the next `configure` adds, as `prepare` has made them.
        self._coming: dict[str, ListUpdate] = {}
        self._wake: dict[str, asyncio.Event] = {}
        self._polls: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def _made(self, one: List) -> ListUpdate:
        store = Store(self._folders / one.id, copies=self._keeps_copies(one))
        return ListUpdate(one, store, self._host, _STEPS.get(one.source.kind, CompileStep))

    def _keeps_copies(self, one: List) -> bool:
        return one.source.incremental and self._keys.apart

    def __iter__(self) -> Iterator[ListUpdate]:
        return iter(self._lists.values())

    def __contains__(self, list_id: str) -> bool:
        return list_id in self._lists

    def __getitem__(self, list_id: str) -> ListUpdate:
        return self._lists[list_id]

    def open_log(self) -> None:
        """Open the audit log and cut its old lines. One that cannot be opened now is opened once it can be: no start
        waits for it. May run in another thread."""
        now = self._now()
        try:
            self.audit.open(now)
            self.audit.trim(now - self._audit_keep, now)
        except OSError as error:
            said = "the audit log cannot be written (%s): saved lists are enforced, and no list changes until it can be"
            _log.error(said, error.strerror)

    def preview(self) -> None:
        """Enforce every saved list as `recover` will, and write nothing: another process still writes here.

        OSError, StateUnreadable, ImageUnusable or SelfTestFailed if one cannot be enforced as it is saved.
        """
        once = in_force_once(self._folders)
        for one in self:
            one.preview(beside=bool(once - {one.list.id}))

    def recover(self) -> None:
        """Put every list in force that is saved here; OSError if the state folder cannot be used."""
        self.outbox.prepare()
        copies.forget_lists(self._folders, frozenset(self._lists))
        once = in_force_once(self._folders)
        for one in self:
            self._recover(one, once)

    def _recover(self, one: ListUpdate, once: frozenset[str]) -> None:
        """Put a list in force that is saved here; once: the lists that were ever in force on this host."""
        with one.journal.changing:
            one.recover(beside=bool(once - {one.list.id}))
        if one.list.source.seed and one.floor is None:
            with one.failures.counted():
                seed.plant(one, self._keys, self._now())

    async def prepare(self, config: Config) -> None:
        """Before `configure`: read and test, in threads, the saved images that it will put in force."""
        lists = [_guarded(config, each) for each in config.lists]
        self._coming = {one.id: self._of(one) for one in lists if one.id not in self._lists}
        for one in lists:
            await self._of(one).prepare(one)

    def forget_prepared(self) -> None:
        """After `configure`: forget what `prepare` has read and nothing has used."""
        for one in (*self._lists.values(), *self._left.values()):
            one.activation.forget_prepared()
        self._coming = {}

    def _of(self, one: List) -> ListUpdate:
        """Return what runs a list: as it runs, as it was left, as it was prepared, or new."""
        for known in (self._lists, self._left, self._coming):
            if one.id in known:
                return known[one.id]
        return self._made(one)

    def configure(self, config: Config) -> None:
        """Go on with the lists of another configuration, at once: those that it adds begin as at a start, from what is
        saved here, and those that it removes end.

        OSError if the folder of a new list cannot be used: then the lists are those of before.
        """
        before, once = self._lists, in_force_once(self._folders)
        lists = [_guarded(config, each) for each in config.lists]
        self._lists = {one.id: self._of(one) for one in lists}
        added = [one for list_id, one in self._lists.items() if list_id not in before]
        settings = {one.list.id: one.list for one in self._lists.values()}
        try:
            for one in lists:
                if one.id not in before:
                    self._set(one)
                    self._recover(self._lists[one.id], once)
        except OSError:
            self._lists = before
            for new in added:
                new.leave()
            raise
        self.outbox.configure({one.id: one.source for one in config.lists})
        for one in lists:
            if one.id in before:
                if one.source != settings[one.id].source:
                    self._end(one.id)
                with self._lists[one.id].failures.counted():
                    self._set(one)
                    self._lists[one.id].activation.correct()
            self._begin(self._lists[one.id])
        for list_id in before.keys() - self._lists.keys():
            self._end(list_id)
            before[list_id].leave()
        self._left = {**self._left, **before}
        self._left = {list_id: one for list_id, one in self._left.items() if list_id not in self._lists}
        copies.forget_lists(self._folders, frozenset(self._lists))

    def _set(self, one: List) -> None:
        step = _STEPS.get(one.source.kind, CompileStep)
        self._lists[one.id].configure(one, step, copies=self._keeps_copies(one))

    def _begin(self, one: ListUpdate) -> None:
        """Start to poll a list, if the feed runs and does not poll it yet."""
        list_id = one.list.id
        if self._group is not None and list_id not in self._polls:
            self._wake[list_id] = asyncio.Event()
            self._polls[list_id] = self._group.create_task(self._run(one), name=f"feed {list_id}")

    def _end(self, list_id: str) -> None:
        """Poll a list no more. A fetch or a compilation that runs is ended; what is being written is written."""
        self._wake.pop(list_id, None)
        task = self._polls.pop(list_id, None)
        if task is not None:
            task.cancel()

    async def run(self) -> None:
        """Poll until cancelled. It may then be called again."""
        try:
            async with asyncio.TaskGroup() as self._group:
                for one in self:
                    self._begin(one)
                self._group.create_task(self.outbox.run(), name="receipts")
                self._group.create_task(self._tick(), name="proofs")
        finally:
            self._group = None
            self._polls.clear()
            self._wake.clear()

    def trigger(self, list_id: str = "") -> None:
        """Poll every list now, or this one."""
        for one, event in self._wake.items():
            if list_id in ("", one):
                event.set()

    def forwards_without(self, list_id: str) -> bool:
        """Return whether names that no list blocks are forwarded while this list is not in force."""
        one = self._lists.get(list_id)
        return one is not None and one.forwards_without

    async def _run(self, one: ListUpdate) -> None:
        wake = self._wake[one.list.id]
        while True:
            wake.clear()
            await one.poll()
            try:
                async with asyncio.timeout(pause_of(one.list.source)):
                    await wake.wait()
            except TimeoutError:
                continue

    async def _tick(self) -> None:
        """Prove the lists that came in force without a poll, at a start or by a rollback, and look at their clocks.

        A list that was dated a little ahead is polled at its date.
        """
        while True:
            for one in self:
                await one.prove()
                one.look_at_clocks()
                if one.early.is_due(self._now()):
                    self.trigger(one.list.id)
            await self.trim()
            await asyncio.sleep(TICK_S)

    async def trim(self) -> None:
        """Cut the old lines from the log, once a day."""
        now = self._now()
        if now < self._next_trim:
            return
        self._next_trim = now + TRIM_EVERY_S
        try:
            await asyncio.to_thread(self.audit.trim, now - self._audit_keep, now)
        except OSError:
            _log.warning("old entries could not be cut from the audit log; the next attempt is in a day")

    def facts(self) -> tuple[ListFacts, ...]:
        """Return what the state and the running service say of every list now, in configured order."""
        now, undelivered = self._now(), self.outbox.undelivered
        every = (facts.with_live(facts.of_state(one.list, one.state, now), one) for one in self)
        return tuple(replace(one, receipts_due=undelivered.get(one.list_id, 0)) for one in every)


def saved_state(config: Config, list_id: str) -> State:
    """Return the state of a list that a start would go on from; OSError, StateUnreadable if it cannot be read."""
    store = Store(Places(config.state.directory).list(list_id))
    return state.at_start(store.read_state(), store.read_floor())


def saved_image(config: Config, list_id: str, keys: Keys) -> memoryview | None:
    """Return the view of the saved image of a list in force, or None; ImageUnusable if it is damaged."""
    one = next(one for one in config.lists if one.id == list_id)
    record = saved_state(config, list_id).in_force
    if record is None or record.withdrawn:
        return None
    folder = Store(Places(config.state.directory).list(list_id)).folder
    return activate.load(folder, record, keys, list_id=list_id, demonstration=one.demonstration)
