"""Forgetting what is kept for a name: all of it, nothing else, and a stretch at a time."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.parity import cases, wires
from tests.unit.core.generations import name, query, question, wire

Core = Callable[[str], ModuleType]
KEY = bytes(range(16))
NOW = 1000
STEPS = 10_000


class Kept:
    """A store of whole replies, asked by name."""

    def __init__(self, core: Core, octets: int = 2**16) -> None:
        self.core = core
        self.store = core("store").Store(bytearray(octets), KEY, 0)
        self.found = core("store").Kept()
        self.scratch = core("scratch").Scratch()

    def keep(self, text: str, *owners: str, kind: int = 0) -> None:
        """Keep a reply to `text` with one address for each owner."""
        packet = bytearray(query(text))
        for owner in owners:
            packet += wire(owner) + b"\0\1\0\1\0\0\1\0\0\4\xc6\x33\x64\7"
        packet[7] = len(owners)
        self.core("store").set_key(self.store, question(self.core, query(text)), 0, self.scratch)
        low, high = self.scratch.key
        made = wires.to_keep(self.core, bytes(packet), generation=1, rcode=0, kind=kind)
        assert self.core("store").keep(self.store, low, high, NOW, made)

    def holds(self, text: str) -> bool:
        """Tell whether there is an answer for this name."""
        self.core("store").set_key(self.store, question(self.core, query(text)), 0, self.scratch)
        return bool(self.core("store").peek(self.store, *self.scratch.key, NOW, self.found))

    def search(self, text: str, *, subtree: bool = False) -> Any:
        return self.core("flush").Search(name(self.core, wire(text)), subtree)

    def forget(self, text: str, *, subtree: bool = False, steps: int = STEPS) -> tuple[int, int]:
        """How many were forgotten, and in how many turns."""
        search, turns = self.search(text, subtree=subtree), 1
        while self.core("flush").forget(self.store, search, steps):
            turns += 1
        return search.forgotten, turns


@pytest.mark.parametrize(
    ("text", "subtree", "left"),
    [
        ("open.test", False, ["a.open.test", "xopen.test", "test", "alias.example"]),
        ("open.test", True, ["xopen.test", "test", "alias.example"]),
        ("OPEN.Test", True, ["xopen.test", "test", "alias.example"]),
        ("a.open.test", False, ["open.test", "xopen.test", "test", "alias.example"]),
        ("test", True, ["alias.example"]),
        ("", True, []),
        ("", False, ["open.test", "a.open.test", "xopen.test", "test", "alias.example"]),
        ("pen.test", True, ["open.test", "a.open.test", "xopen.test", "test", "alias.example"]),
    ],
)
def test_what_is_forgotten(core: Core, text: str, subtree: bool, left: list[str]) -> None:
    kept = Kept(core)
    names = ["open.test", "a.open.test", "xopen.test", "test", "alias.example"]
    for one in names:
        kept.keep(one, one)
    assert kept.forget(text, subtree=subtree)[0] == len(names) - len(left)
    assert [one for one in names if kept.holds(one)] == left
    assert kept.forget(text, subtree=subtree)[0] == 0


def test_what_an_alias_leads_to_goes_with_it(core: Core) -> None:
    kept = Kept(core)
    kept.keep("alias.example", "next.example", "deep.open.test")
    kept.keep("other.example", "other.example")
    assert kept.forget("open.test", subtree=True)[0] == 1
    assert not kept.holds("alias.example")
    assert kept.holds("other.example")


def test_what_was_kept_as_blocked_goes_and_is_not_counted(core: Core) -> None:
    kept = Kept(core)
    kept.keep("open.test", "open.test", kind=core("store").BLOCKED)
    kept.keep("a.open.test", "a.open.test")
    assert kept.forget("open.test", subtree=True)[0] == 1
    assert not kept.holds("open.test")


def test_an_answer_that_was_replaced_is_counted_once(core: Core) -> None:
    kept = Kept(core)
    for _ in range(3):
        kept.keep("open.test", "open.test")
    assert kept.forget("open.test")[0] == 1


def test_it_goes_on_where_it_was_and_is_done_while_the_ring_moves(core: Core) -> None:
    # So large that no set of its index gets more of them than it has slots.
    kept = Kept(core, 2**16)
    for number in range(60):
        kept.keep(f"n{number}.open.test", f"n{number}.open.test")
    assert kept.forget("open.test", subtree=True, steps=4)[0] == 60
    search, turns = kept.search("open.test", subtree=True), 0
    while core("flush").forget(kept.store, search, 4):
        kept.keep(f"m{turns}.example", f"m{turns}.example")
        turns += 1
        assert turns < 1000
    assert turns > 1


def test_both_builds_forget_the_same() -> None:
    def run(core: Core) -> tuple[object, ...]:
        kept = Kept(core, 2**14)
        for number in range(200):
            kept.keep(f"n{number % 50}.open.test", f"n{number % 7}.example")
        said = kept.forget("n3.example"), kept.forget("open.test", subtree=True)
        return *said, bytes(kept.store.ring)

    by_owner, by_question, _ = cases.both(run)
    assert by_owner[0] > 0
    assert by_question[0] > 0
