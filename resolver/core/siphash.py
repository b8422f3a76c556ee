# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Computes SipHash-2-4 with a 16-byte key: the digest of a name, in 128 bits, and the hash of a cookie, in 64.

With octets the only module without bounds checks: `siphash128` and `siphash64` check their whole range once, before
they read, and `digest_names` each length before it goes on. In the compiled build the body is C, inline in the .pxd.
Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", and for 128 bits the reference's other finish.
"""

import cython

_M = 0xFFFFFFFFFFFFFFFF
_INIT_0 = 0x736F6D6570736575
_INIT_1 = 0x646F72616E646F6D
_INIT_2 = 0x6C7967656E657261
_INIT_3 = 0x7465646279746573
_ONE = 1


def siphash128(key, data, start, end, out, at):
    """Hash data[start:end] under key (two u64) into out[at] (low 64 bits) and out[at + 1] (high).

    Raises IndexError if a range is outside its buffer. Returns 0.
    """
    if start < 0 or end < start or end > data.shape[0] or key.shape[0] < 2 or at < 0 or at + 2 > out.shape[0]:
        raise IndexError("siphash128: range outside its buffer")
    if cython.compiled:
        blocklist_siphash(  # type: ignore[name-defined]  # noqa: F821 - C's, in the .pxd
            key[0], key[1], cython.address(data[start]), end - start, cython.address(out[at])
        )
    else:
        out[at], out[at + 1] = _siphash(key[0], key[1], bytes(data[start:end]), 1)
    return 0


def siphash64(keys, number, data, start, end):
    """Return the 64-bit hash of data[start:end] under the key `number` of `keys` (two u64 each).

    Raises IndexError if a range is outside its buffer.
    """
    if start < 0 or end < start or end > data.shape[0] or number < 0 or 2 * number + 2 > keys.shape[0]:
        raise IndexError("siphash64: range outside its buffer")
    if cython.compiled:
        return blocklist_siphash64(  # type: ignore[name-defined]  # noqa: F821 - C's, in the .pxd
            keys[2 * number], keys[2 * number + 1], cython.address(data[start]), end - start
        )
    else:  # noqa: RET505 - compiled, only the other one is left
        return _siphash(keys[2 * number], keys[2 * number + 1], bytes(data[start:end]), 0)[0]


if not cython.compiled:

    def _siphash(k0, k1, octets, wide):
        """Return the two words of the digest; of the 64-bit hash, the second is 0."""
        whole = len(octets) // 8 * 8
        words = [int.from_bytes(octets[at : at + 8], "little") for at in range(0, whole, 8)]
        words.append((len(octets) & 255) << 56 | int.from_bytes(octets[whole:], "little"))
        v0, v1, v2, v3 = k0 ^ _INIT_0, k1 ^ _INIT_1 ^ (0xEE if wide else 0), k0 ^ _INIT_2, k1 ^ _INIT_3
        for word in words:
            v0, v1, v2, v3 = _rounds(v0, v1, v2, v3 ^ word, 2)
            v0 ^= word
        v0, v1, v2, v3 = _rounds(v0, v1, v2 ^ (0xEE if wide else 0xFF), v3, 4)
        low = v0 ^ v1 ^ v2 ^ v3
        if not wide:
            return low, 0
        v0, v1, v2, v3 = _rounds(v0, v1 ^ 0xDD, v2, v3, 4)
        return low, v0 ^ v1 ^ v2 ^ v3

    def _rounds(v0, v1, v2, v3, turns):
        while turns > 0:
            v0 = (v0 + v1) & _M
            v2 = (v2 + v3) & _M
            v1 = (v1 << 13 | v1 >> 51) & _M ^ v0
            v3 = (v3 << 16 | v3 >> 48) & _M ^ v2
            v0 = (v0 << 32 | v0 >> 32) & _M
            v2 = (v2 + v1) & _M
            v0 = (v0 + v3) & _M
            v1 = (v1 << 17 | v1 >> 47) & _M ^ v2
            v3 = (v3 << 21 | v3 >> 43) & _M ^ v0
            v2 = (v2 << 32 | v2 >> 32) & _M
            turns -= 1
        return v0, v1, v2, v3


def digest_of(key, name):
    """Return (low 64 bits, high 48 bits) of the digest of a lower-cased wire-format name under a 16-byte key."""
    out = memoryview(bytearray(16)).cast("Q")
    siphash128(memoryview(key).cast("B").cast("Q"), memoryview(name), 0, len(name), out, 0)
    return out[0], out[1] >> 16


def digest_names(key, names, at, out):
    """Digest names in wire format, one after the other from `at` on, until `out` is full or no name is left.

    out: the number of names; two words of the depths that occur (bit d of 128: a name has d labels); an unused word;
    then the 128 bits of each. Returns the offset after the last; raises IndexError if a name has no end, ValueError if
    it has more than 255 octets.
    """
    if at < 0 or out.shape[0] < 4:
        raise IndexError("digest_names: range outside its buffer")
    out[0] = 0
    out[1] = 0
    out[2] = 0
    place = 4
    while at < names.shape[0] and place + 2 <= out.shape[0]:
        start = at
        depth = 0
        while at < names.shape[0] and names[at] != 0:
            at += names[at] + 1
            depth += 1
        at += 1
        if at > names.shape[0]:
            raise IndexError("digest_names: a name without an end")
        if at - start > 255:
            raise ValueError("digest_names: a name is too long")
        siphash128(key, names, start, at, out, place)
        if depth < 64:
            out[1] = out[1] | _ONE << depth
        else:
            out[2] = out[2] | _ONE << (depth - 64)
        out[0] = out[0] + 1
        place += 2
    return at
