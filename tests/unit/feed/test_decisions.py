"""What waits for persons: decisions that may be signed, with who has signed."""

from msgspec.structs import replace

from resolver.feed import decisions
from resolver.feed.state import Approval, Held, State
from tests.unit.feed.test_state import record

SEVEN, EIGHT = record(7, "7", set_aside={"popular": 2}), record(8, "8")
ALL = State(in_force=SEVEN, previous=record(6, "6"), held=Held(record=EIGHT, reasons=("growth",), since=1))
NOW = 1000.0


def signed(action: str, by: str, serial: int, digest: str, expiry: int = 2000) -> Approval:
    return Approval(
        action=action, serial=serial, digest=digest * 64, principal=by, key=f"SHA256:{by}", at=1, expiry=expiry
    )


def told(state: State) -> list[tuple[str, int, tuple[str, ...], int]]:
    return [(one.action.value, one.about.serial, one.signed, one.missing) for one in decisions.decisions(state, NOW)]


def test_every_decision_is_told_with_who_has_signed() -> None:
    assert told(State()) == []
    approvals = (signed("approve", "anna", 8, "8"), signed("resume", "ben", 7, "7", expiry=999))
    assert told(replace(ALL, approvals=approvals)) == [
        ("approve", 8, ("anna",), 1),
        ("approve-set-aside", 7, (), 2),
    ]


def test_one_may_go_back_and_only_then_it_waits() -> None:
    gone = State(in_force=SEVEN, gone_back_to=SEVEN.identity, approvals=(signed("rollback", "anna", 7, "9"),))
    assert told(gone)[-1] == ("rollback", 7, ("anna",), 1)
    assert not any(action == "rollback" for action, *_ in told(ALL))
