"""The composition root: builds the parts, starts them in order, swaps tables, drains and stops.

Rules:
- Saved lists are in force before the first socket opens; answering depends on nothing that manages.
- DNS is served as far as the host allows: what else cannot be had at a start is said, and tried again. A start that
  this host does not allow now (HostFault) ends with another exit status than a configuration that must be edited.
- SIGTERM drains: what takes time ends first, then no new queries are taken and pending ones are answered, so that
  as few as can be wait in the sockets for the next process. SIGINT stops the same way.
- The sockets outlive the process: systemd keeps them over a restart (host.systemd), and a new process gets them while
  the old one still answers (hand_over). One process at a time owns the state folder (owner).
- A reload (SIGHUP, or over the control socket) polls every list now and reads the configuration again. What can change
  while serving is replaced whole. A file that is refused, or that changes what only a restart can, changes nothing.
- A task that ends by itself makes the service not ready and ends the process in order, so that it is restarted.
- No log line holds a name, a client, or the text of an exception.
"""

import asyncio
import logging
import secrets
import signal
import socket
import sys
import time
from array import array
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resolver.config.changes import changed, needing_restart
from resolver.config.config import Config, ConfigError, HostFault, load
from resolver.config.values import Endpoint, many, sockaddr
from resolver.control import server as control
from resolver.control.status import Reloaded
from resolver.core import codes
from resolver.core.crash_shape import Shape
from resolver.core.lane import MAX_OCTETS, Lane, Tables
from resolver.core.respond import dropped
from resolver.count.metrics import EXCHANGE_BOUNDS_S
from resolver.feed import poll
from resolver.process.loop import collect_garbage_rarely, log_what_failed
from resolver.query import accept_sockets
from resolver.query.accept_datagram import Datagrams
from resolver.query.accept_limits import Bounds
from resolver.query.accept_sockets import Missed
from resolver.query.accept_stream import QUERIES_A_SHARE, Streams
from resolver.query.answer import Answer
from resolver.query.answer_frames import FramedAnswers
from resolver.query.forward import Forward
from resolver.query.trace import Trace
from resolver.query.transport import Transport
from resolver.quiet_http.serve import serve_http
from resolver.service import newcomers, sockets
from resolver.service.checks import check
from resolver.service.cookie_host import CookieHost, secrets_of
from resolver.service.counters import Counters
from resolver.service.counting import Counting
from resolver.service.courier_host import CourierHost
from resolver.service.edge_host import EdgeHost, seats_for_edges
from resolver.service.enforcement import Enforcement, Unready
from resolver.service.faults import named
from resolver.service.hand_over import REPLY_S, NotTaken, Predecessor, Successor, command
from resolver.service.host import crash, systemd
from resolver.service.host.privileges import Privileges
from resolver.service.in_force import InForce
from resolver.service.late import Late
from resolver.service.owner import Owner
from resolver.service.page_host import PageHost
from resolver.service.plugin_host import PluginHost
from resolver.service.readings import Readings
from resolver.service.selftest import Place
from resolver.service.verbs import Refused, ServiceVerbs
from resolver.service.verbs_read import ReadVerbs

if TYPE_CHECKING:
    from resolver.engine.engine import Engine

DRAIN_S: Final = 5.0
CONTROL_S: Final = 10
NOTHING_HANDED: Final = systemd.Handed()

_log: Final = logging.getLogger("resolver")


