"""A zone's master file: which records are read, which lines are refused, and that one bad line costs one line."""

import dns.zone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.core.codes import BLOCK_BELOW, BLOCK_SELF, EXCEPT_BELOW, EXCEPT_SELF
from resolver.feed.names import read
from resolver.feed.names.read_master import MAX_RECORD_LINES, read_master, soa_serial
from tests.unit.feed.names.test_read import SMALL, pairs

SOA = b"@ SOA ns.example. mail.example. 412 3600 600 86400 60\n"


def entries(data: bytes) -> read.Entries:
    return read_master(data, SMALL, demonstration=True, max_entries=1000)


def refused(line: bytes) -> dict[str, tuple[int, ...]]:
    """What is refused of a line between two good records, which stay."""
    found = entries(SOA + b"good.test CNAME .\n" + line + b"\nbetter.test CNAME .\n")
    assert {b"good.test", b"better.test"} <= {name for name, _ in pairs(found)}
    return found.refused_lines


@pytest.mark.parametrize(
    ("record", "name", "bits"),
    [
        (b"a.test CNAME .", b"a.test", BLOCK_SELF),
        (b"A.Test 60 IN CNAME .", b"a.test", BLOCK_SELF),
        (b"a.test in 2h30m cname .", b"a.test", BLOCK_SELF),
        (b"*.a.test CNAME *.", b"a.test", BLOCK_BELOW),
        (b"a.test CNAME rpz-passthru.", b"a.test", EXCEPT_SELF),
        (b"*.a.test CNAME rpz-passthru.", b"a.test", EXCEPT_BELOW),
        (b"a.test CNAME a.test.", b"a.test", EXCEPT_SELF),
        (b"a.test CNAME stop.example.", b"a.test", BLOCK_SELF),
        (b"a.test A 192.0.2.1 ; why", b"a.test", BLOCK_SELF),
        (b'a.test TXT "a;b" ( "c"\n "d" )', b"a.test", BLOCK_SELF),
        (b"a.test TYPE65280 \\# 0", b"a.test", BLOCK_SELF),
        (b"\\097.tes\\t CNAME .", b"a.test", BLOCK_SELF),
        (b"$ORIGIN test\na CNAME .", b"a.test", BLOCK_SELF),
    ],
)
def test_a_record_that_is_read(record: bytes, name: bytes, bits: int) -> None:
    found = entries(SOA + record + b"\r\n\r\n; end\n")
    assert pairs(found) == [(name, bits)]
    assert found.refused == {}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"a.test. CNAME .", "out_of_zone"),
        (b"$INCLUDE other.zone", "directive"),
        (b"$GENERATE 1-9 h$.test CNAME .", "directive"),
        (b"$SERIAL 1", "malformed"),
        (b"$TTL", "malformed"),
        (b"a.test", "malformed"),
        (b"a.test CNAME", "malformed"),
        (b"a.test CNAME . .", "malformed"),
        (b"a.test A", "malformed"),
        (b"a.test CH CNAME .", "malformed"),
        (b"a.test FOO x", "malformed"),
        (b"a.test ANY x", "malformed"),
        (b"a..test CNAME .", "malformed"),
        (b"a.test CNAME b..test.", "malformed"),
        (b'"a.test" CNAME .', "malformed"),
        (b'a.test TXT "x', "malformed"),
        (b"a.test TXT ( x", "malformed"),
        (b"a.test TXT x )", "malformed"),
        (b"\\300.test CNAME .", "malformed"),
        (b"a\\032b.test CNAME .", "malformed"),
        (b"a.test SOA a. b. 1 1 1 1 1", "malformed"),
        (b"x" * 64 + b".test CNAME .", "too_long"),
        (b"x." * 130 + b"test CNAME .", "too_long"),
        (b"32.1.2.0.192.rpz-ip CNAME .", "trigger"),
        (b"a.test CNAME rpz-tcp-only.", "action"),
        (b"a.test DNAME b.test.", "action"),
        (b"* CNAME .", "root"),
        (b"test CNAME .", "tld"),
        (b"co.uk CNAME .", "icann_suffix"),
    ],
)
def test_one_bad_line_is_refused_alone(line: bytes, reason: str) -> None:
    assert refused(line) == {reason: (3,)}


