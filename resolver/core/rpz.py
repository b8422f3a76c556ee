# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Translates one record of a response policy zone, by its names and its type, into a line of a list.

    =NAME   *.NAME      block the name; block what is below it
    !=NAME  !*.NAME     exceptions of the same scopes
    ?trigger            a trigger that is not served: rpz-ip, rpz-client-ip, rpz-nsip, rpz-nsdname, rpz-anything
    ?action             an action that is not served: rpz-tcp-only, rpz-anything, DNAME, a wildcard of its own name

Rules:
- CNAME to the root, to `*.`, to rpz-drop and every other data block; CNAME to rpz-passthru, or to the name itself (as
  it was written before), is an exception.
- A first label below the apex that begins with `rpz-` is a trigger that is not served; DNAME, rpz-tcp-only, any other
  `rpz-` target and a wildcard of its own name are actions that are not.
- SOA, NS, DNSSEC and ZONEMD records serve the zone itself, and so do all records at the apex: they have no line.
- NAME is the owner without the zone's origin, lower-cased. An octet that no listed name has is written as a backslash:
  the line is refused, and no octet of a label can look like another name or another line.
"""

from .codes import TYPE_CNAME, TYPE_DNAME, TYPE_DS, TYPE_NS, TYPE_RRSIG, TYPE_SOA

# Actions of a record.
SKIP = 0
BLOCK = 1
EXCEPTION = 2
NO_ACTION = 3
NO_TRIGGER = 4

_SKIP = SKIP
_BLOCK = BLOCK
_EXCEPTION = EXCEPTION
_NO_ACTION = NO_ACTION
_NO_TRIGGER = NO_TRIGGER
_CNAME = TYPE_CNAME
_DNAME = TYPE_DNAME
_DS = TYPE_DS
_NS = TYPE_NS
_RRSIG = TYPE_RRSIG
_SOA = TYPE_SOA
_NSEC = 47
_DNSKEY = 48
_NSEC3 = 50
_NSEC3PARAM = 51
_CDS = 59
_CDNSKEY = 60
_ZONEMD = 63


def depth_below(owner, origin):
    """Return how many labels the owner has below the zone's apex; -1 if it is outside."""
    start = owner.length - origin.length
    depth = owner.labels - origin.labels
    if start < 0 or depth < 0:
        return -1
    if depth < owner.labels and owner.starts[depth] != start:
        return -1
    i = 0
    while i < origin.length:
        if owner.octets[start + i] != origin.octets[i]:
            return -1
        i += 1
    return depth


def said_by(owner, origin, depth, kind, target):
    """Return the action of a record whose owner is `depth` labels below the origin; `target` is that of a CNAME."""
    if depth <= 0 or _serves_the_zone(kind):
        return _SKIP
    if _is_rpz(owner, owner.starts[depth - 1]):
        return _NO_TRIGGER
    if kind == _DNAME:
        return _NO_ACTION
    return _action(owner, origin, depth, target) if kind == _CNAME else _BLOCK


def is_wildcard(name):
    """Return whether the name's first label is `*`."""
    return name.labels > 0 and name.octets[0] == 1 and name.octets[1] == 42


def _serves_the_zone(kind):
    if kind == _SOA or kind == _NS or kind == _DS or kind == _ZONEMD or _RRSIG <= kind <= _DNSKEY:
        return 1
    return kind == _NSEC3 or kind == _NSEC3PARAM or kind == _CDS or kind == _CDNSKEY


def _is_rpz(name, at):
    """Return whether the label at `at` begins with `rpz-`."""
    if name.octets[at] < 4:
        return 0
    if name.octets[at + 1] != 114 or name.octets[at + 2] != 112:
        return 0
    return name.octets[at + 3] == 122 and name.octets[at + 4] == 45


def _action(owner, origin, depth, target):
    """Return the action of a CNAME's target: _BLOCK, _EXCEPTION or _NO_ACTION."""
    if target.labels == 0:
        return _BLOCK
    if target.labels == 1 and _is_rpz(target, 0):
        if _spells(target, b"\x0crpz-passthru"):
            return _EXCEPTION
        return _BLOCK if _spells(target, b"\x08rpz-drop") else _NO_ACTION
    # The name itself, with the root in place of the zone's origin.
    below = owner.length - origin.length
    if target.labels != depth or target.length != below + 1:
        return _BLOCK
    i = 0
    while i < below:
        if target.octets[i] != owner.octets[i]:
            return _BLOCK
        i += 1
    if not is_wildcard(target):
        return _EXCEPTION
    # `*.` is NODATA; a wildcard that leads to itself is not specified.
    return _BLOCK if target.labels == 1 else _NO_ACTION


def _spells(name, label):
    size = label[0]
    i = 0
    while i <= size:
        if name.octets[i] != label[i]:
            return 0
        i += 1
    return 1


def written_as(owner, depth, action, into, at):
    """Write the line of an action without its end, nothing for SKIP; return the offset after it."""
    if action == _NO_TRIGGER:
        return _put(into, at, b"\x08?trigger")
    if action == _NO_ACTION:
        return _put(into, at, b"\x07?action")
    return at if action == _SKIP else _named(owner, depth, action, into, at)


def _put(into, at, text):
    """Write a text that is preceded by its length; return the offset after it."""
    size = text[0]
    i = 1
    while i <= size:
        into[at] = text[i]
        at += 1
        i += 1
    return at


def _named(owner, depth, action, into, at):
    """Write marker, scope and name; return the offset after them."""
    if action == _EXCEPTION:
        into[at] = 33
        at += 1
    label = 0
    if is_wildcard(owner):
        into[at] = 42
        into[at + 1] = 46
        at += 2
        label = 1
        if depth == 1:
            into[at] = 46
            at += 1
    else:
        into[at] = 61
        at += 1
    first = label
    while label < depth:
        if label > first:
            into[at] = 46
            at += 1
        start = owner.starts[label]
        size = owner.octets[start]
        i = start + 1
        while i <= start + size:
            octet = owner.octets[i]
            if not (97 <= octet <= 122 or 48 <= octet <= 57 or octet == 45 or octet == 95):
                octet = 92
            into[at] = octet
            at += 1
            i += 1
        label += 1
    return at
