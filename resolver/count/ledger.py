"""The ledger: the published counts of each beat, with definition and lists; it outlives the process.

One SQLite file (WAL, STRICT tables):

    meta     format, and when the ledger began (unix seconds)
    series   an id for each series: metric and labels
    totals   for each series the total published, and its rest: what was counted beyond it at the last write
    beats    each beat, its definition, region and the subscribers covered
    changes  for each beat the published totals that had changed since the beat before
    lists    for each beat and list: serial, entries, and the seconds for which it was enforced
    noise    each figure that was drawn with noise for publication, as it was given out (resolver.count.report.noise)

Rules:
- A beat is one transaction, on the disk before its numbers are shown: after a crash at any moment a start continues
  from the last beat written, so that at most one beat is lost and nothing is counted twice.
- The rest is the only number that is finer than a beat. There is one for each series, without history: its old value
  is overwritten in the file too.
- Only totals are kept: a level (`cache_bytes`) means nothing over a month. For a mark (`attempts_saturated`) the total
  of its events is kept: it changes on the beats that carried the mark.
- Only series of the closed table are written; a series that no longer exists keeps its history.
- A count that an earlier release did not know has a change on its first beat, also if it is 0: the days before it are
  not known.
- Beats older than `keep` are removed whole; totals stay, and so do the figures with noise: they are a budget's record.
- An older ledger gets the table `noise` when it is opened; an earlier release does not look at it.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from resolver.count.definition import VERSION
from resolver.count.metrics import BOUNDED, NEW_ENTRIES, PREFIXES, Series

FORMAT: Final = 1
_LATER: Final = frozenset({BOUNDED, PREFIXES, NEW_ENTRIES})
BUSY_S: Final = 5.0

_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE series (
    id INTEGER PRIMARY KEY, metric TEXT NOT NULL, labels TEXT NOT NULL, UNIQUE (metric, labels)
) STRICT;
CREATE TABLE totals (series INTEGER PRIMARY KEY, published INTEGER NOT NULL, rest INTEGER NOT NULL) STRICT;
CREATE TABLE beats (
    at INTEGER PRIMARY KEY, every_s INTEGER NOT NULL, definition TEXT NOT NULL, region TEXT NOT NULL,
    subscribers INTEGER NOT NULL
) STRICT;
CREATE TABLE changes (
    at INTEGER NOT NULL, series INTEGER NOT NULL, total INTEGER NOT NULL, PRIMARY KEY (at, series)
) STRICT, WITHOUT ROWID;
CREATE TABLE lists (
    at INTEGER NOT NULL, list TEXT NOT NULL, serial INTEGER NOT NULL, entries INTEGER NOT NULL,
    enforced_s INTEGER NOT NULL, PRIMARY KEY (at, list)
) STRICT, WITHOUT ROWID;
"""

_NOISE: Final = """
CREATE TABLE IF NOT EXISTS noise (
    definition TEXT NOT NULL, source TEXT NOT NULL, region TEXT NOT NULL, list TEXT NOT NULL, first TEXT NOT NULL,
    last TEXT NOT NULL, epsilon INTEGER NOT NULL, sensitivity INTEGER NOT NULL, figure INTEGER NOT NULL,
    drawn INTEGER NOT NULL, PRIMARY KEY (definition, source, region, list, first, last, epsilon)
) STRICT, WITHOUT ROWID
"""


class LedgerUnusable(Exception):
    """The file cannot be read or written, or has another format; the text is one line."""


