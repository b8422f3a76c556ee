"""Lines to entries: which are read, which are refused, and why."""

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.core import lines as core_lines
from resolver.core.codes import BLOCK_BELOW, BLOCK_SELF, EXCEPT_BELOW, EXCEPT_SELF
from resolver.feed.names import read, read_zone
from resolver.feed.names.guard_lines import Protected
from resolver.feed.names.suffixes import Suffixes

PSL = read.suffixes()
# Read in no time, for tests that read many lists.
SMALL = Suffixes(
    frozenset({b"com", b"uk", b"co.uk", b"jp"}),
    frozenset({b"ck", b"kobe.jp"}),
    frozenset({b"www.ck", b"city.kobe.jp"}),
    frozenset({b"github.io"}),
    frozenset({b"mail.io"}),
    frozenset({b"a.mail.io"}),
)
WHOLE = BLOCK_SELF | BLOCK_BELOW


def entries(data: bytes, *, demonstration: bool = True, most: int = 1000) -> read.Entries:
    return read.read(data, PSL, demonstration=demonstration, max_entries=most)


def pairs(found: read.Entries) -> list[tuple[bytes, int]]:
    """Names with dots, and their bits."""
    return list(zip(_names(found.names), _bits(found.flags), strict=True))


def _names(wire: bytes) -> Iterator[bytes]:
    labels, at = [], 0
    while at < len(wire):
        size = wire[at]
        if size == 0:
            yield b".".join(labels)
            labels = []
        else:
            labels.append(wire[at + 1 : at + 1 + size])
        at += 1 + size


def _bits(flags: bytes) -> list[int]:
    return list(memoryview(flags).cast("H"))


def refused(line: bytes, *, demonstration: bool = True) -> str | None:
    """The reason why one line is refused, next to a good one."""
    good = b"good.test" if demonstration else b"good.domain-of-nobody"
    found = read.read(good + b"\n" + line, PSL, demonstration=demonstration, max_entries=9)
    return next(iter(found.refused), None)


