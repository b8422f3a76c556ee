"""Lists made of other formats: all that they say is in the source, and what cannot be said is told by line."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.authority.convert import FORMATS, Converted, convert
from resolver.authority.issue import is_demonstration
from resolver.authority.repository import Refused
from resolver.core.codes import BLOCK_BELOW, BLOCK_SELF, EXCEPT_BELOW, EXCEPT_SELF
from resolver.feed.names import read
from tests.fakes.formats import BLOCKS, WRITERS, Entries
from tests.unit.feed.names.test_read import SMALL, pairs

_BITS = {"=": BLOCK_SELF, "*.": BLOCK_BELOW, "!=": EXCEPT_SELF, "!*.": EXCEPT_BELOW}


def scopes(made: Converted) -> dict[str, int]:
    """Each name of a converted list and its bits, as a resolver reads them."""
    found: dict[str, int] = {}
    entries = read.read(made.data, SMALL, demonstration=is_demonstration(made.data, SMALL), max_entries=10_000)
    assert entries.refused == {}
    for name, bits in pairs(entries):
        found[name.decode()] = found.get(name.decode(), 0) | bits
    return found


def blocks(found: dict[str, int], name: str) -> bool:
    """Whether a list with these names blocks a name: the most specific entry decides, an exception beats its like."""
    blocking, sparing, rest = BLOCK_SELF, EXCEPT_SELF, name
    while rest:
        bits = found.get(rest, 0)
        if bits & (blocking | sparing):
            return not bits & sparing
        blocking, sparing, rest = BLOCK_BELOW, EXCEPT_BELOW, rest.partition(".")[2]
    return False


@pytest.mark.parametrize("source", FORMATS)
def test_what_a_list_says_comes_back_from_each_format(source: str) -> None:
    writer, sayings = WRITERS[source]
    draw = random.Random(source)
    # Exceptions below what is blocked: a spared name stands there only because of the entry above it.
    entries: Entries = {}
    for at in range(200):
        say = draw.choice(sayings)
        entries[f"n{at}.test"] = say if "=" in say or "*." in say else sayings[0]
        if not (say & {"=", "*."}):
            entries[f"x.n{at}.test"] = say
    made = convert(writer(entries).encode(), source)
    assert scopes(made) == {name: sum(_BITS[one] for one in say) for name, say in entries.items()}
    assert made.exceptions == sum(1 for say in entries.values() if not say & {"=", "*."})
    assert made.blocked == len(entries) - made.exceptions


@pytest.mark.parametrize("source", FORMATS)
def test_byte_order_mark_and_crlf_change_nothing(source: str) -> None:
    text = WRITERS[source][0]({"a.test": WRITERS[source][1][0]})
    plain = scopes(convert(text.encode(), source))
    assert scopes(convert(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(), source)) == plain != {}


def test_names_are_written_as_they_are_compared_once_each() -> None:
    made = convert("0.0.0.0 B\u00dcCHER.test\n0.0.0.0 xn--bcher-kva.test. A.test\n".encode(), "hosts")
    assert made.data.decode().split("\n")[1:] == ["=xn--bcher-kva.test", "=a.test", ""]
    assert (made.repeated, made.blocked, made.lines) == (1, 2, 2)


def test_dropped_lines_are_counted_by_reason_with_the_numbers_of_the_source() -> None:
    made = convert(
        b"# x\n127.0.0.1 localhost\n0.0.0.0 a.test co.uk b..test\nwhat\n0.0.0.0 test\n192.0.2.1 c.test\n", "hosts"
    )
    assert scopes(made) == {"a.test": BLOCK_SELF}
    assert made.dropped_lines == {
        "local": (2,),
        "icann_suffix": (3,),
        "malformed": (3,),
        "other_syntax": (4,),
        "tld": (5,),
        "redirect": (6,),
    }


def test_more_refused_names_than_numbers_are_kept_are_all_counted() -> None:
    made = convert(b"0.0.0.0 a.test\n" + b"0.0.0.0 co.uk\n" * 300, "hosts")
    assert made.dropped == {"icann_suffix": 300}


def test_a_name_that_the_source_answers_otherwise_below_a_block_is_spared() -> None:
    made = convert(b"address=/a.test/#\naddress=/x.a.test/192.0.2.1\naddress=/b.test/192.0.2.1\n", "dnsmasq")
    assert scopes(made) == {"a.test": BLOCK_SELF | BLOCK_BELOW, "x.a.test": EXCEPT_SELF | EXCEPT_BELOW}
    assert made.dropped_lines == {"redirect": (3,)}


def test_what_adblock_spares_with_all_names_below_is_not_blocked_below() -> None:
    made = convert(b"||a.test^\n||x.y.a.test^\n@@||y.a.test^\n||b.test^\n@@||b.test^\n", "adblock")
    assert made.dropped_lines == {"spared": (2, 4)}
    assert [blocks(scopes(made), name) for name in ("a.test", "x.y.a.test", "b.test")] == [True, False, False]


@pytest.mark.parametrize("lost", ["@@||x.a.test/path", "@@||com^", "@@||a..test^", "||x.test^$badfilter"])
def test_an_exception_that_is_lost_stops_it_until_it_is_confirmed(lost: str) -> None:
    data = f"||a.test^\n{lost}\n".encode()
    with pytest.raises(Refused, match=r"1 exception \(line 2\).*would block more.*--without-exceptions") as error:
        convert(data, "adblock")
    assert "a.test" not in str(error.value)
    assert scopes(convert(data, "adblock", without_exceptions=True)) == {"a.test": BLOCK_SELF | BLOCK_BELOW}


@pytest.mark.parametrize(
    ("data", "source", "said"),
    [
        (b"0.0.0.0 a.test\n", "adblock", r"dropped: 1 pattern \(line 1\); it looks like a hosts file: .*--from hosts"),
        (b"0.0.0.0 com\n", "hosts", r"dropped: 1 tld \(line 1\)$"),
        (b"||a.test^\n", "hosts", r"1 other syntax \(line 1\); it looks like an adblock list"),
        (b"@@||a.test^\n", "adblock", "nothing of it blocks a name"),
        (b"", "hosts", "dropped: none"),
        (b"\x1f\x8b\xff", "hosts", "not UTF-8 from line 1 on; it looks like gzip"),
        (b"a.test\n", "rpz", r"its first record is no SOA \(line 1\); it looks like a plain list"),
        (b"a.test;b.test\n", "csv", "a CSV begins with a row SERIAL;TIMESTAMP: row 1, cell 1: no number"),
        (b"1,2\n", "csv", "row 1: its cells are separated by commas"),
    ],
)
def test_a_file_of_which_nothing_is_left(data: bytes, source: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        convert(data, source)


def test_a_zones_triggers_and_foreign_owners_are_dropped() -> None:
    odd = "32.1.2.0.192.rpz-ip CNAME .\nb.test. CNAME .\nc.test CNAME rpz-tcp-only.\n"
    text = WRITERS["rpz"][0]({"a.test": {"="}}) + odd
    made = convert(text.encode(), "rpz")
    assert scopes(made) == {"a.test": BLOCK_SELF}
    assert made.dropped_lines == {"trigger": (5,), "out_of_zone": (6,), "action": (7,)}


_VOCABULARY = (
    "a.test x.a.test b.test B.test. c.a.test *.a.test !a.test =b.test com test 0.0.0.0 :: 192.0.2.1 localhost # / \\ "
    "|| ^ @@ $third-party $badfilter address= server= local= local-zone: local-data: always_nxdomain redirect "
    "transparent static A IN CNAME . http:// https:// :443 /path ? \" ' ; , * ! = ## \t"
)
_WORDS = st.sampled_from(_VOCABULARY.split(" "))
_LINES = st.lists(st.lists(_WORDS, max_size=5), max_size=8)
_FORMS = [
    "0.0.0.0 {0} {1}",
    "192.0.2.1 {0}",
    "||{0}^",
    "@@||{0}^",
    "||{0}^{1}",
    "address=/{0}/{1}",
    "address=/{0}/#",
    "server=/{0}/{1}",
    'local-zone: "{0}" {1}',
    'local-zone: "{0}" always_nxdomain',
    'local-zone: "{0}" redirect',
    'local-data: "{0} A {1}"',
    "http://{0}{1}",
    "*.{0}",
    "{0} {1}",
]


_WRITTEN = st.lists(st.tuples(st.sampled_from(_FORMS), _WORDS, _WORDS), max_size=9)


def wider(source: str, text: str) -> str | None:
    """Convert a file; return a name that the list blocks and the file does not, None if there is none."""
    try:
        found = scopes(convert(text.encode(), source, psl=SMALL))
    except Refused:
        return None
    asked = {*found, *(f"y.{name}" for name in found), "a.test", "x.a.test", "y.x.a.test", "b.test", "c.a.test"}
    return next((name for name in asked if blocks(found, name) and not BLOCKS[source](text, name)), None)


@given(st.sampled_from(sorted(BLOCKS)), _WRITTEN, _LINES)
def test_nothing_is_blocked_that_the_source_does_not_block(
    source: str, forms: list[tuple[str, str, str]], words: list[list[str]]
) -> None:
    lines = [form.format(one, two) for form, one, two in forms] + ["".join(line) for line in words]
    assert wider(source, "\n".join(lines)) is None
