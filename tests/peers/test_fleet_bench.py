"""The bench of a fleet with a dozen nodes: all that is real of it works, and it says what it measures."""

import os
import re
from collections.abc import Callable

import pytest

from tests.bench import fleet
from tests.peers import hosts


@pytest.mark.timeout(900)
def test_a_dozen_nodes_pull_report_and_are_measured(
    program: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in fleet.NEEDED:
        program(name)
    os.close(hosts.new_network())
    status = fleet.main(["9", "--names", "50", "--poll", "2", "--seconds", "4"])
    said = capsys.readouterr().out
    print(said)
    last = re.search(r"on the last ([\d.]+) s", said)
    assert last
    # Its bar is of the clock: a machine that has no time for a dozen nodes misses it, and is told so.
    assert status == (float(last[1]) > fleet.LAST_S)
    assert "serial 2 is reported in force by 12 of 12 hosts" in said
    # One that fails on a busy machine is done again.
    assert re.search(r"receipts: 24 files; polls or posts that failed: \d+", said)
    for title in ("the first pull", "nothing changes", "the change"):
        found = re.search(rf"(?m)^{title}: .*, ([\d,]+) polls", said)
        assert found, title
        assert int(found[1].replace(",", "")) >= 9
    for part in ("compile host", "nginx", "receive", "simulated nodes"):
        assert len(re.findall(rf"(?m)^  {part} .*us a poll$", said)) == 3, part
    assert re.search(r"nginx sends +[\d,]+ octets, +[1-9][\d,]* a poll", said)
