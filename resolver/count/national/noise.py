"""Draws an operator's noise and salts from a key that stays on its host.

Rules:
- Key, roster and figure decide noise and salt of a list. A host that has lost its record of a submission, but not the
  key, makes the same octets again: with other noise under the same masks, two submissions would disclose more than one.
- Another figure has other noise: the difference of two submissions is never that of two figures.
- Who has the key can take the noise away. It is kept like the records, which hold the noise itself.
"""

from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from resolver.count.draws import Below, laplace_share
from resolver.count.national.roster import Noise
from resolver.count.national.submission import Figure

INFO: Final = b"blocklist-resolver national noise v1\n"


def drawn(key: bytes, digest: str, list_id: str, figure: int, noise: Noise | None) -> Figure:
    """Return the figure of one list with its share of noise and its salt. digest: the roster's."""
    info = INFO + figure.to_bytes(8, "big") + list_id.encode()
    made = HKDF(algorithm=SHA256(), length=64, salt=bytes.fromhex(digest), info=info).derive(key)
    share = laplace_share(noise.scale, noise.honest, below_of(made[32:])) if noise is not None else 0
    return Figure(list=list_id, figure=figure, noise=share, salt=made[:32].hex())


def below_of(key: bytes) -> Below:
    """Return a source of uniform whole numbers, made of the key stream of ChaCha20 (32 octets of key, nonce 0)."""
    stream = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()

    def below(count: int) -> int:
        bits = (count - 1).bit_length()
        octets = (bits + 7) // 8
        while True:
            number = int.from_bytes(stream.update(bytes(octets)), "big") >> (8 * octets - bits)
            if number < count:
                return number

    return below
