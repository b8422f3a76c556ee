"""Judges a query's name by the generation in force, and counts and answers blocked queries: always before the cache."""

from typing import Any

from resolver.core import codes, policy, tally
from resolver.core.scratch import Scratch
from resolver.query.query import Query, Tables
from resolver.query.respond import Respond


class Block:
    """The verdict on a query's name, and the answer of the list that blocks it.

    tallies: core.tally's tables; counters: the table of core.codes.
    """

    def __init__(self, tallies: tally.Tally, counters: Any) -> None:
        self.verdict = policy.Verdict()
        self._tallies = tallies
        self._counters = counters
        self._out = memoryview(bytearray(4096))
        self._scratch = Scratch()

    def judge(self, generation: policy.Generation, query: Query) -> int:
        """Return ASK, PASS or BLOCK for the query's name and type by the lists that apply to its client."""
        question = query.question
        verdict: int = policy.decide(generation, question.name, query.scope, self.verdict, question.qtype)
        return verdict

    def answer(
        self, tables: Tables, query: Query, verdict: policy.Verdict, now: float, respond: Respond
    ) -> bytes | None:
        """Count the block and return its answer; REFUSED if the client's prefix is beyond its budget of entries.

        SERVFAIL if the answer cannot be written, never the upstream's.
        """
        length = policy.answer(tables.generation, verdict, self._out, query.packet, query.question, query.limit)
        if length == 0:
            return respond.failed(query, codes.SERVFAIL, codes.EDE_OTHER, "internal")
        counted = tally.count(
            self._tallies,
            tables.access,
            self._counters,
            verdict,
            query.question.qtype,
            query.client,
            int(now),
            self._scratch,
        )
        if counted == codes.BEYOND_BUDGET:
            return respond.beyond_budget(query)
        return respond.sent(self._out, length)
