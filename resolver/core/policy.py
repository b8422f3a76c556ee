# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Judges names: the only place that does.

Rules:
- A verdict starts as ASK, and only a complete walk makes it PASS or BLOCK. Errors ask, they never pass.
- Within a list the most specific entry wins. An exception spares the name from its own list, a release from all lists.
- If several lists block, the most specific entry decides the answer, then the configured order.
- An entry for the name itself also covers `_port._https.` before it (RFC 9460 9.1).
- A slot set aside blocks only once it is approved; its exceptions apply at once.
- In a reply the question's name is judged, every owner of ANSWER, and every CNAME, DNAME, SVCB and HTTPS target there,
  in byte order (core.scrub has left out what is not on the chain). In AUTHORITY, owner and target of records that lead
  to an address are judged (A, AAAA, CNAME, DNAME, SVCB, HTTPS), though no honest server puts them there. A blocked
  owner in ADDITIONAL drops that section (see core.message).
- The work on a reply is bounded by the octets that are digested. A name that equals the last one, or is written at a
  place that was judged in this reply, is not judged again. Beyond the bound a reply is ASK; ADDITIONAL is a courtesy
  (RFC 1034 4.3.2) and goes.
- A question for DS or DNSKEY leads to no address, but a validator asks it of every zone on the way to a name below
  (RFC 4035 5). An entry blocks it only if it blocks all names below it: not an entry for its own name alone, not one
  with an exception below, and none while a name is released. In the reply the same holds for owners of DS, of DNSKEY
  and of their RRSIG.
- Judging a name has two halves: `prepare` asks the memory for what `decide_ready` reads, so that a thread with many
  names waits for it once. Both need no GIL, keep nothing outside their arguments, and raise nothing for an image that
  is damaged: it is counted in the verdict's errors, and asks.
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
from .image import DAMAGED
from .message import MARKS

if not cython.compiled:
    from .image import inverse_of, prefetch, search
    from .name import digest, skip, unfold
    from .octets import copy, equal
    from .reply import blocked

# Work allowed on one reply, in octets of names; each digest counts for some more. No honest ANSWER needs a tenth of it.
MAX_JUDGED_OCTETS = 65536

_ASK = ASK
_PASS = PASS
_BLOCK = BLOCK
_BLOCK_SELF = BLOCK_SELF
_BLOCK_BELOW = BLOCK_BELOW
_EXCEPT_SELF = EXCEPT_SELF
_EXCEPT_BELOW = EXCEPT_BELOW
_SET_ASIDE = SET_ASIDE
_EXCEPTION_BELOW = EXCEPTION_BELOW
_DAMAGED = DAMAGED
_A = TYPE_A
_AAAA = TYPE_AAAA
_CNAME = TYPE_CNAME
_DNAME = TYPE_DNAME
_SVCB = TYPE_SVCB
_HTTPS = TYPE_HTTPS
_DS = TYPE_DS
_DNSKEY = TYPE_DNSKEY
_RRSIG = TYPE_RRSIG
_MAX_JUDGED_OCTETS = MAX_JUDGED_OCTETS
_DIGEST_OCTETS = 24
_HEADER = 12
_MARKS = MARKS
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

    def __init__(self, words, replies, *, slot, release=False, approved=False):
        self.words = words
        self.inverse = inverse_of(words)
        # By value: this generation uses what `view` has checked, as long as it lives.
        self.depths_low = words[7]
        self.depths_high = words[8]
        self.replies = replies
        self.slot = slot
        self.scope_bit = 1 << slot if slot >= 0 else 0xFFFFFFFF
        self.release = release
        self.approved = approved


class Generation:
    """Images and replies that are in force together, in configured order; never changed, only replaced."""

    def __init__(self, number, key, members):
        self.number = number
        self.key = memoryview(bytes(key)).cast("Q")
        self.mask_low = 0
        self.mask_high = 0
        self.releases = 0
        self.members = tuple(members)
        self.count = len(self.members)
        if cython.compiled:
            # The same members as addresses: code without the GIL cannot read a tuple. `members` keeps them alive.
            self.addresses = memoryview(bytearray(8 * self.count + 8)).cast("Q")
            self.lists = cython.cast(cython.pp_void, cython.address(self.addresses[0]))
            for i, member in enumerate(self.members):
                self.lists[i] = cython.cast(cython.p_void, member)
        else:
            self.lists = self.members
        for member in self.members:
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
        prepare(generation, name)
        decide_ready(generation, name, scope, verdict, qtype)
    except Exception:  # noqa: BLE001 - an error asks
        verdict.errors += 1
    return verdict.verdict


