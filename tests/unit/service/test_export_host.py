"""What the service says to the export process: what is in force, waits, or is released; and what it says aloud."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.config.config import Config
from resolver.config.export import Export, ExportZone
from resolver.config.values import Endpoint, ZoneName, prefixes
from resolver.core import codes
from resolver.feed import audit, poll
from resolver.feed.export_link import Unanswered
from resolver.feed.exported import Follow
from resolver.feed.names import export
from resolver.feed.names.export_zone import wire_of
from resolver.feed.places import Places
from resolver.service import export_host
from resolver.service.enforcement import Enforcement
from resolver.service.in_force import InForce
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer
from tests.unit.feed.names.test_export import NAME, request_of

pytestmark = pytest.mark.processes


class World:
    """A service's lists, and an export process in this loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder / "authority")
        self.authority.publish(names(3), 7)
        plain = Enforcer(self.authority, folder / "state").config
        zone = ExportZone(name=ZoneName(NAME), keys=("/k",), secondaries=prefixes("127.0.0.1/32"))
        said = Export(socket=str(folder / "socket"), listen=(Endpoint("127.0.0.1", 5399),), zone=(zone,))
        self.config = replace(plain, export=said)
        self.exporter = export.Exporter(request_of(folder))
        self.exporter.open()
        self.enforcement = self.made(self.config)

    def made(self, config: Config) -> Enforcement:
        keys = poll.keys_of(config)
        in_force = InForce(config, keys.digest, secrets.token_bytes(16), lambda tables: None)
        found = Enforcement(config, keys, in_force, places=list, counters=[0] * codes.COUNTERS_SIZE, now=time.time)
        found.recover()
        return found

    @property
    def host(self) -> export_host.ExportHost:
        assert self.enforcement.export is not None
        return self.enforcement.export

    @property
    def listed(self) -> int:
        """How many of the list's names the zone blocks."""
        owners = self.exporter.zones[NAME].records
        return sum(wire_of(f"name{number}.test")[:-1] in owners for number in range(20))

    def events(self) -> list[str]:
        entries, _ = audit.verify(Places(self.config.state.directory).audit_log)
        return [str(one.event) for one in entries]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        door = await asyncio.start_unix_server(
            export.Door(self.exporter, export.Maker()).arrived, path=str(self.folder / "socket"), limit=2**20
        )
        try:
            yield
        finally:
            door.close()


def test_a_list_reaches_the_zone_when_it_is_in_force_and_leaves_it_when_it_is_taken_out(tmp_path: Path) -> None:
    world = World(tmp_path)
    one = world.enforcement.feed["demo"]

    async def run() -> list[int]:
        counts = []
        async with world.running():
            await one.poll()
            assert one.state.in_force is not None
            await world.host.say()
            counts.append(world.listed)
            world.authority.publish(names(9), 8)
            await one.poll()
            await world.host.say()
            counts.append(world.listed)
            async with one.one_at_a_time:
                await one.go_back()
            await world.host.say()
            counts.append(world.listed)
            assert world.host.in_step("demo")
            # What the guard holds is staged, and not given out.
            one.activation.list = replace(one.list, guard=replace(one.list.guard, growth=0.0, on_entry="hold"))
            world.authority.publish(names(700), 9)
            await one.poll()
            assert one.state.held is not None
            await world.host.say()
            counts.append(world.listed)
            assert len(world.exporter.status().staged["demo"]) == 2
        return counts

    assert asyncio.run(run()) == [3, 9, 3, 3]


def test_a_list_that_was_in_force_before_the_export_is_fetched_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path)
    one = world.enforcement.feed["demo"]
    caplog.set_level(logging.INFO)

    async def run() -> tuple[int, int]:
        # Without the process nothing is held up.
        await one.poll()
        await world.host.say()
        assert (world.host.status, world.host.in_step("demo"), world.host.behind()) == (None, False, 0)
        async with world.running():
            await world.host.say()
            before = world.listed
            await one.poll()
            await world.host.say()
        return before, world.listed

    assert asyncio.run(run()) == (0, 3)
    assert "the export process has not taken its names" in caplog.text
    assert "its process does not reply" in caplog.text
    assert "the list is fetched again" in caplog.text
    assert not any(f"name{number}.test" in caplog.text for number in range(3))


def test_a_released_name_passes_at_the_secondaries_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    one = world.enforcement.feed["demo"]

    async def run() -> list[int]:
        counts = []
        async with world.running():
            await one.poll()
            await world.host.say()
            counts.append(world.listed)
            from resolver.control import requests

            verb = world.enforcement.verbs()[requests.Release]
            reply = verb(requests.Release(name=wire_of("name1.test").hex(), reason="a mistake", for_s=7200), 0)
            assert isinstance(reply, requests.ReleaseReply), reply
            await world.host.say()
            counts.append(world.listed)
        return counts

    assert asyncio.run(run()) == [3, 2]


def test_it_is_loud_and_the_audit_log_has_each_change_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path)
    assert "THE NAMES of demo LEAVE SEALED STORAGE" in caplog.text
    world.made(world.config)
    assert world.events().count("exported") == 1
    off = replace(world.config, export=Export())
    for _ in range(2):
        assert world.made(off).export is None
    assert world.events().count("export_ended") == 1
    work = world.enforcement.tasks()
    assert list(work)[-1] == "export"
    for one in work.values():
        one.close()
    with pytest.raises(Unanswered):
        world.enforcement.feed.export.say(Follow(lists=()))  # type: ignore[union-attr] # it is on


def test_it_says_so_again_when_it_is_woken(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def run() -> int:
        said = 0
        done = asyncio.Event()

        async def say() -> None:
            nonlocal said
            said += 1
            if said == 2:
                done.set()

        world.host.say = say  # type: ignore[method-assign] # counted instead of sent
        task = asyncio.ensure_future(world.host.run())
        await asyncio.sleep(0)  # the first one
        world.host.configure(world.config)
        async with asyncio.timeout(60):
            await done.wait()
        task.cancel()
        return said

    assert asyncio.run(run()) == 2


def test_lines_aside_that_cannot_be_read_leave_the_zone_as_it_is(tmp_path: Path) -> None:
    world = World(tmp_path)
    one = world.enforcement.feed["demo"]

    async def run() -> tuple[int, bool]:
        async with world.running():
            await one.poll()
            await world.host.say()
            record = one.state.in_force
            assert record is not None
            one.journal.state = replace(one.state, in_force=replace(record, set_aside={"protected": 1}))
            (one.store.folder / record.lines).unlink()
            await world.host.say()
            return world.listed, world.host.in_step("demo")

    assert asyncio.run(run()) == (3, False)
