# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Reads a reply from upstream to its end: where its sections are, how long it may be kept, how it ages.

Rules:
- A reply has to hold exactly the records that it announces, with names that end, RDATA that can be read (core.rdata),
  the question's class, and at most one OPT, at the root, in ADDITIONAL. Otherwise `read` returns 0.
- What follows the last record is no part of the reply: `end` is before it, and `trailing` is set.
- A signature of the message (TSIG, SIG(0)) was not asked for, and nobody has its key: it is left out.
- The TTL of a reply is the smallest in ANSWER: a TTL is its RRset's (RFC 2181 5.2), so no record beside the answer
  decides. A TTL with the top bit set counts as 0 (RFC 2181 8).
- A negative reply is kept for min(SOA TTL, SOA MINIMUM) and only with a SOA (RFC 2308 5); TC=1 is never kept.
- A TTL of 0 stays 0 as a reply ages, whatever the floor: such a record is for one transaction (RFC 1035 3.2.1).
- `trim` removes OPT and signatures from the end of ADDITIONAL, or all of ADDITIONAL if a blocked name owns a record
  there. What stands elsewhere, core.scrub leaves out: `faulty` says that it has to.
- Of an extended error that is too long the text is cut, at the end of a character; its code stays.
"""

import cython

from .codes import TYPE_ANY, TYPE_CNAME, TYPE_OPT, TYPE_SOA, TYPE_TSIG
from .name import MAX_OCTETS

if not cython.compiled:
    from .name import skip, walk
    from .rdata import check

MAX_TTL_S = 86400
MAX_ERRORS_OCTETS = 256
FRESH = -1
MARKS = 256

_HEADER = 12
_OPT = TYPE_OPT
_ANY = TYPE_ANY
_SOA = TYPE_SOA
_TSIG = TYPE_TSIG
_SIG = 24
_COMPRESSED = 2
_CNAME = TYPE_CNAME
_EDE_OPTION = 15
_EDE_OCTETS = 6
_MARKS = MARKS
_MAX_NAME_OCTETS = MAX_OCTETS
_MAX_TTL_S = MAX_TTL_S
_MAX_ERRORS_OCTETS = MAX_ERRORS_OCTETS
_TOP_BIT = 0x80000000
_NOTHING = memoryview(bytes(1))


class Body:
    """A reply of an upstream as it can be written for a client: its octets, and what belongs to it beside them.

    data[start:end]: the reply, without OPT. rcode: all 12 bits. errors[errors_start:][:errors_size]: its options of
    extended DNS errors (RFC 8914), in order. age_s: for how long it was kept, in seconds; FRESH if it was not. rotate:
    whether its addresses are rotated when it is written.
    """

    def __init__(self):
        self.data = _NOTHING
        self.start = 0
        self.end = 0
        self.rcode = 0
        self.errors = _NOTHING
        self.errors_start = 0
        self.errors_size = 0
        self.age_s = FRESH
        self.rotate = 0


class Message(Body):
    """A reply as it was read; offsets in octets, times in seconds; reused for every reply.

    `answered` is whether ANSWER holds a record of the type that was asked for, `aliased` whether it holds a CNAME.
    tail_start, tail_count: the records at the end of ADDITIONAL that `trim` removes. marks, turn, last: the places and
    the name that `read`, or core.policy, was at before in this reply.
    """

    def __init__(self):
        super().__init__()
        self.found_errors = memoryview(bytearray(MAX_ERRORS_OCTETS))
        self.errors = self.found_errors
        self.answers = 0
        self.authorities = 0
        self.additionals = 0
        self.answer_start = 0
        self.authority_start = 0
        self.additional_start = 0
        self.has_opt = 0
        self.tail_start = 0
        self.tail_count = 0
        self.tail_broken = 0
        self.trailing = 0
        self.faulty = 0
        self.truncated = 0
        self.ttl_s = 0
        self.negative_ttl_s = -1
        self.qtype = 0
        self.qclass = 0
        self.answered = 0
        self.aliased = 0
        self.judged = 0
        self.drop_additional = 0
        self.marks = memoryview(bytearray(8 * MARKS)).cast("Q")
        self.turn = 0
        self.last = memoryview(bytearray(256))
        self.last_length = 0
        self.last_chain = 0


def read(data, end, message):
    """Read the reply data[:end] into `message`; return 1, or 0 if it cannot be read."""
    message.data = data
    message.end = end
    message.turn = message.turn + 1
    message.errors_size = 0
    message.has_opt = 0
    message.tail_start = 0
    message.tail_count = 0
    message.tail_broken = 0
    message.trailing = 0
    message.faulty = 0
    message.ttl_s = _MAX_TTL_S
    message.negative_ttl_s = -1
    message.drop_additional = 0
    message.answered = 0
    message.aliased = 0
    message.qtype = 0
    message.qclass = 0
    message.answers = 0
    message.authorities = 0
    message.additionals = 0
    if end < _HEADER or data[4] != 0 or data[5] > 1:
        return 0
    message.rcode = data[3] & 15
    message.truncated = data[2] >> 1 & 1
    at = _HEADER
    if data[5] == 1:
        at = walk(data, at, end)
        if at == 0 or at + 4 > end:
            return 0
        message.qtype = data[at] << 8 | data[at + 1]
        message.qclass = data[at + 2] << 8 | data[at + 3]
        at += 4
    message.answers = data[6] << 8 | data[7]
    message.authorities = data[8] << 8 | data[9]
    message.additionals = data[10] << 8 | data[11]
    message.answer_start = at
    at = _section(data, at, end, message.answers, 0, message)
    if at > 0:
        message.authority_start = at
        at = _section(data, at, end, message.authorities, 1, message)
    if at > 0:
        message.additional_start = at
        at = _section(data, at, end, message.additionals, 2, message)
    if at == 0:
        return 0
    message.trailing = at < end
    message.end = at
    return 1


def _section(data, at, end, count, section, message):
    """Read `count` records; return the offset after them, 0 if a record is malformed."""
    while count > 0:
        owner = at
        at = _owner_end(data, at, end, message)
        if at == 0 or at + 10 > end:
            return 0
        kind = data[at] << 8 | data[at + 1]
        klass = data[at + 2] << 8 | data[at + 3]
        size = data[at + 8] << 8 | data[at + 9]
        if at + 10 + size > end:
            return 0
        if kind == _OPT:
            if section != 2 or message.has_opt or data[owner] != 0:
                return 0
            message.has_opt = 1
            _note_tail(message, owner)
            message.rcode = message.rcode | data[at + 4] << 4
            if not _keep_errors(data, at + 10, size, message):
                return 0
        elif is_signature(kind, klass):
            if section == 2:
                _note_tail(message, owner)
            else:
                message.faulty = 1
        else:
            if message.tail_count:
                message.tail_broken = 1
            if message.qclass and klass != message.qclass:
                return 0
            sound = check(data, at + 10, size, kind)
            if sound == 0:
                return 0
            if sound == _COMPRESSED:
                message.faulty = 1
            ttl = _u32(data, at + 4)
            if ttl & _TOP_BIT:
                ttl = 0
            if section == 0:
                if ttl < message.ttl_s:
                    message.ttl_s = ttl
                if kind == message.qtype or message.qtype == _ANY:
                    message.answered = 1
                if kind == _CNAME:
                    message.aliased = 1
            if kind == _SOA and section == 1 and size >= 22:
                minimum = _u32(data, at + 6 + size)
                message.negative_ttl_s = min(ttl, minimum, _MAX_TTL_S)
        at += 10 + size
        count -= 1
    return at


def _owner_end(data, at, end, message):
    """Return the offset after an owner, 0 if it is malformed; from a place that pointers lead to it is walked once."""
    start = at
    length = 0
    while at < end and 0 < data[at] < 64:
        length += data[at] + 1
        at += data[at] + 1
    if at + 2 > end or data[at] < 192:
        return walk(data, start, end)
    place = (data[at] & 63) << 8
    place = place | data[at + 1]
    mark = message.turn << 16 | place
    known = message.marks[place % _MARKS]
    if known >> 8 == mark and place < start:
        return at + 2 if length + (known & 255) <= _MAX_NAME_OCTETS else 0
    after = walk(data, start, end)
    if after > 0:
        message.marks[place % _MARKS] = mark << 8 | _length(data, place)
    return after


def _length(data, at):
    """Return the octets of a name that `walk` accepts, spelled out."""
    length = 1
    size = data[at]
    while size > 0:
        if size >= 192:
            place = (size & 63) << 8
            at = place | data[at + 1]
        else:
            length += size + 1
            at += size + 1
        size = data[at]
    return length


def is_signature(kind, klass):
    """Return whether a record of this type and class signs the message (RFC 8945 4.2, RFC 2931 3)."""
    return kind == _TSIG or (kind == _SIG and klass == _ANY)


def _note_tail(message, owner):
    """Note a record that `trim` removes. Returns 0."""
    if message.tail_count == 0:
        message.tail_start = owner
    message.tail_count = message.tail_count + 1
    return 0


def _u32(data, at):
    value = data[at]
    value = value << 8 | data[at + 1]
    value = value << 8 | data[at + 2]
    return value << 8 | data[at + 3]


def _keep_errors(data, at, size, message):
    """Copy the extended DNS errors from an OPT record's options; return 0 if the options are malformed."""
    end = at + size
    start = at
    left = 0
    while at < end:
        if at + 4 > end:
            return 0
        length = 4 + (data[at + 2] << 8 | data[at + 3])
        if at + length > end:
            return 0
        if _is_error(data, at, length):
            left += 1
        at += length
    at = start
    while left > 0:
        length = 4 + (data[at + 2] << 8 | data[at + 3])
        if _is_error(data, at, length):
            # Each of those after it has room for its code.
            left -= 1
            _keep_error(data, at, length, _MAX_ERRORS_OCTETS - message.errors_size - _EDE_OCTETS * left, message)
        at += length
    return 1


