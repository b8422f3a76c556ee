"""Reads a transferred zone: the lines that core.transfer writes, judged by the same rules as those of a plain list.

Rules:
- Line N is record N of the transfer, and the opening SOA is record 1; an empty line is a record without effect.
- `=NAME` and `!=NAME` cover only the name, `*.NAME` and `!*.NAME` only the names below it; to cover both, a zone has
  both records.
- `?trigger` and `?action` are a refused trigger or action, counted and reported like any other refused line.
"""

from typing import Final

from resolver.feed.names.guard_lines import Protected
from resolver.feed.names.read import Entries, Reader, read
from resolver.feed.names.suffixes import Suffixes
from resolver.feed.reasons import Refusal

_EQUALS: Final = ord("=")
_STAR: Final = ord("*")
_REFUSED: Final = {b"?trigger": Refusal.TRIGGER, b"?action": Refusal.ACTION}


class ZoneReader(Reader):
    """Reads one zone in one pass."""

    ZONE = True
    MARKERS = (b"*.", b"=", b"!*.", b"!=")

    def line(self, line: bytes, number: int) -> None:
        """Judge one line."""
        if line in _REFUSED:
            self.found.refuse(_REFUSED[line], number)
            return
        if line[0] == _EQUALS:
            marker = b"="
        elif line[0] == _STAR:
            marker = b"*."
        else:
            marker = b"!=" if line[:2] == b"!=" else b"!*."
        self.judge(line[len(marker) :], number, marker)


def read_zone(
    data: bytes, psl: Suffixes, *, demonstration: bool, max_entries: int, protected: Protected | None = None
) -> Entries:
    """Return the entries of a zone; read.ReadError if the whole list is refused."""
    return read(data, psl, demonstration=demonstration, max_entries=max_entries, kind=ZoneReader, protected=protected)
