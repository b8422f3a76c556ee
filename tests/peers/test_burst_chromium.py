"""What a real browser asks when a blocked address is opened and reloaded: one attempt, whatever it asks."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journeys.running import PAGE_V4, ROOT

# A browser asks for AAAA where there is a way to the world over IPv6: it ends at the loopback.
_SPACE = """
mount --bind "$0" /etc/resolv.conf && ip link set lo up && ip addr add "$1/32" dev lo &&
ip addr add 2001:db8:9::1/64 dev lo && ip -6 route add default dev lo && shift && exec "$@"
"""


def test_a_browser_that_opens_and_reloads_a_blocked_page_is_one_attempt(
    program: Callable[[str], str], tmp_path: Path, figures: dict[str, str]
) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    space = ["unshare", "--net", "--mount", "sh", "-c", _SPACE, str(tmp_path / "resolv.conf"), PAGE_V4]
    if subprocess.run([*space, "true"], capture_output=True, check=False).returncode:
        reason = "no network of its own can be made (root is needed)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    (tmp_path / "site").mkdir()
    command = [*space, sys.executable, "-m", "tests.peers.browse", str(tmp_path / "site"), program("chromium")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=55)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    figures["what chromium asks for a blocked page, opened and reloaded"] = ", ".join(found["asked"])
    assert {"A", "AAAA", "HTTPS"} <= set(found["asked"])
    assert found["blocked_queries_total"] == len(found["asked"])
    assert found["blocked_attempts_total"] == 1
    assert found["page_views_total"] == 2
