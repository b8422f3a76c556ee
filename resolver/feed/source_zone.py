"""The fetch process: a response policy zone, transferred from its primary and signed with TSIG, to lines for `read`.

Runs as its own process (`python -I -m resolver.feed.source_zone`) as `source_tuf` does.

Rules:
- The key in the pinned file signs what is asked and verifies every answer; nothing counts before the last message has.
- The SOA is asked for first. A serial that is that of the list we have confirms it, without a transfer; one that is
  behind it (RFC 1982) is rolled back.
- Serials go on in 63 bits where the zone's 32 bits wrap around, so that a list's serials only grow.
- A zone has no date: it is issued when this host first sees its serial. The digest is that of its lines, in order of
  their octets and each once, so that every primary of a zone gives the same.
- The whole zone is asked for (AXFR), never a difference (IXFR): what it would be applied to is not kept in clear.
"""

import bisect
import hashlib
import itertools
import operator
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.tsig
from msgspec.structs import replace

from resolver.authority import shapes
from resolver.core import transfer

from . import tsig
from .child import Wanted, put, work
from .confine import Failed, run
from .messages import Facts, FetchRequest, Reason
from .transfer_stream import Connection, Cut, TooMuch, Unreachable, zone_of
from .transport import Access

WIRE_SHARE: Final = 8
"""How many octets may come for one of the list's."""

_HALF: Final = 2**31
_WRAP: Final = 2**32


def serial_after(known: int, soa: int) -> int | None:
    """The serial that a zone's 32 bits stand for, `known` being the last one (0 for none); None where it is behind."""
    if known == 0:
        return soa or _WRAP
    ahead = (soa - known) % _WRAP
    return known + ahead if ahead < _HALF and known + ahead <= shapes.MAX_SERIAL else None


def digest_of(zone: dns.name.Name, data: bytes) -> str:
    """SHA-256, in hex, of a zone's lines sorted by their octets, each once, below the zone's name."""
    lines = data.split(b"\n")
    lines.sort()
    hashed = hashlib.sha256(b"rpz " + zone.to_digestable() + b"\n")
    del lines[: bisect.bisect_right(lines, b"")]
    once = itertools.compress(lines, map(operator.ne, lines, itertools.chain(lines[1:], (b"",))))
    while part := list(itertools.islice(once, 4096)):
        hashed.update(b"\n".join(part) + b"\n")
    return hashed.hexdigest()


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
        query, wire = self._query("AXFR")
        found = transfer.Transfer(self._zone.to_digestable())
        stream = tsig.Stream(self._key, query.mac or b"")
        self._connection.send(wire)
        lines, size, records = [], 0, 0
        for message in self._connection.messages(WIRE_SHARE * most):
            if not _answers(message, wire):
                raise Failed(Reason.TRANSFER)
            problem = transfer.walk(message, len(message), found)
            if problem != transfer.SOUND or found.records == records:
                raise Failed(Reason.TRANSFER)
            stream.take(message, found.tsig_at, int(self._clock()), last=bool(found.closed))
            records = found.records
            lines.append(found.lines())
            size += len(lines[-1])
            if size > most:
                raise Failed(Reason.OVERSIZED)
            if found.closed:
                break
        return found.serial, b"".join(lines)

    def _query(self, kind: str) -> tuple[dns.message.QueryMessage, bytes]:
        query = dns.message.make_query(self._zone, kind, flags=0)
        query.use_tsig(self._key)
        return query, query.to_wire()


def _answers(message: bytes, query: bytes) -> bool:
    """Whether a message of a transfer has the id and, where it has one, the question of `query`, and no error."""
    if len(message) < 12 or message[:2] != query[:2] or message[2] & 0xFA != 0x80 or message[3] & 15:
        return False
    end = query.index(b"\0", 12) + 5
    return message[4:6] == b"\0\0" or message[12:end].lower() == query[12:end].lower()


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a request pins: the zone's name, the key, and the SHA-256 of the key's file in hex."""

    zone: dns.name.Name
    key: dns.tsig.Key
    file: str


def pinned_by(request: FetchRequest) -> Pinned:
    """What `request` pins; Failed where its key or its zone's name is of no use."""
    try:
        key, file = tsig.read_key(request.root), Path(request.root).read_bytes()
    except (tsig.KeyUnusable, OSError):
        raise Failed(Reason.ROOT_UNUSABLE) from None
    zone = zone_of(request.url)
    if zone is None:
        raise Failed(Reason.UNKNOWN_TARGET)
    return Pinned(zone, key, hashlib.sha256(file).hexdigest())


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn what ends a transfer into its reason."""
    try:
        yield
    except Unreachable:
        raise Failed(Reason.UNREACHABLE) from None
    except Cut:
        raise Failed(Reason.TRANSFER) from None
    except TooMuch:
        raise Failed(Reason.OVERSIZED) from None
    except tsig.NotVerified as error:
        raise Failed(Reason.TAMPERED if error.forged else Reason.TRANSFER) from None


def fetch(request: FetchRequest, wanted: Wanted, clock: Callable[[], float] = time.time) -> bool:
    """Ask, verify, and write the list to the output where `wanted` says so; return whether it was written."""
    pinned = pinned_by(request)
    access = Access(
        ca=request.ca, certificate=request.certificate, key=request.key, resolvers=request.resolvers
    )
    with _reasons():
        connection = Connection(request.url, access, request.seconds)
        try:
            data = _wanted_zone(request, pinned, Primary(connection, pinned.zone, pinned.key, clock), wanted, clock)
        finally:
            connection.close()
    if data is None:
        return False
    put(request.output, data)
    return True


def _wanted_zone(
    request: FetchRequest,
    pinned: Pinned,
    primary: Primary,
    wanted: Wanted,
    clock: Callable[[], float],
) -> bytes | None:
    """The zone's lines where `wanted` says so, else None."""
    signer = tsig.fingerprint(pinned.key)
    soa = primary.soa()
    # A list that another key has signed says nothing of this key's serials.
    known = request.serial if request.targets_keys == signer else 0
    facts = Facts(
        digest=request.digest or "0" * 64,
        length=0,
        custom=shapes.Custom(
            list=request.list_id, serial=known or 1, issued=request.issued, expires=None, withdrawn=False
        ),
        targets_keys=signer,
        root_version=0,
        pinned=pinned.file,
        fresh_until=int(clock()) + soa.expire,
        format="rpz",
    )
    confirmed = known > 0 and _serial(known, soa.serial) == known
    if confirmed and not wanted(facts):
        return None
    transferred, data = primary.zone(request.max_bytes)
    serial, digest = _serial(known, transferred), digest_of(pinned.zone, data)
    if confirmed:
        # It was said to be the list that is known, and only its image is missing here.
        if serial != known:
            raise Failed(Reason.TRANSFER)
        if digest != request.digest:
            raise Failed(Reason.SERIAL_REUSED)
        return data
    custom = replace(facts.custom, serial=serial, issued=int(clock()))
    return data if wanted(replace(facts, digest=digest, length=len(data), custom=custom)) else None


def _serial(known: int, soa: int) -> int:
    serial = serial_after(known, soa)
    if serial is None:
        raise Failed(Reason.ROLLED_BACK)
    return serial


if __name__ == "__main__":
    sys.exit(run(partial(work, fetch)))
