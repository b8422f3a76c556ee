# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Reads a reply from upstream to its end: where its sections are, how long it may be kept, how it ages.

Rules:
- A reply has to parse to its last octet, with exactly the records that it announces, and with at most one OPT, at the
  root, in ADDITIONAL. Otherwise `read` returns 0.
- The TTL of a reply is the smallest in ANSWER: a TTL is its RRset's (RFC 2181 5.2), so no record beside the answer
  decides. A TTL with the top bit set counts as 0 (RFC 2181 8).
- A negative reply is kept for min(SOA TTL, SOA MINIMUM) and only with a SOA (RFC 2308 5); TC=1 is never kept.
- A TTL of 0 stays 0 as a reply ages, whatever the floor: such a record is for one transaction (RFC 1035 3.2.1).
- `trim` removes the OPT record, and all of ADDITIONAL if a blocked name owns a record there.
"""

import cython

from .codes import TYPE_ANY, TYPE_CNAME, TYPE_OPT, TYPE_SOA

if not cython.compiled:
    from .name import skip

MAX_TTL_S = 86400
MAX_ERRORS_OCTETS = 256
FRESH = -1

_HEADER = 12
_OPT = TYPE_OPT
_ANY = TYPE_ANY
_SOA = TYPE_SOA
_CNAME = TYPE_CNAME
_EDE_OPTION = 15
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
        self.opt_start = 0
        self.opt_end = 0
        self.truncated = 0
        self.ttl_s = 0
        self.negative_ttl_s = -1
        self.qtype = 0
        self.answered = 0
        self.aliased = 0
        self.judged = 0
        self.drop_additional = 0


def read(data, end, message):
    """Read the reply data[:end] into `message`; return 1, or 0 if it does not parse to its end."""
    message.data = data
    message.end = end
    message.errors_size = 0
    message.opt_start = 0
    message.opt_end = 0
    message.ttl_s = _MAX_TTL_S
    message.negative_ttl_s = -1
    message.drop_additional = 0
    message.answered = 0
    message.aliased = 0
    message.qtype = 0
    message.answers = 0
    message.authorities = 0
    message.additionals = 0
    if end < _HEADER or data[4] != 0 or data[5] > 1:
        return 0
    message.rcode = data[3] & 15
    message.truncated = data[2] >> 1 & 1
    at = _HEADER
    if data[5] == 1:
        at = skip(data, at, end)
        if at == 0 or at + 4 > end:
            return 0
        message.qtype = data[at] << 8 | data[at + 1]
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
    return at == end


def _section(data, at, end, count, section, message):
    """Read `count` records; return the offset after them, 0 if a record is malformed."""
    while count > 0:
        owner = at
        at = skip(data, at, end)
        if at == 0 or at + 10 > end:
            return 0
        kind = data[at] << 8 | data[at + 1]
        size = data[at + 8] << 8 | data[at + 9]
        if at + 10 + size > end:
            return 0
        if kind == _OPT:
            if section != 2 or message.opt_end or data[owner] != 0:
                return 0
            message.opt_start = owner
            message.opt_end = at + 10 + size
            message.rcode = message.rcode | data[at + 4] << 4
            if not _keep_errors(data, at + 10, size, message):
                return 0
        else:
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


def _u32(data, at):
    value = data[at]
    value = value << 8 | data[at + 1]
    value = value << 8 | data[at + 2]
    return value << 8 | data[at + 3]


def _keep_errors(data, at, size, message):
    """Copy the extended DNS errors from an OPT record's options; return 0 if the options are malformed."""
    end = at + size
    while at < end:
        if at + 4 > end:
            return 0
        length = 4 + (data[at + 2] << 8 | data[at + 3])
        if at + length > end:
            return 0
        if data[at] == 0 and data[at + 1] == _EDE_OPTION and message.errors_size + length <= _MAX_ERRORS_OCTETS:
            i = 0
            while i < length:
                message.found_errors[message.errors_size + i] = data[at + i]
                i += 1
            message.errors_size = message.errors_size + length
        at += length
    return 1


def trim(data, message):
    """Remove OPT from the reply in place, or all of ADDITIONAL if that must go; return the new length."""
    if message.drop_additional or (message.opt_end and message.opt_end != message.end):
        # An OPT that is not last cannot be cut out: names after it may point beyond it.
        message.end = message.additional_start
        message.additionals = 0
    elif message.opt_end:
        message.end = message.opt_start
        message.additionals = message.additionals - 1
    data[10] = message.additionals >> 8
    data[11] = message.additionals & 255
    return message.end


def age(data, end, seconds, floor, ceiling):
    """Take `seconds` from each TTL above 0 of a trimmed reply, within `floor` and `ceiling`, in place. Returns 0."""
    left = (data[6] << 8 | data[7]) + (data[8] << 8 | data[9]) + (data[10] << 8 | data[11])
    at = skip(data, _HEADER, end) + 4
    while left > 0:
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
    return 0
