"""A compiled list: what is written is found, no more; what it says of itself is held against it."""

from array import array
from collections.abc import Callable
from types import ModuleType

import pytest

from resolver.core import codes
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


def test_the_synthetic_name_is_blocked_and_no_entry(core: Core) -> None:
    octets = image(core, {})
    assert bits(core, octets, SELFTEST.decode() + ".selftest.invalid") == 3 | codes.SELFTEST
    assert core("image").header(core("image").view(octets)).entries == 0


@pytest.mark.parametrize("order", [("!a.test", "a.test"), ("a.test", "!a.test"), ("a.test", "!a.test", "a.test")])
def test_of_one_name_twice_the_exception_wins(core: Core, order: tuple[str, ...]) -> None:
    names = b"".join(wire(one.lstrip("!")) for one in order)
    flags = b"".join((12 if one[0] == "!" else 3).to_bytes(2, "little") for one in order)
    octets = core("image").write(
        names, flags, KEY, list_id="one", serial=1, issued=1, expires=0, generation=1, selftest=SELFTEST
    )
    assert bits(core, octets, "a.test") == 12
    assert core("image").header(core("image").view(octets)).entries == 1


def test_an_exception_of_one_scope_leaves_the_other(core: Core) -> None:
    octets = image(core, {"a.test": 3 | codes.EXCEPT_SELF})
    assert bits(core, octets, "a.test") == codes.BLOCK_BELOW | codes.EXCEPT_SELF


def test_every_entry_above_an_exception_knows_of_it(core: Core) -> None:
    octets = image(core, entries("test", "a.test", "b.a.test", "!c.b.a.test", "b.test"))
    below = [name for name in ("test", "a.test", "b.a.test", "b.test") if bits(core, octets, name) & 128]
    assert below == ["test", "a.test", "b.a.test"]
    assert not bits(core, octets, "c.b.a.test") & 128


def test_new_is_what_the_image_in_force_lacks(core: Core) -> None:
    view = core("image").view
    first = image(core, entries("a.test"))
    assert not bits(core, first, "a.test") & codes.NEW
    second = image(core, entries("a.test", "b.test"), previous=view(first))
    assert not bits(core, second, "a.test") & codes.NEW
    assert bits(core, second, "b.test") & codes.NEW
    third = image(core, entries("a.test", "b.test"), previous=view(second))
    assert not bits(core, third, "b.test") & codes.NEW
    kept = image(core, entries("a.test", "b.test"), previous=view(second), keep_new=True)
    assert bits(core, kept, "b.test") & codes.NEW
    assert not bits(core, kept, SELFTEST.decode() + ".selftest.invalid") & codes.NEW


@pytest.mark.parametrize(
    ("names", "flags"),
    [
        (b"\1a\0", b"\3"),
        (b"\1a\0", b""),
        (b"\1a\0", b"\3\0\3\0"),
        (b"\1a\0\1b\0", b"\3\0"),
        (b"\1a\0", b"\0\0"),
        (b"\1a\0", b"\x10\0"),
        (b"\1a" * 130 + b"\0", b"\3\0"),
    ],
)
def test_what_does_not_fit_together_is_no_list(core: Core, names: bytes, flags: bytes) -> None:
    with pytest.raises(ValueError, match=r"names|flags"):
        core("image").write(
            names, flags, KEY, list_id="one", serial=1, issued=1, expires=0, generation=1, selftest=SELFTEST
        )


@pytest.mark.parametrize("names", [b"\1", b"\5a", b"\1a"])
def test_a_name_without_end_is_no_list(core: Core, names: bytes) -> None:
    write = core("image").write
    with pytest.raises((IndexError, ValueError)):
        write(names, b"\3\0", KEY, list_id="one", serial=1, issued=1, expires=0, generation=1, selftest=SELFTEST)


@pytest.mark.parametrize("options", [{"list_id": "x" * 33}, {"selftest": b"x" * 33}, {"selftest": b""}])
def test_what_has_no_room_in_the_header_is_refused(core: Core, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="too long"):
        image(core, {}, **options)


@pytest.mark.parametrize("octets", [b"", bytes(8), bytes(207), bytes(208), b"BLKLST\0\1" + bytes(200)])
def test_what_is_no_image_is_refused(core: Core, octets: bytes) -> None:
    with pytest.raises(core("image").ImageMalformed):
        core("image").view(octets)


def test_a_search_in_an_image_that_is_shorter_than_it_says_is_an_error(core: Core) -> None:
    words = core("image").view(image(core, entries("a.test", "b.test")))
    for length in (25, 26, len(words) - 2, len(words) - 1):
        with pytest.raises(IndexError):
            core("image").find(words[:length], 1, 2)


def join(core: Core, *images: bytes, serial: int = 4) -> bytes:
    views = [core("image").view(one) for one in images]
    stated = {"list_id": "all", "issued": 8, "expires": 9, "generation": 10, "selftest": b"z" * 26, "key": KEY}
    return bytes(core("image").join(views, serial=serial, **stated))


