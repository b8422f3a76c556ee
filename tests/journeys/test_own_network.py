"""Link-local addresses, and addresses that come late: in a network namespace of its own, over UDP and TCP."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.own_network import EARLY, HOMES
from tests.journeys.processes import REAL, Site
from tests.journeys.running import PAGE_V4, ROOT

BLOCKED = f"{PAGE_V4} EDE 4"


def may_have_its_own() -> bool:
    """Whether this account may make namespaces, and an interface there."""
    words = ["unshare", "-nm", "ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1"]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def needs_its_own() -> None:
    """Skip where no network of its own can be made; with CI=true that is a failure."""
    if not may_have_its_own():
        said = "this account may not make network namespaces"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        pytest.skip(said)  # Only a developer without root; CI fails above.


def found(folder: Path, way: str, core: str) -> dict[str, object]:
    """What came there."""
    words = ["unshare", "-nm", sys.executable, "-m", "tests.journeys.own_network", str(folder), way, core]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    print(said)
    return said


@pytest.mark.parametrize(("way", "core"), [("named", "compiled"), ("resolv", "compiled"), ("named", "loop")])
def test_a_link_local_upstream_and_listener(way: str, core: str, tmp_path: Path) -> None:
    needs_its_own()
    said = found(tmp_path, way, core)
    assert (said["udp"], said["upstream tcp"], said["blocked"]) == (REAL, REAL, BLOCKED)
    assert (said["there udp"], said["there tcp"]) == (REAL, REAL)
    assert (said["answering"], said["late"], said["log"]) == (1, False, [])
    status, errors = said["check-config"]  # type: ignore[misc]
    assert status == 0
    assert ("nameserver fe80::53 is left out" in errors) == (way == "resolv")


@pytest.mark.parametrize("core", ["compiled", "loop"])
def test_every_address_of_a_host_answers_as_itself(core: str, tmp_path: Path) -> None:
    """A client takes an answer only from the address that it asked, for a link-local one with its interface also."""
    needs_its_own()
    assert found(tmp_path, "homed", core)["homes"] == [BLOCKED, REAL] * (len(HOMES) + 1)


@pytest.mark.parametrize("core", ["compiled", "loop"])
def test_an_address_that_comes_after_the_start_is_answered(core: str, tmp_path: Path) -> None:
    needs_its_own()
    said = found(tmp_path, "early", core)
    assert (said["there udp"], said["there tcp"]) == (REAL, REAL)
    assert (said["udp"], said["late"]) == (REAL, False)
    (line,) = said["log"]  # type: ignore[misc]
    assert f"{EARLY}:" in line
    assert said["check-config"] == [0, ""], "the address is there by then"


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("upstream", {"servers": ["[fe80::1]:53"]}, "upstream.servers[0]: is a link-local address and needs its"),
        ("upstream", {"servers": ["[fe80::1%none0]:53"]}, "upstream.servers[0]: this host has no interface none0"),
        ("listen", {"dns": ["[fe80::1]:53"]}, "listen.dns[0]: is a link-local address and needs its interface"),
        ("listen", {"dns": ["[fe80::1%none0]:53"]}, "listen.dns[0]: this host has no interface none0"),
    ],
)
def test_check_config_names_what_leads_nowhere(
    section: str, values: dict[str, object], words: str, tmp_path: Path
) -> None:
    site = Site(tmp_path)
    site.change(section, **values)
    command = [sys.executable, "-m", "resolver", "check-config", str(site.config)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert words in done.stderr


def test_check_config_warns_of_an_address_that_is_not_there(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.change("listen", dns=[f"{EARLY}:53"])
    command = [sys.executable, "-m", "resolver", "check-config", str(site.config)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0
    assert f"listen.dns[0]: {EARLY}:53 is not an address of this host now" in done.stderr
