"""Does `blocklists/NATIONAL.md` suffice? A second implementation, which imports nothing of ours, meets the vectors."""

import ast
import base64
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

BLOCKLISTS = Path(__file__).parents[1] / "blocklists"
PAGE = (BLOCKLISTS / "NATIONAL.md").read_text()
VECTORS = json.loads((BLOCKLISTS / "national-vectors.json").read_text())
TASKS = VECTORS["tasks"]

FIELDS = {
    kind: re.findall(r"`([a-z]+)`", re.sub(r"\{[^}]*\}", "", fields))
    for kind, fields in re.findall(r"^\| (join|roster|submission|opening) \| \w+ \| (.*) \|$", PAGE, re.MULTILINE)
}
"""The fields of each file, in their order, as the page's table names them."""

Fields = dict[str, Any]


class Refused(Exception):
    """A file does not keep the page's rules."""


def need(holds: object) -> None:
    if not holds:
        raise Refused


# Files.


def sign(fields: Fields, key: Ed25519PrivateKey) -> str:
    """Return a file, ended by a line feed."""
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    signature = key.sign(b"blocklist-resolver statement v1\n" + text.encode())
    words = (base64.b64encode(one).decode() for one in (key.public_key().public_bytes_raw(), signature))
    outer = dict(zip(("statement", "key", "signature"), (text, *words), strict=True))
    return json.dumps(outer, separators=(",", ":"), ensure_ascii=False) + "\n"


def opened(file: str, kind: str, key: str = "") -> tuple[Fields, str, str]:
    """Return fields, digest and signing key of a file; Refused. key: the only one that may have signed it, in hex."""
    outer = json.loads(file)
    need(list(outer) == ["statement", "key", "signature"])
    signer, text = base64.b64decode(outer["key"]), outer["statement"]
    need(not key or signer.hex() == key)
    verify(signer, base64.b64decode(outer["signature"]), text)
    fields: Fields = json.loads(text)
    need(list(fields) == FIELDS[kind])
    need(fields["kind"] == f"national-{kind}")
    need(fields["format"] == 1)
    need(text == json.dumps(fields, separators=(",", ":"), ensure_ascii=False))
    return fields, hashlib.sha256(text.encode()).hexdigest(), signer.hex()


def verify(key: bytes, signature: bytes, text: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(
            signature, b"blocklist-resolver statement v1\n" + text.encode()
        )
    except InvalidSignature:
        raise Refused from None


# The roster.

MONTH_S = {"2027-01": (1798761600, 1801440000)}
"""Begin and end of the vectors' month."""


def check_roster(said: Fields) -> None:
    """Check a roster by the page's rules; Refused."""
    every, lists, noise = said["operators"], said["lists"], said["noise"]
    need(5 <= len(every) <= 16384)
    for field in ("name", "key", "agreement"):
        need(len({one[field].casefold() for one in every}) == len(every))
    need([one["key"] for one in every] == sorted(one["key"] for one in every))
    need(1 <= len(lists) <= 16)
    need(lists == sorted(set(lists)))
    if noise is not None:
        need(noise["honest"] <= len(every))
        need(all(1 <= noise[word] <= 2**18 for word in ("unit", "scale")))
    begin, end = MONTH_S[said["month"]]
    opens = end + 900
    if said["round"] == 1:
        need(said["corrects"] == "")
        need(said["signed"] < begin)
    else:
        need(re.fullmatch("[0-9a-f]{64}", said["corrects"]))
        opens = max(opens, said["signed"])
    need(said["closes"] >= opens + 86400)
    for one in every:
        check_agreement(one["agreement"])
        check_signer(one["key"])
        # The join, as the operator wrote it, with the signature that the roster has of it.
        fields = {"kind": "national-join", "format": 1, "name": one["name"], "agreement": one["agreement"]}
        text = json.dumps(fields | {"made": one["made"]}, separators=(",", ":"), ensure_ascii=False)
        verify(bytes.fromhex(one["key"]), bytes.fromhex(one["signature"]), text)


def check_signer(key: str) -> None:
    """Refuse what is no canonical y, or a point whose eightfold is the neutral element."""
    prime = 2**255 - 19
    y = int.from_bytes(bytes.fromhex(key), "little") % 2**255
    need(y < prime)
    d = -121665 * pow(121666, -1, prime) % prime
    for _ in range(3):
        # y of the doubled point (RFC 8032, 5.1.4), from y alone: x^2 is a function of y^2.
        x2 = (y * y - 1) * pow(d * y * y + 1, -1, prime) % prime
        y = (y * y + x2) * pow(1 - d * x2 * y * y, -1, prime) % prime
    need(y != 1)


def check_agreement(key: str) -> None:
    octets = bytes.fromhex(key)
    need(int.from_bytes(octets, "little") < 2**255 - 19)
    try:
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(octets))
    except ValueError:
        raise Refused from None


