"""The fetch process of OpenPGP files, with GnuPG stood in for; tests/peers/test_gpg.py has the real one."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.feed import processes
from resolver.feed.fetch import openpgp as source_openpgp
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed

NOW = 1795608000.0
"""2026-11-25T12:00:00Z"""
LIST = b"# serial=7 issued=2026-11-25T06:00:00Z\na.test\n"


class StandIn:
    """Opens a file by taking the word `sealed` off its front."""

    keys = frozenset(("A" * 40,))

    def __init__(self, home: str, most: int, rest: Callable[[], float]) -> None:
        assert rest() > 0

    def pinned(self, keys: bytes) -> frozenset[str]:
        return self.keys

    def opened(self, data: bytes, pinned: frozenset[str]) -> bytes:
        assert pinned == self.keys
        if not data.startswith(b"sealed"):
            raise Failed(Reason.NOT_ENCRYPTED)
        return data.removeprefix(b"sealed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "list.gpg").write_bytes(b"sealed" + LIST)
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
    (folder / "list.gpg").write_bytes(b"sealed7;2026-11-25T06:00:00Z\n;a.test;;\n")
    facts = fetched(replace(request_of, format="csv"))
    assert (facts.custom.serial, facts.custom.issued, facts.format) == (7, 1795586400, "csv")


def test_what_is_not_wanted_is_not_written(request_of: FetchRequest) -> None:
    assert not source_openpgp.fetch(request_of, lambda facts: False, lambda: NOW)
    assert os.fstat(request_of.output).st_size == 0


def test_a_withdrawal(request_of: FetchRequest, folder: Path) -> None:
    (folder / "list.gpg").write_bytes(b"sealed# serial=8 issued=1795608000 withdrawn\n")
    assert fetched(request_of).custom.withdrawn


@pytest.mark.parametrize(
    "text", [b"a.test\n", b"# serial=7\na.test\n", b"# issued=1795608000\na.test\n", b"7;1795608000\n", b""]
)
def test_a_list_that_does_not_say_enough(text: bytes, request_of: FetchRequest, folder: Path) -> None:
    (folder / "list.gpg").write_bytes(b"sealed" + text)
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


def test_one_file_is_named_or_the_newest_of_a_folder_counts(request_of: FetchRequest, folder: Path) -> None:
    def drop(name: str, serial: int, at: int) -> None:
        (folder / name).write_bytes(b"sealed# serial=%d issued=1795608000\n" % serial)
        os.utime(folder / name, (at, at))

    drop("list.gpg", 1, 100)
    drop("b.gpg", 3, 200)
    drop("a.gpg", 2, 200)
    drop("half.part", 4, 300)
    drop("half.tmp", 5, 300)
    drop(".hidden", 6, 300)
    (folder / "sub").mkdir()
    os.utime(folder / "sub", (300, 300))
    (folder / "link").symlink_to(folder / "half.part")
    assert fetched(request_of).custom.serial == 3
    assert fetched(replace(request_of, url=(folder / "list.gpg").as_uri())).custom.serial == 1
