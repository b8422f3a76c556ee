"""A list before it is signed: what is counted, and what is refused."""

import pytest

from resolver.authority.issue import Issue, counted, many
from resolver.authority.repository import Refused
from resolver.config.config import MAX_TARGET_BYTES


def issue(data: bytes = b"a.test\n=b.test\n", **changes: object) -> Issue:
    return Issue(list_id="demo", data=data, serial=1, **changes)  # type: ignore[arg-type]  # the fields of Issue


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (issue(data=b""), "empty"),
        (issue(data=b"# a.test\n"), "empty"),
        (issue(data=b"!a.test\n!=b.test\n"), "empty: it holds only exceptions"),
        (issue(data=b"a.test\n\xff\n"), "not UTF-8"),
        (
            issue(data=b"a.test\nco.uk\nhttp://x.test/\n"),
            r"2 lines would be refused: 1 icann suffix \(line 2\); 1 url \(line 3\);"
            " correct them, or confirm with --expect-refused 2$",
        ),
        (issue(data=b"a.com\n" * 3 + b"b.test\n"), r"1 reserved \(line 4\)"),
        (issue(data=b"b.test\n" * 3 + b"a.com\n"), r"1 not reserved \(line 4\)"),
        (issue(data=b"b.test\n" * 3 + b"a.com\n", production=True), r"3 reserved \(line 1, 2, 3\)"),
        (issue(production=True), r"no line of 2 is an entry: 2 reserved \(line 1, 2\)"),
        (issue(b"a" * (MAX_TARGET_BYTES + 1)), "larger than"),
        (issue(expect_entries=3), "2 entries, not the 3 of --expect-entries"),
        (
            issue(data=b"a.test\nco.uk\n"),
            r"1 line would be refused: 1 icann suffix \(line 2\); correct it, or confirm with --expect-refused 1$",
        ),
        (issue(expect_refused=2), "0 lines would be refused, not the 2 of --expect-refused; leave the option out"),
        (issue(data=b"a.test\nco.uk\n", expect_refused=2), "1 line would be refused, not the 2 of --expect-refused: 1"),
        (issue(data=b"a.test\n" + b"co.uk\n" * 6, expect_refused=5), r"6 lines .* \(line 2, 3, 4, 5, 6, \.\.\.\)"),
        (
            issue(data=b"!bad1.test\nbad1.test\nbad2.test\n!bad3.test\nbad3.test\n"),
            r"1 name blocked, 2 exceptions \(line 1, 4\): .* confirm with --expect-exceptions 2$",
        ),
        (issue(data=b"a.test\n!b.test\n", expect_exceptions=2), "1 exception, not the 2 of --expect-exceptions"),
        (issue(expect_exceptions=1), "0 exceptions, not the 1 of --expect-exceptions; leave the option out"),
        (issue(data=b"! bad1.test\nbad1.test\n"), r"1 loose exception \(line 1\)"),
    ],
)
def test_a_list_that_may_not_be_published(bad: Issue, said: str) -> None:
    with pytest.raises(Refused, match=said) as error:
        counted(bad)
    assert "x.test" not in str(error.value)


def test_a_list_of_mostly_another_format_is_said_to_be_one() -> None:
    with pytest.raises(Refused, match=r"--expect-refused 9; it looks like a hosts file: .*convert --from hosts"):
        counted(issue(b"a.test\n" + b"0.0.0.0 b.test\n" * 9))


def test_different_names_are_counted() -> None:
    assert counted(issue(b"a.test\nA.test\n=b.test\n", expect_entries=2)).entries == 2
    assert counted(issue(b"a.test\nco.uk\n", expect_refused=1)).entries == 1
    assert counted(issue(b"a.co.uk\n")).entries == 1
    assert counted(issue(b"a.test\n!x.a.test\n", expect_exceptions=1, expect_entries=2)) == (2, 1, 1)


def test_one_line_and_two_lines() -> None:
    assert [many(count, "line") for count in range(3)] == ["0 lines", "1 line", "2 lines"]
    assert [many(count, "entry", "entries") for count in range(3)] == ["0 entries", "1 entry", "2 entries"]
