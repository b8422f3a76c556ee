"""deploy/mixin: the files of deploy/, and nothing but what is configured is different."""

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from resolver.count.metrics import PREFIX
from tests.grafana.mixin import evaluated

DEPLOY = Path(__file__).parents[1] / "deploy"
PLAIN = {"selector": "", "doctorSelector": "", "clusterLabel": ""}
SELECTOR = 'job="dns"'
OURS = re.compile(rf"(?<![:\w]){PREFIX}\w+(?P<after>.?)(?P<more>[^}}]*)")


def groups(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "prometheus" / name).read_text())["groups"]
    return found


def expressions(mixin: dict[str, Any]) -> dict[str, list[str]]:
    """All expressions: of alerts and rules, of panels and marks."""
    boards = mixin["dashboards"].values()
    both = [one for file in ("alerts", "rules") for one in mixin[file]["groups"]]
    panels = [panel for board in boards for panel in board["panels"] if panel["type"] != "row"]
    return {
        "rules": [rule["expr"] for one in both for rule in one["rules"]],
        "panels": [target["expr"] for panel in panels for target in panel["targets"]],
        "marks": [one["expr"] for board in boards for one in board["annotations"]["list"] if "expr" in one],
    }


def test_without_settings_it_is_the_files() -> None:
    mixin = evaluated(**PLAIN, runbookBase="{{ $externalLabels.blocklist_runbooks }}")
    assert mixin["alerts"]["groups"] == groups("alerts.yml")
    assert mixin["rules"]["groups"] == groups("rules.yml")
    base = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["global"]["external_labels"]
    boards = evaluated(**PLAIN, runbookBase=base["blocklist_runbooks"])["dashboards"]
    folder = DEPLOY / "grafana" / "dashboards"
    assert {name.removesuffix(".json") for name in boards} == {one.stem for one in folder.iterdir()}
    for name, board in boards.items():
        assert board == json.loads((folder / name).read_text()), name


def test_the_default_is_the_job_of_prometheus_yml_and_its_runbook() -> None:
    config = evaluated()["config"]
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = prometheus["scrape_configs"]
    # It is there as a comment: not everybody watches.
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    (doctor,) = re.findall(r"^  # - job_name: (\S+)", text, re.MULTILINE)
    assert config == {
        "selector": f'job="{job["job_name"]}"',
        "doctorSelector": f'job="{doctor}"',
        "clusterLabel": "",
        "runbookBase": prometheus["global"]["external_labels"]["blocklist_runbooks"],
    }


def test_every_series_of_a_resolver_has_the_selector_and_no_recorded_one() -> None:
    mixin = evaluated(selector=SELECTOR, clusterLabel="cluster", runbookBase="https://wiki.example.net/dns")
    chosen = f'{SELECTOR},cluster=~"$cluster"'
    for part, matchers in (("rules", SELECTOR), ("panels", chosen), ("marks", chosen)):
        count = 0
        for one in expressions(mixin)[part]:
            promql_parser.parse(one.replace("$__range", "30d"))
            for found in OURS.finditer(one):
                count += 1
                assert (found["after"], found["more"].startswith(matchers)) == ("{", True), one
            assert "}{" not in one
            assert not re.search(r"\b(by|on) \(instance", one), one
        assert count > (0 if part == "marks" else 30), part
    watched = [one for one in expressions(mixin)["rules"] if "blocklist_doctor_" in one]
    assert len(watched) == 2
    assert all(re.search(r'blocklist_doctor_\w+{job="blocklist-doctor"', one) for one in watched)
    (missing,) = (one for one in expressions(mixin)["rules"] if one.startswith("up"))
    assert missing.startswith(f"up{{{SELECTOR}}} == 0")


def test_a_cluster_can_be_chosen_and_the_runbook_is_where_it_was_said() -> None:
    mixin = evaluated(selector=SELECTOR, clusterLabel="zone", runbookBase="https://wiki.example.net/dns")
    for board in mixin["dashboards"].values():
        variables = {one["name"]: one for one in board["templating"]["list"]}
        assert list(variables)[:3] == ["datasource", "zone", "instance"]
        assert variables["zone"]["query"] == f"label_values({PREFIX}build_info{{{SELECTOR}}}, zone)"
        assert variables["instance"]["query"] == (
            f'label_values({PREFIX}build_info{{{SELECTOR},zone=~"$zone"}}, instance)'
        )
        assert variables["runbooks"]["query"] == "https://wiki.example.net/dns"
    for one in mixin["alerts"]["groups"]:
        for rule in one["rules"]:
            assert rule["annotations"]["runbook_url"] == f"https://wiki.example.net/dns#{rule['labels']['runbook']}"
