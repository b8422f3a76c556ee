"""Tells at the end how many cases the comparisons ran and what they met."""

import pytest

from tests.parity import cases


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line a comparison."""
    if cases.met:
        terminalreporter.section("parity")
        for name, seen in cases.met.items():
            rest = ", ".join(f"{what} {number}" for what, number in sorted(seen.items()) if what != "cases")
            terminalreporter.line(f"{name}: {seen['cases']} cases ({rest})")
        terminalreporter.line(f"in all {sum(seen['cases'] for seen in cases.met.values())} cases")