def prepare(generation, name):
    """Digest the suffixes of an unfolded name, and ask the memory for their slots in every list. Returns 0."""
    digest(name, generation.key, generation.mask_low, generation.mask_high)
    i = 0
    while i < generation.count:
        _prefetch_list(cython.cast(Member, generation.lists[i]), name)
        i += 1
    return 0


def decide_ready(generation, name, scope, verdict, qtype):
    """Do what `decide` does, without the GIL, for a name that `prepare` has seen with the same generation."""
    verdict.verdict = _ASK
    verdict.chain = _chain(generation, qtype)
    verdict.verdict = _said(_ask_lists(generation, name, scope, verdict), verdict)
    return verdict.verdict


def judge(generation, message, scope, name, verdict):
    """Judge a whole reply that core.message has read; return ASK, PASS or BLOCK; may set message.drop_additional.

    A reply whose names cannot be read is the sender's fault: it is ASK, and no error is counted.
    """
    verdict.verdict = _ASK
    try:
        judge_nogil(generation, message, scope, name, verdict)
    except Exception:  # noqa: BLE001 - an error asks
        verdict.errors += 1
    return verdict.verdict


def judge_nogil(generation, message, scope, name, verdict):
    """Do what `judge` does, without the GIL; the error of a bug is raised."""
    verdict.verdict = _ASK
    verdict.verdict = _said(_judge(generation, message, scope, name, verdict), verdict)
    return verdict.verdict


def answer(generation, verdict, out, packet, question, limit):
    """Write the reply of the list that blocked into `out`; return its length, 0 if it could not be written."""
    try:
        return answer_nogil(generation, verdict, out, packet, question, limit)
    except Exception:  # noqa: BLE001 - an error writes nothing
        return 0


def answer_nogil(generation, verdict, out, packet, question, limit):
    """Do what `answer` does, without the GIL; the error of a bug is raised."""
    i = 0
    while i < generation.count:
        if cython.cast(Member, generation.lists[i]).slot == verdict.slot:
            if cython.cast(Member, generation.lists[i]).replies is None:
                return 0
            return blocked(
                out, packet, question, cython.cast(Member, generation.lists[i]).replies, verdict.bits, limit
            )
        i += 1
    return 0


def _chain(generation, qtype):
    """Return what a question of this type is to the lists."""
    if qtype != _DS and qtype != _DNSKEY:
        return _ORDINARY
    return _CHAIN_RELEASED if generation.releases else _CHAIN


def _prefetch_list(member, name):
    """Ask the memory for the slots at which one list would have the name and what is above it. Returns 0."""
    depth = name.labels
    while depth > 0:
        bit = member.depths_low >> depth if depth < 64 else member.depths_high >> (depth - 64)
        if bit & 1:
            prefetch(member.words, member.inverse, name.digests[2 * depth])
        depth -= 1
    return 0


def _said(result, verdict):
    """Return the verdict of a result: that of a damaged image is ASK, and an error is counted."""
    if result == _DAMAGED:
        verdict.errors += 1
        return _ASK
    return result


def _ask_lists(generation, name, scope, verdict):
    """Judge a prepared name by the lists of the scope, in order; note the most specific entry that blocks.

    Return PASS, BLOCK or DAMAGED.
    """
    verdict.slot = -1
    verdict.depth = 0
    verdict.bits = 0
    verdict.released = 0
    i = 0
    while i < generation.count:
        if _ask_list(cython.cast(Member, generation.lists[i]), name, scope, verdict) == _DAMAGED:
            return _DAMAGED
        i += 1
    if verdict.released or verdict.slot < 0:
        return _PASS
    return _BLOCK


