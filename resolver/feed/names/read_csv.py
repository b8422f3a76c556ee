"""Reads a CSV with rows `URL;DOMAIN;IP-URL;IP`: turns it into a plain list, which `read` judges.

Rules:
- The first row is the file's header (signed.header), not an entry. A row of one cell is a name; any other has four
  cells, and the second is the entry: the name and all names below it. The cells with addresses are ignored.
- URL and domain must agree. A URL with a path is refused: a resolver sees only names, and would block the whole site.
- Every line is a row: a quoted cell ends on its line, so that a missing quote costs one row, never the rows after it.
- Line numbers are those of the file.
"""

import csv
import ipaddress
from typing import Final
from urllib.parse import urlsplit

import idna

from resolver.feed.names.guard_lines import Protected
from resolver.feed.names.read import Entries, must_be_utf8, read
from resolver.feed.names.suffixes import Suffixes
from resolver.feed.reasons import Refusal

_BLANKS: Final = b" \t\r"
_MARKERS: Final = b"=!#"


def read_csv(
    data: bytes, psl: Suffixes, *, demonstration: bool, max_entries: int, protected: Protected | None = None
) -> Entries:
    """Return the entries of a CSV; ReadError if the whole list is refused."""
    must_be_utf8(data)
    plain, refused = plain_lines(data)
    return read(
        plain,
        psl,
        demonstration=demonstration,
        max_entries=max_entries,
        protected=protected,
        refused=refused,
    )


def plain_lines(data: bytes) -> tuple[bytes, dict[Refusal, list[int]]]:
    """Return a plain list with a line for each row (empty if it has no name), and the rows refused by their form."""
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
        reason = _odd(cells, domain)
        if reason is None and url != b"http://" + domain + b"/":
            reason = _reason(url, domain)
        if reason is not None:
            refused.setdefault(reason, []).append(at + 1)
        else:
            names[at] = domain
    return b"\n".join(names), refused


def _odd(cells: list[bytes], domain: bytes) -> Refusal | None:
    """Return why the domain of a row is none, by its form; None if `read` may judge it."""
    if not domain:
        # A row of an address alone blocks nothing here.
        return Refusal.ADDRESS if len(cells) == 4 and _is_address(cells) else Refusal.MALFORMED
    if domain[0] in _MARKERS:
        return Refusal.MALFORMED
    if b"*" in domain:
        return Refusal.WILDCARD
    return Refusal.SEVERAL_WORDS if len(domain.split()) > 1 else None


def _is_address(cells: list[bytes]) -> bool:
    """Return whether a row without a domain holds an address, and no other host than an address."""
    url, ip = cells[0].decode().strip(), cells[3].decode().strip()
    try:
        ipaddress.ip_address(ip)
        host = urlsplit(url if "://" in url else f"//{url}").hostname if url else ""
        return not host or bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _quoted(row: bytes) -> list[bytes]:
    """Split a row that has quotes into cells; four empty cells if it is malformed."""
    try:
        return [cell.encode() for cell in next(csv.reader([row.decode()], delimiter=";", strict=True))]
    except (csv.Error, StopIteration):
        return [b""] * 4


def _reason(url: bytes, domain: bytes) -> Refusal | None:
    """Return why a URL does not match the domain; None if it does, or if there is no URL."""
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
