"""Lays out a screen for a person on call: rows of facts, and below them the next steps, the most urgent first.

Rules:
- A next step is one line: what is wrong, then the exact command, or whom to call.
- Nothing is wider than WIDTH columns: a row continues on the next line; a command has a line of its own, to be copied.
- Colour only if the caller asks for it, and never as the only sign: words say what is bad, too.
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from resolver.config.values import many
from resolver.config.values import span as span

WIDTH: Final = 100
DEFAULT_CONFIG: Final = "/etc/blocklist-resolver/resolver.toml"
LOG: Final = "journalctl -u blocklist-resolver"
NOTHING: Final = "next: nothing to do"

_TITLE: Final = 11
_NEXT: Final = "next: "
_RED, _YELLOW, _PLAIN = "\x1b[1;31m", "\x1b[33m", "\x1b[0m"


class Urgency(IntEnum):
    """How soon a person has to act.

    OUT: names are answered wrongly or not at all. WAITS: a person or the law waits. FAILS: something fails and has done
    no harm yet. SOON: within days. LATER: whenever there is time.
    """

    OUT = 0
    WAITS = 1
    FAILS = 2
    SOON = 3
    LATER = 4


class Mark(IntEnum):
    """The colour of a row on a terminal."""

    PLAIN = 0
    WARN = 1
    BAD = 2


class Row(NamedTuple):
    """One row of facts: its title, its text."""

    title: str
    text: str
    mark: Mark = Mark.PLAIN


class Advice(NamedTuple):
    """What is wrong, and what to do: a command, or whom to call and where to look; "" if `what` says it."""

    urgency: Urgency
    what: str
    do: str

    @property
    def text(self) -> str:
        """Both in one line."""
        return f"{self.what}: {self.do}" if self.do else self.what


def command(words: str, config: str) -> str:
    """Return a command as it is typed for a service with this configuration."""
    return f"blocklist-resolver {words}" + (f" --config {config}" if config != DEFAULT_CONFIG else "")


def in_order(found: Iterable[Advice]) -> tuple[Advice, ...]:
    """Return the advice with the most urgent first, and what two lists share once."""
    return tuple(sorted(dict.fromkeys(found), key=lambda one: one.urgency))


def screen(rows: Iterable[Row], advice: Sequence[Advice], *, nothing: str = "", colour: bool = False) -> str:
    """Return the rows with the advice below them, or with `nothing` if there is no advice."""
    lines = [_painted(line, row.mark, colour) for row in rows for line in _of_row(row)]
    lines += [_painted(line, _MARKS[one.urgency], colour) for one in advice for line in _of_advice(one)]
    return "\n".join([*lines, nothing] if nothing and not advice else lines)


_MARKS: Final = {
    Urgency.OUT: Mark.BAD,
    Urgency.WAITS: Mark.BAD,
    Urgency.FAILS: Mark.WARN,
    Urgency.SOON: Mark.WARN,
    Urgency.LATER: Mark.PLAIN,
}


def _of_row(row: Row) -> Iterator[str]:
    title = row.title
    for line in _wrapped(row.text, WIDTH - _TITLE) or [""]:
        yield f"{title:<{_TITLE}}{line}".rstrip()
        title = ""


def _of_advice(one: Advice) -> Iterator[str]:
    if len(_NEXT) + len(one.text) <= WIDTH:
        yield _NEXT + one.text
        return
    indent = _NEXT
    for line in _wrapped(f"{one.what}:" if one.do else one.what, WIDTH - len(_NEXT)):
        yield indent + line
        indent = " " * len(_NEXT)
    # A command stays whole; words may continue on the next line.
    for line in [one.do] if one.do.startswith("blocklist-resolver ") else _wrapped(one.do, WIDTH - len(_NEXT)):
        yield indent + line


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _painted(line: str, mark: Mark, colour: bool) -> str:
    if not colour or mark is Mark.PLAIN:
        return line
    return f"{_RED if mark is Mark.BAD else _YELLOW}{line}{_PLAIN}"


def counts(found: Mapping[str, int]) -> str:
    """Return counts by reason as text, without zeros."""
    return ", ".join(f"{reason} {count}" for reason, count in sorted(found.items()) if count) or "none"


def entries(count: int, exceptions: int) -> str:
    """Return how many entries a list has, and how many of them are exceptions if any are."""
    spared = f", of them {many(exceptions, 'exception')}" if exceptions else ""
    return f"{many(count, 'entry', 'entries')}{spared}"
