"""An authority's machine is restored from a backup, or a second one signs: the next list is in force, or somebody is
told, and every host of an operator says the same. Real processes fetch and compile."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from tuf.api.metadata import MetaFile

from resolver.authority import publish, serve
from resolver.authority.publish import Issue
from resolver.authority.repository import Repository
from tests.fakes.authority import names
from tests.fakes.enforcer import Enforcer

pytestmark = pytest.mark.processes


@dataclass
class Machine:
    """A signing machine; its clock is an hour behind, and goes on by a minute with every command."""

    folder: Path
    now: float = field(default_factory=lambda: time.time() - 3600)

    def _now(self) -> float:
        self.now += 60
        return self.now

    def init(self) -> None:
        publish.init(self.folder, threshold=1, keys=1, now=self._now())
        shutil.copy(self.folder / "root.json", self.folder.parent / "pinned.json")

    def publish(self, serial: int) -> None:
        issue = Issue(list_id="demo", data=names(20 + serial), serial=serial)
        assert publish.publish(self.folder, issue, now=self._now()).published

    def refresh(self) -> None:
        publish.refresh(self.folder, now=self._now())

    def backup(self) -> Path:
        copy = self.folder.parent / "backup"
        shutil.copytree(self.folder, copy)
        return copy

    def restore(self, copy: Path) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(copy, self.folder)

    def resolver(self, name: str) -> Enforcer:
        """A host that pins the first root."""
        parent = self.folder.parent
        served = SimpleNamespace(url=self.folder.as_uri(), pinned=parent / "pinned.json")
        resolver = Enforcer(served, parent / name)  # type: ignore[arg-type]  # the two that count
        resolver.feed.recover()
        return resolver


def poll(resolver: Enforcer) -> int | str:
    asyncio.run(resolver.list.poll())
    return resolver.enforced


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "authority")
    machine.init()
    machine.publish(2)
    return machine


def test_a_restored_authority_publishes_and_the_list_is_in_force(machine: Machine) -> None:
    host = machine.resolver("old")
    copy = machine.backup()
    machine.publish(3)
    assert poll(host) == 3
    machine.restore(copy)
    machine.publish(4)
    assert poll(host) == 4
    assert host.blocks("name23.test"), "a name that only serial 4 holds"
    assert host.failures == {}
    assert poll(machine.resolver("fresh")) == 4


def test_a_restored_repository_that_is_only_refreshed_is_told(machine: Machine) -> None:
    """Its timer runs before anybody has noticed the restore."""
    host = machine.resolver("old")
    copy = machine.backup()
    machine.publish(3)
    assert poll(host) == 3
    machine.restore(copy)
    machine.refresh()
    assert poll(host) == 3
    assert host.failures == {"rolled_back": 1}
    machine.publish(4)
    assert poll(host) == 4


def test_two_machines_sign_in_turn_and_no_list_goes_unseen(machine: Machine) -> None:
    """Each is a copy of the other's past; the server gets what the last one has made."""
    host, copy = machine.resolver("old"), machine.backup()
    other = Machine(copy, machine.now)
    for serial, signing in ((3, machine), (4, other), (5, machine), (6, other)):
        signing.now = max(machine.now, other.now)
        signing.publish(serial)
        if signing is other:
            shutil.copytree(copy / "targets", machine.folder / "targets", dirs_exist_ok=True)
            shutil.copytree(copy / "metadata", machine.folder / "metadata", dirs_exist_ok=True)
        assert poll(host) == serial
    assert host.failures == {}
    assert poll(machine.resolver("fresh")) == 6


@contextmanager
def earlier_release() -> Iterator[None]:
    """Versions that count from 1, and no hashes."""

    def next_version(repository: Repository, kind: str, now: float) -> int:
        return max(repository.versions(kind), default=0) + 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "next_version", next_version)
        patch.setattr(serve, "next_version", next_version)
        patch.setattr(MetaFile, "from_data", lambda version, data, hashes: MetaFile(version))
        yield


def test_a_repository_of_an_earlier_release_goes_on(tmp_path: Path) -> None:
    """It stays readable; a restore is told while that release signs, and this one goes above all its versions."""
    machine = Machine(tmp_path / "authority")
    with earlier_release():
        machine.init()
        machine.publish(2)
        copy = machine.backup()
        machine.publish(3)
    host = machine.resolver("old")
    assert poll(host) == 3
    machine.restore(copy)
    with earlier_release():
        machine.publish(4)
    assert poll(host) == poll(host) == 3
    assert host.failures == {"mixed": 2}
    assert poll(machine.resolver("fresh")) == 4
    machine.publish(5)
    assert poll(host) == 5
    assert poll(machine.resolver("later")) == 5
