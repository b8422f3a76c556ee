"""The export process: holds the names of lists in force for resolvers that must have them in plaintext.

Runs as its own process under its own account (`python -I -m resolver.feed.names.export`): one line of JSON without
names comes in on stdin. Names come from the compile process, over this process' socket; the service says there which of
them are in force (feed.exported). They leave as zone transfers with TSIG (export_primary) and as CDB files.

    DIRECTORY/staged/LIST/KEY     a compiled list: a line of JSON, then its names
    DIRECTORY/follow.json         what the service said last: no names
    DIRECTORY/serials.json        of each zone its serial, and a digest of what it was made of
    DIRECTORY/releases.json       names that this host has released

Rules:
- It does not run as root, and not if it can read the service's state: names and digest key never meet here.
- Its folder has mode 0700, its files 0600. It is not dumpable, has no core dump and bounded memory, and logs counts
  only.
- A zone holds the lists in force and nothing else: a list that is held is staged and not given out, one that is
  withdrawn, lifted or rolled back is gone from the next serial.
- If the names of a list in force are not here, the zones with that list stay as they are, and the status says so: half
  of a zone would unblock. The service then has the list fetched again.
- Without the service the last zones are given out, and a list is lifted at the end of its right to block.
- One thread makes zones and tables, one after the other; the event loop answers meanwhile, and puts what is made in the
  place of what was. Serials, records and NOTIFY are of the event loop alone.
"""

import asyncio
import hashlib
import logging
import os
import signal
import socket
import sys
import time
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from resolver import atomic_file
from resolver.core import codes
from resolver.feed import tsig
from resolver.feed.exported import (
    MAX_LINE_BYTES,
    MESSAGE,
    ExportRequest,
    Follow,
    Followed,
    Release,
    Stage,
    Status,
    TableRequest,
    ZoneRequest,
    ZoneStatus,
)
from resolver.feed.names import export_cdb, export_primary, export_rules, export_zone
from resolver.feed.names.export_rules import Rule
from resolver.feed.names.export_zone import Answer, Zone, wire_of
from resolver.process import limits
from resolver.process.log import log_ours_alone

MEMORY_BYTES: Final = 4 * 2**30
LOOK_S: Final = 5.0
MESSAGE_S: Final = 120.0
STAGED_S: Final = 900.0
"""So long what was staged last waits to be followed: the service says what is in force at any time, also between the
end of a compile process and the moment in which its list is held or in force."""
SWITCH_S: Final = 0.0005
"""So long the thread that makes zones may keep the event loop waiting, each time that it has something to send."""
FORM: Final = "1"
"""Changes with the form of the records: then a start gives each zone a new serial."""
CHECKED: Final = "enforced.selftest.invalid"
"""A name that every zone and table blocks while it has a list in force: a balancer's check of a resolver behind it."""

_DOOR: Final[dict[str, Any]] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
"""Of the event loop: the path of the socket stays, for systemd may hold it. Python before 3.13 never removes it."""

_log: Final = logging.getLogger("resolver.export")


class Unusable(Exception):
    """The process cannot start like this; the text says why, and what to do."""


