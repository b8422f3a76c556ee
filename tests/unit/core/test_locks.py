"""Threads without the GIL over the same tables: no count is lost, and no record is torn."""

import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from resolver.core import admit, codes, locks, scratch, store, tally
from tests.parity import twin, wires

Core = Callable[[str], ModuleType]
KEY = bytes(range(16))
EVERY = bytes(16) + b"\xff" * 16
NOTHING = [b""] * codes.MAX_LISTS
THREADS = 3
MOST_TURNS = 5000


def together(work: Callable[[int], Any]) -> list[Any]:
    """What `work` returns in each of some threads that begin at the same time."""
    found: list[Any] = [None] * THREADS
    begin = threading.Barrier(THREADS)

    def run(number: int) -> None:
        begin.wait()
        found[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def clients_of(numbers: list[int]) -> bytes:
    """Addresses of 16 octets, one after the other."""
    return b"".join(bytes(10) + b"\xff\xff\x0a" + number.to_bytes(3, "big") for number in numbers)


def access(rate: int = 0, budget: int = 0, sets: int = 1) -> Any:
    memory = bytearray(sets * admit.WAYS * admit.BUCKET_OCTETS)
    return admit.Access(EVERY, b"", NOTHING, NOTHING, rate=rate, budget=budget, memory=memory, key=KEY)


def test_a_lock_lets_one_thread_in(probe: ModuleType) -> None:
    counter, held = memoryview(bytearray(8)).cast("Q"), locks.Locks(1)
    together(lambda _: probe.count_under_lock(held, counter, 200_000))
    assert counter[0] == THREADS * 200_000
    assert held.words[0] == 0


def test_a_count_of_a_period_loses_none_and_begins_again(probe: ModuleType) -> None:
    counter = memoryview(bytearray(8)).cast("Q")
    together(lambda _: probe.count_in_period(counter, 7, 100_000))
    assert (counter[0] >> 32, counter[0] & 0xFFFFFFFF) == (7, THREADS * 100_000)
    probe.count_in_period(counter, 6, 1)
    assert counter[0] == 7 << 32 | THREADS * 100_000 + 1
    probe.count_in_period(counter, 9, 2)
    assert counter[0] == 9 << 32 | 2


@pytest.mark.parametrize("shards", [0, -1, 3, 12])
def test_shards_are_a_power_of_two(core: Core, shards: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        core("locks").Locks(shards)


def test_no_token_is_taken_twice_and_no_prefix_counted_twice(probe: ModuleType) -> None:
    one, asked = access(rate=1000, sets=64), [number % 20 for number in range(40_000)]
    admitted = together(lambda _: probe.admit(one, clients_of(asked), 60_000, scratch.Scratch()))
    assert sum(admitted) == 20 * 1000
    assert (one.minute, one.prefixes) == (1, 20)
    assert not any(one.locks.words)


def test_no_attempt_is_lost_or_counted_twice(probe: ModuleType) -> None:
    table, asked = tally.Tally(bytearray(1 << 20), KEY), list(range(500)) * 10
    tables = [memoryview(bytearray(8 * codes.COUNTERS_SIZE)).cast("Q") for _ in range(THREADS)]
    verdict = wires.verdict(twin.compiled, 0, 5, 7, 3 | codes.NEW)
    allowed = access(budget=3)
    together(
        lambda number: probe.count(
            table, allowed, tables[number], verdict, clients_of(asked), 60, scratch.Scratch()
        )
    )
    names = codes.BLOCKED_QUERIES, codes.ATTEMPTS, codes.NEW_PREFIXES, codes.ATTEMPTS_SATURATED
    counted = [sum(one[codes.list_counter(0, name)] for one in tables) for name in names]
    assert counted == [THREADS * 5000, 500, 500, 0]
    assert not any(table.locks.words)


def test_caps_and_budgets_hold_for_all_threads_together(probe: ModuleType) -> None:
    table, allowed = tally.Tally(bytearray(1 << 20), KEY), access(budget=30)
    tables = [memoryview(bytearray(8 * codes.COUNTERS_SIZE)).cast("Q") for _ in range(THREADS)]

    def work(number: int) -> None:
        mine = scratch.Scratch()
        for entry in range(50):
            verdict = wires.verdict(twin.compiled, 0, 1 + entry, 7, 3)
            probe.count(table, allowed, tables[number], verdict, clients_of(list(range(40))), 60, mine)

    together(work)
    names = codes.ATTEMPTS, codes.ATTEMPTS_CAPPED
    counted = [sum(one[codes.list_counter(0, name)] for one in tables) for name in names]
    assert counted == [40 * 20, 40 * 30]
    beyond = sum(one[codes.list_counter(0, codes.REFUSED_BEYOND_BUDGET)] for one in tables)
    assert beyond == THREADS * 40 * 20


def test_no_record_is_torn_while_others_overwrite_it(probe: ModuleType) -> None:
    """The store is so small that every few records the ring comes round.

    One thread writes until the others, which begin after its first records, have read enough: however the processors
    are shared out.
    """
    kept_in = store.Store(bytearray(64 * 1024), KEY)
    keys = memoryview(bytearray(16 * 40)).cast("Q")
    for at in range(40):
        keys[2 * at], keys[2 * at + 1] = at + 1, (at * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF

    begun, reads = threading.Event(), [True] * THREADS

    def write() -> tuple[int, int]:
        body, written, turns = bytearray(1500), 0, 0
        kept = wires.to_keep(twin.compiled, body, ttl_s=60)
        while any(reads[1:]) and turns < MOST_TURNS:
            written += probe.keep(kept_in, kept, memoryview(body), keys, 2000)
            turns += 1
            begun.set()
        return written, 2000 * turns

    def read(number: int) -> tuple[int, int]:
        out, whole, torn, turns = memoryview(bytearray(store.LARGEST_RECORD)), 0, 0, 0
        begun.wait()
        while whole < 50_000 and turns < MOST_TURNS:
            found, _, bad = probe.read(kept_in, store.Kept(), out, keys, 2000)
            whole, torn, turns = whole + found, torn + bad, turns + 1
        reads[number] = False
        return whole, torn

    (written, expected), *found = together(lambda number: read(number) if number else write())
    assert 0 < written == expected
    assert [torn for _, torn in found] == [0] * (THREADS - 1)
    assert all(whole >= 50_000 for whole, _ in found)
    assert kept_in.locks.words[0] == 0


def test_two_threads_that_write_leave_a_sound_ring(probe: ModuleType) -> None:
    kept_in = store.Store(bytearray(64 * 1024), KEY)
    keys = memoryview(bytearray(16 * 40)).cast("Q")
    for at in range(40):
        keys[2 * at], keys[2 * at + 1] = at + 1, (at * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF

    def work(number: int) -> Any:
        body = bytearray(100 + number)
        return probe.keep(kept_in, wires.to_keep(twin.compiled, body, ttl_s=60), memoryview(body), keys, 30_000)

    assert together(work) == [30_000] * THREADS
    position, records, kept = 0, 0, store.Kept()
    while position < store.END:
        position = store.look(kept_in, position, kept)
        if kept.end:
            octets = bytes(kept_in.ring[kept.start : kept.end])
            assert octets == octets[:1] * len(octets)
            assert 100 <= len(octets) < 100 + THREADS
            records += 1
    assert records == 40
