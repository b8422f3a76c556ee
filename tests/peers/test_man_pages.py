"""The manual pages and the completions as their own readers take them: mandoc, man with groff, zsh."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("man/man8/blocklist-resolver.8", "man/man5/resolver.toml.5")


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("share")
    subprocess.run([sys.executable, "deploy/man/make.py", folder], cwd=ROOT, check=True, timeout=60)
    return folder


def read_by(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("page", PAGES)
def test_mandoc_and_groff_find_nothing_to_say(share: Path, page: str, program: Callable[[str], str]) -> None:
    lint = read_by(program("mandoc"), "-T", "lint", "-W", "warning", share / page)
    assert (lint.returncode, lint.stdout + lint.stderr) == (0, "")
    shown = read_by(program("man"), "--warnings=w", "-l", share / page)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert len(shown.stdout.splitlines()) > 200


def test_mandoc_would_say_so(tmp_path: Path, program: Callable[[str], str]) -> None:
    page = tmp_path / "broken.8"
    page.write_text(".TH BROKEN 8\n.SH NAME\nbroken\n.RE\n.XX\n")
    assert read_by(program("mandoc"), "-T", "lint", "-W", "warning", page).returncode != 0


def test_zsh_reads_its_completion(share: Path, program: Callable[[str], str]) -> None:
    script = share / "zsh/vendor-completions/_blocklist-resolver"
    assert script.read_text().startswith("#compdef blocklist-resolver\n")
    done = read_by(program("zsh"), "-n", script)
    assert (done.returncode, done.stderr) == (0, "")