def _ask_list(member, name, scope, verdict):
    """Apply one list, if it is of the scope: its most specific entry that covers the name. Return 0 or DAMAGED."""
    depth = name.labels if member.scope_bit & scope else 0
    while depth > 0:
        bit = member.depths_low >> depth if depth < 64 else member.depths_high >> (depth - 64)
        bits = 0
        if bit & 1:
            bits = search(member.words, member.inverse, name.digests[2 * depth], name.digests[2 * depth + 1] >> 16)
            if bits == _DAMAGED:
                return _DAMAGED
        if bits & _SET_ASIDE and not member.approved:
            bits = bits & ~(_BLOCK_SELF | _BLOCK_BELOW)
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
    """Return ASK, PASS, BLOCK or DAMAGED, as the functions below do."""
    message.judged = 0
    message.drop_additional = 0
    message.last_length = 0
    message.turn = message.turn + 1
    result = _PASS
    if message.answer_start > _HEADER:
        verdict.chain = _chain(generation, message.qtype)
        result = _judge_name(generation, message, _HEADER, message.end, scope, name, verdict)
    if result == _PASS:
        result = _judge_section(generation, message, _ANSWER, scope, name, verdict)
    if result == _PASS:
        result = _judge_section(generation, message, _AUTHORITY, scope, name, verdict)
    if result != _PASS:
        return result
    result = _judge_section(generation, message, _ADDITIONAL, scope, name, verdict)
    if result == _DAMAGED:
        return _DAMAGED
    message.drop_additional = result != _PASS
    return _PASS


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
    question_chain = _chain(generation, message.qtype)
    while count > 0:
        owner = at
        at = skip(message.data, at, message.end)
        if at == 0 or at + 10 > message.end:
            return _ASK
        kind = message.data[at] << 8 | message.data[at + 1]
        size = message.data[at + 8] << 8 | message.data[at + 9]
        at += 10
        if at + size > message.end:
            return _ASK
        if section != _AUTHORITY or _leads(kind):
            proves = question_chain and section == _ANSWER and _proves(message.data, at, size, kind)
            verdict.chain = question_chain if proves else _ORDINARY
            result = _judge_name(generation, message, owner, message.end, scope, name, verdict)
            if result != _PASS:
                return result
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
    place = start
    if start >= end:
        return _ASK
    if message.data[start] >= 192:
        if start + 2 > end:
            return _ASK
        place = (message.data[start] & 63) << 8
        place = place | message.data[start + 1]
    # What a turn has judged; a mark that another name has overwritten costs work, and nothing else.
    # Laid out as those of core.message, whose turns are others: no mark of one is ever a mark of the other.
    mark = (message.turn << 16 | place) << 8 | (verdict.chain != _ORDINARY)
    if message.marks[place % _MARKS] == mark:
        return _PASS
    after = unfold(message.data, start, end, name)
    if after == 0 or after > end:
        return _ASK
    message.judged = message.judged + name.length
    if not _is_last(message, name, verdict.chain):
        message.judged = message.judged + _octets_to_digest(name, generation.mask_low, generation.mask_high)
        if message.judged > _MAX_JUDGED_OCTETS:
            return _ASK
        prepare(generation, name)
        result = _ask_lists(generation, name, scope, verdict)
        if result != _PASS:
            return result
        copy(message.last, 0, name.octets, 0, name.length)
        message.last_length = name.length
        message.last_chain = verdict.chain
    if message.judged > _MAX_JUDGED_OCTETS:
        return _ASK
    message.marks[place % _MARKS] = mark
    return _PASS


def _is_last(message, name, chain):
    """Return whether the name is the one that was judged last."""
    if message.last_length != name.length or message.last_chain != chain:
        return 0
    return equal(message.last, 0, name.octets, 0, name.length)


def _octets_to_digest(name, mask_low, mask_high):
    """Return the work of `core.name.digest` on a name, in octets."""
    octets = 0
    depth = 1
    while depth <= name.labels:
        bit = mask_low >> depth if depth < 64 else mask_high >> (depth - 64)
        if bit & 1:
            octets += name.length - name.starts[name.labels - depth] + _DIGEST_OCTETS
        depth += 1
    return octets


def _proves(data, at, size, kind):
    """Return whether a record is DS or DNSKEY, or the signature of one; its RDATA is data[at : at + size]."""
    if kind == _RRSIG and size >= 2:
        kind = data[at] << 8 | data[at + 1]
    return kind == _DS or kind == _DNSKEY


def _has_target(kind):
    """Return whether a record of this type has a target name."""
    return kind == _CNAME or kind == _DNAME or kind == _SVCB or kind == _HTTPS


def _leads(kind):
    """Return whether a record of this type leads a visitor to an address, by itself or by its target."""
    return kind == _A or kind == _AAAA or _has_target(kind)
