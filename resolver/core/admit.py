# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Decides which clients are answered, by which lists they are judged, and how often they may ask.

Rules:
- A client is its address in 16 octets, IPv4 mapped (RFC 4291 2.5.5.2). Only addresses in `allow` (the ACL) are clients.
- `scope` is the set of lists that judge a client: in a list's `clients` (all where empty) and not in its `exempt`.
- A prefix (/32 of IPv4, /56 of IPv6) has two token buckets, each one second deep: one for queries whose sender is
  proven by a handshake, one for all others. Forged queries so take nothing from who really has the address.
- Above the rate, a proven sender is LIMITED; of the others every second query gets TC=1 (SLIP), so that its sender
  proves its address over TCP, and the rest are LIMITED. Prefixes in `[limits] exempt` have no bucket.
- A bucket's key is a keyed digest of the prefix; a full set drops the prefix that was seen longest ago.
- A load balancer is an address in `proxies`: only its PROXY header names the client.
- An error admits nobody, trusts nobody and takes nobody out of a list's scope.
"""

import cython

from .codes import ADMITTED, ALL_LISTS, LIMITED, MAX_LISTS, NOT_A_CLIENT, SLIP
from .locks import Locks

if not cython.compiled:
    from .locks import count_in, hold, release
    from .octets import compare16, copy, get, put
    from .siphash import siphash128

WAYS = 4
BUCKET_WORDS = 4
BUCKET_OCTETS = 8 * BUCKET_WORDS
SHARDS = 256

_ADMITTED = ADMITTED
_NOT_A_CLIENT = NOT_A_CLIENT
_SLIP = SLIP
_LIMITED = LIMITED
_MAX_LISTS = MAX_LISTS
_WAYS = WAYS
_BUCKET_WORDS = BUCKET_WORDS
_ALL_LISTS = ALL_LISTS
_TOKEN = 1000
_MINUTE_MS = 60000
# Octets 8 to 11 of a mapped address, the lowest first.
_MAPPED = 0xFFFF0000


class Access:
    """The ACL, the limits and the scopes of the lists.

    allow, unlimited, proxies: sorted, merged ranges as pairs of 16-octet addresses, both ends included.
    clients, exempt: such ranges for each list slot, b"" for none.
    rate: queries a second for each prefix, budget: its different entries (core.tally); 0 for no limit. memory: the
    buckets, zeroed, a multiple of WAYS * BUCKET_OCTETS, owned by the caller. key: 16 octets. locks: of the buckets;
    those of the Access before, where the memory is the same.
    """

    def __init__(self, allow, unlimited, clients, exempt, *, rate, memory, key, proxies=b"", budget=0, locks=None):
        self.allow = memoryview(allow or bytes(1))
        self.unlimited = memoryview(unlimited or bytes(1))
        self.proxies = memoryview(proxies or bytes(1))
        bounds = bytearray(16 * 2 * MAX_LISTS)
        self.bounds = memoryview(bounds).cast("Q")
        ranges = bytearray()
        self.scoped = 0
        for slot in range(MAX_LISTS):
            for part, text in enumerate((clients[slot], exempt[slot])):
                self.bounds[4 * slot + 2 * part] = len(ranges)
                ranges += text
                self.bounds[4 * slot + 2 * part + 1] = len(ranges)
                if text:
                    self.scoped |= 1 << slot
        self.ranges = memoryview(bytes(ranges) or bytes(1))
        self.rate = rate
        self.budget = budget
        self.buckets = memoryview(memory).cast("B").cast("Q")
        self.sets = len(self.buckets) // (BUCKET_WORDS * WAYS)
        self.key = memoryview(bytes(key)).cast("Q")
        self.locks = locks or Locks(SHARDS)
        self.counted = memoryview(bytearray(8)).cast("Q")

    @property
    def minute(self):
        """The minute in which a prefix asked last."""
        return self.counted[0] >> 32

    @property
    def prefixes(self):
        """The number of prefixes that asked in that minute."""
        return self.counted[0] & 0xFFFFFFFF


def admit(access, client, proven, now_ms, scratch):
    """Return ADMITTED, NOT_A_CLIENT, SLIP or LIMITED for a query from `client` at `now_ms` of a monotonic clock.

    proven: a handshake has shown that the client's address is not forged. Leaves the client's prefix in `scratch`.
    """
    try:
        return admission(access, client, proven, now_ms, scratch)
    except Exception:  # noqa: BLE001 - an error admits nobody
        return _NOT_A_CLIENT


def allows(access, client):
    """Return whether `client` is in the ACL."""
    try:
        return _within(access.allow, 0, access.allow.shape[0], client)
    except Exception:  # noqa: BLE001 - an error admits nobody
        return 0


def scope(access, client):
    """Return the bits of the list slots that judge this client."""
    try:
        return _scope(access, client)
    except Exception:  # noqa: BLE001 - an error takes no list out of the scope
        return _ALL_LISTS


def trusts(access, sender):
    """Return whether a PROXY header from this address names the client."""
    try:
        return is_trusted(access, sender)
    except Exception:  # noqa: BLE001 - an error trusts nobody
        return 0


def exempts(access, client):
    """Return whether a client is never limited."""
    try:
        return is_unlimited(access, client)
    except Exception:  # noqa: BLE001 - an error exempts nobody
        return 0


def admission(access, client, proven, now_ms, scratch):
    """Return what `admit` does; an error is raised."""
    if not _within(access.allow, 0, access.allow.shape[0], client):
        return _NOT_A_CLIENT
    set_prefix(client, scratch.prefix)
    if access.rate == 0 or access.sets == 0:
        return _ADMITTED
    siphash128(access.key, scratch.prefix, 0, 16, scratch.who, 0)
    limited = not is_unlimited(access, client)
    said = _visit(access, scratch.who[0], 1, limited and not proven, 0, now_ms)
    if limited and proven:
        said = _visit(access, scratch.who[1], 0, 1, 1, now_ms)
    return said


def _visit(access, tag, asks, takes, proven, now_ms):
    """Count a prefix that asks for the first time in a minute, and take a token; return ADMITTED, SLIP or LIMITED.

    tag: the bucket's. asks, takes: whether to do the one and the other.
    """
    own_set = (tag >> 32) * access.sets >> 32
    said = _ADMITTED
    hold(access.locks, own_set)
    bucket = _bucket_of(access, own_set, tag, now_ms)
    if asks and access.buckets[bucket + 3] >> 1 != now_ms // _MINUTE_MS + 1:
        access.buckets[bucket + 3] = (now_ms // _MINUTE_MS + 1) << 1
        count_in(access.counted, now_ms // _MINUTE_MS)
    if takes and not _take(access, bucket, now_ms):
        said = _LIMITED
        if not proven:
            access.buckets[bucket + 3] = access.buckets[bucket + 3] ^ 1
            if access.buckets[bucket + 3] & 1:
                said = _SLIP
    release(access.locks, own_set)
    return said


def is_unlimited(access, client):
    """Return whether a client is in `unlimited`; an error is raised, unlike by `exempts`."""
    return access.unlimited.shape[0] > 1 and _within(access.unlimited, 0, access.unlimited.shape[0], client)


def is_trusted(access, sender):
    """Return whether an address is a load balancer's; an error is raised, unlike by `trusts`."""
    return access.proxies.shape[0] > 1 and _within(access.proxies, 0, access.proxies.shape[0], sender)


