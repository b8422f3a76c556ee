"""The folder an authority signs in."""

from pathlib import Path

import pytest

from resolver.authority import publish
from resolver.authority.repository import AuthorityError, Repository, read_key


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path)
    repository.make_folders()
    return repository


def test_keys_are_for_their_owner_alone_and_old_ones_are_kept_apart(repository: Repository) -> None:
    first = repository.make_keys("targets", 2)
    second = repository.make_keys("targets", 2)
    assert repository.keys.stat().st_mode & 0o777 == 0o700
    found = {path: read_key(path).public_key.keyid for path in repository.keys.rglob("*.pem")}
    assert set(found.values()) == {signer.public_key.keyid for signer in first + second}
    assert {path.parent.name for path, keyid in found.items() if keyid in [s.public_key.keyid for s in first]} == {
        "retired"
    }
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in found)


def test_what_waits_is_for_its_owner_alone(repository: Repository) -> None:
    repository.stage("list", b"a.test")
    assert (repository.staged / "list").stat().st_mode & 0o777 == 0o600
    repository.unstage("list", "not there")
    assert not list(repository.staged.iterdir())


@pytest.mark.parametrize("data", [b"", b"-----BEGIN PRIVATE KEY-----\nsecret\n"])
def test_a_file_that_is_no_key_is_told_without_its_content(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_bytes(data)
    with pytest.raises(AuthorityError, match="not an unencrypted private key") as error:
        read_key(tmp_path / "x.pem")
    assert "secret" not in str(error.value)


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AuthorityError, match="No such file"):
        read_key(tmp_path / "x.pem")


def test_a_folder_without_a_repository(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    assert not repository.exists()
    with pytest.raises(AuthorityError, match="authority init"):
        repository.root()
    with pytest.raises(AuthorityError, match="authority init"), Repository(tmp_path / "none").alone():
        pass


def test_damaged_metadata_is_told_by_its_path(repository: Repository) -> None:
    (repository.metadata / "1.root.json").write_bytes(b"{")
    with pytest.raises(AuthorityError, match=r"1\.root\.json: missing or damaged"):
        repository.root()


def test_what_is_served_is_what_the_timestamp_leads_to(tmp_path: Path) -> None:
    publish.init(tmp_path, threshold=1, keys=2, now=1_700_000_000.0)
    repository = Repository(tmp_path)
    assert repository.exists()
    targets = repository.current_targets()
    assert repository.snapshot().signed.meta["targets.json"].version == targets.signed.version
    assert repository.timestamp().signed.snapshot_meta.version == repository.snapshot().signed.version
    root = repository.root().signed
    assert len(repository.signers(root, "targets")) == 2
    targets.signed.version += 1
    repository.write_metadata(targets)
    assert repository.current_targets().signed.version == targets.signed.version - 1, "no timestamp leads to it"
    (repository.metadata / "timestamp.json").write_bytes(targets.to_bytes())
    with pytest.raises(AuthorityError, match=r"timestamp\.json: not of type timestamp"):
        repository.timestamp()


def test_what_waits_is_found_by_its_target_and_removed_together(repository: Repository) -> None:
    assert repository.staged_metadata("targets.json") is None
    for name in ("list.demo", "list.demo-anna", "other"):
        repository.stage(name, b"a.test")
    assert list(repository.staged_lists()) == ["demo", "demo-anna"]
    repository.unstage_lists()
    assert [path.name for path in repository.staged.iterdir()] == ["other"]
