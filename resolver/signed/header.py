"""What a signed file says of itself: words of a trusted comment or of a first line, or the first row of a CSV.

    serial=412 issued=2026-11-25T06:00:00Z not-after=2026-12-09T06:00:00Z entries=5747 list=ID withdrawn
    412;2026-11-25T06:00:00Z

Rules:
- Words stand between blanks; known ones stand once, unknown ones are passed over, so that an authority may add its own.
- A time is whole unix seconds (9 to 11 digits) or ISO 8601 with date and time; without a zone it is UTC.
- A date that is not said is 0 (issued) or None (not-after); whoever needs it refuses.
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


class HeadingMalformed(Exception):
    """A file does not say of itself what it must."""


class Heading(Struct, frozen=True, kw_only=True):
    """What is said; issued 0, others None where they are not. Times in unix seconds."""

    serial: int
    issued: int = 0
    not_after: int | None = None
    entries: int | None = None
    list_id: str | None = None
    withdrawn: bool = False


def timestamp(text: str) -> int:
    """Unix seconds of a time; HeadingMalformed where it is none."""
    if _UNIX.match(text):
        return int(text)
    if not _ISO.match(text):
        raise HeadingMalformed("time")
    try:
        found = datetime.fromisoformat(text)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise HeadingMalformed("time") from None


def of_words(text: str) -> Heading:
    """What the words say; HeadingMalformed where a known word stands twice or holds no value, or serial is missing."""
    said: dict[str, str] = {}
    for word in text.split():
        key, equals, value = word.partition("=")
        if key in said or bool(equals) is (key == _WITHDRAWN):
            if key in _KNOWN:
                raise HeadingMalformed("word")
            continue
        said[key] = value
    return Heading(
        serial=_number(said.get("serial", "")),
        issued=timestamp(said["issued"]) if "issued" in said else 0,
        not_after=timestamp(said["not-after"]) if "not-after" in said else None,
        entries=_number(said["entries"]) if "entries" in said else None,
        list_id=said.get("list"),
        withdrawn=_WITHDRAWN in said,
    )


_KNOWN: Final = frozenset(("serial", "issued", "not-after", "entries", "list", _WITHDRAWN))


def of_plain(data: bytes) -> Heading:
    """What the first line of a plain list says, a comment of words; HeadingMalformed otherwise."""
    line = _first_line(data)
    if not line.startswith("#"):
        raise HeadingMalformed("no comment")
    return of_words(line.removeprefix("#"))


def of_csv(data: bytes) -> Heading:
    """What the first row of a CSV says: serial, timestamp, and perhaps `withdrawn`; HeadingMalformed otherwise."""
    try:
        row = [cell.strip() for cell in next(csv.reader([_first_line(data)], delimiter=";", strict=True))]
    except (csv.Error, StopIteration):
        raise HeadingMalformed("row") from None
    while len(row) > 2 and not row[-1]:
        row.pop()
    if not 2 <= len(row) <= 3 or row[2:] not in ([], [_WITHDRAWN]):
        raise HeadingMalformed("row")
    return Heading(serial=_number(row[0]), issued=timestamp(row[1]), withdrawn=len(row) == 3)


def custom_of(heading: Heading, list_id: str) -> metadata.Custom:
    """The signed facts; a file that names no list is of the list `list_id`. HeadingMalformed where out of bounds."""
    try:
        return metadata.custom_of(
            {
                "list": list_id if heading.list_id is None else heading.list_id,
                "serial": heading.serial,
                "issued": heading.issued,
                "expires": heading.not_after,
                "withdrawn": heading.withdrawn,
                "entries": heading.entries,
            }
        )
    except metadata.CustomMalformed:
        raise HeadingMalformed("bounds") from None


def _first_line(data: bytes) -> str:
    line, end, _ = data[: MAX_FIRST_LINE + 1].removeprefix(_BOM).partition(b"\n")
    if not end and len(data) > MAX_FIRST_LINE:
        raise HeadingMalformed("long")
    try:
        return line.removesuffix(b"\r").decode("ascii")
    except UnicodeDecodeError:
        raise HeadingMalformed("ascii") from None


def _number(text: str) -> int:
    if not _NUMBER.match(text):
        raise HeadingMalformed("number")
    return int(text)
