# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Finds the names that are answered here and never forwarded: they are local to this network, or exist nowhere.

Rules:
- localhost and all below it are the loopback addresses (RFC 6761 6.3); 127.0.0.1 and ::1 point back to localhost.
- invalid, onion, local and alt do not exist (RFC 6761 6.4, RFC 7686, RFC 6762 22.1, RFC 9476). resolver.arpa and all
  below it exist and hold nothing (RFC 9462 6.4), but for the SVCB records of _dns.resolver.arpa: they designate the
  encrypted transports of this resolver (RFC 9462 4), if it has any.
- home.arpa (RFC 8375), service.arpa (RFC 9665) and the reverse zones of private and special addresses (RFC 6303 4,
  RFC 7793) are empty: the apex has SOA and NS, nothing else exists. DS at their apex belongs to their parent and is
  forwarded (RFC 8375 4).
- The operator may have those of the last rule, local and alt forwarded, whole or in part; the longest zone wins.
- The names by which a browser or a device asks whether it may go round this resolver do not exist if the operator says
  so. They are the only names of real domains in this package: their protocols fix them.
"""


from .codes import (
    LOCAL_APEX,
    LOCAL_DESIGNATED,
    LOCAL_EMPTY,
    LOCAL_MISSING,
    LOCALHOST,
    LOOPBACK,
    NOT_LOCAL,
    TYPE_A,
    TYPE_AAAA,
    TYPE_DS,
    TYPE_SVCB,
)
from .name import spells, wire_of

_NOT_LOCAL = NOT_LOCAL
_APEX = LOCAL_APEX
_MISSING = LOCAL_MISSING
_LOCALHOST = LOCALHOST
_LOOPBACK = LOOPBACK
_EMPTY = LOCAL_EMPTY
_DESIGNATED = LOCAL_DESIGNATED
_DS = TYPE_DS
_SVCB = TYPE_SVCB
# Kinds of a row of the table: how the names that it covers are answered.
_FORWARDED = 0
_OURS = 1
_DELEGATED = 2
_HOST = 3
_BARREN = 4
_CANARY = 5

_ADDRESS = (
    "0",
    "127",
    "254.169",
    "2.0.192",
    "100.51.198",
    "113.0.203",
    "255.255.255.255",
    "10",
    "168.192",
    *(f"{octet}.172" for octet in range(16, 32)),
    *(f"{octet}.100" for octet in range(64, 128)),
)
_ADDRESS_6 = (
    ".".join("0" * 32),
    ".".join("1" + "0" * 31),
    "d.f",
    "8.e.f",
    "9.e.f",
    "a.e.f",
    "b.e.f",
    "8.b.d.0.1.0.0.2",
)
DELEGATED = (
    "home.arpa",
    "service.arpa",
    *(f"{zone}.in-addr.arpa" for zone in _ADDRESS),
    *(f"{zone}.ip6.arpa" for zone in _ADDRESS_6),
)
"""Zones that the public DNS delegates, and that an operator may serve elsewhere."""

UNDELEGATED = ("local", "alt")
"""Top-level domains that do not exist, and that an operator may serve elsewhere."""

CANARIES = {
    "firefox": ("use-application-dns.net",),
    "private-relay": ("mask.icloud.com", "mask-h2.icloud.com"),
}
"""The names that a browser or a device asks for; if they exist, it may go round this resolver."""

_EXISTING = (
    ("0.127.in-addr.arpa", LOCAL_EMPTY),
    ("0.0.127.in-addr.arpa", LOCAL_EMPTY),
    ("1.0.0.127.in-addr.arpa", LOOPBACK),
    (".".join("1" + "0" * 31) + ".ip6.arpa", LOOPBACK),
)


DESIGNATED_TTL_S = 300
"""How long clients may keep what is designated: no longer than a transport that is switched off should be tried."""

_DDR = memoryview(wire_of("_dns.resolver.arpa"))
_DDR_OCTETS = len(_DDR)


class Designation:
    """The records by which this resolver designates its encrypted transports (RFC 9462 4), in octets.

    rdatas: the data of the SVCB records, none if nothing is designated. name: of the resolver, in wire format; v4, v6:
    its addresses as 4 and 16 octets, for ADDITIONAL. `records` are owned by the question's name, `addresses` by `name`.
    """

    def __init__(self, rdatas=(), name=b"", v4=(), v6=()):
        self.count = len(rdatas)
        self.records = memoryview(b"".join(_record(b"\xc0\x0c", TYPE_SVCB, one) for one in rdatas) or bytes(1))
        self.address_count = len(v4) + len(v6)
        pairs = [(TYPE_A, one) for one in v4] + [(TYPE_AAAA, one) for one in v6]
        self.addresses = memoryview(b"".join(_record(name, *one) for one in pairs) or bytes(1))


def _record(owner, kind, rdata):
    head = owner + kind.to_bytes(2, "big") + b"\0\1" + DESIGNATED_TTL_S.to_bytes(4, "big")
    return head + len(rdata).to_bytes(2, "big") + rdata


class Zones:
    """The zones answered here, except those in `forwarded` (names as text) and the names below them.

    A row of `table`, in octets: 0 labels, 1 length, 2 kind, 3 the zone's name in wire format. `existing` has the same
    rows for the names that exist below an apex, with a kind of core.codes, and `canaries` for the names of the keys of
    CANARIES in `announced`. designation: what _dns.resolver.arpa holds, None for nothing.
    """

    def __init__(self, forwarded=(), announced=(), designation=None):
        self.designation = designation or Designation()
        rows = [("localhost", _HOST), ("invalid", _OURS), ("onion", _OURS), ("resolver.arpa", _BARREN)]
        rows += [(zone, _DELEGATED) for zone in DELEGATED if not _is_below_one_of(zone, forwarded)]
        rows += [(zone, _OURS) for zone in UNDELEGATED if zone not in forwarded]
        rows += [(zone, _FORWARDED) for zone in forwarded]
        # The longest first, so that the first row that covers a name counts.
        rows.sort(key=lambda row: -len(row[0]))
        self.table = memoryview(b"".join(_row(*row) for row in rows))
        self.existing = memoryview(b"".join(_row(*row) for row in _EXISTING))
        names = [name for one in announced for name in CANARIES[one]]
        self.canaries = memoryview(b"".join(_row(name, _CANARY) for name in names) or bytes(1))


def _is_below_one_of(zone, parents):
    return any(zone == parent or zone.endswith("." + parent) for parent in parents)


def _row(text, kind):
    octets = wire_of(text)
    return bytes([text.count(".") + 1, len(octets), kind]) + octets


def find(zones, name, qtype):
    """Return how a name (lower-cased, uncompressed) is answered: NOT_LOCAL, or a code + 256 x the offset of its apex.

    The codes are LOCAL_* and LOOPBACK of core.codes. DS at the apex of a delegated zone is NOT_LOCAL (RFC 8375 4).
    """
    if name.labels == 0:
        return _NOT_LOCAL
    if zones.canaries.shape[0] > 1:
        row = _covering(zones.canaries, name, 0)
        if row >= 0:
            return _MISSING + 256 * (name.length - zones.canaries[row + 1])
    if not _may_be_local(name):
        return _NOT_LOCAL
    row = _covering(zones.table, name, 0)
    if row < 0 or zones.table[row + 2] == _FORWARDED:
        return _NOT_LOCAL
    kind = zones.table[row + 2]
    apex = name.length - zones.table[row + 1]
    if apex == 0 and kind == _DELEGATED and qtype == _DS:
        return _NOT_LOCAL
    if kind == _HOST:
        return _LOCALHOST + 256 * apex
    if kind == _BARREN and apex > 0:
        if qtype == _SVCB and zones.designation.count > 0 and _is_ddr(name):
            return _DESIGNATED + 256 * apex
        return _EMPTY + 256 * apex
    known = _covering(zones.existing, name, 1)
    if known >= 0:
        return zones.existing[known + 2] + 256 * apex
    if apex == 0:
        return _APEX
    return _MISSING + 256 * apex


def _is_ddr(name):
    return name.length == _DDR_OCTETS and spells(name, 0, _DDR, 0, _DDR_OCTETS)


def _may_be_local(name):
    """Return whether the name can be in a zone of the table; look only at its last label, which is cheap."""
    at = name.starts[name.labels - 1]
    size = name.octets[at]
    first = name.octets[at + 1]
    return (
        (first == 97 and (size == 4 or size == 3))
        or (first == 108 and (size == 9 or size == 5))
        or (first == 105 and size == 7)
        or (first == 111 and size == 5)
    )


def _covering(table, name, whole):
    """Return the offset of the first row with this name or, unless `whole`, with a name above it; -1 for none."""
    at = 0
    while at < table.shape[0]:
        labels = table[at]
        size = table[at + 1]
        if labels == name.labels or (labels < name.labels and not whole):
            start = name.starts[name.labels - labels]
            if name.length - start == size and spells(name, start, table, at + 3, size):
                return at
        at += 3 + size
    return -1
