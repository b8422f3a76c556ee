"""The export process: what is staged is given out only once it is in force, and goes when that ends."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from resolver import atomic_file
from resolver.core.codes import BLOCK_BELOW, BLOCK_SELF
from resolver.feed.exported import (
    ExportRequest,
    Follow,
    Followed,
    Release,
    Stage,
    Status,
    TableRequest,
    ZoneRequest,
)
from resolver.feed.names import export, export_zone
from resolver.feed.names.export_zone import wire_of
from tests.fakes.primary import key_file
from tests.journeys.running import HOST, ROOT, free_ports

WHOLE = BLOCK_SELF | BLOCK_BELOW
DIGEST = {number: f"{number:02d}" * 32 for number in range(10)}
NAME = "rpz.example"
CANARY = "canary-in-a-list"


def request_of(folder: Path, *, lists: tuple[str, ...] = ("demo",), tables: tuple[str, ...] = ()) -> ExportRequest:
    return ExportRequest(
        socket=str(folder / "socket"),
        directory=str(folder / "export"),
        state=str(folder / "state"),
        demonstration=True,
        zones=(ZoneRequest(name=NAME, lists=lists, profile="bind", keys=(), secondaries=(f"{HOST}/32",)),),
        tables=tuple(TableRequest(file=str(folder / name), lists=lists) for name in tables),
    )


def staged(names: list[str], generation: int = 1, list_id: str = "demo") -> tuple[Stage, bytes]:
    wires = b"".join(map(wire_of, names))
    flags, numbers = array("H", [WHOLE] * len(names)), array("I", range(1, len(names) + 1))
    about = Stage(
        list=list_id,
        serial=generation,
        generation=generation,
        digest=DIGEST[generation],
        selftest="a" * 26,
        names=len(wires),
        entries=len(names),
    )
    return about, wires + flags.tobytes() + numbers.tobytes()


def followed(generation: int | None, list_id: str = "demo", **more: Any) -> Followed:
    key = "" if generation is None else f"{generation}-{DIGEST[generation][:16]}"
    return Followed(list=list_id, key=key, addresses=("192.0.2.1",), **more)


class World:
    """An exporter, its folder, and a clock."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.now = 1000.0
        self.folder = folder
        self.request = request_of(folder, **more)
        self.exporter = self.started()

    def started(self) -> export.Exporter:
        self.exporter = export.Exporter(self.request, clock=lambda: self.now)
        self.exporter.open()
        return self.exporter

    def stage(self, names: list[str], generation: int = 1, list_id: str = "demo") -> Status:
        return self.exporter.take(*staged(names, generation, list_id))

    def follow(self, *lists: Followed, released: tuple[int, ...] = ()) -> Status:
        self.now += 10
        return self.exporter.take(Follow(lists=lists, released=released))

    @property
    def names(self) -> set[str]:
        """The names of the zone but wildcards and the names that every zone has."""
        found = set()
        for owner in self.exporter.zones[NAME].records:
            labels = []
            while owner:
                labels.append(owner[1 : owner[0] + 1].decode())
                owner = owner[owner[0] + 1 :]
            found.add(".".join(labels))
        return {name for name in found if not name.startswith("*") and "selftest" not in name}

    @property
    def serial(self) -> int:
        return self.exporter.zones[NAME].serial


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_is_staged_is_not_given_out_until_it_is_in_force(world: World) -> None:
    world.stage(["a.test", "b.test"])
    assert (world.names, world.exporter.zones[NAME].loaded) == (set(), False)
    status = world.follow(followed(1))
    assert world.names == {"a.test", "b.test"}
    assert (status.in_step, status.zones[0].serial) == (("demo",), world.serial)
    # One that the guard holds is kept, and not given out.
    world.stage(["c.test"], 2)
    world.follow(followed(1, keep=("2-" + DIGEST[2][:16],)))
    assert world.names == {"a.test", "b.test"}
    world.follow(followed(2, keep=("1-" + DIGEST[1][:16],)))
    assert world.names == {"c.test"}
    # Rolled back: the names of the previous list are still here.
    world.follow(followed(1))
    assert world.names == {"a.test", "b.test"}
    # What can never come in force again is forgotten.
    assert world.exporter.status().staged == {"demo": ("1-" + DIGEST[1][:16],)}


