"""A candidate is a record whose image is in the store; it says how it arrives."""

from resolver.feed.candidate import Candidate
from resolver.feed.state import State
from tests.unit.feed.test_state import record


def test_a_candidate_arrives_in_force_by_default() -> None:
    candidate = Candidate(record=record())
    assert candidate.arrive(State(), candidate.record).in_force == candidate.record
    assert candidate.reasons == ()
