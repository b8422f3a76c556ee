"""All lists together: woken, told, and read from the disk."""

import asyncio
import time
from pathlib import Path

import pytest

from resolver.feed import audit, poll
from resolver.feed.activate import ImageUnusable
from resolver.feed.state import State
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer


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
    async with asyncio.timeout(30):
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
    async with asyncio.timeout(30):
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
