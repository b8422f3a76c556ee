# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Judges names: the only place that does.

Rules:
- A verdict starts as ASK, and only a complete walk makes it PASS or BLOCK. Errors ask, they never pass.
- Within a list the most specific entry wins. An exception spares the name from its own list, a release from all lists.
- If several lists block, the most specific entry decides the answer, then the configured order.
- An entry for the name itself also covers `_port._https.` before it (RFC 9460 9.1).
- A slot set aside blocks only once it is approved; its exceptions apply at once. A new slot does not apply while the
  list's new entries are suspended.
- In a reply every owner of ANSWER is judged, and every CNAME, DNAME, SVCB and HTTPS target there, on the chain
  or not, in byte order. In AUTHORITY, owner and target of records that lead to an address are judged (A, AAAA, CNAME,
  DNAME, SVCB, HTTPS), though no honest server puts them there. A blocked owner in ADDITIONAL drops that section (see
  core.message).
- A question for DS or DNSKEY leads to no address, but a validator asks it of every zone on the way to a name below
  (RFC 4035 5). An entry blocks it only if it blocks all names below it: not an entry for its own name alone, not one
  with an exception below, and none while a name is released. In the reply the same holds for owners of DS, of DNSKEY
  and of their RRSIG.
"""

import cython

from .codes import (
    ASK,
    BLOCK,
    BLOCK_BELOW,
    BLOCK_SELF,
    EXCEPT_BELOW,
    EXCEPT_SELF,
    EXCEPTION_BELOW,
    NEW,
    PASS,
    SET_ASIDE,
    TYPE_A,
    TYPE_AAAA,
    TYPE_CNAME,
    TYPE_DNAME,
    TYPE_DNSKEY,
    TYPE_DS,
    TYPE_HTTPS,
    TYPE_RRSIG,
    TYPE_SVCB,
)

if not cython.compiled:
    from .image import find
    from .name import digest, skip, unfold
    from .reply import blocked

# Work allowed on one reply; no honest server sends a message beyond it.
MAX_JUDGED_NAMES = 512

_ASK = ASK
_PASS = PASS
_BLOCK = BLOCK
_BLOCK_SELF = BLOCK_SELF
_BLOCK_BELOW = BLOCK_BELOW
_EXCEPT_SELF = EXCEPT_SELF
_EXCEPT_BELOW = EXCEPT_BELOW
_SET_ASIDE = SET_ASIDE
_NEW = NEW
_EXCEPTION_BELOW = EXCEPTION_BELOW
_A = TYPE_A
_AAAA = TYPE_AAAA
_CNAME = TYPE_CNAME
_DNAME = TYPE_DNAME
_SVCB = TYPE_SVCB
_HTTPS = TYPE_HTTPS
_DS = TYPE_DS
_DNSKEY = TYPE_DNSKEY
_RRSIG = TYPE_RRSIG
_MAX_JUDGED_NAMES = MAX_JUDGED_NAMES
_ANSWER = 0
_AUTHORITY = 1
_ADDITIONAL = 2
# What a question is to a list: ordinary; of a validator's chain; the same while names are released.
_ORDINARY = 0
_CHAIN = 1
_CHAIN_RELEASED = 2


class Member:
    """One list of a generation: its image, its replies, its counters' slot, and what this generation allows.

    A member in slot -1 has neither replies nor counters: it blocks nothing and judges every client.
    """

    def __init__(self, words, replies, *, slot, release=False, approved=False, suspended=False, following=None):
        self.words = words
        # By value: this generation uses what `view` has checked, as long as it lives.
        self.depths_low = words[7]
        self.depths_high = words[8]
        self.replies = replies
        self.slot = slot
        self.scope_bit = 1 << slot if slot >= 0 else 0xFFFFFFFF
        self.release = release
        self.approved = approved
        self.suspended = suspended
        self.following = following


class Generation:
    """Images and replies that are in force together, in configured order; never changed, only replaced."""

    def __init__(self, number, key, members):
        self.number = number
        self.key = memoryview(bytes(key)).cast("Q")
        self.first = None
        self.mask_low = 0
        self.mask_high = 0
        self.releases = 0
        self.members = tuple(members)
        for member in reversed(members):
            member.following = self.first
            self.first = member
            self.mask_low |= member.depths_low
            self.mask_high |= member.depths_high
            self.releases |= bool(member.release)


class Verdict:
    """The result, and the entry that gave it: list slot, depth, 112-bit digest and the slot's bits.

    chain: what the question is to the lists, for a name that is being judged.
    """

    def __init__(self):
        self.verdict = ASK
        self.slot = -1
        self.depth = 0
        self.bits = 0
        self.low = 0
        self.high = 0
        self.released = 0
        self.chain = 0
        self.errors = 0


def decide(generation, name, scope, verdict, qtype=TYPE_A):
    """Judge an unfolded name by the lists whose bit is in `scope`; fill `verdict` and return it: ASK, PASS or BLOCK.

    qtype: the type that is asked of the name.
    """
    verdict.verdict = _ASK
    try:
        verdict.chain = _chain(generation, qtype)
        verdict.verdict = _decide(generation, name, scope, verdict)
    except Exception:  # noqa: BLE001 - an error asks
        verdict.errors += 1
    return verdict.verdict


def judge(generation, message, scope, name, verdict):
    """Judge a whole reply that core.message has read; return ASK, PASS or BLOCK; may set message.drop_additional.

    A reply whose names cannot be read is the sender's fault: it is ASK, and no error is counted.
    """
    verdict.verdict = _ASK
    try:
        verdict.verdict = _judge(generation, message, scope, name, verdict)
    except Exception:  # noqa: BLE001 - an error asks
        verdict.errors += 1
    return verdict.verdict


def answer(generation, verdict, out, packet, question, limit):
    """Write the reply of the list that blocked into `out`; return its length, 0 if it could not be written."""
    try:
        return _answer(generation.first, verdict, out, packet, question, limit)
    except Exception:  # noqa: BLE001 - an error writes nothing
        return 0


# Lists are walked by recursion: nogil code cannot bind a local name to another object, so it cannot loop over them.


def _answer(member, verdict, out, packet, question, limit):
    """Write the reply of the list that blocked: `member`, or one after it."""
    if member is None:
        return 0
    if member.slot == verdict.slot:
        if member.replies is None:
            return 0
        return blocked(out, packet, question, member.replies, verdict.bits, limit)
    return _answer(member.following, verdict, out, packet, question, limit)


def _chain(generation, qtype):
    """Return what a question of this type is to the lists."""
    if qtype != _DS and qtype != _DNSKEY:
        return _ORDINARY
    return _CHAIN_RELEASED if generation.releases else _CHAIN


def _decide(generation, name, scope, verdict):
    verdict.slot = -1
    verdict.depth = 0
    verdict.bits = 0
    verdict.released = 0
    digest(name, generation.key, generation.mask_low, generation.mask_high)
    _ask_lists(generation.first, name, scope, verdict)
    if verdict.released or verdict.slot < 0:
        return _PASS
    return _BLOCK


def _ask_lists(member, name, scope, verdict):
    """Judge by `member` and the lists after it; note the most specific entry that blocks."""
    if member is None:
        return 0
    if member.scope_bit & scope:
        _ask_list(member, name, verdict)
    return _ask_lists(member.following, name, scope, verdict)


def _ask_list(member, name, verdict):
    """Apply one list: its most specific entry that covers the name."""
    depth = name.labels
    while depth > 0:
        bit = member.depths_low >> depth if depth < 64 else member.depths_high >> (depth - 64)
        bits = 0
        if bit & 1:
            bits = find(member.words, name.digests[2 * depth], name.digests[2 * depth + 1] >> 16)
        if bits & _SET_ASIDE and not member.approved:
            bits = bits & ~(_BLOCK_SELF | _BLOCK_BELOW)
        if bits & _NEW and member.suspended:
            bits = 0
        if bits:
            say = _say(bits, depth, name)
            if say == _EXCEPT_SELF:
                if member.release:
                    verdict.released = 1
                return 0
            if say == _BLOCK_SELF:
                if verdict.chain and _leaves_some_below(bits, verdict.chain):
                    return 0
                if depth > verdict.depth and member.slot >= 0:
                    verdict.slot = member.slot
                    verdict.depth = depth
                    verdict.bits = bits
                    verdict.low = name.digests[2 * depth]
                    verdict.high = name.digests[2 * depth + 1] >> 16
                return 0
        depth -= 1
    return 0


def _leaves_some_below(bits, chain):
    """Return whether a name below the entry of these bits may be one that is not blocked."""
    return chain == _CHAIN_RELEASED or not bits & _BLOCK_BELOW or bits & _EXCEPTION_BELOW


def _say(bits, depth, name):
    """Return EXCEPT_SELF, BLOCK_SELF or 0: the effect of a slot's bits on a name whose suffix of `depth` it is for."""
    own = depth == name.labels
    if name.marked and depth == name.labels - 2 and bits & (_EXCEPT_SELF | _BLOCK_SELF):
        own = 1
    if own:
        if bits & _EXCEPT_SELF:
            return _EXCEPT_SELF
        if bits & _BLOCK_SELF:
            return _BLOCK_SELF
        return 0
    if bits & _EXCEPT_BELOW:
        return _EXCEPT_SELF
    if bits & _BLOCK_BELOW:
        return _BLOCK_SELF
    return 0


