"""Change from root to an account without privileges: only the sockets are opened as root.

Rules:
- Started as root with `[listen] user`: every file is read and written as that account from the start; root is
  borrowed while sockets are bound, and then given up for good: ids, groups, capabilities, and what an exec could give
  back (no_new_privs). The kernel's status of every thread must confirm that; else the start fails.
- Started as another account (as by systemd): the account stays, and capabilities are given up as well. Where the
  capability for ports below 1024 is only permitted (a container: of the interpreter's file), it is made effective while
  sockets are bound.
- Started as root without `[listen] user`, as by hand: the owner of the state folder is that account. If that is root:
  one warning, and nothing changes.
- A file that this account may not use ends the start with HostFault if saved lists need it; else a line is logged.
- A change of ids makes a process dumpable again; each change here is followed by taking that back.
"""

import ctypes
import logging
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from resolver.config.config import Config, ConfigError, HostFault
from resolver.process import capabilities
from resolver.process.limits import leave_no_dump

_KEY: Final = "listen.user"
_OF_SOURCE: Final = ("root", "ca", "certificate", "key")
_NEEDED: Final = ("", "lists", "releases", "digest.key", "seal.key")
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_MOST_CAPABILITIES: Final = 64
_GONE: Final = {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapAmb": 0, "NoNewPrivs": 1}

_log: Final = logging.getLogger("resolver")
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Privileges:
    """The privileges of this process; ConfigError if `config` names an account that it cannot become.

    path: of the configuration file.
    """

    def __init__(self, path: Path, config: Config) -> None:
        self._path = path
        self._state = config.state
        self._lists = config.lists
        self._root = os.geteuid() == 0
        self._account: pwd.struct_passwd | None = None
        user = config.listen.user
        if self._root and (user or self._owner()):
            self._account = self._found(user or self._owner())
        elif user and user != _own_name():
            raise self._fault(_KEY, 'only root can become another account: start as root, or leave it ""')

    @property
    def account(self) -> tuple[int, int]:
        """The uid and gid that the service has once its privileges are given up."""
        return (self._account.pw_uid, self._account.pw_gid) if self._account else (os.geteuid(), os.getegid())

    def _fault(self, key: str, reason: str) -> ConfigError:
        return ConfigError(str(self._path), key, reason)

    def _owner(self) -> str:
        """Return the account that owns the state folder, "" if that is root, nobody known, or the folder is missing.

        What root started by hand would leave there as root's would end the next start as that account.
        """
        try:
            uid = os.stat(self._state.directory).st_uid
            return pwd.getpwuid(uid).pw_name if uid else ""
        except (OSError, KeyError):
            return ""

    def _found(self, user: str) -> pwd.struct_passwd:
        try:
            account = pwd.getpwnam(user)
        except KeyError:
            advice = f"useradd --system --no-create-home --shell /usr/sbin/nologin {user}"
            raise self._fault(_KEY, f"no such account: {advice}") from None
        if account.pw_uid == 0:
            raise self._fault(_KEY, "is root: name an account of its own")
        return account

    def step_down(self) -> None:
        """Act as the account from now on; ConfigError if it may not use a file that it needs."""
        if self._account is not None:
            os.setgroups(os.getgrouplist(self._account.pw_name, self._account.pw_gid))
            os.setegid(self._account.pw_gid)
            os.seteuid(self._account.pw_uid)
            leave_no_dump()
        elif self._root:
            _log.warning("running as root: set %s to an account without privileges", _KEY)
        self._look()

    def _look(self) -> None:
        """Check every file that is read or written later, so that a missing permission is reported now."""
        name = _own_name()
        if not _usable(self._path, os.R_OK):
            raise self._fault("", f"{name} cannot read it again at a reload: chgrp it to a group of {name}, chmod g+r")
        keys = Path(self._state.keys) if self._state.keys else None
        for path in [keys, *keys.glob("*.key")] if keys and _exists(keys) else ():
            if not _usable(path, os.R_OK):
                raise HostFault(
                    str(self._path), "state.keys", f"{name} cannot read {path}: chown -R {name} {keys}"
                )
        where, state = "state.directory", Path(self._state.directory)
        if not _exists(state) and not _usable(_nearest(state), os.W_OK):
            reason = f"{name} may not make it: install -d -o {name} -m 700 {state}"
            raise HostFault(str(self._path), where, reason)
        advice, warned = f"chown -R {name} {state}", False
        for path in [state, *state.rglob("*")] if _exists(state) else ():
            if _usable(path, os.R_OK | os.W_OK):
                continue
            if _starts_need(path.relative_to(state)):
                raise HostFault(str(self._path), where, f"{name} may not use {path}: {advice}")
            if not warned:
                _log.error("%s: %s may not use %s: %s; what needs it fails until then", where, name, path, advice)
            warned = True
        for one in self._lists:
            for key in _OF_SOURCE:
                path = Path(getattr(one.source, key))
                # The start goes on: the saved list is enforced without its feed.
                if path.is_absolute() and _exists(path) and not _usable(path, os.R_OK):
                    where = f"list.{one.id}.source.{key}"
                    _log.warning("%s: %s cannot read %s, its feed will fail: chgrp, chmod g+r", where, name, path)

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Be root again, if the process was started so, to bind sockets."""
        if self._account is None:
            capabilities.make_binding_effective()
            yield
            return
        os.seteuid(0)
        try:
            yield
        finally:
            os.seteuid(self._account.pw_uid)
            leave_no_dump()

    def give_up(self) -> None:
        """Give up every privilege that the process was started with; ConfigError if the kernel still shows one."""
        if self._account is None and self._root:
            return
        if self._account is not None:
            os.seteuid(0)
            _empty_bounding_set()
            os.setresgid(*[self._account.pw_gid] * 3)
            os.setresuid(*[self._account.pw_uid] * 3)
        capabilities.give_up()
        leave_no_dump()
        kept = still_held(os.geteuid(), os.getegid(), bounded=self._account is not None)
        if kept:
            raise self._fault(_KEY, f"the kernel still shows {kept}, which was given up: the service does not start")


def _own_name() -> str:
    """Return the name of the account this process acts as, or its number if it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _starts_need(path: Path) -> bool:
    """Return whether no saved list can be enforced without a path of the state folder: the folder, lists, releases.

    Evidence, counts, receipts and what a feed keeps for its next poll are not worth an outage.
    """
    first = path.parts[0] if path.parts else ""
    return first in _NEEDED and "metadata" not in path.parts[2:3]


def _exists(path: Path) -> bool:
    """Return whether the path exists, also if this process may not even look: then it may not use it either."""
    try:
        return path.exists()
    except PermissionError:
        return True


def _nearest(path: Path) -> Path:
    """Return the nearest folder above `path` that exists."""
    return next(above for above in path.absolute().parents if _exists(above))


def _usable(path: Path, mode: int) -> bool:
    """Return whether this process may access a path in this mode, and enter it if it is a folder."""
    return os.access(path, mode | (os.X_OK if os.path.isdir(path) else 0), effective_ids=True)


def _empty_bounding_set() -> None:
    for capability in range(_MOST_CAPABILITIES):
        if _libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) == 1:
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def still_held(uid: int, gid: int, *, bounded: bool) -> str:
    """Return the field of /proc/PID/status in which any thread still has a privilege, "" if there is none."""
    expected = {**_GONE, **({"CapBnd": 0} if bounded else {})}
    for thread in os.listdir("/proc/self/task"):
        lines = Path("/proc/self/task", thread, "status").read_text().splitlines()
        fields = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
        for name, value in expected.items():
            # An older kernel has no line for a feature that it lacks.
            if name in fields and int(fields[name][0], 16) != value:
                return name
        for name, number in (("Uid", uid), ("Gid", gid)):
            if set(fields[name]) != {str(number)}:
                return name
    return ""
