"""Owns the datagram by which a plugin says to the service which queries it has blocked: blocks, one after another.

Rules:
- A plugin does not count: core.tally does, in the service, once for all resolvers and threads of a host. So an attempt
  is the same in each of them, and leaves on the beat and in batches.
- A datagram lives between two processes of one host, on a socket of the service's account: it is never written, and the
  service keeps of it what the tally keeps, which is a keyed digest.
- It has no name: an entry is its keyed digest. Of an IPv6 client it has the /64 only, which is what counts.
- A plugin never waits. What the socket does not take now goes in one datagram with the next block, MOST of them; what
  are more are the `lost` of the next block of their list, and counted as blocked queries.
"""

import struct
from typing import Final, NamedTuple

from resolver.core import codes

MAGIC: Final = 0x314B4C42
FORMAT: Final = "<IHHHHIQQ16s"
FIELDS: Final = ("magic", "slot", "bits", "qtype", "zero", "lost", "low", "high", "client")
MOST: Final = 64
"""Blocks of one datagram."""
OCTETS: Final = struct.calcsize(FORMAT)
PREFIX_OCTETS: Final = 8
_MAPPED: Final = bytes(10) + b"\xff\xff"
_MOST: Final = 2**32 - 1


class Block(NamedTuple):
    """A blocked query. slot, bits, low, high: of the entry that blocked it. client: 16 octets. lost: earlier ones of
    the list that could not be sent."""

    slot: int
    bits: int
    qtype: int
    low: int
    high: int
    client: bytes
    lost: int = 0


def client_of(address: bytes) -> bytes:
    """Return an address of 4 or 16 octets as a datagram has it: IPv4 mapped, of IPv6 the first 8 octets."""
    if len(address) == 4:
        return _MAPPED + address
    return address if address[:12] == _MAPPED else address[:PREFIX_OCTETS] + bytes(16 - PREFIX_OCTETS)


def packed(one: Block) -> bytes:
    """Return the octets of one block."""
    lost = min(one.lost, _MOST)
    return struct.pack(FORMAT, MAGIC, one.slot, one.bits, one.qtype, 0, lost, one.low, one.high, one.client)


def unpacked(data: bytes) -> list[Block]:
    """Return what a datagram says; nothing if it is none of this format."""
    found = []
    if len(data) % OCTETS or len(data) > MOST * OCTETS:
        return []
    for magic, slot, bits, qtype, _, lost, low, high, client in struct.iter_unpack(FORMAT, data):
        if magic != MAGIC or slot >= codes.MAX_LISTS or not bits & codes.SCOPE_BITS:
            return []
        found.append(Block(slot, bits, qtype, low, high, client, lost))
    return found
