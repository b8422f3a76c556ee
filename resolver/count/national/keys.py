"""Checks the public keys of operators: a key that proves nothing, or that can be written twice, is refused.

Rules:
- An X25519 key in another writing than RFC 7748's (high bit set, or 2^255 - 19 and above) is refused, so that a key
  cannot stand in a roster twice; one of small order is refused, because every secret with it is zero.
- A key of an order that is a multiple of the prime one is not refused: no key pair of RFC 8032 has one. Readers that
  verify with the cofactor may differ from this release in its signatures, which costs a sum and discloses no figure.
- An Ed25519 key in another writing than RFC 8032's, or of small order, is refused: signatures by a key of small order
  can be made without a private key.
"""

from typing import Final

from resolver.count.national.forms import Refused

PRIME: Final = 2**255 - 19
SMALL_AGREEMENTS: Final = frozenset(
    (
        0,
        1,
        PRIME - 1,
        0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
    )
)
"""The u coordinates of order 1, 2, 4 and 8 on curve25519 and on its twist."""
SMALL_SIGNERS: Final = frozenset(
    (
        0,
        1,
        PRIME - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    )
)
"""The y coordinates of order 1, 2, 4 and 8 on edwards25519."""


def check_agreement(key: str) -> None:
    """Check an X25519 public key in hex; Refused if it is not canonical or of small order."""
    number = int.from_bytes(bytes.fromhex(key), "little")
    if number >= PRIME:
        raise Refused("its X25519 key is not in canonical form (RFC 7748); the operator joins again with --renew")
    if number in SMALL_AGREEMENTS:
        raise Refused("its X25519 key is of small order; the operator joins again with --renew")


def check_signer(key: bytes) -> None:
    """Check a raw Ed25519 public key (32 octets); Refused if it is not canonical or of small order."""
    number = int.from_bytes(key, "little") & (2**255 - 1)
    if number >= PRIME or number in SMALL_SIGNERS:
        raise Refused("its Ed25519 key is of small order, or not in canonical form (RFC 8032): anyone could sign by it")
