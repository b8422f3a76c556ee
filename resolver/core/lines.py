# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Turns the common lines of a list into entries in one pass; every other line is left to feed.names.read.

Rules:
- A common line is a marker and a name of two labels or more, of letters, digits, `-` and `_`, within the lengths of RFC
  1035, whose top-level label begins with no digit and of which no suffix is watched. feed.names.read would make the
  same entry of it; a test compares the two.
- Markers are those of a plain list (none, `=`, `!`, `!=`, `*.`, `!*.`) or of a zone (`*.`, `=`, `!*.`, `!=`). Blank
  lines are ignored, and so are lines of a plain list that begin with `#`. A CR at the end of a line does not belong to
  it.
- The watched names are a table of hashes. A name that shares its hash with a watched name is left to feed.names.read,
  never made an entry, so an attacker gains nothing by steering the hash.
"""


# Reasons why a line is uncommon: its name is watched, its parent is watched, a watched name is itself or above it; or
# its top-level label is not among the wanted ones, if `wanted` asks for that.
SELF = 1
PARENT = 2
WITHIN = 4
WANTED = 8

NAMES_OCTETS = 2**18
ENTRIES = 2**14
UNCOMMON = 2**12

_SELF = SELF
_PARENT = PARENT
_WITHIN = WITHIN
_WANTED = WANTED
_ENTRIES = ENTRIES
_UNCOMMON = UNCOMMON
_REASONS = 15
_M = 0xFFFFFFFFFFFFFFFF
_TURN = 0x9E3779B97F4A7C15
_NAME_OCTETS = 253
_LABEL_OCTETS = 63
_NEWLINE = 10
_RETURN = 13
_BANG = 33
_HASH = 35
_STAR = 42
_DOT = 46
_EQUALS = 61
_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_SAME = b"-_0123456789" + _LETTERS


def table_for(count):
    """Return an empty table for so many watched names."""
    return memoryview(bytearray(8 << max(4, (2 * count).bit_length()))).cast("Q")


class Lines:
    """A pass over a list: the entries and the uncommon lines of one turn after the other.

    table: the watched names. wanted: whether a top-level label has to be one of those WANTED. zone: whether the markers
    are those of a zone. bits: the flags of the markers, in the order of the rules. After each turn: `entries`
    names in wire format in names[:octets], with a u16 each in `flags` and the line's number in `numbers`; `uncommon`
    lines, with start, end and number of each in `places`. `line` is the number of the next line.
    """

    def __init__(self, table, *, wanted, zone, bits):
        self.table = table
        self.wanted = wanted
        self.zone = zone
        self.bits = bits
        self.fold = memoryview(_folding())
        self.names = memoryview(bytearray(NAMES_OCTETS))
        self.flags = memoryview(bytearray(2 * ENTRIES)).cast("H")
        self.numbers = memoryview(bytearray(4 * ENTRIES)).cast("I")
        self.places = memoryview(bytearray(24 * UNCOMMON)).cast("Q")
        self.octets = 0
        self.entries = 0
        self.uncommon = 0
        self.line = 1


def _folding():
    """Return each octet folded to lower case, 0 for octets that no common name has."""
    fold = bytearray(256)
    for octet in _SAME:
        fold[octet] = octet
    for octet in _LETTERS:
        fold[octet - 32] = octet
    return fold


def watch(table, names, bits):
    """Put names, with dots and lower-cased, each ended by a newline, into a table that has room for them. Returns 0."""
    at = 0
    while at < names.shape[0]:
        stop = at
        while names[stop] != _NEWLINE:
            stop += 1
        turn = stop - 1
        mixed = 0
        while turn >= at:
            mixed = ((mixed ^ names[turn]) * _TURN) & _M
            turn -= 1
        slot = _slot(table, mixed)
        table[slot] = table[slot] & _REASONS | mixed & ~_REASONS | bits
        at = stop + 1
    return 0


def _slot(table, mixed):
    """Return the slot of a hash in the table, or the empty slot for it."""
    last = table.shape[0] - 1
    at = (mixed >> 32) & last
    left = table.shape[0]
    while left > 0:
        if table[at] == 0 or table[at] | _REASONS == mixed | _REASONS:
            return at
        at = (at + 1) & last
        left -= 1
    raise IndexError("lines: no room in the table")


def _reasons(lines, mixed):
    """Return the reasons why a name with this hash is watched, 0 for none."""
    last = lines.table.shape[0] - 1
    at = (mixed >> 32) & last
    # The table always has an empty slot, or `watch` would have failed.
    while lines.table[at] != 0:
        if lines.table[at] | _REASONS == mixed | _REASONS:
            return lines.table[at] & _REASONS
        at = (at + 1) & last
    return 0


def take(lines, data, at):
    """Read lines of one turn, from the start of a line at `at`; return the offset after the last line read."""
    lines.octets = 0
    lines.entries = 0
    lines.uncommon = 0
    while (
        at < data.shape[0]
        and lines.octets + _NAME_OCTETS + 2 <= lines.names.shape[0]
        and lines.entries < _ENTRIES
        and lines.uncommon < _UNCOMMON
    ):
        stop = at
        while stop < data.shape[0] and data[stop] != _NEWLINE:
            stop += 1
        after = stop + 1
        if stop > at and data[stop - 1] == _RETURN:
            stop -= 1
        if stop > at and (lines.zone or data[at] != _HASH):
            marker = 0
            start = at
            if data[start] == _BANG:
                marker = 2
                start += 1
            if start < stop and data[start] == _EQUALS:
                marker += 1
                start += 1
            elif start + 1 < stop and data[start] == _STAR and data[start + 1] == _DOT:
                start += 2
                if not lines.zone:
                    marker = 5 if marker else 4
            elif lines.zone:
                # In a zone each line says whether it covers the name or those below.
                start = stop
            size = _name(lines, data, start, stop)
            if size:
                lines.flags[lines.entries] = lines.bits[marker]
                lines.numbers[lines.entries] = lines.line
                lines.entries += 1
                lines.octets += size
            else:
                lines.places[3 * lines.uncommon] = at
                lines.places[3 * lines.uncommon + 1] = stop
                lines.places[3 * lines.uncommon + 2] = lines.line
                lines.uncommon += 1
        lines.line += 1
        at = after
    return at


def _name(lines, data, start, stop):
    """Write the name in data[start:stop] in wire format; return its size, 0 if it is not the name of a common line."""
    if stop - start > _NAME_OCTETS:
        return 0
    base = lines.octets + 1 - start
    at = stop
    end = stop
    dots = 0
    above = 0
    mixed = 0
    # From the end, so that the hash of each suffix is complete where its label begins.
    while at > start:
        at -= 1
        octet = data[at]
        if octet == _DOT:
            if end - at < 2 or end - at > _LABEL_OCTETS + 1:
                return 0
            above = _reasons(lines, mixed)
            if above & _WITHIN:
                return 0
            if dots == 0 and ((lines.wanted and above & _WANTED == 0) or data[at + 1] < 58):
                return 0
            lines.names[base + at] = end - at - 1
            end = at
            dots += 1
        else:
            octet = lines.fold[octet]
            if octet == 0:
                return 0
            lines.names[base + at] = octet
        mixed = ((mixed ^ octet) * _TURN) & _M
    if dots == 0 or end == start or end - start > _LABEL_OCTETS:
        return 0
    if above & _PARENT or _reasons(lines, mixed) & (_SELF | _WITHIN):
        return 0
    lines.names[base + start - 1] = end - start
    lines.names[base + stop] = 0
    return stop - start + 2