@pytest.mark.parametrize("how", ["withdrawn", "lifted by its date"])
def test_a_list_that_ends_leaves_the_zone_empty_and_not_as_it_was(how: str, world: World) -> None:
    world.stage(["a.test"])
    world.follow(followed(1, until=2000))
    before = world.serial
    assert world.names == {"a.test"}
    if how == "withdrawn":
        world.follow(followed(None))
    else:
        world.now = 2000.0
        world.exporter.give_out()
    assert (world.names, world.serial > before) == (set(), True)
    assert world.exporter.zones[NAME].records == {}


def test_what_is_staged_outlasts_what_is_said_before_it_is_in_force(world: World) -> None:
    """Of the list before, or of another list that changes meanwhile. Nothing waits for ever."""
    world.stage(["bad.test"])
    world.follow(followed(1))
    world.stage(["worse.test"], 2)
    world.follow(followed(1))
    assert world.follow(followed(2), followed(None, "other")).in_step == ("demo",)
    assert world.names == {"worse.test"}
    world.stage(["refused.test"], 3)
    world.now += export.STAGED_S
    assert world.follow(followed(2)).staged == {"demo": (followed(2).key,)}


def test_without_the_names_of_a_list_in_force_the_zone_stays_whole(tmp_path: Path) -> None:
    world = World(tmp_path, lists=("demo", "two"))
    world.stage(["a.test"])
    world.stage(["b.test"], list_id="two")
    world.follow(followed(1), followed(1, "two"))
    assert world.names == {"a.test", "b.test"}
    status = world.follow(followed(1), followed(2, "two"))
    assert world.names == {"a.test", "b.test"}
    assert status.in_step == ()
    world.stage(["c.test"], 2, "two")
    assert world.follow(followed(1), followed(2, "two")).in_step == ("demo", "two")
    assert world.names == {"a.test", "c.test"}


def test_lines_that_wait_and_names_that_are_released_do_not_block(world: World) -> None:
    world.stage(["a.test", "b.test", "c.test"])
    world.follow(followed(1, aside=(2,)))
    assert world.names == {"a.test", "c.test"}
    status = world.exporter.take(Release(number=4, name=wire_of("c.test").hex(), until=5000))
    assert status.lacking == ()
    status = world.follow(followed(1), released=(3, 4))
    assert (world.names, status.lacking) == ({"a.test", "b.test"}, (3,))
    world.started()
    assert world.names == {"a.test", "b.test"}
    world.now = 5000.0
    world.exporter.give_out()
    assert world.names == {"a.test", "b.test", "c.test"}
    world.follow(followed(1))
    assert json.loads((world.folder / "export" / "releases.json").read_bytes()) == []


def test_a_restart_gives_out_the_same_serial_and_another_list_another_one(world: World) -> None:
    world.stage(["a.test"])
    world.follow(followed(1))
    before, world.now = world.serial, 9000.0
    world.started()
    assert (world.names, world.serial) == ({"a.test"}, before)
    # The folder was lost: the new serial is later all the same.
    for path in (world.folder / "export").rglob("*"):
        if path.is_file():
            path.unlink()
    world.started()
    assert not world.exporter.zones[NAME].loaded
    world.stage(["a.test"])
    world.follow(followed(1))
    assert world.serial > before


