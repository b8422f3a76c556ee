"""A known version comes with other content: an authority was restored from a backup, or signs on two machines."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tuf.api.metadata import MetaFile

from resolver.feed.fetch import tuf as source_tuf
from resolver.feed.fetch import tuf_known
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.sandbox import Failed
from tests.fakes.authority import Authority, asked_for, names


class Hashing(Authority):
    """An authority that states length and hash of snapshot and targets, as ours does."""

    def serve_snapshot(self) -> None:
        data = (self.folder / f"metadata/{self.targets.signed.version}.targets.json").read_bytes()
        self.snapshot.signed.version += 1
        self.snapshot.signed.meta["targets.json"] = MetaFile.from_data(
            self.targets.signed.version, data, ["sha256"]
        )
        self.write_signed(self.snapshot, "snapshot")
        self.serve_timestamp()

    def serve_timestamp(self, *, expires_in: float = 2 * 86400) -> None:
        path = self.folder / f"metadata/{self.snapshot.signed.version}.snapshot.json"
        self.timestamp.signed.version += 1
        self.timestamp.signed.snapshot_meta = MetaFile.from_data(
            self.snapshot.signed.version, path.read_bytes(), ["sha256"]
        )
        self.write_signed(self.timestamp, "timestamp")


@pytest.fixture(params=[Authority, Hashing])
def authority(request: pytest.FixtureRequest, tmp_path: Path) -> Authority:
    authority: Authority = request.param(tmp_path / "authority")
    authority.publish(names(20), 2)
    return authority


@pytest.fixture
def asked(authority: Authority, tmp_path: Path) -> Iterator[FetchRequest]:
    with asked_for(authority, tmp_path / "metadata") as one:
        yield one


def serial(asked: FetchRequest) -> int | str:
    """The serial that a resolver gets, or the reason why it gets none."""
    told: list[Facts] = []
    try:
        source_tuf.fetch(asked, lambda facts: bool(told.append(facts)))
    except Failed as failed:
        return failed.reason.value
    return told[0].custom.serial


def back(authority: Authority, *, targets: int = 0, snapshot: int = 0, timestamp: int = 0) -> None:
    """The versions go back by so many, as those of a repository that was restored."""
    authority.targets.signed.version -= targets
    authority.snapshot.signed.version -= snapshot
    authority.timestamp.signed.version -= timestamp


def test_an_authority_restored_from_a_backup_is_told(authority: Authority, asked: FetchRequest) -> None:
    """Serial 2, a copy, serial 3, the copy put back, serial 4: every version comes twice."""
    authority.publish(names(21), 3)
    assert serial(asked) == 3
    back(authority, targets=1, snapshot=1, timestamp=1)
    authority.publish(names(22), 4)
    for _ in range(3):
        assert serial(asked) == "mixed"
    assert serial(replace(asked, metadata=asked.metadata + "2")) == 4, "a fresh host"
    authority.publish(names(23), 5)
    assert serial(asked) == 5


def test_after_a_refresh_the_snapshot_alone_comes_twice(authority: Authority, asked: FetchRequest) -> None:
    authority.publish(names(21), 3)
    assert serial(asked) == 3
    back(authority, targets=1, snapshot=1, timestamp=1)
    authority.publish(names(22), 4)
    authority.serve_timestamp()
    for _ in range(3):
        assert serial(asked) == "mixed"


def test_after_two_refreshes_targets_alone_come_twice(authority: Authority, asked: FetchRequest) -> None:
    """The hash tells the client that its targets are not these: it reads them, and old and new hosts agree."""
    authority.publish(names(21), 3)
    assert serial(asked) == 3
    back(authority, targets=1, snapshot=1, timestamp=1)
    authority.publish(names(22), 4)
    authority.serve_snapshot()
    for _ in range(3):
        assert serial(asked) == (4 if isinstance(authority, Hashing) else "mixed")


def test_the_same_content_in_other_octets_is_nothing_new(authority: Authority, asked: FetchRequest) -> None:
    assert serial(asked) == 2
    path = authority.folder / "metadata/timestamp.json"
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    assert serial(asked) == 2


def test_a_longer_file_than_was_signed_is_not_called_too_large(tmp_path: Path, asked: FetchRequest) -> None:
    authority = Hashing(tmp_path / "hashing")
    authority.publish(names(20), 2)
    path = authority.folder / f"metadata/{authority.snapshot.signed.version}.snapshot.json"
    path.write_bytes(path.read_bytes() + b" " * 100)
    here = replace(asked, url=authority.url, root=str(authority.pinned), metadata=str(tmp_path / "other"))
    assert serial(here) == "tampered"


def test_what_is_kept_is_read_again_only_where_no_hash_is_stated(
    authority: Authority, asked: FetchRequest
) -> None:
    assert serial(asked) == 2
    read: list[str] = []

    def noted(name: str, most: int) -> bytes:
        read.append(name)
        return (authority.folder / "metadata" / name).read_bytes()

    timestamp = (authority.folder / "metadata/timestamp.json").read_bytes()
    assert not tuf_known.is_mixed(Path(asked.metadata), timestamp, noted)
    assert len(read) == (0 if isinstance(authority, Hashing) else 2)
