"""The fetch process from inside: what it reads, over which ways, and what it makes of errors."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from msgspec.structs import replace
from tuf.api import exceptions as tuf

from resolver.feed import processes, source_tuf
from resolver.feed.confine import Failed
from resolver.feed.messages import Facts, FetchRequest, Reason
from resolver.feed.transport import Access, Transport
from tests.fakes.authority import Authority, names
from tests.fakes.https import Server


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "authority")
    authority.publish(names(20), 7)
    return authority


@pytest.fixture
def request_of(authority: Authority, tmp_path: Path) -> Iterator[FetchRequest]:
    output = processes.memory_file("list")
    yield FetchRequest(
        list_id="demo",
        parent=os.getpid(),
        output=output,
        url=authority.url,
        root=str(authority.pinned),
        target="demo",
        metadata=str(tmp_path / "metadata"),
        ca="",
        certificate="",
        key="",
        max_bytes=10_000,
        memory_bytes=2**31,
        seconds=20.0,
    )
    os.close(output)


def yes(facts: Facts) -> bool:
    return True


def read(request: FetchRequest) -> bytes:
    return os.pread(request.output, 10_000, 0)


def failing(request: FetchRequest) -> str:
    with pytest.raises(Failed) as error:
        source_tuf.fetch(request, yes)
    assert read(request) == b""
    return error.value.reason


def test_facts_and_bytes_of_a_list(request_of: FetchRequest) -> None:
    told: list[Facts] = []
    assert source_tuf.fetch(request_of, lambda facts: not told.append(facts))
    assert read(request_of) == names(20)
    assert (told[0].custom.serial, told[0].length, told[0].root_version) == (7, len(names(20)), 1)


def test_a_list_that_is_not_wanted_is_not_read(request_of: FetchRequest, authority: Authority) -> None:
    for path in (authority.folder / "targets").iterdir():
        path.unlink()
    assert not source_tuf.fetch(request_of, lambda facts: False)


def test_the_set_of_targets_keys_is_told_apart(request_of: FetchRequest, authority: Authority) -> None:
    told: list[Facts] = []
    for roles in ((), ("snapshot", "root"), ("targets",)):
        if roles:
            authority.rotate(*roles)
        source_tuf.fetch(request_of, lambda facts: bool(told.append(facts)))
    assert told[0].targets_keys == told[1].targets_keys != told[2].targets_keys


def test_nothing_of_a_list_is_written_to_a_disk(
    request_of: FetchRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    source_tuf.fetch(request_of, yes)
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and "authority" not in path.parts]
    assert sorted({path.name for path in kept}) == [
        "1.root.json",
        "root.json",
        "snapshot.json",
        "targets.json",
        "timestamp.json",
    ]
    assert not any(b"name1" in path.read_bytes() for path in kept)


def test_a_delegated_list_is_not_looked_for(request_of: FetchRequest) -> None:
    assert failing(replace(request_of, target="other")) == "unknown_target"
    assert source_tuf.updater_of(request_of, source_tuf.Fetcher(request_of)).config.max_delegations == 0


@pytest.mark.parametrize("data", [b"", b"{}", b"name0.test"])
def test_a_pinned_root_that_is_none(data: bytes, request_of: FetchRequest, authority: Authority) -> None:
    authority.pinned.write_bytes(data)
    assert failing(request_of) == "root_unusable"


def test_metadata_that_cannot_be_kept(request_of: FetchRequest) -> None:
    assert failing(replace(request_of, metadata="/dev/null/metadata")) == "state_not_written"


def test_a_list_larger_than_allowed_is_not_begun(request_of: FetchRequest) -> None:
    assert failing(replace(request_of, max_bytes=len(names(20)) - 1)) == "oversized"


def test_a_target_that_is_no_file_does_not_hang(request_of: FetchRequest, authority: Authority) -> None:
    for path in (authority.folder / "targets").iterdir():
        path.unlink()
        os.mkfifo(path)
    assert failing(request_of) == "unreachable"


def test_time_ends_a_download(request_of: FetchRequest) -> None:
    ticks = iter([0.0, 20.0, 20.1])
    fetcher = source_tuf.Fetcher(Transport(Access(), 20.0, clock=lambda: next(ticks)))
    url = request_of.url + "/metadata/timestamp.json"
    assert fetcher.download_bytes(url, 10_000)
    with pytest.raises(tuf.SlowRetrievalError):
        fetcher.download_bytes(url, 10_000)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (tuf.DownloadLengthMismatchError("x"), Reason.OVERSIZED),
        (tuf.SlowRetrievalError("x"), Reason.UNREACHABLE),
        (tuf.DownloadHTTPError("x", 500), Reason.UNREACHABLE),
        (tuf.ExpiredMetadataError("timestamp.json is expired"), Reason.FROZEN),
        (tuf.ExpiredMetadataError("snapshot.json is expired"), Reason.FROZEN),
        (tuf.ExpiredMetadataError("Final root.json is expired"), Reason.EXPIRED),
        (tuf.ExpiredMetadataError("New targets is expired"), Reason.EXPIRED),
        (tuf.UnsignedMetadataError("targets was signed by 1/2 keys"), Reason.TOO_FEW_SIGNATURES),
        (tuf.UnsignedMetadataError("targets was signed by 0/2 keys"), Reason.TAMPERED),
        (tuf.BadVersionNumberError("New timestamp version 1 must be >= 2"), Reason.ROLLED_BACK),
        (tuf.BadVersionNumberError("Expected targets.json version 1, got 2."), Reason.ROLLED_BACK),
        (tuf.BadVersionNumberError("Expected targets v2, got v1."), Reason.MIXED),
        (tuf.BadVersionNumberError("Expected snapshot version 2, got 1"), Reason.MIXED),
        (tuf.LengthOrHashMismatchError("x"), Reason.TAMPERED),
        (tuf.RepositoryError("x"), Reason.MALFORMED),
        (OSError(28, "x"), Reason.STATE_NOT_WRITTEN),
        (KeyError("x"), Reason.INTERNAL),
    ],
)
def test_every_error_has_its_reason(error: Exception, reason: Reason) -> None:
    assert source_tuf.reason_of(error) is reason


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return ca


def test_a_list_over_https(
    request_of: FetchRequest, authority: Authority, ca: trustme.CA, tmp_path: Path
) -> None:
    with Server(authority.folder, ca) as server:
        assert source_tuf.fetch(replace(request_of, url=server.url, ca=str(tmp_path / "ca.pem")), yes)
    assert read(request_of) == names(20)


def test_a_client_shows_its_certificate(
    request_of: FetchRequest, authority: Authority, ca: trustme.CA, tmp_path: Path
) -> None:
    pem = tmp_path / "client.pem"
    ca.issue_cert("client.test").private_key_and_cert_chain_pem.write_to_path(str(pem))
    with Server(authority.folder, ca, clients=True) as server:
        without = replace(request_of, url=server.url, ca=str(tmp_path / "ca.pem"))
        assert failing(without) == "unreachable"
        assert source_tuf.fetch(replace(without, certificate=str(pem), key=str(pem)), yes)


def test_a_server_that_is_not_verified_is_not_reached(
    request_of: FetchRequest, authority: Authority, ca: trustme.CA, tmp_path: Path
) -> None:
    with Server(authority.folder, ca) as server:
        assert failing(replace(request_of, url=server.url)) == "unreachable"
    with Server(authority.folder, ca, name="other.test") as server:
        elsewhere = f"https://localhost:{server.port}"
        assert failing(replace(request_of, url=elsewhere, ca=str(tmp_path / "ca.pem"))) == "unreachable"


def test_a_server_that_is_not_there(request_of: FetchRequest) -> None:
    assert failing(replace(request_of, url="https://127.0.0.1:1")) == "unreachable"
