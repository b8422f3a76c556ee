"""The audit log: chained, whole, and without a name."""

import os
from pathlib import Path

import pytest

from resolver.feed import audit


def written(path: Path, count: int = 3) -> audit.Audit:
    log = audit.Audit(path)
    for serial in range(1, count + 1):
        log.append(audit.Event.IN_FORCE, 1000.5 + serial, list_id="demo", serial=serial, digest="ab")
    return log


def test_the_journal_has_words_for_every_event() -> None:
    assert set(audit.WORDS) == set(audit.Event)


def test_a_chain_holds_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    written(path)
    written(path, 1)
    entries, head = audit.verify(path)
    assert [entry.serial for entry in entries] == [1, 2, 3, 1]
    assert [entry.number for entry in entries] == [1, 2, 3, 4]
    assert len(head) == 64
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_log_is_an_empty_chain(tmp_path: Path) -> None:
    assert audit.verify(tmp_path / "audit.log")[0] == []


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_changed_line_is_found(line: int, tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    written(path, 4)
    lines = path.read_bytes().split(b"\n")
    lines[line] = lines[line].replace(b'"ab"', b'"cd"')
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(audit.ChainBroken, match=f"line {line + 2}"):
        audit.verify(path)


@pytest.mark.parametrize("line", [0, 1])
def test_a_removed_line_is_found(line: int, tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    written(path)
    lines = path.read_bytes().split(b"\n")
    del lines[line]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(audit.ChainBroken):
        audit.verify(path)


def test_a_line_that_is_none_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(b"{}\n")
    with pytest.raises(audit.ChainBroken, match="line 1: not an entry"):
        audit.verify(path)


def test_a_line_cut_short_is_dropped_and_told(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    written(path)
    with path.open("ab") as file:
        file.write(b'{"number": 4, "at"')
    with pytest.raises(audit.ChainBroken, match="line 4: cut short"):
        audit.verify(path)
    log = audit.Audit(path)
    assert log.torn
    log.append(audit.Event.TORN, 0, list_id="", serial=0, digest="")
    assert [entry.event for entry in audit.verify(path)[0]][-1] == "torn"


def test_the_head_is_kept_and_tells_a_log_that_was_cut_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = written(path)
    entries, hashes = audit.verified(path)
    assert log.head() == (3, hashes[-1])
    assert len(hashes) == len(entries) + 1
    assert (tmp_path / "audit.head").read_text() == f"3 {hashes[-1]}\n"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    other = written(tmp_path / "other.log", 4)
    assert other.head().number == 4
    changed = whole.replace(b'"serial":3', b'"serial":4')
    for data in (b"".join(lines[:2]), b"", (tmp_path / "other.log").read_bytes()[: len(whole) - 9], changed):
        path.write_bytes(data)
        with pytest.raises(audit.ChainBroken):
            audit.verify(path)
        assert audit.Audit(path).broken
        path.write_bytes(whole)
    assert audit.Audit(path).broken == ""


def test_a_log_that_did_not_hold_says_so_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    written(path)
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    log = audit.Audit(path)
    assert "entry 3, which was written, is missing" in log.broken
    log.append(audit.Event.CHAIN_BROKEN, 5, list_id="", serial=0, digest="", detail=log.broken)
    with pytest.raises(audit.ChainBroken):
        audit.verify(path)


def test_a_crash_between_line_and_head_is_none_of_that(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    written(path)
    head = (tmp_path / "audit.head").read_bytes()
    written(path, 1)
    (tmp_path / "audit.head").write_bytes(head)
    assert audit.Audit(path).broken == ""
    assert len(audit.verify(path)[0]) == 4
    (tmp_path / "audit.head").unlink()
    assert audit.Audit(path).broken == ""


def test_old_entries_are_cut_behind_an_entry_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = written(path, 5)
    _, hashes = audit.verified(path)
    assert log.trim(1003.0, 2000.0) == 2
    entries, _ = audit.verify(path)
    assert [entry.number for entry in entries] == [3, 4, 5, 6]
    assert (entries[-1].event, entries[-1].detail) == ("trimmed", f"2 {hashes[2]}")
    assert audit.verified(path)[1][0] == hashes[2]
    assert log.trim(1003.0, 2000.0) == 0
    again = audit.Audit(path)
    assert (again.broken, again.head()) == ("", log.head())
    assert again.trim(1005.0, 2001.0) == 2
    assert [entry.number for entry in audit.verify(path)[0]] == [5, 6, 7]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(audit.ChainBroken, match="no entry records a cut"):
        audit.verify(path)
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("step", ["event", "file"])
def test_a_crash_while_old_entries_are_cut_leaves_a_log_that_holds(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.log"
    log = written(path, 5)
    real, left = os.replace, [1 if step == "event" else 2]

    def replace(part: str, to: Path) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError("crash")
        real(part, to)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="crash"):
        log.trim(1003.0, 2000.0)
    assert len(audit.verify(path)[0]) == 6
    again = audit.Audit(path)
    assert again.broken == ""
    assert again.trim(1003.0, 2000.0) == 2
    assert audit.verify(path)[0][0].number == 3


def test_what_is_written_while_old_entries_are_read_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.log"
    log = written(path, 3)
    read = audit._entries

    def busy(lines: list[bytes]) -> list[audit.Entry]:
        monkeypatch.setattr(audit, "_entries", read)
        log.append(audit.Event.HELD, 1500, list_id="demo", serial=4, digest="ab")
        return read(lines)

    monkeypatch.setattr(audit, "_entries", busy)
    assert log.trim(1003.0, 2000.0) == 2
    assert [entry.event for entry in audit.verify(path)[0]] == ["in_force", "held", "trimmed"]


def test_a_log_without_old_entries_is_not_read(tmp_path: Path) -> None:
    log = written(tmp_path / "audit.log")
    (tmp_path / "audit.log").write_text("damaged")
    assert log.trim(1001.0, 2000.0) == 0
    (tmp_path / "audit.log").unlink()
    assert log.trim(1003.0, 2000.0) == 0


def test_a_part_of_a_log_follows_the_entry_before_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    written(path, 4)
    entries, hashes = audit.verified(path)
    lines = [audit.line_of(entry) for entry in entries]
    assert lines == path.read_bytes().splitlines()
    before = audit.Head(2, hashes[2])
    assert audit.chained(lines[2:], before) == (entries[2:], audit.Head(4, hashes[4]))
    assert audit.chained([], before) == ([], before)
    for wrong in (audit.Head(1, hashes[2]), audit.Head(2, hashes[1])):
        with pytest.raises(audit.ChainBroken, match="line 1"):
            audit.chained(lines[2:], wrong)


@pytest.mark.parametrize("fault", ["short", "fsync"])
def test_an_entry_that_is_not_for_certain_on_the_disk_was_not_written(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.log"
    log = written(path, 2)

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        if fault == "fsync":
            patch.setattr(os, "fsync", fail)
        else:
            patch.setattr(os, "write", lambda handle, data, real=os.write: real(handle, data[:9]))
        with pytest.raises(OSError, match=r"Input/output|No space"):
            log.append(audit.Event.HELD, 1010.0, list_id="demo", serial=3, digest="cd")
    assert len(audit.verify(path)[0]) == 2
    log.append(audit.Event.HELD, 1010.0, list_id="demo", serial=3, digest="cd")
    assert [entry.number for entry in audit.verify(path)[0]] == [1, 2, 3]


def test_a_log_that_cannot_be_read_is_opened_once_it_can_be(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.mkdir()
    log = audit.Audit(path)
    with pytest.raises(OSError, match="Is a directory"):
        log.open(1.0)
    with pytest.raises(OSError, match="not open"):
        log.head()
    with pytest.raises(OSError, match="Is a directory"):
        log.append(audit.Event.HELD, 1.0, list_id="demo", serial=1, digest="")
    assert log.trim(9.0, 9.0) == 0
    path.rmdir()
    path.write_bytes(b"cut short")
    log.append(audit.Event.HELD, 1.0, list_id="demo", serial=1, digest="")
    entries, _ = audit.verify(path)
    assert [one.event for one in entries] == [audit.Event.TORN, audit.Event.HELD]


def test_a_log_that_is_another_process_s_is_left_alone_until_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.log"
    later = audit.Audit(path, later=True)
    assert not path.parent.exists()
    first = audit.Audit(path)
    first.open(1.0)
    first.append(audit.Event.IN_FORCE, 1.0, list_id="demo", serial=1, digest="ab")
    half = path.read_bytes() + b'{"number":2,'
    path.write_bytes(half)
    part = path.parent / ".x.part"
    part.touch()
    with pytest.raises(OSError, match="not open"):
        later.head()
    assert path.read_bytes() == half
    later.open(2.0)
    assert later.torn
    assert not part.exists()
    assert [entry.event for entry in audit.verify(path)[0]] == [audit.Event.IN_FORCE, audit.Event.TORN]
