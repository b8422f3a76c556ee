"""Names to one sealed image, in this process and as the process it is."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from resolver.core import image, siphash
from resolver.core.codes import NEW
from resolver.feed import processes, seal
from resolver.feed.messages import Compiled, CompileRequest
from resolver.feed.names import compile as compiling
from resolver.feed.names import read
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed
from tests.fakes.enforcer import wire

pytestmark = pytest.mark.processes

KEYS = seal.Keys(b"d" * 16, b"s" * 32)
CANARY = b"canary-3141"
NAMED = {"b.test": 2, "a.test": 4, "c.b.test": 5, "d.test": 8}


def request(
    list_fd: int = -1, output: int = -1, *, keys: int = -1, previous: int = -1, **changes: int
) -> CompileRequest:
    values = {
        "serial": 7,
        "issued": 1000,
        "expires": 0,
        "generation": 3,
        "max_entries": 100,
        "memory_bytes": 2**31,
    }
    return CompileRequest(
        parent=os.getpid(),
        list_fd=list_fd,
        output=output,
        keys=keys,
        previous=previous,
        list_id="demo",
        demonstration=True,
        **{**values, **changes},
    )


def bits(view: memoryview, name: str) -> int:
    return image.find(view, *siphash.digest_of(KEYS.digest, wire(name)))


def made_of(data: bytes, **changes: int) -> tuple[Compiled, bytearray, bytearray]:
    """Counts, image and lines of a list."""
    asked = request(**changes)
    return compiling.compiled(asked, compiling.entries_of(asked, data, read.suffixes()), KEYS)


def test_an_image_says_what_it_is_of() -> None:
    counts, made, line_of = made_of(b"a.test\n=b.test\na.test\nco.uk\n")
    header = image.header(image.view(made))
    assert (header.list_id, header.serial, header.issued, header.generation) == ("demo", 7, 1000, 3)
    assert counts.entries == header.entries == 2
    assert counts.refused == {"icann_suffix": 1}
    assert line_of == b""
    assert bits(image.view(made), "a.test")
    assert bits(image.view(made), header.selftest.decode() + ".selftest.invalid")


def test_the_line_of_each_entry_is_told() -> None:
    data = b"# one\nb.test\n\n=a.test\r\n!c.b.test\nb.test\nco.uk\nd.test.\n"
    _, made, line_of = made_of(data, lines=1)
    view, lines = image.view(made), memoryview(line_of).cast("I")
    slots = {name: image.slot_of(view, *siphash.digest_of(KEYS.digest, wire(name))) for name in NAMED}
    assert {name: lines[slot] for name, slot in slots.items()} == NAMED
    assert sum(lines) == sum(NAMED.values())


def test_two_images_never_have_the_same_synthetic_name() -> None:
    made = [made_of(b"a.test")[1] for _ in range(2)]
    assert len({bytes(image.header(image.view(one)).selftest) for one in made}) == 2


@pytest.mark.parametrize(
    ("data", "reason"), [(b"#", "empty"), (b"\xff", "not_utf8"), (b"a.test\n" * 101, "too_many_entries")]
)
def test_a_list_refused_whole(data: bytes, reason: str) -> None:
    with pytest.raises(Failed) as error:
        made_of(data)
    assert error.value.reason == reason


async def run(data: bytes, output: Path, previous: int = -1, **changes: int) -> bytes:
    handle, keys = processes.memory_file("list", data), processes.memory_file("keys", KEYS.digest + KEYS.seal)
    written = os.open(output, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        await processes.compile_list(request(handle, written, keys=keys, previous=previous, **changes), 30)
    finally:
        for descriptor in (handle, keys, written):
            os.close(descriptor)
    return await asyncio.to_thread(output.read_bytes)


@pytest.mark.asyncio
async def test_the_process_writes_a_sealed_image_and_marks_what_is_new(tmp_path: Path) -> None:
    old = await run(b"a.test\n", tmp_path / "old")
    assert not bits(image.view(seal.unseal(old, KEYS.seal)), "a.test") & NEW
    previous = os.open(tmp_path / "old", os.O_RDONLY)
    new = image.view(seal.unseal(await run(b"a.test\nb.test\n", tmp_path / "new", previous), KEYS.seal))
    os.close(previous)
    assert not bits(new, "a.test") & NEW
    assert bits(new, "b.test") & NEW


@pytest.mark.asyncio
async def test_a_previous_image_that_is_not_ours_marks_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"x" * 500)
    previous = os.open(tmp_path / "old", os.O_RDONLY)
    new = image.view(seal.unseal(await run(b"b.test\n", tmp_path / "new", previous), KEYS.seal))
    os.close(previous)
    assert bits(new, "b.test")
    assert not bits(new, "b.test") & NEW


@pytest.mark.asyncio
async def test_names_of_every_script_are_read_where_nothing_can_be_opened(tmp_path: Path) -> None:
    lines = ("\u0628\u0627.test", "a\u200d\u0bcd.test", "\u4f8b\u3048.test", "\U0001f4a9.test", "fa\u00df.test")
    data = "\n".join(lines).encode()
    found = read.read(data, read.suffixes(), demonstration=True, max_entries=9)
    made = image.view(seal.unseal(await run(data, tmp_path / "out"), KEYS.seal))
    assert image.header(made).entries == found.lines >= 3


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("data", "changes", "reason"),
    [
        (b"", {}, Reason.EMPTY),
        (b"\xff" + CANARY, {}, Reason.NOT_UTF8),
        (b"a.test\n" * 101, {}, Reason.TOO_MANY_ENTRIES),
        (CANARY + b".test\n", {"serial": -1}, Reason.INTERNAL),
        (
            (CANARY + b".test\n") * 4_000_000,
            {"memory_bytes": 180 * 2**20, "max_entries": 10**9},
            Reason.OUT_OF_MEMORY,
        ),
    ],
)
async def test_a_failure_is_a_reason(
    data: bytes, changes: dict[str, int], reason: Reason, tmp_path: Path
) -> None:
    with pytest.raises(processes.UpdateFailed) as error:
        await run(data, tmp_path / "out", **changes)
    assert error.value.reason is reason


def test_nothing_but_a_reason_leaves_a_process_that_fails(tmp_path: Path) -> None:
    """An error in the middle of a list: no traceback, no name, on stdout or stderr."""
    code = f"""
