"""What the machine of a list's life is made of: resolvers, a source, a disk that fails, and what must hold of them.

Each resolver is the real one from feed.poll down to feed.store, on a real folder, joined with a real generation and
real releases. The two processes that see names run in this one: what is fetched is what the machine has published, what
is compiled is compiled by feed.names.compile.
"""

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from dataclasses import replace as with_changes
from pathlib import Path
from typing import Any
from unittest import mock

from msgspec.structs import replace

from resolver.config import config
from resolver.core import codes, image, policy, siphash
from resolver.core.name import Name, unfold
from resolver.feed import activate, approve, enforced, guard, poll, processes, seal, state
from resolver.feed.approve import Signer
from resolver.feed.copies import head_of
from resolver.feed.enforced import InForce, Lifted, Nothing
from resolver.feed.fetch import image as pulling
from resolver.feed.messages import Compiled, CompileRequest, Facts, FetchRequest
from resolver.feed.names import compile as compiling
from resolver.feed.names import read
from resolver.feed.names.guard_lines import INFRASTRUCTURE, Protected
from resolver.feed.processes import UpdateFailed
from resolver.feed.reasons import Reason
from resolver.feed.release import Releases
from resolver.feed.sandbox import Failed
from resolver.feed.state import Record
from resolver.feed.update import ListUpdate
from resolver.service import in_force
from resolver.service.verbs_release import ReleaseVerbs
from resolver.signed.metadata import Custom
from tests.fakes.enforcer import Enforcer, wire
from tests.fakes.fleet import make_keys

BEGINS = 1_700_000_000
LIMIT_S = 3600
BASE = 20
SMALL = 3
"""Names that may come or go in a list of BASE without that it is held."""
PROTECTED = "kept.test"
PERSONS = ("anna", "ben", "carl")
PSL = read.suffixes()
GUARDED = Protected((PROTECTED,), INFRASTRUCTURE.read_text("ascii"), "", PSL)
UNIVERSE = (*(f"n{number}.test" for number in range(60)), PROTECTED)
ZONE = "dns://192.0.2.1/rpz.example"
_ALL_LISTS = 0xFFFF


class Crash(BaseException):
    """The process ends here."""


@dataclass(frozen=True)
class Published:
    """What the source says now."""

    names: frozenset[str]
    custom: Custom
    keys: str
    root: int

    @property
    def data(self) -> bytes:
        return b"".join(name.encode() + b"\n" for name in sorted(self.names)) if not self.custom.withdrawn else b"#\n"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def changed(self, **changes: Any) -> "Published":
        return with_changes(self, **changes)


