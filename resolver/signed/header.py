"""Parses the header of a signed file: words in a trusted comment or in the first line, or the first row of a CSV.

    serial=412 issued=2026-11-25T06:00:00Z not-after=2026-12-09T06:00:00Z entries=5747 list=ID withdrawn
    412;2026-11-25T06:00:00Z

The first line is a comment of its format: it begins with `#` in a plain list, with `;` in a zone's master file.

Rules:
- Blanks separate words. A known word stands once; unknown words are ignored, so that an authority may add its own.
- A time is whole unix seconds (9 to 11 digits) or ISO 8601 with date and time; without a zone it is UTC.
- A missing date is 0 (issued) or None (not-after); a caller that needs it refuses the file.
"""

import csv
import re
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from resolver.signed import metadata

MAX_FIRST_LINE: Final = 1024
_BOM: Final = b"\xef\xbb\xbf"
_UNIX: Final = re.compile(r"[0-9]{9,11}\Z")
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?\Z", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,19}\Z")
_WITHDRAWN: Final = "withdrawn"
_TIME: Final = "no time: expected seconds since 1970 (9 to 11 digits), or a date and a time as 2026-11-25T06:00:00Z"
_NUMBER_FAULT: Final = "no number: expected 1 to 19 digits, as SERIAL has"


class HeaderMalformed(Exception):
    """The header of a file is malformed or lacks a word that it must have; the text says where, and what is expected.

    It repeats nothing of the file but the known words of a header. fault: what is wrong, one word. field: the word of
    the header, "" if it is none. cell: of the first row of a CSV, from 1.
    """

    def __init__(self, said: str, fault: str, field: str = "", *, cell: int = 0) -> None:
        super().__init__(said)
        self.fault = fault
        self.field = field
        self.cell = cell


class Header(Struct, frozen=True, kw_only=True):
    """The parsed header, times in unix seconds; missing is 0 for `issued`, None for the others."""

    serial: int
    issued: int = 0
    not_after: int | None = None
    entries: int | None = None
    list_id: str | None = None
    withdrawn: bool = False


def timestamp(text: str, field: str = "") -> int:
    """Return a time in unix seconds; HeaderMalformed if `text` is no time. field: the word that it is."""
    if _UNIX.match(text):
        return int(text)
    if not _ISO.match(text):
        raise HeaderMalformed(_TIME, "time", field)
    try:
        found = datetime.fromisoformat(text)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise HeaderMalformed(_TIME, "time", field) from None


def of_words(text: str) -> Header:
    """Parse words; HeaderMalformed if a known word stands twice or has no value, or if serial is missing."""
    said: dict[str, str] = {}
    for word in text.split():
        key, equals, value = word.partition("=")
        if key in said or bool(equals) is (key == _WITHDRAWN):
            if key in _KNOWN:
                raise HeaderMalformed(f"`{key}` stands twice, or has no value, or must have none", "word", key)
            continue
        said[key] = value
    if "serial" not in said:
        raise HeaderMalformed("`serial=` is missing", "missing", "serial")
    return Header(
        serial=_number(said["serial"], "serial"),
        issued=timestamp(said["issued"], "issued") if "issued" in said else 0,
        not_after=timestamp(said["not-after"], "not-after") if "not-after" in said else None,
        entries=_number(said["entries"], "entries") if "entries" in said else None,
        list_id=said.get("list"),
        withdrawn=_WITHDRAWN in said,
    )


_KNOWN: Final = frozenset(("serial", "issued", "not-after", "entries", "list", _WITHDRAWN))


def of_plain(data: bytes) -> Header:
    """Parse the first line of a plain list, a comment of words; HeaderMalformed otherwise."""
    return _of_comment(data, "#")


def of_master(data: bytes) -> Header:
    """Parse the first line of a zone's master file, a comment of words; HeaderMalformed otherwise."""
    return _of_comment(data, ";")


def _of_comment(data: bytes, mark: str) -> Header:
    line = _first_line(data)
    if not line.startswith(mark):
        raise HeaderMalformed(f"line 1: expected a comment, `{mark} serial=N issued=TIME`", "comment")
    return of_words(line.removeprefix(mark))


def of_csv(data: bytes) -> Header:
    """Parse the first row of a CSV: serial, timestamp, and optionally `withdrawn`; HeaderMalformed otherwise."""
    try:
        row = [cell.strip() for cell in next(csv.reader([_first_line(data)], delimiter=";", strict=True))]
    except (csv.Error, StopIteration):
        raise HeaderMalformed("row 1: a quote that does not end, or stands within a cell", "quote") from None
    while len(row) > 2 and not row[-1]:
        row.pop()
    row = row or [""]
    if row[0].startswith("sep=") or not 2 <= len(row) <= 3 or row[2:] not in ([], [_WITHDRAWN]):
        said, fault = _fault_of_row(row)
        raise HeaderMalformed(f"row 1: {said}", fault)
    try:
        return Header(serial=_number(row[0]), issued=timestamp(row[1]), withdrawn=len(row) == 3)
    except HeaderMalformed as error:
        cell = 1 if error.fault == "number" else 2
        raise HeaderMalformed(f"row 1, cell {cell}: {error}", error.fault, cell=cell) from None


def _fault_of_row(row: list[str]) -> tuple[str, str]:
    """Return what is wrong with the number of cells of a CSV's first row, and the word for it; nothing of a cell is
    repeated."""
    if row[0].startswith("sep="):
        return "expected SERIAL;TIMESTAMP, found a spreadsheet's line `sep=`", "sep"
    if len(row) < 2:
        text = row[0]
        if not text:
            return "it is empty", "empty"
        for mark, name in ((",", "commas"), ("\t", "tabs")):
            if mark in text:
                return f"its cells are separated by {name}, expected `;`", name
        return "expected two cells separated by `;`, found one", "row"
    return f"expected two cells, or a third `{_WITHDRAWN}`, found {len(row)}", "row"


def custom_of(header: Header, list_id: str) -> metadata.Custom:
    """Return the signed facts, of list `list_id` if the header names no list; HeaderMalformed if out of bounds."""
    try:
        return metadata.custom_of(
            {
                "list": list_id if header.list_id is None else header.list_id,
                "serial": header.serial,
                "issued": header.issued,
                "expires": header.not_after,
                "withdrawn": header.withdrawn,
                "entries": header.entries,
            }
        )
    except metadata.CustomMalformed as error:
        said = "a value out of bounds: serial is 1 to 2^63 - 1, a list's id [a-z0-9-]"
        raise HeaderMalformed(said, "bounds", "not-after" if error.field == "expires" else error.field) from None


def _first_line(data: bytes) -> str:
    line, end, _ = data[: MAX_FIRST_LINE + 1].removeprefix(_BOM).partition(b"\n")
    if not end and len(data) > MAX_FIRST_LINE:
        raise HeaderMalformed(f"its first line is longer than {MAX_FIRST_LINE} octets", "long")
    try:
        return line.removesuffix(b"\r").decode("ascii")
    except UnicodeDecodeError:
        raise HeaderMalformed("its first line is not ASCII", "ascii") from None


def _number(text: str, field: str = "") -> int:
    if not _NUMBER.match(text):
        raise HeaderMalformed(_NUMBER_FAULT, "number", field)
    return int(text)
