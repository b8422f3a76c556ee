# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Turns the messages of a zone transfer into lines, one for each record, in the grammar of feed.names.read_zone.

    (as core.rpz)       the line of the record
    (empty)             SOA, NS, DNSSEC, ZONEMD, a record at the apex, a record with the same line as the one before

Marked lines are for a kept zone that differences are applied to (RFC 1995). A marked line ends in a space and the
record's mark in 16 hex digits. Every record has its line there, also after the same line, and so has every SOA:

    @SERIAL             an SOA at the apex, its serial in 8 hex digits

Rules:
- The transfer is one SOA at the apex, records of class IN within the zone, and the same SOA again (RFC 5936 2.2), and
  nothing after it. Anything else is a problem, and then no line of the transfer counts. In a marked transfer only the
  first record is checked for this: the caller interprets the order of its SOAs.
- A mark is a keyed digest of owner, type and data, with names lower-cased and uncompressed, and without the TTL. It
  distinguishes the records of one name.
- Each message is read to its end (sections AUTHORITY and ADDITIONAL too): TSIG is its last record or absent.
"""

import cython

from .codes import CLASS_IN, TYPE_CNAME, TYPE_DNAME, TYPE_OPT, TYPE_SOA, TYPE_TSIG
from .name import Name
from .rpz import BLOCK, EXCEPTION, SKIP

if not cython.compiled:
    from .name import skip, unfold
    from .rpz import depth_below, said_by, written_as
    from .siphash import siphash128

# Problems of a transfer.
SOUND = 0
MALFORMED = 1
OUT_OF_ZONE = 2
NOT_A_SOA = 3
OTHER_SOA = 4
BEHIND_THE_END = 5
BAD_CLASS = 6

KEY_OCTETS = 16
MARK_OCTETS = 17
LINE_OCTETS = 260 + MARK_OCTETS
_KEY_OCTETS = KEY_OCTETS
_MARK_OCTETS = MARK_OCTETS
_LINE_OCTETS = LINE_OCTETS
_SOUND = SOUND
_MALFORMED = MALFORMED
_OUT_OF_ZONE = OUT_OF_ZONE
_NOT_A_SOA = NOT_A_SOA
_OTHER_SOA = OTHER_SOA
_BEHIND_THE_END = BEHIND_THE_END
_BAD_CLASS = BAD_CLASS
_HEADER = 12
_IN = CLASS_IN
_CNAME = TYPE_CNAME
_DNAME = TYPE_DNAME
_OPT = TYPE_OPT
_SOA = TYPE_SOA
_TSIG = TYPE_TSIG
_PTR = 12
_MX = 15
_FIRST_META_TYPE = 249
_LAST_META_TYPE = 255
_SKIP = SKIP
_BLOCK = BLOCK
_EXCEPTION = EXCEPTION


class Transfer:
    """One transfer in progress; offsets in octets. With a key of 16 octets its lines are marked.

    records: the number of records so far. closed: whether the closing SOA has come, if lines are not marked.
    serial: the zone's. problem: a number above. tsig_at: the offset of the last message's TSIG record, 0 for none.
    octets[:written]: the lines of the last message.
    """

    def __init__(self, origin, key=b""):
        self.origin = Name()
        self.owner = Name()
        self.target = Name()
        self.octets = memoryview(bytearray(1 << 21))
        self.soa = memoryview(bytearray(768))
        self.again = memoryview(bytearray(768))
        self.soa_size = 0
        self.records = 0
        self.closed = 0
        self.serial = 0
        self.problem = SOUND
        self.tsig_at = 0
        self.written = 0
        self.last = 0
        self.last_size = 0
        self.marked = len(key) == _KEY_OCTETS
        if key and not self.marked:
            raise ValueError("key: not 16 octets")
        self.key = memoryview(bytes(key) or bytes(_KEY_OCTETS)).cast("Q")
        self.mark = memoryview(bytearray(_KEY_OCTETS)).cast("Q")
        self.record = memoryview(bytearray(1 << 17))
        wire = bytes(12) + bytes(origin)
        if unfold(wire, 12, len(wire), self.origin) != len(wire):
            raise ValueError("origin: not a name")

    def lines(self):
        """Return the lines of the last message."""
        return bytes(self.octets[: self.written])


def walk(data, end, transfer):
    """Read the message data[:end] of a transfer; return SOUND or a problem, after which nothing counts."""
    transfer.written = 0
    transfer.last_size = 0
    transfer.tsig_at = 0
    if transfer.problem == _SOUND:
        transfer.problem = _walk(data, end, transfer)
    return transfer.problem


def _walk(data, end, transfer):
    if end < _HEADER or data[4] != 0 or data[5] > 1:
        return _MALFORMED
    at = _HEADER
    if data[5] == 1:
        at = skip(data, at, end)
        if at == 0 or at + 4 > end:
            return _MALFORMED
        at += 4
    left = data[6] << 8 | data[7]
    while left > 0:
        start = at
        at = unfold(data, start, end, transfer.owner)
        if at == 0 or at + 10 > end:
            return _MALFORMED
        size = data[at + 8] << 8 | data[at + 9]
        if at + 10 + size > end:
            return _MALFORMED
        problem = _record(data, at, size, transfer)
        if problem != _SOUND:
            return problem
        at += 10 + size
        left -= 1
    return _rest(data, at, end, transfer)


def _rest(data, at, end, transfer):
    """Read AUTHORITY and ADDITIONAL to the end of the message; note where TSIG begins."""
    left = (data[8] << 8 | data[9]) + (data[10] << 8 | data[11])
    additional = data[10] << 8 | data[11]
    while left > 0:
        start = at
        at = skip(data, start, end)
        if at == 0 or at + 10 > end:
            return _MALFORMED
        kind = data[at] << 8 | data[at + 1]
        size = data[at + 8] << 8 | data[at + 9]
        at += 10 + size
        if at > end:
            return _MALFORMED
        if kind == _TSIG:
            if left != 1 or additional == 0:
                return _MALFORMED
            transfer.tsig_at = start
        left -= 1
    if at != end:
        return _MALFORMED
    return _SOUND


def _record(data, at, size, transfer):
    """Check a record (owner in transfer.owner, type at `at`, `size` octets of data); write its line, return SOUND."""
    kind = data[at] << 8 | data[at + 1]
    if transfer.closed:
        return _BEHIND_THE_END
    if data[at + 2] != 0 or data[at + 3] != _IN:
        return _BAD_CLASS
    if kind == _OPT or _FIRST_META_TYPE <= kind <= _LAST_META_TYPE:
        return _MALFORMED
    depth = depth_below(transfer.owner, transfer.origin)
    if depth < 0:
        return _OUT_OF_ZONE
    if kind == _SOA and depth != 0:
        return _OTHER_SOA
    if kind != _SOA and transfer.records == 0:
        return _NOT_A_SOA
    if kind == _SOA:
        problem = _marked_soa(data, at + 10, size, transfer) if transfer.marked else _soa(data, at + 10, size, transfer)
        transfer.records += 1
        return problem
    transfer.records += 1
    if kind == _CNAME and depth > 0:
        stop = unfold(data, at + 10, at + 10 + size, transfer.target)
        if stop != at + 10 + size:
            return _MALFORMED
    action = said_by(transfer.owner, transfer.origin, depth, kind, transfer.target)
    if transfer.marked and action != _SKIP and not _mark(data, at + 10, size, kind, transfer):
        return _MALFORMED
    _line(transfer, depth, action)
    return _SOUND


def _soa(data, at, size, transfer):
    """Keep the first SOA, and compare the closing SOA with it."""
    into = transfer.soa if transfer.records == 0 else transfer.again
    written = _unfolded(data, at, size, transfer, into)
    if written == 0:
        return _MALFORMED
    _empty_line(transfer)
    if transfer.records == 0:
        transfer.soa_size = written
        transfer.serial = _serial(into, written)
        return _SOUND
    transfer.closed = 1
    if written != transfer.soa_size:
        return _OTHER_SOA
    i = 0
    while i < written:
        if transfer.soa[i] != transfer.again[i]:
            return _OTHER_SOA
        i += 1
    return _SOUND


def _marked_soa(data, at, size, transfer):
    """Write the line of an SOA; keep the serial of the first."""
    written = _unfolded(data, at, size, transfer, transfer.again)
    if written == 0:
        return _MALFORMED
    serial = _serial(transfer.again, written)
    if transfer.records == 0:
        transfer.serial = serial
    siphash128(transfer.key, transfer.again, 0, written, transfer.mark, 0)
    into = transfer.octets
    start = transfer.written
    if start + _LINE_OCTETS > into.shape[0]:
        raise IndexError("transfer: too many lines")
    into[start] = 64
    _hex(into, start + 1, serial, 8)
    _end(transfer, start + 9)
    return _SOUND


def _unfolded(data, at, size, transfer, into):
    """Write an SOA's data, names unfolded and the five numbers as they are; return its length, 0 if malformed."""
    end = at + size
    written = 0
    turns = 2
    while turns > 0:
        at = unfold(data, at, end, transfer.target)
        if at == 0:
            return 0
        written = _copied(transfer.target.octets, 0, transfer.target.length, into, written)
        turns -= 1
    if at + 20 != end:
        return 0
    return _copied(data, at, end, into, written)


