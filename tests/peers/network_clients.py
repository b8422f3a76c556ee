"""What a host asks of the network it has come to, by octet: DHCPv4, DHCPv6 and router advertisements, and what it is
told there of encrypted resolvers (RFC 9463), whose names and parameters dnspython reads.

Rules:
- Each asks by the link it is given, in the thread's network, again every second until it is answered.
- An option is returned as it came: each instance by itself, in the order of the message.
"""

import ipaddress
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.svcbbase import SVCBBase

HARDWARE = bytes.fromhex("020000005309")
"""A locally administered address (IEEE 802)."""
AGAIN_S, PATIENCE_S = 1.0, 60.0
SO_BINDTODEVICE = 25

DISCOVER, OFFER = 1, 2
INFORMATION_REQUEST, REPLY = 11, 7
SOLICIT, ADVERTISEMENT = 133, 134
EVERY_SERVER, EVERY_ROUTER = "ff02::1:2", "ff02::2"
_MAGIC = b"\x63\x82\x53\x63"
_NUMBER = b"\x53\x09\x53"


class Told(NamedTuple):
    """One resolver over one or more transports. parameters: as a zone file has them."""

    priority: int
    name: str
    addresses: tuple[str, ...]
    parameters: str


def _answer(one: socket.socket, query: bytes, where: tuple[object, ...], fits: Callable[[bytes], bool]) -> bytes:
    """The first message that fits, in answer to a query that is said again and again."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        one.sendto(query, where)
        again = time.monotonic() + AGAIN_S
        while (left := again - time.monotonic()) > 0:
            if select.select([one], [], [], left)[0]:
                data = one.recv(2**16)
                if fits(data):
                    return data
    raise AssertionError("nobody has answered")


def over_dhcpv4(link: str, code: int) -> list[bytes]:
    """The instances of an option in an offer (RFC 2131)."""
    options = bytes([53, 1, DISCOVER, 57, 2, 5, 0xDC, 55, 3, 1, 3, code, 255])
    number = b"\0" + _NUMBER
    query = b"\1\1\6\0" + number + b"\0\0\x80\0" + bytes(16) + HARDWARE + bytes(10 + 64 + 128) + _MAGIC + options
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, link.encode() + b"\0")
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        one.bind(("", 68))
        data = _answer(one, query, ("255.255.255.255", 67), lambda said: said[4:8] == number and said[0] == 2)
    found = list(_options_v4(data[240:]))
    assert (53, bytes([OFFER])) in found
    return [said for one_code, said in found if one_code == code]


def _options_v4(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while data[at] != 255:
        if data[at]:
            yield data[at], data[at + 2 : at + 2 + data[at + 1]]
            at += 1 + data[at + 1]
        at += 1


def over_dhcpv6(link: str, code: int) -> list[bytes]:
    """The instances of an option in a reply to an information request (RFC 8415 18.2.6)."""
    identity = b"\0\3\0\1" + HARDWARE
    wanted = struct.pack("!HH", 23, code)
    options = ((1, identity), (6, wanted), (8, b"\0\0"))
    query = bytes([INFORMATION_REQUEST]) + _NUMBER
    query += b"".join(struct.pack("!HH", which, len(said)) + said for which, said in options)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
        one.bind(("::", 546))
        where = (EVERY_SERVER, 547, 0, socket.if_nametoindex(link))
        data = _answer(one, query, where, lambda said: said[:4] == bytes([REPLY]) + _NUMBER)
    found, at = [], 4
    while at < len(data):
        which, size = struct.unpack_from("!HH", data, at)
        found.append((which, data[at + 4 : at + 4 + size]))
        at += 4 + size
    assert (1, identity) in found
    return [said for which, said in found if which == code]


def by_advertisement(link: str, code: int) -> list[bytes]:
    """The instances of an option, with type and length, that a router advertises (RFC 4861 4.2)."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as one:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        where = (EVERY_ROUTER, 0, 0, socket.if_nametoindex(link))
        data = _answer(one, bytes([SOLICIT]) + bytes(7), where, lambda said: said[0] == ADVERTISEMENT)
    found, at = [], 16
    while at < len(data):
        size = 8 * data[at + 1]
        if data[at] == code:
            found.append(data[at : at + size])
        at += size
    return found


def told_v4(data: bytes) -> list[Told]:
    """What option 162 says, all instances together (RFC 9463 5.1)."""
    found = []
    while data:
        size, priority, named = struct.unpack_from("!HHB", data)
        name, rest = data[5 : 5 + named], data[5 + named : 2 + size]
        found.append(_told(priority, name, rest[1 : 1 + rest[0]], rest[1 + rest[0] :]))
        data = data[2 + size :]
    return found


def told_v6(data: bytes) -> Told:
    """What one option 144 of DHCPv6 says (RFC 9463 4.1)."""
    priority, named = struct.unpack_from("!HH", data)
    name, rest = data[4 : 4 + named], data[4 + named :]
    size = int.from_bytes(rest[:2], "big")
    return _told(priority, name, rest[2 : 2 + size], rest[2 + size :])


def told_by_router(data: bytes) -> Told:
    """What one option 144 of a router advertisement says (RFC 9463 6.1)."""
    priority, lifetime, named = struct.unpack_from("!HIH", data, 2)
    assert lifetime > 0
    name, rest = data[10 : 10 + named], data[10 + named :]
    size = int.from_bytes(rest[:2], "big")
    addresses, rest = rest[2 : 2 + size], rest[2 + size :]
    size = int.from_bytes(rest[:2], "big")
    assert not rest[2 + size :].strip(b"\0"), "padding is zero"
    return _told(priority, name, addresses, rest[2 : 2 + size], octets=16)


def _told(priority: int, name: bytes, addresses: bytes, parameters: bytes, octets: int = 0) -> Told:
    """One resolver; addresses have `octets` each, by default as many as fit one family."""
    named, size = dns.name.from_wire(name, 0)
    assert size == len(name)
    each = octets or (16 if len(addresses) % 16 == 0 else 4)
    found = (str(ipaddress.ip_address(addresses[at : at + each])) for at in range(0, len(addresses), each))
    return Told(priority, named.to_text(omit_final_dot=True), tuple(found), _parameters(parameters))


def _parameters(wire: bytes) -> str:
    """SvcParams as dnspython writes them: of a record that it reads, whose name is the root."""
    whole = b"\0\1\0" + wire
    read = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.SVCB, whole, 0, len(whole))
    assert isinstance(read, SVCBBase)
    return read.to_text().removeprefix("1 . ")


def as_parameters(words: str) -> str:
    """SvcParams as dnspython writes them, of the words of a zone file."""
    return dns.rdata.from_text("IN", "SVCB", f"1 . {words}").to_text().removeprefix("1 . ")