class Disk:
    """Steps on the disk, one of which may fail. `armed`: how many go well, and how the next one ends.

    Only files below `folder` count: Hypothesis writes files of its own in this process.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.armed: tuple[int, str] | None = None
        self.struck = False

    def step(self, real: Callable[..., Any], *args: Any) -> Any:
        elsewhere = not isinstance(args[0], int) and not str(args[0]).startswith(self.folder)
        if self.armed is None or elsewhere:
            return real(*args)
        left, how = self.armed
        if left:
            self.armed = left - 1, how
            return real(*args)
        self.armed, self.struck = None, True
        done = real(*args) if how.endswith("after") else None
        if how.startswith("crash"):
            raise Crash
        if how.startswith("error"):
            raise OSError(5, "Input/output error")
        return done


@dataclass
class Joined(Enforcer):
    """A resolver with the generation that queries are judged by, and the names it has released."""

    keys_folder: Path = Path()
    image_of: Path | None = None
    root: Path = Path()

    def configured(self) -> config.Config:
        found = super().configured()
        state = replace(found.state, keys=str(self.keys_folder))
        if self.image_of is None:
            return replace(found, state=state)
        source = config.Source(kind="image", url=self.image_of.as_uri(), root=str(self.root), target="demo")
        return replace(found, lists=(replace(found.lists[0], source=source),), state=state)

    def started(self) -> poll.Feed:
        feed = super().started()
        self.asked = frozenset()
        self.in_force = in_force.InForce(self.config, self.keys.digest, bytes(16), lambda _: None)
        self.releases = Releases(
            self.folder / "releases",
            self.keys,
            feed.audit,
            now=self._clock,
            enforce=self.in_force.release,
            report=lambda *_: None,
        )
        self.verbs = ReleaseVerbs(self.releases, feed, self.in_force, Path("/signers"), self._clock).verbs()
        return feed

    def recover(self) -> None:
        """Start, as the service does."""
        self.feed.recover()
        self.releases.recover()

    def restarted(self) -> None:
        self.feed = self.started()
        self.recover()

    def put_in_force(self, list_id: str, view: memoryview, record: Record) -> None:
        super().put_in_force(list_id, view, record)
        self.in_force.put_in_force(list_id, view, approved=record.approved)

    def lift(self, list_id: str) -> None:
        super().lift(list_id)
        self.in_force.lift(list_id)

    def take_out(self, list_id: str) -> None:
        super().take_out(list_id)
        self.in_force.take_out(list_id)

    def follow(self, list_id: str, released: Iterable[tuple[int, bytes]]) -> None:
        self.releases.follow(list_id, released)

    def entries(self) -> dict[str, int]:
        """The bits of every name of the machine's in the image that was put in force."""
        found = {}
        for name in UNIVERSE if self.view is not None else ():
            bits = image.find(self.view, *siphash.digest_of(self.keys.digest, wire(name)))
            if bits:
                found[name] = bits
        return found

    def listed(self) -> frozenset[str]:
        """The names that the list blocks now, by its image and how it was put in force."""
        return frozenset(
            name
            for name, bits in self.entries().items()
            if self.approved or not bits & codes.SET_ASIDE
        )

    def judged(self) -> frozenset[str]:
        """The names that queries are blocked for now."""
        name, verdict, found = Name(), policy.Verdict(), set()
        for one in UNIVERSE:
            octets = wire(one)
            assert unfold(octets, 0, len(octets), name) == len(octets)
            if policy.decide(self.in_force.tables.generation, name, _ALL_LISTS, verdict) == codes.BLOCK:
                found.add(one)
        return frozenset(found)


