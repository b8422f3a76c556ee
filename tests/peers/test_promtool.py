"""promtool, Prometheus' own check of what an exporter shows, and of the alarms that deploy/README.md sets on it."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import pytest
from prometheus_client import generate_latest

from resolver.count.exporter import Exporter
from resolver.count.metrics import METRICS, PREFIX, Sample, of_beat
from resolver.count.publish import Published
from tests.unit.count.labels import LABELS

README = Path(__file__).parents[2] / "deploy" / "README.md"

SERIES = {
    'enforcing{instance="a"}': ("1x60", "0x60"),
    'feed_last_success_timestamp_seconds{instance="a",list="one"}': ("0+60x60", "0x60"),
    'feed_failures_total{instance="a",list="one",reason="tampered"}': ("3x60", "0x30 1x30"),
    'list_held{instance="a",list="one"}': ("0x60", "1x60"),
    'list_expiry_timestamp_seconds{instance="a",list="one"}': ("1000000x60", "100000x60"),
    'upstream_up{instance="a",upstream="192.0.2.1:53"}': ("1x60", "0x60"),
    'failed_answers_total{instance="a",reason="upstream"}': ("0+1x60", "0+30x60"),
    'queries_total{instance="a",transport="udp"}': ("0+500x60", "0+500x60"),
    'queries_total{instance="a",transport="tcp"}': ("0+100x60", "0+100x60"),
    'packets_dropped_total{instance="a",reason="rate_limit"}': ("0+60x60", "0+60000x60"),
    'config_reload_success{instance="a"}': ("1x60", "0x60"),
}
"""What an hour looks like, a sample a minute: when all is well, and when nothing is."""


def alarms() -> list[str]:
    """Every expression in the first column of the table of alarms."""
    table = README.read_text().partition("**Alarms to set**")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ((?:[^|\\]|\\.)*?) \|", table, re.MULTILINE)
    words = [one.replace("\\|", "|") for row in rows for one in re.findall(r"`([^`]+)`", row)]
    return [one for one in words if re.search(r"[<>=] ", one)]


def everything() -> Exporter:
    """An exporter that shows every series there can be."""
    published = Published(1_800_000_000, MappingProxyType(dict.fromkeys(of_beat(LABELS), 10)))
    live = [
        Sample(metric.name, values, 1)
        for metric in METRICS
        if metric.leaves == "live"
        for values in metric.combinations(LABELS)
    ]
    return Exporter(LABELS, published=lambda: published, read_live=lambda: live, ready=lambda: True)


def check(promtool: str, text: bytes) -> tuple[int, str]:
    """Exit code and findings of `promtool check metrics`."""
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False, timeout=30)
    return done.returncode, (done.stdout + done.stderr).decode()


def test_promtool_finds_nothing_to_say(program: Callable[[str], str]) -> None:
    text = generate_latest(everything().registry)
    assert text.count(b"# TYPE ") == len(METRICS)
    assert check(program("promtool"), text) == (0, "")


def test_promtool_would_say_so(program: Callable[[str], str]) -> None:
    name = PREFIX + "lists"
    code, findings = check(program("promtool"), f"# TYPE {name} counter\n{name} 1\n".encode())
    assert code != 0
    assert name in findings


@pytest.mark.parametrize("wrong", [False, True], ids=["well", "wrong"])
def test_each_alarm_goes_off_when_it_should_and_only_then(
    wrong: bool, program: Callable[[str], str], tmp_path: Path
) -> None:
    names = re.compile(rf"\b(?:{'|'.join(one.name for one in METRICS)})\b")
    assert len(alarms()) >= 10
    tests = {
        "interval": "1m",
        "input_series": [{"series": f"{PREFIX}{name}", "values": values[wrong]} for name, values in SERIES.items()],
        "promql_expr_test": [
            {
                "expr": f"count({names.sub(lambda found: PREFIX + found[0], one)})",
                "eval_time": "1h",
                "exp_samples": [{"labels": "{}", "value": 1}] if wrong else [],
            }
            for one in alarms()
        ],
    }
    path = tmp_path / "alarms.json"
    path.write_text(json.dumps({"evaluation_interval": "1m", "tests": [tests]}))
    done = subprocess.run(
        [program("promtool"), "test", "rules", str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
