"""Queries a zone's primary over one connection: its SOA, the whole zone (AXFR), the difference since a serial (IXFR).

Rules:
- The key signs each query and verifies every answer; nothing counts before the last message is verified.
- An answer has the id and the question of the query, no error code, and records in every message.
- A transfer is limited in octets on the wire and in octets of the resulting list.
"""

from collections.abc import Callable
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.tsig

from resolver.core import transfer
from resolver.feed import tsig
from resolver.feed.details import Code, Detail, Place, Word
from resolver.feed.fetch import zone_refused
from resolver.feed.fetch.child import step
from resolver.feed.fetch.zone_difference import Answer, NotATransfer
from resolver.feed.fetch.zone_stream import Connection
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed

WIRE_SHARE: Final = 8
"""Limit of a transfer: octets on the wire for each octet that the list may have."""


class Primary:
    """A zone's primary, queried with one key over one connection. clock: returns unix seconds."""

    def __init__(
        self, connection: Connection, zone: dns.name.Name, key: dns.tsig.Key, clock: Callable[[], float]
    ) -> None:
        self._connection = connection
        self._zone = zone
        self._key = key
        self._clock = clock

    def soa(self) -> dns.rdtypes.ANY.SOA.SOA:
        """Return the zone's verified SOA; Failed if there is none."""
        step(Detail(code=Code.STEP_SOA, at=Place.HOST))
        query, wire = self._query("SOA")
        self._connection.send(wire)
        answer, now = next(self._connection.messages(2**17)), int(self._clock())
        refused = zone_refused.refusal(answer, now) if answer[:2] == wire[:2] else None
        if refused is not None:
            raise refused
        if zone_refused.tsig_of(answer) is None:
            raise Failed(Reason.NOT_SIGNED, Detail(code=Code.TSIG_NONE, at=Place.HOST))
        try:
            reply = dns.message.from_wire(answer, keyring={self._key.name: self._key}, request_mac=query.mac)
        except dns.tsig.BadSignature:
            raise Failed(Reason.TAMPERED, zone_refused.unverified(answer, self._key, now)) from None
        except (dns.exception.DNSException, NotImplementedError):
            raise Failed(Reason.TRANSFER, zone_refused.unverified(answer, self._key, now)) from None
        found = reply.get_rrset(reply.answer, self._zone, dns.rdataclass.IN, dns.rdatatype.SOA)
        record = found[0] if found is not None and len(found) == 1 and _is_response(reply, query) else None
        if not isinstance(record, dns.rdtypes.ANY.SOA.SOA):
            raise Failed(Reason.TRANSFER, Detail(code=Code.ZONE_NO_SOA, at=Place.HOST))
        step(Detail(code=Code.FOUND_SERIAL, numbers=(record.serial,)))
        return record

    def zone(self, most: int) -> tuple[int, bytes]:
        """Return serial and lines of the whole zone, verified; Failed, with OVERSIZED above `most` octets."""
        found = transfer.Transfer(self._zone.to_digestable())
        lines: list[bytes] = []

        def take(part: bytes) -> bool:
            lines.append(part)
            return bool(found.closed)

        self._transfer(*self._query("AXFR"), found, most, take)
        return found.serial, b"".join(lines)

    def marked(self, answer: Answer, marks: bytes, most: int, *, since: int | None = None) -> None:
        """Pass the records of a transfer, marked with the key `marks`, to `answer`; Failed as in `zone`.

        since: the serial to ask the difference for; None for the whole zone.
        """
        found = transfer.Transfer(self._zone.to_digestable(), marks)

        def take(part: bytes) -> bool:
            answer.take(part)
            return answer.closed

        query = self._query("AXFR") if since is None else self._query("IXFR", since)
        self._transfer(*query, found, most, take)

    def _transfer(
        self,
        query: dns.message.QueryMessage,
        wire: bytes,
        found: transfer.Transfer,
        most: int,
        take: Callable[[bytes], bool],
    ) -> None:
        """Send a query and pass the lines of each message to `take`, which returns whether it was the last.

        Failed, also if `take` raises NotATransfer.
        """
        kind = Word.IXFR if query.question[0].rdtype == dns.rdatatype.IXFR else Word.AXFR
        step(Detail(code=Code.STEP_TRANSFER, at=Place.HOST, word=kind))
        stream = tsig.Stream(self._key, query.mac or b"")
        self._connection.send(wire)
        size, records = 0, 0
        for number, message in enumerate(self._connection.messages(WIRE_SHARE * most), 1):
            malformed = Failed(Reason.TRANSFER, Detail(code=Code.ZONE_MESSAGE, at=Place.HOST, numbers=(number,)))
            if not _answers(message, wire):
                refused = zone_refused.refusal(message, int(self._clock())) if message[:2] == wire[:2] else None
                raise refused or malformed
            problem = transfer.walk(message, len(message), found)
            if problem != transfer.SOUND or found.records == records:
                raise malformed
            records = found.records
            lines = found.lines()
            size += len(lines) - (transfer.MARK_OCTETS * lines.count(b" ") if found.marked else 0)
            try:
                closed, fits = take(lines), True
            except NotATransfer:
                closed, fits = True, False
            # First the signature: a forged message is reported as forged, whatever its content.
            stream.take(message, found.tsig_at, int(self._clock()), last=closed)
            if not fits:
                raise Failed(Reason.TRANSFER, Detail(code=Code.ZONE_ORDER, at=Place.HOST, word=kind))
            if size > most:
                raise Failed(Reason.OVERSIZED, Detail(code=Code.TOO_LONG, at=Place.LIST, numbers=(most,)))
            if closed:
                step(Detail(code=Code.FOUND_TRANSFER, numbers=(size, number)))
                return

    def _query(self, kind: str, since: int | None = None) -> tuple[dns.message.QueryMessage, bytes]:
        query = dns.message.make_query(self._zone, kind, flags=0)
        if since is not None:
            ours = dns.rdata.from_text("IN", "SOA", f". . {since} 0 0 0 0")
            query.find_rrset(query.authority, self._zone, ours.rdclass, ours.rdtype, create=True).add(ours)
        query.use_tsig(self._key)
        return query, query.to_wire()


def _is_response(reply: dns.message.Message, query: dns.message.QueryMessage) -> bool:
    return bool(reply.had_tsig) and query.is_response(reply)


def _answers(message: bytes, query: bytes) -> bool:
    """Return whether a message of a transfer has the id of `query`, its question if it has one, and no error code."""
    if len(message) < 12 or message[:2] != query[:2] or message[2] & 0xFA != 0x80 or message[3] & 15:
        return False
    end = query.index(b"\0", 12) + 5
    return message[4:6] == b"\0\0" or message[12:end].lower() == query[12:end].lower()
