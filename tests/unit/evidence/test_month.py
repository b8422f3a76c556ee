"""Months: which are over, which follow which."""

import pytest

from resolver.count.report.days import midnight
from resolver.evidence import month
from resolver.evidence.month import NotAMonth


def test_a_month_has_all_of_its_days() -> None:
    assert str(month.whole("2024-02").last) == "2024-02-29"
    december = month.whole("2025-12")
    assert (december.begin, december.end - december.begin) == (midnight(december.first), 31 * 86400)


@pytest.mark.parametrize("text", ["", "2025", "2025-00", "2025-13", "2025-4", "1999-12", "2025-04-01", "2025-04\n"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(NotAMonth, match="YYYY-MM"):
        month.whole(text)


def test_one_follows_another_over_the_years() -> None:
    assert (month.after("2025-12"), month.before("2026-01"), month.after("2025-01")) == (
        "2026-01",
        "2025-12",
        "2025-02",
    )


def test_a_month_is_over_once_its_last_beat_can_be_written() -> None:
    april = month.whole("2025-04")
    assert not month.is_over(april, april.end + month.SETTLED_S - 1)
    assert month.is_over(april, april.end + month.SETTLED_S)


def test_so_far_goes_to_the_last_day_that_is_over() -> None:
    april = month.whole("2025-04")
    found = month.so_far("2025-04", april.begin + 3 * 86400 + 5)
    assert (str(found.last), found.complete) == ("2025-04-03", False)
    assert month.so_far("2025-04", april.end + 5).last == april.last
    for now, said in ((april.begin + 86399, "no day"), (april.begin - 1, "no day"), (april.end + 900, "is over")):
        with pytest.raises(NotAMonth, match=said):
            month.so_far("2025-04", now)
