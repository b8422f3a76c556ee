"""Opens the sockets that receive queries: binds them or takes those handed over, and sets their options.

Rules:
- A socket that was handed over serves the address that it is bound to. It is refused if that address is not
  configured, and so is a second socket for the same address.
- A forged "packet too big" must not make the kernel fragment answers (IP_PMTUDISC_OMIT; RFC 9715): no answer is larger
  than every path allows.
- A UDP query to a wildcard address is answered from the address that it was sent to (RFC 2181 4.1). Other sockets
  avoid the cost of that.
- A receive buffer of UDP is never made smaller: systemd may give one beyond net.core.rmem_max, and what it holds is
  what no process reads during a restart.
- An address that this host does not have yet (of a routing daemon, or still tentative) is bound all the same
  (IP_FREEBIND), with a line in the log: queries are answered once it is there.
- IPv6 sockets take no IPv4. The kernel's buffers for a TCP connection, and its wait for an acknowledgement, are
  bounded.
"""

import contextlib
import errno
import logging
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from resolver.config.values import Endpoint, sockaddr

DATAGRAM_OCTETS: Final = 4 * 2**20
STREAM_OCTETS: Final = 2**16
BACKLOG: Final = 4096
UNACKNOWLEDGED_MS: Final = 30_000

# Linux's numbers (in.h, in6.h), which Python's socket does not name.
_IP_PKTINFO: Final = 8
_MTU_DISCOVER: Final = {socket.AF_INET: (socket.IPPROTO_IP, 10), socket.AF_INET6: (socket.IPPROTO_IPV6, 23)}
_PMTUDISC_OMIT: Final = 5
_FREEBIND: Final = {socket.AF_INET: (socket.IPPROTO_IP, 15), socket.AF_INET6: (socket.IPPROTO_IPV6, 78)}

_V4_INFO: Final = struct.Struct("=i4s4s")
_V6_INFO: Final = struct.Struct("=16sI")
_CONTROL_OCTETS: Final = socket.CMSG_SPACE(_V6_INFO.size)
_LINK_LOCAL: Final = (0xFE80, 0xFFC0)
RMEM_MAX: Final = Path("/proc/sys/net/core/rmem_max")
WMEM_MAX: Final = Path("/proc/sys/net/core/wmem_max")

_log: Final = logging.getLogger("resolver")

_Place = tuple[bytes, int, int]


class Receiving(Protocol):
    """Receives and sends datagrams. `peer` starts with host and port; the rest of it is private to the socket."""

    def recvfrom(self, size: int, /) -> tuple[bytes, Any]:
        """Return the next datagram and its sender; raise BlockingIOError if there is none."""

    def sendto(self, data: bytes, peer: Any, /) -> int:
        """Send a datagram to a peer."""

    def fileno(self) -> int:
        """Return the file descriptor."""

    def getsockname(self) -> Any:
        """Return the address that the socket is bound to."""

    def close(self) -> None:
        """Close the socket."""


class Wildcard:
    """A UDP socket on a wildcard address, which answers from the address that each query was sent to."""

    def __init__(self, one: socket.socket) -> None:
        self._socket = one
        self.fileno = one.fileno
        self.getsockname = one.getsockname
        self.close = one.close
        if one.family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            one.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)

    def recvfrom(self, size: int, /) -> tuple[bytes, Any]:
        """Return the next datagram and its sender, with what `sendto` needs to answer from the same address."""
        data, control, _, peer = self._socket.recvmsg(size, _CONTROL_OCTETS)
        return data, (*peer, [asked(*one) for one in control])

    def sendto(self, data: bytes, peer: Any, /) -> int:
        """Send a datagram to a peer, from the address that the peer's own datagram was sent to."""
        return self._socket.sendmsg((data,), peer[-1], 0, peer[:-1])


def asked(level: int, kind: int, info: bytes) -> tuple[int, int, bytes]:
    """Turn the control message about a datagram's destination into the one that sets the answer's source.

    Routing chooses the interface, except for link-local addresses, which need theirs.
    """
    if level == socket.IPPROTO_IP:
        _, local, _ = _V4_INFO.unpack(info)
        return level, kind, _V4_INFO.pack(0, local, bytes(4))
    address, interface = _V6_INFO.unpack(info)
    prefix, mask = _LINK_LOCAL
    bound = int.from_bytes(address[:2], "big") & mask == prefix
    return level, kind, _V6_INFO.pack(address, interface if bound else 0)


