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
from resolver.query.edge_frames import REFUSALS
from resolver.query.forward import FAILURE_REASONS
from tests.unit.count import spring

DEPLOY = Path(__file__).parents[1] / "deploy"
FOLDER = DEPLOY / "grafana" / "dashboards"
NAMES = ("blocking", "lists", "overview", "service")
BOARDS = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in NAMES}
PANELS = [
    (f"{name}: {panel['title']}", panel)
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
NOT_OURS = {"ALERTS", "blocklist_national_attempts"}
"""What Prometheus itself says of the alerts, and what `national sum --metrics` writes."""

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
    return set(re.findall(rf"(?:\w+:)?{PREFIX}[\w:]+|\b(?:{'|'.join(NOT_OURS)})\b", text))


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
        assert asked(panel) <= ON_THE_BEAT | LIVE | RECORDED | NOT_OURS, title


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
    assert len({board["uid"] for board in BOARDS.values()}) == len(NAMES)


def test_a_panel_leads_to_its_section_of_the_runbook_and_a_dashboard_to_the_others() -> None:
    page = (DEPLOY / "monitoring.md").read_text()
    sections = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    }
    for title, panel in PANELS:
        (link,) = panel["links"]
        base, _, section = link["url"].partition("#")
        assert (base, section in sections) == ("${runbooks}", True), title
    base = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["global"]["external_labels"]
    for name, board in BOARDS.items():
        (constant,) = (one for one in board["templating"]["list"] if one["type"] == "constant")
        assert (constant["name"], constant["query"]) == ("runbooks", base["blocklist_runbooks"]), name
        assert [one["type"] for one in board["links"]] == ["dashboards", "link"], name
        assert set(board["links"][0]["tags"]) <= set(board["tags"]), name


def test_rows_lead_and_no_two_panels_lie_on_each_other() -> None:
    for name, board in BOARDS.items():
        assert board["panels"][0]["type"] == "row", name
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert max(x for x, _ in cells) < 24, (name, panel["title"])
            assert not cells & taken, (name, panel["title"])
            taken |= cells


def steps(panel: dict[str, Any]) -> list[tuple[float | None, str]]:
    """Colours by value, from the lowest on."""
    return [(one.get("value"), one["color"]) for one in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]


def test_a_colour_changes_where_the_alert_fires() -> None:
    found = {title: steps(panel) for title, panel in PANELS}
    assert found["overview: Enforcing"] == [(None, "red"), (1, "green")]
    assert found["overview: Busiest core"] == [(None, "green"), (0.5, "orange")]
    assert found["overview: Next legal deadline"] == [(None, "red"), (4 * 3600, "green")]
    assert found["lists: Until the hard limit"] == [(None, "orange"), (3 * 86400, "green")]
    assert found["blocking: Ratio to the baseline"] == [(None, "green"), (2, "blue")]
    colours = {"critical": "red", "warning": "orange", "info": "blue"}
    limited = 0
    for title, panel in PANELS:
        section = panel["links"][0]["url"].partition("#")[2]
        alert = next((rule for name, rule in ALERTS.items() if name.lower() == section), None)
        if alert is None or len(found[title]) == 1:
            continue
        limited += 1
        (colour,) = {colour for _, colour in found[title]} - {"green"}
        assert colour == colours[alert["labels"]["severity"]], title
    assert limited > 15


def test_no_panel_has_a_line_for_each_host() -> None:
    """Only for those that differ or are beyond a limit: such an expression compares."""
    named = 0
    for title, panel in PANELS:
        for target in panel["targets"]:
            if "{{instance}}" in target["legendFormat"]:
                named += 1
                assert re.search(r" [<>]=? | [!=]= |topk", target["expr"]), (title, target["expr"])
    assert named > 5


def test_an_override_of_a_value_finds_it() -> None:
    patterns = 0
    for title, panel in PANELS:
        for one in panel["fieldConfig"].get("overrides", ()):
            if one["matcher"]["id"] == "byRegexp":
                patterns += 1
                wanted = re.compile(one["matcher"]["options"].strip("/"))
                assert any(wanted.search(target["legendFormat"]) for target in panel["targets"]), title
    assert patterns > 5


def test_a_table_has_its_headings_and_no_other_columns() -> None:
    """A row's value has a unit of its own, so it is a column only where each row counts the same."""
    tables = [(title, panel) for title, panel in PANELS if panel["type"] == "table"]
    assert tables
    for title, panel in tables:
        options = panel["transformations"][0]["options"]
        assert set(options["renameByName"]).isdisjoint(options["excludeByName"]), title
        assert "Value" in {*options["renameByName"], *options["excludeByName"]}, title


def test_what_is_0_or_1_is_a_timeline_in_words() -> None:
    for title, panel in PANELS:
        assert panel["fieldConfig"]["defaults"]["unit"] not in ("bool", "bool_on_off"), title
        if panel["type"] == "state-timeline":
            (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
            assert all(one["text"] and one["color"] for one in mapping["options"].values()), title
    assert sum(panel["type"] == "state-timeline" for _, panel in PANELS) >= 8


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
        edge_refusals=REFUSALS,
        threads=("0", "1"),
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
