"""Definition v2 of an attempt as a table of what is asked and what is counted; and who is beyond a budget."""

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
EXEMPT = V4 + b"\x63"


class Counted:
    """A tally and what it has counted."""

    def __init__(self, core: Core, sets: int = 64, *, budget: int = 0) -> None:
        self.core = core
        self.tally = core("tally")
        self.memory = bytearray(sets * self.tally.TABLES * 8 * self.tally.WAYS)
        self.access = core("admit").Access(
            b"", EXEMPT * 2, [b""] * 16, [b""] * 16, rate=0, budget=budget, memory=bytearray(128), key=KEY
        )
        self.table = self.tally.Tally(self.memory, KEY)
        self.scratch = core("scratch").Scratch()
        self.counters = memoryview(bytearray(8 * codes.COUNTERS_SIZE)).cast("Q")

    def block(
        self, now_s: int, kind: int = A, client: bytes = ONE, *, entry: int = 1, slot: int = 0, bits: int = 3
    ) -> None:
        assert self.said(now_s, kind, client, entry=entry, slot=slot, bits=bits) == codes.COUNTED

    def said(
        self, now_s: int, kind: int = A, client: bytes = ONE, *, entry: int = 1, slot: int = 0, bits: int = 3
    ) -> int:
        verdict = wires.verdict(self.core, slot, entry, 7, bits)
        said: int = self.tally.count(self.table, self.access, self.counters, verdict, kind, client, now_s, self.scratch)
        return said

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


def test_256_networks_of_one_household_make_no_more_than_a_few(core: Core) -> None:
    counted = Counted(core, sets=8192)
    for network in range(256):
        for entry in range(20):
            counted.block(T, client=V6 + bytes([network]) + bytes(8), entry=entry)
    assert (counted.of("attempts"), counted.of("attempts_capped")) == (60, 5060)
    assert counted.of("attempts_saturated") == 0


def test_a_48_has_a_cap_too_and_what_is_capped_takes_nothing_from_other_caps(core: Core) -> None:
    counted, site = Counted(core, sets=1024), V6[:6]
    for household in range(5):
        for network in range(4):
            for entry in range(20):
                counted.block(T, client=site + bytes([household, network]) + bytes(8), entry=entry)
    assert (counted.of("attempts"), counted.of("attempts_capped")) == (240, 160)
    counted.block(T, client=b"\x20\x01\x0d\xb8\0\1\0\0" + bytes(8))
    assert counted.of("attempts") == 241
    # What its /64 has had capped takes nothing from its /56.
    counted.tally.turn(counted.table, KEY)
    for entry in range(80):
        counted.block(T, client=site + bytes(10), entry=entry)
    for entry in range(20):
        counted.block(T, client=site + b"\0\1" + bytes(8), entry=entry)
    assert counted.of("attempts") == 241 + 40


def test_each_ipv4_address_is_a_household(counted: Counted) -> None:
    for number in range(5):
        for entry in range(21):
            counted.block(T, client=V4 + bytes([number]), entry=entry)
    assert (counted.of("attempts"), counted.of("attempts_capped")) == (100, 5)


def test_beyond_the_budget_no_further_entry_is_answered_and_all_before_are(core: Core) -> None:
    counted = Counted(core, budget=3)
    said = [counted.said(T, entry=entry) for entry in (1, 2, 1, 3, 4, 5, 1, 2, 3, 4)]
    beyond = codes.BEYOND_BUDGET
    assert said == [1, 1, 1, 1, beyond, beyond, 1, 1, 1, beyond]
    assert counted.of("refused_beyond_budget") == 3
    assert (counted.of("blocked_queries"), counted.of("attempts")) == (10, 5), "it changes no count"
    assert counted.said(T, client=TWO, entry=4) == codes.COUNTED
    # Every type is a question, and each list has its own entries.
    assert counted.said(T, TXT, entry=6) == beyond
    assert counted.said(T, entry=1, slot=1) == beyond
    assert counted.of("refused_beyond_budget", 1) == 1
    counted.tally.turn(counted.table, KEY[::-1])
    assert counted.said(T, entry=4) == codes.COUNTED


def test_a_budget_is_a_households_and_none_is_the_exempt_ones_or_the_self_tests(core: Core) -> None:
    counted = Counted(core, budget=2)
    clients = [V6 + bytes([number]) + bytes(8) for number in range(4)]
    assert [counted.said(T, client=one, entry=entry) for entry, one in enumerate(clients)] == [1, 1, 2, 2]
    assert {counted.said(T, client=EXEMPT, entry=entry) for entry in range(9)} == {codes.COUNTED}
    assert {counted.said(T, entry=entry, bits=3 | codes.SELFTEST) for entry in range(9)} == {codes.COUNTED}


def test_a_budget_of_0_is_none(counted: Counted) -> None:
    for entry in range(100):
        counted.block(T, entry=entry)
    assert not any(counted.table.budgets)


