"""Parses values as the configuration writes them into typed values, and writes dates in the one form used in text."""

import ipaddress
import re
import socket
from abc import ABC
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365 * 86400}
_SIZES: Final = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DURATION: Final = re.compile(r"(\d{1,9})([smhdy])\Z", re.ASCII)
_SIZE: Final = re.compile(r"(\d{1,9})(KiB|MiB|GiB)\Z", re.ASCII)
_DATE: Final = "%Y-%m-%dT%H:%M:%SZ"
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"
_ENDPOINT: Final = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):(\d{1,5})\Z", re.ASCII)
_ZONE: Final = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\Z", re.ASCII)
_ENCRYPTED: Final = re.compile(
    r"(tls|https)://([^@/\[\]:]+)@(\[[^\[\]]+\]|[^:/\[\]]+)(?::(\d{1,5}))?(/[A-Za-z0-9._~/%-]{0,255})?\Z", re.ASCII
)
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?\Z", re.ASCII)
_PORTS: Final = {"tls": 853, "https": 443}
_PIN: Final = re.compile(r"[A-Za-z0-9+/]{43}=\Z", re.ASCII)
_LONGEST_NAME: Final = 253
_LINK_LOCAL: Final = ipaddress.IPv6Network("fe80::/10")


MOST_ENCRYPTED: Final = 256
"""Encrypted upstreams in all: the courier has descriptors for all connections of so many."""


class Seconds(float):
    """A duration in seconds; written `10s`, `15m`, `48h`, `14d`, `5y` (of 365 days), and `0`."""


class Size(int):
    """A size in bytes; written `512KiB`, `64MiB`, `1GiB`."""


class ZoneName(str):
    """The name of a zone in lower case, without the dot at its end; written `corp.example`."""

    __slots__ = ()


class Endpoint(tuple[str, int]):
    """An address and a port; written `127.0.0.1:5300`, `[::1]:5300`, or with its interface `[fe80::1%eth0]:53`.

    `sockaddr` makes of it what `bind` and `connect` take.
    """

    __slots__ = ()

    def __new__(cls, host: str, port: int) -> Self:
        return super().__new__(cls, (host, port))

    @property
    def host(self) -> str:
        return self[0]

    @property
    def port(self) -> int:
        return self[1]

    def __str__(self) -> str:
        return f"[{self[0]}]:{self[1]}" if ":" in self[0] else f"{self[0]}:{self[1]}"


class Encrypted(Endpoint):
    """An upstream over TLS (RFC 7858) or HTTPS (RFC 8484): its address, and the name that its certificate must have.

    Written `tls://dns.example@192.0.2.53`, `https://dns.example@[2001:db8::53]:443/dns-query`; `str` adds the port.
    scheme: "tls" or "https". path: of HTTPS, else "".
    """

    __slots__ = ()

    def __new__(cls, host: str, port: int, scheme: str = "tls", name: str = "", path: str = "") -> Self:
        return tuple.__new__(cls, (host, port, scheme, name, path))

    @property
    def scheme(self) -> str:
        return _word(self, 2)

    @property
    def name(self) -> str:
        return _word(self, 3)

    @property
    def path(self) -> str:
        return _word(self, 4)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.name}@{Endpoint(self.host, self.port)}{self.path}"


def _word(one: tuple[str | int, ...], at: int) -> str:
    """Return a word of an Encrypted, which is longer than the Endpoint that it is."""
    return str(one[at])


class Pin(str):
    """The SHA-256 of a public key (SubjectPublicKeyInfo) in base64 (RFC 7858 4.2)."""

    __slots__ = ()


if TYPE_CHECKING:
    Upstream = Endpoint
    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    Prefix = ipaddress.IPv4Network | ipaddress.IPv6Network
else:
    # msgspec accepts no union of custom types, so one registered class stands for both families.
    class Address(ABC):  # noqa: B024 - a name for isinstance, nothing to implement
        """An IPv4 or IPv6 address."""

    class Prefix(ABC):  # noqa: B024 - a name for isinstance, nothing to implement
        """An IPv4 or IPv6 network."""

    class Upstream(ABC):  # noqa: B024 - a name for isinstance, nothing to implement
        """An upstream: an Endpoint, or an Encrypted one."""

    Upstream.register(Endpoint)
    for _family in (ipaddress.IPv4Address, ipaddress.IPv6Address):
        Address.register(_family)
    for _family in (ipaddress.IPv4Network, ipaddress.IPv6Network):
        Prefix.register(_family)


def seconds(text: str) -> Seconds:
    """Return the seconds of a duration such as `10s`, `15m`, `48h`, `14d`, `5y` or `0`; ValueError otherwise."""
    if text == "0":
        return Seconds(0)
    found = _DURATION.match(text)
    if not found:
        raise ValueError("expected a duration such as 10s, 15m, 48h or 14d")
    return Seconds(int(found[1]) * _UNITS[found[2]])


def size(text: str) -> Size:
    """Return the bytes of a size such as `64MiB`; ValueError otherwise."""
    found = _SIZE.match(text)
    if not found:
        raise ValueError("expected a size such as 512KiB, 64MiB or 1GiB")
    return Size(int(found[1]) * _SIZES[found[2]])


