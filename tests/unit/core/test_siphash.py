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


def test_a_range_hashes_like_a_copy_of_it(core: Core) -> None:
    data = bytes(range(100, 160))
    for length in range(40):
        assert digest(core, data, 7, 7 + length) == digest(core, data[7 : 7 + length]), length


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


def test_names_one_after_the_other_have_the_digests_that_each_has_alone(core: Core) -> None:
    module = core("siphash")
    names = [b"\1a\4test\0", b"\0", b"\x3f" + b"x" * 63 + b"\0", b"\1a" * 127 + b"\0", b"\1b\4test\0"]
    blob, out, at, found, depths = b"".join(names), memoryview(bytearray(8 * 9)).cast("Q"), 0, [], (0, 0)
    while at < len(blob):
        at = module.digest_names(memoryview(KEY).cast("Q"), memoryview(blob), at, out)
        assert 1 <= out[0] <= 2
        found += [(out[4 + 2 * one], out[5 + 2 * one] >> 16) for one in range(out[0])]
        depths = (depths[0] | out[1], depths[1] | out[2])
    assert found == [module.digest_of(KEY, name) for name in names]
    assert depths == (1 << 2 | 1 << 0 | 1 << 1, 1 << 63)


@pytest.mark.parametrize(
    ("names", "at", "room", "error"),
    [
        (b"\1a", 0, 6, IndexError),
        (b"\5a\0", 0, 6, IndexError),
        (b"\1a" * 128 + b"\0", 0, 6, ValueError),
        (b"\1a\0", -1, 6, IndexError),
        (b"\1a\0", 0, 3, IndexError),
    ],
)
def test_what_is_no_name_has_no_digest(core: Core, names: bytes, at: int, room: int, error: type[Exception]) -> None:
    out = memoryview(bytearray(8 * room)).cast("Q")
    with pytest.raises(error):
        core("siphash").digest_names(memoryview(KEY).cast("Q"), memoryview(names), at, out)


# vectors_sip64 of the same implementation.
VECTORS_64 = {
    0: "310e0edd47db6f72",
    1: "fd67dc93c539f874",
    8: "6224939a79f5f593",
    15: "e545be4961ca29a1",
    63: "724506eb4c328a95",
}


@pytest.mark.parametrize("length", VECTORS_64)
def test_the_hash_of_64_bits_is_the_reference_s(core: Core, length: int) -> None:
    keys, data = memoryview(bytes(16) + KEY).cast("Q"), memoryview(b"?" + bytes(range(length)) + b"?")
    found = core("siphash").siphash64(keys, 1, data, 1, 1 + length)
    assert found.to_bytes(8, "little").hex() == VECTORS_64[length]


@pytest.mark.parametrize(("number", "start", "end"), [(1, 0, 4), (-1, 0, 4), (0, -1, 4), (0, 3, 2), (0, 0, 5)])
def test_the_hash_of_64_bits_stays_in_its_buffers(core: Core, number: int, start: int, end: int) -> None:
    with pytest.raises(IndexError, match="siphash64"):
        core("siphash").siphash64(memoryview(KEY).cast("Q"), number, memoryview(bytes(4)), start, end)