def _is_error(data, at, length):
    """Return whether an option of so many octets is an extended error."""
    return data[at] == 0 and data[at + 1] == _EDE_OPTION and length >= _EDE_OCTETS


def _keep_error(data, at, length, room, message):
    """Copy an extended error; cut its text to `room` octets in all, or leave it out if its code has none. Returns 0."""
    if room < _EDE_OCTETS:
        room = _MAX_ERRORS_OCTETS - message.errors_size
        length = min(length, _EDE_OCTETS)
        if room < length:
            return 0
    elif length > room:
        length = room
        # An octet 10xxxxxx goes on a character (RFC 3629 3).
        while length > _EDE_OCTETS and data[at + length] & 0xC0 == 0x80:
            length -= 1
    i = 0
    while i < length:
        message.found_errors[message.errors_size + i] = data[at + i]
        i += 1
    message.found_errors[message.errors_size + 2] = (length - 4) >> 8
    message.found_errors[message.errors_size + 3] = (length - 4) & 255
    message.errors_size = message.errors_size + length
    return 0


def trim(data, message):
    """Remove what is no client's from the reply, or all of ADDITIONAL if that must go; return the new length."""
    if message.drop_additional or message.tail_broken:
        # A record that is not last cannot be cut out: names after it may point beyond it.
        message.end = message.additional_start
        message.additionals = 0
    elif message.tail_count:
        message.end = message.tail_start
        message.additionals = message.additionals - message.tail_count
    message.tail_count = 0
    data[10] = message.additionals >> 8
    data[11] = message.additionals & 255
    return message.end


def age(data, end, seconds, floor, ceiling):
    """Take `seconds` from each TTL above 0 of a trimmed reply, within `floor` and `ceiling`, in place.

    Return whether an owner is spelled out, or begins so: neither a pointer nor the root.
    """
    spelled = 0
    left = (data[6] << 8 | data[7]) + (data[8] << 8 | data[9]) + (data[10] << 8 | data[11])
    at = skip(data, _HEADER, end) + 4
    while left > 0:
        if 0 < data[at] < 64:
            spelled = 1
        at = skip(data, at, end)
        ttl = _u32(data, at + 4)
        if ttl & _TOP_BIT:
            ttl = 0
        if ttl > 0:
            ttl = max(ttl - seconds, floor)
            if ttl > ceiling:
                ttl = ceiling
        data[at + 4] = ttl >> 24 & 255
        data[at + 5] = ttl >> 16 & 255
        data[at + 6] = ttl >> 8 & 255
        data[at + 7] = ttl & 255
        at += 10 + (data[at + 8] << 8 | data[at + 9])
        left -= 1
    return spelled
