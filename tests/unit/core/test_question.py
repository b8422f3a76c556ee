"""What is wrong with a query, in order; what a reply must repeat. Malformed messages: tests/parity/corpus."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from resolver.core import codes

Core = Callable[[str], ModuleType]
NAME = b"\3wWw\4TEST\0"
OPT = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0"


def packet(name: bytes = NAME, kind: int = 1, extra: bytes = b"", *, flags: int = 0x0110, additional: int = 0) -> bytes:
    head = b"\xab\xcd" + flags.to_bytes(2, "big") + b"\0\1\0\0\0\0" + additional.to_bytes(2, "big")
    return head + name + kind.to_bytes(2, "big") + b"\0\1" + extra


def parse(core: Core, octets: bytes) -> Any:
    question = core("question").Question()
    assert core("question").parse(octets, len(octets), question) == question.problem
    return question


def test_fields(core: Core) -> None:
    question = parse(core, packet(extra=OPT, additional=1))
    assert question.problem == codes.WELL_FORMED
    assert question.name.wire() == b"\3www\4test\0"
    assert (question.qtype, question.qclass, question.flags) == (1, 1, 0x0110)
    assert (question.has_opt, question.version, question.payload, question.dnssec_ok) == (1, 0, 1232, 1)
    assert question.end == 12 + len(NAME) + 4


def test_a_question_without_edns_forgets_the_one_before(core: Core) -> None:
    question = parse(core, packet(extra=OPT, additional=1))
    plain = packet()
    core("question").parse(plain, len(plain), question)
    assert (question.has_opt, question.payload, question.dnssec_ok) == (0, 512, 0)
    core("question").parse(plain, 11, question)
    assert (question.problem, question.end, question.qtype) == (codes.SILENT_SHORT, 0, 0)


@pytest.mark.parametrize(("asked", "held"), [(0, 512), (511, 512), (512, 512), (513, 513), (65535, 65535)])
def test_no_payload_is_smaller_than_512(core: Core, asked: int, held: int) -> None:
    opt = OPT[:3] + asked.to_bytes(2, "big") + OPT[5:]
    assert parse(core, packet(extra=opt, additional=1)).payload == held


def test_only_the_length_given_is_read(core: Core) -> None:
    octets = packet() + b"\xff" * 100
    question = core("question").Question()
    assert core("question").parse(octets, len(packet()), question) == codes.WELL_FORMED


def reply_to(asked: bytes, **changes: Any) -> bytearray:
    made = bytearray(asked)
    made[2] |= 0x80
    for at, value in changes.get("octets", {}).items():
        made[at] = value
    return made


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, 1),
        ({13: ord("W"), 14: ord("w")}, 1),  # the case of letters may change
        ({13: ord("v")}, 0),
        ({0: 0}, 0),
        ({1: 0}, 0),
        ({2: 0x01}, 0),  # a query
        ({2: 0x91}, 0),  # another opcode
        ({5: 2}, 0),
        ({4: 1}, 0),
        ({22: 1}, 0),  # another type
        ({25: 3}, 0),  # another class
        ({12: 4}, 0),
    ],
)
def test_a_reply_repeats_id_and_question(core: Core, changes: dict[int, int], said: int) -> None:
    asked = packet()
    reply = reply_to(asked, octets=changes)
    assert core("question").matches(reply, len(reply), asked, parse(core, asked)) == said


def test_a_reply_cut_in_its_question_answers_nothing(core: Core) -> None:
    asked = packet()
    question = parse(core, asked)
    for length in range(len(asked)):
        assert core("question").matches(reply_to(asked)[:length], length, asked, question) == 0


def test_an_error_may_come_without_the_question_but_nothing_else_may(core: Core) -> None:
    asked = packet()
    question = parse(core, asked)
    for rcode in range(16):
        error = b"\xab\xcd\x81" + bytes([0x80 | rcode]) + bytes(8)
        assert core("question").matches(error, 12, asked, question) == (2 if rcode else 0)
        assert core("question").matches(error + b"\0", 13, asked, question) == 0


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (b"\0\0\x29\x04\xd0\0\0\0\0\0\0", 2),
        (b"\0\0\x29\x04\xd0\0\0\0\0\0\x08\0\x0f\0\x04\0\x17ab", 2),
        (b"\0\0\x29\x04\xd0\0\0\0\0\0", 0),  # cut short
        (b"\0\0\x29\x04\xd0\0\0\0\0\0\1", 0),  # an option that is not there
        (b"\0\0\x29\x04\xd0\0\0\0\0\0\0\0", 0),  # an octet more
        (b"\0\0\x28\x04\xd0\0\0\0\0\0\0", 0),  # another type
        (b"\1\0\x29\x04\xd0\0\0\0\0\0\0", 0),  # not at the root
    ],
)
def test_an_error_may_come_with_one_opt_alone(core: Core, after: bytes, said: int) -> None:
    asked = packet()
    question = parse(core, asked)
    for rcode in range(16):
        error = b"\xab\xcd\x81" + bytes([0x80 | rcode]) + b"\0\0\0\0\0\0\0\1" + after
        assert core("question").matches(error, len(error), asked, question) == (said if rcode else 0)
    for at, octet in ((7, 1), (9, 1), (11, 2), (11, 0), (10, 1)):
        other = bytearray(error)
        other[at] = octet
        assert core("question").matches(other, len(other), asked, question) == 0


def test_nothing_answers_a_question_that_was_not_read(core: Core) -> None:
    assert core("question").matches(reply_to(packet()), 26, b"", parse(core, b"")) == 0
