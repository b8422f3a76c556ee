"""The life of one list as a machine of states: whatever comes, in whatever order, the rules of a list's way hold.

The list is the real one (feed.update down to feed.store) on a real folder; fetch and compile run in this process: what
is fetched is what the machine has published, what is compiled is compiled by feed.compile. Disk, clock, judgement,
sockets and swap fail when told to, before or after any step on the disk, with an error or with a crash.

`HYPOTHESIS_PROFILE=deep` walks two hundred times as far.
"""

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from resolver.core import codes, image, siphash
from resolver.feed import activate, approve, audit, decide, guard, seal, update
from resolver.feed.actions import OF_A_LIST, Action
from resolver.feed.approve import Refused, Signer
from resolver.feed.messages import Compiled, CompileRequest, Facts
from resolver.feed.names import compile as compiling
from resolver.feed.names import suffixes
from resolver.feed.names.guard_lines import INFRASTRUCTURE, Protected
from resolver.feed.processes import Handles, Known, UpdateFailed
from resolver.signed.metadata import Custom
from tests.fakes.enforcer import Enforcer, wire

BEGINS = 1_700_000_000
LIMIT_S = 3600
BASE = 20
SMALL = 3
"""Names that may come or go in a list of BASE without that it is held."""
PROTECTED = "kept.test"
PERSONS = ("anna", "ben", "carl")
PSL = suffixes.load()
GUARDED = Protected((PROTECTED,), INFRASTRUCTURE.read_text("ascii"), "", PSL)
UNIVERSE = (*(f"n{number}.test" for number in range(60)), PROTECTED)


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


class Disk:
    """Steps on the disk, one of which may fail. `armed`: how many go well, and how the next one ends."""

    def __init__(self) -> None:
        self.armed: tuple[int, str] | None = None
        self.struck = False

    def step(self, real: Callable[..., Any], *args: Any) -> Any:
        if self.armed is None:
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


@dataclass(frozen=True)
class _Source:
    url: str = "file:///nowhere"
    pinned: str = "/nowhere/root.json"


