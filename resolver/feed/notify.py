"""NOTIFY (RFC 1996): the primary of a zone says that it has changed, and the list is polled without waiting.

Rules:
- Only from the address of a list's primary and for that list's zone; whoever else asks has asked nothing of ours.
- One that is signed must be signed with the list's key, and so is its answer (RFC 8945). What it says of the zone is
  not looked at: the poll asks.
- A list is polled at once, then a second after its last notice at the earliest; of many one waits, none is lost.
"""

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdataclass
import dns.rdatatype

from resolver.config import List

from . import lookup, tsig
from .transfer_stream import zone_of

MAX_NOTICE_OCTETS: Final = 4096
PAUSE_S: Final = 1.0
LOOK_UP_S: Final = 3600.0
_LOOK_UP_SECONDS: Final = 10.0


def _octets(address: str) -> bytes:
    """An address in 16 octets, IPv4 mapped (RFC 4291 2.5.5.2)."""
    packed = ipaddress.ip_address(address).packed
    return packed if len(packed) == 16 else b"\0" * 10 + b"\xff\xff" + packed


@dataclass(slots=True)
class _Watched:
    """One list whose source is a zone."""

    list_id: str
    zone: dns.name.Name
    host: str
    key: str
    primaries: frozenset[bytes] = frozenset()
    last: float = float("-inf")
    waiting: bool = field(default=False)


class Notices:
    """Takes NOTIFY for the zones of `lists`; `poll` has the list of an id polled now. Belongs to one event loop."""

    def __init__(self, lists: Sequence[List], resolvers: tuple[str, ...], poll: Callable[[str], None]) -> None:
        self._resolvers = resolvers
        self._poll = poll
        self._watched: list[_Watched] = []
        for one in lists:
            zone = zone_of(one.source.url) if one.source.kind == "zone" else None
            if zone is not None:
                host = urlsplit(one.source.url).hostname or ""
                found = frozenset((_octets(host),)) if lookup.is_address(host) else frozenset()
                self._watched.append(_Watched(one.id, zone, host, one.source.root, found))

    async def run(self) -> None:
        """Look up the primaries that are named by a host, now and every hour, until cancelled."""
        named = [one for one in self._watched if not lookup.is_address(one.host)]
        while named:
            for one in named:
                found = await asyncio.to_thread(lookup.addresses, one.host, self._resolvers, _LOOK_UP_SECONDS)
                if found:
                    one.primaries = frozenset(map(_octets, found))
            await asyncio.sleep(LOOK_UP_S)
        await asyncio.Event().wait()

    def take(self, packet: bytes, client: bytes) -> bytes | None:
        """The answer to a NOTIFY of ours from `client` (16 octets), whose list is then polled; None for all else."""
        watched = [one for one in self._watched if client in one.primaries]
        if not watched or len(packet) > MAX_NOTICE_OCTETS or packet[2] >> 3 & 15 != dns.opcode.NOTIFY:
            return None
        for one in watched:
            notice = _notice(packet, one)
            if notice is not None:
                self._soon(one)
                return _answer(notice)
        return None

    def _soon(self, one: _Watched) -> None:
        if one.waiting:
            return
        loop = asyncio.get_running_loop()
        one.waiting = True
        loop.call_at(max(loop.time(), one.last + PAUSE_S), partial(self._now, one))

    def _now(self, one: _Watched) -> None:
        one.waiting, one.last = False, asyncio.get_running_loop().time()
        self._poll(one.list_id)


def _notice(packet: bytes, one: _Watched) -> dns.message.Message | None:
    """The NOTIFY for a list's zone that `packet` holds; None where it is another's, malformed or signed wrongly."""
    try:
        keyring = {}
        if packet[10:12] != b"\0\0":
            key = tsig.read_key(one.key)
            keyring = {key.name: key}
        notice = dns.message.from_wire(packet, keyring=keyring)
    except (dns.exception.DNSException, tsig.KeyUnusable, NotImplementedError, ValueError):
        return None
    if notice.opcode() != dns.opcode.NOTIFY or notice.flags & dns.flags.QR or len(notice.question) != 1:
        return None
    asked = notice.question[0]
    if asked.name != one.zone or asked.rdtype != dns.rdatatype.SOA or asked.rdclass != dns.rdataclass.IN:
        return None
    return notice


def _answer(notice: dns.message.Message) -> bytes:
    answer = dns.message.Message(id=notice.id)
    answer.flags = dns.flags.QR | dns.flags.AA
    answer.set_opcode(dns.opcode.NOTIFY)
    answer.question = list(notice.question)
    if notice.had_tsig:
        answer.use_tsig(notice.keyring)
        answer.request_mac = notice.mac or b""
    return answer.to_wire()