@dataclass
class Actor:
    """One resolver, and what the machine knows of it beside its own state.

    clean: the last step met no fault of the disk. parted: no poll without a fault came since one. sound: there was none
    since the beginning. pardons: by the number of a release, each name that it was asked for. may_follow: names that
    another host has released at some time.
    """

    resolver: Joined
    clean: bool = True
    parted: bool = False
    sound: bool = True
    highest: dict[str, tuple[int, int]] = field(default_factory=dict)
    quarantined: set[str] = field(default_factory=set)
    signed: dict[tuple[Any, ...], set[str]] = field(default_factory=dict)
    pardons: dict[int, list[str]] = field(default_factory=dict)
    may_follow: set[str] = field(default_factory=set)
    owed: tuple[Any, ...] = ()

    @property
    def one(self) -> ListUpdate:
        return self.resolver.list

    @property
    def is_node(self) -> bool:
        return self.resolver.image_of is not None

    @property
    def pardoned(self) -> frozenset[str]:
        return frozenset(name for names in self.pardons.values() for name in names)

    def crowd(self, asked: Iterable[str]) -> None:
        """Clients ask for names, so many that the breaker says so: nothing that is enforced changes."""
        listed, judged = self.resolver.listed(), self.resolver.judged()
        self.resolver.asked = frozenset(asked)
        self.one.surged()
        assert (self.resolver.listed(), self.resolver.judged()) == (listed, judged)

    def hold_what_stayed(self, before: frozenset[str]) -> None:
        """Of what was enforced before, nothing waits because clients have asked for it."""
        waits = {name for name, bits in self.resolver.entries().items() if bits & codes.IN_USE}
        assert self.resolver.approved or not before & waits

    def restarted(self) -> None:
        self.resolver.restarted()
        kept = {one.number for one in self.resolver.releases}
        self.pardons = {number: names for number, names in self.pardons.items() if number in kept}
        self.clean = True

    def is_apart(self) -> bool:
        """Whether the service enforces something else than the state says, whatever the date is."""
        found, now = self.one.state, self.one.enforced
        record = found.in_force
        lifted = record is not None and (record.withdrawn or isinstance(now, Lifted))
        return not enforced.agrees(now, record, lifted=lifted)

    # What must hold, whatever has come.

    def hold_all(self, roots: dict[str, int]) -> None:
        self.the_value_says_what_the_service_has_taken()
        self.the_service_enforces_what_the_state_says()
        self.the_disk_says_what_memory_says()
        self.what_was_taken_out_stays_out()
        self.queries_are_judged_by_the_list_but_for_what_is_released()
        self.a_copy_is_of_the_list_that_it_is_named_for()
        self.nothing_unforeseen_has_failed()
        self.the_deadline_stands_until_it_is_met()
        self.a_standing_approval_has_two_persons_and_an_end()
        if not self.is_node:
            self.what_is_accepted_goes_forward(roots)

    def the_value_says_what_the_service_has_taken(self) -> None:
        resolver, now = self.resolver, self.one.enforced
        match now:
            case Nothing():
                assert (resolver.enforced, resolver.view) == ("no list", None)
            case Lifted():
                assert (resolver.enforced, resolver.view) == ("lifted", None)
            case InForce():
                header = image.header(resolver.view)
                assert now.view is resolver.view
                assert (header.serial, header.generation) == (now.identity[0], now.number)
                assert resolver.approved == now.approved

    def the_service_enforces_what_the_state_says(self) -> None:
        assert not self.is_apart() or self.parted, "apart, though nothing failed"
        record, now = self.one.state.in_force, self.one.enforced
        if isinstance(now, Lifted) and not self.parted:
            assert record is not None
            assert record.withdrawn or self.one.list.expire == "lift"

    def the_disk_says_what_memory_says(self) -> None:
        if self.clean:
            assert self.one.store.read_state() == self.one.state or self.one.state == type(self.one.state)()
            assert self.one.store.read_floor() == self.one.floor

    def what_is_accepted_goes_forward(self, roots: dict[str, int]) -> None:
        if self.one.floor is None:
            return
        floor, record, found = self.one.floor.record, self.one.state.in_force, self.one.state
        last = self.highest.get(floor.targets_keys, (0, 0))
        assert floor.serial >= last[0]
        assert floor.issued >= last[1]
        self.highest[floor.targets_keys] = floor.serial, floor.issued
        assert roots[floor.targets_keys] == floor.root_version
        if record is not None and record.targets_keys == floor.targets_keys and record.serial < floor.serial:
            assert found.gone_back_to == record.identity or self.parted

    def what_was_taken_out_stays_out(self) -> None:
        found = self.one.state
        self.quarantined |= {digest for _, digest in found.quarantined}
        assert {digest for _, digest in found.quarantined} >= self.quarantined or not self.clean
        if found.in_force is not None and isinstance(self.one.enforced, InForce):
            assert found.in_force.identity not in found.quarantined
            # The list before may have had the very names of the one that was taken out.
            same = found.gone_back_to == found.in_force.identity
            assert same or found.in_force.digest not in self.quarantined

    def queries_are_judged_by_the_list_but_for_what_is_released(self) -> None:
        listed, judged = self.resolver.listed(), self.resolver.judged()
        assert judged <= listed
        assert listed - judged <= self.pardoned | self.may_follow
        asked = [self.pardons.get(one.number, ()) for one in self.resolver.releases]
        assert not {names[0] for names in asked if len(names) == 1} & judged, "a name that is released is blocked"

    def a_copy_is_of_the_list_that_it_is_named_for(self) -> None:
        found, floor = self.one.state, self.one.floor
        records = (found.in_force, found.held and found.held.record, floor and floor.record)
        kept = {record.copy: copy_of(record.serial, record.digest) for record in records if record}
        for path in self.one.store.folder.glob("*.copy") if self.sound else ():
            assert path.read_bytes() == kept.get(path.name, path.read_bytes())

    def the_deadline_stands_until_it_is_met(self) -> None:
        """What came in force may end it; a list that is only held or fails never moves it."""
        found = self.one.state
        record = found.in_force
        force = (record and record.identity, record and record.issued, found.quarantined)
        if self.owed and self.owed[0] == force and self.owed[1] is not None:
            assert found.unmet == self.owed[1]
        self.owed = force, found.unmet
        if found.held is not None and not self.is_node:
            assert found.unmet is not None
            assert found.unmet.serial <= found.held.record.serial or self.parted or found.quarantined
        if state.taken_out(found) is not None and found.unmet is not None:
            assert not state.is_taken_out(found, found.unmet.digest)

    def a_standing_approval_has_two_persons_and_an_end(self) -> None:
        found = self.one.state
        if found.standing is not None:
            assert len({one.principal for one in found.standing.signatures}) == 2
            assert found.standing.terms.number == found.standings
        assert all(len(one.signatures) == 1 for one in found.proposed)

    def nothing_unforeseen_has_failed(self) -> None:
        assert "internal" not in self.resolver.failures


