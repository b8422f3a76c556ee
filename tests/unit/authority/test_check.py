"""A list before it is signed: what a resolver would make of it."""

import pytest

from resolver.authority.check import check
from resolver.authority.repository import Refused
from resolver.config.config import MAX_TARGET_BYTES
from tests.fakes.formats import WRITERS


def said(data: bytes, form: str = "plain") -> list[str]:
    return list(check(data, form))


def test_a_good_list() -> None:
    assert said(b"a.test\n!x.a.test\n=b.test\n") == [
        "3 entries: 2 names blocked, 1 exception",
        "reserved names: only a demonstration list may hold them",
    ]
    assert said(b"domain-of-nobody.com\n") == ["1 entry: 1 name blocked, 0 exceptions"]


@pytest.mark.parametrize("form", ["csv", "rpz"])
def test_a_good_list_that_states_its_serial(form: str) -> None:
    data = WRITERS[form][0]({"a.test": {"=", "*."}, "b.test": {"=", "*."}}).encode()
    assert said(data, form)[0] == "2 entries: 2 names blocked, 0 exceptions; serial 1"


def test_refused_lines_are_told_with_what_to_write() -> None:
    lines = said(b"a.test\nb.test:443\nc d.test\nco.uk\n")
    assert lines[2] == "3 lines refused: 1 icann suffix (line 4); 1 port (line 2); 1 several words (line 3)"
    assert lines[3:] == [
        "  several_words: one name a line; a comment begins with a blank and `#`",
        "  port: a resolver sees names, not ports: write the name alone",
    ]


def test_most_lines_of_another_format_are_said_to_be_so() -> None:
    assert "most lines are refused; it looks like a hosts file" in said(b"a.test\n" + b"0.0.0.0 b.test\n" * 9)[-1]


def test_lines_that_every_resolver_sets_aside_are_told() -> None:
    assert said(b"github.io\ndomain-of-nobody.com\n")[-1] == (
        "1 line set aside until two persons approve: 1 private suffix (line 1)"
    )


@pytest.mark.parametrize(
    ("data", "form", "why"),
    [
        (b"0.0.0.0 a.test\n", "plain", r"no line of 1 is an entry: 1 several words \(line 1\); it looks like a hosts"),
        (b"", "plain", "holds no entry"),
        (b"!a.test\n", "plain", "only exceptions"),
        (b"a.test\n\xff\n", "plain", "not UTF-8 from line 2 on"),
        (b"a" * (MAX_TARGET_BYTES + 1), "plain", "larger than"),
        (b"a.test\n", "csv", "a CSV begins with a row SERIAL;TIMESTAMP: row 1: expected two cells.*a plain list"),
        (b"NUMBER;DIGITS\n", "csv", "row 1, cell 1: no number"),
        (b"1;25/11/2026 06:00\n", "csv", "row 1, cell 2: no time: expected seconds since 1970"),
        (b"sep=;\n1;2\n", "csv", "row 1: expected SERIAL;TIMESTAMP, found a spreadsheet's line"),
        (b"a.test CNAME .\n", "rpz", "its first record is no SOA"),
        (b"\xff\xfea\x00", "csv", "not UTF-8 from line 1 on; it looks like UTF-16"),
    ],
)
def test_a_list_that_cannot_be_used(data: bytes, form: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        said(data, form)
