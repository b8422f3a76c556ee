"""What a visitor of a blocked name sees in Chromium and Firefox, and how soon, with deploy/page/page.nft in force.

The table for all doors and ways is in deploy/page/README.md; `python -m tests.peers.doors` measures it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journeys.running import ROOT
from tests.peers import spaces
from tests.peers.doors import TITLE

# How the visitors' host resolves names, whatever is installed here.
_FILES = {"resolv.conf": f"nameserver {spaces.GATE_V4}\n", "nsswitch.conf": "hosts: files dns\n"}
_MOUNTS = 'for file in "$0"/*; do mount --bind "$file" "/etc/${file##*/}" || exit; done; exec "$@"'
PROGRAMS = {"chromium": "chromium", "firefox": "firefox-esr"}
WAYS = {"chromium": ("http", "https"), "firefox": ("http", "typed", "https")}
PAGE_WAYS = ("http", "typed")
BOUND_S = 30.0
"""Below what a browser waits for a silent port (90 s and more), far above what it takes with a reset (a second)."""
_TIMEOUT_S = 500.0


@pytest.mark.timeout(_TIMEOUT_S + 20)
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_page_or_the_error_comes_at_once(
    name: str, program: Callable[[str], str], tmp_path: Path, figures: dict[str, str]
) -> None:
    path = program(PROGRAMS[name])
    program("nft")
    etc, site = tmp_path / "etc", tmp_path / "site"
    etc.mkdir()
    site.mkdir()
    for file, text in _FILES.items():
        (etc / file).write_text(text)
    space = ["unshare", "--net", "--mount", "sh", "-c", _MOUNTS, str(etc)]
    if subprocess.run([*space, "true"], capture_output=True, check=False).returncode:
        reason = "no network of its own can be made (root is needed)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)  # Only a developer without root; CI fails above.
    command = [*space, sys.executable, "-m", "tests.peers.doors", str(site), name, path, "reset", *WAYS[name]]
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=_TIMEOUT_S, env=environment
    )
    assert done.returncode == 0, done.stderr
    found = {one["way"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert tuple(found) == WAYS[name]
    for way, one in found.items():
        figures[f"{name}: {way}, page.nft in force"] = f"{one['seconds']:.1f} s: {one['title']} ({one['where'][:60]})"
        assert (one["title"] == TITLE) == (way in PAGE_WAYS), one
        assert one["seconds"] < BOUND_S, one
