"""The fetch process of a node, without the process: what it keeps, and in which order it looks."""

import time
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from resolver.feed import manifest
from resolver.feed.fetch import image as source_image
from resolver.feed.manifest import ReleasesSaid
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.processes import memory_file
from resolver.feed.sandbox import Failed
from resolver.signed import statement
from tests.fakes.https import Server
from tests.unit.feed.test_state import record

KEY = Ed25519PrivateKey.generate()
NOW = 1_700_000_000
SEALED = b"s" * 300


class Folder:
    """What a compile host publishes, and a node that looks."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kept, self.root = folder / "fleet", folder / "metadata", folder / "root.pub"
        self.folder.mkdir()
        self.root.write_bytes(statement.pem_of(statement.public_of(KEY)))
        self.facts: list[Facts] = []
        self.url = self.folder.as_uri() + "/"
        self.tls = {"ca": "", "certificate": "", "key": ""}
        self.say(1)

    def say(self, sequence: int, *, fresh_until: int = NOW + 60, size: int = len(SEALED)) -> None:
        import hashlib

        said = {"sequence": sequence, "published": NOW, "fresh_until": fresh_until}
        mark = hashlib.sha256(SEALED).hexdigest()
        one = manifest.of_record(record(7), list_id="demo", image=(mark, size), said=said)
        releases = ReleasesSaid(digest_key="x", releases=(), **said)
        (self.folder / f"{mark}.image").write_bytes(SEALED)
        for name, each in (("demo", one), ("releases", releases)):
            (self.folder / f"{name}.json").write_bytes(statement.sign(manifest.to_json(each), KEY))

    def fetch(self, wanted: bool = True) -> bytes:
        """The image that comes, b"" where none is wanted."""
        handle = memory_file("image")
        request = FetchRequest(
            parent=1,
            output=handle,
            list_id="demo",
            url=self.url,
            root=str(self.root),
            target="demo",
            metadata=str(self.kept),
            **self.tls,
            max_bytes=2**20,
            memory_bytes=2**30,
            seconds=10.0,
        )

        def asked(facts: Facts) -> bool:
            self.facts.append(facts)
            return wanted

        with open(handle, "rb") as file:
            assert source_image.fetch(request, asked, lambda: float(NOW)) is wanted
            file.seek(0)
            return file.read()

    def reason(self) -> str:
        with pytest.raises(Failed) as failed:
            self.fetch()
        return failed.value.reason


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_the_image_comes_when_it_is_wanted(folder: Folder) -> None:
    assert folder.fetch() == SEALED
    assert folder.fetch(wanted=False) == b""
    made = folder.facts[0].made
    assert made is not None
    assert (made.complaint, folder.facts[0].fresh_until) == ("", NOW + 60)


def test_what_verified_is_kept_and_nothing_older_comes_after(folder: Folder) -> None:
    folder.say(5)
    folder.fetch()
    folder.say(4)
    assert folder.reason() == "rolled_back"
    folder.say(5, fresh_until=NOW + 61)
    assert folder.reason() == "serial_reused"
    folder.say(6)
    assert folder.fetch() == SEALED
    assert sorted(path.name for path in folder.kept.iterdir()) == ["demo.json", "releases.json"]


def test_a_damaged_memory_is_none(folder: Folder) -> None:
    folder.fetch()
    (folder.kept / "demo.json").write_bytes(b"{")
    assert folder.fetch() == SEALED


def test_a_stale_statement_is_told_and_taken(folder: Folder) -> None:
    folder.say(2, fresh_until=NOW - 1)
    assert folder.fetch() == SEALED
    made = folder.facts[0].made
    assert made is not None
    assert made.complaint == "frozen"


def test_a_replay_of_the_releases_alone_is_told(folder: Folder) -> None:
    old = (folder.folder / "releases.json").read_bytes()
    folder.say(2)
    folder.fetch()
    (folder.folder / "releases.json").write_bytes(old)
    assert folder.fetch() == SEALED
    made = folder.facts[-1].made
    assert made is not None
    assert made.complaint == "rolled_back"
    assert (folder.kept / "releases.json").read_bytes() != old


def test_an_endless_image_is_not_begun(folder: Folder) -> None:
    folder.say(2, size=manifest.MAX_IMAGE_BYTES + 1)
    assert folder.reason() == "oversized"


def test_a_file_that_is_no_statement(folder: Folder) -> None:
    for data, reason in ((b"", "tampered"), (b"<html>", "tampered"), (b"x" * 2_000_000, "oversized")):
        (folder.folder / "demo.json").write_bytes(data)
        assert folder.reason() == reason
    (folder.folder / "demo.json").unlink()
    assert folder.reason() == "unreachable"
    folder.root.unlink()
    assert folder.reason() == "root_unusable"
    assert time.time() > NOW


# Over https, where both sides show a certificate.


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return ca


def known(ca: trustme.CA, folder: Path) -> dict[str, str]:
    """The authority's certificate and a client's of `ca`."""
    ca.issue_cert("node.test").private_key_and_cert_chain_pem.write_to_path(str(folder / "node.pem"))
    return {"ca": str(folder / "ca.pem"), "certificate": str(folder / "node.pem"), "key": str(folder / "node.pem")}


def test_an_image_over_https_with_a_client_certificate(folder: Folder, ca: trustme.CA, tmp_path: Path) -> None:
    folder.tls = known(ca, tmp_path)
    with Server(folder.folder, ca, clients=True) as server:
        folder.url = server.url
        assert folder.fetch() == SEALED
    assert folder.facts[0].custom.serial == 7


@pytest.mark.parametrize("change", ["no certificate", "a stranger's certificate", "another ca", "another host"])
def test_an_image_of_a_side_that_is_not_known(change: str, folder: Folder, ca: trustme.CA, tmp_path: Path) -> None:
    folder.tls = known(ca, tmp_path)
    stranger = trustme.CA()
    if change == "no certificate":
        folder.tls |= {"certificate": "", "key": ""}
    elif change == "a stranger's certificate":
        stranger.issue_cert("node.test").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "node.pem"))
    elif change == "another ca":
        stranger.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with Server(folder.folder, ca, clients=True, name="other.test" if change == "another host" else "localhost") as one:
        folder.url = f"https://localhost:{one.port}"
        assert folder.reason() == "unreachable"
    assert not folder.facts


@pytest.mark.parametrize("what", ["demo.json", "image"])
def test_half_of_what_a_server_has(what: str, folder: Folder, ca: trustme.CA, tmp_path: Path) -> None:
    folder.tls = known(ca, tmp_path)
    (path,) = folder.folder.glob(f"*{what}")
    path.write_bytes(path.read_bytes()[:-20])
    with Server(folder.folder, ca, clients=True) as server:
        folder.url = server.url
        assert folder.reason() == "tampered"
