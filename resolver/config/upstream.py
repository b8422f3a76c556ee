"""Defines `[upstream]`: the resolvers that queries are forwarded to, in plaintext or encrypted.

Rules:
- An encrypted server is written with its address: nothing has to be looked up before it can be asked. What is not
  verified is not asked: no setting switches that off.
- A name has `pins`, or its certificate is verified: against the CAs of `ca`, else against the system's.
- What the courier learns of all encrypted servers fits into one frame (query.courier_frames): their number is bounded
  here, and what is said of each.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from resolver.config.lists import Fault
from resolver.config.values import MOST_ENCRYPTED, Encrypted, Endpoint, Pin, Seconds, ZoneName, lacks_interface
from resolver.config.values import Upstream as Server

ANSWERED_HERE: Final = ("localhost", "invalid", "onion", "resolver.arpa")
NEEDS_INTERFACE: Final = "is a link-local address and needs its interface, as in fe80::1%eth0"
_LONGEST_PATH: Final = 4095
_FORWARDED: Final = re.compile(
    r"(?:[0-9a-z_-]{1,63}\.)*(?:local|alt|(?:home|service)\.arpa)\Z|(?:[0-9a-z-]{1,63}\.)+(?:in-addr|ip6)\.arpa\Z",
    re.ASCII,
)

Pins = Annotated[tuple[Pin, ...], Meta(min_length=1, max_length=16)]


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of the file."""


class UpstreamZone(_Section, frozen=True):
    """A zone whose names are forwarded to servers of its own."""

    name: ZoneName
    servers: Annotated[tuple[Server, ...], Meta(min_length=1, max_length=64)]


class Upstream(_Section, frozen=True):
    """The resolvers that queries are forwarded to.

    ca: a PEM file of the CAs that may sign for encrypted servers; "" is the system's. pins: the keys of a server, by
    its name: one of them is its identity, and no CA is asked.
    """

    servers: tuple[Server, ...] = ()
    order: Literal["balanced", "listed"] = "balanced"
    timeout: Seconds = Seconds(2)
    case_randomization: bool = False
    forward_zones: Annotated[tuple[str, ...], Meta(max_length=256)] = ()
    zone: Annotated[tuple[UpstreamZone, ...], Meta(max_length=256)] = ()
    ca: str = ""
    pins: dict[str, Pins] = field(default_factory=dict)

    @property
    def forwarded(self) -> tuple[str, ...]:
        """Return the zones that are forwarded although names there are answered here otherwise."""
        return (*self.forward_zones, *(one.name for one in self.zone if _FORWARDED.match(one.name)))

    @property
    def every_server(self) -> tuple[Endpoint, ...]:
        """Return all servers, those for all names first, each once."""
        return tuple(dict.fromkeys((*self.servers, *(server for one in self.zone for server in one.servers))))

    @property
    def encrypted(self) -> tuple[Encrypted, ...]:
        """Return the encrypted servers, each once."""
        return tuple(one for one in self.every_server if isinstance(one, Encrypted))

    @property
    def plain(self) -> tuple[str, ...]:
        """Return those of `servers` (ADDRESS:PORT) that are asked without TLS: they look up the hosts of sources."""
        return tuple(str(one) for one in self.servers if not isinstance(one, Encrypted))


def servers_of(upstream: Upstream) -> Iterator[tuple[str, Endpoint]]:
    """Yield every configured server after its key."""
    for number, server in enumerate(upstream.servers):
        yield f"upstream.servers[{number}]", server
    for at, zone in enumerate(upstream.zone):
        for number, server in enumerate(zone.servers):
            yield f"upstream.zone[{at}].servers[{number}]", server


def faults_of_upstream(upstream: Upstream) -> Iterator[Fault]:
    """Yield the key and the reason of each fault."""
    for key, server in servers_of(upstream):
        if server.port == 0:
            yield key, "expected a port from 1 to 65535"
        if lacks_interface(server):
            yield key, NEEDS_INTERFACE
    yield from _faults_of_zones(upstream.zone)
    for number, zone in enumerate(upstream.forward_zones):
        if not _FORWARDED.match(zone):
            reason = "expected local, alt, home.arpa, service.arpa or a zone below them, in-addr.arpa or ip6.arpa"
            yield f"upstream.forward_zones[{number}]", reason
    if upstream.ca and not upstream.ca.startswith("/"):
        yield "upstream.ca", 'expected an absolute path, or "" for the CAs of the system'
    if len(upstream.ca.encode()) > _LONGEST_PATH:
        yield "upstream.ca", f"expected a path of at most {_LONGEST_PATH:,} octets"
    if len(upstream.encrypted) > MOST_ENCRYPTED:
        reason = (
            f"names {len(upstream.encrypted):,} encrypted servers, those of zones among them, and the process that "
            f"asks them has room for {MOST_ENCRYPTED}: name fewer"
        )
        yield "upstream", reason
    names = {one.name for one in upstream.encrypted}
    for name in upstream.pins:
        if name not in names:
            # Not in the key: what was typed here may be anything.
            reason = "a key of this table is the name of no encrypted server: write the name as it stands before the @"
            yield "upstream.pins", reason
    if upstream.ca and names <= set(upstream.pins):
        yield "upstream.ca", "verifies nothing: each encrypted server has pins, or there is none"


def _faults_of_zones(zones: tuple[UpstreamZone, ...]) -> Iterator[Fault]:
    seen: set[str] = set()
    for number, zone in enumerate(zones):
        key = f"upstream.zone[{number}].name"
        if zone.name in seen:
            yield key, "another zone has this name: give one zone all its servers"
        seen.add(zone.name)
        if any(zone.name == ours or zone.name.endswith(f".{ours}") for ours in ANSWERED_HERE):
            yield key, "is always answered here and never forwarded"


def warnings_of_upstream(upstream: Upstream) -> Iterator[str]:
    """Yield a line for each setting that is accepted but probably a mistake; it names the key."""
    groups = {"upstream.servers": upstream.servers}
    groups |= {f"upstream.zone[{number}].servers": zone.servers for number, zone in enumerate(upstream.zone)}
    for key, servers in groups.items():
        encrypted = sum(isinstance(one, Encrypted) for one in servers)
        if 0 < encrypted < len(servers):
            yield (
                f"{key} has servers with and without encryption: names are sent in plaintext too, whenever one of "
                "those without is asked; name one kind only"
            )
    for name, pins in upstream.pins.items():
        if len(pins) == 1:
            yield (
                f"upstream.pins has one key of {name}: if that server gets another key, nothing is asked of it until "
                "this file is changed; add the key that it will have next (RFC 7858 4.2)"
            )
