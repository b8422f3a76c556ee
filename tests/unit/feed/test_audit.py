"""The log of list operations: chained, whole, and without a name."""

from pathlib import Path

import pytest

from resolver.feed import audit


def written(path: Path, count: int = 3) -> audit.Audit:
    log = audit.Audit(path)
    for serial in range(1, count + 1):
        log.append(audit.Event.IN_FORCE, 1000.5 + serial, list_id="demo", serial=serial, digest="ab")
    return log


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