class Missed(NamedTuple):
    """An address that could not be bound, and why."""

    kind: int
    endpoint: Endpoint
    error: OSError


def datagrams(
    listen: Sequence[Endpoint], given: Sequence[socket.socket] = (), missed: list[Missed] | None = None
) -> list[Receiving]:
    """Return a UDP socket for each address: that of `given` if there is one, else a new one.

    missed: takes the addresses that cannot be bound; without it the first raises OSError. Raise ValueError if a given
    socket is for none of the addresses; no new socket is then left open.
    """
    return [receiving(one) for one in _opened(socket.SOCK_DGRAM, listen, given, missed)]


def streams(
    listen: Sequence[Endpoint], given: Sequence[socket.socket] = (), missed: list[Missed] | None = None
) -> list[socket.socket]:
    """Return a listening TCP socket for each address, as `datagrams` does."""
    return _opened(socket.SOCK_STREAM, listen, given, missed)


def wanted(
    listen: Iterable[Endpoint], kept: Iterable[socket.socket], given: Iterable[socket.socket] = ()
) -> list[socket.socket]:
    """Return the sockets of `kept` that serve an address, one for each transport and none beside one of `given`."""
    places = set(map(_place, listen))
    taken = {(one.type, _place_of(one)) for one in given}
    found = []
    for one in kept:
        key = one.type, _place_of(one)
        if key[1] in places and key not in taken:
            taken.add(key)
            found.append(one)
    return found


def receiving(one: socket.socket) -> Receiving:
    """Return what receives the datagrams of a bound UDP socket."""
    return Wildcard(one) if _is_wildcard(one) else one


def bound_to(one: Receiving | socket.socket) -> Endpoint:
    """Return the address that a socket is bound to, a link-local one with its interface."""
    host, port, *more = one.getsockname()
    if more and more[1] and "%" not in host:
        host = f"{host}%{socket.if_indextoname(more[1])}"
    return Endpoint(host, port)


def is_here(one: Receiving | socket.socket) -> bool:
    """Return whether queries can arrive: False while an address that was bound early is not yet one of this host's."""
    early = isinstance(one, socket.socket) and one.getsockopt(*_FREEBIND[one.family])
    return not early or not is_missing(bound_to(one).host)


def is_missing(host: str) -> bool:
    """Return whether no socket can be bound to an address, because it is none of this host's."""
    try:
        _bind_once(host)
    except OSError as error:
        return error.errno == errno.EADDRNOTAVAIL
    return False


def is_ours(host: str) -> bool:
    """Return whether an address is one of this host's, that is whether a socket can be bound to it.

    Return False if the system allows binding to any address (ip_nonlocal_bind).
    """
    version = "ipv6" if ":" in host else "ipv4"
    with contextlib.suppress(OSError):
        if Path(f"/proc/sys/net/{version}/ip_nonlocal_bind").read_text().strip() == "1":
            return False
    with contextlib.suppress(OSError):
        _bind_once(host)
        return True
    return False


