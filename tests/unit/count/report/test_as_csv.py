"""CSV: one row for each day, nothing without its definition, no formula."""

import csv
import io
from dataclasses import replace

from resolver.count import definition
from resolver.count.report.as_csv import COLUMNS, as_csv
from resolver.count.report.days import FELL, Parts, Place
from tests.unit.count.spring import FIRST, RURITANIA, facts, replay, told


def test_one_row_for_each_region_list_and_day_with_definition_and_caveat() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(told()))))
    assert len(rows) == 2 * 182
    assert tuple(rows[0]) == COLUMNS
    assert {(one["attempts_are"], one["caveat"], one["definition"], one["noise"]) for one in rows} == {
        (definition.IN_PRINT, definition.CAVEAT, "v2", "")
    }
    (peak,) = (one for one in rows if (one["region"], one["day"]) == (RURITANIA.region, "2020-03-30"))
    assert (peak["attempts"], peak["ratio"], peak["surge"], peak["gap"]) == ("30000", "10.0000", "yes", "")


def test_what_is_not_known_is_empty_and_no_cell_is_a_formula() -> None:
    days = facts()[RURITANIA] | {FIRST: replace(facts()[RURITANIA][FIRST], attempts=None, gap=FELL, parts=Parts())}
    row = next(csv.DictReader(io.StringIO(as_csv(told({Place("-1+2", replay.LIST): days}, noise=True)))))
    assert (row["region"], row["attempts"], row["gap"], row["blocked_queries"]) == ("'-1+2", "", FELL, "")
    assert "epsilon" in row["noise"]
