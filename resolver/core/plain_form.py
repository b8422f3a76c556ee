# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Writes the form of a kept answer for clients without DO: the answer without the records that sign it.

Rules:
- RRSIG, NSEC and NSEC3 are left out of all sections, unless they are the type that was asked for (RFC 4035 3.2.1).
- All else stays, in its order. Octets before the first record that is left out stay in their place. A name after it
  points only to those octets, and is spelled out where it pointed elsewhere, in owners and in the RDATA of all types
  whose names may be compressed (RFC 1035, RFC 3597 4).
- A name in the written form is the name that was judged: a pointer is kept only if the whole name lies in octets that
  stay in their place.
"""

import cython

if not cython.compiled:
    from .name import skip

_HEADER = 12
_MAX_NAME = 255
_CNAME = 5
_SOA = 6
_MB = 7
_MR = 9
_PTR = 12
_MINFO = 14
_MX = 15
_RP = 17
_AFSDB = 18
_RT = 21
_SIG = 24
_PX = 26
_NXT = 30
_SRV = 33
_NAPTR = 35
_KX = 36
_DNAME = 39
_RRSIG = 46
_NSEC = 47
_NSEC3 = 50


def plain_form(data, end, out):
    """Write the reply data[:end], which has no OPT, to `out`; return the length, 0 if that is not possible."""
    if end < _HEADER or data[4] != 0 or data[5] != 1:
        return 0
    at = skip(data, _HEADER, end)
    if at == 0 or at + 4 > end or end > out.shape[0]:
        return 0
    qtype = data[at] << 8 | data[at + 1]
    at += 4
    out[:at] = data[:at]
    to = at
    fixed = at
    section = 6
    while section < _HEADER:
        count = data[section] << 8 | data[section + 1]
        left = count
        while left > 0:
            left -= 1
            body = skip(data, at, end)
            if body == 0 or body + 10 > end:
                return 0
            kind = data[body] << 8 | data[body + 1]
            after = body + 10 + (data[body + 8] << 8 | data[body + 9])
            if after > end:
                return 0
            if kind != qtype and (kind == _RRSIG or kind == _NSEC or kind == _NSEC3):
                count -= 1
            elif at == fixed:
                out[at:after] = data[at:after]
                to = after
                fixed = after
            else:
                to = _record(data, at, body, after, out, to, fixed)
                if to == 0:
                    return 0
            at = after
        out[section] = count >> 8
        out[section + 1] = count & 255
        section += 2
    if at != end:
        return 0
    return to


def _record(data, at, body, after, out, to, fixed):
    """Write the record data[at:after], whose owner ends at `body`, to out[to:]; return the end, 0 if that fails."""
    to = _name(data, at, after, out, to, fixed)
    if to == 0 or to + 10 > out.shape[0]:
        return 0
    kind = data[body] << 8 | data[body + 1]
    out[to : to + 10] = data[body : body + 10]
    to += 10
    rdata = to
    at = body + 10
    names = _names(kind)
    if names > 0:
        before = _before_names(data, at, after, kind)
        if before < 0 or at + before > after or to + before > out.shape[0]:
            return 0
        out[to : to + before] = data[at : at + before]
        to += before
        at += before
    while names > 0:
        names -= 1
        to = _name(data, at, after, out, to, fixed)
        at = skip(data, at, after)
        if to == 0 or at == 0:
            return 0
    if to + after - at > out.shape[0]:
        return 0
    out[to : to + after - at] = data[at:after]
    to += after - at
    size = to - rdata
    if size > 0xFFFF:
        return 0
    out[rdata - 2] = size >> 8
    out[rdata - 1] = size & 255
    return to


def _names(kind):
    """Return how many names the RDATA of this type has that may be compressed."""
    if kind == _SOA or kind == _MINFO or kind == _RP or kind == _PX:
        return 2
    if 2 <= kind <= _CNAME or _MB <= kind <= _MR or kind == _PTR or kind == _MX or kind == _AFSDB or kind == _RT:
        return 1
    if kind == _SIG or kind == _NXT or kind == _SRV or kind == _NAPTR or kind == _KX or kind == _DNAME:
        return 1
    return 0


def _before_names(data, at, end, kind):
    """Return how many octets of the RDATA data[at:end] are before its first name, -1 if it is malformed."""
    if kind == _MX or kind == _AFSDB or kind == _RT or kind == _PX or kind == _KX:
        return 2
    if kind == _SRV:
        return 6
    if kind == _SIG:
        return 18
    if kind != _NAPTR:
        return 0
    to = at + 4
    strings = 3
    while strings > 0:
        strings -= 1
        if to >= end:
            return -1
        to += 1 + data[to]
    return to - at


def _name(data, at, end, out, to, fixed):
    """Write the name at data[at:end] to out[to:]; return the end, 0 if the name is malformed or has no room."""
    lowest = at
    written = 0
    while at < end:
        size = data[at]
        if size >= 192:
            if at + 2 > end:
                return 0
            target = (size & 63) << 8
            target = target | data[at + 1]
            if target >= lowest or target < _HEADER:
                return 0
            if _stays(data, target, fixed):
                if to + 2 > out.shape[0]:
                    return 0
                out[to] = size
                out[to + 1] = data[at + 1]
                return to + 2
            lowest = target
            at = target
            continue
        written += 1 + size
        if size >= 64 or at + 1 + size > end or written > _MAX_NAME or to + 1 + size > out.shape[0]:
            return 0
        out[to : to + 1 + size] = data[at : at + 1 + size]
        to += 1 + size
        at += 1 + size
        if size == 0:
            return to
    return 0


def _stays(data, at, fixed):
    """Return whether the whole name at `at`, with all that it points to, lies in data[:fixed]."""
    lowest = at
    while at < fixed:
        size = data[at]
        if size == 0:
            return 1
        if size >= 192:
            if at + 2 > fixed:
                return 0
            at = (size & 63) << 8 | data[at + 1]
            if at >= lowest or at < _HEADER:
                return 0
            lowest = at
        elif size >= 64:
            return 0
        else:
            at += 1 + size
    return 0
