"""Parses the table `[edge]`: encrypted transports, which a process of its own receives (resolver.edge)."""

import re
from collections.abc import Iterator
from typing import Annotated, Final

from msgspec import Meta, Struct

from resolver.config.lists import Fault
from resolver.config.values import Endpoint, is_zone_name, lacks_interface

MOST_OF_A_SOCKET: Final = 107
"""The octets that a path of a Unix socket has room for, without the zero at its end (unix(7))."""

_EVERY: Final = {False: "0.0.0.0", True: "::"}  # noqa: S104 - the addresses that stand for every one of their family
_ADDRESS: Final = re.compile(r"[0-9.]+\Z", re.ASCII)


class Edge(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Encrypted transports, and the process that receives them.

    socket: where the service takes that process' queries; "" switches it off. user: the account that may connect there;
    "" is the service's own. name: what clients verify in the certificate (RFC 8310). tls, https, quic, http3: the
    addresses of DoT, DoH over HTTP/2 and HTTP/1.1, DoQ, and DoH over HTTP/3. path: of DoH.
    """

    socket: str = ""
    user: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{0,32}\Z")] = "blocklist-edge"
    name: str = ""
    tls: Annotated[tuple[Endpoint, ...], Meta(max_length=64)] = ()
    https: Annotated[tuple[Endpoint, ...], Meta(max_length=64)] = ()
    quic: Annotated[tuple[Endpoint, ...], Meta(max_length=64)] = ()
    http3: Annotated[tuple[Endpoint, ...], Meta(max_length=64)] = ()
    path: Annotated[str, Meta(pattern=r"^/[A-Za-z0-9._~/-]{0,254}\Z")] = "/dns-query"
    certificate: str = ""
    key: str = ""

    @property
    def offered(self) -> tuple[str, ...]:
        """The labels (core.codes.TRANSPORTS) of the transports with an address, in their order."""
        if not self.socket:
            return ()
        addresses = {"dot": self.tls, "doh": (*self.https, *self.http3), "doq": self.quic}
        return tuple(label for label, listen in addresses.items() if listen)

    @property
    def alternative(self) -> int:
        """The port of DoH over HTTP/3 that is announced to clients of `https` (RFC 7838); 0 if there is none.

        A client takes any address of the name, so HTTP/3 has to be at each address of `https`, at one port.
        """
        places = {one.host for one in self.https}
        for port in dict.fromkeys(one.port for one in self.http3) if places else ():
            there = {one.host for one in self.http3 if one.port == port}
            if all(host in there or _EVERY[":" in host] in there for host in places):
                return port
        return 0


def _listening(edge: Edge) -> Iterator[tuple[str, str, Endpoint]]:
    """Yield key, "TCP" or "UDP", and address of each socket of the edge."""
    for name, over in (("tls", "TCP"), ("https", "TCP"), ("quic", "UDP"), ("http3", "UDP")):
        for number, one in enumerate(getattr(edge, name)):
            yield f"edge.{name}[{number}]", over, one


def faults_of_edge(
    edge: Edge, dns: tuple[Endpoint, ...], page: tuple[Endpoint, ...], metrics: Endpoint
) -> Iterator[Fault]:
    """Yield the faults of `[edge]`. dns, page, metrics: the addresses of `listen` in these tables."""
    listening = tuple(_listening(edge))
    if not edge.socket:
        if listening:
            yield "edge.socket", "required: without it no query over TLS, HTTPS or QUIC reaches the service"
        return
    yield from _faults_of_socket(edge.socket)
    taken = {("TCP", metrics): "metrics.listen", **{("TCP", one): "page.listen" for one in page}}
    taken |= {(over, one): "listen.dns" for over in ("TCP", "UDP") for one in dns}
    for key, over, one in listening:
        if one.port == 0:
            yield key, "expected a port from 1 to 65535"
        if lacks_interface(one):
            yield key, "is a link-local address and needs its interface, as in fe80::1%eth0"
        if (over, one) in taken:
            yield key, f"is also in {taken[over, one]}: give each its own address or port"
        taken[over, one] = key
    if edge.name and (not is_zone_name(edge.name) or _ADDRESS.match(edge.name)):
        yield "edge.name", "expected the name in the certificate, in lower case, such as dns.isp.example"
    for name, why in (
        ("name", "the name that clients verify in the certificate"),
        ("certificate", "a PEM file with the certificate and those that lead to its authority"),
        ("key", "a PEM file with the certificate's key"),
    ):
        said = getattr(edge, name)
        if listening and not said:
            yield f"edge.{name}", f"required by the addresses of [edge]: {why}"
        if name != "name" and said and not said.startswith("/"):
            yield f"edge.{name}", "expected an absolute path"


def _faults_of_socket(socket: str) -> Iterator[Fault]:
    if not socket.startswith("/"):
        yield "edge.socket", 'expected an absolute path, or "" for none'
    if len(socket.encode()) > MOST_OF_A_SOCKET:
        yield "edge.socket", f"longer than the {MOST_OF_A_SOCKET} octets that a socket's path may have"


def warnings_of_edge(edge: Edge) -> Iterator[str]:
    """Yield a line for each setting of `[edge]` that is accepted but probably a mistake."""
    if edge.socket and not any(_listening(edge)):
        yield "edge.socket is set, but none of edge.tls, https, quic and http3 has an address: no client can use it"
    if edge.socket and not edge.user:
        yield (
            'edge.user is "": whatever runs under the service\'s own account may send queries as any client; give the '
            "edge an account of its own"
        )
    if edge.http3 and not edge.https:
        yield "edge.http3 without edge.https: most clients find HTTP/3 only by way of HTTP/2; set edge.https too"
    elif edge.http3 and not edge.alternative:
        yield (
            "edge.http3 has no port that is at every address of edge.https: it is not announced to clients of "
            "edge.https (Alt-Svc); name the same addresses in both"
        )
