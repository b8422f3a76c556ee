"""Two officers and one list: commands as they are typed, each key on a medium of its own, a resolver that looks on."""

import asyncio
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pyrage
import pytest

from tests.fakes.authority import names
from tests.fakes.enforcer import Enforcer
from tests.journeys.processes import RESOLVER
from tests.journeys.running import ROOT

Said = subprocess.CompletedProcess[str]


def poll(resolver: Enforcer) -> None:
    """One look at the authority."""
    asyncio.run(resolver.list.poll())


@dataclass
class Authority:
    """A repository whose root and targets keys have been carried away; `media` of the first and the second officer."""

    folder: Path
    media: tuple[Path, Path]

    def run(self, verb: str, *words: object, status: int = 0) -> Said:
        """One command line."""
        done = subprocess.run(
            [sys.executable, *RESOLVER, "authority", verb, str(self.folder), *map(str, words)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert len((done.stdout + done.stderr).splitlines()) == 1
        return done

    def publish(self, data: bytes, serial: int, *words: object) -> Path:
        """The first officer's command, and the list as it is handed to the second."""
        path = self.folder.parent / f"{serial}.list"
        path.write_bytes(data)
        said = self.run("publish", "--id", "demo", "--list", path, "--serial", serial, *words)
        assert "pending, 2 more signatures needed" in said.stdout
        return path

    def sign(self, officer: int, role: str = "targets", *words: object, status: int = 0) -> Said:
        return self.run("sign", "--key", self.media[officer] / f"{role}.pem", *words, status=status)

    def both(self, role: str = "targets") -> None:
        assert "pending, 1 more" in self.sign(0, role).stdout
        assert ": published" in self.sign(1, role).stdout

    def served(self) -> dict[str, bytes]:
        """What a web server would hand out."""
        folders = [self.folder / name for name in ("metadata", "targets")]
        return {path.name: path.read_bytes() for folder in folders for path in folder.iterdir()}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    media = (tmp_path / "officer1", tmp_path / "officer2")
    authority = Authority(tmp_path / "authority", media)
    authority.run("init", "--threshold", 2, "--keys", 2)
    for number, medium in enumerate(media, 1):
        medium.mkdir(mode=0o700)
        for role in ("root", "targets"):
            (authority.folder / f"keys/{role}-{number}.pem").rename(medium / f"{role}.pem")
    shutil.copy(authority.folder / "root.json", tmp_path / "pinned.json")
    return authority


def resolver_of(authority: Authority, name: str = "", source: str = "") -> Enforcer:
    """A resolver that pins the first root."""
    parent = authority.folder.parent
    served = SimpleNamespace(url=authority.folder.as_uri(), pinned=parent / "pinned.json")
    resolver = Enforcer(served, parent / f"state{name}", of_source=source)  # type: ignore[arg-type]  # the two that count
    resolver.feed.recover()
    return resolver


@pytest.fixture
def isps(authority: Authority) -> dict[str, tuple[str, Enforcer]]:
    """Recipients: name to public key and resolver."""
    found = {}
    for name in ("isp-a", "isp-b"):
        key = pyrage.x25519.Identity.generate()
        path = authority.folder.parent / f"{name}.txt"
        path.touch(mode=0o600)
        path.write_text(f"# {name}\n{key}\n")
        source = f'target = "demo-{name}"\nidentity = "{path}"'
        found[name] = str(key.to_public()), resolver_of(authority, name, source)
    return found


def test_nothing_is_to_be_seen_until_the_second_officer_has_signed(authority: Authority) -> None:
    resolver = resolver_of(authority)
    before = authority.served()
    path = authority.publish(names(20), 7)
    for path_of in (authority.folder / "staged", *(authority.folder / "staged").iterdir()):
        assert path_of.stat().st_mode & 0o077 == 0
    assert "demo: serial 7, SHA-256 " in authority.sign(0, "targets", "--list", path).stdout
    # The same person twice is one person; the wrong key, and one for another purpose, is none.
    assert "pending, 1 more" in authority.sign(0).stdout
    assert "not one of the keys" in authority.sign(1, "root", status=3).stderr
    assert authority.served() == before
    poll(resolver)
    assert (resolver.enforced, resolver.failures) == ("no list", {"unknown_target": 1})
    # The second one looks at what they were handed before they sign it.
    other = authority.folder.parent / "other.list"
    other.write_bytes(names(21))
    assert "not the list of --list" in authority.sign(1, "targets", "--list", other, status=3).stderr
    authority.sign(1, "targets", "--list", path)
    poll(resolver)
    assert resolver.enforced == 7
    assert not list((authority.folder / "staged").iterdir())


def test_what_the_first_signed_is_not_replaced_behind_their_back(authority: Authority) -> None:
    authority.publish(names(20), 7)
    authority.sign(0)
    # Published anew it is another list, which the first has not signed yet.
    authority.publish(names(22), 7)
    assert "pending, 1 more" in authority.sign(1).stdout
    (authority.folder / "staged/list.demo").write_bytes(names(21))
    assert "not the one that was signed" in authority.sign(0, status=3).stderr
    assert not list((authority.folder / "targets").iterdir())


def test_copies_for_each_isp_are_one_thing_to_sign(
    authority: Authority, isps: dict[str, tuple[str, Enforcer]]
) -> None:
    words = [word for name, (public, _) in isps.items() for word in ("--recipient", f"{name}={public}")]
    path = authority.publish(names(20), 7, *words)
    authority.sign(0, "targets", "--list", path)
    authority.sign(1, "targets", "--list", path)
    assert not any(b"name1" in data for data in authority.served().values())
    for _, resolver in isps.values():
        poll(resolver)
        assert (resolver.enforced, resolver.failures) == (7, {})
        assert resolver.blocks("name0.test")
    # Encrypted anew under the same serial it is a renewal, not another list.
    authority.publish(names(20), 7, *words)
    authority.both()
    _, resolver = isps["isp-a"]
    record = resolver.list.state.in_force
    poll(resolver)
    assert resolver.list.state.in_force.digest == record.digest
    assert (resolver.failures, resolver.list.state.previous) == ({}, None)


def test_an_end_takes_both_officers_too(authority: Authority) -> None:
    resolver = resolver_of(authority)
    authority.publish(names(20), 7)
    authority.both()
    poll(resolver)
    said = authority.run("withdraw", "--id", "demo", "--serial", 8)
    assert "pending, 2 more" in said.stdout
    poll(resolver)
    assert resolver.list.state.held is None
    assert "demo: serial 8, withdrawn, SHA-256" in authority.sign(0).stdout
    authority.sign(1)
    poll(resolver)
    assert resolver.list.state.held.reasons == ("withdrawn",)


def test_one_stolen_key_is_replaced_by_both_root_keys(authority: Authority) -> None:
    resolver = resolver_of(authority)
    authority.publish(names(20), 7)
    authority.both()
    poll(resolver)
    stolen = authority.folder.parent / "stolen.pem"
    shutil.copy(authority.media[0] / "targets.pem", stolen)
    # The thief alone reaches nobody.
    authority.publish(names(20, "thief"), 999_999)
    authority.run("sign", "--key", stolen)
    poll(resolver)
    assert (resolver.enforced, resolver.failures) == (7, {})
    assert "pending, 2 more" in authority.run("rotate", "--role", "targets").stdout
    assert "root version 2" in authority.sign(0, "root").stdout
    authority.sign(1, "root")
    assert "nothing waits" in authority.run("sign", "--key", stolen, status=1).stderr
    poll(resolver)
    assert (resolver.enforced, resolver.failures) == (7, {})


def test_both_keys_stolen_and_the_honest_list_comes_back(
    authority: Authority, isps: dict[str, tuple[str, Enforcer]], tmp_path: Path
) -> None:
    public, resolver = isps["isp-a"]
    copies = ("--recipient", f"isp-a={public}")
    authority.publish(names(20), 7, *copies)
    authority.both()
    poll(resolver)
    assert resolver.enforced == 7
    stolen = [shutil.copy(medium / "targets.pem", tmp_path / f"{medium.name}.pem") for medium in authority.media]
    authority.publish(names(21, "thief"), 999_999, *copies)
    for key in stolen:
        authority.run("sign", "--key", key)
    poll(resolver)
    assert resolver.enforced == 999_999
    assert resolver.blocks("thief0.test")
    # The root keys were not with them: a new root, no list of the thief's, then the honest one.
    for role in ("targets", "snapshot", "timestamp"):
        words = ("--drop-lists",) if role == "targets" else ()
        assert "pending, 2 more" in authority.run("rotate", "--role", role, *words).stdout
        authority.both("root")
    for number, medium in enumerate(authority.media, 1):
        shutil.move(authority.folder / f"keys/targets-{number}.pem", medium / "targets.pem")
    poll(resolver)
    assert resolver.enforced == 999_999
    authority.publish(names(22), 8, *copies)
    assert "not one of the keys" in authority.run("sign", "--key", stolen[0], status=3).stderr
    authority.both()
    poll(resolver)
    assert resolver.enforced == 8
    assert resolver.blocks("name0.test")
    assert not resolver.blocks("thief0.test")
    resolver.restarted()
    assert resolver.enforced == 8
