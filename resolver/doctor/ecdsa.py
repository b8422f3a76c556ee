"""Signs with ECDSA over P-256 and SHA-256 (DNSSEC's algorithm 13, RFC 6605), with the standard library alone.

Rules:
- For a test zone only: its time depends on the key, and the keys of the probe zone are made of its name, so that
  anybody can make them. A signature shows that there are signatures, never who made them.
- The number that a signature draws is made of key and message (RFC 6979), so that the same record has the same one.
"""

import hashlib
import hmac
from typing import Final

P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
N: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
G: Final = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
"""The field, the order and the generator of P-256 (FIPS 186-4 D.1.2.3)."""

_Point = tuple[int, int, int]
_NOWHERE: Final[_Point] = (0, 1, 0)


def key_of(text: str) -> int:
    """Return the private key that a text stands for."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") % (N - 1) + 1


def public_of(key: int) -> bytes:
    """Return the public key as a DNSKEY record has it: x and y, 32 octets each (RFC 6605 4)."""
    x, y = _times(key)
    return x.to_bytes(32, "big") + y.to_bytes(32, "big")


def sign(key: int, message: bytes) -> bytes:
    """Return the signature as an RRSIG record has it: r and s, 32 octets each."""
    digest = hashlib.sha256(message).digest()
    z, drawn = int.from_bytes(digest, "big"), _Drawn(key, digest)
    while True:
        k = drawn.next()
        r = _times(k)[0] % N
        s = pow(k, -1, N) * (z + r * key) % N
        if r and s:
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class _Drawn:
    """The numbers of RFC 6979 3.2 for a key and a digest."""

    def __init__(self, key: int, digest: bytes) -> None:
        seed = key.to_bytes(32, "big") + (int.from_bytes(digest, "big") % N).to_bytes(32, "big")
        self._k, self._v = bytes(32), b"\1" * 32
        for mark in (b"\0", b"\1"):
            self._again(mark + seed)

    def _again(self, added: bytes) -> None:
        self._k = hmac.digest(self._k, self._v + added, "sha256")
        self._v = hmac.digest(self._k, self._v, "sha256")

    def next(self) -> int:
        while True:
            self._v = hmac.digest(self._k, self._v, "sha256")
            found = int.from_bytes(self._v, "big")
            if 0 < found < N:
                return found
            self._again(b"\0")


def _times(k: int) -> tuple[int, int]:
    """Return the generator times k, in affine coordinates."""
    total, point = _NOWHERE, (*G, 1)
    while k:
        if k & 1:
            total = _add(total, point)
        point = _double(point)
        k >>= 1
    inverse = pow(total[2], -1, P)
    return total[0] * inverse**2 % P, total[1] * inverse**3 % P


def _double(point: _Point) -> _Point:
    x, y, z = point
    if not y or not z:
        return _NOWHERE
    square = y * y % P
    four = 4 * x * square % P
    slope = 3 * (x - z * z) * (x + z * z) % P
    new_x = (slope * slope - 2 * four) % P
    return new_x, (slope * (four - new_x) - 8 * square * square) % P, 2 * y * z % P


def _add(one: _Point, two: _Point) -> _Point:
    if not one[2]:
        return two
    if not two[2]:
        return one
    z1, z2 = one[2] * one[2] % P, two[2] * two[2] % P
    u1, u2 = one[0] * z2 % P, two[0] * z1 % P
    s1, s2 = one[1] * z2 * two[2] % P, two[1] * z1 * one[2] % P
    if u1 == u2:
        return _double(one) if s1 == s2 else _NOWHERE
    h, r = u2 - u1, s2 - s1
    h2 = h * h % P
    h3, v = h * h2 % P, u1 * h2 % P
    x = (r * r - h3 - 2 * v) % P
    return x, (r * (v - x) - s1 * h3) % P, h * one[2] * two[2] % P