import os, sys
from resolver.feed.names import compile as compiling, read
from resolver.feed import sandbox
def read_(*a, **k): raise ValueError({CANARY.decode()!r})
read.read = read_
sys.exit(sandbox.run(compiling.work))
"""
    handle, keys = (
        processes.memory_file("list", CANARY + b".test"),
        processes.memory_file("keys", KEYS.digest + KEYS.seal),
    )
    asked = msgspec.json.encode(request(handle, 1, keys=keys)) + b"\n"
    ended = subprocess.run(
        [sys.executable, "-c", code], input=asked, capture_output=True, pass_fds=(handle, keys), check=False
    )
    os.close(handle)
    os.close(keys)
    assert ended.returncode == 1
    assert ended.stdout == b'{"failed": "internal"}\n'
    assert ended.stderr == b""


@pytest.mark.parametrize(
    ("depths", "rare"),
    [
        ({2: 5, 3: 1}, ()),
        ({2: 1000, 6: 9, 7: 10, 60: 1, 127: 2}, (6, 60, 127)),
        ({2: 100, 6: 1, 7: 2}, (6,)),
        ({6: 3, 7: 3}, ()),
        ({}, ()),
    ],
)
def test_numbers_of_labels_that_few_names_have_are_told(depths: dict[int, int], rare: tuple[int, ...]) -> None:
    names = b"".join((b"\1a" * depth + b"\0") * count for depth, count in depths.items())
    assert compiling.rare_depths(names) == rare


def test_a_list_with_odd_lines_is_compiled_and_says_so() -> None:
    lines = "".join(f"n{number}.test\n" for number in range(500))
    odd = "".join("a." * depth + "odd.test\n" for depth in (6, 20, 50))
    assert made_of((lines + odd).encode(), max_entries=1000)[0].rare_depths == (8, 22, 52)
    assert made_of(lines.encode(), max_entries=1000)[0].rare_depths == ()


@pytest.mark.parametrize(
    ("data", "form", "said"),
    [
        (
            b"0.0.0.0 canary.test\n" * 150,
            "plain",
            {"reason": "empty", "refused": {"several_words": 150}, "shape": "hosts"},
        ),
        (b"a.test\ncanary.test\xff\n", "plain", {"reason": "not_utf8", "line": 2, "shape": "latin1"}),
        (b"\x1f\x8b\xff", "csv", {"reason": "not_utf8", "line": 1, "shape": "gzip", "read_as": "csv"}),
        (b"!canary.test\n", "plain", {"reason": "empty", "exceptions": True}),
        (b"canary.test CNAME .\n", "master", {"reason": "malformed", "line": 1, "shape": "plain", "read_as": "rpz"}),
        (b"?trigger\n", "rpz", {"reason": "empty", "refused": {"trigger": 1}, "read_as": "rpz"}),
    ],
)
def test_a_list_that_cannot_be_used_is_described_by_numbers_and_words_of_ours(
    data: bytes, form: str, said: dict[str, object]
) -> None:
    with pytest.raises(Failed) as error:
        compiling.entries_of(request(format=form), data, read.suffixes())
    detail = error.value.detail
    assert detail is not None
    told = msgspec.to_builtins(detail)["unusable"]
    numbers = told.pop("refused_lines", {})
    assert all(len(each) <= 100 for each in numbers.values())
    assert told == said or {**told, "shape": None} == {**said, "shape": None}
    assert b"canary" not in msgspec.json.encode(detail)


def test_the_serial_of_a_master_file_is_that_of_the_signature() -> None:
    zone = b"@ SOA ns. mail. 7 1 1 1 1\na.test CNAME .\n"
    assert compiling.entries_of(request(format="master", serial=2**32 + 7), zone, read.suffixes()).lines == 1
    with pytest.raises(Failed) as error:
        compiling.entries_of(request(format="master", serial=8), zone, read.suffixes())
    assert error.value.reason == "malformed"
    assert error.value.detail is not None
    assert error.value.detail.numbers == (7, 8)
