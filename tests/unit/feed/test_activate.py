"""Which saved image may be put in force, what a self-test finds, and how a list comes in force and out of it."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.core import codes, image
from resolver.feed import activate, audit, seal, state
from resolver.feed.activate import Activation
from resolver.feed.candidate import Candidate
from resolver.feed.enforced import InForce, Lifted, Nothing, Stage
from resolver.feed.names import compile as compiling
from resolver.feed.names import read
from resolver.feed.processes import UpdateFailed
from resolver.feed.state import Record
from tests.fakes.enforcer import Enforcer
from tests.unit.feed.names.test_compile import KEYS, made_of
from tests.unit.feed.test_state import record


@pytest.fixture
def saved(tmp_path: Path) -> Record:
    data = b"".join(b"name%d.test\n" % number for number in range(3000))
    made = made_of(data, max_entries=9999)[1]
    (tmp_path / "3.image").write_bytes(bytes(made) + seal.seal_of(made, KEYS.seal))
    return record(image="3.image", generation=3, entries=3000, digest_key=KEYS.digest_id)


def load(folder: Path, what: Record, *, list_id: str = "demo", demonstration: bool = True) -> memoryview:
    return activate.load(folder, what, KEYS, list_id=list_id, demonstration=demonstration)


def test_the_image_the_state_speaks_of_is_loaded(saved: Record, tmp_path: Path) -> None:
    view = load(tmp_path, saved)
    (tmp_path / "3.image").write_bytes(b"")
    assert image.header(view).entries == 3000


@pytest.mark.parametrize(
    "change",
    [
        {"serial": 8},
        {"issued": 1},
        {"expires": 5},
        {"generation": 4},
        {"entries": 2999},
        {"image": "4.image"},
    ],
)
def test_any_other_image_is_not(change: dict[str, object], saved: Record, tmp_path: Path) -> None:
    with pytest.raises(activate.ImageUnusable):
        load(tmp_path, replace(saved, **change))


def test_an_image_of_another_list_key_or_rule_is_not(saved: Record, tmp_path: Path) -> None:
    with pytest.raises(activate.ImageUnusable, match="header"):
        load(tmp_path, saved, list_id="other")
    with pytest.raises(activate.ImageUnusable, match="rules"):
        load(tmp_path, saved, demonstration=False)
    with pytest.raises(activate.ImageUnusable, match="digest key"):
        load(tmp_path, replace(saved, digest_key="other"))


@pytest.mark.parametrize("size", [0, 1, 32, 500, -33, -1])
def test_an_image_cut_short_is_not(size: int, saved: Record, tmp_path: Path) -> None:
    path = tmp_path / "3.image"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(activate.ImageUnusable):
        load(tmp_path, saved)


Verdict = Callable[[bytes, int], int]


def test_a_self_test_asks_every_type_and_a_thousand_names(saved: Record, tmp_path: Path) -> None:
    view, asked = load(tmp_path, saved), []

    def judge(view: memoryview) -> Verdict:
        def verdict(name: bytes, qtype: int) -> int:
            asked.append((name, qtype))
            return codes.BLOCK if name.endswith(image.SELFTEST_ZONE) else codes.PASS

        return verdict

    activate.self_test(view, judge, os.urandom)
    assert [qtype for _, qtype in asked[:4]] == [1, 28, 65, 16]
    assert asked[0][0][1:27] == image.header(view).selftest
    assert len({name for name, _ in asked[4:]}) == 1000


@pytest.mark.parametrize(
    ("verdict", "check"),
    [
        (lambda name, qtype: codes.PASS, "synthetic name"),
        (lambda name, qtype: codes.ASK, "synthetic name"),
        (lambda name, qtype: codes.BLOCK if qtype == 1 else codes.PASS, "synthetic name"),
        (lambda name, qtype: codes.BLOCK, "unlisted names"),
        (lambda name, qtype: codes.BLOCK if b"selftest" in name else codes.ASK, "unlisted names"),
    ],
)
def test_a_wrong_judgement_fails_it(verdict: Verdict, check: str, saved: Record, tmp_path: Path) -> None:
    with pytest.raises(activate.SelfTestFailed, match=f"^{check}$"):
        activate.self_test(load(tmp_path, saved), lambda view: verdict, bytes)


def test_an_image_that_does_not_find_its_own_digests_fails_it(
    saved: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "find", lambda *_: 0)
    good = lambda name, qtype: codes.BLOCK if b"selftest" in name else codes.PASS  # noqa: E731 - one line of two words
    with pytest.raises(activate.SelfTestFailed, match="digests"):
        activate.self_test(load(tmp_path, saved), lambda view: good, bytes)


def test_a_large_list_is_sampled_a_thousand_times(saved: Record, tmp_path: Path) -> None:
    assert len(image.digests(load(tmp_path, saved), activate.SAMPLED_SLOTS)) >= activate.SAMPLES


def test_an_image_is_read_into_memory_that_no_dump_holds(tmp_path: Path) -> None:
    """The kernel marks such memory `dd` (proc_pid_smaps(5))."""
    octets = bytes(range(256)) * 4096
    (tmp_path / "1.image").write_bytes(octets)
    view = activate.read(tmp_path / "1.image")
    (tmp_path / "1.image").write_bytes(b"other")
    assert bytes(view) == octets
    assert view.readonly
    maps = Path("/proc/self/smaps").read_text().split("VmFlags:")
    assert any(f"Size: {len(octets) // 1024} kB" in " ".join(one.split()) for one in maps)
    kept = [flags for flags in maps[1:] if " dd " in flags.splitlines()[0] + " "]
    assert kept


def test_an_empty_file_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "1.image").write_bytes(b"")
    assert bytes(activate.read(tmp_path / "1.image")) == b""


class Host:
    """A resolver whose source is never asked: images are made here and put in force by hand."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        source = 'kind = "tuf"\nurl = "file:///nowhere"\nroot = "/nowhere/root.json"'
        self.clock = 2000.0
        self.resolver = Enforcer(None, folder, settings, now=lambda: self.clock, source=source)
        self.resolver.feed.recover()

    @property
    def activation(self) -> Activation:
        return self.resolver.list.activation

    def made(self, serial: int, generation: int, **changes: object) -> Candidate:
        """A list whose image is in the store."""
        data = b"".join(b"name%d.test\n" % number for number in range(serial))
        asked = compiling.CompileRequest(
            parent=0,
            list_fd=-1,
            output=-1,
            keys=-1,
            previous=-1,
            list_id="demo",
            serial=serial,
            issued=1000,
            expires=0,
            generation=generation,
            demonstration=True,
            max_entries=99,
            memory_bytes=0,
        )
        keys = self.resolver.keys
        counts, made, _ = compiling.compiled(asked, compiling.entries_of(asked, data, read.suffixes()), keys)
        sealed = bytes(made) + seal.seal_of(made, keys.seal)
        self.activation.journal.store.keep_image(sealed, f"{generation}.image")
        one = record(serial, str(serial), image=f"{generation}.image", generation=generation, entries=counts.entries)
        one = replace(one, digest_key=keys.digest_id, **changes)
        return Candidate(record=one)

    async def in_force(self, *serials: int) -> None:
        for serial in serials:
            await self.activation.activate(self.made(serial, serial))

    def stage(self) -> Stage:
        now = self.activation.enforced
        assert isinstance(now, InForce)
        return now.proof

    def events(self) -> list[str]:
        return [entry.event.value for entry in audit.verify(self.resolver.folder / "audit.log")[0]]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.asyncio
