"""What every test shares: two event loops, Hypothesis profiles, Debian's programs, both cores."""

import asyncio
import importlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import hypothesis
import pytest
import uvloop

from tests.own_coverage import OwnCoverage

PEERS_DIRECTORY = "tests/peers/"

hypothesis.settings.register_profile("fast", max_examples=100, deadline=None)
hypothesis.settings.register_profile("deep", max_examples=100_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

left_out: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make test` gives it."""
    parser.addoption("--own-coverage", action="store_true", help="fail where a unit test does not cover its own module")


def pytest_configure(config: pytest.Config) -> None:
    """Measure coverage only where it is wanted: it needs whole files of tests, and takes time."""
    if config.getoption("--own-coverage"):
        config.pluginmanager.register(OwnCoverage(), "own_coverage")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run an asynchronous test on uvloop, which the service runs on; a test about the loop also on asyncio's own, which
    the service falls back to."""
    if item.get_closest_marker("loops"):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests below tests/peers are marked by where they stand."""
    for item in items:
        if PEERS_DIRECTORY in item.path.as_posix():
            item.add_marker(pytest.mark.peers)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Remembers the tests that need a peer, to be listed at the end."""
    left_out.extend(item.nodeid for item in items if item.get_closest_marker("peers"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of pytest-xdist hands on what it left out; each collects the same."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = left_out


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes it from there, for the summary."""
    left_out[:] = getattr(node, "workeroutput", {}).get("left_out", left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Lists what this run left to `make test-peers`."""
    if left_out:
        terminalreporter.section(f"{len(left_out)} tests left to `make test-peers`")
        for node in left_out:
            terminalreporter.line(node)


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Path of a program of Debian's; where it is missing the test is skipped, or fails where CI=true."""

    def path_of(name: str) -> str:
        found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if found:
            return found
        reason = f"{name} is not installed: `make test-peers` installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)  # Loud in the summary; CI never takes this way.

    return path_of


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetch and compile in this process, on the same requests."""
    from tests.fakes import processes

    processes.replace(monkeypatch)


@pytest.fixture(params=["compiled", "plain"])
def core(request: pytest.FixtureRequest) -> Iterator[Callable[[str], ModuleType]]:
    """Loads a module of resolver.core by its name, once from each build."""
    if request.param == "compiled":
        yield lambda name: importlib.import_module(f"resolver.core.{name}")
    else:
        from tests.parity import twin

        yield twin.load


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """What core has inline in .pxd files: tests/parity/probe.pyx, compiled once."""
    from tests.parity import probe

    source = tmp_path_factory.mktemp("probe") / probe.SOURCE.name
    shutil.copy(probe.SOURCE, source)
    return probe.load(probe.build(source))