def _judge(generation, message, scope, name, verdict):
    message.judged = 0
    message.drop_additional = 0
    result = _judge_section(generation, message, _ANSWER, scope, name, verdict)
    if result == _PASS:
        result = _judge_section(generation, message, _AUTHORITY, scope, name, verdict)
    if result != _PASS:
        return result
    result = _judge_section(generation, message, _ADDITIONAL, scope, name, verdict)
    if result == _BLOCK:
        message.drop_additional = 1
        return _PASS
    return result


def _judge_section(generation, message, section, scope, name, verdict):
    """Judge the names of one section; return the first verdict that is not PASS, else PASS.

    ANSWER: every owner and target. AUTHORITY: those of records that lead to an address. ADDITIONAL: owners alone.
    """
    at = message.answer_start
    count = message.answers
    if section == _AUTHORITY:
        at = message.authority_start
        count = message.authorities
    elif section == _ADDITIONAL:
        at = message.additional_start
        count = message.additionals
    last_pointer = 0
    last_chain = 0
    question_chain = _chain(generation, message.qtype)
    while count > 0:
        owner = at
        at = skip(message.data, at, message.end)
        kind = message.data[at] << 8 | message.data[at + 1]
        size = message.data[at + 8] << 8 | message.data[at + 9]
        at += 10
        pointer = _pointer(message.data, owner)
        chain = question_chain if section == _ANSWER and _proves(message.data, at, size, kind) else _ORDINARY
        known = pointer != 0 and pointer == last_pointer and chain == last_chain
        verdict.chain = chain
        if (section != _AUTHORITY or _leads(kind)) and not known:
            result = _judge_name(generation, message, owner, message.end, scope, name, verdict)
            if result != _PASS:
                return result
            last_pointer = pointer
            last_chain = chain
        if section != _ADDITIONAL and _has_target(kind):
            verdict.chain = _ORDINARY
            start = at + 2 if kind == _SVCB or kind == _HTTPS else at
            result = _judge_name(generation, message, start, at + size, scope, name, verdict)
            if result != _PASS:
                return result
        at += size
        count -= 1
    return _PASS


def _judge_name(generation, message, start, end, scope, name, verdict):
    """Judge the name at `start`, whose own octets end before `end`; ASK if it is malformed or one too many."""
    message.judged = message.judged + 1
    if message.judged > _MAX_JUDGED_NAMES:
        return _ASK
    after = unfold(message.data, start, end, name)
    if after == 0 or after > end:
        return _ASK
    return _decide(generation, name, scope, verdict)


def _proves(data, at, size, kind):
    """Return whether a record is DS or DNSKEY, or the signature of one; its RDATA is data[at : at + size]."""
    if kind == _RRSIG and size >= 2:
        kind = data[at] << 8 | data[at + 1]
    return kind == _DS or kind == _DNSKEY


def _pointer(data, at):
    """Return the target of the compression pointer at `at`, 0 for no pointer."""
    if data[at] < 192:
        return 0
    return (data[at] & 63) << 8 | data[at + 1]


def _has_target(kind):
    """Return whether a record of this type has a target name."""
    return kind == _CNAME or kind == _DNAME or kind == _SVCB or kind == _HTTPS


def _leads(kind):
    """Return whether a record of this type leads a visitor to an address, by itself or by its target."""
    return kind == _A or kind == _AAAA or _has_target(kind)
