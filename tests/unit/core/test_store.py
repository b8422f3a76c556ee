"""The answers kept: found by their own question only, until their time ends or the ring comes round."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.core import codes
from tests.parity import cases, wires
from tests.unit.core.generations import query, question

Core = Callable[[str], ModuleType]
KEY = bytes(range(16))
NOW = 1000


class Answers:
    """A store that is asked by name."""

    def __init__(self, core: Core, octets: int = 16384, stale_s: int = 0) -> None:
        self.core = core
        self.memory = bytearray(octets)
        self.store = core("store").Store(self.memory, KEY, stale_s)
        self.kept = core("store").Kept()

    def digest(self, name: str, bits: int = 0, kind: int = 1, klass: int = 1) -> tuple[int, int]:
        self.core("store").set_key(self.store, question(self.core, query(name, kind, klass=klass)), bits)
        return self.store.digest[0], self.store.digest[1]

    def keep(self, name: str, body: bytes, ttl: int = 60, errors: bytes = b"", now: int = NOW, **key: int) -> int:
        made = wires.to_keep(self.core, body, ttl_s=ttl, kind=self.core("store").NEGATIVE, errors=errors)
        said: int = self.core("store").keep(self.store, *self.digest(name, **key), now, made)
        return said

    def find(self, name: str, now: int = NOW, **key: int) -> bytes | None:
        return self.body() if self.look(name, now, **key) else None

    def look(self, name: str, now: int = NOW, **key: int) -> int:
        """What `find` says: NOTHING, FRESH or STALE."""
        said: int = self.core("store").find(self.store, *self.digest(name, **key), now, self.kept)
        return said

    def body(self) -> bytes:
        """The reply found last."""
        return bytes(self.store.ring[self.kept.start : self.kept.end])

    def fail(self, name: str, now: int = NOW, body: bytes = b"failed", errors: bytes = b"", rcode: int = 2) -> None:
        made = self.core("store").Kept()
        self.core("store").set_failure(made, memoryview(body), rcode, errors or b"\0", len(errors))
        assert self.core("store").fail(self.store, *self.digest(name), now, made) == 1

    def is_there(self, name: str, now: int = NOW) -> bool:
        """Tell whether it would be found, and leave no trace of having looked."""
        found: int = self.core("store").peek(self.store, *self.digest(name), now, self.kept)
        return found != 0

    def come_round(self, start: int, octets: int, now: int = NOW) -> None:
        """Keep others until so many octets have been written."""
        until, number = self.store.head + octets, start
        while self.store.head < until:
            self.keep(f"filler{number}.test", bytes(100), now=now)
            number += 1


@pytest.fixture
def answers(core: Core) -> Answers:
    return Answers(core)


def test_what_is_kept_is_found_with_all_that_is_known_of_it(answers: Answers) -> None:
    assert answers.keep("a.test", b"reply", errors=b"errors")
    assert answers.find("a.test", NOW + 9) == b"reply"
    kept = answers.kept
    assert (kept.age_s, kept.ttl_s, kept.generation, kept.rcode, kept.kind) == (9, 60, 7, 3, 1)
    assert bytes(answers.store.ring[kept.errors_start : kept.errors_start + kept.errors_size]) == b"errors"


def test_letters_of_a_name_are_folded(answers: Answers) -> None:
    answers.keep("A.TEST", b"reply")
    assert answers.find("a.test") == b"reply"


@pytest.mark.parametrize(("now", "found"), [(NOW, True), (NOW + 59, True), (NOW + 60, False), (NOW - 1, True)])
def test_time_ends(answers: Answers, now: int, found: bool) -> None:
    answers.keep("a.test", b"reply")
    assert (answers.find("a.test", now) is not None) == found


def test_no_time_is_no_answer(answers: Answers) -> None:
    answers.keep("a.test", b"reply", ttl=0)
    assert answers.find("a.test") is None


def test_queries_that_differ_in_a_bit_never_share_an_answer(answers: Answers) -> None:
    for bits in range(16):
        answers.keep("a.test", b"%d" % bits, bits=bits)
    assert [answers.find("a.test", bits=bits) for bits in range(16)] == [b"%d" % bits for bits in range(16)]
    assert answers.find("a.test", kind=28) is None
    assert answers.find("a.test", klass=3) is None
    assert answers.find("b.test") is None
    assert codes.KEY_DO | codes.KEY_CD < 16


def test_the_newer_answer_is_found(answers: Answers) -> None:
    answers.keep("a.test", b"old")
    answers.keep("a.test", b"new", ttl=5)
    assert answers.find("a.test") == b"new"
    assert answers.find("a.test", NOW + 5) is None


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 12, 500])
def test_any_size(answers: Answers, size: int) -> None:
    answers.keep("a.test", b"x" * size)
    answers.keep("b.test", b"y")
    assert answers.find("a.test") == b"x" * size


def test_a_record_larger_than_an_eighth_of_the_ring_is_refused(core: Core) -> None:
    answers = Answers(core, 4096)
    most = answers.store.size // 8 // 8 * 8 - core("store").RECORD_HEADER
    assert answers.keep("a.test", bytes(most)) == 1
    assert answers.keep("b.test", bytes(most + 1)) == 0
    assert answers.keep("c.test", bytes(65535)) == 0
    assert answers.find("a.test") == bytes(most)


def test_the_ring_comes_round_over_the_oldest(core: Core) -> None:
    answers = Answers(core, 4096)
    for number in range(200):
        assert answers.keep(f"n{number}.test", b"%d" % number * 20)
        assert 0 <= answers.store.head - answers.store.tail <= answers.store.size
    found = [number for number in range(200) if answers.find(f"n{number}.test") is not None]
    assert found
    assert found[-1] == 199
    assert all(answers.find(f"n{number}.test") == b"%d" % number * 20 for number in found)
    room = answers.store.size // (core("store").RECORD_HEADER + 60)
    assert min(found) >= 200 - room - 1


def test_what_is_judged_again_carries_its_new_generation_and_kind(answers: Answers) -> None:
    answers.keep("a.test", b"reply")
    answers.find("a.test")
    answers.core("store").renew(answers.store, answers.kept, 8, answers.core("store").BLOCKED)
    assert answers.find("a.test") == b"reply"
    assert (answers.kept.generation, answers.kept.kind) == (8, answers.core("store").BLOCKED)


def test_a_record_that_does_not_carry_the_digest_is_none(answers: Answers) -> None:
    for octet in range(8, 24):
        answers.keep("a.test", b"reply")
        assert answers.find("a.test") == b"reply"
        answers.store.ring[answers.kept.record + octet] ^= 1
        assert answers.find("a.test") is None, octet


def test_an_empty_store_finds_nothing_not_even_digest_0(answers: Answers) -> None:
    assert answers.find("a.test") is None
    assert answers.core("store").find(answers.store, 0, 0, NOW, answers.kept) == 0


@pytest.mark.parametrize("size", [0, 4088, 4097])
def test_memory_that_does_not_fit_is_refused(core: Core, size: int) -> None:
    with pytest.raises(ValueError, match="memory"):
        core("store").Store(bytearray(size), KEY)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 1), st.integers(0, 12), st.integers(0, 15), st.integers(0, 900), st.integers(0, 90)
    ),
    max_size=60,
)  # fmt: skip


@cases.of(0.03)
@given(STEPS)
def test_find_never_gives_an_answer_of_another_question_or_time(steps: list[tuple[int, ...]]) -> None:
    def run(core: Core) -> list[Any]:
        answers, model, said, now = Answers(core, 4096), dict[tuple[str, int], tuple[bytes, int]](), [], NOW
        for number, (write, name, bits, size, later) in enumerate(steps):
            key, now = (f"n{name}.test", bits), now + later
            if write:
                body = (b"%d " % number * 300)[:size]
                if answers.keep(key[0], body, now=now, bits=bits):
                    model[key] = (body, now)
                    assert answers.find(key[0], now, bits=bits) == body
                continue
            found = answers.find(key[0], now, bits=bits)
            said.append(found)
            if found is not None:
                body, then = model[key]
                assert found == body
                assert now - then < 60
        return said

    cases.both(run)


NOTHING, FRESH, STALE = 0, 1, 2


def test_numbers_are_those_of_the_tests(core: Core) -> None:
    store = core("store")
    assert (store.NOTHING, store.FRESH, store.STALE) == (NOTHING, FRESH, STALE)


def test_past_its_time_an_answer_is_stale_for_as_long_as_was_said(core: Core) -> None:
    answers = Answers(core, stale_s=100)
    answers.keep("a.test", b"reply")
    said = [answers.look("a.test", NOW + later) for later in (0, 59, 60, 159, 160, 10_000)]
    assert said == [FRESH, FRESH, STALE, STALE, NOTHING, NOTHING]
    assert answers.look("a.test", NOW + 100) == STALE
    assert (answers.body(), answers.kept.age_s, answers.kept.hot, answers.kept.quiet) == (b"reply", 100, 0, 0)


def test_an_answer_that_was_asked_for_outlives_one_round_of_the_ring_and_not_two(core: Core) -> None:
    answers = Answers(core, 8192)
    answers.keep("asked.test", b"asked", ttl=600)
    answers.keep("idle.test", b"idle", ttl=600)
    answers.find("asked.test")
    answers.come_round(0, answers.store.size)
    assert answers.is_there("asked.test")
    assert answers.body() == b"asked"
    assert not answers.is_there("idle.test")
    answers.come_round(1000, answers.store.size)
    assert not answers.is_there("asked.test"), "its chance was used up"


def test_who_is_asked_for_in_every_round_stays(core: Core) -> None:
    answers = Answers(core, 8192)
    answers.keep("asked.test", b"asked", ttl=600)
    for turn in range(10):
        assert answers.find("asked.test") == b"asked"
        answers.come_round(1000 * turn, answers.store.size // 2)


@pytest.mark.parametrize(("later", "stays"), [(59, True), (60, False), (3600, False)])
def test_what_cannot_be_given_any_more_has_no_second_chance(core: Core, later: int, stays: bool) -> None:
    answers = Answers(core, 8192)
    answers.keep("asked.test", b"asked")
    answers.find("asked.test")
    answers.come_round(0, answers.store.size, now=NOW + later)
    assert answers.is_there("asked.test") == stays


def test_a_failure_has_no_second_chance(core: Core) -> None:
    answers = Answers(core, 8192)
    answers.fail("asked.test")
    answers.find("asked.test")
    answers.come_round(0, answers.store.size)
    assert not answers.is_there("asked.test")


def test_what_was_replaced_has_no_second_chance(core: Core) -> None:
    answers = Answers(core, 8192)
    answers.keep("asked.test", b"old", ttl=600)
    answers.find("asked.test")
    answers.keep("asked.test", b"new", ttl=600)
    answers.come_round(0, answers.store.size)
    assert not answers.is_there("asked.test")


def test_room_is_made_in_a_bounded_number_of_moves(core: Core) -> None:
    answers = Answers(core, 16384)
    answers.come_round(0, 2 * answers.store.size)
    names = [f"filler{number}.test" for number in range(400)]
    worst = 0
    for number in range(100):
        for name in names:
            answers.look(name)
        before = answers.store.head
        answers.keep(f"new{number}.test", bytes(100))
        worst = max(worst, answers.store.head - before)
    one = (core("store").RECORD_HEADER + 100 + 7) // 8 * 8
    # A record more may be left unused at the ring's end.
    assert 2 * one < worst <= (core("store").SECOND_CHANCES + 2) * one


def test_failures_are_kept_for_2_seconds_and_twice_as_long_each_time_up_to_30(answers: Answers) -> None:
    now = NOW
    for seconds in (2, 4, 8, 16, 30, 30, 30):
        answers.fail("a.test", now, errors=b"errors")
        assert answers.look("a.test", now) == FRESH
        kept = answers.kept
        assert (answers.body(), kept.kind, kept.rcode, kept.ttl_s) == (b"failed", 4, 2, seconds)
        assert bytes(answers.store.ring[kept.errors_start : kept.errors_start + kept.errors_size]) == b"errors"
        assert answers.look("a.test", now + seconds - 1) == FRESH
        assert answers.look("a.test", now + seconds) == NOTHING
        now += seconds


def test_a_failure_long_after_another_is_a_first_one(answers: Answers) -> None:
    for now, seconds in ((NOW, 2), (NOW + 31, 4), (NOW + 31 + 4 + 30, 2)):
        answers.fail("a.test", now)
        answers.look("a.test", now)
        assert answers.kept.ttl_s == seconds


def test_an_answer_ends_a_row_of_failures(answers: Answers) -> None:
    for _ in range(3):
        answers.fail("a.test")
    answers.keep("a.test", b"reply", ttl=5)
    assert answers.find("a.test") == b"reply"
    answers.fail("a.test", NOW + 5)
    answers.look("a.test", NOW + 5)
    assert (answers.kept.kind, answers.kept.ttl_s) == (4, 2)


def test_a_failure_never_takes_the_place_of_what_may_be_given_stale(core: Core) -> None:
    answers, now = Answers(core, stale_s=1000), NOW + 60
    answers.keep("a.test", b"reply")
    for seconds in (2, 4, 8, 16, 30, 30):
        assert answers.look("a.test", now) == STALE
        assert not answers.kept.quiet
        answers.fail("a.test", now)
        for later, quiet in ((0, 1), (seconds - 1, 1), (seconds, 0)):
            assert answers.look("a.test", now + later) == STALE
            assert (answers.body(), answers.kept.quiet, answers.kept.rcode) == (b"reply", quiet, 3)
        now += seconds
    answers.fail("a.test", NOW + 1059)
    assert answers.look("a.test", NOW + 1059) == STALE
    answers.fail("a.test", NOW + 1060)
    assert answers.look("a.test", NOW + 1060) == FRESH
    assert answers.kept.kind == 4


@pytest.mark.parametrize(
    ("ttl", "hits", "later", "hot"),
    [
        (100, 4, 90, True),
        (100, 3, 90, False),
        (100, 4, 89, False),
        (100, 300, 99, True),
        (10, 4, 9, True),
        (9, 4, 8, False),
        (86400, 4, 77760, True),
    ],
)
def test_what_is_asked_for_often_is_hot_in_the_last_tenth_of_its_time(
    answers: Answers, ttl: int, hits: int, later: int, hot: bool
) -> None:
    answers.keep("a.test", b"reply", ttl=ttl)
    for number in range(hits):
        assert answers.look("a.test", NOW + (later if number == hits - 1 else 0)) == FRESH
    assert answers.kept.hot == hot


def test_what_could_not_be_fetched_anew_is_left_in_quiet(answers: Answers) -> None:
    answers.keep("a.test", b"reply", ttl=100)
    for _ in range(4):
        answers.look("a.test")
    answers.fail("a.test", NOW + 90)
    for later, hot in ((90, 0), (91, 0), (92, 1)):
        assert answers.look("a.test", NOW + later) == FRESH
        assert answers.kept.hot == hot


def test_peek_says_the_same_as_find_and_leaves_no_trace(core: Core) -> None:
    answers = Answers(core, stale_s=100)
    answers.keep("a.test", b"reply", ttl=100)
    for later in (0, 95, 150, 300):
        before = bytes(answers.memory)
        for _ in range(5):
            there = answers.is_there("a.test", NOW + later)
        assert bytes(answers.memory) == before
        assert there == (answers.look("a.test", NOW + later) != NOTHING)
    assert not answers.is_there("b.test")


def fields(kept: Any) -> tuple[int, ...]:
    names = "start end errors_start errors_size age_s ttl_s generation rcode kind quiet hot record"
    return tuple(getattr(kept, name) for name in names.split())


def test_every_record_is_looked_at_once_and_what_was_dropped_is_gone(core: Core) -> None:
    answers, store = Answers(core, 8192), core("store")
    answers.come_round(0, 3 * answers.store.size)
    there = {name for name in (f"filler{n}.test" for n in range(300)) if answers.is_there(name)}
    for gone in (False, True):
        position, met = answers.store.tail, 0
        while position < answers.store.head:
            position = store.look(answers.store, position, answers.kept)
            met += answers.kept.end > 0
            if gone and answers.kept.end:
                store.drop(answers.store, answers.kept)
        assert position == answers.store.head
        assert met == len(there) > 10
    assert not any(answers.is_there(name) for name in there)
    answers.keep("a.test", b"reply")
    assert answers.find("a.test") == b"reply"


class Model:
    """What a store without bounds would say, of one question: the rules written out once more."""

    STEPS = (2, 4, 8, 16, 30)

    def __init__(self, stale_s: int) -> None:
        self.stale_s = stale_s
        self.body: bytes | None = None
        self.kept_at = self.ttl = self.row = self.hits = self.quiet = 0
        self.failure = False

    def keep(self, body: bytes, now: int, ttl: int, *, failure: bool = False, row: int = 0) -> None:
        self.body, self.kept_at, self.ttl, self.failure, self.row = body, now, ttl, failure, row
        self.hits = self.quiet = 0

    def fail(self, body: bytes, now: int) -> None:
        row = 0
        if self.body is not None:
            row = self.row
            if not self.failure and now < self.kept_at + self.ttl + self.stale_s:
                self.quiet, self.row = now + self.STEPS[min(row, 4)], row + 1
                return
            if now >= self.kept_at + self.ttl + 30:
                row = 0
        self.keep(body, now, self.STEPS[min(row, 4)], failure=True, row=row + 1)

    def find(self, now: int) -> tuple[Any, ...]:
        age = now - self.kept_at
        if self.body is None or (age >= self.ttl and (self.failure or age >= self.ttl + self.stale_s)):
            return (NOTHING,)
        quiet = now < self.quiet
        if age >= self.ttl:
            return STALE, self.body, age, quiet, False
        self.hits += 1
        hot = self.hits > 3 and self.ttl >= 10 and self.ttl - age <= self.ttl / 10 and not quiet
        return FRESH, self.body, age, quiet, hot


ACTS = st.lists(
    st.tuples(
        st.sampled_from("kffFFFF"), st.integers(0, 3), st.integers(0, 12) | st.sampled_from([20, 40, 90]),
        st.sampled_from([0, 2, 9, 10, 30, 60]),
    ),
    max_size=60,
)  # fmt: skip


@cases.of(0.05)
@given(ACTS, st.sampled_from([0, 30, 300]))
def test_a_store_with_room_says_what_the_model_says(acts: list[tuple[Any, ...]], stale_s: int) -> None:
    def run(core: Core) -> bytes:
        answers, models, now = Answers(core, 2**16, stale_s), [Model(stale_s) for _ in range(4)], NOW
        for number, (act, who, later, ttl) in enumerate(acts):
            now += later
            name, model, body = f"n{who}.test", models[who], b"%d" % number
            if act == "k":
                assert answers.keep(name, body, ttl, now=now)
                model.keep(body, now, ttl)
            elif act == "f":
                answers.fail(name, now, body)
                model.fail(body, now)
            else:
                said, kept = answers.look(name, now), answers.kept
                told = (said, answers.body(), kept.age_s, kept.quiet, kept.hot) if said else (said,)
                assert told == model.find(now)
        return bytes(answers.memory)

    cases.both(run)


CROWDED = st.lists(
    st.tuples(st.sampled_from("kkkfFpd"), st.integers(0, 30), st.integers(0, 450), st.integers(0, 20)), max_size=120
)


@cases.of(0.05)
@given(CROWDED, st.sampled_from([0, 60]))
def test_both_builds_write_the_same_ring_and_give_nobody_anothers_octets(
    acts: list[tuple[Any, ...]], stale_s: int
) -> None:
    """A crowded ring: records come round, move and go; what is found is always what was kept last for that name."""

    def run(core: Core) -> list[Any]:
        answers, last, said, now = Answers(core, 4096, stale_s), dict[str, set[bytes]](), [], NOW
        for number, (act, who, size, later) in enumerate(acts):
            now += later
            name, body = f"n{who}.test", (b"%d/%d " % (who, number) * 200)[:size]
            if act == "k":
                if answers.keep(name, body, 40, now=now):
                    last[name] = {body}
            elif act == "f":
                answers.fail(name, now, body)
                last.setdefault(name, set()).add(body)
            elif act == "d" and answers.look(name, now):
                core("store").drop(answers.store, answers.kept)
                last.pop(name)
            elif act in "Fp":
                found = answers.look(name, now) if act == "F" else answers.is_there(name, now)
                said.append((found, fields(answers.kept)))
                assert not found or answers.body() in last[name]
            assert 0 <= answers.store.head - answers.store.tail <= answers.store.size
        return [*said, answers.store.head, answers.store.tail, bytes(answers.memory)]

    cases.both(run)
