"""A compiled list: what is written is found, no more; what it says of itself is held against it."""

from collections.abc import Callable
from types import ModuleType

import pytest

from tests.unit.core.generations import KEY, SELFTEST, entries, image, wire

Core = Callable[[str], ModuleType]


def bits(core: Core, octets: bytes, name: str) -> int:
    found: int = core("image").find(core("image").view(octets), *core("siphash").digest_of(KEY, wire(name)))
    return found


def test_header(core: Core) -> None:
    header = core("image").header(core("image").view(image(core, entries("a.test", "=b.c.d.test"), serial=9)))
    assert (header.list_id, header.serial, header.issued, header.expires, header.generation) == ("one", 9, 5, 6, 7)
    assert (header.entries, header.selftest) == (2, SELFTEST)
    # Depths 2 and 4 of the names, 3 of the synthetic one.
    assert header.depths == (1 << 2 | 1 << 3 | 1 << 4, 0)


def test_deep_names_are_in_the_second_mask(core: Core) -> None:
    octets = image(core, {".".join("a" * 64): 3, ".".join("a" * 127): 3})
    assert core("image").header(core("image").view(octets)).depths == (1 << 3, 1 | 1 << 63)


@pytest.mark.parametrize("number", [1, 2, 3, 100, 1000])
def test_all_that_is_written_is_found_and_nothing_else(core: Core, number: int) -> None:
    names = [f"n{one}.test" for one in range(number)]
    octets = image(core, entries(*names))
    assert all(bits(core, octets, name) == 3 for name in names)
    assert not any(bits(core, octets, f"x{one}.test") for one in range(1000))
    words = core("image").view(octets)
    assert core("image").occupied(words) == number + 1
    assert core("image").header(words).slots * 3 // 4 >= number + 1
    found = core("image").digests(words, 2 * len(words))
    assert len(found) == number + 1
    assert all(core("image").find(words, low, high) == flags for low, high, flags in found)
    assert len(core("image").digests(words, 1)) <= 1


def test_a_name_is_found_by_all_112_bits(core: Core) -> None:
    words = core("image").view(image(core, entries("a.test")))
    low, high = core("siphash").digest_of(KEY, wire("a.test"))
    assert core("image").find(words, low, high) == 3
    for bit in range(48):
        assert core("image").find(words, low, high ^ 1 << bit) == 0
    for bit in range(64):
        assert core("image").find(words, low ^ 1 << bit, high) == 0


@pytest.mark.parametrize("options", [{"list_id": "x" * 33}, {"selftest": b"x" * 33}, {"selftest": b""}])
def test_what_has_no_room_in_the_header_is_refused(core: Core, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="too long"):
        image(core, {}, **options)


@pytest.mark.parametrize("octets", [b"", bytes(8), bytes(207), bytes(208), b"BLKLST\0\1" + bytes(200)])
def test_what_is_no_image_is_refused(core: Core, octets: bytes) -> None:
    with pytest.raises(core("image").ImageMalformed):
        core("image").view(octets)


def searched(core: Core, words: memoryview, low: int, high: int) -> int:
    said: int = core("image").search(words, core("image").inverse_of(words), low, high)
    return said


