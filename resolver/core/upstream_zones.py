# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Finds the group of upstreams that a name is forwarded to.

Rules:
- The longest zone that covers the name wins. A name in no zone is of group 0.
- DS at the apex of a zone belongs to its parent (RFC 4035 2.4), and goes where names of the parent go.
"""


from .codes import TYPE_DS
from .name import spells, wire_of

_DS = TYPE_DS


class UpstreamZones:
    """The zones with groups of their own: the first of `names` (as text) has group 1.

    A row of `table`, in octets: 0 labels, 1 length, 2 group (2), 4 the zone's name in wire format; more labels first.
    """

    def __init__(self, names):
        rows = [(text.count(".") + 1, wire_of(text), group) for group, text in enumerate(names, 1)]
        rows.sort(key=lambda row: -row[0])
        self.table = memoryview(
            b"".join(bytes([labels, len(wire)]) + group.to_bytes(2, "big") + wire for labels, wire, group in rows)
        )


def group_of(zones, name, qtype):
    """Return the group of a name (lower-cased, uncompressed) and a type; 0 if no zone covers them."""
    at = 0
    while at < zones.table.shape[0]:
        labels = zones.table[at]
        size = zones.table[at + 1]
        if labels < name.labels or (labels == name.labels and qtype != _DS):
            start = name.starts[name.labels - labels]
            if name.length - start == size and spells(name, start, zones.table, at + 4, size):
                group = zones.table[at + 2]
                return group * 256 + zones.table[at + 3]
        at += 4 + size
    return 0
