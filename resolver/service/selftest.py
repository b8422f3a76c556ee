"""Asks the service's own sockets for a list's synthetic name: each has to answer as the list answers.

Rules:
- Every socket is asked for A, AAAA and HTTPS; a wildcard socket is asked on loopback.
- An answer is right if it is the list's, octet for octet. Before another answer counts as wrong, the question is asked
  once more: the configuration may have changed meanwhile.
- No answer in time is neither right nor wrong: under load packets are lost, whatever the list.
- A resolver with our plugin is asked over UDP. It writes its answer itself: right is the list's response code, records
  and extended error. Any other answer is none in time, since it takes a list over within a second, and nothing that it
  says takes one out.
- A socket that trusts this host's address as a load balancer's is asked behind a PROXY header of type LOCAL.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from resolver.config.values import Endpoint, sockaddr
from resolver.core.image import SELFTEST_NAME
from resolver.core.message import Message, read
from resolver.core.proxy import SIGNATURE
from resolver.dns_client.client import build_query
from resolver.plugin.judge import Blocked, read_blocked
from resolver.query.forward_connect import connected
from resolver.query.transport import Transport

SECONDS: Final = 1.0
"""Timeout of all questions together."""
TYPES: Final = ("A", "AAAA", "HTTPS")
LOCAL_HEADER: Final = SIGNATURE + b"\x20\x00\x00\x00"
_PATIENCE_S: Final = 0.2
_LARGEST: Final = 65535
_LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}

Expected = Callable[[bytes, Transport], bytes]
"""(query, transport) to the octets of the right answer."""


@dataclass(frozen=True, slots=True)
class Place:
    """A socket that receives queries: the address it is bound to, and its transport. foreign: a resolver's with our
    plugin."""

    bound: Endpoint
    transport: Transport
    foreign: bool = False

    @property
    def asked(self) -> Endpoint:
        """Return the address at which this host asks it."""
        return Endpoint(own_address(self.bound.host), self.bound.port)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The number of sockets and of questions, and of questions answered wrongly (wrong) or not in time (silent)."""

    sockets: int
    questions: int
    wrong: int
    silent: int


def own_address(host: str) -> str:
    """Return the address from which, and at which, this host asks a socket bound to `host`."""
    address = ipaddress.ip_address(host)
    return _LOOPBACK[address.version] if address.is_unspecified else host


async def prove(
    places: Sequence[Place],
    label: bytes,
    expected: Expected,
    trusted: Callable[[str], bool],
    seconds: float = SECONDS,
) -> Outcome:
    """Ask every socket for the synthetic name of this label.

    trusted: whether a query from this address of ours must have a PROXY header. seconds: timeout of all questions.
    """
    name = f"{label.decode()}.{SELFTEST_NAME}"
    asking = [_Question(place, build_query(name, qtype), expected, trusted) for place in places for qtype in TYPES]
    tasks = [asyncio.ensure_future(one.is_right()) for one in asking]
    done, late = await asyncio.wait(tasks, timeout=seconds) if tasks else (set(), set())
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    said = [task.result() for task in done]
    return Outcome(len(places), len(asking), said.count(False), len(late) + said.count(None))


class _Question:
    """One question to one socket."""

    def __init__(self, place: Place, packet: bytes, expected: Expected, trusted: Callable[[str], bool]) -> None:
        self._place = place
        self._packet = packet
        self._expected = expected
        self._header = LOCAL_HEADER if not place.foreign and trusted(place.asked.host) else b""

    async def is_right(self) -> bool | None:
        """Return whether the list's answer came back; None if the socket cannot be reached."""
        try:
            if self._place.foreign:
                return await self._once() or None
            return await self._once() or await self._once()
        except (OSError, EOFError):
            return None

    async def _once(self) -> bool:
        reply = await (self._by_stream() if self._place.transport.is_stream else self._by_datagram())
        expected = self._expected(self._packet, self._place.transport)
        return _parts_of(reply) == _parts_of(expected) if self._place.foreign else reply == expected

    async def _by_datagram(self) -> bytes:
        loop, asked = asyncio.get_running_loop(), self._place.asked
        with socket.socket(socket.AF_INET6 if ":" in asked.host else socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.setblocking(False)
            one.connect(sockaddr(asked))
            while True:
                one.send(self._header + self._packet)
                try:
                    async with asyncio.timeout(_PATIENCE_S):
                        return await loop.sock_recv(one, _LARGEST)
                except TimeoutError:
                    continue

    async def _by_stream(self) -> bytes:
        reader, writer = await asyncio.open_connection(sock=await connected(self._place.asked))
        try:
            writer.write(self._header + len(self._packet).to_bytes(2, "big") + self._packet)
            await writer.drain()
            return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        finally:
            writer.close()


def _parts_of(reply: bytes) -> Blocked | None:
    """Return what an answer holds, however it is written; None if it cannot be read."""
    if not read(reply, len(reply), Message()):
        return None
    said = read_blocked(reply)
    # Of a SOA the names may be compressed.
    authorities = tuple(one._replace(rdata=b"") for one in said.authorities)
    return said._replace(authorities=authorities, errors=said.errors[:1])
