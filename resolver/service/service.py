"""The composition root: builds the parts, starts them in order, swaps what is in force, drains and stops.

Rules:
- What was saved is in force before the first socket opens; what answers depends on nothing that manages.
- SIGTERM drains: no new queries, the ones on their way are answered. SIGINT stops the same way.
- A reload (SIGHUP, or over the control socket) polls every list now and reads the configuration again: what can change
  while serving is replaced whole; one that is refused, or that changes what only a restart can, changes nothing.
- A task of ours that ends by itself makes us not ready and ends the process in order, so that it is started anew.
- Nothing that is logged holds a name, a client, or the text of an exception.
"""

import asyncio
import logging
import mmap
import os
import resource
import secrets
import signal
import sys
import time
from array import array
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from resolver import quiet_http
from resolver.cli.screen_service import Reloaded
from resolver.config.changes import changed, needing_restart
from resolver.config.config import HELP_KINDS, Config, ConfigError, load
from resolver.control import server as control
from resolver.core import admit, codes, tally
from resolver.core.crash_shape import Shape
from resolver.core.store import Store
from resolver.count.metrics import EXCHANGE_BOUNDS_S
from resolver.feed import poll, sandbox
from resolver.feed.seal import KeyUnusable
from resolver.page.show import Page
from resolver.query.accept_datagram import Datagrams
from resolver.query.accept_limits import Bounds
from resolver.query.accept_stream import Streams
from resolver.query.answer import Answer
from resolver.query.block import Block
from resolver.query.cache import Cache
from resolver.query.forward import Forward
from resolver.query.query import Tables
from resolver.query.respond import Respond
from resolver.query.trace import Trace
from resolver.query.transport import Transport
from resolver.service.checks import check
from resolver.service.counting import Counting
from resolver.service.enforcement import Custody
from resolver.service.host import crash, systemd
from resolver.service.host.privileges import Privileges
from resolver.service.in_force import InForce
from resolver.service.readings import Readings
from resolver.service.selftest import Place
from resolver.service.verbs import Desk, Parts, Refused

DRAIN_S: Final = 5.0
TALLY_OCTETS: Final = 3 * 2**21
HOUR_S: Final = 3600
PAUSE_S: Final = 0.001
"""Between two stretches of a work that need not be done at once: queries first."""
NOTHING_HANDED: Final = systemd.Handed()
NO_PAGE: Final[Mapping[str, int]] = dict.fromkeys(HELP_KINDS, 0)

_log: Final = logging.getLogger("resolver")


