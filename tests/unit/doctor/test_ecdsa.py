"""doctor/ecdsa.py: another implementation verifies what it signs, and RFC 6979's own example comes out."""

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from resolver.doctor import ecdsa

EXAMPLE = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721


def verified(key: int, message: bytes, signature: bytes) -> None:
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\4" + ecdsa.public_of(key))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    public.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))


def test_the_example_of_rfc_6979() -> None:
    """Appendix A.2.5, P-256 with SHA-256 and the message "sample"."""
    assert ecdsa.public_of(EXAMPLE).hex().upper() == (
        "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
        "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
    )
    assert ecdsa.sign(EXAMPLE, b"sample").hex().upper() == (
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
    )


@pytest.mark.parametrize("text", ["doctor.test.", "probe.isp.example.", ""])
def test_cryptography_verifies_it(text: str) -> None:
    key = ecdsa.key_of(text)
    signature = ecdsa.sign(key, text.encode())
    assert len(signature) == 64
    verified(key, text.encode(), signature)
    assert ecdsa.sign(key, text.encode()) == signature
    with pytest.raises(InvalidSignature):
        verified(key, text.encode() + b"x", signature)


@pytest.mark.parametrize("key", [1, 2, 3, ecdsa.N - 1])
def test_keys_at_the_edge(key: int) -> None:
    numbers = ec.derive_private_key(key, ec.SECP256R1()).public_key().public_numbers()
    assert ecdsa.public_of(key) == numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
