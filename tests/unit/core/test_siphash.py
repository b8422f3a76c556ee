"""SipHash-2-4 with 128 bits against the vectors of its reference implementation (vectors_sip128)."""

from collections.abc import Callable
from types import ModuleType

import pytest

Core = Callable[[str], ModuleType]
KEY = bytes(range(16))
VECTORS = {
    0: "a3817f04ba25a8e66df67214c7550293",
    1: "da87c1d86b99af44347659119b22fc45",
    8: "3b62a9ba6258f5610f83e264f31497b4",
    15: "5493e99933b0a8117e08ec0f97cfc3d9",
    63: "5150d1772f50834a503e069a973fbd7c",
}


def digest(core: Core, data: bytes, start: int = 0, end: int | None = None) -> str:
    out = memoryview(bytearray(16)).cast("Q")
    core("siphash").siphash128(
        memoryview(KEY).cast("Q"), memoryview(data), start, len(data) if end is None else end, out, 0
    )
    return out.tobytes().hex()


@pytest.mark.parametrize("length", VECTORS)
def test_reference(core: Core, length: int) -> None:
    assert digest(core, bytes(range(length))) == VECTORS[length]


@pytest.mark.parametrize("length", range(40))
def test_a_range_hashes_like_a_copy_of_it(core: Core, length: int) -> None:
    data = bytes(range(100, 160))
    assert digest(core, data, 7, 7 + length) == digest(core, data[7 : 7 + length])


def test_nothing_after_the_end_is_hashed(core: Core) -> None:
    assert len({digest(core, bytes(5) + bytes([after]) * 20, 0, 5) for after in range(256)}) == 1


@pytest.mark.parametrize(
    ("start", "end", "at"), [(-1, 4, 0), (5, 4, 0), (0, 9, 0), (9, 9, 0), (0, 8, 1), (0, 8, -1), (0, 8, 1 << 40)]
)
def test_a_range_outside_its_buffer_is_an_error(core: Core, start: int, end: int, at: int) -> None:
    out = memoryview(bytearray(16)).cast("Q")
    with pytest.raises(IndexError):
        core("siphash").siphash128(memoryview(KEY).cast("Q"), memoryview(bytes(8)), start, end, out, at)
    assert out.tobytes() == bytes(16)


def test_a_short_key_is_an_error(core: Core) -> None:
    out = memoryview(bytearray(16)).cast("Q")
    with pytest.raises(IndexError):
        core("siphash").siphash128(memoryview(bytes(8)).cast("Q"), memoryview(bytes(8)), 0, 8, out, 0)


def test_digest_of_a_name_is_its_first_112_bits(core: Core) -> None:
    name = b"\4name\4test\0"
    low, high = core("siphash").digest_of(KEY, name)
    assert low.to_bytes(8, "little").hex() == digest(core, name)[:16]
    assert high.to_bytes(6, "little").hex() == digest(core, name)[20:]
