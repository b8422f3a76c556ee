"""promtool on what deploy/mixin makes: sound, and each alert goes off in its cluster, and only for the selected job."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.grafana.mixin import evaluated
from tests.peers.test_prometheus_rules import ALERTS, SERIES, named, run

SETTINGS = {"selector": 'job="dns"', "doctorSelector": 'job="dns"', "clusterLabel": "cluster", "runbookBase": "https://wiki.example.net/dns"}


def test_each_alert_goes_off_in_its_cluster(program: Callable[[str], str], tmp_path: Path) -> None:
    """As the alerts of the file do, with two labels more; the other job has the same trouble and nobody hears of it."""
    mixin = evaluated(**SETTINGS)
    files = []
    for name in ("alerts", "rules"):
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(mixin[name]))
    checked = subprocess.run(
        [program("promtool"), "check", "rules", *files], capture_output=True, text=True, check=False, timeout=30
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    series, asked = [], []
    for name, courses in SERIES.items():
        recorded = name == "AttemptsSurge"
        for one, (_, wrong) in courses.items():
            for job in ("dns",) if recorded else ("dns", "another"):
                labelled = named(one, name).replace('job="blocklist-resolver"', "").replace(",}", "}")
                more = "" if recorded else f',job="{job}",cluster="north"'
                series.append({"series": labelled.replace("}", more + "}"), "values": wrong})
        minutes = 239 if any("x240" in one or "x180" in one for pair in courses.values() for one in pair) else 115
        where = "" if recorded else f',cluster="north",instance="{name}"'
        count = f'count(ALERTS{{alertname="Blocklist{name}",alertstate="firing"{where}}})'
        asked.append({"expr": count, "eval_time": f"{minutes}m", "exp_samples": [{"labels": "{}", "value": 1}]})
    assert len(asked) == len(ALERTS)
    tests = [{"interval": "1m", "input_series": series, "promql_expr_test": asked}]
    run(program("promtool"), tmp_path, map(str, files[:1]), tests)
