"""The answers kept: found by their own question only, until their time ends or the ring comes round."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.core import codes
from tests.parity import cases
from tests.unit.core.generations import query, question

Core = Callable[[str], ModuleType]
KEY = bytes(range(16))
NOW = 1000


class Answers:
    """A store that is asked by name."""

    def __init__(self, core: Core, octets: int = 16384) -> None:
        self.core = core
        self.memory = bytearray(octets)
        self.store = core("store").Store(self.memory, KEY)
        self.kept = core("store").Kept()

    def digest(self, name: str, bits: int = 0, kind: int = 1, klass: int = 1) -> tuple[int, int]:
        self.core("store").set_key(self.store, question(self.core, query(name, kind, klass=klass)), bits)
        return self.store.digest[0], self.store.digest[1]

    def keep(self, name: str, body: bytes, ttl: int = 60, errors: bytes = b"", now: int = NOW, **key: int) -> int:
        said: int = self.core("store").keep(
            self.store, *self.digest(name, **key), now, ttl, 7, 3, self.core("store").NEGATIVE, body, len(body),
            errors or b"\0", len(errors),
        )  # fmt: skip
        return said

    def find(self, name: str, now: int = NOW, **key: int) -> bytes | None:
        if not self.core("store").find(self.store, *self.digest(name, **key), now, self.kept):
            return None
        return bytes(self.store.ring[self.kept.start : self.kept.end])


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
    assert codes.KEY_DO | codes.KEY_CD | codes.KEY_AD | codes.KEY_EDNS < 16


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


@pytest.mark.parametrize("octet", range(8, 24))
def test_a_record_that_does_not_carry_the_digest_is_none(answers: Answers, octet: int) -> None:
    answers.keep("a.test", b"reply")
    answers.find("a.test")
    answers.store.ring[answers.kept.record + octet] ^= 1
    assert answers.find("a.test") is None


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