async def test_what_must_outlive_a_crash_is_on_the_disk_before_the_swap(host: Host) -> None:
    seen = []
    store = host.activation.journal.store
    host.resolver.told = lambda event: seen.append((event, store.read_floor(), store.read_state().in_force))
    await host.in_force(7)
    ((event, floor, written),) = seen
    assert event == 7
    assert floor is not None
    assert floor.record == written == host.activation.journal.state.in_force
    assert (written.since, host.stage()) == (2000, Stage.FRESH)
    host.clock = 3000.0
    await host.activation.activate(host.made(7, 8))
    assert host.activation.journal.state.in_force.since == 2000, "a renewal is in force since before"
    assert host.stage() is Stage.DUE


@pytest.mark.asyncio
async def test_a_list_that_the_service_cannot_take_is_taken_out(host: Host) -> None:
    await host.in_force(7)
    host.resolver.fail_swaps = 1
    with pytest.raises(UpdateFailed, match="swap"):
        await host.in_force(8)
    assert (host.resolver.enforced, host.stage()) == (7, Stage.DUE)
    assert host.activation.journal.state.quarantined == ((8, "8" * 64),)
    host.resolver.fail_swaps = 9
    with pytest.raises(UpdateFailed, match="swap"):
        await host.in_force(9)
    assert (host.resolver.enforced, host.activation.enforced) == ("no list", Nothing())
    assert host.activation.agrees()


