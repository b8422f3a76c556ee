"""Ranges of octets: what is copied, compared, read and written, and that nothing outside a buffer is."""

from types import ModuleType
from typing import Any

import pytest

from tests.parity import twin

DATA = bytes(range(1, 41))


@pytest.fixture(params=["compiled", "plain"])
def octets(request: pytest.FixtureRequest) -> Any:
    """The functions, once as compiled modules have them inline, and once as Python."""
    return request.getfixturevalue("probe") if request.param == "compiled" else twin.load("octets")


def test_a_range_is_copied_and_nothing_around_it(octets: ModuleType) -> None:
    for size in range(30):
        out = bytearray(40)
        octets.copy(memoryview(out), 5, DATA, 3, size)
        assert out == bytes(5) + DATA[3 : 3 + size] + bytes(35 - size), size


def test_ranges_of_one_buffer_may_overlap(octets: ModuleType) -> None:
    for to, at in ((0, 7), (7, 0)):
        out = bytearray(DATA)
        octets.copy(memoryview(out), to, memoryview(out), at, 30)
        assert out[to : to + 30] == DATA[at : at + 30]


def test_one_octet_makes_ranges_differ(octets: ModuleType) -> None:
    assert octets.equal(DATA, 4, DATA[4:], 0, 36)
    assert octets.equal(DATA, 40, b"", 0, 0)
    for at in range(36):
        other = bytearray(DATA)
        other[4 + at] ^= 0x80
        assert not octets.equal(DATA, 4, memoryview(other), 4, 36), at


def test_sixteen_octets_sort_as_bytes_do(octets: ModuleType) -> None:
    one = bytes([1, 2, 127, 128, 255, 0, 3, 4, 5, 6, 7, 8, 9, 10, 128, 12])
    assert octets.compare16(b"\0" + one, 1, one, 0) == 0
    for at in range(16):
        for octet in (0, one[at] ^ 0x80, 255):
            other = one[:at] + bytes([octet]) + one[at + 1 :]
            assert octets.compare16(one, 0, b"??" + other, 2) == (one > other) - (one < other), (at, octet)


def test_numbers_have_their_lowest_octet_first(octets: ModuleType) -> None:
    for size in range(9):
        value = int.from_bytes(DATA[6 : 6 + size], "little")
        assert octets.get(DATA, 6, size) == value, size
        out = bytearray(b"\xee" * 16)
        octets.put(memoryview(out), 2, value | 1 << 63, size)
        written = (value | (1 << 63 if size == 8 else 0)).to_bytes(size, "little")
        assert out == b"\xee" * 2 + written + b"\xee" * (14 - size), size


def test_capital_letters_become_small_and_no_other_octet_changes(octets: ModuleType) -> None:
    every = bytes(range(256))
    for size in (256, 255, 9, 8, 7, 1, 0):
        for start in range(0, 256 - size + 1, 5):
            out = bytearray(every)
            octets.lower(memoryview(out), start, size)
            assert out == every[:start] + every[start : start + size].lower() + every[start + size :], (start, size)


def test_the_number_that_stands_for_an_error_is_a_number_too(octets: ModuleType) -> None:
    assert octets.get(b"\xfe" + b"\xff" * 7, 0, 8) == 0xFFFFFFFFFFFFFFFE


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("copy", (-1, DATA, 0, 4)),
        ("copy", (0, DATA, -1, 4)),
        ("copy", (0, DATA, 0, -1)),
        ("copy", (0, DATA, 0, 9)),
        ("copy", (8, DATA, 0, 1)),
        ("copy", (9, DATA, 0, 0)),
        ("copy", (0, DATA, 37, 4)),
        ("copy", (0, DATA, 1 << 62, 4)),
        ("copy", (1 << 62, DATA, 0, 4)),
        ("copy", (4, DATA, 0, (1 << 63) - 1)),
        ("lower", (-1, 4)),
        ("lower", (4, 5)),
        ("lower", (0, -1)),
        ("put", (-1, 1, 4)),
        ("put", (5, 1, 4)),
        ("put", (0, 1, 9)),
        ("put", (0, 1, -1)),
    ],
)
def test_nothing_is_written_outside_a_buffer(octets: ModuleType, function: str, arguments: tuple[int, ...]) -> None:
    out = bytearray(24)
    with pytest.raises(IndexError, match="outside its buffer"):
        getattr(octets, function)(memoryview(out)[8:16], *arguments)
    assert out == bytes(24)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("equal", (DATA, 0, DATA, 0, 41)),
        ("equal", (DATA, 0, DATA, 0, -1)),
        ("equal", (DATA, -1, DATA, 0, 4)),
        ("equal", (DATA, 0, DATA, -1, 4)),
        ("equal", (DATA, 0, DATA, 38, 4)),
        ("compare16", (DATA, 25, DATA, 0)),
        ("compare16", (DATA, 0, DATA, 25)),
        ("compare16", (DATA, -1, DATA, 0)),
        ("compare16", (DATA, 0, b"", 0)),
        ("get", (DATA, 33, 8)),
        ("get", (DATA, -1, 8)),
        ("get", (DATA, 0, 9)),
        ("get", (DATA, 0, -1)),
        ("get", (b"", 0, 1)),
    ],
)
def test_nothing_is_read_outside_a_buffer(octets: ModuleType, function: str, arguments: tuple[int, ...]) -> None:
    with pytest.raises(IndexError, match="outside its buffer"):
        getattr(octets, function)(*arguments)
