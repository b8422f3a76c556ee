"""Receipts as evidence: only those that a key has signed, and of the month they were signed in."""

from pathlib import Path

from resolver.evidence import month, receipts
from resolver.feed import seal
from resolver.signed import statement
from tests.unit.evidence import april

FOLDER = Path("state/receipts")


def test_all_are_read_oldest_first_and_those_of_a_month(host: Path) -> None:
    found, broken = receipts.read(host / FOLDER)
    assert broken == 0
    assert [(one.list, one.serial) for one in found][:3] == [("demo", 10), ("second", 4), ("demo", 11)]
    of_april = receipts.within(found, month.whole("2025-04"))
    assert [one.serial for one in of_april] == [11, 12, 13, 12]
    assert (receipts.proved(of_april, "demo"), receipts.proved(of_april, "second")) == (4, 0)
    assert receipts.issued(of_april)["demo", 12, april.digest(12)] == april.at("04-07 08:00")
    one = of_april[0]
    assert (one.entries, one.refused, one.set_aside, one.approved) == (5000, 2, 1, False)
    assert "on 2 sockets" in one.tested


def test_what_no_key_has_signed_is_counted_and_what_is_no_receipt_passed_over(host: Path) -> None:
    path = next((host / FOLDER).glob("demo-10-*.json"))
    path.write_bytes(path.read_bytes().replace(b"5000", b"5001"))
    (host / FOLDER / "other.json").write_text("{}")
    key = seal.host_key(host / "state", make=False)
    (host / FOLDER / "release-1-demo.json").write_bytes(statement.sign({"kind": "release"}, key))
    (host / FOLDER / "short.json").write_bytes(statement.sign({"kind": "receipt", "list": "demo"}, key))
    found, broken = receipts.read(host / FOLDER)
    assert (len(found), broken) == (7, 3)


def test_no_folder_has_no_receipts(tmp_path: Path) -> None:
    assert receipts.read(tmp_path / "nowhere") == ((), 0)
