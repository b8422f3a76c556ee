"""The words of the summary: every number that is known, none that is not, and what had no room is counted."""

from msgspec.structs import replace

from resolver.evidence import summary_rows
from resolver.evidence.bundle import Bundle, Gap, ListEvidence
from tests.unit.evidence.crowded import crowded


def changed(one: Bundle, **new: object) -> Bundle:
    first: ListEvidence = replace(one.lists[0], **new)
    return replace(one, lists=(first, *one.lists[1:]))


def test_the_headline_is_the_month_in_five_numbers(of_april: Bundle) -> None:
    assert summary_rows.headline(of_april) == (
        ("58,260", "attempts"),
        ("174,780", "blocked queries"),
        ("95.00 %", "of the time enforced"),
        ("2 of 4", "deadlines met"),
        ("4 of 5", "self-tests passed"),
    )
    assert summary_rows.title(of_april) == "Evidence of enforcement, April 2025"
    so_far = replace(of_april, complete=False, through="2025-04-09")
    assert summary_rows.title(so_far) == "Evidence of enforcement, April 2025, so far (to 2025-04-09)"


def test_rows_of_each_list_and_of_all(of_april: Bundle) -> None:
    assert [row[0] for row in summary_rows.counted(of_april)] == ["demo", "second", "All lists"]
    assert next(summary_rows.counted(of_april))[:4] == ("demo", "33,480", "100,440", "66.96")
    assert next(summary_rows.enforced(of_april)) == ("demo", "95.00 %", "41,040 of 43,200", "24.0 h", "2", "1 beat")
    assert next(summary_rows.custody(of_april)) == ("demo", "10, 11, 12, 13, 12", "2", "1", "4", "1", "2", "3")
    assert [len(row) for row in summary_rows.custody(of_april)] == [len(summary_rows.CUSTODY)] * 3
    alone = replace(of_april, lists=of_april.lists[:1])
    assert [row[0] for row in summary_rows.counted(alone)] == ["demo"]


def test_what_is_not_known_is_a_dash(of_april: Bundle) -> None:
    bare = changed(
        of_april,
        days=(),
        sums=replace(of_april.totals, attempts=None, blocked_queries=None, capped=None),
        per_100k=None,
        not_comparable=(),
    )
    assert next(summary_rows.counted(bare)) == ("demo", "-", "-", "-", "-", "-", "-")
    empty = replace(of_april, lists=(), totals=bare.lists[0].sums)
    assert [number for number, _ in summary_rows.headline(empty)] == ["-", "-", "-", "-", "-"]


def test_what_has_no_room_is_counted(of_april: Bundle) -> None:
    full = crowded(of_april)
    rows = list(summary_rows.counted(full))
    assert len(rows) == summary_rows.MOST_LISTS + 1
    assert rows[-1][0] == "All lists (8 more in the bundle)"


def test_sentences_on_coverage_receipts_and_comparison(of_april: Bundle) -> None:
    assert summary_rows.gaps(of_april).startswith(
        "Beats cover 96.67 % of the month; subscribers covered: 120,000 to 121,000."
    )
    assert "demo serial 12: 5,000 entries, 2 lines refused, 1 set aside" in summary_rows.set_aside(of_april)
    assert summary_rows.incomparable(of_april).startswith(
        "Not comparable with the weeks before: demo, second (fewer than"
    )
    whole = replace(
        of_april, receipts=(), lists=tuple(replace(one, gaps=(), not_comparable=()) for one in of_april.lists)
    )
    assert summary_rows.gaps(whole).endswith("There is no gap.")
    assert summary_rows.set_aside(whole) == "No receipt was signed in the month."
    assert summary_rows.incomparable(whole) == ""
    assert summary_rows.about(of_april) == "Demonstration lists, of reserved names only: demo, second."
    real = changed(of_april, demonstration=False, legal_reference="Act 1")
    assert (
        summary_rows.about(real) == "Demonstration lists, of reserved names only: second. Legal reference: demo: Act 1."
    )


def test_the_print_names_the_bundle_and_its_place(of_april: Bundle) -> None:
    rows = dict(summary_rows.sealed(of_april, "c" * 64, "ab12"))
    assert rows["This bundle, SHA-256"] == "c" * 64
    assert rows["Audit log at the month's end"].startswith("entry 26: ")
    assert rows["Number 1 in the chain"] == "the first of this host"
    broken = replace(of_april, chain=None, audit=replace(of_april.audit, broken="line 3"))
    rows = dict(summary_rows.sealed(broken, "c" * 64, "ab12"))
    assert "broken when" in rows["Audit log"]
    assert "not evidence of it" in rows["Place in the chain"]


def test_times_and_shares() -> None:
    assert [summary_rows.lasting(one) for one in (5, 119, 120, 7200, 2 * 86400)] == [
        "5 s",
        "119 s",
        "2.0 min",
        "2.0 h",
        "2.0 d",
    ]
    assert summary_rows.percent(2_591_999, 2_592_000) == "99.99 %"
    assert (summary_rows.percent(1, 1), summary_rows.percent(0, 1), summary_rows.percent(0, 0)) == (
        "100 %",
        "0.00 %",
        "-",
    )
    assert summary_rows.moment(0) == "-"


def test_a_gap_of_any_length_is_told(of_april: Bundle) -> None:
    short = changed(of_april, gaps=(Gap(since=0, until=900, enforced_s=0, why="x"),))
    assert next(summary_rows.enforced(short))[3:5] == ("15.0 min", "1")
