"""What is held, by counts alone: at each limit and one beyond it."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as with_rules

from resolver.config.config import Guard
from resolver.feed.guard import Counts, Hold, holds

RULES = Guard(growth=0.2, shrink=0.2, expect_entries=(10, 100), refused=0.05)


def counts(
    entries: int, refused: int = 0, announced: int | None = None, *, withdrawn: bool = False
) -> Counts:
    return Counts(entries=entries, refused=refused, announced=announced, withdrawn=withdrawn)


@pytest.mark.parametrize(("entries", "held"), [(9, True), (10, False), (100, False), (101, True)])
def test_the_first_list(entries: int, held: bool) -> None:
    assert holds(counts(entries), None, RULES) == ((Hold.FIRST_SIZE,) if held else ())
    assert holds(counts(entries, announced=entries), None, RULES) == ((Hold.FIRST_SIZE,) if held else ())


@pytest.mark.parametrize(
    ("before", "entries", "reasons"),
    [
        (10_000, 12_000, ()),
        (10_000, 12_001, (Hold.GROWTH,)),
        (10_000, 8_000, ()),
        (10_000, 7_999, (Hold.SHRINK,)),
        (100, 600, ()),
        (100, 601, (Hold.GROWTH,)),
        (600, 100, ()),
        (601, 100, (Hold.SHRINK,)),
    ],
)
def test_growth_and_shrink(before: int, entries: int, reasons: tuple[Hold, ...]) -> None:
    assert holds(counts(entries), before, RULES) == reasons
    assert holds(counts(entries, announced=entries), before, RULES) == ()


def test_an_announced_number_allows_for_refused_lines_and_nothing_else() -> None:
    assert holds(counts(20_000, refused=5, announced=20_005), 10_000, RULES) == ()
    assert holds(counts(20_000, refused=5, announced=20_006), 10_000, RULES) == (Hold.GROWTH,)
    assert holds(counts(20_000, refused=5, announced=19_999), 10_000, RULES) == (Hold.GROWTH,)


@pytest.mark.parametrize(("refused", "held"), [(5, False), (6, True)])
def test_the_share_of_refused_lines(refused: int, held: bool) -> None:
    found = holds(counts(100 - refused, refused, announced=100), 95, RULES)
    assert found == ((Hold.REFUSED_SHARE,) if held else ())


@pytest.mark.parametrize(
    ("exceptions", "before", "reasons"),
    [
        (2_000, 0, ()),
        (2_001, 0, (Hold.SHRINK,)),
        (10_000, 0, (Hold.SHRINK,)),
        (0, 2_000, ()),
        (0, 2_001, (Hold.GROWTH,)),
        (9_000, 9_000, ()),
    ],
)
def test_names_that_become_exceptions_are_names_that_go(
    exceptions: int, before: int, reasons: tuple[Hold, ...]
) -> None:
    for announced in (None, 10_000):
        found = Counts(entries=10_000, refused=0, announced=announced, withdrawn=False, exceptions=exceptions)
        assert holds(found, 10_000, RULES, before) == reasons


@pytest.mark.parametrize(("added", "before", "held"), [(2_000, 0, False), (2_001, 0, True), (2_001, 1, False)])
def test_exceptions_that_are_added_are_no_growth_and_many_hold_the_list(added: int, before: int, held: bool) -> None:
    found = Counts(entries=10_000 + added, refused=0, announced=None, withdrawn=False, exceptions=added)
    assert holds(found, 10_000 + before, RULES, before) == ((Hold.EXCEPTIONS,) if held else ())
    announced = replace(found, announced=10_000 + added)
    assert bool(holds(announced, 10_000 + before, RULES, before)) is held


def test_exceptions_that_are_removed_hold_nothing_by_themselves() -> None:
    found = Counts(entries=10_000, refused=0, announced=None, withdrawn=False, exceptions=0)
    assert holds(found, 15_000, RULES, 5_000) == ()


@pytest.mark.parametrize(
    ("entries", "refused", "held"),
    [(2, 1, False), (4, 3, False), (3, 3, True), (40, 4, True), (1, 1, True), (0, 1, True), (80, 4, False)],
)
def test_one_odd_line_does_not_hold_a_list_of_three(entries: int, refused: int, held: bool) -> None:
    """The floor is a few lines, and ends where most lines are odd: then it is another format."""
    found = holds(counts(entries, refused), entries, RULES)
    assert found == ((Hold.REFUSED_SHARE,) if held else ())


def test_a_withdrawal_is_always_held() -> None:
    assert holds(counts(0, withdrawn=True), 10, RULES) == (Hold.WITHDRAWN,)
    emptied = Counts(entries=0, refused=0, announced=None, withdrawn=True, emptied=True)
    assert holds(emptied, 10, RULES) == holds(emptied, None, RULES) == (Hold.EMPTIED,)


@pytest.mark.parametrize(("on_entry", "held"), [("set-aside", ()), ("hold", (Hold.SET_ASIDE,))])
def test_one_line_set_aside(on_entry: str, held: tuple[Hold, ...]) -> None:
    rules = with_rules(RULES, on_entry=on_entry)
    found = Counts(entries=100, refused=0, announced=None, withdrawn=False, set_aside=1)
    assert holds(found, 100, rules) == held
    assert holds(counts(100), 100, rules) == ()
