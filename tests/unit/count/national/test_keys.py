"""Public keys that prove nothing, or that can be written twice, are refused."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from resolver.count.national import join, keys, roster
from resolver.count.national.forms import Refused
from tests.unit.count.national.operators import BEFORE, form, members
from tests.unit.count.national.vectors import made

ONE = members(5)[0]
FORGED = bytes([1]) + bytes(31) + bytes(32)
"""By the key of order 1: a signature of every text."""


def test_an_x25519_key_is_refused_if_and_only_if_every_secret_with_it_is_zero() -> None:
    for key in made()["refused_agreements"]["small order"]:
        with pytest.raises(ValueError, match="shared key"):
            X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(key)))
        with pytest.raises(Refused, match="small order"):
            keys.check_agreement(key)
    assert len(made()["refused_agreements"]["small order"]) == 5
    keys.check_agreement(join.public_of(ONE.agreement).hex())
    keys.check_agreement("02" + "00" * 31)


@pytest.mark.parametrize("key", made()["refused_keys"])
def test_an_ed25519_key_of_small_order_or_written_twice_is_refused(key: str) -> None:
    with pytest.raises(Refused, match="anyone could sign by it"):
        keys.check_signer(bytes.fromhex(key))


def test_a_signature_that_holds_with_the_cofactor_alone_is_refused() -> None:
    (case,) = made()["refused_joins"]
    signer = base64.b64decode(json.loads(case["join"])["key"])
    keys.check_signer(signer)
    with pytest.raises(Refused, match="not as it was signed"):
        join.read(case["join"].encode())


def test_a_key_of_an_operator_is_none() -> None:
    keys.check_signer(ONE.public)
    assert len(made()["refused_keys"]) > 8


def test_who_has_no_private_key_cannot_stand_in_a_roster() -> None:
    key = bytes([1]) + bytes(31)
    Ed25519PublicKey.from_public_bytes(key).verify(FORGED, b"whatever the text is")
    _, *others = form(members(5)).operators
    nobody = roster.Operator(
        name="Nobody",
        key=key.hex(),
        agreement=join.public_of(ONE.agreement).hex(),
        made=BEFORE,
        signature=FORGED.hex(),
    )
    with pytest.raises(Refused, match="operator Nobody: its Ed25519 key is of small order"):
        roster.check(form(members(5), operators=tuple(sorted((nobody, *others), key=lambda one: one.key))))
