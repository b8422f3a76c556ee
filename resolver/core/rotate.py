# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Rotates the addresses of a kept answer, so that its clients do not all take the same first one.

Rules:
- The A or AAAA records that were asked for are rotated by the query's id: the first stretch of ANSWER whose records
  have one owner and one size. The id is the client's and random, so no state is kept. An id of 0 is nobody's: all that
  come over DoQ have it, and those over DoH should (RFC 9250 4.2.1, RFC 8484 4.1). There the TTL that is left decides,
  and each second another address is the first.
- Only the addresses change places. Owners, TTLs and all other records stay; a signature is over the set, in no order.
- A fresh answer keeps the order of the upstream, a list's answer that of the configuration.
"""

import cython

from .codes import CLASS_IN, TYPE_A, TYPE_AAAA

if not cython.compiled:
    from .name import skip

_A = TYPE_A
_AAAA = TYPE_AAAA
_IN = CLASS_IN


def rotate(out, end, question):
    """Rotate the addresses of the answer out[:end] to `question`. Returns 0."""
    kind = question.qtype
    left = out[6] << 8 | out[7]
    if left < 2 or (kind != _A and kind != _AAAA):
        return 0
    width = 4 if kind == _A else 16
    at = question.end
    owner = at
    owner_size = 0
    first = 0
    second = 0
    stride = 0
    count = 0
    while left > 0:
        body = skip(out, at, end)
        if body == 0 or body + 10 > end:
            return 0
        size = out[body + 8] << 8 | out[body + 9]
        fits = out[body] << 8 | out[body + 1]
        if fits == kind and (out[body + 2] << 8 | out[body + 3]) == _IN and size == width:
            if count == 0:
                owner = at
                owner_size = body - at
                first = body + 10
            elif not _is_owner(out, at, body - at, owner, owner_size):
                break
            elif count == 1:
                second = body + 10
                stride = body - at + 10 + width
            elif body - at + 10 + width != stride:
                break
            count += 1
        elif count > 0:
            break
        at = body + 10 + size
        left -= 1
    if count > 1 and second + (count - 2) * stride + width <= end:
        shift = out[0] << 8 | out[1]
        if shift == 0:
            shift = out[first - 4] << 8 | out[first - 3]
        shift = shift % count
        _reverse(out, first, second, stride, width, 0, shift - 1)
        _reverse(out, first, second, stride, width, shift, count - 1)
        _reverse(out, first, second, stride, width, 0, count - 1)
    return 0


def _is_owner(out, at, size, owner, owner_size):
    """Return whether out[at:][:size] is the owner out[owner:][:owner_size]: equal octets, or a pointer to it."""
    if size == 2 and (out[at] & 63) << 8 | out[at + 1] == owner:
        return out[at] >= 192
    if size != owner_size:
        return 0
    i = 0
    while i < size:
        if out[at + i] != out[owner + i]:
            return 0
        i += 1
    return 1


def _reverse(out, first, second, stride, width, low, high):
    """Reverse the order of the addresses from number `low` to number `high`. Returns 0."""
    while low < high:
        one = first if low == 0 else second + (low - 1) * stride
        other = second + (high - 1) * stride
        i = 0
        while i < width:
            octet = out[one + i]
            out[one + i] = out[other + i]
            out[other + i] = octet
            i += 1
        low += 1
        high -= 1
    return 0
