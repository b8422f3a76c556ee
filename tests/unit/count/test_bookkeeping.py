"""The ledger while serving: enforcement by looking, beats before they are shown, a disk that fails."""

from pathlib import Path

import pytest

from resolver.count.bookkeeping import Bookkeeping, ListNow
from resolver.count.ledger import Ledger, Total
from resolver.count.metrics import Series

QUERIES = Series("blocked_queries_total", ("demo",))
NOW = 1_800_000_000.0


class Lists:
    """What is in force, as a test says."""

    def __init__(self) -> None:
        self.enforced = True

    def __call__(self) -> list[ListNow]:
        return [ListNow("demo", 7, 9, self.enforced), ListNow("other", 0, 0, False)]


def books(folder: Path, lists: Lists, keep_s: float = 10**9) -> tuple[Ledger, Bookkeeping]:
    ledger = Ledger(folder / "ledger.sqlite", NOW)
    made = Bookkeeping(
        ledger, every_s=900, region="UK", subscribers=lambda: 3, lists=lists, keep_s=keep_s, now=NOW
    )
    return ledger, made


@pytest.mark.asyncio
async def test_seconds_of_enforcement_are_those_looked_at(tmp_path: Path) -> None:
    lists = Lists()
    ledger, made = books(tmp_path, lists)
    for minute in range(1, 11):
        lists.enforced = minute <= 6
        made.watch(NOW + 60 * minute)
    made.watch(NOW + 60 * 10 + 5000)
    lists.enforced = True
    made.watch(NOW + 60 * 10 + 10000)
    await made.keep(int(NOW) + 900, {QUERIES: Total(10, 2)})
    ((_, demo), (_, other)) = ledger.lists(0, NOW * 2)
    assert (demo.enforced_s, demo.serial, demo.entries) == (6 * 60 + 120, 7, 9)
    assert (other.enforced_s, other.serial) == (0, 0)
    await made.keep(int(NOW) + 1800, {QUERIES: Total(10, 2)})
    assert ledger.lists(NOW + 1800, NOW * 2)[0][1].enforced_s == 0


@pytest.mark.asyncio
async def test_beats_older_than_told_are_forgotten(tmp_path: Path) -> None:
    ledger, made = books(tmp_path, Lists(), keep_s=86400)
    for day in range(4):
        await made.keep(int(NOW) + 86400 * day, {QUERIES: Total(10 * day, 0)})
    assert [row[0] for row in ledger.beats(0, NOW * 2)] == [int(NOW) + 86400 * day for day in (2, 3)]


@pytest.mark.asyncio
async def test_a_disk_that_fails_is_told_once_and_holds_nothing_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger, made = books(tmp_path, Lists())
    path = tmp_path / "ledger.sqlite"
    kept = path.read_bytes()
    path.write_bytes(b"nothing of a database" * 999)
    for beat in (1, 2):
        await made.keep(int(NOW) + 900 * beat, {QUERIES: Total(10, beat)})
    assert len(caplog.messages) == 1
    assert not made.writable
    path.write_bytes(kept)
    made.leave({QUERIES: Total(10, 5)})
    assert made.writable
    assert ledger.totals()[QUERIES] == Total(10, 5)
