"""A list that verified and is refused: its serial, its dates and this host's clock are named."""

from typing import Any

import pytest
from msgspec.structs import replace

from resolver.config.lists import List, Source
from resolver.feed import detail_text, refusal_details, state
from resolver.feed.reasons import Reason
from resolver.feed.state import Floor, State
from tests.unit.feed.fetch.test_child import FACTS
from tests.unit.feed.test_state import record

ONE = List(id="demo", source=Source(kind="tuf", url="https://authority.example/demo", root="/r"))
NOW = 1_800_000_000
KEYS = {"targets_keys": "keys", "pinned": "pin", "root_version": 2}
FLOOR = Floor(record=replace(record(7), issued=NOW - 100, **KEYS))


def told(minimum: int = 0, now: float = NOW, **facts: Any) -> str:
    """Which reason a list is refused for, and with which words."""
    custom = {"serial": 8, "issued": NOW - 50, **facts.pop("custom", {})}
    found = replace(FACTS, custom=replace(FACTS.custom, **custom), **{**KEYS, **facts})
    known = State(quarantined=((9, "f" * 64),))
    reason = state.refusal(found, known, FLOOR, list_id="demo", minimum=minimum, now=now)
    assert reason is not None
    detail = refusal_details.of(reason, found, known, FLOOR, minimum=minimum, now=now)
    return f"{reason.value}: {detail_text.text(detail, ONE)}"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"custom": {"list": "other"}}, "wrong_list: the signed facts name another list than the configuration"),
        ({"now": NOW - 3650}, "clock_behind: its date is 1 h 0 min ahead of this host's clock"),
        ({"digest": "f" * 64}, "quarantined: serial 8 holds a list that was taken out here"),
        ({"minimum": 9}, "rolled_back: serial 8 is below source.minimum_serial, 9"),
        ({"custom": {"serial": 6}}, "rolled_back: serial 6 is lower than 7, the highest accepted"),
        (
            {"root_version": 1},
            "rolled_back: https://authority.example/demo/metadata/root.json has version 1, lower than 2, seen before",
        ),
        (
            {"custom": {"issued": NOW - 200}},
            "rolled_back: serial 8 was issued on 2027-01-15T07:56:40Z, before 2027-01-15T07:58:20Z, "
            "the date of the list that was accepted last",
        ),
        ({"custom": {"serial": 7}}, "serial_reused: serial 7 was accepted before, with another content"),
    ],
)
def test_a_refusal_says_by_which_numbers(facts: dict[str, Any], said: str) -> None:
    assert told(**facts) == said


def test_a_reason_of_another_kind_has_nothing_to_add() -> None:
    assert refusal_details.of(Reason.SELFTEST, FACTS, State(), None, minimum=0, now=NOW) is None
