#!/usr/bin/env python3
"""Generates the dashboards of Grafana: `pip install '.[dashboards]'`, then `python3 deploy/grafana/make.py`.

Rules:
- What is shown stands in panels.py, limits and colours in alerts.yml (levels.py); this file knows Grafana's form.
- Where the runbook is stands in prometheus.yml; `--runbooks URL` takes another place. Each panel links to its section.
- Annotations: changes of lists and dated events come from Prometheus, others are Grafana's own with the tag EVENT.
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any, Final

import levels
from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    DataSourceRef,
    GraphThresholdsStyleMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    AnnotationTarget,
    DashboardLinkType,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from panels import LASTING, LEVELS, LISTS, PAGES, P, Panel, Row, Words

FOLDER: Final = Path(__file__).parent / "dashboards"
SOURCE: Final = DataSourceRef("prometheus", "${datasource}")
TAG: Final = "blocklist-resolver"
BEAT: Final = "15m"
EVENT: Final = "blocklist-event"
"""Tag of the annotations to show, such as the date of a lockdown."""

SLOW_PAGES: Final = ("blocking",)
KINDS: Final = {
    "lines": timeseries.Panel,
    "tiles": stat.Panel,
    "states": statetimeline.Panel,
    "table": table.Panel,
}
TEXTS: Final = {
    "both": BigValueTextMode.VALUE_AND_NAME,
    "name": BigValueTextMode.NAME,
    "value": BigValueTextMode.VALUE,
}

NOT_EVERYWHERE: Final = frozenset(
    ("allowCustomValue", "auto", "auto_count", "auto_min", "footer", "perPage", "percentChangeColorMode")
)
"""Defaults that the builders write and that some of Grafana 10 to 13 do not know."""

HIDDEN: Final = "inControlsMenu"
"""Where the builders place links and marks; Grafana 12 would not show them."""

CHANGED: Final = (
    f'count_values by (list) ("serial", {P}list_serial{LISTS}) '
    f'unless count_values by (list) ("serial", {P}list_serial{LISTS} offset {BEAT})'
)
DATED: Final = '1000 * blocklist_event_timestamp_seconds{region=~"$region|"}'


class Events:
    """The annotations with the tag, as the target of an annotation query."""

    def build(self) -> AnnotationTarget:
        """Return the model."""
        return AnnotationTarget(limit=100, match_any=True, tags=[EVENT], type_val="tags")


def thresholds(steps: tuple[levels.Step, ...]) -> dashboard.ThresholdsConfig:
    """Return colours by value in Grafana's form."""
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=colour) for value, colour in steps])
    )


def mapping(words: Words) -> ValueMap:
    """Return texts and colours of values in Grafana's form."""
    return ValueMap(
        {
            value: ValueMappingResult(text=text, color=colour, index=number)
            for number, (value, (text, colour)) in enumerate(words.items())
        }
    )


def runbook(section: str) -> str:
    """Return the link to a section of the runbook."""
    return "${runbooks}#" + section


def panel(one: Panel) -> Any:
    """Return the builder of a panel."""
    made: Any = KINDS[one.kind]()
    level = LEVELS.get(one.alert)
    made.title(one.title).unit(one.unit).description(one.about).no_value(one.empty).datasource(SOURCE)
    made.height(one.height).span(one.width)
    if one.unit == LASTING:
        made.decimals(1)
    made.links([
        dashboard.DashboardLink("Runbook").type(DashboardLinkType.LINK).url(
            runbook(level.section if level else one.section)
        ).target_blank(True)
    ])
    made.thresholds(thresholds(level.steps if level and not one.words else ((None, levels.WELL),)))
    if one.words and one.kind != "table":
        made.mappings([mapping(one.words)])
    {"lines": lines, "tiles": tiles, "states": states, "table": rows}[one.kind](made, one)
    step = BEAT if one.slow else "1m"
    made.interval(step)
    for number_of, (expression, legend) in enumerate(one.queries):
        query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id("ABCDE"[number_of]).interval(step)
        if one.kind == "table":
            query.format(PromQueryFormat.TABLE)
        made.with_target(query.instant() if one.kind in ("tiles", "table") else query.range())
    return made


def lines(made: Any, one: Panel) -> None:
    """Set what is of a graph: its legend, its axis, the limit as a dashed line.

    The highest is broad: the line of the host that is the highest lies on it.
    """
    made.legend(common.VizLegendOptions().show_legend(True))
    if one.queries[0][1].startswith("highest") and "{{instance}}" in one.queries[-1][1]:
        made.override_by_regexp("/^highest/", [DynamicConfigValue("custom.lineWidth", 5)])
    if one.from_zero and not one.title.startswith("Until"):
        made.min(0)
    if one.alert:
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))


def tiles(made: Any, one: Panel) -> None:
    """Set what is of large values: colour of the ground where a limit or words decide, no graph."""
    coloured = one.alert or one.words or one.painted
    made.graph_mode(BigValueGraphMode.NONE).text_mode(TEXTS[one.named])
    made.color_mode(BigValueColorMode.BACKGROUND_SOLID if coloured else BigValueColorMode.NONE)
    made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    for name, unit, alert in one.painted:
        if alert in LEVELS:
            steps = LEVELS[alert].steps
        else:
            steps = ((None, levels.WELL), (1, levels.COLOURS[alert])) if alert else ((None, "transparent"),)
        made.override_by_regexp(f"/{name}$/", [
            DynamicConfigValue("unit", unit),
            DynamicConfigValue("decimals", 1 if unit == "s" else 0),
            DynamicConfigValue("thresholds", thresholds(steps).build()),
        ])


