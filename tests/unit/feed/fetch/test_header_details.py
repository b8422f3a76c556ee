"""A header that is malformed: which row, cell or word, and never its content."""

import pytest

from resolver.config.lists import List, Source
from resolver.feed import detail_text
from resolver.feed.details import Place
from resolver.feed.fetch.header_details import of_header
from resolver.signed import header

ONE = List(id="demo", source=Source(kind="file", url="file:///srv/list", root="/etc/key", format="csv"))


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (b"SERIAL;TIMESTAMP", "row 1, cell 1 is not a serial"),
        (b"412;25/11/2026 06:00", "row 1, cell 2 is not a time: expected 2026-11-25T06:00:00Z or unix seconds"),
        (b"4,12E+02;1795000000", "row 1, cell 1 is not a serial"),
        (b"412;20261128060000", "row 1, cell 2 is not a time: expected 2026-11-25T06:00:00Z or unix seconds"),
        (b"412,2026-11-25T06:00:00Z", "the cells of row 1 are separated by commas, not by semicolons"),
        (b"412\t2026-11-25T06:00:00Z", "the cells of row 1 are separated by tabs, not by semicolons"),
        (b"sep=;", "row 1 is a spreadsheet's `sep=`, SERIAL;TIMESTAMP must come first"),
        (b"", "row 1 is empty, SERIAL;TIMESTAMP must come first"),
        (b'"412;x', "row 1 has a quote that does not end, or stands within a cell"),
        (b"1;2;3;4", "row 1 is not SERIAL;TIMESTAMP, with a semicolon between the cells"),
        ("412;2026".encode("utf-16"), "line 1 is not ASCII: is the file UTF-16, or packed?"),
        (b"4" * 2000, "line 1 is too long for a header"),
    ],
)
def test_a_csv_whose_first_row_is_wrong_says_where(first: bytes, told: str) -> None:
    with pytest.raises(header.HeaderMalformed) as error:
        header.of_csv(first + b"\nhttp://name0.test/;name0.test;;\n")
    assert detail_text.text(of_header(error.value, Place.LIST), ONE) == f"/srv/list: {told}"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("issued=1795000000", "the field `serial` is missing"),
        ("serial=name0.test", "the field `serial` does not have a value that it may have"),
        ("serial=1 issued=today", "the field `issued` does not have a value that it may have"),
        ("serial=1 serial=2", "the field `serial` does not have a value that it may have"),
        ("serial=1 not-after=soon", "the field `not-after` does not have a value that it may have"),
    ],
)
def test_a_comment_whose_words_are_wrong_says_which(words: str, told: str) -> None:
    with pytest.raises(header.HeaderMalformed) as error:
        header.of_words(words)
    assert detail_text.text(of_header(error.value, Place.SIGNATURE), ONE) == f"/srv/list.minisig: {told}"


def test_a_plain_list_without_its_comment_and_facts_out_of_bounds() -> None:
    with pytest.raises(header.HeaderMalformed) as error:
        header.of_plain(b"name0.test\n")
    told = detail_text.text(of_header(error.value, Place.LIST), ONE)
    assert told == "/srv/list: line 1 is not a comment with serial= and issued="
    with pytest.raises(header.HeaderMalformed) as error:
        header.custom_of(header.Header(serial=0), "demo")
    assert "`serial`" in detail_text.text(of_header(error.value, Place.LIST), ONE)
    unknown = of_header(header.HeaderMalformed("name0.test", "bounds", "name0.test"), Place.LIST)
    assert detail_text.text(unknown, ONE) == "/srv/list does not have the form that it must have"
