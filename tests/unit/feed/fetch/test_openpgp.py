"""The fetch process of OpenPGP files, with GnuPG stood in for; tests/peers/test_gpg.py has the real one."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.feed import processes
from resolver.feed.details import Code, Detail, Place
from resolver.feed.fetch import openpgp as source_openpgp
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed

NOW = 1795608000.0
"""2026-11-25T12:00:00Z"""
SEAL = b"\x85sealed"
"""Begins as an OpenPGP message does."""
LIST = b"# serial=7 issued=2026-11-25T06:00:00Z\na.test\n"


class StandIn:
    """Opens a file by taking SEAL off its front."""

    keys = frozenset(("A" * 40,))

    def __init__(self, home: str, most: int, rest: Callable[[], float]) -> None:
        assert rest() > 0

    def pinned(self, keys: bytes) -> frozenset[str]:
        return self.keys

    def opened(self, data: bytes, pinned: frozenset[str]) -> bytes:
        assert pinned == self.keys
        if not data.startswith(SEAL):
            raise Failed(Reason.NOT_ENCRYPTED)
        return data.removeprefix(SEAL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "list.gpg").write_bytes(b"\x85sealed" + LIST)
    return drop


@pytest.fixture
def request_of(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FetchRequest]:
    monkeypatch.setattr(source_openpgp, "Gpg", StandIn)
    (tmp_path / "keys.asc").write_text("keys")
    output = processes.memory_file("list")
    yield FetchRequest(
        list_id="demo",
        parent=os.getpid(),
        output=output,
        url=folder.as_uri(),
        root=str(tmp_path / "keys.asc"),
        identity=str(tmp_path),
        target="",
        metadata="",
        ca="",
        certificate="",
        key="",
        max_bytes=1000,
        memory_bytes=2**31,
        seconds=20.0,
        dated_within=48 * 3600.0,
    )
    os.close(output)


def fetched(request: FetchRequest, now: float = NOW) -> Facts:
    told: list[Facts] = []
    assert source_openpgp.fetch(request, lambda facts: not told.append(facts), lambda: now)
    return told[0]


def failing(request: FetchRequest, now: float = NOW) -> str:
    def never(facts: Facts) -> bool:
        raise AssertionError("facts that must not be told")

    with pytest.raises(Failed) as error:
        source_openpgp.fetch(request, never, lambda: now)
    assert os.fstat(request.output).st_size == 0
    return error.value.reason


def test_a_plain_list(request_of: FetchRequest) -> None:
    facts = fetched(request_of)
    assert os.pread(request_of.output, 1000, 0) == LIST
    assert (facts.custom.list, facts.custom.serial, facts.custom.issued) == ("demo", 7, 1795586400)
    assert (facts.custom.expires, facts.fresh_until, facts.format) == (None, 0, "plain")


def test_a_csv(request_of: FetchRequest, folder: Path) -> None:
    (folder / "list.gpg").write_bytes(b"\x85sealed7;2026-11-25T06:00:00Z\n;a.test;;\n")
    facts = fetched(replace(request_of, format="csv"))
    assert (facts.custom.serial, facts.custom.issued, facts.format) == (7, 1795586400, "csv")


def test_a_master_file(request_of: FetchRequest, folder: Path) -> None:
    zone = b"@ SOA ns.example. mail.example. 7 3600 600 86400 60\na.test CNAME .\n"
    (folder / "list.gpg").write_bytes(SEAL + b"; serial=7 issued=2026-11-25T06:00:00Z\n" + zone)
    facts = fetched(replace(request_of, format="rpz"))
    assert (facts.custom.serial, facts.custom.issued, facts.format) == (7, 1795586400, "master")
    (folder / "list.gpg").write_bytes(SEAL + zone)
    assert failing(replace(request_of, output=processes.memory_file("x"), format="rpz")) == Reason.MALFORMED


def test_what_is_not_wanted_is_not_written(request_of: FetchRequest) -> None:
    assert not source_openpgp.fetch(request_of, lambda facts: False, lambda: NOW)
    assert os.fstat(request_of.output).st_size == 0


def test_a_withdrawal(request_of: FetchRequest, folder: Path) -> None:
    (folder / "list.gpg").write_bytes(b"\x85sealed# serial=8 issued=1795608000 withdrawn\n")
    assert fetched(request_of).custom.withdrawn


@pytest.mark.parametrize(
    "text", [b"a.test\n", b"# serial=7\na.test\n", b"# issued=1795608000\na.test\n", b"7;1795608000\n", b""]
)
def test_a_list_that_does_not_say_enough(text: bytes, request_of: FetchRequest, folder: Path) -> None:
    (folder / "list.gpg").write_bytes(b"\x85sealed" + text)
    assert failing(request_of) == Reason.MALFORMED


def test_a_new_list_must_be_of_late(request_of: FetchRequest) -> None:
    issued = 1795586400
    assert fetched(request_of, issued + 48 * 3600.0)
    late = issued + 48 * 3600.0 + 1
    assert failing(replace(request_of, output=processes.memory_file("x")), late) == Reason.TOO_OLD
    assert failing(replace(request_of, output=processes.memory_file("x"), serial=6), late) == Reason.TOO_OLD
    assert failing(replace(request_of, output=processes.memory_file("x"), serial=7), late) == Reason.TOO_OLD
    assert fetched(replace(request_of, serial=7, digest=hashlib.sha256(LIST).hexdigest()), late)


def test_the_set_of_keys_answers_for_the_list(request_of: FetchRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fetched(request_of).targets_keys
    assert fetched(request_of).targets_keys == first
    monkeypatch.setattr(StandIn, "keys", frozenset(("A" * 40, "B" * 40)))
    assert fetched(request_of).targets_keys != first


def test_what_is_missing(request_of: FetchRequest, folder: Path) -> None:
    assert failing(replace(request_of, root="/nowhere")) == Reason.ROOT_UNUSABLE
    assert failing(replace(request_of, identity="/nowhere")) == Reason.IDENTITY_UNUSABLE
    assert failing(replace(request_of, url="file:///nowhere")) == Reason.UNREACHABLE
    assert failing(replace(request_of, max_bytes=2)) == Reason.OVERSIZED
    (folder / "list.gpg").unlink()
    assert failing(request_of) == Reason.UNREACHABLE


def drop(folder: Path, name: str, serial: int, at: int = 0) -> Path:
    """Put a sealed list into the folder, with the date `at` that came with it."""
    path = folder / name
    path.write_bytes(b"\x85sealed# serial=%d issued=1795608000\n" % serial)
    if at:
        os.utime(path, (at, at))
    return path


def test_the_highest_serial_of_a_folder_counts_whatever_its_date(request_of: FetchRequest, folder: Path) -> None:
    drop(folder, "b.gpg", 9, at=100)
    drop(folder, "list.gpg", 7, at=300)
    drop(folder, "a.gpg", 8, at=200)
    drop(folder, "half.part", 10)
    facts = fetched(request_of)
    assert (facts.custom.serial, facts.passed_over) == (9, None)
    assert fetched(replace(request_of, url=(folder / "list.gpg").as_uri())).custom.serial == 7


def test_strangers_are_passed_over_and_told_by_number(request_of: FetchRequest, folder: Path) -> None:
    """What a certified e-mail brings along, a checksum, a list of another authority, half a file: each later than the
    list."""
    (folder / "daticert.xml").write_bytes(b"<?xml version='1.0'?><postacert/>")
    (folder / "smime.p7s").write_bytes(b"\x30\x82\x01\x02")
    (folder / "postacert.eml").write_bytes(b"Subject: list\n\n")
    (folder / "list.gpg.sha256").write_bytes(b"0" * 64)
    (folder / "list.asc").write_bytes(b"-----BEGIN PGP SIGNATURE-----\n")
    (folder / "other.gpg").write_bytes(b"\x85for somebody else")
    (folder / "mine.gpg").write_bytes(b"\x85sealed# serial=99 issued=1795608000 list=another\n")
    (folder / "half.gpg").write_bytes(b"\x85sealed# seri")
    facts = fetched(request_of)
    assert facts.custom.serial == 7
    assert facts.passed_over == Detail(code=Code.PASSED_OVER, at=Place.FOLDER, numbers=(8, 5, 3, 0))
    drop(folder, "half.gpg", 8)
    facts = fetched(request_of)
    assert facts.custom.serial == 8, "half a file that is whole now"
    assert facts.passed_over is not None
    assert facts.passed_over.numbers == (7, 5, 2, 0)


def test_looking_ends_at_the_list_that_is_known(
    request_of: FetchRequest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[bytes] = []
    real = StandIn.opened

    def noted(self: StandIn, data: bytes, pinned: frozenset[str]) -> bytes:
        opened.append(data)
        return real(self, data, pinned)

    monkeypatch.setattr(StandIn, "opened", noted)
    for serial in range(1, 7):
        drop(folder, f"old{serial}.gpg", serial)
    (folder / "z.gpg").write_bytes((folder / "list.gpg").read_bytes())
    (folder / "list.gpg").unlink()
    known = replace(request_of, serial=7, digest=hashlib.sha256(LIST).hexdigest())
    assert fetched(known).custom.serial == 7
    assert len(opened) == 1
    assert fetched(request_of).custom.serial == 7
    assert len(opened) == 8


def test_of_one_serial_the_latest_file_counts(request_of: FetchRequest, folder: Path) -> None:
    """It is then refused as `serial_reused`: two lists under one serial have to be told."""
    path = drop(folder, "z.gpg", 7)
    known = replace(request_of, serial=7, digest=hashlib.sha256(LIST).hexdigest())
    assert fetched(known).digest == hashlib.sha256(path.read_bytes().removeprefix(SEAL)).hexdigest()


def test_a_folder_without_a_list(request_of: FetchRequest, folder: Path) -> None:
    (folder / "list.gpg").unlink()
    assert failing(request_of) == Reason.UNREACHABLE
    (folder / "daticert.xml").write_bytes(b"<?xml version='1.0'?>")
    assert failing(request_of) == Reason.MALFORMED
    (folder / "other.gpg").write_bytes(b"\x85for somebody else")
    assert failing(request_of) == Reason.NOT_ENCRYPTED, "the latest OpenPGP message says why"
    drop(folder, "other.gpg", 8).write_bytes(b"\x85sealed# serial=8 issued=1795608000 list=another\n")
    assert failing(request_of) == Reason.WRONG_LIST
