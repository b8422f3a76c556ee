"""The files of one list."""

import json
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.feed.state import Floor, State
from resolver.feed.store import StateUnreadable, Store, in_force_once
from tests.unit.feed.test_state import IN_FORCE, record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "lists" / "demo")
    store.prepare()
    return store


def test_nothing_written_is_an_empty_state(store: Store) -> None:
    assert store.read_state() == State()
    assert store.read_floor() is None


def test_what_is_written_comes_back(store: Store) -> None:
    store.write_state(IN_FORCE)
    store.write_floor(Floor(record=record()))
    assert store.read_state() == IN_FORCE
    assert store.read_floor() == Floor(record=record())


def test_all_is_for_the_owner_alone(store: Store) -> None:
    store.write_state(IN_FORCE)
    _, part = store.open_part()
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert store.folder.parent.stat().st_mode & 0o777 == 0o700
    assert part.stat().st_mode & 0o777 == 0o600
    assert (store.folder / "state.json").stat().st_mode & 0o777 == 0o600


def test_when_a_poll_last_succeeded_comes_back_and_no_other_file_is_left(store: Store) -> None:
    assert store.read_last_success(now=2000) == 0
    for at in (1000, 1900):
        store.write_last_success(at)
    assert store.read_last_success(now=2000) == 1900
    assert [path.name for path in store.folder.iterdir()] == ["last-success"]
    assert (store.folder / "last-success").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("data", [b"", b"x", b"-5", b"\xff", b"2001", b"9" * 4000])
def test_a_moment_that_cannot_be_is_unknown(data: bytes, store: Store) -> None:
    (store.folder / "last-success").write_bytes(data)
    assert store.read_last_success(now=2000) == 0


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"format": 2}', b'{"in_force": {"image": "../x"}}', b"[" * 9999])
def test_a_damaged_file_is_told_by_its_name_alone(data: bytes, store: Store) -> None:
    (store.folder / "state.json").write_bytes(data)
    with pytest.raises(StateUnreadable, match=r"^state\.json$"):
        store.read_state()


def test_an_image_cannot_be_named_outside_the_folder(store: Store) -> None:
    store.write_state(IN_FORCE)
    path = store.folder / "state.json"
    path.write_text(path.read_text().replace("7.image", "../7.image"))
    with pytest.raises(StateUnreadable):
        store.read_state()


def test_what_the_release_before_does_not_know_is_left_out_where_it_is_empty(store: Store) -> None:
    store.write_state(IN_FORCE)
    assert "approved_here" not in (store.folder / "state.json").read_text()
    here = replace(IN_FORCE, in_force=replace(IN_FORCE.in_force, approved_here=True))
    store.write_state(here)
    assert store.read_state() == here


def test_keys_that_only_earlier_versions_wrote_are_read_and_left_out(store: Store) -> None:
    store.write_state(replace(IN_FORCE, previous=record(6, "6")))
    path = store.folder / "state.json"
    written = json.loads(path.read_text())
    written["told"] = "suspended"
    written["previous"]["suspended"] = True
    path.write_text(json.dumps(written))
    assert store.read_state() == replace(IN_FORCE, previous=record(6, "6"))
    for broken in ([], {"approvals": 1}, {"approvals": ["x"]}, {"previous": [1]}, {"unknown": 1}):
        path.write_text(json.dumps(broken))
        with pytest.raises(StateUnreadable):
            store.read_state()


def test_half_written_files_go_at_start_and_images_nobody_names_at_cleaning(store: Store) -> None:
    for name in ("5.image", "6.image", "7.image", "8.image", "x.part"):
        (store.folder / name).write_bytes(b"x")
    store.prepare()
    store.clean(IN_FORCE, Floor(record=record(8, "8")))
    assert {path.name for path in store.folder.iterdir()} == {"6.image", "7.image", "8.image"}


def test_copies_stay_of_the_newest_lists_alone_and_only_where_they_may(store: Store) -> None:
    for number in (5, 6, 7, 8):
        handle, part = store.open_part()
        os.close(handle)
        store.keep_copy(part, f"{number}.copy")
    assert {path.name for path in store.folder.iterdir()} == {"5.copy", "6.copy", "7.copy", "8.copy"}
    for may, left in ((True, {"7.copy", "8.copy"}), (False, set())):
        store.copies = may
        store.clean(IN_FORCE, Floor(record=record(8, "8")))
        assert {path.name for path in store.folder.iterdir()} == left


def test_a_list_is_new_until_its_state_or_its_floor_is_written(store: Store, tmp_path: Path) -> None:
    assert store.is_new()
    assert in_force_once(store.folder.parent) == frozenset()
    store.write_state(State())
    assert not store.is_new()
    assert in_force_once(store.folder.parent) == frozenset()
    store.write_floor(Floor(record=record()))
    assert in_force_once(store.folder.parent) == {store.folder.name}
    (store.folder / "state.json").unlink()
    assert not store.is_new()
    assert in_force_once(tmp_path / "nowhere") == frozenset()
