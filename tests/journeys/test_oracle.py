"""What one client prefix can find out about a list in a day, by `journeys/oracle.py`."""

import pytest

from tests.journeys.oracle import ATTACKERS, HOURS, day

LISTED, BUDGET = 200, 5


@pytest.mark.parametrize(
    ("attacker", "budget", "names"),
    [
        (ATTACKERS[0], 0, LISTED),
        (ATTACKERS[0], BUDGET, BUDGET * HOURS),
        # REFUSED can be read: a budget does not hide that a name is listed, and the documents say so.
        (ATTACKERS[1], 0, LISTED),
        (ATTACKERS[1], BUDGET, LISTED),
        (ATTACKERS[2], 0, 0),
        (ATTACKERS[2], BUDGET, 0),
    ],
)
def test_names_learnt_in_a_day(attacker: str, budget: int, names: int) -> None:
    learnt = day(attacker, budget, LISTED)
    assert learnt.names == names
    assert (learnt.refused > 0) == (budget > 0 and attacker != ATTACKERS[2]), "the alarm"
    assert (learnt.attempts > 0) == (attacker != ATTACKERS[2])
