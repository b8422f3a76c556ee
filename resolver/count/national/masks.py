"""Computes the masks that hide each operator's figure and add up to nothing, and the commitment to a figure.

Rules:
- A pair of operators shares an X25519 secret (RFC 7748). HKDF-SHA256 (RFC 5869) makes a mask of it for one list of one
  task: salt is the roster's digest, info holds month, round, definition, list and both Ed25519 keys.
- Of a pair the operator that stands first in the roster adds the mask, the other subtracts it, modulo 2^64.
- A shared secret of zeros is refused (RFC 7748, section 6.1).
- The mask of no list ("") hides a zero: the sum of these check words shows whether all masks cancel.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from resolver.count.national.forms import Refused
from resolver.count.national.roster import Roster

MODULUS: Final = 2**64
CHECK: Final = ""
"""The list id of the check word."""

MASK: Final = b"blocklist-resolver national mask v1\n"
COMMITMENT: Final = b"blocklist-resolver national commitment v1\n"


def info_of(roster: Roster, list_id: str, first: bytes, second: bytes) -> bytes:
    """Return HKDF's info for the mask of two operators: their raw Ed25519 keys, in the roster's order."""
    words = f"{roster.month}\n{roster.round}\n{roster.definition}\n{list_id}\n"
    return MASK + words.encode() + first + second


def pair_mask(secret: bytes, digest: bytes, info: bytes) -> int:
    """Return the mask of one pair for one list, from 0 to 2^64 - 1. digest: the roster's, 32 octets."""
    return int.from_bytes(HKDF(algorithm=SHA256(), length=8, salt=digest, info=info).derive(secret), "big")


def masks(roster: Roster, digest: str, place: int, agreement: X25519PrivateKey) -> list[int]:
    """Return the sum of all masks of the operator at `place`: for the check word, then for each list of the roster."""
    own = bytes.fromhex(roster.operators[place].key)
    salt, words = bytes.fromhex(digest), (CHECK, *roster.lists)
    sums = [0] * len(words)
    for number, other in enumerate(roster.operators):
        if number == place:
            continue
        secret = _secret(agreement, other.agreement, other.name)
        pair = (own, bytes.fromhex(other.key))
        first, second = pair if place < number else pair[::-1]
        sign = 1 if place < number else -1
        for word, list_id in enumerate(words):
            sums[word] += sign * pair_mask(secret, salt, info_of(roster, list_id, first, second))
    return [one % MODULUS for one in sums]


def _secret(agreement: X25519PrivateKey, other: str, name: str) -> bytes:
    try:
        return agreement.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(other)))
    except ValueError:
        raise Refused(f"the X25519 key of {name} is of small order: this roster must not be used") from None


def summed(words: Sequence[str]) -> int:
    """Return the sum of masked values (hex) as a signed number from -2^63 to 2^63 - 1."""
    total = sum(int(word, 16) for word in words) % MODULUS
    return total - MODULUS if total >= MODULUS // 2 else total


def commitment(list_id: str, figure: int, noise: int, salt: bytes, digest: str, key: bytes) -> str:
    """Return the commitment to a figure and its noise, in hex. salt: 32 random octets; key: the raw Ed25519 key."""
    numbers = figure.to_bytes(8, "big") + noise.to_bytes(8, "big", signed=True)
    text = COMMITMENT + salt + bytes.fromhex(digest) + key + numbers + list_id.encode()
    return hashlib.sha256(text).hexdigest()