def states(made: Any, one: Panel) -> None:
    """Set what is of a timeline: states are merged, their words stand in them."""
    made.merge_values(True).show_value(VisibilityMode.AUTO).row_height(0.85)
    made.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    made.legend(common.VizLegendOptions().show_legend(False))


def rows(made: Any, one: Panel) -> None:
    """Set what is of a table: headings and their order, words of the first column, links to the runbook."""
    number = {label: place for place, label in enumerate(one.columns)}
    out = {label: True for label in ("Time", "Value", "severity", "job", "__name__") if label not in number}
    made.with_transformation(DataTransformerConfig(
        id_val="organize",
        options={"excludeByName": out, "indexByName": number, "renameByName": one.columns},
    ))
    first = next(iter(one.columns.values()))
    if one.words:
        made.override_by_name(first, [
            DynamicConfigValue("mappings", [mapping(one.words)]),
            DynamicConfigValue("custom.cellOptions", {"type": "color-background"}),
            DynamicConfigValue("custom.width", 110),
        ])
    made.override_by_name("runbook", [DynamicConfigValue(
        "links", [{"title": "Runbook", "url": runbook("${__value.raw}"), "targetBlank": True}]
    )])
    made.sort_by([common.TableSortByFieldState().display_name(first).desc(first == "month")])


def choice(name: str, metric: str) -> dashboard.QueryVariable:
    """Return a variable for selecting some or all values of a label."""
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query(f"label_values({P}{metric}, {name})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def page(key: str, runbooks: str) -> str:
    """Return a dashboard as JSON."""
    title, since, panels = PAGES[key]
    with warnings.catch_warnings():
        # Only the newest Grafana reads the newer schema; all read this one.
        warnings.simplefilter("ignore", DeprecationWarning)
        made = dashboard.Dashboard(f"Blocklist resolver: {title}")
    made.uid(f"{TAG}-{key}").tags([TAG]).timezone("utc").time(since, "now").readonly()
    slow = key in SLOW_PAGES
    made.refresh(BEAT if slow else "1m")
    made.timepicker(
        dashboard.TimePicker().refresh_intervals([BEAT, "1h"] if slow else ["1m", "5m", BEAT, "1h"])
    )
    made.link(
        dashboard.DashboardLink("Blocklist resolver").type(DashboardLinkType.DASHBOARDS).tags([TAG])
        .keep_time(False).include_vars(True)
    )
    made.link(dashboard.DashboardLink("Runbook").type(DashboardLinkType.LINK).url("${runbooks}").target_blank(True))
    made.with_variable(dashboard.DatasourceVariable("datasource").type("prometheus").label("Prometheus"))
    made.with_variable(choice("instance", "build_info"))
    if key != "service":
        made.with_variable(choice("list", "list_serial"))
    if slow:
        made.with_variable(choice("region", "build_info"))
    made.with_variable(dashboard.ConstantVariable("runbooks").value(runbooks))
    for one in annotations(key):
        made.annotation(one)
    for one in panels:
        if isinstance(one, Row):
            made.with_row(dashboard.Row(one.title))
        else:
            made.with_panel(panel(one))
    plain = json.loads(JSONEncoder().encode(made.build()))
    return json.dumps(everywhere(plain), sort_keys=True, indent=1) + "\n"


def everywhere(part: Any) -> Any:
    """Return a part of a dashboard without what not every version of Grafana knows."""
    if isinstance(part, dict):
        return {
            key: everywhere(value)
            for key, value in part.items()
            if key not in NOT_EVERYWHERE and value != HIDDEN
        }
    return [everywhere(one) for one in part] if isinstance(part, list) else part


def annotations(key: str) -> list[dashboard.AnnotationQuery]:
    """Return the marks on the graphs of a dashboard: by hand, dated by a metric, and changes of lists."""
    by_hand = dashboard.AnnotationQuery().name("Events").enable(True).icon_color("purple")
    found = [by_hand.datasource(DataSourceRef("grafana", "-- Grafana --")).target(Events())]
    dated = DATED if key in SLOW_PAGES else "1000 * blocklist_event_timestamp_seconds"
    rows_of: tuple[tuple[str, str, str, str, bool], ...] = (
        ("Dated events", "purple", dated, "{{event}} {{region}}", True),
    )
    if key != "service":
        changed = CHANGED if key != "blocking" else CHANGED.replace(LISTS, '{list=~"$list"}')
        rows_of += (("Changes of lists", "blue", changed, "List {{list}}: serial {{serial}}", False),)
    for name, colour, expression, text, its_value in rows_of:
        found.append(
            dashboard.AnnotationQuery().name(name).enable(True).icon_color(colour).datasource(SOURCE)
            .expr(expression).step(BEAT).title_format(name).text_format(text).use_value_for_time(its_value)
        )
    return found


def main() -> None:
    """Write each dashboard into the folder."""
    words = argparse.ArgumentParser(description="Generates the dashboards of Grafana.")
    words.add_argument("--out", type=Path, default=FOLDER)
    words.add_argument("--runbooks", default=levels.runbooks(), help="where deploy/monitoring.md can be read")
    given = words.parse_args()
    for key in PAGES:
        (given.out / f"{key}.json").write_text(page(key, given.runbooks))


if __name__ == "__main__":
    main()
