"""Makes on this host what the answers of `setup` need, and looks at the result as the service's account.

Rules:
- A file that is there is never written over; a folder that is there stays as it is. Only deploy/resolver.toml as a
  package installs it, with not an octet changed, is no configuration yet, and is replaced.
- Nothing is written before all of it is known to be new.
- What is looked at afterwards is looked at by the service's account: its files, its ports, and `check-config`.
"""

import errno
import grp
import os
import pwd
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from resolver.cli import acting
from resolver.config import explained
from resolver.config.config import Config
from resolver.config.values import Endpoint, sockaddr

ACCOUNT: Final = "blocklist-resolver"
DROP_INS: Final = Path("/etc/systemd/system/blocklist-resolver.service.d")
CREDENTIALS: Final = Path("/etc/credstore")
KEYS: Final = {"blocklist-resolver.digest.key": 16, "blocklist-resolver.seal.key": 32}
"""Files of the credential store that the unit loads, and their random octets."""

SYSTEMD: Final = Path("/run/systemd/system")
CHECK_S: Final = 60


class Made(NamedTuple):
    """One file or folder to be made. data: None for a folder. stays: one that is there is used as it is."""

    path: Path
    mode: int
    owner: str = "root"
    group: str = "root"
    data: bytes | None = None
    stays: bool = False

    def __str__(self) -> str:
        kind = "folder" if self.data is None else "file"
        return f"{kind} {self.path}  {self.mode:04o} {self.owner}:{self.group}"


class Wanted(NamedTuple):
    """What the files are made of. file: the place of the configuration; root: place and content of the pinned key."""

    file: Path
    text: str
    config: Config
    root: tuple[Path, bytes]
    credentials: bool


def plan(wanted: Wanted) -> list[Made]:
    """Return everything that the service needs on this host, folders first."""
    config = wanted.config
    account, group = config.listen.user or ACCOUNT, config.control.group or "root"
    where, root = wanted.root
    secret = config.lists[0].source.kind == "zone"
    found = [Made(wanted.file.parent, 0o755), Made(Path(config.state.directory), 0o700, account, account)]
    # A web server that passes on what is published is in the group; so is what receives receipts, and it writes.
    outside = [(Path(one), mode) for one, mode in _outside(config)]
    found += [Made(path, mode, account, group) for path, mode in outside]
    if config.fleet.nodes:
        found.append(Made(Path(config.fleet.nodes), 0o755))
    if wanted.credentials:
        found.append(Made(CREDENTIALS, 0o700))
        found += [
            Made(CREDENTIALS / name, 0o400, data=secrets.token_bytes(count), stays=True) for name, count in KEYS.items()
        ]
    if where.parent != wanted.file.parent:
        found.append(Made(where.parent, 0o755))
    found.append(
        Made(where, 0o640, group=group, data=root) if secret else Made(where, 0o644, data=root)
    )
    if outside:
        opened = " ".join(str(path) for path, _ in outside)
        said = f"# Folders of {wanted.file}, otherwise read-only for the unit.\n[Service]\nReadWritePaths={opened}\n"
        found += [Made(DROP_INS, 0o755), Made(DROP_INS / "folders.conf", 0o644, data=said.encode())]
    found.append(Made(wanted.file, 0o640, group=group, data=wanted.text.encode()))
    return found


def _outside(config: Config) -> Iterator[tuple[str, int]]:
    """Yield each folder that the service writes outside its state folder, and the mode of it."""
    receipts = [one.source.receipt for one in config.lists if one.source.receipt.startswith("/")]
    named = {config.fleet.publish: 0o2750, config.fleet.receipts: 0o2770, **dict.fromkeys(receipts, 0o2770)}
    for path, mode in named.items():
        if path and not Path(path).is_relative_to(config.state.directory):
            yield path, mode


def below(out: Path | None, path: Path) -> Path:
    """Return the place of a path: itself, or below the root `out`."""
    return path if out is None else out / path.relative_to(path.anchor)


def in_the_way(made: Sequence[Made], out: Path | None) -> list[Path]:
    """Return the files that are there already, and would be written over with something else."""
    found = []
    for one in made:
        place = below(out, one.path)
        there = one.data is not None and not one.stays and os.path.lexists(place)
        if there and not _same(place, one.data) and not is_untouched(place):
            found.append(place)
    return found