# Masks, submissions and sums.


def info(said: Fields, list_id: str, first: Fields, second: Fields) -> bytes:
    words = ("blocklist-resolver national mask v1", said["month"], str(said["round"]), said["definition"], list_id, "")
    return "\n".join(words).encode() + bytes.fromhex(first["key"]) + bytes.fromhex(second["key"])


def derived(secret: bytes, digest: str, about: bytes) -> int:
    key = HKDF(algorithm=SHA256(), length=8, salt=bytes.fromhex(digest), info=about)
    return int.from_bytes(key.derive(secret), "big")


def masks(said: Fields, digest: str, place: int, agreement: X25519PrivateKey, list_id: str) -> int:
    total, every = 0, said["operators"]
    for number, other in enumerate(every):
        if number == place:
            continue
        secret = agreement.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(other["agreement"])))
        first, second = sorted((place, number))
        mask = derived(secret, digest, info(said, list_id, every[first], every[second]))
        total += mask if place == first else -mask
    return total % 2**64


def commitment(one: Fields, digest: str, key: str) -> str:
    text = b"blocklist-resolver national commitment v1\n" + bytes.fromhex(one["salt"] + digest + key)
    numbers = one["figure"].to_bytes(8, "big") + one["noise"].to_bytes(8, "big", signed=True)
    return hashlib.sha256(text + numbers + one["list"].encode()).hexdigest()


def submission(task: Fields, place: int) -> str:
    """Return the submission of an operator, made of its private keys, figures and salts."""
    said, digest, _ = opened(task["roster"], "roster")
    keys = VECTORS["operators"][place]
    agreement = X25519PrivateKey.from_private_bytes(bytes.fromhex(keys["x25519_private"]))
    values = []
    for one in task["figures"][place]:
        mask = masks(said, digest, place, agreement, one["list"])
        masked = (one["figure"] + one["noise"] + mask) % 2**64
        committed = commitment(one, digest, said["operators"][place]["key"])
        values.append({"list": one["list"], "masked": f"{masked:016x}", "commitment": committed})
    fields = {
        "kind": "national-submission",
        "format": 1,
        "month": said["month"],
        "round": said["round"],
        "roster": digest,
        "check": f"{masks(said, digest, place, agreement, ''):016x}",
        "values": values,
    }
    return sign(fields, Ed25519PrivateKey.from_private_bytes(bytes.fromhex(keys["ed25519_private"])))


def summed(words: list[str]) -> int:
    total = sum(int(word, 16) for word in words) % 2**64
    return total - 2**64 if total >= 2**63 else total


