"""What an edge counts of itself."""

import pytest

from resolver.core import codes
from resolver.edge.tallies import Tallies
from resolver.query import edge_frames


def test_a_report_has_what_was_counted() -> None:
    tallies = Tallies(3)
    tallies.expires = 1790000000
    for transport in (codes.DOT, codes.DOT, codes.DOH, codes.DOQ):
        tallies.opened(transport)
    tallies.closed(codes.DOT)
    tallies.handshakes += 4
    for reason in edge_frames.REFUSALS:
        tallies.refuse(reason)
    tallies.failed()
    said = edge_frames.as_report(tallies.frame()[5:])
    assert (said.number, said.expires, said.handshakes) == (3, 1790000000, 4)
    assert said.connections == {"dot": 1, "doh": 1, "doq": 1}
    assert said.refused == {**dict.fromkeys(edge_frames.REFUSALS, 1), "service": 2}
    assert tallies.connections == 3


def test_a_reason_of_no_report_is_found_where_it_is_counted() -> None:
    tallies = Tallies(1)
    tallies.refuse("192.0.2.1")
    with pytest.raises(ValueError, match="words that are none of ours"):
        tallies.frame()
