"""promtool, Prometheus' own check of what an exporter shows."""

import subprocess
from collections.abc import Callable
from types import MappingProxyType

from prometheus_client import generate_latest

from resolver.count.exporter import Exporter
from resolver.count.metrics import METRICS, PREFIX, Sample, of_beat
from resolver.count.publish import Published
from tests.unit.count.labels import LABELS


def everything() -> Exporter:
    """An exporter that shows every series there can be."""
    published = Published(1_800_000_000, MappingProxyType(dict.fromkeys(of_beat(LABELS), 10)))
    live = [
        Sample(metric.name, values, 1)
        for metric in METRICS
        if metric.leaves == "live"
        for values in metric.combinations(LABELS)
    ]
    return Exporter(LABELS, published=lambda: published, read_live=lambda: live, unready=lambda: "")


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
