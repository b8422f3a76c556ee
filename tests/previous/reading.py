"""How release 0.1 reads what it finds on a disk, written down once more and apart from the code.

Rules:
- What a later release writes must be read by this, or else going back to 0.1 means to begin without a list.
- Nothing of resolver is imported: the code may change, this does not.
"""

import hashlib
import struct
from dataclasses import dataclass

MAGIC = b"BLKLST\x00\x01"
HEADER = struct.Struct("<8s6Q2Q32s32s40s2Q")
SLOT = struct.Struct("<2Q")
SEAL_OCTETS = 32
SCOPE = 0x000F
SELFTEST = 64
_M = 2**64 - 1

RECORD_KEYS = {
    "serial": int,
    "digest": str,
    "issued": int,
    "expires": (int, type(None)),
    "withdrawn": bool,
    "announced": (int, type(None)),
    "entries": int,
    "refused": dict,
    "refused_lines": dict,
    "image": str,
    "generation": int,
    "digest_key": str,
    "demonstration": bool,
    "targets_keys": str,
    "since": int,
    "pinned": str,
    "root_version": int,
}
STATE_KEYS = {"format", "generation", "in_force", "previous", "held", "gone_back_to", "quarantined"}
FLOOR_KEYS = {"format", "record"}
HELD_KEYS = {"record", "reasons", "since"}
AUDIT_KEYS = {"number", "at", "event", "list", "serial", "digest", "detail", "previous"}
EVENTS = {
    "in_force",
    "held",
    "released",
    "quarantined",
    "gone_back",
    "withdrawn",
    "lifted",
    "floor_reset",
    "recovered",
    "torn",
}


class Unreadable(Exception):
    """Release 0.1 would not take it; says why."""


@dataclass(frozen=True)
class Image:
    """What 0.1 finds in an image."""

    list_id: str
    serial: int
    issued: int
    expires: int
    generation: int
    entries: int
    selftest: bytes
    depths: set[int]
    slots: dict[tuple[int, int], int]


def image(data: bytes, digest_key: bytes, seal_key: bytes) -> Image:
    """Read a sealed image; Unreadable where 0.1 would refuse it."""
    body, seal = data[:-SEAL_OCTETS], data[-SEAL_OCTETS:]
    if hashlib.blake2b(body, digest_size=SEAL_OCTETS, key=seal_key, person=b"list image").digest() != seal:
        raise Unreadable("seal")
    header = HEADER.unpack_from(body)
    magic, slots, entries, serial, issued, expires, generation, low, high, name, label, rest, *check = header
    if magic != MAGIC or any(rest) or len(body) != HEADER.size + slots * SLOT.size:
        raise Unreadable("layout")
    if tuple(check) != siphash(bytes(16), body[: HEADER.size - 16]):
        raise Unreadable("check")
    found: dict[tuple[int, int], int] = {}
    for at in range(slots):
        first, second = SLOT.unpack_from(body, HEADER.size + at * SLOT.size)
        if second & SCOPE:
            found[first, second >> 16] = second & 0xFFFF
    if len(found) != entries + 1:
        raise Unreadable("entries")
    depths = {depth for depth in range(128) if (low | high << 64) >> depth & 1}
    selftest = label.rstrip(b"\0")
    made = Image(name.rstrip(b"\0").decode(), serial, issued, expires, generation, entries, selftest, depths, found)
    if not of(made, bytes([len(selftest)]) + selftest + b"\x08selftest\x07invalid\0", digest_key) & SELFTEST:
        raise Unreadable("synthetic name")
    return made


def of(read: Image, name: bytes, digest_key: bytes) -> int:
    """The bits of a name (wire format, lower case) in the image; 0 where it is not there."""
    low, high = siphash(digest_key, name)
    return read.slots.get((low, high >> 16), 0)


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & _M


def _round(v: list[int]) -> None:
    v[0] = v[0] + v[1] & _M
    v[2] = v[2] + v[3] & _M
    v[1], v[3] = _rotated(v[1], 13) ^ v[0], _rotated(v[3], 16) ^ v[2]
    v[0] = _rotated(v[0], 32)
    v[2] = v[2] + v[1] & _M
    v[0] = v[0] + v[3] & _M
    v[1], v[3] = _rotated(v[1], 17) ^ v[2], _rotated(v[3], 21) ^ v[0]
    v[2] = _rotated(v[2], 32)


def siphash(key: bytes, data: bytes) -> tuple[int, int]:
    """SipHash-2-4 with 128 bits of result, as its authors describe it."""
    k0, k1 = struct.unpack("<2Q", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D ^ 0xEE, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        _round(v)
        _round(v)
        v[0] ^= word
    v[2] ^= 0xEE
    halves = []
    for final in (0, 0xDD):
        v[1] ^= final
        for _ in range(4):
            _round(v)
        halves.append(v[0] ^ v[1] ^ v[2] ^ v[3])
    return halves[0], halves[1]
