"""Rules of several lists, looked up as a zone is, give the verdict of each list's own entries."""

import random
from array import array
from collections.abc import Collection, Mapping, Sequence

import pytest

from resolver.core.codes import BLOCK_BELOW, BLOCK_SELF, EXCEPT_BELOW, EXCEPT_SELF, SET_ASIDE
from resolver.feed.names import export_rules
from resolver.feed.names.export_rules import PASS
from resolver.feed.names.export_zone import wire_of

WHOLE, SPARED = BLOCK_SELF | BLOCK_BELOW, EXCEPT_SELF | EXCEPT_BELOW
Text = Mapping[str, int]


def wired(one: Text) -> dict[bytes, int]:
    return {wire_of(name)[:-1]: bits for name, bits in one.items()}


def rules(*lists: Text, released: Collection[str] = ()) -> dict[bytes, export_rules.Rule]:
    return export_rules.rules([wired(one) for one in lists], [wire_of(name)[:-1] for name in released])


def said_by(one: Text, name: str) -> tuple[int, bool]:
    """What a list says of a name by its definition: the length of the entry that decides, and whether it blocks."""
    labels = name.split(".")
    for at in range(len(labels)):
        entry = ".".join(labels[at:])
        bits = one.get(entry, 0)
        service = at == 2 and labels[1] == "_https" and bits & (BLOCK_SELF | EXCEPT_SELF)
        spare, block = (EXCEPT_SELF, BLOCK_SELF) if at == 0 or service else (EXCEPT_BELOW, BLOCK_BELOW)
        if bits & (spare | block):
            return len(entry), not bits & spare
    return 0, False


def expected(lists: Sequence[Text], released: Collection[str], name: str) -> int:
    if any(name == one or name.endswith(f".{one}") for one in released):
        return PASS
    verdicts = [said_by(one, name) for one in lists]
    blocking = [(-size, index) for index, (size, blocks) in enumerate(verdicts) if blocks]
    return min(blocking)[1] if blocking else PASS


def looked_up(found: Mapping[bytes, export_rules.Rule], name: str) -> int:
    """As RFC 4592 has it for a zone with a record for each rule that is said, empty names included."""
    said: dict[bytes, int] = {}
    for owner, rule in found.items():
        if rule.own != PASS or rule.covered:
            said[owner] = rule.own
        if rule.below != PASS or rule.covered:
            said[b"\x01*" + owner] = rule.below
    there: set[bytes] = {b""}
    for owner in said:
        while owner:
            there.add(owner)
            owner = export_rules.parent(owner)
    wire = wire_of(name)[:-1]
    if wire in there:
        return said.get(wire, PASS)
    while wire not in there:
        wire = export_rules.parent(wire)
    return said.get(b"\x01*" + wire, PASS)


NAMES = ["a.test", "b.a.test", "c.b.a.test", "d.c.b.a.test", "e.test", "x.d.c.b.a.test", "b.e.test"]
ASKED = [*NAMES, *(f"{more}.{name}" for name in NAMES for more in ("x", "b", "y.x", "_8080._https"))]
SCOPES = (0, 0, *range(1, 16))


@pytest.mark.parametrize("seed", range(40))
def test_any_lists_give_the_same_verdict_through_a_zone(seed: int) -> None:
    draw = random.Random(seed)
    lists = [{name: bits for name in NAMES if (bits := draw.choice(SCOPES))} for _ in range(draw.randint(1, 3))]
    released = draw.sample(NAMES, draw.choice([0, 0, 1]))
    found = rules(*lists, released=released)
    for name in ASKED:
        assert looked_up(found, name) == expected(lists, released, name), (name, lists, released)


def test_an_empty_name_below_a_wildcard_does_not_end_it() -> None:
    found = rules({"bad.test": WHOLE, "d.c.bad.test": BLOCK_SELF})
    assert looked_up(found, "c.bad.test") == looked_up(found, "y.c.bad.test") == looked_up(found, "z.d.c.bad.test") == 0


def test_an_exception_of_one_list_leaves_the_others() -> None:
    first, second = {"bad.test": WHOLE, "ok.bad.test": SPARED}, {"ok.bad.test": BLOCK_SELF}
    found = rules(first, second)
    assert [looked_up(found, name) for name in ("bad.test", "ok.bad.test", "x.ok.bad.test")] == [0, 1, PASS]


def test_names_below_which_another_rule_stands_are_found() -> None:
    assert export_rules.spoiled(rules({"bad.test": WHOLE, "worse.test": WHOLE, "ok.bad.test": SPARED})) == {
        wire_of(name)[:-1] for name in ("bad.test", "test")
    }


def test_lines_set_aside_block_nothing_and_their_exceptions_stay() -> None:
    names = wire_of("a.test") + wire_of("b.test") + wire_of("a.test")
    flags = memoryview(array("H", [WHOLE | SET_ASIDE, WHOLE, EXCEPT_BELOW]))
    numbers = memoryview(array("I", [3, 4, 5]))
    assert export_rules.entries_of(names, flags, numbers, (3, 5)) == wired({"a.test": EXCEPT_BELOW, "b.test": WHOLE})
    # A second line of a name: its slot, and so the service, knows the first alone.
    again, both = wire_of("a.test") * 2, memoryview(array("H", [BLOCK_SELF | SET_ASIDE, BLOCK_BELOW | SET_ASIDE]))
    assert export_rules.entries_of(again, both, memoryview(array("I", [3, 4])), (3,)) == {}
    with pytest.raises(ValueError, match="differ"):
        export_rules.entries_of(names + b"\x01x\x00", flags, numbers, ())
