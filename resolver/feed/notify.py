"""Takes NOTIFY (RFC 1996): when the primary announces a change of its zone, the list is polled at once.

Rules:
- A NOTIFY counts only from the address of a list's primary and for that list's zone; any other packet takes the way of
  a query.
- A signed NOTIFY must be signed with the list's key, and then its answer is signed too (RFC 8945). Its content is
  ignored: the poll asks for the serial.
- Header and question identify a NOTIFY. Only one with a signature is parsed further, a few times a second for each
  list, so that packets with the primary's forged address cost next to nothing.
- A list is polled at once, then at the earliest one second after the poll before; of many notices in between one poll
  follows, and none is lost.
"""

import asyncio
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode

from resolver.config.config import List
from resolver.config.values import address_octets
from resolver.feed import lookup, tsig
from resolver.feed.lookup import zone_of

MAX_NOTICE_OCTETS: Final = 1024
MOST_READ_A_SECOND: Final = 5
PAUSE_S: Final = 1.0
LOOK_UP_S: Final = 3600.0
_LOOK_UP_SECONDS: Final = 10.0
_HEADER_OCTETS: Final = 12
_SOA_IN: Final = b"\0\x06\0\x01"
_ANSWER: Final = b"\xa4\0\0\x01\0\0\0\0\0\0"
"""QR, NOTIFY, AA; one question."""


@dataclass(slots=True)
class _Watched:
    """A list whose source is a zone, and the state of its notices."""

    list_id: str
    zone: dns.name.Name
    host: str
    key: str
    primaries: frozenset[bytes] = frozenset()
    last: float = float("-inf")
    waiting: bool = field(default=False)
    second: int = 0
    read: int = 0


class Notices:
    """Takes NOTIFY for the zones of `lists`; `poll` starts a poll of the list with an id. Belongs to one event loop."""

    def __init__(self, lists: Sequence[List], resolvers: tuple[str, ...], poll: Callable[[str], None]) -> None:
        self._resolvers = resolvers
        self._poll = poll
        self._watched: list[_Watched] = []
        self._changed = asyncio.Event()
        self.configure(lists)

    def configure(self, lists: Sequence[List]) -> None:
        """Watch the zones of these lists; what is known of those that were watched stays."""
        known = {(one.list_id, one.zone, one.host, one.key): one for one in self._watched}
        watched: list[_Watched] = []
        for one in lists:
            zone = zone_of(one.source.url) if one.source.kind == "zone" else None
            if zone is not None:
                host = urlsplit(one.source.url).hostname or ""
                found = frozenset((address_octets(host),)) if lookup.is_address(host) else frozenset()
                new = _Watched(one.id, zone, host, one.source.root, found)
                watched.append(known.get((new.list_id, new.zone, new.host, new.key), new))
        self._watched = watched
        self._changed.set()

    async def run(self) -> None:
        """Look up the primaries that are given by host name, now, every hour and with new lists, until cancelled."""
        while True:
            self._changed.clear()
            for one in [each for each in self._watched if not lookup.is_address(each.host)]:
                found = await asyncio.to_thread(lookup.addresses, one.host, self._resolvers, _LOOK_UP_SECONDS)
                if found:
                    one.primaries = frozenset(map(address_octets, found))
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_UP_S):
                    await self._changed.wait()

    def expects(self, client: bytes) -> bool:
        """Return whether this address (16 octets) is that of a list's primary."""
        return any(client in one.primaries for one in self._watched)

    def take(self, packet: bytes, client: bytes) -> bytes | None:
        """Return the answer to a NOTIFY for one of our zones, and schedule the poll; None for any other packet.

        client: the source address in 16 octets.
        """
        watched = [one for one in self._watched if client in one.primaries]
        if not watched or not _may_be_notice(packet):
            return None
        for one in watched:
            answer = self._answer(packet, one) if _is_for(packet, one.zone) else None
            if answer is not None:
                self._soon(one)
                return answer
        return None

    def _answer(self, packet: bytes, one: _Watched) -> bytes | None:
        """Return the answer to a NOTIFY for the zone of `one`; None if malformed, wrongly signed or over the rate."""
        if packet[10:12] == b"\0\0":
            end = _HEADER_OCTETS + len(one.zone.to_digestable()) + len(_SOA_IN)
            # Without an answer section the packet must end with the question.
            is_whole = packet[6:8] != b"\0\0" or len(packet) == end
            return packet[:2] + _ANSWER + packet[_HEADER_OCTETS:end] if is_whole else None
        notice = _notice(packet, one) if self._is_within_rate(one) else None
        return None if notice is None else _signed_answer(notice)

    def _is_within_rate(self, one: _Watched) -> bool:
        second = int(asyncio.get_running_loop().time())
        if one.second != second:
            one.second, one.read = second, 0
        one.read += 1
        return one.read <= MOST_READ_A_SECOND

    def _soon(self, one: _Watched) -> None:
        if one.waiting:
            return
        loop = asyncio.get_running_loop()
        one.waiting = True
        loop.call_at(max(loop.time(), one.last + PAUSE_S), partial(self._now, one))

    def _now(self, one: _Watched) -> None:
        one.waiting, one.last = False, asyncio.get_running_loop().time()
        self._poll(one.list_id)


def _may_be_notice(packet: bytes) -> bool:
    """Return whether the header is that of a NOTIFY: one question, at most one SOA, at most EDNS and TSIG."""
    if not _HEADER_OCTETS < len(packet) <= MAX_NOTICE_OCTETS or packet[2] >> 3 != dns.opcode.NOTIFY:
        return False
    questions, answers, authorities, additionals = struct.unpack_from("!4H", packet, 4)
    return bool(questions == 1 and answers <= 1 and authorities == 0 and additionals <= 2)


def _is_for(packet: bytes, zone: dns.name.Name) -> bool:
    """Return whether the question is the SOA of `zone`."""
    asked = zone.to_digestable()
    end = _HEADER_OCTETS + len(asked)
    return packet[_HEADER_OCTETS:end].lower() == asked and packet[end : end + len(_SOA_IN)] == _SOA_IN


def _notice(packet: bytes, one: _Watched) -> dns.message.Message | None:
    """Parse a NOTIFY and verify its signature; None if it is malformed or wrongly signed."""
    try:
        key = tsig.read_key(one.key)
        return dns.message.from_wire(packet, keyring={key.name: key})
    except (dns.exception.DNSException, tsig.KeyUnusable, NotImplementedError, ValueError):
        return None


def _signed_answer(notice: dns.message.Message) -> bytes:
    answer = dns.message.Message(id=notice.id)
    answer.flags = dns.flags.QR | dns.flags.AA
    answer.set_opcode(dns.opcode.NOTIFY)
    answer.question = list(notice.question)
    if notice.had_tsig:
        answer.use_tsig(notice.keyring)
        answer.request_mac = notice.mac or b""
    return answer.to_wire()
