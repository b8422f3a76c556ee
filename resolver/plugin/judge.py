"""Judges questions and replies of another resolver by a published policy, with core's own functions.

Rules:
- The verdict, the judgement of a reply and the octets of an answer are core's (policy, reply); nothing here decides.
- Only a list with `clients` or `exempt` blocks some clients and not others. What is not PASS for ALL_LISTS may not be
  cached, since a cache answers everybody.
- A synthetic name (core.image) is judged by every list for every client: so a proof needs no client of a list.
- Without a policy, with one that is not complete, and after any error, the verdict is ASK, which is SERVFAIL.
- Names, verdicts and buffers are used again: one thread at a time.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

from resolver.core import codes
from resolver.core.admit import scope
from resolver.core.image import SELFTEST_ZONE
from resolver.core.message import Message, read
from resolver.core.name import Name, skip, unfold
from resolver.core.policy import Verdict, answer, decide, judge
from resolver.core.question import Question, parse
from resolver.core.reply import MAX_UDP_OCTETS
from resolver.plugin.blocks import Block, packed
from resolver.plugin.folder import Policy

_HEADER: Final = 12
_OPT: Final = b"\x00\x00\x29" + MAX_UDP_OCTETS.to_bytes(2, "big") + bytes(4)
_OPTION_HEAD: Final = 4
_EDE_OPTION: Final = 15


class Record(NamedTuple):
    """A record whose owner is the question's name. rdata: uncompressed."""

    kind: int
    ttl_s: int
    rdata: bytes


class Blocked(NamedTuple):
    """The answer to a blocked question, for every name alike. errors: the data of its extended errors (RFC 8914 2)."""

    rcode: int
    answers: tuple[Record, ...]
    authorities: tuple[Record, ...]
    errors: tuple[bytes, ...]


class Judge:
    """Judges by `policy`, which its owner replaces; None is ASK. errors: the verdicts that failed since the start."""

    def __init__(self) -> None:
        self.policy: Policy | None = None
        self.errors = 0
        self._name = Name()
        self._verdict = Verdict()
        self._message = Message()
        self._question = Question()
        self._out = memoryview(bytearray(4096))
        self._answers: dict[tuple[int, ...], Blocked] = {}
        self._answers_of: Policy | None = None

    def scope_of(self, client: bytes) -> int:
        """Return the bits of the lists that judge a client of 16 octets; all of them without a policy."""
        return codes.ALL_LISTS if self.policy is None else int(scope(self.policy.access, client))

    def question(self, name: bytes, qtype: int, scope: int) -> int:
        """Judge a wire-format name for the lists of the scope; return ASK, PASS or BLOCK."""
        policy = self.policy
        if policy is None or unfold(name, 0, len(name), self._name) != len(name):
            return codes.ASK
        if is_synthetic(name):
            scope = codes.ALL_LISTS
        return self._said(decide(policy.generation, self._name, scope, self._verdict, qtype), policy)

    def reply(self, wire: bytes, scope: int) -> int:
        """Judge a reply in wire format, question included, for the lists of the scope; return ASK, PASS or BLOCK."""
        policy = self.policy
        if policy is None or not read(wire, len(wire), self._message):
            return codes.ASK
        return self._said(judge(policy.generation, self._message, scope, self._name, self._verdict), policy)

    @property
    def drops_additional(self) -> bool:
        """Whether ADDITIONAL of the reply that was judged last has to go."""
        return bool(self._message.drop_additional)

    def _said(self, said: int, policy: Policy) -> int:
        self.errors += self._verdict.errors
        self._verdict.errors = 0
        return codes.ASK if said == codes.PASS and not policy.complete else said

    def blocked(self, name: bytes, qtype: int, options: Collection[int] = ()) -> Blocked | None:
        """Return the answer of the list that blocked last; None if it cannot be made.

        options: the empty ones of the client's query, by which it asks for a structured error.
        """
        policy, verdict = self.policy, self._verdict
        if policy is None:
            return None
        if policy is not self._answers_of:
            self._answers, self._answers_of = {}, policy
        # An answer depends on nothing else: its records point to the question's name.
        kind = qtype if qtype in (codes.TYPE_A, codes.TYPE_AAAA) else 0
        signal = _signal_of(policy, verdict.slot) if options else 0
        signal = signal if signal in options else 0
        key = verdict.slot, verdict.bits & (codes.BLOCK_BELOW | codes.EXCEPTION_BELOW), kind, signal
        if key not in self._answers:
            made = self._made(policy, name, qtype, signal)
            if made is None:
                return None
            self._answers[key] = made
        return self._answers[key]

    def _made(self, policy: Policy, name: bytes, qtype: int, signal: int) -> Blocked | None:
        option = signal.to_bytes(2, "big") + b"\0\0" if signal else b""
        opt = _OPT + len(option).to_bytes(2, "big") + option
        packet = b"\0\0\x01\0\0\1\0\0\0\0\0\1" + name + qtype.to_bytes(2, "big") + b"\0\1" + opt
        if parse(packet, len(packet), self._question) != codes.WELL_FORMED:
            return None
        length = answer(policy.generation, self._verdict, self._out, packet, self._question, MAX_UDP_OCTETS)
        return read_blocked(bytes(self._out[:length])) if length else None

    def block(self, qtype: int, client: bytes, lost: int) -> bytes:
        """Return the datagram about the query that was blocked last; b"" for the self-test's, which is not counted."""
        verdict = self._verdict
        if verdict.bits & codes.SELFTEST:
            return b""
        return packed(Block(verdict.slot, verdict.bits, qtype, verdict.low, verdict.high, client, lost))

    @property
    def slot(self) -> int:
        """The list that blocked last."""
        return int(self._verdict.slot)


def _signal_of(policy: Policy, slot: int) -> int:
    """Return the option of clients that understand a list's structured errors; 0 for none."""
    found = (one.replies for one in policy.generation.members if one.slot == slot)
    return next((int(replies.signal) for replies in found if replies is not None), 0)


def is_synthetic(name: bytes) -> bool:
    """Return whether a wire-format name has exactly one label before the zone of synthetic names."""
    return bool(name[1 + name[0] :].lower() == SELFTEST_ZONE)


def read_blocked(wire: bytes) -> Blocked:
    """Return what an answer of core.reply holds."""
    counts = [int.from_bytes(wire[at : at + 2], "big") for at in (6, 8, 10)]
    at = skip(wire, _HEADER, len(wire)) + 4
    sections: list[tuple[Record, ...]] = []
    errors: list[bytes] = []
    for count in counts:
        records = []
        for _ in range(count):
            at = skip(wire, at, len(wire))
            kind, ttl_s, size = (int.from_bytes(wire[at + a : at + b], "big") for a, b in ((0, 2), (4, 8), (8, 10)))
            records.append(Record(kind, ttl_s, wire[at + 10 : at + 10 + size]))
            at += 10 + size
        sections.append(tuple(records))
    for one in sections[2]:
        start = 0
        while start + _OPTION_HEAD <= len(one.rdata):
            code, size = (int.from_bytes(one.rdata[start + part : start + part + 2], "big") for part in (0, 2))
            if code == _EDE_OPTION:
                errors.append(one.rdata[start + _OPTION_HEAD : start + _OPTION_HEAD + size])
            start += _OPTION_HEAD + size
    return Blocked(wire[3] & 15, sections[0], sections[1], tuple(errors))
