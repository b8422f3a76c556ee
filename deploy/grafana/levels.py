"""Reads from alerts.yml what the dashboards need: of each alert its limit, its colour, and its section of the runbook.

Rules:
- alerts.yml is the one table of limits: a panel names its alert and holds no number of its own.
- The limit of an alert is the last comparison in its expression with a plain number or product of numbers.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

import yaml

FOLDER: Final = Path(__file__).parents[1] / "prometheus"
RUNBOOKS: Final = "blocklist_runbooks"
"""The external label that says where the runbook is (prometheus.yml)."""

COLOURS: Final = {"critical": "red", "warning": "orange", "info": "blue"}
WELL: Final = "green"

Step = tuple[float | None, str]
"""The value from which a colour holds (None: from the lowest on), and the colour."""

_LIMIT: Final = re.compile(r"([<>]=?|==) (?:on \([\w, ]*\) )?(\d[\d.]*(?: \* \d[\d.]*)*)(?![\d.]| \* \w)")


class Level(NamedTuple):
    """An alert: how it compares, its limit, its colour, and its section of the runbook."""

    sign: str
    limit: float
    colour: str
    section: str

    @property
    def steps(self) -> tuple[Step, ...]:
        """Return the colours by value, from the lowest on."""
        if self.sign in ("<", "<=") or (self.sign, self.limit) == ("==", 0):
            return ((None, self.colour), (self.limit or 1, WELL))
        return ((None, WELL), (self.limit or 1, self.colour))


def read() -> dict[str, Level]:
    """Return the alerts by name, without "Blocklist"; ValueError if one has no limit."""
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    found = {}
    for rule in (rule for group in groups for rule in group["rules"]):
        compared = _LIMIT.findall(rule["expr"])
        if not compared:
            raise ValueError(f"{rule['alert']}: no comparison with a number")
        sign, words = compared[-1]
        limit = 1.0
        for number in words.split(" * "):
            limit *= float(number)
        labels = rule["labels"]
        found[rule["alert"].removeprefix("Blocklist")] = Level(
            sign, limit, COLOURS[labels["severity"]], labels["runbook"]
        )
    return found


def runbooks() -> str:
    """Return where the runbook is, as prometheus.yml says."""
    external: dict[str, str] = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["global"]["external_labels"]
    return external[RUNBOOKS]
