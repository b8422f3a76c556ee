"""What is served: versions that no restore repeats, hashes, and how little stays."""

import hashlib
import shutil
from pathlib import Path

import pytest

from resolver.authority import publish, serve
from resolver.authority.publish import Issue
from resolver.authority.repository import Repository

NOW = 1_800_000_000.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publish.init(tmp_path / "authority", threshold=1, keys=1, now=NOW)
    return tmp_path / "authority"


def published(folder: Path, serial: int, now: float) -> None:
    data = f"n{serial}.test\n".encode()
    assert publish.publish(folder, Issue(list_id="demo", data=data, serial=serial), now=now).published


def versions(folder: Path) -> tuple[int, int, int]:
    repository = Repository(folder)
    found = (repository.current_targets(), repository.snapshot(), repository.timestamp())
    targets, snapshot, timestamp = (one.signed.version for one in found)
    return targets, snapshot, timestamp


def test_versions_are_the_time_and_always_go_up(folder: Path) -> None:
    assert versions(folder) == (NOW, NOW, NOW)
    published(folder, 1, NOW + 60)
    assert versions(folder) == (NOW + 60,) * 3
    published(folder, 2, NOW + 60)
    assert versions(folder) == (NOW + 61,) * 3
    publish.refresh(folder, now=NOW + 3600)
    assert versions(folder) == (NOW + 61, NOW + 3600, NOW + 3600)


def test_a_restored_repository_does_not_use_a_version_again(folder: Path, tmp_path: Path) -> None:
    published(folder, 2, NOW + 60)
    shutil.copytree(folder, tmp_path / "backup")
    published(folder, 3, NOW + 120)
    used = versions(folder)
    shutil.rmtree(folder)
    (tmp_path / "backup").rename(folder)
    published(folder, 4, NOW + 180)
    assert all(new > old for new, old in zip(versions(folder), used, strict=True))


def test_a_restore_over_newer_files_goes_above_them(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "backup")
    for serial in range(1, 4):
        published(folder, serial, NOW)
    targets, snapshot, _ = versions(folder)
    shutil.copytree(tmp_path / "backup", folder, dirs_exist_ok=True)
    published(folder, 4, NOW)
    assert versions(folder)[0] > targets
    assert versions(folder)[1] > snapshot


def test_length_and_hash_of_what_is_below_are_signed(folder: Path) -> None:
    published(folder, 1, NOW)
    targets, snapshot, _ = versions(folder)
    repository = Repository(folder)
    for meta, name in (
        (repository.timestamp().signed.snapshot_meta, f"{snapshot}.snapshot.json"),
        (repository.snapshot().signed.meta["targets.json"], f"{targets}.targets.json"),
    ):
        data = (folder / "metadata" / name).read_bytes()
        assert (meta.length, meta.hashes) == (len(data), {"sha256": hashlib.sha256(data).hexdigest()})


def test_metadata_does_not_grow_with_every_change(folder: Path) -> None:
    for serial in range(1, 13):
        published(folder, serial, NOW + serial)
        publish.refresh(folder, now=NOW + serial)
    kinds = {kind: len(list((folder / "metadata").glob(f"*{kind}.json"))) for kind in ("root", "snapshot", "targets")}
    assert kinds == {"root": 1, "snapshot": serve.KEPT_VERSIONS, "targets": serve.KEPT_VERSIONS}
    assert len(list((folder / "targets").iterdir())) == 2
    # Every list that was ever signed can still be proved.
    assert len(Repository(folder).all_targets()) == 13
    assert [path.name for path in Repository(folder).all_targets()[:2]] == [
        f"{NOW + 12:.0f}.targets.json",
        f"{NOW + 11:.0f}.targets.json",
    ]


def test_a_root_is_never_put_away(folder: Path) -> None:
    for turn in range(12):
        publish.rotate(folder, role="timestamp", now=NOW + turn)
    assert len(list((folder / "metadata").glob("*.root.json"))) == 13
