"""The page without the service, in a process of its own."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from resolver.config.config import ConfigError
from resolver.service import page_alone
from tests.journeys.processes import wait_for
from tests.journeys.running import HOST, ROOT, free_ports

FILE = """
[page]
addresses = ["192.0.2.1"]
listen = {listen}
operator = "Example Internet"
contact = "blocked@isp.example"
authority = "Example authority"
law = "Example Act"
[state]
directory = "/nonexistent/state"
[[list]]
id = "demo"
demonstration = true
source = {{ kind = "tuf", url = "https://authority.example/lists", root = "/nonexistent/root.json" }}
"""


def written(folder: Path, listen: str) -> Path:
    path = folder / "resolver.toml"
    path.write_text(FILE.format(listen=listen))
    return path


def started(path: Path) -> "subprocess.Popen[str]":
    words = (sys.executable, "-m", "resolver", "page", "--config", str(path))
    return subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def visited(port: int) -> tuple[int, str]:
    """Status and text; ConnectionError as long as nobody listens."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/", timeout=30) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_it_shows_the_page_without_list_key_or_state_and_ends_well(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    process = started(written(tmp_path, f'["{HOST}:{port}"]'))
    try:
        assert process.stderr
        assert "showing the page on" in process.stderr.readline()
        status, text = visited(port)
        assert status == 451
        assert "Example Internet" in text
        held = Path(f"/proc/{process.pid}/status").read_text()
        assert os.geteuid() == 0 or "\nCapPrm:\t0000000000000000\n" in held
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert "Example" not in said
    wait_for(lambda: not Path(f"/proc/{process.pid}").exists(), "the end of the process")


def test_an_address_that_is_busy_ends_the_start(tmp_path: Path) -> None:
    process = started(written(tmp_path, '["192.0.2.200:8080"]'))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "page.listen: cannot listen at 192.0.2.200:8080" in said


def test_without_an_address_nothing_would_be_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no address"):
        page_alone.serve(written(tmp_path, "[]"))
