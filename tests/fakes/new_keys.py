"""TLS key updates without end, as a peer may send them that never asks or answers anything."""

import hmac
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def new_keys(keys: Path, side: str, sent: int = 0) -> Iterator[bytes]:
    """Records of KeyUpdate that ask for one of the peer's (RFC 8446 4.6.3, 7.2).

    keys: a key log of TLS 1.3 with AES_256_GCM_SHA384. side: "CLIENT" or "SERVER", who sends them. sent: the records
    that this side has sent since its handshake.
    """
    secret = next(
        bytes.fromhex(line.split()[2])
        for line in reversed(keys.read_text().splitlines())
        if line.startswith(f"{side}_TRAFFIC_SECRET_0 ")
    )

    def expanded(label: bytes, octets: int) -> bytes:
        text = octets.to_bytes(2, "big") + bytes([6 + len(label)]) + b"tls13 " + label + b"\0\1"
        return hmac.digest(secret, text, "sha384")[:octets]

    while True:
        body = b"\x18\0\0\x01\x01" + b"\x16"
        head = b"\x17\x03\x03" + (len(body) + 16).to_bytes(2, "big")
        nonce = (int.from_bytes(expanded(b"iv", 12), "big") ^ sent).to_bytes(12, "big")
        yield head + AESGCM(expanded(b"key", 32)).encrypt(nonce, body, head)
        sent = 0
        secret = expanded(b"traffic upd", 48)
