"""A transferred zone to entries: the lines that core.transfer writes, judged by the same rules as a plain list's.

Rules:
- Line N is record N of the transfer, the opening SOA being the first; an empty line says nothing.
- `=NAME` and `*.NAME`, `!=NAME` and `!*.NAME`: the name alone, or what is below it alone; for both a zone says both.
- A refused trigger or action stands as `?trigger` or `?action`, and is counted and told like any other refused line.
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
    """One pass over one zone."""

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
    """Entries of the zone in `data`; read.ReadError where the whole is refused."""
    return read(data, psl, demonstration=demonstration, max_entries=max_entries, kind=ZoneReader, protected=protected)