@pytest.mark.asyncio
async def test_a_renewal_that_the_service_cannot_take_is_put_right(host: Host) -> None:
    await host.in_force(7)
    host.resolver.fail_swaps = 1
    renewal = host.made(7, 8)
    with pytest.raises(UpdateFailed, match="swap"):
        await host.activation.activate(renewal)
    assert (host.resolver.enforced, host.activation.agrees()) == (7, False)
    host.activation.correct()
    assert host.activation.agrees()
    assert host.activation.has_taken(renewal.record)
    assert host.activation.journal.state.quarantined == ()


@pytest.mark.asyncio
async def test_a_previous_image_that_cannot_be_used_is_not_tried_again(host: Host) -> None:
    await host.in_force(7, 8)
    (host.activation.journal.store.folder / "7.image").write_bytes(b"x")
    with pytest.raises(UpdateFailed, match="image_unusable"):
        host.activation.go_back("taken out")
    assert (host.resolver.enforced, host.activation.enforced) == ("no list", Nothing(unusable=7))
    host.activation.correct()
    assert host.resolver.events == [7, 8, "no list"]


@pytest.mark.asyncio
async def test_a_list_is_lifted_at_its_hard_limit_and_back_when_its_dates_are(tmp_path: Path) -> None:
    host = Host(tmp_path, 'expire = "lift"\nhard_limit = "1h"\n')
    await host.in_force(7)
    for clock, now in ((4599.0, InForce), (4600.0, Lifted), (4601.0, Lifted), (4599.0, InForce)):
        host.clock = clock
        host.activation.correct()
        assert isinstance(host.activation.enforced, now)
    assert host.resolver.events == [7, "lifted", 7]
    assert host.events().count("lifted") == 1


@pytest.mark.asyncio
async def test_a_list_that_fails_its_self_test_is_quarantined_and_at_a_start_gone_back_from(host: Host) -> None:
    await host.in_force(7)
    host.resolver.judged_wrong = True
    with pytest.raises(UpdateFailed, match="selftest"):
        await host.in_force(8)
    assert (host.resolver.enforced, host.activation.passed) == (7, False)
    host.resolver.restarted()
    assert (host.resolver.enforced, host.activation.journal.state.in_force) == ("no list", None)
    assert [serial for serial, _ in host.activation.journal.state.quarantined] == [8, 7]


@pytest.mark.asyncio
async def test_a_list_that_a_compile_host_returns_to_is_no_news(host: Host) -> None:
    await host.in_force(7, 8)
    candidate = dataclasses.replace(host.made(7, 9), arrive=state.follow)
    await host.activation.activate(candidate)
    assert (host.resolver.enforced, host.stage()) == (7, Stage.DUE)
    assert host.events()[-2:] == ["quarantined", "in_force"]


@pytest.mark.asyncio
async def test_an_image_that_was_prepared_is_not_read_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    await host.in_force(7, 8)
    previous = host.activation.journal.state.previous
    await host.activation.prepare(previous)
    monkeypatch.delattr(activate, "load")
    host.activation.go_back("taken out")
    assert (host.resolver.enforced, host.stage()) == (7, Stage.DUE)


@pytest.mark.asyncio
async def test_an_image_that_was_prepared_for_another_record_is_of_no_use(host: Host) -> None:
    await host.in_force(7, 8)
    await host.activation.prepare(host.activation.journal.state.in_force)
    host.activation.go_back("taken out")
    assert (host.resolver.enforced, host.stage()) == (7, Stage.DUE)


@pytest.mark.asyncio
async def test_what_is_wrong_with_an_image_is_told_when_it_is_wanted(host: Host) -> None:
    await host.in_force(7, 8)
    previous = host.activation.journal.state.previous
    assert previous is not None
    (host.activation.journal.store.folder / previous.image).write_bytes(b"")
    await host.activation.prepare(previous)
    assert host.resolver.enforced == 8
    with pytest.raises(UpdateFailed, match="image_unusable"):
        host.activation.go_back("taken out")
    assert host.resolver.enforced == "no list"


def test_the_first_list_is_taken_in_before_anything_is_served(host: Host) -> None:
    host.activation.take_in(host.made(7, 3))
    assert (host.resolver.enforced, host.stage()) == (7, Stage.DUE)
    assert host.activation.journal.floor is not None


@pytest.mark.asyncio
async def test_a_withdrawn_list_is_lifted_and_has_no_image(host: Host) -> None:
    await host.in_force(7)
    await host.activation.activate(host.made(8, 8, withdrawn=True, image=""))
    assert (host.resolver.enforced, host.activation.enforced) == ("lifted", Lifted(number=8))
    host.activation.go_back("taken out")
    assert host.resolver.enforced == 7