def test_every_zone_has_the_names_by_which_it_is_checked(world: World) -> None:
    world.stage(["a.test"])
    world.follow(followed(1))
    owners = world.exporter.zones[NAME].records
    assert {wire_of(export.CHECKED)[:-1], wire_of("a" * 26 + ".selftest.invalid")[:-1]} <= set(owners)
    world.follow(followed(None))
    assert wire_of(export.CHECKED)[:-1] not in world.exporter.zones[NAME].records


def test_a_table_is_written_with_the_zone(tmp_path: Path) -> None:
    world = World(tmp_path, tables=("list.cdb",))
    world.stage(["a.test"])
    world.follow(followed(1))
    first = (tmp_path / "list.cdb").read_bytes()
    assert wire_of("a.test") in first
    world.follow(followed(None))
    assert wire_of("a.test") not in (tmp_path / "list.cdb").read_bytes()


def test_a_table_that_cannot_be_written_is_said_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, tables=("folder/list.cdb",))
    world.stage(["a.test"])
    assert world.follow(followed(1)).in_step == ()
    assert "cannot be written" in caplog.text
    (tmp_path / "folder").mkdir()
    world.exporter.give_out()
    assert world.exporter.status().in_step == ("demo",)


def test_a_serial_that_cannot_be_written_is_not_given_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.stage(["bad.test"])
    world.follow(followed(1))
    before = world.serial
    world.stage(["worse.test"], 2)

    def full(_path: Path, _data: bytes) -> None:
        raise OSError(28, os.strerror(28))

    world.exporter.follow = Follow(lists=(followed(2),))
    with monkeypatch.context() as patch:
        patch.setattr(atomic_file, "write", full)
        world.exporter.give_out()
    assert (world.serial, world.names, world.exporter.status().in_step) == (before, {"bad.test"}, ())
    world.exporter.give_out()
    assert (world.names, world.exporter.status().in_step) == ({"worse.test"}, ("demo",))


