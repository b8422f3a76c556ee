"""deploy/mixin as a jsonnet program evaluates it, for the tests."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

jsonnet = pytest.importorskip("_jsonnet", reason="jsonnet is not installed: the extra `test` holds it")

MIXIN: Final = Path(__file__).parents[2] / "deploy" / "mixin" / "mixin.libsonnet"


def evaluated(**config: str) -> dict[str, Any]:
    """Return alerts, rules and dashboards; `config` are the settings that are not the default."""
    words = f"""
        local mixin = (import '{MIXIN}') {{ _config+:: {json.dumps(config)} }};
        {{
            alerts: mixin.prometheusAlerts, rules: mixin.prometheusRules,
            dashboards: mixin.grafanaDashboards, config: mixin._config,
        }}
    """
    found: dict[str, Any] = json.loads(jsonnet.evaluate_snippet("test", words))
    return found