class Service:
    """All parts of one process, for one configuration file."""

    def __init__(
        self,
        path: Path,
        config: Config,
        privileges: Privileges | None = None,
        handed: systemd.Handed = NOTHING_HANDED,
        predecessor: Predecessor | None = None,
    ) -> None:
        self.path = path
        self.config = config
        self._privileges = privileges
        self._handed = handed
        self._predecessor = predecessor
        self._successor: Successor | None = None
        self._feeding: list[asyncio.Task[None]] = []
        self._pages: dict[str, sockets.HttpServer] = {}
        self._counts = False
        self.started = time.time()
        self.notify = systemd.Notify(handed.address)
        self._stopping = asyncio.Event()
        self._failed = False
        self.last_reload: Reloaded | None = None
        self.late = Late(self._keep_sockets)
        self._without_control = False
        self._tasks: list[asyncio.Task[None]] = []
        self._one_reload = asyncio.Lock()
        self._reloads: set[asyncio.Task[None]] = set()
        with named(path, "state.directory", "cannot be used"):
            keys = poll.keys_of(config)
        # The way of a query.
        self._counters = array("Q", bytes(8 * codes.COUNTERS_SIZE))
        seats = range(max(QUERIES_A_SHARE, seats_for_edges(config.edge)))
        self._lane = Lane(self._counters, Shape(crash.memory()), [memoryview(bytearray(MAX_OCTETS)) for _ in seats])
        self.plugins = PluginHost(config.plugin, keys.digest)
        self.in_force = InForce(config, keys.digest, secrets.token_bytes(16), self._swap)
        self.cache = self.in_force.cache
        self.forward = Forward(
            config.upstream.servers,
            timeout_s=config.upstream.timeout,
            bounds_s=EXCHANGE_BOUNDS_S,
            case_randomization=config.upstream.case_randomization,
            zones={str(one.name): one.servers for one in config.upstream.zone},
            listed=config.upstream.order == "listed",
            ca=config.upstream.ca,
            pins=config.upstream.pins,
        )
        self._courier = CourierHost(self.forward.courier)
        self.answer = Answer(self.in_force.tables, lane=self._lane, forward=self.forward, clock=time.monotonic)
        drop = partial(dropped, self._lane)
        self.datagrams = self._datagrams_of(config, drop)
        self.edge = EdgeHost(config.edge, self.answer, self._lane, len(seats), self.datagrams)
        self.forward.serve(self.datagrams)
        counters = Counters([self._counters, self.plugins.counters, *self.datagrams.counters])
        self.streams = Streams(FramedAnswers(self.answer, self._lane, QUERIES_A_SHARE), drop, self._bounds_of(config))
        self._swap(self.in_force.tables)
        self.cookies = CookieHost(path, config, self.in_force.use_cookies)
        # The way of a list.
        with named(path, "state.directory", "cannot be used"):
            later = predecessor is not None
            lists = config, keys, self.in_force
            self.enforcement = Enforcement(*lists, places=self._places, counters=counters, later=later)
        self.answer.notified = self.enforcement.notified
        self.streams.allowed = lambda client: self.in_force.allows(client) or self.enforcement.expects(client)
        # The page, the way of a count, and the control socket.
        page = check(path, config)
        self._page = PageHost(page, self.in_force.spared) if page else None
        self.readings = Readings(
            counters,
            in_force=self.in_force,
            answer=self.answer,
            datagrams=self.datagrams,
            cache=self.cache,
            forward=self.forward,
            streams=self.streams,
            edge=self.edge,
            enforcement=self.enforcement,
            page=self._page,
            reloaded=self._is_reloaded,
            missing=self.missing,
        )
        self.counting: Counting
        if predecessor is None:
            self._count()
        self.trace = Trace(self.in_force.copied, forward=self.forward, clock=time.monotonic, named=self.in_force.named)
        self._control = control.Server(
            {**ServiceVerbs(self).verbs(), **self.enforcement.verbs(), **ReadVerbs(path).verbs()}
        )

    def _count(self) -> None:
        """Go on counting where the ledger ends."""
        with named(self.path, "state.directory", "cannot be used"):
            self.counting = Counting(self.config, self.readings, self.enforcement.feed, self.in_force.turn_day)
        self._counts = True

    async def run(self) -> int:
        """Serve until stopped; return the exit status."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(log_what_failed)
        # First: until then a signal ends the process, and reading a large image takes long.
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        try:
            if self._predecessor is not None:
                await self._take_over(self._predecessor)
            with named(self.path, "state.directory", "cannot be used"):
                self.enforcement.recover()
            await self._open()
            if self._privileges:
                self._privileges.give_up()
            self._courier.start(self._ended)
            self.datagrams.start()
        except ConfigError:
            await self._close()
            raise
        self._feed()
        if self._page:
            self._start(self._page.run(), "page")
        self._start(self.counting.run(), "publisher")
        self._start(self.in_force.turn_every_hour(), "tally")
        self._start(self.cookies.run(), "cookies")
        self._start(self._open_control_later(), "control")
        self._start(self.edge.run(lambda: bool(self._control.busy)), "edge")
        if self._handed.watchdog_s:
            self._start(systemd.watch(self.notify, self._handed.watchdog_s, self._is_alive), "watchdog")
        self.forward.shown = self._show_status
        self.forward.watch()
        collect_garbage_rarely()
        self._show_status()
        self.notify.ready()
        self._keep_sockets()
        _log.info("answering on %s", ", ".join(map(str, self.datagrams.addresses)))
        await self._stopping.wait()
        if self._successor is None:
            self.notify.stopping()
        await self._close()
        return int(self._failed)

    def stop(self) -> None:
        """End `run`: pending queries are answered first."""
        self._stopping.set()

    async def hand_over(self) -> int:
        """Have a new process take over, of what is installed and configured now; return its number, or NotTaken."""
        if self._control.busy or self._stopping.is_set():
            raise NotTaken("the service is being handed over, or stops")
        for one in self.late.wanted.values():
            raise NotTaken(f"{one}: only a restart can bind it")
        self._control.busy = "the service is being handed over to a new process: try again in a moment"
        try:
            async with self._one_reload:
                new = Successor(command(sys.argv, sys.orig_argv, sys.executable), self._handed)
                await new.takes_over(self._stop_feeding, self._sockets)
        except BaseException:
            self._control.busy = ""
            if not self._stopping.is_set():
                await self._feed_again()
            raise
        self._successor = new
        self.notify.main_process(new.pid)
        _log.info("process %d answers now: this one takes no more queries", new.pid)
        self.stop()
        return new.pid

    async def _take_over(self, old: Predecessor) -> None:
        """Answer in place of an old process, on its sockets; return when it has ended. HostFault if that cannot be."""
        try:
            kept = await asyncio.to_thread(old.sockets)
            self._handed = replace(self._handed, kept=tuple(kept))
            self.enforcement.preview()
            if not systemd.answers(self._asked):
                raise NotTaken("the own query was not answered")
            with named(self.path, "listen.dns", "cannot listen there"):
                await self._open_dns(all_of_it=True)
            self._courier.start(self._ended)
            self.datagrams.start()
            self.edge.open()
            collect_garbage_rarely()
            old.answering()
        except (NotTaken, Unready) as why:
            raise HostFault(str(self.path), "", f"nothing is taken over: {why}") from None
        _log.info("answering in place of the old process")
        with named(self.path, "state.directory", "cannot be used"):
            owner = Owner(self.config.state.directory)
            await old.ended(owner)
            await asyncio.to_thread(self.enforcement.feed.open_log)
        self._count()

    def _asked(self, packet: bytes, client: bytes) -> object:
        return self.answer.answer(packet, client, Transport.UDP)

    def _feed(self) -> None:
        """Start what changes lists: polls, releases, receipts."""
        tasks = {**self.enforcement.tasks(), "plugins": self.plugins.run()}
        self._feeding = [self._start(work, name) for name, work in tasks.items()]

    async def _stop_feeding(self) -> None:
        """Change no list any more."""
        for task in self._feeding:
            task.cancel()
        await asyncio.gather(*self._feeding, return_exceptions=True)

    async def _feed_again(self) -> None:
        self.edge.open()
        if any(one.cancelling() for one in self._feeding):
            await asyncio.gather(*self._feeding, return_exceptions=True)
            self._feed()

    def _sockets(self) -> list[sockets.Named]:
        return sockets.named(self.datagrams.sockets, self.streams.sockets, self._pages)

    def _keep_sockets(self) -> None:
        sockets.keep(self.notify, self._sockets(), self._handed.sockets)
        self._show_status()

    def unready(self) -> str:
        """Return why the service does not do all that it should, "" if it does: lists first, then upstreams."""
        if self._failed or self._stopping.is_set():
            return "the service is stopping"
        if not self.in_force.tables.complete:
            return "not every list is in force"
        return "" if self.forward.answering else "no upstream answers"

    def missing(self) -> tuple[str, ...]:
        """Return a line for each configured socket that no query or request can reach now."""
        sides = (("UDP", self.datagrams), ("TCP", self.streams))
        here = [
            f"listen.dns: {one} ({over}): not an address of this host now"
            for over, side in sides
            for one in sorted(set(side.addresses) - set(side.reachable), key=str)
        ]
        control = ("control.socket: it cannot be made",) if self._without_control else ()
        rest = (*(self._page.missing() if self._page else ()), *self.edge.missing())
        return (*map(str, self.late.wanted.values()), *here, *control, *rest)

    async def reload(self) -> tuple[str, ...]:
        """Poll every list now, and take the configuration file; return the keys that changed, or raise Refused."""
        async with self._one_reload:
            if self._control.busy:
                raise Refused(self._control.busy, self._control.busy)
            self.notify.reloading()
            try:
                return await self._read_again()
            finally:
                self._show_status()
                self.notify.ready()

    async def _read_again(self) -> tuple[str, ...]:
        self.enforcement.feed.trigger()
        try:
            keys = await self._take()
        except Refused as refused:
            self.last_reload = Reloaded(at=int(time.time()), good=False, where=refused.where, restart=refused.restart)
            # Not the reason: it may repeat a value, and a value pasted by mistake would stay in the log.
            _log.error("reload refused, the old configuration stays; %s", refused.where)
            raise
        self.last_reload = Reloaded(at=int(time.time()), good=True)
        _log.info("configuration read again")
        return keys

    def _hang_up(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload_quietly(), name="reload")
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload_quietly(self) -> None:
        # A signal has no reply; the log has the result.
        with suppress(Refused):
            await self.reload()

    def _is_reloaded(self) -> bool:
        """Return whether the last reload took the file, or there was none."""
        return self.last_reload is None or self.last_reload.good

    async def _take(self) -> tuple[str, ...]:
        try:
            config = load(self.path)
            page = check(self.path, config)
            cookies = secrets_of(self.path, config)
        except ConfigError as error:
            raise Refused(str(error), f"check-config says why: {error.where}") from None
        keys = changed(self.config, config)
        waiting = ", ".join(needing_restart(keys))
        if waiting:
            said = f"restart to change: {waiting}"
            raise Refused(f"{self.path}: {said}", said, restart=True)
        await self.enforcement.prepare(config)
        exact = self.readings.exact()
        try:
            self.enforcement.configure(config)
        except OSError as error:
            why = f"state.directory: the folder of a new list cannot be used: {error.strerror or type(error).__name__}"
            raise Refused(f"{self.path}: {why}; nothing has changed", why) from None
        self.cookies.take(config, cookies)
        self.counting.configure(config, exact)
        newcomers.tell(self.config, config)
        self.edge.configure(config.edge)
        self.streams.bounds = self._bounds_of(config)
        self.forward.case_randomization = config.upstream.case_randomization
        self.forward.timeout_s = config.upstream.timeout
        for server in self.forward.servers:
            server.timeout_s = config.upstream.timeout
        if self._page and page:
            self._page.show(page)
        self.config = config
        return keys

    def _bounds_of(self, config: Config) -> Bounds:
        limits = config.limits
        return Bounds(limits.connections, limits.connections_per_client, self.in_force.spares)

    def _places(self) -> list[Place]:
        """Return the sockets that take queries now, and resolvers with our plugin."""
        datagrams = [Place(one, Transport.UDP) for one in self.datagrams.reachable]
        streams = (Place(one, Transport.TCP) for one in self.streams.reachable)
        return [*datagrams, *streams, *self.plugins.places]

    def _datagrams_of(self, config: Config, drop: Callable[[str], None]) -> "Datagrams | Engine":
        if config.listen.engine == "python":
            return Datagrams(self.answer.answer, drop)
        # Only here: it is bound to the compiled core, and the plain one has the event loop alone.
        from resolver.engine.engine import Engine

        threads, shape = config.listen.threads, lambda: Shape(crash.memory())
        forwards = [one.endpoint for one in self.forward.servers], EXCHANGE_BOUNDS_S
        return Engine(self.answer.resume, drop, self.in_force.tables, threads, shape=shape, forwards=forwards)

    def _swap(self, tables: Tables) -> None:
        self.answer.tables = tables
        self.datagrams.use(tables)
        self.streams.use(tables)
        self.plugins.use(tables)
        self._show_status()

    def _show_status(self) -> None:
        """Show the status in one line of systemd; per-list status goes only to the control socket."""
        if not self._tasks:
            return
        enforced = "every list is enforced" if self.readings.enforcing() else "not every list is enforced"
        upstream = "; NO upstream answers" if self.forward.silent else ""
        reload = "" if self._is_reloaded() else "; the last reload was refused"
        count = len(self.missing())
        missing = f"; NOT listening on {many(count, 'socket')}" if count else ""
        self.notify.status(f"answering; {enforced}{upstream}{reload}{missing}")

    def _is_alive(self) -> bool:
        """Return whether a query is answered. Show the status too: a verdict may have failed since the last change."""
        self._show_status()
        return self.datagrams.runs() and systemd.answers(self._asked)

    async def _open(self) -> None:
        """Open every socket, DNS last; HostFault with its key if DNS cannot be served at all.

        What of the page, the metrics and further addresses of DNS cannot be had is tried again while DNS is served.
        """
        exporter = self.counting.exporter(self.unready)
        config = self.config
        with self._privileges.borrowed() if self._privileges else nullcontext():
            if self._page:
                await self._serve_http("page", config.page.listen, self._page.open)
            await self._serve_http("metrics", [config.metrics.listen], partial(serve_http, exporter.respond))
            await self._open_control()
            if self._predecessor is None:
                self.edge.open()
                with named(self.path, "listen.dns", "cannot listen there"):
                    await self._open_dns()
            self.late.start(self._privileges.account if self._privileges else (0, 0))

    async def _serve_http(
        self, use: str, listen: Sequence[Endpoint], serve: Callable[..., Awaitable[sockets.HttpServer]]
    ) -> None:
        """Serve the page or the metrics; an address that is not usable now comes later, and delays no DNS."""
        missed: dict[int, OSError] = {}
        key, given = f"{use}.listen", sockets.kept(self._handed.kept, use)
        with named(self.path, key, "cannot listen there"):
            self._pages[use] = served = await serve(listen=map(sockaddr, listen), missed=missed, given=given)
        sockets.close_others(given, served.sockets)
        for number, error in missed.items():
            self.late.add(key, socket.SOCK_STREAM, listen[number], error, served.add)

    async def _open_control(self) -> None:
        """Open the control socket; without one DNS is served all the same, and the socket is tried again later."""
        try:
            await self._control.open(self.config.control)
        except control.Unusable as error:
            if error.lasting:
                raise ConfigError(str(self.path), "control.socket", str(error)) from None
            said = "%s: control.socket: %s; no verb reaches the service until then; it is tried again every %d s"
            _log.error(said, self.path, error, CONTROL_S)
            self._without_control = True

    async def _open_control_later(self) -> None:
        while True:
            await asyncio.sleep(CONTROL_S)
            if self._without_control:
                with suppress(control.Unusable):
                    await self._control.open(self.config.control)
                    self._without_control = False
                    _log.info("control.socket: now listening")

    async def _open_dns(self, *, all_of_it: bool = False) -> None:
        """Listen on every address of listen.dns; HostFault if none takes queries over UDP, or not `all_of_it`."""
        missed: list[Missed] = []
        listen, kept = self.config.listen.dns, sockets.kept(self._handed.kept, "dns")
        # The address of a kept socket may have gone from the configuration since, or have a socket unit now.
        given = (*self._handed.sockets, *accept_sockets.wanted(listen, kept, self._handed.sockets))
        await self.streams.open(listen, given, missed)
        self.datagrams.open(listen, given, missed)
        sockets.close_others(kept, given)
        if missed and (all_of_it or not self.datagrams.addresses):
            raise missed[-1].error
        for one in missed:
            take = self.datagrams.add if one.kind == socket.SOCK_DGRAM else self.streams.add
            self.late.add("listen.dns", one.kind, one.endpoint, one.error, take)

    async def _close(self) -> None:
        await self.late.close()
        await self._control.close(REPLY_S if self._successor is not None else 0.0)
        for task in (*self._reloads, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._reloads, *self._tasks, return_exceptions=True)
        for server in self._pages.values():
            await server.stop()
        self.datagrams.close()
        self.streams.close()
        self.edge.edges.close()
        try:
            async with asyncio.timeout(DRAIN_S):
                await self.datagrams.drained()
                await self.streams.drained()
                await self.edge.edges.drained()
        except TimeoutError:
            _log.warning("stopped before all pending queries were answered")
        self.edge.close()
        if self._counts:
            self.counting.leave()
        await self.forward.close()
        await self._courier.stop()

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        self._failed = True
        error = task.exception()
        _log.error("%s ended (%s); stopping", task.get_name(), type(error).__name__)
        self.stop()
