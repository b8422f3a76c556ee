"""Says what a file looks like, by its form alone, for those who have to find out why it is no list.

Rules:
- What is found is one word of a closed set (feed.reasons.Shape), never an octet of the file.
- It is a hint in a message and decides nothing: no list is read otherwise because of it.
- Only the first SAMPLE octets are looked at, so that a large file costs no more than a small one.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable
from typing import Final

from resolver.feed.reasons import Shape

SAMPLE: Final = 2**18
_LINES: Final = 2000
_LEAST: Final = 0.5
"""The share of lines that have to have a form before a file is said to have it."""

_FIRST: Final = (
    (b"\x1f\x8b", Shape.GZIP),
    (b"BZh", Shape.BZIP2),
    (b"\xfd7zXZ\x00", Shape.XZ),
    (b"\x28\xb5\x2f\xfd", Shape.ZSTD),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Shape.XLS),
    (b"%PDF-", Shape.PDF),
    (b"\xff\xfe", Shape.UTF16),
    (b"\xfe\xff", Shape.UTF16),
    (b"age-encryption.org/", Shape.AGE),
    (b"-----BEGIN AGE ENCRYPTED FILE", Shape.AGE),
    (b"-----BEGIN PGP", Shape.OPENPGP),
)
_ZIP: Final = b"PK\x03\x04"
_TEXT: Final = re.compile(r"[\t\r\n\x20-\x7e\xa0-\xff]*\Z")

_NAME: Final = r"[^\s/#;,|=\"]*[^\s/#;,|=\".]\.[^\s/#;,|=\"]+"
_FORMS: Final[tuple[tuple[Shape, re.Pattern[str]], ...]] = tuple(
    (shape, re.compile(form, re.IGNORECASE))
    for shape, form in (
        (Shape.UNBOUND, r"\s*(local-zone|local-data)\s*:"),
        (Shape.DNSMASQ, r"\s*(address|server|local)\s*=\s*/"),
        (Shape.CSV, r"[^;]*;[^;]*;[^;]*;[^;]*;?;*$|\d{1,19}\s*;[^;]+$"),
        (Shape.ADBLOCK, rf"(@@)?\|\|?|/.*/$|{_NAME}\S*#[@?$]*#|##|.*\^(\$.*)?$"),
        (Shape.RPZ, rf"\$(ORIGIN|TTL)\b|({_NAME}|[*@])\s.*\b(CNAME|SOA|NS)\s+\S"),
        (Shape.URLS, r"[a-z][a-z0-9+.-]*://\S+$"),
        (Shape.WILDCARDS, r"\*\.[^\s/*]+$"),
        (Shape.COMMAS, r"[^,]+(,[^,]*)+$"),
        (Shape.REGEX, r"\^?\(|.*\\\.|\^.*\$$"),
        (Shape.PLAIN, rf"!?=?{_NAME}$"),
    )
)


def looks_like(data: bytes) -> Shape | None:
    """Return what a file looks like; None if it has no form that is known here."""
    for first, shape in _FIRST:
        if data.startswith(first):
            return shape
    if data.startswith(_ZIP):
        return Shape.XLSX if b"[Content_Types].xml" in data[:SAMPLE] or b"xl/" in data[:SAMPLE] else Shape.ZIP
    sample = data[:SAMPLE]
    try:
        # A sample may end within a character.
        text = sample.decode("utf-8", "strict" if len(data) <= SAMPLE else "ignore")
    except UnicodeDecodeError:
        return _not_text(sample)
    text = text.removeprefix("\ufeff")
    if text.count("\0") > len(text) / 4:
        return Shape.UTF16
    return _of_text(text)


def _not_text(sample: bytes) -> Shape:
    if sample.count(b"\0") > len(sample) / 4:
        return Shape.UTF16
    return Shape.LATIN1 if _TEXT.match(sample.decode("latin-1")) else Shape.BINARY


def _of_text(text: str) -> Shape | None:
    start = text.lstrip()[:512].lower()
    if start.startswith(("<!doctype html", "<html", "<head", "<body")) or "<html" in start:
        return Shape.HTML
    if start.startswith("<?xml") or start.startswith("<"):
        return Shape.XML
    if start.startswith(("{", '["', "[{", "[\n", "[\r")):
        return Shape.JSON
    adblock = start.startswith("[adblock")
    lines = [line.strip() for line in re.split(r"\r\n|\n|\r", text)[:_LINES]]
    found: Counter[Shape] = Counter()
    counted = 0
    for line in lines:
        if not line or line[0] == ";" or (line[0] in "#!" and not line.startswith("##")):
            continue
        counted += 1
        shape = _of_line(line)
        if shape is not None:
            found[shape] += 1
    if not counted:
        return None
    if adblock:
        return Shape.ADBLOCK
    shape, count = found.most_common(1)[0] if found else (None, 0)
    return shape if count > counted * _LEAST or (count == counted) else None


def _of_line(line: str) -> Shape | None:
    first, *rest = line.split(None, 1)
    if _is_address(first):
        return Shape.HOSTS if rest and not rest[0].startswith("#") else Shape.ADDRESSES
    return next((shape for shape, form in _FORMS if form.match(line)), None)


def _is_address(word: str) -> bool:
    judge: Callable[[str], object] = ipaddress.ip_network
    try:
        judge(word)
    except ValueError:
        return False
    return True