@pytest.mark.parametrize(
    ("line", "name", "bits"),
    [
        (b"a.test", b"a.test", WHOLE),
        (b"=a.test", b"a.test", BLOCK_SELF),
        (b"!a.test", b"a.test", EXCEPT_SELF | EXCEPT_BELOW),
        (b"!=a.test", b"a.test", EXCEPT_SELF),
        (b"*.a.test", b"a.test", BLOCK_BELOW),
        (b" *.A.test.", b"a.test", BLOCK_BELOW),
        ("*.b\u00fccher.test".encode(), b"xn--bcher-kva.test", BLOCK_BELOW),
        (b"!*.a.test", b"a.test", EXCEPT_BELOW),
        (b"A.TeSt", b"a.test", WHOLE),
        (b"a.test.", b"a.test", WHOLE),
        (b"  a.test\t", b"a.test", WHOLE),
        (b" =a.test", b"a.test", BLOCK_SELF),
        (b"a.test # why", b"a.test", WHOLE),
        (b"a.test\t#why", b"a.test", WHOLE),
        (b"a.test\r", b"a.test", WHOLE),
        (b"\xef\xbb\xbfa.test", b"a.test", WHOLE),
        (b"_a-.b_.test", b"_a-.b_.test", WHOLE),
        (b"a." + b"b" * 63 + b".test", b"a." + b"b" * 63 + b".test", WHOLE),
        ("fa\u00df.test".encode(), b"xn--fa-hia.test", WHOLE),
        ("B\u00dcCHER.test".encode(), b"xn--bcher-kva.test", WHOLE),
        ("\uff41\u3002test".encode(), b"a.test", WHOLE),
        ("=\u00fc.test".encode(), b"xn--tda.test", BLOCK_SELF),
        (b"example.com", b"example.com", WHOLE),
        (b"a.example.org", b"a.example.org", WHOLE),
    ],
)
def test_a_line_that_is_read(line: bytes, name: bytes, bits: int) -> None:
    found = entries(line)
    assert pairs(found) == [(name, bits)]
    assert found.refused == {}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"http://a.test/", "url"),
        ("b\u00fccher.shop.test/path".encode(), "url"),
        ("https://b\u00fccher.test?x".encode(), "url"),
        (b"a.test/path", "url"),
        (b"a.test?x", "url"),
        (b"192.0.2.1", "address"),
        (b"192.0.2.0/24", "address"),
        (b"1.2.3", "address"),
        (b"2130706433", "address"),
        (b"a.0x7f", "address"),
        (b"2001:db8::1", "address"),
        (b"[2001:db8::1]", "address"),
        ("\uff11.2.3.4".encode(), "address"),
        (b".", "root"),
        (b"=.", "root"),
        (b"test", "tld"),
        (b"test.", "tld"),
        (b"!com", "tld"),
        (b"co.uk", "icann_suffix"),
        (b"CO.UK.", "icann_suffix"),
        (b"=co.uk", "icann_suffix"),
        (b"anything.ck", "icann_suffix"),
        (b"kobe.jp", "icann_suffix"),
        (b"x.kobe.jp", "icann_suffix"),
        (b"*.*.a.test", "wildcard"),
        (b"=*.a.test", "wildcard"),
        (b"a.*.test", "wildcard"),
        (b"a.*", "wildcard"),
        (b"*a.test", "wildcard"),
        (b"*", "wildcard"),
        ("*b\u00fccher.test".encode(), "wildcard"),
        (b"*.test", "tld"),
        (b"*.co.uk", "icann_suffix"),
        (b"*.", "malformed"),
        (b"a..test", "malformed"),
        (b".a.test", "malformed"),
        (b"a.test..", "malformed"),
        (b"a b.test", "several_words"),
        (b"a.test\tb.test", "several_words"),
        (b"0.0.0.0 a.test", "several_words"),
        (b"a.test ; why", "several_words"),
        ("b\u00fccher.test two".encode(), "several_words"),
        (b"a.test:443", "port"),
        ("b\u00fccher.test:443".encode(), "port"),
        (b"a.test:", "malformed"),
        (b"a\x00.test", "malformed"),
        (b"a.x\ry.test", "malformed"),
        (b"=", "malformed"),
        (b"!!a.test", "malformed"),
        (b"! a.test", "loose_exception"),
        (b"!\ta.test", "loose_exception"),
        (b"!= a.test", "loose_exception"),
        (b"! =a.test", "loose_exception"),
        (b"  ! a.test", "loose_exception"),
        (b"! Section: names", "loose_exception"),
        (b"! com", "loose_exception"),
        (b"! ", "loose_exception"),
        ("\u2028.test".encode(), "malformed"),
        ("xn--\u00fc.test".encode(), "malformed"),
        (b"a" * 64 + b".test", "too_long"),
        (b"a." * 125 + b"test", "too_long"),
        (("\u00fc" * 64).encode() + b".test", "too_long"),
        (b"a" * 5000, "too_long"),
        (b"localhost.localhost", "reserved"),
        (b"a.local", "reserved"),
        (b"a.onion", "reserved"),
        (b"1.2.0.192.in-addr.arpa", "reserved"),
        (b"selftest.invalid", "selftest"),
        (b"a.selftest.invalid", "selftest"),
    ],
)
def test_a_line_that_is_refused_everywhere(line: bytes, reason: str) -> None:
    assert refused(line) == reason
    assert refused(line, demonstration=False) == reason


@pytest.mark.parametrize("name", [b"a.test", b"a.example", b"a.invalid", b"example.com", b"www.example.net"])
def test_reserved_names_are_for_demonstration_alone(name: bytes) -> None:
    assert refused(name) is None
    assert refused(name, demonstration=False) == "reserved"


@pytest.mark.parametrize("name", [b"www.ck", b"city.kobe.jp", b"a.co.uk", b"not-example.com", b"xexample.com"])
def test_other_names_are_for_production_alone(name: bytes) -> None:
    assert refused(name) == "not_reserved"
    assert refused(name, demonstration=False) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\n\r\n# a.test\n", "empty"),
        (b"a.com\n", "empty"),
        (b"a.test\n\xc3\n", "not_utf8"),
        (b"a.test\n" * 1001, "too_many_entries"),
    ],
)
def test_a_list_that_is_refused_whole(data: bytes, reason: str) -> None:
    with pytest.raises(read.ReadError) as error:
        entries(data)
    assert error.value.reason == reason


def test_a_list_of_which_no_line_is_left_says_which_lines_were_refused() -> None:
    with pytest.raises(read.ReadError) as error:
        entries(b"# x\n0.0.0.0 a.test\n0.0.0.0 b.test\ntest\n")
    assert error.value.refused == {"several_words": 2, "tld": 1}
    assert error.value.refused_lines == {"several_words": (2, 3), "tld": (4,)}


def test_a_list_that_is_not_utf8_says_in_which_line() -> None:
    with pytest.raises(read.ReadError) as error:
        entries("a.test\n# b\u00fccher\nc.test\n".encode("latin-1"))
    assert error.value.line == 2


