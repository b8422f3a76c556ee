"""The chain of a host's bundles: in order, without a hole, kept as they were handed out."""

from pathlib import Path

import pytest

from resolver.evidence.bundle import Issue, hash_of
from resolver.evidence.chain import Bundles, NotIssued, alone


def issue(folder: Path, name: str, data: bytes, why: str = "") -> Issue:
    with alone(folder) as bundles:
        place = bundles.next(name, why)
        bundles.keep(place, name, data)
        found = bundles.of(name)
    assert found == Issue(number=place.number, month=name, sha256=hash_of(data))
    return found


def test_months_follow_each_other_and_name_the_one_before(tmp_path: Path) -> None:
    december = issue(tmp_path, "2024-12", b"one")
    january = issue(tmp_path, "2025-01", b"two")
    with alone(tmp_path) as bundles:
        place = bundles.next("2025-02")
        assert (place.number, place.before, place.previous_month, place.replaces) == (3, january, january, None)
        assert bundles.data_of(december) == b"one"
        for name, said in (("2025-03", "issue 2025-02 first"), ("2024-11", "starts later")):
            with pytest.raises(NotIssued, match=said):
                bundles.next(name)
        with pytest.raises(NotIssued, match="already been issued"):
            bundles.next("2025-01")
    assert [path.stat().st_mode & 0o777 for path in sorted(tmp_path.iterdir())] == [0o600] * 4


def test_a_correction_has_a_number_of_its_own_and_says_what_it_replaces(tmp_path: Path) -> None:
    december = issue(tmp_path, "2024-12", b"one")
    january = issue(tmp_path, "2025-01", b"two")
    with alone(tmp_path) as bundles:
        place = bundles.next("2024-12", "a figure was wrong")
        assert (place.number, place.before, place.previous_month) == (3, january, None)
        assert (place.replaces, place.why) == (december, "a figure was wrong")
        with pytest.raises(NotIssued, match="nothing to correct"):
            bundles.next("2025-02", "a figure was wrong")
    again = issue(tmp_path, "2024-12", b"three", "a figure was wrong")
    with alone(tmp_path) as bundles:
        assert (bundles.of("2024-12"), bundles.next("2025-02").before) == (again, again)
        assert bundles.next("2025-02").previous_month == january


def test_what_was_changed_or_lost_is_told(tmp_path: Path) -> None:
    december = issue(tmp_path, "2024-12", b"one")
    kept = tmp_path / "0001-2024-12.json"
    kept.write_bytes(b"One")
    with pytest.raises(NotIssued, match="changed since"):
        Bundles(tmp_path).data_of(december)
    kept.unlink()
    with pytest.raises(NotIssued, match="No such file"):
        Bundles(tmp_path).data_of(december)


@pytest.mark.parametrize(
    "text",
    ["", "{}x", '{"format":2}', '{"issued":[{"number":2,"month":"2025-01","sha256":"ab"}]}', '{"issued":7}', None],
)
def test_a_list_of_bundles_that_is_damaged_or_gone_begins_no_new_chain(tmp_path: Path, text: str | None) -> None:
    issue(tmp_path, "2024-12", b"one")
    path = tmp_path / "issued.json"
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(NotIssued, match="restore it from a backup"):
        Bundles(tmp_path)


def test_a_crash_before_the_list_names_a_bundle_leaves_the_month_to_be_issued(tmp_path: Path) -> None:
    with alone(tmp_path) as bundles:
        bundles.keep(bundles.next("2024-12"), "2024-12", b"one")
    whole = (tmp_path / "issued.json").read_bytes()
    issue(tmp_path, "2025-01", b"half")
    (tmp_path / "issued.json").write_bytes(whole)
    assert issue(tmp_path, "2025-01", b"two").number == 2
    assert (tmp_path / "0002-2025-01.json").read_bytes() == b"two"
