"""Signed statements: what verifies, and what does not."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.signed import statement
from resolver.signed.statement import StatementBroken

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
FACTS = {"list": "demo", "serial": 7, "at": 1_700_000_000}


def test_what_was_signed_is_read_back() -> None:
    signed = statement.sign(FACTS, KEY)
    assert signed.endswith(b"}\n")
    assert statement.verified(signed, statement.public_of(KEY)) == FACTS


def test_another_key_is_not_the_pinned_one() -> None:
    with pytest.raises(StatementBroken, match="another key"):
        statement.verified(statement.sign(FACTS, OTHER), statement.public_of(KEY))
    assert statement.claimed(statement.sign(FACTS, OTHER)) == (FACTS, statement.public_of(OTHER))


@pytest.mark.parametrize("field", ["statement", "key", "signature"])
def test_every_octet_of_every_field_counts(field: str) -> None:
    signed = json.loads(statement.sign(FACTS, KEY))
    text = signed[field]
    for at in range(len(text)):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        with pytest.raises(StatementBroken):
            statement.verified(json.dumps({**signed, field: changed}).encode(), statement.public_of(KEY))


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"\xff", b'{"statement": "x", "key": "", "signature": ""}', b"[" * 10**5]
)
def test_anything_else_is_no_statement(data: bytes) -> None:
    with pytest.raises(StatementBroken):
        statement.claimed(data)


def test_too_large_is_not_even_read() -> None:
    with pytest.raises(StatementBroken, match="too large"):
        statement.claimed(bytes(statement.MAX_STATEMENT_BYTES + 1))


def test_a_public_key_goes_round_as_pem() -> None:
    public = statement.public_of(KEY)
    assert statement.pinned_of(statement.pem_of(public)) == public
    for pem in (b"", b"-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n"):
        with pytest.raises(StatementBroken):
            statement.pinned_of(pem)


def test_a_statement_to_the_octet_has_no_second_writing() -> None:
    key = Ed25519PrivateKey.generate()
    data = statement.sign({"kind": "test"}, key)
    assert statement.claimed(data, to_the_octet=True)[0] == {"kind": "test"}
    for other in (data[:-1], data + b"\n", data.replace(b'","key"', b'", "key"')):
        assert statement.claimed(other)[0] == {"kind": "test"}
        with pytest.raises(StatementBroken, match="changed since it was written"):
            statement.claimed(other, to_the_octet=True)
    with pytest.raises(StatementBroken, match="too large"):
        statement.claimed(data, most_bytes=len(data) - 1)
