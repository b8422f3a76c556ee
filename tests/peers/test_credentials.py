"""The fleet's keys in systemd's credential store, encrypted by the lines that deploy/fleet.md prints."""

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journeys import readme
from tests.journeys.running import ROOT

Program = Callable[[str], str]
ENCRYPTED = (ROOT / "deploy/systemd/encrypted-keys.conf").read_text()


def test_encrypted_keys_open_under_their_name_alone(program: Program, tmp_path: Path) -> None:
    """With a host key of its own, in a mount namespace: this machine's is not touched."""
    program("systemd-creds")
    if os.geteuid() != 0:
        reason = "needs root, for a mount namespace"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)  # Only a developer without root; CI fails above.
    plain, encrypted = tmp_path / "credstore", tmp_path / "credstore.encrypted"
    plain.mkdir()
    (tmp_path / "own").mkdir()
    keys = {"digest.key": os.urandom(16), "seal.key": os.urandom(32)}
    for name, key in keys.items():
        (plain / f"blocklist-resolver.{name}").write_bytes(key)
    text = readme.block("cd /etc/credstore && install")
    instead = {
        " deploy/": f" {ROOT}/deploy/",
        "/etc/credstore.encrypted": str(encrypted),
        "/etc/credstore ": f"{plain} ",
        "/etc/systemd/system": str(tmp_path / "units"),
        "systemctl daemon-reload": "true",
    }
    for before, now in instead.items():
        assert before in text
        text = text.replace(before, now)
    shows = [
        f"systemd-creds decrypt --name={name} {encrypted}/blocklist-resolver.{name} {tmp_path}/{name}" for name in keys
    ]
    swapped = f"systemd-creds decrypt --name=seal.key {encrypted}/blocklist-resolver.digest.key - && exit 9"
    script = "\n".join(
        [f"mount --bind {tmp_path}/own /var/lib/systemd", "systemd-creds setup", text, *shows, f"{swapped} || true"]
    )
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-ec", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: (tmp_path / name).read_bytes() for name in keys} == keys
    assert list(plain.iterdir()) == []
    for name, key in keys.items():
        assert key not in (encrypted / f"blocklist-resolver.{name}").read_bytes()
    installed = (tmp_path / "units/blocklist-resolver.service.d/encrypted-keys.conf").read_text()
    assert installed == ENCRYPTED


def test_the_drop_in_loads_what_the_lines_have_written() -> None:
    found = re.findall(r"^LoadCredentialEncrypted=(\S+):(\S+)$", ENCRYPTED, re.MULTILINE)
    written = shlex.split(readme.block("cd /etc/credstore && install").replace(";", " "))
    assert found == [(f"{key}.key", f"blocklist-resolver.{key}.key") for key in ("digest", "seal")]
    assert "/etc/credstore.encrypted/blocklist-resolver.$key.key" in written
    # Without the empty one the plain files would be looked for first, and their absence ends the start.
    assert "\nLoadCredential=\n" in ENCRYPTED
