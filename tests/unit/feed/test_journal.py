"""What is written of a list: the disk comes first, and memory follows what the disk has."""

import logging
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from resolver.feed import audit
from resolver.feed.audit import Audit, Event
from resolver.feed.journal import Journal
from resolver.feed.state import Approval, Floor, Held, State
from resolver.feed.store import Store
from tests.unit.feed.test_state import record

IN_FORCE = State(generation=7, in_force=record())
FLOOR = Floor(record=record())


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal("demo", Store(tmp_path / "lists" / "demo"), Audit(tmp_path / "audit.log"), lambda: 1000.0)
    made.store.prepare()
    return made


def test_a_start_reads_what_was_written(journal: Journal) -> None:
    assert journal.read()
    assert (journal.state, journal.floor) == (State(), None)
    journal.raise_floor(FLOOR)
    journal.write(IN_FORCE)
    journal.state, journal.floor = State(), None
    assert journal.read()
    assert (journal.state, journal.floor) == (IN_FORCE, FLOOR)


def test_of_two_files_one_may_be_damaged(journal: Journal) -> None:
    journal.raise_floor(FLOOR)
    journal.write(IN_FORCE)
    folder = journal.store.folder
    (folder / "floor.json").write_bytes(b"{")
    assert not journal.read()
    assert (journal.state, journal.floor) == (IN_FORCE, FLOOR)
    journal.raise_floor(FLOOR)
    (folder / "state.json").write_bytes(b"{")
    assert not journal.read()
    assert (journal.state, journal.floor) == (State(), FLOOR)
    (folder / "floor.json").write_bytes(b"{")
    assert not journal.read()
    assert (journal.state, journal.floor) == (State(), None)


@pytest.mark.parametrize("written", [False, True])
def test_memory_follows_the_disk_also_if_a_write_fails(
    written: bool, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in ("write_state", "write_floor"):
        real = getattr(journal.store, step)

        def fail(value: Any, real: Any = real) -> None:
            if written:
                real(value)
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(journal.store, step, fail)
    with pytest.raises(OSError, match="Input/output"):
        journal.raise_floor(FLOOR)
    with pytest.raises(OSError, match="Input/output"):
        journal.write(IN_FORCE)
    assert (journal.state, journal.floor) == ((IN_FORCE, FLOOR) if written else (State(), None))


def test_approvals_that_count_for_nothing_any_more_are_not_written(journal: Journal) -> None:
    said: dict[str, Any] = {"action": "approve-set-aside", "serial": 7, "digest": "7" * 64, "key": "SHA256:x", "at": 1}
    approvals = [Approval(principal="anna", expiry=999, **said), Approval(principal="ben", expiry=1001, **said)]
    journal.write(State(in_force=record(), approvals=tuple(approvals)))
    assert [one.principal for one in journal.state.approvals] == ["ben"]
    assert journal.store.read_state() == journal.state


def test_a_line_of_the_log_names_list_and_record(journal: Journal, tmp_path: Path) -> None:
    journal.log(Event.HELD, record(), "growth")
    (line,), _ = audit.verify(tmp_path / "audit.log")
    assert (line.event, line.at, line.list, line.serial, line.digest, line.detail) == (
        Event.HELD,
        1000,
        "demo",
        7,
        "7" * 64,
        "growth",
    )


def test_each_operation_is_one_line_of_the_journal_with_list_serial_and_who(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    """Before, the journal never said that a list came in force, and by whose decision."""
    with caplog.at_level(logging.INFO, "resolver.audit"):
        journal.log(Event.IN_FORCE, record(), "issued 2026-11-29T01:00:00Z")
        journal.log(Event.GONE_BACK, record(6, "6"), by="anna")
        journal.log(Event.APPROVED, record(), "approve: ben SHA256:x, by uid 0", by="")
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        (
            "INFO",
            "list demo: serial 7: put in force (issued 2026-11-29T01:00:00Z), by the feed; entry 1 of the audit log",
        ),
        ("INFO", "list demo: serial 6: in force again, by anna; entry 2 of the audit log"),
        ("INFO", "list demo: serial 7: signed (approve: ben SHA256:x, by uid 0); entry 3 of the audit log"),
    ]


def test_what_is_not_on_the_disk_is_not_in_the_journal(
    journal: Journal, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit.os, "fsync", mock.Mock(side_effect=OSError(28, "full")))
    with caplog.at_level(logging.INFO, "resolver.audit"), pytest.raises(OSError, match="full"):
        journal.log(Event.IN_FORCE, record())
    assert caplog.records == []


def test_the_newest_list_is_the_one_held_else_the_floors(journal: Journal) -> None:
    assert journal.newest is None
    journal.floor = FLOOR
    assert journal.newest == FLOOR.record
    journal.state = State(held=Held(record=record(8, "8"), reasons=("growth",), since=1))
    assert journal.newest == record(8, "8")


def test_files_that_neither_names_go(journal: Journal) -> None:
    journal.state, journal.floor = IN_FORCE, Floor(record=record(8, "8"))
    for serial in (6, 7, 8):
        (journal.store.folder / f"{serial}.image").write_bytes(b"x")
    journal.clean()
    assert sorted(path.name for path in journal.store.folder.glob("*.image")) == ["7.image", "8.image"]
