"""What a running service has loaded, once it has fetched lists, answered, been asked by an operator and reloaded."""

import subprocess
import sys

import pytest

from tests.fakes.upstream import in_thread
from tests.journeys.processes import REAL, RESOLVER, Site, asked, hang_up, honest
from tests.journeys.running import PAGE_V4, ROOT


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("loaded")
    with in_thread(honest) as upstream:
        site = Site(folder, [upstream.address])
        site.publish(["bad.test"])
        with site.started(("-m", "tests.journeys.loaded", str(folder / "modules"))) as service:
            assert asked(site.dns, "bad.test") == f"{PAGE_V4} EDE 4"
            assert asked(site.dns, "good.test", over="tcp") == REAL
            site.publish(["bad.test", "worse.test"])
            hang_up(service)
            service.until_serial(2)
            for words in (("status",), ("list", "fetch", "demo"), ("reload",)):
                command = [sys.executable, *RESOLVER, *words, "--config", str(site.config)]
                subprocess.run(command, cwd=ROOT, check=True, timeout=30, capture_output=True)
    return set((folder / "modules").read_text().split("\n"))


def below(loaded: set[str], *packages: str) -> list[str]:
    return sorted(name for name in loaded if any(f"{name}.".startswith(f"{package}.") for package in packages))


def test_code_that_sees_names_is_not_loaded(loaded: set[str]) -> None:
    assert {"resolver.service.service", "resolver.feed.update"} <= loaded
    assert below(loaded, "resolver.feed.names", "resolver.feed.fetch", "resolver.authority") == []


def test_packages_that_only_read_lists_are_not_loaded(loaded: set[str]) -> None:
    only_there = ("tuf", "securesystemslib", "pyrage", "minisign", "publicsuffixlist", "urllib3")
    assert below(loaded, *only_there) == []

def test_no_screen_is_loaded(loaded: set[str]) -> None:
    screens = [name for name in below(loaded, "resolver.cli") if "screen_" in name]
    assert (screens, below(loaded, "rich")) == ([], [])
