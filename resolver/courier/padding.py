"""Pads queries, so that their length says little of the name (RFC 7830, RFC 8467 4.1)."""

from typing import Final

BLOCK: Final = 128
_OPTION: Final = b"\0\x0c"
_OPT: Final = b"\0\0\x29"
_OPT_OCTETS: Final = 11
_ARCOUNT: Final = 11


def padded(query: bytes) -> bytes:
    """Return a query of core.exchange's with padding in its OPT, so that it fills blocks of BLOCK octets.

    A query without OPT, which is sent to servers that refuse one, stays as it is.
    """
    if query[_ARCOUNT] != 1 or query[-_OPT_OCTETS : -_OPT_OCTETS + 3] != _OPT or query[-2:] != b"\0\0":
        return query
    room = -(len(query) + 4) % BLOCK
    return b"".join((query[:-2], (4 + room).to_bytes(2), _OPTION, room.to_bytes(2), bytes(room)))
