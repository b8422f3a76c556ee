"""What GnuPG's status lines make of a file. tests/peers/test_gpg.py runs GnuPG itself."""

import pytest

from resolver.feed.details import Code
from resolver.feed.fetch import gpg
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed

KEY = "11E6EF680BF2136B8C707DD86D987CA4C8B84173"
VALID = f"VALIDSIG {KEY} 2026-11-25 1795622197 0 4 0 22 10 00 {KEY}"
GOOD = f"""ENC_TO 4F8758CD6E63CBDB 1 0
BEGIN_DECRYPTION
DECRYPTION_INFO 2 9 0
PLAINTEXT 62 1795622197
NEWSIG
GOODSIG 6D987CA4C8B84173 <a@authority.example>
{VALID}
DECRYPTION_OKAY
GOODMDC
END_DECRYPTION"""


def refusal(status: str, *pinned: str) -> Reason | None:
    lines = [line.split() for line in status.encode().splitlines()]
    return gpg.refusal(lines, frozenset(pinned or (KEY,)))


def without(*words: str) -> str:
    return "\n".join(line for line in GOOD.splitlines() if line.split()[0] not in words)


def test_signed_by_a_pinned_key_and_encrypted() -> None:
    assert refusal(GOOD) is None
    assert refusal(GOOD, "0" * 40, KEY) is None
    assert refusal(GOOD.replace("INFO 2 9 0", "INFO 0 9 2").replace("GOODMDC\n", "")) is None


def test_a_file_for_several_is_one_for_us() -> None:
    assert refusal("ENC_TO 4F8758CD6E63CBDC 1 0\nNO_SECKEY 4F8758CD6E63CBDC\n" + GOOD) is None


def test_a_subkey_of_a_pinned_key_signs_too() -> None:
    assert refusal(GOOD.replace(f"VALIDSIG {KEY}", "VALIDSIG " + "2" * 40)) is None
    assert refusal(GOOD.replace(f"00 {KEY}", "00 " + "2" * 40)) is Reason.NOT_SIGNED


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("", Reason.IDENTITY_UNUSABLE),
        ("NODATA 1\nNODATA 2", Reason.MALFORMED),
        ("ENC_TO 4F8758CD6E63CBDB 1 0\nNO_SECKEY 4F8758CD6E63CBDB", Reason.IDENTITY_UNUSABLE),
        ("NO_SECKEY 4F87\nBEGIN_DECRYPTION\nDECRYPTION_FAILED\nEND_DECRYPTION", Reason.IDENTITY_UNUSABLE),
        ("ERROR pkdecrypt_failed 67108949\nBEGIN_DECRYPTION\nDECRYPTION_FAILED", Reason.IDENTITY_UNUSABLE),
        (f"PLAINTEXT 62 0\nNEWSIG\n{VALID}", Reason.NOT_ENCRYPTED),
        (without("NEWSIG", "GOODSIG", "VALIDSIG"), Reason.NOT_SIGNED),
        (without("VALIDSIG"), Reason.NOT_SIGNED),
        (without("PLAINTEXT"), Reason.MALFORMED),
        (without("GOODMDC"), Reason.TAMPERED),
        (without("DECRYPTION_OKAY"), Reason.TAMPERED),
        (without("END_DECRYPTION"), Reason.TAMPERED),
        (without("DECRYPTION_INFO"), Reason.TAMPERED),
        (GOOD + "\nDECRYPTION_FAILED", Reason.TAMPERED),
        (GOOD.replace(VALID, "BADSIG 6D987CA4C8B84173 x"), Reason.TAMPERED),
        (GOOD + f"\nNEWSIG\n{VALID}", Reason.NOT_SIGNED),
        (GOOD + "\nERRSIG 6D987CA4C8B84173", Reason.NOT_SIGNED),
        (GOOD.replace("GOODSIG", "EXPKEYSIG"), Reason.NOT_SIGNED),
        (GOOD.replace("GOODSIG", "REVKEYSIG"), Reason.NOT_SIGNED),
        (GOOD.replace("GOODSIG", "EXPSIG"), Reason.NOT_SIGNED),
        (GOOD.replace("PLAINTEXT", "PLAINTEXT 62 0\nPLAINTEXT"), Reason.MALFORMED),
        (GOOD + "\nBEGIN_DECRYPTION\nDECRYPTION_OKAY", Reason.TAMPERED),
        (GOOD.replace(" 22 10 00 ", " 22 2 00 "), Reason.NOT_SIGNED),
        (GOOD.replace(" 22 10 00 ", " 22 1 00 "), Reason.NOT_SIGNED),
    ],
)
def test_what_is_refused(status: str, reason: Reason) -> None:
    assert refusal(status) is reason


def test_a_signature_around_the_encryption_does_not_count() -> None:
    inner = without("NEWSIG", "GOODSIG", "VALIDSIG")
    assert refusal(f"NEWSIG\n{VALID}\n{inner}") is Reason.NOT_SIGNED
    assert refusal(f"{inner}\nNEWSIG\n{VALID}") is Reason.NOT_SIGNED


def test_without_the_program_or_the_home_nothing_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = gpg.Gpg("/nowhere", 100, lambda: 5.0)
    with pytest.raises(Failed) as error:
        nowhere.opened(b"x", frozenset((KEY,)))
    assert error.value.reason == Reason.IDENTITY_UNUSABLE
    monkeypatch.setattr(gpg.shutil, "which", lambda *_, **__: None)
    with pytest.raises(Failed) as error:
        nowhere.pinned(b"x")
    assert error.value.reason == Reason.IDENTITY_UNUSABLE


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("", Code.GPG_HOME),
        ("ENC_TO 4F8758CD6E63CBDB 1 0\nNO_SECKEY 4F8758CD6E63CBDB", Code.GPG_NO_KEY),
        ("NODATA 1", Code.GPG_FORM),
        (f"PLAINTEXT 62 0\nNEWSIG\n{VALID}", Code.GPG_CLEAR),
        (without("GOODMDC"), Code.GPG_DAMAGED),
        (GOOD.replace(VALID, "BADSIG 6D987CA4C8B84173 x"), Code.GPG_BAD),
        (without("NEWSIG", "GOODSIG", "VALIDSIG"), Code.GPG_UNSIGNED),
        (GOOD.replace("GOODSIG", "REVKEYSIG"), Code.GPG_REVOKED),
        (GOOD.replace("GOODSIG", "EXPKEYSIG"), Code.GPG_EXPIRED),
        (GOOD.replace(f"00 {KEY}", "00 " + "2" * 40), Code.GPG_UNKNOWN),
        (GOOD.replace(" 22 10 00 ", " 22 2 00 "), Code.GPG_WEAK),
    ],
)
def test_why_it_is_refused_is_named(status: str, code: Code) -> None:
    lines = [line.split() for line in status.encode().splitlines()]
    reason = gpg.refusal(lines, frozenset((KEY,)))
    assert reason is not None
    assert gpg.detail_of(reason, lines).code is code
