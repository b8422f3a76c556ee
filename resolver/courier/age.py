"""Lowers the TTLs of an answer by the time that an HTTP cache has kept it (RFC 8484 5.1)."""

import struct
from typing import Final

_HEADER: Final = 12
_OPT: Final = 41
_RECORD: Final = struct.Struct("!HHiH")
MOST_S: Final = 2**31 - 1


def aged(message: bytes, seconds: int) -> bytes:
    """Return the answer with all TTLs lowered by so many seconds, to 0 at least; ValueError if it cannot be read."""
    if seconds <= 0:
        return message
    data = bytearray(message)
    counts = struct.unpack_from("!HHHH", data, 4)
    at = _HEADER
    try:
        for _ in range(counts[0]):
            at = _after_name(data, at) + 4
        for _ in range(sum(counts[1:])):
            at = _after_name(data, at)
            kind, _, ttl, size = _RECORD.unpack_from(data, at)
            if kind != _OPT:
                struct.pack_into("!i", data, at + 4, max(0, ttl - min(seconds, MOST_S)))
            at += _RECORD.size + size
    except (struct.error, IndexError):
        raise ValueError("not a DNS message") from None
    if at > len(data):
        raise ValueError("not a DNS message")
    return bytes(data)


def _after_name(data: bytearray, at: int) -> int:
    """Return where a name ends; a name goes forward only, because no pointer is followed."""
    while data[at]:
        if data[at] >= 0xC0:
            return at + 2
        at += 1 + data[at]
    return at + 1
