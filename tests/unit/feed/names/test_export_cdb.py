"""A constant database: read by another reader of the format, it holds what was written."""

import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from resolver.core.codes import BLOCK_BELOW, BLOCK_SELF, EXCEPT_BELOW, EXCEPT_SELF
from resolver.feed.names import export_cdb
from resolver.feed.names.export_rules import rules
from resolver.feed.names.export_zone import wire_of
from tests.journeys.running import ROOT


def value_of(data: bytes, key: bytes) -> bytes | None:
    """Look a key up by the format's description."""
    number = 5381
    for octet in key:
        number = ((number << 5) + number & 0xFFFFFFFF) ^ octet
    at, slots = struct.unpack_from("<II", data, number % 256 * 8)
    for step in range(slots):
        found, place = struct.unpack_from("<II", data, at + ((number >> 8) + step) % slots * 8)
        if not place:
            return None
        size, length = struct.unpack_from("<II", data, place)
        if found == number and data[place + 8 : place + 8 + size] == key:
            return data[place + 8 + size : place + 8 + size + length]
    return None


def test_every_key_is_found_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "list.cdb"
    pairs = [(wire_of(f"name-{number}.test"), b"%d" % number) for number in range(5000)]
    assert export_cdb.write(path, pairs) == 5000
    data = path.read_bytes()
    assert all(value_of(data, key) == value for key, value in pairs)
    assert [value_of(data, wire_of(f"other-{number}.test")) for number in range(500)] == [None] * 500
    assert path.stat().st_mode & 0o777 == export_cdb.MODE


def test_each_file_is_dated_a_second_later_at_least(tmp_path: Path) -> None:
    dates = []
    for _ in range(3):
        export_cdb.write(tmp_path / "list.cdb", [])
        dates.append(int((tmp_path / "list.cdb").stat().st_mtime))
    assert dates[0] < dates[1] < dates[2]


def test_an_empty_one_is_whole(tmp_path: Path) -> None:
    assert export_cdb.write(tmp_path / "list.cdb", []) == 0
    assert value_of((tmp_path / "list.cdb").read_bytes(), b"\x01a\x00") is None


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "list.cdb"
    export_cdb.write(path, [(b"\x01a\x00", b"BB")])

    def breaks() -> object:
        yield b"\x01b\x00", b"BB"
        raise OSError(28, "full")

    with pytest.raises(OSError, match="full"):
        export_cdb.write(path, breaks())
    assert value_of(path.read_bytes(), b"\x01a\x00") == b"BB"
    assert [one.name for one in tmp_path.iterdir()] == ["list.cdb"]


@pytest.mark.processes
def test_what_a_crash_left_in_part_goes_before_the_next_is_written(tmp_path: Path) -> None:
    """SIGKILL in the middle of a file; another table of the same folder is none of its business."""
    path, other = tmp_path / "[a]*.cdb", tmp_path / ".b.cdb.xyz.part"
    other.write_bytes(b"of another one")
    code = (
        "import os, signal, sys, pathlib\nfrom resolver.feed.names import export_cdb\n"
        "def pairs():\n    yield b'\\1a\\0', b'BB'\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "export_cdb.write(pathlib.Path(sys.argv[1]), pairs())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len([*tmp_path.iterdir()]) == 2, "one part of each"
    export_cdb.write(path, [(b"\x01b\x00", b"BB")])
    assert {one.name for one in tmp_path.iterdir()} == {path.name, other.name}


def test_a_value_says_the_name_and_what_is_below() -> None:
    one = {"bad.test": BLOCK_SELF | BLOCK_BELOW, "ok.bad.test": EXCEPT_SELF | EXCEPT_BELOW, "below.test": BLOCK_BELOW}
    found = dict(export_cdb.pairs_of(rules([{wire_of(name)[:-1]: bits for name, bits in one.items()}])))
    assert found == {wire_of("bad.test"): b"BB", wire_of("ok.bad.test"): b"PP", wire_of("below.test"): b"PB"}
