"""One list over its life: held, released, gone back, withdrawn, expired, and what fails on the way."""

import logging
import os
import time
from pathlib import Path

import pytest

from resolver.core import image
from resolver.feed import audit
from resolver.feed.processes import UpdateFailed
from resolver.feed.store import Store
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer, all_bytes_below

pytestmark = pytest.mark.asyncio


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "authority")
    authority.publish(names(1000), 7)
    return authority


def begun(authority: Authority, tmp_path: Path, settings: str = "") -> Enforcer:
    resolver = Enforcer(authority, tmp_path / "state", settings)
    resolver.feed.recover()
    return resolver


def events(resolver: Enforcer) -> list[str]:
    return [entry.event.value for entry in audit.verify(resolver.folder / "audit.log")[0]]


async def test_a_poll_without_change_changes_nothing(authority: Authority, tmp_path: Path) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.poll()
    await resolver.list.poll()
    authority.serve_timestamp()
    await resolver.list.poll()
    assert resolver.events == [7]
    assert resolver.list.last_success > 0
    assert events(resolver) == ["in_force"]


async def test_the_last_success_outlives_a_restart_whose_first_poll_fails(
    authority: Authority, tmp_path: Path
) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.poll()
    success = resolver.list.last_success
    authority.serve([])
    resolver.restarted()
    await resolver.list.poll()
    assert sum(resolver.failures.values()) == 1
    assert resolver.list.last_success == success > 0
    assert resolver.feed.facts()[0].last_success == success


async def test_a_poll_is_good_though_its_moment_cannot_be_written(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = begun(authority, tmp_path)

    def full(store: Store, at: int) -> None:
        del store, at
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "write_last_success", full)
    await resolver.list.poll()
    assert resolver.list.last_success > 0
    assert resolver.failures == {}


async def test_the_lines_stand_beside_the_image(authority: Authority, tmp_path: Path) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.poll()
    record = resolver.list.state.in_force
    assert record is not None
    lines = memoryview((resolver.list.store.folder / record.lines).read_bytes()).cast("I")
    assert sorted(filter(None, lines)) == list(range(1, record.entries + 1))


async def test_the_first_list_of_an_unexpected_size_is_held(authority: Authority, tmp_path: Path) -> None:
    resolver = begun(authority, tmp_path, "[list.guard]\nexpect_entries = [1, 999]\n")
    await resolver.list.poll()
    await resolver.list.poll()
    assert resolver.enforced == "no list"
    assert resolver.list.state.held.reasons == ("first_size",)
    assert resolver.failures == {}
    assert events(resolver) == ["held"]