@dataclass(frozen=True, slots=True)
class Total:
    """One series: the total published, and the rest counted beyond it."""

    published: int
    rest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListBeat:
    """One list on one beat: serial and entries in force at its end, and how many of its seconds it was enforced."""

    list_id: str
    serial: int
    entries: int
    enforced_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One beat as it is written; `at` in unix seconds, `every_s` in seconds, totals by series."""

    at: int
    every_s: int
    region: str
    subscribers: int
    totals: Mapping[Series, Total]
    lists: tuple[ListBeat, ...] = ()


@dataclass(frozen=True, slots=True)
class Draw:
    """One figure with noise: what it counts, and the figure as it was given out, which may be negative.

    source: whose counts. first, last: its days (ISO). epsilon: in hundredths. drawn: when (unix seconds).
    """

    definition: str
    source: str
    region: str
    list_id: str
    first: str
    last: str
    epsilon: int
    sensitivity: int
    figure: int
    drawn: int

    @property
    def key(self) -> tuple[str | int, ...]:
        """Return what a figure is drawn for, once."""
        return self.definition, self.source, self.region, self.list_id, self.first, self.last, self.epsilon


class Ledger:
    """The ledger at `path`, made if it is missing; it then begins at `now` (unix seconds).

    Each call opens the file by itself, so that any thread may call. lasting: False for a disk that cannot be written
    now: what the file holds is read once, and it is made, if it must be, by the first write that succeeds.
    """

    def __init__(self, path: Path, now: float, *, lasting: bool = True) -> None:
        self._path = path
        self.began = int(now)
        self._found: dict[Series, Total] | None = None
        if lasting:
            self._prepare(now)
        else:
            self._found = self._read_only()

    def _prepare(self, now: float) -> None:
        with self._open() as database, _all_or_nothing(database):
            if not database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone():
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    database.execute(statement)
                database.executemany("INSERT INTO meta VALUES (?, ?)", (("format", FORMAT), ("began", int(now))))
            database.execute(_NOISE)
            found = dict(database.execute("SELECT key, value FROM meta"))
        if found.get("format") != FORMAT:
            raise LedgerUnusable(f"{self._path}: written by another release, in a format unknown to this one")
        self.began = found["began"]
        self._found = None

    def _read_only(self) -> dict[Series, Total]:
        """Return the totals without a write, which a journal of SQLite would need; none if that fails."""
        try:
            uri = f"{self._path.absolute().as_uri()}?immutable=1"
            with closing(sqlite3.connect(uri, uri=True)) as database:
                self.began = dict(database.execute("SELECT key, value FROM meta"))["began"]
                return _totals(database)
        except (sqlite3.Error, KeyError):
            return {}

    def totals(self) -> dict[Series, Total]:
        """Return the total of every series."""
        if self._found is not None:
            return self._found
        with self._open() as database:
            return _totals(database)

    def write(self, beat: Beat) -> None:
        """Write one beat, unless it is written already."""
        if self._found is not None:
            self._prepare(self.began)
        with self._open() as database, _all_or_nothing(database):
            made = database.execute(
                "INSERT OR IGNORE INTO beats VALUES (?, ?, ?, ?, ?)",
                (beat.at, beat.every_s, VERSION, beat.region, beat.subscribers),
            )
            if not made.rowcount:
                return
            before = dict(database.execute("SELECT series, published FROM totals"))
            numbers = _numbers(database, beat.totals)
            changed = [
                (beat.at, numbers[series], total.published)
                for series, total in beat.totals.items()
                if before.get(numbers[series], None if series.metric in _LATER else 0) != total.published
            ]
            database.executemany("INSERT INTO changes VALUES (?, ?, ?)", changed)
            database.executemany(
                "INSERT INTO lists VALUES (?, ?, ?, ?, ?)",
                ((beat.at, one.list_id, one.serial, one.entries, one.enforced_s) for one in beat.lists),
            )
            _set(database, numbers, beat.totals)

    def leave(self, totals: Mapping[Series, Total]) -> None:
        """Write totals and rests without a beat, at an orderly stop: nothing is lost, and nothing is published."""
        if self._found is not None:
            self._prepare(self.began)
        with self._open() as database, _all_or_nothing(database):
            _set(database, _numbers(database, totals), totals)

    def draws(self) -> list[Draw]:
        """Return every figure with noise that was ever given out."""
        with self._open() as database:
            return _draws(database)

    def draw(self, wanted: Sequence[Draw], check: Callable[[Sequence[Draw]], None]) -> dict[tuple[str | int, ...], int]:
        """Keep the figures that were not drawn before; return all that are wanted, by key, as they were first drawn.

        check: raises if these figures together are too many; then none is kept.
        """
        with self._open() as database, _all_or_nothing(database):
            known = {one.key: one for one in _draws(database)}
            new = [one for one in wanted if one.key not in known]
            if new:
                check([*known.values(), *new])
                database.executemany("INSERT INTO noise VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(astuple, new))
            known |= {one.key: one for one in new}
            return {one.key: known[one.key].figure for one in wanted}

    def forget(self, before: float) -> None:
        """Remove the beats before this moment (unix seconds).

        The total of each series at the last removed beat is kept as a change, so that differences still add up.
        """
        with self._open() as database, _all_or_nothing(database):
            last = database.execute("SELECT max(at) FROM beats WHERE at < ?", (int(before),)).fetchone()[0]
            if last is None:
                return
            database.execute(
                "INSERT OR REPLACE INTO changes SELECT ?, series, total FROM changes AS c WHERE at <= ? AND at = "
                "(SELECT max(at) FROM changes WHERE series = c.series AND at <= ?)",
                (last, last, last),
            )
            database.execute("DELETE FROM changes WHERE at < ?", (last,))
            database.execute("DELETE FROM lists WHERE at <= ?", (last,))
            database.execute("DELETE FROM beats WHERE at <= ?", (last,))

    def beats(self, first: float, last: float) -> list[tuple[int, int, str, str, int]]:
        """Return (at, every_s, definition, region, subscribers) of each beat from `first` to `last`, both included."""
        with self._open() as database:
            return database.execute(
                "SELECT at, every_s, definition, region, subscribers FROM beats WHERE at BETWEEN ? AND ? ORDER BY at",
                (int(first), int(last)),
            ).fetchall()

    def changes(self, metric: str, first: float, last: float) -> dict[Series, list[tuple[int, int]]]:
        """Return the changes of a metric, by series, as (at, total); the first is its total before `first`, if any."""
        found: dict[Series, list[tuple[int, int]]] = {}
        with self._open() as database:
            rows = database.execute(
                "SELECT labels, at, total FROM changes JOIN series ON series = id "
                "WHERE metric = ? AND at <= ? ORDER BY at",
                (metric, int(last)),
            )
            for labels, at, total in rows:
                history = found.setdefault(_series(metric, labels), [])
                if at < first:
                    history[:] = [(at, total)]
                else:
                    history.append((at, total))
        return found

    def lists(self, first: float, last: float) -> list[tuple[int, ListBeat]]:
        """Return (at, list) of each beat from `first` to `last`, both included."""
        with self._open() as database:
            rows = database.execute(
                "SELECT at, list, serial, entries, enforced_s FROM lists WHERE at BETWEEN ? AND ? ORDER BY at, list",
                (int(first), int(last)),
            )
            return [
                (at, ListBeat(list_id=name, serial=serial, entries=entries, enforced_s=enforced_s))
                for at, name, serial, entries, enforced_s in rows
            ]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)) as database:
                self._path.chmod(0o600)
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                database.execute("PRAGMA secure_delete = ON")
                yield database
        except sqlite3.Error as error:
            raise LedgerUnusable(f"{self._path}: {error}") from None


@contextmanager
def _all_or_nothing(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _totals(database: sqlite3.Connection) -> dict[Series, Total]:
    rows = database.execute("SELECT metric, labels, published, rest FROM totals JOIN series ON series = id")
    return {_series(metric, labels): Total(published, rest) for metric, labels, published, rest in rows}


def _draws(database: sqlite3.Connection) -> list[Draw]:
    # The columns of a draw, in their order.
    return [Draw(*row) for row in database.execute("SELECT * FROM noise ORDER BY first, last")]


def _series(metric: str, labels: str) -> Series:
    return Series(metric, tuple(json.loads(labels)))


def _numbers(database: sqlite3.Connection, wanted: Iterable[Series]) -> dict[Series, int]:
    """Return the id of every series, after giving one to each of `wanted` that has none."""
    database.executemany(
        "INSERT OR IGNORE INTO series (metric, labels) VALUES (?, ?)",
        ((series.metric, json.dumps(series.labels)) for series in wanted),
    )
    rows = database.execute("SELECT metric, labels, id FROM series")
    return {_series(metric, labels): number for metric, labels, number in rows}


def _set(database: sqlite3.Connection, numbers: Mapping[Series, int], totals: Mapping[Series, Total]) -> None:
    database.executemany(
        "INSERT OR REPLACE INTO totals VALUES (?, ?, ?)",
        ((numbers[series], total.published, total.rest) for series, total in totals.items()),
    )
