"""Judges an upstream's answer by the generation in force before it is kept or sent; the rule is core.policy.judge.

Rules:
- An answer to a listed name, which an exempt client asked for, is BLOCK for all other clients, even if it is negative:
  a kept answer would reveal that somebody asked.
"""

from dataclasses import dataclass

from resolver.core import codes
from resolver.core.message import Message, read, trim
from resolver.core.name import Name, unfold
from resolver.core.policy import Generation, Verdict, decide, judge

_HEADER = 12


@dataclass(frozen=True, slots=True)
class Judged:
    """Verdicts on one answer: by all lists, which the cache keeps, and by those that apply to the client."""

    for_all: int
    for_client: int


class Recheck:
    """Judges and trims answers; `message` and `verdict` describe the last one."""

    def __init__(self) -> None:
        self.message = Message()
        self.verdict = Verdict()
        self._name = Name()

    def judge(self, generation: Generation, reply: bytearray, scope: int) -> Judged:
        """Judge `reply`, and remove its OPT, and ADDITIONAL if a list demands that, in place.

        Return ASK for both verdicts if the answer does not parse to its end or cannot be judged.
        """
        message, verdict = self.message, self.verdict
        if not read(reply, len(reply), message):
            return Judged(codes.ASK, codes.ASK)
        for_all = for_client = judge(generation, message, codes.ALL_LISTS, self._name, verdict)
        dropped = message.drop_additional
        if for_all == codes.PASS and message.answer_start > _HEADER:
            asked = unfold(reply, _HEADER, message.answer_start, self._name)
            for_all = codes.ASK
            if asked:
                for_all = decide(generation, self._name, codes.ALL_LISTS, verdict, message.qtype)
        if for_all == codes.BLOCK and scope & codes.ALL_LISTS != codes.ALL_LISTS:
            for_client = judge(generation, message, scope, self._name, verdict)
            message.drop_additional = message.drop_additional or dropped
        if for_all == codes.ASK or for_client == codes.ASK:
            return Judged(codes.ASK, codes.ASK)
        trim(reply, message)
        return Judged(for_all, for_client)
