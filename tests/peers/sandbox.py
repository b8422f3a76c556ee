"""Runs a command under what a unit of systemd asks of the kernel, where systemd itself is not in charge.

    /usr/bin/python3 sandbox.py UNIT COMMAND...

Rules:
- Read from the unit: SystemCallFilter with its error number, RestrictAddressFamilies, MemoryDenyWriteExecute,
  ProcSubset, the capabilities, LimitNOFILE, UMask. What else it asks for is systemd's own work.
- A unit without capabilities keeps the account that it is run by here.
- Debian's python3-seccomp makes the filter; the sets of calls are those that systemd-analyze names.
"""

import ctypes
import errno
import os
import re
import resource
import socket
import subprocess
import sys
from pathlib import Path

PR_SET_MDWE = 65
CLONE_NEWNS = 0x00020000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18

libc = ctypes.CDLL(None, use_errno=True)


def settings(unit: Path) -> dict[str, list[str]]:
    """Every setting of the unit, with its values in order."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def calls_of(group: str) -> set[str]:
    """The system calls of one of systemd's sets, those of sets within it too."""
    lines = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    names = {line.strip() for line in lines[1:] if line.strip() and not line.strip().startswith("#")}
    return {name for name in names if name[0] != "@"}.union(*(calls_of(name) for name in names if name[0] == "@"))


def allowed(filters: list[str]) -> set[str]:
    """The calls that SystemCallFilter lines allow, of which the first is an allow-list."""
    found: set[str] = set()
    for line in filters:
        for word in line.lstrip("~").split():
            calls = calls_of(word) if word[0] == "@" else {word}
            found = found - calls if line[0] == "~" else found | calls
    return found


def load(calls: set[str], families: list[str], error: int) -> None:
    """Refuse every other call, and sockets of every other family, with `error`."""
    import seccomp  # type: ignore[import-not-found] # Debian's, for Debian's Python

    made = seccomp.SyscallFilter(defaction=seccomp.ERRNO(error))
    for name in sorted(calls - {"socket"}):
        try:
            made.add_rule(seccomp.ALLOW, name)
        except (RuntimeError, ValueError):
            continue  # a call that this library or this machine does not know
    for name in families:
        made.add_rule(seccomp.ALLOW, "socket", seccomp.Arg(0, seccomp.EQ, int(getattr(socket, name))))
    made.load()


def proc_subset() -> None:
    """See of /proc what ProcSubset=pid and ProtectProc=invisible leave."""
    nothing = ctypes.c_char_p(None)
    if (
        libc.unshare(CLONE_NEWNS)
        or libc.mount(b"none", b"/", nothing, MS_REC | MS_PRIVATE, nothing)
        or libc.mount(b"proc", b"/proc", b"proc", 0, b"subset=pid,hidepid=invisible")
    ):
        raise OSError(ctypes.get_errno(), "proc")


def main() -> None:
    """Put all in force and become the command."""
    unit, command = settings(Path(sys.argv[1])), sys.argv[2:]
    if os.geteuid() == 0 and "AmbientCapabilities" in unit:
        as_account(unit)
    # As systemd does it: the filter comes last, when the account is what it will be.
    calls = allowed(unit["SystemCallFilter"])
    error = getattr(errno, unit["SystemCallErrorNumber"][0])
    if unit["MemoryDenyWriteExecute"] == ["yes"] and libc.prctl(PR_SET_MDWE, 1, 0, 0, 0):
        print("this kernel has no PR_SET_MDWE", file=sys.stderr)
    load(calls, unit["RestrictAddressFamilies"][0].split(), error)
    os.execv(command[0], command)


def as_account(unit: dict[str, list[str]]) -> None:
    """Do what only root can, then be this program again as an account with the unit's capabilities."""
    if unit["ProcSubset"] == ["pid"]:
        proc_subset()
    os.umask(int(unit["UMask"][0], 8))
    limit = min(int(unit["LimitNOFILE"][0]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    kept = ",".join(f"+{name[4:].lower()}" for name in unit["AmbientCapabilities"][0].split())
    capabilities = (f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set=-all,{kept}")
    account = ("--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs")
    os.execvp("setpriv", ["setpriv", *account, *capabilities, sys.executable, __file__, *sys.argv[1:]])


if __name__ == "__main__":
    main()
