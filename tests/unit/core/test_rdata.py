"""The RDATA of known types: what can be read, and what is spelled out when it is written again."""

from collections.abc import Callable
from types import ModuleType

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest

from tests.unit.core.generations import wire

Core = Callable[[str], ModuleType]
# A message whose names stand at 12 (www.test) and 16 (test).
HEAD = bytes(12) + wire("www.test")
NAME, UP = wire("ns.test"), b"\2ns\xc0\x10"
SIGNED = b"\0\1\x0d\2" + bytes(14)
SOUND = [
    (1, bytes(4)), (28, bytes(16)), (2, NAME), (2, UP), (2, b"\0"), (5, b"\xc0\x0c"), (12, NAME), (39, NAME),
    (6, NAME + UP + bytes(20)), (14, UP + UP), (15, b"\0\1" + UP), (33, bytes(6) + UP), (33, bytes(6) + b"\0"),
    (16, b"\3abc"), (16, b"\3abc\0\1x"),
    (13, b"\1a\0"), (35, bytes(4) + b"\1u\3sip\0" + b"\0"), (46, SIGNED + NAME + b"s"),
    (43, b"\x12\x34\x0d\2" + bytes(32)), (48, b"\1\1\3\x0dk"), (47, NAME + b"\0\1\x40"),
    (47, NAME + b"\0\1\x40\1\x20" + b"\1" * 32),
    (50, bytes(4) + b"\0\2hh\0\1\x40"), (50, bytes(4) + b"\1s\2hh"), (51, bytes(4) + b"\0"), (52, bytes(3) + b"c"),
    (64, b"\0\0" + NAME), (65, b"\0\1\0"), (65, b"\0\1\0\0\1\0\3\2h2\0\3\0\2\1\xbb"), (257, b"\0\5issueca.test"),
    (38, b"\x80" + UP), (38, b"\0" + bytes(16)), (38, b"\x40" + bytes(8) + NAME), (256, bytes(4) + b"u"),
    (17, UP + b"\0"),
    (26, b"\0\1" + UP + UP), (30, NAME + b"\x60"), (107, b"\0\1" + NAME), (108, bytes(6)), (109, bytes(8)),
    (65280, b""), (65280, b"\xff" * 9), (29, b"\1"), (258, b""), (65535, b"x"), (0, b"x"), (10, b""),
]  # fmt: skip
MALFORMED = [
    (1, b""), (1, bytes(3)), (1, bytes(5)), (28, bytes(4)), (28, bytes(17)), (2, b""), (2, b"\x80"), (2, b"\x41abc\0"),
    (2, b"\xff\xff"), (2, b"\xc0"), (2, b"\2ns"), (2, NAME + b"x"), (5, b"\xc0\x0c\0"), (6, NAME + UP + bytes(19)),
    (6, NAME + UP + bytes(21)), (6, NAME), (15, b"\0"), (15, b"\0\1"), (15, b"\0\1\xff\xff"),
    (33, bytes(6)), (33, bytes(5)),
    (16, b""), (16, b"\4abc"), (16, b"\1a\xff"), (13, b"\1a"), (35, bytes(4) + b"\1u\3sip\0"), (35, bytes(4) + b"\xff"),
    (46, SIGNED + NAME), (46, SIGNED[:17]), (43, bytes(4)), (43, bytes(3)), (48, bytes(4)), (47, NAME + b"\0"),
    (47, NAME + b"\0\0"),
    (47, NAME + b"\0\x21" + bytes(33)), (47, NAME + b"\1\1\x40\0\1\x40"), (50, bytes(4) + b"\x09"), (50, bytes(3)),
    (51, bytes(4)), (64, b""), (65, b"\0"), (65, b"\0\1"), (65, b"\0\1\0\0\1"), (65, b"\0\1\0\0\1\0\4h2"),
    (65, b"\0\1\0\0\3\0\0\0\1\0\0"), (65, b"\0\1\0\0\1\0\0\0\1\0\0"), (257, b"\0"), (257, b"\0\x09issue"),
    (38, b""), (38, b"\x81"), (38, b"\x80"), (38, b"\0" + bytes(15)),
    (38, b"\x40" + bytes(8)), (108, bytes(5)), (17, NAME),
]  # fmt: skip


def check(core: Core, kind: int, data: bytes) -> int:
    """What stands after the RDATA must not help."""
    octets = HEAD + data + NAME
    return int(core("rdata").check(octets, len(HEAD), len(data), kind))


@pytest.mark.parametrize(("kind", "data"), SOUND)
def test_sound(core: Core, kind: int, data: bytes) -> None:
    assert check(core, kind, data) == core("rdata").SOUND


@pytest.mark.parametrize(("kind", "data"), MALFORMED)
def test_malformed(core: Core, kind: int, data: bytes) -> None:
    assert check(core, kind, data) == core("rdata").MALFORMED


# Those that dnspython does not know, or knows otherwise: obsolete ones and those of no structure.
KNOWN = [one for one in SOUND if one[0] not in (0, 10, 14, 26, 29, 30, 38, 107, 108, 109, 258, 65280, 65535)]


@pytest.mark.parametrize(("kind", "data"), KNOWN)
def test_dnspython_reads_what_is_sound_when_it_is_spelled_out(core: Core, kind: int, data: bytes) -> None:
    out = memoryview(bytearray(600))
    length = core("rdata").expand(HEAD + data, len(HEAD), len(data), kind, out, 5)
    written = bytes(out[5:length])
    assert written == dns.rdata.from_wire(dns.rdataclass.IN, kind, HEAD + data, len(HEAD), len(data)).to_wire()
    assert b"\xc0\x10" not in written


@pytest.mark.parametrize(("kind", "data"), SOUND)
def test_what_is_written_again_is_sound_and_fits_or_is_not_written(core: Core, kind: int, data: bytes) -> None:
    octets = HEAD + data
    length = core("rdata").expand(octets, len(HEAD), len(data), kind, memoryview(bytearray(600)), 1)
    assert length >= 1 + len(data)
    out = memoryview(bytearray(length))
    assert core("rdata").expand(octets, len(HEAD), len(data), kind, out, 1) == length
    assert core("rdata").check(bytes(12) + bytes(out[1:]), 12, length - 1, kind) == core("rdata").SOUND
    if length > 1:
        assert core("rdata").expand(octets, len(HEAD), len(data), kind, memoryview(bytearray(length - 1)), 1) == 0


@pytest.mark.parametrize("kind", [64, 65])
def test_a_compressed_target_of_a_service_is_told(core: Core, kind: int) -> None:
    for data in (b"\0\1\xc0\x0c", b"\0\1" + UP, b"\0\1" + UP + b"\0\1\0\3\2h2"):
        assert check(core, kind, data) == core("rdata").COMPRESSED
    for data in (b"\0\1\xff\xff", b"\0\1" + UP + b"\0", b"\0\1\xc0"):
        assert check(core, kind, data) == core("rdata").MALFORMED
