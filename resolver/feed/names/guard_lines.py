"""Rules on single lines: which names no list should block by accident, so that their lines wait for approval.

Rules:
- A line is set aside where it names a protected name or one above it; where the name protects what is below it, also a
  line below. Which scope the line has makes no difference; an exception is never set aside.
- protected: the operator's names, and the hosts that its service depends on; they protect what is below them.
- infrastructure: the shipped list; `=name` protects itself alone.
- private_suffix: a name of the private section of the Public Suffix List, under which strangers have their sites, one
  directly below a wildcard of it, or one above.
- popular: the operator's file of names that nobody should block; each protects itself alone.
- Of several reasons the first in this order counts.
- A name that the operator protects must be one that can stand in DNS: what no name can equal protects nothing.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Final

import idna

from resolver.feed.names.suffixes import Suffixes

INFRASTRUCTURE: Final = Path(__file__).with_name("infrastructure.txt")

_LABELS: Final = re.compile(rb"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


class SetAside(StrEnum):
    """Why a line is set aside; a metric's label."""

    PROTECTED = "protected"
    INFRASTRUCTURE = "infrastructure"
    PRIVATE_SUFFIX = "private_suffix"
    POPULAR = "popular"


def ascii_name(text: str) -> bytes:
    """A name in lower-case ASCII without the dot at its end; ValueError where it is none."""
    name = text.strip().removesuffix(".")
    if not name:
        raise ValueError("no name")
    if name.isascii():
        return name.lower().encode("ascii")
    return idna.encode(name, uts46=True).lower()


def can_be_protected(text: str) -> bool:
    """Whether this is a name that a line could block: an address is none."""
    try:
        name = ascii_name(text)
    except ValueError:
        return False
    return _LABELS.fullmatch(name) is not None and not name.rpartition(b".")[2].isdigit()


def popular_names(path: Path) -> str:
    """The text of the operator's file of popular names; OSError where it cannot be read, ValueError where it is not
    UTF-8 or no file at all."""
    if path.exists() and not path.is_file():
        raise ValueError("not a file")
    return path.read_text("utf-8")


def fault_of_popular(text: str) -> str:
    """What is wrong with a file of popular names: the first line that holds none; "" where nothing is."""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            for name in names_in(line):
                ascii_name(name)
        except ValueError:
            return f"line {number} holds what is no domain name"
    return ""


def names_in(text: str) -> list[str]:
    """The names of a file: one a line; `#` starts a comment; of `rank,name` the name."""
    lines = (line.partition("#")[0].strip().rpartition(",")[2] for line in text.splitlines())
    return [line for line in lines if line]


def _with_parents(names: Iterable[bytes]) -> frozenset[bytes]:
    """The names and all above them, the root left out."""
    found: set[bytes] = set()
    for name in names:
        rest = name
        while rest and rest not in found:
            found.add(rest)
            rest = rest.partition(b".")[2]
    return frozenset(found)


class Protected:
    """What no line may block unseen; made once, asked of single names, and of what may touch one."""

    def __init__(self, protected: Iterable[str], infrastructure: str, popular: str, psl: Suffixes) -> None:
        own = frozenset(map(ascii_name, protected))
        shipped = names_in(infrastructure)
        carried = frozenset(ascii_name(name) for name in shipped if name[0] != "=")
        self._below = {SetAside.PROTECTED: own, SetAside.INFRASTRUCTURE: carried}
        self._at = {
            SetAside.PROTECTED: _with_parents(own),
            SetAside.INFRASTRUCTURE: _with_parents(ascii_name(name.removeprefix("=")) for name in shipped),
            SetAside.PRIVATE_SUFFIX: _with_parents(psl.private | psl.private_wildcards),
            SetAside.POPULAR: _with_parents(map(ascii_name, names_in(popular))),
        }
        self._spared = psl.private_spared
        # A line is not to set aside unless its name is one of these, is right below one, or is below one at any depth.
        self.at: frozenset[bytes] = frozenset().union(*self._at.values())
        self.wildcards = psl.private_wildcards
        self.below = own | carried

    def reason(self, name: bytes) -> SetAside | None:
        """Why a line with this name is set aside; None where it is not."""
        above = []
        rest = name
        while rest := rest.partition(b".")[2]:
            above.append(rest)
        for reason, names in self._at.items():
            if name in names or not self._below.get(reason, frozenset()).isdisjoint(above):
                return reason
            if reason is SetAside.PRIVATE_SUFFIX and above and above[0] in self.wildcards and name not in self._spared:
                return reason
        return None
