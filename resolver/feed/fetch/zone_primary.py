"""A zone's primary, asked over one connection: for its SOA, for the whole zone, for what changed since a serial.

Rules:
- The key signs what is asked and verifies every answer; nothing counts before the last message has.
- An answer has the id and the question of what was asked, no error, and records in every message.
- What comes is bounded, in octets on the wire and in those of the list that it makes.
"""

from collections.abc import Callable
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.tsig

from resolver.core import transfer
from resolver.feed import tsig
from resolver.feed.fetch.zone_difference import Answer, NotATransfer
from resolver.feed.fetch.zone_stream import Connection
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed

WIRE_SHARE: Final = 8
"""How many octets may come for one of the list's."""


class Primary:
    """A zone's primary, asked with one key over one connection. `clock` returns unix seconds."""

    def __init__(
        self, connection: Connection, zone: dns.name.Name, key: dns.tsig.Key, clock: Callable[[], float]
    ) -> None:
        self._connection = connection
        self._zone = zone
        self._key = key
        self._clock = clock

    def soa(self) -> dns.rdtypes.ANY.SOA.SOA:
        """The zone's SOA, verified; Failed where there is none."""
        query, wire = self._query("SOA")
        self._connection.send(wire)
        answer = next(self._connection.messages(2**17))
        try:
            reply = dns.message.from_wire(answer, keyring={self._key.name: self._key}, request_mac=query.mac)
        except dns.tsig.BadSignature:
            raise Failed(Reason.TAMPERED) from None
        except (dns.exception.DNSException, NotImplementedError):
            raise Failed(Reason.TRANSFER) from None
        if not reply.had_tsig or not query.is_response(reply) or reply.rcode() != dns.rcode.NOERROR:
            raise Failed(Reason.TRANSFER)
        found = reply.get_rrset(reply.answer, self._zone, dns.rdataclass.IN, dns.rdatatype.SOA)
        record = found[0] if found is not None and len(found) == 1 else None
        if not isinstance(record, dns.rdtypes.ANY.SOA.SOA):
            raise Failed(Reason.TRANSFER)
        return record

    def zone(self, most: int) -> tuple[int, bytes]:
        """The serial and the lines of the whole zone, verified; Failed otherwise: OVERSIZED above `most` octets."""
        found = transfer.Transfer(self._zone.to_digestable())
        lines: list[bytes] = []

        def take(part: bytes) -> bool:
            lines.append(part)
            return bool(found.closed)

        self._transfer(*self._query("AXFR"), found, most, take)
        return found.serial, b"".join(lines)

    def marked(self, answer: Answer, marks: bytes, most: int, *, since: int | None = None) -> None:
        """Have `answer` take the records, marked with the key `marks`, of what changed since a serial, or of the whole
        zone; as `zone`."""
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
        """Ask, and have `take` see the lines of each message; it tells whether that was the last, or NotATransfer."""
        stream = tsig.Stream(self._key, query.mac or b"")
        self._connection.send(wire)
        size, records = 0, 0
        for message in self._connection.messages(WIRE_SHARE * most):
            if not _answers(message, wire):
                raise Failed(Reason.TRANSFER)
            problem = transfer.walk(message, len(message), found)
            if problem != transfer.SOUND or found.records == records:
                raise Failed(Reason.TRANSFER)
            records = found.records
            lines = found.lines()
            size += len(lines) - (transfer.MARK_OCTETS * lines.count(b" ") if found.marked else 0)
            try:
                closed, fits = take(lines), True
            except NotATransfer:
                closed, fits = True, False
            # A forged message is told as one, whatever it says.
            stream.take(message, found.tsig_at, int(self._clock()), last=closed)
            if not fits:
                raise Failed(Reason.TRANSFER)
            if size > most:
                raise Failed(Reason.OVERSIZED)
            if closed:
                return

    def _query(self, kind: str, since: int | None = None) -> tuple[dns.message.QueryMessage, bytes]:
        query = dns.message.make_query(self._zone, kind, flags=0)
        if since is not None:
            ours = dns.rdata.from_text("IN", "SOA", f". . {since} 0 0 0 0")
            query.find_rrset(query.authority, self._zone, ours.rdclass, ours.rdtype, create=True).add(ours)
        query.use_tsig(self._key)
        return query, query.to_wire()


def _answers(message: bytes, query: bytes) -> bool:
    """Whether a message of a transfer has the id and, where it has one, the question of `query`, and no error."""
    if len(message) < 12 or message[:2] != query[:2] or message[2] & 0xFA != 0x80 or message[3] & 15:
        return False
    end = query.index(b"\0", 12) + 5
    return message[4:6] == b"\0\0" or message[12:end].lower() == query[12:end].lower()
