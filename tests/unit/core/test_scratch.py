"""What calls with one Scratch write down, calls with another leave: the tables hold nothing of a single call."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.parity import wires
from tests.unit.core.generations import query, question

Core = Callable[[str], ModuleType]
KEY = bytes(range(16))
ONE, OTHER = (bytes(10) + b"\xff\xff\xc0\0\2" + bytes([last]) for last in (1, 2))


@pytest.fixture
def two(core: Core) -> tuple[Any, Any]:
    return core("scratch").Scratch(), core("scratch").Scratch()


def test_the_client_that_was_admitted_stays(core: Core, two: tuple[Any, Any]) -> None:
    mine, yours = two
    nothing, admit = (b"",) * 16, core("admit")
    memory = bytearray(admit.WAYS * admit.BUCKET_OCTETS)
    access = admit.Access(bytes(16) + b"\xff" * 16, b"", nothing, nothing, rate=5, memory=memory, key=KEY)
    assert admit.admit(access, ONE, 0, 0, mine) == 0
    kept = bytes(mine.prefix), bytes(mine.who)
    assert kept[0] == ONE
    assert admit.admit(access, OTHER, 0, 0, yours) == 0
    assert (bytes(mine.prefix), bytes(mine.who)) == kept
    assert bytes(yours.who) != kept[1]


def test_the_question_that_was_asked_about_stays(core: Core, two: tuple[Any, Any]) -> None:
    mine, yours = two
    store, found = core("store").Store(bytearray(16384), KEY), core("store").Kept()
    for name in ("a.test", "b.test"):
        core("store").set_key(store, question(core, query(name)), 0, mine)
        assert core("store").keep(store, *mine.key, 1000, wires.to_keep(core, bytes(20), ttl_s=60)) == 1
    core("store").set_key(store, question(core, query("a.test")), 0, mine)
    core("store").set_key(store, question(core, query("c.test")), 0, yours)
    assert core("store").peek(store, *mine.key, 1000, found) == core("store").FRESH
    assert core("store").peek(store, *yours.key, 1000, found) == core("store").NOTHING


def test_no_table_has_an_attribute_for_a_single_call(core: Core) -> None:
    """A digest or a text that a table keeps is what the next thread overwrites."""
    shared = core("admit").Access, core("tally").Tally, core("store").Store
    mine = core("scratch").Scratch()
    for name in ("prefix", "who", "text", "words", "capped", "out"):
        assert hasattr(mine, name)
        assert not any(hasattr(one, name) for one in shared)
