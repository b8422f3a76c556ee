"""What was found, as a table for people, as JSON, and as a picture."""

import dataclasses
import json
import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench import picture
from tests.bench.load import Run
from tests.bench.ratios import Spread, paired, shown, spread
from tests.bench.subjects import FLOOR, RELAY
from tests.bench.workloads import WORKLOADS, Workload

_LATE = 0.01
_LOST = 0.001
# With more lost or wrong than this, what an answer costs cannot be told.
_UNUSABLE = 0.1


@dataclass
class Found:
    """All figures of one run; `runs` and `wrong_in_sample` by workload, subject (and round)."""

    settings: dict[str, Any]
    runs: dict[str, dict[str, dict[int, Run]]] = field(default_factory=dict)
    wrong_in_sample: dict[str, dict[str, int]] = field(default_factory=dict)
    ours: list[str] = field(default_factory=list)
    start_s: dict[str, float] = field(default_factory=dict)
    resident_mb: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    core_us: dict[str, float] = field(default_factory=dict)
    lists_s: dict[str, float] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, workload: str, subject: str, round_number: int, run: Run, wrong_in_sample: int) -> None:
        """What one run has found."""
        self.runs.setdefault(workload, {}).setdefault(subject, {})[round_number] = run
        counts = self.wrong_in_sample.setdefault(workload, {})
        counts[subject] = counts.get(subject, 0) + wrong_in_sample

    def us(self, workload: str, subject: str) -> dict[int, float]:
        """CPU microseconds a query, by round; of rounds in which it answered."""
        runs = self.runs.get(workload, {}).get(subject, {})
        return {number: run.us for number, run in runs.items() if max(run.lost, run.wrong) <= _UNUSABLE}

    def ratio(self, workload: Workload, subject: str, to: str) -> Spread | None:
        """What a subject costs, in units of what another does; the floor echoes what is nearest to the workload."""
        of = workload.floor if to == FLOOR else workload.name
        return paired(self.us(workload.name, subject), self.us(of, to))

    def service(self, workload: str) -> str:
        """The service that has the whole list and did this workload, or nothing."""
        return next((name for name in self.ours if name in self.runs[workload]), "")


def machine() -> dict[str, str]:
    """What it was measured on, and how busy it was."""
    model = re.search(r"model name\s+: (.*)", Path("/proc/cpuinfo").read_text())
    return {"processor": model[1] if model else "", "cores": str(os.cpu_count()), "kernel": platform.release()}


def table(found: Found) -> str:
    """The figures for people."""
    lines = [", ".join(f"{key} {value}" for key, value in machine().items())]
    lines.append(", ".join(f"{key} {value}" for key, value in found.settings.items() if value))
    for workload in WORKLOADS:
        if workload.name in found.runs:
            lines += ["", *_rows(found, workload)]
    rows = [["", "version", "memory MB", "start s"]]
    for name, memory in found.resident_mb.items():
        start = shown(found.start_s[name]) if name in found.start_s else "-"
        rows.append([name, found.versions.get(name, "-"), f"{memory:,.0f}", start])
    lines += ["", *_aligned(rows)]
    lines.append("")
    lines += [f"core alone, blocked query to answer, {build}: {us:.2f} us" for build, us in found.core_us.items()]
    lines += [f"{what}: {seconds:.2f} s" for what, seconds in found.lists_s.items()]
    lines += [f"left out: {reason}" for reason in found.left_out]
    lines += [f"note: {one}" for one in found.notes]
    return "\n".join([*lines, *(f"beware: {one}" for one in beware(found))])


def _rows(found: Found, workload: Workload) -> list[str]:
    relay = workload.name == "miss"
    to = [FLOOR, *([RELAY] if relay else [])]
    heads = ["x floor", *(["x relay"] if relay else [])]
    rows = [[workload.name, "CPU us a query", *heads, "service / it", "answers/s", "p50 us", "p99 us"]]
    ours = found.service(workload.name)
    for name, runs in found.runs[workload.name].items():
        cells: list[object] = [
            _spread(found.us(workload.name, name).values()),
            *(found.ratio(workload, name, one) if name != one else None for one in to),
            found.ratio(workload, ours, name) if ours and name not in (ours, FLOOR, RELAY) else None,
            shown(spread([run.per_second for run in runs.values()]).median),
            *(_spread(getattr(run, key) for run in runs.values()) for key in ("p50", "p99")),
        ]
        rows.append([name, *("-" if cell is None else str(cell) for cell in cells)])
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines; the first column to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "   ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _spread(values: Iterable[float | None]) -> Spread | None:
    told = [one for one in values if one is not None]
    return spread(told) if told else None


def beware(found: Found) -> list[str]:
    """Runs whose figures are not what they seem: answers wrong or lost, a load that came late."""
    said = []
    for workload, by_subject in found.runs.items():
        for name, runs in by_subject.items():
            lost, late, wrong = (max(getattr(run, key) for run in runs.values()) for key in ("lost", "late", "wrong"))
            odd = [f"{lost:.2%} lost"] if lost > _LOST else []
            odd += [f"{wrong:.2%} wrong"] if wrong else []
            odd += [f"{late:.1%} asked late"] if late > _LATE else []
            sample = found.wrong_in_sample.get(workload, {}).get(name, 0)
            odd += [f"{sample} wrong in the samples"] if sample else []
            if odd:
                said.append(f"{workload}, {name}: {', '.join(odd)}")
    return said


def write(found: Found, folder: Path) -> None:
    """The table, all figures, and the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.txt").write_text(table(found) + "\n")
    told = dataclasses.asdict(found) | {"machine": machine(), "beware": beware(found), "ratios": _all_ratios(found)}
    (folder / "bench.json").write_text(json.dumps(told, indent=1) + "\n")
    (folder / "bench.svg").write_text(_picture(found))


def _all_ratios(found: Found) -> dict[str, dict[str, dict[str, Spread | None]]]:
    """By workload and subject: to the floor, to the relay, and what the service costs in units of it."""
    return {
        one.name: {
            name: {
                "floor": found.ratio(one, name, FLOOR),
                "relay": found.ratio(one, name, RELAY),
                "service": found.ratio(one, found.service(one.name), name),
            }
            for name in [*found.runs[one.name]]
        }
        for one in WORKLOADS
        if one.name in found.runs
    }


def _picture(found: Found) -> str:
    costs = {
        workload: {name: cost for name in by_subject if (cost := _spread(found.us(workload, name).values()))}
        for workload, by_subject in found.runs.items()
    }
    kinds = {name: _kind(name) for by_subject in costs.values() for name in by_subject}
    rounds = found.settings["rounds"]
    return picture.drawn(f"Median of {rounds} rounds, line from least to most", "CPU us a query", costs, kinds)


def _kind(name: str) -> str:
    return "floor" if name in (FLOOR, RELAY) else "ours" if name.startswith("this service") else "peer"