def test_as_many_entries_as_allowed() -> None:
    assert entries(b"a.test\n" * 1000).lines == 1000


def test_refused_lines_are_told_by_number_and_the_rest_is_read() -> None:
    found = entries(b"# one\r\na.test\r\n\r\nhttp://b.test\r\n=c.test\r\nco.uk\r\n!d.test # x\r\ne f\r\n")
    assert [name for name, _ in sorted(pairs(found))] == [b"a.test", b"c.test", b"d.test"]
    assert found.refused == {"url": 1, "icann_suffix": 1, "several_words": 1}
    assert found.refused_lines == {"url": (4,), "icann_suffix": (6,), "several_words": (8,)}


def test_numbers_of_refused_lines_are_bounded_and_counts_are_not() -> None:
    found = entries(b"a.test\n" + b"co.uk\n" * 500)
    assert found.refused == {"icann_suffix": 500}
    assert found.refused_lines == {"icann_suffix": tuple(range(2, 2 + read.MAX_LINE_NUMBERS))}


def test_it_does_not_matter_where_a_turn_ends() -> None:
    """Odd lines all over a list of several turns: each is found with its number, no good line is lost."""
    draw = random.Random(1)
    lines, odd = [], {}
    for number in range(1, 60_001):
        if draw.random() < 0.001:
            odd[number] = draw.choice(["co.uk", "a..test", "http://x.test"])
        lines.append(odd.get(number, f"{draw.choice(['', '=', '!'])}n{number}.test"))
    data = "\n".join(lines).encode()
    assert len(lines) > 3 * core_lines.ENTRIES
    found = entries(data, most=100_000)
    told = {number for numbers in found.refused_lines.values() for number in numbers}
    assert told == set(odd)
    wanted = sorted(line.lstrip("=!").encode() for number, line in enumerate(lines, 1) if number not in odd)
    assert sorted(name for name, _ in pairs(found)) == wanted
    assert read.distinct(found).entries == len(wanted)


@pytest.mark.parametrize(
    ("data", "exceptions", "blocks"),
    [
        (b"a.test\n=b.test\n", 0, True),
        (b"# !\na.test\n", 0, True),
        (b"a.test\n!b.test\n!=c.test\n", 2, True),
        (b"!b.test\n!=c.test\n", 2, False),
    ],
)
def test_exceptions_are_counted_and_block_nothing(data: bytes, exceptions: int, blocks: bool) -> None:
    found = read.read(data, PSL, demonstration=True, max_entries=9)
    assert (found.exceptions, found.blocks) == (exceptions, blocks)


def test_names_that_come_twice_are_one() -> None:
    assert read.distinct(entries(b"a.test\n=A.test\nb.test\n!a.test.")) == (2, 1, 1)


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        (b"a.test\nb.test", (2, 2, 0)),
        (b"! a.test\na.test\nb.test\n!c.test\nc.test", (3, 2, 1)),
        (b"a.test\n!=a.test\n=b.test\n!=b.test", (2, 1, 2)),
        (b"=a.test\n!b.test\n!b.test", (2, 1, 1)),
    ],
)
def test_names_that_block_and_exceptions_are_counted_apart(data: bytes, numbers: tuple[int, int, int]) -> None:
    assert read.distinct(entries(data)) == numbers


def test_the_first_exceptions_are_told_by_line() -> None:
    found = entries("!x.test\na.test\n!=y.test\n\n!\u00fc.test\n!z.test".encode())
    assert read.exception_lines(found, 3) == [1, 3, 5]
    assert read.exception_lines(found, 9) == [1, 3, 5, 6]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        found = entries(data)
    except read.ReadError:
        return
    assert len(found.flags) == 2 * len(pairs(found)) == 2 * found.lines
    for name, bits in pairs(found):
        assert 0 < len(name) <= 253
        assert bits in (WHOLE, BLOCK_SELF, BLOCK_BELOW, EXCEPT_SELF, EXCEPT_BELOW, EXCEPT_SELF | EXCEPT_BELOW)


