"""What a file says of itself: words, a first line, a first row."""

import pytest

from resolver.signed import header
from resolver.signed.header import Header, HeaderMalformed

NOON = 1795608000
"""2026-11-25T12:00:00Z"""


@pytest.mark.parametrize(
    "text",
    [
        "1795608000",
        "2026-11-25T12:00:00Z",
        "2026-11-25T12:00Z",
        "2026-11-25 12:00:00",
        "2026-11-25T12:00:00.75",
        "2026-11-25T13:00:00+01:00",
        "2026-11-25T06:30:00-0530",
    ],
)
def test_a_time(text: str) -> None:
    assert header.timestamp(text) == NOON


@pytest.mark.parametrize(
    "text",
    ["", "0", "20261125", "20261125120000", "2026-11-25", "2026-02-30T12:00", "2026-11-25T12", "noon", "-1795608000",
     "\u0661795608000", "2026-11-25T12:00:00Z ", "2026-11-25T12:00 Z"],
)  # fmt: skip
def test_no_time(text: str) -> None:
    with pytest.raises(HeaderMalformed):
        header.timestamp(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("serial=7", Header(serial=7)),
        (
            "serial=7 not-after=1795608000 issued=1795608000 entries=3 list=demo",
            Header(serial=7, issued=NOON, not_after=NOON, entries=3, list_id="demo"),
        ),
        ("  serial=7\twithdrawn ", Header(serial=7, withdrawn=True)),
        ("timestamp:1 file:list.txt hashed serial=7 hashed", Header(serial=7)),
    ],
)
def test_words(text: str, said: Header) -> None:
    assert header.of_words(text) == said


@pytest.mark.parametrize(
    "text",
    ["", "serial", "serial=", "serial=-1", "serial=7 serial=8", "serial=7 serial=7", "serial=7 withdrawn=no",
     "serial=7 withdrawn withdrawn", "serial=7 entries", "serial=7 issued=soon", "serial=7 not-after=",
     "serial=99999999999999999999", "SERIAL=7", "serial=\u0667"],
)  # fmt: skip
def test_words_that_say_nothing_sure(text: str) -> None:
    with pytest.raises(HeaderMalformed):
        header.of_words(text)


@pytest.mark.parametrize(
    "data",
    [
        b"# serial=7 issued=1795608000\na.test\n",
        b"#serial=7 issued=1795608000\r\na.test\r\n",
        b"\xef\xbb\xbf# issued=2026-11-25T12:00:00Z serial=7",
    ],
)
def test_a_first_line(data: bytes) -> None:
    assert header.of_plain(data) == Header(serial=7, issued=NOON)


@pytest.mark.parametrize(
    "data", [b"", b"a.test\n", b"\n# serial=7\n", b"# a list\n", b"# serial=7 " + b"x" * 1100, "# serial=7 é".encode()]
)
def test_no_first_line(data: bytes) -> None:
    with pytest.raises(HeaderMalformed):
        header.of_plain(data)


def test_the_first_line_of_a_master_file() -> None:
    assert header.of_master(b"; serial=7 issued=1795608000\n@ SOA") == Header(serial=7, issued=NOON)
    for data in (b"# serial=7 issued=1795608000\n", b"@ SOA a. b. 7 1 1 1 1\n; serial=7\n"):
        with pytest.raises(HeaderMalformed, match="line 1: expected a comment, `; serial=N"):
            header.of_master(data)


@pytest.mark.parametrize(
    ("data", "withdrawn"),
    [
        (b"7;1795608000\n", False),
        (b'"7";"2026-11-25 12:00:00"\r\n', False),
        (b"\xef\xbb\xbf7; 2026-11-25T12:00:00Z ;;\nx", False),
        (b"7;1795608000;withdrawn\n", True),
    ],
)
def test_a_first_row(data: bytes, withdrawn: bool) -> None:
    assert header.of_csv(data) == Header(serial=7, issued=NOON, withdrawn=withdrawn)


@pytest.mark.parametrize(
    "data", [b"", b"7\n", b"7;\n", b";1795608000\n", b"7,1795608000\n", b"7;1795608000;gone\n", b'"7;1795608000\n',
             b"7;1795608000;withdrawn;x\n", b"<html>\n"]
)  # fmt: skip
def test_no_first_row(data: bytes) -> None:
    with pytest.raises(HeaderMalformed):
        header.of_csv(data)


def test_facts_of_a_heading() -> None:
    custom = header.custom_of(Header(serial=7, issued=NOON), "demo")
    assert (custom.list, custom.serial, custom.issued, custom.expires) == ("demo", 7, NOON, None)
    assert header.custom_of(Header(serial=7, list_id="other"), "demo").list == "other"
    for bad in (Header(serial=0), Header(serial=2**63), Header(serial=7, list_id="A b")):
        with pytest.raises(HeaderMalformed):
            header.custom_of(bad, "demo")
