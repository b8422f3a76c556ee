"""Finds what the URL of a source names: the addresses of its host, looked up at the upstreams, and its zone.

Rules:
- The upstreams are asked, each at its own port, never the system's resolver, which may be this service: otherwise a
  list that blocks the host of its own feed could never be replaced.
- Without a usable answer (silence, a failure, no address) the next upstream is asked; all within one time limit.
- Only addresses of the host itself, or at the end of its CNAME chain, count.
"""

import ipaddress
import socket
import time
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype

from resolver.config.values import endpoint

TRY_SECONDS: Final = 3.0
_KINDS: Final = ("AAAA", "A")


def zone_of(url: str) -> dns.name.Name | None:
    """Return the zone that the path of a source's url names; None if it is no name."""
    try:
        return dns.name.from_text(unquote(urlsplit(url).path).strip("/").lower())
    except dns.exception.DNSException:
        return None


def is_address(host: str) -> bool:
    """Return whether the host is written as an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def addresses(
    host: str, resolvers: tuple[str, ...], seconds: float, clock: Callable[[], float] = time.monotonic
) -> tuple[str, ...]:
    """Return the IP addresses of `host`, each once; () if no upstream gives one within `seconds`.

    resolvers: the upstreams as ADDRESS:PORT; the system's resolver is asked only if there are none.
    """
    if is_address(host):
        return (host,)
    if not resolvers:
        return tuple(dict.fromkeys(str(found[4][0]) for found in _of_system(host)))
    deadline = clock() + seconds
    for resolver in resolvers:
        found = tuple(dict.fromkeys(_asked(host, resolver, deadline, clock)))
        if found:
            return found
    return ()


def _asked(host: str, resolver: str, deadline: float, clock: Callable[[], float]) -> Iterator[str]:
    where = endpoint(resolver)
    for kind in _KINDS:
        rest = min(TRY_SECONDS, deadline - clock())
        if rest <= 0:
            return
        try:
            query = dns.message.make_query(dns.name.from_text(host), kind, use_edns=0, payload=1232)
            reply, _ = dns.query.udp_with_fallback(
                query, where.host, timeout=rest, port=where.port, ignore_unexpected=True, ignore_errors=True
            )
            if not isinstance(reply, dns.message.QueryMessage):
                continue
            chain = reply.resolve_chaining()
        except (dns.exception.DNSException, OSError, EOFError, ValueError):
            continue
        if reply.rcode() == dns.rcode.NOERROR and chain.answer is not None:
            yield from (record.address for record in chain.answer)


def _of_system(host: str) -> list[tuple[object, object, object, str, tuple[object, ...]]]:
    try:
        return list(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return []