class Names:
    """The staged lists on the disk. folder: made if it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keys(self, list_id: str) -> tuple[str, ...]:
        """Return the keys of a list that are staged."""
        folder = self._folder / list_id
        return tuple(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ()

    def lists(self) -> tuple[str, ...]:
        """Return the ids of all lists with a folder."""
        return tuple(sorted(path.name for path in self._folder.iterdir()))

    def write(self, about: Stage, body: bytes) -> None:
        """Keep a compiled list; ValueError if its parts do not fit, OSError if it cannot be written."""
        _parts(about, memoryview(body), ())
        folder = self._folder / about.list
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_file.write(folder / about.key, msgspec.json.encode(about) + b"\n" + body)

    def read(self, list_id: str, key: str, aside: tuple[int, ...]) -> tuple[Stage, dict[bytes, int]] | None:
        """Return a staged list without the lines set aside; None if it is not here, or damaged."""
        try:
            data = (self._folder / list_id / key).read_bytes()
            head = data.index(b"\n")
            about = msgspec.json.decode(data[:head], type=Stage)
            return about, _parts(about, memoryview(data)[head + 1 :], aside)
        except (OSError, ValueError, IndexError):
            return None

    def keep(self, list_id: str, keys: set[str]) -> None:
        """Remove the other staged lists."""
        for key in set(self.keys(list_id)) - keys:
            (self._folder / list_id / key).unlink(missing_ok=True)


def _parts(about: Stage, body: memoryview, aside: tuple[int, ...]) -> dict[bytes, int]:
    if len(body) != about.octets:
        raise ValueError("octets are missing")
    flags, numbers = array("H"), array("I")
    flags.frombytes(body[about.names : about.names + 2 * about.entries])
    numbers.frombytes(body[about.names + 2 * about.entries :])
    try:
        return export_rules.entries_of(bytes(body[: about.names]), memoryview(flags), memoryview(numbers), aside)
    except IndexError:
        raise ValueError("names are cut short") from None


def _here(work: Callable[[], bool]) -> bool:
    return work()


class Exporter:
    """What is staged, followed and given out. clock: unix seconds.

    on_loop: does what it gets in the thread of the event loop, and returns what that returns; all else is done in the
    thread of the caller.
    """

    def __init__(
        self,
        request: ExportRequest,
        primary: Any = None,
        clock: Callable[[], float] = time.time,
        on_loop: Callable[[Callable[[], bool]], bool] = _here,
    ) -> None:
        self.request = request
        self.primary = primary
        self._clock = clock
        self._on_loop = on_loop
        self._folder = Path(request.directory)
        self.names = Names(self._folder / "staged")
        self.follow = Follow(lists=())
        self.zones = {one.name: Zone(wire_of(one.name)) for one in request.zones}
        self._serials: dict[str, tuple[int, str]] = {}
        self._releases: dict[int, Release] = {}
        self._left_out: dict[str, int] = {}
        self._tables: dict[str, tuple[str, int]] = {}
        self._steps: dict[str, bool] = {}
        self._fresh: dict[str, tuple[str, float]] = {}

    # Files.

    def open(self) -> None:
        """Read what is on the disk, and give it out; Unusable, OSError."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        mode = self._folder.stat()
        if mode.st_uid != os.geteuid() or mode.st_mode & 0o077:
            raise Unusable(f"{self._folder}: expected a folder of this account with mode 0700")
        (self._folder / "staged").mkdir(mode=0o700, exist_ok=True)
        for folder in (self._folder, *(self._folder / "staged").iterdir()):
            atomic_file.drop_parts(folder)
        self.follow = self._read("follow.json", Follow, self.follow)
        self._serials = self._read("serials.json", dict[str, tuple[int, str]], {})
        known = self._read("releases.json", tuple[Release, ...], ())
        self._releases = {one.number: one for one in known}
        for name, zone in self.zones.items():
            zone.serial = self._serials.get(name, (0, ""))[0]
        self.give_out()

    def _read(self, name: str, kind: Any, otherwise: Any) -> Any:
        try:
            return msgspec.json.decode((self._folder / name).read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError):
            return otherwise

    def _write(self, name: str, value: Any) -> None:
        atomic_file.write(self._folder / name, msgspec.json.encode(value))

    # Messages.

    def take(self, message: Stage | Follow | Release, body: bytes = b"") -> Status:
        """Carry out a message and return the status; OSError if it cannot be written, ValueError if it is not whole."""
        match message:
            case Stage():
                self.names.write(message, body)
                self._fresh[message.list] = message.key, self._clock() + STAGED_S
                _log.info("list %s: serial %d staged, %d entries", message.list, message.serial, message.entries)
            case Follow():
                if message != self.follow:
                    self._write("follow.json", message)
                    self.follow = message
                self._forget()
                self.give_out()
            case Release():
                self._releases[message.number] = message
                self._write("releases.json", tuple(self._releases.values()))
        return self.status()

    def _forget(self) -> None:
        """Remove what can never be given out again."""
        kept = {one.list: {one.key, *one.keep} for one in self.follow.lists}
        for list_id in self.names.lists():
            keys = kept.get(list_id, set())
            fresh, until = self._fresh.get(list_id, ("", 0.0))
            if fresh in keys or self._clock() >= until:
                self._fresh.pop(list_id, None)
            else:
                keys = {*keys, fresh}
            self.names.keep(list_id, keys)
        ended = set(self._releases) - set(self.follow.released)
        if ended:
            for number in ended:
                del self._releases[number]
            self._write("releases.json", tuple(self._releases.values()))

    def status(self) -> Status:
        """Return what is held and given out."""
        served = self.primary.served if self.primary else {}
        zones = [
            ZoneStatus(
                name=name,
                serial=zone.serial,
                records=len(zone.records),
                behind=served[name].behind() if name in served else 0,
                left_out=self._left_out.get(name, 0),
            )
            for name, zone in self.zones.items()
        ]
        zones += [ZoneStatus(name=file, serial=0, records=count) for file, (_, count) in self._tables.items()]
        return Status(
            staged={list_id: self.names.keys(list_id) for list_id in self.names.lists()},
            in_step=tuple(sorted(list_id for list_id, good in self._steps.items() if good)),
            zones=tuple(zones),
            lacking=tuple(number for number in self.follow.released if number not in self._releases),
            refused=self.primary.refused if self.primary else 0,
            whole=self.primary.whole if self.primary else 0,
            differences=self.primary.differences if self.primary else 0,
        )

    # What is given out.

    def give_out(self) -> None:
        """Make each zone and table of the lists in force, if that is another one than before."""
        steps: dict[str, bool] = {}
        requests: tuple[ZoneRequest | TableRequest, ...] = (*self.request.zones, *self.request.tables)
        for request in requests:
            followed = [one for one in self.follow.lists if one.list in request.lists]
            try:
                good = bool(followed) and self._give(request, followed)
            except OSError as error:
                _log.error("export: a file cannot be written: %s; it is tried again", error.strerror)
                good = False
            for one in followed:
                steps[one.list] = good and steps.get(one.list, True)
        for list_id, good in steps.items():
            if not good and self._steps.get(list_id, True):
                said = "list %s: not given out as it is in force: its names are not here, or a file cannot be written"
                _log.error(said, list_id)
        self._steps = steps

    def _key(self, one: Followed) -> str:
        return "" if one.until and self._clock() >= one.until else one.key

    def _give(self, request: ZoneRequest | TableRequest, followed: list[Followed]) -> bool:
        """Give out one zone or table; return whether it is in step."""
        made_of = self._made_of(request, followed)
        file = request.file if isinstance(request, TableRequest) else ""
        if file and self._tables.get(file, ("",))[0] == made_of and Path(file).exists():
            return True
        loaded = isinstance(request, ZoneRequest) and self.zones[request.name].loaded
        if isinstance(request, ZoneRequest) and loaded and self._serials.get(request.name, (0, ""))[1] == made_of:
            return True
        found = self._rules(followed)
        if found is None:
            return False
        if isinstance(request, ZoneRequest):
            self._give_zone(request, found, [_answer(one) for one in followed], made_of)
        else:
            count = export_cdb.write(Path(file), export_cdb.pairs_of(found))
            self._tables[file] = made_of, count
            _log.info("table: %d keys written", count)
        return True

    def _give_zone(
        self, request: ZoneRequest, found: dict[bytes, Rule], answers: list[Answer], made_of: str
    ) -> None:
        zone = self.zones[request.name]
        records, left_out = export_zone.records_of(
            found, answers, profile=request.profile, page=request.page, room=zone.room
        )
        if left_out and left_out != self._left_out.get(request.name):
            _log.warning("zone: %d owners cannot stand in it (too long, or exceptions in the form of knot6)", left_out)
        self._left_out[request.name] = left_out
        if not zone.loaded and zone.serial and self._serials.get(request.name) == (zone.serial, made_of):
            zone.resume(records)
            return
        now, changed = int(self._clock()), zone.compared(records)
        serial = zone.serial if zone.loaded and not any(changed) else zone.next_serial(now)
        known = {**self._serials, request.name: (serial, made_of)}
        # On the disk before a secondary has it: no serial is ever given to two zones.
        self._write("serials.json", known)
        self._serials = known

        def publish() -> bool:
            moved = zone.publish(records, now, changed)
            if moved and self.primary:
                self.primary.notify(request.name)
            return moved

        if self._on_loop(publish):
            _log.info("zone: serial %d, %d owners", serial, len(records))

    def _made_of(self, request: ZoneRequest | TableRequest, followed: list[Followed]) -> str:
        """Return a digest of all that decides the content."""
        said = [(one.list, self._key(one), one.aside, one.answer, one.addresses) for one in followed]
        form = (request.profile, request.page) if isinstance(request, ZoneRequest) else ()
        return hashlib.sha256(msgspec.json.encode((FORM, said, form, sorted(self._released())))).hexdigest()

    def _released(self) -> list[int]:
        now, known = self._clock(), self._releases
        return [number for number in self.follow.released if number in known and now < known[number].until]

    def _rules(self, followed: list[Followed]) -> dict[bytes, Rule] | None:
        """Return the rules of these lists; None if the names of one are not here."""
        lists: list[dict[bytes, int]] = []
        for one in followed:
            key = self._key(one)
            if not key:
                lists.append({})
                continue
            found = self.names.read(one.list, key, one.aside)
            if found is None:
                return None
            about, entries = found
            for name in (f"{about.selftest}.selftest.invalid", CHECKED):
                entries[wire_of(name)[:-1]] = codes.BLOCK_SELF
            lists.append(entries)
        free = [bytes.fromhex(self._releases[number].name)[:-1] for number in self._released()]
        return export_rules.rules(lists, free)


