# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Reads the RDATA of the types whose structure is known: whether it can be read, and where it has names.

Rules:
- Only the structure is read: lengths, names, strings, windows of bitmaps. No value is judged, and a type that has no
  row here is opaque, as RFC 3597 wants it.
- A name in RDATA may be compressed (RFC 3597 4 has the types of which that is so). In SVCB and HTTPS it must not be
  (RFC 9460 2.2): `check` says where it is, so that core.scrub spells it out.
"""

import cython

if not cython.compiled:
    from .name import copy, walk

MALFORMED = 0
SOUND = 1
COMPRESSED = 2
"""Results of `check`; COMPRESSED: sound but for a compressed name that must not be one."""

# What RDATA consists of, field by field; a smaller number is so many octets.
_NAME = 101
_PLAIN_NAME = 102
_STRING = 103
_STRINGS = 104
_ANY = 105
_SOME = 106
_BITMAP = 107
_PARAMS = 108
_A6 = 109
_END = 0

_FIELDS_OF = {
    1: (4,),  # A
    28: (16,),  # AAAA
    **dict.fromkeys((2, 3, 4, 5, 7, 8, 9, 12, 39), (_NAME,)),  # NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME
    6: (_NAME, _NAME, 20),  # SOA
    11: (5, _ANY),  # WKS
    13: (_STRING, _STRING),  # HINFO
    **dict.fromkeys((14, 17), (_NAME, _NAME)),  # MINFO, RP
    **dict.fromkeys((15, 18, 21, 36, 107), (2, _NAME)),  # MX, AFSDB, RT, KX, LP
    **dict.fromkeys((16, 20, 99), (_STRINGS,)),  # TXT, ISDN, SPF
    19: (_STRING,),  # X25
    **dict.fromkeys((24, 46), (18, _NAME, _SOME)),  # SIG, RRSIG
    25: (4, _ANY),  # KEY
    26: (2, _NAME, _NAME),  # PX
    30: (_NAME, _SOME),  # NXT
    33: (6, _NAME),  # SRV
    35: (4, _STRING, _STRING, _STRING, _NAME),  # NAPTR
    37: (5, _SOME),  # CERT
    38: (_A6,),  # A6
    **dict.fromkeys((43, 48, 59, 60, 256), (4, _SOME)),  # DS, DNSKEY, CDS, CDNSKEY, URI
    44: (2, _SOME),  # SSHFP
    47: (_NAME, _BITMAP),  # NSEC
    **dict.fromkeys((49, 61), (_SOME,)),  # DHCID, OPENPGPKEY
    50: (4, _STRING, _STRING, _BITMAP),  # NSEC3
    51: (4, _STRING),  # NSEC3PARAM
    **dict.fromkeys((52, 53), (3, _SOME)),  # TLSA, SMIMEA
    **dict.fromkeys((64, 65), (2, _PLAIN_NAME, _PARAMS)),  # SVCB, HTTPS
    **dict.fromkeys((104, 106), (10,)),  # NID, L64
    105: (6,),  # L32
    108: (6,),  # EUI48
    109: (8,),  # EUI64
    257: (1, _STRING, _ANY),  # CAA
}
_TYPES = 258
_MAX_WINDOW = 32
_MALFORMED = MALFORMED
_SOUND = SOUND
_COMPRESSED = COMPRESSED


def _table():
    """Return the fields of all types, one row after the other, each with its end; and the start of each type's row."""
    fields = bytearray(1)
    starts = memoryview(bytearray(2 * _TYPES)).cast("H")
    for kind, row in _FIELDS_OF.items():
        starts[kind] = len(fields)
        fields += bytes((*row, _END))
    return memoryview(bytes(fields)), starts


_FIELDS, _STARTS = _table()


def check(data, at, size, kind):
    """Read the RDATA data[at : at + size] of a record of type `kind`; return MALFORMED, SOUND or COMPRESSED."""
    row = _STARTS[kind] if kind < _TYPES else 0
    if row == 0:
        return _SOUND
    end = at + size
    result = _SOUND
    field = _FIELDS[row]
    while field != _END:
        start = at
        at = _field_end(data, at, end, field)
        if at == 0 or at > end:
            return _MALFORMED
        if field == _PLAIN_NAME and _points(data, start):
            result = _COMPRESSED
        row += 1
        field = _FIELDS[row]
    return result if at == end else _MALFORMED


def expand(data, at, size, kind, out, to):
    """Copy RDATA that `check` accepts to out[to:] with its names spelled out; return the offset after it.

    Return 0 if there is no room.
    """
    row = _STARTS[kind] if kind < _TYPES else 0
    end = at + size
    field = _FIELDS[row] if row else _END
    while field != _END:
        stop = _field_end(data, at, end, field)
        if field == _NAME or field == _PLAIN_NAME:
            to = copy(data, at, out, to, 0)
        elif field == _A6 and stop > at + 1 and data[at] > 0:
            name = at + 1 + _a6_octets(data[at])
            to = _octets(data, at, name, out, to)
            if to > 0:
                to = copy(data, name, out, to, 0)
        else:
            to = _octets(data, at, stop, out, to)
        if to == 0:
            return 0
        at = stop
        row += 1
        field = _FIELDS[row]
    return _octets(data, at, end, out, to)


def _octets(data, at, stop, out, to):
    """Copy data[at:stop] to out[to:]; return the offset after it, 0 if there is no room."""
    if to + stop - at > out.shape[0]:
        return 0
    out[to : to + stop - at] = data[at:stop]
    return to + stop - at


def _field_end(data, at, end, field):
    """Return the offset after a field that begins at `at`; 0, or an offset beyond `end`, if it is malformed."""
    if field < _NAME:
        return at + field
    if field == _NAME or field == _PLAIN_NAME:
        return walk(data, at, end)
    if field == _STRING:
        return at + 1 + data[at] if at < end else 0
    if field == _STRINGS:
        if at >= end:
            return 0
        while at < end:
            at += 1 + data[at]
        return at
    if field == _BITMAP:
        return _bitmap_end(data, at, end)
    if field == _PARAMS:
        return _params_end(data, at, end)
    if field == _A6:
        if at >= end or data[at] > 128:
            return 0
        after = at + 1 + _a6_octets(data[at])
        return walk(data, after, end) if data[at] > 0 else after
    if field == _SOME and at >= end:
        return 0
    return end


def _a6_octets(prefix):
    """Return the octets of address after a prefix of so many bits (RFC 2874 3.1)."""
    return (128 - prefix + 7) // 8


def _bitmap_end(data, at, end):
    """Return the offset after a bitmap of types (RFC 4034 4.1.2): ascending windows of 1 to 32 octets."""
    last = -1
    while at < end:
        if at + 2 > end or data[at] <= last or data[at + 1] == 0 or data[at + 1] > _MAX_WINDOW:
            return 0
        last = data[at]
        at += 2 + data[at + 1]
    return at


def _params_end(data, at, end):
    """Return the offset after the parameters of a service (RFC 9460 2.2): ascending keys, each with its length."""
    last = -1
    while at < end:
        if at + 4 > end:
            return 0
        key = data[at] << 8 | data[at + 1]
        if key <= last:
            return 0
        last = key
        at += 4 + (data[at + 2] << 8 | data[at + 3])
    return at


def _points(data, at):
    """Return whether a name that `walk` accepts has a compression pointer."""
    size = data[at]
    while 0 < size < 64:
        at += size + 1
        size = data[at]
    return size != 0
