"""The bounds of an edge belong together."""

from resolver.edge import bounds
from resolver.query.transport import MAX_STREAM_OCTETS


def test_what_one_connection_may_hold_is_a_small_part_of_what_all_may() -> None:
    of_one = 4 * bounds.UNSENT_OCTETS + bounds.BODY_OCTETS + bounds.OCTETS_UNPAID
    assert 32 * of_one < bounds.BUFFERED_OCTETS < bounds.MEMORY_OCTETS / 8


def test_any_dns_message_fits() -> None:
    assert bounds.BODY_OCTETS > MAX_STREAM_OCTETS
    assert bounds.UNSENT_OCTETS > MAX_STREAM_OCTETS
    assert bounds.OCTETS_UNPAID > bounds.BODY_OCTETS


def test_a_get_of_an_ordinary_query_fits_a_share_of_the_header_list() -> None:
    assert bounds.MOST_HEADER_OCTETS > 4 * (4 * 512 // 3)


def test_a_turn_has_shares_for_several_connections() -> None:
    assert bounds.QUERIES_A_TURN >= 4 * bounds.QUERIES_A_SHARE
    assert bounds.CREDIT > 2 * bounds.MOST_STREAMS
