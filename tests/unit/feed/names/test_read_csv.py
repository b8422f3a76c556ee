"""Rows to entries: the domain counts, what stands beside it must agree."""

import time

import pytest

from resolver.feed.names import read, read_csv
from tests.unit.feed.names.test_read import PSL, WHOLE, pairs

HEADING = b"7;2026-11-25T12:00:00Z\n"


def entries(rows: bytes, *, most: int = 1000) -> read.Entries:
    return read_csv.read_csv(HEADING + rows, PSL, demonstration=True, max_entries=most)


def refused(row: bytes) -> dict[str, tuple[int, ...]]:
    """What one row is refused for, next to a good one."""
    found = entries(b";good.test;;\n" + row)
    assert pairs(found) == [(b"good.test", WHOLE)]
    assert found.refused == {reason: len(lines) for reason, lines in found.refused_lines.items()}
    return found.refused_lines


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (b"http://a.test/;a.test;http://192.0.2.1/;192.0.2.1", b"a.test"),
        (b"https://a.test;a.test;;", b"a.test"),
        (b"HTTP://A.Test/;a.test;;", b"a.test"),
        (b"http://a.test:8080/;a.test;;", b"a.test"),
        (b"a.test;a.test;;", b"a.test"),
        (b"a.test/;a.test;;", b"a.test"),
        (b";a.test;;", b"a.test"),
        (b" ; a.test ;;\r", b"a.test"),
        (b"a.test", b"a.test"),
        (b"a.test;;", b"a.test"),
        (b"a.test\r", b"a.test"),
        (b'"http://a.test/";"a.test";"x;y";"z"', b"a.test"),
        (b'"a.test"', b"a.test"),
        (b";a.test;;;;", b"a.test"),
        (b";a.test.;;", b"a.test"),
        ("http://b\u00fccher.test/;xn--bcher-kva.test;;".encode(), b"xn--bcher-kva.test"),
        ("http://xn--bcher-kva.test/;B\u00dcCHER.test;;".encode(), b"xn--bcher-kva.test"),
    ],
)
def test_a_row_that_is_read(row: bytes, name: bytes) -> None:
    found = entries(row)
    assert pairs(found) == [(name, WHOLE)]
    assert found.refused == {}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"http://a.test/page;a.test;;", "url"),
        (b"http://a.test/?q;a.test;;", "url"),
        (b"http://a.test/#x;a.test;;", "url"),
        (b"http://a.test/?;a.test;;", "url"),
        (b"a.test/page;a.test;;", "url"),
        (b"http://b.test/;a.test;;", "disagrees"),
        (b"http://www.a.test/;a.test;;", "disagrees"),
        (b"http://a.test@b.test/;a.test;;", "disagrees"),
        (b"http:///;a.test;;", "disagrees"),
        (b"http://[/;a.test;;", "malformed"),
        (b"http://a.test/;;192.0.2.1;192.0.2.1", "malformed"),
        (b";;http://192.0.2.9/;192.0.2.9", "address"),
        (b"http://192.0.2.9/;;;192.0.2.9", "address"),
        (b"http://[/;;;192.0.2.9", "malformed"),
        (b";*.a.test;;", "wildcard"),
        (b"*.a.test", "wildcard"),
        (b"http://a.test/;a.test", "malformed"),
        (b"http://a.test/;a.test;192.0.2.1", "malformed"),
        (b";a.test;;;x", "malformed"),
        (b"a.test;;;", "malformed"),
        (b";=a.test;;", "malformed"),
        (b";!a.test;;", "malformed"),
        (b"#a.test", "malformed"),
        (b";a.test #b;;", "several_words"),
        (b";a.test b.test;;", "several_words"),
        (b'"a.test', "malformed"),
        (b'"a"b;a.test;;', "malformed"),
        (b";test;;", "tld"),
        (b";.;;", "root"),
        (b";192.0.2.1;;", "address"),
        (b"http://a.test/page", "url"),
        (b";a..test;;", "malformed"),
    ],
)
def test_a_row_that_is_refused(row: bytes, reason: str) -> None:
    assert refused(row) == {reason: (3,)}


def test_line_numbers_are_those_of_the_file() -> None:
    found = entries(b"a.test\n\nhttp://b.test/x;b.test;;\n;test;;\n\nhttp://c.test/;d.test;;\nhttp://e.test/x\n")
    assert found.refused_lines == {"url": (4, 8), "tld": (5,), "disagrees": (7,)}
    assert found.refused == {"url": 2, "tld": 1, "disagrees": 1}
    assert found.lines == 1


def test_a_quote_that_is_lost_costs_its_own_row() -> None:
    found = entries(b'a.test\n"b.test\nc.test\nd"e.test\nf.test\n')
    assert [name for name, _ in pairs(found)] == [b"a.test", b"c.test", b"f.test"]
    assert found.refused_lines == {"malformed": (3, 5)}


def test_of_many_refused_lines_the_first_numbers_are_kept() -> None:
    found = entries(b";a.test;;\n" + b"x;a.test;;\nhttp://y.test/y\nhttp://y.test/y;y.test;;\n" * 90)
    assert found.refused == {"disagrees": 90, "url": 180}
    assert len(found.refused_lines["url"]) == read.MAX_LINE_NUMBERS
    assert found.refused_lines["url"][:4] == (4, 5, 7, 8)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [(b"", "empty"), (b"http://a.test/x;a.test;;\n", "empty"), (b"\xff;a.test;;\n", "not_utf8")],
)
def test_a_file_that_is_refused_whole(rows: bytes, reason: str) -> None:
    with pytest.raises(read.ReadError) as error:
        entries(rows)
    assert error.value.reason == reason


def test_many_rows_take_little_time() -> None:
    rows = b"".join(b"http://name%d.test/;name%d.test;;192.0.2.1\r\n" % (one, one) for one in range(200_000))
    start = time.process_time()
    assert entries(rows, most=10**6).lines == 200_000
    assert time.process_time() - start < 5


def test_a_csv_of_which_no_row_is_left_says_which_rows_were_refused() -> None:
    with pytest.raises(read.ReadError) as error:
        read_csv.read_csv(b"1;1700000000\na.test;b.test\nco.uk\n", PSL, demonstration=True, max_entries=9)
    assert error.value.refused == {"malformed": 1, "icann_suffix": 1}
    assert error.value.refused_lines == {"malformed": (2,), "icann_suffix": (3,)}
