"""The length of a query says nothing but its block."""

import dns.message
import pytest

from resolver.courier.padding import BLOCK, padded
from resolver.query.forward_exchange import without_opt
from tests.unit.courier.sealing import query


@pytest.mark.parametrize("length", [1, 40, 58, 59, 60, 61, 62, 63])
def test_a_query_fills_its_blocks_and_stays_what_it_was(length: int) -> None:
    for labels in range(1, 4):
        before = query(".".join(["a" * length] * labels))
        after = padded(before)
        assert len(after) % BLOCK == 0
        assert 0 < len(after) - len(before) < BLOCK + 4
        one, other = dns.message.from_wire(before), dns.message.from_wire(after)
        assert (one.id, one.flags, one.question, one.payload) == (other.id, other.flags, other.question, other.payload)
        (option,) = other.options
        assert option.otype == 12
        assert set(option.to_wire()) <= {0}


def test_a_query_without_opt_stays_as_it_is() -> None:
    bare = without_opt(query())
    assert padded(bare) == bare
    once = padded(query())
    assert padded(once) == once, "and so does one that has padding"
