"""Judges an upstream's answer by the generation in force before it is kept or sent; the rule is core.policy.judge.

Rules:
- An answer to a listed name, which an exempt client asked for, is BLOCK for all other clients, even if it is negative:
  a kept answer would reveal that somebody asked.
- An answer for which many queries wait is read, scrubbed, judged and trimmed once, and once more for each scope of
  clients if it is BLOCK for all lists. Another generation judges it again.
"""

from typing import NamedTuple

from resolver.core import codes
from resolver.core.message import Message, read, trim
from resolver.core.name import Name
from resolver.core.policy import Generation, Verdict, judge
from resolver.core.scrub import CLEAN, TOO_MUCH, Chain, look, write

RECENT = 512
RECENT_OCTETS = 4 * 2**20
"""The number of exchanges whose judged answers are remembered for those who still wait, and their octets in all."""


class Judged(NamedTuple):
    """Verdicts on one answer: by all lists, which the cache keeps, and by those that apply to the client."""

    for_all: int
    for_client: int


class _Judgement:
    """One judged answer: `verdict` is by all lists, `verdicts` by those of a scope."""

    __slots__ = ("generation", "message", "octets", "reply", "verdict", "verdicts")

    def __init__(self) -> None:
        self.message = Message()
        self.verdict = Verdict()
        self.verdicts: dict[int, Verdict] = {}
        self.generation: Generation | None = None
        self.reply: bytes | bytearray = b""
        self.octets = bytearray()


class Recheck:
    """Judges and trims answers; `message` and `verdict` describe the last one. errors: verdicts that failed so far."""

    def __init__(self) -> None:
        self.errors = 0
        self._own = _Judgement()
        self._shared: dict[int, _Judgement] = {}
        self._octets = 0
        self._name = Name()
        self._chain = Chain()
        self._out = memoryview(bytearray(65535))
        self.message = self._own.message
        self.verdict = self._own.verdict

    def judge(self, generation: Generation, reply: bytearray, scope: int) -> Judged:
        """Judge `reply`; leave out of it what is no client's, and ADDITIONAL if a list demands that.

        Return ASK for both verdicts if the answer cannot be read or judged.
        """
        self._judge_for_all(self._own, generation, reply, reply)
        return self._judged(self._own, scope)

    def judge_shared(self, generation: Generation, reply: bytes, scope: int) -> Judged:
        """Do the same for the answer of an exchange, once for all who wait for these very octets."""
        # By identity, which holds as long as the judgement has the octets: equal answers of two exchanges are two.
        one = self._shared.pop(id(reply), None)
        if one is None:
            one = self._room_for(reply)
            self._judge_for_all(one, generation, reply, bytearray(reply))
        elif one.generation is not generation:
            self._judge_for_all(one, generation, reply, bytearray(reply))
        self._shared[id(reply)] = one
        return self._judged(one, scope)

    def _room_for(self, reply: bytes) -> _Judgement:
        """Forget the oldest judgements until this answer has room; return one to be filled."""
        one = None
        self._octets += len(reply)
        while self._shared and (len(self._shared) >= RECENT or self._octets > RECENT_OCTETS):
            one = self._shared.pop(next(iter(self._shared)))
            self._octets -= len(one.reply)
        return one or _Judgement()

    def _judge_for_all(
        self, one: _Judgement, generation: Generation, reply: bytes | bytearray, octets: bytearray
    ) -> None:
        one.generation, one.reply, one.octets = generation, reply, octets
        one.verdict = Verdict()
        one.verdicts = {}
        message = one.message
        if read(octets, len(octets), message) and self._scrub(one):
            self._ask(one, one.verdict, codes.ALL_LISTS)

    def _scrub(self, one: _Judgement) -> bool:
        """Leave out what nobody asked for; return whether the answer can be used."""
        message = one.message
        found = look(message, self._chain)
        if found in (CLEAN, TOO_MUCH):
            return bool(found == CLEAN)
        # The OPT goes with it; what it said is remembered here.
        rcode, errors_size = message.rcode, message.errors_size
        one.octets = bytearray(self._out[: write(message, self._chain, self._out)])
        if not read(one.octets, len(one.octets), message):
            return False
        message.rcode, message.errors_size = rcode, errors_size
        return True

    def _ask(self, one: _Judgement, verdict: Verdict, scope: int) -> None:
        message = one.message
        dropped = message.drop_additional
        judge(one.generation, message, scope, self._name, verdict)
        message.drop_additional = message.drop_additional or dropped
        self.errors += verdict.errors
        trim(one.octets, message)

    def _judged(self, one: _Judgement, scope: int) -> Judged:
        self.message, self.verdict = one.message, one.verdict
        for_all: int = one.verdict.verdict
        if for_all == codes.BLOCK and scope & codes.ALL_LISTS != codes.ALL_LISTS:
            if scope not in one.verdicts:
                one.verdicts[scope] = Verdict()
                self._ask(one, one.verdicts[scope], scope)
            self.verdict = one.verdicts[scope]
        if self.verdict.verdict == codes.ASK:
            return Judged(codes.ASK, codes.ASK)
        return Judged(for_all, self.verdict.verdict)
