"""Decides which names block in one zone made of several lists, as this host decides it, in a form that a zone can have.

Rules:
- Within a list the most specific entry wins; of the lists that block, the most specific entry, then their order. An
  exception ends only its own list's block, a released name every block of it and below it.
- A response policy zone is looked up as any zone (RFC 4592): a name that exists below `*.bad.test`, even an empty one,
  ends that wildcard for itself and for all below it. So every such name gets rules of its own, an exception too.
- An entry for the name alone also covers `_port._https.` before it (RFC 9460 9.1).

Names here are in wire format without the root's octet, lower-cased.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import repeat
from typing import Final, NamedTuple

from resolver.core.codes import BLOCK_BELOW, BLOCK_SELF, EXCEPT_BELOW, EXCEPT_SELF

PASS: Final = -1
_HTTPS: Final = b"\x06_https"
_RELEASED: Final[tuple[int, ...]] = (-1,)
_IMPLIED: Final = 1 << 20
"""An entry that another one implies, for the same name: it counts as no longer than that."""
_OWN: Final = repeat(BLOCK_SELF), repeat(EXCEPT_SELF)
_BELOW: Final = repeat(BLOCK_BELOW), repeat(EXCEPT_BELOW)
_Said = tuple[int, ...]
"""Of each list, what `_said` returns."""


class Rule(NamedTuple):
    """What happens to a name, and to the names below it that have no rule: the index of the list that blocks, or PASS.

    covered: whether a list blocks the name from above.
    """

    own: int
    below: int
    covered: bool


def entries_of(names: bytes, flags: memoryview, numbers: memoryview, aside: Collection[int]) -> dict[bytes, int]:
    """Return the names of a list with their bits (core.codes). aside: numbers of lines whose names do not block.

    An image has one slot for a name, and the first of its lines: what sets that aside is for every line of the name.
    ValueError if the names do not fit the flags.
    """
    found: dict[bytes, int] = {}
    at, spared = 0, set(aside)
    waiting: set[bytes] = set()
    blocks = BLOCK_SELF | BLOCK_BELOW
    for bits, number in zip(flags, numbers, strict=True):
        start = at
        while names[at]:
            at += names[at] + 1
        name = names[start:at]
        at += 1
        kept = bits & (EXCEPT_SELF | EXCEPT_BELOW | blocks)
        if name and kept:
            found[name] = found.get(name, 0) | kept
        if number in spared:
            waiting.add(name)
    if at != len(names):
        raise ValueError("names and flags differ")
    for name in waiting & found.keys():
        found[name] &= ~blocks
        if not found[name]:
            del found[name]
    return found


def parent(name: bytes) -> bytes:
    """Return the name above; b"" is the root."""
    return name[name[0] + 1 :]


def rules(lists: Sequence[Mapping[bytes, int]], released: Collection[bytes] = ()) -> dict[bytes, Rule]:
    """Return the rule of each name at which anything changes, or that exists below a blocking wildcard."""
    listed = [_with_https(one) for one in lists]
    free = frozenset(released)
    nodes = set(free).union(*listed)
    for name in tuple(nodes):
        between, above = [], parent(name)
        while above and above not in nodes:
            between.append(above)
            above = parent(above)
        if above:
            nodes.update(between)
    nothing: _Said = (0,) * len(listed)
    below: dict[bytes, _Said] = {}
    found: dict[bytes, Rule] = {}
    # Few differ in what decides: among a million names some hundred.
    known: dict[tuple[object, ...], tuple[_Said, Rule]] = {}
    for name in _shortest_first(nodes):
        # If any name above it has a rule, the one next above it has.
        said = below.get(parent(name), nothing)
        if name in free:
            key: tuple[object, ...] = (said,)
            bits = []
        else:
            bits = [one.get(name, 0) for one in listed]
            key = (said, len(name), *bits)
        made = known.get(key)
        if made is None:
            made = known[key] = _ruled(said, len(name), bits)
        below[name], found[name] = made
    return found


def _shortest_first(names: Collection[bytes]) -> Iterator[bytes]:
    """Yield each name behind all names above it, which are shorter. Step by step: other threads go on meanwhile."""
    by_size: dict[int, list[bytes]] = {}
    for name in names:
        by_size.setdefault(len(name), []).append(name)
    for size in sorted(by_size):
        yield from by_size[size]


def _ruled(said: _Said, length: int, bits: Sequence[int]) -> tuple[_Said, Rule]:
    """Return what is said for the names below a name, and its rule.

    said: from above. length: of the name. bits: of each list, for this name; none for a released name.
    """
    if said is _RELEASED or not bits:
        own = under = _RELEASED
    else:
        size = 2 * length
        own = tuple(map(_said, bits, _OWN[0], _OWN[1], repeat(size), said))
        sizes = [size - 2 * len(_HTTPS) if one & _IMPLIED else size for one in bits]
        under = tuple(map(_said, bits, _BELOW[0], _BELOW[1], sizes, said))
    return under, Rule(_blocking(own), _blocking(under), _blocking(said) != PASS)


def _with_https(one: Mapping[bytes, int]) -> dict[bytes, int]:
    """Return a list with `_https` before each name whose own entry says something else than what is for names below."""
    more = dict(one)
    for name, bits in one.items():
        implied = _implied(bits)
        if implied:
            before = _HTTPS + name
            there = one.get(before, 0)
            if not there & (BLOCK_BELOW | EXCEPT_BELOW):
                more[before] = there | implied
    return more


@cache
def _implied(bits: int) -> int:
    """Return the bits that an entry implies for `_https` before its name; 0 for none."""
    own, under = _said(bits, BLOCK_SELF, EXCEPT_SELF, 2, 0), _said(bits, BLOCK_BELOW, EXCEPT_BELOW, 2, 0)
    if not own or own == under:
        return 0
    return (BLOCK_BELOW if own & 1 else EXCEPT_BELOW) | _IMPLIED


def _said(bits: int, block: int, spare: int, size: int, above: int) -> int:
    """Return what a list says: twice the length of the entry that decides, and 1 if it blocks; 0 if none does."""
    if bits & spare:
        return size
    return size | 1 if bits & block else above


def _blocking(said: tuple[int, ...]) -> int:
    """Return the index of the list that blocks, by the longest entry and then the order; PASS if none does."""
    best, found = 0, PASS
    if said is _RELEASED:
        return PASS
    for index, one in enumerate(said):
        if one & 1 and one > best:
            best, found = one, index
    return found


def spoiled(found: Mapping[bytes, Rule]) -> frozenset[bytes]:
    """Return the names below which another rule stands: NXDOMAIN would deny them too (RFC 8020)."""
    names: set[bytes] = set()
    for name, rule in found.items():
        above = parent(name)
        over = found.get(above)
        if rule.covered and (over is None or (rule.own, rule.below) != (over.below, over.below)):
            while above and above not in names:
                names.add(above)
                above = parent(above)
    return frozenset(names)