def test_what_several_images_hold_is_found_in_the_one_they_make(core: Core) -> None:
    parts = [image(core, entries(f"n{number}.test"), selftest=b"a%d" % number) for number in range(50)]
    joined = join(core, *parts, image(core, entries(".".join("a" * 127), "n3.test")))
    header = core("image").header(core("image").view(joined))
    assert (header.list_id, header.serial, header.issued, header.expires, header.generation) == ("all", 4, 8, 9, 10)
    assert (header.entries, header.selftest, header.depths) == (51, b"z" * 26, (1 << 2 | 1 << 3, 1 << 63))
    assert all(bits(core, joined, f"n{number}.test") == 3 for number in range(50))
    assert not any(bits(core, joined, f"x{number}.test") for number in range(50))
    assert not bits(core, joined, "a0.selftest.invalid")
    assert bits(core, joined, "z" * 26 + ".selftest.invalid") == 3 | codes.SELFTEST


def test_images_joined_twice_are_those_joined_once(core: Core) -> None:
    one, two = image(core, entries("a.test", "!b.test")), image(core, entries("=c.test", "b.test"))
    assert join(core, join(core, one), two, two) == join(core, one, two, two)
    assert core("image").header(core("image").view(join(core))).entries == 0


def test_an_exception_of_one_image_beats_the_block_of_another(core: Core) -> None:
    for order in (("!a.test", "a.test"), ("a.test", "!a.test")):
        joined = join(core, *(image(core, entries(one)) for one in order))
        assert bits(core, joined, "a.test") == codes.EXCEPT_SELF | codes.EXCEPT_BELOW


def test_joined_blocks_are_taken_to_be_above_any_exception_there_is(core: Core) -> None:
    joined = join(core, image(core, entries("a.test")), image(core, entries("!b.a.test")))
    assert bits(core, joined, "a.test") == 3 | codes.EXCEPTION_BELOW
    assert bits(core, join(core, image(core, entries("a.test")), image(core, entries("b.test"))), "a.test") == 3


@pytest.mark.parametrize("order", [(3, 3 | codes.SET_ASIDE), (3 | codes.SET_ASIDE, 3)])
def test_what_one_line_sets_aside_no_other_puts_in_force(core: Core, order: tuple[int, int]) -> None:
    flags = b"".join(one.to_bytes(2, "little") for one in order)
    stated = {"list_id": "one", "serial": 1, "issued": 1, "expires": 0, "generation": 1, "selftest": SELFTEST}
    octets = bytes(core("image").write(2 * wire("a.test"), flags, KEY, **stated))
    assert bits(core, octets, "a.test") == 3 | codes.SET_ASIDE
    assert bits(core, join(core, *(image(core, {"a.test": one}) for one in order)), "a.test") == 3 | codes.SET_ASIDE


def test_where_no_block_is_left_nothing_is_set_aside(core: Core) -> None:
    octets = join(core, image(core, {"a.test": 3 | codes.SET_ASIDE}), image(core, entries("!a.test")))
    assert bits(core, octets, "a.test") == codes.EXCEPT_SELF | codes.EXCEPT_BELOW


def test_each_slot_has_the_first_line_of_its_name(core: Core) -> None:
    names, lines, line_of = ["b.test", "a.test", "b.test", "c.test", "a.test"], [9, 4, 2, 7, 5], bytearray(b"x")
    octets = b"".join(map(wire, names))
    said = {"list_id": "one", "serial": 1, "issued": 1, "expires": 0, "generation": 1, "selftest": SELFTEST}
    made = core("image").write(octets, b"\3\0" * 5, KEY, **said, lines=array("I", lines), line_of=line_of)
    assert made == core("image").write(octets, b"\3\0" * 5, KEY, **said)
    view, first = core("image").view(made), memoryview(line_of).cast("I")
    slots = {name: core("image").slot_of(view, *core("siphash").digest_of(KEY, wire(name))) for name in names}
    assert {name: first[slot] for name, slot in slots.items()} == {"b.test": 2, "a.test": 4, "c.test": 7}
    assert len(first) == core("image").header(view).slots
    assert sum(first) == 2 + 4 + 7
    for wrong in ([1] * 4, [1] * 6):
        with pytest.raises((ValueError, IndexError)):
            core("image").write(octets, b"\3\0" * 5, KEY, **said, lines=array("I", wrong), line_of=bytearray())


def test_a_digest_that_is_not_there_has_no_slot(core: Core) -> None:
    view = core("image").view(image(core, entries("a.test")))
    low, high = core("siphash").digest_of(KEY, wire("a.test"))
    assert core("image").slot_of(view, low, high) >= 0
    assert core("image").slot_of(view, low, high ^ 1) == -1
    with pytest.raises(IndexError):
        core("image").slot_of(view[:-2], low, high)
