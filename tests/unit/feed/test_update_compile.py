"""The step of a list that is compiled here: what is fetched, what is shown, and what the source may only confirm."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from resolver.feed import processes
from resolver.feed.details import Code, Detail, Place
from resolver.feed.messages import Compiled, Facts
from resolver.feed.names import compile as compiling
from resolver.feed.names import read
from resolver.feed.seal import seal_of
from resolver.feed.state import Unmet
from resolver.feed.update_compile import CONFIRM_SECONDS
from resolver.signed.metadata import Custom
from tests.fakes.enforcer import Enforcer

pytestmark = pytest.mark.asyncio

ZONE = 'kind = "zone"\nurl = "dns://192.0.2.1/rpz.example"\nroot = "/nowhere/key"'
ISSUED = 1_700_000_000
PSL = read.suffixes()


class Source:
    """Shows one list, and counts how often it was fetched and compiled."""

    def __init__(self) -> None:
        self.facts = Facts(
            digest="a" * 64,
            length=1,
            custom=Custom(list="demo", serial=7, issued=ISSUED, expires=None, withdrawn=False),
            targets_keys="keys",
            root_version=0,
            fresh_until=ISSUED + 9000,
            pinned="root",
        )
        self.fetched = self.compiled = 0
        self.known: list[tuple[int, str, int]] = []

    async def fetch(self, one: Any, known: processes.Known, handle: int, wanted: Callable[[Facts], bool]) -> Any:
        self.known.append((known.serial, known.digest, known.copy))
        go = wanted(self.facts)
        self.fetched += go
        return self.facts, go

    async def compile(self, facts: Facts, handles: processes.Handles, keys: Any, one: Any, **marks: Any) -> Compiled:
        self.compiled += 1
        request = compiling.CompileRequest(
            parent=0,
            list_fd=-1,
            output=-1,
            keys=-1,
            previous=handles.previous,
            lines=handles.lines,
            list_id="demo",
            serial=facts.custom.serial,
            issued=facts.custom.issued,
            expires=0,
            demonstration=True,
            max_entries=9,
            memory_bytes=0,
            **marks,
        )
        found = compiling.entries_of(request, b"name0.test\nname1.test\n", PSL)
        counts, made, lines = compiling.compiled(request, found, keys)
        os.write(handles.output, bytes(made) + seal_of(made, keys.seal))
        os.write(handles.lines, lines)
        return counts


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    made = Source()
    monkeypatch.setattr(processes, "fetch_list", made.fetch)
    monkeypatch.setattr(processes, "compile_image", made.compile)
    return made


def unmet(serial: int) -> Unmet:
    return Unmet(serial=serial, digest="a" * 64, issued=ISSUED, targets_keys="keys")


def started(folder: Path, source: str = "") -> Enforcer:
    kind = source or 'kind = "tuf"\nurl = "file:///nowhere"\nroot = "/nowhere/root.json"'
    resolver = Enforcer(None, folder, now=lambda: ISSUED + 100.0, source=kind)
    resolver.feed.recover()
    return resolver


async def test_nothing_is_fetched_that_is_in_force_or_held(source: Source, tmp_path: Path) -> None:
    resolver = started(tmp_path)
    for _ in range(2):
        await resolver.list.poll()
    assert (resolver.enforced, source.fetched, source.compiled) == (7, 1, 1)
    assert source.known == [(0, "", -1), (7, "a" * 64, -1)]
    resolver.restarted()
    await resolver.list.poll()
    assert source.fetched == 1
    source.facts = replace(source.facts, custom=replace(source.facts.custom, serial=8, withdrawn=True))
    for _ in range(2):
        await resolver.list.poll()
    assert (resolver.list.state.held.reasons, source.fetched) == (("withdrawn",), 1)


async def test_an_image_that_cannot_be_used_is_fetched_and_not_tried_again(source: Source, tmp_path: Path) -> None:
    resolver = started(tmp_path)
    await resolver.list.poll()
    (resolver.list.store.folder / "1.image").write_bytes(b"x")
    resolver.restarted()
    assert (resolver.enforced, resolver.failures) == ("no list", {"image_unusable": 1})
    source.facts, good = replace(source.facts, custom=replace(source.facts.custom, list="other")), source.facts
    await resolver.list.poll()
    assert resolver.failures == {"image_unusable": 1, "wrong_list": 1}
    source.facts = good
    await resolver.list.poll()
    assert (resolver.enforced, source.fetched) == (7, 2)


async def test_what_the_source_shows_is_noted_if_it_counts(source: Source, tmp_path: Path) -> None:
    resolver = started(tmp_path)
    shown, good = resolver.list.shown, source.facts
    source.facts = replace(good, custom=replace(good.custom, list="other"))
    await resolver.list.poll()
    assert (shown.newest, shown.fresh_until) == (None, 0)
    source.facts = good
    await resolver.list.poll()
    assert (shown.newest, shown.fresh_until) == (unmet(7), ISSUED + 9000)
    await resolver.list.go_back()
    source.facts = replace(good, custom=replace(good.custom, serial=8), fresh_until=0)
    await resolver.list.poll()
    assert resolver.failures == {"wrong_list": 1, "quarantined": 1}
    assert (shown.newest, shown.fresh_until) == (unmet(8), ISSUED + 9000)


async def test_a_zone_that_is_confirmed_is_written_down_now_and_then(source: Source, tmp_path: Path) -> None:
    resolver = started(tmp_path, ZONE)
    await resolver.list.poll()
    confirmed = []
    for later in (0, CONFIRM_SECONDS - 1, CONFIRM_SECONDS, 2 * CONFIRM_SECONDS - 1):
        resolver.now = lambda later=later: ISSUED + later
        await resolver.list.poll()
        confirmed.append(resolver.list.state.in_force.confirmed - ISSUED)
    assert confirmed == [-ISSUED, -ISSUED, CONFIRM_SECONDS, CONFIRM_SECONDS]
    assert resolver.list.store.read_state() == resolver.list.state
    ends = resolver.list.hard_limit_at(resolver.list.state.in_force)
    assert ends == ISSUED + CONFIRM_SECONDS + resolver.list.list.limit


async def test_a_list_with_dates_is_not_confirmed(source: Source, tmp_path: Path) -> None:
    resolver = started(tmp_path)
    await resolver.list.poll()
    resolver.now = lambda: ISSUED + 2.0 * CONFIRM_SECONDS
    await resolver.list.poll()
    assert resolver.list.state.in_force.confirmed == 0


async def test_strangers_in_a_drop_folder_are_said_when_they_have_become_more(
    source: Source, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    enforcer = Enforcer(None, tmp_path / "state", source=ZONE)
    enforcer.feed.recover()
    said = []
    for counts in ((3, 1, 2, 0), (3, 1, 2, 0), (1, 1, 0, 0), (2, 1, 1, 0), ()):
        passed_over = Detail(code=Code.PASSED_OVER, at=Place.FOLDER, numbers=counts) if counts else None
        source.facts = replace(source.facts, passed_over=passed_over)
        caplog.clear()
        await enforcer.list.poll()
        shown = enforcer.list.shown.passed_over.partition(" (")[0].rpartition(" ")[2]
        said.append((sum("passed over" in one for one in caplog.messages), shown))
    assert said == [(1, "3"), (0, "3"), (0, "1"), (1, "2"), (0, "")]