@pytest.mark.parametrize("entries", [0, 1, 2, 3, 5, 6, 11, 47, 95, 191, 300, 767, 3000])
def test_a_search_begins_at_the_slot_of_the_digest(core: Core, entries: int) -> None:
    """Where the remainder of a division is smallest and largest; a slot found is the first that is looked at."""
    one = core("image")
    octets = one.empty(entries, list_id="one", serial=1, issued=1, expires=0, generation=1, selftest=SELFTEST)
    words = memoryview(octets).cast("Q")
    slots, most = words[1], (1 << 64) - 1
    for times in (0, 1, 2, 3, slots, most // slots // 2, most // slots - 1, most // slots):
        for low in {max(0, times * slots - 1), times * slots, min(most, times * slots + slots - 1), most - times}:
            at = one.HEADER_WORDS + 2 * (low % slots)
            words[at], words[at + 1] = low, 7 << 16 | 3
            assert searched(core, words, low, 7) == 3, (slots, low)
            words[at + 1] = 0
            assert searched(core, words, low, 7) == 0


def test_with_the_inverse_of_another_image_nothing_is_missing(core: Core) -> None:
    words = memoryview(image(core, entries("a.test", "b.test"))).cast("Q")
    low, high = core("siphash").digest_of(KEY, wire("a.test"))
    for inverse in (0, 1, core("image").inverse_of(words) - 1, core("image").inverse_of(words) + 1, (1 << 64) - 1):
        assert core("image").search(words, inverse, low, high) in (3, core("image").DAMAGED)


def test_a_search_in_an_image_that_is_shorter_than_it_says_is_an_error(core: Core) -> None:
    words = core("image").view(image(core, entries("a.test", "b.test")))
    for length in (0, 1, 2, 23, 24, 25, 26, len(words) - 2, len(words) - 1):
        assert searched(core, words[:length], 1, 2) == core("image").DAMAGED
        with pytest.raises(IndexError, match="size differs"):
            core("image").find(words[:length], 1, 2)


def test_a_search_in_an_image_without_an_empty_slot_is_an_error(core: Core) -> None:
    octets = image(core, entries("a.test", "b.test"))
    header = 8 * core("image").HEADER_WORDS
    words = memoryview(octets[:header] + b"\xff" * (len(octets) - header)).cast("Q")
    assert searched(core, words, 1, 2) == core("image").DAMAGED
    with pytest.raises(IndexError, match="no empty slot"):
        core("image").find(words, 1, 2)
    # What is there is found all the same.
    there = 2**64 - 1, 2**48 - 1
    assert searched(core, words, *there) == core("image").find(words, *there) == 0xFFFF


def test_a_digest_that_is_not_there_has_no_slot(core: Core) -> None:
    view = core("image").view(image(core, entries("a.test")))
    low, high = core("siphash").digest_of(KEY, wire("a.test"))
    assert core("image").slot_of(view, low, high) >= 0
    assert core("image").slot_of(view, low, high ^ 1) == -1
    with pytest.raises(IndexError):
        core("image").slot_of(view[:-2], low, high)


def test_a_slot_is_taken_once_and_its_bits_can_change(core: Core) -> None:
    one = core("image")
    octets = one.empty(9, list_id="one", serial=1, issued=1, expires=0, generation=1, selftest=SELFTEST)
    words, out = memoryview(octets).cast("Q"), memoryview(bytearray(16)).cast("Q")
    # Both belong into the last of the 14 slots: the second comes round.
    first, second = one.add(words, 13, 7, 3), one.add(words, 27, 8, 12)
    assert (first, second) == (13, 0)
    assert one.add(words, 13, 7, 1) == -1 - 13
    assert one.bits_of(words, 13) == 3
    looked_at = memoryview(bytearray(64)).cast("Q")
    looked_at[2:7:2] = memoryview(b"".join(low.to_bytes(8, "little") for low in (13, 14, 26))).cast("Q")
    assert one.touch(words, looked_at, 2, 4) == 7 << 16 | 3
    assert one.touch(words, looked_at, 2, 8) == (7 << 16 | 3) | (8 << 16 | 12)
    one.set_bits(words, 13, 5)
    assert (one.entry(words, 13, out), out[0], out[1]) == (5, 13, 7)
    assert (one.entry(words, 0, out), out[0], out[1]) == (12, 27, 8)
    assert (one.slot_of(words, 27, 8), one.bits_of(words, 1)) == (0, 0)
    one.deepen(words, 1 << 2, 1)
    one.close(words, 2)
    header = one.header(one.view(octets))
    assert (header.entries, header.slots, header.depths) == (1, 14, (1 << 2, 1))


def test_an_image_that_is_full_takes_no_more(core: Core) -> None:
    one = core("image")
    words = memoryview(one.empty(1, list_id="one", serial=1, issued=1, expires=0, generation=1, selftest=SELFTEST))
    words = words.cast("Q")
    assert sorted(one.add(words, low, 1, 3) for low in range(3)) == [0, 1, 2]
    with pytest.raises(IndexError, match="no empty slot"):
        one.add(words, 9, 9, 3)
