"""The fetch process from inside: what it reads, over which ways, and what it makes of errors."""

import hashlib
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest
import trustme
from msgspec.structs import replace
from tuf.api import exceptions as tuf

from resolver.feed.fetch import tuf as source_tuf
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed
from resolver.feed.transport import Access, Transport
from tests.fakes.authority import DAY, Authority, asked_for, names
from tests.fakes.https import Server


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "authority")
    authority.publish(names(20), 7)
    return authority


@pytest.fixture
def request_of(authority: Authority, tmp_path: Path) -> Iterator[FetchRequest]:
    with asked_for(authority, tmp_path / "metadata") as one:
        yield one


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
    assert failing(request_of) == "unreadable"


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


@pytest.fixture
def sealed(request_of: FetchRequest, authority: Authority, tmp_path: Path) -> FetchRequest:
    """A request for a list that is encrypted to its identity."""
    key = pyrage.x25519.Identity.generate()
    path = tmp_path / "identity.txt"
    path.touch(mode=0o600)
    path.write_text(str(key))
    authority.publish_encrypted(names(20), 8, str(key.to_public()))
    return replace(request_of, identity=str(path))


def test_an_encrypted_list_is_told_by_its_clear_text(sealed: FetchRequest) -> None:
    told: list[Facts] = []
    assert source_tuf.fetch(sealed, lambda facts: not told.append(facts))
    assert read(sealed) == names(20)
    assert told[0].digest == hashlib.sha256(names(20)).hexdigest() == told[0].custom.plain


def test_an_encrypted_list_is_nowhere_in_clear(sealed: FetchRequest, tmp_path: Path) -> None:
    for path in (tmp_path / "authority/targets").iterdir():
        if b"name1" in path.read_bytes():
            path.unlink()  # the list before, which was published in clear
    assert source_tuf.fetch(sealed, yes)
    assert not any(b"name1" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_an_encrypted_list_without_what_opens_it(sealed: FetchRequest, tmp_path: Path) -> None:
    assert failing(replace(sealed, identity="")) == "identity_unusable"
    assert failing(replace(sealed, identity=str(tmp_path / "none"))) == "identity_unusable"
    Path(sealed.identity).chmod(0o644)
    assert failing(sealed) == "identity_unusable"
    Path(sealed.identity).chmod(0o600)
    Path(sealed.identity).write_text(str(pyrage.x25519.Identity.generate()))
    assert failing(sealed) == "tampered"


def test_a_list_in_clear_is_never_taken_where_an_identity_is_set(sealed: FetchRequest, authority: Authority) -> None:
    authority.publish(names(20), 9)
    assert failing(sealed) == "not_encrypted"
    authority.publish(b"# withdrawn\n", 10, withdrawn=True)
    assert not source_tuf.fetch(sealed, lambda facts: not facts.custom.withdrawn)


def test_a_clear_text_that_is_not_the_one_signed(sealed: FetchRequest, authority: Authority) -> None:
    public = str(pyrage.x25519.Identity.from_str(Path(sealed.identity).read_text()).to_public())
    authority.publish_encrypted(names(21), 9, public, plain=names(20))
    assert failing(sealed) == "tampered"


def test_bounds_hold_for_the_clear_text(sealed: FetchRequest) -> None:
    assert failing(replace(sealed, max_bytes=len(names(20)) - 1)) == "oversized"
    assert source_tuf.fetch(replace(sealed, max_bytes=len(names(20))), yes)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_a_host_without_a_list_takes_what_is_no_longer_fresh(
    role: str, request_of: FetchRequest, authority: Authority
) -> None:
    getattr(authority, role).signed.expires = datetime(2026, 1, 1, tzinfo=UTC)
    authority.serve() if role == "targets" else authority.serve_snapshot()
    if role == "timestamp":
        authority.serve_timestamp(expires_in=-DAY)
    assert failing(request_of) == ("expired" if role == "targets" else "frozen")
    told: list[Facts] = []
    assert source_tuf.fetch(replace(request_of, stale=True), lambda facts: not told.append(facts))
    assert told[0].fresh_until < time.time()
    # And it has to be told so each time: what was kept of it is no excuse for anybody else.
    assert failing_after(request_of) == ("expired" if role == "targets" else "frozen")


def failing_after(request: FetchRequest) -> str:
    """The reason of a fetch whose output holds an earlier list."""
    with pytest.raises(Failed) as error:
        source_tuf.fetch(request, yes)
    return error.value.reason


def test_a_root_that_has_ended_is_never_passed_over(request_of: FetchRequest, authority: Authority) -> None:
    authority.root.signed.version += 1
    authority.root.signed.expires = datetime(2026, 1, 1, tzinfo=UTC)
    authority.serve_root()
    authority.serve_timestamp(expires_in=-DAY)
    assert failing(replace(request_of, stale=True)) == "expired"


def test_everything_else_has_to_verify_of_what_is_no_longer_fresh(
    request_of: FetchRequest, authority: Authority
) -> None:
    authority.serve_timestamp(expires_in=-DAY)
    authority.tamper("snapshot")
    assert failing(replace(request_of, stale=True)) in ("tampered", "malformed")
