"""The counters of several threads, read as one table."""

from array import array

import pytest

from resolver.service.counters import Counters


def test_each_counter_is_the_sum_and_is_read_when_it_is_asked() -> None:
    first, second = array("Q", [1, 2]), array("Q", [10, 20])
    counters = Counters([first, second])
    assert [counters[0], counters[1]] == [11, 22]
    second[1] += 5
    assert [counters[0], counters[1]] == [11, 27]


def test_a_counter_that_begins_anew_leaves_the_threads_tables_alone() -> None:
    first, second = array("Q", [7, 2]), array("Q", [10, 20])
    counters = Counters([first, second])
    counters[0] = 0
    assert counters[0] == 0
    assert (list(first), list(second)) == ([7, 2], [10, 20])
    first[0] += 3
    assert [counters[0], counters[1]] == [3, 22]
    counters[0] = 1
    assert counters[0] == 1


def test_what_is_no_counter_is_an_error() -> None:
    with pytest.raises(IndexError):
        Counters([array("Q", [1])])[1]