class Life(RuleBasedStateMachine):
    """One list, one resolver, its persons, and an authority that errs."""

    @initialize(expire=st.sampled_from(["keep", "lift"]))
    def begin(self, expire: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.disk = Disk()
        self.patches = mock.patch.multiple(update, fetch_list=self.fetch, compile_image=self.compile)
        self.stack = [
            self.patches,
            mock.patch.object(approve, "signer_of", self.signer_of),
            mock.patch.object(guard, "SMALL_CHANGE", SMALL),
            mock.patch.object(activate, "SAMPLES", 5),
            mock.patch.object(os, "fsync", lambda handle: self.disk.step(lambda _: None, handle)),
            mock.patch.object(os, "replace", lambda *paths, real=os.replace: self.disk.step(real, *paths)),
            mock.patch.object(os, "unlink", lambda path, real=os.unlink: self.disk.step(real, path)),
        ]
        for one in self.stack:
            one.start()
        self.clock = float(BEGINS)
        self.during = ""
        self.fresh = 0
        names = frozenset(UNIVERSE[:BASE])
        custom = Custom(list="demo", serial=1, issued=BEGINS, expires=None, withdrawn=False)
        self.published = Published(names, custom, "keys", 1)
        self.old: list[Published] = []
        # What the machine knows beside the state.
        self.highest: dict[str, tuple[int, int]] = {}
        self.roots: dict[str, int] = {"keys": 1}
        self.quarantined: set[str] = set()
        self.signed: dict[tuple[int, str], set[str]] = {}
        self.out: frozenset[str] = frozenset()
        self.out_of: tuple[int, str] | None = None
        self.clean = True
        self.parted = False
        settings = (
            f'expire = "{expire}"\nhard_limit = "{LIMIT_S}s"\n'
            f'[list.guard]\nexpect_entries = [1, 30]\nprotected = ["{PROTECTED}"]\n'
        )
        self.resolver = Enforcer(_Source(), self.folder, settings, now=lambda: self.clock)  # type: ignore[arg-type]  # only its url is asked for
        self.resolver.feed.recover()
        self.run(self.one.poll)
        assert self.resolver.enforced == 1

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            for one in self.stack:
                one.stop()
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.folder)

    # What stands for the two processes.

    async def fetch(self, one: Any, known: Known, handle: int, wanted: Callable[[Facts], bool]) -> tuple[Facts, bool]:
        said = self.published
        facts = Facts(
            digest=said.digest,
            length=len(said.data),
            custom=said.custom,
            targets_keys=said.keys,
            root_version=said.root,
            fresh_until=0,
            pinned="root",
        )
        go = wanted(facts)
        if go:
            os.write(handle, said.data)
        return facts, go

    async def compile(
        self, facts: Facts, handles: Handles, keys: seal.Keys, one: Any, *, generation: int, **marks: bool
    ) -> Compiled:
        custom = facts.custom
        request = CompileRequest(
            parent=0,
            list_fd=handles.list_fd,
            output=handles.output,
            keys=-1,
            previous=handles.previous,
            lines=handles.lines,
            list_id=custom.list,
            serial=custom.serial,
            issued=custom.issued,
            expires=custom.expires or 0,
            generation=generation,
            demonstration=True,
            max_entries=1000,
            memory_bytes=0,
            **marks,
        )
        with os.fdopen(handles.list_fd, "rb", closefd=False) as file:
            file.seek(0)
            found = compiling.entries_of(request, file.read(), PSL, GUARDED)
        counts, made, lines = compiling.compiled(request, found, keys)
        self.suspend_if("compile")
        os.write(handles.output, bytes(made) + seal.seal_of(made, keys.seal))
        os.write(handles.lines, lines)
        os.fsync(handles.output)
        return counts

    async def signer_of(self, signature: bytes, held: dict[int, bytes], approvers: Path) -> Signer:
        return Signer(signature.decode(), f"SHA256:{signature.decode()}", max(held))

    def suspend_if(self, when: str) -> None:
        if self.during == when:
            self.during = ""
            self.surge()

    # How a step is taken.

    @property
    def one(self) -> update.ListUpdate:
        return self.resolver.list

    def surge(self) -> None:
        """The breaker's word; what is out from then on is remembered."""
        self.one.surged()
        self.note_suspension()

    def note_suspension(self) -> None:
        if self.one.state.suspended and self.one.state.in_force is not None and not self.out:
            view = self.resolver.view
            if view is not None and self.resolver.suspended:
                self.out = frozenset(name for name, bits in self.entries(view).items() if bits & codes.NEW)

    def run(self, step: Callable[[], Any], *, heals: bool = False) -> Any:
        """Take a step, which a crash may end; then start anew from what is on the disk. None where it crashed."""
        self.disk.struck = False
        try:
            found = step()
            return self.loop.run_until_complete(found) if asyncio.iscoroutine(found) else found
        except Crash:
            self.restart()
            return None
        except OSError:
            if not self.disk.struck:
                raise
            return None
        finally:
            self.disk.armed, self.during = None, ""
            self.clean = not self.disk.struck
            # What the disk has kept apart, the next poll without a fault brings together.
            self.parted = self.disk.struck or (self.parted and not heals)

    def restart(self) -> None:
        """A start of its own may crash no further: the one after it has to come up."""
        self.disk.armed = None
        asyncio.set_event_loop(None)
        self.resolver.restarted()

    def entries(self, view: memoryview) -> dict[str, int]:
        """The bits of every name of the machine's in an image."""
        found = {}
        for name in UNIVERSE:
            bits = image.find(view, *siphash.digest_of(self.resolver.keys.digest, wire(name)))
            if bits:
                found[name] = bits
        return found

    def blocked(self) -> frozenset[str]:
        """The names that are blocked now, by what the service was told."""
        resolver = self.resolver
        if resolver.view is None:
            return frozenset()
        return frozenset(
            name
            for name, bits in self.entries(resolver.view).items()
            if not (resolver.suspended and bits & codes.NEW) and not (bits & codes.SET_ASIDE and not resolver.approved)
        )

    # What an authority does.

    @rule(
        serial=st.sampled_from(["next", "next", "next", "same", "older"]),
        change=st.sampled_from(["none", "small", "small", "small", "huge", "announced", "tiny", "protected"]),
        issued=st.sampled_from(["now", "now", "now", "same", "older", "ahead"]),
        draw=st.randoms(use_true_random=False),
        ends=st.booleans(),
    )
    def publish(self, serial: str, change: str, issued: str, draw: Any, ends: bool) -> None:
        self.publish_one(serial, change, issued, draw, ends)

    def publish_one(self, serial: str, change: str, issued: str, draw: Any, ends: bool) -> None:
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
            expires=int(self.clock) + 1800 if ends else None,
            withdrawn=False,
            entries=len(names) if change == "announced" else None,
        )
        if custom.serial > 0:
            self.published = Published(frozenset(names), custom, last.keys, last.root)

    @rule(draw=st.randoms(use_true_random=False), change=st.sampled_from(["small", "small", "huge"]))
    def publish_as_ever(self, draw: Any, change: str) -> None:
        """What an honest authority does: the next serial, issued now, with a few changes."""
        newest = max([self.published, *self.old], key=lambda one: (one.root, one.custom.serial, one.custom.issued))
        self.published = newest
        self.publish_one("next", change, "now", draw, False)

    @rule()
    def withdraw(self) -> None:
        last = self.published
        self.old.append(last)
        custom = replace(last.custom, serial=last.custom.serial + 1, issued=int(self.clock), withdrawn=True)
        self.published = replace_published(last, custom=custom)

    @rule(draw=st.randoms(use_true_random=False))
    def replay(self, draw: Any) -> None:
        """An old file comes again, signed as it was."""
        if self.old:
            self.published = draw.choice(self.old)

    @rule()
    def rotate(self) -> None:
        last = self.published
        self.old.append(last)
        keys = f"keys {len(self.roots)}"
        self.roots[keys] = max(self.roots.values()) + 1
        self.published = replace_published(last, keys=keys, root=self.roots[keys])

    # What befalls the host.

    @rule(left=st.integers(0, 30), how=st.sampled_from(["error before", "error after", "crash before", "crash after"]))
    def arm(self, left: int, how: str) -> None:
        """Have the next step that writes fail at one of its steps on the disk."""
        self.disk.armed = left, how

    @rule(seconds=st.sampled_from([1, 60, 1000, LIMIT_S, 90_000]))
    def later(self, seconds: int) -> None:
        self.clock += seconds

    @rule(seconds=st.sampled_from([1, 100, 5000]), back=st.integers(0, 3))
    def clock_set_back(self, seconds: int, back: int) -> None:
        self.clock += seconds if back else -seconds

    @rule()
    def start_anew(self) -> None:
        armed = self.disk.armed
        self.disk.armed = None
        before = self.resolver.view and image.header(self.resolver.view).generation
        was = self.one.state.in_force, self.one.enforced, self.one._apart
        self.restart()
        if was[1] is not None and not was[2] and self.one.state.in_force == was[0] and self.one.enforced:
            assert before in (None, image.header(self.resolver.view).generation)
        self.disk.armed = armed

    # What the resolver does.

    @rule(
        fault=st.sampled_from(["", "", "", "", "selftest", "swap", "wrong", "silent"]),
        during=st.sampled_from(["", "", "compile", "test"]),
    )
    def poll(self, fault: str, during: str) -> None:
        resolver, before, blocked = self.resolver, self.one.state, self.blocked()
        enforced = self.one.enforced
        self.during = during
        resolver.judged_wrong, resolver.fail_swaps = fault == "selftest", int(fault == "swap")
        resolver.wrong, resolver.silent = int(fault == "wrong"), int(fault == "silent")
        real = resolver.judge

        def judge(view: memoryview) -> Callable[[bytes, int], int]:
            if self.during == "test":
                self.during = ""
                self.loop.call_soon_threadsafe(self.surge)
            return real(view)

        with mock.patch.object(resolver, "judge", judge):
            self.run(resolver.list.poll, heals=not fault)
        resolver.judged_wrong, resolver.fail_swaps, resolver.wrong, resolver.silent = False, 0, 0, 0
        after = self.one.state
        if after.in_force is not None and (before.in_force is None or changed(before.in_force, after.in_force)):
            assert not unusual(before.in_force, after.in_force), "what had to be held came in force"
        if enforced and before.in_force is not None and not before.in_force.withdrawn:
            ends = self.one.deadline(after.in_force or before.in_force)
            lifts = self.one.list.expire == "lift" and self.clock >= ends
            fault_twice = fault in ("swap", "selftest", "wrong") and self.disk.struck
            assert lifts or fault_twice or self.resolver.view is not None, "the last good list stays"
            assert not blocked or lifts or fault_twice or self.blocked() or len(self.out) > 1

    @rule()
    def tick(self) -> None:
        self.run(self.one.prove)
        self.one.look_at_clocks()

    @rule()
    def breaker(self) -> None:
        self.run(self.surge)

    @rule()
    def breaker_while_the_swap_fails(self) -> None:
        if self.one.state.in_force is not None and not self.one.state.suspended:
            self.resolver.fail_swaps = 1
            self.run(self.one.surged)
            self.resolver.fail_swaps = 0
            if not self.disk.struck:
                assert not self.one.state.suspended

    # What persons do.

    @rule(persons=st.permutations(PERSONS), which=st.integers(0, 3), many=st.integers(1, 2))
    def sign(self, persons: list[str], which: int, many: int) -> None:
        """One or two persons sign for one of the things that wait."""
        waits = []
        for action in OF_A_LIST:
            try:
                approve.subject(self.one.state, action)
            except Refused:
                continue
            waits.append(action)
        for person in persons[:many] if waits else ():
            self.sign_one(waits[which % len(waits)], person)
            self.hold_all()

    def sign_one(self, action: Action, person: str) -> None:
        before = self.one.state
        try:
            about = approve.subject(before, action)
        except Refused:
            return
        signed = decide.Signed(action=action, serial=about.serial, signature=person.encode(), uid=1)

        async def step() -> Any:
            try:
                return await decide.decide(self.one, signed, Path("/signers"), self.resolver.now)
            except (Refused, UpdateFailed) as no:
                return no

        self.signed.setdefault((action, *about), set()).add(person)
        found = self.run(step)
        after = self.one.state
        persons = self.signed[(action, *about)]
        came = after.in_force is not None and changed(before.in_force, after.in_force)
        if action is Action.APPROVE and came:
            assert len(persons) >= 2
            assert after.in_force.identity == about or (before.in_force, self.clean) != (None, True)
        if action is Action.RESUME and before.suspended and not after.suspended:
            assert len(persons) >= 2
            self.out = frozenset()
        if action is Action.APPROVE_SET_ASIDE and after.in_force is not None and after.in_force.approved:
            assert len(persons) >= 2
        if action is Action.ROLLBACK and came and not isinstance(found, Exception):
            assert after.in_force.identity == before.previous.identity

    # What must hold, whatever has come.

    def hold_all(self) -> None:
        for one in (
            self.the_service_enforces_what_the_state_says,
            self.the_disk_says_what_memory_says,
            self.what_is_accepted_goes_forward,
            self.what_was_taken_out_stays_out,
            self.what_is_suspended_comes_back_only_by_resuming,
        ):
            one()

    @invariant()
    def the_service_enforces_what_the_state_says(self) -> None:
        if not hasattr(self, "resolver") or self.one._apart:
            assert not hasattr(self, "resolver") or self.parted, "apart, though nothing failed"
            return
        resolver, one, record = self.resolver, self.one, self.one.state.in_force
        if one.enforced is None:
            assert (resolver.enforced, resolver.view) == ("no list", None)
            return
        assert record is not None
        if one.enforced == 0:
            assert (resolver.enforced, resolver.view) == ("lifted", None)
            assert record.withdrawn or one.list.expire == "lift"
            return
        if one.enforced != record.generation:
            assert not self.clean
            return
        header = image.header(resolver.view)
        assert (header.serial, header.generation) == (record.serial, record.generation)
        assert (resolver.suspended, resolver.approved) == (one.state.suspended, record.approved)

    @invariant()
    def the_disk_says_what_memory_says(self) -> None:
        if hasattr(self, "resolver") and self.clean:
            assert self.one.store.read_state() == self.one.state or self.one.state == type(self.one.state)()
            assert self.one.store.read_floor() == self.one.floor

    @invariant()
    def what_is_accepted_goes_forward(self) -> None:
        if not hasattr(self, "resolver") or self.one.floor is None:
            return
        floor, record, found = self.one.floor.record, self.one.state.in_force, self.one.state
        last = self.highest.get(floor.targets_keys, (0, 0))
        assert floor.serial >= last[0]
        assert floor.issued >= last[1]
        self.highest[floor.targets_keys] = floor.serial, floor.issued
        assert self.roots[floor.targets_keys] == floor.root_version
        if record is not None and record.targets_keys == floor.targets_keys and record.serial < floor.serial:
            assert found.gone_back_to == record.identity or not self.clean or found.suspended

    @invariant()
    def what_was_taken_out_stays_out(self) -> None:
        if hasattr(self, "resolver"):
            found = self.one.state
            self.quarantined |= {digest for _, digest in found.quarantined}
            assert {digest for _, digest in found.quarantined} >= self.quarantined or not self.clean
            if found.in_force is not None and self.one.enforced:
                assert found.in_force.digest not in self.quarantined

    @invariant()
    def what_is_suspended_comes_back_only_by_resuming(self) -> None:
        if hasattr(self, "resolver"):
            record = self.one.state.in_force
            if record is None or record.withdrawn:
                self.out = frozenset()
            self.note_suspension()
            assert not self.out & self.blocked()

    @invariant()
    def the_log_holds(self) -> None:
        if hasattr(self, "resolver"):
            audit.verify(self.folder / "audit.log")


def replace_published(one: Published, **changes: Any) -> Published:
    return Published(**{**one.__dict__, **changes})


def changed(before: Any, after: Any) -> bool:
    return before is None or before.identity != after.identity


def unusual(before: Any, after: Any) -> bool:
    """Whether a person has to look first, reckoned apart from feed.guard."""
    if after.withdrawn:
        return before is None or not before.withdrawn
    if before is None or before.withdrawn:
        return not 1 <= after.entries <= 30
    if after.announced is not None and after.announced == after.entries:
        return False
    return abs(after.entries - before.entries) > max(SMALL, before.entries // 5)


deep = hypothesis.settings().max_examples > 1000
TestLife = Life.TestCase
TestLife.settings = hypothesis.settings(
    max_examples=2000 if deep else 25,
    stateful_step_count=60 if deep else 25,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
