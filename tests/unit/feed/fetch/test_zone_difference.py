"""Answers to AXFR and IXFR: which of them are none, and what is left of a zone after each."""

from collections.abc import Sequence

import dns.name
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resolver.core import transfer
from resolver.feed.fetch.zone import digest_of
from resolver.feed.fetch.zone_difference import Answer, NotATransfer, is_ahead, lines_of, once
from tests.fakes.primary import ZONE, Primary, Record, message

KEY = bytes(range(16))
MARK = b" 0123456789abcdef"


def soa(serial: int, mark: bytes = MARK) -> bytes:
    return b"@%08x" % serial + mark


def entry(name: str, number: int = 0) -> bytes:
    return b"=%s %016x" % (name.encode(), number)


A, B, C, D = (entry(f"{name}.test") for name in "abcd")
OURS = [A, B, C]


def answered(*messages: Sequence[bytes], ours: int | None = 7) -> Answer:
    found = Answer(OURS, ours)
    for one in messages:
        assert not found.closed
        found.take(b"".join(line + b"\n" for line in one))
    return found


@pytest.mark.parametrize(
    ("records", "left", "whole"),
    [
        ([soa(7)], [A, B, C], False),
        ([soa(6)], [A, B, C], False),
        ([soa(8), soa(8)], [], True),
        ([soa(8), A, D, soa(8)], [A, D], True),
        ([soa(8), D, D, b"", A, soa(8)], [A, D], True),
        ([soa(8), soa(7), A, soa(8), D, soa(8)], [B, C, D], False),
        ([soa(8), soa(7), soa(8), soa(8)], [A, B, C], False),
        ([soa(8), soa(7), A, soa(8), A, soa(8)], [A, B, C], False),
        ([soa(8), soa(7), b"", A, b"", soa(8), b"", soa(8)], [B, C], False),
        ([soa(9), soa(7), A, soa(8), D, soa(8), D, B, soa(9), A, soa(9)], [A, C], False),
        ([soa(9), soa(7), soa(8), D, soa(8), D, soa(9), D, soa(9)], [A, B, C, D], False),
    ],
    ids=[
        "nothing-new",
        "a-serial-behind",
        "an-empty-zone",
        "the-whole-zone",
        "the-whole-zone-with-a-record-twice",
        "a-difference",
        "a-serial-alone",
        "gone-and-come-at-once",
        "records-that-say-nothing",
        "two-differences",
        "come-and-gone-and-come",
    ],
)
def test_what_is_left(records: list[bytes], left: list[bytes], whole: bool) -> None:
    found = answered(records)
    assert (found.closed, found.result(), found.is_whole) == (True, left, whole)
    assert found.result() == left
    assert found.serial == int(records[0][1:9], 16)
    if len(records) > 1:
        split = answered(*[[one] for one in records])
        assert (split.closed, split.result(), split.is_whole) == (True, left, whole)


def test_the_whole_zone_may_be_asked_for() -> None:
    found = answered([soa(7)], [A], [B, D], [soa(7)], ours=None)
    assert (found.closed, found.result(), found.is_whole) == (True, [A, B, D], True)


def test_serials_go_around() -> None:
    found = answered([soa(1), soa(2**32 - 1), A, soa(1), D, soa(1)], ours=2**32 - 1)
    assert (found.closed, found.result(), found.serial) == (True, [B, C, D], 1)
    assert [is_ahead(1, 2**32 - 1), is_ahead(7, 7), is_ahead(2**31, 0), is_ahead(0, 1)] == [True, False, False, False]


OTHER = b" fedcba9876543210"


@pytest.mark.parametrize(
    "records",
    [
        [A, soa(8)],
        [b"", soa(8)],
        [soa(8), soa(6), A, soa(8), D, soa(8)],
        [soa(9), soa(8), soa(9), soa(9)],
        [soa(8), soa(7), D],
        [soa(8), soa(7), A, A],
        [soa(8), soa(7), soa(8), B],
        [soa(8), soa(7), soa(8), D, D],
        [soa(8), soa(7), A, soa(8), D, soa(8), A],
        [soa(8), soa(7), A, soa(8), D, soa(8), b""],
        [soa(8), soa(7), A, soa(8), D, soa(8), soa(8)],
        [soa(9), soa(7), A, soa(8), D, soa(9)],
        [soa(9), soa(7), A, soa(8), D, soa(7)],
        [soa(9), soa(7), A, soa(8), D, soa(8, OTHER)],
        [soa(8), soa(7), A, soa(7)],
        [soa(8), soa(7), A, soa(6)],
        [soa(8), soa(7), A, soa(9)],
        [soa(8), soa(7), A, soa(8, OTHER)],
        [soa(8), soa(7), A, soa(8), D, soa(8, OTHER)],
        [soa(9), soa(7), soa(8), A, soa(8)],
        [soa(8), A, soa(7)],
        [soa(8), A, soa(8, OTHER)],
        [soa(8), A, soa(8), A],
        [soa(8), A, soa(8), soa(8)],
        [soa(7), soa(7, OTHER)],
        [soa(2**31 + 8), soa(7), A, soa(2**31 + 8)],
    ],
    ids=[
        "no-soa-first",
        "a-record-without-meaning-first",
        "from-another-serial",
        "from-a-later-serial",
        "goes-but-is-not-there",
        "goes-twice",
        "comes-but-is-there",
        "comes-twice",
        "behind-the-end",
        "nothing-behind-the-end",
        "an-soa-behind-the-end",
        "a-gap",
        "a-second-that-begins-anew",
        "another-soa-of-the-serial-between",
        "on-the-spot",
        "backwards",
        "past-the-end",
        "to-another-soa",
        "closed-by-another-soa",
        "come-after-a-step-but-is-there",
        "a-whole-zone-closed-by-another-serial",
        "a-whole-zone-closed-by-another-soa",
        "behind-the-end-of-a-whole-zone",
        "an-soa-behind-the-end-of-a-whole-zone",
        "an-empty-zone-closed-by-another-soa",
        "half-around",
    ],
)
def test_what_is_no_answer(records: list[bytes]) -> None:
    for messages in ([records], [[one] for one in records]):
        with pytest.raises(NotATransfer):
            take_all(messages)


