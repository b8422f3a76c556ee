"""Random queries and replies: both builds read the same, judge the same and write the same bytes."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.core import codes
from tests.parity import cases, wires

pytestmark = pytest.mark.timeout(600)
VERDICTS = {codes.ASK: "ask", codes.PASS: "pass", codes.BLOCK: "block"}
PROBLEMS = {getattr(codes, name): name for name in dir(codes) if name.startswith(("BAD_", "SILENT_", "NOT_SERVED"))}
PROBLEMS[codes.WELL_FORMED] = "WELL_FORMED"


def name_of(name: Any) -> tuple[Any, ...]:
    return name.wire(), name.labels, name.marked, tuple(name.starts[: name.labels])


def question_of(question: Any) -> tuple[Any, ...]:
    return (
        question.problem, question.end, question.qtype, question.qclass, question.flags, question.has_opt,
        question.version, question.payload, question.dnssec_ok, question.keepalive, question.keepalive_ds,
        *name_of(question.name),
    )  # fmt: skip


def message_of(message: Any) -> tuple[Any, ...]:
    return (
        message.end, message.answers, message.additionals, message.answer_start, message.additional_start,
        message.has_opt, message.tail_start, message.rcode, message.truncated, message.ttl_s,
        message.negative_ttl_s, message.qtype, message.answered, message.drop_additional,
        message.tail_count, message.tail_broken, message.trailing, message.faulty, message.qclass, message.judged,
        bytes(message.errors[: message.errors_size]),
    )  # fmt: skip


def verdict_of(verdict: Any) -> tuple[Any, ...]:
    return (
        verdict.verdict, verdict.slot, verdict.depth, verdict.bits, verdict.released, verdict.errors,
        (verdict.low, verdict.high) if verdict.slot >= 0 else None,
    )  # fmt: skip


def read_query(core: cases.Core, packet: bytes) -> tuple[Any, ...]:
    question = core("question").Question()
    said = core("question").parse(packet, len(packet), question)
    return said, question_of(question)


def test_any_octets_as_a_query() -> None:
    @cases.of(0.1)
    @given(st.binary(max_size=300))
    def run(packet: bytes) -> None:
        said, _ = cases.both(read_query, packet)
        cases.count("octets as a query", PROBLEMS[said])
        cases.both(read_query, packet[:2] + b"\x01\0\0\1\0\0\0\0\0\0" + packet[2:])

    run()
    cases.assert_met("octets as a query", "SILENT_SHORT")


def test_queries() -> None:
    @cases.of(0.25)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        for _ in range(5):
            said, _ = cases.both(read_query, wires.query(r))
            cases.count("queries", PROBLEMS[said])

    run()
    cases.assert_met("queries", "WELL_FORMED", "BAD_NAME", "BAD_RECORD", "BAD_OPT")
    if cases.is_deep:
        cases.assert_met("queries", *PROBLEMS.values())


def read_reply(core: cases.Core, octets: bytes, asked: bytes, seconds: int) -> tuple[Any, ...]:
    """All that happens to a reply: matched, read, trimmed, aged."""
    question = core("question").Question()
    core("question").parse(asked, len(asked), question)
    matched = core("question").matches(octets, len(octets), asked, question)
    message = core("message").Message()
    data = bytearray(octets)
    whole = core("message").read(data, len(data), message)
    before = message_of(message)
    if not whole:
        return matched, whole, before
    message.drop_additional = seconds % 2
    length = core("message").trim(data, message)
    core("message").age(data, length, seconds, seconds % 3 * 30, 86400)
    again = core("message").Message()
    return matched, whole, before, message_of(message), bytes(data[:length]), core("message").read(data, length, again)


def test_replies() -> None:
    @cases.of(0.15)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        asked = wires.query(r)
        _, fields = cases.both(read_query, asked)
        octets = wires.reply(r, asked, fields[1])
        said = cases.both(read_reply, octets, asked, r.choice((0, 1, 59, 400, 1 << 31)))
        cases.count("replies", "matches" if said[0] else "does not match", "whole" if said[1] else "broken")
        # What was trimmed and aged is a message that reads to its end.
        assert not said[1] or said[5] == 1

    run()
    cases.assert_met("replies", "matches", "whole", "broken")


def test_any_octets_as_a_reply() -> None:
    asked = b"\0\0\1\0\0\1\0\0\0\0\0\0\1a\4test\0\0\1\0\1"

    @cases.of(0.1)
    @given(st.binary(max_size=200), st.tuples(*[st.integers(0, 3)] * 3))
    def run(tail: bytes, counts: tuple[int, int, int]) -> None:
        head = b"\0\0\x81\x80\0\1" + b"".join(bytes([0, number]) for number in counts)
        said = cases.both(read_reply, head + asked[12:] + tail, asked, 3)
        cases.both(read_reply, tail, asked, 3)
        cases.count("octets as a reply", "whole" if said[1] else "broken")

    run()
    cases.assert_met("octets as a reply", "whole", "broken")


def judged(core: cases.Core, made: wires.Lists, packet: bytes, octets: bytes, scope: int) -> tuple[Any, ...]:
    """What the lists say of a query, what is answered, and what they say of the reply and what is relayed."""
    policy, reply = core("policy"), core("reply")
    generation = wires.generation(core, made)
    question, verdict = core("question").Question(), policy.Verdict()
    if core("question").parse(packet, len(packet), question) == codes.SILENT_SHORT:
        return ()
    said = policy.decide(generation, question.name, scope, verdict)
    found = verdict_of(verdict)
    out = bytearray(66000)
    limit = reply.limit_of(question, 512, 1232)
    written = b""
    if said == codes.BLOCK:
        written = bytes(out[: policy.answer(generation, verdict, out, packet, question, limit)])
        assert written
    data, message, name = bytearray(octets), core("message").Message(), core("name").Name()
    if not core("message").read(data, len(data), message):
        return said, found, written
    scrub, chain, again = core("scrub"), core("scrub").Chain(), memoryview(bytearray(65535))
    found_there = scrub.look(message, chain)
    if found_there == scrub.NEEDED:
        length = scrub.write(message, chain, again)
        data = bytearray(again[:length])
        # What is written again is a reply that needs it no more.
        assert core("message").read(data, length, message) == 1
        assert scrub.look(message, core("scrub").Chain()) == scrub.CLEAN
    whole = policy.judge(generation, message, scope, name, verdict)
    seen = verdict_of(verdict), message_of(message), found_there, bytes(data)
    relayed = b""
    if core("question").matches(data, len(data), packet, question) == 1:
        core("message").trim(data, message)
        message.age_s = len(octets) % 3 - 1
        ttl_s = (reply.KEEP_TTL, 0, 30)[len(octets) % 5 % 3]
        length = reply.relay(out, packet, question, message, ttl_s, len(packet) % 5 - 1, limit)
        relayed = bytes(out[:length])
        assert relayed
    return said, found, written, whole, seen, relayed


def test_judgements_and_answers() -> None:
    @cases.of(0.15)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        made = wires.lists(r)
        for _ in range(4):
            packet = wires.query(r, made.names)
            _, fields = cases.both(read_query, packet)
            octets = wires.reply(r, packet, fields[1], made.names)
            said = cases.both(judged, made, packet, octets, r.choice((0xFFFF, 0xFFFF, 1, 2, 0)))
            names = [f"query {VERDICTS[said[0]]}"] if said else []
            if len(said) > 3:
                names.append(f"reply {VERDICTS[said[3]]}")
                names.append("relayed" if said[5] else "not relayed")
                names += ["additional dropped"] if said[4][1][13] else []
                names += ["scrubbed"] if said[4][2] == 1 else []
            cases.count("judgements", *names)

    run()
    cases.assert_met("judgements", "query block", "query pass", "reply block", "reply pass", "relayed", "scrubbed")
    cases.assert_met("judgements", "additional dropped")


def without_records(core: cases.Core, packet: bytes, rcode: int, ede: int, truncated: int, limit: int) -> bytes:
    question, out = core("question").Question(), bytearray(1500)
    core("question").parse(packet, len(packet), question)
    return bytes(out[: core("reply").empty(out, packet, question, rcode, ede, truncated, limit)])


def test_replies_without_records() -> None:
    @cases.of(0.05)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        packet = wires.query(r).ljust(12, b"\0")
        limit = r.choice((512, 1232, len(packet)))
        made = cases.both(
            without_records, packet, r.randrange(24), r.choice((-1, 0, 14, 18, 20)), r.randrange(2), limit
        )
        assert 12 <= len(made) <= limit
        cases.count("empty replies", "with OPT" if made[11] else "without")

    run()
    cases.assert_met("empty replies", "with OPT", "without")
