"""What the service enforces: every row of the table of transitions, that there is no other, and what a value says."""

import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from resolver.feed import enforced, receipt
from resolver.feed.enforced import Enforced, Impossible, InForce, Lifted, Nothing, Stage
from resolver.feed.state import Record

OF = (7, "a" * 64)
OTHER = (8, "b" * 64)
VIEW = memoryview(b"an image")


def in_force(stage: Stage = Stage.DUE, identity: tuple[int, str] = OF, number: int = 3, **more: Any) -> InForce:
    said = {"approved": False, **more}
    tested = receipt.Tested(digests=4, unlisted=1000)
    return InForce(number=number, identity=identity, view=VIEW, tested=tested, proof=stage, **said)


def record(serial: int = 7, **more: Any) -> Record:
    said: dict[str, Any] = {
        "serial": serial,
        "digest": "a" * 64,
        "issued": 1,
        "expires": None,
        "withdrawn": False,
        "announced": None,
        "entries": 3,
        "refused": {},
        "refused_lines": {},
        "image": "3.image",
        "generation": 3,
        "digest_key": "key",
        "demonstration": True,
        "targets_keys": "keys",
    }
    return Record(**{**said, **more})


# The columns of the table, in its order.
VALUES: dict[str, Enforced] = {
    "nothing": Nothing(),
    "lifted": Lifted(number=3),
    "lifted,proved": Lifted(number=3, proof=Stage.PROVED),
    **{stage.value: in_force(stage) for stage in Stage},
}

# The rows: how each event is brought about, for a list that is another than the one in force.
EVENTS: dict[str, Callable[[Enforced], Enforced]] = {
    "put_in_force": lambda now: enforced.put_in_force(now, in_force(identity=OTHER, number=4)),
    "restore": lambda now: enforced.restore(now, in_force(identity=OTHER, number=4)),
    "lift": lambda now: enforced.lift(now, 4),
    "take_out": enforced.take_out,
    "keep_receipt": enforced.keep_receipt,
    "ask_again": lambda now: enforced.ask_again(now, 9.0),
    "answer_wrongly": enforced.answer_wrongly,
    "prove": enforced.prove,
}


def name_of(value: Enforced) -> str:
    """The column of a value."""
    match value:
        case Nothing():
            return "nothing"
        case Lifted():
            return "lifted" if value.proof is Stage.DUE else f"lifted,{value.proof}"
        case InForce():
            return value.proof.value


def table() -> dict[tuple[str, str], str]:
    """The table of the module's docstring: (row, column) to what follows."""
    text = enforced.__doc__ or ""
    rows = re.findall(rf"^    ({'|'.join(EVENTS)}) +(\S.*)$", text, re.MULTILINE)
    return {
        (event, column): cell for event, cells in rows for column, cell in zip(VALUES, cells.split(), strict=True)
    }


def test_the_table_is_whole() -> None:
    assert set(table()) == {(event, column) for event in EVENTS for column in VALUES}
    (head,) = re.findall(r"^ +nothing +due +proved +(.*)$", enforced.__doc__ or "", re.MULTILINE)
    assert head.split() == [stage.value for stage in Stage]


def test_every_transition_is_in_the_table_and_no_other() -> None:
    found = {}
    for event, bring in EVENTS.items():
        for column, value in VALUES.items():
            try:
                found[event, column] = name_of(bring(value))
            except Impossible:
                found[event, column] = "-"
    assert found == table()


def test_every_function_that_makes_a_value_is_a_row() -> None:
    own = [one for _, one in inspect.getmembers(enforced, inspect.isfunction) if one.__module__ == enforced.__name__]
    assert {one.__name__ for one in own if one.__annotations__["return"] is not bool} == set(EVENTS)


@pytest.mark.parametrize("stage", list(Stage))
def test_a_list_that_is_in_force_does_not_come_as_another(stage: Stage) -> None:
    with pytest.raises(Impossible):
        enforced.put_in_force(in_force(stage), in_force(number=4))
    assert enforced.restore(in_force(stage), in_force(number=4)) == in_force(number=4)


def test_a_receipt_that_is_found_at_a_start_lasts_until_the_list_is_another() -> None:
    found = enforced.keep_receipt(in_force())
    assert isinstance(found, InForce)
    assert enforced.prove(enforced.ask_again(found, 9.0)).receipted
    assert not enforced.lift(found, 3).receipted
    assert not enforced.restore(found, in_force(number=4)).receipted
    assert enforced.prove(enforced.keep_receipt(Lifted(number=3))).receipted


def test_a_value_is_never_changed() -> None:
    for event in EVENTS.values():
        for value in VALUES.values():
            before = replace(value)
            try:
                event(value)
            except Impossible:
                continue
            finally:
                assert value == before


@pytest.mark.parametrize(
    ("now", "said", "lifted", "agrees"),
    [
        (Nothing(), None, False, True),
        (Nothing(), record(), False, False),
        (Nothing(unusable=3), record(), False, True),
        (Nothing(unusable=2), record(), False, False),
        (Nothing(unusable=3), record(), True, False),
        (Lifted(number=3), None, False, False),
        (Lifted(number=3), record(), True, True),
        (Lifted(number=3), record(), False, False),
        (Lifted(number=2), record(), True, False),
        (in_force(), None, False, False),
        (in_force(), record(), False, True),
        (in_force(), record(), True, False),
        (in_force(number=2), record(), False, False),
        (in_force(), record(approved=True), False, False),
        (in_force(approved=True), record(approved=True), False, True),
        (in_force(Stage.WRONG), record(), False, True),
    ],
)
def test_the_service_agrees_with_the_state(
    now: Enforced, said: Record | None, lifted: bool, agrees: bool
) -> None:
    assert enforced.agrees(now, said, lifted=lifted) is agrees


def test_only_what_judges_queries_is_of_a_list() -> None:
    assert enforced.is_of(in_force(), OF)
    assert not enforced.is_of(in_force(), OTHER)
    assert not enforced.is_of(Lifted(number=3), OF)
    assert not enforced.is_of(Nothing(), OF)


def test_a_proof_waits_until_its_time() -> None:
    due = {name for name, value in VALUES.items() if enforced.waits(value, 5.0)}
    assert due == {"lifted", "fresh", "due", "silent"}
    silent = enforced.ask_again(in_force(), 9.0)
    assert [enforced.waits(silent, at) for at in (8.9, 9.0)] == [False, True]


def test_the_image_does_not_show() -> None:
    assert "image" not in repr(in_force())
    assert in_force() == replace(in_force(), view=memoryview(b"another"))