class World:
    """An authority that errs, a clock and a disk; `kind` of source is "names" or "zone"."""

    def __init__(self, kind: str, expire: str) -> None:
        self.kind = kind
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.disk = Disk(self.folder)
        self.clock = float(BEGINS)
        self.during: tuple[str, Actor | None] = ("", None)
        names = frozenset(UNIVERSE[:BASE])
        custom = Custom(list="demo", serial=1, issued=BEGINS, expires=None, withdrawn=False)
        self.published = Published(names, custom, "keys", 1)
        self.old: list[Published] = []
        self.roots = {"keys": 1}
        self.copies: list[bool] = []
        self.settings = (
            f'expire = "{expire}"\nhard_limit = "{LIMIT_S}s"\n'
            f'[list.guard]\nexpect_entries = [1, 30]\nprotected = ["{PROTECTED}"]\n'
        )
        self.source = {
            "names": 'kind = "tuf"\nurl = "file:///nowhere"\nroot = "/nowhere/root.json"',
            "zone": f'kind = "zone"\nurl = "{ZONE}"\nroot = "/nowhere/key"\nincremental = true',
        }[kind]
        self.keys_folder = make_keys(self.folder / "keys")
        self.stack = [
            mock.patch.multiple(processes, fetch=self.fetch, compile_list=self.compile),
            mock.patch.object(approve, "signer_of", self.signer_of),
            mock.patch.object(guard, "SMALL_CHANGE", SMALL),
            mock.patch.object(activate, "SAMPLES", 5),
            mock.patch.object(os, "fsync", lambda handle: self.disk.step(lambda _: None, handle)),
            mock.patch.object(os, "replace", lambda *paths, real=os.replace: self.disk.step(real, *paths)),
            mock.patch.object(os, "unlink", lambda path, real=os.unlink: self.disk.step(real, path)),
        ]
        for one in self.stack:
            one.start()

    def close(self) -> None:
        for one in self.stack:
            one.stop()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)

    def now(self) -> float:
        return self.clock

    def actor(self, name: str, **source: Any) -> Actor:
        """A resolver that has just started for the first time."""
        made = Joined(
            None,
            self.folder / name,
            self.settings,
            now=self.now,
            source=self.source,
            keys_folder=self.keys_folder,
            **source,
        )
        made.recover()
        return Actor(made)

    # How a step is taken.

    def run(self, actor: Actor, step: Callable[[], Any], *, heals: bool = False) -> Any:
        """Take a step, which a crash may end; then start again from what is on the disk. None if it crashed."""
        self.disk.struck = False
        try:
            found = step()
            return self.loop.run_until_complete(found) if asyncio.iscoroutine(found) else found
        except Crash:
            self.restart(actor)
            return None
        except OSError:
            if not self.disk.struck:
                raise
            return None
        finally:
            self.disk.armed, self.during = None, ("", None)
            actor.clean = not self.disk.struck
            actor.sound = actor.sound and actor.clean
            # What the disk has parted, the next poll without a fault brings together.
            actor.parted = self.disk.struck or (actor.parted and not heals)

    def restart(self, actor: Actor) -> None:
        """A start of its own may crash no further: the one after it has to come up."""
        self.disk.armed = None
        asyncio.set_event_loop(None)
        actor.restarted()

    def crowd_if(self, when: str) -> None:
        """Have clients ask for every name while a list is on its way."""
        if self.during[0] == when:
            actor, self.during = self.during[1], ("", None)
            assert actor is not None
            if when == "test":
                self.loop.call_soon_threadsafe(actor.crowd, UNIVERSE)
            else:
                actor.crowd(UNIVERSE)

    @contextmanager
    def crowded(self, actor: Actor) -> Iterator[None]:
        """Have clients ask while an image is tested."""
        real = actor.resolver.judge

        def judge(view: memoryview) -> Callable[[bytes, int], int]:
            self.crowd_if("test")
            return real(view)

        with mock.patch.object(actor.resolver, "judge", judge):
            yield

    # What stands for the two processes, and for ssh-keygen.

    async def fetch(
        self, module: str, request: FetchRequest, wanted: Callable[[Facts], bool], *_: object
    ) -> tuple[Facts, bool]:
        seen: list[Facts] = []

        def asked(facts: Facts) -> bool:
            seen.append(facts)
            return wanted(facts)

        source = {"names": self._names, "zone": self._zone}[self.kind]
        try:
            if module.endswith("image"):
                done = pulling.fetch(request, asked, self.now)
                self.crowd_if("compile")
            else:
                done = source(request, asked)
        except Failed as failed:
            raise UpdateFailed(Reason(failed.reason)) from None
        return seen[0], done

    def _names(self, request: FetchRequest, wanted: Callable[[Facts], bool]) -> bool:
        said = self.published
        go = wanted(self._facts(said, said.custom, said.digest))
        if go:
            os.write(request.output, said.data)
        return go

    def _zone(self, request: FetchRequest, wanted: Callable[[Facts], bool]) -> bool:
        """As feed.fetch.zone: a zone has no dates, and a serial that is known confirms it."""
        said = self.published
        known = request.serial if request.targets_keys == said.keys else 0
        if said.custom.serial < known:
            raise Failed(Reason.ROLLED_BACK)
        if request.copy >= 0:
            self.copies.append(os.pread(request.copy, 4096, 0) == copy_of(request.serial, request.digest))
        first = replace(said.custom, issued=request.issued or int(self.clock))
        if said.custom.serial == known:
            if not wanted(self._facts(said, first, request.digest)):
                return False
            if said.digest != request.digest:
                raise Failed(Reason.SERIAL_REUSED)
        elif not wanted(self._facts(said, replace(said.custom, issued=int(self.clock)), said.digest)):
            return False
        os.write(request.output, said.data)
        if request.copy_output >= 0:
            os.write(request.copy_output, copy_of(said.custom.serial, said.digest))
        return True

    @staticmethod
    def _facts(said: Published, custom: Custom, digest: str) -> Facts:
        return Facts(
            digest=digest,
            length=len(said.data),
            custom=custom,
            targets_keys=said.keys,
            root_version=said.root,
            fresh_until=0,
            pinned="root",
        )

    async def compile(self, request: CompileRequest) -> Compiled:
        both = os.read(request.keys, seal.DIGEST_KEY_BYTES + seal.SEAL_KEY_BYTES)
        keys = seal.Keys(both[: seal.DIGEST_KEY_BYTES], both[seal.DIGEST_KEY_BYTES :])
        with os.fdopen(request.list_fd, "rb", closefd=False) as file:
            file.seek(0)
            try:
                found = compiling.entries_of(request, file.read(), PSL, GUARDED)
            except Failed as failed:
                raise UpdateFailed(Reason(failed.reason)) from None
        counts, made, lines = compiling.compiled(request, found, keys)
        self.crowd_if("compile")
        os.write(request.output, bytes(made) + seal.seal_of(made, keys.seal))
        os.write(request.lines, lines)
        os.fsync(request.output)
        return counts

    async def signer_of(self, signature: bytes, held: dict[int, bytes], approvers: Path) -> Signer:
        return Signer(signature.decode(), f"SHA256:{signature.decode()}", max(held))

    # What an authority does.

    def publish(self, serial: str, change: str, issued: str, draw: Any, *, ends: bool) -> None:
        last = self.published
        self.old.append(last)
        names = set(last.names)
        free = [name for name in UNIVERSE[:-1] if name not in names]
        if change in ("small", "protected"):
            names |= set(draw.sample(free, min(2, len(free))))
            names -= set(draw.sample(sorted(names), 1)) if len(names) > 2 else set()
        if change in ("huge", "announced"):
            names |= set(draw.sample(free, min(12, len(free))))
        if change == "tiny":
            names = set(draw.sample(sorted(names), 2)) if len(names) > 2 else names
        if change == "protected":
            names |= {PROTECTED}
        at = {"now": int(self.clock), "same": last.custom.issued, "older": last.custom.issued - 50}
        custom = replace(
            last.custom,
            serial=last.custom.serial + {"next": 1, "same": 0, "older": -1}[serial],
            issued=at.get(issued, int(self.clock) + 500),
            expires=int(self.clock) + 1800 if ends and self.kind == "names" else None,
            withdrawn=False,
            entries=len(names) if change == "announced" and self.kind == "names" else None,
        )
        if custom.serial > 0:
            self.published = last.changed(names=frozenset(names), custom=custom)

    def publish_as_ever(self, change: str, draw: Any) -> None:
        """What an honest authority does: the next serial, issued now, with a few changes."""
        every = [self.published, *self.old]
        self.published = max(every, key=lambda one: (one.root, one.custom.serial, one.custom.issued))
        self.publish("next", change, "now", draw, ends=False)

    def withdraw(self) -> None:
        last = self.published
        self.old.append(last)
        custom = replace(last.custom, serial=last.custom.serial + 1, issued=int(self.clock), withdrawn=True)
        self.published = last.changed(custom=custom)

    def rotate(self) -> None:
        last = self.published
        self.old.append(last)
        keys = f"keys {len(self.roots)}"
        self.roots[keys] = max(self.roots.values()) + 1 if self.kind == "names" else 1
        self.published = last.changed(keys=keys, root=self.roots[keys])


def copy_of(serial: int, digest: str) -> bytes:
    """What stands for the sealed copy of a zone."""
    return head_of(ZONE) + f"{serial} {digest}".encode()


def changed(before: Record | None, after: Record) -> bool:
    return before is None or before.identity != after.identity


def unusual(before: Record | None, after: Record) -> bool:
    """Whether a person has to look first, reckoned apart from feed.guard."""
    if after.withdrawn:
        return before is None or not before.withdrawn
    if before is None or before.withdrawn:
        return not 1 <= after.entries <= 30
    if after.announced is not None and after.announced == after.entries:
        return False
    return abs(after.entries - before.entries) > max(SMALL, before.entries // 5)
