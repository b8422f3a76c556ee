"""Serials, and what else happened, as rows: who did what, what went wrong first, and what had no room is counted."""

from resolver.evidence import summary_events, summary_rows
from resolver.evidence.bundle import Bundle
from tests.unit.evidence.crowded import crowded


def test_serials_have_their_times_and_deadlines(of_april: Bundle) -> None:
    rows, left = summary_events.spans(of_april)
    assert left == 0
    assert rows[3] == (
        "demo",
        "12",
        "2025-04-07 08:00",
        "2025-04-09 08:00",
        "2025-04-13 07:00",
        "superseded by serial 13",
        "missed by 24.0 h",
    )
    assert rows[-1][-3:] == ("still", "-", "-")


def test_what_happened_says_who_and_what_went_wrong_comes_first(of_april: Bundle) -> None:
    rows, left = summary_events.events(of_april)
    said = [row[2] for row in rows]
    assert (len(rows), left) == (10, 1)
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert "deadline of serial 12 missed: in force 24.0 h later" in said
    assert "serial 14 failed its self-test (digests) and was not left in force" in said
    assert any(one.endswith("not confirmed by a signature") for one in said)
    assert any(
        "suspended by the breaker until 2025-04-14 09:10; resumed by anna (SHA256:AAAAAAAA…) and ben" in one
        for one in said
    )
    assert any(one.startswith("serial 13 taken out by anna (SHA256:AAAAAAAA…) and ben") for one in said)
    assert any("held (growth, refused); accepted 2025-04-13 07:00 by anna" in one for one in said)
    assert not any("list is blocked" in one for one in said)


def test_what_has_no_room_is_counted(of_april: Bundle) -> None:
    full = crowded(of_april)
    found, left = summary_events.spans(full)
    assert (len(found), left) == (6, 12 * 4 * 5 - 6)
    found, left = summary_events.events(full)
    lines = [1 + len(row[2]) // (summary_events.LINE - 32) for row in found]
    assert summary_events.MOST_LINES - 3 <= sum(lines) <= summary_events.MOST_LINES
    assert left > 50
    assert max(len(row[2]) for row in found) <= summary_rows.MOST_LETTERS
