"""The lists within the service: what the feed decides reaches the tables."""

import secrets
import time
from pathlib import Path

import msgspec
import pytest

from resolver.core import codes
from resolver.core.lane import Tables
from resolver.feed import enforced as enforced_list
from resolver.feed import poll
from resolver.feed.store import Store
from resolver.service.enforcement import Enforcement
from resolver.service.in_force import InForce
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer, wire


async def _polled(enforcer: Enforcer) -> None:
    await enforcer.list.poll()


def test_what_was_saved_is_in_force_after_recover(tmp_path: Path) -> None:
    import asyncio

    authority = Authority(tmp_path / "authority")
    authority.publish(names(3), 7)
    before = Enforcer(authority, tmp_path / "state")
    before.feed.recover()
    asyncio.run(_polled(before))

    swapped: list[Tables] = []
    keys = poll.keys_of(before.config)
    in_force = InForce(before.config, keys.digest, secrets.token_bytes(16), swapped.append)
    counters = [0] * codes.COUNTERS_SIZE
    enforcement = Enforcement(before.config, keys, in_force, places=list, counters=counters, now=time.time)
    assert not in_force.enforced()
    enforcement.recover()
    assert in_force.enforced()
    assert len(swapped) == 2, "once for the list, and once for what a state says of lists that are not in force"
    enforced = enforcement.feed["demo"].enforced
    assert isinstance(enforced, enforced_list.InForce)
    view = enforced.view
    assert in_force.judge_of(view)(wire("name0.test"), codes.TYPE_A) == codes.BLOCK
    work = enforcement.tasks()
    assert list(work) == ["feed", "releases", "notices", "breaker"]
    for one in work.values():
        one.close()


def test_lists_come_and_go_with_their_slots_and_their_counters_start_at_zero(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    authority.publish(names(3), 7)
    before = Enforcer(authority, tmp_path / "state")
    one, keys = before.config, poll.keys_of(before.config)
    second = msgspec.structs.replace(one.lists[0], id="second")
    both = msgspec.structs.replace(one, lists=(one.lists[0], second))
    in_force = InForce(one, keys.digest, secrets.token_bytes(16), lambda tables: None)
    counters = [7] * codes.COUNTERS_SIZE
    enforcement = Enforcement(one, keys, in_force, places=list, counters=counters, now=time.time)
    enforcement.recover()
    enforcement.configure(both)
    assert [facts.list_id for facts in enforcement.facts()] == ["demo", "second"]
    assert (in_force.slot("demo"), in_force.slot("second")) == (0, 1)
    of_lists = [counters[codes.list_counter(slot, codes.BLOCKED_QUERIES)] for slot in range(3)]
    assert of_lists == [7, 0, 7], "what another list has counted in that slot is not its own"
    enforcement.configure(one)
    assert [facts.list_id for facts in enforcement.facts()] == ["demo"]


def test_a_new_list_whose_folder_cannot_be_made_leaves_the_tables_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Enforcer(Authority(tmp_path / "authority"), tmp_path / "state")
    one, keys = before.config, poll.keys_of(before.config)
    both = msgspec.structs.replace(one, lists=(one.lists[0], msgspec.structs.replace(one.lists[0], id="second")))
    in_force = InForce(one, keys.digest, secrets.token_bytes(16), lambda tables: None)
    enforcement = Enforcement(one, keys, in_force, places=list, counters=[0] * codes.COUNTERS_SIZE, now=time.time)

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "prepare", full)
    with pytest.raises(OSError, match="No space"):
        enforcement.configure(both)
    assert in_force.config is one
    assert [facts.list_id for facts in enforcement.facts()] == ["demo"]


def test_a_surge_of_new_entries_is_seen_in_the_counters_and_told_to_its_list(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    before = Enforcer(authority, tmp_path / "state")
    keys = poll.keys_of(before.config)
    in_force = InForce(before.config, keys.digest, secrets.token_bytes(16), lambda tables: None)
    counters = [0] * codes.COUNTERS_SIZE
    enforcement = Enforcement(before.config, keys, in_force, places=list, counters=counters, now=time.time)
    enforcement.look(60.0)
    counters[codes.list_counter(0, codes.NEW_PREFIXES)] = 21
    enforcement.look(61.0)
    assert enforcement.feed.facts()[0].breaker_open


def test_a_surge_is_an_alarm_and_takes_nothing_out(tmp_path: Path) -> None:
    import asyncio

    authority = Authority(tmp_path / "authority")
    authority.publish(names(3), 7)
    before = Enforcer(authority, tmp_path / "state")
    before.feed.recover()
    asyncio.run(_polled(before))
    keys = poll.keys_of(before.config)
    for rate in (0, 200):
        limits = msgspec.structs.replace(before.config.limits, queries_per_second=rate)
        config = msgspec.structs.replace(before.config, limits=limits)
        in_force = InForce(config, keys.digest, secrets.token_bytes(16), lambda tables: None)
        counters = [0] * codes.COUNTERS_SIZE
        enforcement = Enforcement(config, keys, in_force, places=list, counters=counters, now=time.time)
        enforcement.recover()
        enforcement.look(60.0)
        counters[codes.list_counter(0, codes.NEW_PREFIXES)] = 21
        enforcement.look(61.0)
        (facts,) = enforcement.feed.facts()
        assert (facts.breaker_open, facts.enforced, facts.suspended_entries) == (True, True, 0)
        assert enforcement.feed["demo"].state.suspended is False
