"""The sealed copy of a zone: what opens it, and what of it can be read without its key."""

import pytest

from resolver.feed.copies import head_of
from resolver.feed.fetch import zone_copy
from resolver.feed.fetch.zone_copy import Copy, CopyUnusable, binding, unseal

URL = "dns://192.0.2.1/rpz.example"
KEY, OTHER = bytes(32), bytes([1]) * 32
BOUND = {"list_id": "demo", "zone": b"\3rpz\7example\0", "serial": 7, "digest": "0" * 64}
COPY = Copy(marks=b"m" * 16, whole_at=1_800_000_000, entries=[b"=canary-one.test 0000000000000001", b"=b.test 02"])


def seal(copy: Copy, key: bytes, url: str, bound: bytes) -> bytes:
    return b"".join(zone_copy.seal(copy, key, url, bound))


def test_a_copy_comes_back() -> None:
    many = [b"=n%d.test 00" % number for number in range(9000)]
    for copy in (COPY, Copy(COPY.marks, 0, []), Copy(b"\n" * 16, 1, many)):
        assert unseal(seal(copy, KEY, URL, binding(**BOUND)), KEY, URL, binding(**BOUND)) == copy


@pytest.mark.parametrize(
    ("key", "url", "bound"),
    [
        (OTHER, URL, {}),
        (KEY, f"{URL}.", {}),
        (KEY, URL, {"list_id": "other"}),
        (KEY, URL, {"zone": b"\3xyz\7example\0"}),
        (KEY, URL, {"serial": 8}),
        (KEY, URL, {"digest": "1" * 64}),
    ],
)
def test_a_copy_of_anything_else_does_not_open(key: bytes, url: str, bound: dict[str, object]) -> None:
    with pytest.raises(CopyUnusable):
        unseal(seal(COPY, KEY, URL, binding(**BOUND)), key, url, binding(**{**BOUND, **bound}))


def test_a_damaged_or_short_copy_does_not_open() -> None:
    whole = seal(COPY, KEY, URL, binding(**BOUND))
    sizes = [*range(60), len(whole) // 2, len(whole) - 1]
    damaged = [
        whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (0, 7, 8, 23, 24, 35, 36, len(whole) - 1)
    ]
    for data in (*(whole[:size] for size in sizes), *damaged, whole + b"\0"):
        with pytest.raises(CopyUnusable):
            unseal(data, KEY, URL, binding(**BOUND))


def test_a_copy_shows_neither_name_nor_how_long_names_are() -> None:
    whole = seal(COPY, KEY, URL, binding(**BOUND))
    assert b"canary" not in whole
    assert b"\3rpz\7example" not in whole
    longer = Copy(COPY.marks, 0, [*COPY.entries, b"=" + b"x" * 200 + b" 03"])
    assert len(seal(longer, KEY, URL, binding(**BOUND))) == len(whole)
    for size in range(65_000, 65_600, 7):
        padded = seal(Copy(COPY.marks, 0, [b"=" + b"x" * size]), KEY, URL, binding(**BOUND))
        assert (len(padded) - 36 - 16) % zone_copy.PAD_OCTETS == 0
    # The same zone does not look the same.
    assert seal(COPY, KEY, URL, binding(**BOUND))[36:] != whole[36:]


def test_a_copy_begins_with_its_source() -> None:
    assert seal(COPY, KEY, URL, binding(**BOUND)).startswith(head_of(URL))
