"""The dashboards of deploy/grafana: made by make.py as they stand, and every expression asks for what is exported."""

import importlib.util
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from resolver.count.metrics import EXCHANGE, METRICS, PREFIX, Labels
from resolver.feed.reasons import Reason, Refusal, SetAside
from resolver.query.forward import FAILURE_REASONS
from tests.unit.count import spring

DEPLOY = Path(__file__).parents[1] / "deploy"
FOLDER = DEPLOY / "grafana" / "dashboards"
NAMES = ("blocking", "lists", "service")
PANELS = [
    (f"{name}: {panel['title']}", panel)
    for name in NAMES
    for panel in json.loads((FOLDER / f"{name}.json").read_text())["panels"]
]
RECORDED = {
    rule["record"]
    for group in yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
}
ON_THE_BEAT = {PREFIX + one.name for one in METRICS if one.leaves == "beat"} | {f"{PREFIX}{EXCHANGE}_bucket"}
LIVE = {PREFIX + one.name for one in METRICS if one.leaves == "live"}
MINUTES = {"s": 1 / 60, "m": 1, "h": 60, "d": 1440, "w": 10080}


def asked(panel: dict[str, Any]) -> set[str]:
    """The names of the series that a panel asks for."""
    text = " ".join(target["expr"] for target in panel["targets"])
    return set(re.findall(rf"(?:\w+:)?{PREFIX}[\w:]+", text))


def test_the_files_are_what_make_makes(tmp_path: Path) -> None:
    if importlib.util.find_spec("grafana_foundation_sdk") is None:
        pytest.skip("grafana-foundation-sdk is not installed: the extras `test` and `dashboards` hold it")
    subprocess.run([sys.executable, DEPLOY / "grafana" / "make.py", "--out", tmp_path], check=True, timeout=50)
    assert sorted(one.stem for one in FOLDER.iterdir()) == sorted(one.stem for one in tmp_path.iterdir()) == [*NAMES]
    for name in NAMES:
        assert (FOLDER / f"{name}.json").read_text() == (tmp_path / f"{name}.json").read_text(), "run make.py"


def test_a_panel_says_what_it_shows() -> None:
    for title, panel in PANELS:
        assert panel["description"], title
        assert panel["fieldConfig"]["defaults"]["unit"], title
        assert panel["fieldConfig"]["defaults"]["noValue"], title
        assert panel["targets"], title
        assert all(target["legendFormat"] for target in panel["targets"]), title


def test_an_expression_is_one_and_asks_for_what_is_there() -> None:
    for title, panel in PANELS:
        for target in panel["targets"]:
            promql_parser.parse(target["expr"].replace("$__range", "30d"))
        assert asked(panel), title
        assert asked(panel) <= ON_THE_BEAT | LIVE | RECORDED, title


def test_no_count_of_blocks_is_looked_at_below_its_beat() -> None:
    counted = 0
    for title, panel in PANELS:
        if not asked(panel) & (ON_THE_BEAT | RECORDED) - {"instance_region:blocklist_resolver_info:max1d"}:
            continue
        counted += 1
        assert panel["interval"] == "15m", title
        for target in panel["targets"]:
            assert target["interval"] == "15m", title
            assert "$__interval" not in target["expr"], title
            assert "$__rate_interval" not in target["expr"], title
            for number, unit in re.findall(r"\[(\d+)([smhdw])\]", target["expr"]):
                assert int(number) * MINUTES[unit] >= 30, title
    assert counted > 10


def test_every_metric_of_a_list_or_a_service_is_shown_somewhere() -> None:
    shown = set().union(*(asked(panel) for _, panel in PANELS))
    through_rules = {f"{PREFIX}blocked_queries_total", f"{PREFIX}upstream_exchange_seconds"}
    assert (ON_THE_BEAT | LIVE) - shown <= through_rules


def test_what_is_provisioned_fits_together() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == scrape
    (provider,) = yaml.safe_load((folder / "dashboards" / "blocklist-resolver.yml").read_text())["providers"]
    assert provider["type"] == "file"
    assert len({json.loads((FOLDER / f"{name}.json").read_text())["uid"] for name in NAMES}) == len(NAMES)


def test_the_replay_is_synthetic_throughout_and_tells_nothing_but_what_is_exported() -> None:
    replay = spring.replay
    labels = Labels(
        version="0",
        engine="replay",
        region="",
        lists=(replay.LIST,),
        upstreams=replay.UPSTREAMS,
        feed_failures=tuple(Reason),
        entries_refused=tuple(Refusal),
        entries_set_aside=tuple(SetAside),
        upstream_failures=FAILURE_REASONS,
    )
    exported = {
        (one.name.removesuffix("_total"), one.kind, ",".join(f'{a}="{b}"' for a, b in zip(names, values, strict=True)))
        for one in METRICS
        for names in (one.label_names,)
        for values in one.combinations(labels)
    }
    live = ((name, "counter", label, value) for name, label, value in replay.LIVE)
    rows = [*replay.whole(), *replay.lists(), *replay.service(), *live]
    assert {(name, kind, label) for name, kind, label, _ in rows} <= exported
    assert all("made-up" in region.name for region in replay.REGIONS)
    written = io.StringIO()
    replay.head(written, "x", "gauge")
    assert written.getvalue().startswith("# HELP blocklist_resolver_x SYNTHETIC: made up")
