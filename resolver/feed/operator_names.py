"""Reads the names that the operator writes down for the guard: those to protect, and a file of popular ones.

Rules:
- These are the operator's own names and no list's: they are read outside the processes that see listed names.
- A name to protect must be one that a line of a list could block; an address or a pattern protects nothing.
- A file has one name a line; `#` starts a comment; of `rank,name` the name counts.
"""

import re
from pathlib import Path
from typing import Final

import idna

_LABELS: Final = re.compile(rb"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


def ascii_name(text: str) -> bytes:
    """Return a name in lower-case ASCII without the dot at its end; ValueError if it is no name."""
    name = text.strip().removesuffix(".")
    if not name:
        raise ValueError("no name")
    if name.isascii():
        return name.lower().encode("ascii")
    return idna.encode(name, uts46=True).lower()


def can_be_protected(text: str) -> bool:
    """Return whether a line of a list could block this name."""
    try:
        name = ascii_name(text)
    except ValueError:
        return False
    return _LABELS.fullmatch(name) is not None and not name.rpartition(b".")[2].isdigit()


def popular_names(path: Path) -> str:
    """Return the text of a file of popular names; OSError if it cannot be read, ValueError if it is not UTF-8 or not a
    file."""
    if path.exists() and not path.is_file():
        raise ValueError("not a file")
    return path.read_text("utf-8")


def fault_of_popular(text: str) -> str:
    """Return what is wrong with the text of such a file, by the first line that holds no name; "" if nothing is."""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            for name in names_in(line):
                ascii_name(name)
        except ValueError:
            return f"line {number} does not hold a domain name"
    return ""


def names_in(text: str) -> list[str]:
    """Return the names in the text of a file."""
    lines = (line.partition("#")[0].strip().rpartition(",")[2] for line in text.splitlines())
    return [line for line in lines if line]
