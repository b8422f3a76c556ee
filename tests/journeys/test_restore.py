"""A state folder, and a whole host, is lost and restored, by the lines that deploy/upgrade.md prints."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from resolver.feed import audit
from resolver.signed import statement
from tests.fakes.upstream import in_thread
from tests.journeys import readme
from tests.journeys.processes import REAL, Site, asked, hang_up, honest, list_of, operate, series, wait_for
from tests.journeys.running import PAGE_V4, Service, stop
from tests.journeys.test_fleet import public_of

BOTH = "S=/var/lib/blocklist-resolver; E=/etc/blocklist-resolver; B=/srv/backup/"
FILES = {"audit.log": "a", "host.key": "b", "lists/demo/floor.json": "c", "evidence/2026-10.json": "d"}


def test_what_was_backed_up_is_there_again_and_what_must_not_come_back_is_not(tmp_path: Path) -> None:
    state, configuration, backup = (tmp_path / name for name in ("state", "etc", "backup"))
    instead = {
        "S=/var/lib/blocklist-resolver;": f"S={state};",
        "E=/etc/blocklist-resolver;": f"E={configuration};",
        "B=/srv/backup/$(date -u +%Y%m%dT%H%M%SZ)": f"B={backup}",
        "B=/srv/backup/20261129T020000Z": f"B={backup}",
        "blocklist-resolver list audit --head --config $E/resolver.toml": "echo 57 hash",
    }
    for name, text in {**FILES, "national/agreement.json": "e", ".audit.log.x.part": "half"}.items():
        (state / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (state / name).write_text(text)
        (state / name).chmod(0o600)
    configuration.mkdir()
    (configuration / "resolver.toml").write_text("[listen]\n")
    with closing(sqlite3.connect(state / "ledger.sqlite")) as database:
        # As a service has it: open, and what was written last is not in the main file yet.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE counts (number)")
        database.execute("INSERT INTO counts VALUES (7)")
        database.commit()
        assert readme.typed(readme.block(f"{BOTH}$("), tmp_path, instead).returncode == 0
    assert backup.stat().st_mode & 0o077 == 0
    assert sorted(os.listdir(backup)) == ["audit.head", "etc.tar", "ledger.sqlite", "state.tar"]

    shutil.rmtree(state)
    shutil.rmtree(configuration)
    assert readme.typed(readme.block(f"{BOTH}2026"), tmp_path, instead).returncode == 0
    found = {path.relative_to(state).as_posix(): path for path in state.rglob("*") if path.is_file()}
    assert set(found) == {*FILES, "ledger.sqlite"}
    assert {name: found[name].read_text() for name in FILES} == FILES
    assert {path.stat().st_mode & 0o777 for path in found.values()} == {0o600}
    assert state.stat().st_mode & 0o077 == 0
    assert (configuration / "resolver.toml").read_text() == "[listen]\n"
    with closing(sqlite3.connect(state / "ledger.sqlite")) as database:
        assert database.execute("SELECT number FROM counts").fetchall() == [(7,)]


# The drill: a service runs while it is backed up, its host is lost, and another one goes on.

BLOCKED = f"{PAGE_V4} EDE 4"
CHECKED = "blocklist-resolver check-config $E/resolver.toml && systemctl start"


@dataclass
class Drilled(Site):
    """A host whose configuration has a folder of its own, as an installation has it."""

    @property
    def config(self) -> Path:
        return self.folder / "etc" / "resolver.toml"

    def write(self) -> Path:
        self.config.parent.mkdir(exist_ok=True)
        return super().write()

    def typed(self, text: str) -> subprocess.CompletedProcess[str]:
        """Lines of the document as root types them on this host."""
        instead = {
            "S=/var/lib/blocklist-resolver;": f"S={self.folder}/state;",
            "E=/etc/blocklist-resolver;": f"E={self.config.parent};",
            "B=/srv/backup/$(date -u +%Y%m%dT%H%M%SZ)": f"B={self.folder.parent}/backup",
            "B=/srv/backup/20261129T020000Z": f"B={self.folder.parent}/backup",
            "systemctl start blocklist-resolver": ":",
            "list audit --expect": f"list audit --config {self.config} --expect",
            "list status ": f"list status --config {self.config} ",
        }
        return readme.typed(text, self.folder, instead)

    def runs(self, stack: ExitStack) -> Service:
        """A service with the configuration that is there, ready; it ends with the stack."""
        service = self.launch(write=False)
        stack.callback(stop, service.process)
        service.until("/readyz")
        return service

    def checks(self) -> list[str]:
        """The lines after the restore, with the variables of the lines before."""
        variables, *_ = readme.block(f"{BOTH}2026").splitlines()
        return [f"{variables}\n{line}" for line in readme.block(CHECKED).splitlines()]

    def counted(self, service: Service) -> float:
        """Blocked queries published so far; 0 if none were."""
        try:
            return series(service, "blocked_queries_total", list="demo")
        except AssertionError:
            return 0.0


@contextmanager
def drilled(folder: Path) -> Iterator[Drilled]:
    """A host and its authority's desk for receipts."""
    with in_thread(honest) as upstream:
        (folder / "host").mkdir()
        (folder / "hears").mkdir()
        site = Drilled(folder / "host", [upstream.address])
        shutil.move(site.authority.folder, folder / "authority")
        site.authority.folder = folder / "authority"
        site.lists = [list_of(site.authority.folder)]
        site.lists[0]["source"]["receipt"] = str(folder / "hears")
        yield site


