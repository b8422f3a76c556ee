"""Reads what deploy/resolver.toml says of each option: the manual, the schema and `setup` say it in the same words.

Rules:
- resolver.toml in this folder is that file (a symbolic link; an install has a copy). Its first lines state its form.
- Lines of comment explain the option, or the table, that follows them; options that follow each other without one
  share it.
"""

import re
from importlib import resources
from typing import Final, NamedTuple

_HEADER: Final = re.compile(r"\[{1,2}(?P<name>[a-z_.]+)\]{1,2}\Z")
_OPTION: Final = re.compile(r"(?P<mark>#?)(?P<key>[a-z][a-z0-9_]*) = (?P<value>.+)\Z")


class Option(NamedTuple):
    """One key of a table. value: as the file has it, its default or an example. required: it has no default."""

    key: str
    value: str
    required: bool
    said: str


class Table(NamedTuple):
    """One table of the file: its name without brackets, whether it can stand more than once, and its options."""

    name: str
    is_array: bool
    said: str
    options: tuple[Option, ...]


def text() -> str:
    """Return the file with every option, as it is installed."""
    return resources.files(__package__).joinpath("resolver.toml").read_text(encoding="utf-8")


def tables(file: str) -> tuple[Table, ...]:
    """Return the tables of such a file in its order; ValueError for a line that has another form."""
    found: list[Table] = []
    options: list[Option] = []
    comment: list[str] = []
    said = ""
    for line in file.splitlines():
        header, option = _HEADER.match(line), _OPTION.match(line)
        if line.startswith("# ") or line == "#":
            comment.append(line.removeprefix("#").strip())
        elif header:
            options = []
            found.append(Table(header["name"], line.startswith("[["), _joined(comment), ()))
            comment = []
        elif option and found:
            said = _joined(comment) if comment else said
            options.append(Option(option["key"], option["value"], not option["mark"], said))
            found[-1] = found[-1]._replace(options=tuple(options))
            comment = []
        elif line:
            raise ValueError("expected a table, an option, or a comment before one")
        elif not found:
            # The first lines are about the file itself.
            comment = []
    return tuple(found)


def _joined(lines: list[str]) -> str:
    return " ".join(lines)
