"""A candidate is made again if entries were suspended since it was made."""

import pytest

from resolver.feed.candidate import Candidate, Overtaken
from resolver.feed.state import State
from tests.unit.feed.test_state import record

QUIET, SUSPENDED = State(), State(suspended=True)


def test_a_candidate_is_overtaken_by_a_suspension_alone() -> None:
    for made_in, now in ((QUIET, QUIET), (SUSPENDED, SUSPENDED), (SUSPENDED, QUIET), (QUIET, State(generation=9))):
        Candidate(record=record(), made_in=made_in).check(now)
    with pytest.raises(Overtaken):
        Candidate(record=record(), made_in=QUIET).check(SUSPENDED)


def test_a_withdrawn_list_has_no_entries_to_enforce_again() -> None:
    Candidate(record=record(withdrawn=True), made_in=QUIET).check(SUSPENDED)


def test_a_candidate_arrives_in_force_by_default() -> None:
    candidate = Candidate(record=record(), made_in=QUIET)
    assert candidate.arrive(QUIET, candidate.record).in_force == candidate.record
    assert candidate.reasons == ()
