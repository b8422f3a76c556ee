"""Lines of a list: which are common, what entry one makes, and which are left to be judged."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.core.generations import Core, wire

BITS = memoryview(b"\1\0\2\0\3\0\4\0\5\0\6\0").cast("H")


def lines_of(core: Core, watched: dict[bytes, int], *, wanted: bool = False, zone: bool = False) -> Any:
    module = core("lines")
    table = module.table_for(len(watched))
    for name, bits in watched.items():
        module.watch(table, memoryview(name + b"\n"), bits)
    return module.Lines(table, wanted=wanted, zone=zone, bits=BITS)


def found(core: Core, lines: Any, data: bytes) -> tuple[list[tuple[bytes, int, int]], list[tuple[bytes, int]]]:
    """Entries as (name in wire format, flag, line), uncommon lines as (octets, line), of one turn over `data`."""
    assert core("lines").take(lines, memoryview(data), 0) in (len(data), len(data) + 1)
    octets, entries, at = bytes(lines.names[: lines.octets]), [], 0
    for number in range(lines.entries):
        start = at
        while octets[at]:
            at += octets[at] + 1
        at += 1
        entries.append((octets[start:at], lines.flags[number], lines.numbers[number]))
    assert at == len(octets)
    places = list(lines.places[: 3 * lines.uncommon])
    return entries, [(data[a:b], n) for a, b, n in zip(places[::3], places[1::3], places[2::3], strict=True)]


def test_common_lines_of_a_plain_list(core: Core) -> None:
    data = b"a.test\n=B-c_9.x.Test\r\n\n# a.test\n!d.test\n\r\n!=e.test\n*.f.test\n!*.g.test"
    entries, uncommon = found(core, lines_of(core, {}), data)
    assert uncommon == []
    assert entries == [
        (wire("a.test"), 1, 1),
        (wire("b-c_9.x.test"), 2, 2),
        (wire("d.test"), 3, 5),
        (wire("e.test"), 4, 7),
        (wire("f.test"), 5, 8),
        (wire("g.test"), 6, 9),
    ]


def test_common_lines_of_a_zone(core: Core) -> None:
    data = b"*.a.test\n=a.test\n\n!*.b.test\n!=b.test\na.test\n#\n!a.test\n*a.test\n*.\n"
    entries, uncommon = found(core, lines_of(core, {}, zone=True), data)
    assert entries == [
        (wire("a.test"), 1, 1),
        (wire("a.test"), 2, 2),
        (wire("b.test"), 3, 4),
        (wire("b.test"), 4, 5),
    ]
    assert uncommon == [(b"a.test", 6), (b"#", 7), (b"!a.test", 8), (b"*a.test", 9), (b"*.", 10)]


@pytest.mark.parametrize(
    "line",
    [
        *(b"test", b".test", b"a..test", b"a.test.", b".", b"=", b"!", b"!=", b"!!a.test", b"=!a.test", b"==a.test"),
        *(b" a.test", b"a.test ", b"a.test #", b"a b.test", b"a.test/", b"=*.a.test", b"a.test\r\r", b"a\0.test"),
        *("\u00fc.test".encode(), b"\xff.test", b"a.1", b"a.0x7f", b"1.2.3.4", b"a" * 64 + b".test"),
        *(b"a." + b"b" * 64, b"a." * 124 + b"test.x", b"x" * 300),
    ],
)
def test_what_is_not_common_is_uncommon(core: Core, line: bytes) -> None:
    entries, uncommon = found(core, lines_of(core, {}), b"a.test\n" + line + b"\nb.test")
    assert [name for name, _, _ in entries] == [wire("a.test"), wire("b.test")]
    assert uncommon == [(line.removesuffix(b"\r"), 2)]


@pytest.mark.parametrize("line", [b"a" * 63 + b".test", b"a." + b"b" * 63, b"a." * 124 + b"test", b"a.t9"])
def test_the_longest_are_common(core: Core, line: bytes) -> None:
    entries, uncommon = found(core, lines_of(core, {}), line)
    assert (entries, uncommon) == ([(wire(line.decode()), 1, 1)], [])


def test_what_is_watched_is_uncommon(core: Core) -> None:
    module = core("lines")
    watched = {b"self.test": module.SELF, b"parent.test": module.PARENT, b"within.test": module.WITHIN}
    lines = [
        *("self.test", "SELF.test", "a.self.test", "parent.test", "a.parent.test", "b.a.parent.test"),
        *("within.test", "a.within.test", "b.a.within.test", "xself.test", "xwithin.test", "self.test.test"),
    ]
    _, uncommon = found(core, lines_of(core, watched), "\n".join(lines).encode())
    assert [number for _, number in uncommon] == [1, 2, 5, 7, 8, 9]


def test_of_a_name_watched_twice_both_reasons_count(core: Core) -> None:
    module = core("lines")
    table = module.table_for(2)
    module.watch(table, memoryview(b"a.test\n"), module.SELF)
    module.watch(table, memoryview(b"b.test\na.test\n"), module.PARENT)
    lines = module.Lines(table, wanted=False, zone=False, bits=BITS)
    assert [number for _, number in found(core, lines, b"a.test\nx.a.test\nb.test\nx.b.test")[1]] == [1, 2, 4]


def test_top_level_labels_where_some_are_wanted(core: Core) -> None:
    lines = lines_of(core, {b"test": core("lines").WANTED}, wanted=True)
    entries, uncommon = found(core, lines, b"a.test\na.example\nb.TEST\n")
    assert ([name for name, _, _ in entries], uncommon) == ([wire("a.test"), wire("b.test")], [(b"a.example", 2)])


def test_a_table_without_room_is_an_error(core: Core) -> None:
    table = core("lines").table_for(0)
    names = memoryview(b"".join(b"n%d.test\n" % number for number in range(len(table) + 1)))
    with pytest.raises(IndexError, match="no room"):
        core("lines").watch(table, names, 1)


def test_names_to_watch_without_an_end_are_an_error(core: Core) -> None:
    with pytest.raises(IndexError):
        core("lines").watch(core("lines").table_for(9), memoryview(b"a.test"), 1)


@pytest.mark.parametrize(
    ("line", "count"),
    [(b"a.test\n", 17_000), (b"a.test.\n", 5_000), (b"a" * 63 + b"." + b"b" * 63 + b".test\n", 2_000)],
)
def test_a_turn_ends_where_its_room_does_and_the_next_goes_on(core: Core, line: bytes, count: int) -> None:
    module = core("lines")
    data, lines, at, entries, numbers, turns = line * count, lines_of(core, {}), 0, 0, [], 0
    while at < len(data):
        at = module.take(lines, memoryview(data), at)
        entries += lines.entries
        numbers += [*lines.numbers[: lines.entries], *list(lines.places[: 3 * lines.uncommon])[2::3]]
        assert at % len(line) == 0
        turns += 1
    assert turns > 1
    assert numbers == list(range(1, count + 1))
    assert entries in (0, count)


# The fixture only loads a module: nothing of one input is left for the next.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.booleans())
def test_any_octets_are_entries_or_uncommon(core: Core, data: bytes, zone: bool) -> None:
    entries, uncommon = found(core, lines_of(core, {}, zone=zone), data)
    numbers = sorted([*(number for *_, number in entries), *(number for _, number in uncommon)])
    assert len(set(numbers)) == len(numbers)
    spoken = [n for n, one in enumerate(data.split(b"\n"), 1) if one.removesuffix(b"\r") and (zone or one[:1] != b"#")]
    assert numbers == spoken
