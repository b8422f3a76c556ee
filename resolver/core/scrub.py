# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Leaves out of a reply what nobody asked for, and spells out names that must not be compressed.

Rules:
- A record of ANSWER stays if its owner is the question's name or the target of a CNAME that stays, in whatever order
  they are, or if it is a DNAME above one of these names, or the signature of one. All others go (RFC 2181 5.4.1): a
  client may take the first address that it finds.
- A record goes for good: the reply is written again, so that no name points to where it was. ADDITIONAL goes with it.
- The work is bounded by octets of names compared; a reply beyond the bound cannot be used.
"""

import cython

from .codes import TYPE_CNAME, TYPE_DNAME, TYPE_RRSIG

if not cython.compiled:
    from .message import is_signature
    from .name import compare, copy, skip
    from .rdata import expand

MAX_CHAIN = 32
MAX_PASSES = 8
MAX_COMPARED_OCTETS = 65536
CLEAN = 0
NEEDED = 1
TOO_MUCH = 2
"""Results of `look`: nothing to leave out, something, or more work than a reply is worth."""

_MAX_CHAIN = MAX_CHAIN
_MAX_PASSES = MAX_PASSES
_MAX_COMPARED_OCTETS = MAX_COMPARED_OCTETS
_CLEAN = CLEAN
_NEEDED = NEEDED
_TOO_MUCH = TOO_MUCH
_CNAME = TYPE_CNAME
_DNAME = TYPE_DNAME
_RRSIG = TYPE_RRSIG
_HEADER = 12
_ANSWER = 0
_ADDITIONAL = 2


class Chain:
    """The names that ANSWER may be about: where each stands in the reply. compared: the octets compared so far."""

    def __init__(self):
        self.names = memoryview(bytearray(4 * MAX_CHAIN)).cast("I")
        self.count = 0
        self.compared = 0


def look(message, chain):
    """Find the names that ANSWER may be about; return CLEAN, NEEDED or TOO_MUCH. `message` was read (core.message)."""
    chain.count = 0
    chain.compared = 0
    if message.answers == 0 or message.answer_start <= _HEADER:
        return _NEEDED if message.faulty else _CLEAN
    chain.names[0] = _HEADER
    chain.count = 1
    passes = 0
    unrelated = 1
    before = 0
    while unrelated and chain.count > before and passes < _MAX_PASSES:
        before = chain.count
        unrelated = _walk(message, chain)
        passes += 1
        if chain.compared > _MAX_COMPARED_OCTETS:
            return _TOO_MUCH
    return _NEEDED if unrelated or message.faulty else _CLEAN


def _walk(message, chain):
    """Add the targets of CNAMEs that belong to the chain; return whether a record does not belong to it."""
    at = message.answer_start
    count = message.answers
    unrelated = 0
    while count > 0:
        owner = at
        at = skip(message.data, at, message.end)
        kind = message.data[at] << 8 | message.data[at + 1]
        if not _belongs(message.data, owner, at, chain):
            unrelated = 1
            if chain.compared > _MAX_COMPARED_OCTETS:
                return 1
        elif kind == _CNAME and chain.count < _MAX_CHAIN and not _is_one(message.data, at + 10, chain):
            chain.names[chain.count] = at + 10
            chain.count = chain.count + 1
        at += 10 + (message.data[at + 8] << 8 | message.data[at + 9])
        count -= 1
    return unrelated


def _belongs(data, owner, at, chain):
    """Return whether a record of ANSWER, whose type is at `at`, belongs to the chain."""
    kind = data[at] << 8 | data[at + 1]
    klass = data[at + 2] << 8 | data[at + 3]
    if is_signature(kind, klass):
        return 0
    if _is_one(data, owner, chain):
        return 1
    if kind == _RRSIG:
        # The first field of its RDATA is the type that it signs (RFC 4034 3.1.1); core.rdata has checked the length.
        kind = data[at + 10] << 8 | data[at + 11]
    if kind != _DNAME:
        return 0
    i = 0
    while i < chain.count:
        if _is_below(data, chain.names[i], owner, chain):
            return 1
        i += 1
    return 0


def _is_one(data, at, chain):
    """Return whether the name at `at` is one of the chain's."""
    target = at
    if data[at] >= 192:
        target = (data[at] & 63) << 8
        target = target | data[at + 1]
    i = 0
    while i < chain.count:
        if chain.names[i] == target:
            return 1
        i += 1
    i = 0
    while i < chain.count:
        if _same(data, at, chain.names[i], chain):
            return 1
        i += 1
    return 0


def _is_below(data, at, above, chain):
    """Return whether the name at `at` is below the name at `above`."""
    while data[at] != 0 and chain.compared <= _MAX_COMPARED_OCTETS:
        if data[at] >= 192:
            target = (data[at] & 63) << 8
            at = target | data[at + 1]
            continue
        at += data[at] + 1
        if _same(data, at, above, chain):
            return 1
    return 0


def _same(data, one, other, chain):
    """Return whether two names are equal; count the work. Past the bound no name is equal to another."""
    if chain.compared > _MAX_COMPARED_OCTETS:
        return 0
    compared = compare(data, one, other)
    chain.compared = chain.compared + (compared if compared > 0 else -compared)
    return compared > 0


def write(message, chain, out):
    """Write the reply to `out` without what `look` found; return its length, 0 if there is no room.

    Its OPT goes too: what `message` knows of it, its caller keeps.
    """
    if message.answer_start > out.shape[0]:
        return 0
    out[: message.answer_start] = message.data[: message.answer_start]
    at = message.answer_start
    to = at
    section = _ANSWER
    while section < _ADDITIONAL:
        left = message.answers if section == _ANSWER else message.authorities
        kept = 0
        while left > 0:
            owner = at
            at = skip(message.data, at, message.end)
            kind = message.data[at] << 8 | message.data[at + 1]
            klass = message.data[at + 2] << 8 | message.data[at + 3]
            size = message.data[at + 8] << 8 | message.data[at + 9]
            if section == _ANSWER:
                stays = _belongs(message.data, owner, at, chain)
            else:
                stays = not is_signature(kind, klass)
            if stays:
                to = _write_record(message, owner, at, kind, size, out, to)
                if to == 0:
                    return 0
                kept += 1
            at += 10 + size
            left -= 1
        out[6 + 2 * section] = kept >> 8
        out[7 + 2 * section] = kept & 255
        section += 1
    out[10] = 0
    out[11] = 0
    return to if chain.compared <= _MAX_COMPARED_OCTETS else 0


def _write_record(message, owner, at, kind, size, out, to):
    """Write one record, whose type is at `at`; return the offset after it, 0 if there is no room."""
    to = copy(message.data, owner, out, to, message.answer_start)
    if to == 0 or to + 10 > out.shape[0]:
        return 0
    out[to : to + 10] = message.data[at : at + 10]
    start = to + 10
    to = expand(message.data, at + 10, size, kind, out, start)
    if to == 0 or to - start > 0xFFFF:
        return 0
    out[start - 2] = (to - start) >> 8
    out[start - 1] = (to - start) & 255
    return to
