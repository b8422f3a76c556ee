"""A list is tried by the code that updates it, in a folder of its own."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.service import list_trial
from resolver.service.list_trial import Tried
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer


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
    import asyncio

    host.feed.recover()
    asyncio.run(host.list.poll())
    assert tried(host).same == 7
    assert host.authority is not None
    host.authority.publish(names(20), 6)
    older = tried(host).failed
    assert older is not None
    assert older.reason.value == "rolled_back"
    assert replace(host.list.state) == host.list.state
