"""A real browser resolves blocked names through the service and shows the page of their purpose, scripts off.

The pictures are among the temporary files of the run.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from resolver.page.wording import languages
from tests.journeys.running import ROOT
from tests.peers.browse_page import PURPOSES
from tests.peers.test_page_chromium import PHONE

# As in test_burst_chromium: the browser resolves by itself, and what is outside of this network is nowhere.
_FILES = {"resolv.conf": "nameserver 127.0.0.1\n", "nsswitch.conf": "hosts: files dns\n"}
_SPACE = """
for file in "$0"/*; do mount --bind "$file" "/etc/${file##*/}" || exit; done
ip link set lo up && for one in $1; do ip addr add "$one/32" dev lo || exit; done && shift && exec "$@"
"""
PROGRAMS = {"chromium": "chromium", "firefox": "firefox-esr"}
_TIMEOUT_S = 400.0  # 33 visits take half a minute; a busy machine takes what it takes.


@pytest.mark.timeout(_TIMEOUT_S + 20)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_blocked_name_of_each_purpose_shows_its_page_in_every_language(
    name: str, program: Callable[[str], str], tmp_path: Path, figures: dict[str, str]
) -> None:
    path = program(PROGRAMS[name])
    etc, site = tmp_path / "etc", tmp_path / "site"
    etc.mkdir()
    site.mkdir()
    for file, text in _FILES.items():
        (etc / file).write_text(text)
    space = ["unshare", "--net", "--mount", "sh", "-c", _SPACE, str(etc), " ".join(PURPOSES.values())]
    if subprocess.run([*space, "true"], capture_output=True, check=False).returncode:
        reason = "no network of its own can be made (root is needed)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)  # Only a developer without root; CI fails above.
    command = [*space, sys.executable, "-m", "tests.peers.browse_page", str(site), name, path]
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=_TIMEOUT_S, env=environment
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == len(PURPOSES) * len(languages())
    for purpose in PURPOSES:
        for tag, texts in languages().items():
            seen = found[f"{purpose} {tag}"]
            assert (seen["title"], seen["language"]) == (texts.purposes[purpose].title, texts.tag)
            assert (seen["chosen"], seen["screen"]) == (texts.tag, [PHONE["width"], PHONE["height"]])
            assert (seen["overflow"], seen["small"], seen["cookie"]) == (0, 0, "")
            if purpose == "child-abuse":
                assert 0 < seen["help"] <= PHONE["height"], "help stands on a phone's first screen"
                assert seen["beside"] == 1
    lowest = max(found[f"child-abuse {tag}"]["help"] for tag in languages())
    pictures = len(list(site.glob("*.png")))
    figures[f"{name} at blocked names of three purposes"] = (
        f"{pictures} pages in {len(languages())} languages, scripts off; the first offer of help ends at {lowest:.0f} "
        f"of {PHONE['height']} px at the latest"
    )
