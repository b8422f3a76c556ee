"""What a compile host publishes: only what is in force, whole files, numbers that go up."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from resolver.feed import manifest
from resolver.feed.manifest import Manifest
from resolver.signed import statement
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import all_bytes_below
from tests.fakes.fleet import CompileHost, pair

pytestmark = pytest.mark.asyncio


@pytest.fixture
def host(tmp_path: Path) -> CompileHost:
    authority = Authority(tmp_path / "authority")
    authority.publish(names(10), 7)
    return pair(tmp_path, authority)[0]


async def test_nothing_but_the_releases_before_a_list_is_in_force(host: CompileHost) -> None:
    host.publisher.publish()
    assert os.listdir(host.published) == ["releases.json"]
    assert host.said("releases")["releases"] == []


async def test_the_statement_and_the_image(host: CompileHost) -> None:
    await host.publish()
    said = manifest.read(
        (host.published / "demo.json").read_bytes(), statement.pinned_of(host.root), Manifest
    )
    sealed = (host.published / f"{said.image}.image").read_bytes()
    assert (said.custom.serial, said.made.entries, said.size) == (7, 10, len(sealed))
    assert hashlib.sha256(sealed).hexdigest() == said.image
    assert said.fresh_until == said.published + 90
    assert b"name0" not in all_bytes_below(host.published)
    for path in host.published.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert host.keys.digest not in all_bytes_below(host.published)


async def test_a_number_goes_up_over_restarts_lost_folders_and_a_clock_that_stands_still(host: CompileHost) -> None:
    at = 1_700_000_000.0
    host.now = lambda: at
    await host.list.poll()
    numbers = []
    for _ in range(3):
        host.publisher.publish()
        numbers.append(host.said("releases")["sequence"])
        host.publisher = host.publishing()
    assert numbers == [1_700_000_000_000, 1_700_000_000_001, 1_700_000_000_002]
    for path in host.published.iterdir():
        path.unlink()
    at += 1
    host.publisher = host.publishing()
    host.publisher.publish()
    assert host.said("releases")["sequence"] == 1_700_000_001_000


async def test_old_images_go_when_nobody_can_be_fetching_them(host: CompileHost) -> None:
    await host.publish()
    (first,) = host.published.glob("*.image")
    host.authority.publish(names(11), 8)
    await host.publish()
    assert len(list(host.published.glob("*.image"))) == 2
    os.utime(first, (1, 1))
    host.publisher.publish()
    assert first not in set(host.published.glob("*.image"))
    assert not list(host.published.glob(".*.part"))


async def test_an_image_that_was_lost_is_written_again(host: CompileHost) -> None:
    await host.publish()
    (image,) = host.published.glob("*.image")
    sealed = image.read_bytes()
    image.unlink()
    host.publisher.publish()
    assert image.read_bytes() == sealed


async def test_a_list_that_is_in_force_no_more_grows_old(host: CompileHost) -> None:
    await host.publish()
    before = host.said()
    await host.list.go_back()
    host.publisher.publish()
    assert host.said() == before
    assert len(list(host.published.glob("*.image"))) == 1


async def test_a_full_disk_leaves_what_was_there(host: CompileHost, monkeypatch: pytest.MonkeyPatch) -> None:
    await host.publish()
    before = {path.name: path.read_bytes() for path in host.published.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            host.publisher.publish()
    assert {path.name: path.read_bytes() for path in host.published.iterdir()} == before


async def test_releases_are_published_with_their_images_and_ends(host: CompileHost) -> None:
    one = host.release("name0.test")
    host.publisher.publish()
    (said,) = host.said("releases")["releases"]
    assert (said["number"], said["until"]) == (1, one.until)
    assert b"name0" not in all_bytes_below(host.published)
