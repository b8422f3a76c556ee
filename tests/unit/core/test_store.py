"""The answers kept: found by their own question only, until their time ends or the ring comes round."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.core import codes
from tests.parity import cases, wires
from tests.unit.core.answers import KEY, NOW, Answers, Core


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
    for bits in range(4):
        answers.keep("a.test", b"%d" % bits, bits=bits)
    assert [answers.find("a.test", bits=bits) for bits in range(4)] == [b"%d" % bits for bits in range(4)]
    assert answers.find("a.test", kind=28) is None
    assert answers.find("a.test", klass=3) is None
    assert answers.find("b.test") is None
    assert codes.KEY_DO | codes.KEY_CD == 3


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
    most = answers.store.sizes[0] // 8 // 8 * 8 - core("store").RECORD_HEADER
    assert answers.keep("a.test", bytes(most)) == 1
    assert answers.keep("b.test", bytes(most + 1)) == 0
    assert answers.keep("c.test", bytes(65535)) == 0
    assert answers.find("a.test") == bytes(most)


def test_the_ring_comes_round_over_the_oldest(core: Core) -> None:
    answers = Answers(core, 4096)
    for number in range(200):
        assert answers.keep(f"n{number}.test", b"%d" % number * 20)
        assert 0 <= answers.store.heads[0] - answers.store.tails[0] <= answers.store.sizes[0]
    found = [number for number in range(200) if answers.find(f"n{number}.test") is not None]
    assert found
    assert found[-1] == 199
    assert all(answers.find(f"n{number}.test") == b"%d" % number * 20 for number in found)
    room = answers.store.sizes[0] // (core("store").RECORD_HEADER + 60)
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
    answers.come_round(0, answers.store.sizes[0])
    assert answers.is_there("asked.test")
    assert answers.body() == b"asked"
    assert not answers.is_there("idle.test")
    answers.come_round(1000, answers.store.sizes[0])
    assert not answers.is_there("asked.test"), "its chance was used up"


def test_who_is_asked_for_in_every_round_stays(core: Core) -> None:
    answers = Answers(core, 8192)
    answers.keep("asked.test", b"asked", ttl=600)
    for turn in range(10):
        assert answers.find("asked.test") == b"asked"
        answers.come_round(1000 * turn, answers.store.sizes[0] // 2)


@pytest.mark.parametrize(("later", "stays"), [(59, True), (60, False), (3600, False)])
def test_what_cannot_be_given_any_more_has_no_second_chance(core: Core, later: int, stays: bool) -> None:
    answers = Answers(core, 8192)
    answers.keep("asked.test", b"asked")
    answers.find("asked.test")
    answers.come_round(0, answers.store.sizes[0], now=NOW + later)
    assert answers.is_there("asked.test") == stays


def test_a_failure_has_no_second_chance(core: Core) -> None:
    answers = Answers(core, 8192)
    answers.fail("asked.test")
    answers.find("asked.test")
    answers.come_round(0, answers.store.sizes[0])
    assert not answers.is_there("asked.test")


def test_what_was_replaced_has_no_second_chance(core: Core) -> None:
    answers = Answers(core, 8192)
    answers.keep("asked.test", b"old", ttl=600)
    answers.find("asked.test")
    answers.keep("asked.test", b"new", ttl=600)
    answers.come_round(0, answers.store.sizes[0])
    assert not answers.is_there("asked.test")


def test_room_is_made_in_a_bounded_number_of_moves(core: Core) -> None:
    answers = Answers(core, 16384)
    answers.come_round(0, 2 * answers.store.sizes[0])
    names = [name for number in range(400) if answers.is_there(name := f"filler{number}.test")]
    worst = 0
    for number in range(100):
        for name in names:
            answers.look(name)
        before = answers.store.heads[0]
        answers.keep(f"new{number}.test", bytes(100))
        worst = max(worst, answers.store.heads[0] - before)
    one = (core("store").RECORD_HEADER + 100 + 7) // 8 * 8
    # A record more may be left unused at the ring's end.
    assert 2 * one < worst <= (core("store").SECOND_CHANCES + 2) * one


def test_a_larger_record_moves_as_much_more(core: Core) -> None:
    """What one answer pushes out is bounded by its octets, however many smaller ones that is."""
    for size, others in ((100, 100), (1900, 100), (1900, 1000), (200, 1900)):
        answers = Answers(core, 2**17)
        names = [f"n{number}.test" for number in range(2 * 2**17 // others)]
        for name in names:
            answers.keep(name, bytes(others), ttl=600)
            answers.look(name)
        left = [name for name in names if answers.look(name)]
        total, other = (one // 8 * 8 for one in (core("store").RECORD_HEADER + 7 + one for one in (size, others)))
        before = answers.store.heads[0]
        answers.keep("new.test", bytes(size), ttl=600)
        moved = answers.store.heads[0] - before - total
        assert moved <= core("store").SECOND_CHANCES * total + core("store").SMALL_OCTETS
        gone = sum(not answers.is_there(name) for name in left)
        assert gone * other <= 2 * (total + other), (size, others)


LARGE = 57_000


@pytest.fixture
def wide(core: Core) -> Answers:
    """A store with room for some large answers in the eighth apart."""
    return Answers(core, 4 * 2**20, stale_s=3600)


def test_large_answers_take_an_eighth_and_leave_the_small_ones(wide: Answers) -> None:
    names = [f"hot{number}.test" for number in range(1000)]
    for name in names:
        wide.keep(name, bytes(100), ttl=300)
        for _ in range(4):
            wide.look(name)
    before = [name for name in names if wide.is_there(name)]  # A few share a set with four others.
    assert len(before) > 980
    for number in range(250):  # more than three times the octets of all the small ones' room
        assert wide.keep(f"large{number}.test", bytes(LARGE))
    assert wide.store.heads[1] > 3 * wide.store.sizes[0]
    assert [name for name in names if wide.is_there(name)] == before
    there = sum(wide.is_there(f"large{number}.test") for number in range(250))
    assert 2 <= there <= len(wide.memory) // 8 // LARGE


@pytest.fixture
def two_rings(core: Core) -> Answers:
    """The smallest store, or nearly, with an eighth apart: its rings come round soon."""
    return Answers(core, 2**17, stale_s=3600)


def test_what_is_wanted_apart_leaves_the_others_however_small(two_rings: Answers) -> None:
    two_rings.keep("idle.test", b"reply", ttl=300)
    number = 0
    while two_rings.store.heads[1] < 3 * two_rings.store.sizes[0]:
        two_rings.keep(f"n{number}.test", bytes(100), apart=1)
        number += 1
    assert two_rings.is_there("idle.test")
    assert two_rings.is_there(f"n{number - 1}.test")
    assert not two_rings.is_there("n0.test")


def test_an_answer_apart_has_its_second_chance_there(two_rings: Answers) -> None:
    two_rings.keep("asked.test", b"reply", ttl=300, apart=1)
    two_rings.keep("idle.test", b"reply", ttl=300, apart=1)
    two_rings.look("asked.test")
    round_ends = two_rings.store.heads[1] + two_rings.store.sizes[1]
    number = 0
    while two_rings.is_there("idle.test") and two_rings.store.heads[1] < round_ends:
        two_rings.keep(f"n{number}.test", bytes(100), apart=1)
        number += 1
    assert two_rings.is_there("asked.test")
    assert not two_rings.is_there("idle.test")


def test_an_answer_is_found_where_it_was_kept_last(two_rings: Answers) -> None:
    for apart in (0, 1, 0, 1):
        two_rings.keep("a.test", b"%d" % apart, apart=apart)
        assert two_rings.find("a.test") == b"%d" % apart


def test_rounds_count_what_both_rings_take(two_rings: Answers) -> None:
    store, count, said = two_rings.store, two_rings.core("store").rounds, []
    assert count(store) == 0
    for number in range(5 * store.sizes[0] // 168):
        two_rings.keep(f"n{number}.test", bytes(100), apart=number % 2)
        said.append(count(store))
    assert said == sorted(said)
    assert said[-1] in (4, 5)
    assert set(said) >= {0, 1, 2, 3, 4}


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


LENDERS = {0: [1], 1: [0], 2: [3, 0, 1], 3: [1, 0]}


@pytest.mark.parametrize("stale_s", [0, 100])
@pytest.mark.parametrize("age", [10, 70, 200])
@pytest.mark.parametrize("ad", [0, 0x20])
def test_which_form_of_a_question_lends_its_answer_to_which(core: Core, stale_s: int, age: int, ad: int) -> None:
    """The rules once more, for each form that is asked for and each that is kept."""
    for asked in range(4):
        for form in range(4):
            answers = Answers(core, stale_s=stale_s)
            answers.keep("a.test", bytes([0, 0, 0x80, ad]) + b"%d" % form, bits=form)
            key = answers.digest("a.test", bits=asked)
            said = core("store").other_form(answers.store, *key, asked, NOW + age, answers.kept)
            expected = NOTHING
            if form in LENDERS[asked] and age < 60 + stale_s and (age < 60 or stale_s):
                cut = form & 1 > asked & 1
                at_once = cut and form == asked + 1 and age < 60
                bogus = asked & 1 and not form & 1 and ad
                expected = NOTHING if bogus or not (at_once or stale_s) else (FRESH if at_once else STALE) + 4 * cut
            assert said == expected, (asked, form)
            assert not said or answers.body()[4:] == b"%d" % form


def test_the_best_form_lends_and_a_failure_never_does(core: Core) -> None:
    for asked, forms in LENDERS.items():
        for best, form in enumerate(forms):
            answers = Answers(core, stale_s=100)
            for failed in forms[:best]:
                made = core("store").Kept()
                core("store").set_failure(made, memoryview(b"failed"), 2, b"\0", 0)
                core("store").fail(answers.store, *answers.digest("a.test", bits=failed), NOW, made)
            for kept in forms[best:]:
                answers.keep("a.test", bytes(4) + b"%d" % kept, bits=kept)
            key = answers.digest("a.test", bits=asked)
            assert core("store").other_form(answers.store, *key, asked, NOW, answers.kept)
            assert answers.body()[4:] == b"%d" % form


def fields(kept: Any) -> tuple[int, ...]:
    names = "start end errors_start errors_size age_s ttl_s generation rcode kind quiet hot record"
    return tuple(getattr(kept, name) for name in names.split())


@pytest.mark.parametrize("octets", [8192, 2**17])
def test_every_record_is_looked_at_once_and_what_was_dropped_is_gone(core: Core, octets: int) -> None:
    answers, store = Answers(core, octets), core("store")
    answers.come_round(0, 3 * answers.store.sizes[0])
    names = [f"filler{n}.test" for n in range(octets // 30)]
    for number in range(100):
        names.append(f"apart{number}.test")
        answers.keep(names[-1], bytes(200), apart=1)
    there = {name for name in names if answers.is_there(name)}
    assert "apart99.test" in there
    for gone in (False, True):
        position, met = 0, 0
        while position < store.END:
            position = store.look(answers.store, position, answers.kept)
            met += answers.kept.end > 0
            if gone and answers.kept.end:
                store.drop(answers.store, answers.kept)
        assert position == store.END
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
@given(CROWDED, st.sampled_from([0, 60]), st.sampled_from([(4096, 1), (2**17, 40)]))
def test_both_builds_write_the_same_rings_and_give_nobody_anothers_octets(
    acts: list[tuple[Any, ...]], stale_s: int, room: tuple[int, int]
) -> None:
    """A crowded ring: records come round, move and go; what is found is always what was kept last for that name."""

    def run(core: Core) -> list[Any]:
        octets, times = room
        answers, last, said, now = Answers(core, octets, stale_s), dict[str, set[bytes]](), [], NOW
        for number, (act, who, size, later) in enumerate(acts):
            now += later
            name, body = f"n{who}.test", (b"%d/%d " % (who, number) * 200 * times)[: size * times]
            if act == "k":
                if answers.keep(name, body, 40, now=now, apart=number % 3 == 0):
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
            for which in (0, 1):
                used = answers.store.heads[which] - answers.store.tails[which]
                assert 0 <= used <= answers.store.sizes[which]
        return [*said, *answers.store.heads, *answers.store.tails, bytes(answers.memory)]

    cases.both(run)


@pytest.mark.parametrize("octets", [2**14, 3 * 2**15])
def test_whatever_index_and_records_hold_nothing_raises_and_the_lock_is_free(core: Core, octets: int) -> None:
    """A step that raised while it holds the lock would stop every other thread for good."""
    draw = random.Random(octets)
    store, kept = core("store"), core("store").Kept()
    for _ in range(20):
        answers = Answers(core, octets, stale_s=60)
        for _ in range(4):
            for number in range(25):
                answers.keep(f"name{number}.test", draw.randbytes(draw.choice((40, 400, 1500))), apart=number % 2)
            for _ in range(8):
                at = draw.randrange(octets // 8) * 8
                answers.memory[at : at + 8] = draw.choice((draw.randbytes(8), bytes(8), b"\xff" * 8, b"\4" + bytes(7)))
            for number in range(25):
                low, high = answers.digest(f"name{number}.test")
                if store.find(answers.store, low, high, NOW + 1, kept):
                    store.renew(answers.store, kept, 9, 0)
                if number % 5 == 0:
                    store.fail(answers.store, low, high, NOW + 1, wires.to_keep(core, b"failure", kind=store.FAILURE))
            position = 0
            while position != store.END:
                position = store.look(answers.store, position, kept)
                if kept.end and draw.random() < 0.1:
                    store.drop(answers.store, kept)
        assert not any(answers.store.locks.words)


def test_records_whose_sizes_are_lost_are_all_forgotten(core: Core) -> None:
    answers = Answers(core, 2**13)
    for number in range(100):
        answers.keep(f"name{number}.test", b"first")
    start = len(answers.memory) - len(answers.store.ring)
    answers.memory[start:] = b"\1" * len(answers.store.ring)
    for number in range(100):
        answers.keep(f"name{number}.test", b"second")
    found = [answers.find(f"name{number}.test") for number in range(100)]
    assert set(found) == {None, b"second"}
    assert found[-1] == b"second"
