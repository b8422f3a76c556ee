"""Signs and reads the files of the national figure: join, roster, submission, opening.

Rules:
- Each file is a signed statement (`signed.statement`) whose text is JSON with the fields of its form in their order,
  without blanks. A text in any other writing is refused, so that all who read it see the same.
- A digest of a file is the SHA-256 of its text; it covers what is signed and nothing else.
- Keys, digests and masked values are lower-case hex: a form has the same length whatever its values are.
"""

import base64
import hashlib
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta, Struct

from resolver.signed import statement

MOST_BYTES: Final = 16 * 2**20
"""The largest file: a roster of 16,384 operators with the longest names."""
MOST_NAME: Final = 64

Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""32 octets: a key, a digest, a salt."""
Signature = Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z")]
"""64 octets: an Ed25519 signature."""
Word = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
"""A number modulo 2^64, most significant octet first."""
ListId = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
Month = Annotated[str, Meta(pattern=r"^20\d\d-(0[1-9]|1[0-2])\Z")]
Moment = Annotated[int, Meta(ge=0, le=2**37)]
"""Unix seconds, to the year 6325."""
MOST_FIGURE: Final = 2**40
"""The largest figure, and the largest share of noise: 16,384 operators then sum to less than 2^55."""
Count = Annotated[int, Meta(ge=0, le=MOST_FIGURE)]
Share = Annotated[int, Meta(ge=-MOST_FIGURE, le=MOST_FIGURE)]


class Refused(Exception):
    """A file or a step is refused; the text says which, why, and what to do."""


class Form(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A form, or a part of one; unknown fields are refused."""


_F = TypeVar("_F", bound=Form)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed(Generic[_F]):
    """A form that was signed, the raw Ed25519 key that signed it, its signature, and the SHA-256 of its text in hex."""

    form: _F
    key: bytes
    signature: bytes
    digest: str


def sign(form: Form, key: Ed25519PrivateKey) -> bytes:
    """Return the file of a form, ready to be written."""
    return statement.sign(_fields(form), key)


def read(data: bytes, kind: type[_F]) -> Signed[_F]:
    """Return the form in a file, by any key; Refused if the signature or the form is not valid."""
    try:
        said, key = statement.claimed(data, most_bytes=MOST_BYTES, to_the_octet=True)
        form = msgspec.convert(said, kind)
    except statement.StatementBroken as error:
        raise Refused(f"not as it was signed: {error}; ask its sender for it again") from None
    except msgspec.ValidationError:
        what = "an opening" if kind.__name__ == "Opening" else f"a {kind.__name__.lower()}"
        raise Refused(f"not {what} of the national figure in a format known to this release") from None
    outer: dict[str, str] = msgspec.json.decode(data)
    text = outer["statement"].encode()
    if _text(form) != text:
        raise Refused("its text is not written as the protocol writes it; ask its sender for it again")
    signature = base64.b64decode(outer["signature"])
    return Signed(form=form, key=key, signature=signature, digest=hashlib.sha256(text).hexdigest())


def has_signed(form: Form, key: bytes, signature: bytes) -> bool:
    """Return whether this raw Ed25519 key has signed the text of a form, by RFC 8032's equation without cofactor."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, statement.CONTEXT + _text(form))
    except (InvalidSignature, ValueError):
        return False
    return True


def private_of(pem: bytes) -> Ed25519PrivateKey:
    """Return the Ed25519 private key in a PEM file without a passphrase; Refused."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Refused("not a private key in PEM without a passphrase") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Refused("not an Ed25519 key: openssl genpkey -algorithm ed25519 makes one")
    return key


def check_name(name: str) -> None:
    """Check a name of an operator or an authority: one printable line in NFC; Refused."""
    if not (0 < len(name) <= MOST_NAME and name.isprintable() and name == name.strip()):
        raise Refused(f"a name is one printable line of 1 to {MOST_NAME} characters")
    if not unicodedata.is_normalized("NFC", name):
        raise Refused("a name is in Unicode's normal form C (NFC), so that two names that look alike are one")


def _text(form: Form) -> bytes:
    return msgspec.json.encode(_fields(form))


def _fields(form: Form) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(form)
    return fields
