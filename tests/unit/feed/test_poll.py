"""All lists together: woken, told, and read from the disk."""

import asyncio
import threading
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.config.config import Config, List, Source
from resolver.config.values import Seconds
from resolver.feed import activate, audit, poll
from resolver.feed.activate import ImageUnusable
from resolver.feed.enforced import InForce, Nothing
from resolver.feed.seal import Keys
from resolver.feed.state import Record, State
from resolver.feed.store import Store
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer, all_bytes_below


@pytest.fixture
def resolver(tmp_path: Path) -> Enforcer:
    authority = Authority(tmp_path / "authority")
    authority.publish(names(20) + b"co.uk\n", 7, expires=2**33)
    resolver = Enforcer(authority, tmp_path / "state")
    resolver.feed.recover()
    return resolver


@pytest.mark.asyncio
async def test_a_running_feed_polls_at_once_and_when_woken(resolver: Enforcer) -> None:
    swaps: asyncio.Queue[int | str] = asyncio.Queue()
    resolver.told = swaps.put_nowait
    task = asyncio.create_task(resolver.feed.run())
    async with asyncio.timeout(120):
        assert await swaps.get() == 7
        resolver.authority.publish(names(21), 8)
        resolver.feed.trigger()
        assert await swaps.get() == 8
    assert resolver.events == [7, 8]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.asyncio
async def test_a_list_dated_seconds_ahead_is_polled_at_its_date_not_at_the_next_poll(resolver: Enforcer) -> None:
    swaps: asyncio.Queue[int | str] = asyncio.Queue()
    resolver.told = swaps.put_nowait
    resolver.authority.publish(names(21), 8, issued=int(time.time()) + 3)
    task = asyncio.create_task(resolver.feed.run())
    async with asyncio.timeout(120):
        assert await swaps.get() == 8
    assert resolver.failures == {}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_facts_before_and_after_the_first_list(resolver: Enforcer) -> None:
    before = resolver.feed.facts()[0]
    assert (before.serial, before.enforced, before.last_success, before.failures) == (0, False, 0, {})
    asyncio.run(resolver.list.poll())
    after = resolver.feed.facts()[0]
    assert (after.list_id, after.serial, after.entries, after.enforced, after.held) == (
        "demo",
        7,
        20,
        True,
        False,
    )
    assert after.refused == after.newest_refused == {"icann_suffix": 1}
    assert after.selftest_passed
    assert not after.lifted
    assert after.in_force_since <= after.last_success
    assert after.hard_limit_at == resolver.list.state.in_force.issued + 14 * 86400


def test_what_is_written_is_read_without_a_running_feed(resolver: Enforcer) -> None:
    assert poll.saved_state(resolver.config, "demo") == State()
    assert poll.saved_image(resolver.config, "demo", resolver.keys) is None
    asyncio.run(resolver.list.poll())
    saved = poll.saved_state(resolver.config, "demo")
    assert saved == resolver.list.state
    assert (saved.in_force.serial, saved.held, saved.quarantined) == (7, None, ())
    resolver.view = poll.saved_image(resolver.config, "demo", resolver.keys)
    assert resolver.blocks("name3.test")
    (resolver.list.store.folder / saved.in_force.image).write_bytes(b"")
    with pytest.raises(ImageUnusable):
        poll.saved_image(resolver.config, "demo", resolver.keys)


def test_a_torn_audit_is_told_in_the_audit(resolver: Enforcer) -> None:
    asyncio.run(resolver.list.poll())
    path = resolver.folder / "audit.log"
    path.write_bytes(path.read_bytes() + b"{")
    resolver.restarted()
    assert [entry.event for entry in audit.verify(path)[0]] == ["in_force", "torn"]