def _serial(soa, size):
    serial = soa[size - 20]
    serial = serial << 8 | soa[size - 19]
    serial = serial << 8 | soa[size - 18]
    return serial << 8 | soa[size - 17]


def _copied(data, at, end, into, written):
    """Copy data[at:end] to into[written:]; return the offset after it."""
    while at < end:
        into[written] = data[at]
        written += 1
        at += 1
    return written


def _mark(data, at, size, kind, transfer):
    """Digest owner, type and data of a record; return 0 if a name in its data does not fill it."""
    into = transfer.record
    end = at + size
    written = _copied(transfer.owner.octets, 0, transfer.owner.length, into, 0)
    into[written] = kind >> 8
    into[written + 1] = kind & 255
    written += 2
    # Of the types used as local data, these have a name that messages may compress (RFC 3597 4).
    if kind == _CNAME or kind == _DNAME or kind == _PTR or kind == _MX:
        name = at + 2 if kind == _MX else at
        if unfold(data, name, end, transfer.target) != end:
            return 0
        written = _copied(data, at, name, into, written)
        written = _copied(transfer.target.octets, 0, transfer.target.length, into, written)
    else:
        written = _copied(data, at, end, into, written)
    siphash128(transfer.key, into, 0, written, transfer.mark, 0)
    return 1


