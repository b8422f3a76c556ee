"""Entries of a list: what of several lines of one name is left, what is new, what is above an exception."""

from array import array

import pytest

from resolver.core import codes
from tests.unit.core.generations import KEY, SELFTEST, Core, entries, image, wire
from tests.unit.core.test_image import bits


def test_the_synthetic_name_is_blocked_and_no_entry(core: Core) -> None:
    octets = image(core, {})
    assert bits(core, octets, SELFTEST.decode() + ".selftest.invalid") == 3 | codes.SELFTEST
    assert core("image").header(core("image").view(octets)).entries == 0


@pytest.mark.parametrize("order", [("!a.test", "a.test"), ("a.test", "!a.test"), ("a.test", "!a.test", "a.test")])
def test_of_one_name_twice_the_exception_wins(core: Core, order: tuple[str, ...]) -> None:
    names = b"".join(wire(one.lstrip("!")) for one in order)
    flags = b"".join((12 if one[0] == "!" else 3).to_bytes(2, "little") for one in order)
    octets = core("entries").write(
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
        core("entries").write(
            names, flags, KEY, list_id="one", serial=1, issued=1, expires=0, generation=1, selftest=SELFTEST
        )


@pytest.mark.parametrize("names", [b"\1", b"\5a", b"\1a"])
def test_a_name_without_end_is_no_list(core: Core, names: bytes) -> None:
    write = core("entries").write
    with pytest.raises((IndexError, ValueError)):
        write(names, b"\3\0", KEY, list_id="one", serial=1, issued=1, expires=0, generation=1, selftest=SELFTEST)


@pytest.mark.parametrize("order", [(3, 3 | codes.SET_ASIDE), (3 | codes.SET_ASIDE, 3)])
def test_what_one_line_sets_aside_no_other_puts_in_force(core: Core, order: tuple[int, int]) -> None:
    flags = b"".join(one.to_bytes(2, "little") for one in order)
    stated = {"list_id": "one", "serial": 1, "issued": 1, "expires": 0, "generation": 1, "selftest": SELFTEST}
    octets = bytes(core("entries").write(2 * wire("a.test"), flags, KEY, **stated))
    assert bits(core, octets, "a.test") == 3 | codes.SET_ASIDE


def test_where_no_block_is_left_nothing_is_set_aside(core: Core) -> None:
    names = 2 * wire("a.test")
    flags = b"".join(one.to_bytes(2, "little") for one in (3 | codes.SET_ASIDE, 12))
    stated = {"list_id": "one", "serial": 1, "issued": 1, "expires": 0, "generation": 1, "selftest": SELFTEST}
    octets = bytes(core("entries").write(names, flags, KEY, **stated))
    assert bits(core, octets, "a.test") == codes.EXCEPT_SELF | codes.EXCEPT_BELOW


def test_each_slot_has_the_first_line_of_its_name(core: Core) -> None:
    names, lines, line_of = ["b.test", "a.test", "b.test", "c.test", "a.test"], [9, 4, 2, 7, 5], bytearray(b"x")
    octets = b"".join(map(wire, names))
    said = {"list_id": "one", "serial": 1, "issued": 1, "expires": 0, "generation": 1, "selftest": SELFTEST}
    made = core("entries").write(octets, b"\3\0" * 5, KEY, **said, lines=array("I", lines), line_of=line_of)
    assert made == core("entries").write(octets, b"\3\0" * 5, KEY, **said)
    view, first = core("image").view(made), memoryview(line_of).cast("I")
    slots = {name: core("image").slot_of(view, *core("siphash").digest_of(KEY, wire(name))) for name in names}
    assert {name: first[slot] for name, slot in slots.items()} == {"b.test": 2, "a.test": 4, "c.test": 7}
    assert len(first) == core("image").header(view).slots
    assert sum(first) == 2 + 4 + 7
    for wrong in ([1] * 4, [1] * 6):
        with pytest.raises((ValueError, IndexError)):
            core("entries").write(octets, b"\3\0" * 5, KEY, **said, lines=array("I", wrong), line_of=bytearray())


def test_what_was_set_aside_and_no_longer_is_comes_as_new(core: Core) -> None:
    """It is enforced for the first time, unless somebody has had what was set aside enforced."""
    view, aside = core("image").view, 3 | codes.SET_ASIDE
    before = view(image(core, {"a.test": aside, "b.test": aside, "c.test": 3}))
    lines = {"a.test": 3, "b.test": aside, "c.test": aside, "d.test": aside}
    after = image(core, lines, previous=before)
    assert [bits(core, after, name) & codes.NEW for name in lines] == [codes.NEW, 0, 0, codes.NEW]
    approved = image(core, lines, previous=before, approved=True)
    assert [bits(core, approved, name) & codes.NEW for name in lines] == [0, 0, 0, codes.NEW]


def test_names_are_counted_by_their_labels(core: Core) -> None:
    counts = memoryview(bytearray(8 * 128)).cast("Q")
    names = wire("a.test") * 3 + wire("test") + b"\1a" * 127 + b"\0" + b"\0"
    assert core("entries").count_depths(memoryview(names), counts) == 0
    assert {depth: count for depth, count in enumerate(counts) if count} == {0: 1, 1: 1, 2: 3, 127: 1}
    with pytest.raises(IndexError):
        core("entries").count_depths(memoryview(b"\3ab"), counts)
