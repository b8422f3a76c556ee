"""An image made once pins the bytes: both builds write it again to the bit and find in it what it lists."""

import hashlib
from pathlib import Path

from resolver.core import codes
from tests.parity import cases, wires

IMAGE = Path(__file__).parent / "golden" / "list.image"
DIGEST = "93b2920f279091ca1d02c7c4bbbb1e206d01d34a56967eec7436b647a6d59c7a"
LISTED = {
    b"\7blocked\7example\0": wires.BLOCK,
    b"\5exact\7example\0": wires.BLOCK_SELF,
    b"\4fine\7blocked\7example\0": wires.EXCEPT,
    b"\3a.b\2\0\xff\4test\0": wires.BLOCK,
    b"\1a" * 100 + b"\0": wires.BLOCK,
    b"\5aside\4test\0": wires.BLOCK | wires.SET_ASIDE,
}
OLDER = b"\7blocked\7example\0"
NOT_LISTED = (b"\3www\7blocked\7example\0", b"\7example\0", b"\4test\0", b"\0", b"\7BLOCKED\7example\0")


def write(core: cases.Core) -> bytes:
    """The golden list, second serial of two."""
    image, entries = core("image"), core("entries")
    stated = {"list_id": "golden", "issued": 1700000000, "expires": 1800000000, "selftest": wires.SELFTEST}
    before = entries.write(OLDER, b"\3\0", wires.KEY, serial=41, generation=1, **stated)
    flags = b"".join(bits.to_bytes(2, "little") for bits in LISTED.values())
    return bytes(
        entries.write(
            b"".join(LISTED), flags, wires.KEY, serial=42, generation=2, previous=image.view(before), **stated
        )
    )


def found(core: cases.Core) -> tuple[list[int], list[int], str, int]:
    image, siphash = core("image"), core("siphash")
    words = image.view(IMAGE.read_bytes())
    bits = [[image.find(words, *siphash.digest_of(wires.KEY, one)) for one in names] for names in (LISTED, NOT_LISTED)]
    header = image.header(words)
    return bits[0], bits[1], header.list_id, header.serial


def test_the_bytes_are_those_of_the_golden_image() -> None:
    assert hashlib.sha256(IMAGE.read_bytes()).hexdigest() == DIGEST
    assert cases.both(write) == IMAGE.read_bytes()


def test_every_name_of_the_golden_image_is_found_and_no_other() -> None:
    listed, others, list_id, serial = cases.both(found)
    expected = {name: bits | (0 if name == OLDER else codes.NEW) for name, bits in LISTED.items()}
    expected[OLDER] |= codes.EXCEPTION_BELOW
    assert listed == list(expected.values())
    assert others == [0] * len(NOT_LISTED)
    assert (list_id, serial) == ("golden", 42)
