"""VictoriaMetrics answers `report --prometheus` as Prometheus does: the made-up spring in it is that of the ledgers."""

import csv
import io
import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from resolver.cli import main
from resolver.count.report import report
from resolver.count.report.prometheus import Server
from tests.journeys.processes import wait_for
from tests.journeys.running import free_ports
from tests.unit.count import spring

pytestmark = pytest.mark.timeout(300)

replay = spring.replay
SAMPLE = re.compile(r"^([^#\s].*) (\S+) (\d+)$", re.MULTILINE)
PATIENCE_S = 60.0


def lines() -> bytes:
    """The spring in Prometheus' text format, whose moments are milliseconds."""
    out = io.StringIO()
    replay.write(out)
    return SAMPLE.sub(r"\1 \2 \g<3>000", out.getvalue()).encode()


@pytest.fixture(scope="module")
def server(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a VictoriaMetrics on loopback with the spring in it."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [program("victoria-metrics"), "-storageDataPath", tmp_path_factory.mktemp("victoria") / "data"]
    # Its standard is to forget what is older than a month.
    command += ["-retentionPeriod", "100y", "-httpListenAddr", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: healthy(url), "VictoriaMetrics answers", PATIENCE_S)
        put = urllib.request.Request(f"{url}/api/v1/import/prometheus", data=lines(), method="POST")
        urllib.request.urlopen(put, timeout=120).close()
        urllib.request.urlopen(f"{url}/internal/force_flush", timeout=60).close()
        yield url
    finally:
        process.terminate()
        process.wait()


def healthy(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5) as reply:
        return bool(reply.status == 200)
    return False


def test_its_report_is_that_of_the_ledgers(server: str, tmp_path: Path) -> None:
    of_ledgers = spring.whole(tmp_path)
    of_fleet = report.of_fleet(Server(server).ask, replay.FIRST, replay.LAST)
    # The day before the first value is one without a beginning to a server.
    whole = {place: {day: one for day, one in days.items() if day >= replay.FIRST} for place, days in of_fleet.items()}
    assert whole == of_ledgers
    told = spring.told(of_fleet)
    assert told == spring.told(of_ledgers)
    assert {str(one.surges[0].peak.day) for one in told.places} == {"2020-03-30", "2020-04-06", "2020-04-14"}


def test_the_command_says_the_same_of_it(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["report", "--prometheus", server, "--from", "2020-03-01", "--to", "2020-04-30", "--by", "region"]
    assert main.main([*words, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    days = [day for day in replay.days() if day.month in (3, 4)]
    assert len(rows) == len(days) * len(replay.REGIONS)
    found = {(row["region"], row["day"]): int(row["attempts"]) for row in rows}
    assert found == {(region.name, str(day)): region.attempts(day) for region in replay.REGIONS for day in days}
