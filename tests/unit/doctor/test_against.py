"""doctor/against.py: two resolvers over names, in counts and line numbers; no name is in what is printed."""

import pytest

from resolver.doctor import against, verdicts, wire
from resolver.doctor.ask import Asker
from resolver.doctor.verdicts import Expected
from resolver.doctor.wire import Message, Record
from tests.unit.doctor.resolvers import ENTRY, PAGE4, PAGE6, Enforcing, saying

PAGES = Expected(v4=frozenset({PAGE4}), v6=frozenset({PAGE6}))
LINES = [
    "listed.doctor.test\n", "# a comment\n", "\n", "www.LISTED.doctor.test\n", "good.doctor.test # open\n",
    "x.alias.doctor.test", "nowhere.doctor.test", "other.test", "ns.doctor.test",
]  # fmt: skip


def compared(old: Enforcing, new: Enforcing) -> against.Comparison:
    paused: list[int] = []
    with saying(old) as one, saying(new) as two:
        names = against.names(LINES)
        found = against.compare((Asker(one), PAGES), (Asker(two), PAGES), names, lambda: paused.append(1))
    assert len(paused) == found.pairs.total() == 7
    return found


def test_two_that_are_equal() -> None:
    found = compared(Enforcing(), Enforcing())
    assert not found.differs
    assert found.text().splitlines() == [
        "names compared: 7, with the same answer: 7",
        "  both blocked: 3",
        "  both answered: 1",
        "  both no data: 1",
        "  both no such name: 1",
        "  both no answer: 1",
    ]
    assert found.failed


def test_two_that_differ_are_named_by_line() -> None:
    found = compared(Enforcing(), Enforcing("child", "aliases"))
    assert found.differs
    text = found.text()
    assert "  old blocked, new answered: 2, in lines 4, 6" in text
    assert "names compared: 7, with the same answer: 5" in text
    assert not any(label in text for line in LINES for label in line.split("#")[0].strip().split(".") if len(label) > 3)


def test_one_line_and_many() -> None:
    found = against.Comparison()
    found.take(3, against.BLOCKED, against.MISSING)
    for number in range(60):
        found.take(100 + number, against.OPEN, against.NOTHING)
    text = found.text()
    assert "old blocked, new no such name: 1, in line 3" in text
    assert text.endswith(", 149 and 10 more")
    assert found.differs
    assert not found.failed


def message(rcode: int = 0, *data: tuple[int, bytes]) -> Message:
    answer = tuple(Record(ENTRY, kind, wire.IN, 60, one) for kind, one in data)
    return Message(1, wire.QR, rcode, (), answer, (), (), (), None, do=False)


@pytest.mark.parametrize(
    ("a", "aaaa", "word"),
    [
        (message(0, (wire.A, PAGE4)), message(0, (wire.AAAA, PAGE6)), "blocked"),
        (message(0, (wire.A, PAGE4)), message(0, (wire.AAAA, bytes(16))), "answered"),
        (message(0, (wire.A, PAGE4)), None, "no answer"),
        (message(3), message(3), "no such name"),
        (message(0), message(3), "no data"),
        (message(5), message(5), "refused"),
        (message(2), message(0), "no answer"),
    ],
)
def test_the_word_of_a_name(a: Message, aaaa: Message | None, word: str) -> None:
    assert against.word_of({wire.A: a, wire.AAAA: aaaa}, PAGES) == word
    assert word in against.WORDS


def test_blocked_by_nxdomain_and_no_such_name_are_the_same_word() -> None:
    expected = verdicts.expected_of(["nxdomain"])
    assert against.word_of({wire.A: message(3), wire.AAAA: message(3)}, expected) == "blocked"


@pytest.mark.parametrize("line", ["a b", "a..b", "192.0.2.1", "2001:db8::1", "bücher.test"])
def test_a_line_that_is_no_name_is_refused_by_its_number(line: str) -> None:
    with pytest.raises(against.NotAName) as refused:
        list(against.names(["", line]))
    assert str(refused.value).startswith("line 2: ")
    assert line not in str(refused.value)


def test_the_number_of_names_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against, "MOST_NAMES", 2)
    with pytest.raises(against.NotAName, match="line 3: more than 2 names"):
        list(against.names(["a.test"] * 3))
