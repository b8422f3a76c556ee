"""Forms: what is signed is read back, and any other writing, field or key is refused."""

import base64
import hashlib
import json
from collections.abc import Callable

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.count.national import forms, join
from resolver.count.national.forms import Refused
from resolver.count.national.join import Join
from resolver.signed import statement
from tests.unit.count.national.operators import BEFORE, members, signed_again

ONE = members(5)[0]
FILE = join.make(ONE.name, ONE.agreement, ONE.key, BEFORE)


def test_a_form_is_read_back_with_its_key_and_digest() -> None:
    found = forms.read(FILE, Join)
    text = json.loads(FILE)["statement"]
    assert (found.form.name, found.key) == (ONE.name, ONE.public)
    assert found.digest == hashlib.sha256(text.encode()).hexdigest()


def test_what_is_not_as_it_was_signed_is_refused() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    taken = json.loads(signed_again(FILE, other))
    taken["key"] = json.loads(FILE)["key"]
    cases = {
        "another signature": json.dumps(taken, separators=(",", ":")).encode() + b"\n",
        "a blank": FILE.replace(b'","key"', b'", "key"'),
        "no line feed": FILE.strip(),
        "another octet": FILE.replace(b"Operator", b"operator"),
        "too large": FILE + b" " * forms.MOST_BYTES,
        "nothing": b"",
    }
    for data in cases.values():
        with pytest.raises(Refused, match="not as it was signed"):
            forms.read(data, Join)


def test_another_form_an_unknown_field_or_a_field_out_of_bounds_is_refused() -> None:
    for changes in ({"kind": "receipt"}, {"more": 1}, {"agreement": "AB" * 32}, {"made": -1}, {"format": 2}):
        with pytest.raises(Refused, match="not a join of the national figure"):
            forms.read(signed_again(FILE, ONE.key, **changes), Join)


@pytest.mark.parametrize(
    "change", [lambda text: text.replace('":', '": '), lambda text: text.replace("{", '{"name":"Another",')]
)
def test_a_text_that_two_readers_could_read_differently_is_refused(change: Callable[[str], str]) -> None:
    text = change(json.loads(FILE)["statement"])
    said = {
        "statement": text,
        "key": json.loads(FILE)["key"],
        "signature": base64.b64encode(ONE.key.sign(statement.CONTEXT + text.encode())).decode(),
    }
    with pytest.raises(Refused, match="not written as the protocol writes it"):
        forms.read(msgspec.json.encode(said) + b"\n", Join)


def test_names_are_one_printable_line() -> None:
    forms.check_name("Ünïversal Net 1")
    with pytest.raises(Refused, match="normal form C"):
        forms.check_name("U\u0308niversal Net")
    for name in ("", " a", "a\n", "a\x1b[1m", "a" * 65, "\u202ea"):
        with pytest.raises(Refused, match="printable line"):
            forms.check_name(name)


def test_a_private_key_is_ed25519_in_pem_without_a_passphrase() -> None:
    def pem(
        key: Ed25519PrivateKey | EllipticCurvePrivateKey, secret: serialization.KeySerializationEncryption
    ) -> bytes:
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)

    plain = serialization.NoEncryption()
    assert statement.public_of(forms.private_of(pem(ONE.key, plain))) == ONE.public
    with pytest.raises(Refused, match="not an Ed25519 key"):
        forms.private_of(pem(generate_private_key(SECP256R1()), plain))
    for data in (b"", pem(ONE.key, serialization.BestAvailableEncryption(b"x"))):
        with pytest.raises(Refused, match="not a private key"):
            forms.private_of(data)
