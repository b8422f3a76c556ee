# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Reads names in messages: skips them, unfolds them, folds their case, digests their suffixes.

Rules:
- A label is bytes: dots, NULs and 0xFF are legal in it; only A to Z are folded (RFC 4343).
- A compression pointer goes strictly backwards, below everything already read of this name, and never into
  the header; at most 127 are followed (RFC 1035 4.1.4). So every walk ends.
- What it points to is a part of a name before, so it ends before what points there begins. Else it could lie over
  records that are cut off or changed (TTLs) after the name was judged.
- A malformed name is an ordinary result (0), a read outside the buffer is an error that is raised.
"""

import cython

if not cython.compiled:
    from .octets import copy as copy_octets
    from .octets import lower
    from .siphash import siphash128

MAX_OCTETS = 255
MAX_POINTERS = 127
_MAX_OCTETS = MAX_OCTETS
_MAX_POINTERS = MAX_POINTERS
_HEADER = 12


class Name:
    """A lower-cased, uncompressed name with the starts of its labels and the digests of its suffixes by depth.

    `digests[2 * depth]` and `[2 * depth + 1]` are the 128 bits for the suffix of `depth` labels. `marked` is whether
    the name begins with `_port._https.` (RFC 9460 9.1).
    """

    def __init__(self):
        self.octets = memoryview(bytearray(256))
        self.starts = memoryview(bytearray(256)).cast("H")
        self.digests = memoryview(bytearray(16 * 129)).cast("Q")
        self.length = 0
        self.labels = 0
        self.marked = 0

    def wire(self):
        """Return the name's octets."""
        return bytes(self.octets[: self.length])


def wire_of(text):
    """Return the wire format of a name in lower-case ASCII with dots, not the root."""
    return b"".join(bytes([len(label)]) + label.encode("ascii") for label in text.split(".")) + b"\0"


def skip(data, at, end):
    """Return the offset after the name at `at` in data[:end] without following pointers; 0 if malformed."""
    while at < end:
        size = data[at]
        if size == 0:
            return at + 1
        if size >= 192:
            if at + 2 > end:
                return 0
            return at + 2
        if size >= 64:
            return 0
        at += size + 1
    return 0


def walk(data, start, end):
    """Return the offset after the name at `start` of data[:end], which its pointers complete; 0 if malformed."""
    at = start
    lowest = start
    after = 0
    length = 1
    pointers = 0
    while at < end:
        size = data[at]
        if size == 0:
            return after if after else at + 1
        if size >= 192:
            if at + 2 > end or pointers >= _MAX_POINTERS:
                return 0
            if after == 0:
                after = at + 2
            target = (size & 63) << 8
            target = target | data[at + 1]
            if target >= lowest or target < _HEADER:
                return 0
            pointers += 1
            end = lowest
            lowest = target
            at = target
            continue
        length += size + 1
        if size >= 64 or length > _MAX_OCTETS:
            return 0
        at += size + 1
    return 0


def copy(data, at, out, to, below):
    """Copy the name at `at`, which `walk` accepts, to out[to:]; return the offset after it, 0 if there is no room.

    It is spelled out, except that a pointer to an offset below `below` stays one.
    """
    size = data[at]
    while size > 0:
        if size >= 192:
            target = (size & 63) << 8
            target = target | data[at + 1]
            if target < below:
                if to + 2 > out.shape[0]:
                    return 0
                out[to] = size
                out[to + 1] = data[at + 1]
                return to + 2
            at = target
        else:
            if to + size + 1 > out.shape[0]:
                return 0
            out[to : to + size + 1] = data[at : at + size + 1]
            to += size + 1
            at += size + 1
        size = data[at]
    if to >= out.shape[0]:
        return 0
    out[to] = 0
    return to + 1


def compare(data, one, other):
    """Compare two names that `walk` accepts; return the octets compared: negative if the names differ (RFC 4343)."""
    compared = 1
    result = 0
    while result == 0:
        while data[one] >= 192:
            target = (data[one] & 63) << 8
            one = target | data[one + 1]
            compared += 1
        while data[other] >= 192:
            target = (data[other] & 63) << 8
            other = target | data[other + 1]
            compared += 1
        size = data[one]
        i = 0
        while i <= size and _fold(data[one + i]) == _fold(data[other + i]):
            i += 1
        compared += i
        if i <= size:
            result = -compared
        elif size == 0 or one == other:
            result = compared
        one += size + 1
        other += size + 1
    return result


def _fold(octet):
    """Return the octet, a letter in lower case."""
    return octet + 32 if 65 <= octet <= 90 else octet


def unfold(data, start, end, name):
    """Read the name at `start` of data[:end] into `name`; return the offset after it, 0 if malformed."""
    at = start
    lowest = start
    after = 0
    copied = 0
    written = 0
    labels = 0
    pointers = 0
    while 1:
        if at >= end:
            return 0
        size = data[at]
        if size == 0:
            break
        if size >= 192:
            if at + 2 > end or pointers >= _MAX_POINTERS:
                return 0
            if after == 0:
                after = at + 2
            target = (size & 63) << 8
            target = target | data[at + 1]
            if target >= lowest or target < _HEADER:
                return 0
            pointers += 1
            # What lies between two pointers is in one piece.
            copy_octets(name.octets, copied, data, at - (written - copied), written - copied)
            copied = written
            end = lowest
            lowest = target
            at = target
            continue
        if size >= 64 or at + 1 + size > end or written + size + 2 > _MAX_OCTETS:
            return 0
        name.starts[labels] = written
        labels += 1
        written += size + 1
        at += size + 1
    copy_octets(name.octets, copied, data, at - (written - copied), written - copied)
    name.octets[written] = 0
    # A label's length is below 64, no letter: all can be folded alike.
    lower(name.octets, 0, (written + 7) & ~7)
    name.length = written + 1
    name.labels = labels
    name.marked = _is_marked(name)
    if after == 0:
        after = at + 1
    return after


def spells(name, start, data, at, size):
    """Return whether the `size` octets of the name from `start` on are those of data[at:]."""
    i = 0
    while i < size:
        if data[at + i] != name.octets[start + i]:
            return 0
        i += 1
    return 1


def _is_marked(name):
    """Return whether the name begins with `_port._https.`, as browsers ask for services on other ports."""
    if name.labels < 3:
        return 0
    size = name.octets[0]
    if size < 2 or size > 6 or name.octets[1] != 95:
        return 0
    i = 2
    while i <= size:
        if name.octets[i] < 48 or name.octets[i] > 57:
            return 0
        i += 1
    at = name.starts[1]
    if name.octets[at] != 6:
        return 0
    if name.octets[at + 1] != 95 or name.octets[at + 2] != 104 or name.octets[at + 3] != 116:
        return 0
    if name.octets[at + 4] != 116 or name.octets[at + 5] != 112 or name.octets[at + 6] != 115:
        return 0
    return 1


def digest(name, key, mask_low, mask_high):
    """Digest each suffix whose depth (1 to 127 labels) has its bit in the mask. Returns 0."""
    depth = 1
    while depth <= name.labels:
        bit = mask_low >> depth if depth < 64 else mask_high >> (depth - 64)
        if bit & 1:
            siphash128(key, name.octets, name.starts[name.labels - depth], name.length, name.digests, 2 * depth)
        depth += 1
    return 0
