"""Sets lines aside that would block a name by accident; each waits for approval.

Rules:
- A line is set aside if it names a protected name or a name above it; if the name also protects the names below it, so
  is a line with one of those. The scope of the line does not matter; an exception is never set aside.
- protected: the operator's names, and the hosts that its service depends on; they protect the names below them.
- infrastructure: the shipped list; it protects the names below too, `=name` only itself.
- private_suffix: a name of the private section of the Public Suffix List, below which strangers have their sites; a
  name directly below one of its wildcards; or a name above one.
- popular: the operator's file of names that nobody should block; each protects only itself.
- If several reasons apply, the first in this order counts.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from resolver.feed.names.suffixes import Suffixes
from resolver.feed.operator_names import ascii_name, names_in
from resolver.feed.reasons import SetAside

INFRASTRUCTURE: Final = Path(__file__).with_name("infrastructure.txt")


def _with_parents(names: Iterable[bytes]) -> frozenset[bytes]:
    """Return the names and all names above them, without the root."""
    found: set[bytes] = set()
    for name in names:
        rest = name
        while rest and rest not in found:
            found.add(rest)
            rest = rest.partition(b".")[2]
    return frozenset(found)


class Protected:
    """The names for which lines are set aside.

    at, wildcards, below: a line can be set aside only if its name is in `at`, is directly below one of `wildcards`, or
    is below one of `below` at any depth.
    """

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
        self.at: frozenset[bytes] = frozenset().union(*self._at.values())
        self.wildcards = psl.private_wildcards
        self.below = own | carried

    def reason(self, name: bytes) -> SetAside | None:
        """Return why a line with this name is set aside; None if it is not."""
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
