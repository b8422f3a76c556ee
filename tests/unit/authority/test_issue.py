"""A list before it is signed: what is counted, and what is refused."""

import pytest

from resolver.authority.issue import Issue, entries_of
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
            r"2 lines would be refused: 1 icann suffix \(line 2\); 1 url \(line 3\)",
        ),
        (issue(data=b"a.com\n" * 3 + b"b.test\n"), r"1 reserved \(line 4\)"),
        (issue(data=b"b.test\n" * 3 + b"a.com\n"), r"1 not reserved \(line 4\)"),
        (issue(b"a" * (MAX_TARGET_BYTES + 1)), "larger than"),
        (issue(expect_entries=3), "2 entries, not the 3 of --expect-entries"),
        (issue(expect_refused=1), "0 lines would be refused: none"),
    ],
)
def test_a_list_that_may_not_be_published(bad: Issue, said: str) -> None:
    with pytest.raises(Refused, match=said) as error:
        entries_of(bad)
    assert "x.test" not in str(error.value)


def test_different_names_are_counted() -> None:
    assert entries_of(issue(b"a.test\nA.test\n=b.test\n", expect_entries=2)) == 2
    assert entries_of(issue(b"a.test\nco.uk\n", expect_refused=1)) == 1
    assert entries_of(issue(b"a.co.uk\n")) == 1