def endpoint(text: str) -> Endpoint:
    """Return the address and port of `127.0.0.1:5300` or `[::1]:5300`; ValueError otherwise."""
    found = _ENDPOINT.match(text)
    if found and int(found[3]) <= 65535:
        try:
            kind = ipaddress.IPv6Address if found[1] else ipaddress.IPv4Address
            return Endpoint(str(kind(found[1] or found[2])), int(found[3]))
        except ValueError:
            pass
    raise ValueError("expected ADDRESS:PORT such as 127.0.0.1:5300 or [::1]:5300")


def upstream(text: str) -> Endpoint:
    """Return an upstream, an Encrypted one if it has a scheme; ValueError if it is none."""
    if "://" not in text:
        return endpoint(text)
    found = _ENCRYPTED.match(text)
    if not found:
        raise ValueError(
            "expected tls://NAME@ADDRESS or https://NAME@ADDRESS/PATH, such as tls://dns.example@192.0.2.53 or "
            "https://dns.example@[2001:db8::53]/dns-query"
        )
    scheme, name, host, port, path = found.groups()
    if scheme == "tls" and path:
        raise ValueError("expected no path: a server of tls:// has none")
    if not _HOST.match(name.lower()) or len(name) > _LONGEST_NAME:
        raise ValueError("expected the server's name before the @, as in its certificate, such as dns.example")
    at = endpoint(f"{host}:{port or _PORTS[scheme]}")
    return Encrypted(*at, scheme, name.lower(), path or ("/dns-query" if scheme == "https" else ""))


def pin(text: str) -> Pin:
    """Return the pin of a key; ValueError if it is none."""
    if not _PIN.match(text):
        raise ValueError("expected the SHA-256 of a public key in base64: 43 characters and =")
    return Pin(text)


def lacks_interface(one: Endpoint) -> bool:
    """Return whether this is a link-local address without its interface, which leads nowhere (RFC 4007 11)."""
    return "%" not in one.host and ":" in one.host and ipaddress.IPv6Address(one.host) in _LINK_LOCAL


def sockaddr(one: Endpoint) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return an endpoint as `bind` and `connect` take it; OSError if this host does not have its interface.

    With an interface this is a tuple of four, whose last is the interface's number at this moment: in the text of an
    address Python's calls and uvloop's look-ups lose it.
    """
    host, _, zone = one.host.partition("%")
    if not zone:
        return host, one.port
    return host, one.port, 0, int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)


def zone_name(text: str) -> ZoneName:
    """Return the name of a zone, as it is compared; ValueError if it is none, or the root."""
    name = text.lower().removesuffix(".")
    if len(name) > _LONGEST_NAME or not _ZONE.match(name):
        raise ValueError("expected the name of a zone such as corp.example")
    return ZoneName(name)


def is_zone_name(text: str) -> bool:
    """Return whether this is a name in the form of a ZoneName."""
    return len(text) <= _LONGEST_NAME and _ZONE.match(text) is not None


def _address(text: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("expected an address such as 192.0.2.1 or 2001:db8::1") from None


def _prefix(text: str) -> Prefix:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("expected a prefix without host bits, such as 192.0.2.0/24 or 2001:db8::/32") from None


_DECODE: Final[dict[object, Callable[[str], object]]] = {
    Seconds: seconds,
    Size: size,
    Endpoint: endpoint,
    Upstream: upstream,
    Pin: pin,
    ZoneName: zone_name,
    Address: _address,
    Prefix: _prefix,
}


def decode(kind: type, value: object) -> object:
    """Return `value` of the file as a `kind` of this module (msgspec's `dec_hook`); ValueError with the reason."""
    if not isinstance(value, str):
        raise ValueError("expected text in quotes")
    return _DECODE[kind](value)


def address_octets(host: str) -> bytes:
    """Return an address in 16 octets, IPv4 mapped (RFC 4291 2.5.5.2), without its zone; OSError if it is not valid."""
    if ":" not in host:
        return _MAPPED + socket.inet_pton(socket.AF_INET, host)
    return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])


def prefixes(*texts: str) -> tuple[Prefix, ...]:
    """Return the networks that `texts` name; ValueError if a text is not a prefix."""
    return tuple(map(_prefix, texts))


def utc_text(at: float) -> str:
    """Return a time (unix seconds) as `2026-04-01T00:00:00Z`, in UTC and whole seconds (RFC 3339)."""
    return datetime.fromtimestamp(at, UTC).strftime(_DATE)


def utc_seconds(text: str) -> int:
    """Return the unix seconds of a date that `utc_text` wrote; ValueError otherwise."""
    return int(datetime.strptime(text, _DATE).replace(tzinfo=UTC).timestamp())


def span(seconds: float) -> str:
    """Return a duration in its two largest units."""
    left = max(0, int(seconds))
    days, hours, minutes = left // 86400, left % 86400 // 3600, left % 3600 // 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{left} s"


def nameservers(text: str) -> tuple[Endpoint, ...]:
    """Return the servers of a resolv.conf's `nameserver` lines, with port 53; lines that do not parse are skipped.

    `lacks_interface` may be true of them.
    """
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                found.append(Endpoint(str(ipaddress.ip_address(words[1])), 53))
            except ValueError:
                continue
    return tuple(found)


def many(count: int, one: str, more: str = "") -> str:
    """Return a count with its noun: `1 line`, `2 lines`. more: the plural if it is not `one` with an s."""
    return f"{count} {noun(count, one, more)}"


def noun(count: int, one: str, more: str = "") -> str:
    """Return the noun alone, as it stands behind this count."""
    return one if count == 1 else more or f"{one}s"
