"""Why lines or a whole list were refused, in a sentence with a next step."""

import pytest

from resolver.feed import refusals
from resolver.feed.reasons import Refusal, Shape


def test_refused_lines_are_told_by_reason_the_most_first() -> None:
    counts = {"tld": 1, "several_words": 35}
    numbers = {"tld": (9,), "several_words": tuple(range(2, 37))}
    assert refusals.lines(counts, numbers) == "35 several words (line 2, 3, 4, 5, 6, ...); 1 tld (line 9)"
    assert refusals.lines({}, {}) == "none"


@pytest.mark.parametrize(
    ("reason", "counts", "more", "said"),
    [
        (
            "empty",
            {"several_words": 1},
            {"shape": "hosts"},
            "no line of 1 is an entry: 1 several words (line 1); it looks like a hosts file: "
            "blocklist-resolver authority convert --from hosts",
        ),
        ("empty", {}, {}, "it holds no entry: no line but comments and empty ones"),
        ("empty", {"reserved": 2}, {}, "no line of 2 is an entry: 2 reserved (line 1)"),
        (
            "empty",
            {"port": 2},
            {"shape": "plain"},
            "no line of 2 is an entry: 2 port (line 1); a resolver sees names, not ports: write the name alone",
        ),
        ("not_utf8", {}, {"shape": "gzip"}, "not UTF-8; it looks like gzip: decompress it first"),
        ("not_utf8", {}, {"line": 7}, "not UTF-8 from line 7 on"),
        ("too_many_entries", {}, {}, "it has too many entries"),
    ],
)
def test_why_a_whole_list_is_refused(reason: str, counts: dict[str, int], more: dict[str, object], said: str) -> None:
    numbers = {each: (1,) for each in counts}
    assert refusals.unusable(reason, counts, numbers, **more) == said  # type: ignore[arg-type]  # a str, an int


def test_each_shape_has_a_next_step() -> None:
    for shape in Shape:
        assert ": " in refusals.hint(shape.value, read_as="")
    assert refusals.hint("csv", "csv") == refusals.hint("") == ""


def test_advice_is_of_reasons_that_exist() -> None:
    assert set(refusals.ADVICE) < set(Refusal)