def test_where_budgets_have_no_room_nobody_is_beyond(core: Core) -> None:
    counted = Counted(core, sets=1, budget=1)
    said = [counted.said(T, client=V4 + bytes([number]), entry=entry) for number in range(9) for entry in range(2)]
    assert said[:8] == [codes.COUNTED, codes.BEYOND_BUDGET] * 4
    assert set(said[8:]) == {codes.COUNTED}


def test_the_next_hour_forgets(counted: Counted) -> None:
    for number in range(21):
        counted.block(T, entry=number)
    assert counted.of("attempts_capped") == 1
    assert any(counted.memory)
    counted.tally.turn(counted.table, KEY[::-1])
    assert not any(counted.memory[: -len(counted.memory) // counted.tally.TABLES]), "the day goes on"
    assert any(counted.table.days)
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
    counted.access = Counted(counted.core, budget=9).access
    counted.block(T, client=client, bits=3 | codes.NEW)
    assert all(map(any, (counted.table.prefixes, counted.table.budgets, counted.table.days)))
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
        said: Any = counted.tally.count(
            counted.table, counted.access, counted.counters, verdict, A, client, T, counted.scratch
        )
        assert said == codes.NOT_COUNTED
    assert counted.of("attempts") == 0


def test_the_first_three_of_a_prefix_and_day_are_bounded_attempts(counted: Counted) -> None:
    for number, expected in enumerate((1, 2, 3, 3, 3)):
        counted.block(T, entry=number)
        assert (counted.of("attempts_bounded"), counted.of("blocked_prefixes")) == (expected, 1)
    counted.block(T, TXT, entry=9)
    counted.block(T + 1, entry=0)
    assert counted.of("attempts_bounded") == 3, "what opens no window counts nothing"
    counted.tally.turn(counted.table, KEY[::-1])
    counted.block(T + 3600, entry=1)
    assert counted.of("attempts_bounded") == 3, "another hour is the same day"
    counted.block(T, client=TWO)
    counted.block(T, slot=3)
    assert [counted.of("attempts_bounded", slot) for slot in (0, 3)] == [4, 1], "each prefix, and each list"
    assert [counted.of("blocked_prefixes", slot) for slot in (0, 3)] == [2, 1]


def test_a_prefix_of_ipv6_is_one_household(counted: Counted) -> None:
    for network in range(5):
        counted.block(T, client=V6 + bytes([network]) + bytes(8))
    assert (counted.of("attempts"), counted.of("attempts_bounded"), counted.of("blocked_prefixes")) == (5, 3, 1)


def test_the_next_day_begins_again_with_another_key(counted: Counted) -> None:
    for number in range(5):
        counted.block(T, entry=number)
    before = bytes(counted.table.days)
    counted.tally.turn_day(counted.table, KEY[::-1])
    assert not any(counted.table.days)
    for number in range(5):
        counted.block(T + 60, entry=number)
    assert (counted.of("attempts_bounded"), counted.of("blocked_prefixes")) == (6, 2)
    assert bytes(counted.table.days) != before
    assert counted.of("attempts") == 10, "the hour goes on"


def test_no_other_client_decides_whether_an_attempt_is_bounded(core: Core) -> None:
    counted, site = Counted(core, sets=1024), V6[:6]
    for household in range(13):
        for entry in range(20):
            counted.block(T, client=site + bytes([household, 0]) + bytes(8), entry=entry)
    assert counted.of("attempts") == 240, "the cap of the /48 is used up"
    before = counted.of("attempts_bounded")
    counted.block(T, client=site + b"\xff\0" + bytes(8))
    assert (counted.of("attempts"), counted.of("attempts_bounded")) == (240, before + 1)


def test_a_full_table_of_the_day_counts_nothing_and_says_so(core: Core) -> None:
    counted = Counted(core, sets=1)
    for number in range(10):
        counted.block(T + 60 * number, client=V4 + bytes([number]))
        if number == 7:
            counted.tally.turn(counted.table, KEY)
    assert (counted.of("attempts"), counted.of("attempts_saturated")) == (10, 0)
    assert (counted.of("attempts_bounded"), counted.of("blocked_prefixes")) == (8, 8)
    assert counted.of("attempts_bounded_saturated") == 2
    counted.block(T + 600, client=V4 + b"\0")
    assert counted.of("attempts_bounded") == 9, "who has a place keeps it"


def test_attempts_for_new_entries(counted: Counted) -> None:
    counted.block(T, entry=1, bits=3 | codes.NEW)
    counted.block(T, AAAA, entry=1, bits=3 | codes.NEW)
    assert (counted.of("blocked_prefixes"), counted.of("attempts_bounded")) == (0, 1)
    counted.block(T, entry=2)
    assert counted.of("blocked_prefixes") == 1, "the first for an entry that is not new"
    for number in range(30):
        counted.block(T, client=TWO, entry=number, bits=3 | codes.NEW)
    assert counted.of("attempts_new_entries") == 21, "those that count as attempts"


def test_memory_too_small_is_refused(core: Core) -> None:
    with pytest.raises(ValueError, match="memory"):
        core("tally").Tally(bytearray(312), KEY)
