"""The table of field cases: what was reported of other resolvers, asked of a whole process with either core.

The rows stand in field/rows_*.py, each with its source, what we said before, and what has to come now; tests/FIELD.md
is made of them. They are asked over UDP and over TCP. What needs a configuration of its own is played by
test_field_scenes.py.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.fakes.octets import OctetsUpstream, in_thread
from tests.journeys import test_field_scenes
from tests.journeys.field import asking, scenes, table
from tests.journeys.field.rows import TCP, UDP, Row
from tests.journeys.running import CORES, Core, Service, serve

TAGS = (UDP, TCP)
START_S = 90.0


@pytest.fixture(scope="module", params=CORES)
def build(request: pytest.FixtureRequest) -> Core:
    built: Core = request.param
    return built


@pytest.fixture(scope="module")
def upstream(build: Core) -> Iterator[OctetsUpstream]:
    """One for each core: what a name was answered before is its own affair."""
    with in_thread(asking.Script(TAGS)) as running:
        yield running


@pytest.fixture(scope="module")
def service(
    upstream: OctetsUpstream, build: Core, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("field")
    with serve(folder, upstreams=[upstream.address], entries=asking.entries(TAGS), core=build, seconds=START_S) as one:
        yield one
        assert "event loop" not in one.said
        assert "Traceback" not in one.said


@pytest.mark.parametrize("row", table.ROWS, ids=lambda row: row.case)
def test_row(row: Row, service: Service, upstream: OctetsUpstream) -> None:
    ways = {over: partial(asking.answer_to, service.dns, over=over) for over in row.over}
    asking.play(row, ways, upstream)


def test_the_table_says_what_rows_and_scenes_say() -> None:
    assert table.printed() == table.rendered(), "python -m tests.journeys.field.table writes it"
    cases = [one.case for one in table.ALL]
    assert len(set(cases)) == len(cases)
    assert all(one.source and one.comes and one.before for one in table.ALL)


def test_every_reported_case_is_in_the_table() -> None:
    kinds = {re.sub(r"(?<=\d)[a-z-].*", "", one.case) for one in table.ALL}
    assert kinds == {*map(str, range(1, 28)), "F2", "F3", "F5"}


def test_every_scene_is_played() -> None:
    tests = {one.test for one in scenes.SCENES if "/" not in one.test}
    assert tests == {name for name in vars(test_field_scenes) if name.startswith("test_")}
    assert all((Path(__file__).parents[1] / one.test).exists() for one in scenes.SCENES if "/" in one.test)
