"""Lines of a transferred zone to entries."""

import pytest

from resolver.core.codes import BLOCK_BELOW, BLOCK_SELF, EXCEPT_BELOW, EXCEPT_SELF
from resolver.feed.names import read
from resolver.feed.names.read_zone import read_zone
from tests.fakes.enforcer import wire

PSL = read.suffixes()


def entries(*lines: str, demonstration: bool = True) -> read.Entries:
    data = "".join(f"{line}\n" for line in lines).encode()
    return read_zone(data, PSL, demonstration=demonstration, max_entries=100)


def bits(found: read.Entries) -> list[tuple[bytes, int]]:
    """Each name with its bits, in the order found."""
    pairs, at = [], 0
    for number in range(found.lines):
        start = at
        while found.names[at]:
            at += found.names[at] + 1
        at += 1
        pairs.append((found.names[start:at], int.from_bytes(found.flags[2 * number : 2 * number + 2], "little")))
    return pairs


def test_each_scope_has_its_bit() -> None:
    found = entries("", "=a.test", "*.a.test", "!=b.test", "", "!*.b.test")
    assert sorted(bits(found)) == sorted(
        [
            (wire("a.test"), BLOCK_SELF),
            (wire("a.test"), BLOCK_BELOW),
            (wire("b.test"), EXCEPT_SELF),
            (wire("b.test"), EXCEPT_BELOW),
        ]
    )
    assert read.distinct(found).entries == 2


def test_lines_are_judged_like_those_of_a_plain_list_and_told_by_the_number_of_their_record() -> None:
    found = entries(
        *("", "=a.test", "=com", "*.co.uk", "?trigger", "?action", "*..", r"=a\b.test", "?trigger", "!*.b.example"),
        "=1.2.3.4",
    )
    assert found.refused_lines == {
        "tld": (3,),
        "icann_suffix": (4,),
        "trigger": (5, 9),
        "action": (6,),
        "root": (7,),
        "malformed": (8,),
        "address": (11,),
    }
    assert found.refused["trigger"] == 2
    assert found.lines == 2


def test_a_production_zone_holds_no_reserved_name() -> None:
    found = entries("=a.test", "=name.org", demonstration=False)
    assert (found.lines, found.refused) == (1, {"reserved": 1})


def test_a_zone_without_names_is_empty_and_one_with_too_many_is_refused() -> None:
    with pytest.raises(read.ReadError, match="empty"):
        entries("", "", "?trigger")
    with pytest.raises(read.ReadError, match="too_many_entries"):
        entries(*(f"=n{number}.test" for number in range(101)))


def test_a_line_that_no_zone_has_is_refused_and_no_error() -> None:
    found = entries("=a.test", "a.\u00fc.test", "ab\u00fc.test", "!\u00fc.test")
    assert found.refused_lines == {"malformed": (2, 3, 4)}