def serials(folder: Path, key: bytes) -> list[int]:
    """The serials of the receipts that have come, each signed by this key."""
    said = [statement.verified(path.read_bytes(), key) for path in folder.glob("*.json")]
    return sorted(one["serial"] for one in said if one["kind"] == "receipt")


@pytest.mark.timeout(900)
def test_a_host_that_is_lost_goes_on_elsewhere_and_takes_nothing_older(tmp_path: Path) -> None:
    """Backed up with serial 1 in force, lost with serial 3; then somebody replays serial 2, within its 48 hours."""
    with drilled(tmp_path) as site, ExitStack() as stack:
        source, replayed, newest = site.authority.folder, tmp_path / "replayed", tmp_path / "newest"
        site.publish(["bad.test", "one.test", "wrongly.test"])
        site.write()
        service = site.runs(stack)
        done = operate(site, "list", "release", "-", "--reason", "a school", typed="wrongly.test\n")
        assert done.returncode == 0
        for _ in range(5):
            assert asked(service.dns, "bad.test") == BLOCKED
        wait_for(lambda: site.counted(service) >= 5, "the counts")
        counted = site.counted(service)
        key = statement.pinned_of(public_of(site))
        wait_for(lambda: serials(tmp_path / "hears", key) == [1], "the first receipt")
        answered = asked(service.dns, "one.test")

        # While it runs.
        assert site.typed(readme.block(f"{BOTH}$(")).returncode == 0
        head = (tmp_path / "backup" / "audit.head").read_text().split()
        assert answered == asked(service.dns, "one.test") == BLOCKED
        assert asked(service.dns, "wrongly.test") == REAL

        for names, copy in (["bad.test", "two.test"], replayed), (["bad.test", "three.test"], newest):
            serial = site.publish(names)
            shutil.copytree(source, copy)
            hang_up(service)
            service.until_serial(serial)
        wait_for(lambda: serials(tmp_path / "hears", key) == [1, 2, 3], "the receipts")

        service.process.kill()
        service.process.wait()
        for folder in ("state", "etc"):
            shutil.rmtree(site.folder / folder)
        (tmp_path / "hears").rename(tmp_path / "heard")
        (tmp_path / "hears").mkdir()
        shutil.rmtree(source)
        shutil.copytree(replayed, source)

        assert site.typed(readme.block(f"{BOTH}2026")).returncode == 0
        text = site.config.read_text()
        assert text.count("[list.source]\n") == 1
        site.config.write_text(text.replace("[list.source]\n", "[list.source]\nminimum_serial = 3\n"))
        check, expect, status = site.checks()
        assert site.typed(check).returncode == 0
        service = site.runs(stack)

        # The same list as backed up, at once; and what is replayed is refused, polled for as often as one likes.
        assert asked(service.dns, "one.test") == BLOCKED
        assert asked(service.dns, "wrongly.test") == REAL, "the release, too"
        assert site.typed(expect).returncode == 0
        for polls in (1, 2):
            wait_for(lambda n=polls: refusals(service) >= n, "a refusal")  # type: ignore[misc]  # a lambda's default
            hang_up(service)
        assert asked(service.dns, "two.test") == REAL
        assert asked(service.dns, "one.test") == BLOCKED
        assert service.metric("list_serial") == 1

        shutil.rmtree(source)
        shutil.copytree(newest, source)
        hang_up(service)
        service.until_serial(3)
        assert asked(service.dns, "three.test") == BLOCKED
        assert asked(service.dns, "one.test") == REAL
        shown = site.typed(status)
        assert "serial 3" in shown.stdout

        # Counts, chain and key go on.
        assert site.counted(service) >= counted
        before = site.counted(service)
        for _ in range(3):
            assert asked(service.dns, "bad.test") == BLOCKED
        wait_for(lambda: site.counted(service) >= before + 3, "the next counts")
        entries, _ = audit.verify(site.folder / "state" / "audit.log")
        assert len(entries) > int(head[0])
        assert site.typed(expect).returncode == 0
        wait_for(lambda: 3 in serials(tmp_path / "hears", key), "a receipt by the same key")
        assert stop(service.process) == 0


def refusals(service: Service) -> float:
    """How often an older list was refused since the start."""
    try:
        return series(service, "feed_failures_total", reason="rolled_back")
    except AssertionError:
        return 0.0  # not shown yet