def _bind_once(host: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(sockaddr(Endpoint(host, 0)))


def _opened(
    kind: int, listen: Sequence[Endpoint], given: Sequence[socket.socket], missed: list[Missed] | None
) -> list[socket.socket]:
    handed = _by_place(one for one in given if one.type == kind)
    for unnamed in handed.keys() - set(map(_place, listen)):
        raise ValueError(f"a socket for {_endpoint_of(unnamed)} was handed over, and listen.dns does not name it")
    ours: list[socket.socket] = []
    found: list[socket.socket] = []
    try:
        for endpoint in listen:
            one = handed.get(_place(endpoint))
            if one is None:
                try:
                    one = bound(kind, endpoint)
                    ours.append(one)
                    prepare(kind, one)
                except OSError as error:
                    if missed is None:
                        raise
                    if one is not None:
                        one.close()
                    missed.append(Missed(kind, endpoint, error))
                    continue
            else:
                prepare(kind, one)
            found.append(one)
    except OSError:
        for one in ours:
            one.close()
        raise
    return found


def _by_place(given: Iterable[socket.socket]) -> dict[_Place, socket.socket]:
    """Return the sockets by the place they are bound to.

    Raise ValueError if two are bound to the same: the kernel would give queries to a socket that is never read.
    """
    found: dict[_Place, socket.socket] = {}
    for one in given:
        place = _place_of(one)
        if place in found:
            raise ValueError(f"two sockets for {_endpoint_of(place)} were handed over: only one of them can be read")
        found[place] = one
    return found


def _endpoint_of(place: _Place) -> Endpoint:
    octets, _, port = place
    return Endpoint(str(ip_address(octets)), port)


def _place(endpoint: Endpoint) -> _Place:
    """Return the octets of an endpoint's address, the number of its interface (0 for none), and the port."""
    host, port, *more = sockaddr(endpoint)
    return ip_address(host).packed, more[1] if more else 0, port


def _place_of(one: socket.socket) -> _Place:
    host, port, *more = one.getsockname()
    return ip_address(host.partition("%")[0]).packed, more[1] if more else 0, port


def bound(kind: int, endpoint: Endpoint, *, shared: bool = False) -> socket.socket:
    """Return a new socket bound to an address, which need not be there yet; OSError if that cannot be done.

    shared: other processes of this account may bind the same address; the kernel spreads clients over all of them.
    """
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    one = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _bind(one, endpoint)
    except OSError:
        one.close()
        raise
    return one


def beside(one: Receiving, count: int) -> list[Receiving]:
    """Return so many further UDP sockets for the address that `one` is bound to; the kernel spreads clients over all.

    OSError if that cannot be done; no new socket is then left open.
    """
    made: list[socket.socket] = []
    option = (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        with socket.socket(fileno=os.dup(one.fileno())) as first:
            # Only now: `one` was bound alone, so that no other process answers at its address.
            if count:
                first.setsockopt(*option)
            for _ in range(count):
                more = socket.socket(first.family, socket.SOCK_DGRAM)
                made.append(more)
                more.setsockopt(*option)
                if first.family == socket.AF_INET6:
                    more.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                more.setsockopt(*_FREEBIND[first.family], first.getsockopt(*_FREEBIND[first.family]))
                more.bind(first.getsockname())
                prepare(socket.SOCK_DGRAM, more)
    except OSError:
        for more in made:
            more.close()
        raise
    return [receiving(more) for more in made]


def may_have_others(one: Receiving) -> bool:
    """Return whether sockets may be bound beside this one, since an earlier process of this service has bound it."""
    with socket.socket(fileno=os.dup(one.fileno())) as same:
        return bool(same.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))


def leave(one: Receiving) -> None:
    """Have the kernel send what comes from now on to the other sockets at an address; what has come can be read.

    A socket that is connected gets the datagrams of its peer alone: here it is its own.
    """
    host, port, *more = one.getsockname()
    with socket.socket(fileno=os.dup(one.fileno())) as same, contextlib.suppress(OSError):
        same.connect(({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port, *more))  # noqa: S104 - compared


def _bind(one: socket.socket, endpoint: Endpoint) -> None:
    where = sockaddr(endpoint)
    try:
        one.bind(where)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise
        one.setsockopt(*_FREEBIND[one.family], 1)
        one.bind(where)
        if one.type == socket.SOCK_DGRAM:
            _log.warning("%s is not an address of this host yet: it is answered once it is", endpoint)


def prepare(kind: int, one: socket.socket) -> None:
    """Set the options of a bound socket, and let one of TCP listen; OSError if another process listens there."""
    one.setblocking(False)
    if kind == socket.SOCK_DGRAM:
        _enlarge(one, socket.SO_RCVBUF, RMEM_MAX)
        _enlarge(one, socket.SO_SNDBUF, WMEM_MAX)
        one.setsockopt(*_MTU_DISCOVER[one.family], _PMTUDISC_OMIT)
        return
    # Accepted connections inherit all of these options.
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STREAM_OCTETS)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_OCTETS)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
    one.listen(BACKLOG)


def _enlarge(one: socket.socket, option: int, most: Path) -> None:
    """Give a UDP socket a buffer of DATAGRAM_OCTETS, or what the host allows, unless it has a larger one."""
    octets = DATAGRAM_OCTETS
    with contextlib.suppress(OSError, ValueError):
        octets = min(octets, int(most.read_text()))
    # The kernel doubles what is set.
    if one.getsockopt(socket.SOL_SOCKET, option) < 2 * octets:
        one.setsockopt(socket.SOL_SOCKET, option, octets)


def _is_wildcard(one: socket.socket) -> bool:
    host: str = one.getsockname()[0]
    return host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
