"""A list is tried by the code that updates it, in a folder of its own."""

import asyncio
import dataclasses
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.feed.seal import KeyUnusable
from resolver.service import list_trial
from resolver.service.list_trial import Tried
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer
from tests.fakes.fleet import pair


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Enforcer:
    monkeypatch.setattr(list_trial, "IN_MEMORY", tmp_path / "memory")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "memory").mkdir()
    authority = Authority(tmp_path / "authority")
    authority.publish(names(20) + b"co.uk\n", 7)
    return Enforcer(authority, tmp_path / "state")


def tried(host: Enforcer, settings: str = "") -> Tried:
    host.settings = settings
    config = host.configured()
    return list_trial.try_list(config, config.lists[0])


def left(host: Enforcer) -> list[str]:
    folders = (host.folder, host.folder.parent / "memory")
    return [str(path) for folder in folders for path in folder.rglob("*")]


def test_a_new_list_is_tried_and_nothing_stays(host: Enforcer) -> None:
    before = left(host)
    found = tried(host)
    assert found.record is not None
    assert (found.record.serial, found.record.entries, found.record.refused) == (7, 20, {"icann_suffix": 1})
    assert (found.held, found.failed, found.same) == ((), None, 0)
    assert left(host) == before


def test_what_the_guard_would_hold_and_what_is_refused_is_told(host: Enforcer) -> None:
    held = tried(host, "[list.guard]\nexpect_entries = [1, 5]\n")
    assert held.held == ("first_size",)
    assert host.authority is not None
    host.authority.publish(b"0.0.0.0 site.test\n", 8)
    failed = tried(host).failed
    assert failed is not None
    assert failed.reason.value == "empty"


def test_a_list_is_compared_with_what_the_host_has_of_it(host: Enforcer) -> None:
    host.feed.recover()
    asyncio.run(host.list.poll())
    assert tried(host).same == 7
    assert host.authority is not None
    host.authority.publish(names(20), 6)
    older = tried(host).failed
    assert older is not None
    assert older.reason.value == "rolled_back"
    assert replace(host.list.state) == host.list.state


def test_names_that_lists_in_force_have_too_are_counted_and_no_name_leaves(host: Enforcer) -> None:
    """Under the host's own keys: only digests under one key can be compared."""
    host.feed.recover()
    asyncio.run(host.list.poll())
    assert host.authority is not None
    host.authority.publish(names(5) + names(3, "other"), 1, list_id="second", target="second")
    host.authority.publish(names(30, "site"), 1, list_id="third", target="third")
    config = host.configured()
    (first,) = config.lists
    others = [replace(first, id=one, source=replace(first.source, target=one)) for one in ("second", "third")]
    config = replace(config, lists=(first, *others))
    assert list_trial.try_list(config, others[0]).shared == {"demo": 5}
    assert list_trial.try_list(config, others[1]).shared == {"demo": 0}
    host.authority.publish(names(19) + names(1, "fresh"), 8)
    assert list_trial.try_list(config, first).shared == {"demo": 19}
    record = host.list.state.in_force
    assert record is not None
    (host.list.store.folder / record.image).write_bytes(b"")
    assert list_trial.try_list(config, others[0]).shared == {"demo": -1}


def test_without_the_keys_of_the_host_nothing_is_counted_and_none_are_made(host: Enforcer) -> None:
    for path in host.folder.glob("*.key"):
        path.unlink()
    found = tried(host)
    assert (found.record is not None, found.shared) == (True, None)
    assert list(host.folder.glob("*.key")) == []


def test_a_list_that_is_held_is_tried_by_other_rules_of_the_guard(host: Enforcer) -> None:
    host.settings = "[list.guard]\nexpect_entries = [1, 5]\n"
    held = Enforcer(host.authority, host.folder, host.settings)
    held.feed.recover()
    asyncio.run(held.list.poll())
    assert held.list.state.held is not None
    assert tried(host, "[list.guard]\nexpect_entries = [1, 5]\n").held == ("first_size",)
    found = tried(host, "[list.guard]\nexpect_entries = [1, 50]\n")
    assert (found.held, found.record and found.record.entries) == ((), 20)


def test_the_image_of_a_compile_host_is_tried_on_its_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_trial, "IN_MEMORY", tmp_path / "memory")
    (tmp_path / "memory").mkdir()
    authority = Authority(tmp_path / "authority")
    authority.publish(names(1000), 7)
    host, node = pair(tmp_path, authority)
    asyncio.run(host.publish())
    (one,) = node.config.lists
    first = list_trial.try_list(node.config, one)
    assert (first.failed, first.record and (first.record.serial, first.record.entries)) == (None, (7, 1000))
    assert (first.shared, node.enforced, node.list.state.in_force) == ({}, "no list", None)
    asyncio.run(node.list.poll())
    authority.publish(names(1001), 8)
    asyncio.run(host.publish())
    before = {path: path.read_bytes() for path in node.folder.rglob("*") if path.is_file()}
    found = list_trial.try_list(node.config, one)
    assert (found.record and found.record.serial, found.shared) == (8, {one.id: 1000})
    said = host.said()
    said["sequence"] += 1
    said["fresh_until"] = 1
    host.say(said)
    complained = list_trial.try_list(node.config, one)
    assert complained.complaint is not None
    assert complained.complaint.reason.value == "frozen"
    assert dataclasses.replace(complained, complaint=None, record=None) == dataclasses.replace(found, record=None)
    said["sequence"] = 0
    host.say(said)
    older = list_trial.try_list(node.config, one).failed
    assert older is not None
    assert older.reason.value == "rolled_back"
    assert {path: path.read_bytes() for path in node.folder.rglob("*") if path.is_file()} == before
    assert os.listdir(tmp_path / "memory") == []


def test_an_image_needs_the_keys_of_this_host(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    authority.publish(names(10), 7)
    host, node = pair(tmp_path, authority)
    asyncio.run(host.publish())
    (one,) = node.config.lists
    elsewhere = replace(node.config.state, keys=str(tmp_path / "nowhere"))
    with pytest.raises(KeyUnusable):
        list_trial.try_list(replace(node.config, state=elsewhere), one)
