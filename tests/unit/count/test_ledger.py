"""The ledger: a beat is written whole or not at all, and a start goes on from it."""

import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from resolver.count.ledger import Beat, Draw, Ledger, LedgerUnusable, ListBeat, Total
from resolver.count.metrics import Series

QUERIES = Series("blocked_queries_total", ("demo",))
VIEWS = Series("page_views_total")
NOW = 1_800_000_000


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite", NOW)


def beat(number: int, queries: int, rest: int = 0, lists: tuple[ListBeat, ...] = ()) -> Beat:
    totals = {QUERIES: Total(queries, rest), VIEWS: Total(0, 0)}
    return Beat(at=NOW + 900 * number, every_s=900, region="UK", subscribers=5, totals=totals, lists=lists)


def test_a_start_goes_on_where_the_last_beat_was(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write(beat(1, 10, 3))
    ledger.write(beat(2, 30, 4))
    again = Ledger(tmp_path / "ledger.sqlite", NOW + 10**6)
    assert again.totals()[QUERIES] == Total(30, 4)
    assert again.began == NOW
    assert (tmp_path / "ledger.sqlite").stat().st_mode & 0o777 == 0o600


def test_the_same_beat_is_not_written_twice(ledger: Ledger) -> None:
    ledger.write(beat(1, 10, 3))
    ledger.write(beat(1, 20, 9))
    assert ledger.totals()[QUERIES] == Total(10, 3)
    assert ledger.beats(0, NOW * 2) == [(NOW + 900, 900, "v2", "UK", 5)]


def test_only_what_changed_is_written(ledger: Ledger) -> None:
    for number, queries in enumerate((0, 10, 10, 20), 1):
        ledger.write(beat(number, queries))
    course = {QUERIES: [(NOW + 1800, 10), (NOW + 3600, 20)]}
    assert ledger.changes("blocked_queries_total", NOW, NOW + 9000) == course
    assert ledger.changes("blocked_queries_total", NOW + 2000, NOW + 9000) == course
    assert ledger.changes("page_views_total", NOW, NOW + 9000) == {}


def test_a_rest_that_is_over_is_nowhere_in_the_files(ledger: Ledger, tmp_path: Path) -> None:
    rests = [0x5A5B5C00 + number for number in range(8)]
    for number, rest in enumerate(rests):
        ledger.write(beat(number, 10 * number, rest))
        assert rest.to_bytes(4, "big") in (tmp_path / "ledger.sqlite").read_bytes()
        # A small one leaves room beside it, in which the one before would stay.
        ledger.leave({QUERIES: Total(10 * number, 3)})
    octets = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not any(rest.to_bytes(4, "big") in octets for rest in rests)


def test_rests_alone_are_left_at_a_stop(ledger: Ledger) -> None:
    ledger.write(beat(1, 10, 3))
    ledger.leave({QUERIES: Total(10, 7)})
    assert ledger.totals()[QUERIES] == Total(10, 7)
    assert len(ledger.beats(0, NOW * 2)) == 1


def test_old_beats_go_and_differences_still_add_up(ledger: Ledger) -> None:
    one = ListBeat(list_id="demo", serial=7, entries=9, enforced_s=900)
    for number in range(1, 9):
        ledger.write(beat(number, 10 * number, lists=(one,)))
    ledger.forget(NOW + 900 * 5)
    assert [row[0] for row in ledger.beats(0, NOW * 2)] == [NOW + 900 * number for number in range(5, 9)]
    course = ledger.changes("blocked_queries_total", NOW + 900 * 5, NOW * 2)[QUERIES]
    assert course[0] == (NOW + 900 * 4, 40)
    assert course[-1][1] - course[0][1] == 40
    assert ledger.lists(0, NOW * 2) == [(NOW + 900 * number, one) for number in range(5, 9)]
    assert ledger.totals()[QUERIES].published == 80
    ledger.forget(0)


def test_a_file_of_another_kind_is_told(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(LedgerUnusable, match="not a database"):
        Ledger(tmp_path / "ledger.sqlite", NOW)


def test_a_ledger_of_another_format_is_told(ledger: Ledger, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as database:
        database.execute("UPDATE meta SET value = 2 WHERE key = 'format'")
    database.close()
    with pytest.raises(LedgerUnusable, match="another release"):
        Ledger(tmp_path / "ledger.sqlite", NOW)


# Imports nothing of the tests: what they import takes longer than to be killed.
_COUNTING = """
import sys
from dataclasses import replace
from pathlib import Path
from resolver.count.ledger import Beat, Ledger, Total
from resolver.count.metrics import Series
now, queries = int(sys.argv[2]), Series(sys.argv[3], (sys.argv[4],))
ledger = Ledger(Path(sys.argv[1]), now)
total = ledger.totals().get(queries, Total(0, 0))
happened = total.published + total.rest
number = len(ledger.beats(0, 2 * now))
while True:
    happened += 7
    number += 1
    totals = {queries: Total(happened // 10 * 10, happened % 10)}
    ledger.write(Beat(at=now + 900 * number, every_s=900, region="UK", subscribers=5, totals=totals))
    print(happened, flush=True)
"""


def counted_until_killed(path: Path, lines: int) -> list[int]:
    """What a process that counts into the ledger has said until its end, after so many lines of it."""
    words = [sys.executable, "-c", _COUNTING, str(path), str(NOW), QUERIES.metric, *QUERIES.labels]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as process:
        assert process.stdout is not None
        try:
            said = [int(process.stdout.readline()) for _ in range(lines)]
        finally:
            process.kill()
        return said + [int(line) for line in process.stdout.read().splitlines()]


@pytest.mark.timeout(300)  # twenty starts of Python, which a busy machine stretches
def test_killed_at_any_moment_it_loses_at_most_one_beat_and_counts_nothing_twice(tmp_path: Path) -> None:
    path, before = tmp_path / "ledger.sqlite", 0
    for number in range(20):
        said = counted_until_killed(path, 1 + number % 5)
        assert said[0] == before + 7
        total = Ledger(path, NOW).totals()[QUERIES]
        before = total.published + total.rest
        assert before in (said[-1], said[-1] + 7)


def test_a_ledger_on_a_full_disk_is_read_and_written_once_it_can_be(tmp_path: Path) -> None:
    series, path = Series("answers_total", ("NOERROR",)), tmp_path / "ledger.sqlite"
    Ledger(path, 100.0).leave({series: Total(10, 3)})
    ledger = Ledger(path, 200.0, lasting=False)
    assert (ledger.began, ledger.totals()) == (100, {series: Total(10, 3)})
    ledger.leave({series: Total(20, 0)})
    assert ledger.totals() == {series: Total(20, 0)}
    new = Ledger(tmp_path / "new.sqlite", 300.0, lasting=False)
    assert (new.began, new.totals()) == (300, {})
    new.write(Beat(at=900, every_s=900, region="", subscribers=0, totals={series: Total(20, 0)}))
    assert Ledger(tmp_path / "new.sqlite", 400.0).began == 300


def figure(day: str, number: int) -> Draw:
    return Draw("v2", "host", "UK", "demo", day, day, 50, 480, number, NOW)


def test_a_figure_with_noise_is_drawn_once(ledger: Ledger) -> None:
    first, second = figure("2026-01-01", -5), figure("2026-01-02", 7)
    asked: list[list[Draw]] = []
    assert ledger.draw([first], lambda draws: asked.append(list(draws))) == {first.key: -5}
    again = ledger.draw([replace(first, figure=9), second], lambda draws: asked.append(list(draws)))
    assert again == {first.key: -5, second.key: 7}
    assert asked == [[first], [first, second]]
    assert ledger.draws() == [first, second]
    ledger.draw([first], lambda _: pytest.fail("nothing is new"))


def test_what_the_budget_refuses_is_not_kept(ledger: Ledger) -> None:
    def refuse(draws: Sequence[Draw]) -> None:
        raise ArithmeticError(len(draws))

    with pytest.raises(ArithmeticError, match="2"):
        ledger.draw([figure("2026-01-01", 1), figure("2026-01-02", 1)], refuse)
    assert ledger.draws() == []


def test_figures_stay_when_old_beats_go(ledger: Ledger) -> None:
    ledger.draw([figure("2026-01-01", 1)], lambda _: None)
    ledger.forget(NOW * 2)
    assert len(ledger.draws()) == 1


def test_a_ledger_of_before_there_was_noise_is_read_and_gets_its_table(ledger: Ledger, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as database:
        database.execute("DROP TABLE noise")
    database.close()
    assert Ledger(tmp_path / "ledger.sqlite", NOW).draws() == []


def test_what_an_earlier_release_did_not_count_is_known_from_its_first_beat_on(ledger: Ledger) -> None:
    bounded = Series("blocked_attempts_bounded_total", ("demo",))
    for number in range(3):
        totals = {QUERIES: Total(0, 0), VIEWS: Total(0, 0)} | ({bounded: Total(0, 4)} if number else {})
        ledger.write(Beat(at=NOW + 900 * number, every_s=900, region="UK", subscribers=5, totals=totals))
    assert ledger.changes(bounded.metric, NOW, NOW + 9000) == {bounded: [(NOW + 900, 0)]}
    assert ledger.changes(QUERIES.metric, NOW, NOW + 9000) == {}
