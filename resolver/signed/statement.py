"""Signs and verifies a host's statements: receipts, manifests of images, releases, monthly evidence.

A signed statement is one JSON object, ended by a line feed:

    {"statement": TEXT, "key": BASE64, "signature": BASE64}

TEXT is the statement as JSON, `key` the raw Ed25519 public key (32 octets), `signature` Ed25519 over CONTEXT and the
octets of TEXT.

Rules:
- The signature covers TEXT octet for octet: a verifier never has to encode it again.
- `key` says who claims to have signed; only a key pinned beforehand decides who may.
- CONTEXT keeps the signature of a statement from being valid for anything else.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

CONTEXT: Final = b"blocklist-resolver statement v1\n"
MAX_STATEMENT_BYTES: Final = 2**20


class StatementBroken(Exception):
    """The data is not a statement, or the expected key has not signed it; the text says which."""


class _Signed(Struct, frozen=True):
    statement: str
    key: str
    signature: str


def sign(statement: Mapping[str, Any], key: Ed25519PrivateKey) -> bytes:
    """Return the signed statement, ready to be written or sent."""
    text = msgspec.json.encode(statement)
    return _written(text, public_of(key), key.sign(CONTEXT + text))


def _written(text: bytes, key: bytes, signature: bytes) -> bytes:
    signed = _Signed(
        statement=text.decode(),
        key=base64.b64encode(key).decode(),
        signature=base64.b64encode(signature).decode(),
    )
    return msgspec.json.encode(signed) + b"\n"


def verified(data: bytes, pinned: bytes) -> dict[str, Any]:
    """Return the statement in `data`; StatementBroken unless the raw public key `pinned` signed it."""
    statement, key = claimed(data)
    if key != pinned:
        raise StatementBroken("signed by another key")
    return statement


def claimed(
    data: bytes, *, most_bytes: int = MAX_STATEMENT_BYTES, to_the_octet: bool = False
) -> tuple[dict[str, Any], bytes]:
    """Return the statement and the raw public key that signed it, whichever key that is; StatementBroken otherwise.

    to_the_octet: refuse data that differs from what `sign` writes, such as extra spaces around the signed text.
    """
    if len(data) > most_bytes:
        raise StatementBroken("too large")
    try:
        signed = msgspec.json.decode(data, type=_Signed)
        key = base64.b64decode(signed.key, validate=True)
        signature = base64.b64decode(signed.signature, validate=True)
        text = signed.statement.encode()
        Ed25519PublicKey.from_public_bytes(key).verify(signature, CONTEXT + text)
        if to_the_octet and _written(text, key, signature) != data:
            raise StatementBroken("changed since it was written")
        return msgspec.json.decode(text, type=dict[str, Any]), key
    except InvalidSignature:
        raise StatementBroken("signature") from None
    except (msgspec.DecodeError, UnicodeError, binascii.Error, ValueError, RecursionError):
        raise StatementBroken("not a signed statement") from None


def public_of(key: Ed25519PrivateKey) -> bytes:
    """Return the raw public key (32 octets) of a signing key."""
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def pem_of(public: bytes) -> bytes:
    """Return a raw public key as PEM (SubjectPublicKeyInfo), the form that is handed over and pinned."""
    return Ed25519PublicKey.from_public_bytes(public).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def pinned_of(pem: bytes) -> bytes:
    """Return the raw public key in a PEM file; StatementBroken if it holds no Ed25519 public key."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise StatementBroken("not a public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise StatementBroken("not an Ed25519 key")
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
