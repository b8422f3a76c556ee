"""Giving up root, in processes of their own: what the kernel says of them afterwards."""

import logging
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from resolver.config.config import Config, ConfigError, parse
from resolver.service.host import privileges

NOBODY = "nobody"
FILE = """
[listen]
user = "{user}"
[page]
addresses = ["192.0.2.1"]
[state]
directory = "{folder}/state"
keys = "{keys}"
[[list]]
id = "demo"
demonstration = true
source = {{ kind = "tuf", url = "file:///srv/a", root = "/srv/root.json" }}
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give root up")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every account may go through, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def written(folder: Path, user: str = NOBODY, keys: str = "") -> Path:
    """The path of a configuration."""
    path = folder / "resolver.toml"
    path.write_text(FILE.format(user=user, folder=folder, keys=keys))
    return path


def loaded(path: Path) -> Config:
    return parse(path.read_text(), str(path))


def of_nobody(path: Path) -> Path:
    nobody = pwd.getpwnam(NOBODY)
    path.mkdir(exist_ok=True)
    os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return path


START = """
import os, socket, sys
from pathlib import Path
from resolver.config import config
from resolver.service.host import privileges
path = Path(sys.argv[1])
try:
    held = privileges.Privileges(path, config.parse(path.read_text(), "resolver.toml"))
    held.step_down()
except config.ConfigError as error:
    print(error.key, error.reason)
    sys.exit(4 if isinstance(error, config.HostFault) else 2)
def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split(":")[1].split() for line in lines if line.startswith(name + ":"))
def dumpable():
    return privileges._libc.prctl(3, 0, 0, 0, 0)
"""


def process(path: Path, code: str = "", before: tuple[str, ...] = ()) -> tuple[int, str]:
    """Status and output of a process that steps down by this configuration, then does `code`."""
    ended = subprocess.run(
        [*before, sys.executable, "-c", START + code, str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd="/",
    )
    return ended.returncode, ended.stdout + ended.stderr.replace("Traceback", "\nTraceback")


@as_root
def test_root_is_borrowed_to_bind_and_then_given_up_for_good(folder: Path) -> None:
    of_nobody(folder / "state")
    code = """
print(os.getresuid(), dumpable())
Path(sys.argv[1]).with_name("state").joinpath("kept").touch()
with held.borrowed():
    socket.socket().bind(("127.0.0.1", 0))
    print(os.geteuid(), status("CapEff") != ["0" * 16])
