# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""A zone transfer's messages to lines: one line a record, in the grammar that `feed.read_zone` reads.

    =NAME   *.NAME      block the name; block what is below it
    !=NAME  !*.NAME     exceptions of the same scopes
    ?trigger            a trigger that is not served: rpz-ip, rpz-client-ip, rpz-nsip, rpz-nsdname, rpz-anything
    ?action             an action that is not served: rpz-tcp-only, rpz-anything, DNAME, a wildcard of its own name
    (empty)             SOA, NS, DNSSEC, ZONEMD, what stands at the apex, a record that says what the one before said

Rules:
- NAME is the owner less the zone's origin, lower-cased; an octet that no listed name has is written as a backslash, so
  that the line is refused and no octet of a label can pass for another name or another line.
- CNAME to the root, to `*.`, to rpz-drop and every other data block; CNAME to rpz-passthru, or to the name itself (as
  it was written before), is an exception.
- The transfer is one SOA at the apex, records of class IN within the zone, and the same SOA again (RFC 5936 2.2);
  nothing comes after. Whatever else comes is a problem, and then no line of the transfer counts.
- Each message is read to its end (sections AUTHORITY and ADDITIONAL too): TSIG is its last record or absent.
"""

import cython

from .codes import CLASS_IN, TYPE_CNAME, TYPE_DNAME, TYPE_DS, TYPE_NS, TYPE_OPT, TYPE_RRSIG, TYPE_SOA, TYPE_TSIG
from .name import Name

if not cython.compiled:
    from .name import skip, unfold

# What is wrong with a transfer; 0 for nothing.
SOUND = 0
MALFORMED = 1
OUT_OF_ZONE = 2
NOT_A_SOA = 3
OTHER_SOA = 4
BEHIND_THE_END = 5
BAD_CLASS = 6

LINE_OCTETS = 260
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
_DS = TYPE_DS
_NS = TYPE_NS
_OPT = TYPE_OPT
_RRSIG = TYPE_RRSIG
_SOA = TYPE_SOA
_TSIG = TYPE_TSIG
_NSEC = 47
_DNSKEY = 48
_NSEC3 = 50
_NSEC3PARAM = 51
_CDS = 59
_CDNSKEY = 60
_ZONEMD = 63
_FIRST_META_TYPE = 249
_LAST_META_TYPE = 255
_SKIP = 0
_BLOCK = 1
_EXCEPTION = 2
_NO_ACTION = 3
_NO_TRIGGER = 4


class Transfer:
    """One transfer on its way; offsets in octets.

    records: how many records have come. closed: whether the closing SOA has. serial: the zone's. problem: what was
    wrong. tsig_at: where the TSIG record of the last message begins, 0 where it has none. octets[:written]: the lines
    of the last message.
    """

    def __init__(self, origin):
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
        wire = bytes(12) + bytes(origin)
        if unfold(wire, 12, len(wire), self.origin) != len(wire):
            raise ValueError("origin: not a name")

    def lines(self):
        """Return the lines of the last message."""
        return bytes(self.octets[: self.written])


def walk(data, end, transfer):
    """Read the message data[:end] of a transfer; return SOUND or what is wrong, after which nothing counts."""
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
    """Walk AUTHORITY and ADDITIONAL to the end of the message; note where TSIG begins."""
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
    """Judge the record whose owner is unfolded and whose type stands at `at`; write its line."""
    kind = data[at] << 8 | data[at + 1]
    if transfer.closed:
        return _BEHIND_THE_END
    if data[at + 2] != 0 or data[at + 3] != _IN:
        return _BAD_CLASS
    if kind == _OPT or _FIRST_META_TYPE <= kind <= _LAST_META_TYPE:
        return _MALFORMED
    depth = _depth(transfer)
    if depth < 0:
        return _OUT_OF_ZONE
    if kind == _SOA:
        if depth != 0:
            return _OTHER_SOA
        problem = _soa(data, at + 10, size, transfer)
        if problem != _SOUND:
            return problem
    elif transfer.records == 0:
        return _NOT_A_SOA
    transfer.records += 1
    action = _SKIP
    if depth > 0 and not _says_nothing(kind):
        action = _NO_TRIGGER if _is_rpz(transfer.owner, transfer.owner.starts[depth - 1]) else _BLOCK
        if action == _BLOCK and kind == _DNAME:
            action = _NO_ACTION
        if action == _BLOCK and kind == _CNAME:
            stop = unfold(data, at + 10, at + 10 + size, transfer.target)
            if stop != at + 10 + size:
                return _MALFORMED
            action = _action(transfer, depth)
    _line(transfer, depth, action)
    return _SOUND


def _depth(transfer):
    """Return how many labels the owner has below the zone's apex; -1 where it is outside."""
    owner = transfer.owner
    origin = transfer.origin
    start = owner.length - origin.length
    depth = owner.labels - origin.labels
    if start < 0 or depth < 0:
        return -1
    if depth < owner.labels and owner.starts[depth] != start:
        return -1
    i = 0
    while i < origin.length:
        if owner.octets[start + i] != origin.octets[i]:
            return -1
        i += 1
    return depth


