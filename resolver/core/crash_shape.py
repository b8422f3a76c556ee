# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Notes the shape of the packet that is being answered, in numbers that a crash report may contain.

Rules:
- Before a packet is read, its size and transport are known; after that, what core.question read. Of a reply that is
  judged only the size is known.
- Size in octets, transport, kind, type, class, number of labels, flags, whether it has EDNS: no octet of a name or of
  an address.
- It costs no call more: `read` includes core.question's `parse`.
"""

import cython

if not cython.compiled:
    from .question import parse

NUMBERS = ("octets", "stream", "reply", "qtype", "qclass", "labels", "flags", "edns")

_OCTETS, _STREAM, _REPLY, _QTYPE, _QCLASS, _LABELS, _FLAGS, _EDNS = range(8)
_UNKNOWN = -1


class Shape:
    """The numbers, in `memory`: a view of eight signed 64-bit numbers, owned by the caller."""

    def __init__(self, memory):
        self.numbers = memory
        if len(memory) != len(NUMBERS):
            raise ValueError("memory")


def read(shape, packet, end, stream, question):
    """Read the query packet[:end] into `question`, note its shape, and return what core.question.parse returns."""
    _begin(shape, end, stream, 0)
    problem = parse(packet, end, question)
    shape.numbers[_QTYPE] = question.qtype
    shape.numbers[_QCLASS] = question.qclass
    shape.numbers[_LABELS] = question.name.labels
    shape.numbers[_FLAGS] = question.flags
    shape.numbers[_EDNS] = question.has_opt
    return problem


def reply(shape, end):
    """Note that an upstream's reply of `end` octets is being judged. Returns 0."""
    _begin(shape, end, _UNKNOWN, 1)
    return 0


def _begin(shape, end, stream, is_reply):
    shape.numbers[_OCTETS] = end
    shape.numbers[_STREAM] = stream
    shape.numbers[_REPLY] = is_reply
    shape.numbers[_QTYPE] = _UNKNOWN
    shape.numbers[_QCLASS] = _UNKNOWN
    shape.numbers[_LABELS] = _UNKNOWN
    shape.numbers[_FLAGS] = _UNKNOWN
    shape.numbers[_EDNS] = _UNKNOWN
    return 0
