"""The edge: a process of its own that ends TLS, HTTP and QUIC, and hands each DNS message to the service.

Runs as its own process under its own account (`python -I -m resolver.edge.process`): one line of JSON comes in on stdin
(edge.request). It has no list, no cache and no key but that of TLS; what it knows of a client is gone with the
connection.

Rules:
- Its addresses are bound before anything else, with SO_REUSEPORT: several edges share them, each on a core of its own.
- It does not run as root, and not if it can read the service's state: the folder and the network's octets never meet.
- It is not dumpable, has no core dump, bounded memory, and can gain no privileges; systemd's unit adds seccomp. The
  capability for ports below 1024, if it has it, is given up once they are bound.
- No request is logged, and no library logs anything. What is counted has no name and no client (edge.tallies).
- The service may come and go (edge.link). A crash of this process ends its own connections and no other query.
- A service that answered and then sends this process away is of another release: the process ends with EXIT_NOT_NOW,
  and systemd starts it again as the release that is installed. One that was never answered stays: it would come again.
- SIGHUP, and a change of their files, read certificate and key again; whatever else is configured needs a restart of
  the edges, one by one. SIGTERM ends it once the answers are with their clients.
"""

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from resolver.config.values import Endpoint, many
from resolver.core import codes
from resolver.edge import bounds, doh, http1, https, tls
from resolver.edge.accept import Clients, Doors
from resolver.edge.certificate import LOOK_S, Certificate, Pair, Unusable
from resolver.edge.link import Link
from resolver.edge.request import EdgeRequest
from resolver.edge.secured import Above, Secured
from resolver.edge.tallies import Tallies
from resolver.process import capabilities, limits
from resolver.process.log import log_ours_alone
from resolver.process.loop import collect_garbage_rarely, log_what_failed, loop_factory
from resolver.process.notify import Notify
from resolver.query import accept_sockets
from resolver.query.edge_frames import REPORT_S

USES: Final = {"tls": (tls.ALPN,), "https": (https.ALPN, http1.ALPN)}
"""The contexts of TLS, and the protocols that each offers."""
EXIT_UNUSABLE: Final = 2
EXIT_NOT_NOW: Final = 4
PINGS_A_PERIOD: Final = 3
QUIC_GRACE_S: Final = 2.0

_log: Final = logging.getLogger("resolver.edge")


class SentAway(Exception):
    """The service takes this process no more."""


Speaking = Callable[[Doors, Secured, str | None], Above]


def check_account(request: EdgeRequest) -> None:
    """Unusable if this process runs under an account that it may not have."""
    if request.demonstration:
        return
    if os.geteuid() == 0:
        raise Unusable("does not run as root: start blocklist-edge@1.service, or as an account of its own")
    if os.access(request.state, os.R_OK | os.X_OK):
        raise Unusable(f"{request.state} can be read: this process needs an account apart from the service's")


def bound(kind: int, addresses: Sequence[tuple[str, int]]) -> list[socket.socket]:
    """Return a socket for each address, which other edges may bind too; OSError."""
    found: list[socket.socket] = []
    try:
        for host, port in addresses:
            one = accept_sockets.bound(kind, Endpoint(host, port), shared=True)
            found.append(one)
            accept_sockets.prepare(kind, one)
    except OSError:
        for one in found:
            one.close()
        raise
    return found


@dataclass(frozen=True, slots=True)
class Sockets:
    """The bound sockets, by transport."""

    tls: Sequence[socket.socket] = ()
    https: Sequence[socket.socket] = ()
    quic: Sequence[socket.socket] = ()
    http3: Sequence[socket.socket] = ()


def over_http(path: bytes, once: doh.Fields, doors: Doors, connection: Secured, alpn: str | None) -> Above:
    """Return the version of HTTP that a client has chosen. once: fields that its first answer has, too; not through a
    load balancer, which HTTP/3 may not pass."""
    spoken = https.Http2 if alpn == https.ALPN else http1.Http1
    return spoken(doors, connection, path, doh.NO_FIELDS if connection.by_proxy else once)


