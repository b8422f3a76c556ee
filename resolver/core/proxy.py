# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Reads headers of the PROXY protocol, version 2, by which a load balancer names its client.

Rules (HAProxy's proxy-protocol.txt, 2.2):
- 16 octets: signature, version 2 with a command, family with transport, the length of all that follows.
- PROXY over IPv4 or IPv6 names the client by its source address. STREAM and DGRAM are the client's transport to the
  balancer, not the balancer's to us: both are accepted over both. Ports and TLVs are ignored.
- With LOCAL (a health check), and with PROXY of the unspecified family, the sender is the client.
- Refused: version 1 (text), any other command, family or transport, a UNIX socket (no address to judge by), addresses
  cut short, more than LONGEST octets in all.
- Whether the sender is trusted is the caller's decision.
"""

LONGEST = 536
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

_LONGEST = LONGEST
_SIGNATURE = memoryview(SIGNATURE)
_SIGNED = 12
_FIXED = 16
_VERSION = 2
_LOCAL = 0
_PROXY = 1
_V4 = 0x10
_V6 = 0x20


class Proxied:
    """The client that a header names: 16 octets, IPv4 mapped, valid if `local` is 0; reused for every header."""

    def __init__(self):
        self.client = memoryview(bytearray(16))
        self.local = 0


def read(data, end, proxied):
    """Read the header at the start of data[:end] into `proxied`; return its length (16 to LONGEST octets).

    0: it is no such header. -1: more octets are needed.
    """
    proxied.local = 0
    i = 0
    while i < _SIGNED and i < end:
        if data[i] != _SIGNATURE[i]:
            return 0
        i += 1
    if end > 12 and (data[12] >> 4 != _VERSION or data[12] & 15 > _PROXY):
        return 0
    if end < _FIXED:
        return -1
    length = _FIXED + (data[14] << 8 | data[15])
    if length > _LONGEST or not _understood(data[12] & 15, data[13], length):
        return 0
    if end < length:
        return -1
    if data[12] & 15 == _LOCAL or data[13] == 0:
        proxied.local = 1
    else:
        _name(data, proxied)
    return length


def _understood(command, kind, length):
    """Return whether the addresses name a client and are complete; those of LOCAL are ignored."""
    if command == _LOCAL or kind == 0:
        return 1
    if kind & 15 != 1 and kind & 15 != 2:
        return 0
    if kind & 0xF0 == _V4:
        return length >= _FIXED + 12
    return kind & 0xF0 == _V6 and length >= _FIXED + 36


def _name(data, proxied):
    """Copy the source address, IPv4 mapped (RFC 4291 2.5.5.2). Returns 0."""
    i = 0
    if data[13] & 0xF0 == _V6:
        while i < 16:
            proxied.client[i] = data[_FIXED + i]
            i += 1
        return 0
    while i < 12:
        proxied.client[i] = 255 if i >= 10 else 0
        i += 1
    while i < 16:
        proxied.client[i] = data[_FIXED + i - 12]
        i += 1
    return 0
