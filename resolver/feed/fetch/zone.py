"""Fetches a response policy zone from its primary, by zone transfer with TSIG, as lines for `read_zone`.

Runs as its own process (`python -I -m resolver.feed.fetch.zone`), see child.

Rules:
- The key in the pinned file signs each query and verifies every answer; nothing counts before the last message is
  verified.
- The SOA is queried first. If its serial is that of the known list, this confirms the list without a transfer; a serial
  behind it (RFC 1982) is rolled back.
- Serials continue in 63 bits when the zone's 32 bits wrap around, so that a list's serials only grow.
- A zone without any entry counts as withdrawn: its authority has no other way to end a list. The guard holds it.
- A zone has no date: it counts as issued when this host first sees its serial. Its digest is that of its lines, sorted
  by octets and each once, so that every primary of a zone gives the same digest.
- The whole zone is transferred (AXFR). If the source is incremental, this process gets a sealed copy of the zone and
  asks for the difference (IXFR). If anything in that answer is wrong, all of it is dropped and the whole zone is
  transferred at once. The whole zone is also transferred once a week, so that no error in a difference stays.
- The list of an incremental source is its sorted lines, the same for either way. The new copy is sealed and written to
  its descriptor if, and only if, the list is written to its own.
"""

import hashlib
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import dns.name
import dns.tsig
from msgspec.structs import replace

from resolver.feed import tsig
from resolver.feed.details import Code, Detail, Place, of_errno
from resolver.feed.fetch import zone_copy, zone_difference, zone_refused
from resolver.feed.fetch.child import Wanted, access_of, contents, not_fetched, put, work
from resolver.feed.fetch.zone_copy import Copy
from resolver.feed.fetch.zone_difference import Answer
from resolver.feed.fetch.zone_primary import Primary
from resolver.feed.fetch.zone_stream import Connection, Cut, TooMuch, Unreachable
from resolver.feed.lookup import zone_of
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed, run
from resolver.feed.transport import NotFetched
from resolver.signed import metadata

WHOLE_AGAIN_S: Final = 7 * 86400
DIFFERENCE_SHARE: Final = 0.25
"""Share of a fetch's time limit that a difference may take; the rest is kept for the whole zone."""

_HALF: Final = 2**31
_WRAP: Final = 2**32


def serial_after(known: int, soa: int) -> int | None:
    """Return the serial in 63 bits for a zone's `soa` serial; None if it is behind `known`, the last one (0: none)."""
    if known == 0:
        return soa or _WRAP
    ahead = (soa - known) % _WRAP
    return known + ahead if ahead < _HALF and known + ahead <= metadata.MAX_SERIAL else None


def digest_of(zone: dns.name.Name, data: bytes) -> str:
    """Return the SHA-256, in hex, of a zone's name and its lines, sorted by octets and each once."""
    hashed = hashlib.sha256(b"rpz " + zone.to_digestable() + b"\n")
    once = zone_difference.once(data)
    while part := list(itertools.islice(once, 4096)):
        hashed.update(b"\n".join(part) + b"\n")
    return hashed.hexdigest()


@dataclass(frozen=True, slots=True)
class Pinned:
    """The zone's name and the key that a request pins, and the SHA-256 of the key's file in hex."""

    zone: dns.name.Name
    key: dns.tsig.Key
    file: str


def pinned_by(request: FetchRequest) -> Pinned:
    """Return the pinned zone and key of a request; Failed if either is unusable."""
    try:
        key, file = tsig.read_key(request.root), Path(request.root).read_bytes()
    except tsig.KeyUnusable as error:
        raise Failed(Reason.KEY_UNUSABLE, error.detail) from None
    except OSError as error:
        raise Failed(Reason.KEY_UNUSABLE, of_errno(error, Place.ROOT_FILE)) from None
    zone = zone_of(request.url)
    if zone is None:
        raise Failed(Reason.UNKNOWN_TARGET, Detail(code=Code.ZONE_NAME))
    return Pinned(zone, key, hashlib.sha256(file).hexdigest())


@contextmanager
def _reasons(request: FetchRequest, key: dns.tsig.Key, clock: Callable[[], float]) -> Iterator[None]:
    """Turn an error that ends a transfer into Failed with its reason."""
    try:
        yield
    except Unreachable as error:
        raise Failed(Reason.UNREACHABLE, error.detail) from None
    except NotFetched as error:
        raise not_fetched(error) from None
    except Cut as error:
        raise Failed(Reason.TRANSFER, error.detail) from None
    except TooMuch:
        raise Failed(Reason.OVERSIZED, Detail(code=Code.TOO_LONG, numbers=(request.max_bytes,))) from None
    except tsig.NotVerified as error:
        detail = Detail(code=Code.TSIG_MISSING, at=Place.HOST)
        if error.message:
            detail = zone_refused.unverified(error.message, key, int(clock()))
        raise Failed(Reason.TAMPERED if error.forged else Reason.TRANSFER, detail) from None


Connect = Callable[[float], Primary]
"""Connects to the primary, with a share of the fetch's time limit; the connection before is closed."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A transferred zone: its 32-bit serial, its lines, and its copy if the source is incremental.

    difference: whether it came as a difference.
    """

    serial: int
    data: bytes
    copy: Copy | None = None
    difference: bool = False


def fetch(request: FetchRequest, wanted: Wanted, clock: Callable[[], float] = time.time) -> bool:
    """Transfer and verify, and write the list to the output if it is wanted; return whether it was written."""
    pinned = pinned_by(request)
    access = access_of(request)
    with _reasons(request, pinned.key, clock), ExitStack() as opened:

        def connect(share: float) -> Primary:
            opened.close()
            connection = opened.enter_context(closing(Connection(request.url, access, request.seconds * share)))
            return Primary(connection, pinned.zone, pinned.key, clock)

        found = _wanted_zone(request, pinned, connect, wanted, clock)
    if found is None:
        return False
    zone, bound = found
    put(request.output, zone.data)
    if zone.copy is not None:
        for part in zone_copy.seal(zone.copy, contents(request.copy_key), request.url, bound):
            put(request.copy_output, part)
    return True


