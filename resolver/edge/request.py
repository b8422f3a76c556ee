"""What an edge is started with, as one line of JSON on its standard input: no list, no key, no name of a list."""

from typing import Final

import msgspec

MODULE: Final = "resolver.edge.process"
"""The program of an edge."""
KEEP: Final = "resolver.edge.keep"
"""The program that keeps several of them running."""

Addresses = tuple[tuple[str, int], ...]


class EdgeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Of the configuration, what an edge needs.

    number: of this edge, from 1; it is one of several at the same addresses. socket: the service's. state: the folder
    that this process must not be able to read. demonstration: every list is one. name: of the certificate. tls, https,
    quic, http3: addresses. alternative: the port of HTTP/3 that is announced over HTTPS, 0 for none. path: of DoH.
    allow, exempt, proxies: ranges as core.admit takes them. connections, per_client: of [limits].
    """

    number: int
    socket: str
    state: str
    demonstration: bool
    name: str
    tls: Addresses
    https: Addresses
    quic: Addresses
    http3: Addresses
    alternative: int
    path: str
    certificate: str
    key: str
    allow: bytes
    exempt: bytes
    proxies: bytes
    connections: int
    per_client: int
