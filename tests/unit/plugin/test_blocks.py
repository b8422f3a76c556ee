"""The datagram of a block: what it holds, and what is none."""

import struct

from resolver.core import codes
from resolver.plugin.blocks import FIELDS, FORMAT, MOST, OCTETS, Block, client_of, packed, unpacked

SELF, CLIENT = codes.BLOCK_SELF | codes.NEW, bytes(range(16))


def block(slot: int = 3, bits: int = SELF, lost: int = 7) -> Block:
    return Block(slot, bits, qtype=28, low=2**63 + 1, high=2**47, client=CLIENT, lost=lost)


ONE = block()


def test_what_is_packed_is_unpacked() -> None:
    assert unpacked(packed(ONE)) == [ONE]
    assert unpacked(packed(ONE) + packed(block(slot=1))) == [ONE, block(slot=1)]
    assert len(unpacked(packed(ONE) * MOST)) == MOST
    assert len(packed(ONE)) == OCTETS == struct.calcsize(FORMAT)
    assert len(struct.unpack(FORMAT, packed(ONE))) == len(FIELDS)


def test_more_lost_than_a_word_has_is_all_that_it_has() -> None:
    (found,) = unpacked(packed(block(lost=2**40)))
    assert found.lost == 2**32 - 1


def test_what_is_no_block_is_none() -> None:
    whole = packed(ONE)
    for octets in (b"", whole[:-1], whole + b"\0", b"\0" + whole[1:], whole * (MOST + 1)):
        assert unpacked(octets) == []
    assert unpacked(whole + packed(block(slot=codes.MAX_LISTS))) == []
    assert unpacked(packed(block(bits=codes.NEW))) == []


def test_of_an_ipv6_client_only_its_network_is_said() -> None:
    assert client_of(bytes([192, 0, 2, 7])) == bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 7])
    assert client_of(client_of(bytes([192, 0, 2, 7]))) == client_of(bytes([192, 0, 2, 7]))
    assert client_of(bytes(range(16))) == bytes(range(8)) + bytes(8)