def _says_nothing(kind):
    """Tell whether records of a type serve the zone itself and are no policy."""
    if kind == _SOA or kind == _NS or kind == _DS or kind == _ZONEMD or _RRSIG <= kind <= _DNSKEY:
        return 1
    return kind == _NSEC3 or kind == _NSEC3PARAM or kind == _CDS or kind == _CDNSKEY


def _soa(data, at, size, transfer):
    """Keep the first SOA, and hold the closing one against it: names unfolded, the five numbers as they are."""
    end = at + size
    written = 0
    into = transfer.soa if transfer.records == 0 else transfer.again
    turns = 2
    while turns > 0:
        at = unfold(data, at, end, transfer.target)
        if at == 0:
            return _MALFORMED
        i = 0
        while i < transfer.target.length:
            into[written] = transfer.target.octets[i]
            written += 1
            i += 1
        turns -= 1
    if at + 20 != end:
        return _MALFORMED
    serial = data[at]
    serial = serial << 8 | data[at + 1]
    serial = serial << 8 | data[at + 2]
    serial = serial << 8 | data[at + 3]
    while at < end:
        into[written] = data[at]
        written += 1
        at += 1
    if transfer.records == 0:
        transfer.soa_size = written
        transfer.serial = serial
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


def _is_rpz(name, at):
    """Tell whether the label at `at` begins with `rpz-`."""
    if name.octets[at] < 4:
        return 0
    if name.octets[at + 1] != 114 or name.octets[at + 2] != 112:
        return 0
    return name.octets[at + 3] == 122 and name.octets[at + 4] == 45


def _is_wildcard(name):
    return name.labels > 0 and name.octets[0] == 1 and name.octets[1] == 42


def _action(transfer, depth):
    """Return what the CNAME's target says: _BLOCK, _EXCEPTION or _NO_ACTION."""
    target = transfer.target
    if target.labels == 0:
        return _BLOCK
    if target.labels == 1 and _is_rpz(target, 0):
        if _spells(target, b"\x0crpz-passthru"):
            return _EXCEPTION
        return _BLOCK if _spells(target, b"\x08rpz-drop") else _NO_ACTION
    # The name itself, the zone's origin taken off and the root put in its place.
    below = transfer.owner.length - transfer.origin.length
    if target.labels != depth or target.length != below + 1:
        return _BLOCK
    i = 0
    while i < below:
        if target.octets[i] != transfer.owner.octets[i]:
            return _BLOCK
        i += 1
    if not _is_wildcard(target):
        return _EXCEPTION
    # `*.` is NODATA wherever it stands; a wildcard that leads to itself is nothing that is written down anywhere.
    return _BLOCK if target.labels == 1 else _NO_ACTION


def _spells(name, label):
    size = label[0]
    i = 0
    while i <= size:
        if name.octets[i] != label[i]:
            return 0
        i += 1
    return 1


def _line(transfer, depth, action):
    """Write the line of a record; an empty one where it says nothing, or what the record before it said."""
    into = transfer.octets
    start = transfer.written
    if start + _LINE_OCTETS > into.shape[0]:
        raise IndexError("transfer: more lines than fit")
    at = start
    if action == _NO_TRIGGER:
        at = _put(into, at, b"\x08?trigger")
    elif action == _NO_ACTION:
        at = _put(into, at, b"\x07?action")
    elif action != _SKIP:
        at = _named(transfer, depth, action, at)
    size = at - start
    if size > 0:
        if (action == _BLOCK or action == _EXCEPTION) and _is_last(into, start, size, transfer):
            at = start
        else:
            transfer.last = start
            transfer.last_size = size
    into[at] = 10
    transfer.written = at + 1
    return 0


def _is_last(into, start, size, transfer):
    """Tell whether the line into[start:start + size] is the last one of this message again."""
    if transfer.last_size != size:
        return 0
    i = 0
    while i < size:
        if into[start + i] != into[transfer.last + i]:
            return 0
        i += 1
    return 1


def _put(into, at, text):
    """Write a text that its own length precedes; return the offset behind it."""
    size = text[0]
    i = 1
    while i <= size:
        into[at] = text[i]
        at += 1
        i += 1
    return at


def _named(transfer, depth, action, at):
    """Write marker, scope and name; return the offset behind them."""
    into = transfer.octets
    owner = transfer.owner
    if action == _EXCEPTION:
        into[at] = 33
        at += 1
    label = 0
    if _is_wildcard(owner):
        into[at] = 42
        into[at + 1] = 46
        at += 2
        label = 1
        if depth == 1:
            into[at] = 46
            at += 1
    else:
        into[at] = 61
        at += 1
    first = label
    while label < depth:
        if label > first:
            into[at] = 46
            at += 1
        start = owner.starts[label]
        size = owner.octets[start]
        i = start + 1
        while i <= start + size:
            octet = owner.octets[i]
            if not (97 <= octet <= 122 or 48 <= octet <= 57 or octet == 45 or octet == 95):
                octet = 92
            into[at] = octet
            at += 1
            i += 1
        label += 1
    return at
