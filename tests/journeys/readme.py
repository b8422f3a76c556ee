"""Commands as the pages of deploy/ print them, for tests that type them."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.journeys.running import ROOT

PAGES = "".join((ROOT / "deploy" / page).read_text() for page in ("fleet.md", "upgrade.md"))


def block(first: str) -> str:
    """The indented lines that begin with a line whose beginning is `first`."""
    assert PAGES.count(f"\n    {first}") == 1, first
    found = re.match(r"(?:    .*\n)+", PAGES[PAGES.index(f"\n    {first}") + 1 :])
    assert found is not None
    return "".join(line[4:] + "\n" for line in found[0].splitlines())


def typed(text: str, folder: Path, instead: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run lines by bash in `folder`, words of an installation replaced by those of a test; prints what they say."""
    python = {
        "/opt/blocklist-resolver/bin/python": sys.executable,
        "blocklist-resolver ": f"{sys.executable} -m resolver ",
    }
    for before, now in (dict(instead) | python).items():
        text = text.replace(before, now)
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-ec", text], cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    print(f"{text}{done.stdout}{done.stderr}(exit {done.returncode})\n")
    return done
