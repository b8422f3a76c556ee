# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Copies, compares, reads and writes ranges of octets: one check of the whole range, then one machine operation.

Rules:
- A range that is not inside its buffer is an IndexError, and nothing is written.
- The compiled build has these functions inline in the .pxd, without bounds checks: each checks its whole range first.
  Python code calls those below in the plain build, and has no need of them in the compiled one.
- All modules of core pass memoryviews by value to each other, so all must be built for the same number of dimensions
  (build_core). `Layout` holds a view: a module that was built with another number finds that type of another size, and
  is not imported.
"""

import cython

# Two is the least that Cython takes: an argument of 64 octets.
DIMENSIONS = 2

if cython.compiled and BLOCKLIST_VIEW_DIMENSIONS != DIMENSIONS:  # type: ignore[name-defined]  # noqa: F821 - C's
    raise ImportError("resolver.core.octets was not built by resolver.build_core: its memoryviews have another size")


class Layout:
    """Has the size of what it holds: one view."""

    def __init__(self):
        self.view = memoryview(b"\0")


def out_of_range():
    """Raise the error of every function here."""
    raise IndexError("octets: a range outside its buffer")


if not cython.compiled:

    def copy(out, to, data, at, size):
        """Copy data[at : at + size] to out[to:]; the ranges may overlap. Returns 0."""
        if size < 0 or to < 0 or at < 0 or size > len(out) - to or size > len(data) - at:
            return out_of_range()
        out[to : to + size] = bytes(data[at : at + size])
        return 0

    def equal(one, at, other, start, size):
        """Return whether one[at : at + size] and other[start : start + size] are the same."""
        if size < 0 or at < 0 or start < 0 or size > len(one) - at or size > len(other) - start:
            return out_of_range()
        return bytes(one[at : at + size]) == bytes(other[start : start + size])

    def compare16(one, at, other, start):
        """Compare 16 octets with 16 others: -1, 0 or 1, as they sort."""
        if at < 0 or start < 0 or len(one) - at < 16 or len(other) - start < 16:
            return out_of_range()
        left = bytes(one[at : at + 16])
        right = bytes(other[start : start + 16])
        return (left > right) - (left < right)

    def get(data, at, size):
        """Return the number of `size` octets (0 to 8) at data[at], the lowest first."""
        if at < 0 or size < 0 or size > 8 or size > len(data) - at:
            return out_of_range()
        return int.from_bytes(data[at : at + size], "little")

    def put(out, at, value, size):
        """Write the low `size` octets (0 to 8) of a number to out[at:], the lowest first. Returns 0."""
        if at < 0 or size < 0 or size > 8 or size > len(out) - at:
            return out_of_range()
        out[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        return 0

    def lower(out, at, size):
        """Write the letters A to Z of out[at : at + size] in lower case. Returns 0."""
        if at < 0 or size < 0 or size > len(out) - at:
            return out_of_range()
        out[at : at + size] = bytes(out[at : at + size]).lower()
        return 0
