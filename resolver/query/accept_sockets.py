"""The sockets that queries come in by: bound here or handed over, and what the kernel is told of them.

Rules:
- A socket that was handed over stands for the address it is bound to; one that stands for none is refused, and so is
  a second one for the same.
- No forged "packet too big" makes the kernel cut answers into fragments (IP_PMTUDISC_OMIT; RFC 9715): none of ours is
  larger than any path takes.
- Over UDP who asks a wildcard address is answered from the address that was asked (RFC 2181 4.1). Only such sockets
  pay for it.
- IPv6 sockets take no IPv4. What the kernel holds for one TCP connection is bounded, and how long it waits for an
  acknowledgement.
"""

import socket
import struct
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Any, Final, Protocol

from resolver.config.values import Endpoint

DATAGRAM_OCTETS: Final = 4 * 2**20
STREAM_OCTETS: Final = 2**16
BACKLOG: Final = 4096
UNACKNOWLEDGED_MS: Final = 30_000

# Linux's numbers (in.h, in6.h), which Python's socket does not name.
_IP_PKTINFO: Final = 8
_MTU_DISCOVER: Final = {socket.AF_INET: (socket.IPPROTO_IP, 10), socket.AF_INET6: (socket.IPPROTO_IPV6, 23)}
_PMTUDISC_OMIT: Final = 5

_V4_INFO: Final = struct.Struct("=i4s4s")
_V6_INFO: Final = struct.Struct("=16sI")
_CONTROL_OCTETS: Final = socket.CMSG_SPACE(_V6_INFO.size)
_LINK_LOCAL: Final = (0xFE80, 0xFFC0)

_Place = tuple[bytes, int, int]


class Receiving(Protocol):
    """What datagrams are received from and sent by. `peer` starts with host and port; the rest is the socket's."""

    def recvfrom(self, size: int, /) -> tuple[bytes, Any]:
        """The next datagram and its sender; BlockingIOError where there is none."""

    def sendto(self, data: bytes, peer: Any, /) -> int:
        """Send a datagram to a sender."""

    def fileno(self) -> int:
        """The descriptor."""

    def getsockname(self) -> Any:
        """Where it is bound."""

    def close(self) -> None:
        """Give it back."""


class Everywhere:
    """A UDP socket on a wildcard address. What it receives knows where it was sent to, and is answered from there."""

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
        """The next datagram and its sender, with what `sendto` needs to answer from the address that was asked."""
        data, control, _, peer = self._socket.recvmsg(size, _CONTROL_OCTETS)
        return data, (*peer, [_asked(*one) for one in control])

    def sendto(self, data: bytes, peer: Any, /) -> int:
        """Send a datagram to a sender, from the address that it asked."""
        return self._socket.sendmsg((data,), peer[-1], 0, peer[:-1])


def _asked(level: int, kind: int, info: bytes) -> tuple[int, int, bytes]:
    """What the kernel said of the address that was asked, as it takes it for the one to answer from.

    The interface is left to routing, but for link-local addresses, which mean nothing without it.
    """
    if level == socket.IPPROTO_IP:
        _, local, _ = _V4_INFO.unpack(info)
        return level, kind, _V4_INFO.pack(0, local, bytes(4))
    address, interface = _V6_INFO.unpack(info)
    prefix, mask = _LINK_LOCAL
    bound = int.from_bytes(address[:2], "big") & mask == prefix
    return level, kind, _V6_INFO.pack(address, interface if bound else 0)


def datagrams(listen: Sequence[Endpoint], given: Sequence[socket.socket] = ()) -> list[Receiving]:
    """UDP sockets for these addresses, those of `given` in place of their own.

    OSError where one cannot be bound, ValueError where a given one stands for none; nothing of ours is then open.
    """
    found = _opened(socket.SOCK_DGRAM, listen, given)
    return [Everywhere(one) if _is_wildcard(one) else one for one in found]


def streams(listen: Sequence[Endpoint], given: Sequence[socket.socket] = ()) -> list[socket.socket]:
    """Listening TCP sockets for these addresses, as `datagrams`."""
    return _opened(socket.SOCK_STREAM, listen, given)


def _opened(kind: int, listen: Sequence[Endpoint], given: Sequence[socket.socket]) -> list[socket.socket]:
    handed = _by_place(one for one in given if one.type == kind)
    for unnamed in handed.keys() - set(map(_place, listen)):
        raise ValueError(f"a socket for {_said(unnamed)} was handed over, and listen.dns does not name it")
    ours: list[socket.socket] = []
    found: list[socket.socket] = []
    try:
        for endpoint in listen:
            one = handed.get(_place(endpoint))
            if one is None:
                one = _bound(kind, endpoint)
                ours.append(one)
            _tell_kernel(kind, one)
            found.append(one)
    except OSError:
        for one in ours:
            one.close()
        raise
    return found


def _by_place(given: Iterable[socket.socket]) -> dict[_Place, socket.socket]:
    """The sockets by where they are bound; the kernel would hand queries to a second one there, which nobody reads."""
    found: dict[_Place, socket.socket] = {}
    for one in given:
        place = _place_of(one)
        if place in found:
            raise ValueError(f"two sockets for {_said(place)} were handed over: one alone is read")
        found[place] = one
    return found


def _said(place: _Place) -> Endpoint:
    octets, _, port = place
    return Endpoint(str(ip_address(octets)), port)


def _place(endpoint: Endpoint) -> _Place:
    """Where an endpoint is, however it is written: the address's octets, the number of its interface, the port."""
    host, _, zone = endpoint.host.partition("%")
    scope = (int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)) if zone else 0
    return ip_address(host).packed, scope, endpoint.port


def _place_of(one: socket.socket) -> _Place:
    host, port, *more = one.getsockname()
    return ip_address(host.partition("%")[0]).packed, more[1] if more else 0, port


def _bound(kind: int, endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    one = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((endpoint.host, endpoint.port))
    except OSError:
        one.close()
        raise
    return one


def _tell_kernel(kind: int, one: socket.socket) -> None:
    one.setblocking(False)
    octets = DATAGRAM_OCTETS if kind == socket.SOCK_DGRAM else STREAM_OCTETS
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, octets)
    if kind == socket.SOCK_DGRAM:
        one.setsockopt(*_MTU_DISCOVER[one.family], _PMTUDISC_OMIT)
        return
    # What accept returns inherits all of these.
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
    one.listen(BACKLOG)


def _is_wildcard(one: socket.socket) -> bool:
    host: str = one.getsockname()[0]
    return host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
