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
from resolver.feed.details import Code, Detail, Place, no_step

TRY_SECONDS: Final = 3.0
_KINDS: Final = ("AAAA", "A")


class NoAddress(Exception):
    """No upstream gives an address of the host; `detail` says what they answered."""

    def __init__(self, detail: Detail) -> None:
        super().__init__(detail.code.value)
        self.detail = detail


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
    """Return the IP addresses of `host` as `resolved` does; () if no upstream gives one within `seconds`."""
    try:
        return resolved(host, resolvers, seconds, clock)
    except NoAddress:
        return ()


def resolved(
    host: str,
    resolvers: tuple[str, ...],
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    step: Callable[[Detail], None] = no_step,
) -> tuple[str, ...]:
    """Return the IP addresses of `host`, each once; NoAddress if no upstream gives one within `seconds`.

    resolvers: the upstreams as ADDRESS:PORT; the system's resolver is asked only if there are none. step: called with
    the look-up, and with what it has found.
    """
    if is_address(host):
        return (host,)
    step(Detail(code=Code.STEP_LOOK_UP, at=Place.HOST))
    said: list[Detail] = []
    found: tuple[str, ...] = ()
    if not resolvers:
        found = tuple(dict.fromkeys(str(one[4][0]) for one in _of_system(host)))
    deadline = clock() + seconds
    for resolver in resolvers:
        found = tuple(dict.fromkeys(_asked(host, resolver, deadline, clock, said)))
        if found:
            break
    if not found:
        said.append(Detail(code=Code.NO_ADDRESS, at=Place.HOST))
        raise NoAddress(min(said, key=lambda one: _FIRST.index(one.code)))
    step(Detail(code=Code.FOUND_ADDRESSES, numbers=(len(found), sum(":" in one for one in found))))
    return found


_FIRST: Final = (Code.NO_SUCH_HOST, Code.LOOK_UP_FAILED, Code.LOOK_UP_SILENT, Code.NO_ADDRESS)
"""What is reported of several upstreams: what says most comes first."""


def _asked(
    host: str, resolver: str, deadline: float, clock: Callable[[], float], said: list[Detail]
) -> Iterator[str]:
    """Yield the addresses that an upstream gives; add to `said` why it gives none."""
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
            if reply.rcode() == dns.rcode.NXDOMAIN:
                said.append(Detail(code=Code.NO_SUCH_HOST, at=Place.HOST))
                continue
            if reply.rcode() != dns.rcode.NOERROR:
                said.append(Detail(code=Code.LOOK_UP_FAILED, at=Place.HOST, numbers=(int(reply.rcode()),)))
                continue
            if not isinstance(reply, dns.message.QueryMessage):
                continue
            chain = reply.resolve_chaining()
        except (dns.exception.DNSException, OSError, EOFError, ValueError):
            said.append(Detail(code=Code.LOOK_UP_SILENT, at=Place.HOST))
            continue
        if chain.answer is not None:
            yield from (record.address for record in chain.answer)


def _of_system(host: str) -> list[tuple[object, object, object, str, tuple[object, ...]]]:
    try:
        return list(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return []