print(os.geteuid(), dumpable())
held.give_up()
print(os.getresuid(), os.getresgid(), os.getgroups(), dumpable())
print([status(name) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")])
try:
    os.seteuid(0)
except PermissionError:
    print("for good")
"""
    none = ["0" * 16]
    status, said = process(written(folder), code)
    assert said.splitlines() == [
        "(0, 65534, 0) 0",
        "0 True",
        "65534 0",
        "(65534, 65534, 65534) (65534, 65534, 65534) [65534] 0",
        str([none] * 5 + [["1"]]),
        "for good",
    ]
    assert status == 0
    assert (folder / "state" / "kept").owner() == NOBODY


@as_root
def test_an_error_while_root_is_borrowed_gives_it_back(folder: Path) -> None:
    code = """
try:
    with held.borrowed():
        raise OSError
except OSError:
    print(os.geteuid(), dumpable())
"""
    of_nobody(folder / "state")
    assert process(written(folder), code) == (0, "65534 0\n")


@as_root
def test_root_that_is_not_told_whom_to_become_stays_and_says_so_once(folder: Path) -> None:
    code = "held.give_up()\nwith held.borrowed():\n    print(os.getresuid(), status('NoNewPrivs'))"
    status, said = process(written(folder, user=""), code)
    assert status == 0
    assert said == "(0, 0, 0) ['0']\nrunning as root: set listen.user to an account without privileges\n"


@as_root
def test_an_account_with_a_capability_gives_it_up(folder: Path) -> None:
    of_nobody(folder / "state")
    code = "print(status('CapEff'))\nheld.give_up()\nprint(status('CapEff'), status('CapAmb'), status('NoNewPrivs'))"
    capability = ("--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service")
    started = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *capability)
    status, said = process(written(folder, user=""), code, started)
    none = ["0" * 16]
    assert said == f"['0000000000000400']\n{none} {none} ['1']\n"
    assert status == 0


@as_root
def test_a_capability_that_is_only_permitted_is_made_effective_to_bind(folder: Path) -> None:
    """As an interpreter's file gives it in a container. Here it is taken out of the effective set first."""
    of_nobody(folder / "state")
    code = '''
import ctypes
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
assert privileges._libc.capset(header, (ctypes.c_uint32 * 6)(0, 1 << 10, 0, 0, 0, 0)) == 0
print(status("CapPrm"), status("CapEff"))
with held.borrowed(), socket.socket() as one:
    one.bind(("127.0.0.1", 1))
    print(status("CapEff"))
held.give_up()
print(status("CapPrm"), status("CapEff"))'''
    capability = ("--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service")
    started = ("unshare", "--net", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *capability)
    status, said = process(written(folder, user=""), code, started)
    none, one = ["0" * 16], ["0000000000000400"]
    assert said == f"{one} {none}\n{one}\n{none} {none}\n"
    assert status == 0


@as_root
def test_what_the_account_may_not_use_is_named_with_what_to_do(folder: Path) -> None:
    state = folder / "state"
    assert process(written(folder)) == (
        4,
        f"state.directory nobody may not make it: install -d -o nobody -m 700 {state}\n",
    )
    state.mkdir()
    assert process(written(folder)) == (4, f"state.directory nobody may not use {state}: chown -R nobody {state}\n")
    of_nobody(state)
    (state / "lists").mkdir(mode=0o700)
    (state / "lists" / "inside").touch()
    assert process(written(folder)) == (
        4,
        f"state.directory nobody may not use {state}/lists: chown -R nobody {state}\n",
    )


@as_root
@pytest.mark.parametrize("name", ["evidence/1.json", "ledger.sqlite", "audit.log", "lists/a/metadata/root.json"])
def test_what_only_evidence_counts_and_the_next_poll_need_ends_no_start(name: str, folder: Path) -> None:
    state = of_nobody(folder / "state")
    for above in reversed((state / name).relative_to(state).parents[:-1]):
        of_nobody(state / above)
    (state / name).touch(mode=0o600)
    said = f"state.directory: nobody may not use {state}/{name}: chown -R nobody {state}"
    assert process(written(folder)) == (0, f"{said}; what needs it fails until then\n")


@as_root
def test_keys_that_the_account_may_not_read_are_named(folder: Path) -> None:
    of_nobody(folder / "state")
    keys = folder / "keys"
    keys.mkdir(mode=0o755)
    (keys / "seal.key").touch(mode=0o600)
    path = written(folder, keys=str(keys))
    assert process(path) == (4, f"state.keys nobody cannot read {keys}/seal.key: chown -R nobody {keys}\n")


@as_root
def test_a_trust_root_that_the_account_may_not_read_is_named_and_ends_nothing(folder: Path) -> None:
    of_nobody(folder / "state")
    path = written(folder)
    path.write_text(path.read_text().replace("/srv/root.json", f"{folder}/root.json"))
    (folder / "root.json").touch(mode=0o600)
    said = f"list.demo.source.root: nobody cannot read {folder}/root.json, its feed will fail: chgrp, chmod g+r\n"
    assert process(path) == (0, said)


@as_root
def test_a_configuration_that_a_reload_could_not_read_is_refused_at_the_start(folder: Path) -> None:
    path = written(folder)
    path.chmod(0o600)
    status, said = process(path)
    assert (status, said.strip()[:40]) == (2, "nobody cannot read it again at a reload:")


@as_root
@pytest.mark.parametrize(
    ("user", "reason"),
    [("no-such-account", "no such account: useradd --system .* no-such-account"), ("root", "is root")],
)
def test_an_account_that_will_not_do(user: str, reason: str, folder: Path) -> None:
    path = written(folder, user=user)
    with pytest.raises(ConfigError, match=rf"resolver\.toml: listen\.user: {reason}"):
        privileges.Privileges(path, loaded(path))


def test_only_root_becomes_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    path = written(folder)
    with pytest.raises(ConfigError, match=r"listen\.user: only root can become another account"):
        privileges.Privileges(path, loaded(path))
    path = written(folder, user="12345")
    privileges.Privileges(path, loaded(path))


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("CapPrm: 0", ""),
        ("CapEff: 0000000000000400", "CapEff"),
        ("NoNewPrivs: 0", "NoNewPrivs"),
        ("Uid: 7 7 0 7", "Uid"),
    ],
)
def test_what_the_kernel_kept_is_told(line: str, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = ["CapPrm: 0", "CapEff: 0", "NoNewPrivs: 1", "Uid: 7 7 7 7", "Gid: 8 8 8 8"]
    lines = [line if one.split(":")[0] == line.split(":")[0] else one for one in fine]
    monkeypatch.setattr(Path, "read_text", lambda _: "\n".join(lines))
    assert privileges.still_held(7, 8, bounded=False) == kept


def test_nothing_is_said_of_a_start_without_root(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    path = written(folder, user="")
    with caplog.at_level(logging.DEBUG):
        privileges.Privileges(path, loaded(path)).step_down()
    assert caplog.messages == []