def is_untouched(place: Path) -> bool:
    """Return whether this is deploy/resolver.toml as it was installed."""
    return _same(place, explained.text().encode())


def _same(place: Path, data: bytes | None) -> bool:
    return place.is_file() and not place.is_symlink() and place.read_bytes() == data


def accounts_missing(made: Sequence[Made]) -> list[str]:
    """Return the accounts and groups that this host does not have."""
    accounts, groups = {one.pw_name for one in pwd.getpwall()}, {one.gr_name for one in grp.getgrall()}
    found = [f"account {one.owner}" for one in made if one.owner not in accounts]
    found += [f"group {one.group}" for one in made if one.group not in groups]
    return list(dict.fromkeys(found))


def make(made: Sequence[Made], out: Path | None) -> list[Path]:
    """Make what is not there; return the files that were written. Owners are set only on the host itself."""
    from resolver import atomic_file

    written = []
    for one in made:
        place = below(out, one.path)
        if place.exists() and not is_untouched(place):
            continue
        if one.data is None:
            place.mkdir(parents=True)
            place.chmod(one.mode)
        else:
            atomic_file.write(place, one.data, one.mode)
            written.append(place)
        if out is None:
            os.chown(place, pwd.getpwnam(one.owner).pw_uid, grp.getgrnam(one.group).gr_gid)
            place.chmod(one.mode)  # chown takes the bit that makes new files inherit the group
    return written


def reloaded() -> None:
    """Have systemd read its units again, if it runs here."""
    if SYSTEMD.is_dir():
        subprocess.run(["/usr/bin/systemctl", "daemon-reload"], check=False, timeout=CHECK_S, capture_output=True)


def unreadable(config: Config, account: str) -> list[str]:
    """Return a line for each file that the account cannot read as the service must."""
    named = []
    for one in config.lists:
        source = one.source
        named += [(key, getattr(source, key)) for key in ("root", "identity", "ca", "certificate", "key", "seed")]
        named.append(("guard.popular", one.guard.popular))
    found = []
    with acting.account(account):
        for key, path in named:
            if path and not os.access(path, os.R_OK, effective_ids=True):
                found.append(f"{key}: {path} cannot be read by {account}: give it to that account, or to its group")
    return found


def busy(config: Config) -> list[str]:
    """Return a line for each listening address that cannot be bound now; an address that is not here yet can be."""
    found = []
    ports = [("listen.dns", one, kind) for one in config.listen.dns for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
    ports += [("page.listen", one, socket.SOCK_STREAM) for one in config.page.listen]
    ports.append(("metrics.listen", config.metrics.listen, socket.SOCK_STREAM))
    for key, one, kind in ports:
        said = _unbound(one, kind)
        if said:
            over = "UDP" if kind == socket.SOCK_DGRAM else "TCP"
            found.append(f"{key}: {one} ({over}): {said}; ss -lnptu shows which program has it")
    return found


def _unbound(one: Endpoint, kind: socket.SocketKind) -> str:
    """Return why a socket cannot be bound, "" if it can, or if this host does not have the address now."""
    family = socket.AF_INET6 if ":" in one.host else socket.AF_INET
    try:
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(sockaddr(one))
            if kind == socket.SOCK_STREAM:
                probe.listen()
    except OSError as error:
        missing = error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
        return "" if missing else error.strerror or type(error).__name__
    return ""


def check_config(file: Path, account: str) -> tuple[int, str]:
    """Return exit status and output of `check-config`, in a process that has nothing but the account's rights."""
    found = pwd.getpwnam(account)
    groups = os.getgrouplist(account, found.pw_gid)
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter and our own words
            [sys.executable, "-m", "resolver", "check-config", str(file)],
            user=found.pw_uid, group=found.pw_gid, extra_groups=groups,
            cwd="/", env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=CHECK_S,
        )
    except OSError as error:
        return 1, f"{account} cannot run {sys.executable}: {error.strerror}"
    return done.returncode, done.stdout


def public_key(config: Config, account: str) -> bytes:
    """Return the public half (PEM) of the key that this host signs receipts with; the account makes a missing one."""
    from resolver.feed import poll
    from resolver.signed import statement

    with acting.account(account):
        return statement.pem_of(statement.public_of(poll.host_key_of(config, make=True)))
