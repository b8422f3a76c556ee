"""What is kept: keys and records for the owner alone, older keys removed, damage refused."""

from pathlib import Path

import msgspec
import pytest

from resolver.count.national import kept
from resolver.count.national.forms import Refused
from resolver.count.national.join import public_of
from resolver.count.national.kept import Record, alone
from resolver.count.national.submission import Figure

RECORD = Record(
    at=7,
    month="2027-01",
    round=1,
    roster="ab" * 32,
    submission="text\n",
    figures=(Figure(list="court", figure=1, noise=2, salt="cd" * 32),),
)


def test_a_record_is_read_back_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    with alone(tmp_path / "national") as mine:
        assert mine.records() == ()
        mine.keep(RECORD)
        assert mine.records() == (RECORD,)
    assert (RECORD.lists, len(RECORD.sha256)) == ({"court"}, 64)
    assert (tmp_path / "national").stat().st_mode & 0o777 == 0o700
    files = sorted((tmp_path / "national").iterdir())
    assert [one.name for one in files] == [".lock", f"2027-01-1-{RECORD.roster}.json"]
    assert {one.stat().st_mode & 0o777 for one in files} == {0o600}


def test_two_rosters_whose_digests_begin_alike_have_a_record_each(tmp_path: Path) -> None:
    """Else a roster that is made to fit would wipe out what the host knows of an earlier submission."""
    other = msgspec.structs.replace(RECORD, roster="ab" * 31 + "00")
    with alone(tmp_path) as mine:
        mine.keep(RECORD)
        mine.keep(other)
        assert {one.roster for one in mine.records()} == {RECORD.roster, other.roster}


def test_the_key_of_the_noise_is_made_once(tmp_path: Path) -> None:
    with alone(tmp_path) as mine:
        assert mine.noise_key(lambda count: b"\x01" * count) == b"\x01" * 32
        assert mine.noise_key(lambda count: b"\x02" * count) == b"\x01" * 32
    assert (tmp_path / "noise.json").stat().st_mode & 0o777 == 0o600


def test_keys_older_than_the_one_used_are_removed(tmp_path: Path) -> None:
    with alone(tmp_path) as mine:
        assert mine.newest_key() is None
        publics = [public_of(mine.new_key(at)).hex() for at in (1, 2, 3)]
        newest = mine.newest_key()
        assert newest is not None
        assert public_of(newest).hex() == publics[2]
        assert mine.newest_key(0) is None
        until = [mine.newest_key(at) for at in (1, 2, 2.5, 3)]
        assert [public_of(one).hex() for one in until if one is not None] == [publics[at] for at in (0, 1, 1, 2)]
        mine.drop_older(publics[2], 2 + kept.SPARE_S - 1)
        assert [mine.key_of(one) is not None for one in publics] == [True, True, True]
        mine.drop_older(publics[2], 2 + kept.SPARE_S)
        assert [mine.key_of(one) is not None for one in publics] == [False, True, True]
        mine.drop_older(publics[1], 99 * kept.SPARE_S)
        assert mine.key_of(publics[1]) is not None
    assert (tmp_path / "agreement.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["agreement.json", "2027-01-1-00.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"format":1')
    with alone(tmp_path) as mine:
        read = mine.newest_key if name == "agreement.json" else mine.records
        with pytest.raises(Refused, match=f"{name}: damaged or of another release"):
            read()


def test_partial_files_of_a_crash_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".2027-01.json.x.part").write_text("half")
    with kept.alone(tmp_path) as mine:
        assert mine.records() == ()
    assert not list(tmp_path.glob("*.part"))
