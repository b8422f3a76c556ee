"""Says how clients find the encrypted transports of [edge]: in DNS answers (DDR) and on the network (DNR).

Rules:
- What is offered is what [edge] listens on: a designation for each transport and port, DoT before DoH before DoQ before
  DoH over HTTP/3. Clients take the first that they speak (RFC 9460 2.4.1).
- Every designation has its ALPN (RFC 9461 4); a port only if it is not the transport's own; the path of DoH as a
  template (RFC 9461 5). HTTP/1.1 is answered, not designated: HTTP/2 is the least that DoH asks for (RFC 8484 5.2).
- Addresses are those that [edge] names. An unspecified, a loopback and a link-local address are none that another host
  could use: without a hint it asks for the addresses of the name.
- Options of DHCP and of router advertisements have no hints: they have their own field (RFC 9463 3.1.8). Without an
  address of the option's family they name the resolver alone.
- An option has one instance for all transports with the same port (or each with its own) and the same addresses: DHCP
  servers send one option of a code, and DHCPv4 has 255 octets for it.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from resolver.config.edge import Edge
from resolver.config.values import Endpoint
from resolver.core.local_zones import DESIGNATED_TTL_S, Designation
from resolver.core.name import wire_of

OPTION_DHCPV4: Final = 162
OCTETS_DHCPV4: Final = 255
MOST_V4: Final = OCTETS_DHCPV4 // 4
"""The addresses of an instance of option 162: their length has one octet."""
OPTION_DHCPV6: Final = 144
OPTION_RA: Final = 144
LIFETIME_S: Final = 3600
"""How long hosts may keep what a router advertisement says, in seconds."""

_ALPN, _PORT, _HINT_4, _HINT_6, _PATH = 1, 3, 4, 6, 7


class Designated(NamedTuple):
    """Transports at one port, with the addresses that clients may use (4 and 16 octets)."""

    priority: int
    alpn: tuple[str, ...]
    port: int | None
    """None if each has its own."""
    v4: tuple[bytes, ...]
    v6: tuple[bytes, ...]
    path: str
    """The template of DoH, empty for the others."""

    def params(self, *, hints: bool) -> bytes:
        """Return the SvcParams in octets, in the order of their keys (RFC 9460 2.2)."""
        found = [(_ALPN, b"".join(bytes([len(one)]) + one.encode() for one in self.alpn))]
        if self.port is not None:
            found.append((_PORT, self.port.to_bytes(2, "big")))
        if hints and self.v4:
            found.append((_HINT_4, b"".join(self.v4)))
        if hints and self.v6:
            found.append((_HINT_6, b"".join(self.v6)))
        if self.path:
            found.append((_PATH, self.path.encode()))
        return b"".join(key.to_bytes(2, "big") + len(one).to_bytes(2, "big") + one for key, one in found)

    def words(self, *, hints: bool) -> str:
        """Return the SvcParams as a zone file has them (RFC 9460 2.1)."""
        found = [f"alpn={','.join(self.alpn)}"]
        if self.port is not None:
            found.append(f"port={self.port}")
        if hints and self.v4:
            found.append(f"ipv4hint={','.join(_texts(self.v4))}")
        if hints and self.v6:
            found.append(f"ipv6hint={','.join(_texts(self.v6))}")
        if self.path:
            found.append(f"dohpath={self.path}")
        return " ".join(found)


def _texts(addresses: Iterable[bytes]) -> list[str]:
    return [str(ipaddress.ip_address(one)) for one in addresses]


def designated(edge: Edge) -> list[Designated]:
    """Return what is designated, the first choice first; empty if nothing is offered."""
    template = f"{edge.path}{{?dns}}"
    offered = (
        ("dot", 853, "", edge.tls),
        ("h2", 443, template, edge.https),
        ("doq", 853, "", edge.quic),
        ("h3", 443, template, edge.http3),
    )
    found = []
    priority = 0
    for alpn, own, path, endpoints in offered if edge.socket else ():
        priority += bool(endpoints)
        for port in dict.fromkeys(one.port for one in endpoints):
            v4, v6 = usable(one for one in endpoints if one.port == port)
            found.append(Designated(priority, (alpn,), None if port == own else port, v4, v6, path))
    return found


def _together(every: Iterable[Designated], addresses: Callable[[Designated], tuple[bytes, ...]]) -> list[Designated]:
    """Return an instance for all transports with one port and the same addresses of a family, in the same order;
    nothing of those without an address."""
    places: dict[tuple[int | None, tuple[bytes, ...]], list[Designated]] = {}
    for one in every:
        if addresses(one):
            places.setdefault((one.port, addresses(one)), []).append(one)
    return [
        some[0]._replace(
            priority=number,
            alpn=tuple(alpn for one in some for alpn in one.alpn),
            path=max(one.path for one in some),
        )
        for number, some in enumerate(places.values(), start=1)
    ]


def usable(endpoints: Iterable[Endpoint]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return the IPv4 and the IPv6 addresses of endpoints that a client on another host can use, each once."""
    named = dict.fromkeys(ipaddress.ip_address(one.host) for one in endpoints)
    kept = [one for one in named if not (one.is_unspecified or one.is_loopback or one.is_link_local)]
    return (
        tuple(one.packed for one in kept if one.version == 4),
        tuple(one.packed for one in kept if one.version == 6),
    )