def test_keys_come_from_the_credentials_where_systemd_gives_them(
    resolver: Enforcer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert poll.keys_of(resolver.config) == resolver.keys
    for name, key in (("digest.key", b"d" * 16), ("seal.key", b"s" * 32)):
        (tmp_path / name).write_bytes(key)
        (tmp_path / name).chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert poll.keys_of(resolver.config).digest == b"d" * 16


def test_the_log_is_cut_once_a_day_too(resolver: Enforcer) -> None:
    asyncio.run(resolver.list.poll())
    path, started = resolver.folder / "audit.log", resolver.now()
    keep = float(resolver.config.state.audit_keep)

    def events_at(now: float) -> list[str]:
        resolver.now = lambda: now
        asyncio.run(resolver.feed.trim())
        return [entry.event.value for entry in audit.verify(path)[0]]

    assert events_at(started + poll.TRIM_EVERY_S) == ["in_force"]
    assert events_at(started + keep + 3600) == ["trimmed"]
    resolver.feed.audit.append(audit.Event.HELD, 1, list_id="demo", serial=1, digest="")
    assert events_at(started + keep + 7200) == ["trimmed", "held"]
    path.with_suffix(".head").unlink()
    path.unlink()
    path.mkdir()
    resolver.now = lambda: started + keep + 3 * poll.TRIM_EVERY_S
    asyncio.run(resolver.feed.trim())  # what the disk refuses ends no task


def with_lists(resolver: Enforcer, *lists: List) -> Config:
    return replace(resolver.config, lists=lists)


def two_lists(resolver: Enforcer) -> Config:
    """Its list, and a second one of the same authority."""
    (one,) = resolver.config.lists
    resolver.authority.publish(names(3, "second"), 1, list_id="second", target="second")
    second = replace(one, id="second", source=replace(one.source, target="second"))
    return with_lists(resolver, one, second)


@pytest.mark.asyncio
async def test_a_list_that_is_added_is_polled_at_once_and_one_that_is_removed_no_more(resolver: Enforcer) -> None:
    swaps: asyncio.Queue[int | str] = asyncio.Queue()
    resolver.told = swaps.put_nowait
    task = asyncio.create_task(resolver.feed.run())
    async with asyncio.timeout(120):
        assert await swaps.get() == 7
        one, both = resolver.config, two_lists(resolver)
        resolver.feed.configure(both)
        assert await swaps.get() == 1
        second = resolver.feed["second"]
        assert [each.list.id for each in resolver.feed] == ["demo", "second"]
        assert second.state.joined > 0, "another list was in force on this host"
        resolver.feed.configure(one)
        assert "second" not in resolver.feed
        assert isinstance(second.enforced, Nothing)
        resolver.authority.publish(names(4, "second"), 2, list_id="second", target="second")
        resolver.authority.publish(names(22), 8)
        resolver.feed.trigger()
        assert await swaps.get() == 8
        assert (second.state.in_force and second.state.in_force.serial) == 1
        # It comes back with what it had, at once, and then with what is new.
        resolver.feed.configure(both)
        assert resolver.events[-1] == 1
        assert [await swaps.get(), await swaps.get()] == [1, 2]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.asyncio
async def test_saved_images_are_read_and_tested_in_threads_before_a_reload_takes_them(
    resolver: Enforcer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, loaded, real = threading.current_thread(), list[tuple[str, bool]](), activate.load

    def load(folder: Path, record: Record, keys: Keys, *, list_id: str, demonstration: bool) -> memoryview:
        loaded.append((list_id, threading.current_thread() is loop))
        return real(folder, record, keys, list_id=list_id, demonstration=demonstration)

    one, both = resolver.config, two_lists(resolver)
    await resolver.list.poll()
    resolver.feed.configure(both)
    await resolver.feed["second"].poll()
    monkeypatch.setattr(activate, "load", load)
    (first,) = one.lists
    lifting = replace(first, hard_limit=Seconds(1), expire="lift")
    for new in (
        one,  # The second list is left,
        both,  # and comes back as it was left.
        with_lists(resolver, lifting),  # The first is lifted,
        one,  # and not any more.
    ):
        resolver.now = lambda: time.time() + 60
        await resolver.feed.prepare(new)
        resolver.feed.configure(new)
        resolver.feed.forget_prepared()
    assert loaded == [("second", False), ("demo", False)]
    assert resolver.enforced == 7
    resolver.restarted()
    loaded.clear()
    # After a start that did not have it, the second list is read from its files.
    await resolver.feed.prepare(both)
    resolver.feed.configure(both)
    assert loaded == [("second", False)]
    assert [isinstance(each.enforced, InForce) for each in resolver.feed] == [True, True]


@pytest.mark.asyncio
async def test_what_is_prepared_and_not_taken_is_forgotten(
    resolver: Enforcer, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = two_lists(resolver)
    await resolver.list.poll()
    resolver.feed.configure(both)
    await resolver.feed["second"].poll()
    resolver.feed.configure(resolver.config)
    await resolver.feed.prepare(both)
    resolver.feed.forget_prepared()
    tested = list[object]()
    real = activate.self_test
    monkeypatch.setattr(activate, "self_test", lambda *said: tested.append(said) or real(*said))
    resolver.feed.configure(both)
    assert len(tested) == 1


def test_settings_of_a_list_count_at_once_and_its_failures_go_on(resolver: Enforcer) -> None:
    asyncio.run(resolver.list.poll())
    resolver.list.failures.counts["unreachable"] = 3
    (one,) = resolver.config.lists
    stricter = replace(one, deadline=Seconds(60), guard=replace(one.guard, growth=0.5))
    resolver.feed.configure(with_lists(resolver, stricter))
    assert (resolver.list.list.deadline, resolver.list.list.guard.growth) == (60, 0.5)
    assert resolver.failures == {"unreachable": 3}
    assert resolver.enforced == 7
    lifting = replace(one, hard_limit=Seconds(1), expire="lift")
    resolver.now = lambda: time.time() + 60
    resolver.feed.configure(with_lists(resolver, lifting))
    assert resolver.enforced == "lifted"


def test_another_source_is_asked_from_the_next_poll_on(resolver: Enforcer, tmp_path: Path) -> None:
    asyncio.run(resolver.list.poll())
    (one,) = resolver.config.lists
    elsewhere = replace(one, source=replace(one.source, url=(tmp_path / "nowhere").as_uri()))
    resolver.feed.configure(with_lists(resolver, elsewhere))
    asyncio.run(resolver.list.poll())
    assert resolver.failures == {"unreachable": 1}
    assert resolver.enforced == 7


def test_a_new_list_whose_folder_cannot_be_made_changes_nothing(
    resolver: Enforcer, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = two_lists(resolver)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "prepare", full)
    with pytest.raises(OSError, match="No space"):
        resolver.feed.configure(both)
    assert [each.list.id for each in resolver.feed] == ["demo"]


@pytest.mark.asyncio
async def test_a_preview_enforces_what_is_saved_and_writes_nothing(resolver: Enforcer) -> None:
    await resolver.list.poll()
    folder = resolver.folder
    before = all_bytes_below(folder)
    resolver.feed = resolver.started(later=True)
    resolver.events.clear()
    resolver.feed.preview()
    assert resolver.events == [7]
    assert resolver.view is not None
    assert all_bytes_below(folder) == before
    resolver.feed.open_log()
    resolver.feed.recover()
    # It is enforced already: it is not read again.
    assert resolver.events == [7]
    for image in folder.rglob("*.image"):
        image.write_bytes(b"")
    other = resolver.started(later=True)
    with pytest.raises(ImageUnusable):
        other.preview()


@pytest.mark.asyncio
async def test_a_feed_that_was_ended_runs_again(resolver: Enforcer) -> None:
    swaps: asyncio.Queue[int | str] = asyncio.Queue()
    resolver.told = swaps.put_nowait
    for serial in (7, 8):
        task = asyncio.create_task(resolver.feed.run())
        async with asyncio.timeout(30):
            assert await swaps.get() == serial
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        resolver.authority.publish(names(serial + 14), serial + 1)


@pytest.mark.parametrize(("kind", "sooner"), [("image", True), ("tuf", False), ("zone", False)])
def test_nodes_that_start_together_spread_out_and_an_authority_is_never_asked_sooner(kind: str, sooner: bool) -> None:
    source = Source(kind=kind, url="file:///srv/fleet", root="/srv/compile.pub", poll=Seconds(10))  # type: ignore[arg-type]  # one of its kinds
    pauses = [poll.pause_of(source, lambda draw=draw: draw) for draw in (0.0, 0.5, 1.0)]  # type: ignore[misc]  # bound now
    assert pauses == ([10.0, 9.5, 9.0] if sooner else [10.0] * 3)
