# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Removes the kept answers for a name, a stretch of core.store's ring at a time.

Rules:
- An answer is for a name if the name is its question or owns a record in its ANSWER section. An answer through an alias
  is thus removed with the alias's target.
- Answers kept as blocked are removed but not counted: the count would show that a client had asked for the name.
- With `subtree` the answers for all names below are removed too; the root with its subtree is everything.
- Each record is a step, and so is each STEP_OCTETS of its reply: the owner of a zone can fill the memory with large
  answers, and a look at thousands of owners takes time.
"""

import cython

from .name import Name
from .store import BLOCKED, END, LARGEST_RECORD, Kept

if not cython.compiled:
    from .name import skip, unfold
    from .store import copy_out, drop, look

STEP_OCTETS = 64

_STEP_OCTETS = STEP_OCTETS
_BLOCKED = BLOCKED
_END = END
_HEADER = 12


class Search:
    """A flush in progress: `name` is a Name; `forgotten` counts the answers removed so far."""

    def __init__(self, name, subtree):
        self.name = name
        self.subtree = subtree
        self.position = 0
        self.forgotten = 0
        self.kept = Kept()
        self.scratch = Name()
        self.copy = memoryview(bytearray(LARGEST_RECORD))


def forget(store, search, steps):
    """Continue a search for so many steps; return 1 if records are left, else 0."""
    while steps > 0 and search.position < _END:
        search.position = look(store, search.position, search.kept)
        if search.kept.end > 0:
            steps -= (search.kept.end - search.kept.start) // _STEP_OCTETS
            if copy_out(store, search.kept, search.copy) and _is_for(search):
                drop(store, search.kept)
                if not search.kept.kind & _BLOCKED:
                    search.forgotten = search.forgotten + 1
        steps -= 1
    return search.position < _END


def _is_for(search):
    """Return whether the record last looked at, of which there is a copy, is an answer for the name."""
    reply = search.copy[search.kept.start : search.kept.end]
    end = reply.shape[0]
    if end < _HEADER + 5:
        return 0
    answers = reply[6] << 8 | reply[7]
    if _is_covered(search.name, search.subtree, reply, _HEADER, end, search.scratch):
        return 1
    at = skip(reply, _HEADER, end) + 4
    while answers > 0 and at + 10 < end:
        if _is_covered(search.name, search.subtree, reply, at, end, search.scratch):
            return 1
        at = skip(reply, at, end)
        at += 10 + (reply[at + 8] << 8 | reply[at + 9])
        answers -= 1
    return 0


def _is_covered(name, subtree, reply, at, end, found):
    """Return whether the name at reply[at], read into `found`, is `name` or, with `subtree`, below it."""
    if unfold(reply, at, end, found) == 0 or found.labels < name.labels:
        return 0
    if found.labels > name.labels and not subtree:
        return 0
    start = found.length - name.length
    if start < 0 or (found.labels > name.labels > 0 and found.starts[found.labels - name.labels] != start):
        return 0
    i = 0
    while i < name.length:
        if found.octets[start + i] != name.octets[i]:
            return 0
        i += 1
    return 1
