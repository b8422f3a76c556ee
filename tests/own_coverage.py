"""Holds each module of resolver/ to a least share of its functions' lines that its own unit test runs (--own-coverage).

A test file that only stands beside its module answers nothing. What another module's test runs on the way does not
count, and lines outside functions do not: they run at the first import, whoever imports.
"""

import ast
from pathlib import Path
from typing import Any

import coverage
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "resolver"
UNIT = ROOT / "tests" / "unit"
LEAST = 0.6

# Modules whose own test runs less than LEAST in its own process, and why.
_PROCESS = "its test starts processes, and asks what came of them"
_IMPORT = "its functions run when it is imported"
LESS: dict[str, str] = {
    "cli/demonstration.py": _PROCESS,
    "feed/details.py": _IMPORT,
    "feed/fetch/gpg.py": "peers/test_gpg.py asks a real gpg; its own test has none",
    "feed/reasons.py": _IMPORT,
    "feed/sandbox.py": _PROCESS,
    "query/transport.py": _IMPORT,
    "service/host/crash.py": _PROCESS,
    "service/host/privileges.py": _PROCESS,
    "service/page_alone.py": _PROCESS,
    "service/page_process.py": _PROCESS,
}


def module_of(test: Path) -> Path | None:
    """The Python module that a test file mirrors; None for other tests, and for what runs compiled."""
    if UNIT not in test.parents or not test.name.startswith("test_"):
        return None
    module = PACKAGE / test.relative_to(UNIT).parent / test.name.removeprefix("test_")
    compiled = module.parent == PACKAGE / "core" or module.with_suffix(".pxd").exists()
    return module if module.is_file() and not compiled else None


def inside_functions(source: str) -> set[int]:
    """The numbers of all lines that stand in the body of a function."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds))
    return {line for node in functions for line in range(node.body[0].lineno, (node.end_lineno or 0) + 1)}


class OwnCoverage:
    """Measures one test file after the other, and at the end names each module below its share."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.missing: dict[str, set[int]] = {}
        self._measured: Path | None = None
        self._measuring = coverage.Coverage(data_file=None, config_file=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Any:
        """Measure from a file's first test to its last."""
        if self._measured is None and (module := module_of(item.path)) is not None:
            self._begin(module)
        try:
            return (yield)
        finally:
            if self._measured is not None and (nextitem is None or nextitem.path != item.path):
                self._end(self._measured)

    def _begin(self, module: Path) -> None:
        self._measured = module
        self._measuring = coverage.Coverage(data_file=None, config_file=False, include=[str(module)])
        self._measuring.set_option("run:disable_warnings", ["no-data-collected", "module-not-measured"])
        self._measuring.start()

    def _end(self, module: Path) -> None:
        self._measuring.stop()
        self._measured = None
        _, statements, _, missing, _ = self._measuring.analysis2(str(module))
        inside = inside_functions(module.read_text())
        self.take(module.relative_to(PACKAGE).as_posix(), len(inside & {*statements}), inside & {*missing})

    def take(self, module: str, lines: int, missing: set[int]) -> None:
        """Take in what a part of a file's tests has run."""
        self.lines[module] = lines
        self.missing[module] = self.missing.get(module, missing) & missing

    def faults(self) -> list[str]:
        """A line for each module below its share, and for each that is not although it stands in LESS."""
        found = []
        for module, lines in sorted(self.lines.items()):
            share = 1 - len(self.missing[module]) / max(lines, 1)
            if (share < LEAST) != (module in LESS):
                told = "is in own_coverage.LESS and need not be" if module in LESS else f"the least is {LEAST:.0%}"
                found.append(f"resolver/{module}: its own test runs {share:.0%} of {lines} lines; {told}")
        return found

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand on what was measured, or fail the run for what is missing."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["own_coverage"] = [
                (module, lines, sorted(self.missing[module])) for module, lines in self.lines.items()
            ]
        elif self.faults() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take from a process of pytest-xdist what it has measured."""
        for module, lines, missing in getattr(node, "workeroutput", {}).get("own_coverage", ()):
            self.take(module, lines, {*missing})

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """List the modules that their own test runs too little of."""
        if faults := self.faults():
            terminalreporter.section("modules that their own test does not cover", red=True)
            for fault in faults:
                terminalreporter.line(fault)