async def test_growth_is_held_over_a_restart_and_released(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.poll()
    authority.publish(names(2000), 8)
    await resolver.list.poll()
    assert resolver.enforced == 7
    assert [r.getMessage() for r in caplog.records if r.name == "resolver.feed"] == [
        "list demo: serial 8 is held: growth"
    ]
    resolver.restarted()
    assert resolver.enforced == 7
    await resolver.list.poll()
    assert resolver.feed.facts()[0].held
    await resolver.list.accept_held()
    assert resolver.enforced == 8
    assert not resolver.feed.facts()[0].held
    resolver.restarted()
    assert resolver.enforced == 8
    assert events(resolver) == ["in_force", "held", "released", "in_force"]


async def test_announced_growth_passes(authority: Authority, tmp_path: Path) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.poll()
    authority.publish(names(2000), 8, entries=2000)
    await resolver.list.poll()
    assert resolver.enforced == 8


async def test_a_later_list_takes_the_place_of_the_held_one(authority: Authority, tmp_path: Path) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.poll()
    authority.publish(names(2000), 8)
    await resolver.list.poll()
    authority.publish(names(1001), 9)
    await resolver.list.poll()
    assert resolver.enforced == 9
    assert resolver.list.state.held is None
    assert len(list(resolver.list.store.folder.glob("*.image"))) == 2


async def test_a_renewal_moves_the_dates_and_asks_no_guard(authority: Authority, tmp_path: Path) -> None:
    resolver = begun(authority, tmp_path, "[list.guard]\nexpect_entries = [1, 999]\n")
    await resolver.list.poll()
    await resolver.list.accept_held()
    authority.publish(names(1000), 7, expires=2**33)
    await resolver.list.poll()
    assert resolver.list.state.in_force.expires == 2**33
    assert resolver.list.state.previous is None
    assert resolver.failures == {}


async def test_a_withdrawal_is_held_then_lifts_and_a_new_list_comes_back(
    authority: Authority, tmp_path: Path
) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.poll()
    authority.publish(b"# withdrawn\n", 8, withdrawn=True)
    await resolver.list.poll()
    assert resolver.enforced == 7
    assert resolver.list.state.held.reasons == ("withdrawn",)
    await resolver.list.accept_held()
    assert resolver.enforced == "lifted"
    resolver.restarted()
    assert resolver.enforced == "lifted"
    await resolver.list.poll()
    assert resolver.failures == {}
    authority.publish(names(1000), 9)
    await resolver.list.poll()
    assert resolver.enforced == 9


async def test_going_back_quarantines_for_good(authority: Authority, tmp_path: Path) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.poll()
    authority.publish(names(1001), 8)
    await resolver.list.poll()
    await resolver.list.go_back()
    assert resolver.enforced == 7
    resolver.restarted()
    assert resolver.enforced == 7
    await resolver.list.poll()
    assert resolver.enforced == 7
    assert resolver.failures == {"quarantined": 1}
    authority.publish(names(1002), 9)
    await resolver.list.poll()
    assert resolver.enforced == 9
    assert events(resolver) == ["in_force", "in_force", "quarantined", "gone_back", "in_force"]


async def test_going_back_from_the_first_list_leaves_none(authority: Authority, tmp_path: Path) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.go_back()
    await resolver.list.poll()
    await resolver.list.go_back()
    assert resolver.enforced == "no list"
    resolver.restarted()
    assert resolver.enforced == "no list"
    assert resolver.failures == {}


async def test_a_list_that_fails_its_self_test_never_takes_effect(
    authority: Authority, tmp_path: Path
) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.poll()
    authority.publish(names(1001), 8)
    resolver.judged_wrong = True
    await resolver.list.poll()
    assert (resolver.enforced, resolver.events) == (7, [7])
    assert resolver.failures == {"selftest": 1}
    assert not resolver.feed.facts()[0].selftest_passed
    resolver.judged_wrong = False
    await resolver.list.poll()
    assert resolver.failures == {"selftest": 1, "quarantined": 1}


async def test_a_swap_that_fails_brings_the_previous_list_back(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.poll()
    authority.publish(names(1001), 8)
    resolver.fail_swaps = 1
    with caplog.at_level(logging.DEBUG):
        await resolver.list.poll()
    assert resolver.events == [7, 7]
    assert resolver.failures == {"swap": 1}
    assert "name0" not in caplog.text
    assert b"name0" not in all_bytes_below(resolver.folder)
    resolver.restarted()
    assert resolver.enforced == 7


async def test_nothing_can_be_swapped(authority: Authority, tmp_path: Path) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.poll()
    authority.publish(names(1001), 8)
    resolver.fail_swaps = 9
    await resolver.list.poll()
    assert resolver.enforced == "no list"


async def test_a_failed_self_test_at_start_goes_back(authority: Authority, tmp_path: Path) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.poll()
    authority.publish(names(1001), 8)
    await resolver.list.poll()
    real, first = resolver.judge, []

    def judge(view: memoryview):  # type: ignore[no-untyped-def]  # wrong for the first image it sees
        first.append(view)
        return real(view) if len(first) > 1 else (lambda name, qtype: 1)

    resolver.judge = judge  # type: ignore[method-assign]  # the service's judgement, wrong once
    resolver.restarted()
    assert resolver.enforced == 7
    assert resolver.failures == {"selftest": 1}


@pytest.mark.parametrize(("expire", "then"), [("keep", 7), ("lift", "lifted")])
async def test_a_list_past_its_limit(
    expire: str, then: int | str, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resolver = begun(authority, tmp_path, f'expire = "{expire}"\nhard_limit = "1h"\n')
    await resolver.list.poll()
    issued = resolver.list.state.in_force.issued
    resolver.now = lambda: issued + 3599
    await resolver.list.poll()
    assert resolver.enforced == 7
    resolver.now = lambda: issued + 3600
    await resolver.list.poll()
    await resolver.list.poll()
    assert resolver.enforced == then
    assert caplog.text.count("is past its hard limit") == 1
    resolver.restarted()
    assert resolver.enforced == then
    # An honest renewal ends it.
    authority.publish(names(1000), 8, issued=issued + 3600)
    await resolver.list.poll()
    assert resolver.enforced == 8
    assert resolver.failures == {}


async def test_an_expiry_of_its_own_comes_before_the_hard_limit(authority: Authority, tmp_path: Path) -> None:
    resolver = begun(authority, tmp_path, 'expire = "lift"\nhard_limit = "14d"\n')
    issued = int(time.time())
    authority.publish(names(1000), 8, issued=issued, expires=issued + 100)
    resolver.now = lambda: issued + 100
    await resolver.list.poll()
    assert resolver.enforced == "lifted"
    resolver.now = lambda: issued + 99
    await resolver.list.poll()
    assert resolver.enforced == 8


async def test_a_full_disk_keeps_the_list_and_the_next_poll_goes_on(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.poll()
    authority.publish(names(1001), 8)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "name0.test")

    for step in ("open_part", "fsync_image", "write_floor", "write_state"):
        with monkeypatch.context() as patch:
            patch.setattr(Store, step, full)
            await resolver.list.poll()
        assert resolver.enforced == 7
    assert resolver.failures == {"state_not_written": 4}
    assert not list(resolver.list.store.folder.glob("*.part"))
    await resolver.list.poll()
    assert resolver.enforced == 8
    resolver.restarted()
    assert resolver.enforced == 8


async def test_an_unforeseen_error_is_counted_and_not_told(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    resolver = begun(authority, tmp_path)
    monkeypatch.setattr("resolver.feed.state.due", lambda *_: {}["name0.test"])
    with caplog.at_level(logging.DEBUG):
        await resolver.list.poll()
    assert resolver.failures == {"internal": 1}
    assert "name0" not in caplog.text


async def test_no_descriptor_is_left_open(authority: Authority, tmp_path: Path) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.poll()
    before = len(os.listdir("/proc/self/fd"))
    for serial in range(8, 11):
        authority.publish(names(1000 + serial), serial)
        await resolver.list.poll()
    authority.publish(b"\xff", 11)
    await resolver.list.poll()
    assert resolver.enforced == 10
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_names_that_are_new_are_marked_against_the_list_in_force(
    authority: Authority, tmp_path: Path
) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.poll()
    authority.publish(names(1001), 8)
    await resolver.list.poll()
    marked = [bits & 16 for _, _, bits in image.digests(resolver.view, 9999)]
    assert sum(map(bool, marked)) == 1


async def test_nothing_held_is_nothing_released(authority: Authority, tmp_path: Path) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.accept_held()
    assert resolver.enforced == "no list"
    (tmp_path / "authority/metadata/timestamp.json").unlink()
    with pytest.raises(UpdateFailed, match="unreachable"):
        await resolver.list.update()


async def test_a_floor_whose_state_was_not_written_keeps_its_image(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = begun(authority, tmp_path)
    await resolver.list.poll()

    def fail(*_: object) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(resolver.list.store, "write_state", fail)
        authority.publish(names(1001), 8)
        await resolver.list.poll()
        patch.setattr(resolver.list.store, "write_floor", fail)
        authority.publish(names(1002), 9)
        await resolver.list.poll()
    assert resolver.failures == {"state_not_written": 2}
    resolver.restarted()
    assert resolver.enforced == 8


async def test_it_is_known_since_when_and_why_polls_fail(authority: Authority, tmp_path: Path) -> None:
    authority.publish(names(20), 7)
    resolver = Enforcer(authority, tmp_path / "state")
    resolver.feed.recover()
    await resolver.list.poll()
    assert (resolver.list.failures.since, resolver.list.failures.recent) == (0, {})
    served, started = authority.copy(), resolver.now()
    authority.tamper("timestamp")
    for later in (10, 20):
        resolver.now = lambda later=later: started + later
        await resolver.list.poll()
    assert resolver.list.failures.since == int(started + 10)
    (reason,) = resolver.list.failures.recent
    assert resolver.list.failures.recent == {reason: 2} == resolver.failures
    authority.put_back(served)
    await resolver.list.poll()
    assert (resolver.list.failures.since, resolver.list.failures.recent) == (0, {})
    assert resolver.failures == {reason: 2}


async def test_whether_a_list_joined_others_is_decided_once(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resolver = Enforcer(authority, tmp_path / "state", now=lambda: 1000.0)
    resolver.list.recover(beside=True)
    assert (resolver.list.state.joined, resolver.list.forwards_without) == (1000, True)
    resolver.list.look_at_clocks()
    assert "names that only it blocks are forwarded" in caplog.text
    resolver.feed = resolver.started()
    resolver.list.recover(beside=False)
    assert resolver.list.forwards_without, "a restart knows it still"


async def test_the_first_lists_of_a_host_stay_its_first_whatever_comes_in_force_later(
    authority: Authority, tmp_path: Path
) -> None:
    resolver = Enforcer(authority, tmp_path / "state")
    resolver.list.recover()
    assert not resolver.list.forwards_without
    resolver.feed = resolver.started()
    resolver.list.recover(beside=True)
    assert not resolver.list.forwards_without


async def test_a_disk_that_is_full_takes_no_name_from_a_list_that_joins(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Enforcer(authority, tmp_path / "state")

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Store, "write_state", full)
    resolver.list.recover(beside=True)
    assert resolver.list.forwards_without
    assert resolver.failures == {"state_not_written": 1}
