"""What a real browser asks when a blocked address is opened and reloaded: one attempt, whatever it asks."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journeys.running import PAGE_V4, ROOT

# How the browser's host resolves names, whatever is installed here: if nsswitch.conf names a source that Chromium does
# not know (libnss-mymachines adds one), it leaves resolving to the C library, which never asks for HTTPS.
_FILES = {"resolv.conf": "nameserver 127.0.0.1\n", "nsswitch.conf": "hosts: files dns\n"}
# A browser asks for AAAA if there is a route to the world over IPv6: it ends at the loopback.
_SPACE = """
for file in "$0"/*; do mount --bind "$file" "/etc/${file##*/}" || exit; done
ip link set lo up && ip addr add "$1/32" dev lo &&
ip addr add 2001:db8:9::1/64 dev lo && ip -6 route add default dev lo && shift && exec "$@"
"""
_TIMEOUT_S = 240.0  # A visit takes 4 seconds; a busy machine takes what it takes.


@pytest.mark.timeout(_TIMEOUT_S + 20)
def test_a_browser_that_opens_and_reloads_a_blocked_page_is_one_attempt(
    program: Callable[[str], str], tmp_path: Path, figures: dict[str, str]
) -> None:
    etc, site = tmp_path / "etc", tmp_path / "site"
    etc.mkdir()
    site.mkdir()
    for name, text in _FILES.items():
        (etc / name).write_text(text)
    space = ["unshare", "--net", "--mount", "sh", "-c", _SPACE, str(etc), PAGE_V4]
    if subprocess.run([*space, "true"], capture_output=True, check=False).returncode:
        reason = "no network of its own can be made (root is needed)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    command = [*space, sys.executable, "-m", "tests.peers.browse", str(site), program("chromium")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    figures["what chromium asks for a blocked page, opened and reloaded"] = ", ".join(found["asked"])
    assert {"A", "AAAA", "HTTPS"} <= set(found["asked"])
    assert found["blocked_queries_total"] == len(found["asked"])
    assert found["page_views_total"] == 2
    # One attempt, unless the machine was so busy that the second visit was a minute later.
    assert 1 <= found["blocked_attempts_total"] <= 1 + found["seconds"] // 60
