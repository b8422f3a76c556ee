"""The join: an operator's signed request to be in a roster, with its two public keys.

Rules:
- It is signed by the operator's Ed25519 key, the one that signs its evidence; that signature is the proof of its
  possession and binds the X25519 key to it.
- The signature stands in each roster: who reads one verifies that each operator signed its own X25519 key, and that an
  authority has put no other in its place.
"""

from typing import Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from resolver.count.national import forms
from resolver.count.national.forms import Form, Hash, Moment, Signed
from resolver.count.national.keys import check_agreement, check_signer


class Join(Form, frozen=True, kw_only=True):
    """A request to be in a roster; agreement: the raw X25519 public key; made: unix seconds."""

    kind: Literal["national-join"] = "national-join"
    format: Literal[1] = 1
    name: str
    agreement: Hash
    made: Moment


def make(name: str, agreement: X25519PrivateKey, key: Ed25519PrivateKey, now: float) -> bytes:
    """Return the file of a join; Refused if the name cannot be used."""
    forms.check_name(name)
    return forms.sign(Join(name=name, agreement=public_of(agreement).hex(), made=int(now)), key)


def read(data: bytes) -> Signed[Join]:
    """Return the join in a file; Refused if it is not valid or its X25519 key must not be used."""
    found = forms.read(data, Join)
    forms.check_name(found.form.name)
    check_agreement(found.form.agreement)
    check_signer(found.key)
    return found


def public_of(key: X25519PrivateKey) -> bytes:
    """Return the raw X25519 public key (32 octets)."""
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
