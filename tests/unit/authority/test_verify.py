"""A receipt, a list and a repository held together: what proves, and what does not."""

import hashlib
import json
import shutil
import time
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace
from tuf.api.metadata import Metadata, Root, Targets

from resolver.authority import publish, verify
from resolver.authority.publish import Issue
from resolver.authority.repository import Refused, Repository
from resolver.feed import receipt
from resolver.feed.state import Record
from resolver.signed import statement

NOW = float(int(time.time()))
DATA = b"a.test\n=b.test\n"
HOST = Ed25519PrivateKey.generate()
PINNED = statement.public_of(HOST)
RECORD = Record(
    serial=3,
    digest=hashlib.sha256(DATA).hexdigest(),
    issued=int(NOW),
    expires=None,
    withdrawn=False,
    announced=None,
    entries=2,
    refused={},
    refused_lines={},
    image="1.image",
    generation=1,
    digest_key="",
    demonstration=True,
    targets_keys="",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publish.init(tmp_path / "authority", threshold=2, keys=2, now=NOW)
    publish.publish(tmp_path / "authority", Issue(list_id="demo", data=DATA, serial=3), now=NOW)
    return tmp_path / "authority"


def signed(
    record: Record = RECORD,
    *,
    at: float = NOW + 60,
    key: Ed25519PrivateKey = HOST,
    suspended: bool = False,
    lifted: bool = False,
) -> bytes:
    """The receipt that a host makes of a record."""
    said = receipt.receipt(
        record,
        list_id="demo",
        host="resolver.isp.example",
        at=at,
        head=(7, "0" * 64),
        tested=None,
        proof=None if lifted else receipt.Proof(sockets=2, questions=6),
    )
    return statement.sign({**said, "suspended": suspended}, key)


def proved(folder: Path, *receipts: bytes, data: bytes = DATA, pinned: tuple[bytes, ...] = (PINNED,)) -> str:
    return "\n".join(verify.verified(folder, data, {f"{n}.json": one for n, one in enumerate(receipts)}, pinned))


def test_a_receipt_proves_a_list(folder: Path) -> None:
    day = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(NOW + 60))
    said = proved(folder, signed())
    assert f"resolver.isp.example: list demo, serial 3, SHA-256 {RECORD.digest}, was in force at {day}: " in said
    assert f"by 2 targets keys of the authority (targets version {NOW + 1:.0f}, root version 1)" in said
    assert said.endswith("Not proved: that the hosts' clocks were right, and that no visitor reached a listed name.")


def test_a_fleet_is_a_sentence_each(folder: Path) -> None:
    other = Ed25519PrivateKey.generate()
    said = proved(folder, signed(), signed(key=other), pinned=(PINNED, statement.public_of(other)))
    assert said.count("was in force") == 2


def test_without_a_pinned_key_that_much_less_is_proved(folder: Path) -> None:
    said = proved(folder, signed(), pinned=())
    assert "Not proved: which hosts own the keys of the receipts (give --host-key), " in said


def test_what_was_not_enforced_is_told(folder: Path) -> None:
    said = proved(folder, signed(replace(RECORD, set_aside={"protected": 2}), suspended=True))
    assert " without its new entries and 2 lines set aside: signed" in said
    assert "without" not in proved(folder, signed(replace(RECORD, set_aside={"protected": 2}, approved=True)))


def test_an_encrypted_list_is_proved_by_its_clear_text(folder: Path) -> None:
    public = str(pyrage.x25519.Identity.generate().to_public())
    publish.publish(
        folder, Issue(list_id="demo", data=DATA, serial=4, recipients={"isp-a": public}), now=NOW
    )
    assert "serial 4" in proved(folder, signed(replace(RECORD, serial=4)))


def test_new_keys_do_not_end_what_the_old_ones_signed(folder: Path) -> None:
    publish.rotate(folder, role="timestamp", now=NOW)
    publish.rotate(folder, role="targets", now=NOW, drop_lists=True)
    said = proved(folder, signed())
    assert "root version 1 to 2, whose targets keys were replaced since" in said


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (signed()[:-9] + b"\n", "not a receipt signed by the key in it"),
        (signed().replace(b"demo", b"dem0"), "not a receipt signed by the key in it: signature"),
        (b"a.test", "not a receipt signed by the key in it"),
        (signed(key=Ed25519PrivateKey.generate()), "not signed by a key of --host-key"),
        (statement.sign({"kind": "receipt", "list": "demo"}, HOST), "not a receipt"),
        (statement.sign({**json.loads(json.loads(signed())["statement"]), "kind": "release"}, HOST), "not a receipt"),
        (signed(replace(RECORD, digest="0" * 64)), "another file than --list"),
        (signed(replace(RECORD, withdrawn=True)), "withdrawn"),
        (signed(lifted=True), "was not enforced"),
        (signed(at=NOW - 1), "before the list was issued"),
        (signed(replace(RECORD, serial=2)), "names demo serial 2"),
        (signed(replace(RECORD, issued=int(NOW) - 1)), "no targets metadata"),
    ],
)
def test_what_proves_nothing(made: bytes, said: str, folder: Path) -> None:
    with pytest.raises(Refused, match=said) as error:
        proved(folder, signed(), made)
    assert str(error.value).startswith("1.json: ")
    assert "a.test" not in str(error.value)


def test_another_file(folder: Path) -> None:
    with pytest.raises(Refused, match="another file than --list"):
        proved(folder, signed(), data=DATA + b"\n")


def test_what_one_of_two_people_signed_proves_nothing(folder: Path) -> None:
    path = Repository(folder).all_targets()[0]
    targets = Metadata[Targets].from_bytes(path.read_bytes())
    targets.signatures.popitem()
    path.write_bytes(targets.to_bytes())
    with pytest.raises(Refused, match="no targets metadata here"):
        proved(folder, signed())


def test_roots_that_do_not_follow_from_each_other_prove_nothing(folder: Path, tmp_path: Path) -> None:
    publish.init(tmp_path / "stranger", threshold=2, keys=2, now=NOW)
    publish.rotate(folder, role="targets", now=NOW)
    shutil.copy(tmp_path / "stranger/metadata/1.root.json", folder / "metadata/1.root.json")
    with pytest.raises(Refused, match="not signed by enough of its own keys"):
        proved(folder, signed())
    (folder / "metadata/1.root.json").unlink()
    with pytest.raises(Refused, match=r"1\.root\.json: missing"):
        proved(folder, signed())


def test_a_first_root_that_its_own_keys_have_not_signed(folder: Path) -> None:
    path = folder / "metadata/1.root.json"
    root = Metadata[Root].from_bytes(path.read_bytes())
    root.signatures.popitem()
    path.write_bytes(root.to_bytes())
    with pytest.raises(Refused, match="not signed"):
        proved(folder, signed())
    assert Repository(folder).root().signed.version == 1
