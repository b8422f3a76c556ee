"""Both builds of SipHash, which are two sources, give the same digests."""

from typing import Any

import pytest

from tests.parity import cases, twin

MOST = 300


def digest(module: Any, key: bytes, data: bytes, start: int, end: int) -> bytes:
    out = memoryview(bytearray(32)).cast("Q")
    module.siphash128(memoryview(key).cast("Q"), memoryview(data), start, end, out, 1)
    assert (out[0], out[3]) == (0, 0)
    return out.tobytes()[8:24]


@pytest.mark.parametrize("key", [bytes(16), b"\xff" * 16, bytes(range(200, 216))], ids=["zeros", "ones", "other"])
def test_every_length_has_one_digest(key: bytes) -> None:
    r = cases.seeded("digests", key)
    compiled, plain = twin.compiled("siphash"), twin.load("siphash")
    found = set()
    for length in range(MOST):
        data, start = r.randbytes(length + 9), r.randrange(9)
        one = digest(compiled, key, data, start, start + length)
        assert one == digest(plain, key, data, start, start + length), length
        found.add(one)
    assert len(found) == MOST
