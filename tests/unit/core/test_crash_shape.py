"""The numbers of a packet that a crash report may show, by both builds of the core."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from resolver.core import codes

UNKNOWN = -1
HEADER = bytes.fromhex("123401000001000000000001")
EDNS = b"\0\0\x29\x04\xd0" + bytes(6)
QUERY = HEADER + b"\3www\7example\4test\0\0\x1c\0\1" + EDNS


@pytest.fixture
def numbers() -> memoryview:
    return memoryview(bytearray(64)).cast("q")


@pytest.fixture
def parts(core: Callable[[str], ModuleType], numbers: memoryview) -> tuple[ModuleType, Any, Any]:
    """The module, a Shape over `numbers`, a Question."""
    module = core("crash_shape")
    return module, module.Shape(numbers), core("question").Question()


def told(module: ModuleType, numbers: memoryview) -> dict[str, int]:
    return dict(zip(module.NUMBERS, numbers.tolist(), strict=True))


def test_a_query_is_told_by_its_numbers(parts: tuple[ModuleType, Any, Any], numbers: memoryview) -> None:
    module, shape, question = parts
    assert module.read(shape, QUERY, len(QUERY), False, question) == codes.WELL_FORMED
    assert question.qtype == 28
    assert told(module, numbers) == {
        "octets": len(QUERY),
        "stream": 0,
        "reply": 0,
        "qtype": 28,
        "qclass": 1,
        "labels": 3,
        "flags": 0x100,
        "edns": 1,
    }


def test_a_reply_is_told_by_its_size(parts: tuple[ModuleType, Any, Any], numbers: memoryview) -> None:
    module, shape, question = parts
    module.read(shape, QUERY, len(QUERY), True, question)
    module.reply(shape, 1232)
    assert numbers.tolist() == [1232, UNKNOWN, 1, *[UNKNOWN] * 5]


def test_what_a_broken_query_does_not_say_is_not_taken_from_the_one_before(
    parts: tuple[ModuleType, Any, Any], numbers: memoryview
) -> None:
    module, shape, question = parts
    module.read(shape, QUERY, len(QUERY), True, question)
    assert module.read(shape, b"\0" * 5, 5, False, question) == codes.SILENT_SHORT
    found = told(module, numbers)
    assert (found["octets"], found["stream"], found["qtype"], found["flags"], found["edns"]) == (5, 0, 0, 0, 0)


def test_while_a_packet_is_read_only_its_size_is_known(
    parts: tuple[ModuleType, Any, Any], numbers: memoryview
) -> None:
    module, shape, question = parts
    module.read(shape, QUERY, len(QUERY), True, question)
    with pytest.raises((TypeError, IndexError)):
        module.read(shape, None if module.__name__.startswith("plain") else b"", 40, False, question)
    assert numbers.tolist() == [40, 0, 0, *[UNKNOWN] * 5]


def test_memory_of_another_size_is_refused(core: Callable[[str], ModuleType]) -> None:
    with pytest.raises(ValueError, match="memory"):
        core("crash_shape").Shape(memoryview(bytearray(56)).cast("q"))
