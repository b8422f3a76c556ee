"""Rows `URL;DOMAIN;IP-URL;IP` to a plain list, which `read` judges: it alone knows what a name is.

Rules:
- The first row is the file's heading (feed.heading), no entry. A row of one cell is a name; any other has four cells,
  and the second is the entry: the name and everything below it. The cells of addresses are passed over.
- URL and domain must agree. A URL with a path is refused: this resolver sees names, the whole site would be blocked.
- Every line is a row: a quoted cell ends on its line, so that one lost quote costs one row and never the rows after it.
- Line numbers are those of the file.
"""

import csv
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

import idna

from resolver.feed.names.guard_lines import Protected
from resolver.feed.names.read import MAX_LINE_NUMBERS, Entries, ReadError, read
from resolver.feed.names.suffixes import Suffixes
from resolver.feed.reasons import Refusal

_BLANKS: Final = b" \t\r"
_MARKERS: Final = b"=!#"


def read_csv(
    data: bytes, psl: Suffixes, *, demonstration: bool, max_entries: int, protected: Protected | None = None
) -> Entries:
    """Entries of the CSV in `data`; ReadError where the whole is refused."""
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            raise ReadError("not_utf8") from None
    plain, refused = _plain(data)
    found = read(plain, psl, demonstration=demonstration, max_entries=max_entries, protected=protected)
    counts, lines = dict(found.refused), dict(found.refused_lines)
    for reason, numbers in refused.items():
        counts[str(reason)] = counts.get(str(reason), 0) + len(numbers)
        both = sorted((*lines.get(str(reason), ()), *numbers[:MAX_LINE_NUMBERS]))
        lines[str(reason)] = tuple(both[:MAX_LINE_NUMBERS])
    return replace(found, refused=counts, refused_lines=lines)


def _plain(data: bytes) -> tuple[bytes, dict[Refusal, list[int]]]:
    """One line for each of the file's, empty where there is no name, and the rows that are refused before it comes to
    the name."""
    rows = data.split(b"\n")
    names = [b""] * len(rows)
    refused: dict[Refusal, list[int]] = {}
    for at in range(1, len(rows)):
        row = rows[at]
        cells = row.split(b";") if b'"' not in row else _quoted(row)
        while len(cells) > 4 and not cells[-1].strip(_BLANKS):
            cells.pop()
        if len(cells) == 4:
            url, domain = cells[0], cells[1].strip(_BLANKS)
        elif any(cell.strip(_BLANKS) for cell in cells[1:]):
            url, domain = b"", b""
        elif not (domain := cells[0].strip(_BLANKS)):
            continue
        else:
            url = b""
        if not domain or domain[0] in _MARKERS or len(domain.split()) > 1:
            refused.setdefault(Refusal.MALFORMED, []).append(at + 1)
        elif url != b"http://" + domain + b"/" and (reason := _reason(url, domain)) is not None:
            refused.setdefault(reason, []).append(at + 1)
        else:
            names[at] = domain
    return b"\n".join(names), refused


def _quoted(row: bytes) -> list[bytes]:
    """Cells of a row in which a quote stands; four without anything where they cannot be told apart."""
    try:
        return [cell.encode() for cell in next(csv.reader([row.decode()], delimiter=";", strict=True))]
    except (csv.Error, StopIteration):
        return [b""] * 4


def _reason(url: bytes, domain: bytes) -> Refusal | None:
    """Why a URL does not go with the domain; None where it does, or where there is none."""
    text = url.decode().strip()
    if not text:
        return None
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host = parts.hostname or ""
    except ValueError:
        return Refusal.MALFORMED
    if parts.path not in ("", "/") or parts.query or parts.fragment or text.endswith(("?", "#")):
        return Refusal.URL
    return None if _name(host) == _name(domain.decode()) else Refusal.DISAGREES


def _name(text: str) -> str:
    text = text.lower().removesuffix(".")
    if text.isascii():
        return text
    try:
        return idna.encode(text, uts46=True).decode().lower().removesuffix(".")
    except idna.IDNAError:
        return text