class Service:
    """All parts of one process, for one configuration file."""

    def __init__(
        self,
        path: Path,
        config: Config,
        privileges: Privileges | None = None,
        handed: systemd.Handed = NOTHING_HANDED,
    ) -> None:
        self._path = path
        self._config = config
        self._privileges = privileges
        self._handed = handed
        self._notify = systemd.Notify(handed.address)
        self._stop = asyncio.Event()
        self._failed = False
        self._last_reload: Reloaded | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._servers: list[quiet_http.QuietServer] = []
        with _named(path, "state.directory", "cannot be used"):
            keys = poll.keys_of(config)
        self._counters = array("Q", bytes(8 * codes.COUNTERS_SIZE))
        self._tally = tally.Tally(mmap.mmap(-1, TALLY_OCTETS), secrets.token_bytes(16))
        self._in_force = InForce(config, keys.digest, secrets.token_bytes(16), self._swap)
        memory = Store(mmap.mmap(-1, config.cache.size), secrets.token_bytes(16), int(config.cache.stale))
        self._cache = Cache(memory, self._counters)
        self._forward = Forward(
            config.upstream.servers,
            timeout_s=config.upstream.timeout,
            bounds_s=EXCHANGE_BOUNDS_S,
            case_randomization=config.upstream.case_randomization,
        )
        self._answer = Answer(
            self._in_force.tables,
            block=Block(self._tally, self._counters),
            cache=self._cache,
            forward=self._forward,
            respond=Respond(self._counters),
            clock=time.monotonic,
            shape=Shape(crash.memory()),
        )
        self._datagrams = Datagrams(self._answer.answer, Respond(self._counters).dropped)
        self._streams = Streams(self._answer.answer, Respond(self._counters).dropped, self._bounds_of(config))
        self._trust_by(config)
        with _named(path, "state.directory", "cannot be used"):
            self._custody = Custody(config, keys, self._in_force, places=self._places, counters=self._counters)
        self._answer.notified = self._custody.notified
        page = check(path, config)
        self._page = Page(page) if page else None
        self._readings = Readings(
            self._counters,
            in_force=self._in_force,
            answer=self._answer,
            cache=self._cache,
            forward=self._forward,
            streams=self._streams,
            feed=self._custody.feed,
            views=lambda: self._page.views if self._page else 0,
            followed=lambda: self._page.followed if self._page else NO_PAGE,
            reloaded=self._is_as_written,
            release_end=self._custody.releases.expiry_of,
        )
        with _named(path, "state.directory", "cannot be used"):
            self._counting = Counting(
                config, self._readings, self._custody.feed, subscribers=lambda: self._config.count.subscribers
            )
        self._control = control.Server({**self._desk().verbs(), **self._custody.verbs()})

    def _desk(self) -> Desk:
        return Desk(
            Parts(
                path=self._path,
                started=time.time(),
                config=lambda: self._config,
                ready=self._ready,
                live=self._readings.live,
                published=self._counting.published,
                feed=self._custody.feed,
                releases=self._custody.releases,
                reports=self._custody.reports,
                last_reload=lambda: self._last_reload,
                reload=self.reload,
                flush=partial(self._cache.flush, pause=partial(asyncio.sleep, PAUSE_S)),
                walk=Trace(
                    self._in_force.copied, memory=self._cache.memory, forward=self._forward, clock=time.monotonic
                ).walk,
            )
        )

    async def run(self) -> int:
        """Serve until stopped; return the exit status."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_say_what_failed)
        # First, for a signal that nobody waits for yet would end the process while a large image is read.
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        try:
            with _named(self._path, "state.directory", "cannot be used"):
                self._custody.recover()
            await self._open()
            if self._privileges:
                self._privileges.give_up()
        except ConfigError:
            await self._close()
            raise
        for name, work in self._custody.tasks().items():
            self._start(work, name)
        self._start(self._counting.run(), "publisher")
        self._start(self._turn_every_hour(), "tally")
        if self._handed.watchdog_s:
            self._start(systemd.watch(self._notify, self._handed.watchdog_s, self._is_alive), "watchdog")
        self._tell()
        self._notify.ready()
        _log.info("answering on %s", ", ".join(map(str, self._datagrams.addresses)))
        await self._stop.wait()
        self._notify.stopping()
        await self._close()
        return int(self._failed)

    def reload(self) -> tuple[str, ...]:
        """Poll every list now, and take what changed in the configuration file; return its keys, or raise Refused."""
        self._notify.reloading()
        try:
            return self._read_again()
        finally:
            self._tell()
            self._notify.ready()

    def _read_again(self) -> tuple[str, ...]:
        self._custody.feed.trigger()
        try:
            keys = self._take()
        except Refused as refused:
            self._last_reload = Reloaded(at=int(time.time()), good=False, where=refused.where, restart=refused.restart)
            # Not the reason: it may repeat a value, and whatever was pasted there would stay in the log.
            _log.error("reload refused, the old configuration stays; %s", refused.where)
            raise
        self._last_reload = Reloaded(at=int(time.time()), good=True)
        _log.info("configuration read again")
        return keys

    def _hang_up(self) -> None:
        # Whoever sent the signal waits for no answer; the log has it.
        with suppress(Refused):
            self.reload()

    def _is_as_written(self) -> bool:
        return self._last_reload is None or self._last_reload.good

    def _take(self) -> tuple[str, ...]:
        try:
            config = load(self._path)
            page = check(self._path, config)
        except ConfigError as error:
            raise Refused(str(error), f"check-config says why: {error.where}") from None
        keys = changed(self._config, config)
        waiting = ", ".join(needing_restart(keys))
        if waiting:
            said = f"restart to change: {waiting}"
            raise Refused(f"{self._path}: {said}", said, restart=True)
        self._in_force.configure(config)
        self._streams.bounds = self._bounds_of(config)
        self._trust_by(config)
        self._cache.memory.stale_s = int(config.cache.stale)
        self._forward.case_randomization = config.upstream.case_randomization
        self._forward.timeout_s = config.upstream.timeout
        for server in self._forward.servers:
            server.timeout_s = config.upstream.timeout
        if self._page and page:
            self._page.show(page)
        self._config = config
        return keys

    def _bounds_of(self, config: Config) -> Bounds:
        limits = config.limits
        return Bounds(limits.connections, limits.connections_per_client, self._in_force.spares)

    def _places(self) -> list[Place]:
        """The sockets that queries come in by."""
        datagrams = [Place(one, Transport.UDP) for one in self._datagrams.addresses]
        return [*datagrams, *(Place(one, Transport.TCP) for one in self._streams.addresses)]

    def _trust_by(self, config: Config) -> None:
        """Say from whom a PROXY header names the client; without load balancers nothing is asked of a query."""

        def trusted(sender: bytes) -> bool:
            return bool(admit.trusts(self._in_force.tables.access, sender))

        self._datagrams.trusted = self._streams.trusted = trusted if config.listen.proxy_from else None

    def _ready(self) -> bool:
        return self._in_force.tables.complete and not self._failed and not self._stop.is_set()

    def _swap(self, tables: Tables) -> None:
        self._answer.tables = tables
        self._tell()

    def _tell(self) -> None:
        """Tell systemd in a line how we are; what it is with each list is for who may ask."""
        if not self._tasks:
            return
        enforced = "every list is enforced" if self._readings.enforcing() else "not every list is enforced"
        reload = "" if self._is_as_written() else "; the last reload was refused"
        self._notify.status(f"answering; {enforced}{reload}")

    def _is_alive(self) -> bool:
        """Tell whether a query is answered; and how we are, for a verdict may have failed since the last change."""
        self._tell()
        return systemd.answers(lambda packet, client: self._answer.answer(packet, client, Transport.UDP))

    async def _open(self) -> None:
        """Open every socket, DNS last; ConfigError with its key where one cannot be opened."""
        exporter = self._counting.exporter(self._ready)
        path, config, taken = self._path, self._config, "cannot listen there"
        with self._privileges.borrowed() if self._privileges else nullcontext():
            if self._page:
                with _named(path, "page.listen", taken):
                    served = await quiet_http.serve(self._page.respond, config.page.listen, quiet_http.PAGE)
                    self._servers.append(served)
            with _named(path, "metrics.listen", taken):
                served = await quiet_http.serve(exporter.respond, [config.metrics.listen], quiet_http.METRICS)
                self._servers.append(served)
            try:
                await self._control.open(config.control)
            except control.Unusable as error:
                raise ConfigError(str(path), "control.socket", str(error)) from None
            with _named(path, "listen.dns", taken):
                await self._streams.open(config.listen.dns, self._handed.sockets)
                self._datagrams.open(config.listen.dns, self._handed.sockets)

    async def _close(self) -> None:
        await self._control.close()
        self._datagrams.close()
        self._streams.close()
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._datagrams.drained()
                await self._streams.drained()
        except TimeoutError:
            _log.warning("stopped with answers still on their way")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._counting.leave()
        await self._forward.close()
        for server in self._servers:
            await server.stop()

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        self._failed = True
        error = task.exception()
        _log.error("%s ended (%s); stopping", task.get_name(), type(error).__name__)
        self._stop.set()

    async def _turn_every_hour(self) -> None:
        while True:
            await asyncio.sleep(HOUR_S)
            tally.turn(self._tally, secrets.token_bytes(16))


@contextmanager
def _named(path: Path, key: str, what: str) -> Iterator[None]:
    """Say of what the system refuses which key of the configuration asks for it."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(str(path), key, str(error)) from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else type(error).__name__
        raise ConfigError(str(path), key, f"{what}: {why}") from None


def _say_what_failed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Name the kind of what failed in the loop and nothing else: messages and reprs may hold an address."""
    del loop
    _log.error("in the event loop: %s", type(context.get("exception")).__name__)


def serve(path: Path) -> int:
    """Serve by the configuration at `path` until a signal; return 0, or 1 where it could not go on."""
    config = load(path)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    sandbox.leave_no_dump()
    loop_factory = _loop_factory()
    # After every import: what is not loaded yet has no name in its report.
    crash.watch()
    try:
        handed = systemd.take(os.environ, os.getpid())
    except systemd.SocketsUnusable as error:
        raise ConfigError(str(path), "listen.dns", f"sockets that systemd handed over: {error}") from None
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    privileges = Privileges(path, config)
    privileges.step_down()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(_serve(path, config, privileges, handed))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's where it is installed, else None for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(
    path: Path, config: Config, privileges: Privileges | None = None, handed: systemd.Handed = NOTHING_HANDED
) -> int:
    try:
        service = Service(path, config, privileges, handed)
    except KeyUnusable as error:
        raise ConfigError(str(path), "", str(error)) from None
    return await service.run()
