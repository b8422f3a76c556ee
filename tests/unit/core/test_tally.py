"""Definition v1 of an attempt as a table of what is asked and what is counted."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from resolver.core import codes
from tests.parity import wires

Core = Callable[[str], ModuleType]
KEY = bytes(range(16))
A, AAAA, HTTPS, SVCB, TXT = 1, 28, 65, 64, 16
V4 = bytes(10) + b"\xff\xff\xc0\0\2"
ONE, TWO = V4 + b"\1", V4 + b"\2"
V6 = b"\x20\x01\x0d\xb8\0\0\0"


class Counted:
    """A tally and what it has counted."""

    def __init__(self, core: Core, sets: int = 64) -> None:
        self.core = core
        self.tally = core("tally")
        self.memory = bytearray(sets * 3 * 8 * self.tally.WAYS)
        self.table = self.tally.Tally(self.memory, KEY)
        self.counters = memoryview(bytearray(8 * codes.COUNTERS_SIZE)).cast("Q")

    def block(
        self, now_s: int, kind: int = A, client: bytes = ONE, *, entry: int = 1, slot: int = 0, bits: int = 3
    ) -> None:
        verdict = wires.verdict(self.core, slot, entry, 7, bits)
        assert self.tally.count(self.table, self.counters, verdict, kind, client, now_s) == 1

    def of(self, name: str, slot: int = 0) -> int:
        return self.counters[codes.list_counter(slot, codes.LIST_COUNTERS.index(name))]


@pytest.fixture
def counted(core: Core) -> Counted:
    return Counted(core)


T = 1_000_000


@pytest.mark.parametrize(
    ("asked", "queries", "attempts"),
    [
        ([(T, A, ONE)], 1, 1),
        # A browser's burst is one attempt, whichever type comes first.
        ([(T, A, ONE), (T, AAAA, ONE), (T, HTTPS, ONE), (T, SVCB, ONE)], 4, 1),
        ([(T, HTTPS, ONE), (T, A, ONE), (T + 1, AAAA, ONE)], 3, 1),
        # The window starts with the counted query and is not prolonged.
        ([(T, A, ONE), (T + 59, A, ONE)], 2, 1),
        ([(T, A, ONE), (T + 60, A, ONE)], 2, 2),
        ([(T, A, ONE), (T + 50, A, ONE), (T + 60, A, ONE)], 3, 2),
        ([(T, A, ONE), (T + 59, A, ONE), (T + 118, A, ONE), (T + 119, A, ONE)], 4, 2),
        # A clock that goes back opens no window.
        ([(T, A, ONE), (T - 100, A, ONE)], 2, 1),
        # Other types are blocked queries but no attempts, and open no window.
        ([(T, TXT, ONE)], 1, 0),
        ([(T, TXT, ONE), (T, A, ONE)], 2, 1),
        ([(T, 255, ONE), (T, 12, ONE), (T, 5, ONE)], 3, 0),
        # Each client has its own.
        ([(T, A, ONE), (T, A, TWO)], 2, 2),
        # An IPv6 client is a /64.
        ([(T, A, V6 + b"\1" + bytes(8)), (T, A, V6 + b"\1" + b"\xff" * 8)], 2, 1),
        ([(T, A, V6 + b"\1" + bytes(8)), (T, A, V6 + b"\2" + bytes(8))], 2, 2),
        ([(T, A, ONE), (T, AAAA, V6 + b"\1" + bytes(8))], 2, 2),
        ([(0, A, ONE)], 1, 1),
        ([(0, A, ONE), (59, A, ONE), (60, A, ONE)], 3, 2),
    ],
)
def test_definition(counted: Counted, asked: list[tuple[int, int, bytes]], queries: int, attempts: int) -> None:
    for now, kind, client in asked:
        counted.block(now, kind, client)
    assert (counted.of("blocked_queries"), counted.of("attempts")) == (queries, attempts)
    assert (counted.of("attempts_capped"), counted.of("attempts_saturated"), counted.of("new_prefixes")) == (0, 0, 0)


def test_each_entry_and_each_list_has_its_own_window(counted: Counted) -> None:
    for entry in (1, 2):
        for slot in (0, 15):
            counted.block(T, entry=entry, slot=slot)
            counted.block(T, entry=entry, slot=slot)
    assert [counted.of("blocked_queries", slot) for slot in (0, 15)] == [4, 4]
    assert [counted.of("attempts", slot) for slot in (0, 15)] == [2, 2]


def test_twenty_attempts_an_hour_and_the_rest_is_capped(counted: Counted) -> None:
    for number in range(25):
        counted.block(T, entry=number, slot=number % 2)
    assert counted.of("attempts") + counted.of("attempts", 1) == 20
    assert counted.of("attempts_capped") + counted.of("attempts_capped", 1) == 5
    counted.block(T, client=TWO)
    assert counted.of("attempts") == 11
    # One that was capped has its window too.
    counted.block(T + 1, entry=24)
    assert counted.of("attempts_capped") + counted.of("attempts_capped", 1) == 5


def test_the_next_hour_forgets(counted: Counted) -> None:
    for number in range(21):
        counted.block(T, entry=number)
    assert counted.of("attempts_capped") == 1
    assert any(counted.memory)
    counted.tally.turn(counted.table, KEY[::-1])
    assert not any(counted.memory)
    counted.block(T)
    assert counted.of("attempts") == 21


def test_a_key_gives_no_digest_of_another(core: Core) -> None:
    one, other = Counted(core), Counted(core)
    other.tally.turn(other.table, KEY[::-1])
    one.block(T)
    other.block(T)
    assert one.memory != other.memory


def test_no_address_is_in_the_memory(counted: Counted) -> None:
    client = V6 + b"\1\2\3\4\5\6\7\x08\x09"
    counted.block(T, client=client, bits=3 | codes.NEW)
    assert client[:7] not in counted.memory
    assert client[8:] not in counted.memory


def test_the_self_test_is_never_counted(counted: Counted) -> None:
    counted.block(T, bits=3 | codes.SELFTEST)
    counted.block(T, bits=3 | codes.SELFTEST | codes.NEW)
    assert not any(counted.counters)
    assert not any(counted.memory)


def test_a_set_without_room_is_told(core: Core) -> None:
    counted = Counted(core, sets=1)
    for number in range(10):
        counted.block(T, client=V4 + bytes([number]))
    assert counted.of("blocked_queries") == 10
    assert counted.of("attempts") == 8
    assert counted.of("attempts_saturated") == 2
    # Windows that ended make room for attempts, but a client keeps its place for the hour.
    counted.block(T + 60, client=V4 + b"\x09")
    assert counted.of("attempts_saturated") == 3
    counted.block(T + 61, client=V4 + b"\0")
    assert counted.of("attempts") == 9


def test_prefixes_met_by_new_entries(counted: Counted) -> None:
    start, new = 60 * 1000, 3 | codes.NEW
    for now, client, kind, expected in (
        (start, ONE, A, 1), (start + 59, ONE, A, 1), (start + 59, ONE, TXT, 1), (start + 60, ONE, A, 2),
        (start + 60, TWO, TXT, 3), (start + 60, V6 + b"\1" + bytes(8), A, 4), (start + 61, V6 + b"\2" + bytes(8), A, 4),
    ):  # fmt: skip
        counted.block(now, kind, client, bits=new)
        assert counted.of("new_prefixes") == expected
    counted.block(start + 61, client=V4 + b"\7")
    assert counted.of("new_prefixes") == 4


@pytest.mark.parametrize("start", [0, 60 * 1000, 60 * 1000 + 30])
def test_prefixes_that_share_a_set_count_once_a_minute_each(core: Core, start: int) -> None:
    counted = Counted(core, sets=1)
    for second in range(5):
        for number in range(6):
            counted.block(start + second, client=V4 + bytes([number]), bits=3 | codes.NEW)
    assert counted.of("new_prefixes") == 6
    counted.block(start + 60, client=V4 + b"\0", bits=3 | codes.NEW)
    assert counted.of("new_prefixes") == 7


def test_an_error_counts_nothing_and_says_so(counted: Counted) -> None:
    for client, slot in ((b"", 0), (ONE, 1000)):
        verdict = wires.verdict(counted.core, slot, 1, 1, 3)
        said: Any = counted.tally.count(counted.table, counted.counters, verdict, A, client, T)
        assert said == 0
    assert counted.of("attempts") == 0


def test_memory_too_small_is_refused(core: Core) -> None:
    with pytest.raises(ValueError, match="memory"):
        core("tally").Tally(bytearray(184), KEY)
