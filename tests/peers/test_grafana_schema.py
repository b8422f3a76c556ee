"""The dashboards by Grafana's own published types, of the newest release of each major version that is named.

Rules:
- `@grafana/schema` is what Grafana publishes; its types become a JSON schema that allows no other field.
- The types do not say what a data source adds to an annotation: those fields are left out of the comparison.
- The packages come from npm's registry when the tests run, in exactly these versions.
"""

import copy
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.unit.count import spring

pytestmark = pytest.mark.timeout(400)

TOOL = "ts-json-schema-generator@2.9.0"
VERSIONS = {10: "10.4.19", 11: "11.6.16", 12: "12.4.11", 13: "13.2.3"}
KINDS = {"stat": "Stat", "timeseries": "TimeSeries", "state-timeline": "StateTimeline", "table": "Table"}
OF_A_SOURCE = frozenset(("expr", "step", "target", "textFormat", "titleFormat", "useValueForTime"))
BOARDS = {
    path.stem: json.loads(path.read_text()) for path in (spring.DEPLOY / "grafana" / "dashboards").glob("*.json")
}
OPTIONS = {"compilerOptions": {"moduleResolution": "bundler", "module": "esnext", "target": "es2022", "types": []}}
PLACE = "./node_modules/@grafana/schema/dist/esm/raw/composable"


def entry() -> str:
    """A type that has all that is compared."""
    lines = ["import type { Dashboard } from '@grafana/schema';"]
    parts = ["board: Dashboard"]
    for kind, name in KINDS.items():
        own = "" if kind == "stat" else f", FieldConfig as {name}Field"
        folder = kind.replace("-", "")
        lines.append(
            f"import type {{ Options as {name}{own} }} from '{PLACE}/{folder}/panelcfg/x/{name}PanelCfg_types.gen';"
        )
        parts.append(f"'{kind}': Partial<{name}>")
        parts.append(f"'{kind} field': Partial<{name}Field>" if own else f"'{kind} field': {{}}")
    return "\n".join([*lines, f"export interface All {{ {'; '.join(parts)} }}"])


def npm(program: str, folder: Path, *packages: str) -> None:
    """Install packages; none of their scripts runs."""
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund")
    command = [program, "install", *quiet, "--prefix", folder, *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def tool(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tool")
    npm(program("npm"), folder, TOOL)
    return folder / "node_modules" / ".bin" / "ts-json-schema-generator"


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda major: f"grafana-{major}")
def schema(request: pytest.FixtureRequest, program: Callable[[str], str], tool: Path, tmp_path_factory: Any) -> Any:
    """The types of a version as a JSON schema."""
    folder = tmp_path_factory.mktemp(f"grafana-{request.param}")
    npm(program("npm"), folder, f"@grafana/schema@{VERSIONS[request.param]}")
    (folder / "entry.ts").write_text(entry())
    (folder / "tsconfig.json").write_text(json.dumps(OPTIONS | {"files": ["entry.ts"]}))
    command = [tool, "--path", "entry.ts", "--tsconfig", "tsconfig.json", "--type", "All", "--expose", "none"]
    command += ["--no-top-ref", "--no-type-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def faults(schema: Any, board: dict[str, Any]) -> Iterator[str]:
    """What a version of Grafana does not know in a dashboard."""
    board = copy.deepcopy(board)
    for one in board["annotations"]["list"]:
        for field in OF_A_SOURCE:
            one.pop(field, None)
    yield from compared(schema, "board", board, board["title"])
    for panel in board["panels"]:
        if panel["type"] != "row":
            yield from compared(schema, panel["type"], panel["options"], panel["title"])
            custom = panel["fieldConfig"]["defaults"].get("custom", {})
            yield from compared(schema, f"{panel['type']} field", custom, panel["title"])


def compared(schema: Any, part: str, value: Any, title: str) -> Iterator[str]:
    rest = {key: one for key, one in schema.items() if key not in ("properties", "required", "additionalProperties")}
    whole = {**rest, "properties": {"it": schema["properties"][part]}}
    for fault in jsonschema.Draft7Validator(whole).iter_errors({"it": value}):
        yield f"{title}: {jsonschema.exceptions.best_match([fault]).message[:300]}"


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_of_the_types_that_grafana_publishes(name: str, schema: Any) -> None:
    assert list(faults(schema, BOARDS[name])) == []


def test_what_no_version_knows_would_be_found(schema: Any) -> None:
    board = copy.deepcopy(BOARDS["overview"])
    first = next(panel for panel in board["panels"] if panel["type"] == "stat")
    first["options"]["colourMode"] = "background"
    first["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["hue"] = "red"
    found = list(faults(schema, board))
    assert any("colourMode" in one for one in found), found
    assert len(found) >= 2, found
