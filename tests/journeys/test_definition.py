"""What is counted, by the table that operators read: each row by the steps of a query, with both builds of the core.

Some rows are asked of a whole service, too: those that a minute of real time can hold.
"""

import secrets
from pathlib import Path

import pytest

from resolver.config.values import address_octets
from resolver.core import codes
from resolver.core.lane import Tables
from resolver.count import definition as printed
from tests.fakes.upstream import in_thread
from tests.journeys.cases import definition
from tests.journeys.cases.definition import ROWS, Ask, Row
from tests.journeys.processes import asked, honest
from tests.journeys.running import serve
from tests.parity import twin, wires
from tests.unit.core.seats import Core, Seats
from tests.unit.query import parts

LISTS = (definition.ENTRIES, (definition.THIRD,))
SYNTHETIC = "s" * 26 + ".selftest.invalid"
COUNTED = (codes.BLOCKED_QUERIES, codes.ATTEMPTS, codes.ATTEMPTS_CAPPED, codes.ATTEMPTS_SATURATED)


def in_force() -> Tables:
    """Both lists and one release; both spare the exempt client."""
    generation = parts.generation(1, LISTS, released=[[f"!{definition.RELEASED}"]])
    exempt = f"{definition.EXEMPT}/32"
    return parts.tables_of(generation, parts.access(exempt={0: exempt, 1: exempt}))


def counted(way: Seats) -> tuple[int, ...]:
    """Blocked queries, attempts, capped and saturated, over both lists."""
    return tuple(sum(way.counters[codes.list_counter(slot, one)] for slot in range(2)) for one in COUNTED)


def ask(way: Seats, asks: tuple[Ask, ...]) -> None:
    start = way.now
    for one in asks:
        way.now = start + one.at
        query = parts.query(one.name or SYNTHETIC, one.qtype)
        assert way.ask(query, address_octets(one.client)).question == query.question


@pytest.fixture
def way(core: Core) -> Seats:
    return Seats(core, in_force(), parts.says())


@pytest.mark.parametrize("row", ROWS, ids=[row.happens for row in ROWS])
def test_a_row_comes_to_what_it_says(row: Row, way: Seats) -> None:
    ask(way, row.asks)
    assert counted(way) == (row.queries, row.attempts, row.capped, 0)


def test_the_table_is_printed_where_operators_read() -> None:
    assert definition.in_readme() == definition.rendered()


def test_the_printed_text_says_the_numbers_of_the_table() -> None:
    tally = twin.load("tally")
    assert f"{tally.WINDOW_S} seconds" in printed.ATTEMPT
    for number, prefix in ((tally.CAP_AN_HOUR, "client"), (tally.CAP_OF_56, "/56"), (tally.CAP_OF_48, "/48")):
        assert f"{number} times per {prefix}" in printed.ATTEMPT
        assert f"{number} " in printed.CAVEAT
        assert f"{number} per " in printed.CAPS


def test_ten_thousand_behind_one_address_are_bounded_and_flagged(way: Seats) -> None:
    """A provider's NAT: whoever is behind it is one client, who counts 20 times an hour."""
    count, nat = way.core("tally").count, address_octets(definition.V4)
    for number in range(10_000):
        entry = wires.verdict(way.core, 0, number % 25, 7, 3)
        count(way.tally, way.tables.access, way.counters, entry, codes.TYPE_A, nat, number // 4, way.lane.scratch)
    queries, attempts, capped, saturated = counted(way)
    assert (queries, attempts, saturated) == (10_000, 20, 0)
    assert capped > 20 * attempts


def test_a_new_hour_counts_again_and_leaves_no_trace(way: Seats) -> None:
    row = next(row for row in ROWS if row.capped)
    ask(way, row.asks)
    way.core("tally").turn(way.tally, secrets.token_bytes(16))
    assert not any(way.tally.attempts)
    assert not any(way.tally.clients)
    way.now += 1
    ask(way, row.asks[:1])
    assert counted(way)[1] == row.attempts + 1


def test_a_full_table_is_told(core: Core) -> None:
    way = Seats(core, in_force(), tally_octets=64)
    ask(way, tuple(Ask(0, client=f"192.0.2.{number}") for number in range(20, 40)))
    queries, attempts, _, saturated = counted(way)
    assert (queries, attempts, saturated) == (20, 8, 12)


def fits_a_service(row: Row) -> bool:
    """Over within a moment, over IPv4, by one list that spares nobody."""
    return all(
        one.at <= 2 and "." in one.client and one.client != definition.EXEMPT
        and one.name in (*definition.ENTRIES, definition.BELOW) and one.name != definition.RELEASED
        for one in row.asks
    )  # fmt: skip


def test_a_whole_service_counts_by_the_same_rows(tmp_path: Path) -> None:
    """One after the other: a row's clients are its own, so that no row opens a window of another's."""
    rows = [row for row in ROWS if fits_a_service(row)]
    assert len(rows) > 5
    with (
        in_thread(honest) as upstream,
        serve(tmp_path, upstreams=[upstream.address], entries=definition.ENTRIES) as one,
    ):
        for number, row in enumerate(rows):
            for ask in row.asks:
                asked(one.dns, ask.name, ask.qtype, source=f"127.0.{number + 10}.{ask.client.rpartition('.')[2]}")
        expected = {
            "blocked_queries_total": sum(row.queries for row in rows),
            "blocked_attempts_total": sum(row.attempts for row in rows),
            "attempts_capped_total": sum(row.capped for row in rows),
        }
        one.until("/metrics", lambda body: {name: one.metric(name, body) for name in expected} == expected)
