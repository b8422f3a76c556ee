"""Files that are no list, or half of one: each is taken, or refused with counts, line numbers and a next step.

The same file goes to `authority check` and, signed, to a resolver: the authority's officer and the operator read the
same sentence, and neither reads a name.
"""

import re
from pathlib import Path

import pytest

from resolver.authority.check import check
from resolver.authority.repository import Refused
from resolver.config.config import List
from resolver.feed import facts
from tests.fakes.enforcer import Enforcer
from tests.journeys.cases.odd_lists import ROWS, Odd
from tests.journeys.test_file_life import Office, later


def told(data: bytes) -> str:
    """What `authority check` says of a file."""
    try:
        return "\n".join(check(data, "plain"))
    except Refused as error:
        return f"refused: {error}"


@pytest.mark.parametrize("odd", ROWS, ids=[row.what for row in ROWS])
def test_the_officer_reads_what_is_wrong_and_what_to_do(odd: Odd) -> None:
    said = told(odd.data)
    assert odd.said in said
    assert not re.search(r"\bn\d+\.test", said)
    if odd.taken:
        assert re.match(rf"{odd.taken} (entry|entries): ", said)
        assert (f"{odd.refused} line" in said) is bool(odd.refused)
    else:
        assert said.startswith("refused: ")


def test_every_refusal_of_lines_has_their_numbers_and_a_next_step() -> None:
    for row in ROWS:
        said = told(row.data)
        if not row.taken and "holds no entry:" not in said:
            assert ";" in said, said
            assert "line " in said or "it looks like" in said or "only exceptions" in said, said
    assert len(ROWS) >= 74


@pytest.mark.asyncio
@pytest.mark.usefixtures("in_this_process")
async def test_the_operator_reads_the_same_in_log_and_facts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    office = Office(tmp_path / "office")
    source = f'kind = "file"\nurl = "{office.list.as_uri()}"\nroot = "{office.pinned}"'
    serial = 0
    for odd in ROWS:
        if odd.taken or not odd.data:
            continue
        serial += 1
        resolver = Enforcer(None, tmp_path / f"state-{serial}", source=source)
        resolver.feed.recover()
        office.publish(odd.data, f"serial={serial} not-after={later(9)}")
        caplog.clear()
        await resolver.list.poll()
        assert resolver.enforced == "no list", odd.what
        (line,) = (one.getMessage() for one in caplog.records if "update failed" in one.getMessage())
        assert line.endswith("; no list is in force"), line
        theirs = told(odd.data).removeprefix("refused: ").partition(";")[0]
        assert theirs[:120] in line, (odd.what, line)
        assert not re.search(r"\bn\d+\.test", line)
        found = facts.with_live(facts.of_state(_list(resolver), resolver.list.state, 0), resolver.list)
        assert found.failed in line
        counted = re.search(r"no line of (\d+) is an entry", line)
        assert sum(found.newest_refused.values()) == (int(counted[1]) if counted else 0), odd.what


def _list(resolver: Enforcer) -> List:
    return resolver.list.list