class Edge:
    """What runs in this process."""

    def __init__(
        self, request: EdgeRequest, certificate: Certificate, notify: Notify, sent_away: Callable[[], None]
    ) -> None:
        self.tallies = Tallies(request.number)
        self.link = Link(request.socket, self.tallies.failed, sent_away)
        self.certificate = certificate
        self._request = request
        self._notify = notify
        self._clients = Clients(
            request.allow, request.exempt, request.proxies, request.connections, request.per_client
        )
        self._doors: list[Doors] = []
        self._quic: Any = None

    def open(self, sockets: Sockets) -> None:
        """Accept connections; Unusable if what QUIC needs is not installed."""
        if sockets.quic or sockets.http3:
            self._open_quic(sockets)
        offered = self._request.alternative if sockets.http3 else 0
        http = partial(over_http, self._request.path.encode(), doh.alternative_fields(offered))
        if sockets.tls:
            self._listen(codes.DOT, "tls", tls.Dot, bounds.DOT_IDLE_S, sockets.tls)
        if sockets.https:
            self._listen(codes.DOH, "https", http, bounds.DOH_IDLE_S, sockets.https)

    def _listen(
        self, transport: int, use: str, above: Speaking, idle_s: float, sockets: Sequence[socket.socket]
    ) -> None:
        doors = Doors(
            transport,
            clients=self._clients,
            link=self.link,
            tallies=self.tallies,
            secure=lambda: self.certificate.contexts[use],
            above=above,
            idle_s=idle_s,
        )
        doors.listen(sockets)
        self._doors.append(doors)

    def _open_quic(self, sockets: Sockets) -> None:
        try:
            from resolver.edge.http3 import HTTP3
            from resolver.edge.quic import DOQ
            from resolver.edge.quic_listen import Identity, QuicServer
        except ImportError:
            raise Unusable(
                "edge.quic and edge.http3 need aioquic: apt-get install blocklist-resolver-quic beside the Debian "
                "package, else pip install 'blocklist-resolver[quic]'; or leave both empty"
            ) from None

        def identity(pair: Pair) -> Identity:
            certificate, key = (Path(path).read_bytes() for path in (pair.certificate, pair.key))
            return Identity.of(certificate, key)

        try:
            first = identity(self.certificate.pair)
        except (OSError, ValueError):
            raise Unusable("edge.certificate, edge.key: QUIC cannot use them; expected PEM, an RSA or EC key") from None
        request = self._request
        self._quic = QuicServer(self._clients, self.link.post, self.tallies, first, path=request.path)
        self._quic.open(sockets.quic, DOQ)
        self._quic.open(sockets.http3, HTTP3)

        def use(pair: Pair) -> None:
            try:
                self._quic.use(identity(pair))
            except (OSError, ValueError):  # the files have changed again; they are looked at once more
                _log.error("edge.certificate: cannot be read for QUIC, which keeps the one before; renew it again")

        self.certificate.changed.append(use)

    async def close(self) -> None:
        """Take no more connections, and end those that there are once they have their answers."""
        ends = [one.stop() for one in self._doors]
        if self._quic is not None:
            ends.append(self._quic.close(QUIC_GRACE_S))
        await asyncio.gather(*ends)
        self.link.close()

    def reload(self) -> None:
        """Read certificate and key again."""
        self._notify.reloading()
        self.certificate.reload()
        self._notify.ready()

    async def look(self) -> None:
        """Look at the certificate's files, and send reports."""
        reported = float("-inf")
        loop = asyncio.get_running_loop()
        while True:
            self.certificate.look()
            self.tallies.expires = self.certificate.pair.expires
            if loop.time() - reported >= REPORT_S:
                reported = loop.time()
                self.link.report(self.tallies.frame())
            there = "" if self.link.connected else "the service is away; "
            fault = self.certificate.fault
            self._notify.status(
                f"{there}{f'certificate {fault}; ' if fault else ''}{many(self.tallies.connections, 'connection')}"
            )
            await asyncio.sleep(LOOK_S)


async def _ping(notify: Notify, period_s: float) -> None:
    while True:
        notify.alive()
        await asyncio.sleep(period_s / PINGS_A_PERIOD)


async def serve(request: EdgeRequest, sockets: Sockets, certificate: Certificate) -> None:
    """Serve until SIGTERM or SIGINT; SentAway."""
    loop, stop, sent_away = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def end() -> None:
        sent_away.set()
        stop.set()

    loop.set_exception_handler(log_what_failed)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    notify = Notify(os.environ.pop("NOTIFY_SOCKET", ""))
    edge = Edge(request, certificate, notify, end)
    loop.add_signal_handler(signal.SIGHUP, edge.reload)
    edge.open(sockets)
    tasks = [loop.create_task(edge.look())]
    period = os.environ.pop("WATCHDOG_USEC", "")
    if period.isdecimal():
        tasks.append(loop.create_task(_ping(notify, int(period) / 1e6)))
    collect_garbage_rarely()
    notify.ready()
    _log.info("edge %d: takes queries", request.number)
    await stop.wait()
    notify.stopping()
    await edge.close()
    for task in tasks:
        task.cancel()
    if sent_away.is_set():
        raise SentAway


def run(request: EdgeRequest) -> None:
    """Serve a request to its end; Unusable, SentAway, OSError."""
    check_account(request)
    capabilities.make_binding_effective()
    streams, datagrams = partial(bound, socket.SOCK_STREAM), partial(bound, socket.SOCK_DGRAM)
    sockets = Sockets(
        streams(request.tls), streams(request.https), datagrams(request.quic), datagrams(request.http3)
    )
    # Root, as in a demonstration, reads the certificate by its capabilities.
    if os.geteuid() != 0 and not capabilities.give_up():
        _log.error(
            "edge: the capability for ports below 1024 cannot be given up: a filter of system calls refuses capset; "
            "install the unit of this release, blocklist-edge@.service"
        )
    limits.leave_no_dump()
    limits.gain_no_privileges()
    limits.bound_memory(bounds.MEMORY_OCTETS)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    certificate = Certificate(request.certificate, request.key, request.name, USES, time.time)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(request, sockets, certificate))


def main() -> int:
    """Serve the one request of this process; return its exit status."""
    sys.excepthook = lambda *_: None
    log_ours_alone()
    try:
        run(msgspec.json.decode(sys.stdin.buffer.readline(), type=EdgeRequest))
    except Unusable as error:
        _log.error("edge: %s", error)
        return EXIT_UNUSABLE
    except SentAway:
        _log.error(
            "edge: the service takes this process no more (its log says why: another release, or edge.user is another "
            "account): it ends, to be started as the release that is installed"
        )
        return EXIT_NOT_NOW
    except OSError as error:
        at = f" ({error.filename})" if isinstance(error.filename, str) else ""
        _log.error("edge: cannot start: %s%s", error.strerror or type(error).__name__, at)
        return EXIT_NOT_NOW
    except Exception as error:  # noqa: BLE001 - the text of an unforeseen error may hold what a client sent
        _log.error("edge: internal error (%s)", type(error).__name__)
        return 1
    return 0


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
