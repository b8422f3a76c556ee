"""`compile`: each list taken, tested and published once, and what is said of it."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.config.config import Config, ConfigError, Control, Fleet
from resolver.control import requests
from resolver.control import server as control
from resolver.service import compile_host
from resolver.service.owner import Owner
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "authority")
    authority.publish(names(100), 7)
    return authority


def configured(authority: Authority, tmp_path: Path, settings: str = "") -> Config:
    found = Enforcer(authority, tmp_path / "state", settings).config
    return replace(found, fleet=Fleet(publish=str(tmp_path / "fleet")), control=Control(socket=""))


def compiled(config: Config) -> compile_host.Compiled:
    return compile_host.compile_once(Path("resolver.toml"), config)


def test_what_is_in_force_is_published(authority: Authority, tmp_path: Path) -> None:
    config = configured(authority, tmp_path)
    for _ in range(2):
        done = compiled(config)
        assert done.lines == ("demo: serial 7 in force and published, 100 entries",)
        assert (done.refused, done.failed) == (False, False)
    assert sorted(path.suffix for path in (tmp_path / "fleet").iterdir()) == [".image", ".json", ".json"]


def test_what_is_held_is_not(authority: Authority, tmp_path: Path) -> None:
    done = compiled(configured(authority, tmp_path, "[list.guard]\nexpect_entries = [1, 99]\n"))
    assert done.lines == ("demo: no list is in force, nothing is published", "  held: serial 7 (first_size)")
    assert (done.refused, done.failed) == (True, False)


def test_what_is_refused_is_told_apart_from_what_failed(authority: Authority, tmp_path: Path) -> None:
    config = configured(authority, tmp_path)
    compiled(config)
    authority.tamper("targets/")
    authority.publish(names(101), 8)
    authority.tamper("targets/")
    done = compiled(config)
    assert done.lines[-1] == "  failed: tampered; what is in force stays"
    assert (done.refused, done.failed) == (True, False)
    (one,) = config.lists
    gone = replace(one, source=replace(one.source, url=(tmp_path / "none").as_uri()))
    done = compiled(replace(config, lists=(gone,)))
    assert (done.refused, done.failed) == (False, True)


def test_a_host_that_publishes_nowhere(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fleet\.publish"):
        compiled(replace(configured(authority, tmp_path), fleet=Fleet()))


def test_a_folder_that_cannot_be_written(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = replace(configured(authority, tmp_path), fleet=Fleet(publish=str(tmp_path / "file" / "fleet")))
    with pytest.raises(compile_host.NotCompiled, match="a folder of state or fleet cannot be used"):
        compiled(config)


def test_it_does_not_run_beside_a_service(authority: Authority, tmp_path: Path) -> None:
    config = replace(configured(authority, tmp_path), control=Control(socket=str(tmp_path / "control"), group=""))

    async def beside() -> None:
        server = control.Server({requests.Status: lambda _request, _uid: requests.StatusReply(health={})})
        await server.open(config.control)
        try:
            await asyncio.to_thread(compiled, config)
        finally:
            await server.close()

    with pytest.raises(compile_host.NotCompiled, match="a service runs on this state"):
        asyncio.run(beside())


def test_beside_a_service_nothing_is_compiled(authority: Authority, tmp_path: Path) -> None:
    config = configured(authority, tmp_path)
    service = Owner(config.state.directory)
    assert service.take()
    with pytest.raises(compile_host.NotCompiled, match="a service runs on this state"):
        compiled(config)
    service.leave()
    assert compiled(config).lines
