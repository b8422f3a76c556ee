"""The folder of plugins: what is read judges and answers as what was written, and one wrong octet makes it Damaged."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from resolver.core import codes
from resolver.core.admit import scope
from resolver.core.name import Name, unfold
from resolver.core.policy import Generation, Verdict, answer, decide
from resolver.core.question import Question, parse
from resolver.plugin import folder as plugin_folder
from resolver.plugin.folder import Damaged, Writer, read
from tests.unit.plugin.parts import KEY, tables
from tests.unit.query.parts import CLIENT, EXEMPT, octets_of

LISTS = (["bad.test", "=only.test", "!free.bad.test"], ["other.test"])
NAMES = ("bad.test", "www.bad.test", "free.bad.test", "only.test", "www.only.test", "other.test", "good.test", "test")


def said(generation: Generation, name: str, qtype: int = 1, lists: int = codes.ALL_LISTS) -> tuple[Any, ...]:
    """Verdict, entry and the octets of the answer."""
    unfolded, verdict, question = Name(), Verdict(), Question()
    wire = octets_of(name)
    assert unfold(wire, 0, len(wire), unfolded)
    result = decide(generation, unfolded, lists, verdict, qtype)
    packet = b"\1\2\1\0\0\1" + bytes(5) + b"\1" + wire + qtype.to_bytes(2) + b"\0\1\0\0\x29\x04\xd0" + bytes(6)
    assert parse(packet, len(packet), question) == codes.WELL_FORMED
    out = memoryview(bytearray(1232))
    length = answer(generation, verdict, out, packet, question, 1232) if result == codes.BLOCK else 0
    return result, verdict.slot, verdict.bits, verdict.low, verdict.high, bytes(out[:length])


@pytest.mark.parametrize("kind", ["page", "nodata", "nxdomain"])
@pytest.mark.parametrize("released", [(), (["!www.bad.test"],)])
def test_what_is_read_judges_and_answers_as_what_was_written(
    kind: Any, released: Sequence[Sequence[str]], tmp_path: Path
) -> None:
    written = tables(LISTS, 7, answer=kind, released=released)
    Writer(tmp_path, KEY).write(written)
    policy = read(tmp_path, KEY, {})
    assert (policy.number, policy.complete) == (7, True)
    results = set()
    for name in NAMES:
        for qtype in (1, 28, 16, 43, 65):
            expected = said(written.generation, name, qtype)
            assert said(policy.generation, name, qtype) == expected
            results.add(expected[0])
    assert results == {codes.PASS, codes.BLOCK}


def test_scopes_are_those_of_the_lists(tmp_path: Path) -> None:
    Writer(tmp_path, KEY).write(tables(LISTS, exempt={0: "192.0.2.99/32"}))
    policy = read(tmp_path, KEY, {})
    assert scope(policy.access, CLIENT) == codes.ALL_LISTS
    assert scope(policy.access, EXEMPT) == codes.ALL_LISTS & ~1
    assert said(policy.generation, "bad.test", lists=scope(policy.access, EXEMPT))[0] == codes.PASS


def test_a_policy_that_is_not_complete_says_so(tmp_path: Path) -> None:
    Writer(tmp_path, KEY).write(tables(LISTS, complete=False))
    assert not read(tmp_path, KEY, {}).complete


def test_one_octet_that_differs_makes_a_policy_damaged(tmp_path: Path) -> None:
    Writer(tmp_path, KEY).write(tables(LISTS))
    draw = random.Random(7)
    files = [tmp_path / plugin_folder.POLICY, *tmp_path.glob("*.image")]
    assert len(files) == 3
    for path in files:
        whole = path.read_bytes()
        for at in (0, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(40))):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :])
            with pytest.raises(Damaged):
                read(tmp_path, KEY, {})
        for size in (0, 8, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:size])
            with pytest.raises(Damaged):
                read(tmp_path, KEY, {})
        path.unlink()
        with pytest.raises(Damaged):
            read(tmp_path, KEY, {})
        path.write_bytes(whole)
    assert read(tmp_path, KEY, {}).number == 1


def test_another_key_reads_nothing(tmp_path: Path) -> None:
    Writer(tmp_path, KEY).write(tables(LISTS))
    with pytest.raises(Damaged, match="seal"):
        read(tmp_path, bytes(16), {})


def test_images_that_are_known_are_not_read_again_and_old_ones_go(tmp_path: Path) -> None:
    writer = Writer(tmp_path, KEY)
    writer.write(tables(LISTS, 1))
    first = read(tmp_path, KEY, {})
    for path in tmp_path.glob("*.image"):
        path.write_bytes(b"")
    again = read(tmp_path, KEY, first.images)
    assert [id(view) for view in again.images.values()] == [id(view) for view in first.images.values()]
    before = set(tmp_path.glob("*.image"))
    writer.write(tables((["new.test"],), 2))
    assert before < set(tmp_path.glob("*.image")), "a plugin may still read those of the policy before"
    writer.write(tables((["newer.test"],), 3))
    assert not before & set(tmp_path.glob("*.image"))


@pytest.mark.parametrize("damage", ["a bit", "cut short", "unreadable"])
def test_a_damaged_image_is_written_again_with_the_next_policy(damage: str, tmp_path: Path) -> None:
    writer, one = Writer(tmp_path, KEY), tables((["bad.test"],), 1)
    writer.write(one)
    (path,) = tmp_path.glob("*.image")
    whole = path.read_bytes()
    if damage == "unreadable":
        path.unlink()
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.write_bytes(whole[:-1] if damage == "cut short" else whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(Damaged, match="image"):
        read(tmp_path, KEY, {})
    writer.write(one)
    assert path.read_bytes() == whole
    inode = path.stat().st_ino
    writer.write(one)
    assert path.stat().st_ino == inode, "what is whole is left as it is"
    assert read(tmp_path, KEY, {}).number == 1


def test_nobody_else_reads_it_and_no_name_is_in_it(tmp_path: Path) -> None:
    Writer(tmp_path, KEY).write(tables((["canary-of-a-list.test"],)))
    written = list(tmp_path.iterdir())
    assert written
    for path in written:
        assert path.stat().st_mode & 0o777 == plugin_folder.FILE_MODE
        assert b"canary" not in path.read_bytes()
        assert KEY not in path.read_bytes()
