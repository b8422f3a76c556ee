"""A transferred zone to entries: the lines that core.transfer writes, judged by the same rules as a plain list's.

Rules:
- Line N is record N of the transfer, the opening SOA being the first; an empty line says nothing.
- `=NAME` and `*.NAME`, `!=NAME` and `!*.NAME`: the name alone, or what is below it alone; for both a zone says both.
- A refused trigger or action stands as `?trigger` or `?action`, and is counted and told like any other refused line.
"""

from typing import Final

from .guard_lines import Protected
from .read import Entries, Reader, Refusal, read
from .suffixes import Suffixes

_EQUALS: Final = ord("=")
_STAR: Final = ord("*")
_REFUSED: Final = {b"?trigger": Refusal.TRIGGER, b"?action": Refusal.ACTION}


class ZoneReader(Reader):
    """One pass over one zone."""

    def take(self, first: int, lines: list[bytes]) -> None:
        """Read one block, entries of each marker together."""
        groups: dict[bytes, tuple[list[bytes], list[int]]] = {
            marker: ([], []) for marker in (b"=", b"*.", b"!=", b"!*.")
        }
        for number, line in enumerate(lines, first):
            if not line:
                continue
            if line[0] == _EQUALS:
                marker = b"="
            elif line[0] == _STAR:
                marker = b"*."
            elif line in _REFUSED:
                self.found.refuse(_REFUSED[line], number)
                continue
            else:
                marker = b"!=" if line[:2] == b"!=" else b"!*."
            groups[marker][0].append(line[len(marker) :])
            groups[marker][1].append(number)
        for marker, (names, where) in groups.items():
            if names:
                self.halve(names, where, marker)


def read_zone(
    data: bytes, psl: Suffixes, *, demonstration: bool, max_entries: int, protected: Protected | None = None
) -> Entries:
    """Entries of the zone in `data`; read.ReadError where the whole is refused."""
    return read(
        data, psl, demonstration=demonstration, max_entries=max_entries, kind=ZoneReader, protected=protected
    )
