"""What ends a start before anything is served: a file to edit, a host that does not allow it, another process."""

import asyncio
import re
from pathlib import Path

import pytest

from resolver.config.config import ConfigError, HostFault, load
from resolver.service import start
from resolver.service.owner import IN_USE, Owner
from resolver.service.service import Service
from tests.journeys.processes import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.write()
    return site


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a start does to its process is noted here, and not done."""
    done: list[str] = []
    for name in ("log_ours_alone", "leave_no_dump"):
        monkeypatch.setattr(start, name, lambda name=name: done.append(name))
    monkeypatch.setattr(start.crash, "watch", lambda: done.append("crash"))
    monkeypatch.setattr(start.Privileges, "step_down", lambda self: done.append("step_down"))
    return done


def keys_that_are_short(site: Site) -> None:
    state = site.folder / "state"
    state.mkdir()
    for name in ("digest.key", "seal.key"):
        (state / name).write_bytes(b"short")


def test_a_key_that_cannot_be_used_is_a_fault_of_the_configuration(site: Site) -> None:
    keys_that_are_short(site)
    with pytest.raises(ConfigError, match="expected 16 octets"):
        asyncio.run(start.started(site.config, load(site.config)))


def test_a_state_folder_that_another_process_has_is_a_fault_of_the_host(site: Site) -> None:
    config = load(site.config)
    other = Owner(config.state.directory)
    assert other.take()
    try:
        with pytest.raises(HostFault, match=re.escape(f"state.directory: {IN_USE}")):
            asyncio.run(start.started(site.config, config))
    finally:
        other.leave()


def test_a_process_is_confined_before_it_serves_and_returns_what_serving_did(
    site: Site, in_this_process: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(service: Service) -> int:
        in_this_process.append("run")
        return 1

    monkeypatch.setattr(Service, "run", run)
    assert start.serve(site.config) == 1
    assert in_this_process == ["log_ours_alone", "leave_no_dump", "crash", "step_down", "run"]


def test_a_hand_over_by_nobody_is_a_fault_of_the_host(site: Site, in_this_process: list[str]) -> None:
    with pytest.raises(HostFault, match="nothing is taken over"):
        start.serve(site.config, take_over=10_000)
    assert "run" not in in_this_process
    assert "step_down" not in in_this_process