def test_while_a_zone_is_made_the_one_before_is_given_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop runs on, and is the thread in which a zone takes the place of another one."""
    begun, go_on = threading.Event(), threading.Event()
    made, threads = export_zone.records_of, list[int]()

    def slowly(*arguments: Any, **more: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return made(*arguments, **more)

    async def run() -> tuple[int, int, int]:
        maker = export.Maker()
        exporter = export.Exporter(request_of(tmp_path), clock=lambda: 1000.0, on_loop=maker.on_loop)
        await maker.do(exporter.open)
        for generation in (1, 2):
            await maker.do(exporter.take, *staged([f"n{generation}.test"], generation))
        await maker.do(exporter.take, Follow(lists=(followed(1),)))
        zone = exporter.zones[NAME]
        exporter.primary = SimpleNamespace(notify=lambda name: threads.append(threading.get_ident()), served={},
                                           refused=0, whole=0, differences=0)  # fmt: skip
        monkeypatch.setattr(export_zone, "records_of", slowly)
        making = asyncio.ensure_future(maker.do(exporter.take, Follow(lists=(followed(2),))))
        await asyncio.to_thread(begun.wait, 60)
        meanwhile = zone.serial, len(list(zone.whole()))
        go_on.set()
        await making
        await maker.end()
        return *meanwhile, zone.serial

    assert asyncio.run(run()) == (1000, 9, 1001)
    assert threads == [threading.get_ident()]


def test_half_a_list_is_not_staged(world: World) -> None:
    about, body = staged(["a.test"])
    for cut in (body[:-1], body[1:], b""):
        with pytest.raises(ValueError, match="missing"):
            world.exporter.take(about, cut)
    broken = msgspec.structs.replace(about, names=about.names - 1)
    with pytest.raises(ValueError):  # noqa: PT011 - which part does not fit is said by no text
        world.exporter.take(broken, body[1:])
    assert world.exporter.status().staged in ({}, {"demo": ()})


def test_files_are_for_its_account_alone(world: World) -> None:
    world.stage([f"{CANARY}.test"])
    world.follow(followed(1))
    paths = [world.folder / "export", *(world.folder / "export").rglob("*")]
    assert len(paths) > 4
    assert {oct(path.stat().st_mode & 0o077) for path in paths} == {"0o0"}
    (world.folder / "export").chmod(0o755)
    with pytest.raises(export.Unusable, match="0700"):
        world.started()


def test_it_does_not_run_where_it_could_read_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = msgspec.structs.replace(request_of(tmp_path), demonstration=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(export.Unusable, match="root"):
        export.check_account(request)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    (tmp_path / "state").mkdir()
    with pytest.raises(export.Unusable, match="apart"):
        export.check_account(request)
    export.check_account(msgspec.structs.replace(request, state=str(tmp_path / "none")))
    export.check_account(msgspec.structs.replace(request, demonstration=True))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Path, "subprocess.Popen[bytes]"]]:
    """The process as it is started, with one zone."""
    (port,) = free_ports(1)
    request = msgspec.structs.replace(request_of(tmp_path), listen=((HOST, port),))
    zone = msgspec.structs.replace(request.zones[0], keys=(str(key_file(tmp_path)),))
    request = msgspec.structs.replace(request, zones=(zone,))
    with (
        open(tmp_path / "log", "wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "resolver.feed.names.export"], stdin=subprocess.PIPE, stderr=log, cwd=ROOT
        ) as process,
    ):
        assert process.stdin
        process.stdin.write(msgspec.json.encode(request) + b"\n")
        process.stdin.close()
        try:
            yield tmp_path, process
        finally:
            process.terminate()
            process.wait()


def said_to(folder: Path, octets: bytes) -> bytes:
    """What comes back for these octets; it is waited for until the process listens."""

    async def ask() -> bytes:
        async with asyncio.timeout(60):
            while True:
                try:
                    reader, writer = await asyncio.open_unix_connection(str(folder / "socket"))
                    break
                except OSError:
                    await asyncio.sleep(0.05)  # It starts.
            writer.write(octets)
            writer.write_eof()
            found = await reader.read()
            writer.close()
            return found

    return asyncio.run(ask())


@pytest.mark.processes
def test_the_process_takes_messages_and_logs_and_dumps_no_name(
    running: tuple[Path, "subprocess.Popen[bytes]"],
) -> None:
    folder, process = running
    about, body = staged([f"{CANARY}.test"])
    status = msgspec.json.decode(said_to(folder, msgspec.json.encode(about) + b"\n" + body), type=Status)
    assert status.staged == {"demo": (about.key,)}
    assert said_to(folder, CANARY.encode() + b"\n") == b""
    assert said_to(folder, msgspec.json.encode(about) + b"\n" + body[:-1]) == b""
    status = msgspec.json.decode(
        said_to(folder, msgspec.json.encode(Follow(lists=(followed(1),))) + b"\n"), type=Status
    )
    assert status.in_step == ("demo",)
    assert limits(process.pid)["Max core file size"] == "0"
    if os.geteuid():
        with pytest.raises(PermissionError):
            (Path("/proc") / str(process.pid) / "maps").read_bytes()
    process.terminate()
    assert process.wait(60) == 0
    said = (folder / "log").read_bytes()
    assert b"NAMES ARE GIVEN OUT IN PLAINTEXT" in said
    assert CANARY.encode() not in said
    assert (folder / "socket").stat().st_mode & 0o777 == 0o660


def limits(pid: int) -> Mapping[str, str]:
    rows = (Path("/proc") / str(pid) / "limits").read_text().splitlines()[1:]
    return {row[:25].strip(): row[26:].split()[0] for row in rows}


@pytest.mark.processes
@pytest.mark.parametrize(("words", "status"), [(b"{}\n", 1), (b"", 1)])
def test_it_ends_by_itself_without_a_request(words: bytes, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "resolver.feed.names.export"], input=words, capture_output=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stdout, b"internal error" in done.stderr) == (status, b"", True)
