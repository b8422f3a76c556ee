# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Judges an upstream's reply by the generation in force before it is kept or sent; the rule is core.policy.judge.

Rules:
- What nobody asked for is left out first (core.scrub), what is no client's after the verdict (core.message.trim), and
  ADDITIONAL with it if a list demands that.
- A reply to a listed name, which an exempt client asked for, is BLOCK for all other clients, even if it is negative: a
  kept answer would reveal that somebody asked.
- A reply for which many queries wait is read, scrubbed, judged and trimmed once, and once more for each scope of
  clients if it is BLOCK for all lists, as far as SCOPES of them are remembered. Another generation judges it again.
- A reply that cannot be read or judged is ASK for everybody.
"""

import cython

from .codes import ALL_LISTS, ASK, BLOCK
from .message import Message
from .name import Name
from .policy import Verdict
from .scrub import CLEAN, TOO_MUCH, Chain

if not cython.compiled:
    from .exchange import is_clean
    from .message import read, trim
    from .octets import copy
    from .policy import judge_nogil
    from .scrub import look, write

MAX_OCTETS = 65535
SCOPES = 4

_ASK = ASK
_BLOCK = BLOCK
_ALL_LISTS = ALL_LISTS
_CLEAN = CLEAN
_TOO_MUCH = TOO_MUCH
_SCOPES = SCOPES
_FOR_ALL = -1


class Room:
    """What it takes to judge replies, one after another. errors: the verdicts that failed since the start."""

    def __init__(self):
        self.chain = Chain()
        self.name = Name()
        self.octets = memoryview(bytearray(MAX_OCTETS))
        self.errors = 0


class Judgement:
    """A reply and what the lists say of it. reply: its octets; None if `fill` copies replies here, one after another.

    message: the reply as it may be given. verdict: by all lists, which the cache keeps; for_all: the same, but ASK if
    judging for the last client failed. known: whether `message` is already that of the octets to be judged. chosen:
    which verdict is the last client's: one of `others`, -1 for `verdict`.
    """

    def __init__(self, reply=None):
        self.reply = memoryview(bytes(1) if reply is None else reply)
        self.octets = memoryview(bytearray(MAX_OCTETS if reply is None else max(1, len(reply))))
        self.size = 0
        self.message = Message()
        self.verdict = Verdict()
        self.for_all = ASK
        self.number = 0
        self.judged = 0
        self.known = 0
        self.chosen = -1
        self.count = 0
        self.oldest = 0
        self.held = [Verdict() for _ in range(SCOPES)]
        if not cython.compiled:
            self.others = self.held
            self.scopes = [0] * SCOPES
        else:
            for number, verdict in enumerate(self.held):
                self.others[number] = cython.cast(cython.p_void, verdict)
        if reply is not None:
            fill(self, self.reply, 0, len(reply))

    def again(self, reply):
        """Take another reply in place of this one, and forget all verdicts. Returns 0."""
        self.reply = memoryview(reply)
        if len(self.octets) < len(reply):
            self.octets = memoryview(bytearray(len(reply)))
        return fill(self, self.reply, 0, len(reply))


def fill(one, data, start, end):
    """Copy the reply data[start:end] here, to be judged. Returns 0."""
    one.judged = 0
    one.known = 0
    one.size = end - start
    copy(one.octets, 0, data, start, one.size)
    return 0


def fill_clean(one, data, start, end):
    """Do what `fill` does, and return whether the reply is clean (core.exchange), to be judged without another look."""
    fill(one, data, start, end)
    one.known = is_clean(one.octets, one.size, one.message)
    return one.known


def judge(one, room, generation, scope):
    """Return the verdict for a client with this scope: ASK, PASS or BLOCK; set one.for_all and one.chosen."""
    if one.judged and one.number != generation.number:
        fill(one, one.reply, 0, one.reply.shape[0])
    if not one.judged:
        _judge_for_all(one, room, generation)
    one.chosen = _FOR_ALL
    one.for_all = one.verdict.verdict
    if one.for_all != _BLOCK or scope & _ALL_LISTS == _ALL_LISTS:
        return one.for_all
    one.chosen = _place_of(one, room, generation, scope)
    said = cython.cast(Verdict, one.others[one.chosen]).verdict
    if said == _ASK:
        one.for_all = _ASK
    return said


def _judge_for_all(one, room, generation):
    one.number = generation.number
    one.judged = 1
    one.count = 0
    one.oldest = 0
    one.verdict.verdict = _ASK
    if (one.known or read(one.octets, one.size, one.message)) and _scrub(one, room):
        _ask(one, room, generation, _ALL_LISTS, one.verdict)
    return 0


def _place_of(one, room, generation, scope):
    """Return the place in `others` of the verdict for a scope, which is judged unless it is remembered."""
    place = 0
    while place < one.count:
        if one.scopes[place] == scope:
            return place
        place += 1
    if one.count < _SCOPES:
        one.count = one.count + 1
    else:
        place = one.oldest
        one.oldest = (one.oldest + 1) % _SCOPES
    one.scopes[place] = scope
    _ask(one, room, generation, scope, cython.cast(Verdict, one.others[place]))
    return place


def _scrub(one, room):
    """Leave out what nobody asked for; return whether the reply can be used."""
    found = look(one.message, room.chain)
    if found == _CLEAN:
        return 1
    if found == _TOO_MUCH:
        return 0
    # The OPT goes with it; what it said is remembered here.
    rcode = one.message.rcode
    errors_size = one.message.errors_size
    one.size = write(one.message, room.chain, room.octets)
    if one.size > one.octets.shape[0]:
        # Names that were compressed may take more octets than came.
        with cython.gil:
            one.octets = memoryview(bytearray(MAX_OCTETS))
    one.octets[: one.size] = room.octets[: one.size]
    if not read(one.octets, one.size, one.message):
        return 0
    one.message.rcode = rcode
    one.message.errors_size = errors_size
    return 1


def _ask(one, room, generation, scope, verdict):
    """Judge by the lists in `scope`, and trim. Returns 0."""
    dropped = one.message.drop_additional
    judge_nogil(generation, one.message, scope, room.name, verdict)
    room.errors = room.errors + verdict.errors
    verdict.errors = 0
    if dropped:
        one.message.drop_additional = 1
    trim(one.octets, one.message)
    return 0
