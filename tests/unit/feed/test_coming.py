"""A list on its way is made again if entries were suspended since it was made."""

import pytest

from resolver.feed.coming import Coming, Overtaken
from resolver.feed.state import State
from tests.unit.feed.test_state import record

QUIET, SUSPENDED = State(), State(suspended=True)


def test_a_list_is_overtaken_by_a_suspension_alone() -> None:
    for made_in, now in ((QUIET, QUIET), (SUSPENDED, SUSPENDED), (SUSPENDED, QUIET), (QUIET, State(generation=9))):
        Coming(record=record(), made_in=made_in).check(now)
    with pytest.raises(Overtaken):
        Coming(record=record(), made_in=QUIET).check(SUSPENDED)


def test_a_withdrawn_list_has_no_entries_that_could_count_again() -> None:
    Coming(record=record(withdrawn=True), made_in=QUIET).check(SUSPENDED)


def test_a_list_arrives_in_force_unless_it_is_said_otherwise() -> None:
    coming = Coming(record=record(), made_in=QUIET)
    assert coming.arrive(QUIET, coming.record).in_force == coming.record
    assert coming.reasons == ()