def test_records_without_an_owner_belong_to_the_one_before_and_fall_with_it() -> None:
    assert refused(b"  TXT x\nbad..test CNAME .\n  TXT x\n\tA 192.0.2.1") == {"malformed": (4, 5, 6)}
    assert refused(b"bad.test. CNAME .\n  TXT x") == {"out_of_zone": (3, 4)}


def test_an_open_parenthesis_does_not_swallow_the_rest() -> None:
    many = b"".join(b"n%d.test CNAME .\n" % at for at in range(2 * MAX_RECORD_LINES))
    found = entries(SOA + b"open.test TXT ( x\n" + many)
    assert (found.lines, found.refused_lines) == (2 * MAX_RECORD_LINES, {"malformed": (2,)})


@pytest.mark.parametrize(
    "head",
    [
        b"$TTL 2h\n@ IN SOA a. b. ( 412 ; serial\n 1h 1h\n 1d 1h )\n",
        b"$ORIGIN rpz.example.\n@ SOA a. b. 412 1 1 1 1\n",
        b"rpz.example. 60 IN SOA a. b. 412 1 1 1 1\n",
        b"$ORIGIN example.\nrpz SOA a b 412 1 1 1 1\n$ORIGIN rpz.example.\n",
        b"\xef\xbb\xbf; a comment\n\nrpz.example. SOA a. b. 4294967708 1 1 1 1\n",
    ],
)
def test_ways_to_begin_a_zone(head: bytes) -> None:
    data = head + b"@ NS ns.example.\na.test CNAME .\n"
    assert soa_serial(data) == 412
    assert pairs(entries(data)) == [(b"a.test", BLOCK_SELF)]


def test_a_zone_that_names_itself_takes_its_own_absolute_owners_alone() -> None:
    found = entries(
        b"rpz.example. SOA a. b. 1 1 1 1 1\na.test.rpz.example. CNAME .\nb.test.xrpz.example. CNAME .\n"
        b"c.test CNAME .\nrpz.example. SOA a. b. 1 1 1 1 1\n"
    )
    assert [name for name, _ in pairs(found)] == [b"a.test", b"c.test"]
    assert found.refused_lines == {"out_of_zone": (3,)}


def test_an_origin_that_is_none_takes_no_name_below_it() -> None:
    found = entries(SOA + b"good.test CNAME .\n$ORIGIN b..test\na CNAME .\n")
    assert found.refused_lines == {"malformed": (3,), "out_of_zone": (4,)}


@pytest.mark.parametrize(
    "data",
    [b"", b"a.test CNAME .\n", b"@ SOA a. b. x 1 1 1 1\n", b"@ SOA a. b. 1\n", b"; nothing\n", b"@ NS a.\n" + SOA],
)
def test_a_file_without_an_soa_first_is_no_zone(data: bytes) -> None:
    for step in (entries, soa_serial):
        with pytest.raises(read.ReadError) as error:
            step(data)
        assert error.value.reason == "malformed"


def test_a_zone_without_an_entry_says_what_was_refused() -> None:
    with pytest.raises(read.ReadError) as error:
        entries(SOA + b"a.test. CNAME .\n")
    assert (error.value.reason, error.value.refused) == ("empty", {"out_of_zone": 1})


@given(st.text(alphabet='ab.*$@();"\\ \n\tTXT0CNAME', max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = entries(SOA + text.encode())
    except read.ReadError:
        return
    assert found.lines == len(pairs(found))


_LABELS = st.text(alphabet="abc0-_", min_size=1, max_size=5)
_OWNERS = st.builds(
    lambda star, labels: star + ".".join([*labels, "test"]),
    st.sampled_from(["", "*."]),
    st.lists(_LABELS, min_size=1, max_size=3),
)
_DATA = st.sampled_from([" CNAME .", " 60 IN A 192.0.2.1", " IN CNAME rpz-passthru."])


@given(st.dictionaries(_OWNERS, _DATA, max_size=9))
def test_what_dnspython_reads_of_a_good_file_is_what_we_read(records: dict[str, str]) -> None:
    text = SOA.decode() + "".join(f"{owner}{data}\n" for owner, data in records.items())
    zone = dns.zone.from_text(text, origin="rpz.example.", check_origin=False)
    theirs = {str(name).removeprefix("*.") for name in zone.nodes if str(name) != "@"}
    if theirs:
        assert {name.decode() for name, _ in pairs(entries(text.encode()))} == theirs