def take_all(messages: list[list[bytes]]) -> None:
    found = Answer(OURS, 7)
    for one in messages:
        found.take(b"".join(line + b"\n" for line in one))


@pytest.mark.parametrize("size", range(1, 6))
def test_an_answer_that_is_cut_short_is_not_closed(size: int) -> None:
    whole = [soa(8), soa(7), A, soa(8), D, soa(8)]
    assert not answered(whole[:size]).closed


def test_an_serial_between_the_first_soa_and_its_end_is_no_end() -> None:
    assert not answered([soa(9), soa(7), A, soa(8), D, soa(8)]).closed


def test_a_name_is_listed_while_any_record_of_it_is_left() -> None:
    ours = [entry("a.test", 1), entry("a.test", 2), entry("b.test", 3)]
    assert lines_of(ours) == b"=a.test\n=b.test\n"
    found = Answer(ours, 7)
    found.take(b"\n".join([soa(8), soa(7), entry("a.test", 1), soa(8), soa(8), b""]))
    assert lines_of(found.result()) == b"=a.test\n=b.test\n"
    found = Answer(ours, 7)
    found.take(b"\n".join([soa(8), soa(7), entry("a.test", 1), entry("a.test", 2), soa(8), soa(8), b""]))
    assert lines_of(found.result()) == b"=b.test\n"


def test_refused_records_are_counted_each() -> None:
    ours = [entry("a.test"), b"?trigger" + MARK, b"?trigger" + OTHER]
    assert lines_of(ours) == b"=a.test\n?trigger\n?trigger\n"
    assert lines_of([]) == b""


def test_lines_of_many_entries_are_those_of_all() -> None:
    ours = [entry(f"n{number // 3:06}.test", number) for number in range(3 * 4096)]
    assert lines_of(ours) == b"".join(b"=n%06d.test\n" % number for number in range(4096))


def test_lines_are_sorted_and_each_is_there_once() -> None:
    assert list(once(b"\nb\na\n\nb\n")) == [b"a", b"b"]
    assert list(once(b"\n\n")) == []


OWNERS = ("@", "a.test", "*.a.test", "b.a.test", "b.test", "*", "*.b.test", "32.1.2.0.192.rpz-ip", "x.rpz-ns")
DATA = (
    ("CNAME", "."),
    ("CNAME", "*."),
    ("CNAME", "rpz-passthru."),
    ("CNAME", "rpz-tcp-only."),
    ("CNAME", "a.test."),
    ("A", "192.0.2.1"),
    ("A", "192.0.2.2"),
    ("MX", "10 mail.a.test.rpz.example."),
    ("MX", "20 mail.a.test.rpz.example."),
    ("TXT", "text"),
    ("NS", "ns.example."),
)
zones = st.lists(st.sampled_from([(owner, *data) for owner in OWNERS for data in DATA]), unique=True, max_size=30)


def marked(batches: list[list[Record]], found: Answer, key: bytes = KEY) -> Answer:
    """The answer that these messages are."""
    origin = dns.name.from_text(ZONE).to_wire() or b""
    walked = transfer.Transfer(origin, key)
    for one in batches:
        wire = message(one).to_wire(max_size=65535)
        assert transfer.walk(wire, len(wire), walked) == transfer.SOUND
        found.take(walked.lines())
    assert found.closed
    return found


def plain(batches: list[list[Record]]) -> bytes:
    """The lines of a whole zone as a source that is not incremental has them."""
    walked, lines = transfer.Transfer(dns.name.from_text(ZONE).to_wire() or b""), b""
    for one in batches:
        wire = message(one).to_wire(max_size=65535)
        assert transfer.walk(wire, len(wire), walked) == transfer.SOUND
        lines += walked.lines()
    return lines


@settings(max_examples=100, deadline=None)
@given(st.lists(zones, min_size=2, max_size=4), st.integers(1, 9), st.integers(0, 3))
def test_a_zone_after_any_differences_is_the_zone_that_is_transferred(
    versions: list[list[Record]], size: int, first: int
) -> None:
    serving = Primary(serial=2**32 - 2, records=versions[0])
    ours = marked(serving.whole(size), Answer())
    at = first % len(versions)
    for number, records in enumerate(versions[1:], 1):
        serving.publish((2**32 - 2 + number) % 2**32, records)
        if number == at:
            ours = marked(serving.whole(size), Answer())
    whole = marked(serving.whole(size), Answer())
    changed = marked(serving.changes(ours.serial, size), Answer(ours.result(), ours.serial))
    assert changed.result() == whole.result()
    assert changed.serial == whole.serial
    lines, zone = lines_of(changed.result()), dns.name.from_text(ZONE)
    other = marked(serving.whole(size), Answer(), key=KEY[::-1])
    assert lines_of(other.result()) == lines
    unmarked = plain(serving.whole(size))
    assert digest_of(zone, lines) == digest_of(zone, unmarked)
    # Of names each line counts once, in an order or another; of what is refused every record.
    assert lines.count(b"?") == unmarked.count(b"?")
    assert set(lines.split(b"\n")) == set(unmarked.split(b"\n"))