def addresses(edge: Edge) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return the IPv4 and the IPv6 addresses of all that is designated."""
    return usable((*edge.tls, *edge.https, *edge.quic, *edge.http3))


def designation(edge: Edge) -> Designation | None:
    """Return what _dns.resolver.arpa holds; None if nothing is designated."""
    found = designated(edge)
    if not found:
        return None
    name = wire_of(edge.name)
    v4, v6 = addresses(edge)
    rdatas = [one.priority.to_bytes(2, "big") + name + one.params(hints=True) for one in found]
    return Designation(rdatas, name, v4, v6)


def zone_lines(edge: Edge) -> Iterator[str]:
    """Yield the records for the operator's own public zone: discovery by the resolver's name (RFC 9462 5)."""
    for one in designated(edge):
        words = one.words(hints=True)
        yield f"_dns.{edge.name}. {DESIGNATED_TTL_S} IN SVCB {one.priority} {edge.name}. {words}"


def option_dhcpv4(edge: Edge) -> bytes:
    """Return the data of DHCPv4's option 162, all instances of it (RFC 9463 5.1); empty if nothing is designated.

    What is longer than OCTETS_DHCPV4 is sent in several options (RFC 3396), which not every server can.
    """
    every = designated(edge)
    if not every:
        return b""
    name = wire_of(edge.name)
    made = []
    for one in _together(every, lambda one: one.v4[:MOST_V4]):
        addresses = b"".join(one.v4[:MOST_V4])
        data = bytes([len(addresses)]) + addresses + one.params(hints=False)
        made.append(one.priority.to_bytes(2, "big") + bytes([len(name)]) + name + data)
    if not made:
        made.append(b"\0\1" + bytes([len(name)]) + name)
    return b"".join(len(one).to_bytes(2, "big") + one for one in made)


def options_dhcpv6(edge: Edge) -> list[bytes]:
    """Return the data of each of DHCPv6's options 144 (RFC 9463 4.1)."""
    return [priority + _named(edge, found) for priority, found in _over_ipv6(edge)]


def options_ra(edge: Edge, lifetime_s: int = LIFETIME_S) -> list[bytes]:
    """Return the options of router advertisements, type and length with them (RFC 9463 6.1)."""
    made = []
    for priority, found in _over_ipv6(edge):
        head = priority + lifetime_s.to_bytes(4, "big")
        body = head + _named(edge, found, sized=True)
        units = -(-(len(body) + 2) // 8)
        made.append(bytes([OPTION_RA, units]) + body.ljust(8 * units - 2, b"\0"))
    return made


def _over_ipv6(edge: Edge) -> list[tuple[bytes, Designated | None]]:
    """Return the priority of each instance, and what is designated; None: the resolver is named alone."""
    every = designated(edge)
    found = _together(every, lambda one: one.v6)
    return [(one.priority.to_bytes(2, "big"), one) for one in found] or [(b"\0\1", None)] * bool(every)


def _named(edge: Edge, one: Designated | None, *, sized: bool = False) -> bytes:
    """Return name, addresses and SvcParams; sized: the length of the SvcParams stands before them."""
    name: bytes = wire_of(edge.name)
    said = len(name).to_bytes(2, "big") + name
    if one is None:
        return said
    params = one.params(hints=False)
    size = len(params).to_bytes(2, "big") if sized else b""
    return said + (16 * len(one.v6)).to_bytes(2, "big") + b"".join(one.v6) + size + params