@given(
    st.lists(
        st.sampled_from(
            [
                "a.test",
                "=b.test",
                "!c.test",
                "co.uk",
                "x.ck",
                "#",
                "",
                "a.com",
                "1.2.3.4",
                "d.test ",
                "E.test.",
                "f..test",
                "*.g.test",
                "!*.h.test",
                "*.co.uk",
                "a.*",
            ]
        ),
        max_size=40,
    )
)
def test_a_list_reads_as_its_lines_do(lines: list[str]) -> None:
    """What is read together comes to the same as what is read line by line."""
    single: list[tuple[bytes, int]] = []
    reasons: dict[str, int] = {}
    for line in lines:
        one = read.read(f"probe.test \n{line}".encode(), SMALL, demonstration=True, max_entries=99)
        single += sorted(pairs(one))
        single.remove((b"probe.test", WHOLE))
        for reason, count in one.refused.items():
            reasons[reason] = reasons.get(reason, 0) + count
    if not single:
        return
    found = read.read("\n".join(lines).encode(), SMALL, demonstration=True, max_entries=99)
    assert sorted(pairs(found)) == sorted(single)
    assert found.refused == reasons


def test_suffixes_of_another_list_are_what_counts() -> None:
    psl = Suffixes(frozenset({b"a.test"}), frozenset({b"b.test"}), frozenset({b"c.b.test"}))
    found = read.read(b"a.test\nb.test\nx.b.test\nc.b.test\nd.test", psl, demonstration=True, max_entries=9)
    assert sorted(name for name, _ in pairs(found)) == [b"c.b.test", b"d.test"]


def test_each_name_has_its_line() -> None:
    lines = [f"{'=' * (at % 3 == 0)}n{at}.test" if at % 7 else "# nothing" for at in range(1, 40_000)]
    found = read.read("\n".join(lines).encode(), PSL, demonstration=True, max_entries=40_000)
    assert [int(name[1:-5]) for name in _names(found.names)] == list(found.numbers)


class LineByLine(read.Reader):
    """The rules alone: no line is core_lines."""

    number = 0

    def turn(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        self.number += 1
        line = data[at:end].lower().removesuffix(b"\r")
        if line and (self.ZONE or line[:1] != b"#"):
            self.line(line, self.number)
        return end + 1


class ZoneLineByLine(LineByLine, read_zone.ZoneReader):
    """The same of a zone."""


GUARD = Protected(
    ("isp.test", "mail.isp.example", "isp.co.uk"), "=exact.test\ncarried.test\n", "popular.test\n1,popular.com\n", SMALL
)
_LABELS = st.sampled_from(
    [
        *("a", "B-c", "_x", "isp", "mail", "exact", "carried", "popular", "selftest", "example", "kobe", "co", "9"),
        *("0x1f", "github", "x" * 63, "x" * 64, "", "\u00fc", "a b", "a/", "*", "\r", "#", "test", "com"),
    ]
)
_TOPS = st.sampled_from(
    [
        "test",
        "TEST",
        "test.",
        "",
        *("example", "invalid", "com", "org", "uk", "jp", "ck", "io", "local", "arpa", "1", "0x1"),
    ]
)
_NAMES = st.builds(lambda labels, top: ".".join([*labels, top]), st.lists(_LABELS, max_size=4), _TOPS)
_LINES = st.lists(
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from(["", "", "", "=", "!", "!=", "*.", "!*.", "#", " ", "?", "\ufeff"]),
            _NAMES,
            st.sampled_from(["", "", "", "\r", " # x", "\t", "\r\r"]),
        ),
    ),
    max_size=12,
)


@given(_LINES, st.booleans(), st.booleans(), st.booleans())
def test_a_common_line_comes_to_what_the_rules_say(
    lines: list[str], demonstration: bool, zone: bool, guarded: bool
) -> None:
    """The same entries of the same lines, the same refusals with the same numbers, with core.lines and without."""
    said: dict[str, object] = {
        "demonstration": demonstration,
        "max_entries": 99,
        "protected": GUARD if guarded else None,
    }
    kinds = (read_zone.ZoneReader, ZoneLineByLine) if zone else (read.Reader, LineByLine)
    results: list[object] = []
    for kind in kinds:
        try:
            found = read.read("\n".join(lines).encode(), SMALL, kind=kind, **said)  # type: ignore[arg-type] # one dict
        except read.ReadError as error:
            results.append(error.reason)
        else:
            entries_found = sorted(zip(pairs(found), found.numbers, strict=True))
            counts = (found.refused, found.refused_lines, found.set_aside, found.set_aside_lines)
            results.append((entries_found, found.lines, *counts))
    assert results[0] == results[1]


def test_a_list_of_odd_lines_alone_is_read_too() -> None:
    found = entries(b"".join(b"n%d.test.\n" % number for number in range(9_000)), most=9_000)
    assert list(found.numbers) == list(range(1, 9_001))
    assert read.distinct(found).entries == 9_000
