"""The nouns of a query's way: what is in force is replaced whole, a query has nothing but its fields."""

from dataclasses import FrozenInstanceError, replace

import pytest

from resolver.core.question import Question
from resolver.query.query import Query
from resolver.query.transport import Transport
from tests.unit.query.parts import CLIENT, tables


def test_tables_are_replaced_and_never_changed() -> None:
    before = tables(1)
    with pytest.raises(FrozenInstanceError):
        before.complete = False  # type: ignore[misc]  # that is the point
    after = replace(before, complete=False)
    assert before.complete
    assert not after.complete
    assert after.own == frozenset(), "this host asks nothing of its own unless it is told from where"


def test_a_query_starts_without_lists_and_without_room_for_a_reply() -> None:
    """Whatever a step forgets to set judges nobody and sends nothing, and no step adds a field of its own."""
    query = Query(b"", Question(), CLIENT, Transport.UDP)
    assert (query.scope, query.limit) == (0, 0)
    with pytest.raises(AttributeError):
        query.verdict = 1  # type: ignore[attr-defined]  # that is the point