def test_it_imports_nothing_of_ours() -> None:
    names = {
        name
        for node in ast.walk(ast.parse(Path(__file__).read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [*(one.name for one in node.names), getattr(node, "module", None) or ""]
    }
    assert not [name for name in names if name.startswith(("resolver", "tests"))]
    assert {kind: len(fields) for kind, fields in FIELDS.items()} == {
        "join": 5,
        "roster": 12,
        "submission": 7,
        "opening": 9,
    }


def test_joins_are_those_of_the_roster() -> None:
    said, _, _ = opened(TASKS[0]["roster"], "roster", VECTORS["authority"]["public"])
    joins = [opened(one["join"], "join") for one in VECTORS["operators"]]
    assert [(join["name"], key, join["agreement"], join["made"]) for join, _, key in joins] == [
        (one["name"], one["key"], one["agreement"], one["made"]) for one in said["operators"]
    ]
    signatures = [base64.b64decode(json.loads(one["join"])["signature"]).hex() for one in VECTORS["operators"]]
    assert signatures == [one["signature"] for one in said["operators"]]


def test_the_masks_of_a_pair() -> None:
    said, digest, _ = opened(TASKS[0]["roster"], "roster")
    pair, keys = VECTORS["pair"], [one["x25519_private"] for one in VECTORS["operators"]]
    first, second = (X25519PrivateKey.from_private_bytes(bytes.fromhex(one)) for one in keys[:2])
    secret = first.exchange(second.public_key())
    assert (secret.hex(), digest) == (pair["secret"], pair["salt"])
    for list_id, wanted in pair["info"].items():
        about = info(said, list_id, *said["operators"][:2])
        assert about.hex() == wanted
        assert f"{derived(secret, digest, about):016x}" == pair["mask"][list_id]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: str(task["about"]))
def test_each_submission_to_the_octet_and_the_sum(task: Fields) -> None:
    said, digest, _ = opened(task["roster"], "roster", VECTORS["authority"]["public"])
    check_roster(said)
    assert digest == task["digest"]
    files = [submission(task, place) for place in range(5)]
    assert files == task["submissions"]
    found = [opened(file, "submission", one["key"])[0] for file, one in zip(files, said["operators"], strict=True)]
    assert summed([one["check"] for one in found]) == 0
    for number, list_id in enumerate(said["lists"]):
        total = summed([one["values"][number]["masked"] for one in found])
        counted = [each for one in task["figures"] for each in one if each["list"] == list_id]
        assert total == task["sums"][list_id] == sum(one["figure"] + one["noise"] for one in counted)


def test_without_noise_the_sum_is_that_of_the_figures() -> None:
    (task,) = (one for one in TASKS if opened(one["roster"], "roster")[0]["noise"] is None)
    assert task["sums"]["court"] == sum(one["figure"] for each in task["figures"] for one in each[:1])


def test_the_correction_repeats_the_task_before_it() -> None:
    first, digest, _ = opened(TASKS[1]["roster"], "roster")
    second, _, _ = opened(TASKS[2]["roster"], "roster")
    assert second["corrects"] == digest
    assert second["signed"] >= first["closes"]
    assert [one["key"] for one in second["operators"]] == [one["key"] for one in first["operators"]]


def test_the_opening() -> None:
    said, _, key = opened(VECTORS["opening"]["file"], "opening")
    assert commitment(said, said["roster"], key) == VECTORS["opening"]["commitment"]
    values = opened(TASKS[1]["submissions"][2], "submission", key)[0]["values"]
    assert VECTORS["opening"]["commitment"] in [one["commitment"] for one in values if one["list"] == said["list"]]


@pytest.mark.parametrize("case", VECTORS["refused_rosters"], ids=lambda case: str(case["about"]))
def test_a_roster_that_is_refused(case: Fields) -> None:
    said, _, _ = opened(case["roster"], "roster", VECTORS["authority"]["public"])
    with pytest.raises(Refused):
        check_roster(said)


@pytest.mark.parametrize("case", VECTORS["refused_joins"], ids=lambda case: str(case["about"]))
def test_a_join_that_is_refused(case: Fields) -> None:
    check_signer(base64.b64decode(json.loads(case["join"])["key"]).hex())
    with pytest.raises(Refused):
        opened(case["join"], "join")


def test_refused_rosters_hold_keys_that_are_not_refused_for_themselves() -> None:
    """So that each is refused for what it says, by readers that check keys before signatures too."""
    assert VECTORS["refused_rosters"]
    for case in VECTORS["refused_rosters"]:
        for one in opened(case["roster"], "roster")[0]["operators"]:
            check_agreement(one["agreement"])
            check_signer(one["key"])


def check_correction(second: Fields, first: Fields, digest: str) -> None:
    need(second["round"] == 2)
    need(first["round"] == 1)
    need(second["corrects"] == digest)
    need(second["signed"] >= first["closes"])
    need([one["key"] for one in second["operators"]] == [one["key"] for one in first["operators"]])
    for field in ("authority", "month", "definition", "lists", "noise"):
        need(second[field] == first[field])


@pytest.mark.parametrize("case", VECTORS["refused_corrections"], ids=lambda case: str(case["about"]))
def test_a_correction_that_is_refused(case: Fields) -> None:
    first, digest, key = opened(TASKS[1]["roster"], "roster")
    said, _, _ = opened(case["roster"], "roster", key)
    check_roster(said)
    with pytest.raises(Refused):
        check_correction(said, first, digest)
    check_correction(opened(TASKS[2]["roster"], "roster")[0], first, digest)


def test_agreements_that_are_refused() -> None:
    assert all(VECTORS["refused_agreements"].values())
    for keys in VECTORS["refused_agreements"].values():
        for key in keys:
            with pytest.raises(Refused):
                check_agreement(key)


def test_keys_that_are_refused() -> None:
    assert VECTORS["refused_keys"]
    for key in VECTORS["refused_keys"]:
        with pytest.raises(Refused):
            check_signer(key)
    check_signer(VECTORS["authority"]["public"])


def test_the_deviations_that_the_page_states() -> None:
    alpha = math.exp(-1 / 480)
    one = math.sqrt(2 * alpha) / (1 - alpha)
    assert "to within about 680" in PAGE.replace("\n", " ")
    assert one == pytest.approx(680, abs=2)
    assert "3,300 for 24" in PAGE.replace("\n", " ")
    assert one * math.sqrt(24) == pytest.approx(3300, rel=0.01)