def _empty_line(transfer):
    into = transfer.octets
    if transfer.written >= into.shape[0]:
        raise IndexError("transfer: too many lines")
    into[transfer.written] = 10
    transfer.written += 1
    return 0


def _end(transfer, at):
    """End the line that is written up to `at`, with its mark if lines are marked."""
    into = transfer.octets
    if transfer.marked:
        into[at] = 32
        _hex(into, at + 1, transfer.mark[0], 16)
        at += _MARK_OCTETS
    into[at] = 10
    transfer.written = at + 1
    return 0


def _hex(into, at, number, digits):
    """Write a number in so many hex digits. Returns 0."""
    shift = 4 * digits
    while shift > 0:
        shift -= 4
        digit = (number >> shift) & 15
        into[at] = digit + 48 if digit < 10 else digit + 87
        at += 1
    return 0


def _line(transfer, depth, action):
    """Write the line of a record: empty for SKIP and, unmarked, for the same line as the record before."""
    into = transfer.octets
    start = transfer.written
    if start + _LINE_OCTETS > into.shape[0]:
        raise IndexError("transfer: too many lines")
    if action == _SKIP:
        return _empty_line(transfer)
    at = written_as(transfer.owner, depth, action, into, start)
    size = at - start
    if (action == _BLOCK or action == _EXCEPTION) and not transfer.marked and _is_last(into, start, size, transfer):
        at = start
    else:
        transfer.last = start
        transfer.last_size = size
    return _end(transfer, at)


def _is_last(into, start, size, transfer):
    """Return whether the line into[start:start + size] repeats the last line of this message."""
    if transfer.last_size != size:
        return 0
    i = 0
    while i < size:
        if into[start + i] != into[transfer.last + i]:
            return 0
        i += 1
    return 1