def _wanted_zone(
    request: FetchRequest, pinned: Pinned, connect: Connect, wanted: Wanted, clock: Callable[[], float]
) -> tuple[Zone, bytes] | None:
    """Return the zone and the binding of its copy; None if the list is not wanted."""
    signer = tsig.fingerprint(pinned.key)
    # A list that was signed by another key says nothing about the serials of this key.
    known = request.serial if request.targets_keys == signer else 0
    incremental = known > 0 and min(request.copy, request.copy_key) >= 0
    primary = connect(DIFFERENCE_SHARE if incremental else 1.0)
    soa = primary.soa()
    facts = Facts(
        digest=request.digest or "0" * 64,
        length=0,
        custom=metadata.Custom(
            list=request.list_id, serial=known or 1, issued=request.issued, expires=None, withdrawn=request.withdrawn
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
    ours = _kept(request, pinned, int(clock())) if incremental else None
    zone = _changed(primary, ours, known, request.max_bytes, int(clock())) if ours else None
    if zone is None:
        primary = connect(1.0 - DIFFERENCE_SHARE) if incremental else primary
        zone = _whole(primary, request.max_bytes, int(clock()), copied=request.copy_key >= 0)
    serial, digest = _serial(known, zone.serial), digest_of(pinned.zone, zone.data)
    found = zone, _bound(request, pinned, serial, digest)
    if confirmed:
        # The SOA confirmed the known list, and only its image is missing here: the transfer must give the same list.
        if serial != known:
            numbers = zone.serial, soa.serial
            raise Failed(Reason.TRANSFER, Detail(code=Code.ZONE_MOVED, at=Place.HOST, numbers=numbers))
        if digest != request.digest:
            reused = Detail(code=Code.ZONE_REUSED, at=Place.HOST, numbers=(soa.serial,))
            raise Failed(Reason.SERIAL_REUSED, reused)
        return found
    same = (serial, digest) == (known, request.digest)
    issued, emptied = request.issued if same else int(clock()), not zone.data.strip(b"\n")
    custom = replace(facts.custom, serial=serial, issued=issued, withdrawn=emptied)
    facts = replace(facts, digest=digest, length=len(zone.data), custom=custom, difference=zone.difference)
    return found if wanted(facts) else None


def _changed(primary: Primary, ours: Copy, known: int, most: int, now: int) -> Zone | None:
    """Apply the difference since the serial `known` to our copy, and return the zone; None if anything is wrong."""
    answer = Answer(ours.entries, known % _WRAP)
    try:
        primary.marked(answer, ours.marks, most, since=known % _WRAP)
    except (Failed, Cut, TooMuch, Unreachable, tsig.NotVerified):
        return None
    whole_at = now if answer.is_whole else ours.whole_at
    return _zone_of(answer, ours.marks, whole_at, most)


def _whole(primary: Primary, most: int, now: int, *, copied: bool) -> Zone:
    """Transfer the whole zone; copied: make its copy too."""
    if not copied:
        return Zone(*primary.zone(most))
    answer, marks = Answer(), os.urandom(zone_copy.MARKS_OCTETS)
    primary.marked(answer, marks, most)
    return _zone_of(answer, marks, now, most)


def _zone_of(answer: Answer, marks: bytes, whole_at: int, most: int) -> Zone:
    entries = answer.result()
    data = zone_difference.lines_of(entries)
    if len(data) > most:
        raise Failed(Reason.OVERSIZED, Detail(code=Code.TOO_LONG, at=Place.LIST, numbers=(most,)))
    return Zone(answer.serial, data, Copy(marks, whole_at, entries), not answer.is_whole)


def _kept(request: FetchRequest, pinned: Pinned, now: int) -> Copy | None:
    """Return the copy of the known zone; None if no copy opens, or if a whole transfer is due."""
    bound = _bound(request, pinned, request.serial, request.digest)
    try:
        ours = zone_copy.unseal(contents(request.copy), contents(request.copy_key), request.url, bound)
    except zone_copy.CopyUnusable:
        return None
    return ours if 0 <= now - ours.whole_at < WHOLE_AGAIN_S else None


def _bound(request: FetchRequest, pinned: Pinned, serial: int, digest: str) -> bytes:
    return zone_copy.binding(list_id=request.list_id, zone=pinned.zone.to_digestable(), serial=serial, digest=digest)


def _serial(known: int, soa: int) -> int:
    serial = serial_after(known, soa)
    if serial is None:
        last = known % _WRAP
        if _is_date(last) and not _is_date(soa):
            between = (last + _HALF - 1) % _WRAP
            raise Failed(
                Reason.ROLLED_BACK, Detail(code=Code.ZONE_FROM_DATES, at=Place.HOST, numbers=(soa, last, between))
            )
        raise Failed(Reason.ROLLED_BACK, Detail(code=Code.ZONE_BACK, at=Place.HOST, numbers=(soa, last)))
    return serial


def _is_date(serial: int) -> bool:
    """Return whether a serial has the form YYYYMMDDnn, which is above unix time until 2033."""
    year, month, day = serial // 10**6, serial // 10**4 % 100, serial // 100 % 100
    return 1990 <= year <= 2099 and 1 <= month <= 12 and 1 <= day <= 31


if __name__ == "__main__":
    sys.exit(run(partial(work, fetch)))
