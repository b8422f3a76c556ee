"""Names the sockets of the service for the process that comes after: over a hand-over, and over a restart by systemd.

Rules:
- A name says for what a socket is, and its number where several listen at one address; the address is the socket's own.
- A kept socket that nothing uses any more is closed: queries that came to it would wait for nobody.
- systemd keeps those of DNS alone. An earlier release that is started in place of this one knows no names, and refuses
  every socket that `listen.dns` does not name; page and metrics are bound again.
- Sockets of a socket unit are not given to systemd again: it has them.
"""

import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from resolver.query.accept_sockets import Receiving
from resolver.service.host.systemd import Kept, Notify

DNS: Final = "dns.0"
Named: TypeAlias = tuple[str, Receiving | socket.socket]
"""A socket and its name of systemd.KEPT."""


class HttpServer(Protocol):
    """The page or the metrics."""

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """The sockets that it listens on."""

    def add(self, one: socket.socket) -> None:
        """Listen on one more bound socket; OSError if another process listens there."""

    async def stop(self) -> None:
        """Stop listening, and let pending responses reach their clients."""


def named(
    datagrams: Sequence[Receiving], streams: Sequence[socket.socket], pages: Mapping[str, HttpServer]
) -> list[Named]:
    """Return every socket that the next process may have."""
    dns: list[Named] = [*((DNS, one) for one in datagrams), *((DNS, one) for one in streams)]
    return [*dns, *((f"{use}.0", one) for use, server in pages.items() for one in server.sockets)]


def kept(given: Iterable[Kept], use: str) -> list[socket.socket]:
    """Return those of `given` for one use."""
    return [one for name, one in given if name == f"{use}.0"]


def keep(notify: Notify, ours: Sequence[Named], of_units: Iterable[socket.socket]) -> None:
    """Have systemd keep our sockets of DNS, but those that it holds for a socket unit."""
    theirs = {one.fileno() for one in of_units}
    notify.keep(DNS, [one.fileno() for name, one in ours if name == DNS and one.fileno() not in theirs])


def close_others(given: Iterable[socket.socket], used: Iterable[socket.socket]) -> None:
    """Close the sockets of `given` that are not used."""
    wanted = {id(one) for one in used}
    for one in given:
        if id(one) not in wanted:
            one.close()