def _answer(one: Followed) -> Answer:
    return Answer(one.answer, one.addresses)


class Maker:
    """The one thread that carries out messages and makes what is given out."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._loop = asyncio.get_running_loop()

    async def do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Have it done, behind what was asked before; return what it returns. It is done, even if nobody waits."""
        return await self._loop.run_in_executor(self._thread, work, *arguments)

    def on_loop(self, work: Callable[[], bool]) -> bool:
        """Have it done in the thread of the event loop; return what it returns."""

        async def done() -> bool:
            return work()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result()

    async def end(self) -> None:
        """Wait for what is done, and drop what waits."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)


class Door:
    """The socket at which the compile process and the service arrive."""

    def __init__(self, exporter: Exporter, maker: Maker) -> None:
        self._exporter = exporter
        self._maker = maker

    async def arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one message."""
        try:
            async with asyncio.timeout(MESSAGE_S):
                message = MESSAGE.decode(await reader.readline())
                body = await reader.readexactly(message.octets) if isinstance(message, Stage) else b""
                status = await self._maker.do(self._exporter.take, message, body)
                writer.write(msgspec.json.encode(status) + b"\n")
                await writer.drain()
        except (OSError, ValueError, msgspec.DecodeError, asyncio.IncompleteReadError, TimeoutError) as error:
            # Not its text: what came may hold names.
            _log.warning("export: a message was not taken (%s)", type(error).__name__)
        finally:
            writer.close()


