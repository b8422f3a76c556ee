"""What a receipt says: what was tested, in words and numbers, and nothing of any name."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.feed import receipt
from resolver.signed import statement
from tests.unit.feed.test_state import record

TESTED = receipt.Tested(digests=1000, unlisted=1000)
PROOF = receipt.Proof(sockets=2, questions=12, wrong=0)


def made(**changed):
    settings = {"list_id": "demo", "host": "host.example", "at": 1_800_000_000.9}
    settings |= {"head": (5, "f" * 64), "tested": TESTED, "proof": PROOF}
    return receipt.receipt(record(7), **(settings | changed))


def test_a_receipt_says_what_is_in_force_and_what_was_tested() -> None:
    said = made()
    kept = record(7)
    assert (said["kind"], said["host"], said["list"], said["at"]) == ("receipt", "host.example", "demo", 1_800_000_000)
    assert (said["serial"], said["digest"], said["generation"]) == (7, kept.digest, kept.generation)
    assert said["audit_head"] == {"number": 5, "hash": "f" * 64}
    for words in ("A, AAAA and HTTPS over UDP and TCP on 2 sockets (12 questions)", "1000 digests", "1000 names"):
        assert words in said["tested"]
    assert "does not say" in said["caveat"]


def test_a_receipt_never_says_that_a_list_is_blocked() -> None:
    text = str(made()).lower()
    assert "list is blocked" not in text
    assert "names are blocked" not in text


def test_what_was_not_tested_is_not_said() -> None:
    assert receipt.words(None, None) == "nothing was asked: the list is not enforced on this host"
    assert "synthetic" not in receipt.words(TESTED, None)
    assert "1 socket (" in receipt.words(None, receipt.Proof(sockets=1, questions=6, wrong=0))


def test_without_a_question_with_a_wrong_answer_or_with_a_missing_one_nothing_is_proved() -> None:
    assert PROOF.passed
    assert not receipt.Proof(sockets=0, questions=0, wrong=0).passed
    assert not receipt.Proof(sockets=2, questions=12, wrong=1).passed
    assert not receipt.Proof(sockets=2, questions=12, silent=1).passed


def test_a_receipt_holds_against_the_hosts_key() -> None:
    key = Ed25519PrivateKey.generate()
    signed = statement.sign(made(), key)
    assert statement.verified(signed, statement.public_of(key))["tested"] == receipt.words(TESTED, PROOF)


def test_its_file_tells_list_serial_and_generation() -> None:
    assert receipt.name_of("demo", record(7, generation=9)) == "demo-7-9"