def _take(access, bucket, now_ms):
    """Take a token, counted in thousandths; return whether there was one.

    The last bit of the bucket's fourth word, which the caller turns, alternates slip and drop.
    """
    full = access.rate * _TOKEN
    waited = 0
    if now_ms > access.buckets[bucket + 1]:
        waited = min(now_ms - access.buckets[bucket + 1], _TOKEN)
    tokens = access.buckets[bucket + 2] + waited * access.rate
    if tokens > full:
        tokens = full
    access.buckets[bucket + 1] = now_ms
    if tokens >= _TOKEN:
        access.buckets[bucket + 2] = tokens - _TOKEN
        return 1
    access.buckets[bucket + 2] = tokens
    return 0


def _bucket_of(access, own_set, tag, now_ms):
    """Return the first word of the prefix's bucket; a new bucket is full and replaces the oldest of its set."""
    first = own_set * _WAYS * _BUCKET_WORDS
    oldest = first
    way = 0
    while way < _WAYS:
        at = first + way * _BUCKET_WORDS
        if access.buckets[at] == tag:
            return at
        if access.buckets[at + 1] < access.buckets[oldest + 1]:
            oldest = at
        way += 1
    access.buckets[oldest] = tag
    access.buckets[oldest + 1] = now_ms
    access.buckets[oldest + 2] = access.rate * _TOKEN
    access.buckets[oldest + 3] = 0
    return oldest


def set_prefix(client, prefix):
    """Copy the client's prefix to `prefix`: all of a mapped IPv4 address, 7 octets of an IPv6 address."""
    copy(prefix, 0, client, 0, 16)
    if not is_mapped(client):
        put(prefix, 7, 0, 8)
        prefix[15] = 0
    return 0


def is_mapped(client):
    """Return whether 16 octets hold a mapped IPv4 address (RFC 4291 2.5.5.2)."""
    return get(client, 0, 8) == 0 and get(client, 8, 4) == _MAPPED


def _scope(access, client):
    result = _ALL_LISTS
    if access.scoped == 0:
        return result
    slot = 0
    while slot < _MAX_LISTS:
        bit = 1 << slot
        if access.scoped & bit:
            start = access.bounds[4 * slot]
            end = access.bounds[4 * slot + 1]
            if end > start and not _within(access.ranges, start, end, client):
                result = result & ~bit
            start = access.bounds[4 * slot + 2]
            end = access.bounds[4 * slot + 3]
            if end > start and _within(access.ranges, start, end, client):
                result = result & ~bit
        slot += 1
    return result


def _within(ranges, start, end, client):
    """Return whether `client` lies in one of the ranges in ranges[start:end], found by bisection."""
    low = 0
    high = (end - start) // 32
    while low < high:
        middle = (low + high) // 2
        at = start + 32 * middle
        if compare16(client, 0, ranges, at) < 0:
            high = middle
        elif compare16(client, 0, ranges, at + 16) > 0:
            low = middle + 1
        else:
            return 1
    return 0