def _listening(path: str) -> socket.socket:
    """Return the socket that systemd hands over, else a new one at `path`; OSError."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=3)
    with suppress(FileNotFoundError):
        os.unlink(path)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)
    try:
        one.bind(path)
    finally:
        os.umask(before)
    one.listen(16)
    return one


def _keys(paths: tuple[str, ...]) -> list[Any]:
    found = []
    for path in paths:
        try:
            found.append(tsig.read_key(path))
        except tsig.KeyUnusable:
            raise Unusable(f"{path}: no TSIG key can be read there; tsig-keygen writes one (hmac-sha256)") from None
    return found


def check_account(request: ExportRequest) -> None:
    """Unusable if this process runs under an account that it may not have."""
    if request.demonstration:
        return
    if os.geteuid() == 0:
        raise Unusable("does not run as root: start blocklist-export.service, or as an account of its own")
    if os.access(request.state, os.R_OK | os.X_OK):
        raise Unusable(f"{request.state} can be read: this process needs an account apart from the service's")


async def serve(request: ExportRequest) -> None:
    """Give out zones and tables until SIGTERM or SIGINT; Unusable or OSError if that cannot be."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(_log_what_failed)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    maker = Maker()
    exporter = Exporter(request, on_loop=maker.on_loop)
    await maker.do(exporter.open)
    primary = export_primary.Primary(
        {
            one.name: export_primary.Served(exporter.zones[one.name], _keys(one.keys), one.secondaries, one.notify)
            for one in request.zones
        }
    )
    exporter.primary = primary
    context = None
    if request.listen_tls:
        context = export_primary.context_of(request.certificate, request.key, request.ca)
    primary.listen(request.listen, request.listen_tls, context)
    door = await asyncio.start_unix_server(
        Door(exporter, maker).arrived, sock=_listening(request.socket), limit=MAX_LINE_BYTES, **_DOOR
    )
    for one in request.zones:
        if exporter.zones[one.name].loaded:
            primary.notify(one.name)
    _log.warning("export: NAMES ARE GIVEN OUT IN PLAINTEXT, to the secondaries of %d zones", len(request.zones))
    looking = loop.create_task(_look(exporter, maker))
    await stop.wait()
    looking.cancel()
    door.close()
    await maker.end()
    await primary.close()


async def _look(exporter: Exporter, maker: Maker) -> None:
    """Lift lists and end releases at their time, and try again what could not be written."""
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            await maker.do(exporter.give_out)
        except Exception as error:  # noqa: BLE001 - a list has to end at its time all the same; the text may hold a name
            _log.error("export: internal error (%s): it is tried again", type(error).__name__)


def _log_what_failed(_loop: object, about: dict[str, Any]) -> None:
    _log.error("export: internal error (%s)", type(about.get("exception")).__name__)


def main() -> int:
    """Serve the one request of this process; return its exit status."""
    sys.excepthook = lambda *_: None
    log_ours_alone()
    try:
        request = msgspec.json.decode(sys.stdin.buffer.readline(), type=ExportRequest)
        check_account(request)
        limits.leave_no_dump()
        sys.setswitchinterval(SWITCH_S)
        limits.bound_memory(MEMORY_BYTES)
        asyncio.run(serve(request))
    except Unusable as error:
        _log.error("export: %s", error)
        return 2
    except OSError as error:
        at = f" ({error.filename})" if isinstance(error.filename, str) else ""
        _log.error("export: cannot start: %s%s", error.strerror or type(error).__name__, at)
        return 4
    except Exception as error:  # noqa: BLE001 - the text of an unforeseen error may hold a name
        _log.error("export: internal error (%s)", type(error).__name__)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
